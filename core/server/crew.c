/* crew.c -- the eye on workers: which one is stuck, and what in.
 *
 * A script that runs too long is stopped by its own sandbox (script/sandbox.h) with an error.
 * What that cannot stop, this does: a call that is still the same after its limit and GRACE_MS is
 * ended with its process. A busy machine is no reason, so the processor's time counts, and the
 * clock's only many times over. Where no script runs, a worker that does nothing at all for long is
 * stopped or stuck, and another takes its place; the requests go on there.
 */
#include "crew.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "rules.h"

typedef enum doubt { FINE, OVERSTAYS, STUCK, ENDLESS } doubt;

enum {
    LOOK_MS = 25,
    GRACE_MS = 250,     /* after the limit: the sandbox's own stop comes first */
    PATIENCE = 10,      /* times as long by the clock, where the processor was busy with others */
    STUCK_MS = 5000,    /* without a script, an answer, or any use of the processor */
    ENDLESS_MS = 600000 /* of work that is no script: the proof of a pack over all of history */
};

static uint64_t microseconds(const struct timespec *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_nsec / 1000;
}

static uint64_t clock_now(void)
{
    struct timespec time = {0};
    ML_IGNORE(clock_gettime(CLOCK_MONOTONIC, &time) != 0); /* always there */
    return microseconds(&time);
}

