/* bench_store.c -- whole stores: filling one, what it takes, opening it, importing into it.
 *
 * A data set is written by a child process: its peak of memory is the store's and nobody
 * else's. It tells what it saw through a pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/json.h"
#include "bench.h"

/* ---- filling ------------------------------------------------------------------------ */

uint64_t ml_bench_store_kib(const char *name)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *status = fopen("/proc/self/status", "re");
    if (status == NULL) return 0;
    while (fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, name, strlen(name)) == 0) kib = strtoull(line + strlen(name), NULL, 10);
    ML_IGNORE(fclose(status) != 0); /* it was only read */
    return kib;
}

static ml_code fill_store(ml_bench *bench, ml_set set, ml_store *store, ml_bench_batch *batch)
{
    enum { LOOK_EVERY = 64 * 1000 };
    ml_filled *filled = &bench->filled;
    uint64_t events = ml_bench_data_events(bench, set), tenth = events / 10;
    uint64_t skipped = tenth < 100000 ? tenth : 100000; /* the first segments are small */
    uint64_t begin = ml_bench_stats_now(), early = begin, late = begin;
    ml_code code = ML_OK;
    for (uint64_t n = 0; n < events && code == ML_OK; n += ML_BENCH_BATCH) {
        if (n == skipped) early = ml_bench_stats_now();
        if (n == skipped + tenth) filled->early_ns = ml_bench_stats_now() - early;
        if (n == events - tenth) late = ml_bench_stats_now();
        ml_bench_data_batch(bench, set, n, batch);
        code = ml_append(store, &batch->proposal, NULL);
        if (ml_cli_interrupted()) return ML_END;
        if (n % LOOK_EVERY != 0) continue;
        uint64_t kib = ml_bench_store_kib("RssAnon:");
        if (kib > filled->anonymous_kib) filled->anonymous_kib = kib;
    }
    uint64_t end = ml_bench_stats_now();
    filled->events = events;
    filled->ns = end - begin;
    filled->early_events = tenth;
    filled->late_ns = end - late;
    filled->peak_kib = ml_bench_store_kib("VmHWM:");
    return code;
}

static ml_code fill_here(ml_bench *bench, ml_set set)
{
    ml_store *store = NULL;
    ml_stats stats = {0};
    ml_bench_batch *batch = malloc(sizeof *batch);
    if (batch == NULL) return ml_error_memory(&bench->why, "a batch");
    ml_code code = ml_bench_open(bench, "data", &store);
    if (code == ML_OK) code = fill_store(bench, set, store, batch);
    if (code == ML_OK) code = ml_get_stats(store, &stats);
    bench->filled.used_bytes = stats.used_bytes;
    bench->filled.index_bytes = stats.index_bytes;
    free(batch);
    return ml_bench_close(bench, store, code);
}

_Noreturn static void fill_as_child(ml_bench *bench, ml_set set, int pipe)
{
    ml_code code = fill_here(bench, set);
    if (code > 0) ml_cli_fail(bench->cli, code, bench->why.sentence);
    bool told = write(pipe, &bench->filled, sizeof bench->filled) == (ssize_t)sizeof bench->filled;
    _exit(code == ML_OK && told ? 0 : 1);
}

static ml_code wait_for(ml_bench *bench, pid_t child, const char *what)
{
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return ml_error_disk(&bench->why, -errno, "wait", what);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ML_OK;
    if (ml_cli_interrupted()) return ML_END;
    return ml_error_set(&bench->why, ML_INTERNAL, "%s did not succeed", what);
}

static ml_code fill_in_child(ml_bench *bench, ml_set set)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return ml_error_disk(&bench->why, -errno, "pipe", "bench");
    pid_t child = fork();
    if (child == 0) fill_as_child(bench, set, ends[1]);
    ML_IGNORE(close(ends[1]) != 0); /* the child has its own */
    ml_code code = ML_OK;
    if (child < 0) code = ml_error_disk(&bench->why, -errno, "fork", "bench");
    else code = wait_for(bench, child, "writing a data set");
    if (code == ML_OK &&
        read(ends[0], &bench->filled, sizeof bench->filled) != (ssize_t)sizeof bench->filled)
        code = ml_error_set(&bench->why, ML_IO, "the writer of a data set said nothing");
    ML_IGNORE(close(ends[0]) != 0); /* it was only read */
    return code;
}

