/* views.h -- projections besieged: what they fold, who feeds them, who asks them, and what they
 * must say.
 *
 *     feeders ──batches──▶ daemon ──▶ five projections ◀──questions── viewers
 *        │                    │              │                           │
 *        ╰──── tally ◀──log───╯              ╰── rows, digests ──▶ the tally's own fold
 *
 * A batch is an append, known by its number from 1 on; what its events are follows from seed,
 * number and place, and they carry both. So the tally can fold what the log holds without believing
 * it, and compare it with what the projections say: row by row in the end, and of few rows at any
 * position at which a viewer saw them.
 *
 * Floor    spec/siege.
 */
#ifndef ML_SIEGE_VIEWS_H
#define ML_SIEGE_VIEWS_H

#include "model.h"

typedef enum ml_views_name {
    ML_VIEWS_ORDERS,  /* by stream */
    ML_VIEWS_GROUPS,  /* by data.group: few keys, and hot */
    ML_VIEWS_TOTALS,  /* a free fold */
    ML_VIEWS_SECONDS, /* tumbling windows, by type */
    ML_VIEWS_STOCK,   /* a function gives two keys; indexes; rows that are deleted */
    ML_VIEWS
} ml_views_name;

typedef enum ml_views_type { ML_VIEWS_ADDED, ML_VIEWS_TAKEN, ML_VIEWS_CLOSED } ml_views_type;

enum {
    ML_VIEWS_CATEGORIES = 3, /* orders, stock, visits */
    ML_VIEWS_STREAMS = 1000, /* of each */
    ML_VIEWS_GROUP_COUNT = 5,
    ML_VIEWS_DEPTH = 64,
    ML_VIEWS_DIGEST = 64,
    ML_VIEWS_WAIT_MS = 300000 /* until all are live: sanitizers are slow */
};

extern const char *const ml_views_names[ML_VIEWS];

/* ---- rulepack.c: the rules, in versions ------------------------------------------------ */

typedef enum ml_views_flaw { ML_VIEWS_GOOD, ML_VIEWS_SYNTAX, ML_VIEWS_RAISES } ml_views_flaw;

/* `factor`: what the handler of Added multiplies by; a row says which one it was made with. */
typedef struct ml_views_rules {
    uint32_t factor[ML_VIEWS];
    uint32_t comment; /* in all of them */
    ml_views_flaw flaw;
    ml_views_name flawed;
    uint64_t raises_at; /* position of the event */
    bool alone;         /* there are the totals only */
} ml_views_rules;

/* The params of rules.load. */
void ml_views_pack_rules(const ml_views_rules *rules, ml_buf *out);

/* ---- tally.c ---------------------------------------------------------------------------- */

typedef struct ml_batch {
    uint64_t first; /* position, once known */
    uint16_t stream, count, seen;
    uint8_t category, fate;
} ml_batch;

/* What is added up in a row. */
typedef struct ml_sum {
    int64_t count, added, taken;
    uint32_t adds; /* events that were Added */
    uint32_t group;
    bool there;
} ml_sum;

/* What a viewer saw of a group, or with group -1 of the totals. */
typedef struct ml_sight {
    uint64_t position;
    int32_t group;
    bool none;
    uint64_t factor;
    int64_t count, added, taken;
} ml_sight;

typedef struct ml_tally {
    ml_siege *siege;
    ml_batch *batches; /* [number] */
    uint32_t count, room;
    uint32_t most;    /* events of a batch */
    bool steady;      /* each has so many, and is synced */
    uint64_t next;    /* position to be read */
    uint64_t highest; /* position that an answer told, */
    uint64_t synced;  /* and of an append that was on the disk then */
    uint64_t floor; /* what was there when this daemon, or the rules, began: nobody is told less */
    uint64_t acknowledged, appended, events; /* batches; events of these; events that were read */
    ml_batch recent;                         /* acknowledged last, of orders */
    ml_sum orders[ML_VIEWS_STREAMS], groups[ML_VIEWS_GROUP_COUNT], totals;
    ml_sum stock[ML_VIEWS_STREAMS], shelves[ML_VIEWS_GROUP_COUNT]; /* of STOCK's two keys */
    ml_sum (*seconds)[3];                                          /* [second - began] */
    int64_t began;
    size_t second_count, second_room;
    ml_sight *sights;
    size_t sight_count, sight_room, sight_next;
    uint64_t sighted; /* of these, held against the log */
} ml_tally;

ml_tally *ml_tally_new(ml_siege *siege);
void ml_tally_free(ml_tally *tally);

uint32_t ml_tally_plan(ml_tally *tally);
/* Packs the params of its append; it then counts as sent. */
void ml_tally_pack(ml_tally *tally, uint32_t number, ml_buf *out);
bool ml_tally_answer(ml_tally *tally, uint32_t number, const ml_message *message);
/* Kept, to be held against the log. */
void ml_tally_see(ml_tally *tally, const ml_sight *sight);

/* When nobody appends: reads the log on to its end and folds it; every batch that was acknowledged
 * must be there, once and whole, and what was seen must have been so. */
