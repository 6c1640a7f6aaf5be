/* whatif_fold.c -- one event, for both versions of a projection.
 *
 *     the handlers do the same ──▶ one fold, into the rows of both; another for those that differ
 *     or may not               ──▶ `after` and then `before`, each on what it has
 */
#include "projection_inside.h"
#include "whatif_inside.h"

/* ---- rows ------------------------------------------------------------------------------- */

static bool is_marked(const ml_two *two, ml_bytes key)
{
    return ml_marks_find(two->marks, key) != NULL;
}

static ml_code put(ml_view *view, ml_bytes key, ml_bytes row, int64_t expires, ml_error *why)
{
    return row.data != NULL ? ml_view_put(view, key, row, expires, why)
                            : ml_view_delete(view, key, why);
}

/* ---- of both versions, one fold --------------------------------------------------------- */

static ml_code get_common(void *context, ml_bytes key, ml_bytes *row, ml_error *why)
{
    ml_two *two = context;
    if (ml_marks_count(two->marks) > 0 && is_marked(two, key)) {
        ml_code code = ml_keys_add(two->hits, key, why);
        if (code) return code;
    }
    return ml_view_get(two->views[0], key, row, why);
}

/* What both have to be folded for is to be seen. */
static bool stays_common(void *context, ml_bytes key)
{
    const ml_two *two = context;
    return !is_marked(two, key);
}

static ml_code put_common(void *context, ml_bytes key, ml_bytes row, int64_t expires, ml_error *why)
{
    ml_two *two = context;
    return put(two->views[0], key, row, expires, why);
}

static ml_code remove_common(void *context, ml_bytes key, ml_error *why)
{
    return put_common(context, key, (ml_bytes){0}, 0, why);
}

/* ---- of `before` ------------------------------------------------------------------------ */

static ml_code get_before(void *context, ml_bytes key, ml_bytes *row, ml_error *why)
{
    ml_two *two = context;
    return ml_view_get(two->views[0], key, row, why);
}

static int64_t expires_before(void *context, ml_bytes key)
{
    ml_two *two = context;
    return ml_view_expires(two->views[0], key);
}

/* A row that both have had, and that `after` has not changed, stays with `after` as it was. */
static ml_code put_before(void *context, ml_bytes key, ml_bytes row, int64_t expires, ml_error *why)
{
    ml_two *two = context;
    ml_bytes old;
    ml_code code = ML_OK;
    if (!two->apart && !is_marked(two, key) && !ml_keys_has(two->touched, key)) {
        code = ml_view_get(two->views[0], key, &old, why);
        if (!code) code = put(two->views[1], key, old, 0, why);
    }
    if (!code) code = ml_keys_add(two->touched, key, why);
    return code ? code : put(two->views[0], key, row, expires, why);
}

static ml_code remove_before(void *context, ml_bytes key, ml_error *why)
{
    return put_before(context, key, (ml_bytes){0}, 0, why);
}

/* ---- of `after` ------------------------------------------------------------------------- */

static ml_code get_after(void *context, ml_bytes key, ml_bytes *row, ml_error *why)
{
    ml_two *two = context;
    return ml_view_get(two->views[two->apart || is_marked(two, key) ? 1 : 0], key, row, why);
}

static int64_t expires_after(void *context, ml_bytes key)
{
    ml_two *two = context;
    return ml_view_expires(two->views[two->apart ? 1 : 0], key); /* together there is no ttl */
}

static ml_code put_after(void *context, ml_bytes key, ml_bytes row, int64_t expires, ml_error *why)
{
    ml_two *two = context;
    ml_code code = ml_keys_add(two->touched, key, why);
    return code ? code : put(two->views[1], key, row, expires, why);
}

static ml_code remove_after(void *context, ml_bytes key, ml_error *why)
{
    return put_after(context, key, (ml_bytes){0}, 0, why);
}

/* ---- sessions --------------------------------------------------------------------------- */

typedef struct walk {
    bool (*each)(void *context, ml_bytes key);
    void *context;
} walk;

static bool walk_on(void *context, ml_bytes key, ml_bytes row)
{
    const walk *w = context;
    (void)row;
    return w->each(w->context, key);
}

static ml_code back(ml_two *two, int version, ml_bytes from, ml_bytes to, walk w, ml_error *why)
{
    ml_view_range range = {.index = -1, .from = from, .to = to, .backward = true};
    ML_ASSERT(two->apart); /* sessions are windows */
    return ml_view_scan(two->views[version], &range, walk_on, &w, why);
}

