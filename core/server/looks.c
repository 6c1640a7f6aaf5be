/* looks.c -- a projection as it was at a position: a process of its own folds the log up to there
 * into a view that goes with it, from the nearest copy that is kept. It stays a while, for the next
 * page, or the next key.
 *
 *     views/.past/7      of the seventh look
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../store/store.h"
#include "projections.h"

#define PAST ML_PROJECTIONS_DIR "/.past"

enum {
    LOOKS_MAX = 2,  /* each takes a processor, and the disk for a view */
    IDLE_MS = 10000 /* it stays so long: who goes through pages asks again sooner */
};

struct ml_look {
    ml_process process;
    struct ml_look *next; /* of those that are not leaving */
    ml_projected *of;
    ml_reading *reading; /* NULL: there is no question */
    uint64_t idle_ms;    /* since when */
    ml_ask begin;
    char path[ML_PROJECTIONS_PATH];
    char past[ML_PROJECTIONS_PATH]; /* of the view whose copies it may begin with */
    bool whole;                     /* or with that view itself */
    uint64_t since;                 /* as it was for the projection when this began, */
    size_t skips;                   /* and how many there were */
    char hash[ML_RULES_HASH + 1];
    ml_buf files;
    uint64_t at;
    bool passed_on;
    unsigned percent;
};

static struct ml_look *of_process(const ml_process *process)
{
    return (struct ml_look *)(uintptr_t)process; /* its first member */
}

/* ---- its end ---------------------------------------------------------------------- */

/* The process, and then its directory, go. */
static void leave(struct ml_look *look)
{
    struct ml_look **from = &look->process.server->projections->looks;
    while (*from != NULL && *from != look)
        from = &(*from)->next;
    if (*from == NULL) return; /* they are going */
    *from = look->next;
    ml_process_leave(&look->process, false);
}

/* The question is the caller's again. */
static void let_go(struct ml_look *look)
{
    look->process.server->projections->waiting--;
    look->reading = NULL;
    look->idle_ms = uv_now(&look->process.server->loop);
}

static void refuse(struct ml_look *look, ml_code code, const char *sentence)
{
    ml_reading *reading = look->reading;
    const ml_ask *ask = look->process.first;
    while (ask != NULL && ask != &reading->ask)
        ask = ask->next;
    if (ask != NULL) ml_queue_take_out(&look->process, &reading->ask);
    if (look->process.culprit == &reading->ask) look->process.culprit = NULL;
    let_go(look);
    leave(look);
    ml_later_refuse(&reading->later, code, sentence);
    ml_readings_free(reading);
}

static bool take_left(ml_process *process, ml_ask *ask)
{
    (void)process, (void)ask; /* refused when it is started again, or was already */
    return true;
}

static bool start_again(ml_process *process)
{
    struct ml_look *look = of_process(process);
    if (look->reading != NULL)
        refuse(look, ML_INTERNAL, "the process that was to look at the past has ended; try again");
    leave(look);
    return false;
}

static void blame(ml_process *process, const ml_engine_doing *told, const char *verdict)
{
    (void)told;
    if (of_process(process)->reading != NULL) refuse(of_process(process), ML_SCRIPT_ERROR, verdict);
}

static void gone(ml_process *process)
{
    struct ml_look *look = of_process(process);
    ml_folders_remove(process->server, look->path);
    ml_buf_free(&look->files);
    ml_buf_free(&look->begin.params);
    free(look);
}

/* ---- its work --------------------------------------------------------------------- */

static void answered(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    ml_reading *reading = (ml_reading *)ask;
    struct ml_look *look = reading->of->server->projections->looks;
    while (look->reading != reading)
        look = look->next;
    let_go(look);
    if (code) leave(look);
    ml_buf *out = code ? NULL : ml_later_answer(&reading->later);
    if (code) ml_later_refuse(&reading->later, code, sentence);
    if (out != NULL) ml_buf_add(out, result.data, result.size);
    ml_readings_free(reading);
}

static int64_t number_of(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    int64_t number = 0;
    ML_IGNORE(!ml_unpack_int(&cursor, &number));
    return number;
}

