/* repl_watch.c -- tells when a file of a directory of rules was written to its end, came, or went.
 *
 * inotify says that a writer has closed a file, so half of a file is never looked at; the loop
 * then waits until the folder is quiet, because an editor, or a checkout, touches several.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "repl.h"

enum {
    PATH_BYTES = 4096,
    DEPTH_MAX = 8, /* folders in folders, as in pack_dir.c */
    MASK = IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ONLYDIR
};

/* Watches a folder and those in it; watching again what is watched changes nothing. False if it is
 * no folder, or is gone: its parent tells that. */
static bool add_folders(const ml_repl_watch *watch, const char *path, int depth)
{
    char below[PATH_BYTES];
    if (inotify_add_watch(watch->file, path, MASK) < 0) return false;
    DIR *folder = depth < DEPTH_MAX ? opendir(path) : NULL;
    for (const struct dirent *one; folder != NULL && (one = readdir(folder)) != NULL;) {
        bool maybe = one->d_name[0] != '.' && (one->d_type == DT_DIR || one->d_type == DT_UNKNOWN);
        if (maybe && snprintf(below, sizeof below, "%s/%s", path, one->d_name) < PATH_BYTES)
            ML_IGNORE(!add_folders(watch, below, depth + 1));
    }
    if (folder != NULL) closedir(folder);
    return true;
}

ml_code ml_repl_watch_open(ml_repl_watch *watch, const char *dir, ml_error *why)
{
    *watch = (ml_repl_watch){.dir = dir};
    watch->file = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch->file < 0) return ml_error_disk(why, -errno, "watch", dir);
    if (add_folders(watch, dir, 0)) return ML_OK;
    int failed = errno;
    ml_repl_watch_close(watch);
    return ml_error_disk(why, -failed, "watch", dir);
}

/* A file that only came into being is told again when it is closed. */
static bool matters(const struct inotify_event *event)
{
    return (event->mask & IN_CREATE) == 0 || (event->mask & IN_ISDIR) != 0;
}

void ml_repl_watch_take(ml_repl_watch *watch)
{
    _Alignas(struct inotify_event) char events[4096];
    ssize_t size;
    bool folders = false;
    while ((size = read(watch->file, events, sizeof events)) > 0) {
        for (const char *at = events; at < events + size;) {
            const struct inotify_event *event = (const void *)at;
            watch->changed = watch->changed || matters(event);
            folders = folders || (event->mask & (IN_ISDIR | IN_Q_OVERFLOW)) != 0;
            at += sizeof *event + event->len;
        }
    }
    if (folders)
        ML_IGNORE(!add_folders(watch, watch->dir, 0)); /* loading will say that it is gone */
}

void ml_repl_watch_close(ml_repl_watch *watch)
{
    if (watch->file >= 0) close(watch->file);
    watch->file = -1;
}
