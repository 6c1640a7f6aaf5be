/* index.h -- the door of the index: key -> positions, thrown away and rebuilt at will.
 *
 * A key is a 64-bit hash of whatever the floor above wants to find events by (stream,
 * category, type, tag). Two names may share a key: the index then gives positions of both,
 * and who asked looks at the events. It never gives too few.
 *
 *     positions 1 … n:   run │ run │ run │ frozen table │ live table
 *                        on disk, background merges 4→1 │ in memory
 *
 * Floor    index. Uses base; is told positions by whoever reads the log.
 * Threads  one owner; a worker writes and merges runs in the background.
 * Memory   two tables of at most `memory_events` events; runs are mapped.
 * Errors   a damaged run is reported once as CORRUPT; then ml_index_covered tells from where
 *          the owner has to feed the index again.
 * Crash    runs are whole or absent. What they do not cover is fed again by the owner.
 */
#ifndef ML_INDEX_INDEX_H
#define ML_INDEX_INDEX_H

#include "../base/disk.h"
#include "../base/limits.h"
#include "../base/worker.h"
#include "run.h"
#include "table.h"

typedef struct ml_index ml_index;

typedef struct ml_index_options {
    bool read_only;
    uint32_t memory_events;
    uint8_t log[16]; /* id of the log: runs of another are dropped */
    uint64_t head;   /* its last position: runs ahead of it are dropped */
    /* Gives the crc of the record at a position, to hold against a run's anchor. */
    uint32_t (*anchor)(void *context, uint64_t position);
    void *context;
} ml_index_options;

/* Opens the runs in index/ that belong to this log. Whatever is wrong with them is not an
 * error: they are dropped. */
ML_MUST_USE ml_code ml_index_open(ml_disk *disk, ml_worker *worker, const ml_index_options *options,
                                  ml_index **index, ml_error *why);

/* Frees; the worker must be idle. */
void ml_index_close(ml_index *index);

/* Highest position up to which everything was fed; the owner goes on from the next one. */
uint64_t ml_index_covered(const ml_index *index);

/* Feeds one key of the event at `position`. Positions come in order. */
ML_MUST_USE ml_code ml_index_add(ml_index *index, uint64_t key, uint64_t position, ml_error *why);

/* Starts loading what ml_index_add of this key will touch first, or, once that is there, next. */
void ml_index_prefetch(const ml_index *index, uint64_t key, bool chunk);

/* All keys of the events up to `position` were added. */
void ml_index_cover(ml_index *index, uint64_t position);

/* Takes back one key of events over `last`, which were fed but not settled after all. Then
 * ml_index_uncover(last). */
void ml_index_retract(ml_index *index, uint64_t key, uint64_t last);
void ml_index_uncover(ml_index *index, uint64_t last);

/* Lets background work begin: everything up to `settled` will stay. Cheap; to be called
 * after every settle. `anchor` of the options is called when a run is begun. CORRUPT (without
 * a sentence) if a run was found damaged: call ml_index_drop_damaged and feed again. */
ML_MUST_USE ml_code ml_index_tend(ml_index *index, uint64_t settled, ml_error *why);

/* Writes what is in memory as a run, and waits for it. */
ML_MUST_USE ml_code ml_index_save(ml_index *index, uint64_t settled, ml_error *why);

/* Looks for runs that a writer in another process has made since, and takes them instead of
 * memory where they reach as far (read-only handles). */
ML_MUST_USE ml_code ml_index_refresh(ml_index *index, uint64_t head, ml_error *why);

typedef struct ml_index_state {
    uint64_t runs, bytes, memory_events, memory_bytes;
} ml_index_state;
void ml_index_get_state(const ml_index *index, ml_index_state *state);

/* ---- postings: the positions of one key, as one ascending list ---------------------------- */

typedef struct ml_postings_source {
    const ml_table *table;     /* or … */
    const ml_table_slot *slot;
    ml_run_list list;          /* … a run's list */
    uint64_t first, last;      /* positions that the source may hold */
    uint64_t count;
    size_t run;                /* index of the run, to name it when damaged */
} ml_postings_source;

typedef struct ml_postings {
    ml_index *index;
    uint64_t key, count; /* of positions in all sources */
    bool damaged;        /* a run turned out damaged: the answer is not complete */
    size_t source_count;
    ml_postings_source sources[ML_INDEX_RUNS_MAX + 2];
    /* The block in hand. */
    size_t source;
    uint64_t block;      /* of a run's list; for a table the chunk */
    uint32_t at, size;
    uint32_t distances[ML_RUN_BLOCK_MAX];
    uint64_t position;   /* of the current posting, if the last seek said true */
} ml_postings;

/* Gathers where the positions of `key` are that are not below `from` and not above `to`.
 * Borrowed: any other call on the index but these invalidates it. */
void ml_postings_find(ml_index *index, uint64_t key, uint64_t from, uint64_t to, ml_postings *postings);

/* Goes to the lowest posting >= position, or the highest <= position. False if there is none
 * (or `damaged`). */
ML_MUST_USE bool ml_postings_seek(ml_postings *postings, uint64_t position);
ML_MUST_USE bool ml_postings_seek_back(ml_postings *postings, uint64_t position);

/* From where the last seek came to: one on. */
ML_MUST_USE bool ml_postings_next(ml_postings *postings);
ML_MUST_USE bool ml_postings_prev(ml_postings *postings);

/* Goes to the n-th posting of all (from 0). Only if found with from = 0. */
ML_MUST_USE bool ml_postings_nth(ml_postings *postings, uint64_t n);

/* Remembers the run that a postings found damaged, for … */
void ml_index_note_damage(ml_index *index, const ml_postings *postings);

/* … dropping it and everything behind it; the owner then feeds from ml_index_covered + 1. */
void ml_index_drop_damaged(ml_index *index);

#endif
