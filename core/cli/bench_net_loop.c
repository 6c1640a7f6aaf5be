/* bench_net_loop.c -- closed loops: every reply brings the next request of its connection.
 *
 * Before the clock runs all connections are at work for a while; when it stops, what is under
 * way is waited for, so that what was acknowledged can be held against what is stored.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "bench_net.h"

typedef struct loop {
    ml_net *net;
    const ml_net_work *work;
    ml_net_conn *conns;
    size_t pages;      /* of a scan */
    uint64_t page;     /* the next one */
    uint64_t wanted;   /* payloads of each answer */
    uint64_t events;   /* read or stored, all in all */
    size_t flying;     /* requests */
    bool measuring, stopping;
    uint64_t end;
    ml_net_mark span[2];
    ml_timer timer;
} loop;

/* ---- requests and replies ----------------------------------------------------------- */

static void ask(loop *l, ml_net_conn *conn)
{
    uint64_t number = conn->number, stream = 0;
    if (l->work->ask == ML_NET_LOAD)
        stream = ml_bench_stats_dice(&l->net->bench->dice) % ml_bench_net_groups(l->net);
    if (l->work->ask == ML_NET_PAGE) number = 1 + l->page++ % l->pages * l->wanted;
    if (l->work->ask == ML_NET_EXPECTED) conn->number++;
    ml_bench_net_conn_ask(conn, &conn->form, number, stream, 0);
    l->flying++;
}

static ml_code wrong_count(loop *l, const ml_net_conn *conn)
{
    return ml_error_set(&l->net->bench->why, ML_INTERNAL,
                        "%s: an answer brought %llu events and not %llu", l->work->name,
                        (unsigned long long)conn->payloads, (unsigned long long)l->wanted);
}

static ml_code take_answer(loop *l, ml_net_conn *conn)
{
    if (conn->payloads != l->wanted) return wrong_count(l, conn);
    uint64_t events = l->wanted > 0 ? l->wanted : l->work->batch;
    l->flying--;
    l->events += events;
    conn->stored += events;
    if (l->measuring) {
        uint64_t begun = conn->begun[conn->answer % ML_NET_FLIGHT];
        ml_bench_stats_add(&l->timer.times, l->net->now - begun);
        l->timer.ops++;
    }
    if (!l->stopping) ask(l, conn);
    return ML_OK;
}

static ml_code serve(loop *l, ml_net_conn *conn)
{
    ml_net_found found;
    ml_code code = ml_bench_net_conn_read(conn);
    while (!code && (found = ml_bench_net_conn_next(conn)) != ML_NET_MORE) {
        if (found == ML_NET_FAILED) code = l->net->bench->why.code;
        if (found == ML_NET_ANSWER) code = take_answer(l, conn);
    }
    return code ? code : ml_bench_net_conn_flush(conn);
}

/* ---- the clock ---------------------------------------------------------------------- */

static void look_at_clock(loop *l)
{
    uint64_t now = ml_bench_stats_now();
    if (l->stopping || now < l->end) return;
    if (!l->measuring) {
        l->span[0] = ml_bench_net_mark_now(l->net);
        l->end = l->span[0].ns + (uint64_t)(l->net->bench->seconds * 1e9);
        l->measuring = true;
    } else if (l->timer.ops > 0) {
        l->span[1] = ml_bench_net_mark_now(l->net);
        l->timer.ns = l->span[1].ns - l->span[0].ns;
        l->measuring = false;
        l->stopping = true;
    }
}

static ml_code turn(loop *l)
{
    enum { EVENTS = 256 };
    struct epoll_event ready[EVENTS];
    int count = epoll_wait(l->net->epoll, ready, EVENTS, ML_NET_SILENCE_MS);
    if (ml_cli_interrupted()) return ML_END;
    if (count < 0 && errno == EINTR) return ML_OK;
    if (count == 0)
        return ml_error_set(&l->net->bench->why, ML_TIMEOUT, "%s: no reply within %d s",
                            l->work->name, ML_NET_SILENCE_MS / 1000);
    if (count < 0) return ml_error_disk(&l->net->bench->why, -errno, "wait on", "an epoll");
    look_at_clock(l);
    ml_code code = ML_OK;
    for (int n = 0; n < count && !code; n++) code = serve(l, ready[n].data.ptr);
    return code;
}

