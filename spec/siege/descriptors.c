/* descriptors.c -- clients until no descriptor is left.
 *
 * First under a limit that the daemon knows when it starts: it refuses clients before the store
 * lacks files, so segments still roll. Then under one that is lowered while it runs, so that
 * accept itself fails with EMFILE. Both times it serves those it has, does not spin, and takes
 * new ones when others leave.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "model.h"

enum {
    KNOWN = 128,  /* descriptors, from the start */
    AMPLE = 1024, /* at first, */
    LOWERED = 64, /* and then */
    CLIENTS_MAX = 512,
    SEGMENTS = 4,    /* of 1, 2, 4 … MiB, that the appends are to fill */
    IDLE_MS_MAX = 50 /* of processor in an idle second; one that spins takes a thousand */
};

typedef struct trial {
    ml_siege *siege;
    ml_model *model;
    ml_writer writer;
    ml_client clients[CLIENTS_MAX];
    size_t served; /* of them: the first ones */
    uint64_t refused;
} trial;

static bool ask(trial *t, ml_client *client)
{
    ml_message message;
    ml_pack_map(ml_client_begin(client, "head"), 0);
    return ml_siege_ask(t->siege, client, &message);
}

/* Is one more client served? Who is not is sent away, and not left waiting. */
static bool try_one(trial *t, bool tcp)
{
    ml_client *client = &t->clients[t->served];
    ml_message message;
    bool good = ml_client_connect(client, t->siege->daemon.socket, tcp ? t->siege->daemon.port : 0);
    ml_pack_map(ml_client_begin(client, "head"), 0);
    uint64_t begun = ml_siege_now();
    good = good && ml_client_call(client, &message, ML_SIEGE_ANSWER_MS) && message.code == ML_OK;
    if (!good) ml_client_close(client, false);
    t->served += good;
    t->refused += !good;
    if (ml_siege_now() - begun < (uint64_t)ML_SIEGE_ANSWER_MS * 1000) return true;
    return ml_siege_wrong(t->siege, "a client is neither served nor sent away");
}

static bool crowd(trial *t)
{
    uint64_t count = t->siege->connections < CLIENTS_MAX ? t->siege->connections : CLIENTS_MAX;
    t->served = 0;
    t->refused = 0;
    for (uint64_t n = 0; n < count; n++)
        if (!try_one(t, n % 2 == 0)) return false;
    if (t->refused == 0)
        return ml_siege_wrong(t->siege, "all of %s clients are served", ml_siege_number(count));
    return t->served > 0 || ml_siege_wrong(t->siege, "no client at all is served");
}

/* Those that it has; and it rests when they do. */
static bool serves_on(trial *t)
{
    for (size_t n = 0; n < t->served; n++)
        if (!ask(t, &t->clients[n])) return false;
    uint64_t idle = ml_siege_idle_ms(t->siege);
    return idle <= IDLE_MS_MAX ||
           ml_siege_wrong(t->siege,
                          "without descriptors it takes %s ms of processor in an idle second",
                          ml_siege_number(idle));
}

static bool recovers(trial *t)
{
    for (size_t n = 0; n < t->served; n++)
        ml_client_close(&t->clients[n], false);
    if (!ml_siege_settle(t->siege, &t->writer.client, 1)) return false;
    t->served = 0;
    t->refused = 0;
    for (int n = 0; n < 8; n++)
        if (!try_one(t, n % 2 == 0)) return false;
    if (t->refused > 0)
        return ml_siege_wrong(t->siege, "clients have left, and others are not served");
    for (size_t n = 0; n < t->served; n++)
        ml_client_close(&t->clients[n], false);
    return true;
}

/* Appends until so many segments are there, or appends are answered at all. */
static bool append(trial *t, uint64_t segments)
{
    uint64_t until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000, now = 0,
             answered = t->writer.answered;
    do {
        t->writer.depth = 16;
        for (int n = 0; n < 20; n++)
            if (!ml_writer_turn(&t->writer, 1, ml_siege_now() + 100000)) return false;
        t->writer.depth = 0;
        while (t->writer.count > 0 && t->writer.client.file >= 0 && ml_siege_now() < until)
            if (!ml_writer_turn(&t->writer, 1, ml_siege_now() + 100000)) return false;
        if (!ml_siege_status(t->siege, &t->writer.client, "segments", &now)) return false;
    } while (now < segments && ml_siege_now() < until);
    return (now >= segments && t->writer.answered > answered) ||
           ml_siege_wrong(t->siege, "%s segments, the log does not go on", ml_siege_number(now));
}

static bool start(trial *t, uint64_t descriptors)
{
    t->siege->daemon.descriptors = descriptors;
    if (!ml_daemon_start(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    return ml_writer_connect(&t->writer, false);
}

static bool end(trial *t)
{
    ml_writer_close(&t->writer);
    return ml_daemon_stop(&t->siege->daemon) || ml_siege_daemon_wrong(t->siege);
}

static bool besiege(trial *t)
{
    struct rlimit lowered = {LOWERED, LOWERED};
    uint64_t segments = 0;
    if (!start(t, KNOWN) || !crowd(t)) return false;
    size_t known = t->served;
    if (!append(t, SEGMENTS) || !serves_on(t) || !recovers(t) || !end(t)) return false;
    if (!start(t, AMPLE) || !ml_siege_status(t->siege, &t->writer.client, "segments", &segments))
        return false;
    if (prlimit(t->siege->daemon.pid, RLIMIT_NOFILE, &lowered, NULL) != 0)
        return ml_siege_wrong(t->siege, "prlimit of the daemon fails");
    if (!crowd(t)) return false;
    size_t served = t->served;
    if (!serves_on(t) || !append(t, segments) || !recovers(t) || !end(t)) return false;
    if (!ml_siege_verify(t->siege)) return false;
    printf("descriptors: of %d, known from the start, %zu clients got one and %d segments were "
           "begun; of %d, after the "
           "limit was lowered, %zu did (EMFILE in accept); those were served on, the others sent "
           "away, no spinning, "
           "and new ones served when they had left; seed %" PRIu64 "\n",
           KNOWN, known, SEGMENTS, LOWERED, served, t->siege->seed);
    return true;
}

bool ml_descriptors_run(ml_siege *siege)
{
    static trial t;
    t = (trial){.siege = siege, .model = ml_model_new(siege)};
    t.model->plain = true;
    for (size_t n = 0; n < CLIENTS_MAX; n++)
        t.clients[n].file = -1;
    t.writer = (ml_writer){.client.file = -1, .model = t.model};
    if (siege->connections > CLIENTS_MAX) siege->connections = CLIENTS_MAX;
    bool good = ml_siege_descriptors(siege, siege->connections) && besiege(&t);
    for (size_t n = 0; n < CLIENTS_MAX; n++)
        ml_client_close(&t.clients[n], false);
    ml_writer_free(&t.writer);
    ml_model_free(t.model);
    return good;
}
