/* upcast_chain.c -- reading the table { upcast =, latest =, [1] = … } of a file.
 *
 * Keys are taken in order, so that the same file makes the same bytes in every process.
 */
#include "upcast_chain.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "../script/fields.h"
#include "../script/value.h"

typedef struct reading {
    lua_State *L;
    ml_upcast_chain *chain;
    ml_desk *desk;
    ml_diagnostics *to;
    ml_error why;
} reading;

/* ---- life ------------------------------------------------------------------------------ */

void ml_upcast_chain_free(ml_upcast_chain *chain)
{
    if (chain == NULL) return;
    for (uint32_t n = 1; chain->steps != NULL && n < chain->latest; n++)
        ml_upcast_step_free(chain->steps[n - 1].plain);
    free(chain->steps);
    free(chain->file);
    free(chain->text);
    free(chain);
}

void ml_upcast_chain_refuse(const ml_upcast_chain *chain, ml_diagnostics *to, const char *code,
                            uint32_t line, const char *format, ...)
{
    char sentence[512];
    ml_fault fault;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    ml_fault_set(&fault, ML_FAULT_SHAPE, chain->file, line, "%s", sentence);
    ml_diagnose_error(to, code, &fault);
}

#define SHAPE(r, ...) ml_upcast_chain_refuse((r)->chain, (r)->to, "SHAPE", 0, __VA_ARGS__)
#define STEP(r, step, ...)                                                                         \
    ml_upcast_chain_refuse((r)->chain, (r)->to, "SHAPE", (step)->line, __VA_ARGS__)
#define CHAIN(r, ...) ml_upcast_chain_refuse((r)->chain, (r)->to, "CHAIN", 0, __VA_ARGS__)

/* ---- lists and names ------------------------------------------------------------------- */

static ml_bytes text_at(lua_State *L, int index)
{
    ml_bytes text;
    text.data = lua_tolstring(L, index, &text.size);
    return text;
}

static int compare_texts(const void *left, const void *right)
{
    const ml_bytes *a = left, *b = right;
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* Pushes a block that holds the keys of the table at `index` in order; they are borrowed from it.
 * NULL, with nothing pushed, if one is no string. */
static ml_bytes *push_keys(lua_State *L, int index, size_t *count)
{
    size_t room = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        room++;
    ml_bytes *keys = lua_newuserdatauv(L, (room > 0 ? room : 1) * sizeof *keys, 0);
    *count = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            lua_pop(L, 3);
            return NULL;
        }
        keys[(*count)++] = text_at(L, -2);
    }
    if (*count > 1) qsort(keys, *count, sizeof *keys, compare_texts);
    return keys;
}

/* ---- the parts of a declarative step --------------------------------------------------- */

/* One wish: the key, and its value on top of the stack. */
typedef ml_code wish(reading *r, ml_upcast_step *step, ml_bytes key);

static ml_code read_target(reading *r, ml_bytes key, ml_bytes *to)
{
    if (lua_type(r->L, -1) != LUA_TSTRING)
        return ml_error_set(&r->why, ML_BAD_REQUEST, "'%.*s' goes to a %s; it goes to a name",
                            ML_SHOW(key), luaL_typename(r->L, -1));
    *to = text_at(r->L, -1);
    return ML_OK;
}

static ml_code wish_rename(reading *r, ml_upcast_step *step, ml_bytes key)
{
    ml_bytes to;
    ml_code code = read_target(r, key, &to);
    return code ? code : ml_upcast_step_rename(step, key, to, &r->why);
}

static ml_code wish_move(reading *r, ml_upcast_step *step, ml_bytes key)
{
    ml_bytes to;
    ml_code code = read_target(r, key, &to);
    return code ? code : ml_upcast_step_move(step, key, to, &r->why);
}

static ml_code wish_drop(reading *r, ml_upcast_step *step, ml_bytes key)
{
    return ml_upcast_step_drop(step, key, &r->why);
}

