/* doing.h -- the part of the engine's door that is spoken in other processes, without Lua: what
 * it runs now, how long it may, how a pack is staged.
 *
 * Floor    rules; uses nothing.
 * Threads  one process writes, another may read meanwhile: `began` is stored last, as a whole; texts
 *          may be half of one call and half of the next, and who does not trust the writer ends them.
 * Crash    what stands there is the call that was being run.
 */
#ifndef ML_RULES_DOING_H
#define ML_RULES_DOING_H

#include <stdint.h>

/* Under a sanitizer the same handler takes several times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { ML_RULES_SLOWER = 6 };
#else
enum { ML_RULES_SLOWER = 1 };
#endif

enum {
    ML_RULES_HASH = 12,                         /* hex digits that name a version of a unit */
    ML_RULES_FOLD_MS = 50 * ML_RULES_SLOWER,    /* a handler of events may take so long … */
    ML_RULES_COMMAND_MS = 250 * ML_RULES_SLOWER /* … and a handler of commands */
};

/* What a pack has to show before it is staged: its upcasters on one event of each shape that
 * there ever was, or on every event; its aggregates on the last events in two live states. */
typedef enum ml_stage_how {
    ML_STAGE_SHAPES,
    ML_STAGE_FULL,
    ML_STAGE_PROVED /* nothing: another engine has seen it. In a time that does not grow with the log */
} ml_stage_how;

/* Written before each call of a script, into memory that may be shared. */
typedef struct ml_engine_doing {
    uint64_t began;      /* CLOCK_MONOTONIC, µs; 0 = nothing */
    uint64_t position;   /* of the event; 0 = a command */
    char unit[96];       /* "aggregate/account" */
    char hash[ML_RULES_HASH + 4];
    char handler[96];    /* "on Deposited", "command withdraw" */
    char where[128];     /* "account.lua:12", where the handler begins */
} ml_engine_doing;

#endif
