/* same.c -- everything that a value can reach, written down in one way, and hashed.
 *
 * A table, a function, a variable that functions share: each is written where it is met first,
 * and by its number from then on, so circles end and it shows who shares what. What every function
 * can reach unasked, the globals and the methods of strings, is written down first, as far as it is
 * not as in a sandbox that has run nothing. */
#include "same.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "../script/value.h"
#include "../script/words.h"
#include "same_code.h"

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wswitch-enum"
#include <xxhash.h>
#pragma GCC diagnostic pop

enum {
    SLOTS = 12, /* of Lua's stack, a level */
    MEMORY = 3, /* where the table of numbers lies, */
    NAMES = 4,  /* and that of names of C functions */
    BYTES_MAX = 64 << 20
};

/* In the registry, by address: names of C functions, by the function. */
static const char names_key;

typedef struct writer {
    lua_State *L;
    ml_buf out, dump;
    ml_buf keys; /* of the tables that are being written */
    size_t values, met;
    bool none; /* there is no digest */
} writer;

/* A key of a table: text, an integer, or a float. */
typedef struct name {
    int order; /* integers, floats, texts, booleans */
    lua_Integer integer;
    lua_Number number;
    const char *text;
    size_t size;
} name;

static void write_value(writer *w, int depth);

/* ---- pieces ------------------------------------------------------------------------------- */

static void put_number(writer *w, char tag, uint64_t number)
{
    uint8_t bytes[8];
    ml_put_u64(bytes, number);
    ml_buf_byte(&w->out, (uint8_t)tag);
    ml_buf_add(&w->out, bytes, sizeof bytes);
}

static void put_text(writer *w, char tag, const void *text, size_t size)
{
    put_number(w, tag, size);
    ml_buf_add(&w->out, text, size);
    if (w->out.size > BYTES_MAX) w->none = true;
}

/* The value, or light userdata, on top is popped. Was it met before? If so its number is written.
 */
static bool was_met(writer *w, char tag)
{
    lua_State *L = w->L;
    lua_pushvalue(L, -1);
    bool met = lua_rawget(L, MEMORY) != LUA_TNIL;
    lua_Integer number = met ? lua_tointeger(L, -1) : (lua_Integer)++w->met;
    lua_pop(L, 1);
    if (met) {
        lua_pop(L, 1);
        put_number(w, tag, (uint64_t)number);
        return true;
    }
    lua_pushinteger(L, number);
    lua_rawset(L, MEMORY);
    return false;
}

/* ---- tables ------------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
    const name *a = left, *b = right;
    if (a->order != b->order) return a->order - b->order;
    if (a->order == 0) return (a->integer > b->integer) - (a->integer < b->integer);
    if (a->order == 1) return (a->number > b->number) - (a->number < b->number);
    if (a->order == 3) return (int)a->integer - (int)b->integer;
    int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* The key at -2. False: such a key has no order. */
static bool read_name(lua_State *L, name *key)
{
    *key = (name){0};
    switch (lua_type(L, -2)) {
    case LUA_TSTRING:
        key->order = 2;
        key->text = lua_tolstring(L, -2, &key->size);
        return true;
    case LUA_TNUMBER:
        key->order = lua_isinteger(L, -2) ? 0 : 1;
        key->integer = lua_isinteger(L, -2) ? lua_tointeger(L, -2) : 0;
        key->number = lua_tonumber(L, -2);
        return true;
    case LUA_TBOOLEAN:
        key->order = 3;
        key->integer = lua_toboolean(L, -2);
        return true;
    default: return false;
    }
}

static void push_name(lua_State *L, const name *key)
{
    if (key->order == 0) lua_pushinteger(L, key->integer);
    else if (key->order == 1) lua_pushnumber(L, key->number);
    else if (key->order == 2) lua_pushlstring(L, key->text, key->size);
    else lua_pushboolean(L, (int)key->integer);
}

