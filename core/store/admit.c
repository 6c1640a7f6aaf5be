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
#include "repeat.h"

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
    if (ml_bytes_equal(write->stream, ML_STR("$all")) || ml_bytes_begins(write->stream, ML_STR("$category:")))
        return ml_error_set(why, ML_BAD_REQUEST, "%.*s is a name for reading; give the stream another one",
                            ML_SHOW(write->stream));
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

/* ---- expected ----------------------------------------------------------------------------------- */

/* Revision of a stream, staged events included: NOT_FOUND if it has no event. */
static ml_code find_head(ml_store *store, ml_bytes stream, uint64_t key, uint64_t *revision, ml_error *why)
{
    if (ml_heads_get(&store->heads, key, stream, revision)) return ML_OK;
    uint64_t position;
    /* Most streams that are not in the cache are new: no sentence is made of that. */
    ml_code code = ml_finder_last(store, stream, store->next - 1, &position, revision, NULL);
    if (code && code != ML_NOT_FOUND) return ml_finder_last(store, stream, store->next - 1, &position, revision, why);
    if (!code) ml_heads_put(&store->heads, key, stream, *revision);
    return code;
}

/* A stream as this proposal sees it, its own earlier writes included. */
typedef struct seen {
    uint64_t key;
    uint64_t revision;
    bool exists;
} seen;

/* Large proposals touch many streams, each of them two or three cache misses away. Asking for
 * all before using any overlaps the misses: half the time of an import. */
static void prefetch(ml_store *store, const ml_proposal *proposal, const seen *streams)
{
    for (size_t n = 0; n < proposal->count; n++) {
        ml_heads_prefetch(&store->heads, streams[n].key, false);
        ml_index_prefetch(store->index, streams[n].key, false);
    }
    for (size_t n = 0; n < proposal->count; n++) {
        ml_heads_prefetch(&store->heads, streams[n].key, true);
        ml_index_prefetch(store->index, streams[n].key, true);
    }
}

/* Which of the writes came last for a stream: a hash table of write numbers + 1. */
typedef struct last_writes {
    uint16_t places[2 * ML_APPEND_EVENTS_MAX];
    size_t mask;
} last_writes;

static void last_begin(last_writes *last, size_t count)
{
    last->mask = 1;
    while (last->mask < 2 * count) last->mask *= 2;
    memset(last->places, 0, last->mask * sizeof *last->places);
    last->mask--;
}

/* Notes write `n` and gives the number of the one before it to the same stream, or `n`. */
static size_t last_swap(last_writes *last, const ml_proposal *proposal, const seen *streams, size_t n)
{
    size_t at = (size_t)streams[n].key & last->mask;
    for (; last->places[at] != 0; at = (at + 1) & last->mask) {
        size_t before = (size_t)last->places[at] - 1;
        if (streams[before].key != streams[n].key) continue;
        if (!ml_bytes_equal(proposal->writes[before].stream, proposal->writes[n].stream)) continue;
        last->places[at] = (uint16_t)(n + 1);
        return before;
    }
    last->places[at] = (uint16_t)(n + 1);
    return n;
}

static ml_code look(ml_store *store, const ml_proposal *proposal, seen *streams, size_t n, size_t before,
                    ml_error *why)
{
    seen *now = &streams[n];
    if (before < n) {
        const seen *then = &streams[before];
        uint64_t count = proposal->writes[before].count;
        now->exists = true;
        now->revision = then->exists ? then->revision + count : count - 1;
        return ML_OK;
    }
    ml_code code = find_head(store, proposal->writes[n].stream, now->key, &now->revision, why);
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
    last_writes last;
    bool several = proposal->count > 1;
    for (size_t n = 0; n < proposal->count; n++)
        streams[n].key = ml_key_of(store->seed, ML_KEY_STREAM, proposal->writes[n].stream);
    if (several) prefetch(store, proposal, streams);
    if (several) last_begin(&last, proposal->count);
    for (size_t n = 0; n < proposal->count; n++) {
        size_t before = several ? last_swap(&last, proposal, streams, n) : n;
        ml_code code = look(store, proposal, streams, n, before, why);
        if (code) return code;
        if (!as_expected(proposal->writes[n].expected, &streams[n]))
            return refuse_expected(&proposal->writes[n], &streams[n], why);
    }
    return ML_OK;
}

