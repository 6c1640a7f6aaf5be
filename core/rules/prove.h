/* prove.h -- a pack meets history before it meets the present.
 *
 * Every chain of upcasters runs over one event of every distinct shape there ever was: type,
 * schema, and the keys and kinds of values of its data, at any depth (elements of an array
 * count once by kind). One pass over the log with a set of shape hashes; with `full`, over every
 * event. A chain that raises, that returns no map where the old data was one, or has a hole
 * refuses the pack, and names the first event and the line. So does one that loses a field: what
 * every event has that is stored at the latest schema, an upcast event must have too.
 *
 * Over a million shapes are not told apart, which is said as a warning; so are events that are
 * stored behind the end of a chain.
 *
 * Floor    rules; uses store, script.
 * Threads  those of the sandbox.
 * Memory   16 bytes a shape while it runs; nothing is kept.
 * Errors   of the pack: diagnostics. Of the machine: codes.
 */
#ifndef ML_RULES_PROVE_H
#define ML_RULES_PROVE_H

#include "upcast.h"

/* 64-bit hash of the shape of one MessagePack value. */
uint64_t ml_prove_shape(ml_bytes data);

/* Adds what it finds to `to`, at most one error a chain. Runs under the guard, which the caller has
 * started. CORRUPT, NO_MEMORY. */
ML_MUST_USE ml_code ml_prove_chains(ml_store *store, ml_upcasts *upcasts, ml_sandbox *sandbox,
                                    bool full, ml_diagnostics *to, ml_error *why);

#endif
