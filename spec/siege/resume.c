/* resume.c -- subscriptions that end and go on at random, while two writers append.
 *
 * Every event that is delivered is held against the model: it is the next one that the
 * subscription's filter selects behind the last, and itself to the last byte. Subscriptions are
 * opened at random positions, get credit in dribbles, are ended by `unsubscribe`, by their
 * connection, and by the daemon's (a kill -9, an orderly stop), and go on where they were.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>

#include "model.h"

enum {
    WRITERS = 2,
    PEERS = 20,
    SUBS = 3,  /* of each peer */
    ITEMS = 2, /* of a query */
    STUCK_MS = 30000,
    LEAD = 20000, /* events that the writers are ahead at first */
    SHARE = 3     /* deliveries for each event, about */
};

typedef struct filter {
    int stream, category; /* -1: any */
    unsigned items;
    uint8_t types[ITEMS], tags[ITEMS]; /* bits; 0 = none named */
} filter;

typedef enum stage { CLOSED, OPENING, OPEN, ENDING } stage;

typedef struct sub {
    filter of;
    stage stage;
    uint32_t msgid; /* of the request under way */
    uint64_t id;
    uint64_t last; /* every event of the filter up to here was delivered */
    bool floating; /* begun at the end: `last` is only a lower bound */
    bool bounded;
    uint64_t credit;
} sub;

typedef struct peer {
    ml_client client;
    sub subs[SUBS];
    unsigned idle; /* turns in which it does not read */
} peer;

typedef struct trial {
    ml_siege *siege;
    ml_model *model;
    ml_writer writers[WRITERS];
    peer peers[PEERS];
    bool finishing; /* nothing more at random: all are to reach the head */
    uint64_t deliveries, opened, resumed, unsubscribed, disconnected, restarts, moved;
} trial;

static uint32_t below(trial *t, uint32_t sides)
{
    return ml_dice_below(&t->siege->dice, sides);
}
static bool one_in(trial *t, uint32_t sides)
{
    return !t->finishing && ml_dice_one_in(&t->siege->dice, sides);
}

/* ---- filters ---------------------------------------------------------------------------- */

static filter pick_filter(trial *t)
{
    filter of = {.stream = -1, .category = -1};
    switch (below(t, 6)) {
    case 0:
    case 1: return of;
    case 2: of.stream = (int)below(t, ML_MODEL_STREAMS); break;
    case 3: of.category = (int)below(t, ML_MODEL_CATEGORIES); break;
    default: break;
    }
    if (of.stream < 0 && of.category < 0)
        of.items = 1 + below(t, ITEMS);
    else if (below(t, 2) == 0)
        of.items = 1;
    for (unsigned n = 0; n < of.items; n++) {
        of.types[n] = (uint8_t)below(t, 1u << ML_MODEL_TYPES);
        of.tags[n] = (uint8_t)(below(t, 2) == 0 ? 1u << below(t, 4) : 0);
    }
    return of;
}

static bool selects(const filter *of, const ml_facts *facts)
{
    if (of->stream >= 0 && of->stream != facts->stream) return false;
    if (of->category >= 0 && of->category != facts->stream % ML_MODEL_CATEGORIES) return false;
    for (unsigned n = 0; n < of->items; n++)
        if ((of->types[n] == 0 || (of->types[n] >> facts->type & 1) != 0) &&
            (of->tags[n] & facts->tags) == of->tags[n])
            return true;
    return of->items == 0;
}

static void pack_names(ml_buf *out, const char *key, uint8_t bits, void (*name)(unsigned, char *))
{
    char text[ML_MODEL_NAME];
    ml_pack_text(out, key);
    ml_pack_array(out, (uint32_t)__builtin_popcount(bits));
    for (unsigned n = 0; n < 8; n++) {
        if ((bits >> n & 1) == 0) continue;
        name(n, text);
        ml_pack_text(out, text);
    }
}

