/* model.h -- what the appends of a trial are, how each ended, and so what the log may hold.
 *
 * An append is known by its number from 1 on, and all that is in it follows from the number:
 * its events carry ids that say number and index. So an event that comes out of the daemon says
 * which one it is, and can be held against it to the last byte.
 *
 *     PLANNED ──send──▶ SENT ──answer──▶ KEPT      must be in the log once, where the answer said
 *                         │    ╰───────▶ REFUSED   must not be in the log
 *                         ╰──connection lost: stays SENT, unknown: at most once, whole or absent;
 *                            ml_walk_decide finds out which
 *
 * Floor    spec/siege.
 */
#ifndef ML_SIEGE_MODEL_H
#define ML_SIEGE_MODEL_H

#include "siege.h"

enum {
    ML_MODEL_CLIENTS = 64,
    ML_MODEL_TAGS = 8,
    ML_MODEL_TYPES = 6,
    ML_MODEL_CATEGORIES = 4,
    ML_MODEL_STREAMS = 32, /* that many are there from the start; fresh ones come */
    ML_MODEL_STREAMS_MAX = 60000,
    ML_MODEL_WRITES = 4,
    ML_MODEL_NAME = 32
};

typedef enum ml_fate { ML_PLANNED, ML_SENT, ML_KEPT, ML_REFUSED } ml_fate;

typedef struct ml_attempt {
    uint32_t session; /* the connection it is first sent on */
    uint8_t fate, writes, durability;
    uint8_t condition; /* tag + 1; 0 = none */
    bool retried;      /* sent again after its outcome was unknown, or to be */
    bool queued;       /* to be, and not sent yet */
    bool seen;         /* by the walk that is under way */
    bool found;        /* by any walk */
    uint16_t streams[ML_MODEL_WRITES], counts[ML_MODEL_WRITES];
    int64_t expected[ML_MODEL_WRITES]; /* as in moonlog.h */
    uint64_t after;                    /* of the condition */
    uint64_t first;                    /* position, once known */
} ml_attempt;

/* Which event has a position. attempt 0: not known yet. */
typedef struct ml_place {
    uint32_t attempt;
    uint16_t index, write;
} ml_place;

typedef struct ml_facts {
    uint16_t stream;
    uint8_t type, tags; /* tags: bits */
    uint32_t bytes;     /* of data */
} ml_facts;

typedef struct ml_model {
    ml_siege *siege;
    bool plain;           /* only appends that nothing of the log refuses, to the first streams */
    bool full;            /* the disk may be: NO_SPACE is an answer */
    bool os;              /* all appends ask for that durability */
    uint32_t large;       /* bytes of a large event */
    ml_attempt *attempts; /* [number] */
    uint32_t count, room;
    ml_place *log;  /* [position] */
    uint64_t known; /* all positions up to here have a place */
    uint64_t log_room, highest;
    uint16_t streams;
    uint32_t sessions;                   /* connections there were */
    int64_t heads[ML_MODEL_STREAMS_MAX]; /* last revision that an answer told; -1 */
    uint64_t acknowledged, refused, duplicates;
} ml_model;

ml_model *ml_model_new(ml_siege *siege);
void ml_model_free(ml_model *model);

/* A new append, on a connection. */
uint32_t ml_model_plan(ml_model *model, uint32_t session);
/* Packs the one map of its request. It then counts as sent. */
void ml_model_pack(ml_model *model, uint32_t number, ml_buf *out);
/* Takes the answer to it. False if it contradicts what is known. */
bool ml_model_answer(ml_model *model, uint32_t number, const ml_message *message);
uint32_t ml_model_events(const ml_attempt *attempt);

/* What an event is like. */
ml_place ml_model_place(const ml_model *model, uint32_t number, uint32_t index);
ml_facts ml_model_facts(const ml_model *model, ml_place place);
/* Is it that, to the last byte? False says what differs. */
bool ml_model_compare(ml_model *model, ml_place place, const ml_event *event);
/* Which event an id names; false if none of ours. */
bool ml_model_named(const ml_model *model, const uint8_t *id, ml_place *place);
/* Says that a position holds that event; false if it is known to hold another. */
bool ml_model_put(ml_model *model, uint64_t position, ml_place place);

void ml_model_stream(unsigned stream, char name[ML_MODEL_NAME]);
void ml_model_category(unsigned category, char name[ML_MODEL_NAME]);
void ml_model_type(unsigned type, char name[ML_MODEL_NAME]);
void ml_model_tag(unsigned tag, char name[ML_MODEL_NAME]);

/* ---- walk.c: the log, read from its start or from where it was read before --------------- */

typedef struct ml_walk {
    ml_model *model;
    uint64_t next; /* position to come */
    ml_place at;   /* the event before it */
    uint32_t left; /* events of its append still to come */
    int64_t heads[ML_MODEL_STREAMS_MAX];
    uint64_t tagged[ML_MODEL_TAGS]; /* last position with each tag */
    uint32_t *turns;                /* last append of each connection */
    uint32_t turns_room;
} ml_walk;

ml_walk *ml_walk_new(ml_model *model);
void ml_walk_free(ml_walk *walk);
/* From the start again. */
void ml_walk_restart(ml_walk *walk);
/* Reads to the end through the daemon and checks each event: known, sent, not refused, not twice,
 * whole, in order, admitted rightly, and itself. Then every acknowledged append must have been
 * seen. */
bool ml_walk_read(ml_walk *walk, ml_client *client);
/* After a read, when nobody is appending: what was unknown is kept or refused now. Calls again(),
 * if it is given, for those whose client may send them again; true there leaves them unknown. */
void ml_walk_decide(ml_walk *walk, bool (*again)(void *context, uint32_t number), void *context);

/* ---- writer.c: a client that appends -------------------------------------------------------- */

enum { ML_WRITER_DEPTH = 64 };

typedef struct ml_writer {
    ml_client client;
    ml_model *model;
    uint32_t session; /* this connection's number */
    unsigned depth;   /* appends under way at once, at most ML_WRITER_DEPTH */
    struct {
        uint32_t msgid, attempt;
    } waiting[ML_WRITER_DEPTH];
    unsigned count;
    uint32_t *again; /* appends to be sent once more, first */
    size_t again_count, again_room;
    uint64_t answered;
} ml_writer;

bool ml_writer_connect(ml_writer *writer, bool tcp);
/* Forgets what was under way: it is unknown now. */
void ml_writer_close(ml_writer *writer);
void ml_writer_free(ml_writer *writer);
void ml_writer_retry(ml_writer *writer, uint32_t number);
/* Begins one append. */
void ml_writer_begin(ml_writer *writer);
/* Begins appends until `depth` are under way, and sends. False if the connection is lost. */
ML_MUST_USE bool ml_writer_fill(ml_writer *writer);
/* Is this the answer to one of its appends? Then it is handled: *good false if it contradicts the
 * model. */
ML_MUST_USE bool ml_writer_answered(ml_writer *writer, const ml_message *message, bool *good);
/* Handles the answers that came; nothing else may come. False if one contradicts the model. */
ML_MUST_USE bool ml_writer_take(ml_writer *writer);
/* Waits until all of them moved a step, or until a time of ml_siege_now: fills, polls, takes. A
 * connection that is lost is closed. False if an answer contradicts the model. */
ML_MUST_USE bool ml_writer_turn(ml_writer *writers, size_t count, uint64_t until);

#endif
