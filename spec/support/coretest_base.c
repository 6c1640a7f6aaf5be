/* coretest_base.c -- the room core/base as specs see it. */
#include <inttypes.h>
#include <lauxlib.h>
#include <msgpack.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../../core/base/crc32c.h"
#include "../../core/base/json.h"
#include "../../core/base/limits.h"
#include "../../core/base/pack.h"
#include "../../core/base/text.h"
#include "../../core/base/worker.h"
#include "coretest.h"

/* Weak, so that the module also loads where it was linked without msgpack-c's library; then
 * there is no `oracle`, and the spec that asks it is pending. */
#pragma weak msgpack_unpack_next
#pragma weak msgpack_zone_free

/* A copy of exactly the argument's bytes on the heap, so that reading one too far is seen by
 * the address sanitizer (a Lua string has a NUL behind it). */
static ml_bytes dup_argument(lua_State *L, int index)
{
    size_t size;
    const char *text = luaL_checklstring(L, index, &size);
    void *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL) luaL_error(L, "out of memory");
    memcpy(copy, text, size);
    return (ml_bytes){copy, size};
}

static void free_bytes(ml_bytes bytes) { free((void *)bytes.data); }

static int push_buf(lua_State *L, ml_buf *buf)
{
    bool failed = buf->failed;
    lua_pushlstring(L, buf->data == NULL ? "" : (const char *)buf->data, buf->size);
    ml_buf_free(buf);
    return failed ? luaL_error(L, "out of memory") : 1;
}

/* ---- crc32c --------------------------------------------------------------------------- */

static int crc32c(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_pushinteger(L, ml_crc32c((uint32_t)luaL_optinteger(L, 2, 0), text, size));
    return 1;
}

static int crc32c_table(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    lua_pushinteger(L, ml_crc32c_table((uint32_t)luaL_optinteger(L, 2, 0), text, size));
    return 1;
}

/* crc32c_differs(bytes, max): the first offset 0..15 and size 0..max where the two differ. */
static int crc32c_differs(lua_State *L)
{
    size_t size;
    const char *text = luaL_checklstring(L, 1, &size);
    size_t max = (size_t)luaL_checkinteger(L, 2);
    luaL_argcheck(L, size >= max + 15, 1, "too short");
    for (size_t offset = 0; offset < 16; offset++) {
        for (size_t count = 0; count <= max; count++) {
            uint32_t seed = (uint32_t)(count * 2654435761u);
            const char *from = text + offset;
            if (ml_crc32c(seed, from, count) == ml_crc32c_table(seed, from, count)) continue;
            lua_pushinteger(L, (lua_Integer)offset);
            lua_pushinteger(L, (lua_Integer)count);
            return 2;
        }
    }
    return 0;
}

/* ---- unpack --------------------------------------------------------------------------- */

