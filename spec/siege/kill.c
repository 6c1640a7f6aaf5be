/* kill.c -- kill -9 of the daemon under eight clients that append, again and again, on one store.
 *
 * After each kill the daemon is started again, what its log holds is read through it and held
 * against the model, the clients connect again, some of them send again what they had no answer
 * to, and all go on. Now and then it is killed while it starts, or asked to stop instead.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

enum {
    CLIENTS = 8,
    LONGEST = 40000,      /* µs of appending until the kill */
    START_LONGEST = 15,   /* ms until a kill while it starts */
    CHECK_ALL_EVERY = 25, /* kills */
};

typedef struct trial {
    ml_siege *siege;
    ml_model *model;
    ml_walk *walk;
    ml_writer writers[CLIENTS];
    uint64_t kills, starting, stops, unknown, found, again;
} trial;

static bool one_in(trial *t, uint32_t sides)
{
    return ml_dice_one_in(&t->siege->dice, sides);
}

/* ---- after a kill ----------------------------------------------------------------------- */

static bool send_again(void *context, uint32_t number)
{
    trial *t = context;
    t->unknown++;
    t->found += t->model->attempts[number].seen;
    if (one_in(t, 2)) return false;
    ml_writer_retry(&t->writers[ml_dice_below(&t->siege->dice, CLIENTS)], number);
    t->again++;
    return true;
}

static bool check(trial *t, bool all)
{
    ml_client client;
    if (all) ml_walk_restart(t->walk);
    bool good = ml_siege_connect(t->siege, &client, false) && ml_walk_read(t->walk, &client);
    ml_client_close(&client, false);
    if (good) ml_walk_decide(t->walk, send_again, t);
    return good;
}

/* ---- until the next one ------------------------------------------------------------------- */

static bool connect_all(trial *t)
{
    for (size_t n = 0; n < CLIENTS; n++) {
        t->writers[n].depth = 1 + ml_dice_below(&t->siege->dice, ML_WRITER_DEPTH / 2);
        if (!ml_writer_connect(&t->writers[n], n % 2 == 1)) return false;
    }
    return true;
}

/* What the daemon said before its end still counts. */
static bool hear_all(trial *t)
{
    for (size_t n = 0; n < CLIENTS; n++) {
        bool there = true;
        while (there) {
            there = ml_client_fill(&t->writers[n].client);
            if (!ml_writer_take(&t->writers[n])) return false;
        }
        ml_writer_close(&t->writers[n]);
    }
    return true;
}

static bool append_until(trial *t, uint64_t until)
{
    while (ml_siege_now() < until)
        if (!ml_writer_turn(t->writers, CLIENTS, until)) return false;
    return true;
}

static bool end(trial *t)
{
    if (!ml_daemon_alive(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    if (one_in(t, 20)) {
        t->stops++;
        if (!ml_daemon_stop(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    } else {
        t->kills++;
        ml_daemon_kill(&t->siege->daemon);
    }
    return hear_all(t);
}

static bool start(trial *t)
{
    ml_daemon *daemon = &t->siege->daemon;
    if (one_in(t, 8)) {
        if (!ml_daemon_spawn(daemon)) return ml_siege_daemon_wrong(t->siege);
        poll(NULL, 0, (int)ml_dice_below(&t->siege->dice, START_LONGEST));
        ml_daemon_kill(daemon);
        t->starting++;
        t->kills++;
    }
    return ml_daemon_start(daemon) || ml_siege_daemon_wrong(t->siege);
}

static bool besiege(trial *t)
{
    while (t->kills < t->siege->kills) {
        bool all = t->kills % CHECK_ALL_EVERY == 0;
        if (!start(t) || !check(t, all) || !connect_all(t)) return false;
        if (!append_until(t, ml_siege_now() + ml_dice_below(&t->siege->dice, LONGEST)) || !end(t))
            return false;
    }
    if (!ml_daemon_start(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    if (!check(t, true)) return false;
    return (ml_daemon_stop(&t->siege->daemon) || ml_siege_daemon_wrong(t->siege)) &&
           ml_siege_verify(t->siege);
}

bool ml_kill_run(ml_siege *siege)
{
    trial t = {.siege = siege, .model = ml_model_new(siege)};
    t.walk = ml_walk_new(t.model);
    for (unsigned n = 0; n < CLIENTS; n++)
        t.writers[n] = (ml_writer){.client.file = -1, .model = t.model};
    bool good = besiege(&t);
    if (!good)
        printf("kill: after %" PRIu64 " kills\n", t.kills);
    else
        printf("kill: %s kills -9 of the daemon under %d clients (%s of them while it started; %s "
               "orderly stops "
               "between): %s appends acknowledged, %s refused, %s of unknown outcome (%s of these "
               "found, %s sent "
               "again, %s answered as duplicates), %s events; 0 lost, 0 twice, 0 torn, 0 out of "
               "order, verify finds 0 "
               "problems; seed %" PRIu64 "\n",
               ml_siege_number(t.kills), CLIENTS, ml_siege_number(t.starting),
               ml_siege_number(t.stops), ml_siege_number(t.model->acknowledged),
               ml_siege_number(t.model->refused), ml_siege_number(t.unknown),
               ml_siege_number(t.found), ml_siege_number(t.again),
               ml_siege_number(t.model->duplicates), ml_siege_number(t.walk->next - 1),
               siege->seed);
    for (size_t n = 0; n < CLIENTS; n++)
        ml_writer_free(&t.writers[n]);
    ml_walk_free(t.walk);
    ml_model_free(t.model);
    return good;
}