/* The entries of a map; gives how many. */
static uint32_t pack_filter(ml_buf *out, const filter *of)
{
    char name[ML_MODEL_NAME];
    uint32_t entries = 0;
    if (of->stream >= 0 || of->category >= 0) {
        if (of->stream >= 0)
            ml_model_stream((unsigned)of->stream, name);
        else
            ml_model_category((unsigned)of->category, name);
        ml_pack_text(out, of->stream >= 0 ? "stream" : "category");
        ml_pack_text(out, name);
        entries++;
    }
    if (of->items == 0) return entries;
    ml_pack_text(out, "query");
    ml_pack_array(out, of->items);
    for (unsigned n = 0; n < of->items; n++) {
        ml_pack_map(out, 2);
        pack_names(out, "types", of->types[n], ml_model_type);
        pack_names(out, "tags", of->tags[n], ml_model_tag);
    }
    return entries + 1;
}

/* ---- what a subscription asks ------------------------------------------------------------- */

static void subscribe(trial *t, peer *with, sub *of)
{
    ml_buf *out = ml_client_begin(&with->client, "subscribe");
    size_t begin = ml_pack_begin(out);
    uint32_t entries = pack_filter(out, &of->of) + 1;
    of->floating = one_in(t, 30);
    ml_pack_text(out, "after");
    if (of->floating) {
        of->last = t->model->known;
        ml_pack_text(out, "end");
    } else if (of->last == 0 && one_in(t, 2)) {
        ml_pack_text(out, "start");
    } else {
        ml_pack_int(out, (int64_t)of->last);
    }
    of->bounded = one_in(t, 2);
    of->credit = of->bounded ? below(t, 500) : 0;
    if (of->bounded) {
        ml_pack_text(out, "credit");
        ml_pack_int(out, (int64_t)of->credit);
        entries++;
    }
    ml_pack_end_map(out, begin, entries);
    of->stage = OPENING;
    of->msgid = with->client.msgid;
    t->opened++;
}

static void grant(trial *t, peer *with, sub *of)
{
    uint64_t events = t->finishing ? UINT32_MAX : 1 + below(t, one_in(t, 4) ? 5000 : 300);
    ml_buf *out = one_in(t, 2) ? ml_client_notice(&with->client, "credit")
                               : ml_client_begin(&with->client, "credit");
    ml_pack_map(out, 2);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->id);
    ml_pack_text(out, "events");
    ml_pack_int(out, (int64_t)events);
    of->credit += events;
}

static void unsubscribe(trial *t, peer *with, sub *of)
{
    ml_buf *out = ml_client_begin(&with->client, "unsubscribe");
    ml_pack_map(out, 1);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->id);
    of->stage = ENDING;
    of->msgid = with->client.msgid;
    t->unsubscribed++;
}

/* Another filter, from anywhere; or the same, from where it was. */
static void choose(trial *t, sub *of)
{
    of->stage = CLOSED;
    if (!one_in(t, 2)) {
        t->resumed++;
        return;
    }
    of->of = pick_filter(t);
    of->last = one_in(t, 4) ? 0 : below(t, (uint32_t)t->model->known + 1);
    t->moved++;
}

/* ---- what it is told ------------------------------------------------------------------------ */

static bool wrong(trial *t, const sub *of, uint64_t position, const char *what)
{
    return ml_siege_wrong(
        t->siege,
        "subscription %" PRIu64 " (stream %d, category %d, %u items, last %" PRIu64
        ") at position %" PRIu64 ": %s",
        of->id, of->of.stream, of->of.category, of->of.items, of->last, position, what);
}

/* Nothing that it selects may lie between what it had and `until`, exclusive. */
static bool no_gap(trial *t, sub *of, uint64_t until)
{
    for (uint64_t position = of->last + 1; !of->floating && position < until; position++) {
        ml_facts facts = ml_model_facts(t->model, t->model->log[position]);
        if (selects(&of->of, &facts)) return wrong(t, of, position, "GAP: it was not delivered");
    }
    return true;
}

