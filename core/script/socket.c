/* socket.c -- connect, send, receive, close; nothing waits without a deadline. */
#include "socket.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../base/limits.h"
#include "module.h"
#include "value.h"

#define SOCKET "moonlog.socket"

enum {
    URI_MAX = 256,
    CHUNK_BYTES = 256 << 10,                      /* taken in at once */
    SEND_BYTES_MAX = ML_APPEND_BYTES_MAX + 65536, /* what the daemon takes */
    /* Waiting to be received; a page is 4 MiB and an event, a push far less. */
    HELD_BYTES_MAX = 32 << 20
};

typedef struct socket_door {
    int file;  /* -1: closed */
    ml_buf in; /* came and was not received; begins at `at` */
    size_t at;
    char uri[URI_MAX];
} socket_door;

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void close_file(socket_door *self)
{
    if (self->file >= 0) close(self->file);
    self->file = -1;
}

/* ---- connecting ------------------------------------------------------------------------ */

static ml_code refuse_connect(const socket_door *self, int failed, ml_error *why)
{
    if (failed == EACCES || failed == EPERM)
        return ml_error_set(why, ML_FORBIDDEN, "%s may not be connected to by this user",
                            self->uri);
    if (failed == EAGAIN || failed == EINPROGRESS || failed == EINTR)
        return ml_error_set(why, ML_TIMEOUT, "%s did not take the connection in time", self->uri);
    return ml_error_set(why, ML_UNREACHABLE,
                        "no daemon answers at %s: %s; start one with `moonlog serve`", self->uri,
                        strerror(failed));
}

/* A blocking connect, bounded by the time-out for sending. */
static ml_code connect_to(socket_door *self, const struct sockaddr *address, socklen_t size,
                          int64_t timeout_ms, ml_error *why)
{
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    int one = 1;
    if (timeout_ms == 0) timeout.tv_usec = 1000; /* zero would mean for ever */
    self->file = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (self->file < 0) return refuse_connect(self, errno, why);
    int failed = setsockopt(self->file, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (!failed && address->sa_family != AF_UNIX)
        failed = setsockopt(self->file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!failed) failed = connect(self->file, address, size);
    if (!failed) return ML_OK;
    failed = errno;
    close_file(self);
    return refuse_connect(self, failed, why);
}

static ml_code connect_unix(socket_door *self, const char *path, int64_t timeout_ms, ml_error *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    if (size >= sizeof address.sun_path)
        return ml_error_set(why, ML_BAD_REQUEST,
                            "the path of %s is too long for a unix socket; use a relative one",
                            self->uri);
    memcpy(address.sun_path, path, size);
    return connect_to(self, (const void *)&address, sizeof address, timeout_ms, why);
}

/* "HOST:PORT", "[::1]:PORT": each address of the host is tried. */
static ml_code connect_tcp(socket_door *self, const char *where, int64_t timeout_ms, ml_error *why)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[URI_MAX];
    const char *colon = strrchr(where, ':'); /* there is one: checked by the caller */
    size_t size = (size_t)(colon - where);
    bool brackets = size > 2 && where[0] == '[' && where[size - 1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)size - 2 * brackets, where + brackets);
    int failed = getaddrinfo(host, colon + 1, &wanted, &found);
    if (failed)
        return ml_error_set(why, ML_UNREACHABLE, "the address of %s is not known: %s", self->uri,
                            gai_strerror(failed));
    ml_code code = ML_UNREACHABLE;
    for (const struct addrinfo *one = found; code && one != NULL; one = one->ai_next)
        code = connect_to(self, one->ai_addr, one->ai_addrlen, timeout_ms, why);
    freeaddrinfo(found);
    return code;
}

static ml_code connect_uri(socket_door *self, int64_t timeout_ms, ml_error *why)
{
    const char *uri = self->uri, *colon = strrchr(uri, ':');
    if (strncmp(uri, "unix:", 5) == 0 && uri[5] != '\0')
        return connect_unix(self, uri + 5, timeout_ms, why);
    if (strncmp(uri, "tcp:", 4) == 0 && colon > uri + 4 && colon[1] != '\0')
        return connect_tcp(self, uri + 4, timeout_ms, why);
    return ml_error_set(why, ML_BAD_REQUEST, "%s is no address; write unix:PATH or tcp:HOST:PORT",
                        uri);
}

