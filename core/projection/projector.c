/* projector.c -- from the log into the view: life, steps, commits. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../store/event.h"
#include "projector_inside.h"

enum {
    LOOK_EVERY = 8,  /* events from one look at the clock to the next */
    DAMAGED_MAX = 3, /* views that are damaged one after the other: then it is not the view */
    BEHIND_MS = 2    /* the log says that there is more, and this process does not see it yet */
};

uint64_t ml_projector_clock_us(void)
{
    return ml_clock_us();
}

/* ---- opening ---------------------------------------------------------------------------- */

static ml_code read_event(ml_projector *p, uint64_t position, ml_projector_mark *mark,
                          ml_error *why)
{
    ml_cursor *cursor;
    ml_event event;
    ml_selection one = {
        .system = true, .has_from = true, .from = position, .limit = 1, .wire_only = true};
    ml_code code = ml_read(p->store, &one, &cursor);
    if (!code) code = ml_next(cursor, &event);
    if (!code) {
        *mark = (ml_projector_mark){.position = event.position, .time = event.time};
        memcpy(mark->id, event.id, ML_ID_SIZE);
    }
    ml_cursor_free(cursor);
    return code > 0 ? ml_error_retell(why, code, ml_why(p->store)) : code;
}

/* Is it of this log and this history, and begun where it should be? CORRUPT if not. */
static ml_code believe(ml_projector *p, ml_error *why)
{
    ml_note note;
    ml_view_stats stats;
    ml_projector_mark there = {0};
    ml_view_get_stats(p->view, &stats);
    if (stats.position == 0 && ml_view_note(p->view).size == 0) return ML_OK;
    if (!ml_note_read(ml_view_note(p->view), &note) || note.position != stats.position)
        return ml_error_set(why, ML_CORRUPT, "the view's note is none");
    if (note.start != p->start)
        return ml_error_set(why, ML_CORRUPT, "the view was begun somewhere else");
    if (note.position == 0) return ML_OK;
    ml_code code = read_event(p, note.position, &there, why);
    if (code > 0 && code != ML_CORRUPT) return code;
    if (code || memcmp(there.id, note.id, ML_ID_SIZE) != 0)
        return ml_error_set(why, ML_CORRUPT, "the view is of a log with another history");
    return ML_OK;
}

static void close_view(ml_projector *p)
{
    ml_projector_redo_end(p);
    ml_cursor_free(p->cursor);
    ml_sql_close(p->sql);
    ml_view_close(p->view);
    p->cursor = NULL;
    p->sql = NULL;
    p->view = NULL;
}

ml_code ml_projector_open_view(ml_projector *p, ml_error *why)
{
    ml_view_about about;
    ml_projection_about(p->projection, ml_buf_view(&p->log), &about);
    about.boot = p->boot;
    ml_code code = ml_view_open(p->dir, &about, &p->view, why);
    if (!code) code = believe(p, why);
    if (code) close_view(p);
    return code;
}

/* Discards what is there: the newest copy, or else an empty one, takes its place. */
static ml_code open_other(ml_projector *p, ml_error *why)
{
    ml_code code = ml_view_discard(p->dir, why);
    if (!code) code = ml_projector_open_kept(p, why);
    return code == ML_NOT_FOUND ? ml_projector_open_view(p, why) : code;
}

/* An empty one beside copies is not what there was. */
static ml_code open_view(ml_projector *p, ml_error *why)
{
    ml_view_stats stats;
    ml_code code = ml_projector_open_view(p, why);
    if (code == ML_CORRUPT) return open_other(p, why);
    if (code || p->kept.count == 0) return code;
    ml_view_get_stats(p->view, &stats);
    if (stats.position > 0) return ML_OK;
    close_view(p);
    return open_other(p, why);
}

static ml_code open_sql(ml_projector *p, ml_error *why)
{
    char path[ML_PROJECTOR_PATH + 16];
    ml_sql_about about;
    if (!ml_projection_sql(p->projection, &about)) return ML_OK;
    about.boot = p->boot;
    snprintf(path, sizeof path, "%s/rows.sqlite", p->dir);
    return ml_sql_open(path, &about, p->view, &p->sql, why);
}

/* ---- going on where it was --------------------------------------------------------------- */

void ml_projector_rewind(ml_projector *p)
{
    ml_projector_redo_end(p);
    ml_cursor_free(p->cursor);
    p->cursor = NULL;
    ml_buf_clear(&p->ahead);
    if (p->view != NULL) ml_view_abort(p->view);
}

