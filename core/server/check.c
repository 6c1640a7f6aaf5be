/* check.c -- would a daemon begin here? Asked without beginning one. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../base/disk.h"
#include "inside.h"

static bool exists(const char *path)
{
    struct stat about;
    return lstat(path, &about) == 0;
}

/* What is there is opened as who reads beside a daemon does. */
static ml_code check_store(const char *dir, ml_error *why)
{
    ml_options options = {.read_only = true};
    ml_store *store;
    if (access(dir, W_OK | X_OK) != 0) return ml_error_disk(why, -errno, "write in", dir);
    ml_code code = ml_open(&store, dir, &options);
    if (code == ML_NOT_FOUND) code = ML_OK; /* an empty directory becomes a store */
    if (code) code = ml_error_retell(why, code, ml_why(store));
    ML_IGNORE(ml_close(store)); /* it has written nothing */
    return code;
}

static ml_code check_directory(const char *dir, ml_error *why)
{
    ml_disk *disk;
    bool there = exists(dir);
    ml_code code = ml_disk_real_new(dir, true, &disk, why); /* only making it tells for sure */
    if (code) return code;
    ml_disk_free(disk);
    if (there) return check_store(dir, why);
    ML_IGNORE(rmdir(dir) != 0); /* not empty: somebody else has begun a store just now */
    return ML_OK;
}

static ml_code check_messages(const char *path, ml_error *why)
{
    bool there = exists(path);
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0640);
    if (file < 0) return ml_error_disk(why, -errno, "open", path);
    close(file);
    if (!there) ML_IGNORE(unlink(path) != 0);
    return ML_OK;
}

ml_code ml_server_check(const char *dir, const char *messages_file, ml_error *why)
{
    ml_code code = ml_check_socket(dir, why);
    if (!code) code = check_directory(dir, why);
    if (!code && messages_file != NULL) code = check_messages(messages_file, why);
    return code;
}

ml_code ml_check_socket(const char *dir, ml_error *why)
{
    size_t room = sizeof((struct sockaddr_un *)0)->sun_path - sizeof "/moonlog.sock";
    if (strlen(dir) <= room) return ML_OK;
    return ml_error_set(why, ML_BAD_REQUEST,
                        "the path %s/moonlog.sock is too long for a unix socket; use a shorter "
                        "directory",
                        dir);
}
