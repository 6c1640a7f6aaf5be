/* views.c -- kill -9 of projectors, workers and the daemon, while projections build and while they
 * follow, under clients that append and clients that ask.
 *
 * A projector dies: another goes on behind its last commit. The daemon dies: it is started again,
 * now and then killed while it starts, now and then with views taken away while it was down. In the
 * end the rows must be what the log folds to, and built from nothing they must have the same
 * digests.
 */
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "views.h"

enum {
    LONGEST = 40000,    /* µs until the next kill, */
    PEACE = 1500000,    /* and often enough so long that some become live */
    START_LONGEST = 80, /* ms until a kill while it starts */
    RATE = 1500,        /* events a second, of each feeder */
    TARGETS = 32
};

typedef struct target {
    uint64_t pid;
    bool live;
} target;

typedef struct trial {
    ml_siege *siege;
    ml_crowd *crowd;
    ml_views_rules rules;
    uint64_t kills, building, live, workers, starting, rebuilds, removed, starts;
} trial;

static uint32_t below(trial *t, uint32_t sides)
{
    return ml_dice_below(&t->siege->dice, sides);
}

static bool one_in(trial *t, uint32_t sides)
{
    return ml_dice_one_in(&t->siege->dice, sides);
}

/* ---- a kill ----------------------------------------------------------------------------- */

static bool kill_it(trial *t, uint64_t pid)
{
    if (!ml_daemon_owns(&t->siege->daemon, pid) || kill((pid_t)pid, SIGKILL) != 0) return false;
    t->kills++;
    return true;
}

static bool is_live(ml_bytes generation)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(generation, "state"));
    ml_bytes state;
    return cursor.at != NULL && ml_unpack_str(&cursor, &state) &&
           ml_bytes_equal(state, ML_STR("live"));
}

/* The processes of an entry's list, behind those that are known. */
static uint32_t collect(ml_bytes entry, const char *name, target *targets, uint32_t known)
{
    uint32_t count;
    ml_unpack all = ml_client_list(entry, name, &count);
    for (; count > 0 && known < TARGETS; count--) {
        ml_bytes one = {all.at, (size_t)(all.end - all.at)};
        targets[known] = (target){ml_client_natural(one, "pid"), is_live(one)};
        if (targets[known].pid > 0) known++;
        if (!ml_unpack_skip(&all)) break;
    }
    return known;
}

/* One of them, or now and then all at once. */
static bool kill_projectors(trial *t)
{
    ml_message message;
    target targets[TARGETS];
    uint32_t count, known = 0;
    ml_pack_map(ml_client_begin(&t->crowd->watch, "projection.list"), 0);
    if (!ml_crowd_ask(t->crowd, &message)) return false;
    ml_unpack all = ml_client_list(message.body, "projections", &count);
    for (; count > 0; count--) {
        ml_bytes entry = {all.at, (size_t)(all.end - all.at)};
        known = collect(entry, "generations", targets, known);
        if (!ml_unpack_skip(&all)) return ml_siege_wrong(t->siege, "the list is cut short");
    }
    uint32_t first = known > 0 ? below(t, known) : 0, end = first + (known > 0);
    if (one_in(t, 8)) first = 0, end = known;
    for (; first < end; first++) {
        if (!kill_it(t, targets[first].pid)) continue;
        t->live += targets[first].live;
        t->building += !targets[first].live;
    }
    return true;
}

static bool kill_worker(trial *t)
{
    ml_message message;
    target targets[TARGETS];
    ml_pack_map(ml_client_begin(&t->crowd->watch, "status"), 0);
    if (!ml_crowd_ask(t->crowd, &message)) return false;
    uint32_t known = collect(message.body, "workers", targets, 0);
    if (known > 0) t->workers += kill_it(t, targets[below(t, known)].pid);
    return true;
}

static bool rebuild(trial *t)
{
    ml_message message;
    ml_buf *out = ml_client_begin(&t->crowd->watch, "projection.rebuild");
    ml_pack_map(out, 1);
    ml_pack_text(out, "name");
    ml_pack_text(out, ml_views_names[below(t, ML_VIEWS)]);
    if (!ml_crowd_ask(t->crowd, &message)) return false;
    t->rebuilds++;
    return message.code == ML_OK ||
           ml_siege_wrong(t->siege, "projection.rebuild: %.*s", ML_SHOW(message.text));
}

