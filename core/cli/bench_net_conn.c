/* bench_net_conn.c -- connections of the load generator. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../base/bytes.h"
#include "bench_net.h"

enum { READ_BYTES = 64 << 10 };

const uint8_t ml_bench_net_mark[ML_NET_MARK] = {0x86, 0xa2, 'a', 't', 0xcf};

/* ---- life --------------------------------------------------------------------------- */

static ml_code lost(ml_net_conn *conn, const char *reason)
{
    return ml_error_set(&conn->net->bench->why, ML_UNREACHABLE, "a connection was lost: %s",
                        reason);
}

ml_code ml_bench_net_conn_open(ml_net *net, ml_net_conn *conn)
{
    *conn = (ml_net_conn){.net = net, .file = -1, .replies = 1};
    ml_code code = net->dialect->open(net, &conn->file);
    if (code) return code;
    int flags = fcntl(conn->file, F_GETFL);
    if (flags >= 0 && fcntl(conn->file, F_SETFL, flags | O_NONBLOCK) == 0) return ML_OK;
    return lost(conn, strerror(errno));
}

void ml_bench_net_conn_close(ml_net_conn *conn)
{
    if (conn->file >= 0) close(conn->file);
    conn->file = -1;
    ml_buf_free(&conn->in);
    ml_buf_free(&conn->out);
    ml_buf_free(&conn->stream);
    ml_buf_free(&conn->form.bytes);
}

static ml_code watch(ml_net_conn *conn, int how)
{
    struct epoll_event event = {.events = EPOLLIN | (conn->blocked ? EPOLLOUT : 0),
                                .data = {.ptr = conn}};
    if (epoll_ctl(conn->net->epoll, how, conn->file, &event) == 0) return ML_OK;
    return lost(conn, strerror(errno));
}

ml_code ml_bench_net_conn_open_all(ml_net *net, size_t count, ml_net_conn **conns)
{
    *conns = calloc(count, sizeof **conns);
    if (*conns == NULL) return ml_error_memory(&net->bench->why, "connections");
    for (size_t n = 0; n < count; n++) (*conns)[n].file = -1;
    net->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (net->epoll < 0) return ml_error_disk(&net->bench->why, -errno, "make", "an epoll");
    ml_code code = ML_OK;
    for (size_t n = 0; n < count && !code; n++) {
        code = ml_bench_net_conn_open(net, &(*conns)[n]);
        if (!code) code = watch(&(*conns)[n], EPOLL_CTL_ADD);
    }
    return code;
}

void ml_bench_net_conn_close_all(ml_net *net, ml_net_conn *conns, size_t count)
{
    for (size_t n = 0; conns != NULL && n < count; n++) ml_bench_net_conn_close(&conns[n]);
    free(conns);
    if (net->epoll >= 0) close(net->epoll);
    net->epoll = -1;
}

/* ---- requests ----------------------------------------------------------------------- */

