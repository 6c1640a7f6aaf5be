/* reach.h -- the daemon that a verb talks to: the one asked for, the one that owns the
 * directory, or one started for this command.
 *
 *     --connect URI, MOONLOG_CONNECT      that one, or nothing
 *     somebody answers DIR/moonlog.sock   that one
 *     nobody does                         `moonlog serve --for-command`, our child
 *
 * A daemon of our own is connected to us by a socket pair, so there is no moment to wait for:
 * the first request lies there when it begins to serve. It stops with its last client, and
 * that we have gone, however we went, it sees like any other client's going. For a verb that
 * only reads it opens the store read-only, beside whoever writes, and listens nowhere; else
 * it owns the directory and others may join it.
 *
 * Floor    cli.
 * Threads  none.
 */
#ifndef ML_CLI_REACH_H
#define ML_CLI_REACH_H

#include "client.h"

typedef enum ml_reach_how {
    ML_REACH_READ,   /* reads; the store must be there */
    ML_REACH_USE,    /* needs the daemon that others talk to; the store must be there */
    ML_REACH_FOLLOW, /* the same, but reading beside another owner is better than nothing */
    ML_REACH_WRITE   /* may begin a store; the verb has an option --wait, and so long it waits for
                      * a program that has the store open for writing itself */
} ml_reach_how;

enum { ML_REACH_TOKEN_MAX = 256 };

/* The fd that a daemon started for a command finds its first client on. */
enum { ML_REACH_FD = 3 };

/* False after saying why; *status is then the exit status and nothing is open. Events come
 * as `maps`, or as arrays. */
ML_MUST_USE bool ml_reach_open(const ml_cli *cli, ml_reach_how how, bool maps, ml_client *client,
                               int *status);

/* Closes, and waits for a daemon of our own to stop (unless others use it by now). Gives
 * `status`, or if that is ML_EXIT_OK and the daemon could not close its store, its failure
 * after saying it. */
int ml_reach_close(const ml_cli *cli, ml_client *client, int status);

/* Says client->why; gives the exit status. */
int ml_reach_fail(const ml_cli *cli, const ml_client *client);

/* Warns on stderr if a token file is everybody's to read. */
void ml_reach_warn(const char *path);

/* The first line of a token file. */
ML_MUST_USE ml_code ml_reach_token(const char *path, char token[ML_REACH_TOKEN_MAX], ml_error *why);

#endif
