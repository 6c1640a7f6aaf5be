/* worker.h -- the process behind `moonlog worker`: an engine, locked in, that answers.
 *
 *     daemon ──socket pair, msgpack-rpc──▶ requests, in the order they came ──▶ ml_engine
 *        ◀── answers, in the same order, as many in one write as there were ──
 *        ◀── a shared page: what is being run now
 *
 * Many requests are read at once. The daemon is trusted with everything, the worker with nothing:
 * what it answers is checked like what a client sends.
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
 *     ping                                       nil
 *
 * An error is [number, "CODE: sentence"] as everywhere; a script's fault stands beside it, as the
 * result. First of all comes the notification `ready` with the walls that stand (jail.h).
 *
 * Floor    rules.
 * Threads  the process has one.
 * Crash    nothing is lost: a worker holds nothing that is not in the log.
 */
#ifndef ML_RULES_WORKER_H
#define ML_RULES_WORKER_H

#include "../base/error.h"
#include "doing.h"

/* Descriptors that the process is born with. */
enum { ML_WORKER_SOCKET = 3, ML_WORKER_PAGE = 4 };

enum {
    ML_WORKER_MESSAGE_MAX = 32 << 20, /* a page of events, grown by upcasting */
    ML_WORKER_TYPES_MAX = 256         /* that a pack upcasts: one a file */
};

/* The directory below the store's that snapshots are kept in. */
#define ML_WORKER_SNAPSHOTS "snapshots"

typedef struct ml_worker_page {
    ml_engine_doing doing;
    volatile uint32_t msgid; /* of the request at work; 0 = none */
} ml_worker_page;

/* Serves until the daemon is gone; gives ML_OK then, or why it could not begin or go on. */
ML_MUST_USE ml_code ml_worker_run(const char *dir, ml_error *why);

#endif
