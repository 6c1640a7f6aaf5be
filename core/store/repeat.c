/* repeat.c -- an append that was sent before.
 *
 * Who lost the answer to an append sends it again with the same event ids. It is found by
 * the first id in the window; or, when a stream is no longer where the append expects it,
 * at the revision behind the expected one, however long ago that was. It is a repeat if all
 * events there have the ids and streams of the proposal.
 */
#include "repeat.h"

#include <inttypes.h>

#include "../base/text.h"
#include "finder.h"

/* Walks the events of a proposal in order. */
typedef struct walk {
    const ml_proposal *proposal;
    size_t write, event;
} walk;

static const ml_draft *walk_next(walk *w, ml_bytes *stream)
{
    if (w->write == w->proposal->count) return NULL;
    const ml_write *write = &w->proposal->writes[w->write];
    *stream = write->stream;
    const ml_draft *draft = &write->events[w->event];
    if (++w->event == write->count) {
        w->event = 0;
        w->write++;
    }
    return draft;
}

static ml_code same_id_twice(const uint8_t *id, ml_error *why)
{
    char text[ML_UUID_TEXT + 1];
    ml_uuid_write(text, id);
    return ml_error_set(why, ML_BAD_REQUEST, "the event id %s is there twice; each event needs its own", text);
}

/* A hash table of 2 × 1,024 places on the stack. */
ml_code ml_repeat_check_ids(const ml_proposal *proposal, size_t *with_id, ml_error *why)
{
    enum { PLACES = 2 * ML_APPEND_EVENTS_MAX };
    const uint8_t *places[PLACES];
    bool begun = false;
    walk w = {.proposal = proposal};
    ml_bytes stream;
    *with_id = 0;
    for (const ml_draft *draft; (draft = walk_next(&w, &stream)) != NULL;) {
        if (draft->id == NULL) continue;
        if (!begun) memset(places, 0, sizeof places);
        begun = true;
        ++*with_id;
        size_t at = (size_t)ml_window_hash(draft->id) % PLACES;
        for (; places[at] != NULL; at = (at + 1) % PLACES)
            if (memcmp(places[at], draft->id, ML_ID_SIZE) == 0) return same_id_twice(draft->id, why);
        places[at] = draft->id;
    }
    return ML_OK;
}

/* True if the events at `first` and on are those of the proposal: same ids, same streams. */
static ml_code is_repeat(ml_store *store, const ml_proposal *proposal, uint64_t first, bool *repeat,
                         ml_error *why)
{
    walk w = {.proposal = proposal};
    ml_bytes stream, record;
    ml_event event;
    *repeat = false;
    for (const ml_draft *draft; (draft = walk_next(&w, &stream)) != NULL; first++) {
        if (draft->id == NULL || first >= store->next) return ML_OK;
        ml_code code = ml_store_record(store, first, &record, why);
        if (code) return code;
        if (!ml_event_decode(record, &event)) return ML_OK;
        if (memcmp(event.id, draft->id, ML_ID_SIZE) != 0 || !ml_bytes_equal(event.stream, stream)) return ML_OK;
    }
    *repeat = true;
    return ML_OK;
}

/* Where a retry of any age finds the first: the event behind an expected revision stands where
 * that write put it, and the writes before it stand before. 0 if no write expects one. */
static ml_code find_after_expected(ml_store *store, const ml_proposal *proposal, uint64_t *position,
                                   ml_error *why)
{
    uint64_t before = 0;
    *position = 0;
    for (size_t n = 0; n < proposal->count; n++) {
        const ml_write *write = &proposal->writes[n];
        if (write->expected >= 0 || write->expected == ML_NO_STREAM) {
            uint64_t revision = write->expected == ML_NO_STREAM ? 0 : (uint64_t)write->expected + 1;
            ml_code code = ml_finder_revision(store, write->stream, revision, store->next - 1, position, why);
            *position = !code && *position > before ? *position - before : 0;
            return code == ML_NOT_FOUND ? ML_OK : code;
        }
        before += write->count;
    }
    return ML_OK;
}

static ml_code fill_receipt(ml_store *store, const ml_proposal *proposal, uint64_t first, ml_entry *entry,
                            ml_error *why)
{
    ml_batch *batch = store->filling;
    uint64_t position = first, revision = 0;
    ml_bytes record, stream;
    for (size_t n = 0; n < proposal->count; n++) {
        position += proposal->writes[n].count;
        ml_code code = ml_store_record(store, position - 1, &record, why);
        if (code) return code;
        if (!ml_event_peek(record, &revision, &stream)) return ml_error_set(why, ML_CORRUPT, "no event");
        batch->revisions[entry->revisions + n] = revision;
    }
    entry->receipt.first = first;
    entry->receipt.last = position - 1;
    entry->receipt.duplicate = true;
    return ML_OK;
}

ml_code ml_repeat_find(ml_store *store, const ml_proposal *proposal, bool expected_failed,
                           ml_entry *entry, ml_error *why)
{
    const uint8_t *id = proposal->writes[0].events[0].id;
    if (id == NULL) return ML_OK;
    uint64_t position = ml_window_find(&store->window, id);
    if (position == 0 && expected_failed) {
        ml_code code = find_after_expected(store, proposal, &position, why);
        if (code) return code;
    }
    if (position == 0) return ML_OK;
    bool repeat;
    ml_code code = is_repeat(store, proposal, position, &repeat, why);
    if (code || !repeat) return code;
    return fill_receipt(store, proposal, position, entry, why);
}

ml_code ml_repeat_check_unused(ml_store *store, const ml_proposal *proposal, ml_error *why)
{
    walk w = {.proposal = proposal};
    ml_bytes stream;
    for (const ml_draft *draft; (draft = walk_next(&w, &stream)) != NULL;) {
        if (draft->id == NULL) continue;
        uint64_t position = ml_window_find(&store->window, draft->id);
        if (position == 0) continue;
        char text[ML_UUID_TEXT + 1];
        ml_uuid_write(text, draft->id);
        return ml_error_set(why, ML_BAD_REQUEST,
                            "the event id %s was used at position %" PRIu64
                            " by another append; a retry repeats all ids of the first, anything else "
                            "needs new ones",
                            text, position);
    }
    return ML_OK;
}
