/* engine.h -- the door of rules: a pack of rule files at work on a log.
 *
 * An engine reads the log by itself (a store opened for reading only, or any other), folds,
 * decides and upcasts. It never appends: what it decides goes back to whoever asked, who has it
 * admitted and says how that ended. Requests and answers are MessagePack maps, the same that
 * clients send and get (core/PROTOCOL.md), so that a worker process is this door on a socket
 * and a test is this door in a Lua program.
 *
 * Two packs may live at once: the active one, and a staged one that is being proved.
 *
 * Floor    rules; uses script, store.
 * Threads  one.
 * Memory   states of aggregates are cached up to a bound in bytes, least recently used goes first.
 *          They are kept as MessagePack, not as Lua tables: the bound is exact, nothing that a
 *          command does can touch them, and a new pack takes over what its units can use.
 * Errors   ml_error as everywhere; a script's fault is SCRIPT_ERROR "file:line: …", and the whole
 *          of it (source line, traceback, event) is in the answer under `fault`.
 */
#ifndef ML_RULES_ENGINE_H
#define ML_RULES_ENGINE_H

#include "../base/buf.h"
#include "../moonlog.h"
#include "../script/sandbox.h"
#include "doing.h"

enum {
    ML_RULES_STATES_BYTES = 48 << 20, /* of cached states in one engine: 100,000 small ones */
    ML_RULES_FILES_MAX = 256,
    ML_RULES_DECIDED_MAX = 1024   /* events of one command: an append's limit */
};

typedef struct ml_engine ml_engine;

/* Tries a projection of a pack on the log before it is staged, and says in `to` what is wrong with it:
 * given by who stands above, because rows need a view. */
struct ml_rulepack;
struct ml_unit;
struct ml_diagnostics;
typedef ml_code ml_engine_rehearse(ml_store *store, const struct ml_rulepack *pack, struct ml_unit *unit,
                                   struct ml_diagnostics *to, ml_error *why);

typedef struct ml_engine_options {
    const char *snapshots; /* directory for snapshots; NULL: none are kept */
    size_t states_bytes;   /* 0 = ML_RULES_STATES_BYTES */
    uint32_t fold_ms, command_ms; /* 0 = the defaults above */
    ml_engine_rehearse *rehearse;  /* NULL: projections are not tried */
} ml_engine_options;

/* `store` is borrowed. NULL: a log without events; states are then those of which admitted told. */
ML_MUST_USE ml_code ml_engine_new(ml_store *store, const ml_engine_options *options, ml_engine **engine, ml_error *why);
void ml_engine_free(ml_engine *engine);

/* ---- packs ------------------------------------------------------------------------------- */

/* Compiles and checks a pack beside the active one. Packs onto `report` a map:
 *   ok, hash, units: [{unit: "aggregate/account", file, hash, status: "new"|"changed"|"same"}],
 *   diagnostics: [{severity: "error"|"warning", code, file, line, message, source}]
 * A pack with an error is not staged. The code is OK also when the report says no; NO_MEMORY,
 * CORRUPT … else. */
ML_MUST_USE ml_code ml_engine_stage(ml_engine *engine, const ml_source *files, size_t count, ml_stage_how how,
                                    ml_buf *report, ml_error *why);
/* The staged pack becomes the active one; states of units that did not change stay. */
ML_MUST_USE ml_code ml_engine_activate(ml_engine *engine, ml_error *why);

/* Does the active pack translate events of this type that have this schema? */
bool ml_engine_upcasts(const ml_engine *engine, ml_bytes type, uint32_t schema);

/* ---- work ---------------------------------------------------------------------------------- */

/* Decides. `request` is a map: aggregate, id, name, args?, meta?, now (µs), dice (bin of 16).
 * Answers
 *   decided: {stream, expected: revision | "no_stream", events: [{type, data, meta, tags, schema}],
 *             unit, hash}             what to append; no events: nothing happened
 *   refused: {code, detail}           and record: {…}, which stands in $refused-account afterwards,
 *                                     if the aggregate says `record = true`
 * An event's meta is what came with the command, under what the event has of its own, and unit,
 * hash, causation_id (of the command, drawn from the dice, if none came) and correlation_id (the
 * same, if none came). A command that tries to change the state is a fault. So is one whose events
 * cannot be folded: they are on trial before anybody has written them.
 * The state that was decided on is that of the log up to what is settled, and of what this
 * engine was told of by ml_engine_admitted. With `next`, the count of events that the stream has
 * at least, a cached state that has as many is believed without a look into the log. */
ML_MUST_USE ml_code ml_engine_command(ml_engine *engine, ml_bytes request, ml_buf *answer, ml_error *why);

/* What was decided has been admitted: the events as they will be stored (MessagePack arrays, one
 * after another). The cached state follows without reading the log. If a handler raises, the state
 * is forgotten, and whoever asks for it next is told the same: for who cannot wait, SCRIPT_ERROR
 * says it now, with the fault on `answer`, and NULL for `answer` is fine. */
ml_code ml_engine_admitted(ml_engine *engine, ml_bytes events, ml_buf *answer, ml_error *why);
/* It has not, or what was admitted was given up: the cached state of the stream is forgotten. */
void ml_engine_forget(ml_engine *engine, ml_bytes stream);

/* State of an aggregate. `request`: aggregate, id, at?, as_of?. Answers {state, revision, position},
 * revision and position of the last event that counts; nil and 0 if none does. `at` is a revision,
 * "#POSITION", or a time: text, or a number from 10^12. Both given: what had happened by as_of,
 * as it was known at `at`. NOT_FOUND if the stream has no event at all. */
ML_MUST_USE ml_code ml_engine_state(ml_engine *engine, ml_bytes request, ml_buf *answer, ml_error *why);

/* Events (stored arrays, one after another) as the active pack's latest schemas; packs them onto
 * `answer` one after another and counts them. A dropped one is left out, a split one is several
 * with one position. */
ML_MUST_USE ml_code ml_engine_upcast(ml_engine *engine, ml_bytes events, bool as_maps, ml_buf *answer, uint32_t *count,
                                     ml_error *why);

/* Counters, for status and for specs. */
typedef struct ml_engine_stats {
    uint64_t commands, folded, log_reads, snapshots_read, snapshots_written;
    uint64_t states, states_bytes, evicted;
} ml_engine_stats;
void ml_engine_get_stats(const ml_engine *engine, ml_engine_stats *stats);

/* What is being run now, for whoever has to kill it: written to `where`, which may be memory
 * shared with the one who watches, before each call of a script (doing.h). */
void ml_engine_watch(ml_engine *engine, ml_engine_doing *where);

#endif
