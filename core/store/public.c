/* public.c -- the embedding API: every call of moonlog.h, on top of the store.
 *
 * What each call adds to the room below is the handle's sentence.
 */
#include "../moonlog.h"

#include <stdio.h>
#include <stdlib.h>

#include "inside.h"

/* Notes the code of a call that failed; the room below has written the sentence. */
static ml_code noted(ml_store *store, ml_code code)
{
    if (code && code != ML_END) store->why.code = code;
    return code;
}

/* In a damaged log, what was not found may be what cannot be read, and a head may be behind. */
static ml_code doubted(ml_store *store, ml_code code)
{
    const char *damage = ml_log_damage(store->log);
    if (damage[0] == '\0' || (code != ML_OK && code != ML_NOT_FOUND)) return code;
    return ml_error_set(&store->why, ML_CORRUPT, "what was asked for may be among what cannot be read: %.700s", damage);
}

static ml_code need_open(ml_store *store)
{
    if (store->log != NULL && store->index != NULL) return ML_OK;
    return store->why.code ? store->why.code : ML_STORE_FAILED;
}

/* ---- life ------------------------------------------------------------------------------- */

ml_code ml_open(ml_store **store, const char *dir, const ml_options *options)
{
    ml_disk *disk = NULL;
    ml_error why = {0};
    bool create = options == NULL || (!options->read_only && !options->must_exist);
    ml_code code = ml_disk_real_new(dir, create, &disk, &why);
    if (!code) {
        code = ml_store_open(store, disk, options);
        return *store == NULL ? code : noted(*store, code);
    }
    *store = calloc(1, sizeof **store);
    if (*store == NULL) return ML_NO_MEMORY;
    (*store)->lock_file = -1;
    (*store)->failed = true;
    (*store)->why = why;
    return code;
}

ml_code ml_close(ml_store *store)
{
    return store == NULL ? ML_OK : ml_store_close(store);
}

const char *ml_why(const ml_store *store)
{
    if (store == NULL) return "NO_MEMORY: out of memory for a store";
    ml_store *own = (ml_store *)(uintptr_t)store; /* the text is made when it is asked for */
    snprintf(own->why_text, sizeof own->why_text, "%s: %s", ml_error_name(store->why.code),
             store->why.sentence);
    return store->why_text;
}

const char *ml_code_name(ml_code code) { return ml_error_name(code); }

/* ---- appending ---------------------------------------------------------------------------- */

ml_code ml_append(ml_store *store, const ml_proposal *proposal, ml_receipt *receipt)
{
    ml_code code = need_open(store);
    return code ? code : noted(store, ml_commit_append(store, proposal, receipt));
}

ml_code ml_submit(ml_store *store, const ml_proposal *proposal, ml_settled *settled, void *context)
{
    ml_code code = need_open(store);
    return code ? code : noted(store, ml_commit_submit(store, proposal, settled, context));
}

ml_code ml_settle(ml_store *store, bool wait)
{
    ml_code code = need_open(store);
    return code ? code : noted(store, ml_commit_settle(store, wait));
}

ml_code ml_flush(ml_store *store, ml_durability level)
{
    ml_code code = need_open(store);
    return code ? code : noted(store, ml_commit_flush(store, level));
}

ml_code ml_store_rest(ml_store *store)
{
    ml_code code = need_open(store);
    return code ? code : noted(store, ml_commit_rest(store));
}

/* ---- reading --------------------------------------------------------------------------------- */

ml_code ml_read(ml_store *store, const ml_selection *selection, ml_cursor **cursor)
{
    *cursor = NULL;
    ml_code code = need_open(store);
    if (code) return code;
    code = ml_store_catch_up(store);
    if (!code) code = ml_cursor_read(store, selection, cursor);
    return noted(store, code == ML_NOT_FOUND ? doubted(store, code) : code);
}

ml_code ml_next(ml_cursor *cursor, ml_event *event)
{
    return noted(ml_cursor_store(cursor), ml_cursor_next(cursor, event));
}

ml_code ml_subscribe(ml_store *store, const ml_selection *selection, uint64_t after, ml_cursor **cursor)
{
    *cursor = NULL;
    ml_code code = need_open(store);
    return noted(store, code ? code : ml_cursor_subscribe(store, selection, after, cursor));
}

ml_code ml_poll(ml_cursor *cursor, ml_event *event)
{
    return noted(ml_cursor_store(cursor), ml_cursor_poll(cursor, event));
}

ml_code ml_get_head(ml_store *store, ml_bytes stream, ml_head *head)
{
    *head = (ml_head){0};
    ml_code code = need_open(store);
    if (code) return code;
    code = ml_store_catch_up(store);
    if (!code) code = ml_streams_head(store, stream, head);
    return noted(store, stream.size > 0 ? doubted(store, code) : code);
}

ml_code ml_streams(ml_store *store, ml_bytes category, ml_bytes prefix, uint64_t after,
                   bool (*each)(void *context, const ml_stream_info *info), void *context)
{
    ml_code code = need_open(store);
    if (code) return code;
    code = ml_store_catch_up(store);
    if (!code) code = ml_streams_list(store, category, prefix, after, each, context);
    return noted(store, doubted(store, code));
}

ml_code ml_get_stats(ml_store *store, ml_stats *stats)
{
    *stats = (ml_stats){0};
    ml_code code = need_open(store);
    if (!code) code = ml_store_catch_up(store);
    if (code) return noted(store, code);
    ml_log_state log;
    ml_index_state index;
    ml_log_get_state(store->log, &log);
    ml_index_get_state(store->index, &index);
    *stats = (ml_stats){.position = log.position,
                        .durable = log.durable,
                        .segments = log.segments,
                        .log_bytes = log.log_bytes,
                        .used_bytes = log.used_bytes,
                        .index_bytes = index.bytes,
                        .index_runs = index.runs,
                        .memory_events = index.memory_events,
                        .memory_bytes = index.memory_bytes,
                        .torn_bytes = log.torn_bytes,
                        .read_only = store->options.read_only || log.damaged,
                        .damaged = log.damaged};
    return ML_OK;
}

/* ---- checking ------------------------------------------------------------------------------------ */

ml_code ml_verify(const char *dir, bool deep, void (*report)(void *context, const char *sentence),
                  void *context, ml_verified *verified, char *why, size_t why_size)
{
    ml_disk *disk = NULL;
    ml_error error = {0};
    *verified = (ml_verified){0};
    ml_code code = ml_disk_real_new(dir, false, &disk, &error);
    if (!code) code = ml_verify_disk(disk, deep, report, context, verified, &error);
    if (!code && verified->segments == 0)
        code = ml_error_set(&error, ML_NOT_A_STORE, "%s holds no moonlog store", dir);
    ml_disk_free(disk);
    if (why_size > 0) why[0] = '\0';
    if (code && verified->problems == 0 && why_size > 0)
        snprintf(why, why_size, "%s: %s", ml_error_name(code), error.sentence);
    return code;
}
