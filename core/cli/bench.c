/* bench.c -- `moonlog bench`: what this machine and disk give, or a daemon.
 *
 * Without --connect it works in a directory of its own, which is removed at the end, also after
 * an interrupt.
 */
#include <errno.h>
#include <ftw.h>
#include <linux/magic.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bench.h"
#include "show.h"

const ml_option ml_bench_options[] = {
    {.name = "events", .value = "N", .help = "of a data set; from 1000, default 1000000"},
    {.name = "streams", .value = "N", .help = "that its events lie in; default a tenth of them"},
    {.name = "seconds", .value = "S", .help = "for each timed figure; default 2"},
    {.name = "payload", .value = "BYTES", .help = "of an event's data; 128 to 65536, default 256"},
    {.name = "rounds", .value = "N", .help = "of everything, to print medians; default 1"},
    {.name = "dir", .value = "DIR",
     .help = "where to make the directory to work in; default beside the store (--data)"},
    {.name = "keep", .help = "do not remove that directory, and say where it is"},
    {0},
};

const char ml_bench_manual[] =
    "Works in a directory of its own, never on the store. Without words it runs all:\n\n"
    "  append      appends of 1, 10 and 100 events, synced (disk) or only written (os)\n"
    "  limit       synced appends beside bare synced writes of as many bytes\n"
    "  condition   appends without a condition, with one that holds, with one that fails\n"
    "  import      `moonlog import` of NDJSON, from its start to its end\n"
    "  tag         queries for a tag, and for two tags at once\n"
    "  fill-curve  filling a store: all of it, its first tenth, its last tenth\n"
    "  rss         memory at most while filling\n"
    "  size        bytes on the disk for each event\n"
    "  open        opening a clean store, its files in memory or not\n"
    "  scan        reading everything\n"
    "  load100     reading streams of 100 events, one at random after the other\n"
    "  load10      the same with streams of 10\n"
    "  rules       folding states, deciding commands, upcasting, loading 20 rule files\n"
    "  view        changing rows of a view, committing, reading, opening it\n"
    "  projection  building a view, making one from another version's, asking it, its past\n\n"
    "A figure's name is its workload and what sets it apart:\n\n"
    "  append.disk.100             durability, then events in an append\n"
    "  limit.append.1, .bare.1     the store, and the disk without it\n"
    "  condition.os.holds          durability, then what became of the condition\n"
    "  tag.and                     two tags\n"
    "  fill, fill.early, .late     of fill-curve\n"
    "  rss.anonymous               memory that is no file's\n"
    "  size.log, .index            its parts\n"
    "  rules.fold.account          a handler that does little, an account's, events of 256 bytes\n"
    "  rules.upcast.table          one step, as a table or a function\n"
    "  view.1k, .1m                1000 keys, a million (or as many as there are events)\n"
    "  view.commit                 commits of one change\n"
    "  projection.build.1k, .1m    1000 keys, a million (or as many as there are events)\n"
    "  projection.build.wide       1000 keys, events with --payload bytes of data\n"
    "  projection.two              two projections at once\n"
    "  projection.whatif           of a version with another handler for rare, or for common, events\n"
    "  projection.linear           percent of the first tenth's rate that the last tenth has\n"
    "  projection.at               ms to see a row as it was, with copies that are kept\n"
    "  projection.incremental      events/s that a full build would have to do to be as fast\n"
    "  open.cold, .warm            files not in memory, in memory\n\n"
    "With --connect it measures a daemon, or with redis:HOST:PORT a Redis, through its socket.\n"
    "It writes there, and nothing is ever deleted: give it one on an empty directory (and its\n"
    "address here; that of MOONLOG_CONNECT is not taken). These are its workloads, each after\n"
    "half a second of warming up:\n\n"
    "  append      one event and wait, 1, 64 and 256 clients; 100 in an append; 100 in flight\n"
    "  expected    the same with an expected revision, 64 clients\n"
    "  command     commands that a rule decides, 1 and 64 clients; and while 50 packs of 20\n"
    "              files a second are loaded; events of a few bytes\n"
    "  scan        reading everything, in pages of 1000\n"
    "  load        streams of 100 events, one at random after the other, 16 clients\n"
    "  live        from publishing to delivery, 1000 events a second\n"
    "  fanout      events of one stream to 50 subscribers\n"
    "  signal      signals to 10 listeners; to one, 100000 a second\n\n"
    "Appends are durable but for those 100 in flight and of fanout (os). server_us and client_us\n"
    "are the CPU time that each event, stream or delivery took; the server's is blank if it runs\n"
    "elsewhere. `count` is all that was stored, read or delivered, warming up included; what was\n"
    "stored was held against what the server says it has.\n\n"
    "`value` is in `unit`, the median of the rounds. p50_us, p99_us and p999_us are\n"
    "microseconds that 50, 99 and 99.9 of 100 operations did not exceed; they are blank\n"
    "where nothing was timed one by one.";

