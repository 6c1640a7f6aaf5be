/* coretest_view.c -- the room core/view as specs see it.
 *
 *     view.open(dir, {identity=, indexes={path, …}, boot=})   a view, for writing
 *     view.copy(from, to, {…})   view.discard(dir)   view.boot()
 *     view.digest({{key, row}, …})   what the digest of such a view must be, summed up another way
 *     view.key(value, floats?)   view.prefix(text)   view.index(value)
 *     view.window(key, start, end)   view.value(key) -> value, start?, end?   view.key_size(bytes)
 *     view.field(map, path)   view.is_path(path)   view.sort({bytes, …})
 *     view.table(view, {path=, table=, columns={{name, path, type}, …}, windowed=, projection=,
 *                       hash=, boot=})   a table of SQLite that follows the view
 *     view.query(path, sql) -> {{value, …}, …}
 *     view.spawn(function(tell)) -> process   :hear(count) waits until it has told so often;
 *                                             :kill(spin_us) kills it -9 so long after that
 *     view.file_limit(bytes)   no file of this process grows beyond: as a full disk
 *
 * Rows and values are MessagePack, keys are bytes.
 */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../core/view/inside.h"
#include "../../core/view/sql.h"
#include "coretest.h"

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wswitch-enum"
#include <xxhash.h>
#pragma GCC diagnostic pop

#define VIEW    "moonlog.test.view"
#define TABLE   "moonlog.test.view_table"
#define PROCESS "moonlog.test.process"

typedef struct view_box {
    ml_view *view;
} view_box;

static ml_bytes to_bytes(lua_State *L, int index)
{
    ml_bytes bytes;
    bytes.data = luaL_checklstring(L, index, &bytes.size);
    return bytes;
}

static int push_bytes(lua_State *L, ml_bytes bytes)
{
    if (bytes.data == NULL)
        lua_pushnil(L);
    else
        lua_pushlstring(L, bytes.data, bytes.size);
    return 1;
}

static int push_done(lua_State *L, ml_code code, const ml_error *why)
{
    if (code) return ml_coretest_refuse(L, why);
    lua_pushboolean(L, true);
    return 1;
}

/* ---- life ------------------------------------------------------------------------------- */

typedef struct wanted {
    ml_view_about about;
    ml_bytes indexes[ML_VIEW_INDEXES_MAX];
    char boot[ML_VIEW_BOOT];
} wanted;

