/* slow.c -- subscribers of everything that read next to nothing, and what they cost who appends.
 *
 * Appends are measured with and without them, in rounds that take turns, so that what the machine
 * does otherwise meets both. All the readers together take some kilobytes a second, so that the
 * daemon has something to push again and again.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "model.h"

enum {
    WRITERS = 4,
    DEPTH = 32,
    WINDOW_US = 500000,
    BACKLOG = 20000,        /* events that are there for the readers to choke on */
    READER_ROOM = 64 << 10, /* bytes that the system buffers for a reader: by itself it takes
                             * megabytes each, and then slows down all TCP of the machine */
    SIP_BYTES = 4096,
    SIP_US = 2000, /* one of the readers takes a sip so often */
    PERCENT = 80,  /* of the rate that has to be left */
    PRIVATE_MAX =
        512 << 20, /* bytes: BUFFERS_MAX of the daemon, and BUFFERS_LOW of each reader twice */
    ROUNDS_MAX = 100,
    AGAIN = 3,     /* times as many rounds, where others keep the machine busy */
    CALM_MS = 200, /* in which the daemon was busy for less than a tenth */
    CALM_US = CALM_MS * 1000 / 10
};

typedef struct trial {
    ml_siege *siege;
    ml_model *model;
    ml_writer writers[WRITERS];
    ml_client *readers;
    uint64_t open, sips, most;
    uint64_t rounds;
    uint64_t with[AGAIN * ROUNDS_MAX], without[AGAIN * ROUNDS_MAX]; /* events a second */
    uint64_t percents[AGAIN * ROUNDS_MAX];                          /* of each round by itself */
    uint64_t busy[2], events[2]; /* processor time and events of all, without and with */
} trial;

/* ---- readers ---------------------------------------------------------------------------- */

/* Asks for everything and does not even look at the answer. */
static bool open_readers(trial *t)
{
    for (t->open = 0; t->open < t->siege->readers; t->open++) {
        ml_client *reader = &t->readers[t->open];
        int room = READER_ROOM;
        if (!ml_siege_connect(t->siege, reader, t->open % 2 == 0)) return false;
        if (setsockopt(reader->file, SOL_SOCKET, SO_RCVBUF, &room, sizeof room) != 0)
            return ml_siege_wrong(t->siege, "a reader's buffer cannot be set");
        ml_buf *out = ml_client_begin(reader, "subscribe");
        ml_pack_map(out, 1);
        ml_pack_text(out, "after");
        ml_pack_text(out, "start");
        if (!ml_client_flush(reader))
            return ml_siege_wrong(t->siege, "a reader's connection is lost");
        ml_buf_free(&reader->in);
        ml_buf_free(&reader->out);
    }
    return true;
}

static void close_readers(trial *t)
{
    for (uint64_t n = 0; n < t->open; n++)
        ml_client_close(&t->readers[n], true);
    t->open = 0;
}

/* Until all of them are choked: there is nothing that the daemon could do for them. */
static bool choke(trial *t)
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000, busy;
    do {
        busy = ml_daemon_busy(&t->siege->daemon);
        poll(NULL, 0, CALM_MS);
        busy = ml_daemon_busy(&t->siege->daemon) - busy;
        uint64_t now = ml_daemon_private(&t->siege->daemon);
        if (now > t->most) t->most = now;
    } while (busy > CALM_US && ml_siege_now() < until);
    return busy <= CALM_US ||
           ml_siege_wrong(t->siege,
                          "the daemon does not stop working for readers that do not read");
}

static bool sip(trial *t)
{
    static char bytes[SIP_BYTES];
    ssize_t got = recv(t->readers[ml_dice_below(&t->siege->dice, (uint32_t)t->open)].file, bytes,
                       sizeof bytes, 0);
    if (got == 0)
        return ml_siege_wrong(
            t->siege, "a slow reader was disconnected, though what it follows is in the log");
    t->sips++;
    return true;
}

/* ---- the rate ----------------------------------------------------------------------------- */

static bool append_until(trial *t, uint64_t until, uint64_t events)
{
    uint64_t last_sip = ml_siege_now();
    while (ml_siege_now() < until && t->model->highest < events) {
        uint64_t next = t->open > 0 && last_sip + SIP_US < until ? last_sip + SIP_US : until;
        if (!ml_writer_turn(t->writers, WRITERS, next)) return false;
        for (size_t n = 0; n < WRITERS; n++)
            if (t->writers[n].client.file < 0)
                return ml_siege_wrong(t->siege, "a writer's connection is lost");
        if (t->open == 0 || ml_siege_now() < last_sip + SIP_US) continue;
        if (!sip(t)) return false;
        last_sip = ml_siege_now();
    }
    return true;
}

