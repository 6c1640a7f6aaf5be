/* rebuild.c -- see rebuild.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "../base/unpack.h"
#include "alike.h"
#include "keys.h"
#include "note.h"
#include "projector_inside.h"

enum { LOOK_EVERY = 8, TYPES_MAX = ML_QUERY_TERMS_MAX };

typedef enum phase { COPY, COLLECT, DELETE, REPLAY, FINISH } phase;

struct ml_rebuild {
    ml_rebuild_plan plan;
    phase phase;
    ml_rulepack *pack; /* the other version */
    ml_projection *projection;
    ml_bytes types[TYPES_MAX]; /* whose events may do something else now; of either unit */
    size_t type_count;
    char base[ML_PROJECTOR_PATH], part[ML_PROJECTOR_PATH + 8];
    ml_view *view;
    ml_buf note;       /* of the view that was copied */
    uint64_t position; /* up to which it goes */
    uint64_t rows;
    ml_keys *keys;
    size_t at; /* in `keys` */
    ml_cursor *cursor;
    uint64_t seen; /* position of the last event */
    ml_fault fault;
};

/* ---- what is the same ------------------------------------------------------------------- */

static bool same_list(const ml_bytes *a, size_t a_count, const ml_bytes *b, size_t b_count)
{
    if (a_count != b_count) return false;
    for (size_t n = 0; n < a_count; n++)
        if (!ml_bytes_equal(a[n], b[n])) return false;
    return true;
}

static bool same_columns(const ml_shape_projection *a, const ml_shape_projection *b)
{
    if (!ml_bytes_equal(a->table, b->table) || a->column_count != b->column_count) return false;
    for (size_t n = 0; n < a->column_count; n++) {
        const ml_shape_column *one = &a->columns[n], *other = &b->columns[n];
        if (!ml_bytes_equal(one->name, other->name) || !ml_bytes_equal(one->path, other->path) ||
            one->type != other->type)
            return false;
    }
    return true;
}

/* What is declared and is not; NULL: all of it is the same. */
static const char *declared_otherwise(const ml_unit *before, const ml_unit *after)
{
    const ml_shape_projection *a = before->projection, *b = after->projection;
    if (a->window.kind != ML_WINDOW_NONE || b->window.kind != ML_WINDOW_NONE) return "windows";
    if (a->ttl != 0 || b->ttl != 0) return "a ttl";
    if (!ml_bytes_equal(a->stream, b->stream) || !ml_bytes_equal(a->category, b->category) ||
        !same_list(a->types, a->type_count, b->types, b->type_count) ||
        !same_list(a->tags, a->tag_count, b->tags, b->tag_count))
        return "another `from`";
    if (a->key != b->key || !ml_bytes_equal(a->whole_path, b->whole_path)) return "another key";
    if (!same_list(a->indexes, a->index_count, b->indexes, b->index_count)) return "other indexes";
    if (a->start != b->start || a->start_position != b->start_position) return "another start";
    if (a->holds != b->holds) return "another `fault`";
    if (!same_columns(a, b)) return "another table of SQL";
    if (!ml_bytes_equal(ml_buf_view(&before->initial), ml_buf_view(&after->initial)))
        return "another row to begin with";
    return NULL;
}

/* Functions that are no handlers: key. */
static bool same_functions(const ml_alike *alike)
{
    if (alike->before->commands.count != alike->after->commands.count) return false;
    for (size_t n = 0; n < alike->after->commands.count; n++)
        if (!alike->commands[n]) return false;
    return true;
}

static ml_code add_types(ml_rebuild *r, const ml_alike *alike, const ml_handlers *on,
                         const ml_handlers *known, ml_error *why)
{
    for (size_t n = 0; n < on->count; n++) {
        ml_bytes type = on->all[n].name;
        if (ml_alike_event(alike, type)) continue;
        if (known != NULL && ml_unit_find(known, type) != NULL) continue;
        if (r->type_count == TYPES_MAX)
            return ml_error_set(why, ML_LIMIT, "over %d types have another handler", TYPES_MAX);
        r->types[r->type_count++] = type;
    }
    return ML_OK;
}

