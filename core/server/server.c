/* server.c -- the loop: begin, turn, drain, stop. */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "../store/store.h"
#include "commands.h"
#include "inside.h"
#include "projections.h"
#include "whatifs.h"
#include "rules.h"
#include "workers.h"

/* ---- a turn ---------------------------------------------------------------------------------- */

static void woken(uv_async_t *async) { (void)async; } /* the turn that follows does the work */

static void wake(void *context)
{
    ml_server *server = context;
    uv_async_send(&server->woken);
}

static void keep_turning(uv_idle_t *idle) { (void)idle; }

static bool drained(const ml_server *server)
{
    for (const ml_conn *conn = server->conns; conn != NULL; conn = conn->next)
        if (conn->in_flight > 0 || conn->flying.size > 0) return false;
    return true;
}

static void stop(ml_server *server);
static void drain(ml_server *server);
static void say_ready(ml_server *server);

/* The daemon of a command stops with its last client. If the command goes before others do, it
 * is told not to wait, by the end of our stderr, which was its pipe. */
static void check_command(ml_server *server)
{
    if (server->conns == NULL) {
        drain(server);
    } else if (server->command == NULL && !server->shared) {
        int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
        server->shared = nothing >= 0 && dup2(nothing, STDERR_FILENO) >= 0;
        if (nothing >= 0) close(nothing);
    }
}

/* Before the loop sleeps: answer what was written, write what was admitted, serve, send. */
static void turn(uv_prepare_t *prepare)
{
    ml_server *server = prepare->data;
    server->more = false;
    /* A failure is told to those who asked, and what was admitted behind it is given up. */
    if (ml_settle(server->store, false)) server->commands->epoch++;
    ml_commands_resume(server);
    server->handled = false;
    ml_conn_resume_paused(server);
    server->more = server->more || server->handled; /* what came too late to be written now */
    if (server->subscriptions != NULL) ml_push_serve(server);
    ml_projections_turn(server);
    ml_process_flush_all(server);
    ml_conn_flush_dirty(server);
    if (!server->ready && ml_rules_ready(server)) say_ready(server);
    if (server->options->client >= 0 && !server->draining) check_command(server);
    if (server->draining && !server->stopped && drained(server) && ml_projections_ended(server)) stop(server);
    if (server->stopped) return;
    if (server->more || ml_store_get_work(server->store) == ML_STORE_STAGED) uv_idle_start(&server->busy, keep_turning);
    else uv_idle_stop(&server->busy);
}

/* ---- each second ------------------------------------------------------------------------------ */

static void each_second(uv_timer_t *timer)
{
    ml_server *server = timer->data;
    ml_access_each_second(server);
    ml_conn_accept_again(server);
    ml_push_checkpoints(server);
    ml_projections_each_second(server);
    /* Idle for a second: the watermark goes to the disk, too. The loop does not wait for it. */
    if (server->appended == server->idle_since) ML_IGNORE(ml_store_rest(server->store));
    server->idle_since = server->appended;
    if (server->draining && !server->stopped) stop(server);
}

/* ---- stopping ----------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle)) uv_close(handle, NULL);
}

static void stop(ml_server *server)
{
    server->stopped = true;
    /* What the flusher still has is answered now: it may not wake a loop that is gone. */
    if (server->store != NULL) ML_IGNORE(ml_settle(server->store, true));
    ml_process_stop_all(server);
    ml_commands_resume(server);
    ml_conn_flush_dirty(server);
    while (server->conns != NULL) ml_conn_close(server->conns);
    ml_conn_resume_paused(server); /* none of them: it forgets them */
    ml_access_tell(server);
    uv_idle_stop(&server->busy);
    uv_walk(&server->loop, close_handle, NULL);
}

static void drain(ml_server *server)
{
    if (server->draining) return;
    server->draining = true;
    if (server->options->client < 0)
        ml_say(server, "info", "stopping: %zu connections, appends under way are finished first", server->conn_count);
    uv_close((uv_handle_t *)&server->unix_socket, NULL);
    for (size_t n = 0; n < server->tcp_count; n++) uv_close((uv_handle_t *)&server->tcp[n], NULL);
    uv_timer_start(&server->clock, each_second, DRAIN_MS, 0);
    ml_workers_drain(server);
    ml_projections_drain(server);
    ml_whatifs_end(server, NULL, ML_SHUTTING_DOWN, "the daemon is stopping; ask when it is back");
}

