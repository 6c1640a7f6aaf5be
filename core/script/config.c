/* config.c -- see config.h. Everything that may raise runs inside one protected call. */
#include "config.h"

#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"

enum {
    FILE_BYTES_MAX = 1 << 20,
    MEMORY_BYTES_MAX = 4 << 20,
    INSTRUCTIONS_MAX = 1000000 /* some milliseconds */
};

typedef struct reading {
    const char *path;
    ml_buf text;
    ml_config *config;
    size_t used; /* bytes that Lua has */
    ml_error *why;
} reading;

/* ---- the file -------------------------------------------------------------------------- */

static ml_code read_file(reading *r)
{
    FILE *file = fopen(r->path, "re");
    if (file == NULL) return ml_error_disk(r->why, -errno, "open", r->path);
    ml_code code = ml_buf_reserve(&r->text, FILE_BYTES_MAX + 1)
                       ? ML_OK
                       : ml_error_memory(r->why, "a configuration");
    if (!code) r->text.size = fread(r->text.data, 1, FILE_BYTES_MAX + 1, file);
    if (!code && ferror(file)) code = ml_error_disk(r->why, -EIO, "read", r->path);
    if (!code && r->text.size > FILE_BYTES_MAX)
        code = ml_error_set(r->why, ML_TOO_LARGE, "%s is over %d bytes", r->path, FILE_BYTES_MAX);
    fclose(file);
    return code;
}

/* ---- limits ---------------------------------------------------------------------------- */

static void *allocate(void *context, void *block, size_t before, size_t after)
{
    reading *r = context;
    size_t had = block != NULL ? before : 0;
    if (after == 0) {
        r->used -= had;
        free(block);
        return NULL;
    }
    if (after > had && r->used - had + after > MEMORY_BYTES_MAX) return NULL;
    void *moved = realloc(block, after);
    if (moved != NULL) r->used = r->used - had + after;
    return moved;
}

static void stop(lua_State *lua, lua_Debug *about)
{
    (void)about;
    luaL_error(lua, "the configuration runs for too long");
}

/* ---- the table --------------------------------------------------------------------------- */

static char *copy(lua_State *lua, int at)
{
    size_t size;
    const char *text = lua_tolstring(lua, at, &size);
    if (strlen(text) != size) luaL_error(lua, "a string has a zero byte in it");
    char *own = strdup(text);
    if (own == NULL) luaL_error(lua, "not enough memory");
    return own;
}

static bool is_string(lua_State *lua, int at)
{
    return lua_type(lua, at) == LUA_TSTRING;
}

/* Entries are counted as they are filled, so that a later error frees what is there. */
static void take_list(lua_State *lua, ml_config_entry *entry)
{
    lua_Unsigned count = lua_rawlen(lua, -1);
    if (count > ML_CONFIG_LIST_MAX)
        luaL_error(lua, "'%s' has more than %d values", entry->key, ML_CONFIG_LIST_MAX);
    for (lua_Unsigned n = 1; n <= count; n++) {
        lua_rawgeti(lua, -1, (lua_Integer)n);
        if (!is_string(lua, -1))
            luaL_error(lua, "'%s' holds a %s, and not only strings", entry->key,
                       luaL_typename(lua, -1));
        entry->values[entry->count] = copy(lua, -1);
        entry->count++;
        lua_pop(lua, 1);
    }
    for (lua_pushnil(lua); lua_next(lua, -2) != 0; lua_pop(lua, 1))
        if (!lua_isinteger(lua, -2)) luaL_error(lua, "'%s' is no list", entry->key);
}

static void take_entry(lua_State *lua, ml_config *config)
{
    if (!is_string(lua, -2))
        luaL_error(lua, "a key is a %s, and not a string", luaL_typename(lua, -2));
    if (config->count == ML_CONFIG_KEYS_MAX)
        luaL_error(lua, "more than %d keys", ML_CONFIG_KEYS_MAX);
    ml_config_entry *entry = &config->entries[config->count++];
    entry->key = copy(lua, -2);
    entry->list = lua_istable(lua, -1);
    entry->values = calloc(ML_CONFIG_LIST_MAX, sizeof *entry->values);
    if (entry->values == NULL) luaL_error(lua, "not enough memory");
    if (entry->list) {
        take_list(lua, entry);
    } else if (is_string(lua, -1) || lua_isinteger(lua, -1)) {
        entry->number = !is_string(lua, -1);
        lua_pushvalue(lua, -1); /* becomes a string when it is copied */
        entry->values[0] = copy(lua, -1);
        entry->count = 1;
        lua_pop(lua, 1);
    } else {
        luaL_error(lua, "'%s' is a %s, and no string, whole number or list of strings", entry->key,
                   luaL_typename(lua, -1));
    }
}

/* Runs the text with an empty environment and takes its table. */
static int run(lua_State *lua)
{
    reading *r = lua_touserdata(lua, 1);
    char name[512];
    snprintf(name, sizeof name, "@%s", r->path);
    if (luaL_loadbufferx(lua, (const char *)r->text.data, r->text.size, name, "t") != LUA_OK)
        return lua_error(lua);
    lua_newtable(lua);
    lua_setupvalue(lua, -2, 1);
    lua_sethook(lua, stop, LUA_MASKCOUNT, INSTRUCTIONS_MAX);
    lua_call(lua, 0, 1);
    lua_sethook(lua, NULL, 0, 0);
    if (!lua_istable(lua, -1))
        return luaL_error(lua, "%s returns a %s, and not a table", r->path, luaL_typename(lua, -1));
    for (lua_pushnil(lua); lua_next(lua, -2) != 0; lua_pop(lua, 1))
        take_entry(lua, r->config);
    return 0;
}

ml_code ml_config_read(const char *path, ml_config *config, ml_error *why)
{
    reading r = {.path = path, .config = config, .why = why};
    *config = (ml_config){0};
    ml_code code = read_file(&r);
    lua_State *lua = code ? NULL : lua_newstate(allocate, &r);
    if (!code && lua == NULL) code = ml_error_memory(why, "a configuration");
    if (!code) {
        lua_pushcfunction(lua, run);
        lua_pushlightuserdata(lua, &r);
        if (lua_pcall(lua, 1, 0, 0) != LUA_OK) {
            const char *text = lua_tostring(lua, -1);
            code = ml_error_set(why, ML_SCRIPT_ERROR, "%.900s",
                                text != NULL ? text
                                             : "the configuration raised an error that is no text");
        }
    }
    if (lua != NULL) lua_close(lua);
    ml_buf_free(&r.text);
    return code;
}

void ml_config_free(ml_config *config)
{
    for (size_t n = 0; n < config->count; n++) {
        ml_config_entry *entry = &config->entries[n];
        for (size_t i = 0; i < entry->count; i++)
            free(entry->values[i]);
        free(entry->values);
        free(entry->key);
    }
    *config = (ml_config){0};
}
