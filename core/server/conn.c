/* conn.c -- one socket: bytes in, whole messages to dispatch, output once a turn.
 *
 * All connections read into one shared buffer; only what is left of an unfinished message is
 * copied aside, so an idle connection holds no buffer. A connection whose output is not
 * taken, or whose append finds the group full, is not read from: its peer feels it, memory
 * does not.
 */
#include <stdlib.h>

#include "inside.h"

static void go_on(ml_conn *conn);

/* ---- life -------------------------------------------------------------------------------- */

static void free_conn(ml_conn *conn)
{
    conn->server->buffered -= conn->weight;
    conn->server->received -= conn->weight_in;
    ml_buf_free(&conn->in);
    ml_buf_free(&conn->out);
    ml_buf_free(&conn->flying);
    free(conn);
}

void ml_conn_release(ml_conn *conn)
{
    ML_ASSERT(conn->refs > 0);
    if (--conn->refs == 0 && conn->closed) free_conn(conn);
}

static void after_close(uv_handle_t *handle)
{
    ml_conn *conn = handle->data;
    conn->closed = true;
    if (conn->refs == 0) free_conn(conn);
}

void ml_conn_close(ml_conn *conn)
{
    if (conn->closing) return;
    conn->closing = true;
    if (conn->server->command == conn) conn->server->command = NULL;
    ml_push_drop(conn);
    ml_signals_drop(conn);
    ml_access_leave(conn);
    if (conn->prev != NULL) conn->prev->next = conn->next;
    else conn->server->conns = conn->next;
    if (conn->next != NULL) conn->next->prev = conn->prev;
    conn->server->conn_count--;
    uv_close(&conn->uv.handle, after_close);
}

/* It is not read from: each turn looks whether it can be. */
static void pause_reading(ml_conn *conn)
{
    conn->reading = false;
    if (conn->paused || conn->closing) return;
    conn->paused = true;
    conn->paused_next = conn->server->paused;
    conn->server->paused = conn;
    conn->refs++;
}

static void stop_reading(ml_conn *conn)
{
    if (!conn->reading || conn->closing) return;
    uv_read_stop(&conn->uv.stream);
    pause_reading(conn);
}

void ml_conn_resume_paused(ml_server *server)
{
    ml_conn *conn = server->paused;
    bool full = false; /* one found no room in the group: others with an append need not look */
    server->paused = NULL;
    while (conn != NULL) {
        ml_conn *next = conn->paused_next;
        conn->paused = false;
        if (!full || !conn->held) ml_conn_resume(conn);
        full = full || (conn->held && !conn->closing);
        if (!conn->reading) pause_reading(conn);
        ml_conn_release(conn);
        conn = next;
    }
}

void ml_conn_part(ml_conn *conn, ml_code code, const char *sentence)
{
    if (conn->closing) return;
    conn->ended = true;
    ml_push_drop(conn);
    ml_signals_drop(conn);
    stop_reading(conn);
    if (code) ml_dispatch_refuse(conn, 0, code, sentence);
    ml_conn_dirty(conn); /* closed by the flush that finds nothing left */
}

void ml_conn_weigh(ml_conn *conn)
{
    size_t weight_in = conn->in.capacity, weight = weight_in + conn->out.capacity + conn->flying.capacity;
    conn->server->buffered = conn->server->buffered - conn->weight + weight;
    conn->server->received = conn->server->received - conn->weight_in + weight_in;
    conn->weight = weight;
    conn->weight_in = weight_in;
}

static bool is_crowded(const ml_conn *conn) { return conn->server->buffered > BUFFERS_MAX; }

/* ---- output --------------------------------------------------------------------------------- */

size_t ml_conn_room(const ml_conn *conn)
{
    size_t most = is_crowded(conn) ? BUFFERS_LOW : OUT_HIGH, waiting = conn->out.size + conn->flying.size;
    return waiting > most ? 0 : most - waiting + 1;
}

