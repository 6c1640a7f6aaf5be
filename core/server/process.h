/* process.h -- one child process that runs scripts: started, asked, watched, killed, started again.
 *
 *     ask ──▶ queue ──socket pair──▶ `moonlog worker` (rules/worker.h)
 *      ▲        │                          │   │
 *      └── answered ◀─── answers ──────────┘   │   in the order they were asked
 *     told ◀───────────── notifications ───────┘
 *                         shared page: what it runs now
 *
 *     DOWN ──start──▶ UP ──kill, or it dies by itself──▶ ENDING ──both ends closed──▶ DOWN
 *
 * Who has a process embeds it, and says in a table (ml_process_kind) what is particular about it:
 * the workers that decide (workers.h), the projectors (projections.h). All are in one list of the
 * server, which crew.c looks at. queue.c has what is asked, answers.c what is
 * answered, spawn.c how one is born.
 *
 * Floor    server.
 * Threads  the loop's.
 * Limits   a queue; over it LIMIT.
 */
#ifndef ML_SERVER_PROCESS_H
#define ML_SERVER_PROCESS_H

#include "../rules/worker_page.h"
#include "inside.h"

enum {
    ML_PROCESS_KEPT = 1 << 20, /* a buffer that is larger goes when it is empty */
    ML_PROCESS_NAME = 128,
    ML_PROCESS_QUEUE_MAX = 4096,       /* requests waiting for one process … */
    ML_PROCESS_QUEUE_BYTES = 64 << 20, /* … and their bytes */
    ML_PROCESS_ATTEMPTS = 8 /* for a request that was in the queue of processes that died */
};

typedef struct ml_process ml_process;
typedef struct ml_ask ml_ask;

/* How it ended. `result` is what the process packed, borrowed for the call; with an error, what
 * there is to know besides, or empty. May ask again. */
typedef void ml_asked(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence);

/* A request to a process; belongs to whoever asks, who keeps it until it is answered. */
struct ml_ask {
    ml_ask *next;
    const char *method;
    const char *unit; /* "aggregate/account" that it is for; NULL: no certain one */
    ml_buf params;    /* the arguments, packed one after another */
    uint32_t count;   /* how many */
    ml_asked *asked;
    /* of process.c */
    uint32_t msgid;
    unsigned attempts;
};

/* What one kind of process does in its own way; NULL: as is said. */
typedef struct ml_process_kind {
    const char *role; /* of the worker (rules/worker.h); NULL: the rules' */
    /* It was started: adds what it is asked before all that waits. False: no memory, it is killed.
     */
    bool (*first)(ml_process *process);
    /* Hands an answer over. NULL: calls ask->asked. */
    void (*answer)(ml_process *process, ml_ask *ask, ml_code code, ml_bytes result,
                   const char *sentence);
    /* It notified us, of `params`, an array. False: of nothing that it may. NULL: it may not. */
    bool (*told)(ml_process *process, ml_bytes name, ml_unpack params);
    /* It has ended, and had not answered this. True: taken care of. NULL, false: the next one is
     * asked, ML_PROCESS_ATTEMPTS times. */
    bool (*left)(ml_process *process, ml_ask *ask);
    /* It has ended by a fault of the script that the page tells of. */
    void (*blame)(ml_process *process, const ml_engine_doing *told, const char *verdict);
    /* It has ended. True: start it again. NULL: yes. */
    bool (*again)(ml_process *process);
    /* Does it work although nothing is asked? NULL: no. */
    bool (*works)(const ml_process *process);
    /* How long the call that the page tells of may take. */
    uint32_t (*limit_ms)(const ml_process *process);
    /* After ml_process_leave, or when the daemon ends: whoever embeds it may free it. NULL: kept.
     */
    void (*gone)(ml_process *process);
} ml_process_kind;

typedef enum ml_process_state {
    ML_PROCESS_DOWN,
    ML_PROCESS_UP,
    ML_PROCESS_ENDING
} ml_process_state;

