/* repl_lua.c -- the session's Lua state: a full one, for its user is the operator.
 *
 * The session is an object of lua/moonlog/repl.lua, kept in the registry. Whatever may raise runs
 * inside one protected call; what a method gives back is read from the stack behind it.
 */
#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../script/desk.h"
#include "../script/socket.h"
#include "../script/value.h"
#include "pack_dir.h"
#include "repl.h"

int luaopen_moonlog(lua_State *L); /* of the Lua module, which is linked in */

static const char session_key = 's'; /* its address is the key */

/* ---- where the Lua files are ------------------------------------------------------------ */

/* Beside the program: in a build tree (build/moonlog, build/MODE/moonlog), or installed. */
static const char *const places[] = {"../lua", "../../lua", "../share/lua/5.4"};

static bool has_files(const char *dir)
{
    char path[PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/moonlog/repl.lua", dir);
    return size < (int)sizeof path && access(path, R_OK) == 0;
}

ml_code ml_repl_find_files(char dir[PATH_MAX], ml_error *why)
{
    char program[PATH_MAX];
    const char *said = getenv("MOONLOG_LUA");
    if (said != NULL && said[0] != '\0') {
        snprintf(dir, PATH_MAX, "%s", said);
        if (has_files(dir)) return ML_OK;
        return ml_error_set(why, ML_UNSUPPORTED,
                            "MOONLOG_LUA is %.512s, which has no moonlog/repl.lua", said);
    }
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    program[size > 0 ? size : 0] = '\0';
    char *slash = strrchr(program, '/');
    if (slash != NULL) *slash = '\0';
    for (size_t n = 0; slash != NULL && n < sizeof places / sizeof *places; n++) {
        int length = snprintf(dir, PATH_MAX, "%s/%s", program, places[n]);
        if (length < PATH_MAX && has_files(dir)) return ML_OK;
    }
    return ml_error_set(
        why, ML_UNSUPPORTED,
        "moonlog/repl.lua is not near the program; `make install` puts it there, or "
        "set MOONLOG_LUA to the source's lua/");
}

/* ---- calls ------------------------------------------------------------------------------ */

/* Whoever asked over the connection may have taken in what was pushed meanwhile: it no longer shows
 * at the descriptor, so `waiting` has the loop look. */

typedef struct call {
    const char *method;
    const ml_bytes *text; /* its argument, or NULL */
    lua_Integer number;   /* one more */
    int results;
} call;

static int run_call(lua_State *L)
{
    const call *c = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &session_key);
    lua_getfield(L, -1, c->method);
    lua_insert(L, -2);
    if (c->text != NULL) lua_pushlstring(L, c->text->size > 0 ? c->text->data : "", c->text->size);
    else lua_pushnil(L);
    lua_pushinteger(L, c->number);
    lua_call(L, 3, c->results);
    return c->results;
}

/* The string at `index`, appended. */
static void add_text(lua_State *L, int index, ml_buf *out)
{
    size_t size;
    if (lua_type(L, index) != LUA_TSTRING) return;
    const char *text = lua_tolstring(L, index, &size);
    ml_buf_add(out, text, size);
}

/* Leaves the method's results at the bottom of the stack; or false, and what was raised in `said`,
 * which may be NULL. The stack wants lua_settop(L, 0). */
static bool run(const ml_repl *repl, call *c, ml_buf *said)
{
    lua_State *L = repl->lua;
    lua_settop(L, 0);
    lua_pushcfunction(L, run_call);
    lua_pushlightuserdata(L, c);
    if (lua_pcall(L, 1, c->results, 0) == LUA_OK) return true;
    if (said != NULL) add_text(L, -1, said);
    lua_settop(L, 0);
    return false;
}

/* ---- Ctrl-C while Lua runs -------------------------------------------------------------- */

static lua_State *volatile running;
static volatile sig_atomic_t stopping;

static void stop(lua_State *L, lua_Debug *where)
{
    (void)where;
    lua_sethook(L, NULL, 0, 0);
    luaL_error(L, "interrupted");
}

/* Setting a hook is what Lua allows in a signal handler. A second Ctrl-C ends the program: what
 * runs is then no Lua that could be stopped. One that comes when nothing runs came too late. */
