/* sandbox.c -- life, memory, loading, and the protected calls around everything.
 *
 * Two faults cannot be held by a pcall of the script: OVERSTAY, because time is not repeatable,
 * and MEMORY, because when the collector runs is not. Whoever catches one of them notes it as
 * `ending` and raises again.
 */
#include "sandbox.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/unpack.h"
#include "envelope.h"
#include "sandbox_inside.h"
#include "value.h"

enum {
    HANDLER = 1,   /* where the message handler lies in the state's own stack */
    HOST_SLOTS = 200, /* of that stack, for whoever holds things there */
    PIECE_BYTES = 1024, /* of a text, to the compiler */
    DEEP = 10000,  /* so many calls in one another are no memory problem */
    PATH_BYTES_MAX = 240
};

/* Keys in the registry, by address: the table of files that were run, and a sentence of Lua's
 * own that must not have to be allocated when it is needed (it is, when an error handler fails
 * for want of memory, and nothing catches that). */
static const char files_key, anchor_key;

/* ---- memory ----------------------------------------------------------------------------- */

/* Lua collects its garbage and asks once more, then raises; only here is it known where. */
static void *refuse(ml_sandbox *sandbox)
{
    lua_Debug about;
    if (sandbox->fault == NULL || sandbox->ending != ML_FAULT_NONE) return NULL;
    ml_fault_locate(sandbox, &sandbox->place);
    sandbox->deep = lua_getstack(sandbox->L, DEEP, &about);
    return NULL;
}

static void *allocate(void *context, void *block, size_t before, size_t after)
{
    ml_sandbox *sandbox = context;
    size_t had = block != NULL ? before : 0;
    if (after == 0) {
        sandbox->used -= had;
        free(block);
        return NULL;
    }
    if (after > had && (after > ML_SANDBOX_BLOCK_BYTES ||
                        sandbox->used - had + after > sandbox->bytes_max))
        return refuse(sandbox);
    void *moved = realloc(block, after);
    if (moved == NULL && after > had) return refuse(sandbox);
    sandbox->used = sandbox->used - had + after;
    if (moved == NULL) return block; /* Lua counts on it that shrinking works */
    return moved;
}

/* ---- faults ----------------------------------------------------------------------------- */

static bool has_text(lua_State *L, int index, const char *field, ml_bytes *text)
{
    lua_pushstring(L, field);
    bool has = lua_rawget(L, index) == LUA_TSTRING;
    if (has) text->data = lua_tolstring(L, -1, &text->size);
    return has;
}

/* An error value that is no string is shown by what can be seen without asking it. */
static void say_value(lua_State *L, const ml_sandbox *sandbox, ml_fault *fault)
{
    char text[64];
    ml_bytes said;
    int type = lua_type(L, 1);
    if (type == LUA_TTABLE && (has_text(L, 1, "message", &said) || has_text(L, 1, "code", &said))) {
        ml_fault_say(sandbox, fault, said);
        return;
    }
    if (type == LUA_TNIL || type == LUA_TBOOLEAN)
        snprintf(text, sizeof text, "error(%s)",
                 type == LUA_TNIL ? "nil" : lua_toboolean(L, 1) ? "true" : "false");
    else
        snprintf(text, sizeof text, "a %s was raised as an error", lua_typename(L, type));
    ml_fault_say(sandbox, fault, (ml_bytes){text, strlen(text)});
}

/* The message handler: runs where the error was raised, while the frames are still there. */
static int handle(lua_State *L)
{
    ml_sandbox *sandbox = ml_sandbox_of(L);
    ml_fault *fault = sandbox->fault;
    ml_bytes text;
    if (sandbox->ending != ML_FAULT_NONE) return 1;
    ml_fault_locate(sandbox, fault);
    fault->kind = sandbox->failing != ML_FAULT_NONE ? sandbox->failing : ML_FAULT_RAISED;
    if (lua_type(L, 1) == LUA_TSTRING || lua_type(L, 1) == LUA_TNUMBER) {
        text.data = lua_tolstring(L, 1, &text.size);
        ml_fault_say(sandbox, fault, text);
    } else {
        say_value(L, sandbox, fault);
    }
    return 1;
}

static void settle_memory(const ml_sandbox *sandbox, ml_fault *fault)
{
    if (sandbox->deep)
        snprintf(fault->message, sizeof fault->message,
                 "stack overflow: functions call each other more than %d deep", DEEP);
    else
        snprintf(fault->message, sizeof fault->message,
                 "not enough memory: a rule may have %zu MiB, and %d MiB in one piece",
                 sandbox->bytes_max >> 20, ML_SANDBOX_BLOCK_BYTES >> 20);
}

