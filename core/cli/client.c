/* client.c -- the client's socket and its messages; see client.h. */
#include "client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/limits.h"

enum {
    READ_BYTES = 256 << 10,
    MESSAGE_MAX = 32 << 20,                    /* an answer: a page of events, or all of `api` */
    REQUEST_MAX = ML_APPEND_BYTES_MAX + 65536, /* what a daemon takes */
    CONNECT_SECONDS = 5,
    LOOK_MS = 500, /* a SIGINT that came just before a wait is seen then */
    SAID_MAX = 64 << 10
};

/* ---- connecting ---------------------------------------------------------------------- */

static ml_code refuse_connect(ml_client *client, const char *uri, const char *reason)
{
    return ml_error_set(&client->why, ML_UNREACHABLE, "cannot connect to %.512s: %s", uri, reason);
}

static ml_code connect_unix(ml_client *client, const char *uri, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size >= sizeof address.sun_path)
        return refuse_connect(client, uri, "the path is too long for a unix socket");
    memcpy(address.sun_path, path, size);
    int file = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (file < 0) return refuse_connect(client, uri, strerror(errno));
    if (connect(file, (struct sockaddr *)&address, sizeof address) == 0) {
        ml_client_take(client, file, -1);
        return ML_OK;
    }
    int failed = errno;
    close(file);
    return refuse_connect(client, uri, strerror(failed));
}

/* The first of the host's addresses that answers. */
static int connect_any(const struct addrinfo *list, int *failed)
{
    struct timeval limit = {.tv_sec = CONNECT_SECONDS}, none = {0};
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        int file = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
        if (file < 0) continue;
        int one = 1;
        /* Options only make it quicker, or give up sooner. */
        ML_IGNORE(setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0);
        ML_IGNORE(setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0);
        if (connect(file, at->ai_addr, at->ai_addrlen) == 0) {
            ML_IGNORE(setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none) != 0);
            return file;
        }
        *failed = errno == EINPROGRESS ? ETIMEDOUT : errno;
        close(file);
    }
    return -1;
}

static ml_code connect_tcp(ml_client *client, const char *uri, const char *place)
{
    char host[256];
    const char *colon = strrchr(place, ':');
    size_t size = colon != NULL ? (size_t)(colon - place) : 0;
    if (size == 0 || size >= sizeof host || colon[1] == '\0')
        return refuse_connect(client, uri, "write tcp:HOST:PORT");
    bool brackets = size > 2 && place[0] == '[' && place[size - 1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)size - 2 * brackets, place + brackets);
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *list;
    int unknown = getaddrinfo(host, colon + 1, &wanted, &list);
    if (unknown != 0) return refuse_connect(client, uri, gai_strerror(unknown));
    int failed = ECONNREFUSED, file = connect_any(list, &failed);
    freeaddrinfo(list);
    if (file < 0) return refuse_connect(client, uri, strerror(failed));
    ml_client_take(client, file, -1);
    return ML_OK;
}

ml_code ml_client_connect(ml_client *client, const char *uri)
{
    client->why.code = ML_OK;
    if (strncmp(uri, "unix:", 5) == 0) return connect_unix(client, uri, uri + 5);
    if (strncmp(uri, "tcp:", 4) == 0) return connect_tcp(client, uri, uri + 4);
    return refuse_connect(client, uri, "an address is unix:PATH or tcp:HOST:PORT");
}

void ml_client_take(ml_client *client, int file, int messages)
{
    *client = (ml_client){.file = file, .messages = messages};
}

void ml_client_close(ml_client *client)
{
    close(client->file);
    if (client->messages >= 0) close(client->messages);
    ml_buf_free(&client->in);
    ml_buf_free(&client->out);
}

/* ---- a lost connection --------------------------------------------------------------- */

/* A daemon of our own has said why it ended: its last line "moonlog: CODE: sentence". */
bool ml_client_last_words(ml_client *client)
{
    static const char begin[] = "moonlog: ";
    char text[SAID_MAX + 1], *line = NULL;
    size_t size = 0;
    for (;;) {
        ssize_t more = read(client->messages, text + size, SAID_MAX - size);
        if (more < 0 && errno == EINTR) continue;
        if (more <= 0) break;
        size += (size_t)more;
    }
    text[size] = '\0';
    for (char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, begin, sizeof begin - 1) == 0) line = at + sizeof begin - 1;
    }
    if (line == NULL) return false;
    ml_client_error((ml_bytes){line, strcspn(line, "\n")}, &client->why);
    return true;
}

