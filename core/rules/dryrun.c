/* dryrun.c -- a new pack meets the log before anybody depends on it.
 *
 * Each aggregate folds the streams that were written to last, from their beginning: a state that
 * began in the middle would raise errors that are none. It does so twice, in two sandboxes that
 * are alive at once and have different pasts: hash seeds and addresses differ, and the second
 * has folded before. The first keeps its state as a table from event to event; the second's goes
 * through bytes each time. So what depends on order, on addresses, on variables that outlive a
 * call, or on what bytes cannot hold (two names for one table, a metatable) shows as a difference.
 */
#include <inttypes.h>
#include <stdio.h>

#include "../base/bytes.h"
#include "../base/unpack.h"
#include "aggregate.h"
#include "inside.h"

enum {
    EVENTS_MAX = 1000,          /* compared, of one unit: 2 to 5 ms */
    STREAMS_MAX = 64,           /* that they are taken from */
    STREAM_EVENTS_MAX = 20000,  /* folded to get to the last ones of a stream: 40 ms */
    STATE_BYTES_MAX = 32 << 20, /* compared: large states end the run sooner */
    WARM_EVENTS = 64            /* that the second sandbox has folded before */
};

typedef struct run {
    ml_engine *engine;
    const ml_rulepack *pack;
    ml_unit *unit, *twin;
    ml_diagnostics *to;
    ml_error *why;
    ml_buf streams; /* names, each with its size (4 bytes) in front */
    ml_buf one, two;
    uint64_t events, bytes;
    uint64_t until; /* so many events in all */
    bool failed;    /* something was said: that is enough for the unit */
} run;

/* ---- saying it -------------------------------------------------------------------------- */

static void say(run *r, ml_fault *fault, const char *code, const ml_event *event)
{
    char message[sizeof fault->message];
    snprintf(message, sizeof message, "%.300s (at position %" PRIu64 ", %.*s in %.*s)",
             fault->message, event->position, event->type.size > 60 ? 60 : (int)event->type.size,
             (const char *)event->type.data, event->stream.size > 60 ? 60 : (int)event->stream.size,
             (const char *)event->stream.data);
    memcpy(fault->message, message, sizeof message);
    ml_unit_quote(r->pack->files, r->pack->count, fault);
    ml_diagnose_error(r->to, code, fault);
    r->failed = true;
}

/* No one event is to be named. */
static void say_of_unit(run *r, ml_fault *fault, const char *code)
{
    if (fault->file[0] == '\0')
        snprintf(fault->file, sizeof fault->file, "%.*s", ML_SHOW(r->unit->file.path));
    ml_unit_quote(r->pack->files, r->pack->count, fault);
    ml_diagnose_error(r->to, code, fault);
    r->failed = true;
}

static const char *code_of(const ml_fault *fault)
{
    switch (fault->kind) {
    case ML_FAULT_OVERSTAY: return "OVERSTAY";
    case ML_FAULT_MEMORY: return "MEMORY";
    case ML_FAULT_SHAPE: return "SHAPE";
    case ML_FAULT_NONE:
    case ML_FAULT_COMPILE:
    case ML_FAULT_RAISED: break;
    }
    return "RAISED";
}

/* The first name whose value is not the same; both are maps with sorted keys. */
static ml_bytes first_difference(ml_bytes one, ml_bytes two)
{
    ml_unpack a = ml_unpack_from(one), b = ml_unpack_from(two);
    uint32_t counts[2];
    ml_bytes key = {0}, other;
    if (!ml_unpack_map(&a, &counts[0]) || !ml_unpack_map(&b, &counts[1])) return key;
    for (uint32_t n = 0; n < counts[0] && n < counts[1]; n++) {
        const uint8_t *at_a, *at_b;
        if (!ml_unpack_str(&a, &key) || !ml_unpack_str(&b, &other) || !ml_bytes_equal(key, other))
            break;
        at_a = a.at;
        at_b = b.at;
        if (!ml_unpack_skip(&a) || !ml_unpack_skip(&b)) break;
        if (!ml_bytes_equal((ml_bytes){at_a, (size_t)(a.at - at_a)},
                            (ml_bytes){at_b, (size_t)(b.at - at_b)}))
            break;
    }
    return key;
}