/* The processor's time that it has used; 0 if it has just ended. */
static uint64_t cpu_of(const ml_process *process)
{
    clockid_t clock;
    struct timespec time = {0};
    if (clock_getcpuclockid(process->child.pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return 0;
    return microseconds(&time);
}

void ml_crew_progress(ml_process *process)
{
    process->progress = clock_now();
    process->progress_cpu = 0;
}

/* ---- what the page says ----------------------------------------------------------- */

/* A text that somebody else writes: short, ended, and plain. */
static void copy_text(char *to, size_t room, const char *from)
{
    size_t size = 0;
    while (size + 1 < room && from[size] != '\0')
        size++;
    memcpy(to, from, size);
    to[size] = '\0';
    for (size_t n = 0; n < size; n++)
        if ((unsigned char)to[n] < ' ' || to[n] == 0x7f) to[n] = '?';
    if (!ml_unpack_utf8((ml_bytes){to, size})) snprintf(to, room, "?");
}

static ml_engine_doing read_page(const ml_process *process)
{
    ml_engine_doing told = process->page->doing,
                    plain = {.began = told.began, .position = told.position};
    copy_text(plain.unit, sizeof plain.unit, told.unit);
    copy_text(plain.hash, sizeof plain.hash, told.hash);
    copy_text(plain.handler, sizeof plain.handler, told.handler);
    copy_text(plain.where, sizeof plain.where, told.where);
    return plain;
}

static uint64_t limit_ms(const ml_process *process)
{
    bool command = strncmp(process->page->doing.handler, "command", 7) == 0;
    return command ? ML_RULES_COMMAND_MS : ML_RULES_FOLD_MS;
}

/* ---- looking ---------------------------------------------------------------------- */

/* A script is being run since `began`. */
static doubt look_at_script(ml_process *process, uint64_t began, uint64_t now)
{
    uint64_t limit = limit_ms(process) * 1000, most = limit + GRACE_MS * 1000,
             cpu = cpu_of(process);
    if (process->seen != began) {
        process->seen = began;
        process->seen_cpu = cpu;
        process->progress = now;
    }
    if (now < began + most) return FINE;
    bool worked = cpu - process->seen_cpu >= most;
    return worked || now > began + most * PATIENCE ? OVERSTAYS : FINE;
}

static doubt look(ml_process *process, uint64_t now)
{
    uint64_t began = __atomic_load_n(&process->page->doing.began, __ATOMIC_ACQUIRE);
    if (began != 0 && began <= now) return look_at_script(process, began, now);
    process->seen = 0;
    uint64_t cpu = cpu_of(process);
    if (now > process->progress + (uint64_t)ENDLESS_MS * 1000) return ENDLESS;
    if (cpu == process->progress_cpu && now > process->seen_cpu + (uint64_t)STUCK_MS * 1000)
        return STUCK;
    if (cpu != process->progress_cpu)
        process->seen_cpu = now; /* here: when it last used the processor */
    process->progress_cpu = cpu;
    return FINE;
}

void ml_crew_kill(ml_process *process)
{
    if (process->state != ML_PROCESS_UP) return;
    process->killed = true;
    process->state = ML_PROCESS_ENDING;
    uv_process_kill(&process->child, SIGKILL); /* if it has ended already, that is told soon */
}

static ml_ask *find_culprit(const ml_process *process)
{
    uint32_t msgid = process->page->msgid;
    ml_ask *ask = process->first;
    while (ask != NULL && ask->msgid != msgid)
        ask = ask->next;
    return ask;
}

/* "account.lua:12: command withdraw of aggregate/account …" */
static void judge(ml_process *process, const char *what)
{
    ml_engine_doing told = read_page(process);
    char event[48] = "";
    if (told.position > 0) snprintf(event, sizeof event, " at position %" PRIu64, told.position);
    process->culprit = find_culprit(process);
    snprintf(process->verdict, sizeof process->verdict, "%s: %s of %s%s %s", told.where,
             told.handler, told.unit, event, what);
}

static void act(ml_process *process, doubt what)
{
    char text[96];
    if (what == OVERSTAYS) {
        snprintf(text, sizeof text, "ran longer than %" PRIu64 " ms, and its worker was killed",
                 limit_ms(process));
        judge(process, text);
    } else if (what == ENDLESS) {
        process->culprit = find_culprit(process);
        snprintf(process->verdict, sizeof process->verdict,
                 "the worker did not come to an end within %d s", ENDLESS_MS / 1000);
    } else {
        ml_say(process->server, "warning", "worker %d has done nothing for %d s: killed",
               process->number, STUCK_MS / 1000);
    }
    ml_crew_kill(process);
}

static bool look_at(ml_process *process, uint64_t now)
{
    if (process->state != ML_PROCESS_UP || process->first == NULL) return false;
    doubt what = look(process, now);
    if (what != FINE) act(process, what);
    return true;
}

static void look_at_all(uv_timer_t *clock)
{
    ml_server *server = clock->data;
    ml_workers *all = server->workers;
    uint64_t now = clock_now();
    bool busy = look_at(&all->bench, now);
    for (size_t n = 0; n < all->count; n++)
        busy |= look_at(&all->each[n], now);
    if (!busy) uv_timer_stop(clock);
}

/* From idle to busy: the time before counts for nothing. */
void ml_crew_watch(ml_server *server)
{
    ml_workers *all = server->workers;
    if (uv_is_active((uv_handle_t *)&all->clock)) return;
    uint64_t now = clock_now();
    all->bench.progress = all->bench.seen_cpu = now;
    for (size_t n = 0; n < all->count; n++)
        all->each[n].progress = all->each[n].seen_cpu = now;
    uv_timer_start(&all->clock, look_at_all, LOOK_MS, LOOK_MS);
}

/* ---- after its end ---------------------------------------------------------------- */

/* A SIGKILL that is not ours comes from outside, and is nobody's fault. */
static bool crashed(const ml_process *process)
{
    bool bad =
        process->exit_signal != 0 ? process->exit_signal != SIGKILL : process->exit_status != 0;
    return !process->killed && bad && process->page->doing.began != 0;
}

static void take_out(ml_process *process, ml_ask *ask)
{
    ml_ask **at = &process->first, *before = NULL;
    for (; *at != ask; at = &(*at)->next)
        before = *at;
    *at = ask->next;
    if (process->last == ask) process->last = before;
    process->waiting--;
    process->waiting_bytes -= ask->params.size;
}

void ml_crew_attribute(ml_process *process)
{
    if (crashed(process)) {
        char text[64];
        snprintf(text, sizeof text, "crashed its worker (signal %d)", process->exit_signal);
        judge(process, text);
    } else if (!process->killed && !process->server->draining) {
        ml_say(process->server, "warning",
               "worker %d ended (status %d, signal %d): another takes its place", process->number,
               (int)process->exit_status, process->exit_signal);
    }
    if (process->verdict[0] == '\0') return;
    ml_say(process->server, "error", "%s", process->verdict);
    ml_engine_doing told = read_page(process);
    if (told.began != 0)
        ml_rules_blame(process->server, (ml_bytes){told.unit, strlen(told.unit)},
                       (ml_bytes){told.hash, strlen(told.hash)});
    ml_ask *culprit = process->culprit;
    char verdict[ML_SENTENCE_MAX];
    memcpy(verdict, process->verdict, sizeof verdict);
    process->verdict[0] = '\0';
    process->culprit = NULL;
    if (culprit == NULL) return;
    take_out(process, culprit);
    culprit->asked(culprit, ML_SCRIPT_ERROR, (ml_bytes){0}, verdict);
}

/* ---- status ----------------------------------------------------------------------- */

static void pack_entry(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

static void pack_process(const ml_process *process, ml_buf *out)
{
    static const char *const states[] = {"down", "up", "ending"};
    bool bench = process->number == ML_WORKERS_BENCH, up = process->state == ML_PROCESS_UP;
    ml_pack_map(out, 7);
    ml_pack_text(out, "worker");
    if (bench)
        ml_pack_text(out, "checks");
    else
        ml_pack_int(out, process->number);
    ml_pack_text(out, "pid");
    if (up)
        ml_pack_int(out, process->child.pid);
    else
        ml_pack_nil(out);
    ml_pack_text(out, "state");
    ml_pack_text(out, up && process->page->doing.began != 0 ? "running" : states[process->state]);
    pack_entry(out, "answered", process->answered);
    pack_entry(out, "waiting", process->waiting);
    pack_entry(out, "restarts", process->restarts);
    pack_entry(out, "walls", process->walls);
}

void ml_workers_pack_status(const ml_server *server, ml_buf *out)
{
    const ml_workers *all = server->workers;
    bool bench = all->bench.started > 0;
    ml_pack_array(out, (uint32_t)all->count + bench);
    for (size_t n = 0; n < all->count; n++)
        pack_process(&all->each[n], out);
    if (bench) pack_process(&all->bench, out);
}