/* Goes on behind the view's position: what was in memory only is read again. */
static ml_code resume(ml_projector *p, ml_error *why)
{
    ml_note note = {0};
    ml_projection_stats stats;
    if (!ml_note_read(ml_view_note(p->view), &note)) note = (ml_note){0};
    ml_code code = ml_projection_load(p->projection, note.projection, why);
    if (code) return code;
    p->passed = note.position > p->start ? note.position : p->start;
    p->events = note.events;
    p->skipped = note.skipped;
    p->mark = (ml_projector_mark){.position = note.position, .time = note.time};
    if (note.id != NULL) memcpy(p->mark.id, note.id, ML_ID_SIZE);
    p->last = p->mark;
    ml_projection_get_stats(p->projection, &stats);
    p->now = stats.now;
    p->again = p->again || ml_projector_holds_skipped(p);
    ml_selection selection = ml_projection_selection(p->projection);
    code = ml_subscribe(p->store, &selection, p->passed, &p->cursor);
    p->committed_us = ml_projector_clock_us();
    return code ? ml_error_retell(why, code, ml_why(p->store)) : ML_OK;
}

/* ---- life ------------------------------------------------------------------------------- */

static void say_names(const ml_rulepack *pack, char *names, size_t size)
{
    size_t used = 0;
    names[0] = '\0';
    for (size_t n = 0; n < pack->unit_count && used < size; n++)
        if (pack->units[n]->kind == ML_UNIT_PROJECTION)
            used += (size_t)snprintf(names + used, size - used, "%s%s", used > 0 ? ", " : "",
                                     pack->units[n]->name);
    if (names[0] == '\0') snprintf(names, size, "none");
}

static ml_code compile(ml_projector *p, const ml_projector_options *options, ml_diagnostics *report,
                       ml_error *why)
{
    char names[400];
    ml_guard_start(ML_RULES_COMMAND_MS);
    ml_code code = ml_rulepack_new(options->files, options->count, report, &p->pack, why);
    if (code) return code;
    if (report->errors > 0)
        return ml_error_set(why, ML_SCRIPT_ERROR,
                            "the pack has errors (%u); `moonlog rules check` says which",
                            report->errors);
    p->unit = ml_rulepack_find(p->pack, ML_UNIT_PROJECTION, options->name);
    if (p->unit == NULL) {
        say_names(p->pack, names, sizeof names);
        return ml_error_set(why, ML_NOT_FOUND, "the pack has no projection %.*s; it has %s",
                            ML_SHOW(options->name), names);
    }
    p->watch.where = options->watch;
    p->unit->watch = &p->watch;
    code = ml_projection_new(p->unit, &p->projection, why);
    return code ? code : ml_projection_keep_hot(p->projection, why);
}

static ml_code take_options(ml_projector *p, const ml_projector_options *options, ml_error *why)
{
    int size = snprintf(p->dir, sizeof p->dir, "%s", options->dir);
    if (size >= ML_PROJECTOR_PATH - 16)
        return ml_error_set(why, ML_BAD_REQUEST, "the directory's name is over %d bytes",
                            ML_PROJECTOR_PATH - 16);
    snprintf(p->boot, sizeof p->boot, "%s", options->boot);
    ml_buf_add(&p->log, options->log.data, options->log.size);
    p->fold_ms = options->fold_ms > 0 ? options->fold_ms : ML_RULES_FOLD_MS;
    p->paused = options->paused;
    p->every = options->past != NULL ? 0 : p->unit->projection->kept_every;
    if (p->every > 0) ml_kept_list(p->dir, &p->kept);
    ml_code code = p->log.failed ? ml_error_memory(why, "a projector") : ML_OK;
    for (size_t n = 0; !code && n < options->skip_count; n++)
        code = ml_projector_add_skip(p, options->skips[n], why);
    return code;
}

