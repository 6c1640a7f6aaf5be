/* projector_again.c -- what stopped it, and trying once more.
 *
 * Keys that are held are retried by a pass of their own: from the event that each was held for, up
 * to where the projection is. Nothing is committed until that is done, so that who is killed
 * meanwhile finds them held.
 */
#include <stdio.h>
#include <stdlib.h>

#include "projector_inside.h"

enum { LOOK_EVERY = 64 };

typedef struct held {
    uint64_t position; /* of the event that the key is held for */
    ml_key key;
} held;

/* ---- stopping --------------------------------------------------------------------------- */

void ml_projector_stop_for(ml_projector *p, const ml_error *why, bool by_itself)
{
    p->stop = (ml_projector_stop){
        .why = *why, .by_itself = by_itself, .since_us = ml_projector_clock_us()};
}

static void note_text(char to[ML_UNIT_NAME_MAX + 1], ml_bytes text)
{
    size_t size = text.size < ML_UNIT_NAME_MAX ? text.size : ML_UNIT_NAME_MAX;
    const char *at = text.data;
    while (size > 0 && size < text.size && ((unsigned char)at[size] & 0xc0) == 0x80)
        size--;
    memcpy(to, text.data, size);
    to[size] = '\0';
}

void ml_projector_stop_at(ml_projector *p, const ml_event *event)
{
    p->stop = (ml_projector_stop){.fault = p->fault, .position = event->position};
    note_text(p->stop.type, event->type);
    note_text(p->stop.stream, event->stream);
    ml_unit_quote(p->pack->files, p->pack->count, &p->stop.fault);
    ml_fault_tell(&p->stop.fault, &p->stop.why);
}

/* ---- skipping --------------------------------------------------------------------------- */

static const uint64_t *skips(const ml_projector *p, size_t *count)
{
    *count = p->skips.size / sizeof(uint64_t);
    return (const uint64_t *)(const void *)p->skips.data;
}

