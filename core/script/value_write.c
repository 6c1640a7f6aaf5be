/* value_write.c -- from Lua values to MessagePack, the same bytes for equal tables.
 *
 * A map is written pair by pair in the order Lua gives them, while a note is kept of each
 * key and of where its pair lies; then the pairs are moved into the order of their keys. So
 * no key is looked up twice. The notes borrow the keys' bytes: the table holds them, and no
 * Lua code runs here that could take them out.
 */
#include "value.h"

#include <ctype.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "../base/pack.h"

enum {
    SLOTS_A_LEVEL = 4,   /* key, value, metatable, kind */
    LEVELS_MAX = ML_DEPTH_MAX + ML_VALUE_ENVELOPE,
    PATH_KEY_BYTES_MAX = 40 /* of a key shown in a sentence */
};

/* A key: text, or an integer if there is none. */
typedef struct key {
    const char *text;
    size_t size;
    lua_Integer integer;
} key;

typedef struct pair {
    key key;
    size_t at, size; /* in the buffer */
} pair;

typedef struct writer {
    lua_State *L;
    ml_buf *out, *sorting;
    size_t begin, limit;
    const char *what;
    ml_error *why;
    unsigned depth, depth_max;
    key path[LEVELS_MAX]; /* the way to the value that is being written */
} writer;

static bool write_value(writer *w, int index);

/* ---- refusing -------------------------------------------------------------------------- */

static bool is_word(key k)
{
    for (size_t i = 0; i < k.size; i++)
        if (!isalnum((unsigned char)k.text[i]) && k.text[i] != '_') return false;
    return k.size > 0 && k.size <= PATH_KEY_BYTES_MAX && !isdigit((unsigned char)k.text[0]);
}

/* Only printable ASCII of a key is shown: the sentence goes to terminals and into JSON. */
static void print_key(ml_buf *text, key k)
{
    if (k.text == NULL) {
        ml_buf_print(text, "[%" PRId64 "]", (int64_t)k.integer);
    } else if (is_word(k)) {
        ml_buf_print(text, ".%.*s", (int)k.size, k.text);
    } else {
        ml_buf_print(text, "[\"");
        for (size_t i = 0; i < k.size && i < PATH_KEY_BYTES_MAX; i++)
            ml_buf_byte(text, isprint((unsigned char)k.text[i]) ? (uint8_t)k.text[i] : '?');
        ml_buf_print(text, "%s\"]", k.size > PATH_KEY_BYTES_MAX ? "..." : "");
    }
}

/* The way to the value, "data.items[3]", is printed behind what was written so far: the
 * bytes are of no use any more. */
static const char *print_path(writer *w)
{
    ml_buf *text = w->out;
    text->size = w->begin;
    ml_buf_print(text, "%s", w->what);
    for (unsigned i = 0; i < w->depth; i++) print_key(text, w->path[i]);
    ml_buf_byte(text, '\0');
    return text->failed ? w->what : (const char *)text->data + w->begin;
}

static bool refuse(writer *w, const char *sentence)
{
    ML_IGNORE(ml_error_set(w->why, ML_BAD_REQUEST, "%.800s %s", print_path(w), sentence));
    return false;
}

static bool refuse_type(writer *w, int index)
{
    const char *type = luaL_typename(w->L, index);
    ML_IGNORE(ml_error_set(w->why, ML_BAD_REQUEST,
                           "%.800s is a %s, which cannot be stored; store what it stands for",
                           print_path(w), type));
    return false;
}

static bool refuse_size(writer *w)
{
    ML_IGNORE(ml_error_set(w->why, ML_TOO_LARGE,
                           "%s is over %zu bytes; split it, or store a reference", w->what,
                           w->limit));
    return false;
}

/* ---- tables ---------------------------------------------------------------------------- */

/* Steps into the item that `k` leads to, writes the value on top of the stack, steps out.
 * After a refusal depth stays, so that the sentence can name the way. */
static bool write_item(writer *w, key k)
{
    w->path[w->depth - 1] = k;
    return write_value(w, lua_gettop(w->L));
}

static bool refuse_shape(writer *w, key k)
{
    w->path[w->depth - 1] = k;
    return refuse(w, "is in a table with holes or mixed keys; use moonlog.array with "
                     "moonlog.null for holes, moonlog.map for integer keys, or string keys");
}

