/* generations.c -- one version of a projection: what its process is told, and tells. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "../store/store.h"
#include "projections.h"
#include "workers.h"

enum {
    AGAIN_MS = 500,    /* after a view could not be opened; each time twice as long, */
    AGAIN_DOUBLED = 6, /* so often */
    DEATHS = 2         /* by a view that is damaged in a way that crashes who reads it */
};

static ml_generation *of_process(const ml_process *process)
{
    return (ml_generation *)(uintptr_t)process; /* its first member */
}

const char *ml_generations_state_name(ml_generation_state state)
{
    static const char *const names[] = {"building", "building", "live",
                                        "paused",   "stopped",  "failed"};
    return names[state];
}

/* ---- what it tells ---------------------------------------------------------------- */

static uint64_t number_of(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    int64_t number = 0;
    return ml_unpack_int(&cursor, &number) && number > 0 ? (uint64_t)number : 0;
}

static ml_generation_state state_of(ml_bytes word)
{
    for (int n = ML_GENERATION_BUILDING; n <= ML_GENERATION_STOPPED; n++)
        if (ml_params_is(ml_generations_state_name((ml_generation_state)n), word))
            return (ml_generation_state)n;
    return ML_GENERATION_STARTING;
}

static ml_bytes error_of(const ml_generation *g)
{
    return ml_unpack_find(ml_buf_view(&g->report), "error");
}

static ml_bytes error_text(const ml_generation *g, const char *name)
{
    return ml_unpack_find_str(error_of(g), name);
}

static void say_stopped(const ml_generation *g)
{
    ml_bytes message = error_text(g, "sentence"), type = error_text(g, "type"),
             stream = error_text(g, "stream");
    if (g->stopped_at > 0)
        ml_say(g->process.server, "error",
               "%s stopped at position %" PRIu64 " (%.*s of %.*s): %.*s", g->process.name,
               g->stopped_at, ML_SHOW(type), ML_SHOW(stream), ML_SHOW(message));
    else
        ml_say(g->process.server, "error", "%s stopped: %.*s", g->process.name, ML_SHOW(message));
}

static void note_state(ml_generation *g, ml_bytes map)
{
    ml_generation_state before = g->state;
    bool killed = g->kills >= ML_WORKERS_KILLS; /* it is paused for that, and the reason is known */
    ml_bytes error = ml_unpack_find(map, "error");
    g->state = killed ? ML_GENERATION_STOPPED : state_of(ml_unpack_find_str(map, "state"));
    if (g->state == before) return;
    if (before == ML_GENERATION_STOPPED && g->state != ML_GENERATION_PAUSED)
        ml_say(g->process.server, "info", "%s goes on at position %" PRIu64, g->process.name,
               g->position);
    if (killed) return;
    g->stopped_at = number_of(error, "position");
    if (g->state == ML_GENERATION_STOPPED) say_stopped(g);
    if (g->state == ML_GENERATION_LIVE) g->deaths = 0;
}

/* Once, until it can be made again. */
static void note_copying(ml_generation *g, ml_bytes map)
{
    ml_bytes sentence = ml_unpack_find_str(map, "copying");
    bool fails = sentence.size > 0;
    if (fails && !g->uncopied)
        ml_say(g->process.server, "warning",
               "%s: its view could not be copied, which is tried again later: %.*s",
               g->process.name, ML_SHOW(sentence));
    g->uncopied = fails;
}

static void note_progress(ml_generation *g, ml_bytes map)
{
    ml_buf_clear(&g->report);
    ml_buf_add(&g->report, map.data, map.size);
    g->position = number_of(map, "position");
    g->events = number_of(map, "events");
    g->rows = number_of(map, "rows");
    g->bytes = number_of(map, "bytes");
    g->closes = (int64_t)number_of(map, "closes");
    if (g->began_at == UINT64_MAX) g->began_at = g->position; /* the first word of this process */
    if (g->killed_at > 0 && g->position > g->killed_at) g->kills = 0, g->killed_at = 0;
    note_state(g, map);
    note_copying(g, map);
}

/* ---- the first request ------------------------------------------------------------ */

static void begun(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    ml_generation *g = (ml_generation *)((char *)ask - offsetof(ml_generation, begin));
    if (g->of == NULL || code == ML_SHUTTING_DOWN) return;
    if (!code) {
        g->failures = 0;
        note_progress(g, result);
        ml_swaps_consider(g->of);
        return;
    }
    if (g->failures++ == 0)
        ml_say(g->process.server, "error", "%s cannot be kept up, and is tried again: %s",
               g->process.name, sentence);
    ml_error_set(&g->trouble, code, "%s", sentence);
    g->state = ML_GENERATION_FAILED;
    ml_crew_kill(&g->process);
}

