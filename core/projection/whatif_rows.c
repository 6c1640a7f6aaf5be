/* whatif_rows.c -- projections: one pass over the log for both versions.
 *
 * Where what an event does depends on the clock too (windows, ttl), or on what went wrong before
 * (held keys), both versions fold everything, each into its own view.
 */
#include <stdio.h>

#include "../rules/shape.h"
#include "projection_inside.h"
#include "whatif_inside.h"

enum { PATH = 4096 };

/* ---- all events ------------------------------------------------------------------------- */

/* Where the log ends time has passed, too. */
static ml_code see_end(ml_two *two)
{
    ml_cursor *cursor = NULL;
    ml_event event = {0};
    ml_whatif_work *work = two->work;
    ml_selection last = {.system = true, .has_from = true, .from = work->head, .limit = 1};
    if (work->head == 0 || !two->apart) return ML_OK;
    ml_code code = ml_read(work->ask->store, &last, &cursor);
    if (!code) code = ml_next(cursor, &event);
    if (!code) two->time = event.time;
    if (!code) two->position = event.position;
    ml_cursor_free(cursor);
    return code ? ml_whatif_store_failed(work, code) : ML_OK;
}

static ml_code run(ml_two *two)
{
    ml_event_source source;
    ml_event event;
    ml_selection selections[2];
    for (int n = 0; n < 2; n++) selections[n] = ml_projection_selection(two->projections[n]);
    ml_code code = ml_source_begin(&source, two->work, selections);
    bool seen = false;
    while (!code) {
        code = ml_source_next(&source, &event, two->wanted);
        seen = code == ML_END;
        if (!code) code = ml_two_take(two, &event);
    }
    ml_source_end(&source);
    if (two->again) return ML_OK;
    if (code == ML_END) code = seen ? see_end(two) : ML_OK;
    return code ? code : ml_two_finish(two);
}

/* ---- life ------------------------------------------------------------------------------- */

static bool same_declared(const ml_two *two)
{
    const ml_shape_projection *a = two->units[0]->projection, *b = two->units[1]->projection;
    const ml_handlers *functions[2] = {&two->units[0]->commands, &two->units[1]->commands};
    if (a->key != b->key || !ml_bytes_equal(a->whole_path, b->whole_path)) return false;
    const ml_buf *initial[2] = {&two->units[0]->initial, &two->units[1]->initial};
    if (!ml_bytes_equal(ml_buf_view(initial[0]), ml_buf_view(initial[1]))) return false;
    if (functions[0]->count != functions[1]->count) return false;
    for (size_t n = 0; n < functions[1]->count; n++)
        if (!two->alike.commands[n]) return false;
    return true;
}

static bool same_window(const ml_window *a, const ml_window *b)
{
    return a->kind == b->kind && a->size == b->size && a->hop == b->hop && a->offset == b->offset &&
           a->grace == b->grace && a->occurred == b->occurred;
}

/* Is there nothing at all that an event could tell? */
static bool is_same(const ml_two *two)
{
    const ml_shape_projection *a = two->units[0]->projection, *b = two->units[1]->projection;
    ml_selection selections[2];
    for (int n = 0; n < 2; n++) selections[n] = ml_projection_selection(two->projections[n]);
    return two->declared && two->alike.handlers && two->alike.chains &&
           ml_source_same(&selections[0], &selections[1]) && same_window(&a->window, &b->window) &&
           a->ttl == b->ttl && a->holds == b->holds && two->starts[0] == two->starts[1];
}

static ml_code open_view(ml_two *two, int n, char path[PATH])
{
    static const char *const names[2] = {"before", "after"};
    ml_view_about about;
    ml_error *why = two->work->why;
    int size = snprintf(path, PATH, "%s/%s", two->work->ask->scratch, names[n]);
    if (size >= PATH) {
        path[0] = '\0';
        return ml_error_set(why, ML_BAD_REQUEST, "the name of scratch is too long");
    }
    ml_projection_about(two->projections[n], (ml_bytes){0}, &about);
    about.index_count = 0; /* nobody asks for them here */
    about.boot = two->work->ask->boot;
    ml_code code = ml_view_discard(path, why);
    return code ? code : ml_view_open(path, &about, &two->views[n], why);
}

static ml_code compare_declared(ml_two *two)
{
    ml_whatif_work *work = two->work;
    const ml_rulepack *packs[2] = {work->packs[0], work->packs[1]};
    ml_code code = ml_alike_begin(&two->alike, packs, two->units[0], two->units[1], work->why);
    if (code) return code;
    two->declared = same_declared(two);
    work->same = is_same(two);
    for (int n = 0; n < 2; n++)
        two->apart |= ml_projection_is_timed(two->projections[n]) ||
                      two->units[n]->projection->holds;
    return ML_OK;
}

static ml_code begin(ml_two *two)
{
    ml_code code = ML_OK;
    two->marks = ml_marks_new();
    two->touched = ml_keys_new();
    two->hits = ml_keys_new();
    if (two->marks == NULL || two->touched == NULL || two->hits == NULL)
        return ml_error_memory(two->work->why, "a projection");
    for (int n = 0; !code && n < 2; n++) {
        code = ml_projection_new(two->units[n], &two->projections[n], two->work->why);
        if (!code) two->starts[n] = ml_projection_start(two->projections[n], 0);
    }
    two->skips = ml_unpack_from(ml_unpack_find(two->work->ask->skips, two->units[0]->name));
    if (!ml_unpack_array(&two->skips, &two->skip_count)) two->skip_count = 0;
    return code ? code : compare_declared(two);
}

/* `*hot`: rows may stay tables. False then: that did not do, and nothing was told. */
static ml_code fold(ml_whatif_work *work, ml_unit *before, ml_unit *after, bool *hot)
{
    char paths[2][PATH] = {"", ""};
    ml_error unused;
    ml_two two = {.work = work, .units = {before, after}};
    ml_code code = begin(&two);
    bool views = !code && !work->same;
    two.hot = *hot && views && !two.apart;
    if (two.hot) code = ml_projection_keep_hot(two.projections[0], work->why);
    for (int n = 0; views && !code && n < 2; n++) code = open_view(&two, n, paths[n]);
    if (views && !code) code = run(&two);
    for (int n = 0; n < 2; n++) {
        ml_view_close(two.views[n]);
        /* Whoever uses the directory next discards what is left. */
        if (paths[n][0] != '\0') ML_IGNORE(ml_view_discard(paths[n], &unused));
        ml_projection_free(two.projections[n]);
    }
    ml_alike_end(&two.alike);
    ml_marks_free(two.marks);
    ml_keys_free(two.touched);
    ml_keys_free(two.hits);
    *hot = !two.again;
    return code;
}

ml_code ml_whatif_rows(ml_whatif_work *work, ml_unit *before, ml_unit *after)
{
    bool hot = true;
    ml_code code = fold(work, before, after, &hot);
    if (code || hot) return code;
    work->counts = (ml_whatif_counts){0};
    return fold(work, before, after, &hot);
}
