/* ask.c -- one loop over the pairs of a request. */
#include "ask.h"

#include <inttypes.h>

#include "../base/text.h"
#include "../base/unpack.h"

enum { DICE_BYTES = 16 };

/* A stream has fewer events than that, and as a time it is a day in January 1970: so a number
 * from there on is a time. */
static const int64_t first_time = 1000000000000;

static const char moments[] = "a revision from 0, a position as \"#123\", or a time, as "
                              "microseconds or like 2026-11-21T13:40:46Z";

typedef struct asking {
    ml_ask *ask;
    ml_error *why;
    bool command;
} asking;

static ml_code refuse(asking *a, const char *name, const char *wanted)
{
    return ml_error_set(a->why, ML_BAD_REQUEST, "%s must be %s", name, wanted);
}

/* ---- moments ---------------------------------------------------------------------------- */

static ml_code read_position(asking *a, ml_bytes text)
{
    const char *at = text.data;
    uint64_t position = 0;
    for (size_t n = 1; n < text.size; n++) {
        if (at[n] < '0' || at[n] > '9' || position > UINT64_MAX / 10 - 1)
            return refuse(a, "at", "a position as \"#123\"");
        position = position * 10 + (uint64_t)(at[n] - '0');
    }
    a->ask->moment.position_max = position;
    return text.size > 1 ? ML_OK : refuse(a, "at", "a position as \"#123\"");
}

static ml_code read_time(asking *a, const char *name, const ml_token *token, int64_t *time)
{
    if (token->kind == ML_KIND_INT) *time = token->integer;
    else if (token->kind != ML_KIND_STR || !ml_time_read(token->bytes, time))
        return refuse(a, name, "a time, as microseconds or like 2026-11-21T13:40:46Z");
    return ML_OK;
}

static ml_code read_at(asking *a, const ml_token *token)
{
    ml_moment *moment = &a->ask->moment;
    a->ask->is_now = false;
    if (token->kind == ML_KIND_INT && token->integer < first_time) {
        if (token->integer < 0)
            return refuse(a, "at", moments);
        moment->next_max = (uint64_t)token->integer + 1;
        return ML_OK;
    }
    if (token->kind == ML_KIND_STR && token->bytes.size > 0 &&
        *(const char *)token->bytes.data == '#')
        return read_position(a, token->bytes);
    if (token->kind == ML_KIND_INT) moment->time_max = token->integer;
    else if (token->kind != ML_KIND_STR || !ml_time_read(token->bytes, &moment->time_max))
        return refuse(a, "at", moments);
    return ML_OK;
}

/* ---- fields ----------------------------------------------------------------------------- */

static bool is(ml_bytes key, const char *name)
{
    return ml_bytes_equal(key, (ml_bytes){name, strlen(name)});
}

static ml_code read_text(asking *a, const char *name, const ml_token *token, ml_bytes *text)
{
    *text = token->bytes;
    return token->kind == ML_KIND_STR && token->bytes.size > 0
               ? ML_OK
               : refuse(a, name, "a string that is not empty");
}

static ml_code read_command_field(asking *a, ml_bytes key, const ml_token *token, ml_bytes raw)
{
    ml_ask *ask = a->ask;
    if (is(key, "name")) return read_text(a, "name", token, &ask->name);
    if (is(key, "args")) {
        if (token->kind != ML_KIND_MAP && token->kind != ML_KIND_NIL)
            return refuse(a, "args", "a map of names and values");
        ask->args = raw;
    } else if (is(key, "meta")) {
        if (token->kind != ML_KIND_MAP && token->kind != ML_KIND_NIL)
            return refuse(a, "meta", "a map");
        ask->meta = token->kind == ML_KIND_MAP ? raw : (ml_bytes){0};
    } else if (is(key, "now")) {
        if (token->kind != ML_KIND_INT) return refuse(a, "now", "a time in microseconds");
        ask->now = token->integer;
    } else if (is(key, "dice")) {
        if (token->kind != ML_KIND_BIN || token->bytes.size != DICE_BYTES)
            return refuse(a, "dice", "16 bytes");
        ask->dice = token->bytes.data;
    }
    return ML_OK; /* what is not known here is for others on the way */
}

static ml_code read_field(asking *a, ml_bytes key, const ml_token *token, ml_bytes raw)
{
    ml_ask *ask = a->ask;
    if (is(key, "aggregate")) return read_text(a, "aggregate", token, &ask->aggregate);
    if (is(key, "id")) return read_text(a, "id", token, &ask->id);
    if (is(key, "next")) {
        ask->has_next = token->kind == ML_KIND_INT && token->integer >= 0;
        ask->next = (uint64_t)token->integer;
        return ask->has_next ? ML_OK : refuse(a, "next", "a count of events");
    }
    if (a->command) return read_command_field(a, key, token, raw);
    if (token->kind == ML_KIND_NIL) return ML_OK;
    if (is(key, "at")) return read_at(a, token);
    if (!is(key, "as_of")) return ML_OK;
    ask->is_now = false;
    ask->moment.has_as_of = true;
    return read_time(a, "as_of", token, &ask->moment.as_of);
}

static ml_code read_request(asking *a, ml_bytes request)
{
    uint32_t count;
    ml_code code = ML_OK;
    ml_unpack at = ml_unpack_from(request);
    *a->ask = (ml_ask){.moment = ML_MOMENT_NOW, .is_now = true};
    if (!ml_unpack_map(&at, &count))
        return ml_error_set(a->why, ML_BAD_REQUEST, "a request is a map");
    for (uint32_t n = 0; !code && n < count; n++) {
        ml_bytes key;
        if (!ml_unpack_str(&at, &key))
            return ml_error_set(a->why, ML_BAD_REQUEST, "the keys of a request are strings");
        const uint8_t *begin = at.at;
        if (!ml_unpack_skip(&at))
            return ml_error_set(a->why, ML_BAD_REQUEST, "the request is cut short");
        ml_bytes raw = {begin, (size_t)(at.at - begin)};
        ml_unpack value = ml_unpack_from(raw);
        ml_token token = ml_unpack_next(&value);
        code = read_field(a, key, &token, raw);
    }
    if (code) return code;
    if (a->ask->aggregate.size == 0)
        return ml_error_set(a->why, ML_BAD_REQUEST, "aggregate is missing");
    if (a->ask->id.size == 0) return ml_error_set(a->why, ML_BAD_REQUEST, "id is missing");
    return ML_OK;
}

ml_code ml_ask_command(ml_bytes request, ml_ask *ask, ml_error *why)
{
    asking a = {ask, why, true};
    ml_code code = read_request(&a, request);
    if (code) return code;
    if (ask->name.size == 0)
        return ml_error_set(why, ML_BAD_REQUEST, "name is missing: which command?");
    if (ask->dice == NULL)
        return ml_error_set(why, ML_BAD_REQUEST, "dice are missing: 16 bytes to draw ids from");
    code = ask->args.size > 0 ? ml_unpack_check(ask->args, "args", why) : ML_OK;
    if (!code && ask->meta.size > 0) code = ml_unpack_check(ask->meta, "meta", why);
    return code;
}

ml_code ml_ask_state(ml_bytes request, ml_ask *ask, ml_error *why)
{
    asking a = {ask, why, false};
    return read_request(&a, request);
}
