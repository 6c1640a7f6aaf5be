/* projections.h -- the read models of the active rules: which versions of them are kept up, and
 * which one is asked.
 *
 *     activated ──▶ next ──has caught up──▶ live ──another one has──▶ before ──▶ removed
 *                  (builds beside)        (is asked)               (follows, for a rollback)
 *
 * A generation is one version of a projection: a process (projection/process.h) that folds the
 * log into a view in a directory of its own, and answers questions from it. The daemon tells it how
 * far the log is durable, and is told how far it has come.
 *
 *     views/balances/1f0c…/    a generation; 1f0c….2 is the same version, built once more
 *     views/balances/live      which one is live and how far it was then; which one was before
 *
 * Readers never step back: an answer that speaks of less than the one before is not passed on, but
 * asked again when the view is as far. So a view that is built anew after damage, or that has just
 * become live, shows nothing that is older than what was seen.
 *
 * What is done to a projection by hand is an event in the stream `$projections` (ledger.c), so it
 * outlives the daemon.
 *
 * Floor    server.
 * Threads  the loop's; files are written and removed by libuv's.
 * Crash    directories that nobody names any more are removed at the next start.
 */
#ifndef ML_SERVER_PROJECTIONS_H
#define ML_SERVER_PROJECTIONS_H

#include "../view/view.h"
#include "later.h"
#include "packs.h"
#include "process.h"

#define ML_PROJECTIONS_STREAM ML_STR("$projections")
#define ML_PROJECTIONS_CLOCK  ML_STR("$clock")
#define ML_PROJECTIONS_DIR    "views"

enum {
    ML_PROJECTIONS_WAITING_MAX = 8192,  /* questions that wait for a position: half a KiB each */
    ML_PROJECTIONS_TIMEOUT_MS = 5000,   /* they wait so long, if it is not said, */
    ML_PROJECTIONS_TIMEOUT_MAX = 60000, /* and so long if it is */
    ML_PROJECTIONS_FOLDER = ML_RULES_HASH + 12,
    ML_PROJECTIONS_NAME = 84,
    ML_PROJECTIONS_PATH = 256 /* "views/NAME/HASH" */
};

typedef struct ml_projected ml_projected;
typedef struct ml_generation ml_generation;
typedef struct ml_reading ml_reading;

typedef enum ml_generation_state {
    ML_GENERATION_STARTING, /* nothing is known yet of this process */
    ML_GENERATION_BUILDING,
    ML_GENERATION_LIVE,
    ML_GENERATION_PAUSED,
    ML_GENERATION_STOPPED, /* at an event, or by a script that killed its process again and again */
    ML_GENERATION_FAILED   /* its view cannot be opened; tried again */
} ml_generation_state;

struct ml_generation {
    ml_process process;
    ml_projected *of; /* NULL: it is leaving */
    char hash[ML_RULES_HASH + 1];
    char folder[ML_PROJECTIONS_FOLDER], path[ML_PROJECTIONS_PATH]; /* "views/NAME/FOLDER" */
    ml_buf files;                                                  /* its pack */
    ml_ask begin;                                                  /* the first request */
    bool full;     /* is not to begin with what the live one has */
    bool fresh;    /* its view is to be discarded: it has crashed who opened it */
    bool removing; /* its directory goes with it */
    bool uncopied; /* a copy of its view could not be made, and that was said */

    ml_generation_state state;
    bool ready;    /* as far as whatever was answered */
    ml_buf report; /* the last progress that it told */
    uint64_t position, events, rows, bytes;
    int64_t closes;      /* when its next window does; 0 = none is open */
    uint64_t told;       /* how far the log is, as it knows */
    uint64_t reached;    /* where it was when it became live, also in a life before */
    ml_error trouble;    /* why it failed, or was stopped from here */
    uint64_t stopped_at; /* position of the event; 0: it is not about one */
    unsigned deaths;     /* while opening the view, in a row */
    unsigned kills;      /* by its scripts, at one event */
    uint64_t killed_at;
    unsigned failures; /* of opening the view, in a row */

    uint64_t began_ms, began_at; /* building: since when, from which position */
};

/* What lies on the disk: what is live, and what was before; "" if nothing is. */
typedef struct ml_folder_live {
    char live[ML_PROJECTIONS_FOLDER], before[ML_PROJECTIONS_FOLDER];
    uint64_t position; /* of the live one when it became that */
} ml_folder_live;

typedef struct ml_skip {
    uint64_t position;
    char hash[ML_RULES_HASH + 1];
} ml_skip;

struct ml_projected {
    ml_projected *next;
    ml_server *server;
    char name[ML_PROJECTIONS_NAME];
    bool defined;                   /* by the active rules, */
    char wanted[ML_RULES_HASH + 1]; /* in this version */
    uint64_t since;                 /* the activation from which on it is, without a gap, */
    uint64_t version_since;         /* and that version of it */
    bool appearing, tracing, tracing_version; /* these are being looked for */
    ml_folder_live found;                     /* when it appeared */