static void put_digits(uint8_t *to, size_t digits, uint64_t value)
{
    for (size_t n = digits; n > 0; n--) {
        to[n - 1] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
}

void ml_bench_net_conn_ask(ml_net_conn *conn, const ml_net_form *form, uint64_t number,
                           uint64_t stream, uint64_t stamp)
{
    ml_net *net = conn->net;
    uint64_t groups = ml_bench_net_groups(net);
    uint8_t *to = ml_buf_take(&conn->out, form->bytes.size);
    if (to == NULL) return; /* the buffer remembers it, and flush says it */
    memcpy(to, form->bytes.data, form->bytes.size);
    if (form->msgid > 0) ml_put_u32(to + form->msgid, __builtin_bswap32(conn->asked));
    for (size_t n = 0; n < form->items; n++, to += form->stride) {
        uint64_t written = number + n - form->less;
        if (form->stream > 0) put_digits(to + form->stream, ML_NET_DIGITS, (stream + n) % groups);
        if (form->number > 0 && form->digits)
            put_digits(to + form->number, ML_NET_NUMBER, written);
        else if (form->number > 0)
            ml_put_be64(to + form->number, written);
        if (form->payload == 0) continue;
        ml_bytes payload = ml_bench_data_payload(net->bench, net->drawn++);
        memcpy(to + form->payload, payload.data, payload.size);
        if (stamp > 0) ml_put_be64(to + form->payload + ML_NET_MARK, stamp);
    }
    conn->replies = form->replies;
    conn->begun[conn->asked++ % ML_NET_FLIGHT] = net->now;
}

ml_code ml_bench_net_conn_flush(ml_net_conn *conn)
{
    ml_buf *out = &conn->out;
    if (out->failed) return ml_error_memory(&conn->net->bench->why, "requests");
    while (conn->sent < out->size) {
        size_t left = out->size - conn->sent;
        ssize_t size = send(conn->file, out->data + conn->sent, left, MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno == EAGAIN) break;
        if (size < 0) return lost(conn, strerror(errno));
        conn->sent += (size_t)size;
    }
    bool blocked = conn->sent < out->size;
    if (!blocked) {
        ml_buf_clear(out);
        conn->sent = 0;
    }
    if (blocked == conn->blocked) return ML_OK;
    conn->blocked = blocked;
    return watch(conn, EPOLL_CTL_MOD);
}

/* ---- replies ------------------------------------------------------------------------ */

ml_code ml_bench_net_conn_read(ml_net_conn *conn)
{
    ml_buf *in = &conn->in;
    if (conn->at > 0) {
        in->size -= conn->at;
        memmove(in->data, in->data + conn->at, in->size);
        conn->at = 0;
    }
    if (!ml_buf_reserve(in, READ_BYTES)) return ml_error_memory(&conn->net->bench->why, "replies");
    ssize_t size = recv(conn->file, in->data + in->size, in->capacity - in->size, 0);
    conn->net->now = ml_bench_stats_now();
    if (size > 0) in->size += (size_t)size;
    if (size > 0 || (size < 0 && (errno == EAGAIN || errno == EINTR))) return ML_OK;
    return lost(conn, size == 0 ? "the server closed it" : strerror(errno));
}

ml_net_found ml_bench_net_conn_next(ml_net_conn *conn)
{
    if (conn->at == conn->in.size) return ML_NET_MORE;
    if (conn->scan.size == 0) conn->payloads = 0;
    ml_net_found found = conn->net->dialect->scan(conn);
    if (found == ML_NET_MORE) return found;
    conn->message = (ml_bytes){conn->in.data + conn->at, conn->scan.size};
    conn->at += conn->scan.size;
    conn->scan = (ml_net_scan){0};
    return found;
}

void ml_bench_net_conn_seen(ml_net_conn *conn, const uint8_t *payload)
{
    conn->payloads++;
    if (conn->net->seen == NULL) return;
    conn->net->seen(conn->net->context, ml_get_be64(payload + ML_NET_MARK));
}

ml_code ml_bench_net_conn_wait(ml_net_conn *conn)
{
    ml_code code = ml_bench_net_conn_flush(conn);
    ml_net_found found = ML_NET_OTHER;
    while (!code && found != ML_NET_ANSWER) {
        found = ml_bench_net_conn_next(conn);
        if (found == ML_NET_FAILED) return conn->net->bench->why.code;
        if (found != ML_NET_MORE) continue;
        struct pollfd one = {.fd = conn->file, .events = POLLIN | (conn->blocked ? POLLOUT : 0)};
        int ready = poll(&one, 1, ML_NET_SILENCE_MS);
        if (ml_cli_interrupted()) return ML_END;
        if (ready == 0)
            return ml_error_set(&conn->net->bench->why, ML_TIMEOUT, "no answer within %d s",
                                ML_NET_SILENCE_MS / 1000);
        code = ml_bench_net_conn_read(conn);
        if (!code) code = ml_bench_net_conn_flush(conn);
    }
    return code;
}