/* With a base, and nothing of its own yet, it begins with that. */
static ml_code begin(ml_projector *p, const ml_projector_options *options, ml_error *why)
{
    ml_view_stats stats;
    ml_code code = options->past != NULL ? ml_projector_open_past(p, options, why) : ML_NOT_FOUND;
    if (code == ML_NOT_FOUND) code = open_view(p, why);
    if (code) return code;
    ml_view_get_stats(p->view, &stats);
    if (options->base == NULL || stats.position > 0) return resume(p, why);
    ml_error doubt;
    ml_rebuild_plan plan = {.store = p->store,
                            .unit = p->unit,
                            .pack = p->pack,
                            .projection = p->projection,
                            .dir = p->dir,
                            .boot = p->boot,
                            .log = ml_buf_view(&p->log),
                            .start = p->start,
                            .skips = (const uint64_t *)(const void *)p->skips.data,
                            .skip_count = options->skip_count,
                            .base = options->base,
                            .base_files = options->base_files,
                            .base_count = options->base_count};
    p->rebuild = ml_rebuild_new(&plan, &doubt);
    if (p->rebuild == NULL) {
        p->full = strdup(doubt.sentence);
        return resume(p, why);
    }
    close_view(p);
    return ml_view_discard(p->dir, why);
}

ml_code ml_projector_new(ml_store *store, const ml_projector_options *options,
                         ml_diagnostics *report, ml_projector **projector, ml_error *why)
{
    ml_sql_about sql;
    ml_projector *p = *projector = calloc(1, sizeof *p);
    if (p == NULL) return ml_error_memory(why, "a projector");
    p->store = store;
    ml_code code = compile(p, options, report, why);
    if (!code) code = take_options(p, options, why);
    if (!code) {
        p->start = ml_projection_start(p->projection, options->start);
        p->has_sql = ml_projection_sql(p->projection, &sql);
        code = begin(p, options, why);
    }
    if (!code) return ML_OK;
    ml_projector_free(p);
    *projector = NULL;
    return code;
}

void ml_projector_free(ml_projector *p)
{
    ml_error why;
    if (p == NULL) return;
    /* What cannot be committed now is applied again by the next. */
    if (p->store != NULL && p->cursor != NULL && p->redo == NULL && p->stop.why.code == ML_OK)
        ML_IGNORE(ml_projector_commit(p, &why));
    close_view(p);
    ml_rebuild_free(p->rebuild);
    ml_projection_free(p->projection);
    ml_rulepack_free(p->pack);
    ml_guard_stop();
    ml_buf *bufs[] = {&p->log, &p->skips, &p->ahead, &p->spare, &p->note};
    for (size_t n = 0; n < sizeof bufs / sizeof *bufs; n++)
        ml_buf_free(bufs[n]);
    free(p->full);
    free(p);
}

void ml_projector_orphan(ml_projector *p)
{
    p->store = NULL;
}

/* ---- commits ---------------------------------------------------------------------------- */

static uint64_t committed(const ml_projector *p)
{
    ml_view_stats stats;
    ml_view_get_stats(p->view, &stats);
    return stats.position;
}

/* The event at the position that is to be committed. */
static ml_code find_mark(ml_projector *p, ml_projector_mark *mark, ml_error *why)
{
    *mark = p->passed == p->last.position ? p->last : p->mark;
    if (p->passed == mark->position) return ML_OK;
    *mark = (ml_projector_mark){0};
    ml_code code = p->passed > 0 ? read_event(p, p->passed, mark, why) : ML_OK;
    if (code != ML_END) return code;
    return ml_error_set(why, ML_INTERNAL, "there is no event at position %llu",
                        (unsigned long long)p->passed);
}

static ml_code write_note(ml_projector *p, const ml_projector_mark *mark, ml_error *why)
{
    ml_buf inner = {0};
    ml_projection_save(p->projection, &inner);
    ml_note note = {.start = p->start,
                    .events = p->events,
                    .skipped = p->skipped,
                    .position = p->passed,
                    .time = mark->time,
                    .id = mark->id,
                    .projection = ml_buf_view(&inner)};
    ml_buf_clear(&p->note);
    ml_note_pack(&note, &p->note);
    bool failed = inner.failed || p->note.failed;
    ml_buf_free(&inner);
    return failed ? ml_error_memory(why, "a view's note") : ML_OK;
}

static ml_code follow_sql(ml_projector *p, ml_error *why)
{
    ml_code code = p->sql != NULL ? ml_sql_follow(p->sql, p->view, why) : ML_OK;
    if (!code) return ML_OK;
    ml_sql_close(p->sql); /* it is opened again, and brought to where the view is */
    p->sql = NULL;
    return code;
}

