/* client.h -- one connection to the daemon, that can do what a polite client would not.
 *
 *     ml_pack_map(ml_client_begin(client, "head"), 0);
 *     ml_message message;
 *     if (ml_client_call(client, &message, 5000) && message.code == ML_OK) …
 *
 * Floor    spec/siege. Uses base.
 * Threads  none; sockets never block, but in ml_client_connect.
 * Memory   a message is views into the connection's buffer, valid until it is dropped or the
 *          buffer filled again.
 * Errors   false where the connection is lost; errno is left as it was found.
 */
#ifndef ML_SIEGE_CLIENT_H
#define ML_SIEGE_CLIENT_H

#include "../../core/base/pack.h"
#include "../../core/base/unpack.h"

typedef struct ml_client {
    int file; /* -1: not connected */
    ml_buf in, out;
    size_t at, sent; /* of what came, dropped; of what goes, gone */
    uint32_t msgid;  /* of the request begun last */
} ml_client;

typedef struct ml_message {
    bool answer;    /* else it was pushed */
    uint32_t msgid; /* of an answer */
    ml_code code;   /* of an answer: ML_OK, or why not */
    ml_bytes text;  /* the sentence of an error; the name of what was pushed */
    ml_bytes body;  /* the result; the one map of what was pushed */
    size_t size;
} ml_message;

/* Connects to a unix socket, or with `port` to that of the loopback. Waits while the daemon's queue
 * of new connections is full, five seconds at most. */
ML_MUST_USE bool ml_client_connect(ml_client *client, const char *path, int port);
/* Closes and frees; with `reset` a TCP peer gets an RST. May be called again. */
void ml_client_close(ml_client *client, bool reset);

/* Begins a request, or a notification: its one map of parameters is to be packed next. */
ml_buf *ml_client_begin(ml_client *client, const char *method);
ml_buf *ml_client_notice(ml_client *client, const char *method);

/* Sends as much of what was begun as the socket takes. */
ML_MUST_USE bool ml_client_flush(ml_client *client);
/* Takes what has come. */
ML_MUST_USE bool ml_client_fill(ml_client *client);
/* The next whole message, if there is one; it stays there until it is dropped. */
ML_MUST_USE bool ml_client_peek(const ml_client *client, ml_message *message);
void ml_client_drop(ml_client *client, const ml_message *message);

/* Waits until something has come, or the connection is lost: false then, or after so long. */
ML_MUST_USE bool ml_client_wait(ml_client *client, int timeout_ms);
/* Sends what was begun and waits for the answer. What is pushed meanwhile is dropped. The message
 * need not be dropped: the next call does. */
ML_MUST_USE bool ml_client_call(ml_client *client, ml_message *message, int timeout_ms);

/* The value of a name in a map, or empty bytes; and as a number, or 0. */
ml_bytes ml_client_find(ml_bytes map, const char *name);
uint64_t ml_client_natural(ml_bytes map, const char *name);
/* The items of an array by that name. */
ml_unpack ml_client_list(ml_bytes map, const char *name, uint32_t *count);
/* An event in its array form, all of it but `wire`. */
ML_MUST_USE bool ml_client_event(ml_unpack *cursor, ml_event *event);

#endif