static int64_t check_timeout(lua_State *L, int index)
{
    lua_Integer timeout_ms = luaL_checkinteger(L, index);
    luaL_argcheck(L, timeout_ms >= 0 && timeout_ms <= INT_MAX, index, "milliseconds expected");
    return timeout_ms;
}

int ml_socket_open(lua_State *L)
{
    ml_error why;
    size_t size;
    const char *uri = luaL_checklstring(L, 1, &size);
    int64_t timeout_ms = check_timeout(L, 2);
    luaL_argcheck(L, size < URI_MAX && strlen(uri) == size, 1,
                  "an address like unix:PATH expected");
    socket_door *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (socket_door){.file = -1};
    memcpy(self->uri, uri, size);
    luaL_setmetatable(L, SOCKET);
    return connect_uri(self, timeout_ms, &why) ? ml_module_fail(L, &why) : 1;
}

void ml_socket_push(lua_State *L, int file, const char *uri)
{
    socket_door *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (socket_door){.file = -1};
    luaL_setmetatable(L, SOCKET);
    snprintf(self->uri, sizeof self->uri, "%s", uri);
    self->file = fcntl(file, F_DUPFD_CLOEXEC, 0);
    if (self->file < 0) luaL_error(L, "no descriptor for %s: %s", self->uri, strerror(errno));
}

/* ---- bytes ------------------------------------------------------------------------------- */

static ml_code refuse_closed(const socket_door *self, ml_error *why)
{
    return ml_error_set(why, ML_UNREACHABLE, "the connection to %s is closed; connect again",
                        self->uri);
}

/* Waits for one of `events`; gives what happened, 0 after setting *why. */
static int wait_for(const socket_door *self, short events, int64_t deadline, ml_error *why)
{
    struct pollfd one = {.fd = self->file, .events = events};
    int64_t left = deadline - now_ms();
    int ready = poll(&one, 1, left > 0 ? (int)left : 0);
    if (ready > 0) return one.revents;
    if (ready < 0 && errno != EINTR)
        ML_IGNORE(ml_error_set(why, ML_IO, "waiting for %s: %s", self->uri, strerror(errno)));
    else
        ML_IGNORE(ml_error_set(why, ML_TIMEOUT,
                               ready == 0 ? "nothing from %s in time" : "a signal came before %s",
                               self->uri));
    return 0;
}

/* Takes in what there is, without waiting. */
static ml_code take_in(socket_door *self, ml_error *why)
{
    ml_buf *in = &self->in;
    if (self->at > 0) {
        in->size -= self->at;
        memmove(in->data, in->data + self->at, in->size);
        self->at = 0;
    }
    if (!ml_buf_reserve(in, CHUNK_BYTES)) return ml_error_memory(why, "a message");
    ssize_t got = recv(self->file, in->data + in->size, CHUNK_BYTES, MSG_DONTWAIT);
    if (got > 0) in->size += (size_t)got;
    if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR))) return ML_OK;
    close_file(self);
    return refuse_closed(self, why);
}

static ml_code send_all(socket_door *self, ml_bytes bytes, int64_t deadline, ml_error *why)
{
    const char *at = bytes.data, *end = at + bytes.size;
    while (at < end) {
        ssize_t sent = send(self->file, at, (size_t)(end - at), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) at += sent;
        if (sent >= 0 || errno == EINTR) continue;
        /* Who was refused has a last word to receive; receiving then says that it is closed. */
        if (errno == EPIPE || errno == ECONNRESET) return ML_OK;
        if (errno != EAGAIN) return refuse_closed(self, why);
        bool room = self->in.size - self->at < HELD_BYTES_MAX;
        int ready = wait_for(self, room ? POLLIN | POLLOUT : POLLOUT, deadline, why);
        if (ready == 0) return why->code;
        ml_code code = room && (ready & POLLIN) ? take_in(self, why) : ML_OK;
        if (code) return code;
    }
    return ML_OK;
}

/* ---- messages ------------------------------------------------------------------------------ */

