/* jail.h -- the outer wall around rules: what the process that runs them can still do.
 *
 *     limits       no core file, bounded private memory, small files, nothing locked in memory
 *     privileges   none can be gained, by any program it might run (no_new_privs)
 *     files        Landlock: reads the data directory, writes one directory in it if it may
 *     calls        seccomp: what reading a log and answering needs; a socket, another process,
 *                  another program or a look into one ends it on the spot, all else is refused
 *
 * A wall that this kernel cannot build is missing, and whoever asked is told. Without the wall
 * of files nothing can be opened for writing, but by who `shares`.
 *
 * Floor    rules; uses base. The only file that speaks seccomp.h.
 * Threads  the process must have one.
 */
#ifndef ML_RULES_JAIL_H
#define ML_RULES_JAIL_H

#include "../base/buf.h"

typedef enum ml_jail_wall {
    ML_JAIL_LIMITS,
    ML_JAIL_PRIVILEGES,
    ML_JAIL_FILES,
    ML_JAIL_CALLS,
    ML_JAIL_WALLS /* how many */
} ml_jail_wall;

/* "limits" … */
const char *ml_jail_name(ml_jail_wall wall);

typedef struct ml_jail {
    const char *dir;      /* may be read */
    const char *writable; /* below it; NULL: nothing can be written */
    size_t file_bytes;    /* that a file there may have */
    bool shares;          /* in it folders are made, and files are locked and shared by maps: what
                           * LMDB and SQLite need */
} ml_jail;

/* Locks this process in, for good; gives a bit for each wall that stands. */
unsigned ml_jail_enter(const ml_jail *jail);

/* What somebody who has taken over a worker would try. In a child each, from inside a jail
 * around `dir`: calls `each` with what it was, and whether the jail held. IO if no child could be
 * started. The process must have one thread. */
ML_MUST_USE ml_code ml_jail_try(const char *dir, void (*each)(void *context, const char *what, bool held),
                                void *context, ml_error *why);

#endif
