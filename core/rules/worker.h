/* worker.h -- the process behind `moonlog worker`: locked in, it answers what the daemon asks.
 *
 *     daemon ──socket pair, msgpack-rpc──▶ requests, in the order they came ──▶ the role's methods
 *        ◀── answers, in the same order, as many in one write as there were ──
 *        ◀── a shared page: what is being run now
 *
 * Many requests are read at once. The daemon is trusted with everything, the worker with nothing:
 * what it answers is checked like what a client sends.
 *
 * What a worker does is its role's: the table of its methods and, for one that also works unasked,
 * a step that is called whenever no request waits. This room has the role `rules`, an engine:
 *
 *     method     params                          result
 *     stage      {path: text}, ml_stage_how      the report (engine.h)
 *     activate                                   {type: latest}: what is upcast from now on
 *     command    request                         decided or refused (engine.h)
 *     admitted   bin                             (notification)
 *     forget     stream                          (notification)
 *     state      request                         state, revision, position
 *     upcast     bin, as maps                    count, bin
 *     stats                                      counters
 *
 * Every role has `ping`, which gives nil. An error is [number, "CODE: sentence"] as everywhere; a
 * script's fault stands beside it, as the result. First of all comes the notification `ready` with
 * the walls that stand (jail.h).
 *
 * Floor    rules.
 * Threads  the process has one.
 * Crash    nothing is lost: a worker holds nothing that is not in the log.
 */
#ifndef ML_RULES_WORKER_H
#define ML_RULES_WORKER_H

#include "../base/buf.h"
#include "../base/unpack.h"
#include "engine.h"
#include "worker_page.h"

/* ---- roles ------------------------------------------------------------------------------ */

/* What a role begins with. */
typedef struct ml_worker_world {
    ml_store *store;      /* opened for reading */
    const char *dir;      /* the store's, */
    const char *writable; /* and that below it which may be written to; NULL: nothing may */
    ml_worker_page *page;
    ml_engine_rehearse *rehearse; /* the role's */
} ml_worker_world;

typedef struct ml_worker_call {
    void *role;     /* what the role has made of its bytes */
    ml_unpack args; /* the arguments, where they lie in the message */
    ml_error *why;
} ml_worker_call;

typedef struct ml_worker_method {
    const char *name;
    ml_code (*run)(ml_worker_call *call, ml_buf *answer);
} ml_worker_method;

typedef struct ml_worker_role {
    const char *name;
    const char *writes;  /* directory below the store's, made if it is not there; NULL: none */
    size_t file_bytes;   /* that a file in it may have */
    bool shares;         /* files in it are mapped to be written to, and have folders and locks */
    size_t size;         /* bytes that are the role's, zero at first */
    const ml_worker_method *methods;
    size_t method_count;
    ml_code (*begin)(void *role, const ml_worker_world *world, ml_error *why);
    /* When no request waits; NULL: it does nothing unasked. May add notifications to `out`. Gives
     * the ms after which to call it again if nothing is asked: 0 = at once, -1 = not before. */
    int (*step)(void *role, ml_buf *out);
    void (*end)(void *role); /* also after a begin that failed */
    ml_engine_rehearse *rehearse; /* of an engine's, from who stands above */
} ml_worker_role;

/* The engine (engine.h). */
extern const ml_worker_role ml_worker_rules;

/* Serves until the daemon is gone; gives ML_OK then, or why it could not begin or go on. */
ML_MUST_USE ml_code ml_worker_run(const char *dir, const ml_worker_role *role, ml_error *why);

/* For methods: the rest of the arguments; and texts, bytes and truths among them, false if the next
 * is none. */
static inline ml_bytes ml_worker_rest(const ml_worker_call *call)
{
    return (ml_bytes){call->args.at, (size_t)(call->args.end - call->args.at)};
}
ML_MUST_USE bool ml_worker_take_bin(ml_worker_call *call, ml_bytes *bytes);
ML_MUST_USE bool ml_worker_take_bool(ml_worker_call *call, bool *value);
/* Files {path: text}, at most ML_RULES_FILES_MAX, whose texts stay where they lie. */
struct ml_source;
ML_MUST_USE ml_code ml_worker_take_files(ml_worker_call *call, struct ml_source *files,
                                         uint32_t *count);
/* For a method that takes long: a whole message, a notification, that leaves before its answer. False:
 * the daemon has gone. */
ML_MUST_USE bool ml_worker_tell(ml_bytes message);
/* BAD_REQUEST: it has no such argument. */
ml_code ml_worker_refuse(const ml_worker_call *call, const char *what);

#endif
