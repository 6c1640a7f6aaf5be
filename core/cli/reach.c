/* reach.c -- see reach.h. */
#include "reach.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum {
    PATIENCE_SECONDS = 1, /* for a daemon that is just stopping, or just beginning */
    WAIT_SECONDS = 5,     /* to write, for a program that does so: --wait */
    WAIT_SECONDS_MAX = 86400,
    PAUSE_MS = 10,
    PAUSE_MS_MAX = 100,
    FD_SAFE = 10 /* above those that a child gets */
};

/* ---- the token ------------------------------------------------------------------------- */

ml_code ml_reach_token(const char *path, char token[ML_REACH_TOKEN_MAX], ml_error *why)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return ml_error_disk(why, -errno, "open", path);
    char *line = fgets(token, ML_REACH_TOKEN_MAX, file);
    fclose(file);
    size_t size = line == NULL ? 0 : strcspn(token, "\r\n");
    if (size < 16)
        return ml_error_set(why, ML_BAD_REQUEST,
                            "the first line of %.512s has fewer than 16 characters; make a token "
                            "with `openssl rand -hex 16`",
                            path);
    token[size] = '\0';
    return ML_OK;
}

void ml_reach_warn(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0 || !S_ISREG(about.st_mode)) return;
    if ((about.st_mode & S_IROTH) == 0) return;
    ml_buf line = {0};
    ml_buf_print(&line, "moonlog: warning: everyone on this machine can read the token in ");
    ml_cli_plain(&line, ml_cli_text(path));
    ml_buf_print(&line, "; chmod 600 it\n");
    ML_IGNORE(write(STDERR_FILENO, line.data, line.size) < 0); /* nowhere else to say it */
    ml_buf_free(&line);
}

/* *token is NULL if none was given. */
static ml_code find_token(const ml_cli *cli, char space[ML_REACH_TOKEN_MAX], const char **token,
                          ml_error *why)
{
    const char *path = ml_options_get(cli, "token-file"), *said = getenv("MOONLOG_TOKEN");
    *token = said != NULL && said[0] != '\0' ? said : NULL;
    if (path == NULL) return ML_OK;
    *token = space;
    ml_reach_warn(path);
    return ml_reach_token(path, space, why);
}

/* ---- a daemon of our own --------------------------------------------------------------- */

/* A daemon's stdin and stdout are nothing, its stderr and its first client are ours. */
static int spawn(const char *dir, const char *how, int said, int served)
{
    const char *words[] = {"moonlog", "serve", "--data", dir, "--for-command", how, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t about;
    pid_t pid;
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&about);
    /* A session of its own: Ctrl-C is for the verb, which ends its daemon in order. */
    posix_spawnattr_setflags(&about, POSIX_SPAWN_SETSID);
    int failed = posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    if (!failed)
        failed = posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_RDWR, 0);
    if (!failed) failed = posix_spawn_file_actions_adddup2(&files, said, STDERR_FILENO);
    if (!failed) failed = posix_spawn_file_actions_adddup2(&files, served, ML_REACH_FD);
    if (!failed)
        failed = posix_spawn(&pid, "/proc/self/exe", &files, &about,
                             (char *const *)(uintptr_t)words, environ);
    posix_spawnattr_destroy(&about);
    posix_spawn_file_actions_destroy(&files);
    return failed;
}

/* Moves a descriptor out of the way of those that the child gets. */
static int keep_above(int file)
{
    int moved = file < 0 ? -1 : fcntl(file, F_DUPFD_CLOEXEC, FD_SAFE);
    if (file >= 0) close(file);
    return moved;
}

static void close_if(int file)
{
    if (file >= 0) close(file);
}

static ml_code start(ml_client *client, const char *dir, ml_reach_how how)
{
    static const char *const words[] = {"read", "use", "use", "write"};
    int pair[2] = {-1, -1}, said[2] = {-1, -1};
    int failed =
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || pipe2(said, O_CLOEXEC) != 0
            ? errno
            : 0;
    for (int n = 0; n < 2; n++) {
        pair[n] = keep_above(pair[n]);
        said[n] = keep_above(said[n]);
        if (!failed && (pair[n] < 0 || said[n] < 0)) failed = errno;
    }
    if (!failed) failed = spawn(dir, words[how], said[1], pair[1]);
    close_if(pair[1]);
    close_if(said[1]);
    if (!failed) {
        ml_client_take(client, pair[0], said[0]);
        return ML_OK;
    }
    close_if(pair[0]);
    close_if(said[0]);
    return ml_error_set(&client->why, ML_IO, "a daemon could not be started: %s", strerror(failed));
}

