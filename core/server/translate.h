/* translate.h -- events on their way to a client, sent round by a worker for their latest shape.
 *
 * Floor    server.
 */
#ifndef ML_SERVER_TRANSLATE_H
#define ML_SERVER_TRANSLATE_H

#include "rules.h"
#include "workers.h"

/* Do the active rules translate this event? */
static inline bool ml_translate_wanted(const ml_server *server, const ml_event *event)
{
    return server->rules->active.chain_count > 0 && ml_packs_upcasts(&server->rules->active, event);
}

/* Begins a request: the events are to be added to the buffer, as they are stored. */
ml_buf *ml_translate_begin(ml_ask *ask);
/* Sends it. */
ML_MUST_USE ml_code ml_translate_send(ml_server *server, ml_ask *ask, bool as_maps, ml_asked *asked,
                                      ml_error *why);
/* The answer: so many events, packed one after another. False if it is none. */
ML_MUST_USE bool ml_translate_read(ml_bytes result, uint32_t *count, ml_bytes *events);

#endif
