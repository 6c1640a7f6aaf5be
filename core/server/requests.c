/* requests.c -- what a client asks of an aggregate, read, and packed as a worker wants it. */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include "../base/clock.h"
#include "../store/event.h"
#include "commands.h"
#include "packs.h"

/* ---- names ------------------------------------------------------------------------ */

static ml_code read_names(ml_command *c, const ml_params *params, ml_error *why)
{
    ml_bytes aggregate = {0}, id = {0};
    ml_code code = ml_params_str(params, "aggregate", &aggregate, why);
    if (!code) code = ml_params_str(params, "id", &id, why);
    if (code) return code;
    bool named = aggregate.size > 0 && aggregate.size <= ML_COMMANDS_NAME_MAX &&
                 memchr(aggregate.data, '-', aggregate.size) == NULL;
    if (!named) return ml_error_set(why, ML_BAD_REQUEST, "aggregate is no name without a '-'");
    if (id.size == 0)
        return ml_error_set(why, ML_BAD_REQUEST, "id is missing: which %.*s?", ML_SHOW(aggregate));
    c->stream_size = aggregate.size + 1 + id.size;
    if (c->stream_size > ML_STREAM_BYTES_MAX)
        return ml_error_set(why, ML_TOO_LARGE,
                            "aggregate and id make a name of %zu bytes, the limit is %d",
                            c->stream_size, ML_STREAM_BYTES_MAX);
    memcpy(c->stream, aggregate.data, aggregate.size);
    c->stream[aggregate.size] = '-';
    memcpy(c->stream + aggregate.size + 1, id.data, id.size);
    code = ml_event_check_name(ml_commands_stream(c), ML_STREAM_BYTES_MAX, "stream", why);
    if (code) return code;
    snprintf(c->unit, sizeof c->unit, "aggregate/%.*s", ML_SHOW(aggregate));
    c->worker = ml_workers_shard(c->server, ml_commands_stream(c));
    return ML_OK;
}

static ml_code read_command_id(ml_command *c, const ml_params *params, ml_error *why)
{
    ml_bytes given = {0};
    ml_code code = ml_params_str(params, "command_id", &given, why);
    if (code || given.size == 0) return code;
    if (given.size > ML_COMMANDS_ID_MAX)
        return ml_error_set(why, ML_TOO_LARGE, "command_id is %zu bytes, the limit is %d",
                            given.size, ML_COMMANDS_ID_MAX);
    memcpy(c->command_id_space, given.data, given.size);
    c->command_id = (ml_bytes){c->command_id_space, given.size};
    return ML_OK;
}

/* ---- what a worker gets ----------------------------------------------------------- */

/* The last of a request, of fixed width. */
static void pack_next(ml_buf *out)
{
    static const uint8_t later[9] = {0xcf};
    ml_pack_text(out, "next");
    ml_buf_add(out, later, sizeof later);
}

void ml_requests_stamp(ml_command *c)
{
    ml_head head;
    bool exists = ml_get_head(c->server->store, ml_commands_stream(c), &head) == ML_OK;
    ml_buf *params = &c->ask.params;
    ml_put_be64(params->data + params->size - 8, exists ? head.revision + 1 : 0);
}

/* The client's meta; what a command with an id causes is found by that. */
static ml_code pack_meta(ml_buf *out, const ml_command *c, ml_bytes meta, ml_error *why)
{
    static const char *const names[] = {"causation_id", "correlation_id"};
    ml_unpack cursor = ml_unpack_from(meta);
    uint32_t count = 0;
    if (meta.size > 0 && !ml_unpack_map(&cursor, &count))
        return ml_error_set(why, ML_BAD_REQUEST, "meta is no map");
    if (meta.size > ML_COMMANDS_META_MAX)
        return ml_error_set(why, ML_TOO_LARGE,
                            "meta is %zu bytes, the limit for a command is %d: all of its events "
                            "carry it",
                            meta.size, ML_COMMANDS_META_MAX);
    if (meta.size > 0 && ml_unpack_check(meta, "meta", why)) return why->code;
    size_t begin = ml_pack_begin(out);
    for (size_t n = 0; n < 2 && c->command_id.size > 0; n++) {
        if (ml_unpack_find(meta, names[n]).size > 0) continue;
        ml_pack_text(out, names[n]);
        ml_pack_str(out, c->command_id);
        count++;
    }
    ml_buf_add(out, cursor.at, (size_t)(cursor.end - cursor.at));
    ml_pack_end_map(out, begin, count);
    return ML_OK;
}

static void pack_raw(ml_buf *out, const char *name, ml_bytes value)
{
    ml_pack_text(out, name);
    if (value.size > 0)
        ml_buf_add(out, value.data, value.size);
    else
        ml_pack_nil(out);
}

static ml_code pack_command(ml_command *c, const ml_params *params, ml_error *why)
{
    ml_buf *out = &c->ask.params;
    uint8_t dice[16];
    ml_bytes name = {0};
    ml_code code = ml_params_str(params, "name", &name, why);
    if (!code && name.size == 0)
        code = ml_error_set(why, ML_BAD_REQUEST, "name is missing: which command?");
    if (code) return code;
    if (getrandom(dice, sizeof dice, 0) != sizeof dice)
        return ml_error_set(why, ML_IO, "the system gives no random bytes");
    ml_pack_map(out, 8);
    pack_raw(out, "aggregate", ml_params_raw(params, "aggregate"));
    pack_raw(out, "id", ml_params_raw(params, "id"));
    pack_raw(out, "name", ml_params_raw(params, "name"));
    pack_raw(out, "args", ml_params_raw(params, "args"));
    ml_pack_text(out, "meta");
    code = pack_meta(out, c, ml_params_raw(params, "meta"), why);
    ml_pack_text(out, "now");
    ml_pack_int(out, ml_clock_wall_us());
    ml_pack_text(out, "dice");
    ml_pack_bin(out, (ml_bytes){dice, sizeof dice});
    pack_next(out);
    return code;
}

static ml_code pack_state(ml_command *c, const ml_params *params)
{
    static const char *const names[] = {"aggregate", "id", "at", "as_of"};
    uint32_t count = 0;
    size_t begin = ml_pack_begin(&c->ask.params);
    for (size_t n = 0; n < 4; n++) {
        ml_bytes value = ml_params_raw(params, names[n]);
        if (value.size == 0) continue;
        pack_raw(&c->ask.params, names[n], value);
        count++;
    }
    pack_next(&c->ask.params);
    ml_pack_end_map(&c->ask.params, begin, count + 1);
    return ML_OK;
}

/* ---- the whole -------------------------------------------------------------------- */

ml_code ml_requests_read(ml_command *c, const ml_params *params, ml_error *why)
{
    ml_code code = read_names(c, params, why);
    if (!code && !c->state) code = read_command_id(c, params, why);
    if (!code) code = c->state ? pack_state(c, params) : pack_command(c, params, why);
    if (!code && c->ask.params.failed) code = ml_error_memory(why, "a command");
    return code;
}
