/* coretest_script.c -- `coretest.script`: sandboxes, the guard, patterns and canaries for busted.
 *
 * A box is a sandbox and the files it was made of. Values cross as MessagePack, as they do in the
 * program, and so only values that MessagePack has.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../core/base/limits.h"
#include "../../core/base/pack.h"
#include "../../core/script/canary.h"
#include "../../core/script/envelope.h"
#include "../../core/script/pattern.h"
#include "../../core/script/sandbox.h"
#include "../../core/script/value.h"
#include "../../core/script/words.h"
#include "coretest.h"

#define BOX "coretest.box"

enum { FILES_MAX = 32, ANSWER_BYTES = 8192 };

typedef struct box {
    ml_sandbox *sandbox;
    ml_source sources[FILES_MAX]; /* text belongs to the table at user value 1 */
    size_t count;
    ml_buf bytes; /* of a value on its way */
} box;

static const char *const kinds[] = {"none", "compile", "raised", "overstay", "memory", "shape"};

/* ---- faults and values ------------------------------------------------------------------ */

static void push_fault(lua_State *L, const ml_fault *fault)
{
    ml_error why;
    lua_newtable(L);
    lua_pushstring(L, kinds[fault->kind]);
    lua_setfield(L, -2, "kind");
    lua_pushstring(L, fault->message);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, fault->file);
    lua_setfield(L, -2, "file");
    ml_coretest_set(L, "line", fault->line);
    lua_pushstring(L, fault->source);
    lua_setfield(L, -2, "source");
    lua_pushstring(L, fault->traceback);
    lua_setfield(L, -2, "traceback");
    ml_code code = ml_fault_tell(fault, &why);
    lua_pushfstring(L, "%s: %s", ml_error_name(code), why.sentence);
    lua_setfield(L, -2, "told");
}

static int refuse(lua_State *L, const ml_fault *fault)
{
    lua_pushnil(L);
    push_fault(L, fault);
    return 2;
}

/* Writes the value at `index` of any state to bytes; raises there. */
static void write_value(lua_State *L, int index, ml_buf *to)
{
    ml_error why;
    ml_desk *desk = ml_desk_take(L);
    if (ml_value_write(L, index, desk, ML_APPEND_BYTES_MAX, "value", &why))
        luaL_error(L, "%s", why.sentence);
    ml_buf_clear(to);
    ml_buf_add(to, desk->bytes.data, desk->bytes.size);
    ml_desk_give(L, -1);
    lua_pop(L, 1);
}

static void read_value(lua_State *L, const ml_buf *from)
{
    ml_unpack cursor = ml_unpack_from(ml_buf_view(from));
    if (!ml_value_read(L, &cursor)) luaL_error(L, "no value");
}

/* read(bytes [, names]) -> true, value, bytes read; or false. `names`: each with its size in front. */
static int script_read(lua_State *L)
{
    ml_bytes bytes, names;
    bytes.data = luaL_checklstring(L, 1, &bytes.size);
    names.data = luaL_optlstring(L, 2, NULL, &names.size);
    lua_settop(L, 2);
    ml_unpack cursor = ml_unpack_from(bytes);
    bool done = names.data != NULL ? ml_value_read_fields(L, &cursor, names)
                                   : ml_value_read(L, &cursor);
    lua_pushboolean(L, done);
    lua_insert(L, 3);
    lua_pushinteger(L, cursor.at - (const uint8_t *)bytes.data);
    return lua_gettop(L) - 2;
}

/* ---- life ------------------------------------------------------------------------------- */

static box *check_box(lua_State *L) { return luaL_checkudata(L, 1, BOX); }

/* Takes {path = text, …}; the strings stay in the table, which the box holds. */
static void take_files(lua_State *L, int index, box *self)
{
    for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
        luaL_argcheck(L, self->count < FILES_MAX, index, "too many files");
        ml_source *source = &self->sources[self->count++];
        source->path.data = luaL_checklstring(L, -2, &source->path.size);
        source->text.data = luaL_checklstring(L, -1, &source->text.size);
    }
}