static ml_code lost(ml_client *client)
{
    if (client->messages >= 0 && ml_client_last_words(client)) return client->why.code;
    return ml_error_set(&client->why, ML_UNREACHABLE,
                        "the daemon closed the connection before it answered; what was asked last "
                        "may have been done or not");
}

/* ---- bytes --------------------------------------------------------------------------- */

/* ML_OK when there is something to read. */
static ml_code wait_for_bytes(ml_client *client, int timeout_ms)
{
    /* Of stdout only that its reader has gone, which is said unasked. */
    struct pollfd both[] = {{.fd = client->file, .events = POLLIN}, {.fd = STDOUT_FILENO}};
    double end = ml_cli_seconds() + timeout_ms / 1e3;
    for (;;) {
        if (ml_cli_interrupted()) return ML_END;
        double left = timeout_ms < 0 ? LOOK_MS : (end - ml_cli_seconds()) * 1e3;
        if (left < 0) left = 0;
        int found = poll(both, client->shows ? 2 : 1, left < LOOK_MS ? (int)left + 1 : LOOK_MS);
        client->unseen = client->shows && found > 0 && both[1].revents != 0;
        if (client->unseen) return ML_END;
        if (found > 0) return ML_OK;
        if (found < 0 && errno != EINTR) return lost(client);
        if (timeout_ms >= 0 && ml_cli_seconds() >= end)
            return ml_error_set(&client->why, ML_TIMEOUT, "nothing came within %d ms", timeout_ms);
    }
}

static ml_code read_more(ml_client *client)
{
    ml_buf *in = &client->in;
    if (client->at > 0) {
        in->size -= client->at;
        memmove(in->data, in->data + client->at, in->size);
        client->at = 0;
    }
    if (!ml_buf_reserve(in, READ_BYTES)) return ml_error_memory(&client->why, "an answer");
    for (;;) {
        ssize_t size = read(client->file, in->data + in->size, in->capacity - in->size);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return lost(client);
        in->size += (size_t)size;
        return ML_OK;
    }
}

/* The next whole message; waits for it as `wait` and `timeout_ms` say. */
static ml_code next_message(ml_client *client, bool wait, int timeout_ms, ml_unpack *message)
{
    static const ml_wire_limits limits = {.bytes = MESSAGE_MAX, .depth = ML_WIRE_DEPTH_MAX};
    client->at += client->taken;
    client->taken = 0;
    for (;;) {
        const uint8_t *data = client->in.data + client->at;
        ml_wire_found found = ML_WIRE_MORE;
        if (client->in.size > client->at)
            found = ml_wire_scan(&client->wire, data, client->in.size - client->at, &limits,
                                 &client->why);
        if (found == ML_WIRE_BAD)
            return ml_error_set(&client->why, ML_UNSUPPORTED, "what answers speaks no msgpack-rpc");
        if (found == ML_WIRE_WHOLE) {
            client->taken = client->wire.scanned;
            *message = (ml_unpack){data, data + client->taken};
            ml_wire_reset(&client->wire);
            return ML_OK;
        }
        ml_code code = wait ? wait_for_bytes(client, timeout_ms) : ML_OK;
        if (!code) code = read_more(client);
        if (code) return code;
    }
}

static ml_code write_all(ml_client *client, ml_bytes bytes)
{
    const uint8_t *at = bytes.data;
    for (size_t left = bytes.size; left > 0;) {
        ssize_t size = send(client->file, at, left, MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR) continue;
        /* Who was refused has a last word to read. */
        if (size < 0 && (errno == EPIPE || errno == ECONNRESET)) return ML_OK;
        if (size < 0) return lost(client);
        at += size;
        left -= (size_t)size;
    }
    return ML_OK;
}

/* ---- messages ------------------------------------------------------------------------ */

ml_buf *ml_client_begin(ml_client *client, const char *method)
{
    ml_buf_clear(&client->out);
    ml_pack_array(&client->out, 4);
    ml_pack_int(&client->out, 0);
    ml_pack_int(&client->out, ++client->msgid);
    ml_pack_text(&client->out, method);
    ml_pack_array(&client->out, 1);
    return &client->out;
}