static ml_code compare(ml_rebuild *r, const ml_unit *before, ml_error *why)
{
    ml_alike alike;
    const ml_unit *after = r->plan.unit;
    const ml_rulepack *packs[2] = {r->pack, r->plan.pack};
    const char *other = declared_otherwise(before, after);
    if (other != NULL) return ml_error_set(why, ML_UNSUPPORTED, "it has %s", other);
    ml_code code = ml_alike_begin(&alike, packs, before, after, why);
    if (code) return code;
    if (!same_functions(&alike))
        code = ml_error_set(why, ML_UNSUPPORTED, "it has another key function");
    if (!code) code = add_types(r, &alike, &before->on, NULL, why);
    if (!code) code = add_types(r, &alike, &after->on, &before->on, why);
    ml_alike_end(&alike);
    return code;
}

/* ---- life ------------------------------------------------------------------------------- */

static ml_code compile(ml_rebuild *r, ml_error *why)
{
    ml_diagnostics said = {0};
    const ml_rebuild_plan *plan = &r->plan;
    ml_code code = ml_rulepack_new(plan->base_files, plan->base_count, &said, &r->pack, why);
    if (!code && said.errors > 0)
        code = ml_error_set(why, ML_SCRIPT_ERROR, "the rules of the version before have errors");
    ml_diagnostics_free(&said);
    if (code) return code;
    ml_bytes name = {plan->unit->name, strlen(plan->unit->name)};
    ml_unit *unit = ml_rulepack_find(r->pack, ML_UNIT_PROJECTION, name);
    if (unit == NULL) return ml_error_set(why, ML_NOT_FOUND, "the version before has none");
    unit->watch = plan->unit->watch;
    code = compare(r, unit, why);
    return code ? code : ml_projection_new(unit, &r->projection, why);
}

ml_rebuild *ml_rebuild_new(const ml_rebuild_plan *plan, ml_error *why)
{
    ml_rebuild *r = calloc(1, sizeof *r);
    if (r == NULL) {
        ml_error_memory(why, "a rebuild");
        return NULL;
    }
    r->plan = *plan;
    int base = snprintf(r->base, sizeof r->base, "%s", plan->base);
    snprintf(r->part, sizeof r->part, "%s.part", plan->dir);
    ml_code code = ML_OK;
    if (base >= (int)sizeof r->base)
        code = ml_error_set(why, ML_BAD_REQUEST, "the name of its directory is too long");
    r->keys = ml_keys_new();
    if (!code && r->keys == NULL) code = ml_error_memory(why, "keys");
    if (!code) code = compile(r, why);
    if (!code) return r;
    ml_rebuild_free(r);
    return NULL;
}

static void close_all(ml_rebuild *r)
{
    ml_cursor_free(r->cursor);
    ml_view_close(r->view);
    r->cursor = NULL;
    r->view = NULL;
}

void ml_rebuild_free(ml_rebuild *r)
{
    ml_error why;
    if (r == NULL) return;
    close_all(r);
    ML_IGNORE(ml_view_discard(r->part, &why)); /* who comes next removes it too */
    ml_projection_free(r->projection);
    ml_rulepack_free(r->pack);
    ml_keys_free(r->keys);
    ml_buf_free(&r->note);
    free(r);
}

/* ---- the copy --------------------------------------------------------------------------- */

static ml_code check_note(ml_rebuild *r, ml_error *why)
{
    ml_note note;
    ml_projection_stats stats;
    if (!ml_note_read(ml_buf_view(&r->note), &note) || note.position != r->position)
        return ml_error_set(why, ML_CORRUPT, "the view of the version before has no note");
    if (note.start != r->plan.start)
        return ml_error_set(why, ML_UNSUPPORTED, "the version before was begun somewhere else");
    if (note.skipped > 0)
        return ml_error_set(why, ML_UNSUPPORTED, "the version before has passed over events");
    for (size_t n = 0; n < r->plan.skip_count; n++)
        if (r->plan.skips[n] <= r->position)
            return ml_error_set(why, ML_UNSUPPORTED, "events are to be passed over");
    ml_code code = ml_projection_load(r->plan.projection, note.projection, why);
    if (code) return code;
    ml_projection_get_stats(r->plan.projection, &stats);
    if (stats.held == 0) return ML_OK;
    return ml_error_set(why, ML_UNSUPPORTED, "keys of the version before are held");
}

static ml_code find_events(ml_rebuild *r, const ml_selection *selection, ml_error *why)
{
    ml_code code = ml_read(r->plan.store, selection, &r->cursor);
    r->seen = 0;
    if (code == ML_NOT_FOUND) return ML_END; /* the stream has no event */
    return code ? ml_error_retell(why, code, ml_why(r->plan.store)) : ML_OK;
}

