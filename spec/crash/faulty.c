/* faulty.c -- every disk call of every workload fails, once and for ever, in four ways.
 *
 * Each play goes on as a program would: an error is an answer (but to calls that move fewer
 * bytes than they were asked for); after STORE_FAILED the store is opened again, on a disk that
 * works again or does not. Then the fault is taken away, and
 * the disk is held against the model three times: as a crash leaves it that keeps nothing
 * pending, one that keeps some of it, and as it is.
 *
 *     crash faulty --workload roll        prints where it went wrong, if it does
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../core/base/disk_faulty.h"
#include "../../core/base/disk_recorder.h"
#include "crash.h"
#include "workload.h"

enum {
    SECONDS_MAX = 30, /* for a play of a millisecond: beyond, it hangs */
    REAL_PLAYS = 60   /* of each fault on the real disk, where a sync takes its time */
};

static const struct {
    const char *name;
    int error;
} faults[] = {{"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EINTR", EINTR}, {"short", 0}};

typedef struct trial {
    const ml_crash_options *options;
    const ml_workload *workload;
    ml_disk *empty, *sim, *image; /* simulated disks */
    ml_disk *faulty;              /* stands before `sim`, or before a real one */
    ml_disk *recorder;            /* stands before `faulty` */
    ml_disk_fault fault;
    const char *fault_name;
    ml_play play;
    uint64_t seed, plays, refusals, real;
} trial;

static char now[256]; /* what is being tried, for the alarm */

static void on_alarm(int signal)
{
    (void)signal;
    static const char hangs[] = "faulty: FAILED: it hangs: ";
    ML_IGNORE(write(STDOUT_FILENO, hangs, sizeof hangs - 1) < 0);
    ML_IGNORE(write(STDOUT_FILENO, now, strlen(now)) < 0);
    _exit(1);
}

/* The first call that failed, and those around it. */
static void show_calls(const trial *t)
{
    enum { AROUND = 6 };
    size_t count, at = 0;
    const ml_disk_call *calls = ml_disk_recorder_calls(t->recorder, &count);
    while (at < count && calls[at].result != -t->fault.error)
        at++;
    for (size_t n = at > AROUND ? at - AROUND : 0; n < count && n < at + AROUND; n++)
        printf("  %s %s %s %" PRIu64 "+%" PRIu64 " = %" PRId64 "\n", ml_disk_op_name(calls[n].op),
               calls[n].path, calls[n].to, calls[n].offset, calls[n].size, calls[n].result);
}

static bool fail(const trial *t, const char *where, const char *why)
{
    printf("faulty: FAILED: %s: %s%s\n", now, where, why);
    show_calls(t);
    printf("again: crash faulty --workload %s\n", t->workload->name);
    return false;
}

/* ---- afterwards --------------------------------------------------------------------- */

static bool check_disk(trial *t, ml_disk *disk, size_t least, const char *where)
{
    ml_options options = ml_play_options(t->workload);
    ml_stats stats = {0};
    ml_code code;
    size_t found = 0;
    ml_model *model = &t->play.model;
    ml_store *store = ml_play_open(disk, &options, &code);
    if (!code) code = ml_get_stats(store, &stats);
    bool good = true;
    if (code || stats.damaged)
        good = fail(t, where, ml_why(store));
    else if (!ml_model_check(model, store, least, &found))
        good = fail(t, where, model->why);
    else if (!ml_model_check_index(model, store, found))
        good = fail(t, where, model->why);
    code = ml_close(store);
    return good && (code == ML_OK || fail(t, where, ml_code_name(code)));
}

static bool check_crashed(trial *t)
{
    ml_disk_sim_count pending = ml_disk_sim_pending(t->sim);
    uint64_t kept[64];
    ML_ASSERT(pending.units <= 64 * 64);
    for (size_t n = 0; n < 64; n++)
        kept[n] = ml_dice_roll(&t->play.dice);
    ml_disk_sim_fate none = {NULL, 0};
    ml_disk_sim_fate some = {kept, ml_dice_below(&t->play.dice, (uint32_t)pending.dir_ops + 1)};
    ml_disk_sim_crash_into(t->sim, &none, t->image);
    if (!check_disk(t, t->image, t->play.model.durable,
                    "after a crash that keeps nothing pending: "))
        return false;
    ml_disk_sim_crash_into(t->sim, &some, t->image);
    return check_disk(t, t->image, t->play.model.durable,
                      "after a crash that keeps some of what was pending: ");
}

/* As after a kill: the next process opens what is there, is told that an append is on the
 * disk, and then the power goes. */