static ml_code wish_cast(reading *r, ml_upcast_step *step, ml_bytes key)
{
    ml_bytes word = {"", 0};
    if (lua_type(r->L, -1) == LUA_TSTRING) word = text_at(r->L, -1);
    for (int n = 0; ml_upcast_cast_names[n] != NULL; n++)
        if (ml_bytes_equal(word,
                           (ml_bytes){ml_upcast_cast_names[n], strlen(ml_upcast_cast_names[n])}))
            return ml_upcast_step_cast(step, key, (ml_upcast_kind)(n + 1), &r->why);
    const char *near = ml_fields_nearest(word, ml_upcast_cast_names);
    if (near == NULL)
        return ml_error_set(&r->why, ML_BAD_REQUEST,
                            "'%.*s' is cast to \"integer\", \"float\", \"string\" or \"boolean\"",
                            ML_SHOW(key));
    return ml_error_set(&r->why, ML_BAD_REQUEST,
                        "'%.*s' is cast to unknown kind \"%.40s\" (did you mean \"%s\"?)",
                        ML_SHOW(key), (const char *)word.data, near);
}

static ml_code wish_default(reading *r, ml_upcast_step *step, ml_bytes key)
{
    char what[64];
    snprintf(what, sizeof what, "'%.40s'", (const char *)key.data);
    ml_buf_clear(&r->desk->bytes);
    ml_code code = ml_value_write(r->L, -1, r->desk, ML_EVENT_BYTES_MAX, what, &r->why);
    if (code) return code;
    ml_bytes value = ml_buf_view(&r->desk->bytes);
    if (!ml_upcast_cast_is_finite(value))
        return ml_error_set(&r->why, ML_BAD_REQUEST, "%s holds NaN or an infinity", what);
    return ml_upcast_step_default(step, key, value, &r->why);
}

/* In the order in which they are carried out. */
static const struct {
    const char *name;
    wish *make;
} parts[] = {{"rename", wish_rename},
             {"move", wish_move},
             {"drop", wish_drop},
             {"cast", wish_cast},
             {"default", wish_default}};
enum { PARTS = sizeof parts / sizeof *parts };
static const char *const part_names[] = {"rename", "move", "drop", "cast", "default", NULL};

/* ---- a step ---------------------------------------------------------------------------- */

static ml_code read_names(reading *r, ml_upcast_step *step, size_t part)
{
    lua_State *L = r->L;
    int table = lua_gettop(L);
    size_t count;
    ml_bytes *keys = push_keys(L, table, &count);
    if (keys == NULL)
        return ml_error_set(&r->why, ML_BAD_REQUEST, "its keys are names of fields, as in {%s}",
                            parts[part].make == wish_cast ? "amount = \"integer\""
                                                          : "sum = \"amount\"");
    for (size_t n = 0; n < count; n++) {
        lua_pushlstring(L, keys[n].data, keys[n].size);
        lua_rawget(L, table);
        ml_code code = parts[part].make(r, step, keys[n]);
        lua_pop(L, 1);
        if (code) return code;
    }
    return ML_OK;
}

static ml_code read_list(reading *r, ml_upcast_step *step, size_t part)
{
    lua_State *L = r->L;
    int table = lua_gettop(L);
    lua_Integer count = (lua_Integer)lua_rawlen(L, table);
    bool good = ml_fields_is_list(L, table, count);
    for (lua_Integer n = 1; good && n <= count; n++) {
        good = lua_rawgeti(L, table, n) == LUA_TSTRING;
        ml_code code = good ? parts[part].make(r, step, text_at(L, -1)) : ML_OK;
        lua_pop(L, 1);
        if (code) return code;
    }
    return good ? ML_OK
                : ml_error_set(&r->why, ML_BAD_REQUEST, "it is a list of fields, as in {\"note\"}");
}

