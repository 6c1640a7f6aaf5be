/* inside.h -- what the files of the server room share. Private to core/server. */
#ifndef ML_SERVER_INSIDE_H
#define ML_SERVER_INSIDE_H

#include <uv.h>

#include "../base/buf.h"
#include "../base/limits.h"
#include "../base/pack.h"
#include "../base/unpack.h"
#include "../base/wire.h"
#include "../moonlog.h"
#include "params.h"
#include "server.h"

enum {
    /* Connections: about 1 KiB each while idle; `serve --connections` sets how many. */
    CONNS_KEPT = 16,              /* of them for root and the daemon's own user, on the unix socket */
    FILES_RESERVE = 256,          /* descriptors that clients do not get: segments, runs, both twice */
    BUFFERS_MAX = 256 << 20,      /* input and output of all; over it each gets BUFFERS_LOW, no more */
    BUFFERS_LOW = 64 << 10,
    READER_MS = 10000,            /* who takes nothing of OUT_HIGH for so long, and does not follow, goes */

    /* Before hello, where a token is wanted: that hello, and nothing else. */
    UNKNOWN_CONNS_MAX = 64,
    UNKNOWN_FRAME_MAX = 4096,
    UNKNOWN_VALUES_MAX = 16,
    UNKNOWN_DEPTH_MAX = 4,
    UNKNOWN_MS = 5000,

    /* Of one connection. */
    FRAME_MAX = ML_APPEND_BYTES_MAX + 65536, /* a message: a whole append, and what is around it */
    FRAME_MS = 10000,             /* a message that has begun must be whole by then */
    IN_FLIGHT_MAX = 1024,         /* requests that wait for the disk, or for a worker */
    OUT_HIGH = 1 << 20,           /* output waiting: no more requests are read, nothing pushed */
    OUT_ANSWERS_MAX = 16 << 20,   /* where it was not foreseen: a state that is larger is refused */
    USUAL_BYTES = 64 << 10,       /* of a worker's answer to a client that has had none yet */
    BEGUN_BYTES = 4096,           /* the first of an unfinished message that are kept aside */
    READ_BYTES = 256 << 10,       /* read at once, into a buffer that all connections share */
    SUBSCRIPTIONS_MAX = 64,       /* listeners included */
    PUSH_EVENTS = 256,            /* events pushed to one subscription in a turn */
    PUSH_BYTES = 256 << 10,
    TURN_BYTES = 8 << 20,         /* to all of them: what others ask is not to wait for a thousand that catch up */
    CHECKPOINT_EVENTS = 10000,
    SIGNALS_BUFFER = 1024,        /* that may wait for one listener, where it does not say how many, */
    SIGNALS_BUFFER_MAX = 65536,   /* and where it does: 512 KiB of places for them */
    SIGNALS_BYTES_MAX = 8 << 20,  /* of those that wait */
    SUBJECT_BYTES_MAX = 256,
    SUBJECT_TOKENS_MAX = 16,      /* as deep are wildcards looked for */
    READ_LIMIT = 1000,            /* events of a page, where it is not asked for more; */
    READ_BYTES_MAX = 4 << 20,     /* so much one page may add to output that is under OUT_HIGH */
    UNREADABLE_MAX = 100,         /* events in a row that are passed over: more tell nobody more */
    STREAMS_LIMIT = 1000,         /* of a listing, */
    STREAMS_LIMIT_MAX = 10000,    /* and where more are asked for: some 6 MB if all names are long */
    INLINE_US = 500,              /* a group that takes less is written by the loop, which sleeps so long */
    DRAIN_MS = 4000
};

typedef struct ml_server ml_server;
typedef struct ml_conn ml_conn;
typedef struct ml_subscription ml_subscription;
typedef struct ml_source ml_source;
typedef struct ml_workers ml_workers;

/* The first member of a subscription and of a listener. */
typedef struct ml_follower {
    struct ml_follower *next; /* of its connection */
    ml_conn *conn;
    uint64_t id;
} ml_follower;

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
    ml_conn *paused_next;       /* in server->paused: is not read from */
    bool dirty, paused, closing, closed, reading;
    bool known;                 /* said hello with the token, or needs none */
    bool maps;                  /* wants events as maps */
    bool held;                  /* its next message waits for room in the group */
    bool ended;                 /* sends no more, or is not heard: closed once it has its answers */
    bool overrun;               /* lost a signal, and wants to be closed then */
    bool awaited;               /* counted among those that have not said hello */
    ml_source *source;          /* TCP: where it is counted */
    unsigned refs;              /* requests in flight, the write under way, both lists above */
    unsigned in_flight;         /* requests that are answered later, */
    size_t promised;            /* and about the bytes of those answers that workers make, */
    size_t usual;               /* which are as many as this where nobody can know */
    size_t answer;              /* place behind the head of the one being packed; 0: none is */
    size_t travelling;          /* bytes of events that come back from workers, to be pushed */
    uint64_t began;             /* when the first byte of an unfinished message came; 0 = none */
    uint64_t accepted;
    ml_buf in;                  /* bytes of messages not handled yet */
    size_t in_at;
    ml_wire wire;
    ml_buf out, flying;         /* being filled; being written */
    size_t weight, weight_in;   /* of all three, and of `in`, as counted in server->buffered, received */
    size_t unsent;              /* output that waited a second ago, */
    uint64_t taken;             /* and when that last was another number */
    uv_write_t write;
    ml_follower *subscriptions, *listeners;
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

