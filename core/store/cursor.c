/* cursor.c -- reads and subscriptions: one path from a position on.
 *
 * A cursor asks the finder for a batch of candidate positions, starts loading their records
 * while it works on the ones before, checks each event against the selection, and hands it
 * out as views into the log. A subscription is the same cursor whose end moves with the log,
 * so there is no seam between old and new.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "finder.h"

enum { BATCH = 128, AHEAD_RECORD = 8, AHEAD_OFFSET = 24 };

struct ml_cursor {
    ml_store *store;
    ml_finder *finder;
    bool backward, follow, ended;
    bool cut;                 /* ended by max_bytes */
    bool wire_only;           /* of events, no more is looked at than the selection needs */
    bool by_stream;           /* a whole stream: revisions must be dense */
    uint64_t next, to;        /* positions still to be looked at: forward [next, to] … */
    uint64_t low;             /* … backward [low, to] */
    uint64_t scanned;         /* every match up to here was given */
    uint64_t left;            /* events still wanted */
    uint64_t bytes, max_bytes;
    uint64_t revision;        /* that the next event must have; UINT64_MAX = any */
    uint64_t positions[BATCH];
    size_t count, at;
    bool scattered;           /* the batch is no simple run of positions */
    bool warned;              /* of a damaged log */
};

/* ---- beginning --------------------------------------------------------------------------------- */

static ml_code new_cursor(ml_store *store, const ml_selection *selection, ml_cursor **out)
{
    *out = NULL;
    ml_cursor *cursor = calloc(1, sizeof *cursor);
    if (cursor == NULL) return ml_error_memory(&store->why, "a read");
    ml_code code = ml_finder_new(store, selection, &cursor->finder, &store->why);
    if (code) {
        free(cursor);
        return code;
    }
    cursor->store = store;
    cursor->backward = selection->backward;
    cursor->left = selection->limit > 0 ? selection->limit : UINT64_MAX;
    cursor->max_bytes = selection->max_bytes;
    cursor->revision = UINT64_MAX;
    cursor->wire_only = selection->wire_only;
    cursor->by_stream = selection->stream.size > 0 && selection->query.count == 0;
    cursor->next = cursor->low = 1;
    cursor->to = ml_log_position(store->log);
    *out = cursor;
    return ML_OK;
}

/* Turns `from` into the range of positions: for a stream it is a revision. */
static ml_code set_range(ml_cursor *cursor, const ml_selection *selection)
{
    ml_store *store = cursor->store;
    uint64_t position = selection->from, last = cursor->to, revision;
    if (selection->stream.size > 0) {
        cursor->revision = selection->from; /* 0 unless given: the first must be there */
        ml_code code = ml_finder_last(store, selection->stream, last, &last, &revision, &store->why);
        if (code) return code;
        bool from_last = selection->backward && (!selection->has_from || selection->from > revision);
        if (from_last) cursor->revision = revision;
        if (!selection->has_from) return ML_OK;
        if (selection->from > revision) {
            cursor->ended = !selection->backward;
            return ML_OK;
        }
        code = ml_finder_revision(store, selection->stream, selection->from, last, &position, &store->why);
        if (code == ML_NOT_FOUND)
            return ml_error_set(&store->why, ML_CORRUPT,
                                "revision %" PRIu64 " of stream %.*s cannot be found, although the stream is at %" PRIu64,
                                selection->from, ML_SHOW(selection->stream), revision);
        if (code) return code;
    }
    if (!selection->has_from) return ML_OK;
    if (selection->backward) cursor->to = position < cursor->to ? position : cursor->to;
    else cursor->next = position > 0 ? position : 1;
    return ML_OK;
}

ml_code ml_cursor_read(ml_store *store, const ml_selection *selection, ml_cursor **out)
{
    ml_code code = new_cursor(store, selection, out);
    if (code) return code;
    code = set_range(*out, selection);
    if (code) {
        ml_cursor_free(*out);
        *out = NULL;
    }
    return code;
}

ml_code ml_cursor_subscribe(ml_store *store, const ml_selection *selection, uint64_t after, ml_cursor **out)
{
    *out = NULL;
    if (selection->backward || selection->has_from || selection->limit > 0 || selection->max_bytes > 0)
        return ml_error_set(&store->why, ML_BAD_REQUEST,
                            "a subscription goes on forward for ever: leave out from, limit, max_bytes and "
                            "backward");
    ml_code code = new_cursor(store, selection, out);
    if (code) return code;
    (*out)->follow = true;
    (*out)->next = after < UINT64_MAX ? after + 1 : UINT64_MAX;
    (*out)->scanned = after;
    return ML_OK;
}

void ml_cursor_free(ml_cursor *cursor)
{
    if (cursor == NULL) return;
    ml_finder_free(cursor->finder);
    free(cursor);
}

bool ml_cursor_at_end(const ml_cursor *cursor)
{
    return cursor->left > 0 && !cursor->cut;
}

uint64_t ml_cursor_position(const ml_cursor *cursor) { return cursor->scanned; }

/* ---- going on ------------------------------------------------------------------------------------- */

