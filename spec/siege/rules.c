/* rules.c -- kill -9 of workers and of the daemon under eight clients that send commands.
 *
 * A worker dies: nobody is to notice. The daemon dies: it is started again, what its log holds is
 * held against the ledger, the clients connect again, send again by its command_id some of what
 * they had no answer to, and all go on. Now and then it is killed while it starts, or before its
 * end everything is let be answered.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "ledger.h"

enum {
    CLIENTS = 8,
    DEPTH = 12,
    LONGEST = 40000,    /* µs of commands until the next kill */
    START_LONGEST = 60, /* ms until a kill while it starts */
    PROCESSES = 8
};

static const char pack[] = "examples/bank/rules";

/* Under way: an order, or with number 0 a question. */
typedef struct waiting {
    uint32_t msgid, order;
    ml_view view;
} waiting;

typedef struct teller {
    ml_client client;
    waiting waiting[DEPTH + 1];
    unsigned count, depth;
} teller;

typedef struct trial {
    ml_siege *siege;
    ml_ledger *ledger;
    teller tellers[CLIENTS];
    ml_client watch; /* asks for the workers' pids */
    uint32_t *again; /* orders to be sent once more */
    size_t again_count, again_room;
    bool quiet; /* nothing new is sent */
    uint64_t kills, workers, starting, unknown, found, retried;
} trial;

static uint32_t below(trial *t, uint32_t sides)
{
    return ml_dice_below(&t->siege->dice, sides);
}

static bool one_in(trial *t, uint32_t sides)
{
    return ml_dice_one_in(&t->siege->dice, sides);
}

/* ---- a client -------------------------------------------------------------------------- */

static void begin_order(trial *t, teller *own, uint32_t number)
{
    ml_ledger_pack(t->ledger, number, ml_client_begin(&own->client, "command"));
    own->waiting[own->count++] = (waiting){.msgid = own->client.msgid, .order = number};
}

static void begin_question(trial *t, teller *own)
{
    ml_view view = ml_ledger_question(t->ledger);
    ml_ledger_pack_question(&view, ml_client_begin(&own->client, "state"));
    own->waiting[own->count++] = (waiting){.msgid = own->client.msgid, .view = view};
}

/* One that has happened, for a client that forgot its answer; 0: none was met. */
static uint32_t pick_done(trial *t)
{
    uint32_t number = below(t, t->ledger->count);
    const ml_order *order = &t->ledger->orders[number];
    return number > 0 && order->named && order->fate == ML_KEPT ? number : 0;
}

static void begin_one(trial *t, teller *own)
{
    uint32_t done = t->ledger->count > 1 && one_in(t, 10) ? pick_done(t) : 0;
    if (t->again_count > 0) {
        begin_order(t, own, t->again[--t->again_count]);
    } else if (done > 0) {
        begin_order(t, own, done);
    } else if (one_in(t, 6)) {
        begin_question(t, own);
    } else {
        uint32_t number = ml_ledger_order(t->ledger);
        begin_order(t, own, number);
        /* Both wait for one answer, or the second gets that of the first. */
        if (t->ledger->orders[number].named && one_in(t, 8)) begin_order(t, own, number);
    }
}

static void close_teller(trial *t, teller *own)
{
    ml_client_close(&own->client, false);
    for (unsigned n = 0; n < own->count; n++)
        if (own->waiting[n].order > 0) ml_ledger_lose(t->ledger, own->waiting[n].order);
    own->count = 0;
}

static bool take(trial *t, teller *own)
{
    ml_message message;
    bool good = true;
    while (good && ml_client_peek(&own->client, &message)) {
        unsigned n = 0;
        while (n < own->count && own->waiting[n].msgid != message.msgid)
            n++;
        if (!message.answer || n == own->count)
            return ml_siege_wrong(t->siege, "an answer to nothing that was asked");
        waiting one = own->waiting[n];
        own->waiting[n] = own->waiting[--own->count];
        good = one.order > 0 ? ml_ledger_answer(t->ledger, one.order, &message)
                             : ml_ledger_told(t->ledger, one.view, &message);
        ml_client_drop(&own->client, &message);
    }
    return good;
}

/* What came before a connection was lost still counts. */
static bool hear(trial *t, teller *own)
{
    bool there = ml_client_fill(&own->client);
    if (!take(t, own)) return false;
    if (!there) close_teller(t, own);
    return true;
}