/* The keys of the table on top go to the end of w->keys, in order; gives where they begin. */
static size_t gather(writer *w)
{
    size_t begin = w->keys.size;
    for (lua_pushnil(w->L); lua_next(w->L, -2); lua_pop(w->L, 1)) {
        name key;
        if (!read_name(w->L, &key)) w->none = true;
        ml_buf_add(&w->keys, &key, sizeof key);
    }
    if (w->keys.failed) w->none = true;
    size_t count = (w->keys.size - begin) / sizeof(name);
    if (!w->none && count > 1) qsort(w->keys.data + begin, count, sizeof(name), compare);
    return begin;
}

/* The pairs of the table on top, as far as `wants` says so; NULL: all. */
static void write_pairs(writer *w, int depth, bool (*wants)(writer *w, const name *key))
{
    lua_State *L = w->L;
    size_t begin = gather(w), end = w->keys.size;
    for (size_t at = begin; at < end && !w->none; at += sizeof(name)) {
        name key;
        memcpy(&key, w->keys.data + at, sizeof key);
        push_name(L, &key);
        lua_pushvalue(L, -1);
        lua_rawget(L, -3);
        if (wants != NULL && !wants(w, &key)) {
            lua_pop(L, 2);
            continue;
        }
        lua_insert(L, -2);
        write_value(w, depth); /* the key, then the value */
        write_value(w, depth);
    }
    w->keys.size = begin;
    ml_buf_byte(&w->out, 'e');
}

/* The table on top. */
static void write_table(writer *w, int depth)
{
    lua_State *L = w->L;
    ml_value_kind kind = ml_value_of(L, -1);
    ml_word word = ml_word_of(L, -1);
    put_number(w, 't', (uint64_t)kind << 32 | (uint64_t)word);
    if (kind == ML_VALUE_PLAIN && word == ML_WORD_NONE && lua_getmetatable(L, -1))
        write_value(w, depth);
    write_pairs(w, depth, NULL);
}

/* ---- functions ---------------------------------------------------------------------------- */

/* Of the function on top: variables, each with its number, so that it shows who shares one. */
static void write_upvalues(writer *w, int depth)
{
    lua_State *L = w->L;
    int function = lua_gettop(L);
    for (int n = 1; !w->none && lua_getupvalue(L, function, n) != NULL; n++) {
        lua_pushlightuserdata(L, lua_upvalueid(L, function, n));
        if (was_met(w, 'v')) lua_pop(L, 1);
        else write_value(w, depth);
    }
    ml_buf_byte(&w->out, 'e');
}

/* What has a name is the sandbox's, with the variables that it has in every one. */
static void write_c_function(writer *w)
{
    lua_State *L = w->L;
    lua_CFunction function = lua_tocfunction(L, -1);
    void *address;
    memcpy(&address, &function, sizeof address);
    if (lua_rawgetp(L, NAMES, address) == LUA_TSTRING) {
        size_t size;
        const char *text = lua_tolstring(L, -1, &size);
        put_text(w, 'c', text, size);
    } else {
        w->none = true;
    }
    lua_pop(L, 1);
}

static void write_function(writer *w, int depth)
{
    if (lua_iscfunction(w->L, -1)) {
        write_c_function(w);
        return;
    }
    ml_buf_clear(&w->dump);
    ml_buf_byte(&w->out, 'f');
    if (!ml_sandbox_dump(w->L, true, &w->dump) ||
        !ml_same_code(ml_buf_view(&w->dump), &w->out))
        w->none = true;
    write_upvalues(w, depth);
}

/* ---- values ------------------------------------------------------------------------------- */

static void write_window(writer *w, ml_window window)
{
    put_number(w, 'w', (uint64_t)window.kind << 1 | window.occurred);
    put_number(w, 'w', (uint64_t)window.size);
    put_number(w, 'w', (uint64_t)window.hop);
    put_number(w, 'w', (uint64_t)window.offset);
    put_number(w, 'w', (uint64_t)window.grace);
}

