/* inside.h -- what the files of the store room share. Private to core/store.
 *
 *   store.c   open, close, feed the index, find a record wherever it is
 *   admit.c   proposal -> positions or a refusal            repeat.c  … sent before
 *   commit.c  groups: flush, settle
 *   finder.c  selection -> positions                        cursor.c  positions -> events
 *   streams.c heads and listing                             verify.c  files -> problems
 */
#ifndef ML_STORE_INSIDE_H
#define ML_STORE_INSIDE_H

#include <pthread.h>

#include "../base/limits.h"
#include "../index/index.h"
#include "../log/log.h"
#include "event.h"
#include "heads.h"
#include "key.h"
#include "store.h"
#include "window.h"

/* A proposal that was admitted into a group and waits to be settled. */
typedef struct ml_entry {
    ml_receipt receipt;
    size_t revisions; /* index of its first revision in the batch's list */
    ml_settled *settled;
    void *context;
} ml_entry;

/* A group with the proposals in it. */
typedef struct ml_batch {
    ml_group group;
    ml_entry *entries;
    size_t count, capacity;
    uint64_t *revisions;
    size_t revision_count, revision_capacity;
    bool sync;     /* one of the proposals wants the disk */
    bool rest;     /* the WATERMARK is to be synced, too */
    int64_t took;  /* µs that the write took */
    ml_code code;  /* what the write gave */
    ml_error why;
} ml_batch;

typedef enum ml_flusher_state { ML_FLUSHER_IDLE, ML_FLUSHER_ASKED, ML_FLUSHER_DONE, ML_FLUSHER_STOP } ml_flusher_state;

/* The second thread, started by the first ml_settle that has something to write. */
typedef struct ml_flusher {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards `state`; the flying batch goes with it */
    pthread_cond_t changed;
    ml_flusher_state state;
} ml_flusher;

struct ml_store {
    ml_disk *disk;
    ml_options options;
    int lock_file;
    ml_worker *log_worker, *index_worker; /* apart: a merge must not delay the next segment */
    ml_log *log;
    ml_index *index;
    uint64_t seed; /* of keys */
    ml_error why;
    char why_text[ML_SENTENCE_MAX + 64];

    /* Admission: the log so far, staged events included. */
    uint64_t next; /* position of the next event */
    int64_t time;  /* of the last one */
    ml_heads heads;
    ml_window window;
    uint8_t dice[4096]; /* random bytes for ids, used from the end */
    size_t dice_left;
    bool failed; /* STORE_FAILED: nothing more is admitted */

    ml_batch batches[2];
    ml_batch *filling, *flying; /* flying == NULL: nothing is being written */
    int64_t took[2];            /* µs that writing a group took of late: without and with a sync */
    bool answering;             /* callbacks are being called */
    bool lazy;                  /* `filling` holds ML_MEMORY events nobody waits for */
    ml_flusher flusher;
};

/* store.c */
/* The record at a position, staged ones included. */
ML_MUST_USE ml_code ml_store_record(ml_store *store, uint64_t position, ml_bytes *record, ml_error *why);
/* Feeds the index with what it has not: everything below store->next, staged events too. An
 * attempt can fail (a descriptor, memory); what is asked of the index is complete only when
 * this is done, so it is asked for first: ml_store_complete. */
ML_MUST_USE ml_code ml_store_feed(ml_store *store, ml_error *why);
static inline ml_code ml_store_complete(ml_store *store, ml_error *why)
{
    return ml_index_covered(store->index) + 1 == store->next ? ML_OK : ml_store_feed(store, why);
}
/* After postings were found damaged: drops the run and all behind it, and feeds again. */
ML_MUST_USE ml_code ml_store_repair_index(ml_store *store, ml_error *why);
/* Goes back to what is settled, after staged events were given up. */
ML_MUST_USE ml_code ml_store_forget_staged(ml_store *store);
/* Before a read: writes what is lazy, follows a writer elsewhere. */
ML_MUST_USE ml_code ml_store_catch_up(ml_store *store);

/* admit.c */
ML_MUST_USE ml_code ml_admit(ml_store *store, const ml_proposal *proposal, ml_entry *entry, ml_error *why);

/* Takes back the keys of the records of a staged group behind the first `keep`, and the records. */
void ml_admit_retract(ml_store *store, ml_group *group, uint32_t keep);

/* cursor.c */
ML_MUST_USE ml_code ml_cursor_read(ml_store *store, const ml_selection *selection, ml_cursor **cursor);
ML_MUST_USE ml_code ml_cursor_subscribe(ml_store *store, const ml_selection *selection, uint64_t after,
                                        ml_cursor **cursor);
ML_MUST_USE ml_code ml_cursor_next(ml_cursor *cursor, ml_event *event);
ML_MUST_USE ml_code ml_cursor_poll(ml_cursor *cursor, ml_event *event);
ml_store *ml_cursor_store(const ml_cursor *cursor);

/* streams.c */
ML_MUST_USE ml_code ml_streams_head(ml_store *store, ml_bytes stream, ml_head *head);
ML_MUST_USE ml_code ml_streams_list(ml_store *store, ml_bytes category, ml_bytes prefix, uint64_t after,
                                    bool (*each)(void *context, const ml_stream_info *info), void *context);

/* commit.c */
ML_MUST_USE ml_code ml_commit_start(ml_store *store, ml_error *why);
void ml_commit_stop(ml_store *store);
void ml_commit_free(ml_batch *batch);
/* Writes and settles everything staged, on this thread. */
ML_MUST_USE ml_code ml_commit_now(ml_store *store, bool sync, ml_error *why);
/* Waits for the flusher, then ml_commit_now if anything is staged. */
ML_MUST_USE ml_code ml_commit_all(ml_store *store, bool sync, ml_error *why);
/* What is public, for public.c. */
ML_MUST_USE ml_code ml_commit_append(ml_store *store, const ml_proposal *proposal, ml_receipt *receipt);
ML_MUST_USE ml_code ml_commit_submit(ml_store *store, const ml_proposal *proposal, ml_settled *settled,
                                     void *context);
ML_MUST_USE ml_code ml_commit_settle(ml_store *store, bool wait);
ML_MUST_USE ml_code ml_commit_flush(ml_store *store, ml_durability level);
ML_MUST_USE ml_code ml_commit_rest(ml_store *store);

#endif