static bool take_event(trial *t, sub *of, const ml_event *event)
{
    ml_place place = t->model->log[event->position];
    ml_facts facts = ml_model_facts(t->model, place);
    if (event->position <= of->last)
        return wrong(t, of, event->position, "DUPLICATE, or out of order");
    if (!no_gap(t, of, event->position)) return false;
    if (!selects(&of->of, &facts)) return wrong(t, of, event->position, "not what it selects");
    if (!ml_model_compare(t->model, place, event)) return false;
    if (of->bounded && of->credit-- == 0)
        return wrong(t, of, event->position, "more than it gave credit for");
    of->last = event->position;
    of->floating = false;
    t->deliveries++;
    return true;
}

static bool take_position(trial *t, sub *of, uint64_t position)
{
    if (position < of->last) return wrong(t, of, position, "said to be there, and it was further");
    if (!no_gap(t, of, position + 1)) return false;
    of->last = position;
    of->floating = false;
    return true;
}

typedef enum taken { WRONG, LATER, TAKEN } taken;

/* What the writers have not been told yet cannot be judged yet. */
static taken take_events(trial *t, sub *of, ml_bytes params)
{
    uint32_t count;
    ml_event event = {0};
    ml_unpack events = ml_client_list(params, "events", &count), ahead = events;
    for (uint32_t n = 0; n < count; n++)
        if (!ml_client_event(&ahead, &event))
            return wrong(t, of, event.position, "what is behind it is no event") ? TAKEN : WRONG;
    if (event.position > t->model->known) return LATER;
    while (count-- > 0)
        if (!ml_client_event(&events, &event) || !take_event(t, of, &event)) return WRONG;
    return TAKEN;
}

static taken take_push(trial *t, peer *with, const ml_message *message)
{
    uint64_t id = ml_client_natural(message->body, "subscription"),
             position = ml_client_natural(message->body, "position");
    sub *of = NULL;
    for (size_t n = 0; n < SUBS; n++)
        if ((with->subs[n].stage == OPEN || with->subs[n].stage == ENDING) &&
            with->subs[n].id == id)
            of = &with->subs[n];
    if (of == NULL) {
        ml_siege_wrong(t->siege, "%.*s is pushed to subscription %" PRIu64 ", which is not open",
                       ML_SHOW(message->text), id);
        return WRONG;
    }
    if (ml_bytes_equal(message->text, ML_STR("event"))) {
        taken done = take_events(t, of, message->body);
        if (done == TAKEN && of->stage == OPEN && one_in(t, 12)) unsubscribe(t, with, of);
        return done;
    }
    bool caught_up = ml_bytes_equal(message->text, ML_STR("caught_up"));
    if (!caught_up && !ml_bytes_equal(message->text, ML_STR("checkpoint"))) {
        wrong(t, of, position, "it was told something else than events");
        return WRONG;
    }
    if (position > t->model->known) return LATER;
    if (!take_position(t, of, position)) return WRONG;
    if (caught_up && of->stage == OPEN && one_in(t, 3)) unsubscribe(t, with, of);
    return TAKEN;
}

static taken take_answer(trial *t, peer *with, const ml_message *message)
{
    if (message->code != ML_OK) {
        ml_siege_wrong(t->siege, "refused: %.*s", ML_SHOW(message->text));
        return WRONG;
    }
    for (size_t n = 0; n < SUBS; n++) {
        sub *of = &with->subs[n];
        if ((of->stage != OPENING && of->stage != ENDING) || of->msgid != message->msgid) continue;
        if (of->stage == OPENING) {
            of->id = ml_client_natural(message->body, "subscription");
            of->stage = OPEN;
            return TAKEN;
        }
        uint64_t position = ml_client_natural(message->body, "position");
        if (position > t->model->known) return LATER;
        if (!take_position(t, of, position)) return WRONG;
        choose(t, of);
        return TAKEN;
    }
    return TAKEN; /* of credit */
}

/* All that can be judged. */
static bool take(trial *t, peer *with)
{
    ml_message message;
    while (ml_client_peek(&with->client, &message)) {
        taken done = message.answer ? take_answer(t, with, &message) : take_push(t, with, &message);
        if (done != TAKEN) return done == LATER;
        ml_client_drop(&with->client, &message);
    }
    return true;
}