static ml_code check_condition(ml_store *store, const ml_proposal *proposal, ml_error *why)
{
    if (proposal->condition == NULL) return ML_OK;
    uint64_t position = 0, from = proposal->after < UINT64_MAX ? proposal->after + 1 : UINT64_MAX;
    ml_code code = ml_finder_first(store, proposal->condition, from, store->next - 1, &position, why);
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

/* Every key of a draft, as ml_key_each gives them for the event that it becomes. */
static ml_code add_keys(ml_store *store, const ml_write *write, uint64_t stream_key, const ml_draft *draft,
                        uint64_t revision, indexing *i)
{
    ml_bytes category = ml_event_category(write->stream);
    ml_code code = add_key(i, stream_key);
    if (!code) code = add_key(i, ml_key_of(store->seed, ML_KEY_CATEGORY, category));
    if (!code) code = add_key(i, ml_key_of(store->seed, ML_KEY_TYPE, draft->type));
    for (size_t n = 0; !code && n < draft->tag_count; n++)
        code = add_key(i, ml_key_of(store->seed, ML_KEY_TAG, draft->tags[n]));
    if (code || revision > 0) return code;
    code = add_key(i, ml_key_of(store->seed, ML_KEY_BEGUN, (ml_bytes){"", 0}));
    return code ? code : add_key(i, ml_key_of(store->seed, ML_KEY_BEGUN_CATEGORY, category));
}

static ml_code stage_event(ml_store *store, const ml_write *write, uint64_t stream_key,
                           const ml_draft *draft, uint64_t revision, ml_error *why)
{
    uint8_t id[ML_ID_SIZE];
    ml_stamp stamp = {store->next, revision, store->time, draft->id};
    if (draft->id == NULL) {
        ml_code code = make_id(store, id, why);
        if (code) return code;
        stamp.id = id;
    }
    ml_window_prefetch(&store->window, stamp.id); /* the encoding hides its cache miss */
    ml_group *group = &store->filling->group;
    uint8_t *to = ml_group_record(group, ml_event_bound(write->stream, draft));
    if (to == NULL) return ml_error_memory(why, "an append");
    ml_group_end_record(group, to, ml_event_encode(to, write->stream, draft, &stamp));
    indexing i = {store, store->next, why};
    store->next++;
    ml_code code = add_keys(store, write, stream_key, draft, revision, &i);
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
        for (size_t i = 0; i < write->count; i++) {
            ml_code code = stage_event(store, write, streams[n].key, &write->events[i], revision++, why);
            if (code) return code;
        }
        ml_heads_put(&store->heads, streams[n].key, write->stream, revision - 1);
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
    ml_code code = with_id > 0 ? ml_repeat_find(store, proposal, false, entry, why) : ML_OK;
    if (code || entry->receipt.duplicate) return code;
    code = check_expected(store, proposal, streams, why);
    if (code == ML_WRONG_EXPECTED_REVISION && with_id > 0) {
        ml_code found = ml_repeat_find(store, proposal, true, entry, NULL);
        if (found || entry->receipt.duplicate) return found;
    }
    if (!code && with_id > 0) code = ml_repeat_check_unused(store, proposal, why);
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
    if (!code) code = ml_store_complete(store, why);
    if (!code) code = check_writable(store, why); /* completing may have met damage */
    if (!code) code = check_form(proposal, &events, &bytes, why);
    if (!code) code = ml_repeat_check_ids(proposal, &with_id, why);
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
