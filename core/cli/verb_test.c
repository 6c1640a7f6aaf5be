/* verb_test.c -- the specs of a pack of rules, and the pack itself, without a daemon.
 *
 * First the pack is staged as a worker would stage it, but for the log. Then busted runs its
 * *_spec.lua in a Lua state of this program, where `require "moonlog"` is this program's own
 * engine; lua/moonlog/testing/run.lua has the rest.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <stdlib.h>

#include "../rules/engine.h"
#include "blame.h"
#include "pack_dir.h"
#include "repl.h"

/* ---- the pack --------------------------------------------------------------------------- */

/* The map {path: text} as a list of sources; false if it is too long, which pack_dir refuses. */
static bool list_files(ml_bytes map, ml_source files[ML_PACK_DIR_FILES_MAX], uint32_t *count)
{
    ml_unpack cursor = ml_unpack_from(map);
    if (!ml_unpack_map(&cursor, count) || *count > ML_PACK_DIR_FILES_MAX) return false;
    for (uint32_t n = 0; n < *count; n++)
        if (!ml_unpack_str(&cursor, &files[n].path) || !ml_unpack_str(&cursor, &files[n].text))
            return false;
    return true;
}

static ml_code stage(ml_bytes map, ml_buf *report, ml_error *why)
{
    ml_engine *engine;
    ml_source files[ML_PACK_DIR_FILES_MAX];
    uint32_t count;
    if (!list_files(map, files, &count))
        return ml_error_set(why, ML_INTERNAL, "the files of the pack are no list of texts");
    ml_code code = ml_engine_new(NULL, NULL, &engine, why);
    if (code) return code;
    code = ml_engine_stage(engine, files, count, ML_STAGE_SHAPES, report, why);
    ml_engine_free(engine);
    return code;
}

/* Says what is wrong with the files in `dir`; the exit status. */
static int check(const ml_cli *cli, const char *dir)
{
    ml_buf files = {0}, report = {0};
    ml_error why;
    int status = ML_EXIT_OK;
    ml_code code = ml_pack_dir_read(dir, &files, &why);
    if (!code) code = stage(ml_buf_view(&files), &report, &why);
    if (code) {
        status = ml_cli_fail(cli, code, why.sentence);
    } else {
        size_t errors = ml_blame_show_all(cli, ml_buf_view(&report));
        if (errors > 0) {
            ml_cli_failf(cli, ML_SCRIPT_ERROR, "%zu %s; no spec was run", errors,
                         errors == 1 ? "error" : "errors");
            status = ML_EXIT_PROBLEMS;
        }
    }
    ml_buf_free(&files);
    ml_buf_free(&report);
    return status;
}

/* ---- its specs -------------------------------------------------------------------------- */

typedef struct running {
    const char *lua, *dir;
} running;

/* require "moonlog.testing.run" (dir). It ends the program when specs have run, with the exit
 * status 0 or 7; what it gives is why they cannot be. */
static int run_body(lua_State *L)
{
    const running *r = lua_touserdata(L, 1);
    luaL_openlibs(L);
    ml_repl_set_path(L, r->lua);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "moonlog.testing.run");
    lua_call(L, 1, 1);
    lua_pushstring(L, r->dir);
    lua_pushinteger(L, ML_EXIT_PROBLEMS);
    lua_call(L, 2, 1);
    return 1;
}

static int run_specs(const ml_cli *cli, const char *dir)
{
    char lua[PATH_MAX];
    ml_error why;
    ml_code code = ml_repl_find_files(lua, &why);
    if (code) return ml_cli_fail(cli, code, why.sentence);
    running r = {.lua = lua, .dir = dir};
    lua_State *L = luaL_newstate();
    if (L == NULL) return ml_cli_fail(cli, ML_NO_MEMORY, "out of memory for a Lua state");
    lua_pushcfunction(L, run_body);
    lua_pushlightuserdata(L, &r);
    bool ran = lua_pcall(L, 1, 1, 0) == LUA_OK;
    const char *said = lua_tostring(L, -1);
    int status = ml_cli_failf(cli, ran ? ML_UNSUPPORTED : ML_INTERNAL, "%.900s",
                              said != NULL ? said : "Lua raised no sentence");
    lua_close(L);
    return status;
}

int ml_verb_test(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    int status = check(cli, argv[1]);
    return status == ML_EXIT_OK ? run_specs(cli, argv[1]) : status;
}