static bool kill_daemon(trial *t)
{
    if (!ml_daemon_alive(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    ml_daemon_kill(&t->siege->daemon);
    t->kills++;
    return ml_crowd_hear(t->crowd);
}

/* ---- between ------------------------------------------------------------------------------ */

/* While nobody has them open: all views, or those of one projection. */
static void remove_views(trial *t)
{
    char path[ML_DAEMON_PATH + 32];
    bool all = one_in(t, 4);
    snprintf(path, sizeof path, "%s/views%s%s", t->siege->daemon.data, all ? "" : "/",
             all ? "" : ml_views_names[below(t, ML_VIEWS)]);
    ml_siege_remove(path);
    t->removed++;
}

/* The first time there is a history, so that building takes a while. */
static bool begin(trial *t)
{
    ml_message message;
    if (t->starts++ > 0) return true;
    return ml_crowd_fill(t->crowd, t->siege->events) &&
           ml_crowd_load(t->crowd, &t->rules, &message);
}

static bool start(trial *t)
{
    ml_daemon *daemon = &t->siege->daemon;
    daemon->args[0] = "--workers";
    daemon->args[1] = "2";
    if (t->kills > 0 && one_in(t, 12)) remove_views(t);
    if (t->kills > 0 && one_in(t, 8)) {
        if (!ml_daemon_spawn(daemon)) return ml_siege_daemon_wrong(t->siege);
        poll(NULL, 0, (int)below(t, START_LONGEST));
        ml_daemon_kill(daemon);
        t->starting++;
        t->kills++;
    }
    if (!ml_daemon_start(daemon)) return ml_siege_daemon_wrong(t->siege);
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++) {
        t->crowd->viewers[n].depth = 1 + below(t, 8);
        t->crowd->viewers[n].lenient = true;
    }
    if (!ml_crowd_connect(t->crowd) || !begin(t)) return false;
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++) {
        t->crowd->feeders[n].depth = 1 + below(t, 8);
        t->crowd->feeders[n].rate = RATE;
    }
    return true;
}

static bool round_of_kills(trial *t)
{
    if (!start(t)) return false;
    do {
        if (!ml_crowd_go_on(t->crowd, below(t, one_in(t, 8) ? PEACE : LONGEST))) return false;
        if (one_in(t, 8)) break;
        if (one_in(t, 6) && !rebuild(t)) return false;
        if (!(one_in(t, 5) ? kill_worker(t) : kill_projectors(t))) return false;
    } while (t->kills + 1 < t->siege->kills);
    return ml_crowd_go_on(t->crowd, below(t, LONGEST)) && kill_daemon(t);
}

static bool besiege(trial *t)
{
    while (t->kills < t->siege->kills)
        if (!round_of_kills(t)) return false;
    /* What the last ones do in peace counts too. */
    return start(t) && ml_crowd_go_on(t->crowd, PEACE) && ml_crowd_audit(t->crowd, &t->rules);
}

static void print_figures(const trial *t)
{
    const ml_tally *tally = t->crowd->tally;
    uint64_t answers = 0, waited = 0, timeouts = 0;
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++) {
        answers += t->crowd->viewers[n].answers;
        waited += t->crowd->viewers[n].waited;
        timeouts += t->crowd->viewers[n].timeouts;
    }
    printf("views: %s kills -9 (%s of projectors that were building, %s of live ones, %s of "
           "workers, %s of the daemon, %s of them while it started), %s rebuilds asked for, views "
           "removed %s times; %s appends acknowledged, %s events; %s rows read (%s of them after a "
           "position, %s timed out), %s of them held against the log; 0 steps back, 0 rows gone, "
           "0 rows other than the log's, by key and by index; digests as built from nothing; "
           "verify finds 0 problems; seed %" PRIu64 "\n",
           ml_siege_number(t->kills), ml_siege_number(t->building), ml_siege_number(t->live),
           ml_siege_number(t->workers),
           ml_siege_number(t->kills - t->building - t->live - t->workers),
           ml_siege_number(t->starting), ml_siege_number(t->rebuilds), ml_siege_number(t->removed),
           ml_siege_number(tally->acknowledged), ml_siege_number(tally->events),
           ml_siege_number(answers), ml_siege_number(waited), ml_siege_number(timeouts),
           ml_siege_number(tally->sighted), t->siege->seed);
}

bool ml_views_run(ml_siege *siege)
{
    trial t = {.siege = siege, .crowd = ml_crowd_new(siege)};
    for (size_t n = 0; n < ML_VIEWS; n++)
        t.rules.factor[n] = 1;
    bool good = besiege(&t);
    if (good)
        print_figures(&t);
    else
        printf("views: after %" PRIu64 " kills\n", t.kills);
    ml_crowd_free(t.crowd);
    return good;
}