/* ---- peers ------------------------------------------------------------------------------------
 */

static void disconnect(peer *with)
{
    ml_client_close(&with->client, false);
    for (size_t n = 0; n < SUBS; n++)
        with->subs[n].stage = CLOSED;
}

static bool act(trial *t, peer *with)
{
    if (with->client.file >= 0 && one_in(t, 100)) {
        disconnect(with);
        t->disconnected++;
    }
    if (with->client.file < 0 && !ml_siege_connect(t->siege, &with->client, one_in(t, 2)))
        return false;
    for (size_t n = 0; n < SUBS; n++) {
        sub *of = &with->subs[n];
        if (of->stage == CLOSED) subscribe(t, with, of);
        bool poor = of->credit < (t->finishing ? UINT32_MAX / 2 : 100);
        if (of->stage == OPEN && of->bounded && poor && !one_in(t, 3)) grant(t, with, of);
    }
    if (with->idle > 0)
        with->idle--;
    else if (one_in(t, 100))
        with->idle = 1 + below(t, 50);
    return ml_client_flush(&with->client) ||
           ml_siege_wrong(t->siege, "a subscriber's connection is lost");
}

static bool hear(trial *t)
{
    struct pollfd on[PEERS];
    for (size_t n = 0; n < PEERS; n++) {
        bool reads = t->finishing || t->peers[n].idle == 0;
        on[n] = (struct pollfd){.fd = reads ? t->peers[n].client.file : -1, .events = POLLIN};
    }
    if (poll(on, PEERS, 1) < 0 && errno != EINTR) return ml_siege_wrong(t->siege, "poll fails");
    for (size_t n = 0; n < PEERS; n++) {
        if (on[n].revents != 0 && !ml_client_fill(&t->peers[n].client))
            return ml_siege_wrong(t->siege, "a subscriber's connection is lost");
        if (!take(t, &t->peers[n])) return false;
    }
    return true;
}

/* ---- the daemon's end
 * ----------------------------------------------------------------------------- */

/* Nothing stays unknown: what had no answer is sent again. */
static bool writers_again(trial *t)
{
    uint64_t until = ml_siege_now() + (uint64_t)STUCK_MS * 1000;
    for (size_t n = 0; n < WRITERS; n++) {
        ml_writer *writer = &t->writers[n];
        for (unsigned at = 0; at < writer->count; at++)
            ml_writer_retry(writer, writer->waiting[at].attempt);
        ml_writer_close(writer);
        if (!ml_writer_connect(writer, false)) return false;
        writer->depth = (unsigned)writer->again_count;
    }
    while (t->writers[0].again_count + t->writers[1].again_count + t->writers[0].count +
               t->writers[1].count >
           0) {
        if (!ml_writer_turn(t->writers, WRITERS, ml_siege_now() + 10000)) return false;
        for (size_t n = 0; n < WRITERS; n++)
            t->writers[n].depth = t->writers[n].count + (unsigned)t->writers[n].again_count;
        if (ml_siege_now() > until)
            return ml_siege_wrong(t->siege, "appends are not answered after a restart");
    }
    return true;
}

static bool restart(trial *t, bool killed)
{
    ml_daemon *daemon = &t->siege->daemon;
    if (killed)
        ml_daemon_kill(daemon);
    else if (!ml_daemon_stop(daemon))
        return ml_siege_daemon_wrong(t->siege);
    t->restarts++;
    for (size_t n = 0; n < WRITERS; n++) {
        while (ml_client_fill(&t->writers[n].client))
            continue;
        if (!ml_writer_take(&t->writers[n])) return false;
    }
    for (size_t n = 0; n < PEERS; n++)
        while (ml_client_fill(&t->peers[n].client))
            continue;
    if (!ml_daemon_start(daemon)) return ml_siege_daemon_wrong(t->siege);
    if (!writers_again(t)) return false;
    /* What subscribers had been told before must be there still. */
    for (size_t n = 0; n < PEERS; n++) {
        ml_message message;
        if (!take(t, &t->peers[n])) return false;
        if (ml_client_peek(&t->peers[n].client, &message))
            return ml_siege_wrong(
                t->siege, "LOST: a subscriber was told of what is not in the log after a restart");
        disconnect(&t->peers[n]);
    }
    return true;
}