bool ml_conn_congested(const ml_conn *conn) { return ml_conn_room(conn) == 0; }

void ml_conn_dirty(ml_conn *conn)
{
    if (conn->dirty || conn->closing) return;
    conn->dirty = true;
    conn->dirty_next = conn->server->dirty;
    conn->server->dirty = conn;
    conn->refs++;
}

void ml_conn_flush_dirty(ml_server *server)
{
    while (server->dirty != NULL) {
        ml_conn *conn = server->dirty;
        server->dirty = conn->dirty_next;
        conn->dirty = false;
        ml_conn_flush(conn);
        ml_conn_release(conn);
    }
}

static void after_write(uv_write_t *write, int status)
{
    ml_conn *conn = write->data;
    bool large = conn->flying.capacity > READ_BYTES;
    ml_buf_clear(&conn->flying);
    if (large || conn->out.size == 0) ml_buf_free(&conn->flying);
    if (status < 0 && !conn->closing) ml_conn_close(conn);
    if (!conn->closing) {
        if (conn->out.size > 0) ml_conn_flush(conn);
        ml_signals_drain(conn);
        conn->server->more = conn->server->more || conn->subscriptions != NULL;
        ml_conn_resume(conn);
    }
    ml_conn_weigh(conn);
    ml_conn_release(conn);
}

void ml_conn_shrink(ml_conn *conn)
{
    if (conn->out.size == 0) ml_buf_free(&conn->out);
    ml_conn_weigh(conn);
}

