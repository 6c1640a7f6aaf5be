/* admit.c -- a proposal becomes positions, or a refusal with its reason.
 *
 * The verdict depends on the log so far (staged events included) and the proposal alone: no
 * thread, no disk, and no clock but the time that is minted before. In order:
 *
 *     form        names, values, sizes, counts                    BAD_REQUEST, TOO_LARGE
 *     duplicate   the same ids, written before by one append      the first receipt
 *     expected    each write against its stream, one after another  WRONG_EXPECTED_REVISION
 *     condition   no event that matches the query after …         CONDITION_FAILED
 *     stage       encoded into the filling group, indexed, remembered
 *
 * Cost without ids and conditions: per event the checks of its bytes, one lookup of the
 * stream's head, the encoding, and one index entry per key.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/text.h"
#include "finder.h"
#include "inside.h"

/* ---- form ----------------------------------------------------------------------------------- */

static ml_code check_writable(ml_store *store, ml_error *why)
{
    const char *damage = ml_log_damage(store->log);
    if (damage[0] != '\0') return ml_error_set(why, ML_CORRUPT, "%s", damage);
    if (store->options.read_only)
        return ml_error_set(why, ML_READ_ONLY, "the store was opened for reading only; open it without read_only");
    if (store->failed)
        return ml_error_set(why, ML_STORE_FAILED,
                            "an earlier write or sync failed, so nothing more is written: close and "
                            "reopen the store");
    return ML_OK;
}

static ml_code check_write(const ml_write *write, size_t *number, size_t *bytes, ml_error *why)
{
    ml_code code = ml_event_check_name(write->stream, ML_STREAM_BYTES_MAX, "stream", why);
    if (code) return code;
    if (write->expected < ML_STREAM_EXISTS)
        return ml_error_set(why, ML_BAD_REQUEST,
                            "expected is %" PRId64 "; give a revision from 0, any, no_stream or stream_exists",
                            write->expected);
    if (write->count == 0)
        return ml_error_set(why, ML_BAD_REQUEST, "the write to %.*s has no events", ML_SHOW(write->stream));
    for (size_t n = 0; n < write->count; n++) {
        if (++*number > ML_APPEND_EVENTS_MAX)
            return ml_error_set(why, ML_TOO_LARGE, "more than %d events in one append; split it",
                                ML_APPEND_EVENTS_MAX);
        code = ml_event_check(&write->events[n], *number, why);
        if (code) return code;
        *bytes += ML_RECORD_HEADER + ml_event_bound(write->stream, &write->events[n]);
    }
    return ML_OK;
}

static ml_code check_form(const ml_proposal *proposal, size_t *events, size_t *bytes, ml_error *why)
{
    *events = *bytes = 0;
    if (proposal->count == 0) return ml_error_set(why, ML_BAD_REQUEST, "the append has no writes");
    if ((unsigned)proposal->durability > ML_MEMORY)
        return ml_error_set(why, ML_BAD_REQUEST, "durability is none of disk, os and memory");
    for (size_t n = 0; n < proposal->count; n++) {
        ml_code code = check_write(&proposal->writes[n], events, bytes, why);
        if (code) return code;
    }
    if (*bytes > ML_APPEND_BYTES_MAX)
        return ml_error_set(why, ML_TOO_LARGE, "the append takes %zu bytes, the limit is %d; split it",
                            *bytes, ML_APPEND_BYTES_MAX);
    return ML_OK;
}

/* ---- duplicates -------------------------------------------------------------------------------- */

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

/* Ids may not repeat within the proposal. A table of 2 × 1,024 places on the stack. */
static ml_code check_ids(const ml_proposal *proposal, size_t *with_id, ml_error *why)
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
        uint64_t mixed = (ml_get_u64(draft->id) ^ ml_get_u64(draft->id + 8)) * UINT64_C(0x9e3779b97f4a7c15);
        size_t at = (size_t)(mixed >> 40) % PLACES;
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

/* Where the stream's event after the expected revision stands: that is where a retry of an
 * append with an expected revision finds itself. 0 if there is none. */
