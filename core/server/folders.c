/* folders.c -- what lies below views/: which generation is live, and directories that are not
 * wanted.
 *
 *     views/balances/live         FOLDER POSITION\n  FOLDER\n      live, where it was; before
 *     views/balances/rows.sqlite  → FOLDER/rows.sqlite of the live one, if it has such a table
 *
 * Writing and removing are done by libuv's threads, one job after another: a disk that is slow, or
 * full, holds up nobody who appends.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "projections.h"

#define TABLE "rows.sqlite" /* of view/sql.h, in a generation's folder */

enum { DEPTH_MAX = 4 }; /* of directories in a view's: kept copies are one deeper */

typedef struct ml_folder_job {
    struct ml_folder_job *next;
    uv_work_t work;
    ml_server *server;
    int failed;                                /* errno */
    char text[2 * ML_PROJECTIONS_FOLDER + 32]; /* of `live`; "": the path is to be removed */
    char path[];
} folder_job;

void ml_folders_path(const ml_projected *p, const char *folder, char path[ML_PROJECTIONS_PATH])
{
    /* A name of dots alone is none that a directory can have. */
    snprintf(path, ML_PROJECTIONS_PATH, ML_PROJECTIONS_DIR "/%s%s%s%s",
             p->name[0] == '.' ? "@" : "", p->name, folder[0] != '\0' ? "/" : "", folder);
}

static int full_path(const ml_server *server, const char *below, char *path, size_t size)
{
    int used = snprintf(path, size, "%s/%s", server->options->dir, below);
    return used < 0 || (size_t)used >= size ? ENAMETOOLONG : 0;
}

/* ---- removing --------------------------------------------------------------------- */

static int remove_at(int parent, const char *name, int depth);

/* Takes over the descriptor. */
static int empty(int file, int depth)
{
    DIR *dir = fdopendir(file);
    int failed = 0;
    if (dir == NULL) {
        failed = errno;
        close(file);
        return failed;
    }
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        int one = remove_at(dirfd(dir), entry->d_name, depth);
        if (one && !failed) failed = one;
    }
    closedir(dir);
    return failed;
}

static int remove_at(int parent, const char *name, int depth)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT) return 0;
    if ((errno != EISDIR && errno != EPERM) || depth >= DEPTH_MAX) return errno;
    int file = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (file < 0) return errno;
    int failed = empty(file, depth + 1);
    if (unlinkat(parent, name, AT_REMOVEDIR) != 0 && !failed) failed = errno;
    return failed;
}

/* ---- writing ---------------------------------------------------------------------- */

static int sync_directory(const char *path)
{
    char dir[4096];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
    int file = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) return errno;
    int failed = fsync(file) == 0 ? 0 : errno;
    close(file);
    return failed;
}

static int write_live(const char *path, const char *text)
{
    char aside[4096];
    size_t size = strlen(text);
    if ((size_t)snprintf(aside, sizeof aside, "%s.new", path) >= sizeof aside) return ENAMETOOLONG;
    int file = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640), failed = 0;
    if (file < 0) return errno;
    ssize_t written = write(file, text, size);
    if (written != (ssize_t)size) failed = written < 0 ? errno : ENOSPC;
    if (!failed && fsync(file) != 0) failed = errno;
    close(file);
    if (!failed && rename(aside, path) != 0) failed = errno;
    return failed ? failed : sync_directory(path);
}

/* Who opens the table next has that of the generation that `text` says is live. */
static int link_table(const char *live_path, const char *text)
{
    char target[ML_PROJECTIONS_FOLDER + 16], path[4096], aside[4096];
    int folder = (int)strcspn(text, " "), dir = (int)(strrchr(live_path, '/') - live_path);
    snprintf(target, sizeof target, "%.*s/" TABLE, folder, text);
    int size = snprintf(path, sizeof path, "%.*s/%s", dir, live_path, target);
    if (size < 0 || (size_t)size >= sizeof path) return ENAMETOOLONG;
    bool there = access(path, F_OK) == 0;
    snprintf(path, sizeof path, "%.*s/" TABLE, dir, live_path);
    if (!there) return unlink(path) == 0 || errno == ENOENT ? 0 : errno;
    snprintf(aside, sizeof aside, "%.*s/" TABLE ".new", dir, live_path);
    ML_IGNORE(unlink(aside) != 0); /* what a killed daemon left */
    return symlink(target, aside) == 0 && rename(aside, path) == 0 ? 0 : errno;
}

/* ---- jobs ------------------------------------------------------------------------- */

static void work(uv_work_t *request)
{
    folder_job *job = request->data;
    bool write = job->text[0] != '\0';
    job->failed = write ? write_live(job->path, job->text) : remove_at(AT_FDCWD, job->path, 0);
    if (write && !job->failed) job->failed = link_table(job->path, job->text);
}

static void begin_next(ml_server *server);

static void worked(uv_work_t *request, int status)
{
    folder_job *job = request->data;
    ml_server *server = job->server;
    (void)status;
    if (job->failed)
        ml_say(server, "warning", "%s could not be %s: %s", job->path,
               job->text[0] != '\0' ? "written" : "removed", strerror(job->failed));
    server->projections->jobs = job->next;
    free(job);
    if (!server->stopped) begin_next(server);
}

