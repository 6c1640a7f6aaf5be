/* streams.c -- heads, and the list of streams.
 *
 * Streams have no table of their own: the index keeps the positions of first events (one
 * list of all, one per category), and the first event names its stream.
 */
#include "../base/limits.h"
#include "finder.h"

ml_code ml_streams_head(ml_store *store, ml_bytes stream, ml_head *head)
{
    ml_error *why = &store->why;
    uint64_t last = ml_log_position(store->log), position;
    *head = (ml_head){.position = last};
    if (stream.size == 0) return ML_OK;
    ml_code code = ml_event_check_name(stream, ML_STREAM_BYTES_MAX, "stream", why);
    if (!code) code = ml_finder_last(store, stream, last, &position, &head->revision, why);
    if (!code) code = ml_finder_revision(store, stream, 0, last, &head->first, why);
    return code;
}

typedef struct listing {
    ml_store *store;
    ml_bytes category, prefix;
    bool system;
    bool (*each)(void *context, const ml_stream_info *info);
    void *context;
} listing;

/* Tells of the stream that begins at `position`, if it is one that was asked for. */
static ml_code tell(const listing *l, uint64_t position, bool *more)
{
    ml_store *store = l->store;
    ml_bytes record;
    ml_event event;
    ml_code code = ml_log_get(store->log, position, &record, &store->why);
    if (code) return code;
    if (!ml_event_decode(record, &event) || event.revision != 0) return ML_OK;
    if (l->category.size > 0 && !ml_bytes_equal(l->category, ml_event_category(event.stream))) return ML_OK;
    if (!ml_bytes_begins(event.stream, l->prefix)) return ML_OK;
    if (!l->system && *(const char *)event.stream.data == '$') return ML_OK;
    ml_stream_info info = {.stream = event.stream, .first = position};
    code = ml_finder_last(store, event.stream, ml_log_position(store->log), &info.last, &info.revision,
                          &store->why);
    if (!code) *more = l->each(l->context, &info);
    return code;
}

static bool begins_with_dollar(ml_bytes name) { return name.size > 0 && *(const char *)name.data == '$'; }

/* Positions of first events behind `after`, a page at a time: telling of a stream asks the
 * index again. */
static ml_code page(ml_store *store, uint64_t key, uint64_t after, uint64_t *positions, size_t room,
                    size_t *count)
{
    uint64_t last = ml_log_position(store->log);
    ml_postings list;
    for (;;) {
        *count = 0;
        ml_postings_find(store->index, key, after + 1, last, &list);
        bool more = ml_postings_seek(&list, after + 1);
        for (; more && *count < room && list.position <= last; more = ml_postings_next(&list))
            positions[(*count)++] = list.position;
        if (!list.damaged) return ML_OK;
        ml_index_note_damage(store->index, &list);
        ml_code code = ml_store_repair_index(store, &store->why);
        if (code) return code;
    }
}

ml_code ml_streams_list(ml_store *store, ml_bytes category, ml_bytes prefix, uint64_t after,
                        bool (*each)(void *context, const ml_stream_info *info), void *context)
{
    enum { ROOM = 256 };
    uint64_t positions[ROOM];
    /* A prefix that reaches over the '-' names its category. */
    if (category.size == 0 && prefix.size > 0 && memchr(prefix.data, '-', prefix.size) != NULL)
        category = ml_event_category(prefix);
    listing l = {store, category, prefix, begins_with_dollar(category) || begins_with_dollar(prefix), each, context};
    uint64_t key = category.size > 0 ? ml_key_of(store->seed, ML_KEY_BEGUN_CATEGORY, category)
                                     : ml_key_of(store->seed, ML_KEY_BEGUN, (ml_bytes){"", 0});
    bool more = after < UINT64_MAX;
    for (size_t count = ROOM; more && count == ROOM;) {
        ml_code code = page(store, key, after, positions, ROOM, &count);
        for (size_t n = 0; !code && more && n < count; n++) code = tell(&l, positions[n], &more);
        if (code) return code;
        if (count > 0) after = positions[count - 1];
    }
    return ML_OK;
}
