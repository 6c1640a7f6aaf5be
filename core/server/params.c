/* params.c -- maps of parameters. */
#include "params.h"

#include <inttypes.h>
#include <stdlib.h>

#include "../base/text.h"
#include "../base/unpack.h"

/* ---- what was probably meant ------------------------------------------------------------- */

/* Edit distance of two short words; longer ones are far apart. */
static unsigned distance(ml_bytes a, const char *b)
{
    enum { MOST = 40 };
    size_t width = strlen(b);
    const char *text = a.data;
    if (a.size > MOST || width > MOST) return UINT32_MAX;
    unsigned row[MOST + 1];
    for (unsigned n = 0; n <= width; n++) row[n] = n;
    for (size_t i = 1; i <= a.size; i++) {
        unsigned corner = row[0]++;
        for (size_t n = 1; n <= width; n++) {
            unsigned change = corner + (text[i - 1] != b[n - 1]);
            corner = row[n];
            unsigned least = row[n - 1] < row[n] ? row[n - 1] + 1 : row[n] + 1;
            row[n] = change < least ? change : least;
        }
    }
    return row[width];
}

const char *ml_params_nearest(ml_bytes word, const char *const *names)
{
    const char *nearest = NULL;
    unsigned least = 4;
    for (size_t n = 0; names[n] != NULL; n++) {
        unsigned far = distance(word, names[n]);
        if (far >= least || far >= strlen(names[n])) continue;
        least = far;
        nearest = names[n];
    }
    return nearest;
}

ml_bytes ml_params_shown(ml_bytes name)
{
    enum { LONGEST = 64 };
    const uint8_t *text = name.data;
    bool good = name.size <= LONGEST && ml_unpack_utf8(name);
    for (size_t n = 0; good && n < name.size; n++) good = text[n] >= ' ' && text[n] != 0x7f;
    return good ? name : ML_STR("of that name");
}

static ml_code refuse_name(const char *what, ml_bytes key, const char *const *names, ml_error *why)
{
    const char *nearest = ml_params_nearest(key, names);
    key = ml_params_shown(key);
    return ml_error_set(why, ML_BAD_REQUEST, "%s has no parameter %.*s%s%s%s", what, ML_SHOW(key),
                        nearest != NULL ? "; did you mean " : "; ask `api` for those it has",
                        nearest != NULL ? nearest : "", nearest != NULL ? "?" : "");
}

/* ---- maps ---------------------------------------------------------------------------------- */

/* Few names share their first letter, so most are told apart by one byte. */
bool ml_params_is(const char *name, ml_bytes key)
{
    const char *text = key.data;
    return key.size > 0 && *name == *text && strlen(name) == key.size && memcmp(name, text, key.size) == 0;
}

static size_t number_of(const char *const *names, ml_bytes key)
{
    size_t n = 0;
    while (names[n] != NULL && !ml_params_is(names[n], key)) n++;
    return n;
}

ml_code ml_params_read(ml_bytes *map, const char *what, const char *const *names, ml_params *params,
                       ml_error *why)
{
    *params = (ml_params){.names = names};
    ml_unpack cursor = ml_unpack_from(*map);
    uint32_t count, seen = 0; /* a bit for each name: of two that differ, none is to be believed */
    if (!ml_unpack_map(&cursor, &count))
        return ml_error_set(why, ML_BAD_REQUEST, "%s takes one map of parameters", what);
    for (uint32_t i = 0; i < count; i++) {
        ml_bytes key;
        if (!ml_unpack_str(&cursor, &key))
            return ml_error_set(why, ML_BAD_REQUEST, "%s has a parameter whose name is no str", what);
        size_t n = number_of(names, key);
        if (names[n] == NULL) return refuse_name(what, key, names, why);
        if (seen & UINT32_C(1) << n)
            return ml_error_set(why, ML_BAD_REQUEST, "%s has the parameter %s twice", what, names[n]);
        seen |= UINT32_C(1) << n;
        const uint8_t *from = cursor.at;
        if (!ml_unpack_skip(&cursor)) return ml_error_set(why, ML_BAD_REQUEST, "%s is cut short", what);
        bool nil = *from == 0xc0;
        if (!nil) params->values[n] = (ml_bytes){from, (size_t)(cursor.at - from)};
    }
    *map = (ml_bytes){cursor.at, (size_t)(cursor.end - cursor.at)};
    return ML_OK;
}

