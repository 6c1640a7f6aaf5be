/* lint.c -- has functions dumped, and says what their bytecode shows. */
#include "lint.h"

#include <lauxlib.h>
#include <stdio.h>

#include "bytecode.h"

enum {
    SAID_MAX = 64, /* errors, and as many warnings: who mends those checks again */
    NAME_SHOWN = 80, /* bytes of a name */
    DEEP_MAX = 8   /* functions and tables in one another that are followed from a handler */
};

typedef struct lint {
    const ml_rulepack *pack;
    ml_diagnostics *to;
    lua_State *L;
    ml_source file; /* that is looked at, or whose function is */
    bool later;     /* it is a file that nobody runs yet */
    bool sure;      /* a handler is looked at, or what it calls: no tables are followed */
    const char *kept; /* what handlers may change: "state", "row" */
    bool broken;
    ml_buf dump, frames; /* of bytecode.c */
    ml_buf said;         /* what was said, each once: "Epath:line:name" and a NUL; W for warnings */
    unsigned errors, warnings;
} lint;

/* ---- saying it, once -------------------------------------------------------------------- */

/* Errors and warnings are counted apart, so that no warning hides an error; what was an error is no
 * warning as well. */
static bool is_new(lint *l, bool error, ml_bytes path, uint32_t line, ml_bytes name)
{
    char key[ML_RULEPACK_PATH_MAX + 128];
    unsigned *count = error ? &l->errors : &l->warnings;
    if (*count == SAID_MAX) return false;
    snprintf(key, sizeof key, "%c%.*s:%u:%.*s", error ? 'E' : 'W', ML_SHOW(path), line,
             name.size > NAME_SHOWN ? NAME_SHOWN : (int)name.size,
             name.size > 0 ? (const char *)name.data : "");
    for (size_t at = 0; at < l->said.size; at += strlen((char *)l->said.data + at) + 1) {
        const char *before = (char *)l->said.data + at;
        if (strcmp(before + 1, key + 1) == 0 && (before[0] == 'E' || !error)) return false;
    }
    ml_buf_add(&l->said, key, strlen(key) + 1);
    ++*count;
    return true;
}

static void say(lint *l, bool error, const char *code, ml_bytes path, uint32_t line,
                const char *sentence)
{
    char name[256];
    ml_fault fault = {.kind = ML_FAULT_NONE};
    snprintf(name, sizeof name, "%.*s", ML_SHOW(path));
    ml_fault_set(&fault, ML_FAULT_SHAPE, name, line, "%s", sentence);
    ml_unit_quote(l->pack->files, l->pack->count, &fault);
    if (error) ml_diagnose_error(l->to, code, &fault);
    else ml_diagnose_warning(l->to, code, &fault);
}

/* ---- files: globals and constants ------------------------------------------------------- */

static bool is_declared(lint *l, ml_bytes name)
{
    lua_pushglobaltable(l->L);
    lua_pushlstring(l->L, name.data, name.size);
    bool declared = lua_rawget(l->L, -2) != LUA_TNIL;
    lua_pop(l->L, 2);
    return declared;
}

static void see_file(void *context, ml_bytecode_use use, ml_bytes name, uint32_t line)
{
    lint *l = context;
    char sentence[256];
    ml_sandbox_check(l->L);
    if (use == ML_BYTECODE_CONSTANTS && is_new(l, false, l->file.path, line, name))
        say(l, false, "CONSTANTS", l->file.path, line,
            "this function has over 250 constants, with which Lua 5.4.4 computes some bit "
            "operations wrongly; "
            "make two functions of it");
    if ((use != ML_BYTECODE_GLOBAL && use != ML_BYTECODE_SET_GLOBAL) || is_declared(l, name) ||
        !is_new(l, !l->later, l->file.path, line, name))
        return;
    char shown[NAME_SHOWN + 1];
    snprintf(shown, sizeof shown, "%.*s", ML_SHOW(name));
    const char *absent = ml_sandbox_absent(shown);
    if (absent != NULL)
        snprintf(sentence, sizeof sentence, "there is no '%s' in rules: %s", shown, absent);
    else
        snprintf(sentence, sizeof sentence,
                 "undeclared global '%s'; write `local` where it is made, or require what it "
                 "comes from",
                 shown);
    say(l, !l->later, "GLOBAL", l->file.path, line, sentence);
}

/* ---- handlers: what outlives a call ----------------------------------------------------- */

static void see_handler(void *context, ml_bytecode_use use, ml_bytes name, uint32_t line)
{
    lint *l = context;
    char sentence[320];
    bool inside = use == ML_BYTECODE_SET_INSIDE;
    bool set = use == ML_BYTECODE_SET || use == ML_BYTECODE_SET_GLOBAL, error = set && l->sure;
    ml_sandbox_check(l->L);
    if ((!set && !inside) || !is_new(l, error, l->file.path, line, name)) return;
    snprintf(sentence, sizeof sentence,
             "%s '%.*s' is changed by a handler, outlives the call and is no part of the %s: a "
             "replay, another "
             "stream or another process has another one; keep it in the %s",
             set ? "the variable" : "the table",
             name.size > NAME_SHOWN ? NAME_SHOWN : (int)name.size, (const char *)name.data, l->kept,
             l->kept);
    say(l, error, "UPVALUE", l->file.path, line, sentence);
}

/* The function on top of the stack. */
static void look(lint *l, ml_bytecode_seen *seen)
{
    ml_buf_clear(&l->dump);
    if (!ml_sandbox_dump(l->L, false, &l->dump) ||
        !ml_bytecode_walk(ml_buf_view(&l->dump), &l->frames, seen, l))
        l->broken = true;
}