/* As what it sees, but only the types that have changed. */
static ml_code find_changed(ml_rebuild *r, ml_error *why)
{
    ml_selection selection = ml_projection_selection(r->plan.projection);
    ml_query_item items[ML_QUERY_ITEMS_MAX] = {{0}};
    size_t count = selection.query.count > 0 ? selection.query.count : 1;
    if (count > ML_QUERY_ITEMS_MAX) return ml_error_set(why, ML_LIMIT, "its `from` has many parts");
    for (size_t n = 0; n < count; n++) {
        if (selection.query.count > 0) items[n] = selection.query.items[n];
        items[n].types = r->types;
        items[n].type_count = r->type_count;
    }
    selection.query = (ml_query){items, count};
    return find_events(r, &selection, why);
}

static ml_code copy(ml_rebuild *r, ml_error *why)
{
    ml_view_about about;
    ml_view_stats stats;
    ml_projection_about(r->plan.projection, r->plan.log, &about);
    about.boot = r->plan.boot;
    ml_code code = ml_view_discard(r->part, why);
    if (!code) code = ml_view_copy(r->base, r->part, &about, why);
    if (!code) code = ml_view_open(r->part, &about, &r->view, why);
    if (code) return code;
    ml_view_get_stats(r->view, &stats);
    r->position = stats.position;
    r->rows = stats.rows;
    ml_bytes note = ml_view_note(r->view);
    ml_buf_add(&r->note, note.data, note.size);
    if (r->note.failed) return ml_error_memory(why, "a view's note");
    code = check_note(r, why);
    r->phase = r->type_count > 0 ? COLLECT : FINISH;
    if (code || r->type_count == 0) return code;
    code = find_changed(r, why);
    return code == ML_END ? ML_OK : code;
}

/* ---- which keys ------------------------------------------------------------------------- */

/* The next event up to the position; ML_END behind it. */
static ml_code next_event(ml_rebuild *r, ml_event *event, ml_error *why)
{
    if (r->cursor == NULL) return ML_END;
    ml_code code = ml_next(r->cursor, event);
    if (code > 0) return ml_error_retell(why, code, ml_why(r->plan.store));
    if (!code && event->position > r->position) code = ML_END;
    if (!code) r->seen = event->position;
    return code;
}

static ml_code collect_one(ml_rebuild *r, const ml_event *event, ml_error *why)
{
    ml_projection *both[] = {r->projection, r->plan.projection};
    for (size_t n = 0; n < 2; n++) {
        ml_code code = ml_projection_keys(both[n], event, r->keys, &r->fault, why);
        if (code) return code;
    }
    size_t count = ml_keys_count(r->keys);
    if (count > ML_REBUILD_KEYS_MAX || count > r->rows / 2)
        return ml_error_set(why, ML_UNSUPPORTED, "too many rows would be another");
    return ML_OK;
}

static ml_code collect(ml_rebuild *r, uint64_t until, ml_error *why)
{
    ml_event event;
    ml_code code;
    for (unsigned n = 1; (code = next_event(r, &event, why)) == ML_OK; n++) {
        code = collect_one(r, &event, why);
        if (code) return code;
        if (n % LOOK_EVERY == 0 && ml_projector_clock_us() >= until) return ML_OK;
    }
    ml_cursor_free(r->cursor);
    r->cursor = NULL;
    r->phase = DELETE;
    return code == ML_END ? ML_OK : code;
}

/* ---- replaying them --------------------------------------------------------------------- */

static ml_code commit(ml_rebuild *r, ml_error *why)
{
    ml_code code = ml_projection_flush(r->plan.projection, r->view, why);
    return code ? code : ml_view_commit(r->view, r->position, ml_buf_view(&r->note), why);
}

static ml_code delete_rows(ml_rebuild *r, uint64_t until, ml_error *why)
{
    while (r->at < ml_keys_count(r->keys)) {
        ml_code code = ml_view_delete(r->view, ml_keys_get(r->keys, r->at++), why);
        if (!code && ml_view_full(r->view)) code = commit(r, why);
        if (code) return code;
        if (r->at % 64 == 0 && ml_projector_clock_us() >= until) return ML_OK;
    }
    r->at = 0;
    r->phase = r->at < ml_keys_count(r->keys) ? REPLAY : FINISH;
    return ML_OK;
}