/* ---- all of them ------------------------------------------------------------------------- */

/* Sends, waits until something moved or until a time, and takes. */
static bool turn(trial *t, uint64_t until)
{
    struct pollfd on[CLIENTS];
    for (size_t n = 0; n < CLIENTS; n++) {
        teller *own = &t->tellers[n];
        while (own->client.file >= 0 && own->count < own->depth &&
               (!t->quiet || t->again_count > 0))
            begin_one(t, own);
        /* A broken pipe is met again when reading, behind the answers that are still there. */
        bool all = !ml_client_flush(&own->client) || own->client.out.size == 0;
        on[n] = (struct pollfd){.fd = own->client.file,
                                .events = (short)(all ? POLLIN : POLLIN | POLLOUT)};
    }
    uint64_t now = ml_siege_now();
    int timeout = now >= until ? 0 : (int)((until - now + 999) / 1000);
    if (poll(on, CLIENTS, timeout) < 0 && errno != EINTR)
        return ml_siege_wrong(t->siege, "poll fails");
    for (size_t n = 0; n < CLIENTS; n++)
        if ((on[n].revents & ~POLLOUT) != 0 && !hear(t, &t->tellers[n])) return false;
    return true;
}

static bool go_on(trial *t)
{
    uint64_t until = ml_siege_now() + below(t, LONGEST);
    while (ml_siege_now() < until)
        if (!turn(t, until)) return false;
    return true;
}

static size_t under_way(const trial *t)
{
    size_t count = t->again_count;
    for (size_t n = 0; n < CLIENTS; n++)
        count += t->tellers[n].count;
    return count;
}

/* Lets everything be answered, also what is to be sent again. */
static bool settle(trial *t)
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000;
    t->quiet = true;
    for (size_t left = under_way(t); left > 0; left = under_way(t)) {
        if (ml_siege_now() >= until)
            return ml_siege_wrong(t->siege, "%zu requests are never answered", left);
        if (!turn(t, until)) return false;
        for (size_t n = 0; n < CLIENTS; n++)
            if (t->tellers[n].client.file < 0)
                return ml_siege_wrong(t->siege, "a connection is lost, and nothing was killed");
    }
    t->quiet = false;
    return true;
}

static bool connect_all(trial *t)
{
    for (size_t n = 0; n < CLIENTS; n++) {
        t->tellers[n].depth = 1 + below(t, DEPTH);
        if (!ml_siege_connect(t->siege, &t->tellers[n].client, n % 2 == 1)) return false;
    }
    return ml_siege_connect(t->siege, &t->watch, false);
}

static bool hear_all(trial *t)
{
    ml_client_close(&t->watch, false);
    for (size_t n = 0; n < CLIENTS; n++)
        while (t->tellers[n].client.file >= 0)
            if (!hear(t, &t->tellers[n])) return false;
    return true;
}

/* ---- a kill -------------------------------------------------------------------------------- */

/* One of them, or now and then all at once. */
static bool kill_worker(trial *t)
{
    ml_message message;
    uint64_t pids[PROCESSES];
    uint32_t count, known = 0;
    ml_pack_map(ml_client_begin(&t->watch, "status"), 0);
    if (!ml_siege_ask(t->siege, &t->watch, &message)) return false;
    ml_unpack workers = ml_client_list(message.body, "workers", &count);
    for (; count > 0 && known < PROCESSES; count--) {
        ml_bytes worker = {workers.at, (size_t)(workers.end - workers.at)};
        pids[known] = ml_client_natural(worker, "pid");
        if (pids[known] > 0 && ml_daemon_owns(&t->siege->daemon, pids[known])) known++;
        if (!ml_unpack_skip(&workers)) return ml_siege_wrong(t->siege, "status is cut short");
    }
    uint32_t first = known > 0 ? below(t, known) : 0, end = first + (known > 0);
    if (one_in(t, 6)) first = 0, end = known;
    for (; first < end; first++) {
        if (kill((pid_t)pids[first], SIGKILL) != 0) continue;
        t->workers++;
        t->kills++;
    }
    return true;
}

