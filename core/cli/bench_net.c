/* bench_net.c -- `moonlog bench --connect`: which workloads, and what is noted of each. */
#include "bench_net.h"

#include <stdio.h>
#include <stdlib.h>

const char *const ml_bench_net_words[] = {"append", "expected", "command", "scan", "load",
                                          "live",   "fanout",   "signal",  NULL};

/* In the order of running. */
static const ml_net_work works[] = {
    {"append.1", "events/s", ML_NET_APPEND, 1, 1, 1, true, 0, ml_bench_net_loop_append},
    {"append.64", "events/s", ML_NET_APPEND, 64, 1, 1, true, 0, ml_bench_net_loop_append},
    {"append.256", "events/s", ML_NET_APPEND, 256, 1, 1, true, 0, ml_bench_net_loop_append},
    {"append.batch100", "events/s", ML_NET_APPEND, 1, 1, 100, true, 0, ml_bench_net_loop_append},
    {"append.os.flight100", "events/s", ML_NET_APPEND, 1, 100, 1, false, 0,
     ml_bench_net_loop_append},
    {"expected.64", "events/s", ML_NET_EXPECTED, 64, 1, 1, true, 0, ml_bench_net_loop_append},
    {"command.1", "commands/s", ML_NET_COMMAND, 1, 1, 1, true, 0, ml_bench_net_rules_run},
    {"command.64", "commands/s", ML_NET_COMMAND, 64, 1, 1, true, 0, ml_bench_net_rules_run},
    {"command.64.loads", "commands/s", ML_NET_COMMAND, 64, 1, 1, true, 50, ml_bench_net_rules_run},
    {"scan", "events/s", ML_NET_PAGE, 1, 2, 0, false, 0, ml_bench_net_loop_read},
    {"load.16", "streams/s", ML_NET_LOAD, 16, 1, 0, false, 0, ml_bench_net_loop_read},
    {"live.1k", "events/s", ML_NET_PUBLISH, 1, 0, 1, true, 1000, ml_bench_net_live_run},
    {"fanout.50", "deliveries/s", ML_NET_PUBLISH, 50, 0, 1, false, 0, ml_bench_net_live_run},
    {"signal.10", "deliveries/s", ML_NET_SIGNAL, 10, 0, 1, false, 0, ml_bench_net_live_run},
    {"signal.100k", "deliveries/s", ML_NET_SIGNAL, 1, 0, 1, false, 100000, ml_bench_net_live_run},
};

enum {
    WORKS = sizeof works / sizeof *works,
    EVENT_BYTES = 300 /* of one as it is sent, at most, without its data */
};
_Static_assert((int)WORKS <= (int)ML_BENCH_FIGURES_MAX, "each is a figure");

/* ---- the data set ------------------------------------------------------------------- */

size_t ml_bench_net_chunk(const ml_net *net)
{
    enum { BYTES = 3 << 20 }; /* under what a daemon gives in a page */
    size_t chunk = 1000;
    while (chunk > 10 && chunk * (net->bench->payload + EVENT_BYTES) > BYTES) chunk /= 10;
    return chunk;
}

uint64_t ml_bench_net_groups(const ml_net *net) { return net->bench->events / ML_NET_GROUP; }

ml_bytes ml_bench_net_prefix(const ml_net *net, char name[ML_BENCH_NAME])
{
    int size = snprintf(name, ML_BENCH_NAME, "bench-%llu-", (unsigned long long)net->bench->events);
    ML_ASSERT(size > 0);
    ML_ASSERT(size < ML_BENCH_NAME);
    return (ml_bytes){name, (size_t)size};
}

/* ---- clocks and figures ------------------------------------------------------------- */

