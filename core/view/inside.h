/* inside.h -- what the files of this room share.
 *
 *     view.c          life: opening, closing, BOOT; LMDB's words in ours
 *     view_check.c    reads a file whole before LMDB, which trusts it, sees it
 *     view_copy.c     copying and discarding
 *     view_batch.c    rows that were read or changed since the last commit
 *     view_commit.c   from there to LMDB
 *     view_entry.c    index entries and expiries
 *     view_record.c   bytes of rows and of the record; checksums and digests
 *     view_scan.c     reading what is committed
 *     view_sort.c     many short byte strings in order
 *
 * data.mdb has these databases:
 *
 *     (unnamed)   "moonlog": the record (view_record.c)
 *     rows        key -> crc32c, expiry, row (view_record.c)
 *     entries     00, expiry, key -> nothing; 01 + n, value in index n, key -> nothing
 *     changed     n -> keys that the last commit changed, each with its size in front
 *
 * Floor    view, private.
 */
#ifndef ML_VIEW_INSIDE_H
#define ML_VIEW_INSIDE_H

#include <lmdb.h>

#include "../base/disk.h"
#include "field.h"
#include "view.h"

enum {
    ML_VIEW_CHUNK_BYTES = 1 << 20,
    ML_VIEW_CLEAN_BYTES = 8 << 20, /* of rows that are kept over a commit, for they may be hot */
    ML_VIEW_ENTRY_BYTES = 1 + ML_KEY_INDEX_BYTES + ML_KEY_BYTES_MAX,
    ML_VIEW_LIST_BYTES = 2000, /* of keys in `changed`: two lists fill a page of LMDB */
    ML_VIEW_VALUE_EXTRA = 4 + ML_VARINT_MAX /* of a row's value: what is no row */
};
_Static_assert(ML_VIEW_ENTRY_BYTES <= 511, "LMDB's keys");

/* ---- bytes ------------------------------------------------------------------------------ */

typedef struct ml_view_record {
    uint64_t position, previous; /* of the last commit, and of the one before */
    uint64_t rows, entries, commits;
    uint64_t txn;       /* LMDB's number of the transaction that wrote this */
    uint64_t digest[2]; /* low, high */
    uint32_t changed;   /* crc32c of the lists in `changed` */
    ml_bytes about;     /* identity and paths, as ml_view_record_about packs them */
    ml_bytes note;
} ml_view_record;

#define ML_VIEW_RECORD_KEY ML_STR("moonlog")

/* The identity and the paths of indexes, packed. */
void ml_view_record_about(const ml_view_about *about, ml_buf *packed);
/* Where these paths are in it; gives their count. */
size_t ml_view_record_paths(ml_bytes packed, ml_bytes paths[ML_VIEW_INDEXES_MAX]);
void ml_view_record_write(const ml_view_record *record, ml_buf *out);
/* UNSUPPORTED: a newer format. CORRUPT. Borrowed from `bytes`. */
ML_MUST_USE ml_code ml_view_record_read(ml_bytes bytes, ml_view_record *record, ml_error *why);

/* Sets `out` to what stands under the key. */
void ml_view_row_write(ml_bytes key, ml_bytes row, int64_t expires, ml_buf *out);
/* False: the checksum, or something else, is wrong. */
ML_MUST_USE bool ml_view_row_read(ml_bytes key, ml_bytes value, ml_bytes *row, int64_t *expires);
uint32_t ml_view_row_hash(ml_bytes key);
/* Adds the row to a digest, or takes it away. False: no memory in `scratch`. */
ML_MUST_USE bool ml_view_row_digest(ml_bytes key, ml_bytes row, bool add, uint64_t digest[2],
                                    ml_buf *scratch);

/* ---- entries ---------------------------------------------------------------------------- */

typedef struct ml_view_entry {
    size_t size;
    uint8_t bytes[ML_VIEW_ENTRY_BYTES + 5];
} ml_view_entry;

/* What stands in front of the keys of an index, -1 = of expiries. */
uint8_t ml_view_entry_lead(int index);
/* False: the row has none in this index; `paths` are those of all. */
ML_MUST_USE bool ml_view_entry_make(const ml_bytes *paths, int index, ml_bytes key, ml_bytes row,
                                    int64_t expires, ml_view_entry *entry);
/* The row's key in it; empty if it is not well formed. */
ml_bytes ml_view_entry_key(ml_bytes entry);
/* Of an entry of index -1. */
int64_t ml_view_entry_expires(ml_bytes entry);