/* The stream that a key's events are in; false: they may be in several. */
static bool stream_of(const ml_rebuild *r, ml_bytes key, ml_buf *name)
{
    const ml_shape_projection *shape = r->plan.unit->projection;
    bool windowed;
    int64_t start, end;
    ml_buf value = {0};
    ml_bytes text = {0};
    if (shape->key == ML_SHAPE_KEY_ID && shape->category.size > 0) {
        ml_buf_add(name, shape->category.data, shape->category.size);
        ml_buf_byte(name, '-');
    } else if (shape->key != ML_SHAPE_KEY_STREAM) {
        return false;
    }
    bool good = ml_key_pack(key, &value, &windowed, &start, &end);
    ml_unpack cursor = ml_unpack_from(ml_buf_view(&value));
    good = good && !value.failed && ml_unpack_str(&cursor, &text);
    ml_buf_add(name, text.data, text.size);
    ml_buf_free(&value);
    return good && !name->failed;
}

/* The next stream, or all events at once. ML_END: none is left. */
static ml_code find_next(ml_rebuild *r, ml_error *why)
{
    ml_code code = ML_END;
    ml_cursor_free(r->cursor);
    r->cursor = NULL;
    while (code == ML_END && r->at < ml_keys_count(r->keys)) {
        ml_buf name = {0};
        ml_selection selection = ml_projection_selection(r->plan.projection);
        if (stream_of(r, ml_keys_get(r->keys, r->at), &name)) {
            const ml_shape_projection *shape = r->plan.unit->projection;
            selection.stream = ml_buf_view(&name);
            selection.category = (ml_bytes){0};
            /* What it has no handler for changes nothing, and asking for types has its price. */
            if (shape->type_count == 0 && shape->tag_count == 0) selection.query.count = 0;
            r->at++;
        } else {
            r->at = ml_keys_count(r->keys);
        }
        code = find_events(r, &selection, why);
        ml_buf_free(&name);
    }
    return code;
}

static ml_code replay_one(ml_rebuild *r, const ml_event *event, ml_error *why)
{
    ml_applied applied;
    ml_code code =
        ml_projection_apply(r->plan.projection, r->view, event, r->keys, &applied, &r->fault, why);
    if (code) return code;
    if (applied != ML_APPLIED) /* whatever else it is: a full build says what */
        return ml_error_set(why, ML_SCRIPT_ERROR, "the handler of event %llu raises",
                            (unsigned long long)event->position);
    return ml_view_full(r->view) ? commit(r, why) : ML_OK;
}

static ml_code replay(ml_rebuild *r, uint64_t until, ml_error *why)
{
    ml_event event;
    for (unsigned n = 1;; n++) {
        ml_code code = r->cursor != NULL ? next_event(r, &event, why) : ML_END;
        if (!code)
            code = replay_one(r, &event, why);
        else if (code == ML_END)
            code = find_next(r, why);
        if (code == ML_END) {
            r->phase = FINISH;
            return ML_OK;
        }
        if (code) return code;
        if (n % LOOK_EVERY == 0 && ml_projector_clock_us() >= until) return ML_OK;
    }
}

/* ---- the end ---------------------------------------------------------------------------- */

static ml_code finish(ml_rebuild *r, ml_error *why)
{
    ml_code code = commit(r, why);
    close_all(r);
    if (!code) code = ml_view_discard(r->plan.dir, why);
    if (!code && rename(r->part, r->plan.dir) != 0)
        code = ml_error_set(why, ML_IO, "%s cannot be renamed: %s", r->part, strerror(errno));
    return code;
}

ml_rebuild_done ml_rebuild_step(ml_rebuild *r, uint64_t until_us, ml_error *why)
{
    ml_code code = ML_OK;
    phase before = r->phase;
    switch (before) {
    case COPY: code = copy(r, why); break;
    case COLLECT: code = collect(r, until_us, why); break;
    case DELETE: code = delete_rows(r, until_us, why); break;
    case REPLAY: code = replay(r, until_us, why); break;
    case FINISH: code = finish(r, why); break;
    }
    if (code) return ML_REBUILD_FULL;
    return before == FINISH ? ML_REBUILD_DONE : ML_REBUILD_MORE;
}

unsigned ml_rebuild_progress(const ml_rebuild *r)
{
    uint64_t most = r->position > 0 ? r->position : 1, count = ml_keys_count(r->keys);
    if (r->phase == COLLECT) return (unsigned)(r->seen * 300 / most);
    if (r->phase == DELETE) return 300;
    if (r->phase == FINISH) return 999;
    if (r->phase == COPY) return 0;
    bool by_stream = r->at < count || count == 1;
    return 300 + (unsigned)(by_stream ? r->at * 690 / count : r->seen * 690 / most);
}
