/* bench_append.c -- appends of several sizes, the disk without a store, conditions. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bench.h"

enum { SLICES = 10 }; /* what is compared takes turns so often, to meet the same noise */

/* ---- batches ------------------------------------------------------------------------ */

typedef struct appending {
    ml_bench *bench;
    ml_store *store;
    uint64_t next; /* number of the next event */
    size_t batch;
    ml_durability level;
    ml_draft drafts[ML_BENCH_BATCH];
} appending;

/* One append to one stream; the next one goes to another. */
static ml_code append_once(void *context)
{
    appending *a = context;
    char name[ML_BENCH_NAME];
    uint64_t stream = a->next / a->batch % a->bench->streams;
    for (size_t n = 0; n < a->batch; n++) a->drafts[n] = ml_bench_data_draft(a->bench, a->next++);
    ml_write write = {.stream = ml_bench_data_stream(name, stream), .expected = ML_ANY,
                      .events = a->drafts, .count = a->batch};
    return ml_append(a->store,
                     &(ml_proposal){.writes = &write, .count = 1, .durability = a->level}, NULL);
}

static ml_code time_batches(appending *a, const char *level, ml_timer *timer)
{
    static const size_t sizes[] = {1, 10, ML_BENCH_BATCH};
    ml_code code = ML_OK;
    for (size_t n = 0; n < 3 && code == ML_OK; n++) {
        char name[32];
        memset(timer, 0, sizeof *timer);
        a->batch = sizes[n];
        code = ml_bench_stats_run(timer, a->bench->seconds, append_once, a);
        snprintf(name, sizeof name, "append.%s.%zu", level, a->batch);
        if (code == ML_OK) ml_bench_stats_rate(a->bench, name, "events/s", timer, a->batch);
    }
    return code;
}

ml_code ml_bench_append_batches(ml_bench *bench)
{
    appending a = {.bench = bench, .level = ML_DISK};
    ml_code code = ml_bench_open(bench, "append", &a.store);
    ml_timer *timer = malloc(sizeof *timer);
    if (code == ML_OK && timer == NULL) code = ml_error_memory(&bench->why, "latencies");
    if (code == ML_OK) code = time_batches(&a, "disk", timer);
    a.level = ML_OS;
    if (code == ML_OK) code = time_batches(&a, "os", timer);
    free(timer);
    code = ml_bench_close(bench, a.store, code);
    ml_bench_remove(bench, "append");
    return code;
}

/* ---- the disk alone ----------------------------------------------------------------- */

enum { BARE_BYTES = 64 << 20 };

typedef struct bare {
    int file;
    uint64_t at;
    size_t size; /* of one write */
    uint8_t bytes[256 << 10];
} bare;

/* A file of zeros, on the disk: the best case for a synced write. */
static ml_code make_bare(ml_bench *bench, bare *b)
{
    static const uint8_t zeros[1 << 20];
    char path[ML_BENCH_PATH];
    ml_bench_path(bench, "bare", path);
    b->file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    bool good = b->file >= 0;
    for (off_t at = 0; good && at < BARE_BYTES; at += (off_t)sizeof zeros)
        good = pwrite(b->file, zeros, sizeof zeros, at) == (ssize_t)sizeof zeros;
    if (good && fsync(b->file) == 0) return ML_OK;
    return ml_error_disk(&bench->why, errno > 0 ? -errno : -ENOSPC, "write", path);
}

static ml_code write_bare(void *context)
{
    bare *b = context;
    if (b->at + b->size > BARE_BYTES) b->at = 0;
    bool good = pwrite(b->file, b->bytes, b->size, (off_t)b->at) == (ssize_t)b->size;
    b->at += b->size;
    return good && fdatasync(b->file) == 0 ? ML_OK : ML_IO;
}

/* Bytes in the log for one append so far. */
static size_t bytes_each(ml_store *store, const ml_timer *timer, uint64_t before)
{
    ml_stats stats = {0};
    if (ml_get_stats(store, &stats) != ML_OK || stats.used_bytes <= before) return 512;
    size_t each = (size_t)((stats.used_bytes - before) / timer->ops);
    return each < sizeof ((bare *)0)->bytes ? each : sizeof ((bare *)0)->bytes;
}

static ml_code race(ml_bench *bench, appending *a, bare *b, ml_timer *timers)
{
    double slice = bench->seconds / SLICES;
    ml_stats stats = {0};
    ml_code code = append_once(a);
    if (code == ML_OK) code = ml_get_stats(a->store, &stats);
    for (int n = 0; n < SLICES && code == ML_OK; n++) {
        code = ml_bench_stats_run(&timers[0], slice, append_once, a);
        if (code != ML_OK) break;
        if (n == 0) b->size = bytes_each(a->store, &timers[0], stats.used_bytes);
        code = ml_bench_stats_run(&timers[1], slice, write_bare, b);
        if (code == ML_IO) ml_error_set(&bench->why, ML_IO, "a bare write was refused");
    }
    return code;
}

static ml_code race_batch(ml_bench *bench, appending *a, bare *b, ml_timer *timers)
{
    char name[32];
    memset(timers, 0, 2 * sizeof *timers);
    ml_code code = race(bench, a, b, timers);
    if (code != ML_OK) return code;
    snprintf(name, sizeof name, "limit.append.%zu", a->batch);
    ml_bench_stats_rate(bench, name, "appends/s", &timers[0], 1);
    snprintf(name, sizeof name, "limit.bare.%zu", a->batch);
    ml_figure *figure = ml_bench_stats_rate(bench, name, "writes/s", &timers[1], 1);
    snprintf(figure->note, sizeof figure->note, "pwrite and fdatasync of %zu bytes", b->size);
    return ML_OK;
}

