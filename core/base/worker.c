/* worker.c -- a queue, a thread, and a list of what it has finished. */
#include "worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

typedef struct list {
    ml_job *first, **end; /* end: where the next job is hung in */
} list;

struct ml_worker {
    /* The owner's. */
    bool threaded, started;
    size_t pending; /* handed over and not yet taken back */
    pthread_t thread;

    /* Both sides', under the mutex; `finished` is read without it. */
    pthread_mutex_t mutex;
    pthread_cond_t work, news; /* for the thread; for an owner that waits */
    list todo, done;
    bool stop;
    atomic_bool finished; /* `done` holds something */
};

static void list_init(list *jobs)
{
    jobs->first = NULL;
    jobs->end = &jobs->first;
}

static void list_add(list *jobs, ml_job *job)
{
    job->next = NULL;
    *jobs->end = job;
    jobs->end = &job->next;
}

static ml_job *list_take_first(list *jobs)
{
    ml_job *job = jobs->first;
    jobs->first = job->next;
    if (jobs->first == NULL) jobs->end = &jobs->first;
    return job;
}

/* ---- the background thread ---------------------------------------------------------- */

static void finish(ml_worker *worker, ml_job *job)
{
    list_add(&worker->done, job);
    atomic_store_explicit(&worker->finished, true, memory_order_relaxed);
    pthread_cond_signal(&worker->news);
}

static void *work(void *context)
{
    ml_worker *worker = context;
    pthread_mutex_lock(&worker->mutex);
    for (;;) {
        while (worker->todo.first == NULL && !worker->stop)
            pthread_cond_wait(&worker->work, &worker->mutex);
        if (worker->todo.first == NULL) break;
        ml_job *job = list_take_first(&worker->todo);
        pthread_mutex_unlock(&worker->mutex);
        job->run(job);
        pthread_mutex_lock(&worker->mutex);
        finish(worker, job);
    }
    pthread_mutex_unlock(&worker->mutex);
    return NULL;
}

/* Signals are the owner's business, so the thread blocks them; but not those that a thread
 * raises by its own doing, which must find their handler (a failed page-in under a map). */
static bool thread_start(ml_worker *worker)
{
    sigset_t blocked, before;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    if (pthread_sigmask(SIG_SETMASK, &blocked, &before) != 0) return false;
    worker->started = pthread_create(&worker->thread, NULL, work, worker) == 0;
    int restored = pthread_sigmask(SIG_SETMASK, &before, NULL);
    ML_ASSERT(restored == 0);
    return worker->started;
}

/* ---- the owner's side --------------------------------------------------------------- */

ml_code ml_worker_new(bool threaded, ml_worker **worker, ml_error *why)
{
    ml_worker *made = calloc(1, sizeof *made);
    *worker = NULL;
    if (made == NULL) return ml_error_memory(why, "a background worker");
    made->threaded = threaded;
    list_init(&made->todo);
    list_init(&made->done);
    atomic_init(&made->finished, false);
    /* With default attributes these three cannot fail on Linux. */
    int failed = pthread_mutex_init(&made->mutex, NULL);
    failed |= pthread_cond_init(&made->work, NULL);
    failed |= pthread_cond_init(&made->news, NULL);
    ML_ASSERT(failed == 0);
    *worker = made;
    return ML_OK;
}

void ml_worker_start(ml_worker *worker, ml_job *job)
{
    if (!worker->threaded) {
        job->run(job);
        job->done(job);
        return;
    }
    bool alone = !worker->started && !thread_start(worker);
    if (alone) job->run(job); /* no thread to be had: slower, and as good */
    worker->pending++;
    pthread_mutex_lock(&worker->mutex);
    if (alone) {
        finish(worker, job);
    } else {
        list_add(&worker->todo, job);
        pthread_cond_signal(&worker->work);
    }
    pthread_mutex_unlock(&worker->mutex);
}

/* Takes what is finished and calls `done` for each; may wait for the first. */
static void settle(ml_worker *worker, bool wait)
{
    pthread_mutex_lock(&worker->mutex);
    while (wait && worker->done.first == NULL) pthread_cond_wait(&worker->news, &worker->mutex);
    ml_job *job = worker->done.first;
    list_init(&worker->done);
    atomic_store_explicit(&worker->finished, false, memory_order_relaxed);
    pthread_mutex_unlock(&worker->mutex);

    while (job != NULL) {
        ml_job *next = job->next; /* done may free the job */
        ML_ASSERT(worker->pending > 0);
        worker->pending--;
        job->done(job);
        job = next;
    }
}

void ml_worker_poll(ml_worker *worker)
{
    if (atomic_load_explicit(&worker->finished, memory_order_relaxed)) settle(worker, false);
}

void ml_worker_wait(ml_worker *worker)
{
    while (worker->pending > 0) settle(worker, true);
}

void ml_worker_free(ml_worker *worker)
{
    if (worker == NULL) return;
    ml_worker_wait(worker);
    if (worker->started) {
        pthread_mutex_lock(&worker->mutex);
        worker->stop = true;
        pthread_cond_signal(&worker->work);
        pthread_mutex_unlock(&worker->mutex);
        int failed = pthread_join(worker->thread, NULL);
        ML_ASSERT(failed == 0);
    }
    pthread_cond_destroy(&worker->news);
    pthread_cond_destroy(&worker->work);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}