static bool kill_daemon(trial *t)
{
    if (!ml_daemon_alive(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    ml_daemon_kill(&t->siege->daemon);
    t->kills++;
    return hear_all(t);
}

/* ---- after it ------------------------------------------------------------------------------ */

static bool send_again(void *context, uint32_t number)
{
    trial *t = context;
    ml_order *order = &t->ledger->orders[number];
    t->unknown++;
    t->found += order->found;
    if (!order->named || one_in(t, 4)) return false;
    if (t->again_count == t->again_room) {
        t->again_room = t->again_room == 0 ? 64 : 2 * t->again_room;
        t->again = ml_siege_grow(t->again, t->again_room * sizeof *t->again);
    }
    order->queued = true;
    t->again[t->again_count++] = number;
    t->retried++;
    return true;
}

static bool check(trial *t)
{
    ml_client client;
    bool good = ml_siege_connect(t->siege, &client, false) && ml_ledger_read(t->ledger, &client);
    ml_client_close(&client, false);
    if (good) ml_ledger_decide(t->ledger, send_again, t);
    return good;
}

/* The pack is given once; then the log says which one is active. */
static bool start(trial *t)
{
    ml_daemon *daemon = &t->siege->daemon;
    bool first = t->kills == 0;
    daemon->args[0] = "--workers";
    daemon->args[1] = "2";
    daemon->args[2] = first ? "--rules" : NULL;
    daemon->args[3] = first ? pack : NULL;
    if (!first && one_in(t, 8)) {
        if (!ml_daemon_spawn(daemon)) return ml_siege_daemon_wrong(t->siege);
        poll(NULL, 0, (int)below(t, START_LONGEST));
        ml_daemon_kill(daemon);
        t->starting++;
        t->kills++;
    }
    return ml_daemon_start(daemon) || ml_siege_daemon_wrong(t->siege);
}

static bool round_of_kills(trial *t)
{
    if (!start(t) || !check(t) || !connect_all(t)) return false;
    do {
        if (!go_on(t)) return false;
        if (one_in(t, 3)) break;
        if (!kill_worker(t)) return false;
    } while (t->kills + 1 < t->siege->kills);
    return go_on(t) && (!one_in(t, 4) || settle(t)) && kill_daemon(t);
}

static bool audit(trial *t)
{
    return ml_ledger_read(t->ledger, &t->watch) && ml_ledger_audit(t->ledger, &t->watch);
}

static bool besiege(trial *t)
{
    while (t->kills < t->siege->kills)
        if (!round_of_kills(t)) return false;
    if (!start(t) || !check(t) || !connect_all(t)) return false;
    /* As the workers remember it, and as the log has it. */
    if (!settle(t) || !audit(t) || !kill_daemon(t)) return false;
    if (!start(t) || !connect_all(t) || !audit(t)) return false;
    return (ml_daemon_stop(&t->siege->daemon) || ml_siege_daemon_wrong(t->siege)) &&
           ml_siege_verify(t->siege);
}

static void print_figures(const trial *t)
{
    const ml_ledger *ledger = t->ledger;
    printf("rules: %s kills -9 (%s of workers, %s of the daemon, %s of them while it started) "
           "under %d clients: %s commands acknowledged, %s refused, %s of unknown outcome (%s of "
           "these found, %s sent again by their command_id), %s answered as duplicates, %s states "
           "between; %s accounts, %s events; 0 lost, 0 twice, 0 refused ones found, 0 states or "
           "refusals but the model's, verify finds 0 problems; seed %" PRIu64 "\n",
           ml_siege_number(t->kills), ml_siege_number(t->workers),
           ml_siege_number(t->kills - t->workers), ml_siege_number(t->starting), CLIENTS,
           ml_siege_number(ledger->acknowledged), ml_siege_number(ledger->refused),
           ml_siege_number(t->unknown), ml_siege_number(t->found), ml_siege_number(t->retried),
           ml_siege_number(ledger->duplicates), ml_siege_number(ledger->states),
           ml_siege_number(ledger->used), ml_siege_number(ledger->events), t->siege->seed);
}

bool ml_rules_run(ml_siege *siege)
{
    trial t = {.siege = siege, .ledger = ml_ledger_new(siege), .watch.file = -1};
    for (size_t n = 0; n < CLIENTS; n++)
        t.tellers[n].client.file = -1;
    bool good = besiege(&t);
    if (good)
        print_figures(&t);
    else
        printf("rules: after %" PRIu64 " kills\n", t.kills);
    ml_client_close(&t.watch, false);
    for (size_t n = 0; n < CLIENTS; n++)
        close_teller(&t, &t.tellers[n]);
    free(t.again);
    ml_ledger_free(t.ledger);
    return good;
}