static void write_userdata(writer *w)
{
    int8_t type = 0;
    ml_bytes bytes = {0};
    ml_value_kind kind = ml_value_of(w->L, -1);
    ml_word word = ml_word_of(w->L, -1);
    if (kind == ML_VALUE_BYTES) bytes = ml_value_bytes(w->L, -1);
    else if (kind == ML_VALUE_EXT) bytes = ml_value_ext(w->L, -1, &type);
    else if (word == ML_WORD_WINDOW) write_window(w, ml_words_window(w->L, -1));
    else if (kind != ML_VALUE_NULL && word != ML_WORD_DROP && word != ML_WORD_DELETE)
        w->none = true;
    put_number(w, 'u', (uint64_t)kind << 32 | (uint64_t)word << 8 | (uint8_t)type);
    put_text(w, 'u', bytes.data, bytes.size);
}

static void write_reached(writer *w, int depth)
{
    lua_pushvalue(w->L, -1);
    if (was_met(w, 'r')) return;
    if (lua_istable(w->L, -1)) write_table(w, depth - 1);
    else write_function(w, depth - 1);
}

static void write_plain(writer *w)
{
    lua_State *L = w->L;
    size_t size;
    double number;
    uint64_t bits;
    switch (lua_type(L, -1)) {
    case LUA_TNIL: ml_buf_byte(&w->out, 'n'); break;
    case LUA_TBOOLEAN: put_number(w, 'b', (uint64_t)lua_toboolean(L, -1)); break;
    case LUA_TNUMBER:
        number = lua_tonumber(L, -1);
        memcpy(&bits, &number, sizeof bits);
        if (lua_isinteger(L, -1)) put_number(w, 'i', (uint64_t)lua_tointeger(L, -1));
        else put_number(w, 'd', bits);
        break;
    case LUA_TSTRING: {
        const char *text = lua_tolstring(L, -1, &size);
        put_text(w, 's', text, size);
        break;
    }
    case LUA_TUSERDATA: write_userdata(w); break;
    default: w->none = true;
    }
}

/* The value on top, which is popped. */
static void write_value(writer *w, int depth)
{
    lua_State *L = w->L;
    luaL_checkstack(L, SLOTS, "moonlog");
    ml_sandbox_check(L);
    if (++w->values > ML_SAME_VALUES || depth == 0) w->none = true;
    lua_pushglobaltable(L);
    bool globals = lua_rawequal(L, -1, -2), reached = lua_istable(L, -2) || lua_isfunction(L, -2);
    lua_pop(L, 1);
    if (!w->none && globals) ml_buf_byte(&w->out, 'G');
    else if (!w->none && reached) write_reached(w, depth);
    else if (!w->none) write_plain(w);
    lua_pop(L, 1);
}

/* ---- what is there unasked ------------------------------------------------------------------ */

/* The C functions of the table on top get names, "string.format", unless they have one. */
static void name_functions(lua_State *L, int names, const char *of)
{
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING || !lua_iscfunction(L, -1)) continue;
        void *address;
        lua_CFunction function = lua_tocfunction(L, -1);
        memcpy(&address, &function, sizeof address);
        lua_pushfstring(L, "%s.%s", of, lua_tostring(L, -2));
        if (lua_rawgetp(L, names, address) == LUA_TNIL) {
            lua_pushvalue(L, -2);
            lua_rawsetp(L, names, address);
        }
        lua_pop(L, 2);
    }
}

/* Runs in a sandbox that has run nothing: name and function of each, in out->dump. */
static int list_functions(lua_State *L)
{
    static const char *const tables[] = {"string", "table", "math", "utf8", NULL};
    ml_buf *list = lua_touserdata(L, 1);
    lua_settop(L, 1);
    lua_newtable(L);
    lua_pushglobaltable(L);
    name_functions(L, 2, "");
    for (int n = 0; tables[n] != NULL; n++) {
        lua_pushstring(L, tables[n]);
        lua_rawget(L, 3);
        name_functions(L, 2, tables[n]);
        lua_settop(L, 3);
    }
    lua_pushliteral(L, "require");
    lua_rawget(L, 3);
    lua_pushliteral(L, "moonlog");
    lua_call(L, 1, 1);
    name_functions(L, 2, "moonlog");
    for (lua_pushnil(L); lua_next(L, 2); lua_pop(L, 1)) {
        void *address = lua_touserdata(L, -2);
        const char *text = lua_tostring(L, -1);
        ml_buf_add(list, &address, sizeof address);
        ml_buf_add(list, text, strlen(text) + 1);
    }
    return 0;
}

