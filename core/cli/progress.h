/* progress.h -- one line on stderr that shows how far, how fast and how long still.
 *
 * Floor    cli.
 * Threads  none.
 * Errors   none: what cannot be shown is not shown. Nothing is written unless stderr is a
 *          terminal.
 */
#ifndef ML_CLI_PROGRESS_H
#define ML_CLI_PROGRESS_H

#include "cli.h"

typedef struct ml_progress {
    const char *what; /* "importing" */
    double start, shown;
    uint64_t total; /* 0 = not known: no bar, no ETA */
    bool on, drawn;
} ml_progress;

void ml_progress_begin(ml_progress *progress, const ml_cli *cli, const char *what,
                       uint64_t total);

/* `done` of the total, and `events` so far; draws at most ten times a second. */
void ml_progress_move(ml_progress *progress, uint64_t done, uint64_t events);

/* Wipes the line. */
void ml_progress_end(ml_progress *progress);

#endif
