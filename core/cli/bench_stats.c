/* bench_stats.c -- clocks, latencies and figures of the benchmark.
 *
 * A latency falls into a slot by its highest bit and the 6 bits behind it, so a slot is at
 * most 1/64 wide; below 64 ns each nanosecond has its own.
 */
#include <stdlib.h>
#include <time.h>

#include "bench.h"

enum { FINE_BITS = 6, FINE = 1 << FINE_BITS };

uint64_t ml_bench_stats_now(void)
{
    struct timespec now = {0};
    ML_IGNORE(clock_gettime(CLOCK_MONOTONIC, &now) != 0); /* this clock is always there */
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t ml_bench_stats_dice(uint64_t *state)
{
    uint64_t mixed = *state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

/* ---- latencies ---------------------------------------------------------------------- */

static size_t slot_of(uint64_t ns)
{
    if (ns < FINE) return (size_t)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - FINE_BITS;
    size_t slot = (size_t)(shift + 1) * FINE + (size_t)(ns >> shift) - FINE;
    return slot < ML_TIMES_SLOTS ? slot : ML_TIMES_SLOTS - 1;
}

/* The middle of a slot. */
static double time_of(size_t slot)
{
    if (slot < 2 * FINE) return (double)slot;
    unsigned shift = (unsigned)(slot / FINE) - 1;
    double width = (double)(UINT64_C(1) << shift);
    return (double)(slot % FINE + FINE) * width + width / 2;
}

void ml_bench_stats_add(ml_times *times, uint64_t ns)
{
    times->slots[slot_of(ns)]++;
    times->count++;
}

double ml_bench_stats_quantile(const ml_times *times, double part)
{
    uint64_t wanted = (uint64_t)(part * (double)times->count), passed = 0;
    for (size_t slot = 0; slot < ML_TIMES_SLOTS; slot++) {
        passed += times->slots[slot];
        if (passed > wanted) return time_of(slot);
    }
    return 0;
}

ml_code ml_bench_stats_run(ml_timer *timer, double seconds, ml_code (*op)(void *context),
                           void *context)
{
    uint64_t begin = ml_bench_stats_now(), before = begin, now;
    uint64_t end = begin + (uint64_t)(seconds * 1e9);
    do {
        ml_code code = op(context);
        if (code != ML_OK) return code;
        if (ml_cli_interrupted()) return ML_END;
        now = ml_bench_stats_now();
        ml_bench_stats_add(&timer->times, now - before);
        timer->ops++;
        before = now;
    } while (now < end);
    timer->ns += now - begin;
    return ML_OK;
}

/* ---- figures ------------------------------------------------------------------------ */

static ml_figure *figure_of(ml_bench *bench, const char *name, const char *unit)
{
    for (size_t n = 0; n < bench->figure_count; n++)
        if (strcmp(bench->figures[n].name, name) == 0) return &bench->figures[n];
    ML_ASSERT(bench->figure_count < ML_BENCH_FIGURES_MAX);
    ML_ASSERT(strlen(name) < sizeof bench->figures->name);
    ML_ASSERT(strlen(unit) < sizeof bench->figures->unit);
    ml_figure *figure = &bench->figures[bench->figure_count++];
    memcpy(figure->name, name, strlen(name));
    memcpy(figure->unit, unit, strlen(unit));
    return figure;
}

ml_figure *ml_bench_stats_value(ml_bench *bench, const char *name, const char *unit, double value)
{
    ml_figure *figure = figure_of(bench, name, unit);
    ML_ASSERT(figure->count < ML_BENCH_ROUNDS_MAX);
    figure->values[figure->count++] = value;
    return figure;
}

ml_figure *ml_bench_stats_rate(ml_bench *bench, const char *name, const char *unit,
                               const ml_timer *timer, uint64_t each)
{
    double rate = ml_bench_stats_per_second(timer->ops * each, timer->ns);
    ml_figure *figure = ml_bench_stats_value(bench, name, unit, rate);
    figure->timed = true;
    figure->times.count += timer->times.count;
    for (size_t slot = 0; slot < ML_TIMES_SLOTS; slot++)
        figure->times.slots[slot] += timer->times.slots[slot];
    return figure;
}

double ml_bench_stats_per_second(uint64_t count, uint64_t ns)
{
    return (double)count / ((double)(ns > 0 ? ns : 1) / 1e9);
}

static int by_value(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

double ml_bench_stats_median(const double *values, size_t count)
{
    double sorted[ML_BENCH_ROUNDS_MAX];
    ML_ASSERT(count > 0);
    memcpy(sorted, values, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, by_value);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}
