/* pack_dir.c -- see pack_dir.h. */
#include "pack_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/pack.h"
#include "../base/unpack.h"

enum { DEPTH_MAX = 8, PATH_BYTES = 4096 };

typedef struct listing {
    const char *root;
    char *paths[ML_PACK_DIR_FILES_MAX];
    size_t count, bytes;
    ml_error *why;
} listing;

static bool ends_with(const char *name, const char *end)
{
    size_t size = strlen(name), tail = strlen(end);
    return size > tail && strcmp(name + size - tail, end) == 0;
}

static bool is_rule(const char *name)
{
    return ends_with(name, ".lua") && !ends_with(name, "_spec.lua");
}

static ml_code add_path(listing *l, const char *path)
{
    if (l->count == ML_PACK_DIR_FILES_MAX)
        return ml_error_set(l->why, ML_TOO_LARGE, "%.512s has more than %d rule files", l->root,
                            ML_PACK_DIR_FILES_MAX);
    l->paths[l->count] = strdup(path);
    return l->paths[l->count++] != NULL ? ML_OK : ml_error_memory(l->why, "names of files");
}

static ml_code list_dir(listing *l, const char *below, int depth);

static ml_code look_at(listing *l, const char *below, const char *name, int depth)
{
    char path[PATH_BYTES], whole[PATH_BYTES];
    struct stat about;
    int size = snprintf(path, sizeof path, "%s%s%s", below, below[0] != '\0' ? "/" : "", name);
    int all = snprintf(whole, sizeof whole, "%s/%s", l->root, path);
    if (size >= PATH_BYTES || all >= PATH_BYTES || stat(whole, &about) != 0)
        return ML_OK; /* gone by now */
    if (S_ISDIR(about.st_mode) && depth < DEPTH_MAX) return list_dir(l, path, depth + 1);
    return S_ISREG(about.st_mode) && is_rule(name) ? add_path(l, path) : ML_OK;
}

static ml_code list_dir(listing *l, const char *below, int depth)
{
    char whole[PATH_BYTES];
    if (snprintf(whole, sizeof whole, "%s/%s", l->root, below) >= PATH_BYTES) return ML_OK;
    DIR *dir = opendir(whole);
    if (dir == NULL && below[0] == '\0' && (errno == ENOENT || errno == ENOTDIR))
        return ml_error_set(l->why, ML_NOT_FOUND, "there is no directory %.512s with rules in it",
                            l->root);
    if (dir == NULL) return ml_error_disk(l->why, -errno, "open", whole);
    ml_code code = ML_OK;
    for (struct dirent *entry; !code && (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.') code = look_at(l, below, entry->d_name, depth);
    closedir(dir);
    return code;
}

/* A rule file, or lib/, makes a directory a pack. */
static bool is_pack(const char *path)
{
    bool found = false;
    DIR *dir = opendir(path);
    for (const struct dirent *one; dir != NULL && !found && (one = readdir(dir)) != NULL;)
        found = is_rule(one->d_name) || strcmp(one->d_name, "lib") == 0;
    if (dir != NULL) closedir(dir);
    return found;
}

/* The pack is `dir`, or its folder rules/ as in an example. */
static const char *find_root(const char *dir, char inner[PATH_BYTES])
{
    int size = snprintf(inner, PATH_BYTES, "%s/rules", dir);
    return size < PATH_BYTES && !is_pack(dir) && is_pack(inner) ? inner : dir;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The whole file behind `text`. */
static ml_code read_file(const char *path, ml_buf *text, ml_error *why)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return ml_error_disk(why, -errno, "open", path);
    ssize_t size = 1;
    while (size > 0 && text->size <= ML_PACK_DIR_BYTES_MAX && ml_buf_reserve(text, 65536)) {
        size = read(file, text->data + text->size, text->capacity - text->size);
        if (size > 0) text->size += (size_t)size;
        if (size < 0 && errno == EINTR) size = 1;
    }
    int failed = size < 0 ? errno : 0;
    close(file);
    if (failed) return ml_error_disk(why, -failed, "read", path);
    return text->failed ? ml_error_memory(why, "a rule file") : ML_OK;
}

static ml_code pack_file(listing *l, const char *path, ml_buf *out)
{
    char whole[PATH_BYTES];
    ml_buf text = {0};
    if (snprintf(whole, sizeof whole, "%s/%s", l->root, path) >= PATH_BYTES) whole[0] = '\0';
    ml_code code = read_file(whole, &text, l->why);
    l->bytes += text.size;
    if (!code && l->bytes > ML_PACK_DIR_BYTES_MAX)
        code = ml_error_set(l->why, ML_TOO_LARGE, "the rule files in %.512s are over %d bytes",
                            l->root, ML_PACK_DIR_BYTES_MAX);
    if (!code && !ml_unpack_utf8(ml_buf_view(&text)))
        code = ml_error_set(l->why, ML_BAD_REQUEST, "%.512s is no UTF-8 text", whole);
    if (!code) {
        ml_pack_text(out, path);
        ml_pack_str(out, ml_buf_view(&text));
    }
    ml_buf_free(&text);
    return code;
}

ml_code ml_pack_dir_read(const char *dir, ml_buf *out, ml_error *why)
{
    char inner[PATH_BYTES];
    listing l = {.root = find_root(dir, inner), .why = why};
    ml_code code = list_dir(&l, "", 0);
    if (!code && l.count == 0)
        code = ml_error_set(why, ML_NOT_FOUND, "there is no rule file (*.lua) in %.512s", dir);
    if (!code) {
        qsort(l.paths, l.count, sizeof *l.paths, by_path);
        ml_pack_map(out, (uint32_t)l.count);
    }
    for (size_t n = 0; !code && n < l.count; n++)
        code = pack_file(&l, l.paths[n], out);
    for (size_t n = 0; n < l.count; n++)
        free(l.paths[n]);
    if (!code && out->failed) code = ml_error_memory(why, "rule files");
    return code;
}