/* box(files [, bytes]) -> box */
static int script_box(lua_State *L)
{
    ml_error why;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    box *self = lua_newuserdatauv(L, sizeof *self, 1);
    memset(self, 0, sizeof *self);
    luaL_setmetatable(L, BOX);
    take_files(L, 1, self);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    self->sandbox = ml_sandbox_new(self->sources, self->count, (size_t)luaL_optinteger(L, 2, 0),
                                   &why);
    return self->sandbox != NULL ? 1 : ml_coretest_refuse(L, &why);
}

static int box_free(lua_State *L)
{
    box *self = check_box(L);
    ml_sandbox_free(self->sandbox);
    ml_buf_free(&self->bytes);
    self->sandbox = NULL;
    return 0;
}

static int box_used(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)ml_sandbox_used(check_box(L)->sandbox));
    return 1;
}

static int box_top(lua_State *L)
{
    lua_pushinteger(L, lua_gettop(ml_sandbox_lua(check_box(L)->sandbox)));
    return 1;
}

static int box_loaded(lua_State *L)
{
    box *self = check_box(L);
    ml_bytes path;
    path.data = luaL_checklstring(L, 2, &path.size);
    for (size_t n = 0; n < self->count; n++)
        if (ml_bytes_equal(self->sources[n].path, path))
            lua_pushboolean(L, ml_sandbox_loaded(self->sandbox, n));
    return 1;
}

/* ---- running ---------------------------------------------------------------------------- */

/* In the sandbox, protected: the value on top of the state's own stack is in registry 'result'. */
typedef struct request {
    ml_buf *bytes;
    const char *name; /* NULL: the result itself */
} request;

static int keep_result(lua_State *L)
{
    lua_setfield(L, LUA_REGISTRYINDEX, "coretest.result");
    return 0;
}

static int write_result(lua_State *L)
{
    request *r = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "coretest.result");
    write_value(L, lua_gettop(L), r->bytes);
    return 0;
}

/* Calls result[name] with the value in the bytes, and puts there what it gives. */
static int call_result(lua_State *L)
{
    request *r = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "coretest.result");
    if (r->name != NULL) lua_getfield(L, -1, r->name);
    read_value(L, r->bytes);
    lua_call(L, 1, 1);
    write_value(L, lua_gettop(L), r->bytes);
    return 0;
}

static int answer(lua_State *L, box *self, bool done, const ml_fault *fault)
{
    if (!done) return refuse(L, fault);
    read_value(L, &self->bytes);
    return 1;
}

/* run(path) -> true; nil, fault. Keeps the result. */
static int box_run(lua_State *L)
{
    box *self = check_box(L);
    ml_fault fault;
    ml_bytes path;
    path.data = luaL_checklstring(L, 2, &path.size);
    if (!ml_sandbox_run(self->sandbox, path, &fault)) return refuse(L, &fault);
    lua_pushcfunction(ml_sandbox_lua(self->sandbox), keep_result);
    lua_insert(ml_sandbox_lua(self->sandbox), -2);
    if (!ml_sandbox_call(self->sandbox, 1, 0, &fault)) return refuse(L, &fault);
    lua_pushboolean(L, true);
    return 1;
}

/* result() -> what the file gave; nil, fault */
static int box_result(lua_State *L)
{
    box *self = check_box(L);
    ml_fault fault;
    request r = {&self->bytes, NULL};
    return answer(L, self, ml_sandbox_enter(self->sandbox, write_result, &r, &fault), &fault);
}

/* call(name, value) -> value; nil, fault */
static int box_call(lua_State *L)
{
    box *self = check_box(L);
    ml_fault fault;
    request r = {&self->bytes, luaL_optstring(L, 2, NULL)};
    lua_settop(L, 3);
    write_value(L, 3, &self->bytes);
    return answer(L, self, ml_sandbox_enter(self->sandbox, call_result, &r, &fault), &fault);
}