void ml_generations_pack_project(const ml_projected *p, ml_bytes files, const char *hash,
                                 const char *path, bool paused, uint32_t more, ml_buf *out)
{
    ml_pack_map(out, 8 + more);
    ml_pack_text(out, "files");
    ml_buf_add(out, files.data, files.size);
    ml_packs_pack(out, "name", (ml_bytes){p->name, strlen(p->name)});
    ml_packs_pack(out, "dir", (ml_bytes){path, strlen(path)});
    ml_pack_text(out, "boot");
    ml_pack_text(out, p->server->projections->boot);
    ml_pack_text(out, "start");
    ml_pack_int(out, (int64_t)p->since);
    ml_pack_text(out, "skips");
    ml_ledger_pack_skips(p, hash, out);
    ml_pack_text(out, "paused");
    ml_pack_bool(out, paused);
    ml_pack_text(out, "log");
    ml_pack_bin(out, (ml_bytes){ml_store_log_id(p->server->store), ML_STORE_LOG_ID});
}

static void pack_request(const ml_generation *g, ml_buf *out)
{
    const ml_projected *p = g->of;
    const ml_generation *base = g == p->building && !g->full ? p->live : NULL;
    bool paused = p->paused || g->kills >= ML_WORKERS_KILLS;
    ml_generations_pack_project(p, ml_buf_view(&g->files), g->hash, g->path, paused,
                                base != NULL ? 2 : 0, out);
    if (base == NULL) return;
    ml_packs_pack(out, "base", (ml_bytes){base->path, strlen(base->path)});
    ml_pack_text(out, "base_files");
    ml_buf_add(out, base->files.data, base->files.size);
}

static bool ask_first(ml_process *process)
{
    ml_generation *g = of_process(process);
    char dir[ML_PROJECTIONS_PATH];
    ml_error why;
    g->state = ML_GENERATION_STARTING;
    g->ready = false;
    g->told = 0;
    g->began_ms = uv_now(&process->server->loop);
    g->began_at = UINT64_MAX;
    if (g->fresh || ml_folders_barred(process->server, g->path))
        ml_folders_remove_now(process->server, g->path);
    g->fresh = false;
    ml_folders_path(g->of, "", dir);
    if (ml_folders_make(process->server, dir, &why)) {
        begun(&g->begin, why.code, (ml_bytes){0}, why.sentence);
        return false;
    }
    ml_buf_clear(&g->begin.params);
    g->begin.method = "project";
    g->begin.count = 1;
    g->begin.asked = begun;
    pack_request(g, &g->begin.params);
    ml_queue_add(process, &g->begin);
    return !g->begin.params.failed;
}

static bool take_progress(ml_process *process, ml_bytes name, ml_unpack params)
{
    ml_generation *g = of_process(process);
    uint32_t count;
    if (!ml_bytes_equal(name, ML_STR("progress")) || !ml_unpack_array(&params, &count) ||
        count != 1)
        return false;
    if (g->of == NULL || process->state != ML_PROCESS_UP) return true;
    note_progress(g, (ml_bytes){params.at, (size_t)(params.end - params.at)});
    ml_swaps_consider(g->of);
    return true;
}

unsigned ml_generations_percent(const ml_generation *g)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(ml_buf_view(&g->report), "progress"));
    ml_token token = ml_unpack_next(&cursor);
    bool known = token.kind == ML_KIND_FLOAT && token.number >= 0 && token.number <= 1;
    return known ? (unsigned)(token.number * 100) : 0;
}

uint64_t ml_generations_eta_ms(const ml_generation *g)
{
    return number_of(ml_buf_view(&g->report), "eta_ms");
}

/* ---- what it is to do ------------------------------------------------------------- */

static void done(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    (void)code, (void)result, (void)sentence; /* its progress says what came of it */
    ml_buf_free(&ask->params);
    free(ask);
}

/* Without memory for it, it is started anew, which does the same. */
static void ask_for(ml_generation *g, const char *method, uint64_t position)
{
    ml_error why;
    ml_ask *ask = calloc(1, sizeof *ask);
    if (ask != NULL) {
        *ask = (ml_ask){.method = method, .asked = done, .count = position > 0};
        if (position > 0) ml_pack_int(&ask->params, (int64_t)position);
    }
    if (ask != NULL && ml_process_ask(&g->process, ask, &why) == ML_OK) return;
    if (ask != NULL) done(ask, ML_OK, (ml_bytes){0}, "");
    ml_crew_kill(&g->process);
}

/* What it was killed for too often, or cannot open, is a matter for another process. */
static bool wants_another(const ml_generation *g)
{
    return g->process.state != ML_PROCESS_UP || g->kills > 0 || g->state == ML_GENERATION_FAILED;
}