/* As much as the socket takes at once; what it does not take is written when it can. */
static void send_out(ml_conn *conn)
{
    if (conn->out.failed) {
        ml_conn_close(conn);
        return;
    }
    uv_buf_t whole = uv_buf_init((char *)conn->out.data, (unsigned)conn->out.size);
    int sent = uv_try_write(&conn->uv.stream, &whole, 1);
    if (sent == (int)conn->out.size) {
        if (conn->out.capacity > READ_BYTES) ml_buf_free(&conn->out);
        else ml_buf_clear(&conn->out);
        return;
    }
    if (sent < 0 && sent != UV_EAGAIN) {
        ml_conn_close(conn);
        return;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    ml_buf spare = conn->flying;
    conn->flying = conn->out;
    conn->out = spare;
    whole = uv_buf_init((char *)conn->flying.data + done, (unsigned)(conn->flying.size - done));
    conn->write.data = conn;
    conn->refs++;
    if (uv_write(&conn->write, &conn->uv.stream, &whole, 1, after_write) == 0) return;
    conn->refs--;
    ml_conn_close(conn);
}

void ml_conn_flush(ml_conn *conn)
{
    if (conn->closing) return;
    if (conn->flying.size > 0) {
        ml_conn_weigh(conn); /* what was added behind it counts at once, not in a second */
        return;
    }
    bool waited = conn->out.size > BUFFERS_LOW; /* something may have, for room */
    if (conn->out.size > 0) send_out(conn);
    ml_conn_weigh(conn);
    if (waited && conn->flying.size == 0) {
        /* All of it went at once, so no write will say when to go on. */
        conn->server->more = true;
        ml_signals_drain(conn);
    }
    if (conn->ended && conn->flying.size == 0) ml_conn_resume(conn); /* what was kept, or the end */
}

/* ---- input ------------------------------------------------------------------------------------- */

static const ml_wire_limits *limits_of(const ml_conn *conn)
{
    static const ml_wire_limits known = {.bytes = FRAME_MAX, .depth = ML_WIRE_DEPTH_MAX};
    static const ml_wire_limits unknown = {
        .bytes = UNKNOWN_FRAME_MAX, .values = UNKNOWN_VALUES_MAX, .depth = UNKNOWN_DEPTH_MAX};
    return conn->known ? &known : &unknown;
}

/* Does it hold much of an unfinished message, where all together hold too much? That is what all
 * have sent, and not what they do not fetch: readers must not stop who appends. */
static bool is_crowding(const ml_conn *conn)
{
    return conn->server->received > BUFFERS_MAX && conn->in.size > BUFFERS_LOW;
}

static bool must_wait(const ml_conn *conn)
{
    bool full = ml_conn_room(conn) <= conn->promised; /* so it is if it is congested */
    return conn->held || conn->in_flight >= IN_FLIGHT_MAX || full;
}

/* Handles whole messages from `data` until one has to wait; gives the bytes used. */
static size_t handle(ml_conn *conn, const uint8_t *data, size_t size)
{
    size_t used = 0;
    while (!conn->closing && used < size && !must_wait(conn)) {
        ml_error why;
        ml_wire_found found = ml_wire_scan(&conn->wire, data + used, size - used, limits_of(conn), &why);
        if (found == ML_WIRE_MORE) break;
        if (found == ML_WIRE_BAD) {
            /* Nothing behind it can be told apart any more. */
            ml_conn_part(conn, why.code, why.sentence);
            return size;
        }
        ml_ended ended = ML_ANSWERED;
        ml_bytes message = {data + used, conn->wire.scanned};
        if (!ml_dispatch_message(conn, message, &ended)) {
            ml_conn_part(conn, ML_OK, "");
            return size;
        }
        if (ended == ML_HOLD) {
            conn->held = true;
        } else {
            used += message.size;
            conn->server->handled = true;
        }
        ml_wire_reset(&conn->wire);
    }
    return used;
}

/* Keeps what was not used; an unfinished message starts its clock. */
static void keep(ml_conn *conn, const uint8_t *data, size_t size)
{
    if (size == 0) {
        ml_buf_free(&conn->in);
        conn->in_at = 0;
        conn->began = 0;
        return;
    }
    if (conn->in.size == 0 || data != conn->in.data + conn->in_at) {
        ml_buf_clear(&conn->in);
        conn->in_at = 0;
        ml_buf_add(&conn->in, data, size);
        if (conn->in.failed) ml_conn_close(conn);
    }
    if (conn->began == 0) conn->began = uv_now(&conn->server->loop);
}

static void give_space(uv_handle_t *uv, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    ml_conn *conn = uv->data;
    size_t waiting = conn->in.size - conn->in_at;
    if (waiting == 0) {
        *buf = uv_buf_init((char *)conn->server->scratch, READ_BYTES);
        return;
    }
    if (conn->in_at > 0) {
        memmove(conn->in.data, conn->in.data + conn->in_at, waiting);
        conn->in.size = waiting;
        conn->in_at = 0;
    }
    /* Little for little: who sends a byte and waits shall not hold much. */
    if (!ml_buf_reserve(&conn->in, waiting < BEGUN_BYTES ? BEGUN_BYTES : 65536)) {
        *buf = uv_buf_init(NULL, 0);
        return;
    }
    *buf = uv_buf_init((char *)conn->in.data + conn->in.size, (unsigned)(conn->in.capacity - conn->in.size));
}

static void after_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    ml_conn *conn = stream->data;
    if (count == 0) return;
    if (count < 0) {
        pause_reading(conn); /* libuv has stopped by itself */
        if (count == UV_EOF) ml_conn_part(conn, ML_OK, ""); /* it may still listen to answers */
        else ml_conn_close(conn);
        return;
    }
    if ((uint8_t *)buf->base == conn->server->scratch) {
        size_t used = handle(conn, conn->server->scratch, (size_t)count);
        if (!conn->closing) keep(conn, conn->server->scratch + used, (size_t)count - used);
    } else {
        conn->in.size += (size_t)count;
        go_on(conn);
    }
    bool waits = must_wait(conn); /* as handle() found it: weighing may change the answer */
    ml_conn_weigh(conn);
    if (waits || is_crowding(conn)) stop_reading(conn);
}

