/* model.h -- what a store must hold, kept by somebody who knows nothing of its files.
 *
 * The history is every event that was ever handed to the store and not refused, in order.
 * Three marks in it say what was promised:
 *
 *     1 … durable   acknowledged to the disk: there after any crash
 *       … visible   acknowledged: there after a kill, and for readers
 *       … count     handed over, no answer yet: there or not, each append whole
 *
 * So a store is right if it holds the first k events of the history, k is the end of an
 * append, and k is not below the mark that the kind of stop asks for.
 *
 * Floor    spec/crash.
 * Threads  one.
 * Memory   refused memory stops the program: this is a test.
 */
#ifndef ML_CRASH_MODEL_H
#define ML_CRASH_MODEL_H

#include "../../core/moonlog.h"
#include "dice.h"

enum {
    ML_MODEL_STREAMS = 8,
    ML_MODEL_TYPES = 4,
    ML_MODEL_TAGS = 6,
    ML_MODEL_DATA_MAX = 4096,
    ML_MODEL_WHY = 512
};

typedef struct ml_model_event {
    const uint8_t *id, *data; /* in the model's blocks, where they stay */
    uint8_t stream, type;
    uint8_t tags;  /* a bit for each */
    bool last;     /* of its append */
    uint16_t size; /* of the data */
    uint64_t revision;
} ml_model_event;

typedef struct ml_model {
    ml_model_event *events;
    size_t capacity;
    size_t count, visible, durable;
    uint64_t serial; /* of the last event ever made: what its id and data are made of */
    struct ml_model_block *blocks;
    char why[ML_MODEL_WHY];
} ml_model;

void ml_model_free(ml_model *model);

/* ---- making events ---------------------------------------------------------------------- */

ml_bytes ml_model_stream(unsigned n);
ml_bytes ml_model_type(unsigned n);
ml_bytes ml_model_tag(unsigned n);

/* A new event of that stream behind the history, with `size` bytes of data. */
ml_model_event *ml_model_add(ml_model *model, unsigned stream, unsigned type, unsigned tags,
                             size_t size);

/* Takes the last events back, so that `count` are left: they were refused. */
void ml_model_cut(ml_model *model, size_t count);

/* What the store is handed. The draft borrows `room` and what the event points at. */
typedef struct ml_model_room {
    ml_bytes tags[ML_MODEL_TAGS];
} ml_model_room;
void ml_model_draft(const ml_model_event *event, ml_model_room *room, ml_draft *draft);

/* ---- asking the history ------------------------------------------------------------------- */

/* Revision of a stream after the first `count` events; -1 if it has none. */
int64_t ml_model_revision(const ml_model *model, unsigned stream, size_t count);

/* True if an event of that type with that tag stands behind the first `after`. */
bool ml_model_has(const ml_model *model, unsigned type, unsigned tag, size_t after);

/* ---- the verdict -------------------------------------------------------------------------- */

/* Reads the whole store and holds it against the history. False with a sentence in
 * model->why; *found gets how many events there are. At least `least` must be there. */
bool ml_model_check(ml_model *model, ml_store *store, size_t least, size_t *found);

/* Reads by stream, category, type and tag, forward and backward, and heads: the same as a
 * scan of the first `count` events gives. */
bool ml_model_check_index(ml_model *model, ml_store *store, size_t count);

/* Reads what a damaged store still gives: every event must be the right one, the others must
 * be refused as CORRUPT. *lost gets how many were. */
bool ml_model_check_damaged(ml_model *model, ml_store *store, size_t *given, size_t *lost);

#endif