static ml_code go(loop *l)
{
    ml_code code = ML_OK;
    l->end = ml_bench_stats_now() + (uint64_t)(ml_bench_net_warm(l->net) * 1e9);
    for (size_t n = 0; n < l->work->clients && !code; n++) {
        l->net->now = ml_bench_stats_now();
        for (size_t d = 0; d < l->work->depth; d++) ask(l, &l->conns[n]);
        code = ml_bench_net_conn_flush(&l->conns[n]);
    }
    while (!code && l->flying > 0) code = turn(l);
    return code;
}

static ml_code begin(loop *l, ml_net *net, const ml_net_work *work)
{
    *l = (loop){.net = net, .work = work};
    ML_ASSERT(work->depth <= ML_NET_FLIGHT);
    ml_code code = net->dialect->set_disk(net, work->disk);
    if (!code) code = ml_bench_net_conn_open_all(net, work->clients, &l->conns);
    return code;
}

static ml_code make(loop *l, ml_net_conn *conn, ml_net_ask what, ml_bytes stream, size_t items)
{
    bool made = l->net->dialect->make(l->net, what, stream, items, &conn->form);
    ML_ASSERT(made);
    if (conn->form.bytes.failed) return ml_error_memory(&l->net->bench->why, "requests");
    return ML_OK;
}

/* ---- appends ------------------------------------------------------------------------ */

/* One event that expects nothing, so that there is a stream to expect something of. */
static ml_code begin_stream(loop *l, ml_net_conn *conn)
{
    ml_code code = make(l, conn, ML_NET_APPEND, ml_buf_view(&conn->stream), 1);
    if (code) return code;
    ml_bench_net_conn_ask(conn, &conn->form, 0, 0, 0);
    code = ml_bench_net_conn_wait(conn);
    ml_buf_free(&conn->form.bytes);
    conn->number++;
    conn->stored++;
    l->events++;
    return code;
}

static ml_code prepare(loop *l, size_t n)
{
    ml_net_conn *conn = &l->conns[n];
    char name[ML_BENCH_NAME];
    ml_bytes stream = ml_bench_data_tag(name, "bench-peer", n);
    ml_buf_add(&conn->stream, stream.data, stream.size);
    ml_code code = conn->stream.failed ? ml_error_memory(&l->net->bench->why, "a name") : ML_OK;
    if (!code) code = l->net->dialect->length(l->net, stream, &conn->number);
    conn->stored = conn->number;
    if (!code && l->work->ask == ML_NET_EXPECTED) code = begin_stream(l, conn);
    return code ? code : make(l, conn, l->work->ask, stream, l->work->batch);
}

/* What was acknowledged must be there, and nothing else. */
static ml_code check_stored(loop *l)
{
    for (size_t n = 0; n < l->work->clients; n++) {
        const ml_net_conn *conn = &l->conns[n];
        uint64_t stored = 0;
        ml_code code = l->net->dialect->length(l->net, ml_buf_view(&conn->stream), &stored);
        if (code) return code;
        if (stored == conn->stored) continue;
        return ml_error_set(&l->net->bench->why, ML_INTERNAL,
                            "%.*s has %llu events, and %llu were acknowledged",
                            (int)conn->stream.size, (const char *)conn->stream.data,
                            (unsigned long long)stored, (unsigned long long)conn->stored);
    }
    return ML_OK;
}

