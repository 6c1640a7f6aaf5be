/* module.c -- require "moonlog": words for rules, values, ids and times; open; connect; verify. */
#include "module.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "../base/limits.h"
#include "../base/text.h"
#include "socket.h"
#include "value.h"
#include "words.h"

/* ---- shared with the other files -------------------------------------------------------- */

int ml_module_fail(lua_State *L, const ml_error *why)
{
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", ml_code_name(why->code), why->sentence);
    return 2;
}

int ml_module_fail_store(lua_State *L, ml_store *store)
{
    lua_pushnil(L);
    lua_pushstring(L, ml_why(store));
    return 2;
}

int ml_module_raise(lua_State *L, const ml_error *why)
{
    return luaL_error(L, "%s", why->sentence);
}

void ml_module_set_natural(lua_State *L, const char *name, uint64_t value)
{
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

void ml_module_set_text(lua_State *L, const char *name, ml_bytes text)
{
    lua_pushlstring(L, text.size > 0 ? text.data : "", text.size);
    lua_setfield(L, -2, name);
}

/* ---- values ---------------------------------------------------------------------------- */

static int module_pack(lua_State *L)
{
    ml_error why;
    luaL_checkany(L, 1);
    ml_desk *desk = ml_desk_take(L);
    if (ml_value_write(L, 1, desk, ML_APPEND_BYTES_MAX, "value", &why))
        return ml_module_fail(L, &why);
    lua_pushlstring(L, (const char *)desk->bytes.data, desk->bytes.size);
    ml_desk_give(L, -2);
    return 1;
}

static int module_unpack(lua_State *L)
{
    ml_error why;
    ml_bytes bytes;
    luaL_checktype(L, 1, LUA_TSTRING);
    bytes.data = lua_tolstring(L, 1, &bytes.size);
    ml_unpack cursor = ml_unpack_from(bytes);
    if (ml_unpack_check(bytes, "value", &why)) return ml_module_fail(L, &why);
    if (ml_value_read(L, &cursor)) return 1;
    ML_IGNORE(ml_error_set(&why, ML_UNSUPPORTED, "value has NaN for a key, which no Lua table "
                                                 "can hold"));
    return ml_module_fail(L, &why);
}

/* ---- ids and times --------------------------------------------------------------------- */

static int module_uuid(lua_State *L)
{
    struct timespec now;
    uint8_t random[10], id[ML_ID_SIZE];
    char text[ML_UUID_TEXT + 1];
    if (clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        getrandom(random, sizeof random, 0) != sizeof random)
        return luaL_error(L, "no clock or no random bytes: %s", strerror(errno));
    ml_uuid_make(id, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000, random);
    ml_uuid_write(text, id);
    lua_pushlstring(L, text, ML_UUID_TEXT);
    return 1;
}

static int module_time(lua_State *L)
{
    ml_error why;
    int64_t time;
    char text[ML_TIME_TEXT + 1];
    if (lua_type(L, 1) != LUA_TSTRING) {
        size_t size = ml_time_write(text, luaL_checkinteger(L, 1));
        lua_pushlstring(L, text, size);
        return 1;
    }
    ml_bytes given;
    given.data = lua_tolstring(L, 1, &given.size);
    if (ml_time_read(given, &time)) {
        lua_pushinteger(L, time);
        return 1;
    }
    ML_IGNORE(ml_error_set(&why, ML_BAD_REQUEST,
                           "\"%.40s\" is no time; write it like 2026-11-21T13:40:46Z",
                           (const char *)given.data));
    return ml_module_fail(L, &why);
}

/* ---- verify ---------------------------------------------------------------------------- */

enum { PROBLEMS_MAX = 1000 }; /* listed; all are counted */

/* A problem's sentence, with its NUL, goes to the desk: Lua must not be called from here. */
static void note_problem(void *context, const char *sentence)
{
    ml_desk *desk = context;
    if (desk->items.size == PROBLEMS_MAX) return;
    ml_buf_add(&desk->bytes, sentence, strlen(sentence) + 1);
    ml_buf_byte(&desk->items, 1); /* counts */
}

static void set_problems(lua_State *L, const ml_desk *desk)
{
    const char *at = (const char *)desk->bytes.data;
    int count = desk->bytes.failed || desk->items.failed ? 0 : (int)desk->items.size;
    lua_createtable(L, count, 0);
    for (int i = 1; i <= count; i++) {
        lua_pushstring(L, at);
        lua_rawseti(L, -2, i);
        at += strlen(at) + 1;
    }
    lua_setfield(L, -2, "problems");
}

static int module_verify(lua_State *L)
{
    static const char *const known[] = {"deep", NULL};
    ml_error why;
    ml_verified verified = {0};
    luaL_checktype(L, 1, LUA_TSTRING);
    lua_settop(L, 2);
    ml_fields fields = ml_fields_from(L, 2, "moonlog.verify", known, &why);
    bool deep = ml_fields_flag(&fields, "deep");
    if (why.code) return ml_module_raise(L, &why);
    ml_desk *desk = ml_desk_take(L);
    ml_code code = ml_verify(lua_tostring(L, 1), deep, note_problem, desk, &verified, why.sentence,
                             sizeof why.sentence);
    if (code && code != ML_CORRUPT) {
        lua_pushnil(L);
        lua_pushstring(L, why.sentence); /* the code is in it */
        return 2;
    }
    lua_createtable(L, 0, 7);
    lua_pushboolean(L, code == ML_OK);
    lua_setfield(L, -2, "ok");
    ml_module_set_natural(L, "segments", verified.segments);
    ml_module_set_natural(L, "frames", verified.frames);
    ml_module_set_natural(L, "events", verified.events);
    ml_module_set_natural(L, "bytes", verified.bytes);
    ml_module_set_natural(L, "found", verified.problems);
    set_problems(L, desk);
    ml_desk_give(L, 3);
    return 1;
}

/* ---- connect --------------------------------------------------------------------------- */

/* moonlog.client is Lua, and loaded when it is first wanted: who only opens stores can do
 * without the file. */
static int module_connect(lua_State *L)
{
    static const char missing[] = "module 'moonlog.client' not found";
    ml_error why;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonlog.client");
    if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
        const char *said = lua_tostring(L, -1);
        if (said == NULL || strncmp(said, missing, sizeof missing - 1) != 0) return lua_error(L);
        ML_IGNORE(ml_error_set(&why, ML_UNSUPPORTED,
                               "moonlog.connect is in moonlog/client.lua, which is not on "
                               "package.path; add lua/?.lua of the source, or `make install`"));
        return ml_module_fail(L, &why);
    }
    lua_getfield(L, -1, "connect");
    lua_insert(L, 1);
    lua_pop(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

/* ---- the module ------------------------------------------------------------------------ */

static const luaL_Reg functions[] = {{"open", ml_module_store_open},
                                     {"connect", module_connect},
                                     {"socket", ml_socket_open},
                                     {"verify", module_verify},
                                     {"pack", module_pack},
                                     {"unpack", module_unpack},
                                     {"uuid", module_uuid},
                                     {"time", module_time},
                                     {NULL, NULL}};

int ml_module_open(lua_State *L)
{
    luaL_checkversion(L);
    ml_value_open(L);
    ml_module_store_init(L);
    ml_module_read_init(L);
    ml_socket_init(L);
    luaL_newlib(L, functions);
    lua_pushliteral(L, ML_VERSION);
    lua_setfield(L, -2, "version");
    ml_words_open(L);
    return 1;
}
