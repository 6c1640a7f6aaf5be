/* pace.c -- how fast projections are read, also while another version takes the place of the live
 * one, and how far they lag behind. Nothing here is judged but the answers: the figures are told.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "views.h"

enum {
    PIPELINED = 512, /* questions under way over one socket */
    PIPELINED_MS = 3000,
    READERS = 2,
    READ_RATE = 1000,  /* questions a second, of each */
    WRITE_RATE = 5000, /* events a second, meanwhile */
    USUAL_US = 8000000,
    AROUND_US = 100000, /* of a swap, before and after */
    LAG_RATE = 50000,   /* events a second, */
    LAG_BATCH = 250,    /* in batches, */
    LAG_FEEDERS = 5,    /* from so many clients */
    LAG_US = 10000000,
    LOOK_US = 10000
};

/* A duration, and when it ended. */
typedef struct took {
    uint64_t at, us;
} took;

typedef struct tooks {
    took *all;
    size_t count, room;
} tooks;

typedef struct trial {
    ml_siege *siege;
    ml_crowd *crowd;
    ml_views_rules rules;
    tooks reads, lags;
    uint64_t *swaps; /* when each was seen to have happened */
    uint64_t swap_count;
    /* Asks when a projection has come as far as an append. */
    ml_client follower;
    uint64_t asked[1 << 12]; /* when, by msgid */
} trial;

/* ---- durations -------------------------------------------------------------------------- */

static void keep(tooks *these, uint64_t at, uint64_t us)
{
    if (these->count == these->room) {
        these->room = these->room == 0 ? 4096 : 2 * these->room;
        these->all = ml_siege_grow(these->all, these->room * sizeof *these->all);
    }
    these->all[these->count++] = (took){at, us};
}

static int compare(const void *a, const void *b)
{
    const took *one = a, *other = b;
    return (one->us > other->us) - (one->us < other->us);
}

/* The nth of a thousand; 0 if there are none. Sorts. */
static uint64_t rank(tooks *these, size_t thousandths)
{
    if (these->count == 0) return 0;
    qsort(these->all, these->count, sizeof *these->all, compare);
    size_t at = these->count * thousandths / 1000;
    return these->all[at < these->count ? at : these->count - 1].us;
}

/* ---- over one socket ---------------------------------------------------------------------- */

static void ask_group(ml_client *client, int64_t group)
{
    ml_buf *out = ml_client_begin(client, "projection.get");
    ml_pack_map(out, 2);
    ml_pack_text(out, "name");
    ml_pack_text(out, ml_views_names[ML_VIEWS_GROUPS]);
    ml_pack_text(out, "key");
    ml_pack_int(out, group);
}

static bool take_groups(trial *t, ml_client *client, unsigned *under_way, uint64_t *answers)
{
    ml_message message;
    while (ml_client_peek(client, &message)) {
        ml_client_drop(client, &message);
        ml_sum sum;
        uint64_t factor;
        if (message.code)
            return ml_siege_wrong(t->siege, "projection.get: %.*s", ML_SHOW(message.text));
        if (!ml_audit_row(ml_unpack_find(message.body, "row"), &sum, &factor) || sum.count == 0)
            return ml_siege_wrong(t->siege, "a group that is there has no row");
        --*under_way;
        ++*answers;
    }
    return true;
}

static bool measure_pipelined(trial *t)
{
    ml_client client;
    uint64_t began = ml_siege_now(), until = began + UINT64_C(1000) * PIPELINED_MS, answers = 0;
    unsigned under_way = 0;
    bool good = ml_siege_connect(t->siege, &client, false);
    while (good && ml_siege_now() < until) {
        for (; under_way < PIPELINED; under_way++)
            ask_group(&client, under_way % ML_VIEWS_GROUP_COUNT);
        good = ml_client_flush(&client) && ml_client_wait(&client, ML_SIEGE_ANSWER_MS);
        if (!good) ml_siege_wrong(t->siege, "no answer to projection.get");
        good = good && take_groups(t, &client, &under_way, &answers);
    }
    uint64_t rate = answers * 1000000 / (ml_siege_now() - began);
    ml_client_close(&client, false);
    if (good) printf("pace: %s gets/s over one socket, pipelined\n", ml_siege_number(rate));
    return good;
}

/* ---- during a swap ------------------------------------------------------------------------ */

static void note_read(void *context, uint64_t began, uint64_t ended)
{
    keep(context, ended, ended - began);
}

