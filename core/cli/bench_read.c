/* bench_read.c -- reading everything, single streams at random, and by tags. */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

typedef struct reading {
    ml_bench *bench;
    ml_store *store;
    ml_set set;
    uint64_t wanted; /* events that each read must give */
    bool both;       /* by two tags instead of one */
    uint64_t sum;    /* of bytes, so that they are really read */
} reading;

static ml_code read_selection(reading *r, const ml_selection *selection)
{
    ml_cursor *cursor = NULL;
    ml_event event;
    uint64_t count = 0;
    ml_code code = ml_read(r->store, selection, &cursor);
    if (code != ML_OK) return code;
    while ((code = ml_next(cursor, &event)) == ML_OK) {
        const uint8_t *data = event.data.data;
        r->sum += data[0] + data[event.data.size - 1];
        count++;
    }
    ml_cursor_free(cursor);
    if (code != ML_END) return code;
    /* The store says nothing about a read that went well; a wrong count is ours to say. */
    return count == r->wanted ? ML_OK : ML_INTERNAL;
}

static ml_code read_all(void *context)
{
    reading *r = context;
    return read_selection(r, &(ml_selection){.limit = 0});
}

static ml_code load_stream(void *context)
{
    reading *r = context;
    char name[ML_BENCH_NAME];
    uint64_t groups = ml_bench_data_groups(r->bench, r->set);
    uint64_t stream = ml_bench_stats_dice(&r->bench->dice) % groups;
    return read_selection(r, &(ml_selection){.stream = ml_bench_data_stream(name, stream)});
}

static ml_code query_tags(void *context)
{
    reading *r = context;
    char customer[ML_BENCH_NAME], region[ML_BENCH_NAME];
    uint64_t drawn = ml_bench_stats_dice(&r->bench->dice);
    uint64_t groups = ml_bench_data_groups(r->bench, r->set);
    ml_bytes tags[] = {ml_bench_data_tag(customer, "customer", drawn % groups),
                       ml_bench_data_tag(region, "region", (drawn >> 32) % 5)};
    ml_query_item item = {.tags = tags, .tag_count = r->both ? 2 : 1};
    return read_selection(r, &(ml_selection){.query = {.items = &item, .count = 1}});
}

/* ---- measuring ---------------------------------------------------------------------- */

static ml_code open_set(reading *r, ml_bench *bench, ml_set set, uint64_t wanted)
{
    *r = (reading){.bench = bench, .set = set, .wanted = wanted};
    ml_code code = ml_bench_store_need(bench, set);
    return code == ML_OK ? ml_bench_open(bench, "data", &r->store) : code;
}

static ml_code close_set(reading *r, ml_code code)
{
    if (code != ML_INTERNAL) return ml_bench_close(r->bench, r->store, code);
    ml_bench_close(r->bench, r->store, code);
    return ml_error_set(&r->bench->why, code, "a read gave another number of events than the %llu "
                                              "that were written", (unsigned long long)r->wanted);
}

/* Reads once to have everything in memory and mapped, then again with the clock running. */
static ml_code warm_up(reading *r)
{
    uint64_t wanted = r->wanted;
    r->wanted = ml_bench_data_events(r->bench, r->set);
    ml_code code = read_all(r);
    r->wanted = wanted;
    return code;
}

static ml_code time_reads(reading *r, const char *name, const char *unit, uint64_t each,
                          ml_code (*op)(void *context))
{
    ml_timer *timer = calloc(1, sizeof *timer);
    if (timer == NULL) return ml_error_memory(&r->bench->why, "latencies");
    ml_code code = ml_bench_stats_run(timer, r->bench->seconds, op, r);
    if (code == ML_OK) {
        ml_figure *figure = ml_bench_stats_rate(r->bench, name, unit, timer, each);
        snprintf(figure->note, sizeof figure->note, "%llu events each, out of %llu",
                 (unsigned long long)r->wanted,
                 (unsigned long long)ml_bench_data_events(r->bench, r->set));
    }
    free(timer);
    return code;
}

ml_code ml_bench_read_scan(ml_bench *bench)
{
    reading r;
    ml_code code = open_set(&r, bench, ML_SET_MIXED, bench->events);
    if (code == ML_OK) code = warm_up(&r);
    if (code == ML_OK) code = time_reads(&r, "scan", "events/s", bench->events, read_all);
    return close_set(&r, code);
}

static ml_code time_loads(ml_bench *bench, ml_set set, const char *name, uint64_t wanted)
{
    reading r;
    ml_code code = open_set(&r, bench, set, wanted);
    if (code == ML_OK) code = warm_up(&r);
    if (code == ML_OK) code = time_reads(&r, name, "streams/s", 1, load_stream);
    return close_set(&r, code);
}

ml_code ml_bench_read_load100(ml_bench *bench)
{
    return time_loads(bench, ML_SET_MIXED, "load100", 100);
}

ml_code ml_bench_read_load10(ml_bench *bench)
{
    return time_loads(bench, ML_SET_TENS, "load10", 10);
}

ml_code ml_bench_read_tag(ml_bench *bench)
{
    reading r;
    ml_code code = open_set(&r, bench, ML_SET_TAGGED, 10);
    if (code == ML_OK) code = warm_up(&r);
    if (code == ML_OK) code = time_reads(&r, "tag", "queries/s", 1, query_tags);
    r.both = true;
    r.wanted = 2;
    if (code == ML_OK) code = time_reads(&r, "tag.and", "queries/s", 1, query_tags);
    return close_set(&r, code);
}
