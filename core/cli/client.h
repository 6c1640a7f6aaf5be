/* client.h -- a daemon, asked: a small blocking msgpack-rpc client.
 *
 *     ml_buf *out = ml_client_begin(client, "head");
 *     ml_pack_map(out, 0);
 *     ml_bytes result;
 *     ml_code code = ml_client_call(client, &result);
 *
 * One request is under way at a time. What is asked with ml_client_send is worked on by the
 * daemon until ml_client_receive wants it, so that both can be busy.
 *
 * Floor    cli. Uses base.
 * Threads  none.
 * Memory   results and pushes are views, valid until the next receive, call or wait.
 * Errors   the daemon's own, with its sentence in client->why; UNREACHABLE if nobody answers or
 *          the connection is lost before the answer; UNSUPPORTED if what comes is no answer.
 */
#ifndef ML_CLI_CLIENT_H
#define ML_CLI_CLIENT_H

#include "../base/pack.h"
#include "../base/unpack.h"
#include "../base/wire.h"
#include "cli.h"

/* What the daemon tells without being asked; `params` is the one map. */
typedef void ml_client_pushed(void *context, ml_bytes method, ml_bytes params);

typedef struct ml_client {
    int file;      /* the socket */
    int messages;  /* what a daemon of our own says on its stderr, else -1 */
    ml_buf in;
    size_t at;     /* of the message that is looked at */
    size_t taken;  /* its size, once it was given out */
    ml_wire wire;
    ml_buf out;    /* the request being packed */
    uint32_t msgid;
    ml_client_pushed *pushed; /* may be NULL; called inside receive, call and wait */
    void *context;
    bool shows;    /* set it to have waiting end when nobody reads stdout any more: */
    bool unseen;   /* it has */
    ml_error why;
} ml_client;

/* Connects to "unix:PATH" or "tcp:HOST:PORT"; UNREACHABLE if nobody answers there. A client whose
 * connect failed needs no close. */
ML_MUST_USE ml_code ml_client_connect(ml_client *client, const char *uri);
/* Takes over a connected socket. */
void ml_client_take(ml_client *client, int file, int messages);
/* Closes the socket and frees. */
void ml_client_close(ml_client *client);
/* Reads what a daemon of our own says until it has ended; true if that was an error, which is
 * then in client->why. */
bool ml_client_last_words(ml_client *client);

/* The first call: `token` may be NULL. Events will come as maps, or as arrays. */
ML_MUST_USE ml_code ml_client_hello(ml_client *client, bool maps, const char *token);

/* Begins a request, or a notification: one map of parameters is to be packed next. */
ml_buf *ml_client_begin(ml_client *client, const char *method);
ml_buf *ml_client_begin_notice(ml_client *client, const char *method);
/* Sends what was begun. */
ML_MUST_USE ml_code ml_client_send(ml_client *client);
/* Waits for the answer to the request sent last. */
ML_MUST_USE ml_code ml_client_receive(ml_client *client, ml_bytes *result);
/* Both. */
ML_MUST_USE ml_code ml_client_call(ml_client *client, ml_bytes *result);

/* Waits until something was pushed. TIMEOUT after so many milliseconds (-1: never); ML_END
 * when SIGINT came (ml_cli_interrupted), or with `shows` when stdout's reader has gone. */
ML_MUST_USE ml_code ml_client_wait(ml_client *client, int timeout_ms);

/* ---- client_read.c: taking results apart ----------------------------------------------- */

/* The value of a name in a map: 0 or false if it has none. */
uint64_t ml_client_natural(ml_bytes map, const char *name);
bool ml_client_bool(ml_bytes map, const char *name);
/* The items of an array by that name. */
ml_unpack ml_client_list(ml_bytes map, const char *name, uint32_t *count);
/* Reads an event in its array form; false if it is none. */
ML_MUST_USE bool ml_client_event(ml_unpack *cursor, ml_event *event);

/* ---- client_write.c ------------------------------------------------------------------ */

/* Packs a proposal (without a condition) as the parameters of `append`. */
void ml_client_pack_append(ml_buf *out, const ml_proposal *proposal);

/* ---- errors, in client_read.c --------------------------------------------------------- */

/* "CODE: sentence" to both; INTERNAL if the code is not known. */
void ml_client_error(ml_bytes text, ml_error *why);

#endif
