/* access.c -- who may be a client, and how slow he may be.
 *
 * A new connection has to find room in all, room for where it comes from, and on the unix
 * socket a user who may. One that is refused gets one answer, with the msgid 0, and is closed.
 * Descriptors are left over for the store's files, so that a crowd of clients cannot keep it
 * from beginning its next segment.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inside.h"

enum { PEER_GROUPS_MAX = 1024 };

/* Connections from one address; of IPv6 its network, since a host has billions of addresses. */
struct ml_source {
    ml_source *next;
    uint8_t net[16];
    size_t count;
};

/* ---- room ---------------------------------------------------------------------------------- */

void ml_access_begin(ml_server *server)
{
    struct rlimit limit;
    size_t asked = server->options->connections > 0 ? server->options->connections : ML_SERVER_CONNECTIONS;
    rlim_t files = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 2 * FILES_RESERVE;
    rlim_t room = files > 2 * FILES_RESERVE ? files - FILES_RESERVE : files / 2;
    server->conns_max = asked < room ? asked : (size_t)room;
    server->per_address = server->options->per_address;
    if (server->conns_max < server->options->connections)
        ml_say(server, "warning",
               "%zu connections instead of %zu: the limit of open files (ulimit -n) is %" PRIu64,
               server->conns_max, asked, (uint64_t)files);
}

/* The last places are for who runs the daemon: he has to be able to look at a crowd. */
static ml_code check_room(const ml_server *server, bool runs_it, ml_error *why)
{
    size_t kept = server->conns_max / 8 < CONNS_KEPT ? server->conns_max / 8 : CONNS_KEPT;
    size_t most = server->conns_max - (runs_it ? 0 : kept);
    if (server->conn_count <= most) return ML_OK;
    return ml_error_set(
        why, ML_LIMIT,
        "%zu connections are open; close some, or let serve have more with --connections",
        server->conn_count - 1);
}

/* ---- where it comes from ------------------------------------------------------------------------
 */

static bool read_net(const ml_conn *conn, uint8_t net[16], bool *loopback)
{
    struct sockaddr_storage peer;
    int size = sizeof peer;
    memset(net, 0, 16);
    if (uv_tcp_getpeername(&conn->uv.tcp, (struct sockaddr *)&peer, &size) != 0) return false;
    if (peer.ss_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)&peer;
        net[10] = net[11] = 0xff; /* as IPv6 writes it */
        memcpy(net + 12, &four->sin_addr, 4);
        *loopback = net[12] == 127;
        return true;
    }
    const struct in6_addr *six = &((const struct sockaddr_in6 *)&peer)->sin6_addr;
    bool mapped = IN6_IS_ADDR_V4MAPPED(six);
    memcpy(net, six, mapped ? 16 : 8);
    *loopback = IN6_IS_ADDR_LOOPBACK(six) || (mapped && net[12] == 127);
    return true;
}

static ml_code join_source(ml_conn *conn, ml_error *why)
{
    ml_server *server = conn->server;
    uint8_t net[16];
    bool loopback = false;
    if (!read_net(conn, net, &loopback))
        return ml_error_set(why, ML_UNREACHABLE, "the client has gone");
    size_t most = server->per_address > 0 ? server->per_address
                  : loopback              ? server->conns_max
                                          : ML_SERVER_PER_ADDRESS;
    ml_source *source = server->sources;
    while (source != NULL && memcmp(source->net, net, sizeof net) != 0)
        source = source->next;
    if (source != NULL && source->count >= most)
        return ml_error_set(
            why, ML_LIMIT,
            "%zu connections are open from this address; close some, or let serve have more with "
            "--connections-per-address",
            source->count);
    if (source == NULL) {
        source = calloc(1, sizeof *source);
        if (source == NULL) return ml_error_memory(why, "a connection");
        memcpy(source->net, net, sizeof net);
        source->next = server->sources;
        server->sources = source;
    }
    source->count++;
    conn->source = source;
    return ML_OK;
}

static void leave_source(ml_conn *conn)
{
    ml_source *source = conn->source;
    conn->source = NULL;
    if (source == NULL || --source->count > 0) return;
    ml_source **at = &conn->server->sources;
    while (*at != source)
        at = &(*at)->next;
    *at = source->next;
    free(source);
}

/* ---- users of the unix socket
 * ---------------------------------------------------------------------- */

static bool is_in_group(int file, gid_t wanted, gid_t first)
{
    gid_t groups[PEER_GROUPS_MAX];
    socklen_t size = sizeof groups;
    if (first == wanted) return true;
    if (getsockopt(file, SOL_SOCKET, SO_PEERGROUPS, groups, &size) != 0) return false;
    for (size_t n = 0; n < size / sizeof *groups; n++)
        if (groups[n] == wanted) return true;
    return false;
}

