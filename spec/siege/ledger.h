/* ledger.h -- what commands on accounts were sent, how each ended, and so what each account's
 * balance must be at each of its revisions.
 *
 * A command is an order, known by its number from 1 on; the number goes with it as its meta, so an
 * event that comes out of the daemon says which order wrote it.
 *
 *     SENT ──answer──▶ KEPT      happened once, where the answer said
 *       │   ╰────────▶ REFUSED   did not happen, and the balance was one that refuses it
 *       ╰──connection lost: stays SENT, unknown: at most once; sent again by its command_id: once
 *
 * What a state or a refusal says of an account is kept as a view, and held against the ledger when
 * all that it may rest on has been read.
 *
 * Floor    spec/siege.
 */
#ifndef ML_SIEGE_LEDGER_H
#define ML_SIEGE_LEDGER_H

#include "model.h"

enum { ML_LEDGER_ACCOUNTS = 400 };

typedef enum ml_order_kind { ML_ORDER_OPEN, ML_ORDER_DEPOSIT, ML_ORDER_WITHDRAW } ml_order_kind;

typedef struct ml_order {
    uint8_t kind, fate;
    uint16_t account;
    uint32_t amount;
    bool named;  /* has a command_id */
    bool queued; /* to be sent again, and not sent yet */
    bool found;  /* in the log */
    uint32_t sends;
    int64_t low;                 /* what was known of its account when it was sent last */
    uint64_t revision, position; /* once kept or found */
} ml_order;

typedef struct ml_account {
    struct {
        uint64_t position;
        int64_t balance; /* after it */
    } * events;          /* [revision] */
    uint64_t count, room;
    int64_t told; /* last revision that an answer told; -1 */
} ml_account;

typedef enum ml_view_kind {
    ML_VIEW_NOW,
    ML_VIEW_REVISION,
    ML_VIEW_POSITION,
    ML_VIEW_REFUSAL
} ml_view_kind;

typedef struct ml_view {
    uint8_t kind;
    bool open, any; /* any: it says nothing of the balance */
    uint16_t account;
    uint64_t asked;    /* the revision or position */
    int64_t low;       /* last revision that was known when it was asked; -1 */
    int64_t revision;  /* -1: before all events */
    uint64_t position; /* of the last event */
    int64_t balance;
} ml_view;

typedef struct ml_ledger {
    ml_siege *siege;
    ml_order *orders; /* [number] */
    uint32_t count, room;
    ml_account accounts[ML_LEDGER_ACCOUNTS];
    uint16_t used;
    ml_view *views; /* that are not checked yet */
    size_t view_count, view_room;
    uint64_t next;    /* position to be read */
    uint64_t highest; /* position that an answer told */
    uint64_t events, acknowledged, refused, duplicates, states;
} ml_ledger;

ml_ledger *ml_ledger_new(ml_siege *siege);
void ml_ledger_free(ml_ledger *ledger);

/* A new order. */
uint32_t ml_ledger_order(ml_ledger *ledger);
/* Packs the one map of its `command`. It then counts as sent. */
void ml_ledger_pack(ml_ledger *ledger, uint32_t number, ml_buf *out);
/* Takes the answer to it. False if it contradicts what is known. */
bool ml_ledger_answer(ml_ledger *ledger, uint32_t number, const ml_message *message);
/* Its connection was lost with it under way. */
void ml_ledger_lose(ml_ledger *ledger, uint32_t number);

/* A new question after a state: of some account, now, at a revision, or at a position. */
ml_view ml_ledger_question(ml_ledger *ledger);
void ml_ledger_pack_question(const ml_view *view, ml_buf *out);
/* Takes the answer to it. */
bool ml_ledger_told(ml_ledger *ledger, ml_view view, const ml_message *message);

/* When nobody is sending commands: reads the log on to its end, checks each event, that every
 * acknowledged order is there, and what states and refusals said. */
bool ml_ledger_read(ml_ledger *ledger, ml_client *client);
/* After that: what was unknown is kept or refused now. Calls again() for those that have a
 * command_id; true there leaves them unknown. */
void ml_ledger_decide(ml_ledger *ledger, bool (*again)(void *context, uint32_t number),
                      void *context);
/* After that: of each account the daemon's state and the fold of its stream, as they are now and
 * at revisions, are the ledger's. */
bool ml_ledger_audit(ml_ledger *ledger, ml_client *client);

#endif
