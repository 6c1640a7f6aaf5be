/* bench_net_live.c -- one publishes, others listen: how soon, and how much.
 *
 * A payload carries the time it was sent at. At a given rate the publisher waits for nothing;
 * without one it is a window ahead of what its listeners have got, all together.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include "bench_net.h"

enum {
    WINDOW = 1000,          /* events ahead: less than makes a server hold back or drop */
    BURST = 64,             /* sent before looking at what came */
    BACKLOG_BYTES = 1 << 20, /* that the socket did not take: no more is sent */
    DRAIN_SECONDS = 5
};

typedef struct live {
    ml_net *net;
    const ml_net_work *work;
    ml_net_conn *conns; /* the publisher, then those who listen */
    ml_net_form form;   /* what is published */
    uint64_t base;      /* events in the stream before */
    uint64_t sent, due, step;
    uint64_t delivered, acknowledged;
    bool measuring, stopping;
    uint64_t end;
    ml_net_mark span[2];
    ml_timer timer;
} live;

static bool stored(const live *l) { return l->work->ask == ML_NET_PUBLISH; }

/* ---- sending ------------------------------------------------------------------------ */

/* Is it time for another one? */
static bool may_send(const live *l)
{
    if (l->stopping || l->conns[0].out.size - l->conns[0].sent > BACKLOG_BYTES) return false;
    if (l->step > 0) return l->due <= l->net->now;
    return l->sent < l->delivered / l->work->clients + WINDOW;
}

static ml_code publish(live *l)
{
    l->net->now = ml_bench_stats_now();
    for (int n = 0; n < BURST && may_send(l); n++) {
        uint64_t stamp = l->step > 0 && n > 0 ? ml_bench_stats_now() : l->net->now;
        ml_bench_net_conn_ask(&l->conns[0], &l->form, l->base + 1 + l->sent, 0, stamp);
        l->sent++;
        l->due += l->step;
    }
    return ml_bench_net_conn_flush(&l->conns[0]);
}

/* ---- what comes --------------------------------------------------------------------- */

static void seen(void *context, uint64_t stamp)
{
    live *l = context;
    l->delivered++;
    if (!l->measuring) return;
    l->timer.ops++;
    ml_bench_stats_add(&l->timer.times, l->net->now - stamp);
}

static ml_code serve(live *l, ml_net_conn *conn)
{
    ml_net_found found;
    ml_code code = ml_bench_net_conn_read(conn);
    while (!code && (found = ml_bench_net_conn_next(conn)) != ML_NET_MORE) {
        if (found == ML_NET_FAILED) return l->net->bench->why.code;
        if (conn == l->conns) {
            l->acknowledged += found == ML_NET_ANSWER;
            continue;
        }
        conn->stored += conn->payloads;
        if (stored(l) && l->net->dialect->again)
            ml_bench_net_conn_ask(conn, &conn->form, l->base + conn->stored, 0, 0);
    }
    return code ? code : ml_bench_net_conn_flush(conn);
}

/* Until the next one is due, or something comes. */
static ml_code wait_and_serve(live *l)
{
    enum { EVENTS = 64, LOOK_NS = 10000000 };
    struct epoll_event ready[EVENTS];
    struct timespec wait = {.tv_nsec = may_send(l) ? 0 : LOOK_NS};
    uint64_t now = ml_bench_stats_now();
    if (l->step > 0 && !l->stopping && l->due < now + LOOK_NS)
        wait.tv_nsec = l->due > now ? (long)(l->due - now) : 0;
    int count = epoll_pwait2(l->net->epoll, ready, EVENTS, &wait, NULL);
    if (ml_cli_interrupted()) return ML_END;
    if (count < 0 && errno == EINTR) return ML_OK;
    if (count < 0) return ml_error_disk(&l->net->bench->why, -errno, "wait on", "an epoll");
    ml_code code = ML_OK;
    for (int n = 0; n < count && !code; n++) code = serve(l, ready[n].data.ptr);
    return code;
}

/* ---- the clock ---------------------------------------------------------------------- */

static void look_at_clock(live *l)
{
    uint64_t now = ml_bench_stats_now();
    if (l->stopping || now < l->end) return;
    if (!l->measuring) {
        l->span[0] = ml_bench_net_mark_now(l->net);
        l->end = l->span[0].ns + (uint64_t)(l->net->bench->seconds * 1e9);
        l->measuring = true;
    } else if (l->timer.ops > 0 || now > l->end + (uint64_t)ML_NET_SILENCE_MS * 1000000) {
        l->span[1] = ml_bench_net_mark_now(l->net);
        l->timer.ns = l->span[1].ns - l->span[0].ns;
        l->end = l->span[1].ns + DRAIN_SECONDS * UINT64_C(1000000000);
        l->measuring = false;
        l->stopping = true;
    }
}

