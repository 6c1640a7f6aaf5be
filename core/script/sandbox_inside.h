/* sandbox_inside.h -- what the files of the sandbox share, and nobody else sees.
 *
 * The message handler of every protected call lies at index 1 of the state's own stack for as
 * long as the state lives, so that a call has to push nothing but itself.
 *
 * Floor    script.
 * Threads  as sandbox.h; what the signal handler of the guard touches is atomic.
 */
#ifndef ML_SCRIPT_SANDBOX_INSIDE_H
#define ML_SCRIPT_SANDBOX_INSIDE_H

#include <stdatomic.h>

#include "sandbox.h"

#define ML_SANDBOX_OVERSTAY "took longer than it may"

struct ml_sandbox {
    lua_State *L;
    const ml_source *sources; /* borrowed */
    size_t count;
    size_t used, bytes_max;
    ml_fault *fault;       /* of the call that is running; NULL: none is */
    ml_fault_kind ending;  /* OVERSTAY, MEMORY: the call is to end, and no pcall may hold it */
    ml_fault_kind failing; /* COMPILE, RAISED: the error on its way is the host's own words, of
                            * this kind, and the place in front of them is right */
    unsigned loading;      /* files that are being run now */
    ml_fault place;        /* where it was when `ending` was set */
    bool deep;             /* and that was very deep in calls */
    bool loaded[];         /* by source */
};

/* ---- faults (fault.c) ------------------------------------------------------------------- */

/* Where the state is now: file, line, source, traceback. Allocates nothing and runs no Lua, so
 * that the allocator may ask. Clears the rest. */
void ml_fault_locate(const ml_sandbox *sandbox, ml_fault *fault);

/* The message; a place in front of it ("account.lua:12: ") becomes file, line and source, if it is
 * the host that says so, or a file that is running now. */
void ml_fault_say(const ml_sandbox *sandbox, ml_fault *fault, ml_bytes text);

/* ---- the guard (guard.c) ---------------------------------------------------------------- */

typedef struct ml_guard {
    _Atomic(lua_State *) running; /* NULL: no rule runs */
    atomic_ullong turn;           /* counts calls, so that a tick can tell one from the next */
    atomic_bool armed;            /* the running state has the hook */
} ml_guard;

extern ml_guard ml_guard_now;

/* Takes the hook off again. */
void ml_guard_disarm(lua_State *L);
/* Of each call. */
uint32_t ml_guard_limit_ms(void);

/* Raises in the state: it has overstayed. */
_Noreturn void ml_guard_raise(lua_State *L);

static inline void ml_guard_enter(lua_State *L)
{
    unsigned long long turn =
        atomic_load_explicit(&ml_guard_now.turn, memory_order_relaxed);
    atomic_store_explicit(&ml_guard_now.turn, turn + 1, memory_order_relaxed);
    atomic_store_explicit(&ml_guard_now.running, L, memory_order_relaxed);
}

static inline void ml_guard_leave(lua_State *L)
{
    atomic_store_explicit(&ml_guard_now.running, NULL, memory_order_relaxed);
    if (atomic_load_explicit(&ml_guard_now.armed, memory_order_relaxed)) ml_guard_disarm(L);
}

/* For loops in C that may be long and run no Lua, in which no hook would stop them. */
static inline void ml_guard_check(lua_State *L)
{
    if (atomic_load_explicit(&ml_guard_now.armed, memory_order_relaxed)) ml_guard_raise(L);
}

/* ---- what rules can reach --------------------------------------------------------------- */

/* Makes the globals: what is not in them does not exist. */
void ml_sandbox_base_open(lua_State *L);

/* Each pushes the table of that name. */
void ml_sandbox_string_open(lua_State *L);
void ml_sandbox_table_open(lua_State *L);

/* The functions pairs and next. */
int ml_sandbox_pairs(lua_State *L);
int ml_sandbox_pairs_next(lua_State *L);

/* Copies functions that the table on top of the stack has and `names` (ending in NULL) names to
 * the table below, and pops it. */
void ml_sandbox_base_allow(lua_State *L, const char *const *names);

/* Pushes what tostring gives: never an address. May run a __tostring of the script's. */
void ml_sandbox_base_text(lua_State *L, int index);

/* Runs a file, once in a state, and pushes its result. Raises. */
void ml_sandbox_load(lua_State *L, size_t source);

/* The place of `path` among the sources; their number if it is none. */
size_t ml_sandbox_find(const ml_sandbox *sandbox, ml_bytes path);

#endif
