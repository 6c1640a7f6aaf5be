/* note.h -- what a projector keeps beside the rows of a view, in the same transaction.
 *
 *     [1, start, events, skipped, position, time and id of the event there, note of the projection]
 *
 * Floor    projection.
 * Threads  pure functions.
 */
#ifndef ML_PROJECTION_NOTE_H
#define ML_PROJECTION_NOTE_H

#include "../base/buf.h"

typedef struct ml_note {
    uint64_t start;           /* events up to here do not count */
    uint64_t events, skipped; /* applied; passed over by order */
    uint64_t position;        /* of the view */
    int64_t time;             /* when the event there was recorded, */
    const uint8_t *id;        /* and its id: ML_ID_SIZE bytes, borrowed */
    ml_bytes projection;      /* ml_projection_save; borrowed */
} ml_note;

void ml_note_pack(const ml_note *note, ml_buf *out);
/* False: these bytes are none. */
ML_MUST_USE bool ml_note_read(ml_bytes bytes, ml_note *note);

#endif
