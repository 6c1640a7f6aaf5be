/* workers.h -- the processes that run rules: started, asked, watched, killed, started again.
 *
 *     ask ──▶ queue of a worker ──socket pair──▶ `moonlog worker` (rules/worker.h)
 *      ▲                │                              │
 *      └── answered ◀── first of the queue ◀── answer ─┘      shared page: what it runs now
 *
 * Workers answer in the order they were asked. What was asked of one that died is asked of the
 * next one, in the same order, unless it was what killed it: a script that runs too long, or
 * crashes its worker, is named by the page, and that request alone fails. After
 * ML_WORKERS_KILLS of them the unit is not asked any more (packs.h).
 *
 * Nothing is lost with a worker: it holds nothing that is not in the log.
 *
 * Floor    server.
 * Threads  the loop's.
 * Limits   a worker's queue; over it LIMIT.
 */
#ifndef ML_SERVER_WORKERS_H
#define ML_SERVER_WORKERS_H

#include "inside.h"

enum {
    ML_WORKERS_MAX = 64,
    ML_WORKERS_BENCH = -1,             /* the one beside, which only checks packs */
    ML_WORKERS_QUEUE_MAX = 4096,       /* requests waiting for one worker … */
    ML_WORKERS_QUEUE_BYTES = 64 << 20, /* … and their bytes */
    ML_WORKERS_KILLS = 5,
    ML_WORKERS_ATTEMPTS = 8 /* for a request that was in the queue of workers that died */
};

typedef struct ml_ask ml_ask;

/* How it ended. `result` is what the worker packed, borrowed for the call; with an error, what
 * there is to know besides, or empty. May ask again. */
typedef void ml_asked(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence);

/* A request to a worker; belongs to whoever asks, who keeps it until it is answered. */
struct ml_ask {
    ml_ask *next;
    const char *method;
    ml_buf params;  /* the arguments, packed one after another */
    uint32_t count; /* how many */
    ml_asked *asked;
    /* of workers.c */
    uint32_t msgid;
    unsigned attempts;
};

ML_MUST_USE ml_code ml_workers_begin(ml_server *server, ml_error *why);
void ml_workers_free(ml_server *server);
/* Kills all; whatever was asked is answered with SHUTTING_DOWN. */
void ml_workers_stop(ml_server *server);

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

/* At the end of a turn: what was asked leaves. */
void ml_workers_flush(ml_server *server);

/* Packs an array of maps, for `status`. */
void ml_workers_pack_status(const ml_server *server, ml_buf *out);

#endif