static ml_code find_after_expected(ml_store *store, const ml_write *write, uint64_t *position, ml_error *why)
{
    *position = 0;
    if (write->expected < 0 && write->expected != ML_NO_STREAM) return ML_OK;
    uint64_t revision = write->expected == ML_NO_STREAM ? 0 : (uint64_t)write->expected + 1;
    ml_code code = ml_finder_revision(store, write->stream, revision, store->next - 1, position, why);
    if (code == ML_NOT_FOUND) *position = 0;
    return code == ML_NOT_FOUND ? ML_OK : code;
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

/* Looks for an earlier append with these ids. Asked with `expected_failed` once a stream is
 * not where it should be, it also looks where a retry of any age would be. */
static ml_code find_repeat(ml_store *store, const ml_proposal *proposal, bool expected_failed,
                           ml_entry *entry, ml_error *why)
{
    const ml_write *write = &proposal->writes[0];
    const uint8_t *id = write->events[0].id;
    if (id == NULL) return ML_OK;
    uint64_t position = ml_window_find(&store->window, id);
    if (position == 0 && expected_failed) {
        ml_code code = find_after_expected(store, write, &position, why);
        if (code) return code;
    }
    if (position == 0) return ML_OK;
    bool repeat;
    ml_code code = is_repeat(store, proposal, position, &repeat, why);
    if (code || !repeat) return code;
    return fill_receipt(store, proposal, position, entry, why);
}

/* No id of a proposal that is not a repeat may be in the window. */
static ml_code check_unused(ml_store *store, const ml_proposal *proposal, ml_error *why)
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

/* ---- expected ----------------------------------------------------------------------------------- */

ml_code ml_admit_head(ml_store *store, ml_bytes stream, uint64_t *revision, ml_error *why)
{
    uint64_t key = ml_key_of(store->seed, ML_KEY_STREAM, stream);
    if (ml_heads_get(&store->heads, key, stream, revision)) return ML_OK;
    uint64_t position;
    ml_code code = ml_finder_last(store, stream, store->next - 1, &position, revision, why);
    if (!code) ml_heads_put(&store->heads, key, stream, *revision);
    return code;
}

/* A stream as this proposal sees it, its own earlier writes included. */
typedef struct seen {
    bool exists;
    uint64_t revision;
} seen;

static ml_code look(ml_store *store, const ml_proposal *proposal, size_t n, const seen *before, seen *now,
                    ml_error *why)
{
    ml_bytes stream = proposal->writes[n].stream;
    for (size_t i = n; i > 0; i--) {
        if (!ml_bytes_equal(proposal->writes[i - 1].stream, stream)) continue;
        *now = (seen){true, before[i - 1].exists ? before[i - 1].revision + proposal->writes[i - 1].count
                                                 : proposal->writes[i - 1].count - 1};
        return ML_OK;
    }
    ml_code code = ml_admit_head(store, stream, &now->revision, why);
    now->exists = code == ML_OK;
    return code == ML_NOT_FOUND ? ML_OK : code;
}

static bool as_expected(int64_t expected, const seen *now)
{
    switch (expected) {
    case ML_ANY: return true;
    case ML_NO_STREAM: return !now->exists;
    case ML_STREAM_EXISTS: return now->exists;
    default: return now->exists && now->revision == (uint64_t)expected;
    }
}

static ml_code refuse_expected(const ml_write *write, const seen *now, ml_error *why)
{
    char actual[40] = "it does not exist", expected[40];
    if (now->exists) snprintf(actual, sizeof actual, "it is at revision %" PRIu64, now->revision);
    snprintf(expected, sizeof expected, "revision %" PRId64, write->expected);
    if (write->expected == ML_NO_STREAM) snprintf(expected, sizeof expected, "no stream");
    if (write->expected == ML_STREAM_EXISTS) snprintf(expected, sizeof expected, "an existing stream");
    return ml_error_set(why, ML_WRONG_EXPECTED_REVISION,
                        "stream %.*s: expected %s, but %s; read it again and decide anew",
                        ML_SHOW(write->stream), expected, actual);
}

static ml_code check_expected(ml_store *store, const ml_proposal *proposal, seen *streams, ml_error *why)
{
    for (size_t n = 0; n < proposal->count; n++) {
        ml_code code = look(store, proposal, n, streams, &streams[n], why);
        if (code) return code;
        if (!as_expected(proposal->writes[n].expected, &streams[n]))
            return refuse_expected(&proposal->writes[n], &streams[n], why);
    }
    return ML_OK;
}

static ml_code check_condition(ml_store *store, const ml_proposal *proposal, ml_error *why)
{
    if (proposal->condition == NULL) return ML_OK;
    uint64_t position = 0;
    ml_code code = ml_finder_first(store, proposal->condition, proposal->after + 1, store->next - 1,
                                   &position, why);
    if (code == ML_NOT_FOUND) return ML_OK;
    if (code) return code;
    return ml_error_set(why, ML_CONDITION_FAILED,
                        "the event at position %" PRIu64 " matches the condition's query and is after %" PRIu64
                        "; read from there and decide anew",
                        position, proposal->after);
}

/* ---- staging --------------------------------------------------------------------------------------- */

static ml_code make_id(ml_store *store, uint8_t id[ML_ID_SIZE], ml_error *why)
{
    enum { RANDOM = 10 };
    if (store->dice_left < RANDOM) {
        int refused = store->disk->ops->random(store->disk, store->dice, sizeof store->dice);
        if (refused < 0) return ml_error_disk(why, refused, "random bytes for", "an event id");
        store->dice_left = sizeof store->dice;
    }
    store->dice_left -= RANDOM;
    ml_uuid_make(id, store->time, store->dice + store->dice_left);
    return ML_OK;
}

typedef struct indexing {
    ml_store *store;
    uint64_t position;
    ml_error *why;
} indexing;

static ml_code add_key(void *context, uint64_t key)
{
    indexing *i = context;
    return ml_index_add(i->store->index, key, i->position, i->why);
}

static ml_code retract_key(void *context, uint64_t key)
{
    indexing *i = context;
    ml_index_retract(i->store->index, key, i->position - 1);
    return ML_OK;
}

/* Every key of a draft, without decoding what was just encoded. */
static ml_code each_key(ml_store *store, const ml_key_stream *keys, const ml_draft *draft, uint64_t revision,
                        ml_code (*each)(void *, uint64_t), void *context)
{
    ml_code code = each(context, keys->stream);
    if (!code) code = each(context, keys->category);
    if (!code) code = each(context, ml_key_of(store->seed, ML_KEY_TYPE, draft->type));
    for (size_t n = 0; !code && n < draft->tag_count; n++)
        code = each(context, ml_key_of(store->seed, ML_KEY_TAG, draft->tags[n]));
    if (code || revision > 0) return code;
    code = each(context, keys->begun);
    return code ? code : each(context, keys->begun_category);
}

static ml_code stage_event(ml_store *store, const ml_write *write, const ml_key_stream *keys,
                           const ml_draft *draft, uint64_t revision, ml_error *why)
{
    uint8_t id[ML_ID_SIZE];
    ml_stamp stamp = {store->next, revision, store->time, draft->id};
    if (draft->id == NULL) {
        ml_code code = make_id(store, id, why);
        if (code) return code;
        stamp.id = id;
    }
    ml_group *group = &store->filling->group;
    uint8_t *to = ml_group_record(group, ml_event_bound(write->stream, draft));
    if (to == NULL) return ml_error_memory(why, "an append");
    ml_group_end_record(group, to, ml_event_encode(to, write->stream, draft, &stamp));
    indexing i = {store, store->next, why};
    store->next++;
    ml_code code = each_key(store, keys, draft, revision, add_key, &i);
    if (!code && !ml_window_add(&store->window, stamp.id)) code = ml_error_memory(why, "the window of ids");
    if (!code) ml_index_cover(store->index, i.position);
    return code;
}

static ml_code stage(ml_store *store, const ml_proposal *proposal, const seen *streams, ml_entry *entry,
                     ml_error *why)
{
    ml_batch *batch = store->filling;
    int64_t now = store->disk->ops->now(store->disk);
    if (now > store->time) store->time = now;
    entry->receipt.first = store->next;
    for (size_t n = 0; n < proposal->count; n++) {
        const ml_write *write = &proposal->writes[n];
        uint64_t revision = streams[n].exists ? streams[n].revision + 1 : 0;
        ml_key_stream keys = ml_key_for_stream(store->seed, write->stream);
        for (size_t i = 0; i < write->count; i++) {
            ml_code code = stage_event(store, write, &keys, &write->events[i], revision++, why);
            if (code) return code;
        }
        ml_heads_put(&store->heads, keys.stream, write->stream, revision - 1);
        batch->revisions[entry->revisions + n] = revision - 1;
    }
    entry->receipt.last = store->next - 1;
    batch->group.time = store->time;
    return ML_OK;
}

/* Takes back the keys of staged records of the filling group behind the first `keep`. */
void ml_admit_retract(ml_store *store, ml_group *group, uint32_t keep)
{
    for (uint32_t n = group->count; n > keep; n--) {
        ml_event event;
        indexing i = {store, group->first + n - 1, NULL};
        if (ml_event_decode(ml_group_payload(group, n - 1), &event))
            ML_IGNORE(ml_key_each(store->seed, &event, retract_key, &i));
    }
    ml_group_cut(group, keep);
}

/* Staging failed half-way, for want of memory: nothing of the proposal may remain. */
static void unstage(ml_store *store, uint64_t first)
{
    ml_group *group = &store->filling->group;
    ml_admit_retract(store, group, (uint32_t)(first - group->first));
    if (ml_index_covered(store->index) >= first) ml_index_uncover(store->index, first - 1);
    store->next = first;
    ml_heads_clear(&store->heads);
    ml_window_cut(&store->window, first - 1);
}

static ml_code reserve_revisions(ml_batch *batch, size_t count, ml_error *why)
{
    if (batch->revision_capacity - batch->revision_count >= count) return ML_OK;
    size_t capacity = batch->revision_capacity * 2 + count + 16;
    uint64_t *revisions = realloc(batch->revisions, capacity * sizeof *revisions);
    if (revisions == NULL) return ml_error_memory(why, "an append");
    batch->revisions = revisions;
    batch->revision_capacity = capacity;
    return ML_OK;
}

static ml_code admit(ml_store *store, const ml_proposal *proposal, seen *streams, size_t with_id,
                     ml_entry *entry, ml_error *why)
{
    ml_code code = with_id > 0 ? find_repeat(store, proposal, false, entry, why) : ML_OK;
    if (code || entry->receipt.duplicate) return code;
    code = check_expected(store, proposal, streams, why);
    if (code == ML_WRONG_EXPECTED_REVISION && with_id > 0) {
        ml_code found = find_repeat(store, proposal, true, entry, NULL);
        if (found || entry->receipt.duplicate) return found;
    }
    if (!code && with_id > 0) code = check_unused(store, proposal, why);
    if (!code) code = check_condition(store, proposal, why);
    if (code) return code;
    uint64_t first = store->next;
    code = stage(store, proposal, streams, entry, why);
    if (code) unstage(store, first);
    return code;
}

ml_code ml_admit(ml_store *store, const ml_proposal *proposal, ml_entry *entry, ml_error *why)
{
    size_t events, bytes, with_id;
    ml_code code = check_writable(store, why);
    if (!code) code = check_form(proposal, &events, &bytes, why);
    if (!code) code = check_ids(proposal, &with_id, why);
    if (code) return code;
    ml_batch *batch = store->filling;
    if (batch->group.count > 0 && ml_group_size(&batch->group) + bytes > ML_APPEND_BYTES_MAX)
        return ml_error_set(why, ML_LIMIT, "the group being filled has no room for %zu bytes", bytes);
    if (batch->group.count == 0 && !ml_group_begin(&batch->group, store->next))
        return ml_error_memory(why, "an append");
    code = reserve_revisions(batch, proposal->count, why);
    if (code) return code;
    entry->receipt = (ml_receipt){.durability = proposal->durability, .count = proposal->count};
    entry->revisions = batch->revision_count;
    seen few[16], *streams = few;
    if (proposal->count > sizeof few / sizeof *few) streams = malloc(proposal->count * sizeof *streams);
    if (streams == NULL) return ml_error_memory(why, "an append");
    code = admit(store, proposal, streams, with_id, entry, why);
    if (streams != few) free(streams);
    if (code) return code;
    batch->revision_count += proposal->count;
    if (proposal->durability == ML_DISK) batch->sync = true;
    return ML_OK;
}