/* In the order of running: those of one data set stand together. */
static const struct workload {
    const char *name;
    ml_code (*run)(ml_bench *bench);
} workloads[] = {
    {"append", ml_bench_append_batches},
    {"limit", ml_bench_append_limit},
    {"condition", ml_bench_append_condition},
    {"import", ml_bench_store_import},
    {"tag", ml_bench_read_tag},
    {"fill-curve", ml_bench_store_curve},
    {"rss", ml_bench_store_rss},
    {"size", ml_bench_store_size},
    {"open", ml_bench_store_open},
    {"scan", ml_bench_read_scan},
    {"load100", ml_bench_read_load100},
    {"load10", ml_bench_read_load10},
    {"rules", ml_bench_rules},
    {"view", ml_bench_view},
    {"projection", ml_bench_projection},
};

enum { WORKLOADS = sizeof workloads / sizeof *workloads };

/* ---- the directory worked in -------------------------------------------------------- */

void ml_bench_path(const ml_bench *bench, const char *name, char path[ML_BENCH_PATH])
{
    size_t size = strlen(bench->dir), rest = strlen(name);
    ML_ASSERT(size + 1 + rest < ML_BENCH_PATH);
    memcpy(path, bench->dir, size);
    path[size] = '/';
    memcpy(path + size + 1, name, rest + 1);
}

ml_code ml_bench_open(ml_bench *bench, const char *name, ml_store **store)
{
    char path[ML_BENCH_PATH];
    ml_bench_path(bench, name, path);
    return ml_open(store, path, NULL);
}

ml_code ml_bench_close(ml_bench *bench, ml_store *store, ml_code code)
{
    if (code > 0 && store != NULL) {
        const char *why = ml_why(store);
        ml_error_set(&bench->why, code, "%.900s", ml_cli_sentence(code, why));
    }
    ml_code closed = ml_close(store);
    if (code != ML_OK || closed == ML_OK) return code;
    return ml_error_set(&bench->why, closed, "a store did not close cleanly");
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    ML_IGNORE(remove(path) != 0); /* what stays is in the way of the next, which says so */
    return 0;
}

static void remove_tree(const char *path)
{
    ML_IGNORE(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0); /* it is not there */
}

void ml_bench_remove(const ml_bench *bench, const char *name)
{
    char path[ML_BENCH_PATH];
    ml_bench_path(bench, name, path);
    remove_tree(path);
}

/* Where the store is, or would be. */
static size_t parent_size(const char *data)
{
    size_t size = strlen(data);
    while (size > 1 && data[size - 1] == '/') size--;
    while (size > 0 && data[size - 1] != '/') size--;
    return size;
}

static void warn_of_memory(const ml_bench *bench)
{
    struct statfs about;
    if (statfs(bench->dir, &about) != 0 || about.f_type != TMPFS_MAGIC) return;
    fprintf(stderr, "moonlog: %s is memory, no disk: its syncs cost nothing; give --dir\n",
            bench->dir);
}

static ml_code make_dir(ml_bench *bench)
{
    const char *dir = ml_options_get(bench->cli, "dir"), *data = bench->cli->data;
    int size = snprintf(bench->dir, sizeof bench->dir, "%.*s/moonlog-bench-XXXXXX",
                        dir != NULL ? (int)strlen(dir) : (int)parent_size(data),
                        dir != NULL ? dir : data);
    if (dir == NULL && parent_size(data) == 0)
        size = snprintf(bench->dir, sizeof bench->dir, "./moonlog-bench-XXXXXX");
    if (size < 0 || size + 64 > ML_BENCH_PATH)
        return ml_error_set(&bench->why, ML_TOO_LARGE, "the path of --dir is too long");
    if (mkdtemp(bench->dir) == NULL)
        return ml_error_disk(&bench->why, -errno, "make directory", bench->dir);
    warn_of_memory(bench);
    return ML_OK;
}

/* ---- running ------------------------------------------------------------------------ */