static void to_about(lua_State *L, int index, wanted *w)
{
    *w = (wanted){.about.boot = w->boot, .about.indexes = w->indexes};
    ml_view_boot(w->boot);
    if (lua_isnoneornil(L, index)) return;
    w->about.identity = ml_coretest_text(L, index, "identity");
    ml_bytes boot = ml_coretest_text(L, index, "boot");
    if (boot.data != NULL) snprintf(w->boot, sizeof w->boot, "%s", (const char *)boot.data);
    if (lua_getfield(L, index, "indexes") == LUA_TTABLE) {
        w->about.index_count = lua_rawlen(L, -1);
        luaL_argcheck(L, w->about.index_count <= ML_VIEW_INDEXES_MAX, index, "too many indexes");
        for (size_t n = 0; n < w->about.index_count; n++) {
            lua_rawgeti(L, -1, (lua_Integer)n + 1);
            w->indexes[n] = to_bytes(L, -1); /* the table keeps it */
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

static int view_open(lua_State *L)
{
    ml_error why;
    wanted w;
    const char *dir = luaL_checkstring(L, 1);
    to_about(L, 2, &w);
    view_box *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (view_box){0};
    luaL_setmetatable(L, VIEW);
    return ml_view_open(dir, &w.about, &self->view, &why) ? ml_coretest_refuse(L, &why) : 1;
}

static int view_copy(lua_State *L)
{
    ml_error why;
    wanted w;
    to_about(L, 3, &w);
    return push_done(
        L, ml_view_copy(luaL_checkstring(L, 1), luaL_checkstring(L, 2), &w.about, &why), &why);
}

static int view_discard(lua_State *L)
{
    ml_error why;
    return push_done(L, ml_view_discard(luaL_checkstring(L, 1), &why), &why);
}

static int view_boot(lua_State *L)
{
    char boot[ML_VIEW_BOOT];
    ml_view_boot(boot);
    lua_pushstring(L, boot);
    return 1;
}

static view_box *box_at(lua_State *L)
{
    view_box *self = luaL_checkudata(L, 1, VIEW);
    if (self->view == NULL) luaL_error(L, "the view is closed");
    return self;
}

static ml_view *view_at(lua_State *L)
{
    return box_at(L)->view;
}

static int view_close(lua_State *L)
{
    view_box *self = luaL_checkudata(L, 1, VIEW);
    ml_view_close(self->view);
    self->view = NULL;
    return 0;
}

/* unload(): as if the process were killed, for all that the disk sees */
static int view_unload(lua_State *L)
{
    view_box *self = box_at(L);
    ml_view_unload(self->view);
    self->view = NULL;
    return 0;
}

static int view_stats(lua_State *L)
{
    ml_view_stats stats;
    ml_view_get_stats(view_at(L), &stats);
    lua_newtable(L);
    ml_coretest_set(L, "position", stats.position);
    ml_coretest_set(L, "rows", stats.rows);
    ml_coretest_set(L, "bytes", stats.bytes);
    ml_coretest_set(L, "commits", stats.commits);
    ml_coretest_set_text(L, "digest", (ml_bytes){stats.digest, sizeof stats.digest});
    return 1;
}

static int view_note(lua_State *L)
{
    return push_bytes(L, ml_view_note(view_at(L)));
}

/* ---- writing ---------------------------------------------------------------------------- */

static int view_get(lua_State *L)
{
    ml_error why;
    ml_bytes row;
    return ml_view_get(view_at(L), to_bytes(L, 2), &row, &why) ? ml_coretest_refuse(L, &why)
                                                               : push_bytes(L, row);
}

static int view_put(lua_State *L)
{
    ml_error why;
    ml_code code =
        ml_view_put(view_at(L), to_bytes(L, 2), to_bytes(L, 3), luaL_optinteger(L, 4, 0), &why);
    return push_done(L, code, &why);
}

static int view_delete(lua_State *L)
{
    ml_error why;
    return push_done(L, ml_view_delete(view_at(L), to_bytes(L, 2), &why), &why);
}

static int view_expires(lua_State *L)
{
    lua_pushinteger(L, ml_view_expires(view_at(L), to_bytes(L, 2)));
    return 1;
}

static int view_sweep(lua_State *L)
{
    ml_error why;
    return push_done(L, ml_view_sweep(view_at(L), luaL_checkinteger(L, 2), &why), &why);
}

static int view_full(lua_State *L)
{
    lua_pushboolean(L, ml_view_full(view_at(L)));
    return 1;
}

static int view_abort(lua_State *L)
{
    ml_view_abort(view_at(L));
    return 0;
}

/* commit(position, note?); the note may be the view's own */
static int view_commit(lua_State *L)
{
    ml_error why;
    ml_view *view = view_at(L);
    ml_bytes note = lua_isnoneornil(L, 3) ? ml_view_note(view) : to_bytes(L, 3);
    return push_done(L, ml_view_commit(view, (uint64_t)luaL_checkinteger(L, 2), note, &why), &why);
}

/* ---- reading ---------------------------------------------------------------------------- */

typedef struct gathering {
    lua_State *L; /* the list is on top */
    lua_Integer count, limit;
} gathering;

/* {key, row}; row is false if there is none */
static bool gather(void *context, ml_bytes key, ml_bytes row)
{
    gathering *g = context;
    lua_createtable(g->L, 2, 0);
    lua_pushlstring(g->L, key.data, key.size);
    lua_rawseti(g->L, -2, 1);
    if (row.data == NULL)
        lua_pushboolean(g->L, false);
    else
        lua_pushlstring(g->L, row.data, row.size);
    lua_rawseti(g->L, -2, 2);
    lua_rawseti(g->L, -2, ++g->count);
    return g->limit == 0 || g->count < g->limit;
}

static int view_find(lua_State *L)
{
    ml_error why;
    ml_bytes row;
    return ml_view_find(view_at(L), to_bytes(L, 2), &row, &why) ? ml_coretest_refuse(L, &why)
                                                                : push_bytes(L, row);
}

/* scan{index = from 1, prefix=, from=, to=, after_key=, backward=, limit=} -> {{key, row}, …} */
static int view_scan(lua_State *L)
{
    ml_error why;
    ml_view *view = view_at(L);
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_newtable(L);
    }
    ml_view_range range = {.index = (int)ml_coretest_number(L, 2, "index") - 1,
                           .prefix = ml_coretest_text(L, 2, "prefix"),
                           .from = ml_coretest_text(L, 2, "from"),
                           .to = ml_coretest_text(L, 2, "to"),
                           .after_key = ml_coretest_text(L, 2, "after_key"),
                           .backward = ml_coretest_flag(L, 2, "backward")};
    gathering g = {.L = L, .limit = (lua_Integer)ml_coretest_number(L, 2, "limit")};
    lua_newtable(L);
    return ml_view_scan(view, &range, gather, &g, &why) ? ml_coretest_refuse(L, &why) : 1;
}

/* changed() -> {{key, row or false}, …}, from position */
static int view_changed(lua_State *L)
{
    ml_error why;
    uint64_t from;
    gathering g = {.L = L};
    ml_view *view = view_at(L);
    lua_newtable(L);
    if (ml_view_changed(view, &from, gather, &g, &why)) return ml_coretest_refuse(L, &why);
    lua_pushinteger(L, (lua_Integer)from);
    return 2;
}

static int view_digest(lua_State *L)
{
    __extension__ unsigned __int128 sum = 0;
    uint8_t digest[ML_VIEW_DIGEST];
    for (lua_Integer n = 1; n <= (lua_Integer)lua_rawlen(L, 1); n++) {
        lua_rawgeti(L, 1, n);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        lua_concat(L, 2);
        ml_bytes both = to_bytes(L, -1);
        XXH128_hash_t hash = XXH3_128bits(both.data, both.size);
        __extension__ unsigned __int128 high = hash.high64;
        sum += high << 64 | hash.low64;
        lua_pop(L, 2);
    }
    for (int n = 0; n < ML_VIEW_DIGEST; n++)
        digest[n] = (uint8_t)(sum >> (120 - 8 * n));
    return push_bytes(L, (ml_bytes){digest, sizeof digest});
}

/* ---- tables of SQLite ------------------------------------------------------------------- */

typedef struct table_box {
    ml_sql *sql;
} table_box;

static void to_columns(lua_State *L, ml_sql_about *about, ml_sql_column *columns)
{
    static const char *const types[] = {"integer", "real", "text", "blob", "json", NULL};
    about->columns = columns;
    if (lua_getfield(L, 2, "columns") == LUA_TTABLE) {
        about->column_count = lua_rawlen(L, -1);
        luaL_argcheck(L, about->column_count <= ML_SQL_COLUMNS_MAX + 1, 2, "too many columns");
        for (size_t n = 0; n < about->column_count; n++) {
            lua_rawgeti(L, -1, (lua_Integer)n + 1);
            for (int part = 1; part <= 3; part++)
                lua_rawgeti(L, -part, part);
            columns[n].name = to_bytes(L, -3); /* the table keeps it */
            columns[n].path = to_bytes(L, -2);
            int type = luaL_checkoption(L, -1, NULL, types);
            memcpy(&columns[n].type, &type, sizeof type);
            lua_pop(L, 4);
        }
    }
    lua_pop(L, 1);
}

static int table_open(lua_State *L)
{
    ml_error why;
    char boot[ML_VIEW_BOOT];
    ml_sql_column columns[ML_SQL_COLUMNS_MAX + 1];
    ml_view *view = view_at(L);
    ml_sql_about about = {.table = ml_coretest_text(L, 2, "table"),
                          .projection = ml_coretest_text(L, 2, "projection"),
                          .hash = ml_coretest_text(L, 2, "hash"),
                          .windowed = ml_coretest_flag(L, 2, "windowed"),
                          .boot = boot};
    ml_view_boot(boot);
    ml_bytes other = ml_coretest_text(L, 2, "boot");
    if (other.data != NULL) snprintf(boot, sizeof boot, "%s", (const char *)other.data);
    to_columns(L, &about, columns);
    table_box *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (table_box){0};
    luaL_setmetatable(L, TABLE);
    const char *path = ml_coretest_text(L, 2, "path").data;
    return ml_sql_open(path, &about, view, &self->sql, &why) ? ml_coretest_refuse(L, &why) : 1;
}

static int table_follow(lua_State *L)
{
    ml_error why;
    table_box *self = luaL_checkudata(L, 1, TABLE);
    view_box *view = luaL_checkudata(L, 2, VIEW);
    return push_done(L, ml_sql_follow(self->sql, view->view, &why), &why);
}

static int table_close(lua_State *L)
{
    table_box *self = luaL_checkudata(L, 1, TABLE);
    ml_sql_close(self->sql);
    self->sql = NULL;
    return 0;
}

static void push_column(lua_State *L, sqlite3_stmt *from, int at)
{
    switch (sqlite3_column_type(from, at)) {
    case SQLITE_INTEGER: lua_pushinteger(L, sqlite3_column_int64(from, at)); return;
    case SQLITE_FLOAT: lua_pushnumber(L, sqlite3_column_double(from, at)); return;
    case SQLITE_NULL: lua_pushboolean(L, false); return;
    case SQLITE_BLOB:
        lua_pushliteral(L, "blob:");
        lua_pushlstring(L, sqlite3_column_blob(from, at), (size_t)sqlite3_column_bytes(from, at));
        lua_concat(L, 2);
        return;
    default:
        lua_pushlstring(L, (const char *)sqlite3_column_text(from, at),
                        (size_t)sqlite3_column_bytes(from, at));
    }
}

static int query(lua_State *L)
{
    sqlite3 *db;
    sqlite3_stmt *read = NULL;
    int result = sqlite3_open_v2(luaL_checkstring(L, 1), &db, SQLITE_OPEN_READWRITE, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_prepare_v2(db, luaL_checkstring(L, 2), -1, &read, NULL);
    lua_newtable(L);
    for (lua_Integer row = 1; result == SQLITE_OK && sqlite3_step(read) == SQLITE_ROW; row++) {
        lua_newtable(L);
        for (int at = 0; at < sqlite3_column_count(read); at++) {
            push_column(L, read, at);
            lua_rawseti(L, -2, at + 1);
        }
        lua_rawseti(L, -2, row);
    }
    if (result == SQLITE_OK) result = sqlite3_reset(read); /* says again what the last step said */
    if (result != SQLITE_OK) {
        lua_pushnil(L);
        lua_pushstring(L, sqlite3_errmsg(db));
    }
    sqlite3_finalize(read);
    sqlite3_close(db);
    return result == SQLITE_OK ? 1 : 2;
}

/* ---- keys and fields -------------------------------------------------------------------- */

static int push_key(lua_State *L, ml_code code, const ml_key *key, const ml_error *why)
{
    return code ? ml_coretest_refuse(L, why) : push_bytes(L, (ml_bytes){key->bytes, key->size});
}

static int key_make(lua_State *L)
{
    ml_error why;
    ml_key key;
    return push_key(L, ml_key_make(to_bytes(L, 1), lua_toboolean(L, 2), &key, &why), &key, &why);
}

static int key_prefix(lua_State *L)
{
    ml_error why;
    ml_key key;
    return push_key(L, ml_key_prefix(to_bytes(L, 1), &key, &why), &key, &why);
}

static int key_index(lua_State *L)
{
    ml_key key;
    if (!ml_key_index(to_bytes(L, 1), &key)) return 0;
    return push_bytes(L, (ml_bytes){key.bytes, key.size});
}

static int key_window(lua_State *L)
{
    ml_error why;
    ml_key key;
    ml_bytes bytes = to_bytes(L, 1);
    luaL_argcheck(L, bytes.size <= ML_KEY_BYTES_MAX, 1, "too long");
    memcpy(key.bytes, bytes.data, bytes.size);
    key.size = bytes.size;
    return push_key(L,
                    ml_key_add_window(&key, luaL_checkinteger(L, 2), luaL_checkinteger(L, 3), &why),
                    &key, &why);
}

static int key_value(lua_State *L)
{
    ml_buf value = {0};
    bool windowed;
    int64_t start, end;
    bool is = ml_key_pack(to_bytes(L, 1), &value, &windowed, &start, &end);
    if (is) lua_pushlstring(L, (const char *)value.data, value.size);
    ml_buf_free(&value);
    if (!is) return 0;
    if (!windowed) return 1;
    lua_pushinteger(L, start);
    lua_pushinteger(L, end);
    return 3;
}

static int key_size(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)ml_key_size(to_bytes(L, 1)));
    return 1;
}

static int field_find(lua_State *L)
{
    return push_bytes(L, ml_field_find(to_bytes(L, 1), to_bytes(L, 2)));
}

static int field_is_path(lua_State *L)
{
    lua_pushboolean(L, ml_field_is_path(to_bytes(L, 1)));
    return 1;
}

static int sort(lua_State *L)
{
    size_t count = lua_rawlen(L, 1);
    ml_view_item *items = lua_newuserdatauv(L, (count + 1) * sizeof *items, 0);
    for (size_t n = 0; n < count; n++) {
        lua_rawgeti(L, 1, (lua_Integer)n + 1);
        ml_bytes bytes = to_bytes(L, -1); /* the list keeps it */
        items[n] = (ml_view_item){.bytes = bytes.data, .size = (uint32_t)bytes.size};
        lua_pop(L, 1);
    }
    if (!ml_view_sort(items, count)) return luaL_error(L, "out of memory");
    lua_createtable(L, (int)count, 0);
    for (size_t n = 0; n < count; n++) {
        lua_pushlstring(L, (const char *)items[n].bytes, items[n].size);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
    return 1;
}

/* ---- processes -------------------------------------------------------------------------- */

static int tell(lua_State *L)
{
    return write((int)lua_tointeger(L, lua_upvalueindex(1)), "", 1) == 1
               ? 0
               : luaL_error(L, "nobody hears");
}

static int64_t now_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

typedef struct process {
    pid_t id;
    int in;
} process;

static int spawn(lua_State *L)
{
    int ends[2];
    luaL_checktype(L, 1, LUA_TFUNCTION);
    process *self = lua_newuserdatauv(L, sizeof *self, 0);
    if (pipe(ends) != 0) return luaL_error(L, "no pipe");
    *self = (process){fork(), ends[0]};
    if (self->id < 0) return luaL_error(L, "no process");
    if (self->id == 0) {
        lua_settop(L, 1);
        lua_pushinteger(L, ends[1]);
        lua_pushcclosure(L, tell, 1);
        if (lua_pcall(L, 1, 0, 0) != LUA_OK) fprintf(stderr, "%s\n", luaL_tolstring(L, -1, NULL));
        _exit(0);
    }
    close(ends[1]);
    luaL_setmetatable(L, PROCESS);
    return 1;
}

/* hear(count) -> how often it told: less if it ended */
static int process_hear(lua_State *L)
{
    char byte;
    const process *self = luaL_checkudata(L, 1, PROCESS);
    lua_Integer count = luaL_checkinteger(L, 2), heard = 0;
    while (heard < count && read(self->in, &byte, 1) == 1)
        heard++;
    lua_pushinteger(L, heard);
    return 1;
}

/* kill(spin_us) -> was it still there? */
static int process_kill(lua_State *L)
{
    int status = 0;
    process *self = luaL_checkudata(L, 1, PROCESS);
    lua_Integer spin = luaL_optinteger(L, 2, 0);
    if (self->id <= 0) return 0;
    for (int64_t begin = now_us(); now_us() - begin < spin;) {
    }
    kill(self->id, SIGKILL);
    waitpid(self->id, &status, 0);
    close(self->in);
    self->id = 0;
    lua_pushboolean(L, WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return 1;
}

static int file_limit(lua_State *L)
{
    struct rlimit limit = {(rlim_t)luaL_checkinteger(L, 1), RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) return luaL_error(L, "no limit");
    return 0;
}

/* ---- the tables ------------------------------------------------------------------------- */

static const luaL_Reg view_methods[] = {{"close", view_close},     {"unload", view_unload},
                                        {"stats", view_stats},     {"note", view_note},
                                        {"get", view_get},         {"put", view_put},
                                        {"delete", view_delete},   {"expires", view_expires},
                                        {"sweep", view_sweep},     {"full", view_full},
                                        {"abort", view_abort},     {"commit", view_commit},
                                        {"find", view_find},       {"scan", view_scan},
                                        {"changed", view_changed}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"open", view_open},
                                     {"copy", view_copy},
                                     {"discard", view_discard},
                                     {"boot", view_boot},
                                     {"digest", view_digest},
                                     {"key", key_make},
                                     {"prefix", key_prefix},
                                     {"index", key_index},
                                     {"window", key_window},
                                     {"value", key_value},
                                     {"key_size", key_size},
                                     {"field", field_find},
                                     {"is_path", field_is_path},
                                     {"sort", sort},
                                     {"table", table_open},
                                     {"query", query},
                                     {"spawn", spawn},
                                     {"file_limit", file_limit},
                                     {NULL, NULL}};

int luaopen_coretest_view(lua_State *L)
{
    static const luaL_Reg table_methods[] = {
        {"follow", table_follow}, {"close", table_close}, {NULL, NULL}};
    ml_coretest_class(L, VIEW, view_methods, view_close);
    static const luaL_Reg process_methods[] = {
        {"hear", process_hear}, {"kill", process_kill}, {NULL, NULL}};
    ml_coretest_class(L, PROCESS, process_methods, process_kill);
    ml_coretest_class(L, TABLE, table_methods, table_close);
    luaL_newlib(L, functions);
    return 1;
}
