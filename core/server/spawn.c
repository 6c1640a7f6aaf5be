/* spawn.c -- a process is born: with a page that both see, one end of a socket pair, and nothing
 * else of ours. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "process.h"

extern char **environ;

enum { ENVIRONMENT_MAX = 16 };

bool ml_spawn_page(ml_process *process)
{
    if (process->page != NULL) {
        memset(process->page, 0, sizeof *process->page);
        return true;
    }
    int file = memfd_create("moonlog worker", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) return false;
    void *page = MAP_FAILED;
    if (ftruncate(file, sizeof *process->page) == 0 &&
        fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        page = mmap(NULL, sizeof *process->page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED) {
        close(file);
        return false;
    }
    process->page = page;
    process->page_file = file;
    return true;
}

/* A worker gets nothing of our environment but what sanitizers are told. */
static void pick_environment(char *words[ENVIRONMENT_MAX])
{
    size_t count = 0;
    for (char **at = environ; *at != NULL && count + 1 < ENVIRONMENT_MAX; at++) {
        const char *equals = strchr(*at, '=');
        if (equals == NULL) continue;
        if (equals - *at >= 11 && strncmp(equals - 11, "SAN_OPTIONS", 11) == 0)
            words[count++] = *at;
    }
    words[count] = NULL;
}

int ml_spawn_worker(ml_process *process, int theirs, uv_exit_cb after_exit)
{
    ml_server *server = process->server;
    const char *words[] = {"moonlog",           "worker", "--data", server->options->dir,
                           process->kind->role, NULL};
    char *environment[ENVIRONMENT_MAX];
    uv_stdio_container_t files[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_IGNORE},
        /* A command waits for the end of its daemon's stderr, which is not to be that of the last
           worker. */
        {.flags = server->options->client >= 0 ? UV_IGNORE : UV_INHERIT_FD,
         .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = theirs},
        {.flags = UV_INHERIT_FD, .data.fd = process->page_file},
    };
    uv_process_options_t options = {.exit_cb = after_exit,
                                    .file = "/proc/self/exe",
                                    .args = (char **)(uintptr_t)words,
                                    .env = environment,
                                    .stdio = files,
                                    .stdio_count = sizeof files / sizeof *files};
    pick_environment(environment);
    int failed = uv_spawn(&server->loop, &process->child, &options);
    process->child.data = process;
    close(theirs);
    return failed;
}