/* The key below the top of the stack (the value) as lua_next leaves it; false if it is
 * neither string nor integer. Never converts it: that would confuse lua_next. */
static bool key_at(lua_State *L, int index, key *k)
{
    *k = (key){0};
    if (lua_type(L, index) == LUA_TSTRING) {
        k->text = lua_tolstring(L, index, &k->size);
        return true;
    }
    if (!lua_isinteger(L, index)) return false;
    k->integer = lua_tointeger(L, index);
    return true;
}

static bool refuse_key(writer *w, int index)
{
    w->depth--;
    const char *type = luaL_typename(w->L, index);
    ML_IGNORE(ml_error_set(w->why, ML_BAD_REQUEST,
                           "%.800s has a %s as a key; keys are strings or integers",
                           print_path(w), lua_type(w->L, index) == LUA_TNUMBER ? "float" : type));
    return false;
}

/* True if the keys of the table are exactly 1..count. */
static bool check_list(writer *w, int index, lua_Integer count)
{
    lua_State *L = w->L;
    lua_Integer seen = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        key k;
        if (!key_at(L, -2, &k)) return refuse_key(w, -2);
        if (k.text != NULL || k.integer < 1 || k.integer > count) return refuse_shape(w, k);
        seen++;
        lua_pop(L, 1);
    }
    if (seen == count) return true;
    key hole = {.integer = 1};
    while (lua_rawgeti(L, index, hole.integer) != LUA_TNIL) {
        hole.integer++;
        lua_pop(L, 1);
    }
    return refuse_shape(w, hole);
}

static bool write_array(writer *w, int index, lua_Integer count)
{
    if (count > (lua_Integer)w->limit) return refuse_size(w);
    if (!check_list(w, index, count)) return false;
    ml_pack_array(w->out, (uint32_t)count);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(w->L, index, i);
        if (!write_item(w, (key){.integer = i})) return false;
        lua_pop(w->L, 1);
    }
    return true;
}