static void say_difference(run *r, const ml_event *event)
{
    char sentence[400];
    ml_fault fault = {.kind = ML_FAULT_NONE};
    ml_bytes key = first_difference(ml_buf_view(&r->one), ml_buf_view(&r->two));
    const ml_handler *handler = ml_unit_find(&r->unit->on, event->type);
    snprintf(sentence, sizeof sentence,
             "folded twice, the same events give two states: '%.*s' differs; a handler may use its "
             "arguments only, "
             "and no table may be in the state under two names",
             key.size > 60 ? 60 : (int)key.size, key.size > 0 ? (const char *)key.data : "");
    ml_aggregate_blame(&fault, handler, sentence);
    say(r, &fault, "TWIN", event);
}

/* ---- folding ---------------------------------------------------------------------------- */

/* Both take the event; the second by way of bytes if the states are to be compared. False: it was
 * said why not. */
static bool step(run *r, const ml_event *event, bool compare)
{
    ml_fault fault = {.kind = ML_FAULT_NONE};
    bool called;
    if (!ml_aggregate_apply(r->unit, event, &called, &fault)) {
        say(r, &fault, code_of(&fault), event);
        return false;
    }
    bool done = (!compare || ml_aggregate_begin(r->twin, ml_buf_view(&r->two), &fault)) &&
                ml_aggregate_apply(r->twin, event, &called, &fault);
    if (!done) {
        say(r, &fault, "TWIN", event);
        return false;
    }
    if (!compare) return true;
    if (!ml_aggregate_write(r->unit, &r->one, &fault) ||
        !ml_aggregate_write(r->twin, &r->two, &fault)) {
        say(r, &fault, code_of(&fault), event);
        return false;
    }
    r->events++;
    r->bytes += r->one.size + r->two.size;
    if (ml_bytes_equal(ml_buf_view(&r->one), ml_buf_view(&r->two))) return true;
    if (ml_unit_find(&r->unit->on, event->type) != NULL) say_difference(r, event);
    return false;
}

static bool is_done(const run *r)
{
    return r->failed || r->events >= r->until || r->bytes >= STATE_BYTES_MAX;
}

static ml_code fold(run *r, ml_cursor *cursor, uint64_t from)
{
    ml_event event;
    ml_code code;
    ml_fault fault;
    ml_bytes initial = ml_buf_view(&r->unit->initial);
    bool begun = false, good = ml_aggregate_begin(r->unit, initial, &fault) &&
                               ml_aggregate_begin(r->twin, initial, &fault);
    if (!good) say_of_unit(r, &fault, code_of(&fault));
    while ((code = ml_next(cursor, &event)) == ML_OK && !is_done(r)) {
        bool compare = event.revision >= from;
        if (compare && !begun && !ml_aggregate_write(r->twin, &r->two, &fault)) {
            say_of_unit(r, &fault, code_of(&fault));
            break;
        }
        begun = begun || compare;
        if (!step(r, &event, compare)) break;
    }
    ml_aggregate_end(r->unit);
    ml_aggregate_end(r->twin);
    if (code == ML_OK || code == ML_END) return ML_OK;
    return ml_error_retell(r->why, code, ml_why(r->engine->store));
}

static ml_code run_stream(run *r, ml_bytes stream, bool last)
{
    ml_head head;
    ml_cursor *cursor = NULL;
    ml_store *store = r->engine->store;
    ml_code code = ml_get_head(store, stream, &head);
    if (!code) code = ml_read(store, &(ml_selection){.stream = stream}, &cursor);
    if (code) return ml_error_retell(r->why, code, ml_why(store));
    uint64_t left = EVENTS_MAX - r->events, length = head.revision + 1;
    if (!last) left -= left / 2; /* the others get their share */
    r->until = r->events + left;
    code = fold(r, cursor, length > left && length <= STREAM_EVENTS_MAX ? length - left : 0);
    ml_cursor_free(cursor);
    return code;
}

/* ---- which streams ---------------------------------------------------------------------- */

