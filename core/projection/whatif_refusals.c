/* whatif_refusals.c -- commands that were refused stand in a stream of their own, in the order of
 * time: `$refused-account`. Here they are found by whom they were for, and when. */
#include <stdio.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "../base/unpack.h"
#include "../view/field.h"
#include "whatif_inside.h"

static int compare(const void *left, const void *right)
{
    const ml_refusal *a = left, *b = right;
    if (a->who != b->who) return a->who < b->who ? -1 : 1;
    if (a->next != b->next) return a->next < b->next ? -1 : 1;
    return (a->position > b->position) - (a->position < b->position);
}

/* False: it is none that a daemon wrote. */
static bool read_refusal(const ml_event *event, ml_refusal *refusal)
{
    ml_bytes id;
    int64_t revision = -1;
    ml_unpack at = ml_unpack_from(ml_field_find(event->data, ML_STR("id")));
    if (!ml_bytes_equal(event->type, ML_STR("CommandRefused")) || !ml_unpack_str(&at, &id))
        return false;
    at = ml_unpack_from(ml_field_find(event->data, ML_STR("revision")));
    if (!ml_unpack_int(&at, &revision)) revision = -1; /* nil: there was no event yet */
    *refusal = (ml_refusal){.who = ml_marks_hash(id),
                            .next = (uint64_t)(revision + 1),
                            .position = event->position};
    return true;
}

static ml_code gather(ml_whatif_work *work, ml_cursor *cursor, ml_refusals *refusals)
{
    ml_event event;
    ml_code code;
    ml_refusal refusal;
    while ((code = ml_next(cursor, &event)) == ML_OK && event.position <= work->head) {
        if (!read_refusal(&event, &refusal)) continue;
        if (refusals->all.size / sizeof refusal < ML_WHATIF_REFUSED_MAX)
            ml_buf_add(&refusals->all, &refusal, sizeof refusal);
        else
            work->counts.unseen++;
    }
    if (code && code != ML_END) return ml_whatif_store_failed(work, code);
    return refusals->all.failed ? ml_error_memory(work->why, "refused commands") : ML_OK;
}

ml_code ml_refusals_read(ml_whatif_work *work, ml_bytes aggregate, ml_refusals *refusals)
{
    char stream[ML_STREAM_BYTES_MAX];
    ml_cursor *cursor = NULL;
    int size = snprintf(stream, sizeof stream, "$refused-%.*s", ML_SHOW(aggregate));
    ml_selection selection = {.stream = {stream, (size_t)size}};
    ml_code code = ml_read(work->ask->store, &selection, &cursor);
    if (code == ML_NOT_FOUND) return ML_OK;
    if (code) return ml_whatif_store_failed(work, code);
    code = gather(work, cursor, refusals);
    ml_cursor_free(cursor);
    size_t count = refusals->all.size / sizeof(ml_refusal);
    if (count > 1) qsort(refusals->all.data, count, sizeof(ml_refusal), compare);
    return code;
}

ml_refusal *ml_refusals_find(const ml_refusals *refusals, ml_bytes id, uint64_t next,
                             size_t *count)
{
    ml_refusal *all = (ml_refusal *)(void *)refusals->all.data;
    size_t low = 0, high = refusals->all.size / sizeof *all, end = high;
    *count = 0;
    if (high == 0) return NULL;
    ml_refusal wanted = {.who = ml_marks_hash(id), .next = next};
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(&all[middle], &wanted) < 0) low = middle + 1;
        else high = middle;
    }
    for (size_t n = low; n < end && all[n].who == wanted.who && all[n].next == next; n++) ++*count;
    return all + low;
}