/* Handles what was kept. */
static void go_on(ml_conn *conn)
{
    size_t used = handle(conn, conn->in.data + conn->in_at, conn->in.size - conn->in_at);
    if (conn->closing) return;
    conn->in_at += used;
    if (used > 0) conn->began = 0;
    conn->server->more |= used > 0; /* what it admitted late in a turn is handed over in the next */
    keep(conn, conn->in.data + conn->in_at, conn->in.size - conn->in_at);
}

void ml_conn_resume(ml_conn *conn)
{
    if (conn->closing) return;
    conn->held = false;
    if (must_wait(conn)) return;
    if (conn->in.size > conn->in_at) go_on(conn);
    if (conn->closing || conn->reading || must_wait(conn)) return;
    if (conn->ended) {
        if (conn->in_flight == 0 && conn->out.size + conn->flying.size == 0) ml_conn_close(conn);
        return;
    }
    if (is_crowding(conn)) return;
    if (conn->began > 0) conn->began = uv_now(&conn->server->loop); /* its clock stood */
    conn->reading = uv_read_start(&conn->uv.stream, give_space, after_read) == 0;
    if (!conn->reading) ml_conn_close(conn);
}

/* ---- accepting -------------------------------------------------------------------------------------- */

/* Its handle is initialised: from here on it ends by ml_conn_close. */
static void enter(ml_conn *conn, bool local)
{
    ml_server *server = conn->server;
    conn->uv.handle.data = conn;
    conn->next = server->conns;
    if (server->conns != NULL) server->conns->prev = conn;
    server->conns = conn;
    server->conn_count++;
    pause_reading(conn);
    conn->known = local || server->options->token == NULL;
    conn->maps = true;
    conn->usual = USUAL_BYTES;
    conn->accepted = uv_now(&server->loop);
}

static bool begin(ml_conn *conn, uv_stream_t *listener)
{
    ml_server *server = conn->server;
    bool local = listener->type == UV_NAMED_PIPE;
    int failed = local ? uv_pipe_init(&server->loop, &conn->uv.pipe, 0)
                       : uv_tcp_init(&server->loop, &conn->uv.tcp);
    if (failed) return false;
    enter(conn, local);
    ml_error why;
    if (uv_accept(listener, &conn->uv.stream) != 0 || server->draining) {
        ml_conn_close(conn);
        return true;
    }
    if (!local) uv_tcp_nodelay(&conn->uv.tcp, 1);
    if (ml_access_check(conn, local, &why)) {
        ml_conn_part(conn, why.code, why.sentence);
        ml_conn_flush(conn); /* at once: its descriptor is one too many */
    } else {
        ml_conn_resume(conn);
    }
    return true;
}

void ml_conn_accept(uv_stream_t *listener, int status)
{
    ml_server *server = listener->data;
    if (status < 0) return;
    ml_conn *conn = calloc(1, sizeof *conn);
    server->deaf = server->deaf || conn == NULL;
    if (conn == NULL) return;
    conn->server = server;
    if (!begin(conn, listener)) free(conn);
}

void ml_conn_accept_again(ml_server *server)
{
    if (!server->deaf || server->draining) return;
    server->deaf = false;
    ml_conn_accept((uv_stream_t *)&server->unix_socket, 0);
    for (size_t n = 0; n < server->tcp_count; n++) ml_conn_accept((uv_stream_t *)&server->tcp[n], 0);
}

ml_conn *ml_conn_adopt(ml_server *server, int file)
{
    ml_conn *conn = calloc(1, sizeof *conn);
    if (conn == NULL) return NULL;
    conn->server = server;
    if (uv_pipe_init(&server->loop, &conn->uv.pipe, 0) != 0) {
        free(conn);
        return NULL;
    }
    enter(conn, true);
    if (uv_pipe_open(&conn->uv.pipe, file) != 0) {
        ml_conn_close(conn);
        return NULL;
    }
    ml_conn_resume(conn);
    return conn;
}
