/* bench.h -- `moonlog bench`: what its parts share.
 *
 *     bench.c         the options, the list of workloads, the table at the end
 *     bench_stats.c   clocks, latencies, figures and their medians
 *     bench_data.c    events of a chosen size, in streams that lie as real ones do
 *     bench_append.c  append, limit, condition        bench_read.c   scan, load, tag
 *     bench_store.c   whole stores: filling, memory, size, opening, importing
 *     bench_rules.c   rules: folding, deciding, upcasting, loading
 *     bench_view.c   views alone: changes, commits, reading, opening
 *     bench_projection.c   building views, from the log and from another version's; asking them
 *     bench_net.h     a daemon instead, with --connect
 *
 * But for the last four, everything is measured through moonlog.h, so that the figures are what a
 * program that links the library gets.
 *
 * Floor    cli, private to bench*.c.
 * Threads  one; a data set is written in a child process, whose memory is then its own.
 * Memory   figures and payloads, about 2 MiB.
 * Units    nanoseconds inside; figures name theirs.
 * Errors   a workload gives a code and leaves the sentence in bench->why; ML_END: interrupted.
 * Crash    the directory that was worked in stays.
 */
#ifndef ML_CLI_BENCH_H
#define ML_CLI_BENCH_H

#include "cli.h"

enum {
    ML_BENCH_ROUNDS_MAX = 99,
    ML_BENCH_FIGURES_MAX = 64,
    ML_BENCH_POOL = 1024,  /* payloads made beforehand, used again and again */
    ML_BENCH_BATCH = 100,  /* events of an append that fills a data set */
    ML_BENCH_NAME = 32,    /* of a stream or tag */
    ML_BENCH_PATH = 4096,
    ML_TIMES_SLOTS = 2240  /* 64 for each power of two up to 18 minutes */
};

/* How long operations took, to within 1.6%. */
typedef struct ml_times {
    uint64_t count;
    uint64_t slots[ML_TIMES_SLOTS];
} ml_times;

/* Operations of one kind, gathered over any number of slices of time. */
typedef struct ml_timer {
    uint64_t ops, ns;
    ml_times times;
} ml_timer;

/* What is printed as a line: the median of its rounds; latencies of all rounds together. */
typedef struct ml_figure {
    char name[32], unit[16], note[96];
    double values[ML_BENCH_ROUNDS_MAX];
    size_t count;
    bool timed;
    ml_times times;
} ml_figure;

/* What each event of a figure cost; beside the figures of `--connect`. */
typedef struct ml_cost {
    double server_us[ML_BENCH_ROUNDS_MAX], client_us[ML_BENCH_ROUNDS_MAX]; /* CPU time */
    bool has_server; /* its clock could be read */
    uint64_t count;  /* events stored, read or delivered, all in all */
} ml_cost;

/* Where events of a data set lie; all sets spread a stream's events over the whole log. */
typedef enum ml_set {
    ML_SET_NONE,
    ML_SET_MIXED,  /* every second event in a stream of 100, the others in small streams */
    ML_SET_TENS,   /* streams of 10 */
    ML_SET_TAGGED  /* with two tags: 10 events share the one, a fifth of all the other */
} ml_set;

/* What was seen while a data set was written. */
typedef struct ml_filled {
    uint64_t events, ns;
    uint64_t early_events, early_ns; /* a tenth of all, at the beginning … */
    uint64_t late_ns;                /* … and the last tenth */
    uint64_t peak_kib, anonymous_kib;
    uint64_t used_bytes, index_bytes;
} ml_filled;

typedef struct ml_bench {
    const ml_cli *cli;
    uint64_t events, streams, payload, rounds;
    double seconds; /* of each timed figure */
    char dir[ML_BENCH_PATH];
    uint8_t *pool;
    uint64_t dice;
    ml_set set; /* the data set that lies in `dir` */
    ml_filled filled;
    ml_figure figures[ML_BENCH_FIGURES_MAX];
    size_t figure_count;
    ml_error why;
} ml_bench;

/* ---- bench_stats.c ------------------------------------------------------------------ */

uint64_t ml_bench_stats_now(void);
/* A number that is hard to guess, the same in every run: splitmix64. */
uint64_t ml_bench_stats_dice(uint64_t *state);