/* Was it asked for? Without words everything is. */
static bool wanted(int argc, char **argv, const char *name)
{
    for (int n = 1; n < argc; n++)
        if (strcmp(argv[n], name) == 0) return true;
    return argc < 2;
}

static ml_code run_round(ml_bench *bench, uint64_t round, int argc, char **argv)
{
    ml_code code = ML_OK;
    ml_bench_remove(bench, "data");
    bench->set = ML_SET_NONE;
    for (size_t n = 0; n < WORKLOADS && code == ML_OK; n++) {
        if (!wanted(argc, argv, workloads[n].name)) continue;
        if (bench->cli->progress)
            fprintf(stderr, "\rround %llu of %llu: %s\x1b[K", (unsigned long long)round,
                    (unsigned long long)bench->rounds, workloads[n].name);
        code = workloads[n].run(bench);
        if (code == ML_OK && ml_cli_interrupted()) code = ML_END;
    }
    if (bench->cli->progress) fputs("\r\x1b[K", stderr);
    return code;
}

static double rounded(double value) { return nearbyint(value * 10) / 10; }

static ml_field time_field(const char *name, const ml_figure *figure, double part)
{
    if (!figure->timed) return ML_VALUE(name, ML_STR("\xc0"));
    return ML_NUMBER(name, rounded(ml_bench_stats_quantile(&figure->times, part) / 1000));
}

/* The same for a CPU time. */
static ml_field cost_field(const char *name, const double *values, size_t count)
{
    double median = ml_bench_stats_median(values, count);
    return ML_NUMBER(name, nearbyint(median * 1000) / 1000);
}

static void add_costs(ml_field *fields, const ml_figure *figure, const ml_cost *cost)
{
    fields[0] = cost->has_server ? cost_field("server_us", cost->server_us, figure->count)
                                 : ML_VALUE("server_us", ML_STR("\xc0"));
    fields[1] = cost_field("client_us", cost->client_us, figure->count);
    fields[2] = ML_NATURAL("count", cost->count);
}

/* `costs`: of each figure, or NULL. */
static int show_figures(const ml_bench *bench, const ml_cost *costs)
{
    enum { COMMON = 7, COSTS = 3 };
    ml_show show;
    ml_show_begin(&show, bench->cli, true);
    for (size_t n = 0; n < bench->figure_count; n++) {
        const ml_figure *figure = &bench->figures[n];
        double value = ml_bench_stats_median(figure->values, figure->count);
        ml_field fields[COMMON + COSTS] = {
            ML_TEXT("name", ml_cli_text(figure->name)),
            ML_NATURAL("value", (uint64_t)(value + 0.5)),
            ML_TEXT("unit", ml_cli_text(figure->unit)),
            time_field("p50_us", figure, 0.5),
            time_field("p99_us", figure, 0.99),
            time_field("p999_us", figure, 0.999),
            ML_TEXT("note", ml_cli_text(figure->note)),
        };
        if (costs != NULL) add_costs(fields + COMMON, figure, &costs[n]);
        if (!ml_show_record(&show, fields, costs != NULL ? COMMON + COSTS : COMMON)) break;
    }
    return ml_show_end(&show, ML_EXIT_OK);
}

static int run(ml_bench *bench, int argc, char **argv)
{
    ml_code code = ml_bench_data_init(bench);
    if (code == ML_OK) code = make_dir(bench);
    if (code != ML_OK) return ml_cli_fail(bench->cli, code, bench->why.sentence);
    ml_cli_defer_interrupt();
    for (uint64_t round = 1; round <= bench->rounds && code == ML_OK; round++)
        code = run_round(bench, round, argc, argv);
    if (ml_options_has(bench->cli, "keep")) fprintf(stderr, "moonlog: kept %s\n", bench->dir);
    else remove_tree(bench->dir);
    if (code == ML_END) return ML_EXIT_INTERRUPTED;
    return code == ML_OK ? show_figures(bench, NULL)
                         : ml_cli_fail(bench->cli, code, bench->why.sentence);
}

static int run_connected(ml_bench *bench, int argc, char **argv)
{
    int status = ML_EXIT_OK;
    ml_cost *costs = calloc(ML_BENCH_FIGURES_MAX, sizeof *costs);
    if (costs == NULL) return ml_cli_fail(bench->cli, ML_NO_MEMORY, "no memory for figures");
    ml_cli_defer_interrupt();
    ml_code code = ml_bench_net_run(bench, argc, argv, costs, &status);
    if (code == ML_END) status = ML_EXIT_INTERRUPTED;
    else if (code == ML_OK) status = show_figures(bench, costs);
    else if (status == ML_EXIT_OK) status = ml_cli_fail(bench->cli, code, bench->why.sentence);
    free(costs);
    return status;
}