static int unpack_check(lua_State *L)
{
    ml_error why;
    const char *what = luaL_optstring(L, 2, "data");
    ml_bytes bytes = dup_argument(L, 1);
    ml_code code = ml_unpack_check(bytes, what, &why);
    free_bytes(bytes);
    if (code != ML_OK) return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

/* unpack_skip(bytes) -> bytes skipped, or nil */
static int unpack_skip(lua_State *L)
{
    ml_bytes bytes = dup_argument(L, 1);
    ml_unpack cursor = ml_unpack_from(bytes);
    bool skipped = ml_unpack_skip(&cursor);
    size_t size = (size_t)(cursor.at - (const uint8_t *)bytes.data);
    free_bytes(bytes);
    if (!skipped && size == 0) return 0;
    lua_pushinteger(L, (lua_Integer)size);
    return 1;
}

static int unpack_utf8(lua_State *L)
{
    ml_bytes bytes = dup_argument(L, 1);
    lua_pushboolean(L, ml_unpack_utf8(bytes));
    free_bytes(bytes);
    return 1;
}

static int push_token(lua_State *L, const ml_token *token)
{
    static const char *const names[] = {"none", "nil", "bool", "int",   "uint", "float",
                                        "str",  "bin", "ext",  "array", "map"};
    char digits[24];
    lua_pushstring(L, names[token->kind]);
    switch (token->kind) {
    case ML_KIND_NONE:
    case ML_KIND_NIL: return 1;
    case ML_KIND_BOOL: lua_pushboolean(L, token->boolean); return 2;
    case ML_KIND_INT: lua_pushinteger(L, token->integer); return 2;
    case ML_KIND_UINT:
        snprintf(digits, sizeof digits, "%" PRIu64, token->natural);
        lua_pushstring(L, digits);
        return 2;
    case ML_KIND_FLOAT:
        lua_pushnumber(L, token->number);
        lua_pushboolean(L, token->single);
        return 3;
    case ML_KIND_STR:
    case ML_KIND_BIN: lua_pushlstring(L, token->bytes.data, token->bytes.size); return 2;
    case ML_KIND_EXT:
        lua_pushlstring(L, token->bytes.data, token->bytes.size);
        lua_pushinteger(L, token->ext);
        return 3;
    case ML_KIND_ARRAY:
    case ML_KIND_MAP: lua_pushinteger(L, token->count); return 2;
    }
    return 1;
}

/* unpack_next(bytes) -> bytes read, kind, and what the token holds */
static int unpack_next(lua_State *L)
{
    ml_bytes bytes = dup_argument(L, 1);
    ml_unpack cursor = ml_unpack_from(bytes);
    ml_token token = ml_unpack_next(&cursor);
    lua_pushinteger(L, cursor.at - (const uint8_t *)bytes.data);
    int count = push_token(L, &token);
    free_bytes(bytes);
    return 1 + count;
}

/* unpack_wish("str" | "array" | "map" | "int", bytes) -> value, bytes read; or nil, and the
 * bytes read all the same, which must be 0 */
static int unpack_wish(lua_State *L)
{
    const char *wish = luaL_checkstring(L, 1);
    ml_bytes bytes = dup_argument(L, 2), text = {0};
    ml_unpack cursor = ml_unpack_from(bytes);
    uint32_t count = 0;
    int64_t value = 0;
    bool got;
    switch (*wish) {
    case 's': got = ml_unpack_str(&cursor, &text); break;
    case 'a': got = ml_unpack_array(&cursor, &count); break;
    case 'm': got = ml_unpack_map(&cursor, &count); break;
    default: got = ml_unpack_int(&cursor, &value); break;
    }
    if (!got) lua_pushnil(L);
    else if (*wish == 's') lua_pushlstring(L, text.data, text.size);
    else lua_pushinteger(L, *wish == 'i' ? value : (int64_t)count);
    lua_pushinteger(L, cursor.at - (const uint8_t *)bytes.data);
    free_bytes(bytes);
    return 2;
}

/* oracle(bytes) -> true if msgpack-c reads them as one value with nothing behind it */
static int oracle(lua_State *L)
{
    size_t size, offset = 0;
    const char *text = luaL_checklstring(L, 1, &size);
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    msgpack_unpack_return said = msgpack_unpack_next(&unpacked, text, size, &offset);
    lua_pushboolean(L, said == MSGPACK_UNPACK_SUCCESS && offset == size);
    msgpack_unpacked_destroy(&unpacked);
    return 1;
}

/* ---- pack ----------------------------------------------------------------------------- */

static void pack_word(lua_State *L, ml_buf *buf, char word, int index)
{
    size_t size;
    switch (word) {
    case 'i': ml_pack_int(buf, luaL_checkinteger(L, index)); break;
    case 'd': ml_pack_double(buf, luaL_checknumber(L, index)); break;
    case 'a': ml_pack_array(buf, (uint32_t)luaL_checkinteger(L, index)); break;
    case 'm': ml_pack_map(buf, (uint32_t)luaL_checkinteger(L, index)); break;
    case 't': ml_pack_text(buf, luaL_checkstring(L, index)); break;
    default: {
        const char *text = luaL_checklstring(L, index, &size);
        ml_bytes bytes = {text, size};
        if (word == 's') ml_pack_str(buf, bytes);
        else if (word == 'b') ml_pack_bin(buf, bytes);
        else ml_pack_ext(buf, (int8_t)word, bytes); /* the word itself is the type */
    }
    }
}

/* pack("i", 5): one value. Words: n nil, y true, f false, i int, d double, s str, b bin,
 * a array head, m map head, t C string; any other letter: ext of that type. */
static int pack(lua_State *L)
{
    ml_buf buf = {0};
    char word = *luaL_checkstring(L, 1);
    if (word == 'n') ml_pack_nil(&buf);
    else if (word == 'y' || word == 'f') ml_pack_bool(&buf, word == 'y');
    else pack_word(L, &buf, word, 2);
    return push_buf(L, &buf);
}

/* pack_counted("a" | "m", content, count): through begin and end, behind three other bytes */
static int pack_counted(lua_State *L)
{
    ml_buf buf = {0};
    size_t size;
    char word = *luaL_checkstring(L, 1);
    const char *content = luaL_checklstring(L, 2, &size);
    uint32_t count = (uint32_t)luaL_checkinteger(L, 3);
    ml_buf_add(&buf, "abc", 3);
    size_t begin = ml_pack_begin(&buf);
    ml_buf_add(&buf, content, size);
    if (word == 'a') ml_pack_end_array(&buf, begin, count);
    else ml_pack_end_map(&buf, begin, count);
    return push_buf(L, &buf);
}

/* ---- json ----------------------------------------------------------------------------- */

static int json_to_msgpack(lua_State *L)
{
    ml_error why;
    ml_buf out = {0};
    ml_buf_add(&out, "before", 6);
    ml_bytes text = dup_argument(L, 1);
    ml_code code = ml_json_read(text, &out, &why);
    free_bytes(text);
    if (code != ML_OK) {
        bool restored = out.size == 6;
        ml_buf_free(&out);
        return restored ? ml_coretest_refuse(L, &why) : luaL_error(L, "bytes are left behind");
    }
    lua_pushlstring(L, (const char *)out.data + 6, out.size - 6);
    ml_buf_free(&out);
    return 1;
}

/* msgpack_to_json(bytes) -> text, bytes read; or nil */
static int msgpack_to_json(lua_State *L)
{
    ml_buf out = {0};
    ml_bytes bytes = dup_argument(L, 1);
    ml_unpack cursor = ml_unpack_from(bytes);
    bool written = ml_json_write(&cursor, &out);
    lua_Integer size = cursor.at - (const uint8_t *)bytes.data;
    free_bytes(bytes);
    if (!written) {
        bool untouched = size == 0 && out.size == 0;
        ml_buf_free(&out);
        return untouched ? 0 : luaL_error(L, "something moved");
    }
    push_buf(L, &out);
    lua_pushinteger(L, size);
    return 2;
}

static int json_string(lua_State *L)
{
    ml_buf out = {0};
    ml_bytes text = dup_argument(L, 1);
    ml_json_string(&out, text);
    free_bytes(text);
    return push_buf(L, &out);
}

static int json_double(lua_State *L)
{
    ml_buf out = {0};
    ml_json_double(&out, luaL_checknumber(L, 1));
    return push_buf(L, &out);
}

/* ---- text ----------------------------------------------------------------------------- */

static int uuid_make(lua_State *L)
{
    uint8_t id[ML_ID_SIZE];
    size_t size;
    const char *dice = luaL_checklstring(L, 2, &size);
    luaL_argcheck(L, size == 10, 2, "10 bytes");
    ml_uuid_make(id, luaL_checkinteger(L, 1), (const uint8_t *)dice);
    lua_pushlstring(L, (const char *)id, sizeof id);
    return 1;
}

static int uuid_write(lua_State *L)
{
    size_t size;
    const char *id = luaL_checklstring(L, 1, &size);
    char text[ML_UUID_TEXT + 1];
    luaL_argcheck(L, size == ML_ID_SIZE, 1, "16 bytes");
    ml_uuid_write(text, (const uint8_t *)id);
    lua_pushstring(L, text);
    return 1;
}

static int uuid_read(lua_State *L)
{
    uint8_t id[ML_ID_SIZE];
    ml_bytes text = dup_argument(L, 1);
    bool read = ml_uuid_read(text, id);
    free_bytes(text);
    if (!read) return 0;
    lua_pushlstring(L, (const char *)id, sizeof id);
    return 1;
}

static int time_write(lua_State *L)
{
    char text[ML_TIME_TEXT + 1];
    size_t size = ml_time_write(text, luaL_checkinteger(L, 1));
    luaL_argcheck(L, strlen(text) == size, 1, "length and NUL disagree");
    lua_pushlstring(L, text, size);
    return 1;
}

static int time_read(lua_State *L)
{
    int64_t time;
    ml_bytes text = dup_argument(L, 1);
    bool read = ml_time_read(text, &time);
    free_bytes(text);
    if (!read) return 0;
    lua_pushinteger(L, time);
    return 1;
}

/* time_differs(from, step, count): the first of `count` seconds where ml_time_write and the
 * C library's gmtime_r disagree. */
static int time_differs(lua_State *L)
{
    int64_t second = luaL_checkinteger(L, 1), step = luaL_checkinteger(L, 2);
    int64_t count = luaL_checkinteger(L, 3);
    for (int64_t i = 0; i < count; i++, second += step) {
        char ours[ML_TIME_TEXT + 1], theirs[80];
        time_t t = (time_t)second;
        struct tm tm;
        int64_t back = 0;
        gmtime_r(&t, &tm);
        snprintf(theirs, sizeof theirs, "%04d-%02d-%02dT%02d:%02d:%02d.000001Z",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        size_t size = ml_time_write(ours, second * 1000000 + 1);
        bool read = ml_time_read((ml_bytes){ours, size}, &back);
        if (read && back == second * 1000000 + 1 && strcmp(ours, theirs) == 0) continue;
        lua_pushstring(L, ours);
        lua_pushstring(L, theirs);
        return 2;
    }
    return 0;
}

/* ---- worker --------------------------------------------------------------------------- */

enum { JOBS_MAX = 1000 };

typedef struct noted_job {
    ml_job job;
    struct script *script;
    int number;
    int more; /* jobs that `done` starts */
} noted_job;

typedef struct script {
    ml_worker *worker;
    pthread_t owner;
    noted_job jobs[JOBS_MAX];
    int started, ran, done; /* `ran` is the background thread's until it is waited for */
    bool in_order, right_threads, threaded;
} script;

static void run(ml_job *job)
{
    noted_job *noted = (noted_job *)job;
    script *s = noted->script;
    if (noted->number != s->ran++) s->in_order = false;
    bool own = pthread_equal(pthread_self(), s->owner) != 0;
    if (own == s->threaded) s->right_threads = false;
}

static void start(script *s, int more);

static void done(ml_job *job)
{
    noted_job *noted = (noted_job *)job;
    script *s = noted->script;
    if (noted->number != s->done++) s->in_order = false;
    if (!pthread_equal(pthread_self(), s->owner)) s->right_threads = false;
    int more = noted->more;
    memset(noted, 0xee, sizeof *noted); /* it is ours again */
    if (more > 0) start(s, more - 1);
}

static void start(script *s, int more)
{
    noted_job *noted = &s->jobs[s->started];
    *noted = (noted_job){{run, done, NULL}, s, s->started++, more};
    ml_worker_start(s->worker, &noted->job);
}

/* worker(threaded, jobs, chain, how): starts `jobs` jobs and, from the last one's `done`, a
 * chain of further ones; then "wait"s, "poll"s until all are done, or "free"s. Gives how
 * many ran and were done, whether in order, and each on the right thread. */
static int worker(lua_State *L)
{
    bool threaded = lua_toboolean(L, 1);
    int jobs = (int)luaL_checkinteger(L, 2), chain = (int)luaL_checkinteger(L, 3);
    const char *how = luaL_checkstring(L, 4);
    luaL_argcheck(L, jobs > 0 && jobs + chain <= JOBS_MAX, 2, "too many");
    script *s = lua_newuserdatauv(L, sizeof *s, 0);
    *s = (script){.owner = pthread_self(), .in_order = true, .right_threads = true};
    s->threaded = threaded;
    ml_error why;
    if (ml_worker_new(threaded, &s->worker, &why) != ML_OK) return ml_coretest_refuse(L, &why);
    for (int i = 1; i <= jobs; i++) start(s, i == jobs ? chain : 0);
    if (*how == 'p')
        while (s->done < jobs + chain) ml_worker_poll(s->worker);
    else if (*how == 'w') ml_worker_wait(s->worker);
    ml_worker_free(s->worker);
    lua_pushinteger(L, s->ran);
    lua_pushinteger(L, s->done);
    lua_pushboolean(L, s->in_order);
    lua_pushboolean(L, s->right_threads);
    return 4;
}

/* ---- the table ------------------------------------------------------------------------ */

static const luaL_Reg functions[] = {
    {"crc32c", crc32c},
    {"crc32c_table", crc32c_table},
    {"crc32c_differs", crc32c_differs},
    {"unpack_check", unpack_check},
    {"unpack_skip", unpack_skip},
    {"unpack_utf8", unpack_utf8},
    {"unpack_next", unpack_next},
    {"unpack_wish", unpack_wish},
    {"pack", pack},
    {"pack_counted", pack_counted},
    {"json_to_msgpack", json_to_msgpack},
    {"msgpack_to_json", msgpack_to_json},
    {"json_string", json_string},
    {"json_double", json_double},
    {"uuid_make", uuid_make},
    {"uuid_write", uuid_write},
    {"uuid_read", uuid_read},
    {"time_write", time_write},
    {"time_read", time_read},
    {"time_differs", time_differs},
    {"worker", worker},
    {NULL, NULL},
};

int luaopen_coretest_base(lua_State *L)
{
    luaL_newlib(L, functions);
    lua_pushinteger(L, ML_DEPTH_MAX);
    lua_setfield(L, -2, "DEPTH_MAX");
    if (msgpack_unpack_next != NULL) {
        lua_pushcfunction(L, oracle);
        lua_setfield(L, -2, "oracle");
    }
    return 1;
}
