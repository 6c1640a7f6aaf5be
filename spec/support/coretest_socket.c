/* coretest_socket.c -- `coretest.socket`: a socket that sends any bytes, for clients that
 * misbehave. Nothing waits longer than it is told.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "coretest.h"

#define SOCKET "coretest.socket"

enum { RECEIVE_BYTES = 1 << 18 };

typedef struct door {
    int file; /* -1: closed */
} door;

static int fail(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

static int fail_errno(lua_State *L)
{
    return fail(L, errno == EPIPE || errno == ECONNRESET ? "closed" : strerror(errno));
}

/* "unix:PATH" or "tcp:A.B.C.D:PORT"; gives the size of the address, 0 if it is none. */
static socklen_t parse(const char *uri, struct sockaddr_storage *address)
{
    struct sockaddr_un *local = (struct sockaddr_un *)address;
    struct sockaddr_in *tcp = (struct sockaddr_in *)address;
    char host[32];
    unsigned port;
    memset(address, 0, sizeof *address);
    if (strncmp(uri, "unix:", 5) == 0 && strlen(uri + 5) < sizeof local->sun_path) {
        local->sun_family = AF_UNIX;
        snprintf(local->sun_path, sizeof local->sun_path, "%s", uri + 5);
        return sizeof *local;
    }
    if (sscanf(uri, "tcp:%31[0-9.]:%u", host, &port) != 2) return 0;
    tcp->sin_family = AF_INET;
    tcp->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &tcp->sin_addr) == 1 ? sizeof *tcp : 0;
}

/* A connected socket, -1 with errno if not. `from` (or NULL) is the address to come from. */
static int open_to(lua_State *L, const char *uri, const char *from)
{
    struct sockaddr_storage address;
    struct sockaddr_in own = {.sin_family = AF_INET};
    socklen_t size = parse(uri, &address);
    luaL_argcheck(L, size > 0, 1, "unix:PATH or tcp:A.B.C.D:PORT expected");
    luaL_argcheck(L, from == NULL || inet_pton(AF_INET, from, &own.sin_addr) == 1, 2, "an address");
    int file = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (file < 0) return -1;
    if ((from == NULL || bind(file, (const void *)&own, sizeof own) == 0) &&
        connect(file, (const void *)&address, size) == 0)
        return file;
    int failed = errno;
    close(file);
    errno = failed;
    return -1;
}

/* connect(uri [, from]) -> socket */
static int socket_connect(lua_State *L)
{
    const char *uri = luaL_checkstring(L, 1), *from = luaL_optstring(L, 2, NULL);
    door *self = lua_newuserdatauv(L, sizeof *self, 0);
    self->file = -1;
    luaL_setmetatable(L, SOCKET);
    self->file = open_to(L, uri, from);
    return self->file < 0 ? fail_errno(L) : 1;
}

/* With lingering for no time a close is a reset. */
static void reset(int file)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    setsockopt(file, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(file);
}

/* flood(uri, times) -> how many connections were made, each reset at once */
static int socket_flood(lua_State *L)
{
    const char *uri = luaL_checkstring(L, 1);
    lua_Integer made = 0;
    for (lua_Integer left = luaL_checkinteger(L, 2); left > 0; left--) {
        int file = open_to(L, uri, NULL);
        if (file < 0) continue;
        reset(file);
        made++;
    }
    lua_pushinteger(L, made);
    return 1;
}

static bool wait_for(const door *self, short event, lua_Integer timeout_ms)
{
    struct pollfd one = {.fd = self->file, .events = event};
    return poll(&one, 1, (int)timeout_ms) > 0;
}

/* send(bytes, timeout_ms) -> bytes taken, as many as the peer takes before it takes none for so
 * long */
static int socket_send(lua_State *L)
{
    door *self = luaL_checkudata(L, 1, SOCKET);
    size_t size, done = 0;
    const char *bytes = luaL_checklstring(L, 2, &size);
    lua_Integer timeout_ms = luaL_optinteger(L, 3, 5000);
    while (done < size) {
        ssize_t sent = send(self->file, bytes + done, size - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) done += (size_t)sent;
        if (sent >= 0) continue;
        if (errno != EAGAIN) return fail_errno(L);
        if (!wait_for(self, POLLOUT, timeout_ms)) break;
    }
    lua_pushinteger(L, (lua_Integer)done);
    return 1;
}

/* receive(timeout_ms) -> bytes; nil and "timeout" or "closed" */
static int socket_receive(lua_State *L)
{
    static char bytes[RECEIVE_BYTES];
    door *self = luaL_checkudata(L, 1, SOCKET);
    if (!wait_for(self, POLLIN, luaL_optinteger(L, 2, 5000))) return fail(L, "timeout");
    ssize_t size = recv(self->file, bytes, sizeof bytes, MSG_DONTWAIT);
    if (size < 0) return fail_errno(L);
    if (size == 0) return fail(L, "closed");
    lua_pushlstring(L, bytes, (size_t)size);
    return 1;
}

/* finish(): nothing more is sent, and answers are still received */
static int socket_finish(lua_State *L)
{
    door *self = luaL_checkudata(L, 1, SOCKET);
    if (shutdown(self->file, SHUT_WR) != 0) return fail_errno(L);
    lua_pushboolean(L, true);
    return 1;
}

static int socket_close(lua_State *L)
{
    door *self = luaL_checkudata(L, 1, SOCKET);
    if (self->file >= 0) close(self->file);
    self->file = -1;
    return 0;
}

int luaopen_coretest_socket(lua_State *L)
{
    static const luaL_Reg methods[] = {{"send", socket_send},
                                       {"receive", socket_receive},
                                       {"finish", socket_finish},
                                       {"close", socket_close},
                                       {NULL, NULL}};
    static const luaL_Reg functions[] = {
        {"connect", socket_connect}, {"flood", socket_flood}, {NULL, NULL}};
    ml_coretest_class(L, SOCKET, methods, socket_close);
    luaL_newlib(L, functions);
    return 1;
}