/* After a call that failed: the fault is whole, and the state ready for the next call. */
static bool settle(ml_sandbox *sandbox, int status)
{
    ml_fault *fault = sandbox->fault;
    if (sandbox->ending == ML_FAULT_NONE && status == LUA_ERRMEM)
        sandbox->ending = ML_FAULT_MEMORY;
    if (sandbox->ending != ML_FAULT_NONE) {
        *fault = sandbox->place;
        fault->kind = sandbox->ending;
        if (fault->kind == ML_FAULT_MEMORY) settle_memory(sandbox, fault);
        else
            snprintf(fault->message, sizeof fault->message, ML_SANDBOX_OVERSTAY
                     ": %u ms of processor time", ml_guard_limit_ms());
    } else if (fault->kind == ML_FAULT_NONE) {
        ml_fault_set(fault, ML_FAULT_RAISED, "", 0, "an error while an error was handled");
    }
    sandbox->ending = sandbox->failing = ML_FAULT_NONE;
    sandbox->loading = 0;
    lua_pop(sandbox->L, 1);
    return false;
}

void ml_sandbox_check(lua_State *L) { ml_guard_check(L); }

void ml_sandbox_raise(lua_State *L, const char *file, uint32_t line, const char *sentence)
{
    ml_sandbox_of(L)->failing = ML_FAULT_RAISED;
    lua_pushfstring(L, "%s:%d: %s", file, (int)line, sentence);
    lua_error(L);
    ML_ASSERT(false); /* lua_error does not return */
    __builtin_unreachable();
}

/* ---- calls ------------------------------------------------------------------------------ */

static inline bool protect(ml_sandbox *sandbox, int args, int results, ml_fault *fault)
{
    ML_ASSERT(sandbox->fault == NULL); /* calls do not nest: the handler is in one stack only */
    fault->kind = ML_FAULT_NONE;
    sandbox->fault = fault;
    ml_guard_enter(sandbox->L);
    int status = lua_pcall(sandbox->L, args, results, HANDLER);
    ml_guard_leave(sandbox->L);
    bool done = status == LUA_OK || settle(sandbox, status);
    sandbox->fault = NULL;
    return done;
}

bool ml_sandbox_enter(ml_sandbox *sandbox, lua_CFunction body, void *context, ml_fault *fault)
{
    lua_pushcfunction(sandbox->L, body);
    lua_pushlightuserdata(sandbox->L, context);
    return protect(sandbox, 1, 0, fault);
}

bool ml_sandbox_call(ml_sandbox *sandbox, int args, int results, ml_fault *fault)
{
    return protect(sandbox, args, results, fault);
}

/* ---- files ------------------------------------------------------------------------------ */

size_t ml_sandbox_find(const ml_sandbox *sandbox, ml_bytes path)
{
    size_t n = 0;
    while (n < sandbox->count && !ml_bytes_equal(sandbox->sources[n].path, path)) n++;
    return n;
}

ml_bytes ml_sandbox_text(const ml_sandbox *sandbox, ml_bytes path)
{
    size_t n = ml_sandbox_find(sandbox, path);
    return n < sandbox->count ? sandbox->sources[n].text : (ml_bytes){"", 0};
}

bool ml_sandbox_loaded(const ml_sandbox *sandbox, size_t source)
{
    return source < sandbox->count && sandbox->loaded[source];
}

/* The text in pieces: the compiler asks for each, and runs no hook, so the guard is asked here. */
typedef struct piecewise {
    const char *at;
    size_t left;
} piecewise;

static const char *next_piece(lua_State *L, void *context, size_t *size)
{
    piecewise *text = context;
    const char *piece = text->at;
    ml_guard_check(L);
    *size = text->left < PIECE_BYTES ? text->left : PIECE_BYTES;
    text->at += *size;
    text->left -= *size;
    return piece;
}

/* Pushes the function that the file is. */
static void compile(lua_State *L, ml_sandbox *sandbox, const ml_source *source)
{
    char name[PATH_BYTES_MAX + 2];
    const char *why = NULL;
    if (source->path.size > PATH_BYTES_MAX) why = "the path of the file is too long";
    else if (source->text.size > ML_SANDBOX_SOURCE_BYTES) why = "the file is over 1 MiB";
    else if (source->text.size > 0 && *(const char *)source->text.data == LUA_SIGNATURE[0])
        why = "the file is compiled already; rules are text";
    else if (!ml_unpack_utf8(source->text)) why = "the file is no UTF-8 text";
    snprintf(name, sizeof name, "@%.*s", (int)source->path.size, (const char *)source->path.data);
    sandbox->failing = ML_FAULT_COMPILE;
    if (why != NULL) {
        lua_pushfstring(L, "%s: %s", name + 1, why);
        lua_error(L);
    }
    piecewise text = {source->text.size > 0 ? source->text.data : "", source->text.size};
    int status = lua_load(L, next_piece, &text, name, "t");
    if (status == LUA_ERRMEM) sandbox->ending = ML_FAULT_MEMORY;
    if (sandbox->ending != ML_FAULT_NONE && sandbox->place.file[0] == '\0')
        ml_fault_set(&sandbox->place, sandbox->ending, name + 1, 0, "%s", "while it was compiled");
    if (status != LUA_OK) lua_error(L);
    sandbox->failing = ML_FAULT_NONE;
}

