/* crew.c -- the eye on workers: which one is stuck, and what in.
 *
 * A script that runs too long is stopped by its own sandbox (script/sandbox.h) with an error.
 * What that cannot stop, this does: a call that is still the same after its limit and GRACE_MS is
 * ended with its process. A busy machine is no reason, so the processor's time counts, and the
 * clock's only many times over. A process that was stopped (SIGSTOP) gets no time at all, however
 * idle the machine is: for it the clock counts, limit and GRACE_MS. Another takes its place, and
 * the requests go on there; so they do where a worker without a script does nothing for long.
 */
#include "process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

typedef enum doubt { FINE, OVERSTAYS, STOPPED, STUCK, ENDLESS } doubt;

enum {
    LOOK_MS = 25,
    GRACE_MS = 250, /* after the limit: the sandbox's own stop comes first */
    PATIENCE = 10,  /* times as long by the clock, where the processor was busy with others */
    /* Without a script, an answer, or any use of the processor: stopped; or it only looks so. */
    STOPPED_MS = ML_RULES_COMMAND_MS + GRACE_MS,
    STUCK_MS = 5000,
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

void ml_crew_begin(ml_process *process)
{
    process->progress = process->worked = clock_now();
    process->seen = process->worked_cpu = 0;
}

void ml_crew_progress(ml_process *process)
{
    process->progress = process->worked = clock_now();
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
    return process->kind->limit_ms(process);
}

/* Is there something that it has to do? */
static bool is_busy(const ml_process *process)
{
    if (process->state != ML_PROCESS_UP) return false;
    return process->first != NULL ||
           (process->kind->works != NULL && process->kind->works(process));
}

/* ---- looking ---------------------------------------------------------------------- */

/* Has somebody sent it a SIGSTOP? "PID (name) T …" */
static bool is_stopped(const ml_process *process)
{
    char path[32], text[128] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process->child.pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    const char *name_end = size > 0 ? strrchr(text, ')') : NULL;
    return name_end != NULL && strncmp(name_end, ") T", 3) == 0;
}

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
    if (cpu - process->seen_cpu < most && is_stopped(process)) return STOPPED;
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
    if (cpu != process->worked_cpu) process->worked = now;
    process->worked_cpu = cpu;
    uint64_t idle = now - process->worked;
    if (idle > STUCK_MS * 1000) return STUCK;
    return idle > STOPPED_MS * 1000 && is_stopped(process) ? STOPPED : FINE;
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
    } else if (what == STOPPED) {
        ml_say(process->server, "warning", "%s was stopped from outside: killed", process->name);
    } else {
        ml_say(process->server, "warning", "%s has done nothing for %d s: killed", process->name,
               STUCK_MS / 1000);
    }
    ml_crew_kill(process);
}

static bool look_at(ml_process *process, uint64_t now)
{
    if (!is_busy(process)) {
        process->progress = process->worked = now; /* what it does next begins now */
        return false;
    }
    doubt what = look(process, now);
    if (what != FINE) act(process, what);
    return true;
}

static void look_at_all(uv_timer_t *timer)
{
    ml_server *server = timer->data;
    uint64_t now = clock_now();
    bool busy = false;
    for (ml_process *process = server->processes; process != NULL; process = process->next)
        busy |= look_at(process, now);
    if (!busy) uv_timer_stop(timer);
}

/* From idle to busy: the time before counts for nothing. */
void ml_crew_watch(ml_server *server)
{
    if (uv_is_active((uv_handle_t *)&server->watching)) return;
    uint64_t now = clock_now();
    for (ml_process *process = server->processes; process != NULL; process = process->next)
        process->progress = process->worked = now;
    server->watching.data = server;
    uv_timer_start(&server->watching, look_at_all, LOOK_MS, LOOK_MS);
}

/* ---- after its end ---------------------------------------------------------------- */

/* A SIGKILL that is not ours comes from outside, and is nobody's fault. */
static bool crashed(const ml_process *process)
{
    bool bad =
        process->exit_signal != 0 ? process->exit_signal != SIGKILL : process->exit_status != 0;
    return !process->killed && bad && process->page->doing.began != 0;
}

void ml_crew_attribute(ml_process *process)
{
    if (crashed(process)) {
        char text[64];
        snprintf(text, sizeof text, "crashed its worker (signal %d)", process->exit_signal);
        judge(process, text);
    } else if (!process->killed && !process->server->draining) {
        ml_say(process->server, "warning",
               "%s ended (status %d, signal %d): another takes its place", process->name,
               (int)process->exit_status, process->exit_signal);
    }
    if (process->verdict[0] == '\0') return;
    ml_say(process->server, "error", "%s", process->verdict);
    ml_ask *culprit = process->culprit;
    char verdict[ML_SENTENCE_MAX];
    memcpy(verdict, process->verdict, sizeof verdict);
    process->verdict[0] = '\0';
    process->culprit = NULL;
    if (culprit != NULL) {
        ml_queue_take_out(process, culprit);
        culprit->asked(culprit, ML_SCRIPT_ERROR, (ml_bytes){0}, verdict);
    }
    ml_engine_doing told = read_page(process);
    if (told.began != 0 && process->kind->blame != NULL)
        process->kind->blame(process, &told, verdict);
}

/* ---- status ----------------------------------------------------------------------- */

static void pack_entry(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

void ml_crew_pack_status(const ml_process *process, ml_buf *out)
{
    static const char *const states[] = {"down", "up", "ending"};
    bool up = process->state == ML_PROCESS_UP;
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