bool ml_tally_read(ml_tally *tally, ml_client *client);

/* ---- audit.c: the daemon's rows are the tally's ------------------------------------------ */

/* A row, as it was answered; false if it is none. */
bool ml_audit_row(ml_bytes row, ml_sum *sum, uint64_t *factor);
/* By scans of all of them, also by the indexes. */
bool ml_audit_run(const ml_tally *tally, ml_client *client, const ml_views_rules *rules);

/* ---- feeder.c: a client that appends ------------------------------------------------------ */

typedef struct ml_feeder {
    ml_client client;
    ml_tally *tally;
    unsigned depth, count; /* of batches under way */
    uint64_t rate;         /* events a second at most; 0: as many as it can */
    uint64_t due;          /* of the next one */
    struct {
        uint32_t msgid, batch;
    } waiting[ML_VIEWS_DEPTH];
    void (*acknowledged)(void *context, uint64_t position); /* may be NULL */
    void *context;
} ml_feeder;

bool ml_feeder_fill(ml_feeder *feeder);
bool ml_feeder_take(ml_feeder *feeder);

/* ---- viewer.c: a client that asks for rows ------------------------------------------------- */

/* Of one question. */
typedef struct ml_look {
    uint32_t msgid;
    uint8_t name;
    bool must_be; /* there is a row: the event after which is asked made it, or it was seen */
    int32_t key;  /* stream or group; -1: the totals */
    uint64_t after, began;
} ml_look;

typedef struct ml_viewer {
    ml_client client;
    ml_tally *tally;
    unsigned depth, count;
    bool lenient;  /* TIMEOUT is an answer: views are being removed */
    bool plain;    /* asks after no position */
    uint64_t rate; /* questions a second at most; 0: as many as it can */
    uint64_t due;  /* of the next one */
    ml_look waiting[ML_VIEWS_DEPTH];
    uint64_t positions[ML_VIEWS];  /* of the last answer */
    bool orders[ML_VIEWS_STREAMS]; /* rows that were there */
    int64_t counts[ML_VIEWS_GROUP_COUNT + 1];
    uint64_t answers, waited, timeouts;
    void (*took)(void *context, uint64_t began, uint64_t ended); /* may be NULL */
    void *context;
} ml_viewer;

/* It is another daemon from now on: what was seen binds only the one that said it. */
void ml_viewer_forget(ml_viewer *viewer);
bool ml_viewer_fill(ml_viewer *viewer);
bool ml_viewer_take(ml_viewer *viewer);

/* ---- crowd.c: all of them, and what they wait for ------------------------------------------ */

enum { ML_CROWD_FEEDERS = 6, ML_CROWD_VIEWERS = 6 };

typedef struct ml_crowd {
    ml_siege *siege;
    ml_tally *tally;
    ml_feeder feeders[ML_CROWD_FEEDERS];
    ml_viewer viewers[ML_CROWD_VIEWERS];
    ml_client watch; /* for what is asked beside */
    bool quiet;      /* nothing new is begun */
    uint64_t loads;  /* of rules */
} ml_crowd;

typedef struct ml_shown {
    bool known, live, next; /* next: another generation builds beside it */
    bool incremental;       /* the live one was made from the one before */
    uint64_t position, left;
    uint8_t digest[ML_VIEWS_DIGEST];
    size_t digest_size;
    uint64_t rows;
    char hash[64], stopped[300]; /* why; empty: it has not */
} ml_shown;

ml_crowd *ml_crowd_new(ml_siege *siege);
void ml_crowd_free(ml_crowd *crowd);
bool ml_crowd_connect(ml_crowd *crowd);
/* Hears what the daemon said before its end, and closes. */
bool ml_crowd_hear(ml_crowd *crowd);
/* Sends, waits until something moved or until a time, and takes. */
bool ml_crowd_turn(ml_crowd *crowd, uint64_t until);
bool ml_crowd_go_on(ml_crowd *crowd, uint64_t us);
/* Appends so many events as fast as it goes; nobody asks meanwhile. */
bool ml_crowd_fill(ml_crowd *crowd, uint64_t events);
/* Lets everything be answered. */
bool ml_crowd_settle(ml_crowd *crowd);
/* While the others go on: asks, and waits for the answer, which may be a refusal. It is borrowed
 * until the next turn. */

bool ml_crowd_ask(ml_crowd *crowd, ml_message *message);
bool ml_crowd_load(ml_crowd *crowd, const ml_views_rules *rules, ml_message *message);
/* projection.list. */
bool ml_crowd_list(ml_crowd *crowd, ml_shown shown[ML_VIEWS], ml_message *message);
/* Until all are live and as far as the log. */
bool ml_crowd_await(ml_crowd *crowd, ml_shown shown[ML_VIEWS]);
/* In the end: when all is answered, the rows are those of the tally's fold; and built again from
 * nothing they have the same digests. Stops the daemon. */
bool ml_crowd_audit(ml_crowd *crowd, const ml_views_rules *rules);

#endif
