/* commit.c -- groups: filled by admission, written by one thread, settled by the owner.
 *
 *     filling ──swap──▶ flying ──written──▶ settled: shown, answered, emptied
 *        ▲                                     │
 *        └────────── the other batch ──────────┘
 *
 * Two batches take turns, so that one fills while the other is being synced. On a full disk
 * both are given up: what was staged on top of a group that was not written never happened.
 */
#include <stdio.h>
#include <stdlib.h>

#include "inside.h"

/* ---- answering --------------------------------------------------------------------------- */

static void answer(ml_store *store, ml_batch *batch, ml_code code, const ml_error *why)
{
    char text[ML_SENTENCE_MAX + 64] = "";
    store->answering = true;
    if (code) snprintf(text, sizeof text, "%s: %s", ml_error_name(code), why->sentence);
    for (size_t n = 0; n < batch->count; n++) {
        ml_entry *entry = &batch->entries[n];
        entry->receipt.revisions = batch->revisions + entry->revisions;
        if (entry->settled != NULL)
            entry->settled(entry->context, code, code ? NULL : &entry->receipt, code ? text : NULL);
    }
    store->answering = false;
    batch->count = 0;
}

/* A callback may submit what comes next; waiting in it for the disk would wait for itself. */
static ml_code refuse_answering(const ml_store *store, ml_error *why)
{
    if (!store->answering) return ML_OK;
    return ml_error_set(why, ML_BAD_REQUEST,
                        "ml_append, ml_settle and ml_flush may not be called from a callback of ml_settle; "
                        "ml_submit may");
}

/* The records may go; revisions stay, because the last receipt points at them. */
static void empty(ml_batch *batch)
{
    ml_group_cut(&batch->group, 0);
    batch->count = 0;
    batch->revision_count = 0;
    batch->sync = batch->rest = false;
}

void ml_commit_free(ml_batch *batch)
{
    ml_group_free(&batch->group);
    free(batch->entries);
    free(batch->revisions);
    *batch = (ml_batch){0};
}

/* ---- settling ------------------------------------------------------------------------------- */

static ml_code show(ml_store *store, ml_batch *batch, ml_error *why)
{
    if (batch->group.count > 0) {
        ml_code code = ml_log_settle(store->log, &batch->group, why);
        if (code) return code;
    } else if (batch->sync) {
        ml_log_settle_sync(store->log, batch->group.durable);
    }
    ml_worker_poll(store->log_worker);
    ml_worker_poll(store->index_worker);
    /* The events are there: what the index lacks is fed before it is next asked (store.c). */
    if (ml_index_tend(store->index, ml_log_position(store->log), NULL) == ML_CORRUPT)
        ML_IGNORE(ml_store_repair_index(store, NULL));
    return ML_OK;
}

/* Everything staged is taken back, newest first. */
static ml_code give_up(ml_store *store, ml_batch *flying)
{
    uint64_t settled = ml_log_position(store->log);
    ml_admit_retract(store, &store->filling->group, 0);
    ml_admit_retract(store, &flying->group, 0);
    ml_index_uncover(store->index, settled);
    return ml_store_forget_staged(store);
}

/* Nothing was written: a full disk, or no descriptor for the next segment. */
static ml_code settle_unwritten(ml_store *store, ml_batch *flying)
{
    ml_error why = flying->why;
    ml_code code = flying->code, lost = give_up(store, flying);
    if (lost) {
        store->failed = true;
        why = store->why;
        code = ML_STORE_FAILED;
    }
    /* Answers may submit again: the filling batch is emptied before anyone is told. */
    ml_batch waiting = *store->filling;
    *store->filling = (ml_batch){0};
    answer(store, flying, code, &why);
    answer(store, &waiting, code, &why);
    ml_commit_free(&waiting);
    store->why = why;
    return code;
}

/* A running mean, so that one hiccup of the disk is felt for a few groups. */
static void note_pace(ml_store *store, const ml_batch *batch)
{
    enum { A_SECOND = 1000000, WEIGHT = 8 };
    int64_t took = batch->took < A_SECOND ? batch->took : A_SECOND, *mean = &store->took[batch->sync];
    if (took >= 0) *mean += (took - *mean) / WEIGHT; /* not if the clock was set back */
}

