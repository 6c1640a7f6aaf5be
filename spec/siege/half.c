/* half.c -- messages that begin and do not end, some of them dripping on byte by byte.
 *
 * Others are served meanwhile, each of them is closed in time, and their memory comes back.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "siege.h"

enum {
    TIME_MS = 10000, /* in which a message has to be whole */
    LATE_MS = 5000,  /* the daemon looks once a second, and may be slow */
    TURN_MS = 250,
    LARGE = 100000,        /* bytes of the larger halves */
    GROWTH_MAX = 300 << 20 /* bytes: BUFFERS_MAX of the daemon, and what allocators keep */
};

typedef struct trial {
    ml_siege *siege;
    ml_client client; /* one that is served */
    ml_client *halves;
    struct pollfd *polled;
    uint64_t open, early, slowest, peak;
} trial;

/* The beginning of an append whose one string says it is longer than what comes. */
static void begin(trial *t, ml_client *half, uint64_t n)
{
    static const uint8_t zeros[LARGE];
    ml_buf *out = &half->out;
    if (n % 5 == 0) { /* one byte */
        ml_buf_byte(out, 0x94);
        return;
    }
    ml_pack_map(ml_client_begin(half, "append"), 2);
    if (n % 5 == 1) return;
    ml_pack_text(out, "stream");
    if (n % 5 == 2) { /* str32 of a megabyte */
        ml_buf_add(out, "\xdb\x00\x10\x00\x00half", 9);
        return;
    }
    ml_pack_text(out, "half-1");
    ml_pack_text(out, "events");
    ml_pack_array(out, 1);
    ml_pack_map(out, 1);
    ml_pack_text(out, "data");
    ml_buf_add(out, "\xc6\x00\x10\x00\x00", 5); /* bin32 of a megabyte */
    ml_buf_add(out, zeros, n % 5 == 3 ? 1 : 1 + ml_dice_below(&t->siege->dice, LARGE - 1));
}

static bool open_all(trial *t)
{
    for (uint64_t n = 0; n < t->siege->frames; n++) {
        ml_client *half = &t->halves[n];
        if (!ml_client_connect(half, t->siege->daemon.socket,
                               n % 2 == 0 ? t->siege->daemon.port : 0))
            return ml_siege_wrong(t->siege, "connection %" PRIu64 " fails", n);
        begin(t, half, n);
        if (!ml_client_flush(half))
            return ml_siege_wrong(t->siege, "half a message is not even taken");
        t->polled[n] = (struct pollfd){.fd = half->file, .events = POLLIN};
        t->open++;
    }
    return true;
}

/* The daemon may say why before it closes. */
static void look(trial *t, uint64_t n)
{
    if (t->polled[n].fd < 0 || t->polled[n].revents == 0 || ml_client_fill(&t->halves[n])) return;
    ml_client_close(&t->halves[n], false);
    t->polled[n].fd = -1;
    t->open--;
}

static bool serve_other(trial *t)
{
    uint64_t begun = ml_siege_now(), resident = ml_daemon_resident(&t->siege->daemon);
    ml_message message;
    ml_buf *out = ml_client_begin(&t->client, "append");
    ml_pack_map(out, 2);
    ml_pack_text(out, "stream");
    ml_pack_text(out, "other-1");
    ml_pack_text(out, "events");
    ml_pack_array(out, 1);
    ml_pack_map(out, 1);
    ml_pack_text(out, "type");
    ml_pack_text(out, "Served");
    if (!ml_siege_ask(t->siege, &t->client, &message)) return false;
    if (ml_siege_now() - begun > t->slowest) t->slowest = ml_siege_now() - begun;
    if (resident > t->peak) t->peak = resident;
    return true;
}

/* One in three sends a byte a turn: that does not make it whole any sooner. */
static void drip(trial *t)
{
    for (uint64_t n = 3; n < t->siege->frames; n += 3)
        if (t->polled[n].fd >= 0 && n % 5 >= 3)
            ML_IGNORE(send(t->polled[n].fd, "", 1, MSG_NOSIGNAL) != 1);
}

static bool await_end(trial *t, uint64_t begun)
{
    while (t->open > 0) {
        uint64_t now = (ml_siege_now() - begun) / 1000;
        if (now > TIME_MS + LATE_MS)
            return ml_siege_wrong(t->siege, "%s halves are still open after %s ms",
                                  ml_siege_number(t->open), ml_siege_number(now));
        if (now < TIME_MS - 1000) t->early = t->siege->frames - t->open;
        if (poll(t->polled, t->siege->frames, TURN_MS) < 0 && errno != EINTR)
            return ml_siege_wrong(t->siege, "poll fails");
        for (uint64_t n = 0; n < t->siege->frames; n++)
            look(t, n);
        drip(t);
        if (!serve_other(t)) return false;
    }
    return true;
}

static bool besiege(trial *t)
{
    ml_siege *siege = t->siege;
    if (!ml_siege_connect(siege, &t->client, false) || !serve_other(t)) return false;
    uint64_t before = ml_daemon_resident(&siege->daemon), begun = ml_siege_now();
    if (!open_all(t) || !await_end(t, begun) || !ml_siege_settle(siege, &t->client, 1))
        return false;
    uint64_t took = (ml_siege_now() - begun) / 1000;
    if (t->peak > before + GROWTH_MAX)
        return ml_siege_wrong(siege, "%s bytes resident", ml_siege_number(t->peak));
    if (t->early > 0)
        return ml_siege_wrong(siege, "%s halves are closed before their time",
                              ml_siege_number(t->early));
    printf("half: %s half-sent messages, all closed after %s ms; slowest append of another client "
           "meanwhile %s µs, "
           "%s MB resident at most (%s MB before); seed %" PRIu64 "\n",
           ml_siege_number(siege->frames), ml_siege_number(took), ml_siege_number(t->slowest),
           ml_siege_number(t->peak / 1000000), ml_siege_number(before / 1000000), siege->seed);
    return true;
}

bool ml_half_run(ml_siege *siege)
{
    char room[24];
    trial t = {.siege = siege, .client.file = -1};
    if (!ml_siege_descriptors(siege, siege->frames + 512)) {
        printf("half: SKIPPED, %s\n", siege->why);
        return true;
    }
    t.halves = ml_siege_grow(NULL, (siege->frames + 1) * sizeof *t.halves);
    t.polled = ml_siege_grow(NULL, (siege->frames + 1) * sizeof *t.polled);
    for (uint64_t n = 0; n < siege->frames; n++)
        t.halves[n] = (ml_client){.file = -1};
    snprintf(room, sizeof room, "%" PRIu64, siege->frames + 64);
    siege->daemon.args[0] = "--connections";
    siege->daemon.args[1] = room;
    bool good = ml_daemon_start(&siege->daemon) ? besiege(&t) : ml_siege_daemon_wrong(siege);
    for (uint64_t n = 0; n < siege->frames; n++)
        ml_client_close(&t.halves[n], false);
    ml_client_close(&t.client, false);
    free(t.halves);
    free(t.polled);
    return good && (ml_daemon_stop(&siege->daemon) || ml_siege_daemon_wrong(siege));
}
