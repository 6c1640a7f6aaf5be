/* loads.h -- packs that are checked, loaded or rolled back to: one at a time, in their order.
 *
 * Floor    server.
 * Limits   packs that wait; over it LIMIT.
 */
#ifndef ML_SERVER_LOADS_H
#define ML_SERVER_LOADS_H

#include "later.h"

typedef enum ml_load_kind { ML_LOAD_CHECK, ML_LOAD_ACTIVATE, ML_LOAD_ROLLBACK } ml_load_kind;

/* `files` is a map of paths to texts. Answered when the pack is active, or refused. */
ml_ended ml_loads_begin(ml_call *call, ml_load_kind kind, ml_bytes files, bool full);

/* Loads a pack that no client sent: the one that the daemon was started with. */
void ml_loads_given(ml_server *server, ml_bytes files);

/* Says a report's diagnostics in the daemon's messages. */
void ml_loads_say(const ml_server *server, ml_bytes report);

#endif
