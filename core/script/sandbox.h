/* sandbox.h -- a Lua state for rules: what they can reach, what they may take, how they fail.
 *
 * Same log, same rules, same state: a rule sees its arguments and nothing else. There is no
 * clock, no dice, no address, no file, no finalizer and no weak table; `pairs` goes in order;
 * globals that nobody declared are errors. Chunks are text. `require` finds the files of the
 * pack, and "moonlog".
 *
 * A sandbox is the inner wall: it makes rules repeatable and stops honest mistakes early, with
 * a sentence. The outer wall is the worker process (rules/jail.h), which is killed.
 *
 * Floor    script; uses base.
 * Threads  a sandbox belongs to one thread. The guard is one for the process.
 * Memory   everything of a sandbox is under its cap; refusing a block raises in the script.
 * Errors   a fault: where, what, and how it came there.
 */
#ifndef ML_SCRIPT_SANDBOX_H
#define ML_SCRIPT_SANDBOX_H

#include <lua.h>

#include "../base/buf.h"
#include "../base/bytes.h"
#include "../base/error.h"

enum {
    ML_SANDBOX_BYTES = 64 << 20,     /* of one state, unless asked otherwise */
    ML_SANDBOX_BLOCK_BYTES = 8 << 20, /* of one block: a doubling concat ends here */
    ML_SANDBOX_TEXT_BYTES = 1 << 20, /* that string.rep, table.concat and format may make */
    ML_SANDBOX_MOVE_MAX = 65536,     /* elements of table.move and table.unpack … */
    ML_SANDBOX_PATTERN_BYTES = 512,  /* of a pattern */
    ML_SANDBOX_PATTERN_STEPS = 1000000, /* of one match: patterns can backtrack for ever */
    ML_SANDBOX_SOURCE_BYTES = 1 << 20,  /* of a file */
    ML_SANDBOX_TRACE_LEVELS = 20
};

typedef struct ml_sandbox ml_sandbox;

/* A file of a pack: path ("account.lua", "lib/money.lua") and text. */
typedef struct ml_source {
    ml_bytes path, text;
} ml_source;

typedef enum ml_fault_kind {
    ML_FAULT_NONE,
    ML_FAULT_COMPILE,  /* no Lua */
    ML_FAULT_RAISED,   /* error(), or an operation that Lua refuses */
    ML_FAULT_OVERSTAY, /* took longer than it may */
    ML_FAULT_MEMORY,   /* wanted more than it may have */
    ML_FAULT_SHAPE     /* gave or is something that rules may not be */
} ml_fault_kind;

/* What went wrong in a script. Texts end with '\0', are UTF-8 and hold no control characters
 * (a traceback has '\n' between its lines). */
typedef struct ml_fault {
    ml_fault_kind kind;
    char message[512]; /* without file and line: "attempt to index a nil value (field 'owner')" */
    char file[256];    /* "" if unknown */
    uint32_t line;     /* 0 if unknown */
    char source[160];  /* that line of the file, trimmed */
    char traceback[2048]; /* Lua frames only, innermost first: "account.lua:12: in withdraw" */
} ml_fault;

/* Sets a fault of the host's own: of shape. */
void ml_fault_set(ml_fault *fault, ml_fault_kind kind, const char *file, uint32_t line, const char *format, ...)
    ML_FORMAT(5, 6);
/* Fills in the line that the fault names, from the text of its file, without the space around it. */
void ml_fault_quote(ml_fault *fault, ml_bytes text);
/* One sentence, "account.lua:12: attempt to …", as an error of code SCRIPT_ERROR. */
ml_code ml_fault_tell(const ml_fault *fault, ml_error *why);

/* ---- life ------------------------------------------------------------------------------ */

/* A fresh state. `sources` are borrowed as long as it lives. `bytes` 0 = ML_SANDBOX_BYTES. NULL
 * (and NO_MEMORY) if it cannot be. */
ml_sandbox *ml_sandbox_new(const ml_source *sources, size_t count, size_t bytes, ml_error *why);
void ml_sandbox_free(ml_sandbox *sandbox);

lua_State *ml_sandbox_lua(const ml_sandbox *sandbox);
size_t ml_sandbox_used(const ml_sandbox *sandbox); /* bytes now */
ml_sandbox *ml_sandbox_of(lua_State *L);           /* whose state this is */
/* Why a word that other Lua programs have is not here: "rules see no files"; NULL: no reason. */
const char *ml_sandbox_absent(const char *name);
/* The text of a file of the pack; empty if there is none. */
ml_bytes ml_sandbox_text(const ml_sandbox *sandbox, ml_bytes path);

/* ---- running ----------------------------------------------------------------------------
 *
 * Index 1 of the state's own stack is the sandbox's, and not to be popped; some 200 slots above
 * it are the caller's. The three calls do not nest: a body that runs in one uses lua_call. */

/* Runs a file of the pack and leaves its one result on the stack. */
ML_MUST_USE bool ml_sandbox_run(ml_sandbox *sandbox, ml_bytes path, ml_fault *fault);

/* Calls the function under `args` arguments on the stack; leaves `results`. */
ML_MUST_USE bool ml_sandbox_call(ml_sandbox *sandbox, int args, int results, ml_fault *fault);

/* Runs a C function that may raise (decode, call a handler, encode) under the same protection;
 * it finds `context` as light userdata at index 1 and leaves nothing. The one call around each
 * event of a fold: some 25 ns. On a fault the stack is as before. */
ML_MUST_USE bool ml_sandbox_enter(ml_sandbox *sandbox, lua_CFunction body, void *context, ml_fault *fault);

/* For C that runs in one of them: raises `sentence` at a place that the host knows. What a script
 * raises may name a file that is running; else it is placed where it was raised. */
_Noreturn void ml_sandbox_raise(lua_State *L, const char *file, uint32_t line, const char *sentence);

/* For such C that may take long: raises if the call has overstayed, as the guard below. */
void ml_sandbox_check(lua_State *L);

/* Has the nth source been run, by ml_sandbox_run or because a file that was requires it? */
bool ml_sandbox_loaded(const ml_sandbox *sandbox, size_t source);

/* Adds the bytecode of the function on top; without names and lines if it is stripped. False: it is
 * one of C's, or there is no memory. It comes from our own compiler: nobody runs it again. */
ML_MUST_USE bool ml_sandbox_dump(lua_State *L, bool stripped, ml_buf *to);

/* ---- the guard ---------------------------------------------------------------------------
 *
 * A timer ticks while rules run; a call that is still the same one after `ms` gets a hook that
 * raises, and raises again at every instruction, so that no pcall of the script can hold it.
 * The compiler is asked between pieces of its text, and long loops in C by ml_sandbox_check.
 * Between start and stop a call costs two stores; it uses the signal SIGRTMIN+1. */

void ml_guard_start(uint32_t ms); /* from now on, for each call; may be called again to change ms */
void ml_guard_stop(void);

#endif