void ml_bench_stats_add(ml_times *times, uint64_t ns);
/* The time that a part (0.99) of the operations did not pass. */
double ml_bench_stats_quantile(const ml_times *times, double part);

/* Runs `op` again and again for about `seconds`, once at least. */
ML_MUST_USE ml_code ml_bench_stats_run(ml_timer *timer, double seconds,
                                       ml_code (*op)(void *context), void *context);

/* Notes what this round gave. The note is of the last round; NULL: none. */
ml_figure *ml_bench_stats_value(ml_bench *bench, const char *name, const char *unit, double value);
/* The same as a rate, `each` events an operation, with latencies. */
ml_figure *ml_bench_stats_rate(ml_bench *bench, const char *name, const char *unit,
                               const ml_timer *timer, uint64_t each);
double ml_bench_stats_per_second(uint64_t count, uint64_t ns);
double ml_bench_stats_median(const double *values, size_t count);

/* ---- bench_data.c ------------------------------------------------------------------- */

/* Makes the payloads: MessagePack maps of exactly bench->payload bytes with random text. */
ML_MUST_USE ml_code ml_bench_data_init(ml_bench *bench);
ml_bytes ml_bench_data_payload(const ml_bench *bench, uint64_t n);
/* "account-0000017" */
ml_bytes ml_bench_data_stream(char name[ML_BENCH_NAME], uint64_t number);
/* "customer-0000017" */
ml_bytes ml_bench_data_tag(char name[ML_BENCH_NAME], const char *kind, uint64_t number);
ml_draft ml_bench_data_draft(const ml_bench *bench, uint64_t n);
/* How many events and streams of 100, streams of 10, or tags of 10 a set has. */
uint64_t ml_bench_data_events(const ml_bench *bench, ml_set set);
uint64_t ml_bench_data_groups(const ml_bench *bench, ml_set set);

/* Events [from, from + ML_BENCH_BATCH) of a set, each a write of its own. */
typedef struct ml_bench_batch {
    ml_proposal proposal;
    ml_write writes[ML_BENCH_BATCH];
    ml_draft drafts[ML_BENCH_BATCH];
    ml_bytes tags[ML_BENCH_BATCH][2];
    char names[ML_BENCH_BATCH][3][ML_BENCH_NAME];
} ml_bench_batch;
void ml_bench_data_batch(const ml_bench *bench, ml_set set, uint64_t from, ml_bench_batch *batch);

/* ---- stores, in bench.c ------------------------------------------------------------- */

/* "DIR/name" of the directory worked in. */
void ml_bench_path(const ml_bench *bench, const char *name, char path[ML_BENCH_PATH]);
ML_MUST_USE ml_code ml_bench_open(ml_bench *bench, const char *name, ml_store **store);
/* Closes, and takes over what the store said about `code` if that is a failure. */
ml_code ml_bench_close(ml_bench *bench, ml_store *store, ml_code code);
/* Removes a directory with all that is in it. Failures are seen when it is used again. */
void ml_bench_remove(const ml_bench *bench, const char *name);

/* ---- workloads ---------------------------------------------------------------------- */

/* Writes the set to "data" unless it is there; fills bench->filled. */
ML_MUST_USE ml_code ml_bench_store_need(ml_bench *bench, ml_set set);

ML_MUST_USE ml_code ml_bench_append_batches(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_append_limit(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_append_condition(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_read_scan(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_read_load100(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_read_load10(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_read_tag(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_store_curve(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_store_rss(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_store_size(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_store_open(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_store_import(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_rules(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_projection(ml_bench *bench);
ML_MUST_USE ml_code ml_bench_view(ml_bench *bench);
/* A line "Name:   1234 kB" of what the kernel says about this process; 0 if there is none. */
uint64_t ml_bench_store_kib(const char *name);

/* ---- a server, in bench_net.c -------------------------------------------------------- */

/* Runs the workloads named in argv, or all, against cli->connect. If it could not be reached,
 * that was said and *status is the exit status; else *status is 0. `costs` has a place for each
 * figure. */
ML_MUST_USE ml_code ml_bench_net_run(ml_bench *bench, int argc, char **argv, ml_cost *costs,
                                     int *status);
extern const char *const ml_bench_net_words[]; /* what workloads go by; ends with NULL */
/* Is it one of these words, or a figure's name? */
bool ml_bench_net_known(const char *text);

#endif
