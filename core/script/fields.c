/* fields.c -- named fields, and what was probably meant. */
#include "fields.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { WORD_BYTES_MAX = 32 }; /* compared; no key of ours is longer */

/* ---- what was meant ---------------------------------------------------------------------- */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* How many bytes to add, drop or change to make one of the other (Levenshtein). */
static size_t distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t row[WORD_BYTES_MAX + 1];
    for (size_t j = 0; j <= b_size; j++) row[j] = j;
    for (size_t i = 1; i <= a_size; i++) {
        size_t above_left = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t changed = above_left + (a[i - 1] != b[j - 1]);
            above_left = row[j];
            row[j] = least(changed, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

const char *ml_fields_nearest(ml_bytes text, const char *const *words)
{
    if (text.size == 0 || text.size > WORD_BYTES_MAX) return NULL;
    const char *nearest = NULL;
    size_t best = text.size / 2 + 2; /* half of it wrong is no near miss */
    for (; *words != NULL; words++) {
        size_t size = least(strlen(*words), WORD_BYTES_MAX);
        size_t far = distance(text.data, text.size, *words, size);
        if (far >= best) continue;
        best = far;
        nearest = *words;
    }
    return nearest;
}

/* ---- mistakes ------------------------------------------------------------------------- */

void ml_fields_refuse(const ml_fields *fields, const char *format, ...)
{
    char sentence[512];
    va_list arguments;
    if (fields->why->code) return;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    ML_IGNORE(ml_error_set(fields->why, ML_BAD_REQUEST, "%s: %s", fields->what, sentence));
}

static void refuse_word(const ml_fields *fields, const char *is, ml_bytes text,
                        const char *const *words)
{
    char all[256] = "";
    size_t used = 0;
    int shown = text.size > WORD_BYTES_MAX ? WORD_BYTES_MAX : (int)text.size;
    const char *nearest = ml_fields_nearest(text, words);
    if (nearest != NULL) {
        ml_fields_refuse(fields, "%s \"%.*s\" (did you mean \"%s\"?)", is, shown,
                         (const char *)text.data, nearest);
        return;
    }
    for (; *words != NULL && used < sizeof all; words++) {
        int more = snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", *words);
        used += (size_t)more;
    }
    ml_fields_refuse(fields, "%s \"%.*s\" (there are: %s)", is, shown, (const char *)text.data,
                     all);
}

static void refuse_type(const ml_fields *fields, const char *name, const char *wanted, int index)
{
    ml_fields_refuse(fields, "%s must be %s, not a %s", name, wanted,
                     luaL_typename(fields->L, index));
}

/* ---- fields --------------------------------------------------------------------------- */

static bool is_among(const char *text, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(text, *words) == 0) return true;
    return false;
}

static void check_keys(const ml_fields *fields, const char *const *known)
{
    lua_State *L = fields->L;
    lua_pushnil(L);
    while (lua_next(L, fields->table)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            ml_fields_refuse(fields, "a %s is no key here; keys are names", luaL_typename(L, -1));
        } else if (!is_among(lua_tostring(L, -1), known)) {
            ml_bytes text;
            text.data = lua_tolstring(L, -1, &text.size);
            refuse_word(fields, "unknown key", text, known);
        }
    }
}

ml_fields ml_fields_from(lua_State *L, int index, const char *what, const char *const *known,
                         ml_error *why)
{
    luaL_checkstack(L, 8, "moonlog");
    why->code = ML_OK;
    ml_fields fields = {.L = L, .what = what, .why = why};
    if (lua_isnoneornil(L, index)) return fields;
    if (!lua_istable(L, index)) {
        ml_fields_refuse(&fields, "a table of names is expected, not a %s",
                         luaL_typename(L, index));
        return fields;
    }
    fields.table = lua_absindex(L, index);
    check_keys(&fields, known);
    return fields;
}

int ml_fields_push(const ml_fields *fields, const char *name)
{
    if (fields->table == 0 || fields->why->code) {
        lua_pushnil(fields->L);
        return LUA_TNIL;
    }
    lua_pushstring(fields->L, name);
    return lua_rawget(fields->L, fields->table);
}

bool ml_fields_is_list(lua_State *L, int index, lua_Integer count)
{
    int table = lua_absindex(L, index);
    lua_Integer seen = 0;
    lua_pushnil(L);
    while (lua_next(L, table)) {
        lua_pop(L, 1);
        lua_Integer key = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
        if (key < 1 || key > count) {
            lua_pop(L, 1);
            return false;
        }
        seen++;
    }
    return seen == count;
}

bool ml_fields_has(const ml_fields *fields, const char *name)
{
    bool has = ml_fields_push(fields, name) != LUA_TNIL;
    lua_pop(fields->L, 1);
    return has;
}

bool ml_fields_flag(const ml_fields *fields, const char *name)
{
    int type = ml_fields_push(fields, name);
    if (type != LUA_TNIL && type != LUA_TBOOLEAN) refuse_type(fields, name, "true or false", -1);
    bool flag = lua_toboolean(fields->L, -1);
    lua_pop(fields->L, 1);
    return flag;
}

ml_bytes ml_fields_text(const ml_fields *fields, const char *name)
{
    ml_bytes text = {NULL, 0};
    int type = ml_fields_push(fields, name);
    if (type == LUA_TSTRING) text.data = lua_tolstring(fields->L, -1, &text.size);
    else if (type != LUA_TNIL) refuse_type(fields, name, "a string", -1);
    lua_pop(fields->L, 1);
    return text;
}

uint64_t ml_fields_natural(const ml_fields *fields, const char *name, uint64_t min, uint64_t max,
                           uint64_t absent)
{
    lua_State *L = fields->L;
    int type = ml_fields_push(fields, name), is_integer = 0;
    lua_Integer value = type == LUA_TNUMBER ? lua_tointegerx(L, -1, &is_integer) : 0;
    if (type != LUA_TNIL && type != LUA_TNUMBER)
        refuse_type(fields, name, "an integer", -1);
    else if (type == LUA_TNUMBER && !is_integer)
        ml_fields_refuse(fields, "%s must be an integer, not a float", name);
    else if (is_integer && (value < 0 || (uint64_t)value < min || (uint64_t)value > max))
        ml_fields_refuse(fields, "%s must be from %" PRIu64 " to %" PRIu64 ", not %" PRId64, name,
                         min, max > INT64_MAX ? INT64_MAX : max, (int64_t)value);
    lua_pop(L, 1);
    return is_integer ? (uint64_t)value : absent;
}

size_t ml_fields_choose(const ml_fields *fields, const char *name, ml_bytes text,
                        const char *const *words)
{
    for (size_t i = 0; words[i] != NULL; i++)
        if (strcmp(text.data, words[i]) == 0) return i;
    refuse_word(fields, name, text, words);
    return 0;
}

size_t ml_fields_word(const ml_fields *fields, const char *name, const char *const *words,
                      size_t absent)
{
    ml_bytes text = ml_fields_text(fields, name);
    return text.data == NULL ? absent : ml_fields_choose(fields, name, text, words);
}