static bool was_seen(lua_State *L, int visited, int index)
{
    lua_pushvalue(L, index);
    if (lua_rawget(L, visited) != LUA_TNIL) {
        lua_pop(L, 1);
        return true;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, index);
    lua_pushboolean(L, 1);
    lua_rawset(L, visited);
    return false;
}

/* The value on top of the stack, and what can be reached from it: a function's variables, a
 * table's values. The table of all globals is everybody's. */
static void visit(lint *l, int visited, int deep)
{
    lua_State *L = l->L;
    int value = lua_gettop(L);
    bool is_table = lua_istable(L, value) && !l->sure;
    bool is_function = lua_isfunction(L, value) && !lua_iscfunction(L, value);
    ml_sandbox_check(L);
    if ((!is_table && !is_function) || deep == 0 || was_seen(L, visited, value)) return;
    luaL_checkstack(L, 8, "moonlog");
    if (is_table) {
        for (lua_pushnil(L); lua_next(L, value); lua_settop(L, value + 1))
            visit(l, visited, deep - 1);
        return;
    }
    lua_Debug about;
    lua_pushvalue(L, value);
    lua_getinfo(L, ">S", &about);
    const char *path = about.source + (about.source[0] == '@');
    l->file.path = (ml_bytes){path, strlen(path)};
    look(l, see_handler);
    const char *name;
    for (int n = 1; (name = lua_getupvalue(L, value, n)) != NULL; lua_settop(L, value), n++)
        if (strcmp(name, "_ENV") != 0) visit(l, visited, deep - 1);
}

static int visit_unit(lua_State *L)
{
    lint *l = lua_touserdata(L, 1);
    const ml_unit *unit = lua_touserdata(L, 2);
    l->L = L;
    for (int round = 0; round < 2; round++) {
        l->sure = round == 0;
        lua_settop(L, 2);
        lua_newtable(L);
        for (size_t n = 0; n < unit->on.count + unit->commands.count; n++) {
            size_t commands = unit->on.count;
            const ml_handler *handler = n < commands ? &unit->on.all[n]
                                                     : &unit->commands.all[n - commands];
            if (handler->function == LUA_NOREF) continue;
            lua_rawgeti(L, LUA_REGISTRYINDEX, handler->function);
            visit(l, 3, DEEP_MAX);
            lua_settop(L, 3);
        }
    }
    lua_pushglobaltable(L);
    visit(l, 3, DEEP_MAX);
    return 0;
}

static int look_at_file(lua_State *L)
{
    lint *l = lua_touserdata(L, 1);
    l->L = L;
    if (luaL_loadbufferx(L, l->file.text.data, l->file.text.size, "=file", "t") == LUA_OK)
        look(l, see_file);
    return 0;
}

/* The machine's limits ended a look, which is no fault of the rules. */
static void say_unseen(lint *l, ml_bytes path, const ml_fault *fault)
{
    char sentence[256];
    snprintf(sentence, sizeof sentence,
             "not all of it was looked at for globals and variables that outlive a call: %.120s",
             fault->message);
    say(l, false, "LINT", path, 0, sentence);
}

/* ---- the door --------------------------------------------------------------------------- */

static void lint_unit(lint *l, const ml_unit *unit)
{
    ml_fault fault;
    lua_State *L = ml_sandbox_lua(unit->sandbox);
    l->kept = unit->kind == ML_UNIT_PROJECTION ? "row" : "state";
    lua_pushcfunction(L, visit_unit);
    lua_pushlightuserdata(L, l);
    lua_pushlightuserdata(L, (void *)(uintptr_t)unit);
    if (!ml_sandbox_call(unit->sandbox, 2, 0, &fault)) say_unseen(l, unit->file.path, &fault);
}

/* Whose globals are those of the file: the unit's own, if it is one that runs; that of any such unit
 * that requires it. */
static ml_sandbox *sandbox_of(lint *l, size_t file)
{
    ml_sandbox *found = l->pack->sandbox;
    l->later = false;
    for (size_t n = 0; n < l->pack->unit_count; n++) {
        const ml_unit *unit = l->pack->units[n];
        bool own = ml_bytes_equal(unit->file.path, l->file.path);
        if (own) l->later = unit->kind == ML_UNIT_REACTOR;
        if (!ml_unit_runs(unit) || !ml_sandbox_loaded(unit->sandbox, file)) continue;
        found = unit->sandbox;
        if (own) break;
    }
    return found;
}

void ml_lint_pack(const ml_rulepack *pack, ml_diagnostics *to)
{
    ml_fault fault;
    lint l = {.pack = pack, .to = to};
    for (size_t n = 0; pack->sandbox != NULL && n < pack->count; n++) {
        l.file = pack->files[n];
        if (!ml_sandbox_enter(sandbox_of(&l, n), look_at_file, &l, &fault))
            say_unseen(&l, pack->files[n].path, &fault);
    }
    for (size_t n = 0; n < pack->unit_count; n++)
        if (ml_unit_runs(pack->units[n])) lint_unit(&l, pack->units[n]);
    if (l.broken)
        say(&l, false, "LINT", ML_STR(""), 0,
            "this Lua dumps functions in another form than 5.4: globals and "
            "variables were not looked at");
    if (l.said.failed) to->items.failed = true; /* as any diagnostic that memory is refused for */
    ml_buf_free(&l.dump);
    ml_buf_free(&l.frames);
    ml_buf_free(&l.said);
}