static void note(struct ml_look *look, ml_bytes map)
{
    ml_error why;
    bool stopped = ml_bytes_equal(ml_unpack_find_str(map, "state"), ML_STR("stopped"));
    uint64_t position = (uint64_t)number_of(map, "position");
    look->percent = look->at > 0 ? (unsigned)(position * 100 / look->at) : 100;
    if (look->reading == NULL || look->passed_on) return;
    if (stopped) {
        ml_bytes error = ml_unpack_find(map, "error"),
                 sentence = ml_unpack_find_str(error, "sentence");
        ml_error_set(&why, ml_generations_code_of(error), "it stopped at position %" PRId64 ": %.*s",
                     number_of(error, "position"), ML_SHOW(sentence));
        refuse(look, why.code, why.sentence);
    } else if (position >= look->at) {
        look->passed_on = true;
        look->reading->ask.asked = answered;
        if (ml_process_ask(&look->process, &look->reading->ask, &why))
            refuse(look, why.code, why.sentence);
    }
}

static bool take_progress(ml_process *process, ml_bytes name, ml_unpack params)
{
    uint32_t count;
    if (!ml_bytes_equal(name, ML_STR("progress")) || !ml_unpack_array(&params, &count) ||
        count != 1)
        return false;
    note(of_process(process), (ml_bytes){params.at, (size_t)(params.end - params.at)});
    return true;
}

static void begun(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    struct ml_look *look = (struct ml_look *)((char *)ask - offsetof(struct ml_look, begin));
    if (look->reading == NULL) return;
    if (code) {
        refuse(look, code, sentence);
        return;
    }
    uint8_t space[16];
    ml_buf args = {.data = space, .capacity = sizeof space};
    ml_pack_int(&args, (int64_t)look->at);
    ml_process_tell(&look->process, "head", ml_buf_view(&args), 1);
    note(look, result);
}

static void pack_request(const struct ml_look *look, ml_buf *out)
{
    ml_generations_pack_project(look->of, ml_buf_view(&look->files), look->hash, look->path, false,
                                3, out);
    ml_packs_pack(out, "past", (ml_bytes){look->past, strlen(look->past)});
    ml_pack_text(out, "past_at");
    ml_pack_int(out, (int64_t)look->at);
    ml_pack_text(out, "past_whole");
    ml_pack_bool(out, look->whole);
}

static bool ask_first(ml_process *process)
{
    struct ml_look *look = of_process(process);
    look->begin.method = "project";
    look->begin.count = 1;
    look->begin.asked = begun;
    pack_request(look, &look->begin.params);
    ml_queue_add(process, &look->begin);
    return !look->begin.params.failed;
}

static bool works(const ml_process *process)
{
    return of_process(process)->reading != NULL;
}