static ml_code back_before(void *context, ml_bytes from, ml_bytes to,
                           bool (*each)(void *each_context, ml_bytes key), void *each_context,
                           ml_error *why)
{
    return back(context, 0, from, to, (walk){each, each_context}, why);
}

static ml_code back_after(void *context, ml_bytes from, ml_bytes to,
                          bool (*each)(void *each_context, ml_bytes key), void *each_context,
                          ml_error *why)
{
    return back(context, 1, from, to, (walk){each, each_context}, why);
}

static ml_rows common_rows(ml_two *two)
{
    return (ml_rows){two,           get_common,  expires_before, put_common,
                     remove_common, back_before, stays_common};
}

/* ---- comparing -------------------------------------------------------------------------- */

static ml_code mark(ml_two *two, ml_bytes key)
{
    if (two->full) return ML_OK;
    ml_code code = ml_marks_put(two->marks, key, two->position, two->work->why);
    if (code != ML_LIMIT) return code;
    two->full = true;
    return ML_OK;
}

/* What `after` has of a key that was touched lies in its view by now. */
static ml_code compare_key(ml_two *two, ml_bytes key)
{
    ml_bytes rows[2];
    for (int n = 0; n < 2; n++) {
        ml_code code = ml_view_get(two->views[n], key, &rows[n], two->work->why);
        if (code) return code;
    }
    bool both = (rows[0].data == NULL) == (rows[1].data == NULL);
    bool equal = both && ml_bytes_equal(rows[0], rows[1]);
    if (!equal) return mark(two, key);
    if (ml_marks_remove(two->marks, key)) two->work->counts.transient++;
    return two->apart ? ML_OK : ml_view_delete(two->views[1], key, two->work->why);
}

static ml_code compare(ml_two *two)
{
    ml_code code = ML_OK;
    for (size_t n = 0; !code && n < ml_keys_count(two->touched); n++)
        code = compare_key(two, ml_keys_get(two->touched, n));
    if (!code && two->full && !two->apart) {
        /* Without a mark for each the rows of both cannot be told from each other. */
        code = ml_two_part(two);
    }
    return code;
}

/* ---- faults ----------------------------------------------------------------------------- */

static ml_code tell_fault(ml_two *two, const ml_fault *before, const ml_fault *after)
{
    ml_whatif_work *work = two->work;
    if (!ml_tell_wanted(work, two->position, &work->counts.differing)) return ML_OK;
    return ml_tell_add(work, &(ml_difference){.kind = "fault",
                                              .first = two->position,
                                              .before_fault = before,
                                              .after_fault = after});
}

/* ML_END: this is where one of them, or both, would stop. */
static ml_code stop(ml_two *two, const ml_applied applied[2], ml_fault faults[2])
{
    bool bad[2] = {applied[0] == ML_APPLIED_FAULT, applied[1] == ML_APPLIED_FAULT};
    if (!bad[0] && !bad[1]) return ML_OK;
    if (bad[0] && bad[1]) return ML_END;
    int culprit = bad[1] ? 1 : 0;
    ml_whatif_blame(two->units[culprit], &faults[culprit]);
    ml_code code = tell_fault(two, bad[0] ? &faults[0] : NULL, bad[1] ? &faults[1] : NULL);
    return code ? code : ML_END;
}

/* A key that only one of them holds from here on. */
static ml_code tell_held(ml_two *two, const size_t held[2])
{
    ml_projection_stats stats[2];
    ml_fault fault;
    for (int n = 0; n < 2; n++) ml_projection_get_stats(two->projections[n], &stats[n]);
    bool more[2] = {stats[0].held > held[0], stats[1].held > held[1]};
    if (more[0] == more[1]) return ML_OK;
    int culprit = more[1] ? 1 : 0;
    ml_fault_set(&fault, ML_FAULT_RAISED, "", 0, "%s",
                 ml_projection_held_why(two->projections[culprit], stats[culprit].held - 1));
    return tell_fault(two, more[0] ? &fault : NULL, more[1] ? &fault : NULL);
}

/* ---- one event -------------------------------------------------------------------------- */