static void pace_crowd(trial *t, uint64_t feeders, uint64_t rate, unsigned readers)
{
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++) {
        t->crowd->feeders[n].depth = n < feeders ? 16 : 0;
        t->crowd->feeders[n].rate = feeders > 0 ? rate / feeders : 0;
        t->crowd->feeders[n].due = ml_siege_now();
    }
    for (size_t n = 0; n < ML_CROWD_VIEWERS; n++) {
        ml_viewer *viewer = &t->crowd->viewers[n];
        viewer->depth = n < readers ? 16 : 0;
        viewer->rate = READ_RATE;
        viewer->due = ml_siege_now();
        viewer->plain = true;
        viewer->took = note_read;
        viewer->context = &t->reads;
    }
}

static bool swap_one(trial *t)
{
    ml_views_name name = (ml_views_name)(t->swap_count % 3); /* those that are read */
    ml_shown shown[ML_VIEWS];
    ml_message message;
    if (!ml_crowd_list(t->crowd, shown, &message)) return false;
    char before[sizeof shown->hash];
    snprintf(before, sizeof before, "%s", shown[name].hash);
    t->rules.factor[name]++;
    if (!ml_crowd_load(t->crowd, &t->rules, &message)) return false;
    uint64_t until = ml_siege_now() + (uint64_t)ML_VIEWS_WAIT_MS * 1000;
    while (ml_siege_now() < until) {
        if (!ml_crowd_list(t->crowd, shown, &message)) return false;
        if (shown[name].known && strcmp(before, shown[name].hash) != 0) {
            t->swaps[t->swap_count++] = ml_siege_now();
            return ml_crowd_go_on(t->crowd, 3 * AROUND_US);
        }
        if (!ml_crowd_go_on(t->crowd, LOOK_US)) return false;
    }
    return ml_siege_wrong(t->siege, "a version does not become live");
}

/* Those around a swap. */
static tooks pick(const trial *t, const tooks *from)
{
    tooks picked = {0};
    for (size_t n = 0; n < from->count; n++)
        for (size_t k = 0; k < t->swap_count; k++)
            if (from->all[n].at + AROUND_US >= t->swaps[k] &&
                from->all[n].at <= t->swaps[k] + AROUND_US)
                keep(&picked, from->all[n].at, from->all[n].us);
    return picked;
}

static bool measure_swaps(trial *t)
{
    ml_shown shown[ML_VIEWS];
    pace_crowd(t, 1, WRITE_RATE, READERS);
    if (!ml_crowd_go_on(t->crowd, USUAL_US)) return false;
    uint64_t usual = rank(&t->reads, 990), middle = rank(&t->reads, 500);
    t->reads.count = 0;
    t->swaps = ml_siege_grow(NULL, (t->siege->reloads + 1) * sizeof *t->swaps);
    while (t->swap_count < t->siege->reloads)
        if (!swap_one(t)) return false;
    tooks around = pick(t, &t->reads);
    printf("pace: reads at %d/s beside %d events/s take p50 %" PRIu64 " us, p99 %" PRIu64
           " us; while versions build and are swapped in (%" PRIu64 " times) p50 %" PRIu64
           " us, p99 %" PRIu64 " us; within %d ms of a swap p50 %" PRIu64 " us, p99 %" PRIu64
           " us, at most %" PRIu64 " us\n",
           READERS * READ_RATE, WRITE_RATE, middle, usual, t->swap_count, rank(&t->reads, 500),
           rank(&t->reads, 990), AROUND_US / 1000, rank(&around, 500), rank(&around, 990),
           rank(&around, 1000));
    free(around.all);
    return ml_crowd_settle(t->crowd) && ml_crowd_await(t->crowd, shown);
}

/* ---- lag ---------------------------------------------------------------------------------- */

static uint64_t *asked_at(trial *t, uint32_t msgid)
{
    return &t->asked[msgid % (sizeof t->asked / sizeof *t->asked)];
}

/* An append is on the disk: when has the projection passed it? */
static void follow(void *context, uint64_t position)
{
    trial *t = context;
    ml_buf *out = ml_client_begin(&t->follower, "projection.get");
    ml_pack_map(out, 4);
    ml_pack_text(out, "timeout_ms");
    ml_pack_int(out, ML_SIEGE_ANSWER_MS);
    ml_pack_text(out, "name");
    ml_pack_text(out, ml_views_names[ML_VIEWS_TOTALS]);
    ml_pack_text(out, "key");
    ml_pack_text(out, "");
    ml_pack_text(out, "after");
    ml_pack_int(out, (int64_t)position);
    *asked_at(t, t->follower.msgid) = ml_siege_now();
}

