/* kill.c -- kill -9 of `moonlog import`, again and again, on the same directory.
 *
 * A file of numbered events is imported, and at a random moment the process is killed together
 * with the daemon it started, which is the one that writes; then the
 * same file again, until it is through, then the next. So the log must hold the numbers 1, 2,
 * 3, … in order, whatever was killed: no gap, none twice. What a reader beside the process
 * has seen counts as acknowledged and must be there afterwards.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../core/moonlog.h"
#include "crash.h"
#include "dice.h"

enum {
    LINES = 4000, /* of a file */
    BATCH = 25,
    STREAMS = 17,
    PATH = 128,
    LONGEST = 40000, /* µs until the kill */
    CHECK_ALL_EVERY = 20
};

typedef struct trial {
    const ml_crash_options *options;
    ml_dice dice;
    char root[64], data[PATH], file[PATH];
    uint64_t part;    /* of the files, the one that is being imported */
    uint64_t seen;    /* highest position that a reader saw */
    uint64_t checked; /* up to here all was right */
    uint64_t kills, finished, acknowledged;
    char why[1024];
} trial;

static bool wrong(trial *t, const char *format, ...) ML_FORMAT(2, 3);
static bool wrong(trial *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(t->why, sizeof t->why, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- the files ---------------------------------------------------------------------- */

static void make_id(uint64_t number, uint8_t id[ML_ID_SIZE])
{
    ml_dice dice = {number};
    uint64_t halves[2] = {ml_dice_roll(&dice), ml_dice_roll(&dice)};
    memcpy(id, halves, ML_ID_SIZE);
}

static bool write_part(trial *t)
{
    FILE *file = fopen(t->file, "w");
    if (file == NULL) return wrong(t, "%s: %s", t->file, strerror(errno));
    for (uint64_t number = t->part * LINES + 1; number <= (t->part + 1) * LINES; number++) {
        uint8_t id[ML_ID_SIZE];
        make_id(number, id);
        fprintf(file,
                "{\"stream\":\"s-%" PRIu64 "\",\"type\":\"Counted\",\"data\":%" PRIu64 ",\"id\":\"",
                number % STREAMS, number);
        for (size_t n = 0; n < ML_ID_SIZE; n++)
            fprintf(file, "%s%02x", n == 4 || n == 6 || n == 8 || n == 10 ? "-" : "", id[n]);
        fprintf(file, "\"}\n");
    }
    return fclose(file) == 0 || wrong(t, "%s: %s", t->file, strerror(errno));
}

/* ---- what is there ------------------------------------------------------------------ */

static bool check_events(trial *t, ml_store *store, uint64_t from)
{
    ml_cursor *cursor;
    ml_event event;
    ml_selection selection = {.has_from = true, .from = from};
    if (ml_read(store, &selection, &cursor)) return wrong(t, "reading: %s", ml_why(store));
    ml_code code;
    uint64_t next = from;
    bool good = true;
    while (good && (code = ml_next(cursor, &event)) == ML_OK) {
        uint8_t id[ML_ID_SIZE];
        make_id(next, id);
        if (event.position != next || memcmp(event.id, id, ML_ID_SIZE) != 0)
            good = wrong(
                t, "position %" PRIu64 " does not hold event %" PRIu64 ": lost, or there twice",
                event.position, next);
        next++;
    }
    ml_cursor_free(cursor);
    if (good && code != ML_END) good = wrong(t, "reading: %s", ml_why(store));
    if (good && next <= t->seen)
        good = wrong(t, "LOST: a reader saw position %" PRIu64 ", now the last is %" PRIu64,
                     t->seen, next - 1);
    if (good) t->checked = next - 1;
    return good;
}

/* Opens as the next process does; every other time only to read, so that the next import
 * has the recovery to do. */
static bool check(trial *t, bool all, bool recover)
{
    ml_store *store = NULL;
    ml_stats stats = {0};
    ml_options options = {.read_only = !recover, .segment_bytes = 1 << 18, .memory_events = 4096};
    ml_code code = ml_open(&store, t->data, &options);
    if (code == ML_NOT_FOUND && t->seen == 0) {
        ML_IGNORE(ml_close(store)); /* killed before it had begun */
        return true;
    }
    if (!code) code = ml_get_stats(store, &stats);
    bool good = code == ML_OK && !stats.damaged;
    if (!good) wrong(t, "opening: %s", ml_why(store));
    good = good && check_events(t, store, all || t->checked == 0 ? 1 : t->checked);
    code = ml_close(store);
    return good && (code == ML_OK || wrong(t, "closing gives %s", ml_code_name(code)));
}

static void tell(void *context, const char *sentence)
{
    wrong(context, "verify: %s", sentence);
}

static bool verify(trial *t)
{
    ml_verified verified = {0};
    char why[512] = "";
    ml_code code = ml_verify(t->data, true, tell, t, &verified, why, sizeof why);
    if (code == ML_OK && verified.problems == 0) return true;
    return t->why[0] != '\0' ? false : wrong(t, "verify: %s", why);
}

/* ---- killing ------------------------------------------------------------------------ */

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static pid_t start(trial *t)
{
    char batch[16];
    snprintf(batch, sizeof batch, "%d", BATCH);
    pid_t child = fork();
    if (child != 0) return child;
    int nowhere = open("/dev/null", O_RDWR);
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);
    execl(t->options->program, t->options->program, "--data", t->data, "import", "--batch", batch,
          t->file, (char *)NULL);
    _exit(127);
}

/* Reads beside the process until the time comes, or until it has ended. */
static void watch(trial *t, pid_t child, uint64_t until, int *status, bool *ended)
{
    ml_store *store = NULL;
    ml_head head;
    ml_event event;
    ml_cursor *cursor = NULL;
    while (!(*ended = waitpid(child, status, WNOHANG) == child) && now() < until) {
        if (store == NULL && ml_open(&store, t->data, &(ml_options){.read_only = true})) {
            ML_IGNORE(ml_close(store)); /* not there yet */
            store = NULL;
        }
        if (store != NULL && cursor == NULL && ml_get_head(store, (ml_bytes){0}, &head) == ML_OK)
            ML_IGNORE(ml_subscribe(store, &(ml_selection){0}, head.position, &cursor));
        while (cursor != NULL && ml_poll(cursor, &event) == ML_OK)
            if (event.position > t->seen) t->seen = event.position;
        usleep(200);
    }
    ml_cursor_free(cursor);
    ML_IGNORE(ml_close(store)); /* it only read */
}

/* The daemon first: if it saw its client go, it would close the store in order. The client is
 * stopped meanwhile, so that it starts none behind our back. */
static void kill_both(pid_t child, int *status)
{
    char path[PATH];
    long daemon;
    kill(child, SIGSTOP);
    if (waitpid(child, status, WUNTRACED) != child || !WIFSTOPPED(*status)) return;
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/children", (long)child, (long)child);
    FILE *children = fopen(path, "re");
    while (children != NULL && fscanf(children, "%ld", &daemon) == 1)
        kill((pid_t)daemon, SIGKILL);
    if (children != NULL) fclose(children);
    kill(child, SIGKILL);
    waitpid(child, status, 0);
    /* Orphans are ours (PR_SET_CHILD_SUBREAPER): once all are gone, so is the lock. */
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) continue;
}