/* What the daemon says unasked. */
typedef struct ml_pushed {
    const char *name, *params, *doc, *example;
} ml_pushed;

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
    char *directory;     /* of the store, from the root on */
    char socket_path[108];
    ml_conn *conns, *dirty, *paused;
    size_t conn_count, conns_max;
    size_t per_address;       /* connections from one address; 0 = as is fit */
    size_t unknown_count;     /* connections that have not said hello, and must */
    size_t buffered;          /* bytes of buffers, of all connections */
    size_t received;          /* those of them that are input */
    size_t refused;           /* connections, in this second */
    ml_error refused_for;     /* the last one's reason */
    ml_source *sources;
    int said;                 /* where messages go */
    uint64_t last_id; /* of subscriptions */
    ml_subscription *subscriptions, *next_served; /* all; where the next turn begins; NULL: with the first */
    bool draining, stopped;
    bool shared;         /* a command's daemon whose command has gone, and that others use */
    ml_conn *command;    /* the first client of a command's daemon, while it is there */
    char damage[ML_SENTENCE_MAX]; /* what is wrong with the store, "CODE: sentence"; else "" */
    uint64_t started, requests, appended, idle_since;
    uint64_t pushed_position; /* log position that subscriptions were last served for */
    bool behind;              /* one of them may have something to get nevertheless */
    bool more;                /* a subscription had more than a turn gives */
    bool handled;             /* a message was */
    uint8_t *scratch;         /* READ_BYTES */
    ml_draft *drafts;         /* ML_APPEND_EVENTS_MAX, for the append being read */
    ml_write *writes;
    ml_bytes *tags;           /* ML_APPEND_EVENTS_MAX × ML_TAGS_MAX */
    uint8_t (*ids)[ML_ID_SIZE];
    ml_query_item items[ML_QUERY_ITEMS_MAX]; /* of the query being read */
    ml_bytes terms[ML_QUERY_TERMS_MAX];
    struct ml_subjects *subjects;
    ml_workers *workers;
    struct ml_process *processes; /* all of them, and */
    uv_timer_t watching;          /* runs while they have something to do */
    struct ml_projections *projections;
    struct ml_rules *rules;
    struct ml_commands *commands;
    bool ready;               /* has said so */
    bool deaf;                /* had no memory for a client, and is not told of the next before it takes that one */
};

/* access.c */
void ml_access_begin(ml_server *server); /* how many there may be */
/* May this connection, which is counted already, be a client? */
ML_MUST_USE ml_code ml_access_check(ml_conn *conn, bool local, ml_error *why);
void ml_access_greeted(ml_conn *conn); /* it has said hello */
void ml_access_leave(ml_conn *conn);
void ml_access_each_second(ml_server *server);
/* Says how many were refused: once a second, so that a flood of clients is no flood of messages. */
void ml_access_tell(ml_server *server);

/* conn.c */
void ml_conn_accept(uv_stream_t *listener, int status);
void ml_conn_accept_again(ml_server *server); /* those that wait since it was deaf */
/* Makes a client of a connected unix socket; NULL if that cannot be. */
ml_conn *ml_conn_adopt(ml_server *server, int file);
void ml_conn_close(ml_conn *conn);
/* A last word, if a code is given; nothing more is read, what was asked is answered, then it is
 * closed. */
void ml_conn_part(ml_conn *conn, ml_code code, const char *sentence);
void ml_conn_release(ml_conn *conn); /* gives back one ref */
void ml_conn_resume(ml_conn *conn);  /* handles what was held back */
void ml_conn_dirty(ml_conn *conn);   /* it has output that leaves at the end of the turn */
void ml_conn_flush(ml_conn *conn);
void ml_conn_flush_dirty(ml_server *server);   /* all that are */
void ml_conn_resume_paused(ml_server *server); /* all that are not read from */
void ml_conn_shrink(ml_conn *conn);  /* an idle one holds no buffer */
size_t ml_conn_room(const ml_conn *conn); /* bytes of output that may be added */
bool ml_conn_congested(const ml_conn *conn); /* no room */
void ml_conn_weigh(ml_conn *conn);   /* keeps the daemon's sum of buffers true */