static bool hear_follower(trial *t)
{
    ml_message message;
    if (!ml_client_flush(&t->follower) || !ml_client_fill(&t->follower))
        return ml_siege_wrong(t->siege, "the connection is lost, and nothing was killed");
    uint64_t now = ml_siege_now();
    while (ml_client_peek(&t->follower, &message)) {
        ml_client_drop(&t->follower, &message);
        if (message.code)
            return ml_siege_wrong(t->siege, "projection.get: %.*s", ML_SHOW(message.text));
        keep(&t->lags, now, now - *asked_at(t, message.msgid));
    }
    return true;
}

static bool lag_on(trial *t, uint64_t until)
{
    while (ml_siege_now() < until)
        if (!ml_crowd_turn(t->crowd, ml_siege_now() + 1000) || !hear_follower(t)) return false;
    return true;
}

/* Until what was there before is behind it. */
static bool catch_up(trial *t)
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000;
    follow(t, t->crowd->tally->synced);
    while (t->lags.count == 0 && ml_siege_now() < until)
        if (!lag_on(t, ml_siege_now() + 1000)) return false;
    bool good = t->lags.count > 0;
    t->lags.count = 0;
    return good || ml_siege_wrong(t->siege, "the projection does not catch up");
}

static bool measure_lag(trial *t)
{
    uint64_t before = t->crowd->tally->appended, began = ml_siege_now();
    pace_crowd(t, LAG_FEEDERS, LAG_RATE, 0);
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++) {
        t->crowd->feeders[n].acknowledged = follow;
        t->crowd->feeders[n].context = t;
    }
    t->crowd->tally->most = LAG_BATCH;
    t->crowd->tally->steady = true;
    if (!lag_on(t, began + LAG_US)) return false;
    uint64_t rate = (t->crowd->tally->appended - before) * 1000000 / (ml_siege_now() - began);
    printf("pace: at %s events/s, synced, in batches of %d, a projection has one p50 %" PRIu64
           " us, p99 %" PRIu64 " us, at most %" PRIu64 " us after its answer (%s measured)\n",
           ml_siege_number(rate), LAG_BATCH, rank(&t->lags, 500), rank(&t->lags, 990),
           rank(&t->lags, 1000), ml_siege_number(t->lags.count));
    for (size_t n = 0; n < ML_CROWD_FEEDERS; n++)
        t->crowd->feeders[n].acknowledged = NULL;
    t->crowd->tally->steady = false;
    return t->lags.count > 0 || ml_siege_wrong(t->siege, "nothing was measured");
}

/* Of a projection that is alone: others would take the processor from it. */
static bool measure_lag_alone(trial *t)
{
    ml_views_rules rules = t->rules;
    ml_message message;
    rules.alone = true;
    if (!ml_crowd_load(t->crowd, &rules, &message) ||
        !ml_siege_connect(t->siege, &t->follower, false))
        return false;
    bool good = catch_up(t) && measure_lag(t) && ml_crowd_settle(t->crowd);
    ml_client_close(&t->follower, false);
    return good;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static bool measure_building(trial *t)
{
    ml_shown shown[ML_VIEWS];
    ml_message message;
    pace_crowd(t, 0, 0, 0);
    uint64_t began = ml_siege_now();
    if (!ml_crowd_load(t->crowd, &t->rules, &message) || !ml_crowd_await(t->crowd, shown))
        return false;
    printf("pace: four more projections of %s events, built at once, take %.2f s\n",
           ml_siege_number(t->crowd->tally->appended), (double)(ml_siege_now() - began) / 1e6);
    return true;
}

static bool besiege(trial *t)
{
    t->siege->daemon.args[0] = "--workers";
    t->siege->daemon.args[1] = "1";
    if (!ml_daemon_start(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    pace_crowd(t, 0, 0, 0);
    if (!ml_crowd_connect(t->crowd) || !ml_crowd_fill(t->crowd, t->siege->events)) return false;
    pace_crowd(t, 0, 0, 0);
    return measure_lag_alone(t) && measure_building(t) && measure_pipelined(t) &&
           measure_swaps(t) && ml_crowd_audit(t->crowd, &t->rules);
}

bool ml_pace_run(ml_siege *siege)
{
    trial t = {.siege = siege, .crowd = ml_crowd_new(siege), .follower.file = -1};
    for (size_t n = 0; n < ML_VIEWS; n++)
        t.rules.factor[n] = 1;
    bool good = besiege(&t);
    if (good) printf("pace: the rows are the log's; seed %" PRIu64 "\n", siege->seed);
    ml_client_close(&t.follower, false);
    free(t.reads.all);
    free(t.lags.all);
    free(t.swaps);
    ml_crowd_free(t.crowd);
    return good;
}