static void begin_next(ml_server *server)
{
    folder_job *job = server->projections->jobs;
    if (job == NULL) return;
    job->work.data = job;
    if (uv_queue_work(&server->loop, &job->work, work, worked) == 0) return;
    server->projections->jobs = NULL; /* out of memory: at the next start it is found again */
    while (job != NULL) {
        folder_job *next = job->next;
        free(job);
        job = next;
    }
}

static void add(ml_server *server, const char *below, const char *text)
{
    char path[4096];
    struct ml_projections *all = server->projections;
    if (full_path(server, below, path, sizeof path)) return;
    folder_job *job = calloc(1, sizeof *job + strlen(path) + 1);
    if (job == NULL) return;
    job->server = server;
    memcpy(job->path, path, strlen(path) + 1);
    snprintf(job->text, sizeof job->text, "%s", text);
    bool idle = all->jobs == NULL;
    if (idle)
        all->jobs = job;
    else
        all->last_job->next = job;
    all->last_job = job;
    if (idle && !server->stopped) begin_next(server);
}

void ml_folders_remove(ml_server *server, const char *path)
{
    add(server, path, "");
}

void ml_folders_remove_now(ml_server *server, const char *path)
{
    char whole[4096];
    int failed = full_path(server, path, whole, sizeof whole);
    if (!failed) failed = remove_at(AT_FDCWD, whole, 0);
    if (failed) ml_say(server, "warning", "%s could not be removed: %s", path, strerror(failed));
}

bool ml_folders_removing(const ml_server *server, const char *path)
{
    char whole[4096];
    if (full_path(server, path, whole, sizeof whole)) return false;
    for (const folder_job *job = server->projections->jobs; job != NULL; job = job->next)
        if (job->text[0] == '\0' && strcmp(job->path, whole) == 0) return true;
    return false;
}

void ml_folders_write(ml_projected *p)
{
    char path[ML_PROJECTIONS_PATH], text[2 * ML_PROJECTIONS_FOLDER + 32];
    ml_folders_path(p, "live", path);
    snprintf(text, sizeof text, "%s %" PRIu64 "\n%s\n", p->live->folder, p->live->reached,
             p->before != NULL ? p->before->folder : "");
    add(p->server, path, text);
}

void ml_folders_end(ml_server *server)
{
    while (server->projections->jobs != NULL) {
        folder_job *job = server->projections->jobs;
        job->work.data = job;
        work(&job->work);
        worked(&job->work, 0);
    }
}

/* ---- reading ---------------------------------------------------------------------- */

void ml_folders_read(const ml_projected *p, ml_folder_live *live)
{
    char below[ML_PROJECTIONS_PATH], path[4096], text[128] = "";
    *live = (ml_folder_live){.position = 0};
    ml_folders_path(p, "live", below);
    if (full_path(p->server, below, path, sizeof path)) return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0 || text[size - 1] != '\n') return; /* not as we write it: nothing is live */
    _Static_assert(ML_PROJECTIONS_FOLDER == 24, "the widths below are one less");
    if (sscanf(text, "%23[0-9a-f.] %" SCNu64 " %23[0-9a-f.]", live->live, &live->position,
               live->before) < 2)
        live->live[0] = '\0';
}

static int make(const char *path)
{
    return mkdir(path, 0750) == 0 || errno == EEXIST ? 0 : errno;
}

ml_code ml_folders_make(const ml_server *server, const char *below, ml_error *why)
{
    char path[4096];
    int failed = full_path(server, ML_PROJECTIONS_DIR, path, sizeof path);
    if (!failed) failed = make(path);
    if (!failed) failed = full_path(server, below, path, sizeof path);
    if (!failed) failed = make(path);
    return failed ? ml_error_disk(why, -failed, "mkdir", path) : ML_OK;
}

bool ml_folders_barred(const ml_server *server, const char *below)
{
    char path[4096];
    struct stat found;
    return full_path(server, below, path, sizeof path) == 0 && lstat(path, &found) == 0 &&
           !S_ISDIR(found.st_mode);
}

void ml_folders_clean(ml_projected *p, const ml_folder_live *live, const char *other)
{
    char below[ML_PROJECTIONS_PATH], path[4096];
    ml_folders_path(p, "", below);
    if (full_path(p->server, below, path, sizeof path)) return;
    DIR *dir = opendir(path);
    if (dir == NULL) return;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        bool known = name[0] == '.' || strcmp(name, "live") == 0 || strcmp(name, TABLE) == 0 ||
                     strcmp(name, live->live) == 0 ||
                     strcmp(name, live->before) == 0 || strcmp(name, other) == 0;
        if (known || strlen(name) >= ML_PROJECTIONS_FOLDER + 8) continue;
        char whole[ML_PROJECTIONS_PATH];
        ml_folders_path(p, name, whole);
        ml_folders_remove(p->server, whole);
    }
    closedir(dir);
}