/* dispatch.c */
extern const ml_method ml_dispatch_methods[]; /* the last one has no name */
extern const ml_pushed ml_dispatch_pushes[];
/* Handles one whole message; false if the connection has to be closed for it. HOLD in *ended
 * leaves it to be handled again. */
ML_MUST_USE bool ml_dispatch_message(ml_conn *conn, ml_bytes message, ml_ended *ended);
/* Begins an answer: the result is to be packed onto the connection's output next. */
ml_buf *ml_dispatch_answer(ml_conn *conn, uint32_t msgid);
/* Packs [number, "CODE: sentence"]. */
void ml_dispatch_pack_error(ml_buf *out, ml_code code, const char *sentence);
void ml_dispatch_refuse(ml_conn *conn, uint32_t msgid, ml_code code, const char *sentence);
/* A call of the store failed: its sentence is the answer's. */
ml_ended ml_dispatch_refuse_store(ml_call *call, ml_code code);
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
ml_ended ml_methods_command(ml_call *call, const ml_params *params);
ml_ended ml_methods_state(ml_call *call, const ml_params *params);
ml_ended ml_methods_rules_check(ml_call *call, const ml_params *params);
ml_ended ml_methods_rules_load(ml_call *call, const ml_params *params);
ml_ended ml_methods_rules_list(ml_call *call, const ml_params *params);
ml_ended ml_methods_rules_history(ml_call *call, const ml_params *params);
ml_ended ml_methods_rules_rollback(ml_call *call, const ml_params *params);
ml_ended ml_methods_projection_get(ml_call *call, const ml_params *params);
ml_ended ml_methods_projection_scan(ml_call *call, const ml_params *params);
ml_ended ml_methods_projection_list(ml_call *call, const ml_params *params);
ml_ended ml_methods_projection_pause(ml_call *call, const ml_params *params);
ml_ended ml_methods_projection_resume(ml_call *call, const ml_params *params);
ml_ended ml_methods_projection_rebuild(ml_call *call, const ml_params *params);
ml_ended ml_methods_projection_rollback(ml_call *call, const ml_params *params);
ml_ended ml_methods_projection_skip(ml_call *call, const ml_params *params);
ml_ended ml_methods_projection_retry(ml_call *call, const ml_params *params);
ml_ended ml_methods_whatif(ml_call *call, const ml_params *params);
ml_ended ml_methods_whatif_stop(ml_call *call, const ml_params *params);

/* selection.c: stream, category, query of read and subscribe. The query's items are borrowed
 * until the next call. */
ML_MUST_USE ml_code ml_selection_read(ml_server *server, const ml_params *params, ml_selection *selection,
                                      ml_error *why);
ML_MUST_USE ml_code ml_selection_query(ml_server *server, ml_bytes raw, ml_query *query, ml_error *why);
/* Packs an event as a map, or as it is stored (read with wire_only is enough). */
void ml_selection_pack_event(bool as_map, ml_buf *out, const ml_event *event);

/* follow.c: what subscriptions and listeners have in common. A list is the connection's. */
ML_MUST_USE ml_code ml_follow_room(ml_call *call); /* LIMIT if the connection has all it may have */
/* Gives it its id, its connection and a place in the list, and answers with the id. */
void ml_follow_begin(ml_call *call, ml_follower *of, ml_follower **list);
/* The one that the parameter `subscription` names; NULL with the reason in call->why. */
ml_follower *ml_follow_find(ml_call *call, const ml_params *params, ml_follower *list, const char *what);
void ml_follow_end(ml_follower *of, ml_follower **list);

/* push.c */
void ml_push_serve(ml_server *server);
void ml_push_checkpoints(ml_server *server);
void ml_push_drop(ml_conn *conn); /* all subscriptions of a connection */

/* signals.c */
void ml_signals_drop(ml_conn *conn);
void ml_signals_drain(ml_conn *conn); /* moves buffered signals to output that has room */
void ml_signals_free(ml_server *server);

/* check.c: is the directory's name short enough for the socket in it? */
ML_MUST_USE ml_code ml_check_socket(const char *dir, ml_error *why);

/* say.c: the program's own messages, on stderr or in a file. Opening again (SIGHUP) keeps the
 * old one if there is no new one. */
ML_MUST_USE ml_code ml_say_open(ml_server *server, ml_error *why);
void ml_say_close(ml_server *server);
void ml_say(const ml_server *server, const char *level, const char *format, ...) ML_FORMAT(3, 4);

#endif