/* Integers before strings; strings by their bytes, the shorter first. */
static int compare_pairs(const void *left, const void *right)
{
    const key *a = &((const pair *)left)->key, *b = &((const pair *)right)->key;
    if (a->text == NULL || b->text == NULL) {
        if (a->text != NULL || b->text != NULL) return a->text != NULL ? 1 : -1;
        return (a->integer > b->integer) - (a->integer < b->integer);
    }
    int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* Puts the pairs that lie from `begin` to the end of the buffer in the order of their keys,
 * by way of a copy behind them. */
static void sort_pairs(writer *w, size_t begin, size_t first_pair)
{
    ml_buf *out = w->out;
    size_t count = (w->sorting->size - first_pair) / sizeof(pair), size = out->size - begin;
    if (count < 2) return;
    pair *pairs = (void *)(w->sorting->data + first_pair);
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    if (!ml_buf_reserve(out, size)) return;
    for (size_t i = 0; i < count; i++)
        ml_buf_add(out, out->data + pairs[i].at, pairs[i].size);
    memcpy(out->data + begin, out->data + begin + size, size);
    out->size = begin + size;
}

static void write_text(ml_buf *out, ml_bytes text)
{
    if (ml_unpack_utf8(text)) ml_pack_str(out, text);
    else ml_pack_bin(out, text);
}

static bool write_pair(writer *w, bool integers)
{
    pair p = {.at = w->out->size};
    if (!key_at(w->L, -2, &p.key)) return refuse_key(w, -2);
    if (p.key.text == NULL && !integers) return refuse_shape(w, p.key);
    if (p.key.size > w->limit) return refuse_size(w);
    if (p.key.text == NULL) ml_pack_int(w->out, p.key.integer);
    else write_text(w->out, (ml_bytes){p.key.text, p.key.size});
    if (!write_item(w, p.key)) return false;
    p.size = w->out->size - p.at;
    ml_buf_add(w->sorting, &p, sizeof p);
    return true;
}

static bool write_map(writer *w, int index, bool integers)
{
    size_t begin = ml_pack_begin(w->out), first_pair = w->sorting->size;
    lua_pushnil(w->L);
    while (lua_next(w->L, index)) {
        if (!write_pair(w, integers)) return false;
        lua_pop(w->L, 1);
    }
    if (w->out->failed || w->sorting->failed) return false;
    uint32_t count = (uint32_t)((w->sorting->size - first_pair) / sizeof(pair));
    sort_pairs(w, begin + 1, first_pair);
    w->sorting->size = first_pair;
    ml_pack_end_map(w->out, begin, count);
    return true;
}

static bool write_table(writer *w, int index)
{
    if (w->depth == w->depth_max)
        return refuse(w, "is nested more than 30 levels deep; flatten it, or look for a table "
                         "that contains itself");
    ml_value_kind kind = ml_value_of(w->L, index);
    lua_Integer count = (lua_Integer)lua_rawlen(w->L, index);
    w->depth++;
    bool is_array = kind == ML_VALUE_ARRAY || (kind != ML_VALUE_MAP && count > 0);
    bool done = is_array ? write_array(w, index, count) : write_map(w, index, kind == ML_VALUE_MAP);
    if (done) w->depth--;
    return done;
}

/* ---- values ---------------------------------------------------------------------------- */

static bool write_number(writer *w, int index)
{
    if (lua_isinteger(w->L, index)) ml_pack_int(w->out, lua_tointeger(w->L, index));
    else ml_pack_double(w->out, lua_tonumber(w->L, index));
    return true;
}

static bool write_string(writer *w, int index)
{
    ml_bytes text;
    text.data = lua_tolstring(w->L, index, &text.size);
    if (text.size > w->limit) return refuse_size(w);
    write_text(w->out, text);
    return true;
}

static bool write_userdata(writer *w, int index)
{
    int8_t type;
    ml_value_kind kind = ml_value_of(w->L, index);
    if (lua_rawlen(w->L, index) > w->limit) return refuse_size(w);
    switch (kind) {
    case ML_VALUE_NULL: ml_pack_nil(w->out); return true;
    case ML_VALUE_BYTES: ml_pack_bin(w->out, ml_value_bytes(w->L, index)); return true;
    case ML_VALUE_EXT: {
        ml_bytes bytes = ml_value_ext(w->L, index, &type);
        ml_pack_ext(w->out, type, bytes);
        return true;
    }
    case ML_VALUE_PLAIN:
    case ML_VALUE_ARRAY:
    case ML_VALUE_MAP: break;
    }
    return refuse_type(w, index);
}

/* The limit is looked at once a value, so that a table which holds one table many times over,
 * many levels deep, is refused before it has unfolded. */
static bool write_value(writer *w, int index)
{
    if (w->out->failed || w->sorting->failed) return false;
    if (w->out->size - w->begin > w->limit) return refuse_size(w);
    switch (lua_type(w->L, index)) {
    case LUA_TNIL: ml_pack_nil(w->out); return true;
    case LUA_TBOOLEAN: ml_pack_bool(w->out, lua_toboolean(w->L, index)); return true;
    case LUA_TNUMBER: return write_number(w, index);
    case LUA_TSTRING: return write_string(w, index);
    case LUA_TTABLE: return write_table(w, index);
    case LUA_TUSERDATA: return write_userdata(w, index);
    default: return refuse_type(w, index);
    }
}

static ml_code write_whole(lua_State *L, int index, ml_desk *desk, size_t limit,
                           unsigned depth_max, const char *what, ml_error *why)
{
    luaL_checkstack(L, SLOTS_A_LEVEL * (LEVELS_MAX + 1), "moonlog");
    int top = lua_gettop(L);
    writer w = {.L = L, .out = &desk->bytes, .sorting = &desk->sorting, .limit = limit,
                .begin = desk->bytes.size, .depth_max = depth_max, .what = what, .why = why};
    bool done = write_value(&w, lua_absindex(L, index));
    lua_settop(L, top);
    desk->sorting.size = 0;
    if (desk->bytes.failed || desk->sorting.failed) return ml_error_memory(why, what);
    if (done && desk->bytes.size - w.begin > limit) done = refuse_size(&w);
    if (done) return ML_OK;
    desk->bytes.size = w.begin;
    return why->code;
}

ml_code ml_value_write(lua_State *L, int index, ml_desk *desk, size_t limit, const char *what,
                       ml_error *why)
{
    return write_whole(L, index, desk, limit, ML_DEPTH_MAX, what, why);
}

ml_code ml_value_write_message(lua_State *L, int index, ml_desk *desk, size_t limit,
                               ml_error *why)
{
    return write_whole(L, index, desk, limit, LEVELS_MAX, "message", why);
}