static bool list_names(ml_buf *list)
{
    ml_error why;
    ml_fault fault;
    ml_sandbox *pristine = ml_sandbox_new(NULL, 0, 0, &why);
    bool done = pristine != NULL && ml_sandbox_enter(pristine, list_functions, list, &fault) &&
                !list->failed;
    ml_sandbox_free(pristine);
    return done;
}

/* Leaves the table of names on the stack. */
static void push_names(lua_State *L, const ml_buf *list)
{
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key) == LUA_TTABLE) return;
    lua_pop(L, 1);
    lua_newtable(L);
    for (size_t at = 0; at < list->size;) {
        void *address;
        memcpy(&address, list->data + at, sizeof address);
        const char *text = (const char *)list->data + at + sizeof address;
        lua_pushstring(L, text);
        lua_rawsetp(L, -2, address);
        at += sizeof address + strlen(text) + 1;
    }
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
}

/* Is the value on top, of this key among the globals, not the function that is there from the
 * beginning? */
static bool is_other(writer *w, const name *key)
{
    lua_State *L = w->L;
    if (lua_istable(L, -1) || !lua_iscfunction(L, -1) || key->order != 2) return true;
    void *address;
    lua_CFunction function = lua_tocfunction(L, -1);
    memcpy(&address, &function, sizeof address);
    const char *known = lua_rawgetp(L, NAMES, address) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    bool other = known[0] != '.' || strcmp(known + 1, key->text) != 0; /* type is not math.type */
    lua_pop(L, 1);
    return other;
}

/* The globals, and the methods of every text: those of `string`, whatever that is called by now. */
static void write_globals(writer *w)
{
    lua_pushglobaltable(w->L);
    write_pairs(w, ML_SAME_DEPTH, is_other);
    lua_pop(w->L, 1);
    lua_pushliteral(w->L, "");
    if (luaL_getmetafield(w->L, -1, "__index") != LUA_TNIL) write_value(w, ML_SAME_DEPTH);
    lua_pop(w->L, 1);
}

/* ---- the door ------------------------------------------------------------------------------- */

typedef struct wish {
    writer w;
    int reference;
    ml_buf list;
} wish;

static int digest_body(lua_State *L)
{
    wish *asked = lua_touserdata(L, 1);
    writer *w = &asked->w;
    w->L = L;
    luaL_checkstack(L, SLOTS, "moonlog");
    lua_settop(L, 2);
    lua_newtable(L);
    push_names(L, &asked->list);
    ML_ASSERT(lua_gettop(L) == NAMES);
    write_globals(w);
    lua_rawgeti(L, LUA_REGISTRYINDEX, asked->reference);
    write_value(w, ML_SAME_DEPTH);
    return 0;
}

static bool has_names(const ml_unit *unit)
{
    lua_State *L = ml_sandbox_lua(unit->sandbox);
    bool has = lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key) == LUA_TTABLE;
    lua_pop(L, 1);
    return has;
}

bool ml_same_digest(const ml_unit *unit, int reference, uint8_t digest[ML_SAME_DIGEST])
{
    ml_fault fault;
    wish asked = {.reference = reference};
    bool done = has_names(unit) || list_names(&asked.list);
    done = done && ml_sandbox_enter(unit->sandbox, digest_body, &asked, &fault);
    const writer *w = &asked.w;
    done = done && !w->none && !w->out.failed;
    if (done) {
        XXH128_canonical_t canonical;
        XXH128_canonicalFromHash(&canonical, XXH3_128bits(w->out.data, w->out.size));
        memcpy(digest, canonical.digest, ML_SAME_DIGEST);
    }
    ml_buf_free(&asked.w.out);
    ml_buf_free(&asked.w.dump);
    ml_buf_free(&asked.w.keys);
    ml_buf_free(&asked.list);
    return done;
}
