/* workers.h -- the processes that run rules: started, asked, watched, killed, started again.
 *
 *     ask ──▶ queue of a worker ──socket pair──▶ `moonlog worker` (rules/worker.h)
 *      ▲                │                              │
 *      └── answered ◀── first of the queue ◀── answer ─┘      shared page: what it runs now
 *
 * Workers answer in the order they were asked. What was asked of one that died is asked of the
 * next one, in the same order, unless it was what killed it: a script that runs too long, or
 * crashes its worker, is named by the page, and that request alone fails. After
 * ML_WORKERS_KILLS of them the unit is not asked any more (rules.h), nor after ML_WORKERS_STOPS
 * calls in a row that its own sandbox had to stop.
 *
 * Nothing is lost with a worker: it holds nothing that is not in the log.
 *
 * Floor    server.
 * Threads  the loop's.
 * Limits   a worker's queue; over it LIMIT.
 */
#ifndef ML_SERVER_WORKERS_H
#define ML_SERVER_WORKERS_H

#include "process.h"

enum {
    ML_WORKERS_MAX = 64,
    ML_WORKERS_BENCH = -1,             /* the one beside, which only checks packs */
    ML_WORKERS_KILLS = 5,
    ML_WORKERS_STOPS = 10 /* in a row: at 250 ms each they take as long as the kills do */
};

ML_MUST_USE ml_code ml_workers_begin(ml_server *server, ml_error *why);
void ml_workers_free(ml_server *server);
/* The daemon is about to stop: what commands no worker has begun are answered SHUTTING_DOWN. */
void ml_workers_drain(ml_server *server);
/* What is asked of the unit is answered with SCRIPT_ERROR, and no worker goes on with it. */
void ml_workers_quarantine(ml_server *server, ml_bytes unit, const char *sentence);

size_t ml_workers_count(const ml_server *server);
/* Which worker has the state of this stream. */
int ml_workers_shard(const ml_server *server, ml_bytes stream);
/* The one with the shortest queue. */
int ml_workers_idlest(const ml_server *server);

/* Asks; a worker that is not there yet is started. LIMIT: too many ask. */
ML_MUST_USE ml_code ml_workers_ask(ml_server *server, int number, ml_ask *ask, ml_error *why);
/* Starts all that serve, if they are not there. */
void ml_workers_start(ml_server *server);
/* Have they all been given the active pack? */
bool ml_workers_begun(const ml_server *server);
/* Tells: `args` is `count` packed values. Lost if it is not there, which loses nothing. */
void ml_workers_tell(ml_server *server, int number, const char *method, ml_bytes args,
                     uint32_t count);
/* Starts it anew, with the pack that is active then. */
void ml_workers_renew(ml_server *server, int number);

/* Packs an array of maps, for `status`. */
void ml_workers_pack_status(const ml_server *server, ml_buf *out);

#endif