/* The daemon's own user, root, and the group that the socket has now: what its mode 0660 says,
 * also where somebody has loosened the mode. */
static ml_code check_peer(const ml_conn *conn, bool *runs_it, ml_error *why)
{
    struct ucred peer;
    struct stat about;
    socklen_t size = sizeof peer;
    int file = -1;
    if (uv_fileno(&conn->uv.handle, &file) != 0 ||
        getsockopt(file, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return ml_error_set(why, ML_FORBIDDEN, "who connects could not be found out");
    *runs_it = peer.uid == 0 || peer.uid == geteuid();
    if (*runs_it) return ML_OK;
    gid_t group = stat(conn->server->socket_path, &about) == 0 ? about.st_gid : getegid();
    if (is_in_group(file, group, peer.gid)) return ML_OK;
    return ml_error_set(
        why, ML_FORBIDDEN,
        "user %u is neither the daemon's nor in the group of its socket; ask its owner",
        (unsigned)peer.uid);
}

/* ---- a new connection
 * -------------------------------------------------------------------------------- */

ml_code ml_access_check(ml_conn *conn, bool local, ml_error *why)
{
    ml_server *server = conn->server;
    bool runs_it = false;
    ml_code code = local ? check_peer(conn, &runs_it, why) : ML_OK;
    if (!code) code = check_room(server, runs_it, why);
    if (!code && !conn->known && server->unknown_count >= UNKNOWN_CONNS_MAX)
        code = ml_error_set(why, ML_LIMIT,
                            "%d connections have not said hello yet; try again in some seconds",
                            UNKNOWN_CONNS_MAX);
    if (!code && !local) code = join_source(conn, why);
    if (code) {
        server->refused++;
        server->refused_for = *why;
        return code;
    }
    conn->awaited = !conn->known;
    server->unknown_count += conn->awaited;
    return ML_OK;
}

void ml_access_greeted(ml_conn *conn)
{
    conn->known = true;
    conn->server->unknown_count -= conn->awaited;
    conn->awaited = false;
}

void ml_access_leave(ml_conn *conn)
{
    conn->server->unknown_count -= conn->awaited;
    conn->awaited = false;
    leave_source(conn);
}

/* ---- each second
 * ------------------------------------------------------------------------------------------ */

/* Does it take nothing of what waits for it, and may not? A follower may: what is pushed is
 * bounded, and the rest of it is in the log, or dropped and counted. */
static bool takes_nothing(ml_conn *conn, uint64_t now)
{
    size_t unsent = uv_stream_get_write_queue_size(&conn->uv.stream);
    if (unsent == 0 || unsent != conn->unsent) {
        conn->unsent = unsent;
        conn->taken = now;
    }
    bool follows = conn->subscriptions != NULL || conn->listeners != NULL;
    return now - conn->taken > READER_MS && (conn->ended || (ml_conn_congested(conn) && !follows));
}

static bool is_silent(const ml_conn *conn, uint64_t now)
{
    return !conn->known && now - conn->accepted > UNKNOWN_MS;
}

/* While we do not read for a reason of our own, its clock stands; not while many such crowd us. */
static bool sends_slowly(const ml_conn *conn, uint64_t now)
{
    bool counts = conn->reading || conn->server->received > BUFFERS_MAX;
    return conn->began > 0 && counts && now - conn->began > FRAME_MS;
}

static void check_times(ml_conn *conn, uint64_t now)
{
    if (conn->overrun) {
        ml_conn_close(conn);
    } else if (takes_nothing(conn, now)) {
        ml_say(conn->server, "warning", "a client took none of its answers for %d s: disconnected",
               READER_MS / 1000);
        ml_conn_close(conn);
    } else if (!conn->ended && is_silent(conn, now)) {
        ml_conn_part(conn, ML_TIMEOUT, "no hello with the token in time; begin with it");
    } else if (!conn->ended && sends_slowly(conn, now)) {
        ml_conn_part(conn, ML_TIMEOUT,
                     "a message that had begun did not come whole in time; send it in one go");
    }
}

void ml_access_each_second(ml_server *server)
{
    uint64_t now = uv_now(&server->loop);
    for (ml_conn *conn = server->conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        ml_conn_shrink(conn);
        check_times(conn, now);
    }
    ml_access_tell(server);
}

void ml_access_tell(ml_server *server)
{
    if (server->refused == 0) return;
    ml_say(server, "warning", "%zu connections refused; the last: %s: %s", server->refused,
           ml_error_name(server->refused_for.code), server->refused_for.sentence);
    server->refused = 0;
}
