/* module_whatif.c -- see module_whatif.h. */
#include "module_whatif.h"

#include <stdlib.h>
#include <unistd.h>

#include "../rules/module_rules.h"
#include "../script/module.h"
#include "../script/value.h"
#include "../view/view.h"
#include "whatif.h"

enum { PATH = 4096 };

/* What the C side works on while Lua may raise: freed when Lua lets go of it. */
typedef struct job {
    ml_diagnostics report;
    char scratch[PATH]; /* made here, to be removed; "": it is the caller's */
    char boot[ML_VIEW_BOOT];
    lua_State *L;
    int progress; /* where the function is on the stack; 0: there is none */
} job;

#define JOB "moonlog.whatif"

static int job_end(lua_State *L)
{
    job *j = luaL_checkudata(L, 1, JOB);
    ml_diagnostics_free(&j->report);
    if (j->scratch[0] != '\0') ML_IGNORE(rmdir(j->scratch) != 0); /* it is empty, or not ours */
    j->scratch[0] = '\0';
    return 0;
}

/* An error in it ends the run, as false does. */
static bool tell_progress(void *context, ml_bytes unit, uint64_t position, uint64_t head)
{
    const job *j = context;
    lua_State *L = j->L;
    lua_pushvalue(L, j->progress);
    lua_pushlstring(L, unit.data, unit.size);
    lua_pushinteger(L, (lua_Integer)position);
    lua_pushinteger(L, (lua_Integer)head);
    bool good = lua_pcall(L, 3, 1, 0) == LUA_OK && (lua_isnil(L, -1) || lua_toboolean(L, -1));
    lua_pop(L, 1);
    return good;
}

static void make_scratch(lua_State *L, job *j)
{
    const char *folder = getenv("TMPDIR");
    if (folder == NULL || strlen(folder) > PATH - 40) folder = "/tmp";
    char *path = j->scratch;
    strcpy(path, folder);
    strcat(path, "/moonlog-whatif-XXXXXX");
    if (mkdtemp(path) != NULL) return;
    path[0] = '\0';
    luaL_error(L, "%s has no place for a directory", folder);
}

static void read_options(lua_State *L, ml_whatif *ask, job *j)
{
    static const char *const known[] = {"store", "before", "after",    "unit", "from",
                                        "limit", "scratch", "progress", NULL};
    ml_error why;
    ml_fields fields = ml_fields_from(L, 1, "moonlog.whatif", known, &why);
    ask->unit = ml_fields_text(&fields, "unit"); /* the table holds it, and the next */
    ask->from = ml_fields_natural(&fields, "from", 0, INT64_MAX, 0);
    ask->limit = ml_fields_natural(&fields, "limit", 1, INT64_MAX, 0);
    ask->scratch = ml_fields_text(&fields, "scratch").data;
    if (why.code) ml_module_raise(L, &why);
    if (lua_getfield(L, 1, "progress") == LUA_TFUNCTION) {
        j->progress = lua_gettop(L);
        ask->progress = tell_progress;
        ask->context = j;
    }
    if (ask->scratch != NULL) return;
    make_scratch(L, j);
    ask->scratch = j->scratch;
}

/* Each table stays on the stack: it holds the texts. */
static size_t read_files(lua_State *L, const char *name, ml_desk *desk)
{
    lua_getfield(L, 1, name);
    return ml_module_rules_files(L, lua_gettop(L), desk);
}

static int push_result(lua_State *L, const ml_buf *packed)
{
    ml_unpack at = ml_unpack_from(ml_buf_view(packed));
    if (!ml_value_read_message(L, &at)) return luaL_error(L, "an answer that Lua cannot hold");
    return 1;
}

static int fail(lua_State *L, const ml_error *why, const ml_diagnostics *report)
{
    int given = ml_module_fail(L, why);
    ml_unpack at = ml_unpack_from(ml_buf_view(&report->items));
    if (report->errors == 0) return given;
    lua_createtable(L, (int)report->count, 0);
    for (uint32_t n = 1; n <= report->count && ml_value_read_message(L, &at); n++)
        lua_rawseti(L, -2, n);
    return given + 1;
}

static int whatif(lua_State *L)
{
    ml_error why = {.code = ML_OK};
    ml_whatif ask = {0};
    lua_settop(L, 1);
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getfield(L, 1, "store");
    ask.store = ml_module_check(L, 2)->store;
    ml_desk *desk = ml_desk_take(L); /* at 3 */
    job *j = lua_newuserdatauv(L, sizeof *j, 0);
    *j = (job){.L = L};
    luaL_setmetatable(L, JOB);
    lua_toclose(L, 4);
    read_options(L, &ask, j);
    ask.before_count = read_files(L, "before", desk);
    ask.after_count = read_files(L, "after", desk);
    if (ml_desk_check(desk, &why)) return ml_module_fail(L, &why);
    ask.before = (const ml_source *)(void *)desk->terms.data;
    ask.after = ask.before + ask.before_count;
    ml_view_boot(j->boot);
    ask.boot = j->boot;
    ml_code code = ml_whatif_run(&ask, &j->report, &desk->items, &why);
    int given = code ? fail(L, &why, &j->report) : push_result(L, &desk->items);
    ml_desk_give(L, 3);
    return given;
}

void ml_module_whatif_open(lua_State *L)
{
    luaL_newmetatable(L, JOB);
    lua_pushcfunction(L, job_end);
    lua_setfield(L, -2, "__gc");
    lua_pushcfunction(L, job_end);
    lua_setfield(L, -2, "__close");
    lua_pop(L, 1);
    lua_pushcfunction(L, whatif);
    lua_setfield(L, -2, "whatif");
}
