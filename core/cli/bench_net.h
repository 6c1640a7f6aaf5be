/* bench_net.h -- `moonlog bench --connect`: one thin load generator, for a daemon or a Redis.
 *
 *     bench_net.c          the list of workloads, and what is noted of each
 *     bench_net_conn.c     connections: requests made beforehand and patched, replies
 *     bench_net_loop.c     closed loops: clients x requests in flight x events
 *     bench_net_rules.c    commands, and rules loaded meanwhile
 *     bench_net_live.c     publishing while others listen: live, fan-out, signals
 *     bench_net_moonlog.c, bench_net_redis.c    the two dialects
 *
 * The generator shares its machine with what it measures, so it does little: a request is a
 * copy with a few bytes changed, a reply is looked at only for where it ends, whether it is a
 * refusal, and for payloads, which are known by their first bytes. All of it is one thread on
 * one epoll, the same for both dialects.
 *
 * Floor    cli, private to bench*.c.
 * Threads  one.
 * Memory   about 64 KiB for each connection.
 * Units    nanoseconds inside.
 * Errors   as in bench.h; TIMEOUT when nothing comes any more, INTERNAL when what came or was
 *          stored is not what was sent.
 */
#ifndef ML_CLI_BENCH_NET_H
#define ML_CLI_BENCH_NET_H

#include <time.h>

#include "bench.h"
#include "client.h"

enum {
    ML_NET_FLIGHT = 128,   /* requests of a connection under way, with their times; a power of 2 */
    ML_NET_DEPTH = 16,     /* containers around a value in a reply */
    ML_NET_GROUP = 100,    /* events of a stream of the data set */
    ML_NET_DIGITS = 9,     /* of a stream's number */
    ML_NET_NUMBER = 16,    /* decimal digits of a number in Redis's dialect */
    ML_NET_MARK = 5,       /* bytes that a payload is known by … */
    ML_NET_SILENCE_MS = 20000 /* without any reply: it hangs */
};

typedef struct ml_net ml_net;

/* What is asked of a server. */
typedef enum ml_net_ask {
    ML_NET_APPEND,    /* so many events to the connection's stream */
    ML_NET_EXPECTED,  /* one, and the stream must be where it is expected */
    ML_NET_COMMAND,   /* one that a rule decides, to the same stream */
    ML_NET_FILL,      /* part of the data set, into its streams */
    ML_NET_FILL_ALL,  /* the same, in one stream: for who has no log of all events */
    ML_NET_PAGE,      /* a page of all events */
    ML_NET_LOAD,      /* a whole stream of the data set */
    ML_NET_PUBLISH,   /* one event to the stream that is subscribed to */
    ML_NET_SUBSCRIBE,
    ML_NET_SIGNAL,
    ML_NET_LISTEN
} ml_net_ask;

/* A workload; each is one figure, and its word is the name up to the first dot. */
typedef struct ml_net_work {
    const char *name, *unit;
    ml_net_ask ask;
    unsigned clients, depth, batch; /* of a live one: who listens, -, - */
    bool disk;
    unsigned rate;                  /* of a live one, events a second; 0: as fast as it goes; of
                                     * commands, loads of rules a second */
    ml_code (*run)(ml_net *net, const struct ml_net_work *work);
} ml_net_work;

/* A request made beforehand: items of the same size, one after the other, with places in them
 * that are written anew each time. A place is the offset in the first item; 0: there is none. */
typedef struct ml_net_form {
    ml_buf bytes;
    size_t items, stride;
    size_t msgid, stream, number, payload;
    bool digits;       /* the number is decimal digits, not 8 bytes */
    uint64_t less;     /* so much less is written than the number */
    unsigned replies;  /* messages that answer it */
} ml_net_form;

/* How far into the next message the scan has come. */
typedef struct ml_net_scan {
    size_t size;
    uint32_t left[ML_NET_DEPTH]; /* items still to come in each open container */
    unsigned depth;
    bool failed; /* somewhere in it is a refusal */
} ml_net_scan;

typedef enum ml_net_found {
    ML_NET_MORE,   /* no whole message */
    ML_NET_ANSWER, /* a request is answered: conn->answer */
    ML_NET_OTHER,  /* a push, or a part of an answer */
    ML_NET_FAILED  /* a refusal, its sentence is in the bench */
} ml_net_found;

typedef struct ml_net_conn {
    ml_net *net;
    int file;
    ml_buf in, out;
    size_t at, sent;   /* of `in` used, of `out` sent */
    bool blocked;      /* waits to send more */
    ml_net_scan scan;
    ml_bytes message;  /* the last whole one, until more is read */
    uint64_t payloads; /* in it */
    uint32_t asked;    /* requests so far */
    uint32_t answered; /* and those answered, where answers come in order … */
    unsigned heard;    /* … each of several messages */
    uint32_t answer;   /* the number of the request that was answered */
    unsigned replies;  /* messages for each request */
    uint64_t begun[ML_NET_FLIGHT];
    ml_buf stream;     /* name */
    uint64_t number;   /* events in it before, and those that were appended */
    uint64_t stored;   /* events acknowledged */
    ml_net_form form;
} ml_net_conn;

