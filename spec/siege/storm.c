/* storm.c -- clients that connect and are gone: by RST, in the middle of a message, with answers
 * under way, subscribed. Afterwards the daemon is as it was before: descriptors, memory, rest.
 */
#include <inttypes.h>
#include <stdio.h>

#include "siege.h"

enum {
    AT_ONCE = 64,         /* in the air */
    GROWTH_MAX = 8 << 20, /* bytes: what an allocator keeps */
    IDLE_MS_MAX = 50      /* of processor in an idle second; one that spins takes a thousand */
};

typedef struct rest {
    uint64_t resident;
    unsigned files;
} rest;

static void ask(ml_client *client, const char *method, uint32_t pairs)
{
    ml_pack_map(ml_client_begin(client, method), pairs);
}

/* What it does before it goes; lost connections are what this is about. */
static void live(ml_siege *siege, ml_client *client)
{
    switch (ml_dice_below(&siege->dice, 6)) {
    case 0: return;
    case 1: ml_buf_add(&client->out, "\x94\x00\x01\xa4he", 6); break; /* half a message */
    case 2: ask(client, "status", 0); break;
    case 3:
        ask(client, "subscribe", 1);
        ml_pack_text(&client->out, "after");
        ml_pack_text(&client->out, "start");
        break;
    case 4:
        ask(client, "listen", 1);
        ml_pack_text(&client->out, "subject");
        ml_pack_text(&client->out, ">");
        break;
    default:
        for (int n = 0; n < 20; n++)
            ask(client, "api", 0);
        break;
    }
    ML_IGNORE(!ml_client_flush(client));
}

static bool blow(ml_siege *siege, uint64_t count)
{
    ml_client clients[AT_ONCE];
    bool good = true;
    for (size_t n = 0; n < AT_ONCE; n++)
        clients[n] = (ml_client){.file = -1};
    for (uint64_t n = 0; good && n < count; n++) {
        ml_client *client = &clients[ml_dice_below(&siege->dice, AT_ONCE)];
        ml_client_close(client, true);
        good = ml_client_connect(client, siege->daemon.socket, n % 2 == 0 ? siege->daemon.port : 0);
        if (!good)
            ml_siege_wrong(siege, "connection %" PRIu64 " fails", n);
        else
            live(siege, client);
    }
    for (size_t n = 0; n < AT_ONCE; n++)
        ml_client_close(&clients[n], true);
    return good;
}

/* An event for those who subscribe. */
static bool append_one(ml_siege *siege, ml_client *client)
{
    ml_message message;
    ml_buf *out = ml_client_begin(client, "append");
    ml_pack_map(out, 2);
    ml_pack_text(out, "stream");
    ml_pack_text(out, "storm-1");
    ml_pack_text(out, "events");
    ml_pack_array(out, 1);
    ml_pack_map(out, 1);
    ml_pack_text(out, "type");
    ml_pack_text(out, "Blown");
    return ml_siege_ask(siege, client, &message);
}

static bool settled(ml_siege *siege, ml_client *client, rest *found)
{
    if (!append_one(siege, client) || !ml_siege_settle(siege, client, 1)) return false;
    found->resident = ml_daemon_resident(&siege->daemon);
    found->files = ml_daemon_files(&siege->daemon);
    return true;
}

static bool besiege(ml_siege *siege, ml_client *client)
{
    rest before, after;
    uint64_t busy, begun;
    if (!ml_siege_connect(siege, client, false)) return false;
    /* The first of it also warms up what is then kept. */
    if (!blow(siege, siege->connections / 10) || !settled(siege, client, &before)) return false;
    begun = ml_siege_now();
    busy = ml_daemon_busy(&siege->daemon);
    if (!blow(siege, siege->connections) || !settled(siege, client, &after)) return false;
    uint64_t seconds = (ml_siege_now() - begun) / 1000000 + 1;
    busy = ml_daemon_busy(&siege->daemon) - busy;
    if (after.files > before.files)
        return ml_siege_wrong(siege, "%u descriptors are open, %u were before", after.files,
                              before.files);
    if (after.resident > before.resident + GROWTH_MAX)
        return ml_siege_wrong(siege, "%s bytes resident, %s before",
                              ml_siege_number(after.resident), ml_siege_number(before.resident));
    uint64_t idle = ml_siege_idle_ms(siege);
    if (idle > IDLE_MS_MAX)
        return ml_siege_wrong(siege, "it takes %s ms of processor in an idle second",
                              ml_siege_number(idle));
    printf("storm: %s connections by TCP and unix, cut off by RST, %s a second; %u descriptors as "
           "before, %+.1f MB "
           "resident, %s µs of processor each, %s ms in an idle second; seed %" PRIu64 "\n",
           ml_siege_number(siege->connections), ml_siege_number(siege->connections / seconds),
           after.files, ((double)after.resident - (double)before.resident) / 1e6,
           ml_siege_number(busy / siege->connections), ml_siege_number(idle), siege->seed);
    return true;
}

bool ml_storm_run(ml_siege *siege)
{
    ml_client client = {.file = -1};
    bool good =
        ml_daemon_start(&siege->daemon) ? besiege(siege, &client) : ml_siege_daemon_wrong(siege);
    ml_client_close(&client, false);
    return good && (ml_daemon_stop(&siege->daemon) || ml_siege_daemon_wrong(siege));
}