static uint32_t limit_ms(const ml_process *process)
{
    (void)process;
    return ML_RULES_FOLD_MS;
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

/* ---- a question ------------------------------------------------------------------- */

static ml_code check(const ml_reading *reading, uint64_t at, ml_error *why)
{
    const struct ml_projections *all = reading->of->server->projections;
    size_t busy = 0;
    for (const struct ml_look *look = all->looks; look != NULL; look = look->next)
        busy += look->reading != NULL;
    if (reading->ask.params.failed) return ml_error_memory(why, "a question to a projection");
    if (reading->of->server->draining)
        return ml_error_set(why, ML_SHUTTING_DOWN, "the daemon is stopping; ask when it is back");
    if (at > all->durable)
        return ml_error_set(why, ML_BAD_REQUEST, "at is %" PRIu64 ", and the log ends at %" PRIu64,
                            at, all->durable);
    if (busy >= LOOKS_MAX)
        return ml_error_set(why, ML_LIMIT,
                            "%d looks at the past are under way; try again when one is done",
                            LOOKS_MAX);
    return ML_OK;
}

/* One that has answered and shows what is asked for now; NULL: there is none. */
static struct ml_look *find_idle(const ml_projected *p, const ml_generation *g, uint64_t at)
{
    struct ml_look *look = p->server->projections->looks;
    for (; look != NULL; look = look->next)
        if (look->reading == NULL && look->process.state == ML_PROCESS_UP && look->of == p &&
            look->at == at && look->since == p->since && look->skips == p->skip_count &&
            strcmp(look->hash, g->hash) == 0)
            return look;
    return NULL;
}

static ml_code ask_again(struct ml_look *look, ml_reading *reading, ml_error *why)
{
    reading->ask.asked = answered;
    ml_code code = ml_process_ask(&look->process, &reading->ask, why);
    if (code) return code;
    look->reading = reading;
    look->process.server->projections->waiting++;
    ml_readings_watch(look->process.server);
    return ML_OK;
}

/* What has been idle longest goes if it takes the place of another. */
static void make_room(const struct ml_projections *all)
{
    struct ml_look *oldest = NULL;
    size_t count = 0;
    for (struct ml_look *look = all->looks; look != NULL; look = look->next, count++)
        if (look->reading == NULL && (oldest == NULL || look->idle_ms < oldest->idle_ms))
            oldest = look;
    if (count >= LOOKS_MAX && oldest != NULL) leave(oldest);
}

static struct ml_look *new_look(ml_projected *p, const ml_generation *g, uint64_t at)
{
    struct ml_projections *all = p->server->projections;
    struct ml_look *look = calloc(1, sizeof *look);
    if (look == NULL) return NULL;
    ml_buf_add(&look->files, g->files.data, g->files.size);
    memcpy(look->hash, g->hash, sizeof look->hash);
    memcpy(look->past, g->path, sizeof look->past);
    snprintf(look->path, sizeof look->path, PAST "/%" PRIu64, ++all->last_look);
    look->whole = g->ready && g->position <= at;
    look->of = p;
    look->at = at;
    look->since = p->since;
    look->skips = p->skip_count;
    look->next = all->looks;
    all->looks = look;
    ml_process_init(&look->process, p->server, &kind);
    snprintf(look->process.name, sizeof look->process.name, "a look at projection %s", p->name);
    return look;
}

/* Of the version that is live, or is to be. */
ml_code ml_looks_send(ml_reading *reading, uint64_t at, ml_error *why)
{
    ml_projected *p = reading->of;
    const ml_generation *g = p->live != NULL ? p->live : p->building;
    ml_code code = check(reading, at, why);
    if (!code && g == NULL)
        code = ml_error_set(why, ML_TIMEOUT, "no version of projection %s is there yet; ask again",
                            p->name);
    struct ml_look *look = code ? NULL : find_idle(p, g, at);
    if (look != NULL) return ask_again(look, reading, why);
    if (!code) code = ml_folders_make(p->server, PAST, why);
    if (code) return code;
    make_room(p->server->projections);
    look = new_look(p, g, at);
    if (look == NULL) return ml_error_memory(why, "a look at the past");
    look->reading = reading;
    p->server->projections->waiting++;
    ml_readings_watch(p->server);
    ml_process_start(&look->process);
    return ML_OK;
}

/* Those that have taken too long, or that nobody asks any more. */
void ml_looks_go_on(ml_server *server)
{
    struct ml_look *look = server->projections->looks;
    uint64_t now = uv_now(&server->loop);
    while (look != NULL) {
        struct ml_look *next = look->next;
        ml_error why;
        if (look->reading == NULL) {
            if (now - look->idle_ms >= IDLE_MS) leave(look);
        } else if (look->reading->due_ms <= now) {
            ml_error_set(&why, ML_TIMEOUT,
                         "projection %s at position %" PRIu64
                         " is not made so fast: %u %% were; ask with a longer timeout",
                         look->reading->of->name, look->at, look->percent);
            refuse(look, why.code, why.sentence);
        }
        look = next;
    }
}

void ml_looks_fail_all(ml_server *server, ml_code code, const char *sentence)
{
    struct ml_look *look;
    while ((look = server->projections->looks) != NULL) {
        if (look->reading != NULL)
            refuse(look, code, sentence);
        else
            leave(look);
    }
}