/* A protocol. */
typedef struct ml_net_dialect {
    /* Connects what everything but the measuring goes over; refuses a server that holds what is
     * not the benchmark's. */
    ml_code (*begin)(ml_net *net);
    void (*end)(ml_net *net);
    ml_code (*open)(ml_net *net, int *file);
    /* From now on appends are answered when they are on the disk, or written. */
    ml_code (*set_disk)(ml_net *net, bool disk);
    ml_code (*length)(ml_net *net, ml_bytes stream, uint64_t *events);
    ml_code (*process)(ml_net *net, uint64_t *pid);
    /* Makes a request; false if the dialect has no need of it. `stream` is a name, or of the data
     * set what stands before the number. */
    bool (*make)(ml_net *net, ml_net_ask ask, ml_bytes stream, size_t items, ml_net_form *form);
    ml_net_found (*scan)(ml_net_conn *conn);
    bool again; /* subscribers must ask again after each message */
} ml_net_dialect;

extern const ml_net_dialect ml_bench_net_moonlog, ml_bench_net_redis;

struct ml_net {
    ml_bench *bench;
    const ml_net_dialect *dialect;
    ml_client client;    /* moonlog: what `begin` connected */
    ml_net_conn control; /* Redis: the same */
    bool disk;
    int status;          /* not 0: who could not be reached was said; what to exit with */
    int epoll;
    clockid_t process;   /* the server's CPU clock, if it is on this machine */
    bool local;
    uint64_t now;        /* when the bytes were read that are looked at */
    uint64_t drawn;      /* payloads used */
    uint64_t missed;     /* signals that a listener was told it missed */
    void (*seen)(void *context, uint64_t stamp); /* a payload came, with the time written in it */
    void *context;
    ml_cost *costs;
};

/* ---- bench_net_conn.c --------------------------------------------------------------- */

ML_MUST_USE ml_code ml_bench_net_conn_open(ml_net *net, ml_net_conn *conn);
void ml_bench_net_conn_close(ml_net_conn *conn);
/* Opens so many, watched by net->epoll; *conns wants ml_bench_net_conn_close_all, always. */
ML_MUST_USE ml_code ml_bench_net_conn_open_all(ml_net *net, size_t count, ml_net_conn **conns);
void ml_bench_net_conn_close_all(ml_net *net, ml_net_conn *conns, size_t count);

/* Copies a request into the output and writes its places: item i gets number + i and stream + i
 * (of the data set), and payloads one after the other. A `stamp` is written into them. */
void ml_bench_net_conn_ask(ml_net_conn *conn, const ml_net_form *form, uint64_t number,
                           uint64_t stream, uint64_t stamp);
/* Sends what the socket takes. */
ML_MUST_USE ml_code ml_bench_net_conn_flush(ml_net_conn *conn);
/* Reads what is there. */
ML_MUST_USE ml_code ml_bench_net_conn_read(ml_net_conn *conn);
/* The next message of what was read. */
ml_net_found ml_bench_net_conn_next(ml_net_conn *conn);
/* Waits for an answer. */
ML_MUST_USE ml_code ml_bench_net_conn_wait(ml_net_conn *conn);

/* A whole value was passed over; true if that makes the message whole. */
static inline bool ml_bench_net_closed(ml_net_scan *scan)
{
    while (scan->depth > 0) {
        if (--scan->left[scan->depth - 1] > 0) return false;
        scan->depth--;
    }
    return true;
}

/* A payload's first bytes; its time stands behind them. */
extern const uint8_t ml_bench_net_mark[ML_NET_MARK];
void ml_bench_net_conn_seen(ml_net_conn *conn, const uint8_t *payload);

/* ---- workloads ---------------------------------------------------------------------- */

/* bench_net_loop.c */
ML_MUST_USE ml_code ml_bench_net_loop_append(ml_net *net, const ml_net_work *work);
ML_MUST_USE ml_code ml_bench_net_loop_read(ml_net *net, const ml_net_work *work);
/* bench_net_rules.c */
ML_MUST_USE ml_code ml_bench_net_rules_run(ml_net *net, const ml_net_work *work);
/* bench_net_live.c */
ML_MUST_USE ml_code ml_bench_net_live_run(ml_net *net, const ml_net_work *work);

/* ---- what all share, in bench_net.c ------------------------------------------------- */

/* Events of a request of many, or of a page: a thousand, or fewer if they are large. */
size_t ml_bench_net_chunk(const ml_net *net);
uint64_t ml_bench_net_groups(const ml_net *net);
/* "bench-1000000-": what the names of the data set's streams begin with. */
ml_bytes ml_bench_net_prefix(const ml_net *net, char name[ML_BENCH_NAME]);

/* A moment, and the CPU time used until then. */
typedef struct ml_net_mark {
    uint64_t ns, server_ns, client_ns;
} ml_net_mark;
ml_net_mark ml_bench_net_mark_now(const ml_net *net);
/* How long a workload runs before it is measured. */
double ml_bench_net_warm(const ml_net *net);
/* Notes what a round of a workload gave: timer->ops times `each` between two moments, and
 * `count`, all that was stored or delivered. */
ml_figure *ml_bench_net_note(ml_net *net, const ml_net_work *work, ml_timer *timer, uint64_t each,
                             const ml_net_mark span[2], uint64_t count);

#endif