static void on_interrupt(int number)
{
    (void)number;
    lua_State *L = running;
    if (L == NULL) return;
    if (stopping) _exit(ML_EXIT_INTERRUPTED);
    stopping = 1;
    lua_sethook(L, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

static void catch_interrupts(void)
{
    struct sigaction catch = {.sa_handler = on_interrupt}; /* no SA_RESTART: wake what waits */
    ML_IGNORE(sigaction(SIGINT, &catch, NULL) != 0);       /* it fails only for no signal */
}

static bool run_interruptible(const ml_repl *repl, call *c, ml_buf *said)
{
    stopping = 0;
    running = repl->lua;
    bool done = run(repl, c, said);
    running = NULL;
    lua_sethook(repl->lua, NULL, 0, 0);
    return done;
}

/* ---- opening ---------------------------------------------------------------------------- */

typedef struct opening {
    const ml_cli *cli;
    const char *dir, *name, *uri;
    int file;
    bool terminal;
} opening;

/* read_pack(dir): {path = source}, or nil and why. */
static int read_pack(lua_State *L)
{
    ml_error why;
    const char *dir = luaL_checkstring(L, 1);
    ml_desk *desk = ml_desk_take(L);
    ml_code code = ml_pack_dir_read(dir, &desk->bytes, &why);
    ml_unpack cursor = ml_unpack_from(ml_buf_view(&desk->bytes));
    if (!code && ml_value_read(L, &cursor)) return 1;
    if (!code)
        code = ml_error_set(&why, ML_INTERNAL, "the files of %.512s cannot be shown to Lua", dir);
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", ml_error_name(code), why.sentence);
    return 2;
}

void ml_repl_set_path(lua_State *L, const char *dir)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "path");
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", dir, dir, lua_tostring(L, -1));
    lua_setfield(L, -3, "path");
    lua_getfield(L, -2, "preload");
    lua_pushcfunction(L, luaopen_moonlog);
    lua_setfield(L, -2, "moonlog");
    lua_settop(L, 1);
}

/* require "moonlog.repl".over(socket, uri, options), into the registry. */
static int open_session(lua_State *L)
{
    const opening *o = lua_touserdata(L, 1);
    luaL_openlibs(L);
    ml_repl_set_path(L, o->dir);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonlog");
    lua_call(L, 1, 0);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonlog.repl");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "over");
    ml_socket_push(L, o->file, o->uri);
    lua_pushstring(L, o->uri);
    lua_createtable(L, 0, 4);
    lua_pushcfunction(L, read_pack);
    lua_setfield(L, -2, "read_pack");
    lua_pushstring(L, o->name);
    lua_setfield(L, -2, "name");
    lua_pushboolean(L, o->terminal);
    lua_setfield(L, -2, "terminal");
    if (o->cli->width > 0) {
        lua_pushinteger(L, o->cli->width);
        lua_setfield(L, -2, "width");
    }
    lua_call(L, 3, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &session_key);
    return 0;
}

ml_code ml_repl_open(ml_repl *repl, const ml_cli *cli, const ml_client *client, const char *name,
                     bool terminal, ml_error *why)
{
    char dir[PATH_MAX];
    *repl = (ml_repl){.cli = cli, .file = client->file};
    ml_code code = ml_repl_find_files(dir, why);
    if (code) return code;
    opening o = {.cli = cli,
                 .dir = dir,
                 .name = name,
                 .file = client->file,
                 .terminal = terminal,
                 .uri = cli->connect != NULL ? cli->connect : cli->data};
    repl->lua = luaL_newstate();
    if (repl->lua == NULL) return ml_error_memory(why, "a Lua state");
    if (terminal) catch_interrupts(); /* without one Ctrl-C ends the program, as any */
    lua_pushcfunction(repl->lua, open_session);
    lua_pushlightuserdata(repl->lua, &o);
    if (lua_pcall(repl->lua, 1, 0, 0) == LUA_OK) return ML_OK;
    const char *said = lua_tostring(repl->lua, -1);
    code = ml_error_set(why, ML_INTERNAL, "%.900s", said != NULL ? said : "Lua raised no sentence");
    ml_repl_close(repl);
    return code;
}

void ml_repl_close(ml_repl *repl)
{
    if (repl->lua != NULL) lua_close(repl->lua);
    repl->lua = NULL;
}

