/* value_read.c -- from stored bytes straight onto the Lua stack: no object in between. */
#include "value.h"

#include <lauxlib.h>
#include <math.h>

#include "../base/limits.h"

enum {
    SLOTS_A_LEVEL = 4, /* a table, a key, a value or a metatable, and one to spare */
    LEVELS_MAX = ML_DEPTH_MAX + ML_VALUE_ENVELOPE
};

/* `depth` counts the levels that may still be opened. */
static bool read_value(lua_State *L, ml_unpack *at, unsigned depth);

static void push_text(lua_State *L, ml_bytes text)
{
    lua_pushlstring(L, text.size > 0 ? text.data : "", text.size);
}

/* Counts are truthful up to the bytes that are left (unpack.h), and so are the sizes asked
 * of Lua here. */
static bool read_array(lua_State *L, ml_unpack *at, uint32_t count, unsigned depth)
{
    lua_createtable(L, (int)count, 0);
    for (uint32_t i = 1; i <= count; i++) {
        if (!read_value(L, at, depth)) return false;
        lua_rawseti(L, -2, i);
    }
    ml_value_mark(L, ML_VALUE_ARRAY);
    return true;
}

/* bin becomes a string too, because a userdata would not be found again under that key; what
 * is no UTF-8 is written back as bin. */
static bool read_key(lua_State *L, ml_unpack *at, unsigned depth, bool *is_text)
{
    ml_unpack next = *at;
    ml_token token = ml_unpack_next(&next);
    *is_text = token.kind == ML_KIND_STR || token.kind == ML_KIND_BIN;
    if (token.kind == ML_KIND_FLOAT && isnan(token.number)) return false;
    if (!*is_text) return read_value(L, at, depth);
    push_text(L, token.bytes);
    *at = next;
    return true;
}

static bool read_map(lua_State *L, ml_unpack *at, uint32_t pairs, unsigned depth)
{
    bool all_text = true;
    lua_createtable(L, 0, (int)pairs);
    for (uint32_t i = 0; i < pairs; i++) {
        bool is_text;
        if (!read_key(L, at, depth, &is_text)) return false;
        if (!read_value(L, at, depth)) return false;
        lua_rawset(L, -3);
        all_text = all_text && is_text;
    }
    if (!all_text) ml_value_mark(L, ML_VALUE_MAP);
    return true;
}

static bool read_value(lua_State *L, ml_unpack *at, unsigned depth)
{
    ml_token token = ml_unpack_next(at);
    switch (token.kind) {
    case ML_KIND_NONE:
    case ML_KIND_UINT: return false;
    case ML_KIND_NIL: ml_value_push_null(L); return true;
    case ML_KIND_BOOL: lua_pushboolean(L, token.boolean); return true;
    case ML_KIND_INT: lua_pushinteger(L, token.integer); return true;
    case ML_KIND_FLOAT: lua_pushnumber(L, token.number); return true;
    case ML_KIND_STR: push_text(L, token.bytes); return true;
    case ML_KIND_BIN: ml_value_push_bytes(L, token.bytes); return true;
    case ML_KIND_EXT: ml_value_push_ext(L, token.ext, token.bytes); return true;
    case ML_KIND_ARRAY: return depth > 0 && read_array(L, at, token.count, depth - 1);
    case ML_KIND_MAP: return depth > 0 && read_map(L, at, token.count, depth - 1);
    }
    return false;
}

static bool read_whole(lua_State *L, ml_unpack *cursor, unsigned depth)
{
    luaL_checkstack(L, SLOTS_A_LEVEL * (LEVELS_MAX + 1), "moonlog");
    int top = lua_gettop(L);
    ml_unpack next = *cursor;
    if (ml_unpack_next(&next).kind == ML_KIND_NIL) {
        lua_pushnil(L);
        *cursor = next;
        return true;
    }
    next = *cursor;
    if (!read_value(L, &next, depth)) {
        lua_settop(L, top);
        return false;
    }
    *cursor = next;
    return true;
}

bool ml_value_read(lua_State *L, ml_unpack *cursor)
{
    return read_whole(L, cursor, ML_DEPTH_MAX);
}

/* ---- some fields ------------------------------------------------------------------------ */

static bool is_among(ml_bytes names, ml_bytes name)
{
    const uint8_t *all = names.data;
    for (size_t at = 0; at < names.size; at += 1u + all[at])
        if (all[at] == name.size && memcmp(all + at + 1, name.data, name.size) == 0) return true;
    return false;
}

/* May the value behind it be passed over? Not what may hold something that Lua cannot. */
static bool is_scalar(ml_kind kind)
{
    return kind != ML_KIND_NONE && kind != ML_KIND_UINT && kind != ML_KIND_ARRAY &&
           kind != ML_KIND_MAP;
}

/* Reads a field, or passes over it. */
static bool read_field(lua_State *L, ml_unpack *at, ml_bytes names)
{
    bool is_text;
    ml_unpack next = *at;
    ml_token key = ml_unpack_next(&next);
    if (key.kind != ML_KIND_STR) {
        if (!read_key(L, at, ML_DEPTH_MAX - 1, &is_text)) return false;
    } else if (is_among(names, key.bytes)) {
        push_text(L, key.bytes);
        *at = next;
    } else {
        *at = next;
        if (is_scalar(ml_unpack_next(&next).kind)) {
            *at = next;
            return true;
        }
        push_text(L, key.bytes);
    }
    if (!read_value(L, at, ML_DEPTH_MAX - 1)) return false;
    lua_rawset(L, -3);
    return true;
}

bool ml_value_read_fields(lua_State *L, ml_unpack *cursor, ml_bytes names)
{
    uint32_t count;
    ml_unpack at = *cursor;
    if (!ml_unpack_map(&at, &count)) return ml_value_read(L, cursor);
    luaL_checkstack(L, SLOTS_A_LEVEL * (LEVELS_MAX + 1), "moonlog");
    int top = lua_gettop(L);
    lua_createtable(L, 0, (int)(names.size / 8 + 1)); /* about as many as there are names */
    for (uint32_t i = 0; i < count; i++) {
        if (read_field(L, &at, names)) continue;
        lua_settop(L, top);
        return false;
    }
    *cursor = at;
    return true;
}

bool ml_value_read_message(lua_State *L, ml_unpack *cursor)
{
    return read_whole(L, cursor, LEVELS_MAX);
}
