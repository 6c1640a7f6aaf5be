/* upcast.h -- old shapes of events become the latest, on the way to whoever reads them.
 *
 * A file returns { upcast = TYPE, latest = N, [1] = step, …, [N-1] = step }; step [k] makes
 * schema k+1 of schema k and is
 *   a table   { rename = {old = "new"}, move = {["a.b"] = "c.d"}, drop = {"field"},
 *               cast = {field = "integer"|"float"|"string"|"boolean"}, default = {field = value} }
 *             applied in this order, in C, from bytes to bytes, without Lua
 *   function(data, event) -> data | moonlog.drop | moonlog.split{…}
 * What is stored never changes.
 *
 * Chains are at home in one sandbox: an aggregate's state has its own of the types it reaches,
 * so that a Lua step costs a call and no copy.
 *
 * Floor    rules; uses script, base.
 * Threads  those of the sandbox.
 * Memory   chains own their texts and steps; tables, functions and what they give are Lua's.
 * Errors   faults: of shape when made; raised (inside ml_sandbox_enter) when run.
 */
#ifndef ML_RULES_UPCAST_H
#define ML_RULES_UPCAST_H

#include "../base/limits.h"
#include "../moonlog.h"
#include "../script/sandbox.h"
#include "diagnose.h"

typedef struct ml_upcasts ml_upcasts;

enum {
    ML_UPCAST_STEPS_MAX = 256, /* of a chain; and functions that one event goes through, which
                                * ends events that split into each other */
    ML_UPCAST_PARTS_MAX = 64,  /* that one event becomes: each is pushed */
    /* Data on its way and at its end: steps add fields and lengthen names, so that what was
     * stored at its largest has room to grow, and a chain that only grows it comes to an end. */
    ML_UPCAST_DATA_BYTES = 2 * ML_EVENT_BYTES_MAX
};

/* No chains yet. NULL if memory is refused. */
ml_upcasts *ml_upcasts_new(ml_sandbox *sandbox);
void ml_upcasts_free(ml_upcasts *upcasts);

/* Takes the table that the file `path` returned, on top of the sandbox's stack, and pops it.
 * Shape errors (unknown keys with the nearest name, holes in the chain, a second chain for the
 * type) go to `to`; false if there was one. */
ML_MUST_USE bool ml_upcasts_add(ml_upcasts *upcasts, ml_bytes path, ml_diagnostics *to);

/* The type of the nth chain and its latest schema; false behind the last. */
bool ml_upcasts_each(const ml_upcasts *upcasts, size_t n, ml_bytes *type, uint32_t *latest);

/* The file of the type's chain and the line of its step [schema], 0 if unknown; "" if it has
 * none. */
const char *ml_upcasts_where(const ml_upcasts *upcasts, ml_bytes type, uint32_t schema,
                             uint32_t *line);

/* The schema that the type's chain ends at; 1 if it has none. */
uint32_t ml_upcasts_latest(const ml_upcasts *upcasts, ml_bytes type);

/* Is there a chain for this type that this schema is not at the end of? One hash lookup. */
bool ml_upcasts_wants(const ml_upcasts *upcasts, ml_bytes type, uint32_t schema);

/* Runs inside ml_sandbox_enter, and may raise: pushes, for each event that this one is now, its
 * type (a string) and its data; gives how many (0 = dropped). `*schema` is that of the first.
 * An event whose chain does not want it is pushed as it is. Functions that take an event get the
 * state's envelope, which is then left for the caller to clear. */
int ml_upcasts_push(ml_upcasts *upcasts, lua_State *L, const ml_event *event, uint32_t *schema);

/* The schema of the nth part of the last push. */
uint32_t ml_upcasts_schema(const ml_upcasts *upcasts, int n);

/* One of the parts that an event becomes: `type` and `data` are borrowed for the call, which may
 * raise. */
typedef void ml_upcast_take(void *context, lua_State *L, ml_bytes type, uint32_t schema, ml_bytes data);

/* The same for who wants bytes: calls `take` for each part, in order. Data that cannot be stored, or
 * is over ML_UPCAST_DATA_BYTES, is the fault of the first function that made such. */
void ml_upcasts_encode(ml_upcasts *upcasts, lua_State *L, const ml_event *event, ml_upcast_take *take, void *context);

/* The declarative part alone: data of event->schema becomes data of *schema, as far as steps are
 * tables; `out`, which is emptied, holds the result (or the view is of `event` itself). No Lua.
 * SCRIPT_ERROR for data that does not fit a step; NO_MEMORY. */
ML_MUST_USE ml_code ml_upcasts_plain(const ml_upcasts *upcasts, const ml_event *event, ml_buf *out, ml_bytes *data,
                                     uint32_t *schema, ml_error *why);

#endif