static bool check_going_on(trial *t)
{
    static const char where[] = "after an append, and a crash that keeps nothing pending: ";
    ml_options options = ml_play_options(t->workload);
    ml_model *model = &t->play.model;
    ml_code code;
    size_t found = 0;
    ml_store *store = ml_play_open(t->sim, &options, &code);
    bool good = code == ML_OK || fail(t, "opening again: ", ml_why(store));
    good = good && (ml_model_check(model, store, model->visible, &found) ||
                    fail(t, "opening again: ", model->why));
    ml_model_cut(model, found);
    good = good && (ml_play_append_one(model, store, false) || fail(t, "", model->why));
    ml_disk_sim_crash_into(t->sim, &(ml_disk_sim_fate){0}, t->image);
    ML_IGNORE(ml_close(store)); /* the disk is thrown away */
    return good && check_disk(t, t->image, model->count, where);
}

/* A sync that failed is never made again by the same opening, through no descriptor: the
 * kernel may say yes then to pages that it has dropped. Segments get their names while they are
 * open, so names are followed. */
static bool check_syncs(trial *t)
{
    enum { OPEN = 256 };
    static char names[OPEN][ML_DISK_CALL_PATH];
    char failed[ML_DISK_CALL_PATH] = "";
    size_t count;
    const ml_disk_call *calls = ml_disk_recorder_calls(t->recorder, &count);
    memset(names, 0, sizeof names);
    for (size_t n = 0; n < count; n++) {
        const ml_disk_call *call = &calls[n];
        bool made = call->result >= 0;
        ML_ASSERT(call->file < OPEN);
        if (call->op == ML_DISK_OP_OPEN && made) {
            snprintf(names[call->file], sizeof names[0], "%s", call->path);
            /* The next process, or another file of that name. */
            bool anew = strcmp(call->path, "LOCK") == 0 || strstr(call->path, ".seg") == NULL;
            if (strcmp(call->path, "LOCK") == 0 || (anew && strcmp(call->path, failed) == 0))
                failed[0] = '\0';
        } else if (call->op == ML_DISK_OP_RENAME && made) {
            for (size_t i = 0; i < OPEN; i++)
                if (strcmp(names[i], call->path) == 0)
                    snprintf(names[i], sizeof names[0], "%s", call->to);
            if (strcmp(failed, call->path) == 0) snprintf(failed, sizeof failed, "%s", call->to);
        } else if (call->op == ML_DISK_OP_SYNC && strncmp(names[call->file], "log/", 4) == 0) {
            if (made && strcmp(names[call->file], failed) == 0)
                return fail(t, "a failed sync is tried again: ", failed);
            if (!made) snprintf(failed, sizeof failed, "%s", names[call->file]);
        }
    }
    return true;
}

/* ---- plays -------------------------------------------------------------------------- */

static void describe(const trial *t, const char *disk)
{
    snprintf(now, sizeof now,
             "workload %s on the %s disk, seed %" PRIu64 ", call %" PRIu64 " fails with %s %s",
             t->workload->name, disk, t->seed, t->fault.nth, t->fault_name,
             t->fault.for_ever ? "for ever" : "once");
}

static void begin(trial *t, ml_disk *under)
{
    alarm(SECONDS_MAX);
    ml_disk_faulty_set(t->faulty, t->fault);
    ml_disk_recorder_clear(t->recorder);
    t->play = (ml_play){.workload = t->workload,
                        .disk = t->recorder,
                        .under = under,
                        .dice = {t->seed},
                        .faults = t->fault.error != 0}; /* a short move is no error at all */
    ml_play_run(&t->play);
    t->plays++;
    t->refusals += t->play.refusals;
}

/* One play on the simulated disk; *hit tells whether there were as many calls. */
static bool play_sim(trial *t, bool *hit)
{
    describe(t, "simulated");
    ml_disk_sim_crash_into(t->empty, &(ml_disk_sim_fate){0}, t->sim);
    begin(t, t->sim);
    *hit = ml_disk_faulty_hit(t->faulty);
    bool good = !t->play.wrong || fail(t, "", t->play.why);
    good = good && check_syncs(t) && check_crashed(t);
    ml_disk_sim_set_space(t->sim, UINT64_MAX);
    good = good && check_going_on(t);
    ml_play_free(&t->play);
    return good;
}