ml_bytes ml_params_raw(const ml_params *params, const char *name)
{
    size_t n = 0;
    while (*params->names[n] != *name || strcmp(params->names[n], name) != 0) {
        n++;
        ML_ASSERT(params->names[n] != NULL);
    }
    return params->values[n];
}

static ml_code refuse_kind(const char *name, const char *kind, ml_error *why)
{
    return ml_error_set(why, ML_BAD_REQUEST, "%s is no %s", name, kind);
}

/* ---- typed ------------------------------------------------------------------------------------ */

ml_code ml_params_str(const ml_params *params, const char *name, ml_bytes *value, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(ml_params_raw(params, name));
    if (cursor.at == cursor.end) return ML_OK;
    return ml_unpack_str(&cursor, value) ? ML_OK : refuse_kind(name, "str", why);
}

static bool as_integer(ml_bytes raw, int64_t *value)
{
    ml_unpack cursor = ml_unpack_from(raw);
    ml_token token = ml_unpack_next(&cursor);
    if (token.kind == ML_KIND_INT) {
        *value = token.integer;
        return true;
    }
    /* Some clients have no integers: 1.0 is one. */
    if (token.kind != ML_KIND_FLOAT || !(token.number >= -9007199254740992.0 && token.number <= 9007199254740992.0))
        return false;
    *value = (int64_t)token.number;
    return (double)*value == token.number;
}

ml_code ml_params_int(const ml_params *params, const char *name, int64_t least, int64_t most, int64_t *value,
                      bool *given, ml_error *why)
{
    ml_bytes raw = ml_params_raw(params, name);
    int64_t integer;
    if (given != NULL) *given = raw.size > 0;
    if (raw.size == 0) return ML_OK;
    if (!as_integer(raw, &integer)) return refuse_kind(name, "integer", why);
    if (integer < least || integer > most)
        return ml_error_set(why, ML_BAD_REQUEST, "%s is %" PRId64 "; it goes from %" PRId64 " to %" PRId64, name,
                            integer, least, most);
    *value = integer;
    return ML_OK;
}

ml_code ml_params_bool(const ml_params *params, const char *name, bool *value, ml_error *why)
{
    ml_bytes raw = ml_params_raw(params, name);
    if (raw.size == 0) return ML_OK;
    ml_unpack cursor = ml_unpack_from(raw);
    ml_token token = ml_unpack_next(&cursor);
    if (token.kind != ML_KIND_BOOL) return refuse_kind(name, "bool", why);
    *value = token.boolean;
    return ML_OK;
}

ml_code ml_params_time(const ml_params *params, const char *name, int64_t *value, bool *given, ml_error *why)
{
    ml_bytes raw = ml_params_raw(params, name), text;
    *given = raw.size > 0;
    if (raw.size == 0 || as_integer(raw, value)) return ML_OK;
    ml_unpack cursor = ml_unpack_from(raw);
    if (ml_unpack_str(&cursor, &text) && ml_time_read(text, value)) return ML_OK;
    return refuse_kind(name, "time; give microseconds since 1970 or RFC 3339", why);
}

ml_code ml_params_list(const ml_params *params, const char *name, ml_bytes *items, uint32_t *count,
                       ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(ml_params_raw(params, name));
    *count = 0;
    *items = (ml_bytes){0};
    if (cursor.at == cursor.end) return ML_OK;
    if (!ml_unpack_array(&cursor, count)) return refuse_kind(name, "array", why);
    *items = (ml_bytes){cursor.at, (size_t)(cursor.end - cursor.at)};
    return ML_OK;
}

ml_code ml_params_item_str(ml_bytes *items, const char *name, ml_bytes *value, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(*items);
    if (!ml_unpack_str(&cursor, value))
        return ml_error_set(why, ML_BAD_REQUEST, "%s holds something that is no str", name);
    *items = (ml_bytes){cursor.at, (size_t)(cursor.end - cursor.at)};
    return ML_OK;
}
