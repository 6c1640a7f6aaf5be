/* idle.c -- thousands of connections that do nothing; half of them have said hello and asked once.
 *
 * The daemon's memory is what is measured; and that those who do ask are answered meanwhile,
 * the idle ones too when they wake up.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "siege.h"

enum {
    RESIDENT_MAX = 64 * 1000 * 1000,
    PAUSE_EVERY = 200, /* connections, after which one that is there asks: the queue of those that
                        * are not accepted yet is then empty */
    WOKEN = 200
};

typedef struct trial {
    ml_siege *siege;
    ml_client *clients;
    uint64_t count;
    uint64_t slowest; /* answer, in µs */
} trial;

static bool ask(trial *t, ml_client *client)
{
    ml_message message;
    uint64_t begun = ml_siege_now();
    ml_pack_map(ml_client_begin(client, "head"), 0);
    if (!ml_siege_ask(t->siege, client, &message)) return false;
    uint64_t took = ml_siege_now() - begun;
    if (took > t->slowest) t->slowest = took;
    ml_buf_free(&client->in); /* ours has to be small, too */
    ml_buf_free(&client->out);
    client->at = 0;
    return true;
}

static bool open_all(trial *t)
{
    for (uint64_t n = 0; n < t->siege->connections; n++) {
        ml_client *client = &t->clients[t->count];
        bool tcp = n % 4 == 3;
        if (n % 2 == 0) {
            if (!ml_client_connect(client, t->siege->daemon.socket,
                                   tcp ? t->siege->daemon.port : 0))
                return ml_siege_wrong(t->siege, "connection %" PRIu64 " fails", n);
            t->count++;
        } else {
            t->count++; /* closed in any case */
            if (!ml_siege_connect(t->siege, client, tcp) || !ask(t, client)) return false;
        }
        if (n % PAUSE_EVERY == 1 && !ask(t, &t->clients[1])) return false;
    }
    return true;
}

static bool wake_some(trial *t)
{
    for (int n = 0; n < WOKEN; n++)
        if (!ask(t, &t->clients[ml_dice_below(&t->siege->dice, (uint32_t)t->count)])) return false;
    return true;
}

static bool besiege(trial *t)
{
    ml_siege *siege = t->siege;
    uint64_t before = ml_daemon_resident(&siege->daemon), slowest;
    if (!open_all(t)) return false;
    slowest = t->slowest;
    if (!ml_siege_settle(siege, &t->clients[1], t->count)) return false;
    uint64_t resident = ml_daemon_resident(&siege->daemon), idle_ms = ml_siege_idle_ms(siege);
    if (!wake_some(t)) return false;
    uint64_t after = ml_daemon_resident(&siege->daemon);
    if (after > resident) resident = after;
    if (resident > RESIDENT_MAX)
        return ml_siege_wrong(siege, "%s bytes resident with %s connections",
                              ml_siege_number(resident), ml_siege_number(t->count));
    printf("idle: %s connections, a quarter of them TCP, half had asked once: %s MB resident (%s "
           "MB before, %s MB at "
           "most), %s ms of processor in an idle second, slowest answer %s µs while they came and "
           "%s µs of %d woken "
           "at random; seed %" PRIu64 "\n",
           ml_siege_number(t->count), ml_siege_number(resident / 1000000),
           ml_siege_number(before / 1000000),
           ml_siege_number(ml_daemon_peak(&siege->daemon) / 1000000), ml_siege_number(idle_ms),
           ml_siege_number(slowest), ml_siege_number(t->slowest), WOKEN, siege->seed);
    return true;
}

bool ml_idle_run(ml_siege *siege)
{
    char room[24];
    trial t = {.siege = siege,
               .clients = ml_siege_grow(NULL, (siege->connections + 1) * sizeof(ml_client))};
    for (uint64_t n = 0; n <= siege->connections; n++)
        t.clients[n] = (ml_client){.file = -1};
    if (!ml_siege_descriptors(siege, siege->connections + 512)) {
        printf("idle: SKIPPED, %s\n", siege->why);
        free(t.clients);
        return true;
    }
    snprintf(room, sizeof room, "%" PRIu64, siege->connections + 64);
    siege->daemon.args[0] = "--connections";
    siege->daemon.args[1] = room;
    bool good = ml_daemon_start(&siege->daemon) ? besiege(&t) : ml_siege_daemon_wrong(siege);
    for (uint64_t n = 0; n < t.count; n++)
        ml_client_close(&t.clients[n], false);
    free(t.clients);
    return good && (ml_daemon_stop(&siege->daemon) || ml_siege_daemon_wrong(siege));
}