/* The next batch of candidates; none if the range is used up. */
static ml_code refill(ml_cursor *cursor)
{
    ml_store *store = cursor->store;
    size_t room = cursor->left < BATCH ? (size_t)cursor->left : BATCH;
    uint64_t from = cursor->backward ? cursor->low : cursor->next;
    cursor->at = 0;
    ml_code code = ml_finder_batch(cursor->finder, from, cursor->to, cursor->backward, cursor->positions,
                                   room, &cursor->count, &store->why);
    if (code) return code;
    bool last = cursor->count < room;
    if (cursor->backward) cursor->to = last ? 0 : cursor->positions[cursor->count - 1] - 1;
    else cursor->next = last ? cursor->to + 1 : cursor->positions[cursor->count - 1] + 1;
    /* Records that follow each other are fetched ahead by the processor itself. */
    cursor->scattered = cursor->count > 0 && cursor->positions[cursor->count - 1] !=
                                                 cursor->positions[0] + cursor->count - 1;
    for (size_t n = 0; cursor->scattered && n < cursor->count && n < AHEAD_OFFSET; n++)
        ml_log_prefetch(store->log, cursor->positions[n], false);
    for (size_t n = 0; cursor->scattered && n < cursor->count && n < AHEAD_RECORD; n++)
        ml_log_prefetch(store->log, cursor->positions[n], true);
    return ML_OK;
}

static ml_code take(ml_cursor *cursor, ml_event *event)
{
    ml_store *store = cursor->store;
    ml_bytes record;
    size_t at = cursor->at++;
    uint64_t position = cursor->positions[at];
    if (cursor->scattered && at + AHEAD_OFFSET < cursor->count)
        ml_log_prefetch(store->log, cursor->positions[at + AHEAD_OFFSET], false);
    if (cursor->scattered && at + AHEAD_RECORD < cursor->count)
        ml_log_prefetch(store->log, cursor->positions[at + AHEAD_RECORD], true);
    ml_code code = ml_log_get(store->log, position, &record, &store->why);
    if (!code && !(cursor->wire_only ? ml_event_decode_front : ml_event_decode)(record, event))
        code = ml_error_set(&store->why, ML_CORRUPT, "the record at position %" PRIu64 " is no event", position);
    if (!cursor->backward) cursor->scanned = position;
    return code;
}

/* A stream's revisions are dense: a step over one means that an event could not be indexed
 * because it could not be read. That is said, never passed over. */
static bool gap(ml_cursor *cursor, const ml_event *event)
{
    if (!cursor->by_stream) return false;
    uint64_t wanted = cursor->revision;
    cursor->revision = cursor->backward ? event->revision - 1 : event->revision + 1;
    if (wanted == UINT64_MAX || wanted == event->revision) return false;
    ml_error_set(&cursor->store->why, ML_CORRUPT,
                 "stream %.*s: revision %" PRIu64 " cannot be read; `moonlog verify` says why",
                 ML_SHOW(event->stream), wanted);
    return true;
}

static ml_code give(ml_cursor *cursor, ml_event *event)
{
    if (cursor->max_bytes > 0 && cursor->bytes > 0 && cursor->bytes + event->wire.size > cursor->max_bytes) {
        cursor->ended = cursor->cut = true;
        if (!cursor->backward) cursor->scanned = event->position - 1;
        return ML_END;
    }
    cursor->bytes += event->wire.size;
    cursor->left--;
    return ML_OK;
}

/* In a damaged log, events that cannot be read may not be in the index either: a selective
 * read does not end before it has said so. */
static ml_code end(ml_cursor *cursor)
{
    const char *damage = ml_log_damage(cursor->store->log);
    if (damage[0] == '\0' || cursor->warned || !ml_finder_selective(cursor->finder)) return ML_END;
    cursor->warned = true;
    return ml_error_set(&cursor->store->why, ML_CORRUPT, "events of this selection may be missing: %s", damage);
}

ml_code ml_cursor_next(ml_cursor *cursor, ml_event *event)
{
    while (!cursor->ended && cursor->left > 0) {
        if (cursor->at == cursor->count) {
            uint64_t from = cursor->backward ? cursor->low : cursor->next;
            if (from > cursor->to) break;
            ml_code code = refill(cursor);
            if (code) return code;
            if (cursor->count == 0) break;
        }
        ml_code code = take(cursor, event);
        if (code) return code;
        if (!ml_finder_matches(cursor->finder, event)) continue;
        if (gap(cursor, event)) {
            cursor->at--; /* read again when it is asked for */
            cursor->revision = event->revision;
            return ML_CORRUPT;
        }
        return give(cursor, event);
    }
    if (!cursor->backward && !cursor->ended && cursor->left > 0 && cursor->scanned < cursor->to)
        cursor->scanned = cursor->to;
    return end(cursor);
}

ml_code ml_cursor_poll(ml_cursor *cursor, ml_event *event)
{
    if (!cursor->follow)
        return ml_error_set(&cursor->store->why, ML_BAD_REQUEST, "ml_poll is for subscriptions; use ml_next");
    for (;;) {
        ml_code code = ml_cursor_next(cursor, event);
        if (code != ML_END) return code;
        /* Everything known was given: look whether there is more. */
        code = ml_store_catch_up(cursor->store);
        if (code) return code;
        uint64_t position = ml_log_position(cursor->store->log);
        if (position <= cursor->to) return ML_END;
        cursor->to = position;
    }
}

ml_store *ml_cursor_store(const ml_cursor *cursor) { return cursor->store; }