static ml_bytes stream_at(const ml_buf *streams, size_t *at)
{
    ml_bytes stream = {streams->data + *at + 4, ml_get_u32(streams->data + *at)};
    *at += 4 + stream.size;
    return stream;
}

static bool is_there(const ml_buf *streams, ml_bytes wanted)
{
    for (size_t at = 0; at < streams->size;)
        if (ml_bytes_equal(stream_at(streams, &at), wanted)) return true;
    return false;
}

/* Those that the last events are in. */
static ml_code find_streams(run *r)
{
    ml_event event;
    ml_cursor *cursor = NULL;
    ml_store *store = r->engine->store;
    ml_selection selection = {.category = {r->unit->name, strlen(r->unit->name)},
                              .backward = true,
                              .limit = EVENTS_MAX,
                              .wire_only = true};
    ml_code code = ml_read(store, &selection, &cursor);
    for (size_t found = 0;
         !code && found < STREAMS_MAX && (code = ml_next(cursor, &event)) == ML_OK;) {
        uint8_t size[4];
        if (is_there(&r->streams, event.stream)) continue;
        ml_put_u32(size, (uint32_t)event.stream.size);
        ml_buf_add(&r->streams, size, sizeof size);
        ml_buf_add(&r->streams, event.stream.data, event.stream.size);
        found++;
    }
    ml_cursor_free(cursor);
    if (r->streams.failed) return ml_error_memory(r->why, "a dry run");
    if (code == ML_OK || code == ML_END || code == ML_NOT_FOUND) return ML_OK;
    return ml_error_retell(r->why, code, ml_why(store));
}

/* ---- the run ---------------------------------------------------------------------------- */

/* What fails here fails again, and is said then. */
static ml_code warm_up(run *r, ml_bytes stream)
{
    ml_event event;
    ml_fault fault;
    ml_cursor *cursor = NULL;
    ml_store *store = r->engine->store;
    ml_code code = ml_read(store, &(ml_selection){.stream = stream, .limit = WARM_EVENTS}, &cursor);
    bool called, good = ml_aggregate_begin(r->twin, ml_buf_view(&r->twin->initial), &fault);
    while (good && !code && (code = ml_next(cursor, &event)) == ML_OK)
        good = ml_aggregate_apply(r->twin, &event, &called, &fault);
    ml_aggregate_end(r->twin);
    ml_cursor_free(cursor);
    if (code == ML_OK || code == ML_END) return ML_OK;
    return ml_error_retell(r->why, code, ml_why(store));
}

/* Gives the second sandbox a past: the same streams, in the other order. */
static ml_code warm_up_all(run *r)
{
    ml_bytes streams[STREAMS_MAX];
    size_t count = 0;
    ml_code code = ML_OK;
    for (size_t at = 0; at < r->streams.size;) streams[count++] = stream_at(&r->streams, &at);
    while (!code && count > 0) code = warm_up(r, streams[--count]);
    return code;
}

static ml_code run_all(run *r)
{
    r->twin = ml_rulepack_twin(r->pack, r->unit);
    if (r->twin == NULL) return ml_error_memory(r->why, "a dry run");
    r->twin->watch = r->unit->watch;
    ml_guard_start(r->engine->options.fold_ms);
    ml_code code = warm_up_all(r);
    r->until = EVENTS_MAX;
    for (size_t at = 0; !code && !is_done(r) && at < r->streams.size;) {
        ml_bytes stream = stream_at(&r->streams, &at);
        code = run_stream(r, stream, at == r->streams.size);
        r->until = EVENTS_MAX;
    }
    ml_unit_free(r->twin);
    return code;
}

ml_code ml_dryrun_unit(ml_engine *engine, const ml_rulepack *pack, ml_unit *unit,
                       ml_diagnostics *to, ml_error *why)
{
    run r = {.engine = engine, .pack = pack, .unit = unit, .to = to, .why = why};
    if (engine->store == NULL) return ML_OK;
    ml_code code = find_streams(&r);
    if (!code && r.streams.size > 0) code = run_all(&r);
    ml_buf_free(&r.streams);
    ml_buf_free(&r.one);
    ml_buf_free(&r.two);
    return code;
}