ml_code ml_projector_commit(ml_projector *p, ml_error *why)
{
    ml_projection_stats stats;
    ml_projector_mark mark;
    ml_code code = find_mark(p, &mark, why);
    if (!code) code = ml_projection_flush(p->projection, p->view, why);
    if (!code) code = ml_projection_pass(p->projection, p->view, mark.time, why);
    if (!code) code = write_note(p, &mark, why);
    if (!code) code = ml_view_commit(p->view, p->passed, ml_buf_view(&p->note), why);
    if (code) return code;
    ml_projection_get_stats(p->projection, &stats);
    p->now = stats.now;
    p->mark = mark;
    p->committed_us = ml_projector_clock_us();
    p->damaged = 0;
    code = follow_sql(p, why);
    if (!code && p->stop.trying) p->stop = (ml_projector_stop){0};
    return code;
}

ml_code ml_projector_anew(ml_projector *p, ml_error *why)
{
    close_view(p);
    p->live = p->incremental = false;
    return ml_view_discard(p->dir, why);
}

/* What the view, the disk or memory refused: begins anew, or stops for a while. */
static void survive(ml_projector *p, const ml_error *why)
{
    ml_error again = *why;
    ml_projector_rewind(p);
    if (why->code == ML_CORRUPT && ++p->damaged <= DAMAGED_MAX &&
        ml_projector_anew(p, &again) == ML_OK)
        return;
    ml_projector_stop_for(p, &again, true);
}

/* ---- following -------------------------------------------------------------------------- */

/* The next event that is durable, else ML_END. One that is not yet is kept: it may be long until
 * it is, and what a cursor gives is borrowed. */
static ml_code next_event(ml_projector *p, ml_event *event)
{
    if (p->ahead.size == 0) {
        ml_code code = ml_poll(p->cursor, event);
        if (code || event->position <= p->head) return code;
        ml_buf_add(&p->ahead, event->wire.data, event->wire.size);
        return p->ahead.failed ? ML_NO_MEMORY : ML_END;
    }
    bool good = ml_event_decode(ml_buf_view(&p->ahead), event);
    ML_ASSERT(good);
    if (event->position > p->head) return ML_END;
    ml_buf used = p->spare;
    p->spare = p->ahead; /* `event` is of its bytes */
    p->ahead = used;
    ml_buf_clear(&p->ahead);
    return ML_OK;
}

static ml_code take(ml_projector *p, const ml_event *event, ml_error *why)
{
    ml_applied applied = ML_APPLIED;
    bool skipped = ml_projector_skips(p, event->position);
    if (!skipped) {
        ml_code code =
            ml_projection_apply(p->projection, p->view, event, NULL, &applied, &p->fault, why);
        if (code) return code;
    }
    if (applied == ML_APPLIED_AGAIN) {
        ml_projector_rewind(p);
        return ML_OK;
    }
    if (applied == ML_APPLIED_FAULT) {
        p->passed = event->position - 1;
        ml_projector_stop_at(p, event);
        return ML_OK;
    }
    p->skipped += skipped;
    p->events += !skipped;
    p->passed = event->position;
    p->last = (ml_projector_mark){.position = event->position, .time = event->time};
    memcpy(p->last.id, event->id, ML_ID_SIZE);
    return ml_view_full(p->view) ? ml_projector_commit(p, why) : ML_OK;
}

/* Nothing more for now: events that it does not want count as passed. */
static ml_code at_end(ml_projector *p, ml_error *why)
{
    uint64_t seen = ml_cursor_position(p->cursor);
    if (p->ahead.size > 0 || seen > p->head) seen = p->head;
    if (seen > p->passed) p->passed = seen;
    ml_code code = ML_OK;
    if (p->passed != committed(p) && p->passed <= p->head) code = ml_projector_commit(p, why);
    if (!code && p->passed >= p->head) p->live = true;
    return code;
}

/* The log itself cannot be read: what was before that stands, and it is said. */
static ml_code stop_for_log(ml_projector *p, ml_code code, ml_error *why)
{
    ml_error said = {.code = code};
    ml_error_retell(&said, code, ml_why(p->store));
    ml_code committing = ml_projector_commit(p, why);
    if (committing) return committing;
    ml_projector_rewind(p);
    ml_projector_stop_for(p, &said, code != ML_CORRUPT);
    return ML_OK;
}