static bool measure(trial *t, uint64_t *rate)
{
    uint64_t busy = ml_daemon_busy(&t->siege->daemon);
    bool with = t->open > 0;
    uint64_t events = t->model->highest, begun = ml_siege_now(), answered[WRITERS];
    for (size_t n = 0; n < WRITERS; n++)
        answered[n] = t->writers[n].answered;
    if (!append_until(t, begun + WINDOW_US, UINT64_MAX)) return false;
    for (size_t n = 0; n < WRITERS; n++)
        if (t->writers[n].answered == answered[n])
            return ml_siege_wrong(t->siege, "writer %zu gets no answers at all", n);
    *rate = (t->model->highest - events) * 1000000 / (ml_siege_now() - begun);
    t->busy[with] += ml_daemon_busy(&t->siege->daemon) - busy;
    t->events[with] += t->model->highest - events;
    uint64_t now = ml_daemon_private(&t->siege->daemon);
    if (now > t->most) t->most = now;
    return true;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static uint64_t median(uint64_t *values, uint64_t count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static bool check_log(trial *t)
{
    ml_client client;
    ml_walk *walk = ml_walk_new(t->model);
    for (size_t n = 0; n < WRITERS; n++)
        ml_writer_close(&t->writers[n]);
    bool good = ml_siege_connect(t->siege, &client, false) && ml_walk_read(walk, &client);
    ml_client_close(&client, false);
    ml_walk_free(walk);
    return good;
}

static bool take_turns(trial *t)
{
    for (uint64_t n = 0; n < t->siege->rounds; n++, t->rounds++) {
        uint64_t *without = &t->without[t->rounds], *with = &t->with[t->rounds];
        if (!measure(t, without) || !open_readers(t) || !choke(t) || !measure(t, with))
            return false;
        t->percents[t->rounds] = *without > 0 ? *with * 100 / *without : 0;
        close_readers(t);
        if (!ml_siege_settle(t->siege, &t->readers[t->siege->readers], WRITERS + 1)) return false;
    }
    return true;
}

static uint64_t nanoseconds(const trial *t, bool with)
{
    return t->events[with] > 0 ? t->busy[with] * 1000 / t->events[with] : 0;
}

static bool besiege(trial *t)
{
    ml_siege *siege = t->siege;
    uint64_t far = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000;
    for (unsigned n = 0; n < WRITERS; n++)
        if (!ml_writer_connect(&t->writers[n], n % 2 == 1)) return false;
    if (!append_until(t, far, BACKLOG)) return false;
    uint64_t before = ml_daemon_private(&siege->daemon), percent = 0;
    for (int again = 0; again < AGAIN && percent < PERCENT; again++) {
        if (!take_turns(t)) return false;
        percent = median(t->percents, t->rounds);
    }
    uint64_t without = median(t->without, t->rounds), with = median(t->with, t->rounds);
    if (!check_log(t)) return false;
    printf("slow: appends of %d clients: %s events/s, and %s events/s (%s%%) beside %s subscribers "
           "that read next to "
           "nothing (%s sips of 4 KiB), medians of %s rounds; %s and %s ns of the daemon's "
           "processor an event; %s MB of own "
           "memory at most (%s MB before); seed %" PRIu64 "\n",
           WRITERS, ml_siege_number(without), ml_siege_number(with), ml_siege_number(percent),
           ml_siege_number(siege->readers), ml_siege_number(t->sips), ml_siege_number(t->rounds),
           ml_siege_number(nanoseconds(t, false)), ml_siege_number(nanoseconds(t, true)),
           ml_siege_number(t->most / 1000000), ml_siege_number(before / 1000000), siege->seed);
    if (t->most > PRIVATE_MAX)
        return ml_siege_wrong(siege, "%s bytes of memory for slow readers",
                              ml_siege_number(t->most));
    return percent >= PERCENT || ml_siege_wrong(siege, "%s%% of the rate is left, and not %d%%",
                                                ml_siege_number(percent), PERCENT);
}

bool ml_slow_run(ml_siege *siege)
{
    char room[24];
    trial t = {.siege = siege};
    if (siege->rounds > ROUNDS_MAX || siege->rounds == 0)
        return ml_siege_wrong(siege, "1 to %d rounds", ROUNDS_MAX);
    if (!ml_siege_descriptors(siege, siege->readers + 512)) {
        printf("slow: SKIPPED, %s\n", siege->why);
        return true;
    }
    t.model = ml_model_new(siege);
    t.model->plain = t.model->os = true;
    t.readers = ml_siege_grow(NULL, (siege->readers + 1) * sizeof *t.readers);
    for (uint64_t n = 0; n <= siege->readers; n++)
        t.readers[n] = (ml_client){.file = -1};
    for (unsigned n = 0; n < WRITERS; n++)
        t.writers[n] = (ml_writer){.client.file = -1, .model = t.model, .depth = DEPTH};
    snprintf(room, sizeof room, "%" PRIu64, siege->readers + 64);
    siege->daemon.args[0] = "--connections";
    siege->daemon.args[1] = room;
    bool good = ml_daemon_start(&siege->daemon) || ml_siege_daemon_wrong(siege);
    good = good && ml_siege_connect(siege, &t.readers[siege->readers], false) && besiege(&t);
    close_readers(&t);
    ml_client_close(&t.readers[siege->readers], false);
    for (size_t n = 0; n < WRITERS; n++)
        ml_writer_free(&t.writers[n]);
    free(t.readers);
    ml_model_free(t.model);
    return good && (ml_daemon_stop(&siege->daemon) || ml_siege_daemon_wrong(siege));
}
