/* workers.c -- see workers.h. */
#include "workers.h"

#include <stdio.h>
#include <stdlib.h>

#include "../base/crc32c.h"
#include "rules.h"

typedef struct worker {
    ml_process process;
    int number;
    bool begun; /* has the active pack */
} worker;

struct ml_workers {
    worker bench;
    size_t count;
    worker each[];
};

static worker *of_number(const ml_server *server, int number)
{
    ml_workers *all = server->workers;
    ML_ASSERT(number >= ML_WORKERS_BENCH && number < (int)all->count);
    return number == ML_WORKERS_BENCH ? &all->bench : &all->each[number];
}

static ml_process *process_of(const ml_server *server, int number)
{
    return &of_number(server, number)->process;
}

static worker *of_process(ml_process *process)
{
    return (worker *)process; /* its first member */
}

/* ---- the pack a worker begins with ------------------------------------------------ */

/* An ask of our own. */
typedef struct first_ask {
    ml_ask ask;
    ml_process *process;
    uint64_t position; /* of the activation: another one may be active when it is answered */
} first_ask;

static void begun(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    first_ask *own = (first_ask *)ask;
    ml_process *process = own->process;
    ml_server *server = process->server;
    bool staged = strcmp(ask->method, "stage") == 0;
    if (code && code != ML_SHUTTING_DOWN)
        ml_say(server, "error", "%s cannot have the active rules: %s", process->name, sentence);
    else if (!code && staged && own->position == ml_rules_active(server)->position)
        ml_rules_compare(server, result);
    ml_buf_free(&ask->params);
    free(own);
}

static first_ask *new_first(ml_process *process, const char *method)
{
    first_ask *own = calloc(1, sizeof *own);
    if (own != NULL)
        *own = (first_ask){.ask = {.method = method, .asked = begun},
                           .process = process,
                           .position = ml_rules_active(process->server)->position};
    return own;
}

/* Before anything else: the pack that is active now. False if memory is refused. */
static bool ask_first(ml_process *process)
{
    const ml_pack *pack = ml_rules_active(process->server);
    of_process(process)->begun = false;
    if (ml_packs_none(pack)) return true;
    first_ask *stage = new_first(process, "stage"), *activate = new_first(process, "activate");
    if (stage == NULL || activate == NULL) {
        free(stage);
        free(activate);
        return false;
    }
    ml_buf_add(&stage->ask.params, pack->files.data, pack->files.size);
    ml_pack_int(&stage->ask.params, ML_STAGE_PROVED);
    stage->ask.count = 2;
    ml_queue_add(process, &stage->ask);
    ml_queue_add(process, &activate->ask);
    return !stage->ask.params.failed;
}

/* The next one has its own. */
static bool drop_first(ml_process *process, ml_ask *ask)
{
    (void)process;
    if (ask->asked != begun) return false;
    ml_buf_free(&ask->params);
    free(ask);
    return true;
}

/* ---- what is learnt of the units --------------------------------------------------- */

/* The fault, if it is that of a unit which was stopped because it overstayed. */
static ml_bytes find_stopped(ml_code code, ml_bytes result)
{
    ml_bytes fault = code == ML_SCRIPT_ERROR ? ml_unpack_find(result, "fault") : (ml_bytes){0};
    bool stopped = ml_bytes_equal(ml_unpack_find_str(fault, "kind"), ML_STR("overstay"));
    return stopped ? fault : (ml_bytes){0};
}

static void hand_over(ml_process *process, ml_ask *ask, ml_code code, ml_bytes result,
                      const char *sentence)
{
    ml_bytes stopped = find_stopped(code, result);
    if (strcmp(ask->method, "activate") == 0) of_process(process)->begun = true;
    if (ask->unit != NULL && stopped.size == 0)
        ml_rules_in_time(process->server, (ml_bytes){ask->unit, strlen(ask->unit)});
    ask->asked(ask, code, result, sentence);
    if (stopped.size > 0)
        ml_rules_stopped(process->server, ml_unpack_find_str(stopped, "unit"),
                         ml_unpack_find_str(stopped, "hash"));
}

static void blame(ml_process *process, const ml_engine_doing *told, const char *verdict)
{
    (void)verdict;
    ml_rules_blame(process->server, (ml_bytes){told->unit, strlen(told->unit)},
                   (ml_bytes){told->hash, strlen(told->hash)});
}

static uint32_t limit_ms(const ml_process *process)
{
    bool command = strncmp(process->page->doing.handler, "command", 7) == 0;
    return command ? ML_RULES_COMMAND_MS : ML_RULES_FOLD_MS;
}

