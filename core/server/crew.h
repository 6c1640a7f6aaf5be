/* crew.h -- one worker as workers.c keeps it, and the eye on all of them (crew.c). Private to
 * these two. */
#ifndef ML_SERVER_CREW_H
#define ML_SERVER_CREW_H

#include "../rules/worker.h"
#include "workers.h"

enum { ML_PROCESS_KEPT = 1 << 20 }; /* a buffer that is larger goes when it is empty */

typedef enum ml_process_state {
    ML_PROCESS_DOWN,
    ML_PROCESS_UP,
    ML_PROCESS_ENDING
} ml_process_state;

typedef struct ml_process {
    ml_server *server;
    int number;
    ml_process_state state;
    unsigned halves; /* of it that are not closed: the child, and the socket */
    uv_process_t child;
    uv_pipe_t pipe;
    uv_timer_t pause;     /* before it is started again, where starting fails */
    ml_worker_page *page; /* shared: what it says there is not to be trusted */
    int page_file;
    ml_buf in, out, flying; /* read; being filled; being written */
    bool writing;
    uv_write_t write;
    ml_wire wire;
    ml_ask *first, *last; /* the queue, in the order they are answered */
    size_t waiting, waiting_bytes;
    uint32_t last_msgid;
    bool begun;      /* has the active pack */
    bool killed;     /* by us */
    ml_ask *culprit; /* what it was killed for, still in the queue */
    char verdict[ML_SENTENCE_MAX];
    int64_t exit_status;
    int exit_signal;
    uint64_t started;
    unsigned walls;
    uint64_t answered, answered_before, restarts;
    unsigned failures;

    /* of crew.c */
    uint64_t seen;     /* `began` of the page, when it was last looked at, */
    uint64_t seen_cpu; /* and the time of the processor that it had used */
    uint64_t progress; /* when something last went on; µs */
    uint64_t progress_cpu;
} ml_process;

struct ml_workers {
    uv_timer_t clock; /* runs while something is asked */
    ml_process bench;
    size_t count;
    ml_process each[];
};

/* Looks at those at work until nothing is asked any more. */
void ml_crew_watch(ml_server *server);
/* It has answered something. */
void ml_crew_progress(ml_process *process);
void ml_crew_kill(ml_process *process);
/* It has ended: if a script was the cause, the request that it was called for fails, and the unit
 * is blamed. */
void ml_crew_attribute(ml_process *process);

#endif