static void on_stop(uv_signal_t *handle, int number)
{
    (void)number;
    drain(handle->data);
}

/* Whoever rotates messages has moved the file away. Without a file the descriptor is the
 * supervisor's, and goes on. */
static void on_hangup(uv_signal_t *handle, int number)
{
    ml_server *server = handle->data;
    ml_error why;
    (void)number;
    if (ml_say_open(server, &why)) ml_say(server, "error", "hangup: messages go on here: %s", why.sentence);
    else ml_say(server, "info", "hangup: messages go on");
}

/* ---- listening ------------------------------------------------------------------------------------ */

static ml_code refuse_uv(ml_error *why, int failed, const char *what, const char *where)
{
    return ml_error_set(why, failed == UV_EACCES ? ML_FORBIDDEN : ML_IO, "%s %s: %s", what, where, uv_strerror(failed));
}

static ml_code listen_unix(ml_server *server, ml_error *why)
{
    ml_code code = ml_check_socket(server->options->dir, why);
    if (code && server->options->client >= 0) return ML_OK; /* its command needs no path */
    if (code) return code;
    snprintf(server->socket_path, sizeof server->socket_path, "%s/moonlog.sock", server->options->dir);
    /* The store's lock is ours, so whatever is there was left by a daemon that is gone. */
    unlink(server->socket_path);
    mode_t mask = umask(0117);
    int failed = uv_pipe_bind(&server->unix_socket, server->socket_path);
    umask(mask);
    if (!failed) failed = uv_listen((uv_stream_t *)&server->unix_socket, 511, ml_conn_accept);
    return failed ? refuse_uv(why, failed, "listen on", server->socket_path) : ML_OK;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* "tcp:HOST:PORT", HOST a number; [HOST] for IPv6. */
static ml_code parse_address(const char *text, struct sockaddr_storage *address, ml_error *why)
{
    char host[64] = "";
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : -1;
    bool good = strncmp(text, "tcp:", 4) == 0 && colon > text + 3 && end != NULL && *end == '\0' && port >= 0 && port < 65536 &&
                colon[1] != '\0' && (size_t)(colon - text - 4) < sizeof host;
    if (good) {
        size_t size = (size_t)(colon - text - 4);
        memcpy(host, text + 4, size);
        host[size] = '\0';
        bool brackets = size > 2 && host[0] == '[' && host[size - 1] == ']';
        if (brackets) host[size - 1] = '\0';
        const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host + brackets;
        good = uv_ip4_addr(name, (int)port, (struct sockaddr_in *)address) == 0 ||
               uv_ip6_addr(name, (int)port, (struct sockaddr_in6 *)address) == 0;
    }
    if (good) return ML_OK;
    return ml_error_set(why, ML_BAD_REQUEST, "%s is no address; write tcp:127.0.0.1:7070", text);
}

static ml_code check_address(const char *text, bool token, struct sockaddr_storage *address, ml_error *why)
{
    ml_code code = parse_address(text, address, why);
    if (code || token || is_loopback(address)) return code;
    return ml_error_set(why, ML_FORBIDDEN,
                        "%s can be reached from other machines; give a token file, or listen on 127.0.0.1", text);
}

ml_code ml_server_check_address(const char *text, bool token, ml_error *why)
{
    struct sockaddr_storage unused;
    return check_address(text, token, &unused, why);
}

static ml_code listen_tcp(ml_server *server, const char *text, ml_error *why)
{
    struct sockaddr_storage address;
    ml_code code = check_address(text, server->options->token != NULL, &address, why);
    if (code) return code;
    if (server->tcp_count == sizeof server->tcp / sizeof *server->tcp)
        return ml_error_set(why, ML_LIMIT, "more than %zu TCP addresses", server->tcp_count);
    uv_tcp_t *tcp = &server->tcp[server->tcp_count++];
    uv_tcp_init(&server->loop, tcp);
    tcp->data = server;
    int failed = uv_tcp_bind(tcp, (struct sockaddr *)&address, 0);
    if (!failed) failed = uv_listen((uv_stream_t *)tcp, 511, ml_conn_accept);
    return failed ? refuse_uv(why, failed, "listen on", text) : ML_OK;
}

/* ---- beginning --------------------------------------------------------------------------------------- */

static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* fewer connections if it may not be raised */
}