static int socket_send(lua_State *L)
{
    ml_error why = {.code = ML_OK};
    socket_door *self = luaL_checkudata(L, 1, SOCKET);
    int64_t deadline = now_ms() + check_timeout(L, 3);
    lua_settop(L, 3);
    ml_desk *desk = ml_desk_take(L);
    if (ml_value_write_message(L, 2, desk, SEND_BYTES_MAX, &why)) return ml_module_fail(L, &why);
    if (self->file < 0)
        ML_IGNORE(refuse_closed(self, &why));
    else if (send_all(self, ml_buf_view(&desk->bytes), deadline, &why))
        close_file(self);
    if (why.code) return ml_module_fail(L, &why);
    ml_desk_give(L, 4);
    lua_pushboolean(L, true);
    return 1;
}

/* Size of the message at the front, 0 if it is not whole. Looking at the same bytes again
 * with each chunk is cheaper than the copy out of the kernel. */
static size_t whole_message(const socket_door *self)
{
    if (self->at == self->in.size) return 0;
    const uint8_t *begin = self->in.data + self->at;
    ml_unpack cursor = ml_unpack_from((ml_bytes){begin, self->in.size - self->at});
    return ml_unpack_skip(&cursor) ? (size_t)(cursor.at - begin) : 0;
}

static ml_code wait_for_message(socket_door *self, int64_t deadline, size_t *size, ml_error *why)
{
    while ((*size = whole_message(self)) == 0) {
        if (self->file < 0) return refuse_closed(self, why);
        if (self->in.size - self->at >= HELD_BYTES_MAX) {
            close_file(self);
            return ml_error_set(why, ML_TOO_LARGE,
                                "%s sends what is no message, or one over %d bytes", self->uri,
                                HELD_BYTES_MAX);
        }
        if (wait_for(self, POLLIN, deadline, why) == 0) return why->code;
        /* What came before the end is still to be received. */
        if (take_in(self, why) && self->file >= 0) return why->code;
    }
    return ML_OK;
}

/* The message is decoded from a copy: making tables may run finalizers, which may receive. */
static int socket_receive(lua_State *L)
{
    ml_error why;
    size_t size;
    socket_door *self = luaL_checkudata(L, 1, SOCKET);
    int64_t deadline = now_ms() + check_timeout(L, 2);
    lua_settop(L, 2);
    ml_desk *desk = ml_desk_take(L);
    if (wait_for_message(self, deadline, &size, &why)) return ml_module_fail(L, &why);
    ml_buf_add(&desk->bytes, self->in.data + self->at, size);
    if (ml_desk_check(desk, &why)) return ml_module_fail(L, &why);
    self->at += size;
    if (self->at == self->in.size) {
        self->at = 0;
        if (self->in.capacity > 4 * CHUNK_BYTES) ml_buf_free(&self->in);
        ml_buf_clear(&self->in);
    }
    ml_unpack cursor = ml_unpack_from(ml_buf_view(&desk->bytes));
    bool done = ml_value_read_message(L, &cursor);
    ml_desk_give(L, 3);
    if (done) return 1;
    ML_IGNORE(ml_error_set(&why, ML_UNSUPPORTED,
                           "a message from %s holds what a Lua table cannot, such as NaN for a "
                           "key; read it in another language",
                           self->uri));
    return ml_module_fail(L, &why);
}

/* ---- the rest ------------------------------------------------------------------------------ */

/* Milliseconds of a clock that only goes forward, for deadlines over several calls. */
static int socket_clock(lua_State *L)
{
    luaL_checkudata(L, 1, SOCKET);
    lua_pushinteger(L, now_ms());
    return 1;
}

static int socket_close(lua_State *L)
{
    socket_door *self = luaL_checkudata(L, 1, SOCKET);
    close_file(self);
    ml_buf_free(&self->in);
    self->at = 0;
    return 0;
}

static const luaL_Reg socket_meta[] = {
    {"__gc", socket_close}, {"__close", socket_close}, {NULL, NULL}};
static const luaL_Reg socket_methods[] = {{"send", socket_send},
                                          {"receive", socket_receive},
                                          {"clock", socket_clock},
                                          {"close", socket_close},
                                          {NULL, NULL}};

void ml_socket_init(lua_State *L)
{
    luaL_newmetatable(L, SOCKET);
    luaL_setfuncs(L, socket_meta, 0);
    luaL_newlib(L, socket_methods);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
}