/* Synced appends of one event and of a hundred, beside synced writes of as many bytes. */
ml_code ml_bench_append_limit(ml_bench *bench)
{
    appending a = {.bench = bench, .batch = 1, .level = ML_DISK};
    ml_timer *timers = calloc(2, sizeof *timers);
    bare *b = calloc(1, sizeof *b);
    ml_code code = ml_bench_open(bench, "append", &a.store);
    bool memory = timers != NULL && b != NULL;
    if (code == ML_OK && !memory) code = ml_error_memory(&bench->why, "latencies");
    if (b != NULL) b->file = -1;
    if (code == ML_OK) code = make_bare(bench, b);
    if (code == ML_OK) code = race_batch(bench, &a, b, timers);
    a.batch = ML_BENCH_BATCH;
    if (code == ML_OK) code = race_batch(bench, &a, b, timers);
    if (b != NULL && b->file >= 0) ML_IGNORE(close(b->file) != 0); /* it is removed now */
    free(b);
    free(timers);
    code = ml_bench_close(bench, a.store, code);
    ml_bench_remove(bench, "append");
    ml_bench_remove(bench, "bare");
    return code;
}

/* ---- conditions --------------------------------------------------------------------- */

enum { ORDERS = 20000 };

typedef struct ordering {
    appending a;
    bool conditional;
    unsigned stale;         /* of a hundred appends so many know too little */
    uint64_t accepted;
    uint64_t last[ORDERS];  /* position of the last event with that order's tag */
} ordering;

/* Appends an event with one tag, if asked to on condition that none with that tag came
 * behind the last one known. Whoever does not know the last is to be refused. */
static ml_code order_once(void *context)
{
    ordering *o = context;
    ml_bench *bench = o->a.bench;
    uint64_t drawn = ml_bench_stats_dice(&bench->dice), order = drawn % ORDERS;
    char name[ML_BENCH_NAME], text[ML_BENCH_NAME];
    ml_bytes tag = ml_bench_data_tag(text, "order", order);
    ml_draft draft = ml_bench_data_draft(bench, o->a.next++);
    draft.tags = &tag;
    draft.tag_count = 1;
    ml_write write = {.stream = ml_bench_data_stream(name, order), .expected = ML_ANY,
                      .events = &draft, .count = 1};
    ml_query_item item = {.tags = &tag, .tag_count = 1};
    ml_query query = {.items = &item, .count = 1};
    bool stale = o->last[order] > 0 && (drawn >> 32) % 100 < o->stale;
    ml_proposal proposal = {.writes = &write, .count = 1, .durability = o->a.level,
                            .condition = o->conditional ? &query : NULL,
                            .after = o->last[order] - (stale ? 1 : 0)};
    ml_receipt receipt;
    ml_code code = ml_append(o->a.store, &proposal, &receipt);
    if (code == ML_OK) {
        o->last[order] = receipt.last;
        o->accepted++;
    }
    if (code != (stale ? ML_CONDITION_FAILED : ML_OK)) return code == ML_OK ? ML_INTERNAL : code;
    return ML_OK;
}

/* Without a condition, with one that holds, with one that fails now and then. */
static ml_code time_conditions(ordering *o, const char *level, ml_timer *timers)
{
    static const char *const kinds[] = {"without", "holds", "conflicts"};
    uint64_t accepted[3] = {0};
    ml_code code = ML_OK;
    memset(timers, 0, 3 * sizeof *timers);
    for (int n = 0; n < 3 * SLICES && code == ML_OK; n++) {
        o->conditional = n % 3 > 0;
        o->stale = n % 3 == 2 ? 10 : 0;
        o->accepted = 0;
        code = ml_bench_stats_run(&timers[n % 3], o->a.bench->seconds / SLICES, order_once, o);
        accepted[n % 3] += o->accepted;
    }
    for (int n = 0; n < 3 && code == ML_OK; n++) {
        char name[32];
        uint64_t tried = timers[n].ops;
        timers[n].ops = accepted[n]; /* what was refused is no event */
        snprintf(name, sizeof name, "condition.%s.%s", level, kinds[n]);
        ml_figure *figure = ml_bench_stats_rate(o->a.bench, name, "events/s", &timers[n], 1);
        if (n == 2)
            snprintf(figure->note, sizeof figure->note, "%.1f%% refused",
                     100.0 * (double)(tried - accepted[n]) / (double)tried);
    }
    return code;
}

ml_code ml_bench_append_condition(ml_bench *bench)
{
    ordering *o = calloc(1, sizeof *o);
    ml_timer *timers = calloc(3, sizeof *timers);
    ml_code code = ML_OK;
    if (o == NULL || timers == NULL) {
        code = ml_error_memory(&bench->why, "latencies");
    } else {
        o->a = (appending){.bench = bench, .level = ML_OS};
        code = ml_bench_open(bench, "append", &o->a.store);
        for (uint64_t n = 0; n < ORDERS && code == ML_OK; n++) code = order_once(o);
        if (code == ML_OK) code = time_conditions(o, "os", timers);
        o->a.level = ML_DISK;
        if (code == ML_OK) code = time_conditions(o, "disk", timers);
        if (code == ML_INTERNAL)
            ml_error_set(&bench->why, code, "an append was admitted that its condition excludes");
        else
            code = ml_bench_close(bench, o->a.store, code);
        ml_bench_remove(bench, "append");
    }
    free(timers);
    free(o);
    return code;
}