static ml_code allocate(ml_server *server, ml_error *why)
{
    server->scratch = malloc(READ_BYTES);
    server->drafts = calloc(ML_APPEND_EVENTS_MAX, sizeof *server->drafts);
    server->writes = calloc(ML_APPEND_EVENTS_MAX, sizeof *server->writes);
    server->tags = calloc((size_t)ML_APPEND_EVENTS_MAX * ML_TAGS_MAX, sizeof *server->tags);
    server->ids = calloc(ML_APPEND_EVENTS_MAX, sizeof *server->ids);
    if (server->scratch && server->drafts && server->writes && server->tags && server->ids) return ML_OK;
    return ml_error_memory(why, "the daemon");
}

static void begin_handles(ml_server *server)
{
    uv_async_init(&server->loop, &server->woken, woken);
    uv_prepare_init(&server->loop, &server->turn);
    uv_idle_init(&server->loop, &server->busy);
    uv_timer_init(&server->loop, &server->clock);
    uv_timer_init(&server->loop, &server->watching);
    uv_signal_init(&server->loop, &server->term);
    uv_signal_init(&server->loop, &server->interrupt);
    uv_signal_init(&server->loop, &server->hangup);
    uv_pipe_init(&server->loop, &server->unix_socket, 0);
    server->turn.data = server->clock.data = server->term.data = server->interrupt.data = server;
    server->hangup.data = server->unix_socket.data = server;
    uv_prepare_start(&server->turn, turn);
    uv_timer_start(&server->clock, each_second, 1000, 1000);
    uv_signal_start(&server->term, on_stop, SIGTERM);
    uv_signal_start(&server->interrupt, on_stop, SIGINT);
    uv_signal_start(&server->hangup, on_hangup, SIGHUP);
}

static ml_code begin_clients(ml_server *server, ml_error *why)
{
    int file = server->options->client;
    if (file >= 0) server->command = ml_conn_adopt(server, file);
    if (file >= 0 && server->command == NULL) return ml_error_set(why, ML_IO, "the command's socket cannot be used");
    ml_code code = server->options->read_only ? ML_OK : listen_unix(server, why);
    const char *const *address = server->options->listen;
    for (; !code && address != NULL && *address != NULL; address++) code = listen_tcp(server, *address, why);
    return code;
}

/* sd_notify(3): one datagram to the supervisor's socket, if there is one. */
static void notify_supervisor(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || strlen(path) >= sizeof address.sun_path) return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@') address.sun_path[0] = '\0';
    int file = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (file < 0) return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    ssize_t sent = sendto(file, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
    (void)sent; /* nobody to tell if it is not heard */
    close(file);
}

/* The address that is bound: of port 0 the system has made another. */
static void print_bound(ml_buf *line, const uv_tcp_t *tcp)
{
    struct sockaddr_storage address;
    char host[64] = "?";
    int size = sizeof address, failed = uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &size);
    bool six = !failed && address.ss_family == AF_INET6;
    in_port_t port = failed ? 0
                     : six  ? ((struct sockaddr_in6 *)&address)->sin6_port
                            : ((struct sockaddr_in *)&address)->sin_port;
    if (six) uv_ip6_name((struct sockaddr_in6 *)&address, host, sizeof host);
    else if (!failed) uv_ip4_name((struct sockaddr_in *)&address, host, sizeof host);
    ml_buf_print(line, six ? " tcp:[%s]:%u" : " tcp:%s:%u", host, ntohs(port));
}

