/* merge.h -- makes a run: from a table in memory, or from several runs that lie side by side.
 *
 * Floor    index.
 * Threads  meant for the background; the sources must not change meanwhile.
 * Memory   a table's keys in order; for runs 192 KiB a source.
 * Errors   CORRUPT names the source that is damaged; NO_SPACE, IO, NO_MEMORY.
 */
#ifndef ML_INDEX_MERGE_H
#define ML_INDEX_MERGE_H

#include "run.h"
#include "table.h"

/* `head` gives log, first, last and anchor; the table's positions lie within. */
ML_MUST_USE ml_code ml_merge_table(ml_disk *disk, const ml_table *table, const ml_run_head *head,
                                   ml_error *why);

/* The runs ascend, each begins where the one before ends. On CORRUPT *damaged says which. */
ML_MUST_USE ml_code ml_merge_runs(ml_disk *disk, ml_run *const *runs, size_t count, size_t *damaged,
                                  ml_error *why);

#endif