static ml_code follow(ml_projector *p, uint64_t until, bool *more, ml_error *why)
{
    ml_event event;
    ml_code code;
    for (unsigned n = 1; (code = next_event(p, &event)) == ML_OK; n++) {
        code = take(p, &event, why);
        *more = p->cursor == NULL; /* once more from the last commit */
        if (code || *more) return code;
        if (p->stop.fault.kind != ML_FAULT_NONE) return ml_projector_commit(p, why);
        if (n % LOOK_EVERY == 0 && ml_projector_clock_us() >= until) break;
    }
    if (code == ML_END) return at_end(p, why);
    if (code) return stop_for_log(p, code, why);
    *more = true;
    uint64_t age = ml_projector_clock_us() - p->committed_us;
    bool old = age >= (p->live ? ML_PROJECTOR_COMMIT_US : ML_PROJECTOR_BUILDING_US);
    return old ? ml_projector_commit(p, why) : ML_OK;
}

/* ---- steps ------------------------------------------------------------------------------ */

static ml_code rebuild(ml_projector *p, uint64_t until, bool *more, ml_error *why)
{
    ml_error doubt = {.code = ML_OK};
    ml_rebuild_done done = ml_rebuild_step(p->rebuild, until, &doubt);
    *more = true;
    if (done == ML_REBUILD_MORE) return ML_OK;
    ml_rebuild_free(p->rebuild);
    p->rebuild = NULL;
    p->incremental = done == ML_REBUILD_DONE;
    if (p->incremental) return ML_OK;
    p->full = strdup(doubt.sentence);
    return ml_view_discard(p->dir, why);
}

/* Whatever is not there is made. */
static ml_code get_ready(ml_projector *p, ml_error *why)
{
    ml_code code = ML_OK;
    if (p->view == NULL) code = open_view(p, why);
    if (!code && p->has_sql && p->sql == NULL) code = open_sql(p, why);
    if (!code && p->cursor == NULL) code = resume(p, why);
    if (!code && p->again && p->redo == NULL) code = ml_projector_redo_begin(p, why);
    return code;
}

static ml_code go_on(ml_projector *p, uint64_t until, bool *more, ml_error *why)
{
    if (p->rebuild != NULL) return rebuild(p, until, more, why);
    if (p->doubted) {
        p->doubted = false;
        return ml_error_set(why, ML_CORRUPT, "the view is damaged");
    }
    ml_code code = get_ready(p, why);
    if (code) return code;
    if (p->cursor != NULL && p->redo == NULL) return follow(p, until, more, why);
    *more = true;
    return p->redo != NULL ? ml_projector_redo(p, until, why) : ML_OK;
}

static bool may_go_on(ml_projector *p)
{
    if (p->paused) return false;
    if (p->stop.why.code == ML_OK || p->stop.trying) return true;
    p->stop.trying =
        p->stop.by_itself && ml_projector_clock_us() - p->stop.since_us >= ML_PROJECTOR_AGAIN_US;
    return p->stop.trying;
}

bool ml_projector_step(ml_projector *p, uint64_t durable, uint64_t budget_us)
{
    ml_error why;
    bool more = false;
    uint64_t until = ml_projector_clock_us() + budget_us;
    p->head = durable;
    if (!may_go_on(p)) return false;
    ml_guard_start(p->fold_ms);
    if (go_on(p, until, &more, &why)) {
        survive(p, &why);
        more = true;
    }
    ml_projector_keep(p);
    ml_projector_sample_now(p);
    return more && (p->stop.why.code == ML_OK || p->stop.trying);
}

int ml_projector_wait_ms(const ml_projector *p)
{
    if (p->paused) return -1;
    if (p->doubted) return 0;
    if (p->stop.why.code == ML_OK || p->stop.trying) return p->passed < p->head ? BEHIND_MS : -1;
    if (!p->stop.by_itself) return -1;
    uint64_t since = ml_projector_clock_us() - p->stop.since_us;
    if (since >= ML_PROJECTOR_AGAIN_US) return 0;
    return (int)((ML_PROJECTOR_AGAIN_US - since) / 1000 + 1);
}

/* ---- what is told ----------------------------------------------------------------------- */

uint64_t ml_projector_position(const ml_projector *p)
{
    uint64_t position = p->view != NULL ? committed(p) : 0;
    if (position >= p->start || p->view == NULL) return position;
    return p->start < p->head ? p->start : p->head; /* it is empty, and right, up to there */
}

ml_projector_state ml_projector_get_state(const ml_projector *p)
{
    if (p->stop.why.code != ML_OK) return ML_PROJECTOR_STOPPED;
    if (p->paused) return ML_PROJECTOR_PAUSED;
    return p->live ? ML_PROJECTOR_LIVE : ML_PROJECTOR_BUILDING;
}

void ml_projector_pause(ml_projector *p, bool paused)
{
    p->paused = paused;
}