static bool play_all(trial *t)
{
    for (size_t n = 0; n < sizeof faults / sizeof *faults; n++) {
        for (unsigned ever = 0; ever < 2; ever++) {
            bool hit = true;
            t->fault_name = faults[n].name;
            uint64_t every = t->options->every, first = 1 + (n + ever) % every;
            for (uint64_t nth = first; hit; nth += every) {
                t->fault =
                    (ml_disk_fault){.nth = nth, .error = faults[n].error, .for_ever = ever == 1};
                if (!play_sim(t, &hit)) return false;
            }
        }
    }
    return true;
}

/* ---- the real disk ------------------------------------------------------------------ */

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *ftw)
{
    (void)about, (void)kind, (void)ftw;
    return remove(path);
}

static bool play_real(trial *t, const char *dir, bool *hit)
{
    ml_disk *disk = NULL;
    ml_error why = {0};
    if (ml_disk_real_new(dir, true, &disk, &why)) return fail(t, "", why.sentence);
    ml_code code = ml_disk_faulty_new(disk, &t->faulty, NULL);
    if (!code) code = ml_disk_recorder_new(t->faulty, &t->recorder, NULL);
    ML_ASSERT(code == ML_OK);
    begin(t, NULL);
    *hit = ml_disk_faulty_hit(t->faulty);
    bool good = !t->play.wrong || fail(t, "", t->play.why);
    good =
        good && check_syncs(t) && check_disk(t, disk, t->play.model.visible, "after the fault: ");
    ml_play_free(&t->play);
    ml_disk_free(t->recorder);
    ml_disk_free(t->faulty);
    ml_disk_free(disk);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    t->real++;
    return good;
}

/* A few hundred calls, spread over the whole of a workload that rolls and indexes. */
static bool play_real_disk(trial *t)
{
    char dir[64] = "/tmp/moonlog-faulty-XXXXXX";
    if (mkdtemp(dir) == NULL) return fail(t, "mkdtemp: ", strerror(errno));
    t->workload = ml_workload_find("reopen");
    bool good = true;
    for (size_t n = 0; good && n < sizeof faults / sizeof *faults; n++) {
        bool hit = true;
        t->fault_name = faults[n].name;
        for (uint64_t nth = 1 + n; good && hit; nth += 1 + 600 * t->options->every / REAL_PLAYS) {
            t->fault = (ml_disk_fault){.nth = nth, .error = faults[n].error};
            describe(t, "real");
            good = play_real(t, dir, &hit);
        }
    }
    return good;
}

/* ---- the whole ---------------------------------------------------------------------- */

static ml_disk *new_disk(uint64_t seed)
{
    ml_disk *disk = NULL;
    ml_code code =
        ml_disk_sim_new(&(ml_disk_sim_options){.file_bytes = 1 << 18, .seed = seed}, &disk, NULL);
    ML_ASSERT(code == ML_OK);
    return disk;
}

static bool play_workloads(trial *t)
{
    t->empty = new_disk(t->seed);
    t->sim = new_disk(t->seed);
    t->image = new_disk(t->seed);
    ml_code code = ml_disk_faulty_new(t->sim, &t->faulty, NULL);
    if (!code) code = ml_disk_recorder_new(t->faulty, &t->recorder, NULL);
    ML_ASSERT(code == ML_OK);
    bool good = true;
    for (size_t n = 0; good && n < ml_workload_count; n++) {
        t->workload = &ml_workloads[n];
        if (t->workload->cuts) continue; /* the same steps as another */
        if (t->options->workload != NULL && strcmp(t->options->workload, t->workload->name) != 0)
            continue;
        good = play_all(t);
    }
    ml_disk_free(t->recorder);
    ml_disk_free(t->faulty);
    ml_disk_free(t->image);
    ml_disk_free(t->sim);
    ml_disk_free(t->empty);
    return good;
}

bool ml_faulty(const ml_crash_options *options)
{
    trial *t = calloc(1, sizeof *t);
    ML_ASSERT(t != NULL);
    t->options = options;
    t->seed = options->seed;
    signal(SIGALRM, on_alarm);
    bool good = play_workloads(t) && (options->workload != NULL || play_real_disk(t));
    alarm(0);
    if (good)
        printf("faulty: %s plays, a disk call failing in each (EIO, ENOSPC, EINTR, short; once, "
               "for ever), %s of "
               "them on the real disk: %s errors, each with a code and a sentence; 0 wrong "
               "answers, 0 lost "
               "acknowledgements, 0 refused appends found, 0 hangs; seed %" PRIu64 "\n",
               ml_crash_number(t->plays), ml_crash_number(t->real), ml_crash_number(t->refusals),
               t->seed);
    free(t);
    return good;
}
