/* whatif.h -- history through new rules, beside the active ones: what would be different.
 *
 * Projections: both versions fold the same events, each into a view of its own; where code and
 * row are the same (same.h) one fold serves both. After each event the rows that it changed are
 * held against each other: the first event after which a row differs is remembered, and at the end
 * each row that still differs is told, before and after.
 *
 * Aggregates: states are compared likewise; and where a command was recorded (`record` of an
 * aggregate), it is decided once more on the state of then, with the arguments, clock and dice of
 * then: refused where it was not, allowed where it was refused, or other events.
 *
 * Nothing is written but views below `scratch`, which are removed.
 *
 * Floor    projection.
 * Threads  one.
 */
#ifndef ML_PROJECTION_WHATIF_H
#define ML_PROJECTION_WHATIF_H

#include "../rules/diagnose.h"
#include "../rules/unit.h"

typedef struct ml_whatif {
    ml_store *store;
    const ml_source *before, *after; /* the active pack, and the other */
    size_t before_count, after_count;
    ml_bytes unit;    /* "projection/balances"; empty: all that differ */
    ml_bytes skips;   /* MessagePack {name: [position, …]}: events that active projections pass over */
    uint64_t from;    /* differences that begin before this position are not told */
    uint64_t limit;   /* differences told of each unit; the rest is counted. 0 = 1,000 */
    const char *scratch, *boot;
    ml_engine_doing *watch;
    /* Called now and then; false ends it with TIMEOUT. */
    bool (*progress)(void *context, ml_bytes unit, uint64_t position, uint64_t head);
    void *context;
} ml_whatif;

/* Packs {differences, units, position}, differences by where they begin:
 *     {unit, kind: "row"|"state"|"command"|"fault", key, window?: {from, to}, before, after,
 *      first: {position, revision, type, stream}, command?, where?, before_fault?, after_fault?}
 *     {unit, status: "same"|"changed"|"new"|"gone", events, rows, differing, transient, earlier,
 *      commands, refused, allowed, others, unseen}
 * `first` is the event since which it differs: what became equal again is `transient`, and may
 * begin anew. "same": the source is, or it was proved to do the same. A command's before and after
 * are {events}, {refused} or {failed}. SCRIPT_ERROR: a pack has errors, which are in `report`. */
ML_MUST_USE ml_code ml_whatif_run(const ml_whatif *whatif, ml_diagnostics *report, ml_buf *answer,
                                  ml_error *why);

#endif
