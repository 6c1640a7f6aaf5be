/* kept.c -- see kept.h. */
#include "kept.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../base/disk.h"

enum { PATH = 4096 + 64, DIGITS_MAX = 19 };

static void path_of(const char *dir, uint64_t at, char path[PATH])
{
    snprintf(path, PATH, "%s/kept/%" PRIu64, dir, at);
}

/* ---- which there are -------------------------------------------------------------------- */

/* False: it is no position. */
static bool read_name(const char *name, uint64_t *at)
{
    size_t size = strspn(name, "0123456789");
    *at = strtoull(name, NULL, 10);
    return size > 0 && size <= DIGITS_MAX && name[size] == '\0' && name[0] != '0';
}

/* The newest, if there are too many. */
static void insert(ml_kept *kept, uint64_t at)
{
    size_t n = kept->count;
    if (n > ML_KEPT_MAX) {
        if (at < kept->at[0]) return;
        memmove(kept->at, kept->at + 1, ML_KEPT_MAX * sizeof *kept->at);
        n = --kept->count;
    }
    for (; n > 0 && kept->at[n - 1] > at; n--)
        kept->at[n] = kept->at[n - 1];
    kept->at[n] = at;
    kept->count++;
}

void ml_kept_list(const char *dir, ml_kept *kept)
{
    ml_disk *disk;
    ml_disk_names names;
    uint64_t at;
    *kept = (ml_kept){.count = 0};
    if (ml_disk_real_new(dir, false, &disk, NULL)) return;
    if (ml_disk_list(disk, "kept", "", &names, NULL) == ML_OK) {
        for (size_t n = 0; n < names.count; n++)
            if (read_name(names.names[n], &at)) insert(kept, at);
        ml_disk_names_free(&names);
    }
    ml_disk_free(disk);
}

/* ---- changing that ---------------------------------------------------------------------- */

/* In a whole of 1, how far apart its neighbours are is held against how long ago the earlier is. */
size_t ml_kept_spare(const ml_kept *kept)
{
    size_t spare = 0;
    double least = 2;
    uint64_t newest = kept->at[kept->count - 1];
    ML_ASSERT(kept->count >= 3);
    for (size_t n = 0; n + 2 < kept->count; n++) {
        uint64_t before = n > 0 ? kept->at[n - 1] : 0;
        double part = (double)(kept->at[n + 1] - before) / (double)(newest - before);
        if (part < least) spare = n, least = part;
    }
    return spare;
}

void ml_kept_remove(const char *dir, uint64_t at)
{
    char path[PATH];
    path_of(dir, at, path);
    ML_IGNORE(ml_view_discard(path, NULL)); /* it is tried again with the next one */
    snprintf(path, sizeof path, "%s/kept", dir);
    ML_IGNORE(rmdir(path) != 0); /* there are others */
}

/* There are several too many where a process was killed before it came to this. */
static void thin_out(const char *dir)
{
    ml_kept kept;
    for (int n = 0; n < ML_KEPT_MAX; n++) {
        ml_kept_list(dir, &kept);
        if (kept.count <= ML_KEPT_MAX) return;
        ml_kept_remove(dir, kept.at[ml_kept_spare(&kept)]);
    }
}

static ml_code adopt(ml_disk *disk, uint64_t at, ml_error *why)
{
    char name[32];
    snprintf(name, sizeof name, "kept/%" PRIu64, at);
    return ml_disk_adopt(disk, "kept/new", name, "kept", why);
}

ml_code ml_kept_add(const char *dir, const ml_view *view, ml_error *why)
{
    ml_disk *disk;
    ml_view_stats stats;
    char aside[PATH];
    snprintf(aside, sizeof aside, "%s/kept/new", dir);
    ml_view_get_stats(view, &stats);
    ml_code code = ml_disk_real_new(dir, false, &disk, why);
    if (code) return code;
    int made = disk->ops->make_dir(disk, "kept");
    if (made == 0) made = disk->ops->sync_dir(disk, ".");
    if (made < 0) code = ml_error_disk(why, made, "mkdir kept in", dir);
    if (!code) code = ml_view_discard(aside, why);
    if (!code) code = ml_view_keep(view, aside, why);
    if (!code) code = adopt(disk, stats.position, why);
    ml_disk_free(disk);
    if (code)
        ML_IGNORE(ml_view_discard(aside, NULL)); /* it goes with the next one */
    else
        thin_out(dir);
    return code;
}

ml_code ml_kept_restore(const char *dir, uint64_t at, const char *to, ml_error *why)
{
    char path[PATH];
    path_of(dir, at, path);
    return ml_view_restore(path, to, why);
}
