/* inside.h -- what the files of the server room share. Private to core/server. */
#ifndef ML_SERVER_INSIDE_H
#define ML_SERVER_INSIDE_H

#include <uv.h>

#include "../base/buf.h"
#include "../base/limits.h"
#include "../base/pack.h"
#include "../base/unpack.h"
#include "../moonlog.h"
#include "params.h"
#include "server.h"
#include "wire.h"

enum {
    CONNS_MAX = 16384,            /* about 2 KiB each while idle */
    IN_FLIGHT_MAX = 1024,         /* appends of one connection that wait for the disk */
    OUT_HIGH = 1 << 20,           /* output waiting: no more requests are read, nothing pushed */
    READ_BYTES = 256 << 10,       /* read at once, into a buffer that all connections share */
    UNKNOWN_FRAME_MAX = 4096,     /* message before hello, where a token is wanted */
    UNKNOWN_MS = 5000,            /* time for that hello */
    FRAME_MS = 10000,             /* a message that has begun must be whole by then */
    SUBSCRIPTIONS_MAX = 64,       /* of one connection, listeners included */
    PUSH_EVENTS = 256,            /* events pushed to one subscription in a turn */
    PUSH_BYTES = 256 << 10,
    CHECKPOINT_EVENTS = 10000,
    SIGNALS_BUFFER = 1024,        /* default of a listener */
    DRAIN_MS = 4000
};

typedef struct ml_server ml_server;
typedef struct ml_conn ml_conn;
typedef struct ml_subscription ml_subscription;
typedef struct ml_listener ml_listener;

struct ml_conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_pipe_t pipe;
        uv_tcp_t tcp;
    } uv;
    ml_server *server;
    ml_conn *prev, *next;       /* in server->conns */
    ml_conn *dirty_next;        /* in server->dirty: has output */
    bool dirty, closing, closed, reading;
    bool known;                 /* said hello with the token, or needs none */
    bool maps;                  /* wants events as maps */
    bool held;                  /* its next message waits for room in the group */
    unsigned refs;              /* appends waiting to be answered, and the write under way */
    unsigned in_flight;
    uint64_t began;             /* when the first byte of an unfinished message came; 0 = none */
    uint64_t accepted;
    ml_buf in;                  /* bytes of messages not handled yet */
    size_t in_at;
    ml_wire wire;
    ml_buf out, flying;         /* being filled; being written */
    uv_write_t write;
    ml_subscription *subscriptions;
    ml_listener *listeners;
    unsigned subscription_count;
};

/* A request being handled. */
typedef struct ml_call {
    ml_server *server;
    ml_conn *conn;
    bool request;    /* wants an answer; a notification does not */
    uint32_t msgid;
    ml_bytes params; /* one map */
    ml_error why;
} ml_call;

/* How a method ended. */
typedef enum ml_ended {
    ML_ANSWERED, /* or will be: nothing more to do */
    ML_REFUSED,  /* call->why says why */
    ML_HOLD      /* the group is full: once more after it was handed over */
} ml_ended;

typedef struct ml_method {
    const char *name;
    const char *params, *result; /* as in the contract */
    const char *since, *doc, *example;
    const char *const *names;    /* of parameters, ends with NULL */
    ml_ended (*run)(ml_call *call, const ml_params *params);
} ml_method;

struct ml_server {
    uv_loop_t loop;
    const ml_server_options *options;
    ml_store *store;
    uv_async_t woken;    /* by the flusher */
    uv_prepare_t turn;   /* end of a turn */
    uv_idle_t busy;      /* keeps turning while subscriptions have more */
    uv_timer_t clock;    /* each second: time-outs, checkpoints, the watermark's rest */
    uv_signal_t term, interrupt, hangup;
    uv_pipe_t unix_socket;
    uv_tcp_t tcp[8];
    size_t tcp_count;
    char socket_path[108];
    int fd_reserve;
    ml_conn *conns, *dirty;
    size_t conn_count;
    uint64_t last_id; /* of subscriptions */
    ml_subscription *subscriptions; /* all, for a turn */
    bool draining, stopped;
    bool shared;         /* a command's daemon whose command has gone, and that others use */
    ml_conn *command;    /* the first client of a command's daemon, while it is there */
    char damage[ML_SENTENCE_MAX]; /* what is wrong with the store, "CODE: sentence"; else "" */
    uint64_t started, requests, appended, idle_since;
    uint64_t pushed_position; /* log position that subscriptions were last served for */
    bool more;                /* a subscription had more than a turn gives */
    uint8_t *scratch;         /* READ_BYTES */
    ml_draft *drafts;         /* ML_APPEND_EVENTS_MAX, for the append being read */
    ml_write *writes;
    ml_bytes *tags;           /* ML_APPEND_EVENTS_MAX × ML_TAGS_MAX */
    uint8_t (*ids)[ML_ID_SIZE];
    ml_query_item items[ML_QUERY_ITEMS_MAX]; /* of the query being read */
    ml_bytes terms[ML_QUERY_TERMS_MAX];
    struct ml_subjects *subjects;
};

