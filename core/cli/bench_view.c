/* bench_view.c -- views alone: changing rows, committing, reading, opening.
 *
 * A change is what a projection does to a row: its key is made, the row is read and put back
 * with another number in it. Keys are drawn at random; commits come when the batch is full.
 */
#include <stdio.h>

#include "../base/pack.h"
#include "../view/view.h"
#include "bench.h"

enum { FEW_KEYS = 1000, CHANGES = 4 /* for each key */, SLICE = 1000 };

typedef struct viewing {
    ml_bench *bench;
    ml_view *view;
    char path[ML_BENCH_PATH], boot[ML_VIEW_BOOT];
    uint64_t keys, position, commits;
    ml_buf row;
} viewing;

static ml_code open_view(viewing *v)
{
    ml_view_about about = {.identity = ML_STR("bench"), .boot = v->boot};
    return ml_view_open(v->path, &about, &v->view, &v->bench->why);
}

static ml_code draw_key(viewing *v, ml_key *key)
{
    char text[ML_BENCH_NAME];
    uint8_t packed[ML_BENCH_NAME + 1];
    ml_bytes name = ml_bench_data_stream(text, ml_bench_stats_dice(&v->bench->dice) % v->keys);
    ML_ASSERT(name.size < 32);
    packed[0] = (uint8_t)(0xa0 | name.size);
    memcpy(packed + 1, name.data, name.size);
    return ml_key_make((ml_bytes){packed, name.size + 1}, false, key, &v->bench->why);
}

/* 60 bytes. */
static bool make_row(viewing *v)
{
    ml_buf_clear(&v->row);
    ml_pack_map(&v->row, 4);
    ml_pack_text(&v->row, "balance");
    ml_pack_int(&v->row, (int64_t)(v->position + 1000000));
    ml_pack_text(&v->row, "n");
    ml_pack_int(&v->row, 1000);
    ml_pack_text(&v->row, "owner");
    ml_pack_text(&v->row, "customer-0000017");
    ml_pack_text(&v->row, "state");
    ml_pack_text(&v->row, "an account");
    return !v->row.failed;
}

static ml_code change(viewing *v)
{
    ml_key key;
    ml_bytes before;
    ml_error *why = &v->bench->why;
    ml_code code = draw_key(v, &key);
    ml_bytes bytes = {key.bytes, key.size};
    if (!code) code = ml_view_get(v->view, bytes, &before, why);
    if (!code && !make_row(v)) code = ml_error_memory(why, "a row");
    if (!code) code = ml_view_put(v->view, bytes, ml_buf_view(&v->row), 0, why);
    v->position++;
    return code;
}

static ml_code commit(viewing *v)
{
    v->commits++;
    return ml_view_commit(v->view, v->position, ML_STR("note"), &v->bench->why);
}

static ml_code change_many(viewing *v, uint64_t count)
{
    ml_code code = ML_OK;
    for (uint64_t n = 0; n < count && !code; n++) {
        code = change(v);
        if (!code && ml_view_full(v->view)) code = commit(v);
        if (!code && n % SLICE == 0 && ml_cli_interrupted()) code = ML_END;
    }
    return code;
}

/* ---- what is measured ------------------------------------------------------------------- */

/* All that it takes, the last commit included. */
static ml_code time_changes(viewing *v, const char *name, uint64_t keys)
{
    uint64_t count = CHANGES * v->bench->events, begin = ml_bench_stats_now();
    v->keys = keys;
    v->commits = 0;
    ml_code code = change_many(v, count);
    if (!code) code = commit(v);
    if (code) return code;
    double rate = ml_bench_stats_per_second(count, ml_bench_stats_now() - begin);
    ml_figure *figure = ml_bench_stats_value(v->bench, name, "changes/s", rate);
    snprintf(figure->note, sizeof figure->note, "%llu keys, %llu commits, %llu MiB anonymous",
             (unsigned long long)keys, (unsigned long long)v->commits,
             (unsigned long long)ml_bench_store_kib("RssAnon:") >> 10);
    return ML_OK;
}

static ml_code find_one(void *context)
{
    viewing *v = context;
    ml_key key;
    ml_bytes row;
    ml_code code = draw_key(v, &key);
    return code ? code
                : ml_view_find(v->view, (ml_bytes){key.bytes, key.size}, &row, &v->bench->why);
}

static ml_code commit_one(void *context)
{
    viewing *v = context;
    ml_code code = change(v);
    return code ? code : commit(v);
}

static ml_code time_each(viewing *v, const char *name, const char *unit,
                         ml_code (*op)(void *context))
{
    ml_timer timer = {0};
    ml_code code = ml_bench_stats_run(&timer, v->bench->seconds, op, v);
    if (!code) ml_bench_stats_rate(v->bench, name, unit, &timer, 1);
    return code;
}

/* Every row is checked on the way. */
static ml_code time_open(viewing *v)
{
    ml_view_stats stats;
    ml_view_close(v->view);
    uint64_t begin = ml_bench_stats_now();
    ml_code code = open_view(v);
    if (code) return code;
    uint64_t ns = ml_bench_stats_now() - begin;
    ml_view_get_stats(v->view, &stats);
    ml_figure *figure = ml_bench_stats_value(v->bench, "view.open", "rows/s",
                                             ml_bench_stats_per_second(stats.rows, ns));
    snprintf(figure->note, sizeof figure->note, "%llu rows, %llu MiB",
             (unsigned long long)stats.rows, (unsigned long long)stats.bytes >> 20);
    return ML_OK;
}

static ml_code measure(viewing *v)
{
    ml_code code = open_view(v);
    if (!code) code = time_changes(v, "view.1k", FEW_KEYS);
    if (!code) code = time_changes(v, "view.1m", v->bench->events);
    if (!code) code = time_each(v, "view.find", "rows/s", find_one);
    if (!code) code = time_each(v, "view.commit", "commits/s", commit_one);
    if (!code) code = time_open(v);
    ml_view_close(v->view);
    return code;
}

ml_code ml_bench_view(ml_bench *bench)
{
    viewing v = {.bench = bench};
    ml_bench_path(bench, "view", v.path);
    ml_view_boot(v.boot);
    ml_code code = measure(&v);
    ml_buf_free(&v.row);
    ml_bench_remove(bench, "view");
    return code;
}
