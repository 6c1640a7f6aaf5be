/* worker_page.h -- what a worker process and its daemon have in common, without Lua.
 *
 * Floor    rules; uses nothing.
 */
#ifndef ML_RULES_WORKER_PAGE_H
#define ML_RULES_WORKER_PAGE_H

#include "doing.h"

/* Descriptors that the process is born with. */
enum { ML_WORKER_SOCKET = 3, ML_WORKER_PAGE = 4 };

enum {
    ML_WORKER_MESSAGE_MAX = 32 << 20, /* a page of events, grown by upcasting */
    ML_WORKER_TYPES_MAX = 256         /* that a pack upcasts: one a file */
};

typedef struct ml_worker_page {
    ml_engine_doing doing;
    volatile uint32_t msgid; /* of the request at work; 0 = none */
} ml_worker_page;

#endif
