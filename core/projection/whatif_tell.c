/* whatif_tell.c -- differences on their way into the answer. They are found in any order, and only
 * those of a unit that begin first are told: whenever there are twice as many, the rest goes. */
#include <stdlib.h>

#include "../base/pack.h"
#include "whatif_inside.h"

static ml_told_one *ones_of(const ml_told *told, size_t *count)
{
    ml_told_one *all = (ml_told_one *)(void *)told->ones.data;
    *count = told->ones.size / sizeof *all - told->from;
    return all == NULL ? NULL : all + told->from;
}

static int compare(const void *left, const void *right)
{
    const ml_told_one *a = left, *b = right;
    if (a->position != b->position) return a->position < b->position ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

static void sort(ml_told_one *all, size_t count)
{
    if (count > 1) qsort(all, count, sizeof *all, compare);
}

/* ---- the list --------------------------------------------------------------------------- */

/* Keeps the earliest. */
static void cut(ml_whatif_work *work)
{
    ml_told *told = &work->told;
    size_t count, kept = 0, bytes = 0;
    ml_told_one *all = ones_of(told, &count);
    sort(all, count);
    while (kept < count && kept < work->limit && bytes + all[kept].size <= told->budget)
        bytes += all[kept++].size;
    if (kept == count) return;
    told->cut = all[kept].position;
    for (size_t n = kept; n < count; n++) free(all[n].data);
    told->ones.size = (told->from + kept) * sizeof *all;
    told->bytes = bytes;
}

void ml_tell_begin(ml_whatif_work *work, size_t units)
{
    ml_told *told = &work->told;
    told->from = told->ones.size / sizeof(ml_told_one);
    told->bytes = 0;
    told->budget = ML_WHATIF_TOLD_BYTES / (units > 0 ? units : 1);
    told->cut = UINT64_MAX;
}

ml_code ml_tell_end(ml_whatif_work *work)
{
    cut(work);
    return work->told.ones.failed ? ml_error_memory(work->why, "differences") : ML_OK;
}

void ml_tell_free(ml_told *told)
{
    size_t count;
    told->from = 0;
    ml_told_one *all = ones_of(told, &count);
    for (size_t n = 0; n < count; n++) free(all[n].data);
    ml_buf_free(&told->ones);
}

/* ---- one -------------------------------------------------------------------------------- */

/* What begins nobody knows where comes last. */
static uint64_t place_of(uint64_t first) { return first > 0 ? first : UINT64_MAX - 1; }

bool ml_tell_wanted(ml_whatif_work *work, uint64_t first, uint64_t *counter)
{
    bool early = first > 0 && first < work->ask->from;
    ++*(early ? &work->counts.earlier : counter);
    return !early && place_of(first) < work->told.cut;
}

static void pack_value(ml_buf *out, const char *name, ml_bytes value)
{
    ml_pack_text(out, name);
    if (value.size > 0) ml_buf_add(out, value.data, value.size);
    else ml_pack_nil(out);
}

static void pack_natural(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

/* The event that it begins with, out of the log. */
static ml_code pack_first(ml_whatif_work *work, uint64_t position, ml_buf *out)
{
    ml_cursor *cursor = NULL;
    ml_event event = {0};
    ml_selection at = {.system = true, .has_from = true, .from = position, .limit = 1};
    ml_pack_text(out, "first");
    if (position == 0) {
        ml_pack_nil(out);
        return ML_OK;
    }
    ml_code code = ml_read(work->ask->store, &at, &cursor);
    if (!code) code = ml_next(cursor, &event);
    if (!code) {
        ml_pack_map(out, 4);
        pack_natural(out, "position", event.position);
        pack_natural(out, "revision", event.revision);
        ml_pack_text(out, "type");
        ml_pack_str(out, event.type);
        ml_pack_text(out, "stream");
        ml_pack_str(out, event.stream);
    }
    ml_cursor_free(cursor);
    return code ? ml_whatif_store_failed(work, code) : ML_OK;
}

static void pack_fault(ml_buf *out, const char *name, const ml_fault *fault)
{
    ml_pack_text(out, name);
    ml_pack_map(out, 5);
    ml_pack_text(out, "message");
    ml_pack_text(out, fault->message);
    ml_pack_text(out, "file");
    ml_pack_text(out, fault->file);
    pack_natural(out, "line", fault->line);
    ml_pack_text(out, "source");
    ml_pack_text(out, fault->source);
    ml_pack_text(out, "traceback");
    ml_pack_text(out, fault->traceback);
}

static void pack_sides(const ml_difference *d, ml_buf *out, uint32_t *pairs)
{
    const ml_fault *faults[2] = {d->before_fault, d->after_fault};
    static const char *const names[2] = {"before_fault", "after_fault"};
    pack_value(out, "before", d->before);
    pack_value(out, "after", d->after);
    for (int n = 0; n < 2; n++) {
        if (faults[n] == NULL) continue;
        pack_fault(out, names[n], faults[n]);
        ++*pairs;
    }
}

static void pack_more(const ml_difference *d, ml_buf *out, uint32_t *pairs)
{
    if (d->command.size > 0) {
        ml_pack_text(out, "command");
        ml_pack_str(out, d->command);
        ++*pairs;
    }
    if (d->where != NULL) {
        ml_pack_text(out, "where");
        ml_pack_text(out, d->where);
        ++*pairs;
    }
    if (!d->windowed) return;
    ml_pack_text(out, "window");
    ml_pack_map(out, 2);
    ml_pack_text(out, "from");
    ml_pack_int(out, d->from);
    ml_pack_text(out, "to");
    ml_pack_int(out, d->to);
    ++*pairs;
}

ml_code ml_tell_add(ml_whatif_work *work, const ml_difference *d)
{
    ml_buf out = {0};
    uint32_t pairs = 6;
    ml_told *told = &work->told;
    size_t count, begin = ml_pack_begin(&out);
    ml_pack_text(&out, "unit");
    ml_pack_text(&out, work->unit->label);
    ml_pack_text(&out, "kind");
    ml_pack_text(&out, d->kind);
    pack_value(&out, "key", d->key);
    pack_sides(d, &out, &pairs);
    pack_more(d, &out, &pairs);
    ml_code code = pack_first(work, d->first, &out);
    ml_pack_end_map(&out, begin, pairs);
    ml_told_one one = {place_of(d->first), told->number++, out.data, out.size};
    if (!code && !out.failed) ml_buf_add(&told->ones, &one, sizeof one);
    if (!code && (out.failed || told->ones.failed))
        code = ml_error_memory(work->why, "differences");
    if (code) {
        ml_buf_free(&out);
        return code;
    }
    told->bytes += out.size;
    ones_of(told, &count);
    if (count >= 2 * work->limit || told->bytes > 2 * told->budget) cut(work);
    return ML_OK;
}

/* ---- all -------------------------------------------------------------------------------- */

ml_code ml_tell_pack(ml_whatif_work *work, ml_buf *out)
{
    ml_told *told = &work->told;
    size_t count;
    told->from = 0;
    ml_told_one *all = ones_of(told, &count);
    sort(all, count);
    ml_pack_array(out, (uint32_t)count);
    for (size_t n = 0; n < count; n++) ml_buf_add(out, all[n].data, all[n].size);
    return out->failed ? ml_error_memory(work->why, "differences") : ML_OK;
}