void ml_sandbox_load(lua_State *L, size_t number)
{
    ml_sandbox *sandbox = ml_sandbox_of(L);
    const ml_source *source = &sandbox->sources[number];
    luaL_checkstack(L, 8, "files that require each other");
    lua_rawgetp(L, LUA_REGISTRYINDEX, &files_key);
    if (sandbox->loaded[number]) {
        if (lua_rawgeti(L, -1, (lua_Integer)number) == LUA_TLIGHTUSERDATA) {
            lua_pushlstring(L, source->path.data, source->path.size);
            luaL_error(L, "%s is still being loaded, or failed to; do files require each other in "
                          "a circle?", lua_tostring(L, -1));
        }
        lua_remove(L, -2);
        return;
    }
    sandbox->loaded[number] = true;
    lua_pushlightuserdata(L, sandbox);
    lua_rawseti(L, -2, (lua_Integer)number);
    compile(L, sandbox, source);
    sandbox->loading++;
    lua_call(L, 0, 1);
    sandbox->loading--;
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, (lua_Integer)number);
    lua_remove(L, -2);
}

static int run_file(lua_State *L)
{
    ml_sandbox *sandbox = ml_sandbox_of(L);
    ml_bytes path = *(const ml_bytes *)lua_touserdata(L, 1);
    size_t number = ml_sandbox_find(sandbox, path);
    if (number == sandbox->count) {
        lua_pushlstring(L, path.data, path.size);
        return luaL_error(L, "there is no file '%s' in the pack", lua_tostring(L, -1));
    }
    ml_sandbox_load(L, number);
    return 1;
}

bool ml_sandbox_run(ml_sandbox *sandbox, ml_bytes path, ml_fault *fault)
{
    lua_pushcfunction(sandbox->L, run_file);
    lua_pushlightuserdata(sandbox->L, &path);
    return protect(sandbox, 1, 1, fault);
}

static int add_to_dump(lua_State *L, const void *bytes, size_t size, void *context)
{
    (void)L;
    ml_buf *dump = context;
    ml_buf_add(dump, bytes, size);
    return dump->failed;
}

bool ml_sandbox_dump(lua_State *L, bool stripped, ml_buf *to)
{
    return lua_dump(L, add_to_dump, to, stripped) == 0 && !to->failed;
}

/* ---- life ------------------------------------------------------------------------------- */

static int panic(lua_State *L)
{
    const char *said = lua_tostring(L, -1);
    fprintf(stderr, "moonlog: INTERNAL: a rule failed outside of a protected call: %s\n",
            said != NULL ? said : "?");
    return 0; /* Lua aborts */
}

static int furnish(lua_State *L)
{
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &files_key);
    lua_createtable(L, 2, 0);
    lua_pushliteral(L, "error in error handling");
    lua_rawseti(L, -2, 1);
    lua_pushliteral(L, ML_SANDBOX_OVERSTAY);
    lua_rawseti(L, -2, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &anchor_key);
    ml_value_open(L);
    ml_envelope_open(L);
    ml_sandbox_base_open(L);
    return 0;
}

ml_sandbox *ml_sandbox_new(const ml_source *sources, size_t count, size_t bytes, ml_error *why)
{
    ml_sandbox *sandbox = calloc(1, sizeof *sandbox + count * sizeof sandbox->loaded[0]);
    if (sandbox == NULL) goto refused;
    sandbox->sources = sources;
    sandbox->count = count;
    sandbox->bytes_max = bytes > 0 ? bytes : ML_SANDBOX_BYTES;
    lua_State *L = sandbox->L = lua_newstate(allocate, sandbox);
    if (L == NULL) goto refused;
    *(ml_sandbox **)lua_getextraspace(L) = sandbox;
    lua_atpanic(L, panic);
    lua_pushcfunction(L, furnish);
    int status = lua_pcall(L, 0, 0, 0);
    ML_ASSERT(status == LUA_OK || status == LUA_ERRMEM);
    if (status != LUA_OK || !lua_checkstack(L, HOST_SLOTS)) goto refused;
    lua_pushcfunction(L, handle);
    ML_ASSERT(lua_gettop(L) == HANDLER);
    return sandbox;
refused:
    ml_sandbox_free(sandbox);
    ML_IGNORE(ml_error_memory(why, "a sandbox")); /* NULL says it */
    return NULL;
}

void ml_sandbox_free(ml_sandbox *sandbox)
{
    if (sandbox == NULL) return;
    if (sandbox->L != NULL) lua_close(sandbox->L);
    free(sandbox);
}

lua_State *ml_sandbox_lua(const ml_sandbox *sandbox) { return sandbox->L; }

size_t ml_sandbox_used(const ml_sandbox *sandbox) { return sandbox->used; }

ml_sandbox *ml_sandbox_of(lua_State *L) { return *(ml_sandbox **)lua_getextraspace(L); }
