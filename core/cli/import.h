/* import.h -- the parts of `moonlog import`: a line as an event, and the names seen.
 *
 * Floor    cli, private to import_*.c and verb_import.c.
 * Threads  none.
 */
#ifndef ML_CLI_IMPORT_H
#define ML_CLI_IMPORT_H

#include "../base/limits.h"
#include "cli.h"

/* ---- import_line.c ------------------------------------------------------------------ */

/* What a draft borrows. */
typedef struct ml_import_slot {
    ml_bytes stream;
    uint64_t line;   /* its number in the file, from 1 */
    size_t bytes;    /* what the event takes in an append, or a little more */
    uint8_t id[ML_ID_SIZE];
    ml_bytes tags[ML_TAGS_MAX];
} ml_import_slot;

/* Reads one line onto `arena` and fills draft and slot with views of it, which hold as long
 * as the arena does not move. What the store would refuse of a single event is refused here
 * already, so that the line can be named: "line 17, column 5: …". slot->line is given. */
ML_MUST_USE ml_code ml_import_line_read(ml_bytes text, ml_buf *arena, ml_import_slot *slot,
                                        ml_draft *draft, ml_error *why);

/* Bytes of arena that a line of `size` bytes takes at most. */
static inline size_t ml_import_line_room(size_t size)
{
    return 3 * size + 64; /* a float of three characters takes nine bytes: 1e1 */
}

/* ---- import_seen.c ------------------------------------------------------------------ */

/* How many different names? 64 bytes or less for each, whatever their length. */
typedef struct ml_import_seen {
    struct ml_import_hash *slots;
    size_t count, capacity;
} ml_import_seen;

/* False if memory was refused. */
ML_MUST_USE bool ml_import_seen_add(ml_import_seen *seen, ml_bytes name);
void ml_import_seen_free(ml_import_seen *seen);

#endif