ml_code ml_bench_net_loop_append(ml_net *net, const ml_net_work *work)
{
    loop *l = malloc(sizeof *l);
    if (l == NULL) return ml_error_memory(&net->bench->why, "latencies");
    ml_code code = begin(l, net, work);
    for (size_t n = 0; n < work->clients && !code; n++) code = prepare(l, n);
    if (!code) code = go(l);
    if (!code) code = check_stored(l);
    if (!code) ml_bench_net_note(net, work, &l->timer, work->batch, l->span, l->events);
    ml_bench_net_conn_close_all(net, l->conns, work->clients);
    free(l);
    return code;
}

/* ---- the data set ------------------------------------------------------------------- */

/* All events, several requests at a time, without asking for a sync. */
static ml_code fill(loop *l, ml_net_ask what)
{
    enum { DEPTH = 4 };
    ml_net *net = l->net;
    ml_net_conn *conn = l->conns;
    char name[ML_BENCH_NAME];
    size_t chunk = ml_bench_net_chunk(net);
    ml_buf_free(&conn->form.bytes);
    if (!net->dialect->make(net, what, ml_bench_net_prefix(net, name), chunk, &conn->form))
        return ML_OK;
    if (conn->form.bytes.failed) return ml_error_memory(&net->bench->why, "requests");
    ml_code code = ML_OK;
    uint32_t before = conn->asked;
    for (uint64_t at = 0; at < net->bench->events && !code; at += chunk) {
        ml_bench_net_conn_ask(conn, &conn->form, 1 + at, at, 0);
        bool last = at + chunk >= net->bench->events;
        while (!code && before != conn->asked && (last || conn->asked - before >= DEPTH)) {
            code = ml_bench_net_conn_wait(conn);
            before++;
        }
    }
    ml_buf_free(&conn->form.bytes);
    return code;
}

/* Is it there? Else it is written. Half of one is in the way. */
static ml_code need_data(loop *l)
{
    ml_net *net = l->net;
    char name[ML_BENCH_NAME], kind[ML_BENCH_NAME];
    ml_bytes prefix = ml_bench_net_prefix(net, kind);
    int size = snprintf(name, sizeof name, "%.*s%0*llu", (int)prefix.size,
                        (const char *)prefix.data, ML_NET_DIGITS,
                        (unsigned long long)ml_bench_net_groups(net) - 1);
    ML_ASSERT(size > 0);
    ML_ASSERT((size_t)size < sizeof name);
    uint64_t events = 0;
    ml_code code = net->dialect->length(net, ml_cli_text(name), &events);
    if (code || events == ML_NET_GROUP) return code;
    if (events > 0)
        return ml_error_set(&net->bench->why, ML_INTERNAL,
                            "%s has %llu events of %d: an earlier run was cut short; start the "
                            "server on an empty directory", name, (unsigned long long)events,
                            ML_NET_GROUP);
    code = fill(l, ML_NET_FILL);
    if (!code) code = fill(l, ML_NET_FILL_ALL);
    if (!code) code = net->dialect->length(net, ml_cli_text(name), &events);
    if (code || events == ML_NET_GROUP) return code;
    return ml_error_set(&net->bench->why, ML_INTERNAL, "%s was filled and has %llu events", name,
                        (unsigned long long)events);
}

ml_code ml_bench_net_loop_read(ml_net *net, const ml_net_work *work)
{
    loop *l = malloc(sizeof *l);
    if (l == NULL) return ml_error_memory(&net->bench->why, "latencies");
    char name[ML_BENCH_NAME];
    ml_code code = begin(l, net, work);
    if (!code) code = need_data(l);
    l->wanted = work->ask == ML_NET_PAGE ? ml_bench_net_chunk(net) : ML_NET_GROUP;
    l->pages = (size_t)(net->bench->events / l->wanted);
    for (size_t n = 0; n < work->clients && !code; n++)
        code = make(l, &l->conns[n], work->ask, ml_bench_net_prefix(net, name), l->wanted);
    if (!code) code = go(l);
    uint64_t each = work->ask == ML_NET_PAGE ? l->wanted : 1;
    if (!code) ml_bench_net_note(net, work, &l->timer, each, l->span, l->events);
    ml_bench_net_conn_close_all(net, l->conns, work->clients);
    free(l);
    return code;
}