static const ml_process_kind kind = {.first = ask_first,
                                     .answer = hand_over,
                                     .left = drop_first,
                                     .blame = blame,
                                     .limit_ms = limit_ms};

/* ---- asking ----------------------------------------------------------------------- */

ml_code ml_workers_ask(ml_server *server, int number, ml_ask *ask, ml_error *why)
{
    return ml_process_ask(process_of(server, number), ask, why);
}

void ml_workers_tell(ml_server *server, int number, const char *method, ml_bytes args,
                     uint32_t count)
{
    ml_process_tell(process_of(server, number), method, args, count);
}

void ml_workers_start(ml_server *server)
{
    ml_workers *all = server->workers;
    for (size_t n = 0; n < all->count; n++)
        ml_process_start(&all->each[n].process);
}

void ml_workers_renew(ml_server *server, int number)
{
    ml_crew_kill(process_of(server, number));
}

bool ml_workers_begun(const ml_server *server)
{
    const ml_workers *all = server->workers;
    for (size_t n = 0; n < all->count; n++)
        if (!all->each[n].begun) return false;
    return true;
}

size_t ml_workers_count(const ml_server *server)
{
    return server->workers->count;
}

int ml_workers_shard(const ml_server *server, ml_bytes stream)
{
    return (int)(ml_crc32c(0, stream.data, stream.size) % server->workers->count);
}

int ml_workers_idlest(const ml_server *server)
{
    const ml_workers *all = server->workers;
    size_t best = 0;
    for (size_t n = 1; n < all->count; n++)
        if (all->each[n].process.waiting_bytes < all->each[best].process.waiting_bytes) best = n;
    return (int)best;
}

/* ---- life ------------------------------------------------------------------------- */

static void init(ml_server *server, worker *w, int number)
{
    ml_process_init(&w->process, server, &kind);
    w->number = number;
    if (number == ML_WORKERS_BENCH)
        snprintf(w->process.name, sizeof w->process.name, "the worker that checks packs");
    else
        snprintf(w->process.name, sizeof w->process.name, "worker %d", number);
}

size_t ml_server_workers(void)
{
    size_t processors = uv_available_parallelism();
    return processors < ML_WORKERS_MAX ? processors : ML_WORKERS_MAX;
}

ml_code ml_workers_begin(ml_server *server, ml_error *why)
{
    size_t count = server->options->workers > 0 ? server->options->workers : ml_server_workers();
    if (count > ML_WORKERS_MAX) count = ML_WORKERS_MAX;
    ml_workers *all = calloc(1, sizeof *all + count * sizeof *all->each);
    if (all == NULL) return ml_error_memory(why, "the workers");
    server->workers = all;
    all->count = count;
    init(server, &all->bench, ML_WORKERS_BENCH);
    for (size_t n = 0; n < count; n++)
        init(server, &all->each[n], (int)n);
    return ML_OK;
}

/* A decision that comes nevertheless is passed over: nothing is written without us. */
void ml_workers_drain(ml_server *server)
{
    ml_workers *all = server->workers;
    for (size_t n = 0; all != NULL && n < all->count; n++)
        ml_queue_fail(ml_queue_drop_commands(&all->each[n].process), ML_SHUTTING_DOWN,
                      "the daemon is stopping; send the command again when it is back");
}

/* A worker that has such requests has read them, and would do one after the other. */
void ml_workers_quarantine(ml_server *server, ml_bytes unit, const char *sentence)
{
    ml_workers *all = server->workers;
    for (size_t n = 0; n < all->count; n++) {
        ml_process *process = &all->each[n].process;
        ml_ask *asks = ml_queue_drop_unit(process, unit);
        if (asks != NULL) ml_crew_kill(process);
        ml_queue_fail(asks, ML_SCRIPT_ERROR, sentence);
    }
}

void ml_workers_free(ml_server *server)
{
    free(server->workers);
    server->workers = NULL;
}

/* ---- status ----------------------------------------------------------------------- */

static void pack_worker(const worker *w, ml_buf *out)
{
    ml_pack_map(out, 1 + ML_CREW_STATUS);
    ml_pack_text(out, "worker");
    if (w->number == ML_WORKERS_BENCH)
        ml_pack_text(out, "checks");
    else
        ml_pack_int(out, w->number);
    ml_crew_pack_status(&w->process, out);
}

void ml_workers_pack_status(const ml_server *server, ml_buf *out)
{
    const ml_workers *all = server->workers;
    bool bench = all->bench.process.started > 0;
    ml_pack_array(out, (uint32_t)all->count + bench);
    for (size_t n = 0; n < all->count; n++)
        pack_worker(&all->each[n], out);
    if (bench) pack_worker(&all->bench, out);
}