static void renew(ml_generation *g)
{
    g->kills = g->deaths = g->failures = 0;
    g->killed_at = g->stopped_at = 0;
    g->trouble.code = ML_OK;
    g->state = ML_GENERATION_STARTING;
    if (g->process.state != ML_PROCESS_DOWN) {
        ml_crew_kill(&g->process);
    } else {
        uv_timer_stop(&g->process.pause);
        ml_generations_start(g);
    }
}

void ml_generations_pause(ml_generation *g)
{
    if (g->process.state == ML_PROCESS_UP && g->kills < ML_WORKERS_KILLS)
        ask_for(g, g->of->paused ? "pause" : "resume", 0);
}

void ml_generations_retry(ml_generation *g)
{
    if (wants_another(g))
        renew(g);
    else
        ask_for(g, "retry", 0);
}

void ml_generations_skip(ml_generation *g, uint64_t position)
{
    if (wants_another(g))
        renew(g);
    else
        ask_for(g, "skip", position);
}

void ml_generations_spoil(ml_generation *g)
{
    g->fresh = true;
    ml_crew_kill(&g->process);
}

bool ml_generations_holds(const ml_generation *g)
{
    return g->process.state == ML_PROCESS_UP && number_of(ml_buf_view(&g->report), "held") > 0;
}

bool ml_generations_stopped_at(const ml_generation *g, uint64_t position)
{
    return g->state == ML_GENERATION_STOPPED && g->stopped_at > 0 &&
           (position == 0 || g->stopped_at == position);
}

/* ---- its end ---------------------------------------------------------------------- */

static bool take_left(ml_process *process, ml_ask *ask)
{
    ml_generation *g = of_process(process);
    if (ask == &g->begin) return true;
    if (ml_readings_is(ask))
        ml_readings_again((ml_reading *)ask);
    else
        ask->asked(ask, ML_SHUTTING_DOWN, (ml_bytes){0}, "the projector has ended; try again");
    return true;
}

/* It was killed for what its script did, or the script crashed it. */
static void blame(ml_process *process, const ml_engine_doing *told, const char *verdict)
{
    ml_generation *g = of_process(process);
    g->kills = told->position == g->killed_at ? g->kills + 1 : 1;
    g->killed_at = told->position;
    ml_error_set(&g->trouble, ML_SCRIPT_ERROR, "%s", verdict);
    if (g->kills < ML_WORKERS_KILLS) return;
    g->state = ML_GENERATION_STOPPED;
    g->stopped_at = g->killed_at;
    ml_say(process->server, "error", "%s stopped at position %" PRIu64 ": %s, %u times",
           process->name, g->stopped_at, verdict, g->kills);
}

static bool died(const ml_process *process)
{
    if (process->killed || process->exit_signal == SIGKILL) return false;
    return process->exit_signal != 0 || process->exit_status != 0;
}

static bool start_again(ml_process *process)
{
    ml_generation *g = of_process(process);
    bool failed = g->state == ML_GENERATION_FAILED;
    if (process->server->draining || g->of == NULL) return false;
    if (died(process) && process->page->doing.began == 0 && ++g->deaths >= DEATHS && !g->fresh) {
        g->fresh = true;
        ml_say(process->server, "warning", "%s: its view is discarded and built again",
               process->name);
    }
    g->ready = false;
    if (!failed && g->state != ML_GENERATION_STOPPED) g->state = ML_GENERATION_STARTING;
    ml_swaps_consider(g->of);
    if (!failed) return true;
    unsigned doubled = g->failures < AGAIN_DOUBLED ? g->failures : AGAIN_DOUBLED;
    ml_process_start_in(process, (uint64_t)AGAIN_MS << doubled);
    return false;
}

/* It has to catch up: then the crew looks at what it runs. */
static bool works(const ml_process *process)
{
    const ml_generation *g = of_process(process);
    bool still = g->state == ML_GENERATION_PAUSED || g->state == ML_GENERATION_STOPPED;
    return g->position < g->told && !still;
}

static uint32_t limit_ms(const ml_process *process)
{
    (void)process;
    return ML_RULES_FOLD_MS;
}

static void gone(ml_process *process)
{
    ml_generation *g = of_process(process);
    if (g->removing) {
        char
            part[ML_PROJECTIONS_PATH + 8]; /* what was made from another version's, and not whole */
        snprintf(part, sizeof part, "%s.part", g->path);
        ml_folders_remove(process->server, part);
        ml_folders_remove(process->server, g->path);
    }
    ml_buf_free(&g->files);
    ml_buf_free(&g->report);
    ml_buf_free(&g->begin.params);
    free(g);
}

