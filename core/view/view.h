/* view.h -- the door of views: the rows of a read model, and the position they speak of, in LMDB.
 *
 *     views/balances/1f0c…/    one generation: data.mdb, lock.mdb, LOCK, BOOT; rows.sqlite if it has one
 *
 * A view is derived: whatever is wrong with it, it is discarded and built again. What it says of
 * itself is never half right: rows, indexes and position change in one transaction.
 *
 * Writes are gathered in memory (a batch: each row once, however often it changed), and go to
 * LMDB sorted, in one transaction a commit. Commits are not synced: killing the process loses
 * nothing, because the kernel has the pages. When the machine goes down, which BOOT tells (it
 * holds the id of the boot in which there are commits that nobody synced), the view is not
 * believed. Each row carries its checksum, and the view a digest that does not depend on the order of
 * what was done; both are checked when it is opened, with every page of the file.
 *
 * Floor    view; uses base. The only room that speaks lmdb.h (view*.c) and sqlite3.h (sql.c).
 * Threads  a handle belongs to one thread; any process may read while one writes.
 * Memory   a batch is bounded by ML_VIEW_BATCH_BYTES; a view borrowed by the map it is read through.
 * Crash    the last commit is there, or the one before.
 * Errors   CORRUPT: not to be believed, discard it. NO_SPACE, IO, NO_MEMORY, LIMIT, UNSUPPORTED.
 */
#ifndef ML_VIEW_VIEW_H
#define ML_VIEW_VIEW_H

#include "key.h"

enum {
    ML_VIEW_ROW_BYTES = 1 << 20,    /* of one row: it is decoded whole for each of its events */
    ML_VIEW_INDEXES_MAX = 8,        /* each is written to whenever a row's field changes */
    ML_VIEW_BATCH_BYTES = 24 << 20, /* rows changed in one commit, and what finds them; more is not
                                     * faster, with a million keys, and less is slower */
    ML_VIEW_NOTE_BYTES = 64 << 10,
    ML_VIEW_DIGEST = 16,
    ML_VIEW_BOOT = 40
};
#define ML_VIEW_MAP_BYTES ((size_t)256 << 30) /* of addresses, not of disk or memory */

typedef struct ml_view ml_view;

/* What a view must have been made with to be used again. */
typedef struct ml_view_about {
    ml_bytes identity;       /* of the log and the code, up to 200 bytes */
    const ml_bytes *indexes; /* paths of fields (field.h) */
    size_t index_count;
    const char *boot; /* ml_view_boot */
} ml_view_about;

/* The id of this boot of the machine, "" if the system has none. */
void ml_view_boot(char boot[ML_VIEW_BOOT]);

/* ---- life ------------------------------------------------------------------------------- */

/* Opens it for writing, after reading all of it; makes an empty one at position 0 if the directory
 * is not there or empty. CORRUPT: damaged, of another identity, or of before the machine went down: the
 * sentence says which. LOCKED: another process writes to it. */
ML_MUST_USE ml_code ml_view_open(const char *dir, const ml_view_about *about, ml_view **view,
                                 ml_error *why);
/* Syncs, and says so in BOOT's absence. NULL is allowed. */
void ml_view_close(ml_view *view);
/* Removes the files of a view, and its directory if that is empty then. */
ML_MUST_USE ml_code ml_view_discard(const char *dir, ml_error *why);
/* A copy of what is committed in `from`, which another process may be writing to, as the view of another
 * identity in `to`, a directory that is not there. */
ML_MUST_USE ml_code ml_view_copy(const char *from, const char *to, const ml_view_about *about,
                                 ml_error *why);
/* What is committed, into `to`, a directory that is made; synced. It is no view to be opened there,
 * but for ml_view_restore. */
ML_MUST_USE ml_code ml_view_keep(const ml_view *view, const char *to, ml_error *why);
/* What was kept in `from` becomes the view in `to`, where none is. Not synced, and not looked at:
 * who opens it reads it whole. NOT_FOUND: nothing was. */
ML_MUST_USE ml_code ml_view_restore(const char *from, const char *to, ml_error *why);

typedef struct ml_view_stats {
    uint64_t position;    /* of the last commit */
    uint64_t rows, bytes; /* rows; bytes of the file */
    uint64_t commits;
    uint8_t digest[ML_VIEW_DIGEST]; /* of all keys and rows: equal views have equal ones */
} ml_view_stats;
void ml_view_get_stats(const ml_view *view, ml_view_stats *stats);
/* What was committed beside the position; empty at first. */
ml_bytes ml_view_note(const ml_view *view);

/* ---- writing ---------------------------------------------------------------------------- */

/* The row as the batch has it, else as it is committed; empty if there is none. Borrowed until
 * the next call. CORRUPT. */
ML_MUST_USE ml_code ml_view_get(ml_view *view, ml_bytes key, ml_bytes *row, ml_error *why);
/* `expires`: when ml_view_sweep takes it away; 0 = never. TOO_LARGE. */
ML_MUST_USE ml_code ml_view_put(ml_view *view, ml_bytes key, ml_bytes row, int64_t expires,
                                ml_error *why);
ML_MUST_USE ml_code ml_view_delete(ml_view *view, ml_bytes key, ml_error *why);
/* When the row of this key expires; 0 = never, or there is none. */
int64_t ml_view_expires(ml_view *view, ml_bytes key);
/* Deletes the rows that have expired by `now`. */
ML_MUST_USE ml_code ml_view_sweep(ml_view *view, int64_t now, ml_error *why);
/* Is it time to commit? */
bool ml_view_full(const ml_view *view);
/* The batch, position and note become what is read. After an error the batch is forgotten, and
 * the view is where it was. */
ML_MUST_USE ml_code ml_view_commit(ml_view *view, uint64_t position, ml_bytes note, ml_error *why);
void ml_view_abort(ml_view *view);
/* The keys that the last commit changed, in their order, one at a time: for who copies them somewhere
 * else. Kept in the view until the next commit, also over a crash. */
ML_MUST_USE ml_code ml_view_changed(ml_view *view, uint64_t *from_position,
                                    bool (*each)(void *context, ml_bytes key, ml_bytes row),
                                    void *context, ml_error *why);

/* ---- reading what is committed ------------------------------------------------------------ */

ML_MUST_USE ml_code ml_view_find(ml_view *view, ml_bytes key, ml_bytes *row, ml_error *why);

/* By key, or by an index from one value to another. */
typedef struct ml_view_range {
    int index;         /* -1 = by key */
    ml_bytes prefix;   /* of keys or index values (ml_key_prefix); empty = all */
    ml_bytes from, to; /* keys or index values, both inclusive (a key: with all its windows);
                        * empty = open */
    ml_bytes
        after_key; /* with an index: go on behind this row of the value `from`; backward, of `to` */
    bool backward; /* from `to` down to `from` */
} ml_view_range;

/* Calls `each` until it returns false. It may not commit. */
ML_MUST_USE ml_code ml_view_scan(ml_view *view, const ml_view_range *range,
                                 bool (*each)(void *context, ml_bytes key, ml_bytes row),
                                 void *context, ml_error *why);

#endif