    bool paused;
    unsigned writing; /* deeds on their way to the disk */
    char refused[ML_RULES_HASH + 1];     /* rolled back from: is not to be live, */
    uint64_t refused_at;                 /* says the event at this position */
    char rebuilt[ML_PROJECTIONS_FOLDER]; /* the last rebuild's; "" if there was none */
    ml_skip *skips;
    size_t skip_count;

    ml_generation *live, *building, *before;
    ml_generation *taking; /* what a swap goes to: `building`, or in a rollback `before` */
    bool frozen;           /* the live one is told nothing newer than `frozen_at` */
    uint64_t frozen_at, frozen_ms, refrozen_ms;
    uint64_t served;   /* the highest position that was answered */
    ml_later rollback; /* who waits for that */
    bool rolling;

    ml_reading *first, *last; /* questions that wait */
};

struct ml_projections {
    ml_projected *all;
    uint64_t durable; /* of the log, as was told last */
    uint64_t told_us;
    uv_timer_t again; /* wakes a turn in which more can be told */
    uv_timer_t clock; /* runs while questions wait */
    char boot[ML_VIEW_BOOT];
    bool wanted; /* processes run: always, but in the daemon of a command */
    ml_reading *spare;
    size_t spares, waiting; /* questions and lists that wait */
    struct ml_listing *listings;
    struct ml_look *looks;
    uint64_t last_look;                    /* its number */
    struct ml_folder_job *jobs, *last_job; /* folders.c; the first is under way */
};

/* ---- projections.c: which there are ----------------------------------------------- */

ML_MUST_USE ml_code ml_projections_begin(ml_server *server, ml_error *why);
/* After another pack has become active. */
void ml_projections_follow(ml_server *server);
/* In a turn of the loop, after settling: tells how far the log is. */
void ml_projections_turn(ml_server *server);
/* Once a second: a Tick if a window is to close and nothing happens. */
void ml_projections_each_second(ml_server *server);
/* Ends all in order; ended says when they have. */
void ml_projections_drain(ml_server *server);
bool ml_projections_ended(const ml_server *server);
void ml_projections_free(ml_server *server);

/* Of the active rules; NULL with NOT_FOUND and the nearest name. Processes are started if none run.
 */
ml_projected *ml_projections_get(ml_server *server, ml_bytes name, ml_error *why);
/* Of any, also of those that were. Made if it is not there; NULL: no memory. */
ml_projected *ml_projections_find(ml_server *server, ml_bytes name);
/* Builds the version of now once more, in this folder. */
ML_MUST_USE ml_code ml_projections_rebuild(ml_projected *p, ml_error *why);
/* The folder that a rebuild would have. */
void ml_projections_next_folder(const ml_projected *p, char folder[ML_PROJECTIONS_FOLDER]);
uint64_t ml_projections_durable(const ml_server *server);
/* Processes are started, if none run. */
void ml_projections_want(ml_server *server);

/* ---- listings.c: how they are doing ----------------------------------------------- */

/* For `status`: an array. */
void ml_listings_pack_status(const ml_server *server, ml_buf *out);
/* One entry of projection.list. */
void ml_listings_pack(const ml_projected *p, ml_buf *out);
/* Answers with all, or the one of this name. */
ML_MUST_USE ml_code ml_listings_begin(ml_call *call, ml_bytes name);
void ml_listings_go_on(ml_server *server);

/* ---- swaps.c: which one is live --------------------------------------------------- */

/* Something has happened to one of its generations: begins, goes on with or ends a swap, lets
 * questions go on. */
void ml_swaps_consider(ml_projected *p);
/* To the one before; `later` is answered when it is live. */
ML_MUST_USE ml_code ml_swaps_roll_back(ml_projected *p, ml_error *why);
/* What a generation may be told at most. */
uint64_t ml_swaps_limit(const ml_generation *g, uint64_t durable);
/* Ends what waits for a rollback. */
void ml_swaps_abandon(ml_projected *p, ml_code code, const char *sentence);

/* ---- generations.c: one version, its process --------------------------------------- */

/* NULL: no memory. `folder` NULL: named after the hash. */
ml_generation *ml_generations_new(ml_projected *p, ml_bytes hash, ml_bytes files,
                                  const char *folder);