/* ---- lines ------------------------------------------------------------------------------ */

static ml_repl_fed fed_of(const char *word)
{
    static const char *const words[] = {[ML_REPL_MORE] = "more",
                                        [ML_REPL_DONE] = "done",
                                        [ML_REPL_FAILED] = "failed",
                                        [ML_REPL_QUIT] = "quit"};
    for (int n = ML_REPL_MORE; word != NULL && n <= ML_REPL_QUIT; n++)
        if (strcmp(word, words[n]) == 0) return (ml_repl_fed)n;
    return ML_REPL_FAILED;
}

static ml_repl_fed take_fed(const ml_repl *repl, ml_buf *said, ml_buf *statement)
{
    ml_repl_fed fed = fed_of(lua_tostring(repl->lua, 1));
    add_text(repl->lua, 2, said);
    if (statement != NULL) add_text(repl->lua, 3, statement);
    lua_settop(repl->lua, 0);
    return fed;
}

ml_repl_fed ml_repl_feed(ml_repl *repl, ml_bytes line, ml_buf *said, ml_buf *statement)
{
    call c = {.method = "feed", .text = &line, .results = 3};
    repl->waiting = true;
    return run_interruptible(repl, &c, said) ? take_fed(repl, said, statement) : ML_REPL_FAILED;
}

ml_repl_fed ml_repl_finish(ml_repl *repl, ml_buf *said)
{
    call c = {.method = "finish", .results = 2};
    return run(repl, &c, said) ? take_fed(repl, said, NULL) : ML_REPL_FAILED;
}

void ml_repl_cancel(ml_repl *repl)
{
    call c = {.method = "cancel"};
    ML_IGNORE(!run(repl, &c, NULL)); /* it sets a field to nil */
}

/* ---- around them ------------------------------------------------------------------------ */

static void text_of(const ml_repl *repl, call *c, ml_buf *out)
{
    c->results = 1;
    if (run(repl, c, out)) add_text(repl->lua, 1, out);
    lua_settop(repl->lua, 0);
}

void ml_repl_greet(ml_repl *repl, const char *place, ml_buf *said)
{
    ml_bytes text = ml_cli_text(place);
    text_of(repl, &(call){.method = "greeting", .text = &text}, said);
}

void ml_repl_prompt(ml_repl *repl, unsigned columns, ml_buf *prompt)
{
    text_of(repl, &(call){.method = "prompt", .number = columns}, prompt);
}

size_t ml_repl_complete(ml_repl *repl, ml_bytes line, ml_buf *names, size_t *begun)
{
    call c = {.method = "complete", .text = &line, .results = 2};
    lua_State *L = repl->lua;
    size_t count = 0;
    *begun = 0;
    repl->waiting = true;
    if (run(repl, &c, NULL)) *begun = (size_t)lua_tointeger(L, 1);
    if (lua_istable(L, 2) && *begun <= line.size) count = lua_rawlen(L, 2);
    for (size_t n = 1; n <= count; n++) {
        lua_rawgeti(L, 2, (lua_Integer)n);
        add_text(L, -1, names);
        ml_buf_byte(names, '\0');
        lua_settop(L, 2);
    }
    lua_settop(L, 0);
    return names->failed ? 0 : count;
}

void ml_repl_pushed(ml_repl *repl, ml_buf *said)
{
    call c = {.method = "pushed", .results = 3};
    repl->waiting = false;
    if (repl->gone || !run(repl, &c, said)) return;
    add_text(repl->lua, 1, said);
    repl->waiting = lua_toboolean(repl->lua, 2);
    repl->gone = lua_toboolean(repl->lua, 3);
    lua_settop(repl->lua, 0);
}

bool ml_repl_load(ml_repl *repl, const char *dir, bool changed, ml_buf *said)
{
    ml_bytes text = ml_cli_text(dir);
    call c = {.method = "load", .text = &text, .number = changed, .results = 2};
    bool active = false;
    repl->waiting = true;
    if (run_interruptible(repl, &c, said)) {
        add_text(repl->lua, 1, said);
        active = lua_toboolean(repl->lua, 2);
    }
    lua_settop(repl->lua, 0);
    return active;
}