ml_buf *ml_client_begin_notice(ml_client *client, const char *method)
{
    ml_buf_clear(&client->out);
    ml_pack_array(&client->out, 3);
    ml_pack_int(&client->out, 2);
    ml_pack_text(&client->out, method);
    ml_pack_array(&client->out, 1);
    return &client->out;
}

ml_code ml_client_send(ml_client *client)
{
    if (client->out.failed) return ml_error_memory(&client->why, "a request");
    if (client->out.size > REQUEST_MAX)
        return ml_error_set(&client->why, ML_TOO_LARGE,
                            "the request is %zu bytes, the limit is %d; send less at once",
                            client->out.size, REQUEST_MAX);
    return write_all(client, ml_buf_view(&client->out));
}

static ml_code no_answer(ml_client *client)
{
    return ml_error_set(&client->why, ML_UNSUPPORTED,
                        "the daemon's answer is none that this version knows");
}

static ml_code take_error(ml_client *client, ml_unpack *cursor)
{
    uint32_t count;
    int64_t number;
    ml_bytes text;
    if (!ml_unpack_array(cursor, &count) || count != 2 || !ml_unpack_int(cursor, &number) ||
        !ml_unpack_str(cursor, &text))
        return no_answer(client);
    ml_client_error(text, &client->why);
    return client->why.code;
}

/* [1, msgid, error, result] behind its first item. A refusal of a message that could not even
 * be read has the msgid 0. */
static ml_code take_answer(ml_client *client, ml_unpack *cursor, ml_bytes *result, bool *ours)
{
    int64_t msgid;
    if (!ml_unpack_int(cursor, &msgid)) return no_answer(client);
    *ours = msgid == client->msgid || msgid == 0;
    if (!*ours) return ML_OK;
    if (cursor->at < cursor->end && *cursor->at != 0xc0) return take_error(client, cursor);
    if (!ml_unpack_skip(cursor)) return no_answer(client);
    *result = (ml_bytes){cursor->at, (size_t)(cursor->end - cursor->at)};
    return ML_OK;
}

static ml_code take_push(ml_client *client, ml_unpack *cursor)
{
    ml_bytes method;
    uint32_t count;
    if (!ml_unpack_str(cursor, &method) || !ml_unpack_array(cursor, &count) || count != 1)
        return no_answer(client);
    if (client->pushed != NULL)
        client->pushed(client->context, method,
                       (ml_bytes){cursor->at, (size_t)(cursor->end - cursor->at)});
    return ML_OK;
}

/* Handles one message; *answered says that it was the answer waited for. */
static ml_code take_message(ml_client *client, ml_unpack cursor, ml_bytes *result, bool *answered)
{
    uint32_t count;
    int64_t kind;
    if (!ml_unpack_array(&cursor, &count) || !ml_unpack_int(&cursor, &kind))
        return no_answer(client);
    if (kind == 1 && count == 4) return take_answer(client, &cursor, result, answered);
    if (kind == 2 && count == 3) return take_push(client, &cursor);
    return no_answer(client);
}

ml_code ml_client_receive(ml_client *client, ml_bytes *result)
{
    ml_unpack message;
    bool answered = false;
    ml_code code = ML_OK;
    while (!code && !answered) {
        code = next_message(client, false, 0, &message);
        if (!code) code = take_message(client, message, result, &answered);
    }
    return code;
}

ml_code ml_client_call(ml_client *client, ml_bytes *result)
{
    ml_code code = ml_client_send(client);
    return code ? code : ml_client_receive(client, result);
}

ml_code ml_client_wait(ml_client *client, int timeout_ms)
{
    ml_unpack message;
    ml_bytes unused;
    bool answered;
    ml_code code = next_message(client, true, timeout_ms, &message);
    return code ? code : take_message(client, message, &unused, &answered);
}

ml_code ml_client_hello(ml_client *client, bool maps, const char *token)
{
    ml_bytes result;
    ml_buf *out = ml_client_begin(client, "hello");
    ml_pack_map(out, token != NULL ? 3 : 2);
    ml_pack_text(out, "client");
    ml_pack_text(out, "moonlog " ML_VERSION);
    ml_pack_text(out, "events");
    ml_pack_text(out, maps ? "map" : "array");
    if (token != NULL) {
        ml_pack_text(out, "token");
        ml_pack_text(out, token);
    }
    return ml_client_call(client, &result);
}