static bool kill_once(trial *t)
{
    int status = 0;
    bool ended;
    uint64_t before = t->seen;
    pid_t child = start(t);
    if (child < 0) return wrong(t, "fork: %s", strerror(errno));
    watch(t, child, now() + 1000 + ml_dice_below(&t->dice, LONGEST), &status, &ended);
    if (!ended) kill_both(child, &status);
    t->acknowledged += t->seen - before;
    if (WIFSIGNALED(status)) {
        t->kills++;
        return true;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return wrong(t, "%s import ends with status %d", t->options->program, WEXITSTATUS(status));
    t->finished++;
    t->part++;
    return write_part(t);
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *ftw)
{
    (void)about, (void)kind, (void)ftw;
    return remove(path);
}

static bool kill_often(trial *t)
{
    if (mkdtemp(t->root) == NULL) return wrong(t, "mkdtemp: %s", strerror(errno));
    snprintf(t->data, sizeof t->data, "%s/data", t->root);
    snprintf(t->file, sizeof t->file, "%s/events", t->root);
    if (!write_part(t)) return false;
    if (prctl(PR_SET_CHILD_SUBREAPER, 1L) != 0) return wrong(t, "prctl: %s", strerror(errno));
    while (t->kills < t->options->rounds) {
        bool all = t->kills % CHECK_ALL_EVERY == 0, recover = ml_dice_one_in(&t->dice, 2);
        if (!kill_once(t) || !check(t, all, recover)) return false;
    }
    return check(t, true, true) && verify(t);
}

bool ml_kill(const ml_crash_options *options)
{
    trial t = {.options = options, .dice = {options->seed}, .root = "/tmp/moonlog-kill-XXXXXX"};
    bool good = kill_often(&t);
    nftw(t.root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    if (!good)
        printf("kill: FAILED after %" PRIu64 " kills: %s\nagain: crash kill --seed %" PRIu64 "\n",
               t.kills, t.why, options->seed);
    else
        printf(
            "kill: %s kills of `moonlog import` (%s files imported to the end): %s events, %s of "
            "them seen by a "
            "reader before a kill; 0 lost, 0 gaps, 0 twice, verify finds 0 problems; seed %" PRIu64
            "\n",
            ml_crash_number(t.kills), ml_crash_number(t.finished), ml_crash_number(t.checked),
            ml_crash_number(t.acknowledged), options->seed);
    return good;
}