/* ---- sorting ---------------------------------------------------------------------------- */

typedef struct ml_view_item {
    uint64_t prefix; /* ml_view_sort's own */
    const uint8_t *bytes;
    uint32_t size, tag;
} ml_view_item;

/* As memcmp does, a beginning before the whole. False: no memory. */
ML_MUST_USE bool ml_view_sort(ml_view_item *items, size_t count);

/* ---- the batch -------------------------------------------------------------------------- */

typedef struct ml_view_slot {
    uint32_t hash, number; /* of a row, from 1; 0 = free */
} ml_view_slot;

typedef struct ml_view_row {
    uint8_t *key; /* behind it the row, and room for a longer one */
    uint32_t row_size, room;
    int64_t expires;
    uint16_t key_size;
    bool present, changed; /* is there one; is it as it is committed */
} ml_view_row;

typedef struct ml_view_chunk ml_view_chunk;

typedef struct ml_view_batch {
    ml_view_slot *slots;
    size_t slot_count; /* a power of two */
    ml_view_row *rows;
    uint32_t *changed; /* numbers of rows */
    size_t used, capacity, changes;
    ml_view_chunk *chunks; /* the one in use first */
    size_t bytes;
} ml_view_batch;

void ml_view_batch_clear(ml_view_batch *batch);
void ml_view_batch_free(ml_view_batch *batch);
/* After a commit: nothing is changed any more, and if it is not too much it stays for reading. */
void ml_view_batch_settle(ml_view_batch *batch);

/* ---- the view --------------------------------------------------------------------------- */

struct ml_view {
    char *dir;
    ml_disk *disk;
    int lock; /* of the file LOCK; -1 */
    char boot[ML_VIEW_BOOT];
    bool booted; /* BOOT is there, and says this boot */
    MDB_env *env;
    MDB_txn *read; /* of the last commit */
    MDB_dbi main, rows, entries, changed;
    ml_buf about;
    ml_bytes paths[ML_VIEW_INDEXES_MAX];
    size_t path_count;
    ml_view_record record; /* its about and note are those here */
    ml_buf note;
    ml_view_batch batch;
    ml_buf scratch;
};

static inline MDB_val ml_view_val(ml_bytes bytes)
{
    return (MDB_val){bytes.size, (void *)(uintptr_t)bytes.data};
}
static inline ml_bytes ml_view_bytes(MDB_val val)
{
    return (ml_bytes){val.mv_data, val.mv_size};
}

/* What LMDB says, as a code and a sentence; `doing` as in "cannot write". */
ml_code ml_view_refuse(const char *dir, int result, const char *doing, ml_error *why);
/* CORRUPT, and that it is to be discarded. */
ml_code ml_view_corrupt(const char *dir, ml_error *why, const char *format, ...) ML_FORMAT(3, 4);
ML_MUST_USE ml_code ml_view_env_open(const char *dir, unsigned flags, MDB_env **env, ml_error *why);
/* BOOT stands before the first commit that is not synced. */
ML_MUST_USE ml_code ml_view_mark_boot(ml_disk *disk, const char *boot, ml_error *why);
/* `*there`: BOOT is, and says `boot`. CORRUPT: it says another. */
ML_MUST_USE ml_code ml_view_check_boot(ml_disk *disk, const char *boot, bool *there, ml_error *why);
/* Puts the record into the transaction; its note and about too. */
ML_MUST_USE ml_code ml_view_put_record(ml_view *view, MDB_txn *txn, const ml_view_record *record,
                                       ml_error *why);
/* The row as LMDB has it in this transaction; empty if there is none. */
ML_MUST_USE ml_code ml_view_read_row(ml_view *view, ml_bytes key, ml_bytes *row, int64_t *expires,
                                     ml_error *why);

/* As ml_view_open; with `about` NULL whatever it was made with will do. */
ML_MUST_USE ml_code ml_view_load(const char *dir, const char *boot, const ml_view_about *about,
                                 ml_view **view, ml_error *why);
/* Closes it without a sync, so that BOOT stays. NULL is allowed. */
void ml_view_unload(ml_view *view);

/* Removes the table that follows a view (sql.h). */
ML_MUST_USE ml_code ml_view_remove_table(ml_disk *disk, ml_error *why);

/* Reads the file whole: its tree, and what the rows and the record say of each other. */
ML_MUST_USE ml_code ml_view_check(ml_disk *disk, ml_error *why);

#endif
