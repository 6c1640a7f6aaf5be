/* whatifs.h -- other rules held against the active ones: each time in a process of its own, that ends
 * with the answer, or with whoever asked.
 *
 * Floor    server.
 * Threads  the loop's.
 * Limits   ML_WHATIFS_MAX at once; over it LIMIT.
 */
#ifndef ML_SERVER_WHATIFS_H
#define ML_SERVER_WHATIFS_H

#include "inside.h"

enum { ML_WHATIFS_MAX = 2 }; /* each takes a core, and memory for two packs and their rows */

/* Those of this connection, or with NULL all, end with an error of this code. Gives how many. */
unsigned ml_whatifs_end(ml_server *server, const ml_conn *conn, ml_code code, const char *sentence);

#endif