static ml_code settle(ml_store *store, ml_batch *flying)
{
    store->lazy = false;
    note_pace(store, flying);
    ml_code code = flying->code;
    if (!code) {
        code = show(store, flying, &flying->why);
        /* Written, but it cannot be shown any more: only reopening tells. */
        if (code) code = ML_STORE_FAILED;
    }
    if (code && code != ML_STORE_FAILED) {
        code = settle_unwritten(store, flying);
    } else {
        if (code) {
            store->failed = true;
            store->why = flying->why;
        }
        answer(store, flying, code, &flying->why);
        if (code) {
            /* Admitted on top of what may not be there: never written. */
            answer(store, store->filling, code, &flying->why);
            empty(store->filling);
        }
    }
    empty(flying);
    store->flying = NULL;
    return code;
}

/* ---- writing ----------------------------------------------------------------------------------- */

/* On the flusher's thread, or the owner's. */
static void write_batch(ml_store *store, ml_batch *batch)
{
    int64_t began = store->disk->ops->now(store->disk);
    batch->group.sync = batch->sync;
    if (batch->group.count > 0) batch->code = ml_log_write(store->log, &batch->group, &batch->why);
    else if (batch->sync) batch->code = ml_log_sync(store->log, &batch->group.durable, &batch->why);
    else batch->code = ML_OK;
    /* A WATERMARK that could not be synced is an older one: still true. */
    if (batch->rest && batch->code == ML_OK) ML_IGNORE(ml_log_rest(store->log, NULL));
    batch->took = store->disk->ops->now(store->disk) - began;
}

static bool something_staged(const ml_store *store)
{
    return store->filling->group.count > 0 || store->filling->count > 0;
}

static ml_batch *take_off(ml_store *store)
{
    store->flying = store->filling;
    store->filling = store->flying == &store->batches[0] ? &store->batches[1] : &store->batches[0];
    return store->flying;
}

ml_code ml_commit_now(ml_store *store, bool sync, ml_error *why)
{
    ML_ASSERT(store->flying == NULL);
    if (!something_staged(store)) return ML_OK;
    ml_batch *batch = take_off(store);
    batch->sync = batch->sync || sync;
    write_batch(store, batch);
    ml_code code = settle(store, batch);
    if (code && why != &store->why) *why = store->why;
    return code;
}

/* ---- the second thread ---------------------------------------------------------------------------- */

static void *flush(void *context)
{
    ml_store *store = context;
    ml_flusher *flusher = &store->flusher;
    pthread_mutex_lock(&flusher->lock);
    while (flusher->state != ML_FLUSHER_STOP) {
        if (flusher->state != ML_FLUSHER_ASKED) {
            pthread_cond_wait(&flusher->changed, &flusher->lock);
            continue;
        }
        ml_batch *batch = store->flying;
        pthread_mutex_unlock(&flusher->lock);
        write_batch(store, batch);
        pthread_mutex_lock(&flusher->lock);
        if (flusher->state == ML_FLUSHER_ASKED) flusher->state = ML_FLUSHER_DONE;
        pthread_cond_broadcast(&flusher->changed);
        if (store->options.notify == NULL) continue;
        pthread_mutex_unlock(&flusher->lock);
        store->options.notify(store->options.notify_context);
        pthread_mutex_lock(&flusher->lock);
    }
    pthread_mutex_unlock(&flusher->lock);
    return NULL;
}

ml_code ml_commit_start(ml_store *store, ml_error *why)
{
    pthread_mutex_init(&store->flusher.lock, NULL);
    if (pthread_cond_init(&store->flusher.changed, NULL) != 0) return ml_error_memory(why, "a thread");
    return ML_OK;
}

void ml_commit_stop(ml_store *store)
{
    ml_flusher *flusher = &store->flusher;
    if (!flusher->started) return;
    pthread_mutex_lock(&flusher->lock);
    flusher->state = ML_FLUSHER_STOP;
    pthread_cond_broadcast(&flusher->changed);
    pthread_mutex_unlock(&flusher->lock);
    pthread_join(flusher->thread, NULL);
    flusher->started = false;
}

/* Will the filling batch be written in less time than a hand-over is worth, as those before it
 * were? */
static bool is_quick(const ml_store *store)
{
    return store->took[store->filling->sync] < (int64_t)store->options.inline_us;
}

/* Hands the filling batch to the flusher; without threads it is written here and now. */
static ml_code launch(ml_store *store)
{
    ml_flusher *flusher = &store->flusher;
    if (is_quick(store)) return ml_commit_now(store, false, &store->why);
    if (!flusher->started && !store->options.no_threads)
        flusher->started = pthread_create(&flusher->thread, NULL, flush, store) == 0;
    if (!flusher->started) return ml_commit_now(store, false, &store->why);
    pthread_mutex_lock(&flusher->lock);
    take_off(store);
    flusher->state = ML_FLUSHER_ASKED;
    pthread_cond_broadcast(&flusher->changed);
    pthread_mutex_unlock(&flusher->lock);
    return ML_OK;
}