/* conn.c */
void ml_conn_accept(uv_stream_t *listener, int status);
/* Makes a client of a connected unix socket; NULL if that cannot be. */
ml_conn *ml_conn_adopt(ml_server *server, int file);
void ml_conn_close(ml_conn *conn);
void ml_conn_release(ml_conn *conn); /* gives back one ref */
void ml_conn_resume(ml_conn *conn);  /* handles what was held back */
void ml_conn_dirty(ml_conn *conn);   /* it has output that leaves at the end of the turn */
void ml_conn_flush(ml_conn *conn);
bool ml_conn_congested(const ml_conn *conn);

/* dispatch.c */
extern const ml_method ml_dispatch_methods[];
/* Handles one whole message; false if the connection has to be closed for it. HOLD in *ended
 * leaves it to be handled again. */
ML_MUST_USE bool ml_dispatch_message(ml_conn *conn, ml_bytes message, ml_ended *ended);
/* Begins an answer: the result is to be packed onto the connection's output next. */
ml_buf *ml_dispatch_answer(ml_conn *conn, uint32_t msgid);
void ml_dispatch_refuse(ml_conn *conn, uint32_t msgid, ml_code code, const char *sentence);
/* Begins a pushed notification: its one map is to be packed next. */
ml_buf *ml_dispatch_push(ml_conn *conn, const char *method);

/* methods_*.c: one per row of the table */
ml_ended ml_methods_hello(ml_call *call, const ml_params *params);
ml_ended ml_methods_api(ml_call *call, const ml_params *params);
ml_ended ml_methods_status(ml_call *call, const ml_params *params);
ml_ended ml_methods_append(ml_call *call, const ml_params *params);
ml_ended ml_methods_read(ml_call *call, const ml_params *params);
ml_ended ml_methods_head(ml_call *call, const ml_params *params);
ml_ended ml_methods_streams(ml_call *call, const ml_params *params);
ml_ended ml_methods_subscribe(ml_call *call, const ml_params *params);
ml_ended ml_methods_credit(ml_call *call, const ml_params *params);
ml_ended ml_methods_unsubscribe(ml_call *call, const ml_params *params);
ml_ended ml_methods_signal(ml_call *call, const ml_params *params);
ml_ended ml_methods_listen(ml_call *call, const ml_params *params);
ml_ended ml_methods_unlisten(ml_call *call, const ml_params *params);

/* selection.c: stream, category, query of read and subscribe. The query's items are borrowed
 * until the next call. */
ML_MUST_USE ml_code ml_selection_read(ml_server *server, const ml_params *params, ml_selection *selection,
                                      ml_error *why);
ML_MUST_USE ml_code ml_selection_query(ml_server *server, ml_bytes raw, ml_query *query, ml_error *why);
/* Packs an event the way the connection wants it. */
void ml_selection_pack_event(const ml_conn *conn, ml_buf *out, const ml_event *event);

/* push.c */
void ml_push_serve(ml_server *server);
void ml_push_checkpoints(ml_server *server);
void ml_push_drop(ml_conn *conn); /* all subscriptions of a connection */

/* signals.c */
void ml_signals_drop(ml_conn *conn);
void ml_signals_drain(ml_conn *conn); /* moves buffered signals to output that has room */
void ml_signals_free(ml_server *server);

/* say.c: the program's own messages, on stderr */
void ml_say(const ml_server *server, const char *level, const char *format, ...) ML_FORMAT(3, 4);

#endif