static const ml_process_kind kind = {.role = "projection",
                                     .first = ask_first,
                                     .told = take_progress,
                                     .left = take_left,
                                     .blame = blame,
                                     .again = start_again,
                                     .works = works,
                                     .limit_ms = limit_ms,
                                     .gone = gone};

/* ---- life ------------------------------------------------------------------------- */

bool ml_generations_is(const ml_process *process)
{
    return process->kind == &kind;
}

bool ml_generations_busy(const ml_projected *p, const char *folder)
{
    char path[ML_PROJECTIONS_PATH];
    const ml_process *process = p->server->processes;
    ml_folders_path(p, folder, path);
    for (; process != NULL; process = process->next)
        if (ml_generations_is(process) &&
            strcmp(((const ml_generation *)(const void *)process)->path, path) == 0)
            return true;
    return ml_folders_removing(p->server, path);
}

static void choose_folder(const ml_projected *p, ml_generation *g)
{
    unsigned number = 1;
    snprintf(g->folder, sizeof g->folder, "%s", g->hash);
    while (ml_generations_busy(p, g->folder))
        snprintf(g->folder, sizeof g->folder, "%s.%u", g->hash, ++number % 100000);
}

ml_generation *ml_generations_new(ml_projected *p, ml_bytes hash, ml_bytes files,
                                  const char *folder)
{
    ml_generation *g = hash.size <= ML_RULES_HASH ? calloc(1, sizeof *g) : NULL;
    if (g == NULL) return NULL;
    ml_buf files_copy = {0};
    ml_buf_add(&files_copy, files.data, files.size);
    if (files_copy.failed) {
        free(g);
        return NULL;
    }
    memcpy(g->hash, hash.data, hash.size);
    if (folder == NULL)
        choose_folder(p, g);
    else
        snprintf(g->folder, sizeof g->folder, "%s", folder);
    ml_folders_path(p, g->folder, g->path);
    ml_process_init(&g->process, p->server, &kind);
    g->of = p;
    g->files = files_copy;
    snprintf(g->process.name, sizeof g->process.name, "projection %s (%s)", p->name, g->hash);
    return g;
}

void ml_generations_start(ml_generation *g)
{
    if (g->of->server->projections->wanted) ml_process_start(&g->process);
}

/* What is to be removed need not be synced, and is removed when nobody writes to it. */
void ml_generations_drop(ml_generation *g, bool removing)
{
    g->of = NULL;
    g->removing = removing;
    ml_process_leave(&g->process, !removing);
}

bool ml_generations_tell(ml_generation *g, uint64_t durable, bool now)
{
    uint64_t limit = ml_swaps_limit(g, durable);
    if (g->told >= limit || g->process.state != ML_PROCESS_UP) return false;
    if (!now) return true;
    uint8_t space[16];
    ml_buf args = {.data = space, .capacity = sizeof space};
    ml_pack_int(&args, (int64_t)limit);
    ml_process_tell(&g->process, "head", ml_buf_view(&args), 1);
    if (g->position >= g->told) ml_crew_watch(g->process.server);
    g->told = limit;
    return true;
}

/* Is the reason ours, and not its own? */
static bool is_ours(const ml_generation *g)
{
    return g->trouble.code != ML_OK && (g->state == ML_GENERATION_FAILED || g->kills > 0);
}

ml_bytes ml_generations_reason(const ml_generation *g)
{
    if (is_ours(g)) return (ml_bytes){g->trouble.sentence, strlen(g->trouble.sentence)};
    return error_text(g, "sentence");
}

ml_code ml_generations_code_of(ml_bytes error)
{
    ml_bytes name = ml_unpack_find_str(error, "code");
    for (int code = ML_BAD_REQUEST; code <= ML_UNREACHABLE; code++)
        if (ml_params_is(ml_error_name((ml_code)code), name)) return (ml_code)code;
    return ML_SCRIPT_ERROR;
}

ml_code ml_generations_code(const ml_generation *g)
{
    return is_ours(g) ? g->trouble.code : ml_generations_code_of(error_of(g));
}

void ml_generations_pack_error(const ml_generation *g, ml_buf *out)
{
    ml_bytes told = error_of(g);
    if (is_ours(g)) {
        ml_pack_map(out, 3);
        ml_pack_text(out, "code");
        ml_pack_text(out, ml_error_name(g->trouble.code));
        ml_packs_pack(out, "sentence", ml_generations_reason(g));
        ml_pack_text(out, "position");
        ml_pack_int(out, (int64_t)g->killed_at);
    } else if (told.size > 0) {
        ml_buf_add(out, told.data, told.size);
    } else {
        ml_pack_nil(out);
    }
}
