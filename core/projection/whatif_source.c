/* whatif_source.c -- the events that two versions of a projection want to see, in one pass: by one
 * cursor if they want the same, else by two that are merged. */
#include <stdlib.h>

#include "../store/event.h"
#include "whatif_inside.h"

static bool same_texts(const ml_bytes *a, size_t a_count, const ml_bytes *b, size_t b_count)
{
    if (a_count != b_count) return false;
    for (size_t n = 0; n < a_count; n++)
        if (!ml_bytes_equal(a[n], b[n])) return false;
    return true;
}

static bool same_item(const ml_query_item *a, const ml_query_item *b)
{
    return same_texts(a->types, a->type_count, b->types, b->type_count) &&
           same_texts(a->tags, a->tag_count, b->tags, b->tag_count);
}

bool ml_source_same(const ml_selection *a, const ml_selection *b)
{
    if (!ml_bytes_equal(a->stream, b->stream) || !ml_bytes_equal(a->category, b->category) ||
        a->query.count != b->query.count)
        return false;
    for (size_t n = 0; n < a->query.count; n++)
        if (!same_item(&a->query.items[n], &b->query.items[n])) return false;
    return true;
}

ml_code ml_source_begin(ml_event_source *source, ml_whatif_work *work,
                        const ml_selection selections[2])
{
    bool same = ml_source_same(&selections[0], &selections[1]);
    *source = (ml_event_source){.work = work, .single = same};
    for (int n = 0; n < (source->single ? 1 : 2); n++) {
        ml_code code = ml_read(work->ask->store, &selections[n], &source->cursors[n]);
        if (code == ML_NOT_FOUND) source->cursors[n] = NULL; /* a stream without events */
        else if (code) return ml_whatif_store_failed(work, code);
    }
    return ML_OK;
}

void ml_source_end(ml_event_source *source)
{
    for (int n = 0; n < 2; n++) {
        ml_cursor_free(source->cursors[n]);
        ml_buf_free(&source->copies[n]);
    }
}

static ml_code next_of(ml_event_source *source, int n, ml_event *event)
{
    ml_code code = source->cursors[n] != NULL ? ml_next(source->cursors[n], event) : ML_END;
    if (!code && event->position > source->work->head) return ML_END;
    return code > 0 ? ml_whatif_store_failed(source->work, code) : code;
}

/* Reads ahead: what one cursor gave is good until the other is asked. */
static ml_code fill(ml_event_source *source, int n)
{
    ml_event event;
    ml_buf *copy = &source->copies[n];
    if (source->ahead[n] || source->ended[n]) return ML_OK;
    ml_code code = next_of(source, n, &event);
    source->ended[n] = code == ML_END;
    if (code) return code == ML_END ? ML_OK : code;
    ml_buf_clear(copy);
    ml_buf_add(copy, event.wire.data, event.wire.size);
    source->ahead[n] = true;
    source->positions[n] = event.position;
    return copy->failed ? ml_error_memory(source->work->why, "an event") : ML_OK;
}

static ml_code next_of_two(ml_event_source *source, ml_event *event, bool wanted[2])
{
    for (int n = 0; n < 2; n++) {
        ml_code code = fill(source, n);
        if (code) return code;
    }
    if (!source->ahead[0] && !source->ahead[1]) return ML_END;
    uint64_t first = source->ahead[0] ? source->positions[0] : UINT64_MAX;
    if (source->ahead[1] && source->positions[1] < first) first = source->positions[1];
    for (int n = 0; n < 2; n++) {
        wanted[n] = source->ahead[n] && source->positions[n] == first;
        if (wanted[n]) source->ahead[n] = false;
    }
    bool good = ml_event_decode(ml_buf_view(&source->copies[wanted[0] ? 0 : 1]), event);
    ML_ASSERT(good); /* the store has decoded it */
    return ML_OK;
}

ml_code ml_source_next(ml_event_source *source, ml_event *event, bool wanted[2])
{
    if (!source->single) return next_of_two(source, event, wanted);
    wanted[0] = wanted[1] = true;
    return next_of(source, 0, event);
}