/* ---- envelopes --------------------------------------------------------------------------- */

typedef struct giving {
    ml_buf *bytes;
    const char *name;
    const ml_event *event;
} giving;

static int give_event(lua_State *L)
{
    giving *g = lua_touserdata(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "coretest.result");
    lua_getfield(L, -1, g->name);
    ml_envelope_push(L, g->event);
    lua_call(L, 1, 1);
    ml_envelope_clear(L);
    write_value(L, lua_gettop(L), g->bytes);
    return 0;
}

static ml_event take_event(lua_State *L, int index)
{
    ml_event event = {.position = ml_coretest_number(L, index, "position"),
                      .revision = ml_coretest_number(L, index, "revision"),
                      .time = (int64_t)ml_coretest_number(L, index, "time"),
                      .schema = (uint32_t)ml_coretest_number(L, index, "schema"),
                      .stream = ml_coretest_text(L, index, "stream"),
                      .type = ml_coretest_text(L, index, "type"),
                      .id = ml_coretest_text(L, index, "id").data,
                      .tags = ml_coretest_text(L, index, "tags"),
                      .meta = ml_coretest_text(L, index, "meta"),
                      .occurred = (int64_t)ml_coretest_number(L, index, "occurred")};
    event.has_occurred = event.occurred != 0;
    return event;
}

/* give(name, event) -> value; nil, fault. The function gets an envelope of the event. */
static int box_give(lua_State *L)
{
    box *self = check_box(L);
    ml_fault fault;
    ml_event event = take_event(L, 3);
    giving g = {&self->bytes, luaL_checkstring(L, 2), &event};
    return answer(L, self, ml_sandbox_enter(self->sandbox, give_event, &g, &fault), &fault);
}

/* ---- the guard -------------------------------------------------------------------------- */

static int script_guard(lua_State *L)
{
    ml_guard_start((uint32_t)luaL_checkinteger(L, 1));
    return 0;
}

static int script_stop(lua_State *L)
{
    (void)L;
    ml_guard_stop();
    return 0;
}

/* overstay(name, times) -> how many of the calls overstayed; those that did not are faults */
static int box_repeat(lua_State *L)
{
    box *self = check_box(L);
    ml_fault fault;
    lua_Integer stopped = 0, times = luaL_checkinteger(L, 3);
    for (lua_Integer n = 0; n < times; n++) {
        request r = {&self->bytes, luaL_checkstring(L, 2)};
        ml_buf_clear(&self->bytes);
        ml_pack_nil(&self->bytes);
        if (ml_sandbox_enter(self->sandbox, call_result, &r, &fault)) break;
        if (fault.kind != ML_FAULT_OVERSTAY) return refuse(L, &fault);
        stopped++;
    }
    lua_pushinteger(L, stopped);
    return 1;
}

/* ---- in a process of its own ------------------------------------------------------------ */

/* The child: calls the function, and says what it gave in one string. */
_Noreturn static void live_apart(lua_State *L, int out, lua_Integer seconds)
{
    size_t size;
    struct rlimit none = {0, 0}, time = {(rlim_t)seconds, (rlim_t)seconds};
    ML_IGNORE(setrlimit(RLIMIT_CORE, &none));
    ML_IGNORE(setrlimit(RLIMIT_CPU, &time)); /* then the parent's patience is the limit */
    int status = lua_pcall(L, 0, 1, 0);
    const char *said = luaL_tolstring(L, -1, &size);
    ssize_t written = write(out, said, size < ANSWER_BYTES ? size : ANSWER_BYTES);
    _exit(status == LUA_OK && written >= 0 ? 0 : 1);
}

static size_t hear(int in, char *said, lua_Integer seconds)
{
    size_t size = 0;
    ssize_t more = 1;
    struct pollfd one = {.fd = in, .events = POLLIN};
    while (more > 0 && size < ANSWER_BYTES && poll(&one, 1, (int)seconds * 1000) > 0) {
        more = read(in, said + size, ANSWER_BYTES - size);
        if (more > 0) size += (size_t)more;
    }
    return size;
}