/* ---- the command line --------------------------------------------------------------- */

static bool read_seconds(const ml_cli *cli, double *seconds)
{
    const char *text = ml_options_get(cli, "seconds");
    char *end;
    if (text == NULL) return true;
    *seconds = strtod(text, &end);
    if (*end == '\0' && *seconds >= 0.001 && *seconds <= 3600) return true;
    ml_cli_usage(cli, "--seconds wants a number from 0.001 to 3600, and not '%.512s'", text);
    return false;
}

static bool refuse_word(const ml_cli *cli, const char *word, const char *const *names, size_t count)
{
    const char *near = ml_verbs_nearest(word, names, count);
    ml_buf list = {0};
    for (size_t n = 0; n < count; n++)
        ml_buf_print(&list, "%s%s", n == 0 ? "" : n + 1 < count ? ", " : " and ", names[n]);
    if (near != NULL)
        ml_cli_usage(cli, "bench does not know '%.512s'; did you mean %s?", word, near);
    else
        ml_cli_usage(cli, "bench%s does not know '%.512s'; it has %.*s",
                     names == ml_bench_net_words ? " --connect" : "", word, (int)list.size,
                     (const char *)list.data);
    ml_buf_free(&list);
    return false;
}

static bool check_words(const ml_cli *cli, bool connected, int argc, char **argv)
{
    const char *own[WORKLOADS];
    for (size_t n = 0; n < WORKLOADS; n++) own[n] = workloads[n].name;
    const char *const *names = connected ? ml_bench_net_words : own;
    size_t count = connected ? 0 : WORKLOADS;
    while (connected && names[count] != NULL) count++;
    for (int i = 1; i < argc; i++) {
        bool known = connected && ml_bench_net_known(argv[i]);
        for (size_t n = 0; n < count; n++) known = known || strcmp(argv[i], names[n]) == 0;
        if (!known) return refuse_word(cli, argv[i], names, count);
    }
    return true;
}

/* What only makes sense for a directory. */
static bool check_options(const ml_cli *cli, bool connected)
{
    static const char *const names[] = {"streams", "dir", "keep"};
    for (size_t n = 0; connected && n < sizeof names / sizeof *names; n++) {
        if (!ml_options_has(cli, names[n])) continue;
        ml_cli_usage(cli, "--%s is for a bench on a directory; leave it out, or --connect",
                     names[n]);
        return false;
    }
    return true;
}

static bool read_options(ml_bench *bench)
{
    enum { UNIT = 1000 /* events come in whole batches, and in whole streams of every kind */ };
    const ml_cli *cli = bench->cli;
    bench->events = 1000000;
    bench->payload = 256;
    bench->rounds = 1;
    bench->seconds = 2;
    const uint64_t most = UINT64_C(10000000000);
    if (!ml_options_natural(cli, "events", UNIT, most, &bench->events)) return false;
    bench->events = (bench->events + UNIT - 1) / UNIT * UNIT;
    bench->streams = bench->events / 10;
    uint64_t least = bench->events / 200 + 1;
    return ml_options_natural(cli, "streams", least, bench->events, &bench->streams) &&
           ml_options_natural(cli, "payload", 128, 65536, &bench->payload) &&
           ml_options_natural(cli, "rounds", 1, ML_BENCH_ROUNDS_MAX, &bench->rounds) &&
           read_seconds(cli, &bench->seconds);
}

int ml_bench_run(const ml_cli *cli, int argc, char **argv)
{
    ml_bench *bench = calloc(1, sizeof *bench);
    if (bench == NULL) return ml_cli_fail(cli, ML_NO_MEMORY, "no memory for figures");
    bench->cli = cli;
    int status = ML_EXIT_USAGE;
    /* MOONLOG_CONNECT alone is not enough: what is measured there is also written to. */
    bool connected = ml_options_has(cli, "connect");
    if (check_words(cli, connected, argc, argv) && check_options(cli, connected) &&
        read_options(bench))
        status = connected ? run_connected(bench, argc, argv) : run(bench, argc, argv);
    free(bench->pool);
    free(bench);
    return status;
}