/* ---- reaching -------------------------------------------------------------------------- */

/* Greets who answers; closes the client if that fails. */
static ml_code greet(ml_client *client, bool maps, const char *token)
{
    ml_code code = ml_client_hello(client, maps, token);
    if (code) ml_client_close(client);
    return code;
}

/* Whoever owns the directory, if he can be talked to. */
static bool join(ml_client *client, const char *dir, bool maps)
{
    char uri[sizeof "unix:/moonlog.sock" + 4096];
    int size = snprintf(uri, sizeof uri, "unix:%s/moonlog.sock", dir);
    if (size >= (int)sizeof uri) return false;
    return ml_client_connect(client, uri) == ML_OK && greet(client, maps, NULL) == ML_OK;
}

/* Longer each time: whoever did not answer soon may take long. */
static void pause_shortly(long *ms)
{
    struct timespec time = {.tv_nsec = *ms * 1000000L};
    ML_IGNORE(nanosleep(&time, NULL) != 0); /* woken early, it only looks sooner */
    *ms = *ms * 2 < PAUSE_MS_MAX ? *ms * 2 : PAUSE_MS_MAX;
}

static ml_code join_or_start(const ml_cli *cli, ml_reach_how how, bool maps, uint64_t wait,
                             ml_client *client)
{
    double end = ml_cli_seconds() + (double)wait;
    for (long pause = PAUSE_MS;;) {
        if (join(client, cli->data, maps)) return ML_OK;
        ml_code code = start(client, cli->data, how);
        if (!code) code = greet(client, maps, NULL);
        if (code != ML_LOCKED) return code;
        /* Someone owns the directory and does not answer: a daemon that is about to, or about
         * to stop; or a program that has it open itself, and may have it for long. */
        if (how == ML_REACH_FOLLOW && ml_cli_seconds() > end)
            how = ML_REACH_READ;
        else if (ml_cli_seconds() > end)
            return code;
        pause_shortly(&pause);
    }
}

static ml_code reach(const ml_cli *cli, ml_reach_how how, bool maps, uint64_t wait,
                     ml_client *client)
{
    char space[ML_REACH_TOKEN_MAX];
    const char *token;
    if (cli->connect == NULL) return join_or_start(cli, how, maps, wait, client);
    ml_code code = find_token(cli, space, &token, &client->why);
    if (!code) code = ml_client_connect(client, cli->connect);
    return code ? code : greet(client, maps, token);
}

bool ml_reach_open(const ml_cli *cli, ml_reach_how how, bool maps, ml_client *client, int *status)
{
    uint64_t wait = how == ML_REACH_WRITE ? WAIT_SECONDS : PATIENCE_SECONDS;
    if (how == ML_REACH_WRITE && !ml_options_natural(cli, "wait", 0, WAIT_SECONDS_MAX, &wait)) {
        *status = ML_EXIT_USAGE;
        return false;
    }
    ml_code code = reach(cli, how, maps, wait, client);
    if (code == ML_OK) return true;
    bool none = code == ML_NOT_FOUND && cli->connect == NULL; /* our own daemon must find one */
    *status = none && how != ML_REACH_WRITE ? ml_cli_no_store(cli) : ml_reach_fail(cli, client);
    return false;
}

int ml_reach_fail(const ml_cli *cli, const ml_client *client)
{
    return ml_cli_fail(cli, client->why.code, client->why.sentence);
}

int ml_reach_close(const ml_cli *cli, ml_client *client, int status)
{
    /* Once it has closed its stderr, it has closed its store or lives on for others. */
    bool failed = false;
    if (client->messages >= 0) {
        shutdown(client->file, SHUT_RDWR);
        failed = ml_client_last_words(client);
    }
    if (failed && status == ML_EXIT_OK) status = ml_reach_fail(cli, client);
    ml_client_close(client);
    return status;
}
