/* whatif_end.c -- two views at their end: which rows differ. */
#include <stdlib.h>

#include "../base/pack.h"
#include "projection_inside.h"
#include "whatif_inside.h"

ml_code ml_two_commit(ml_two *two)
{
    for (int n = 0; n < 2; n++) {
        ml_code code = ml_projection_flush(two->projections[n], two->views[n], two->work->why);
        if (!code)
            code =
                ml_projection_pass(two->projections[n], two->views[n], two->time, two->work->why);
        if (!code)
            code = ml_view_commit(two->views[n], two->position, (ml_bytes){0}, two->work->why);
        if (code) return code;
    }
    return ML_OK;
}

/* ---- parting ---------------------------------------------------------------------------- */

typedef struct copying {
    ml_two *two;
    ml_code code;
} copying;

static bool copy_row(void *context, ml_bytes key, ml_bytes row)
{
    copying *c = context;
    ml_two *two = c->two;
    if (ml_marks_find(two->marks, key) != NULL) return true;
    c->code = ml_view_put(two->views[1], key, row, 0, two->work->why);
    if (!c->code && ml_view_full(two->views[1]))
        c->code = ml_view_commit(two->views[1], two->position, (ml_bytes){0}, two->work->why);
    return c->code == ML_OK;
}

ml_code ml_two_part(ml_two *two)
{
    copying c = {.two = two};
    ml_view_range all = {.index = -1};
    ml_code code = ml_two_commit(two);
    if (!code) code = ml_view_scan(two->views[0], &all, copy_row, &c, two->work->why);
    if (!code) code = c.code;
    if (!code) code = ml_two_commit(two);
    ml_projection_forget_hot(two->projections[0]);
    two->apart = true;
    two->hot = false;
    return code;
}

/* ---- telling ---------------------------------------------------------------------------- */

static ml_code tell(ml_two *two, ml_bytes key, uint64_t first, ml_bytes before, ml_bytes after)
{
    ml_buf value = {0};
    ml_difference d = {.kind = "row", .before = before, .after = after, .first = first};
    if (!ml_tell_wanted(two->work, first, &two->work->counts.differing)) return ML_OK;
    bool good = ml_key_pack(key, &value, &d.windowed, &d.from, &d.to);
    ML_ASSERT(good); /* ml_key_make has made it */
    d.key = ml_buf_view(&value);
    ml_code code = value.failed ? ml_error_memory(two->work->why, "a difference")
                                : ml_tell_add(two->work, &d);
    ml_buf_free(&value);
    return code;
}

static ml_code find(ml_two *two, int version, ml_bytes key, ml_bytes *row)
{
    return ml_view_find(two->views[version], key, row, two->work->why);
}

/* Together exactly those that have marks differ. */
static ml_code tell_marked(ml_two *two)
{
    ml_view_stats stats;
    ml_bytes rows[2];
    ml_code code = ML_OK;
    size_t count = ml_marks_count(two->marks);
    const ml_mark **all = ml_marks_sorted(two->marks);
    if (all == NULL) return ml_error_memory(two->work->why, "the rows that differ");
    ml_view_get_stats(two->views[0], &stats);
    for (size_t n = 0; !code && n < count; n++) {
        ml_bytes key = {all[n]->key, all[n]->size};
        code = find(two, 0, key, &rows[0]);
        if (!code) code = find(two, 1, key, &rows[1]);
        if (code) break;
        if (rows[0].data == NULL) stats.rows++;
        if (rows[1].data == NULL) stats.rows--;
        code = tell(two, key, all[n]->position, rows[0], rows[1]);
    }
    two->work->counts.rows = stats.rows;
    free(all);
    return code;
}

/* ---- apart ------------------------------------------------------------------------------ */

typedef struct scanning {
    ml_two *two;
    int version; /* whose rows are looked at */
    ml_code code;
} scanning;

/* Rows that only `before` has, and those that only `after` has or that differ. */
static bool look(void *context, ml_bytes key, ml_bytes row)
{
    scanning *s = context;
    ml_two *two = s->two;
    ml_bytes other;
    s->code = find(two, 1 - s->version, key, &other);
    bool differs = s->version == 1 ? !ml_bytes_equal(row, other) : other.data == NULL;
    if (!s->code && differs) {
        const ml_mark *mark = ml_marks_find(two->marks, key);
        s->code = tell(two, key, mark != NULL ? mark->position : 0,
                       s->version == 1 ? other : row, s->version == 1 ? row : other);
    }
    return s->code == ML_OK;
}

static ml_code tell_apart(ml_two *two)
{
    ml_view_stats stats;
    ml_view_range all = {.index = -1};
    ml_view_get_stats(two->views[1], &stats);
    two->work->counts.rows = stats.rows;
    for (int n = 0; n < 2; n++) {
        scanning s = {.two = two, .version = n};
        ml_code code = ml_view_scan(two->views[n], &all, look, &s, two->work->why);
        if (!code) code = s.code;
        if (code) return code;
    }
    return ML_OK;
}

ml_code ml_two_finish(ml_two *two)
{
    ml_code code = ml_two_commit(two);
    if (code) return code;
    return two->apart ? tell_apart(two) : tell_marked(two);
}
