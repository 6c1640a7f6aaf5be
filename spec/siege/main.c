/* main.c -- `siege TRIAL`: the daemon under load and faults. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "siege.h"

static const char usage[] =
    "siege kill [--kills N]             kill -9 under 8 clients that append; a model says what "
    "must be there\n"
    "siege rules [--kills N]            kill -9 of workers and daemon under 8 clients that send "
    "commands; a model says what\n"
    "                                   each account's balance must be\n"
    "siege views [--kills N] [--events N]\n"
    "                                   kill -9 of projectors, workers and daemon; a model says "
    "what each row must be\n"
    "siege reloads [--reloads N]        rules are loaded, good and bad, and rolled back, under "
    "readers: 0 failed reads, 0 steps back\n"
    "siege pace [--events N] [--reloads N]\n"
    "                                   how fast projections are read, also during a swap, and how "
    "far they lag behind\n"
    "siege resume [--deliveries N]      subscriptions end and go on at random; 0 gaps, 0 "
    "duplicates\n"
    "siege idle [--connections N]       so many connections in 64 MB\n"
    "siege slow [--readers N] [--rounds N]\n"
    "                                   subscribers that do not read; appends keep 80% of their "
    "rate\n"
    "siege half [--frames N]            messages that never end\n"
    "siege storm [--connections N]      connect and reset\n"
    "siege descriptors [--connections N]\n"
    "                                   no descriptor left\n"
    "siege full [--rounds N]            a full disk, and space again\n"
    "siege mixed [--clients N] [--requests N]\n"
    "                                   everything at once, for the sanitizers\n"
    "each: [--seed S] [--program PATH]\n";

static const struct {
    const char *name;
    bool (*run)(ml_siege *siege);
} trials[] = {
    {"kill", ml_kill_run},   {"resume", ml_resume_run}, {"idle", ml_idle_run},
    {"slow", ml_slow_run},   {"half", ml_half_run},     {"storm", ml_storm_run},
    {"full", ml_full_run},   {"mixed", ml_mixed_run},   {"descriptors", ml_descriptors_run},
    {"rules", ml_rules_run}, {"views", ml_views_run},   {"reloads", ml_reloads_run},
    {"pace", ml_pace_run},
};

static int refuse(const char *what)
{
    fprintf(stderr, "siege: %s\n%s", what, usage);
    return 2;
}

static bool take_option(ml_siege *siege, const char *name, const char *value)
{
    const struct {
        const char *name;
        uint64_t *number;
    } known[] = {{"--seed", &siege->seed},         {"--kills", &siege->kills},
                 {"--rounds", &siege->rounds},     {"--deliveries", &siege->deliveries},
                 {"--readers", &siege->readers},   {"--connections", &siege->connections},
                 {"--frames", &siege->frames},     {"--clients", &siege->clients},
                 {"--requests", &siege->requests}, {"--reloads", &siege->reloads},
                 {"--events", &siege->events}};
    if (strcmp(name, "--program") == 0) {
        siege->program = value;
        return true;
    }
    for (size_t n = 0; n < sizeof known / sizeof *known; n++) {
        if (strcmp(known[n].name, name) != 0) continue;
        char *end;
        *known[n].number = strtoull(value, &end, 10);
        return *value != '\0' && *end == '\0';
    }
    return false;
}

/* The program stands beside this one. */
static const char *beside(const char *self)
{
    static char path[4096];
    const char *slash = strrchr(self, '/');
    snprintf(path, sizeof path, "%.*smoonlog", slash == NULL ? 0 : (int)(slash - self + 1), self);
    return path;
}

static int run(ml_siege *siege, const char *name, bool (*trial)(ml_siege *siege))
{
    if (mkdtemp(siege->root) == NULL) {
        perror("siege: mkdtemp");
        return 1;
    }
    siege->dice = (ml_dice){siege->seed};
    ml_daemon_place(&siege->daemon, siege->program, siege->root);
    bool good = trial(siege);
    ml_daemon_kill(&siege->daemon);
    ml_siege_remove(siege->root);
    if (!good)
        printf("%s: FAILED: %s\nagain: siege %s --seed %" PRIu64 "\n", name, siege->why, name,
               siege->seed);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *given = getenv("MOONLOG");
    ml_siege siege = {.program = given != NULL ? given : beside(argv[0]),
                      .seed = 1,
                      .kills = 300,
                      .reloads = 200,
                      .events = 300000,
                      .deliveries = 1000000,
                      .connections = 10000,
                      .readers = 1000,
                      .frames = 1000,
                      .rounds = 5,
                      .clients = 16,
                      .requests = 100000,
                      .root = "/tmp/moonlog-siege-XXXXXX"};
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    for (int n = 2; n < argc; n += 2)
        if (n + 1 == argc || !take_option(&siege, argv[n], argv[n + 1])) return refuse(argv[n]);
    for (size_t n = 0; argc > 1 && n < sizeof trials / sizeof *trials; n++)
        if (strcmp(argv[1], trials[n].name) == 0) return run(&siege, trials[n].name, trials[n].run);
    return refuse("no such trial");
}