/* There are few, and most often none. */
bool ml_projector_skips(const ml_projector *p, uint64_t position)
{
    size_t low = 0, high;
    const uint64_t *all = skips(p, &high);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (all[middle] == position) return true;
        if (all[middle] < position)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

ml_code ml_projector_add_skip(ml_projector *p, uint64_t position, ml_error *why)
{
    size_t count;
    if (ml_projector_skips(p, position)) return ML_OK;
    if (ml_buf_take(&p->skips, sizeof position) == NULL)
        return ml_error_memory(why, "a skipped event");
    uint64_t *all = (uint64_t *)(uintptr_t)skips(p, &count);
    size_t at = count - 1;
    for (; at > 0 && all[at - 1] > position; at--)
        all[at] = all[at - 1];
    all[at] = position;
    return ML_OK;
}

static bool is_held_for(const ml_projector *p, uint64_t position)
{
    ml_bytes key;
    uint64_t held_for;
    for (size_t n = 0; ml_projection_held(p->projection, n, &key, &held_for); n++)
        if (held_for == position) return true;
    return false;
}

bool ml_projector_holds_skipped(const ml_projector *p)
{
    ml_bytes key;
    uint64_t held_for;
    for (size_t n = 0; ml_projection_held(p->projection, n, &key, &held_for); n++)
        if (ml_projector_skips(p, held_for)) return true;
    return false;
}

ml_code ml_projector_skip(ml_projector *p, uint64_t position, ml_error *why)
{
    bool stopped = p->stop.fault.kind != ML_FAULT_NONE && p->stop.position == position;
    bool is_held = is_held_for(p, position);
    if (!stopped && !is_held)
        return ml_error_set(why, ML_NOT_FOUND,
                            "%s is not stopped at position %llu, and no key is held for it; its "
                            "status says where it is",
                            p->unit->label, (unsigned long long)position);
    ml_code code = ml_projector_add_skip(p, position, why);
    if (code) return code;
    if (stopped) p->stop = (ml_projector_stop){0};
    p->again = p->again || is_held;
    ml_projector_rewind(p);
    return ML_OK;
}

/* ---- retrying --------------------------------------------------------------------------- */

void ml_projector_retry(ml_projector *p)
{
    p->stop = (ml_projector_stop){0};
    p->again = true;
    ml_projector_rewind(p);
}

static int compare(const void *left, const void *right)
{
    const held *a = left, *b = right;
    return (a->position > b->position) - (a->position < b->position);
}

/* The list is copied: while it is worked on, keys are held anew. */
static ml_code copy_held(ml_projector *p, ml_error *why)
{
    held one;
    ml_bytes key;
    size_t count = 0;
    ml_buf_clear(&p->held);
    for (; ml_projection_held(p->projection, count, &key, &one.position); count++) {
        ML_ASSERT(key.size <= sizeof one.key.bytes);
        one.key.size = key.size;
        memcpy(one.key.bytes, key.data, key.size);
        ml_buf_add(&p->held, &one, sizeof one);
    }
    if (p->held.failed) return ml_error_memory(why, "held keys");
    if (count > 1) qsort(p->held.data, count, sizeof one, compare);
    return ML_OK;
}

ml_code ml_projector_redo_begin(ml_projector *p, ml_error *why)
{
    ml_code code = copy_held(p, why);
    p->again = code != ML_OK || p->held.size > 0;
    if (code || p->held.size == 0) return code;
    /* Whether an event was late depends on what time it was, and that is gone. */
    if (ml_projection_is_timed(p->projection)) return ml_projector_anew(p, why);
    const held *first = (const held *)(const void *)p->held.data;
    ml_selection selection = ml_projection_selection(p->projection);
    p->released = 0;
    p->redone = ml_keys_new();
    if (p->redone == NULL) return ml_error_memory(why, "held keys");
    code = ml_subscribe(p->store, &selection, first->position - 1, &p->redo);
    if (code) return ml_error_retell(why, code, ml_why(p->store));
    ml_projection_release(p->projection);
    return ML_OK;
}

void ml_projector_redo_end(ml_projector *p)
{
    ml_cursor_free(p->redo);
    ml_keys_free(p->redone);
    ml_buf_free(&p->held);
    p->redo = NULL;
    p->redone = NULL;
}

/* From its own event on, a key takes part. */
static ml_code release_up_to(ml_projector *p, uint64_t position, ml_error *why)
{
    const held *all = (const held *)(const void *)p->held.data;
    size_t count = p->held.size / sizeof *all;
    for (; p->released < count && all[p->released].position <= position; p->released++) {
        const ml_key *key = &all[p->released].key;
        ml_code code = ml_keys_add(p->redone, (ml_bytes){key->bytes, key->size}, why);
        if (code) return code;
    }
    return ML_OK;
}

static ml_code redo_one(ml_projector *p, const ml_event *event, ml_error *why)
{
    ml_applied applied;
    if (ml_projector_skips(p, event->position)) return ML_OK;
    ml_code code = release_up_to(p, event->position, why);
    if (!code)
        code =
            ml_projection_apply(p->projection, p->view, event, p->redone, &applied, &p->fault, why);
    if (code) return code;
    if (applied == ML_APPLIED_AGAIN) {
        ml_projector_rewind(p);
        return ML_OK;
    }
    if (applied == ML_APPLIED_FAULT) {
        ml_projector_stop_at(p, event);
        ml_projector_rewind(p);
        return ML_OK;
    }
    /* So much cannot be committed at once, and half of it would not be found again. */
    return ml_view_full(p->view) ? ml_projector_anew(p, why) : ML_OK;
}

ml_code ml_projector_redo(ml_projector *p, uint64_t until_us, ml_error *why)
{
    ml_event event;
    ml_code code;
    for (unsigned n = 1; (code = ml_poll(p->redo, &event)) == ML_OK; n++) {
        if (event.position > p->passed) break;
        code = redo_one(p, &event, why);
        if (code || p->redo == NULL) return code;
        if (n % LOOK_EVERY == 0 && ml_projector_clock_us() >= until_us) return ML_OK;
    }
    if (code > 0) return ml_error_retell(why, code, ml_why(p->store));
    ml_projector_redo_end(p);
    code = ml_projector_commit(p, why);
    p->again = code != ML_OK; /* until then they are held, as far as the view knows */
    return code;
}
