/* daemon.c -- fork, exec, the line that says ready, and /proc. */
#include "daemon.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY_MS = 60000, STOP_MS = 60000 }; /* sanitizers are slow, and some disks */

/* A port that was free just now. */
static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int file = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool good = file >= 0 && bind(file, (struct sockaddr *)&address, size) == 0 &&
                getsockname(file, (struct sockaddr *)&address, &size) == 0;
    if (file >= 0) close(file);
    return good ? ntohs(address.sin_port) : 0;
}

void ml_daemon_place(ml_daemon *daemon, const char *program, const char *root)
{
    *daemon = (ml_daemon){.program = program, .out = -1, .port = free_port()};
    snprintf(daemon->data, sizeof daemon->data, "%.64s/data", root);
    snprintf(daemon->socket, sizeof daemon->socket, "%.64s/data/moonlog.sock", root);
    snprintf(daemon->messages, sizeof daemon->messages, "%.64s/messages", root);
}

/* ---- beginning ------------------------------------------------------------------------ */

_Noreturn static void become(const ml_daemon *daemon, int out)
{
    static const char *const ours[] = {"MOONLOG_DATA",       "MOONLOG_CONNECT",  "MOONLOG_LISTEN",
                                       "MOONLOG_TOKEN_FILE", "MOONLOG_MESSAGES", NULL};
    char listen[32];
    const char *words[6 + ML_DAEMON_ARGS + 1] = {daemon->program, "--data",   daemon->data,
                                                 "serve",         "--listen", listen};
    for (size_t n = 0; n < ML_DAEMON_ARGS && daemon->args[n] != NULL; n++)
        words[6 + n] = daemon->args[n];
    snprintf(listen, sizeof listen, "tcp:127.0.0.1:%d", daemon->port);
    for (const char *const *name = ours; *name != NULL; name++)
        unsetenv(*name);
    if (daemon->descriptors > 0) {
        struct rlimit limit = {daemon->descriptors, daemon->descriptors};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0) _exit(126);
    }
    int messages = open(daemon->messages, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (prctl(PR_SET_PDEATHSIG, (unsigned long)SIGKILL) != 0 || messages < 0 || dup2(out, 1) < 0 ||
        dup2(messages, 2) < 0)
        _exit(126);
    close(messages);
    execv(daemon->program, (char *const *)(uintptr_t)words);
    _exit(127);
}

bool ml_daemon_spawn(ml_daemon *daemon)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        snprintf(daemon->why, sizeof daemon->why, "pipe: %s", strerror(errno));
        return false;
    }
    pid_t pid = fork();
    if (pid == 0) become(daemon, ends[1]);
    close(ends[1]);
    daemon->out = ends[0];
    daemon->pid = pid > 0 ? pid : 0;
    if (pid < 0) snprintf(daemon->why, sizeof daemon->why, "fork: %s", strerror(errno));
    return pid > 0;
}

/* What it said last, on one line. */
static void last_words(ml_daemon *daemon, const char *what)
{
    char tail[400] = "";
    FILE *file = fopen(daemon->messages, "re");
    if (file != NULL && fseek(file, -(long)sizeof tail + 1, SEEK_END) != 0) rewind(file);
    size_t size = file != NULL ? fread(tail, 1, sizeof tail - 1, file) : 0;
    if (file != NULL) fclose(file);
    tail[size] = '\0';
    for (char *at = tail; *at != '\0'; at++)
        if (*at == '\n') *at = '|';
    snprintf(daemon->why, sizeof daemon->why, "%s; its last words: %s", what, tail);
}

/* Reads its stdout until a line or the end has come: 1 a line, 0 the end, -1 neither in time. */
static int await(const ml_daemon *daemon, int timeout_ms)
{
    char text[512];
    struct pollfd on = {.fd = daemon->out, .events = POLLIN};
    for (;;) {
        int ready = poll(&on, 1, timeout_ms);
        if (ready < 0 && errno == EINTR) continue;
        if (ready <= 0) return -1;
        ssize_t got = read(daemon->out, text, sizeof text);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return 0;
        if (text[got - 1] == '\n') return 1;
    }
}

