/* rebuild.h -- a view made from that of another version, as far as that can be proved right.
 *
 *     1  compile the other version; is everything the same but handlers?    (same.h)
 *     2  which keys did events of those types ever go to?    (up to the base's position)
 *     3  copy the base's view, delete the rows of these keys
 *     4  replay these keys alone
 *
 * It all happens in DIR.part, which becomes DIR by a rename when it is done: a process that
 * is killed leaves nothing that could be taken for a view.
 *
 * Whatever is doubtful, and whatever goes wrong, ends in a full build: other code for keys or
 * windows, a clock (windows, ttl), held keys, skipped events, a handler that raises, more than
 * half of the rows.
 *
 * Floor    projection.
 * Threads  one.
 * Errors   none: it is to be built from the beginning then.
 */
#ifndef ML_PROJECTION_REBUILD_H
#define ML_PROJECTION_REBUILD_H

#include "../rules/rulepack.h"
#include "projection.h"

enum { ML_REBUILD_KEYS_MAX = 1000000 }; /* 50 MB of them */

typedef struct ml_rebuild ml_rebuild;

/* All is borrowed until the rebuild is freed. */
typedef struct ml_rebuild_plan {
    ml_store *store;
    ml_unit *unit;
    const ml_rulepack *pack;
    ml_projection *projection;
    const char *dir, *boot;
    ml_bytes log;
    uint64_t start;
    const uint64_t *skips;
    size_t skip_count;
    const char *base; /* directory of the other view */
    const ml_source *base_files;
    size_t base_count;
} ml_rebuild_plan;

typedef enum ml_rebuild_done {
    ML_REBUILD_MORE,
    ML_REBUILD_DONE, /* the view lies in its directory, to be opened */
    ML_REBUILD_FULL  /* build it from the beginning */
} ml_rebuild_done;

/* NULL, with a sentence why it is to be a full build. */
ml_rebuild *ml_rebuild_new(const ml_rebuild_plan *plan, ml_error *why);
/* Works until the clock says `until_us`; `*why` says why it is FULL. */
ml_rebuild_done ml_rebuild_step(ml_rebuild *rebuild, uint64_t until_us, ml_error *why);
/* How much of it is done, in thousandths. */
unsigned ml_rebuild_progress(const ml_rebuild *rebuild);
/* Removes what is not finished. NULL is allowed. */
void ml_rebuild_free(ml_rebuild *rebuild);

#endif
