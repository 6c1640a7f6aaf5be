/* canary.c -- the scripts, and the processes in which they may die. */
#include "canary.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lualib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

enum { SECONDS_MAX = 10 };

/* A script returns true where the bug is not. */
typedef struct song {
    ml_canary about;
    const char *plain;
    const char *rules; /* as near as rules come to it; NULL: the same */
} song;

/* ---- the scripts ------------------------------------------------------------------------ */

#define GROW                                                                                  \
    "local function grow(n) if n > 0 then return 1 + grow(n - 1) end return 0 end\n"          \
    "local meta = {}\n"                                                                       \
    "local object = setmetatable({}, meta)\n"                                                 \
    "meta.__concat = function() grow(150000) return 'x' end\n"

static const song songs[] = {
    {{"concat", "603b2c64", "`..` with a __concat that makes the stack grow reads freed memory",
      "__concat is a field like any other", 0, 0},
     GROW "return ('a' .. 'b' .. object .. 'c') == 'ax'",
     GROW "return not pcall(function() return 'a' .. 'b' .. object .. 'c' end)"},

    {{"close chain", "1e64c139", "coroutines that close each other in __close overflow the C stack",
      "rules have no coroutines", 0, 0},
     "local last\n"
     "for _ = 1, 30000 do\n"
     "  local previous = last\n"
     "  local function close() if previous then coroutine.close(previous) end end\n"
     "  last = coroutine.create(function()\n"
     "    local held <close> = setmetatable({}, {__close = close})\n"
     "    coroutine.yield(held)\n"
     "  end)\n"
     "  coroutine.resume(last)\n"
     "end\n"
     "coroutine.close(last)\n"
     "return true",
     "return not pcall(function() return coroutine end)"},

    {{"gmatch again", "efddc230", "a gmatch that is used again after \"pattern too complex\" "
      "overflows the C stack", "patterns have a matcher of moonlog's own", 0, 0},
     "local each = string.gmatch(('a'):rep(300000), ('a?'):rep(300000))\n"
     "pcall(each)\n"
     "return not pcall(each)",
     "local each = string.gmatch(('a'):rep(300000), ('a?'):rep(250))\n"
     "pcall(each)\n"
     "return not pcall(each)"},

    {{"weak tables", "983bc433", "a weak metatable that the collector empties under a call is read "
      "after it is freed; seen only with a checker of memory, so this asks for weak tables",
      "__mode is a field like any other", 0, 0},
     "return true",
     "local meta = {}\n"
     "local weak = setmetatable({}, meta)\n"
     "meta.__mode = 'v'\n"
     "for n = 1, 10 do weak[n] = {} end\n"
     "for _ = 1, 200000 do local garbage = {} end\n"
     "for n = 1, 10 do if not weak[n] then return false end end\n"
     "return true"},

    {{"constants", "c764ca71", "`1 ~ (2 or 3)` is wrong in a function of over 256 constants",
      "a pack with such a function is refused", 0, 0},
     "local parts = {'local t = {'}\n"
     "for n = 1, 300 do parts[#parts + 1] = n .. '.5,' end\n"
     "parts[#parts + 1] = '} return 1 ~ (2 or 3)'\n"
     "return load(table.concat(parts))() == 3",
     "return true"},

    {{"comparison as a key", "782ef85b", "`t[a < b]` raises an error when t is an upvalue",
      "nothing; it raises, and does not lie", 0, 0},
     "local a, b, t = 1, 2, {[true] = 5}\n"
     "local function get() return t[a < b] end\n"
     "local done, got = pcall(get)\n"
     "return done and got == 5",
     NULL},

    {{"utf8", "a1089b41", "utf8.codes takes bytes that are no UTF-8", "nothing; it is the same on "
      "every run", 0, 0},
     "return not pcall(function() for _ in utf8.codes('ab\\x80c') do end end)", NULL},
};

/* ---- in the child ------------------------------------------------------------------------ */

/* The status of a process whose script returned something else than true. */
enum { STATUS_OK, STATUS_AFFECTED, STATUS_UNKNOWN };

static int sing_plain(const char *script)
{
    lua_State *L = luaL_newstate();
    if (L == NULL) return STATUS_UNKNOWN;
    luaL_openlibs(L);
    bool done = luaL_dostring(L, script) == LUA_OK && lua_toboolean(L, -1);
    lua_close(L);
    return done ? STATUS_OK : STATUS_AFFECTED;
}

static int sing_as_rules(const char *script)
{
    ml_fault fault;
    ml_source source = {ML_STR("canary.lua"), {script, strlen(script)}};
    ml_sandbox *sandbox = ml_sandbox_new(&source, 1, 0, NULL);
    if (sandbox == NULL) return STATUS_UNKNOWN;
    bool done = ml_sandbox_run(sandbox, source.path, &fault) &&
                lua_toboolean(ml_sandbox_lua(sandbox), -1);
    ml_sandbox_free(sandbox);
    return done ? STATUS_OK : STATUS_AFFECTED;
}

/* A crash is expected: it leaves no core, and what a checker of memory says is not for here. */
_Noreturn static void sing(int (*voice)(const char *), const char *script)
{
    struct rlimit none = {0, 0}, time = {SECONDS_MAX, SECONDS_MAX};
    int hush = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (hush < 0 || dup2(hush, STDERR_FILENO) < 0 || setrlimit(RLIMIT_CORE, &none) != 0 ||
        setrlimit(RLIMIT_CPU, &time) != 0)
        _exit(STATUS_UNKNOWN);
    _exit(voice(script));
}

/* ---- in the parent ----------------------------------------------------------------------- */

static ml_canary_verdict listen_to(int (*voice)(const char *), const char *script)
{
    int status = 0;
    pid_t child = fork();
    if (child < 0) return ML_CANARY_UNKNOWN;
    if (child == 0) sing(voice, script);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return ML_CANARY_UNKNOWN;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL ? ML_CANARY_UNKNOWN
                                                                         : ML_CANARY_CRASHED;
    switch (WEXITSTATUS(status)) {
    case STATUS_OK: return ML_CANARY_OK;
    case STATUS_AFFECTED: return ML_CANARY_AFFECTED;
    case STATUS_UNKNOWN: return ML_CANARY_UNKNOWN;
    default: return ML_CANARY_CRASHED; /* a checker of memory ends the process by itself */
    }
}

void ml_canary_run(void (*each)(void *context, const ml_canary *canary), void *context)
{
    for (size_t i = 0; i < sizeof songs / sizeof songs[0]; i++) {
        const song *one = &songs[i];
        ml_canary canary = one->about;
        canary.plain = listen_to(sing_plain, one->plain);
        canary.rules = listen_to(sing_as_rules, one->rules != NULL ? one->rules : one->plain);
        each(context, &canary);
    }
}

const char *ml_canary_verdict_name(ml_canary_verdict verdict)
{
    switch (verdict) {
    case ML_CANARY_OK: return "ok";
    case ML_CANARY_AFFECTED: return "affected";
    case ML_CANARY_CRASHED: return "crashed";
    case ML_CANARY_UNKNOWN: break;
    }
    return "unknown";
}