static bool drained(const live *l)
{
    if (!l->stopping) return false;
    bool whole = l->delivered + l->net->missed >= l->sent * l->work->clients &&
                 (!stored(l) || l->acknowledged == l->sent);
    return whole || ml_bench_stats_now() > l->end;
}

static ml_code go(live *l)
{
    ml_code code = ML_OK;
    l->due = ml_bench_stats_now();
    l->step = l->work->rate > 0 ? 1000000000 / l->work->rate : 0;
    l->end = l->due + (uint64_t)(ml_bench_net_warm(l->net) * 1e9);
    while (!code && !drained(l)) {
        look_at_clock(l);
        code = publish(l);
        if (!code) code = wait_and_serve(l);
    }
    return code;
}

/* ---- the whole ---------------------------------------------------------------------- */

static ml_code listen_all(live *l, ml_bytes name)
{
    ml_net *net = l->net;
    ml_net_ask what = stored(l) ? ML_NET_SUBSCRIBE : ML_NET_LISTEN;
    ml_code code = ML_OK;
    for (size_t n = 1; n <= l->work->clients && !code; n++) {
        ml_net_conn *conn = &l->conns[n];
        bool made = net->dialect->make(net, what, name, 1, &conn->form);
        ML_ASSERT(made);
        if (conn->form.bytes.failed) return ml_error_memory(&net->bench->why, "requests");
        ml_bench_net_conn_ask(conn, &conn->form, l->base, 0, 0);
        bool waits = conn->form.replies > 0;
        code = waits ? ml_bench_net_conn_wait(conn) : ml_bench_net_conn_flush(conn);
    }
    return code;
}

static ml_code begin(live *l, ml_net *net, const ml_net_work *work)
{
    ml_bytes name = work->ask == ML_NET_PUBLISH ? ML_STR("bench-live") : ML_STR("bench.signal");
    *l = (live){.net = net, .work = work};
    net->missed = 0;
    ml_code code = net->dialect->set_disk(net, work->disk);
    if (!code && stored(l)) code = net->dialect->length(net, name, &l->base);
    if (!code) code = ml_bench_net_conn_open_all(net, work->clients + 1, &l->conns);
    if (!code) code = listen_all(l, name);
    if (code) return code;
    bool made = net->dialect->make(net, work->ask, name, 1, &l->form);
    ML_ASSERT(made);
    return l->form.bytes.failed ? ml_error_memory(&net->bench->why, "requests") : ML_OK;
}

/* Events must all have come; of signals some may be lost, which is said. */
static ml_code check(live *l, ml_figure *figure)
{
    ml_net *net = l->net;
    uint64_t wanted = l->sent * l->work->clients, events = 0;
    uint64_t lost = wanted > l->delivered ? wanted - l->delivered : 0;
    if (!stored(l)) {
        snprintf(figure->note, sizeof figure->note, "%llu lost of %llu", (unsigned long long)lost,
                 (unsigned long long)wanted);
        return ML_OK;
    }
    ml_code code = net->dialect->length(net, ML_STR("bench-live"), &events);
    if (code || (l->delivered == wanted && events == l->base + l->sent)) return code;
    return ml_error_set(&net->bench->why, ML_INTERNAL,
                        "%s: %llu events were sent, %llu are stored, and %llu of %llu came",
                        l->work->name, (unsigned long long)l->sent,
                        (unsigned long long)(events - l->base), (unsigned long long)l->delivered,
                        (unsigned long long)wanted);
}

ml_code ml_bench_net_live_run(ml_net *net, const ml_net_work *work)
{
    live *l = malloc(sizeof *l);
    if (l == NULL) return ml_error_memory(&net->bench->why, "latencies");
    ML_IGNORE(prctl(PR_SET_TIMERSLACK, 1UL) != 0); /* without it, sending is less even */
    ml_code code = begin(l, net, work);
    net->seen = seen;
    net->context = l;
    if (!code) code = go(l);
    net->seen = NULL;
    if (!code && l->timer.ops == 0)
        code = ml_error_set(&net->bench->why, ML_TIMEOUT, "%s: nothing was delivered", work->name);
    if (!code)
        code = check(l, ml_bench_net_note(net, work, &l->timer, 1, l->span, l->delivered));
    ml_bench_net_conn_close_all(net, l->conns, work->clients + 1);
    ml_buf_free(&l->form.bytes);
    free(l);
    return code;
}