struct ml_process {
    ml_server *server;
    const ml_process_kind *kind;
    ml_process *prev, *next;    /* in the server's list */
    char name[ML_PROCESS_NAME]; /* as it is called in messages */
    ml_process_state state;
    bool leaving;
    unsigned
        halves; /* of it that are not closed: the child, the socket, and when leaving the timer */
    uv_process_t child;
    uv_pipe_t pipe;
    uv_timer_t pause; /* before it is started again, where starting fails; or until it is killed */
    ml_worker_page *page; /* shared: what it says there is not to be trusted */
    int page_file;
    ml_buf in, out, flying; /* read; being filled; being written */
    bool writing;
    uv_write_t write;
    ml_wire wire;
    ml_ask *first, *last; /* the queue, in the order they are answered */
    size_t waiting, waiting_bytes;
    uint32_t last_msgid, dropped; /* answers up to here may be to nobody any more; 0: none are */
    bool alive;                   /* the child has not ended */
    bool killed;                  /* by us */
    ml_ask *culprit;              /* what it was killed for, still in the queue */
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
    uint64_t worked;     /* without a script: when it was last seen to have used the processor … */
    uint64_t worked_cpu; /* … for so long in all */
};

/* ---- one -------------------------------------------------------------------------- */

/* The name is the caller's to print into process->name. It is DOWN. */
void ml_process_init(ml_process *process, ml_server *server, const ml_process_kind *kind);
/* Starts it, if it is DOWN; again after so long, whatever waits. */
void ml_process_start(ml_process *process);
void ml_process_start_in(ml_process *process, uint64_t ms);
/* Asks; a process that is not there yet is started. LIMIT: too many ask. */
ML_MUST_USE ml_code ml_process_ask(ml_process *process, ml_ask *ask, ml_error *why);
/* Tells: `args` is `count` packed values. Lost if it is not there. */
void ml_process_tell(ml_process *process, const char *method, ml_bytes args, uint32_t count);
/* Closes its socket, which is its sign to end in order; it is killed if that takes too long. */
void ml_process_finish(ml_process *process);
/* For good, in order or at once; calls kind->gone when the loop has forgotten it. What it was asked
 * is given to kind->left, else answered with SHUTTING_DOWN. */
void ml_process_leave(ml_process *process, bool in_order);

/* ---- all of a server -------------------------------------------------------------- */

/* At the end of a turn: what was asked leaves. */
void ml_process_flush_all(ml_server *server);
/* Kills all; whatever was asked is answered with SHUTTING_DOWN. */
void ml_process_stop_all(ml_server *server);
/* After the loop. */
void ml_process_free_all(ml_server *server);

/* ---- queue.c ---------------------------------------------------------------------- */

void ml_queue_add(ml_process *process, ml_ask *ask);
ml_ask *ml_queue_take(ml_process *process);     /* the first; there is one */
ml_ask *ml_queue_take_all(ml_process *process); /* as a list */
void ml_queue_take_out(ml_process *process, ml_ask *ask);

/* Takes out, as a list, the commands that the process has not begun, or all that is asked of a
 * unit. Its answers to them are passed over. */
ml_ask *ml_queue_drop_commands(ml_process *process);
ml_ask *ml_queue_drop_unit(ml_process *process, ml_bytes unit);
bool ml_queue_dropped(const ml_process *process, int64_t msgid);

/* Packs it onto what is sent to the process. */
void ml_queue_send(ml_process *process, ml_ask *ask);
/* Ends those in the list with an error. */
void ml_queue_fail(ml_ask *asks, ml_code code, const char *sentence);

/* ---- answers.c -------------------------------------------------------------------- */

/* Handles one whole message. False: it is none, or an answer to nothing that was asked. */
ML_MUST_USE bool ml_answers_take(ml_process *process, ml_bytes message);

/* ---- spawn.c ---------------------------------------------------------------------- */

/* A page that both see. It cannot be cut short, so looking at it cannot fail. */
ML_MUST_USE bool ml_spawn_page(ml_process *process);
/* `theirs`, its end of the socket pair, is closed in any case. 0, or libuv's error with the child's
 * handle still to be closed. */
ML_MUST_USE int ml_spawn_worker(ml_process *process, int theirs, uv_exit_cb after_exit);

/* ---- crew.c ----------------------------------------------------------------------- */

/* Looks at those at work until nothing is done any more. */
void ml_crew_watch(ml_server *server);
/* It is started. */
void ml_crew_begin(ml_process *process);
/* It has answered something. */
void ml_crew_progress(ml_process *process);
void ml_crew_kill(ml_process *process);
/* It has ended: if a script was the cause, the request that it was called for fails, and the unit
 * is blamed. */
void ml_crew_attribute(ml_process *process);

/* Packs ML_CREW_STATUS entries of a map: pid, state, answered, waiting, restarts, walls. */
enum { ML_CREW_STATUS = 6 };
void ml_crew_pack_status(const ml_process *process, ml_buf *out);

#endif