/* "ready SOCKET [tcp:HOST:PORT …] pid N" */
static void say_ready(ml_server *server)
{
    ml_buf line = {0};
    server->ready = true;
    if (server->options->client >= 0) return;
    ml_buf_print(&line, "ready %s/moonlog.sock", server->directory);
    for (size_t n = 0; n < server->tcp_count; n++) print_bound(&line, &server->tcp[n]);
    ml_buf_print(&line, " pid %d\n", (int)getpid());
    int file = server->options->ready >= 0 ? server->options->ready : STDOUT_FILENO;
    if (!line.failed) ML_IGNORE(write(file, line.data, line.size) < 0); /* who does not read it can still connect */
    ml_buf_free(&line);
    notify_supervisor("READY=1");
}

static ml_code open_store(ml_server *server, ml_error *why)
{
    ml_options options = {.notify = wake, .notify_context = server, .inline_us = INLINE_US,
                          .must_exist = server->options->must_exist, .read_only = server->options->read_only};
    ml_stats stats;
    ml_code code = ml_open(&server->store, server->options->dir, &options);
    if (code == ML_OK) code = ml_get_stats(server->store, &stats);
    if (code == ML_OK && stats.damaged) snprintf(server->damage, sizeof server->damage, "%s", ml_why(server->store));
    if (code) return ml_error_retell(why, code, ml_why(server->store));
    /* Who reads it need not know where we were started. */
    server->directory = realpath(server->options->dir, NULL);
    if (server->directory == NULL) server->directory = strdup(server->options->dir);
    return server->directory != NULL ? ML_OK : ml_error_memory(why, "the directory's name");
}

static void free_server(ml_server *server)
{
    ml_signals_free(server);
    ml_process_free_all(server);
    ml_projections_free(server);
    ml_workers_free(server);
    ml_commands_free(server);
    ml_rules_free(server);
    free(server->scratch);
    free(server->drafts);
    free(server->writes);
    free(server->tags);
    free(server->ids);
    free(server->directory);
    free(server);
}

/* The loop runs for a fraction of a millisecond at a time and then waits; the threads behind it
 * fill files with zeros and hash them. Asking for short turns (Linux 6.12; older ones ignore it)
 * lets it have the processor back at once, and not when they have had their 3 ms. */
static void ask_for_short_turns(void)
{
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime_ns, deadline_ns, period_ns;
    } wanted = {.size = sizeof wanted, .policy = SCHED_OTHER, .runtime_ns = 100000};
    wanted.flags = 1; /* SCHED_FLAG_RESET_ON_FORK: threads to come are as others */
    if (sched_getscheduler(0) != SCHED_OTHER) return; /* somebody has chosen another way */
    errno = 0;
    wanted.nice = getpriority(PRIO_PROCESS, 0);
    if (errno == 0) ML_IGNORE(syscall(SYS_sched_setattr, 0, &wanted, 0) < 0);
}

ml_code ml_server_run(const ml_server_options *options, ml_error *why)
{
    ml_server *server = calloc(1, sizeof *server);
    if (server == NULL) return ml_error_memory(why, "the daemon");
    server->options = options;
    server->said = STDERR_FILENO;
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    ask_for_short_turns();
    ml_code code = ml_say_open(server, why);
    if (!code) code = allocate(server, why);
    ml_access_begin(server);
    uv_loop_init(&server->loop);
    begin_handles(server);
    if (!code) code = open_store(server, why);
    if (!code) code = ml_workers_begin(server, why);
    if (!code) code = ml_commands_begin(server, why);
    if (!code) code = ml_rules_begin(server, why);
    if (!code) code = ml_projections_begin(server, why);
    if (!code) code = begin_clients(server, why);
    server->started = uv_now(&server->loop);
    if (code) stop(server);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    if (options->client < 0) notify_supervisor("STOPPING=1");
    if (server->socket_path[0] != '\0' && !code) unlink(server->socket_path);
    if (server->store != NULL) {
        ml_code closed = ml_close(server->store);
        if (!code && closed) code = ml_error_set(why, closed, "the store could not be closed cleanly");
    }
    uv_loop_close(&server->loop);
    ml_say_close(server);
    free_server(server);
    return code;
}