/* True if the flying batch has been written. */
static bool landed(ml_store *store, bool wait)
{
    ml_flusher *flusher = &store->flusher;
    pthread_mutex_lock(&flusher->lock);
    while (wait && flusher->state == ML_FLUSHER_ASKED) pthread_cond_wait(&flusher->changed, &flusher->lock);
    bool done = flusher->state == ML_FLUSHER_DONE;
    if (done) flusher->state = ML_FLUSHER_IDLE;
    pthread_mutex_unlock(&flusher->lock);
    return done;
}

/* ---- the public calls ---------------------------------------------------------------------------------- */

ml_code ml_commit_settle(ml_store *store, bool wait)
{
    ml_code worst = refuse_answering(store, &store->why);
    if (worst) return worst;
    do {
        ml_code code = ML_OK;
        if (store->flying != NULL && landed(store, wait)) code = settle(store, store->flying);
        if (code) worst = code;
        if (store->flying == NULL && something_staged(store)) code = launch(store);
        if (code) worst = code;
    } while (wait && (store->flying != NULL || something_staged(store)));
    return worst;
}

ml_code ml_commit_all(ml_store *store, bool sync, ml_error *why)
{
    ml_code code = store->flying != NULL ? ml_commit_settle(store, true) : ML_OK;
    if (!code) code = ml_commit_now(store, sync, why);
    return code;
}

static ml_code add_entry(ml_batch *batch, const ml_entry *entry, ml_error *why)
{
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity > 0 ? batch->capacity * 2 : 16;
        ml_entry *entries = realloc(batch->entries, capacity * sizeof *entries);
        if (entries == NULL) return ml_error_memory(why, "an append");
        batch->entries = entries;
        batch->capacity = capacity;
    }
    batch->entries[batch->count++] = *entry;
    return ML_OK;
}

ml_code ml_commit_submit(ml_store *store, const ml_proposal *proposal, ml_settled *settled, void *context)
{
    ml_entry entry = {.settled = settled, .context = context};
    /* Room first: what has been admitted must be answered. */
    ml_code code = add_entry(store->filling, &entry, &store->why);
    if (code) return code;
    store->filling->count--;
    code = ml_admit(store, proposal, &entry, &store->why);
    return code ? code : add_entry(store->filling, &entry, &store->why);
}

ml_code ml_commit_append(ml_store *store, const ml_proposal *proposal, ml_receipt *receipt)
{
    ml_entry entry = {0};
    ml_code code = refuse_answering(store, &store->why);
    if (code) return code;
    if (store->flying != NULL) {
        ml_code settled = ml_commit_settle(store, true);
        if (settled) return settled;
    }
    ml_batch *batch = store->filling;
    code = ml_admit(store, proposal, &entry, &store->why);
    if (code == ML_LIMIT) {
        code = ml_commit_now(store, false, &store->why);
        batch = store->filling;
        if (!code) code = ml_admit(store, proposal, &entry, &store->why);
    }
    if (code) return code;
    entry.receipt.revisions = batch->revisions + entry.revisions;
    if (receipt != NULL) *receipt = entry.receipt;
    if (entry.receipt.duplicate) {
        /* As durable as asked for now, whatever the first append asked for. */
        if (!something_staged(store)) empty(batch);
        return ml_commit_flush(store, proposal->durability);
    }
    if (proposal->durability == ML_MEMORY && ml_group_size(&batch->group) < ML_LAZY_BYTES) {
        store->lazy = true;
        return ML_OK;
    }
    return ml_commit_now(store, proposal->durability == ML_DISK, &store->why);
}

ml_code ml_commit_flush(ml_store *store, ml_durability level)
{
    if (level == ML_MEMORY || store->options.read_only) return ML_OK;
    ml_code code = refuse_answering(store, &store->why);
    if (!code) code = ml_commit_all(store, level == ML_DISK, &store->why);
    if (code || level == ML_OS) return code;
    uint64_t durable = ml_log_durable(store->log);
    if (durable == ml_log_position(store->log)) return ml_log_rest(store->log, &store->why);
    code = ml_log_sync(store->log, &durable, &store->why);
    if (code) store->failed = true;
    else ml_log_settle_sync(store->log, durable);
    return code;
}

ml_code ml_commit_rest(ml_store *store)
{
    ml_entry nobody = {0};
    bool idle = store->flying == NULL && !something_staged(store);
    if (store->options.read_only || !idle || ml_log_rests(store->log)) return ML_OK;
    ml_code code = add_entry(store->filling, &nobody, &store->why);
    if (!code) store->filling->sync = store->filling->rest = true;
    return code;
}