/* ---- the whole
 * ------------------------------------------------------------------------------------ */

static bool turn(trial *t)
{
    /* The log grows with what is delivered of it. */
    bool wanted = t->model->highest * SHARE < t->deliveries + LEAD;
    for (size_t n = 0; n < WRITERS; n++)
        t->writers[n].depth = wanted && !t->finishing ? ML_WRITER_DEPTH : 0;
    if (!ml_writer_turn(t->writers, WRITERS, ml_siege_now())) return false;
    for (size_t n = 0; n < PEERS; n++)
        if (!act(t, &t->peers[n])) return false;
    return hear(t);
}

static bool all_there(const trial *t)
{
    for (size_t n = 0; n < PEERS; n++)
        for (size_t s = 0; s < SUBS; s++)
            if (t->peers[n].subs[s].stage != OPEN || t->peers[n].subs[s].last < t->model->highest)
                return false;
    return t->writers[0].count + t->writers[1].count == 0;
}

static bool besiege(trial *t)
{
    uint64_t before = 0, since = ml_siege_now();
    if (!ml_daemon_start(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    for (unsigned n = 0; n < WRITERS; n++)
        if (!ml_writer_connect(&t->writers[n], n == 1)) return false;
    while (!t->finishing || !all_there(t)) {
        if (!turn(t))
            return ml_daemon_alive(&t->siege->daemon) ? false : ml_siege_daemon_wrong(t->siege);
        if (t->deliveries * 3 > t->siege->deliveries * (t->restarts + 1) && t->restarts < 2 &&
            !restart(t, t->restarts == 0))
            return false;
        t->finishing = t->deliveries >= t->siege->deliveries;
        if (t->deliveries != before) since = ml_siege_now();
        before = t->deliveries;
        if (ml_siege_now() - since > (uint64_t)STUCK_MS * 1000)
            return ml_siege_wrong(t->siege, "nothing is delivered any more, and not all is");
    }
    return ml_daemon_stop(&t->siege->daemon) || ml_siege_daemon_wrong(t->siege);
}

bool ml_resume_run(ml_siege *siege)
{
    static trial t;
    t = (trial){.siege = siege, .model = ml_model_new(siege)};
    t.model->plain = true;
    t.model->large = 8 << 10;
    for (unsigned n = 0; n < WRITERS; n++)
        t.writers[n] = (ml_writer){.client.file = -1, .model = t.model};
    for (size_t n = 0; n < PEERS; n++) {
        t.peers[n].client.file = -1;
        for (size_t s = 0; s < SUBS; s++)
            t.peers[n].subs[s].of = pick_filter(&t);
    }
    bool good = besiege(&t);
    if (good)
        printf("resume: %s deliveries of a log of %s events to %s subscriptions (%s gone on where "
               "they were: %s after "
               "unsubscribe, %s connections cut; %s begun anew at a random position), across %s "
               "restarts of the "
               "daemon; 0 gaps, 0 duplicates, 0 over credit; seed %" PRIu64 "\n",
               ml_siege_number(t.deliveries), ml_siege_number(t.model->highest),
               ml_siege_number(t.opened), ml_siege_number(t.opened - t.moved),
               ml_siege_number(t.resumed), ml_siege_number(t.disconnected),
               ml_siege_number(t.moved), ml_siege_number(t.restarts), siege->seed);
    for (size_t n = 0; n < PEERS; n++)
        disconnect(&t.peers[n]);
    for (size_t n = 0; n < WRITERS; n++)
        ml_writer_free(&t.writers[n]);
    ml_model_free(t.model);
    return good;
}
