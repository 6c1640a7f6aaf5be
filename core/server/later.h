/* later.h -- a request that is answered in another turn: who asked, kept until then.
 *
 * The connection stays in memory, counts the request as one in flight and the bytes of its answer
 * as promised, and may be gone by the time there is an answer.
 *
 * Floor    server.
 */
#ifndef ML_SERVER_LATER_H
#define ML_SERVER_LATER_H

#include "inside.h"

typedef struct ml_later {
    ml_conn *conn; /* NULL: nobody asked */
    uint32_t msgid;
    bool request;
    bool explain; /* wants to know all about a script's error: as a result */
    size_t promised; /* bytes of the answer, as far as they can be foreseen */
} ml_later;

/* The answer will have about so many bytes; 0: as many as those before it. While they and what is
 * not fetched are too many, no more of the client's requests are read. */
ml_later ml_later_begin(const ml_call *call, size_t bytes);
/* Begins the answer: the result is to be packed next. NULL: nobody waits for it any more. */
ml_buf *ml_later_answer(const ml_later *later);
/* Waits so much for the client to fetch it that a large answer must not be added? Those that only
 * look can be asked for again. */
bool ml_later_overfull(const ml_later *later);
void ml_later_refuse(const ml_later *later, ml_code code, const char *sentence);
/* The same; whoever wants an explanation gets {error, fault} as a result. `more` is what a worker
 * says besides: {fault}, or nothing. */
void ml_later_explain(const ml_later *later, ml_code code, const char *sentence, ml_bytes more);
/* After the one answer. */
void ml_later_end(ml_later *later);

#endif