static ml_code apply_version(ml_two *two, int version, const ml_event *event, const ml_keys *only,
                             ml_applied *applied, ml_fault *fault)
{
    static const ml_rows rows[2] = {
        {NULL, get_before, expires_before, put_before, remove_before, back_before, NULL},
        {NULL, get_after, expires_after, put_after, remove_after, back_after, NULL}};
    ml_rows use = rows[version];
    use.context = two;
    return ml_projection_apply_rows(two->projections[version], &use, event, only, applied, fault,
                                    two->work->why);
}

/* Rows that the event goes to are to be what the views have; all, if it is not known which. */
static ml_code cool(ml_two *two, const ml_event *event)
{
    ml_fault fault;
    ml_error said;
    ml_rows rows = common_rows(two);
    ml_projection *common = two->projections[0];
    bool known = true;
    if (!ml_projection_has_hot(common)) return ML_OK;
    ml_keys_cut(two->hits, 0);
    for (int n = 0; n < 2; n++)
        if (two->wanted[n])
            known &= ml_projection_keys(two->projections[n], event, two->hits, &fault, &said) == ML_OK;
    if (known) return ml_projection_cool_rows(common, &rows, two->hits, two->work->why);
    ml_code code = ml_projection_flush_rows(common, &rows, two->work->why);
    if (!code) ml_projection_forget_hot(common);
    return code;
}

static ml_code apply_both(ml_two *two, const ml_event *event)
{
    ml_applied applied[2] = {ML_APPLIED, ML_APPLIED};
    ml_fault faults[2];
    ml_projection_stats stats;
    size_t held[2];
    ml_code code = two->hot ? cool(two, event) : ML_OK;
    for (int n = 0; n < 2; n++) {
        ml_projection_get_stats(two->projections[n], &stats);
        held[n] = stats.held;
    }
    for (int n = 1; !code && n >= 0; n--)
        if (two->wanted[n]) code = apply_version(two, n, event, NULL, &applied[n], &faults[n]);
    if (!code) code = compare(two);
    if (!code) code = tell_held(two, held);
    return code ? code : stop(two, applied, faults);
}

/* The handlers are the same, and so is the result for rows that are. */
static ml_code apply_common(ml_two *two, const ml_event *event)
{
    ml_applied applied[2] = {ML_APPLIED, ML_APPLIED};
    ml_fault faults[2];
    ml_rows rows = common_rows(two);
    ml_keys_cut(two->hits, 0);
    ml_code code = ml_projection_apply_rows(two->projections[0], &rows, event, NULL, &applied[0],
                                            &faults[0], two->work->why);
    if (code) return code;
    two->again = applied[0] == ML_APPLIED_AGAIN;
    if (two->again) return ML_END;
    if (applied[0] != ML_APPLIED) return apply_both(two, event); /* it has done nothing */
    if (ml_keys_count(two->hits) == 0) return ML_OK;
    code = apply_version(two, 1, event, two->hits, &applied[1], &faults[1]);
    for (size_t n = 0; !code && n < ml_keys_count(two->hits); n++)
        code = ml_keys_add(two->touched, ml_keys_get(two->hits, n), two->work->why);
    if (!code) code = compare(two);
    return code ? code : stop(two, applied, faults);
}

/* An order to pass over an event is for the version that stopped at it. */
static bool is_skipped(const ml_two *two, uint64_t position)
{
    int64_t skipped;
    ml_unpack at = two->skips;
    for (uint32_t n = 0; n < two->skip_count && ml_unpack_int(&at, &skipped); n++)
        if ((uint64_t)skipped == position) return true;
    return false;
}

ml_code ml_two_take(ml_two *two, const ml_event *event)
{
    for (int n = 0; n < 2; n++) two->wanted[n] &= event->position > two->starts[n];
    if (two->skip_count > 0) two->wanted[0] &= !is_skipped(two, event->position);
    if (!two->wanted[0] && !two->wanted[1]) return ML_OK;
    two->position = event->position;
    two->time = event->time;
    two->work->counts.events++;
    ml_keys_cut(two->touched, 0);
    bool common = !two->apart && two->declared && two->wanted[0] && two->wanted[1] &&
                  ml_alike_event(&two->alike, event->type);
    ml_code code = common ? apply_common(two, event) : apply_both(two, event);
    if (!code && (ml_view_full(two->views[0]) || ml_view_full(two->views[1])))
        code = ml_two_commit(two);
    return code ? code : ml_whatif_step(two->work, event->position);
}
