/* main.c -- `crash simulate|faulty|flip|kill`: the reliability figures. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"
#include "workload.h"

static const char usage[] =
    "crash simulate [--states N] [--seed S] [--workload NAME [--op N [--fate F]]]\n"
    "               power lost after every disk call, in every way\n"
    "crash faulty [--workload NAME] [--every N]\n"
    "               every disk call fails, once and for ever\n"
    "crash flip [--every N] [--part bits|files]\n"
    "               every bit of a segment flipped, every length; every other file\n"
    "crash kill [--rounds N] [--program PATH]\n"
    "               kill -9 of `moonlog import`\n";

static int refuse(const char *what)
{
    fprintf(stderr, "crash: %s\n%s", what, usage);
    return 2;
}

static bool take_option(ml_crash_options *options, const char *name, const char *value)
{
    struct {
        const char *name;
        uint64_t *number;
        const char **text;
    } known[] = {{"--states", &options->states, NULL}, {"--seed", &options->seed, NULL},
                 {"--op", &options->op, NULL},         {"--every", &options->every, NULL},
                 {"--rounds", &options->rounds, NULL}, {"--workload", NULL, &options->workload},
                 {"--fate", NULL, &options->fate},     {"--program", NULL, &options->program},
                 {"--part", NULL, &options->part}};
    for (size_t n = 0; n < sizeof known / sizeof *known; n++) {
        if (strcmp(known[n].name, name) != 0) continue;
        if (known[n].text != NULL) {
            *known[n].text = value;
            return true;
        }
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

int main(int argc, char **argv)
{
    const char *given = getenv("MOONLOG");
    ml_crash_options options = {
        .program = given != NULL ? given : beside(argv[0]), .seed = 1, .every = 1, .rounds = 200};
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (int n = 2; n < argc; n += 2)
        if (n + 1 == argc || !take_option(&options, argv[n], argv[n + 1])) return refuse(argv[n]);
    if (options.workload != NULL && ml_workload_find(options.workload) == NULL)
        return refuse("no such workload");
    if (options.every == 0) return refuse("--every 0");
    const char *trial = argc > 1 ? argv[1] : "";
    bool good;
    if (strcmp(trial, "simulate") == 0)
        good = ml_simulate(&options);
    else if (strcmp(trial, "faulty") == 0)
        good = ml_faulty(&options);
    else if (strcmp(trial, "flip") == 0)
        good = ml_flip(&options);
    else if (strcmp(trial, "kill") == 0)
        good = ml_kill(&options);
    else
        return refuse("no such trial");
    return good ? 0 : 1;
}
