/* client.c -- a socket, what goes out on it, and the messages in what comes. */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CONNECT_SECONDS = 5, ROOM = 64 << 10 };

/* ---- life ----------------------------------------------------------------------------- */

static int reach(const char *path, int port)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in loopback = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = CONNECT_SECONDS};
    snprintf(local.sun_path, sizeof local.sun_path, "%s", path);
    int file = socket(port > 0 ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (file < 0) return -1;
    int on = 1;
    bool good = setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0;
    if (port > 0)
        good = good && setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0 &&
               connect(file, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    else
        good = good && connect(file, (struct sockaddr *)&local, sizeof local) == 0;
    if (good && fcntl(file, F_SETFL, O_NONBLOCK) == 0) return file;
    int failed = errno;
    close(file);
    errno = failed;
    return -1;
}

bool ml_client_connect(ml_client *client, const char *path, int port)
{
    *client = (ml_client){.file = reach(path, port)};
    return client->file >= 0;
}

void ml_client_close(ml_client *client, bool reset)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (client->file < 0) return;
    if (reset) setsockopt(client->file, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(client->file);
    ml_buf_free(&client->in);
    ml_buf_free(&client->out);
    *client = (ml_client){.file = -1};
}

/* ---- out ------------------------------------------------------------------------------ */

ml_buf *ml_client_begin(ml_client *client, const char *method)
{
    ml_pack_array(&client->out, 4);
    ml_pack_int(&client->out, 0);
    ml_pack_int(&client->out, ++client->msgid);
    ml_pack_text(&client->out, method);
    ml_pack_array(&client->out, 1);
    return &client->out;
}

ml_buf *ml_client_notice(ml_client *client, const char *method)
{
    ml_pack_array(&client->out, 3);
    ml_pack_int(&client->out, 2);
    ml_pack_text(&client->out, method);
    ml_pack_array(&client->out, 1);
    return &client->out;
}

bool ml_client_flush(ml_client *client)
{
    if (client->file < 0 || client->out.failed) return false;
    while (client->sent < client->out.size) {
        ssize_t sent = send(client->file, client->out.data + client->sent,
                            client->out.size - client->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return errno == EAGAIN;
        client->sent += (size_t)sent;
    }
    ml_buf_clear(&client->out);
    client->sent = 0;
    return true;
}

/* ---- in ------------------------------------------------------------------------------- */

bool ml_client_fill(ml_client *client)
{
    if (client->file < 0) return false;
    if (client->at > 0) {
        client->in.size -= client->at;
        memmove(client->in.data, client->in.data + client->at, client->in.size);
        client->at = 0;
    }
    if (!ml_buf_reserve(&client->in, ROOM)) return false;
    ssize_t got = recv(client->file, client->in.data + client->in.size,
                       client->in.capacity - client->in.size, 0);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    client->in.size += (size_t)got;
    return got > 0;
}

static bool read_answer(ml_unpack *cursor, ml_message *message)
{
    int64_t msgid, code;
    uint32_t count;
    if (!ml_unpack_int(cursor, &msgid)) return false;
    message->answer = true;
    message->msgid = (uint32_t)msgid;
    if (ml_unpack_array(cursor, &count)) {
        if (!ml_unpack_int(cursor, &code) || !ml_unpack_str(cursor, &message->text)) return false;
        message->code = (ml_code)code;
    } else if (!ml_unpack_skip(cursor)) {
        return false;
    }
    message->body = (ml_bytes){cursor->at, (size_t)(cursor->end - cursor->at)};
    return true;
}

bool ml_client_peek(const ml_client *client, ml_message *message)
{
    ml_bytes left = {client->in.data + client->at, client->in.size - client->at};
    ml_unpack cursor = ml_unpack_from(left), end = cursor;
    uint32_t count;
    int64_t kind;
    *message = (ml_message){0};
    if (left.size == 0 || !ml_unpack_skip(&end)) return false;
    message->size = (size_t)(end.at - cursor.at);
    cursor.end = end.at;
    if (!ml_unpack_array(&cursor, &count) || !ml_unpack_int(&cursor, &kind)) return false;
    if (kind == 1) return read_answer(&cursor, message);
    if (kind != 2 || !ml_unpack_str(&cursor, &message->text) || !ml_unpack_array(&cursor, &count))
        return false;
    message->body = (ml_bytes){cursor.at, (size_t)(cursor.end - cursor.at)};
    return true;
}

void ml_client_drop(ml_client *client, const ml_message *message)
{
    client->at += message->size;
}

bool ml_client_wait(ml_client *client, int timeout_ms)
{
    struct pollfd on = {.fd = client->file,
                        .events = (short)(POLLIN | (client->out.size > 0 ? POLLOUT : 0))};
    int ready = poll(&on, 1, timeout_ms);
    if (ready <= 0) return ready < 0 && errno == EINTR;
    if ((on.revents & POLLOUT) != 0 && !ml_client_flush(client)) return false;
    return (on.revents & ~POLLOUT) == 0 || ml_client_fill(client);
}

static int64_t milliseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

bool ml_client_call(ml_client *client, ml_message *message, int timeout_ms)
{
    int64_t until = milliseconds() + timeout_ms;
    if (!ml_client_flush(client)) return false;
    for (;;) {
        while (ml_client_peek(client, message)) {
            ml_client_drop(client, message); /* its bytes stay until the buffer is filled */
            if (message->answer && message->msgid == client->msgid) return true;
        }
        int64_t left = until - milliseconds();
        if (left <= 0 || !ml_client_wait(client, (int)left)) return false;
    }
}

/* ---- taking apart --------------------------------------------------------------------- */

uint64_t ml_client_natural(ml_bytes map, const char *name)
{
    ml_bytes found = ml_unpack_find(map, name);
    ml_unpack cursor = ml_unpack_from(found);
    int64_t value;
    return found.size > 0 && ml_unpack_int(&cursor, &value) ? (uint64_t)value : 0;
}

ml_unpack ml_client_list(ml_bytes map, const char *name, uint32_t *count)
{
    ml_bytes found = ml_unpack_find(map, name);
    ml_unpack cursor = ml_unpack_from(found);
    if (found.size == 0 || !ml_unpack_array(&cursor, count)) *count = 0;
    return cursor;
}

static bool read_natural(ml_unpack *cursor, uint64_t *value)
{
    int64_t number;
    if (!ml_unpack_int(cursor, &number)) return false;
    *value = (uint64_t)number;
    return true;
}

/* Any value, as the bytes it has. */
static bool read_raw(ml_unpack *cursor, ml_bytes *raw)
{
    const uint8_t *begin = cursor->at;
    if (!ml_unpack_skip(cursor)) return false;
    *raw = (ml_bytes){begin, (size_t)(cursor->at - begin)};
    return true;
}

bool ml_client_event(ml_unpack *cursor, ml_event *event)
{
    uint32_t count;
    uint64_t schema;
    ml_bytes rest;
    *event = (ml_event){0};
    if (!ml_unpack_array(cursor, &count) || count != 11) return false;
    if (!read_natural(cursor, &event->position) || !read_natural(cursor, &event->revision) ||
        !ml_unpack_int(cursor, &event->time) || !ml_unpack_str(cursor, &event->stream) ||
        !ml_unpack_str(cursor, &event->type) || !read_natural(cursor, &schema))
        return false;
    ml_token id = ml_unpack_next(cursor);
    if (id.kind != ML_KIND_BIN || id.bytes.size != ML_ID_SIZE) return false;
    event->id = id.bytes.data;
    event->schema = (uint32_t)schema;
    return read_raw(cursor, &event->tags) && read_raw(cursor, &event->data) &&
           read_raw(cursor, &event->meta) && read_raw(cursor, &rest);
}
