/* bench_net_rules.c -- commands that a rule decides: alone, and while rules are loaded.
 *
 * The pack is twenty files. Loading takes turns between two versions of nineteen of them, so each
 * load compiles and proves all; the one that is commanded stays as it is, and keeps its states.
 * Who loads is a process of its own: the generator has to go on.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_net.h"
#include "reach.h"

enum { FILES = 20, TEXT = 512 };

static const char commanded[] =
    "local moonlog = require 'moonlog'\n"
    "return { aggregate = 'bench', initial = { n = 0 },\n"
    "  on = { Deposited = function(s) s.n = s.n + 1 end },\n"
    "  commands = { deposit = function(_, c)\n"
    "    return moonlog.event('Deposited', { amount = c.amount })\n"
    "  end } }\n";

static const char other[] = "return { aggregate = 'other%d', initial = { n = 0 },\n"
                            "  on = { Counted = function(s) s.n = s.n + %d end } }\n";

static ml_code load(ml_client *client, int version)
{
    char path[32], text[TEXT];
    ml_bytes result;
    ml_buf *out = ml_client_begin(client, "rules.load");
    ml_pack_map(out, 1);
    ml_pack_text(out, "files");
    ml_pack_map(out, FILES);
    ml_pack_text(out, "bench.lua");
    ml_pack_text(out, commanded);
    for (int n = 1; n < FILES; n++) {
        snprintf(path, sizeof path, "other%d.lua", n);
        snprintf(text, sizeof text, other, n, version);
        ml_pack_text(out, path);
        ml_pack_text(out, text);
    }
    ml_code code = ml_client_call(client, &result);
    if (code || ml_client_bool(result, "active")) return code;
    return ml_error_set(&client->why, ML_INTERNAL, "the benchmark's rules were refused");
}

/* ---- loading beside ------------------------------------------------------------------- */

typedef struct loader {
    pid_t pid;
    int counts; /* a byte comes for each load */
} loader;

/* Until it is killed; so many a second, as far as they are as quick. */
static _Noreturn void load_on(const ml_net *net, unsigned rate, int counts)
{
    ml_client client;
    int status = 0, version = 0;
    uint64_t begun = ml_bench_stats_now();
    if (!ml_reach_open(net->bench->cli, ML_REACH_USE, false, &client, &status)) _exit(1);
    while (load(&client, 1 + version % 2) == ML_OK && write(counts, "+", 1) == 1) {
        uint64_t due = begun + (uint64_t)++version * 1000000000 / rate, now = ml_bench_stats_now();
        if (now < due) ML_IGNORE(poll(NULL, 0, (int)((due - now) / 1000000)));
    }
    _exit(1);
}

static ml_code begin_loading(ml_net *net, unsigned rate, loader *by)
{
    int pair[2];
    by->pid = -1;
    if (pipe(pair) != 0) return ml_error_disk(&net->bench->why, -errno, "make", "a pipe");
    by->pid = fork();
    if (by->pid == 0) load_on(net, rate, pair[1]);
    by->counts = pair[0];
    close(pair[1]);
    if (by->pid > 0) return ML_OK;
    close(pair[0]);
    return ml_error_disk(&net->bench->why, -errno, "fork", "a process that loads rules");
}

/* Gives how many loads there were. */
static unsigned end_loading(loader *by)
{
    char bytes[256];
    unsigned loads = 0;
    ML_IGNORE(kill(by->pid, SIGKILL));
    ML_IGNORE(waitpid(by->pid, NULL, 0));
    for (ssize_t size; (size = read(by->counts, bytes, sizeof bytes)) > 0;)
        loads += (unsigned)size;
    close(by->counts);
    return loads;
}

/* ---- the workload --------------------------------------------------------------------- */

ml_code ml_bench_net_rules_run(ml_net *net, const ml_net_work *work)
{
    loader by = {.pid = -1};
    if (net->dialect != &ml_bench_net_moonlog) return ML_OK; /* nobody else has rules */
    ml_code code = load(&net->client, 1);
    if (code) return ml_error_retell(&net->bench->why, code, net->client.why.sentence);
    if (work->rate > 0) code = begin_loading(net, work->rate, &by);
    if (!code) code = ml_bench_net_loop_append(net, work);
    if (by.pid <= 0) return code;
    unsigned loads = end_loading(&by);
    if (code) return code;
    if (loads == 0)
        return ml_error_set(&net->bench->why, ML_INTERNAL, "%s: no rules were loaded", work->name);
    ml_figure *figure = net->bench->figures; /* the loop has made it */
    while (strcmp(figure->name, work->name) != 0)
        figure++;
    snprintf(figure->note, sizeof figure->note, "%u loads meanwhile", loads);
    return ML_OK;
}