/* The step that the table on top of the stack describes; NULL with r->why. */
static void read_plain(reading *r, ml_upcast_step *step, const char *what)
{
    lua_State *L = r->L;
    ml_fields fields = ml_fields_from(L, -1, what, part_names, &r->why);
    for (size_t part = 0; part < PARTS && !r->why.code; part++) {
        int type = ml_fields_push(&fields, parts[part].name), top = lua_gettop(L);
        ml_code code = ML_OK;
        if (type == LUA_TTABLE) {
            code = parts[part].make == wish_drop ? read_list(r, step, part)
                                                 : read_names(r, step, part);
        } else if (type != LUA_TNIL) {
            code = ml_error_set(&r->why, ML_BAD_REQUEST, "it is a table, not a %s",
                                lua_typename(L, type));
        }
        lua_settop(L, top - 1);
        if (!code) continue;
        ml_error said = r->why;
        ml_error_set(&r->why, code, "%s: %s: %.900s", what, parts[part].name, said.sentence);
    }
    ml_error said;
    if (!r->why.code && ml_upcast_step_ready(step, &said))
        ml_error_set(&r->why, said.code, "%s: %.900s", what, said.sentence);
}

/* The line on which `[1] =` stands; 0 if steps are written without their numbers. */
static uint32_t find_line(const reading *r, uint32_t schema)
{
    char word[16];
    int size = snprintf(word, sizeof word, "[%u]", (unsigned)schema);
    ml_bytes path = {r->chain->file, strlen(r->chain->file)};
    ml_bytes text = ml_sandbox_text(ml_sandbox_of(r->L), path);
    const char *at = text.data, *end = at + text.size;
    uint32_t line = 1;
    for (; end - at > size; at++) {
        line += *at == '\n';
        if (memcmp(at, word, (size_t)size) != 0) continue;
        const char *behind = at + size;
        while (behind < end && *behind == ' ')
            behind++;
        if (behind < end && *behind == '=' && (behind + 1 == end || behind[1] != '=')) return line;
    }
    return 0;
}

static void read_function(reading *r, ml_chain_step *to)
{
    lua_Debug about;
    lua_pushvalue(r->L, -1);
    lua_getinfo(r->L, ">Su", &about);
    to->line = about.linedefined > 0 ? (uint32_t)about.linedefined : 0;
    to->wants_event = about.isvararg || about.nparams > 1;
    lua_pushvalue(r->L, -1);
    to->function = luaL_ref(r->L, LUA_REGISTRYINDEX);
}

/* The value on top of the stack as the step that starts from `schema`. */
static bool read_step(reading *r, uint32_t schema)
{
    char what[32];
    snprintf(what, sizeof what, "step [%u]", (unsigned)schema);
    ml_chain_step *to = &r->chain->steps[schema - 1];
    if (lua_isfunction(r->L, -1)) {
        read_function(r, to);
        return true;
    }
    to->line = find_line(r, schema);
    if (!lua_istable(r->L, -1)) {
        STEP(r, to,
             "%s is a %s; a step is a table {rename =, move =, drop =, cast =, default =} or a "
             "function",
             what, luaL_typename(r->L, -1));
        return false;
    }
    r->why.code = ML_OK;
    to->plain = ml_upcast_step_new();
    if (to->plain == NULL)
        ml_error_memory(&r->why, what);
    else
        read_plain(r, to->plain, what);
    if (!r->why.code) return true;
    ml_upcast_chain_refuse(r->chain, r->to, r->why.code == ML_NO_MEMORY ? "MEMORY" : "SHAPE",
                           to->line, "%.500s", r->why.sentence);
    return false;
}

/* ---- the table ------------------------------------------------------------------------- */

static bool read_type(reading *r, int table)
{
    ml_bytes type = {"", 0};
    lua_pushliteral(r->L, "upcast");
    if (lua_rawget(r->L, table) == LUA_TSTRING) type = text_at(r->L, -1);
    bool good = type.size > 0 && type.size <= ML_TYPE_BYTES_MAX && ml_unpack_utf8(type);
    if (!good)
        SHAPE(r, "upcast is the type of an event, 1 to %d bytes of UTF-8", ML_TYPE_BYTES_MAX);
    r->chain->text = good ? malloc(type.size) : NULL;
    if (r->chain->text != NULL) {
        memcpy(r->chain->text, type.data, type.size);
        r->chain->type = (ml_bytes){r->chain->text, type.size};
        r->chain->name = luaL_ref(r->L, LUA_REGISTRYINDEX);
        return true;
    }
    if (good) ml_upcast_chain_refuse(r->chain, r->to, "MEMORY", 0, "no memory for a chain");
    lua_pop(r->L, 1);
    return false;
}