ml_code ml_bench_store_need(ml_bench *bench, ml_set set)
{
    if (bench->set == set) return ML_OK;
    ml_bench_remove(bench, "data");
    memset(&bench->filled, 0, sizeof bench->filled);
    bench->set = ML_SET_NONE;
    ml_code code = fill_in_child(bench, set);
    if (code == ML_OK) bench->set = set;
    return code;
}

/* ---- what filling showed ------------------------------------------------------------ */

ml_code ml_bench_store_curve(ml_bench *bench)
{
    ml_code code = ml_bench_store_need(bench, ML_SET_MIXED);
    if (code != ML_OK) return code;
    const ml_filled *f = &bench->filled;
    ml_figure *figure = ml_bench_stats_value(bench, "fill", "events/s",
                                             ml_bench_stats_per_second(f->events, f->ns));
    snprintf(figure->note, sizeof figure->note, "%llu events into %llu streams, 100 an append",
             (unsigned long long)f->events, (unsigned long long)bench->streams);
    ml_bench_stats_value(bench, "fill.early", "events/s",
                         ml_bench_stats_per_second(f->early_events, f->early_ns));
    ml_bench_stats_value(bench, "fill.late", "events/s",
                         ml_bench_stats_per_second(f->early_events, f->late_ns));
    return ML_OK;
}

ml_code ml_bench_store_rss(ml_bench *bench)
{
    ml_code code = ml_bench_store_need(bench, ML_SET_MIXED);
    if (code != ML_OK) return code;
    ml_bench_stats_value(bench, "rss", "KiB", (double)bench->filled.peak_kib);
    ml_bench_stats_value(bench, "rss.anonymous", "KiB", (double)bench->filled.anonymous_kib);
    return ML_OK;
}

static uint64_t walked_bytes;

static int add_blocks(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)path;
    (void)kind;
    (void)place;
    walked_bytes += (uint64_t)about->st_blocks * 512;
    return 0;
}

ml_code ml_bench_store_size(ml_bench *bench)
{
    char path[ML_BENCH_PATH];
    ml_code code = ml_bench_store_need(bench, ML_SET_MIXED);
    if (code != ML_OK) return code;
    const ml_filled *f = &bench->filled;
    ml_bench_path(bench, "data", path);
    walked_bytes = 0;
    if (nftw(path, add_blocks, 16, FTW_PHYS) != 0)
        return ml_error_disk(&bench->why, -errno, "walk", path);
    double events = (double)f->events;
    ml_bench_stats_value(bench, "size", "bytes/event", (double)walked_bytes / events);
    ml_bench_stats_value(bench, "size.log", "bytes/event", (double)f->used_bytes / events);
    ml_bench_stats_value(bench, "size.index", "bytes/event", (double)f->index_bytes / events);
    return ML_OK;
}

/* ---- opening ------------------------------------------------------------------------ */

/* Lets the kernel forget what it holds of a file; it may refuse. */
static int forget_file(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)place;
    int file = kind == FTW_F ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return 0;
    ML_IGNORE(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0);
    ML_IGNORE(close(file) != 0); /* it was not even read */
    return 0;
}

