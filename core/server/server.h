/* server.h -- the door of the daemon: one loop, one store, many clients.
 *
 *     sockets ─▶ conn (bytes) ─▶ wire (whole messages) ─▶ dispatch (one table) ─▶ methods_*
 *                  ▲                                                              │
 *                  └──── answers, pushes, one write a turn ◀── push, signals ◀────┘
 *
 * A turn of the loop: everything that sockets hold is read and admitted; then what the
 * flusher has synced is answered, the next group handed to it, subscriptions are served from
 * the log, and each connection's output leaves in one write. A turn is bounded: who wants more
 * of it gets that in the next.
 *
 * Floor    server, the only room that speaks uv.h.
 * Threads  the loop's; the store's flusher wakes it through one uv_async.
 * Limits   base/limits.h; of connections in inside.h, and shown by `hello`. One that is over
 *          one is not read from until it is under it again. Nothing is buffered without a bound.
 */
#ifndef ML_SERVER_SERVER_H
#define ML_SERVER_SERVER_H

#include "../base/error.h"

enum {
    ML_SERVER_CONNECTIONS = 1024, /* also under the usual limits of descriptors */
    ML_SERVER_PER_ADDRESS = 64    /* from one other machine. Not from this one: there a crowd of
                                   * programs is normal, and an address says nothing; and users of
                                   * the unix socket were let in by its owner */
};

typedef struct ml_server_options {
    const char *dir;
    const char *const *listen; /* "tcp:HOST:PORT" …, NULL at the end; the unix socket is always there */
    const char *token;         /* what hello must bring on TCP; NULL: TCP only on loopback */
    size_t connections;        /* at most; 0 = as above. Fewer if the limit of open files says so */
    size_t per_address;        /* TCP connections from one address; 0 = as above */
    bool json_messages;        /* the program's own messages as JSON lines */
    const char *messages_file; /* where they go, opened again on SIGHUP; NULL: stderr */
    int ready;                 /* a descriptor that gets one line when the daemon serves; -1 = stdout */
    int client;                /* a connected unix socket, or -1. With one this is the daemon of a command:
                                * it serves that client from the start, says nothing but errors, and
                                * stops with its last client */
    bool must_exist;           /* NOT_FOUND instead of beginning a store */
    size_t workers;            /* processes that run rules; 0 = as many as processors */
    ml_bytes rules;            /* a pack to be active: a MessagePack map of paths to texts; empty: as it is */
    bool read_only;            /* reads beside whoever writes: takes no lock, listens nowhere */
} ml_server_options;

/* Serves until SIGTERM or SIGINT (or the last client of a command's daemon is gone), then drains
 * and gives ML_OK; or why it could not begin. */
ML_MUST_USE ml_code ml_server_run(const ml_server_options *options, ml_error *why);

/* Is "tcp:HOST:PORT" an address to listen on? BAD_REQUEST with a sentence if not; FORBIDDEN if
 * others could come there and no token is wanted. */
ML_MUST_USE ml_code ml_server_check_address(const char *text, bool token, ml_error *why);

/* Could a daemon begin in this directory, with its messages in that file (NULL: stderr)? OK, or
 * why not. Leaves nothing behind, and does not ask whether one is running there. */
ML_MUST_USE ml_code ml_server_check(const char *dir, const char *messages_file, ml_error *why);

/* How many workers there are if `workers` is 0. */
size_t ml_server_workers(void);

/* For a method whose effect ends with the connection, so that a program that makes one call and
 * goes has nothing of it: the verb that stays, "tail" or "listen". Else NULL. */
const char *ml_server_stays(const char *method);

/* Writes the protocol's document (PROTOCOL.md) made from the table of methods onto stdout. */
void ml_server_document(void);

#endif