static uint64_t read_clock(clockid_t clock)
{
    struct timespec time = {0};
    ML_IGNORE(clock_gettime(clock, &time) != 0); /* a server that has gone is noticed elsewhere */
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

ml_net_mark ml_bench_net_mark_now(const ml_net *net)
{
    return (ml_net_mark){.ns = ml_bench_stats_now(),
                         .server_ns = net->local ? read_clock(net->process) : 0,
                         .client_ns = read_clock(CLOCK_PROCESS_CPUTIME_ID)};
}

double ml_bench_net_warm(const ml_net *net)
{
    return net->bench->seconds < 0.5 ? net->bench->seconds : 0.5;
}

ml_figure *ml_bench_net_note(ml_net *net, const ml_net_work *work, ml_timer *timer, uint64_t each,
                             const ml_net_mark span[2], uint64_t count)
{
    ml_bench *bench = net->bench;
    ml_figure *figure = ml_bench_stats_rate(bench, work->name, work->unit, timer, each);
    ml_cost *cost = &net->costs[figure - bench->figures];
    double events = (double)(timer->ops * each) * 1000;
    ML_ASSERT(events > 0);
    cost->server_us[figure->count - 1] = (double)(span[1].server_ns - span[0].server_ns) / events;
    cost->client_us[figure->count - 1] = (double)(span[1].client_ns - span[0].client_ns) / events;
    cost->has_server = net->local;
    cost->count += count;
    return figure;
}

/* ---- the server --------------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* A process id says something on the machine it is from. */
static bool is_here(const char *uri)
{
    static const char *const places[] = {"unix:",          "tcp:127.0.0.1:",   "tcp:localhost:",
                                         "tcp:[::1]:",     "redis:127.0.0.1:", "redis:localhost:",
                                         "redis:[::1]:"};
    for (size_t n = 0; n < sizeof places / sizeof *places; n++)
        if (begins(uri, places[n])) return true;
    return false;
}

static ml_code find_process(ml_net *net)
{
    uint64_t pid = 0;
    if (!is_here(net->bench->cli->connect)) return ML_OK;
    ml_code code = net->dialect->process(net, &pid);
    net->local = pid > 0 && clock_getcpuclockid((pid_t)pid, &net->process) == 0;
    return code;
}

/* ---- running ------------------------------------------------------------------------ */

/* A workload goes by its figure's name, too. */
static bool matches(const ml_net_work *work, const char *text)
{
    size_t word = strcspn(work->name, ".");
    return strcmp(text, work->name) == 0 ||
           (strncmp(text, work->name, word) == 0 && text[word] == '\0');
}

bool ml_bench_net_known(const char *text)
{
    for (size_t n = 0; n < WORKS; n++)
        if (matches(&works[n], text)) return true;
    return false;
}

static bool wanted(const ml_net_work *work, int argc, char **argv)
{
    for (int n = 1; n < argc; n++)
        if (matches(work, argv[n])) return true;
    return argc < 2;
}

static ml_code run_round(ml_net *net, uint64_t round, int argc, char **argv)
{
    ml_code code = ML_OK;
    for (size_t n = 0; n < WORKS && !code; n++) {
        if (!wanted(&works[n], argc, argv)) continue;
        if (net->bench->cli->progress)
            fprintf(stderr, "\rround %llu of %llu: %s\x1b[K", (unsigned long long)round,
                    (unsigned long long)net->bench->rounds, works[n].name);
        code = works[n].run(net, &works[n]);
    }
    if (net->bench->cli->progress) fputs("\r\x1b[K", stderr);
    return code;
}

static ml_code run_rounds(ml_net *net, int argc, char **argv)
{
    ml_code code = net->dialect->begin(net);
    if (code) return code;
    code = find_process(net);
    for (uint64_t round = 1; round <= net->bench->rounds && !code; round++)
        code = run_round(net, round, argc, argv);
    net->dialect->end(net);
    return code;
}

ml_code ml_bench_net_run(ml_bench *bench, int argc, char **argv, ml_cost *costs, int *status)
{
    bool redis = begins(bench->cli->connect, "redis:");
    ml_net net = {.bench = bench,
                  .dialect = redis ? &ml_bench_net_redis : &ml_bench_net_moonlog,
                  .epoll = -1,
                  .costs = costs};
    ml_code code = ml_bench_data_init(bench);
    if (!code) code = run_rounds(&net, argc, argv);
    *status = net.status;
    return code;
}
