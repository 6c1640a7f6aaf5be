/* canary.h -- does the Lua of this machine have the bugs that are known of Lua 5.4.4?
 *
 * Each canary is a script that ends well in a Lua without the bug. It runs twice, each time in a
 * process of its own: as any Lua program, and as rules would run it. That the first of the two
 * crashes is news about the machine; that the second does is a hole in the sandbox.
 *
 * Floor    script.
 * Threads  forks; the child only runs Lua and ends.
 * Memory   none is kept.
 * Errors   a child that cannot be made, or does not end within 10 seconds of work, is
 *          ML_CANARY_UNKNOWN.
 */
#ifndef ML_SCRIPT_CANARY_H
#define ML_SCRIPT_CANARY_H

typedef enum ml_canary_verdict {
    ML_CANARY_OK,
    ML_CANARY_AFFECTED, /* a wrong result */
    ML_CANARY_CRASHED,
    ML_CANARY_UNKNOWN
} ml_canary_verdict;

typedef struct ml_canary {
    const char *name;   /* "concat" */
    const char *fix;    /* the commit of Lua that mends it, in short */
    const char *effect; /* what goes wrong, in a sentence without a full stop */
    const char *kept;   /* what keeps it from rules */
    ml_canary_verdict plain, rules;
} ml_canary;

/* Tells of each of them, in a fixed order. Takes a second or two. */
void ml_canary_run(void (*each)(void *context, const ml_canary *canary), void *context);

/* "ok", "affected", "crashed", "unknown". */
const char *ml_canary_verdict_name(ml_canary_verdict verdict);

#endif