static ml_code time_opening(ml_bench *bench, const char *name, bool cold, unsigned times,
                            ml_timer *timer)
{
    char path[ML_BENCH_PATH];
    ml_code code = ML_OK;
    memset(timer, 0, sizeof *timer);
    ml_bench_path(bench, "data", path);
    for (unsigned n = 0; n < times && code == ML_OK; n++) {
        ml_store *store = NULL;
        if (cold) ML_IGNORE(nftw(path, forget_file, 16, FTW_PHYS) != 0);
        uint64_t begin = ml_bench_stats_now();
        code = ml_bench_open(bench, "data", &store);
        if (code == ML_OK) ml_bench_stats_add(&timer->times, ml_bench_stats_now() - begin);
        code = ml_bench_close(bench, store, code);
        if (ml_cli_interrupted()) return ML_END;
    }
    if (code != ML_OK) return code;
    double typical = ml_bench_stats_quantile(&timer->times, 0.5) / 1000;
    ml_figure *figure = ml_bench_stats_value(bench, name, "us", typical);
    snprintf(figure->note, sizeof figure->note, "a clean store of %llu events, files %s",
             (unsigned long long)bench->filled.events, cold ? "not in memory" : "in memory");
    return ML_OK;
}

ml_code ml_bench_store_open(ml_bench *bench)
{
    ml_code code = ml_bench_store_need(bench, ML_SET_MIXED);
    ml_timer *timer = malloc(sizeof *timer);
    if (code == ML_OK && timer == NULL) code = ml_error_memory(&bench->why, "latencies");
    if (code == ML_OK) code = time_opening(bench, "open.cold", true, 5, timer);
    if (code == ML_OK) code = time_opening(bench, "open.warm", false, 15, timer);
    free(timer);
    return code;
}

/* ---- importing ---------------------------------------------------------------------- */

static ml_code write_lines(ml_bench *bench, FILE *file, uint64_t count)
{
    ml_buf line = {0};
    char name[ML_BENCH_NAME];
    bool good = true;
    for (uint64_t n = 0; n < count && good; n++) {
        ml_unpack data = ml_unpack_from(ml_bench_data_payload(bench, n));
        ml_bytes stream = ml_bench_data_stream(name, n % (count / 10));
        ml_buf_clear(&line);
        ml_buf_print(&line, "{\"stream\":\"%.*s\",\"type\":\"Deposited\",\"data\":",
                     (int)stream.size, (const char *)stream.data);
        good = ml_json_write(&data, &line);
        ml_buf_print(&line, "}\n");
        good = good && !line.failed && fwrite(line.data, 1, line.size, file) == line.size;
    }
    ml_buf_free(&line);
    return good ? ML_OK : ml_error_set(&bench->why, ML_IO, "a file of events could not be written");
}

static ml_code make_file(ml_bench *bench, const char *path, uint64_t count)
{
    FILE *file = fopen(path, "we");
    if (file == NULL) return ml_error_disk(&bench->why, -errno, "open", path);
    ml_code code = write_lines(bench, file, count);
    bool closed = fclose(file) == 0;
    return code != ML_OK || closed ? code : ml_error_disk(&bench->why, -errno, "write", path);
}

_Noreturn static void import_as_child(const char *dir, const char *path)
{
    int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere >= 0 && dup2(nowhere, STDOUT_FILENO) >= 0)
        execl("/proc/self/exe", "moonlog", "--data", dir, "import", path, (char *)NULL);
    _exit(127);
}

/* The verb itself, from its start to its end. */
ml_code ml_bench_store_import(ml_bench *bench)
{
    char path[ML_BENCH_PATH], dir[ML_BENCH_PATH];
    uint64_t count = ml_bench_data_events(bench, ML_SET_TAGGED);
    ml_bench_path(bench, "lines", path);
    ml_bench_path(bench, "imported", dir);
    ml_code code = make_file(bench, path, count);
    if (code != ML_OK) return code;
    uint64_t begin = ml_bench_stats_now();
    pid_t child = fork();
    if (child == 0) import_as_child(dir, path);
    if (child < 0) code = ml_error_disk(&bench->why, -errno, "fork", "bench");
    else code = wait_for(bench, child, "moonlog import");
    double rate = ml_bench_stats_per_second(count, ml_bench_stats_now() - begin);
    if (code == ML_OK) {
        ml_figure *figure = ml_bench_stats_value(bench, "import", "events/s", rate);
        snprintf(figure->note, sizeof figure->note, "%llu lines of NDJSON",
                 (unsigned long long)count);
    }
    ml_bench_remove(bench, "lines");
    ml_bench_remove(bench, "imported");
    return code;
}