static bool read_latest(reading *r, int table)
{
    int is_integer;
    lua_pushliteral(r->L, "latest");
    int type = lua_rawget(r->L, table);
    lua_Integer latest = lua_tointegerx(r->L, -1, &is_integer);
    lua_pop(r->L, 1);
    if (type != LUA_TNUMBER || !is_integer || latest < 2 || latest > ML_UPCAST_STEPS_MAX + 1) {
        CHAIN(r, "latest is the schema that the last step makes, an integer from 2 to %d",
              ML_UPCAST_STEPS_MAX + 1);
        return false;
    }
    r->chain->steps = calloc((size_t)latest - 1, sizeof *r->chain->steps);
    if (r->chain->steps == NULL) {
        ml_upcast_chain_refuse(r->chain, r->to, "MEMORY", 0, "no memory for a chain");
        return false;
    }
    r->chain->latest = (uint32_t)latest;
    return true;
}

static bool check_word(reading *r, ml_bytes key)
{
    static const char *const words[] = {"upcast", "latest", NULL};
    if (ml_bytes_equal(key, ML_STR("upcast")) || ml_bytes_equal(key, ML_STR("latest"))) return true;
    const char *near = ml_fields_nearest(key, words);
    if (near == NULL)
        SHAPE(r, "unknown key \"%.40s\" (there are: upcast, latest, and [1] to [latest - 1])",
              (const char *)key.data);
    else
        SHAPE(r, "unknown key \"%.40s\" (did you mean \"%s\"?)", (const char *)key.data, near);
    return false;
}

/* Every key is a word of ours or a schema that there is a way from. */
static bool check_keys(reading *r, int table)
{
    lua_State *L = r->L;
    bool good = true;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        lua_Integer schema = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        if (lua_type(L, -2) == LUA_TSTRING) {
            good = check_word(r, text_at(L, -2)) && good;
        } else if (!lua_isinteger(L, -2)) {
            CHAIN(r,
                  "a %s is no key here; the key of a step is the schema that it starts from, an "
                  "integer",
                  lua_type(L, -2) == LUA_TNUMBER ? "float" : luaL_typename(L, -2));
            good = false;
        } else if (r->chain->latest > 0 && (schema < 1 || schema >= r->chain->latest)) {
            CHAIN(r, "step [%lld] is not between [1] and latest = %u", (long long)schema,
                  (unsigned)r->chain->latest);
            good = false;
        }
    }
    return good;
}

static bool read_steps(reading *r, int table)
{
    bool good = true, whole = true;
    for (uint32_t schema = 1; schema < r->chain->latest && whole; schema++) {
        whole = lua_rawgeti(r->L, table, schema) != LUA_TNIL;
        if (!whole)
            CHAIN(r, "there is no step [%u]: nothing makes schema %u of schema %u",
                  (unsigned)schema, (unsigned)schema + 1, (unsigned)schema);
        else
            good = read_step(r, schema) && good;
        lua_pop(r->L, 1);
    }
    return good && whole;
}

bool ml_upcast_chain_read(lua_State *L, int index, ml_upcast_chain *chain, ml_desk *desk,
                          ml_diagnostics *to)
{
    reading r = {.L = L, .chain = chain, .desk = desk, .to = to};
    int table = lua_absindex(L, index);
    luaL_checkstack(L, 16, "moonlog");
    if (!lua_istable(L, table)) {
        SHAPE(&r, "the file returns a %s; upcasters are a table {upcast =, latest =, [1] = …}",
              luaL_typename(L, table));
        return false;
    }
    bool good = read_type(&r, table);
    good = read_latest(&r, table) && good;
    good = check_keys(&r, table) && good;
    return read_steps(&r, table) && good;
}