/* apart(function, seconds) -> what it returned, as a string; nil and "signal 11", "exit 1" */
static int script_apart(lua_State *L)
{
    char said[ANSWER_BYTES];
    int ends[2], status = 0;
    lua_Integer seconds = luaL_checkinteger(L, 2);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    if (pipe(ends) != 0) return luaL_error(L, "no pipe");
    pid_t child = fork();
    if (child < 0) return luaL_error(L, "no process");
    if (child == 0) {
        close(ends[0]);
        live_apart(L, ends[1], seconds);
    }
    close(ends[1]);
    size_t size = hear(ends[0], said, seconds * 4);
    close(ends[0]);
    kill(child, SIGKILL); /* has ended, or hangs */
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return lua_pushlstring(L, said, size), 1;
    lua_pushnil(L);
    if (WIFSIGNALED(status)) lua_pushfstring(L, "signal %d", WTERMSIG(status));
    else lua_pushfstring(L, "exit %d: %s", WEXITSTATUS(status), lua_pushlstring(L, said, size));
    return 2;
}

/* ---- words and canaries ------------------------------------------------------------------ */

/* word(value) -> the word that made it */
static int script_word(lua_State *L)
{
    static const char *const names[] = {"none", "event", "refusal", "split", "drop", "delete", "window"};
    luaL_checkany(L, 1);
    lua_pushstring(L, names[ml_word_of(L, 1)]);
    return 1;
}

static void note_canary(void *context, const ml_canary *canary)
{
    lua_State *L = context;
    lua_createtable(L, 0, 5);
    lua_pushstring(L, canary->name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, canary->fix);
    lua_setfield(L, -2, "fix");
    lua_pushstring(L, ml_canary_verdict_name(canary->plain));
    lua_setfield(L, -2, "plain");
    lua_pushstring(L, ml_canary_verdict_name(canary->rules));
    lua_setfield(L, -2, "rules");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static int script_canaries(lua_State *L)
{
    lua_newtable(L);
    ml_canary_run(note_canary, L);
    return 1;
}

/* ---- the module ------------------------------------------------------------------------- */

static int nothing(lua_State *L)
{
    (void)L;
    return 0;
}

/* spent(times) -> nanoseconds that ml_sandbox_enter takes */
static int box_spent(lua_State *L)
{
    box *self = check_box(L);
    ml_fault fault;
    struct timespec began, ended;
    lua_Integer times = luaL_checkinteger(L, 2);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &began);
    for (lua_Integer n = 0; n < times; n++)
        if (!ml_sandbox_enter(self->sandbox, nothing, NULL, &fault)) return refuse(L, &fault);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
    double seconds = (double)(ended.tv_sec - began.tv_sec);
    double ns = seconds * 1e9 + (double)(ended.tv_nsec - began.tv_nsec);
    lua_pushnumber(L, ns / (double)times);
    return 1;
}

int luaopen_coretest_script(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"run", box_run},   {"result", box_result}, {"call", box_call},     {"used", box_used},
        {"top", box_top},   {"loaded", box_loaded}, {"overstay", box_repeat}, {"spent", box_spent},
        {"give", box_give}, {"free", box_free},     {NULL, NULL}};
    static const luaL_Reg functions[] = {{"box", script_box},
                                         {"guard", script_guard},
                                         {"stop", script_stop},
                                         {"apart", script_apart},
                                         {"word", script_word},
                                         {"canaries", script_canaries},
                                         {"read", script_read},
                                         {NULL, NULL}};
    ml_value_open(L);
    ml_coretest_class(L, BOX, methods, box_free);
    luaL_newlib(L, functions);
    lua_newtable(L);
    ml_pattern_open(L);
    lua_setfield(L, -2, "pattern");
    lua_newtable(L);
    ml_words_open(L);
    lua_setfield(L, -2, "words");
    return 1;
}
