/* worker.h -- one background thread that runs jobs in the order they came.
 *
 * Floor    base.
 * Threads  start, poll, wait, free: by the owner's thread. `run` of a job is called on the
 *          background thread, `done` on the owner's, from poll or wait. Without a thread
 *          (`threaded` false) start runs both at once, which makes everything above it
 *          deterministic for the simulated disk.
 * Memory   jobs are the caller's, alive until their `done` was called.
 */
#ifndef ML_BASE_WORKER_H
#define ML_BASE_WORKER_H

#include "error.h"

typedef struct ml_worker ml_worker;

typedef struct ml_job {
    void (*run)(struct ml_job *job);
    void (*done)(struct ml_job *job); /* may free the job */
    struct ml_job *next;              /* the worker's */
} ml_job;

/* The thread itself starts with the first job. */
ML_MUST_USE ml_code ml_worker_new(bool threaded, ml_worker **worker, ml_error *why);

/* Hands a job over. */
void ml_worker_start(ml_worker *worker, ml_job *job);

/* Calls `done` for every job that has finished. Costs one relaxed load when none has. */
void ml_worker_poll(ml_worker *worker);

/* Waits until no job is left, calling `done` for each, jobs started by `done` included. */
void ml_worker_wait(ml_worker *worker);

/* Waits, then ends the thread. NULL is allowed. */
void ml_worker_free(ml_worker *worker);

#endif
