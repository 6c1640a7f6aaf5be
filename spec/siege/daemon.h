/* daemon.h -- a real `moonlog serve` as a child: begun, watched from outside, ended.
 *
 * Floor    spec/siege.
 * Threads  none. The child ends with its parent.
 * Errors   false, with the daemon's last words in `why`.
 */
#ifndef ML_SIEGE_DAEMON_H
#define ML_SIEGE_DAEMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { ML_DAEMON_PATH = 96, ML_DAEMON_ARGS = 8 };

typedef struct ml_daemon {
    const char *program;
    char data[ML_DAEMON_PATH];     /* its directory */
    char socket[ML_DAEMON_PATH];   /* in it */
    char messages[ML_DAEMON_PATH]; /* the file that its stderr goes to, from the first start on */
    int port;                      /* of the loopback, where it listens too */
    uint64_t descriptors;          /* RLIMIT_NOFILE it is given; 0: ours */
    const char *args[ML_DAEMON_ARGS]; /* further words of its command line, NULL at the end */
    pid_t pid;                        /* 0: not running */
    int out;                          /* its stdout; ends when it does */
    char why[512];
} ml_daemon;

/* Chooses the paths under `root`, and a free port. */
void ml_daemon_place(ml_daemon *daemon, const char *program, const char *root);

/* Begins it, without waiting; waits until it says that it is ready; both. */
bool ml_daemon_spawn(ml_daemon *daemon);
bool ml_daemon_ready(ml_daemon *daemon);
bool ml_daemon_start(ml_daemon *daemon);

/* SIGKILL, and waits. A daemon that is not running is left alone. */
void ml_daemon_kill(ml_daemon *daemon);
/* SIGTERM, and waits: false if it did not end in time, or not with exit status 0. */
bool ml_daemon_stop(ml_daemon *daemon);
/* False if it has ended by itself. */
bool ml_daemon_alive(ml_daemon *daemon);
/* Is that a process that it has begun? What it says of one may be over by now, and the number
 * somebody else's. */
bool ml_daemon_owns(const ml_daemon *daemon, uint64_t pid);

/* What the system says of it: resident bytes, those of them that are no file's (the log is read
 * through maps), the most they ever were, processor time in microseconds (it counts in steps of
 * 10,000), open descriptors. */
uint64_t ml_daemon_resident(const ml_daemon *daemon);
uint64_t ml_daemon_private(const ml_daemon *daemon);
uint64_t ml_daemon_peak(const ml_daemon *daemon);
uint64_t ml_daemon_busy(const ml_daemon *daemon);
unsigned ml_daemon_files(const ml_daemon *daemon);

#endif