bool ml_daemon_ready(ml_daemon *daemon)
{
    if (await(daemon, READY_MS) == 1) return true;
    last_words(daemon, "the daemon does not become ready");
    return false;
}

bool ml_daemon_start(ml_daemon *daemon)
{
    return ml_daemon_spawn(daemon) && ml_daemon_ready(daemon);
}

/* ---- ending --------------------------------------------------------------------------- */

static int reap(ml_daemon *daemon)
{
    int status = 0;
    while (waitpid(daemon->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    close(daemon->out);
    daemon->out = -1;
    daemon->pid = 0;
    return status;
}

void ml_daemon_kill(ml_daemon *daemon)
{
    if (daemon->pid == 0) return;
    kill(daemon->pid, SIGKILL);
    reap(daemon);
}

bool ml_daemon_stop(ml_daemon *daemon)
{
    char what[64];
    if (daemon->pid == 0) return true;
    kill(daemon->pid, SIGTERM);
    if (await(daemon, STOP_MS) != 0) {
        last_words(daemon, "the daemon does not end after SIGTERM");
        ml_daemon_kill(daemon);
        return false;
    }
    int status = reap(daemon);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    snprintf(what, sizeof what, "the daemon ended by %s %d", WIFEXITED(status) ? "exit" : "signal",
             WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    last_words(daemon, what);
    return false;
}

bool ml_daemon_alive(ml_daemon *daemon)
{
    siginfo_t about = {0};
    bool ended = waitid(P_PID, (id_t)daemon->pid, &about, WEXITED | WNOHANG | WNOWAIT) != 0 ||
                 about.si_pid != 0;
    if (ended) last_words(daemon, "the daemon ended by itself");
    return !ended;
}

bool ml_daemon_owns(const ml_daemon *daemon, uint64_t pid)
{
    char path[64], line[512] = "";
    int parent = 0;
    snprintf(path, sizeof path, "/proc/%" PRIu64 "/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) return false;
    if (fgets(line, sizeof line, file) == NULL) line[0] = '\0';
    fclose(file);
    const char *at = strrchr(line, ')');
    return at != NULL && sscanf(at + 1, " %*c %d", &parent) == 1 && parent == (int)daemon->pid;
}

/* ---- watching ------------------------------------------------------------------------- */

static FILE *open_proc(const ml_daemon *daemon, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)daemon->pid, name);
    return fopen(path, "re");
}

static uint64_t status_bytes(const ml_daemon *daemon, const char *name)
{
    char line[256];
    uint64_t kib = 0;
    FILE *file = open_proc(daemon, "status");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0) kib = strtoull(line + strlen(name), NULL, 10);
    if (file != NULL) fclose(file);
    return kib * 1024;
}

uint64_t ml_daemon_resident(const ml_daemon *daemon)
{
    return status_bytes(daemon, "VmRSS:");
}

uint64_t ml_daemon_private(const ml_daemon *daemon)
{
    return status_bytes(daemon, "RssAnon:");
}

uint64_t ml_daemon_peak(const ml_daemon *daemon)
{
    return status_bytes(daemon, "VmHWM:");
}

/* Fields 14 and 15 of /proc/PID/stat; the second field, the name, may hold spaces. */
uint64_t ml_daemon_busy(const ml_daemon *daemon)
{
    char line[1024] = "";
    uint64_t user = 0, system = 0;
    FILE *file = open_proc(daemon, "stat");
    if (file != NULL && fgets(line, sizeof line, file) == NULL) line[0] = '\0';
    if (file != NULL) fclose(file);
    const char *at = strrchr(line, ')');
    if (at == NULL ||
        sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &user,
               &system) != 2)
        return 0;
    return (user + system) * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}

unsigned ml_daemon_files(const ml_daemon *daemon)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)daemon->pid);
    DIR *folder = opendir(path);
    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL) closedir(folder);
    return count > 2 ? count - 2 : 0; /* . and .. */
}