/* Is somebody still there who is about to leave this folder, or is it being removed? */
bool ml_generations_busy(const ml_projected *p, const char *folder);
void ml_generations_start(ml_generation *g);
/* It ends; with `removing` its directory does, too. */
void ml_generations_drop(ml_generation *g, bool removing);
/* What it has stopped for, or holds, once more; or passed over. */
void ml_generations_retry(ml_generation *g);
void ml_generations_skip(ml_generation *g, uint64_t position);
/* How far the log is durable; true if it does not know that yet, and with `now` is told. */
bool ml_generations_tell(ml_generation *g, uint64_t durable, bool now);
bool ml_generations_is(const ml_process *process);
/* Has it stopped at the event at this position (0: at any)? */
bool ml_generations_stopped_at(const ml_generation *g, uint64_t position);
/* Does it hold keys for events? */
bool ml_generations_holds(const ml_generation *g);
/* Its view is built anew. */
void ml_generations_spoil(ml_generation *g);
/* As is said of its projection by now. */
void ml_generations_pause(ml_generation *g);
const char *ml_generations_state_name(ml_generation_state state);
/* How much of it is built, and how long the rest takes; 0 = not known. */
unsigned ml_generations_percent(const ml_generation *g);
uint64_t ml_generations_eta_ms(const ml_generation *g);
/* Why it does not go on: as a sentence, and packed; empty, and nil, if it does. */
ml_bytes ml_generations_reason(const ml_generation *g);
ml_code ml_generations_code(const ml_generation *g);
/* The code that the error in a projector's report has. */
ml_code ml_generations_code_of(ml_bytes error);
/* Packs the first request to a projector (projection/process.h), but for `more` pairs behind it. */
void ml_generations_pack_project(const ml_projected *p, ml_bytes files, const char *hash,
                                 const char *path, bool paused, uint32_t more, ml_buf *out);
void ml_generations_pack_error(const ml_generation *g, ml_buf *out);

/* ---- readings.c: questions on their way ------------------------------------------- */

struct ml_reading {
    ml_ask ask;
    ml_later later;
    ml_projected *of;
    uint64_t after, due_ms;
    bool as_far;      /* `after`, or where it stands if it does not get there */
    ml_reading *next; /* of those that wait, or are spare */
};

/* From a pool; `ask.params` is empty and to be filled. NULL: no memory. */
ml_reading *ml_readings_new(ml_projected *p, const char *method);
/* Asked when the live generation has passed `after`; then it is answered. */
ML_MUST_USE ml_code ml_readings_send(ml_reading *reading, ml_error *why);
void ml_readings_free(ml_reading *reading);
/* Those that can be asked now are. */
void ml_readings_go_on(ml_projected *p);
/* A process has ended without answering this one. */
void ml_readings_again(ml_reading *reading);
/* The clock runs until nothing waits. */
void ml_readings_watch(ml_server *server);
bool ml_readings_is(const ml_ask *ask);
void ml_readings_fail_all(ml_server *server, ml_code code, const char *sentence);

/* ---- looks.c: the past ------------------------------------------------------------- */

/* Asked of the projection as it was at this position: of a process that folds the log up to there,
 * from the nearest copy that is kept (projection/kept.h), and stays a while for the next question. */
ML_MUST_USE ml_code ml_looks_send(ml_reading *reading, uint64_t at, ml_error *why);
void ml_looks_go_on(ml_server *server);
void ml_looks_fail_all(ml_server *server, ml_code code, const char *sentence);

/* ---- folders.c: what lies in views/ ------------------------------------------------ */

void ml_folders_read(const ml_projected *p, ml_folder_live *live);
void ml_folders_write(ml_projected *p); /* soon, as it is now */
/* A directory right below views/. */
ML_MUST_USE ml_code ml_folders_make(const ml_server *server, const char *path, ml_error *why);
/* Does something that is no directory lie there? */
bool ml_folders_barred(const ml_server *server, const char *path);
void ml_folders_remove(ml_server *server, const char *path); /* soon */
void ml_folders_remove_now(ml_server *server, const char *path);
bool ml_folders_removing(const ml_server *server, const char *path);
/* Whatever lies there and is none of these. */
void ml_folders_clean(ml_projected *p, const ml_folder_live *live, const char *other);
/* The rest, at once. */
void ml_folders_end(ml_server *server);
void ml_folders_path(const ml_projected *p, const char *folder, char path[ML_PROJECTIONS_PATH]);

/* ---- ledger.c: what is done by hand ------------------------------------------------ */

typedef enum ml_deed {
    ML_DEED_PAUSED,
    ML_DEED_RESUMED,
    ML_DEED_SKIPPED,
    ML_DEED_RETRIED,
    ML_DEED_REBUILT,
    ML_DEED_ROLLED_BACK
} ml_deed;

/* Reads `$projections`. */
ML_MUST_USE ml_code ml_ledger_read(ml_server *server, ml_error *why);
typedef struct ml_ledger_entry {
    ml_deed deed;
    uint64_t position; /* SKIPPED */
    ml_bytes reason, actor;
    const char *hash;   /* of the version that it is about, or NULL */
    const char *folder; /* REBUILT */
    bool done; /* its process has done it already, which is taken back if it cannot be written */
} ml_ledger_entry;
/* Writes the event; when it is on the disk it holds, and `later`, which is taken over, is answered.
 */
ML_MUST_USE ml_code ml_ledger_write(ml_projected *p, const ml_ledger_entry *entry, ml_later later,
                                    ml_error *why);
/* Positions that this version is to pass over, sorted, packed as an array. */
void ml_ledger_pack_skips(const ml_projected *p, const char *hash, ml_buf *out);
/* A Tick in `$clock`. */
void ml_ledger_tick(ml_server *server);

#endif
