/* walk.c -- reading the log through the daemon, and holding it against the model. */
#include <inttypes.h>
#include <stdlib.h>

#include "model.h"

enum { PAGE = 1000 };

ml_walk *ml_walk_new(ml_model *model)
{
    ml_walk *walk = ml_siege_grow(NULL, sizeof *walk);
    *walk = (ml_walk){.model = model};
    ml_walk_restart(walk);
    return walk;
}

void ml_walk_free(ml_walk *walk)
{
    if (walk == NULL) return;
    free(walk->turns);
    free(walk);
}

void ml_walk_restart(ml_walk *walk)
{
    ml_model *model = walk->model;
    *walk =
        (ml_walk){.model = model, .next = 1, .turns = walk->turns, .turns_room = walk->turns_room};
    if (walk->turns_room > 0) memset(walk->turns, 0, walk->turns_room * sizeof *walk->turns);
    for (size_t n = 0; n < ML_MODEL_STREAMS_MAX; n++)
        walk->heads[n] = -1;
    for (uint32_t n = 1; n < model->count; n++)
        model->attempts[n].seen = false;
}

static bool wrong(ml_walk *walk, uint32_t number, const char *what)
{
    return ml_siege_wrong(walk->model->siege, "position %" PRIu64 ", append %" PRIu32 ": %s",
                          walk->next, number, what);
}

/* ---- one event ------------------------------------------------------------------------ */

/* The first event of an append. */
static bool enter(ml_walk *walk, ml_place place)
{
    ml_attempt *attempt = &walk->model->attempts[place.attempt];
    if (walk->left > 0)
        return wrong(walk, walk->at.attempt, "TORN: not all of its events are there");
    if (place.index > 0) return wrong(walk, place.attempt, "TORN: its first events are not there");
    if (attempt->fate == ML_PLANNED) return wrong(walk, place.attempt, "was never sent");
    if (attempt->fate == ML_REFUSED)
        return wrong(walk, place.attempt, "was refused, or not there before");
    if (attempt->seen) return wrong(walk, place.attempt, "TWICE in the log");
    if (attempt->fate == ML_KEPT && attempt->first != walk->next)
        return wrong(walk, place.attempt, "was acknowledged elsewhere");
    if (attempt->condition > 0 && walk->tagged[attempt->condition - 1] > attempt->after)
        return wrong(walk, place.attempt, "its condition did not hold");
    /* A connection's appends are admitted as they come; one that was sent again, on another, has
     * its place from either time. */
    if (!attempt->retried && place.attempt < walk->turns[attempt->session])
        return wrong(walk, place.attempt, "OUT OF ORDER: its client sent it before another");
    if (!attempt->retried) walk->turns[attempt->session] = place.attempt;
    attempt->seen = attempt->found = true;
    attempt->first = walk->next;
    walk->left = ml_model_events(attempt);
    return true;
}

/* The first event of one of its writes. */
static bool expected(ml_walk *walk, ml_place place)
{
    const ml_attempt *attempt = &walk->model->attempts[place.attempt];
    int64_t head = walk->heads[attempt->streams[place.write]],
            want = attempt->expected[place.write];
    bool good = want == ML_ANY || (want == ML_NO_STREAM && head < 0) ||
                (want == ML_STREAM_EXISTS && head >= 0) || (want >= 0 && head == want);
    return good || wrong(walk, place.attempt, "its stream was not where it expects it");
}

static bool step(ml_walk *walk, const ml_event *event)
{
    ml_model *model = walk->model;
    ml_place place;
    if (event->position != walk->next) return wrong(walk, 0, "GAP: another position comes");
    if (!ml_model_named(model, event->id, &place))
        return wrong(walk, 0, "an event that nobody appended");
    bool goes_on =
        walk->left > 0 && place.attempt == walk->at.attempt && place.index == walk->at.index + 1;
    bool new_write = !goes_on || place.write != walk->at.write;
    if (!goes_on && !enter(walk, place)) return false;
    if (new_write && !expected(walk, place)) return false;
    ml_facts facts = ml_model_facts(model, place);
    if ((int64_t)event->revision != walk->heads[facts.stream] + 1)
        return wrong(walk, place.attempt, "a gap in the revisions");
    if (!ml_model_compare(model, place, event) || !ml_model_put(model, walk->next, place))
        return false;
    walk->heads[facts.stream]++;
    if (walk->heads[facts.stream] > model->heads[facts.stream])
        model->heads[facts.stream] = walk->heads[facts.stream];
    for (unsigned tag = 0; tag < ML_MODEL_TAGS; tag++)
        if ((facts.tags >> tag & 1) != 0) walk->tagged[tag] = walk->next;
    walk->at = place;
    walk->left--;
    walk->next++;
    return true;
}

/* ---- all of them ---------------------------------------------------------------------- */

static bool read_page(ml_walk *walk, ml_client *client, bool *end)
{
    ml_siege *siege = walk->model->siege;
    ml_message message;
    uint32_t count;
    ml_buf *out = ml_client_begin(client, "read");
    ml_pack_map(out, 2);
    ml_pack_text(out, "from");
    ml_pack_int(out, (int64_t)walk->next);
    ml_pack_text(out, "limit");
    ml_pack_int(out, PAGE);
    if (!ml_siege_ask(siege, client, &message)) return false;
    ml_unpack events = ml_client_list(message.body, "events", &count);
    *end = count == 0;
    while (count-- > 0) {
        ml_event event;
        if (!ml_client_event(&events, &event))
            return ml_siege_wrong(siege, "what was read holds no events");
        if (!step(walk, &event)) return false;
    }
    return true;
}

static void make_room(ml_walk *walk)
{
    uint32_t room = walk->model->sessions + 1;
    if (room <= walk->turns_room) return;
    walk->turns = ml_siege_grow(walk->turns, room * sizeof *walk->turns);
    memset(walk->turns + walk->turns_room, 0, (room - walk->turns_room) * sizeof *walk->turns);
    walk->turns_room = room;
}

bool ml_walk_read(ml_walk *walk, ml_client *client)
{
    ml_model *model = walk->model;
    make_room(walk);
    for (bool end = false; !end;)
        if (!read_page(walk, client, &end)) return false;
    if (walk->left > 0)
        return wrong(walk, walk->at.attempt, "TORN: not all of its events are there");
    for (uint32_t n = 1; n < model->count; n++)
        if (model->attempts[n].fate == ML_KEPT && !model->attempts[n].seen)
            return wrong(walk, n, "LOST: it was acknowledged, and the log ends before it");
    return true;
}

void ml_walk_decide(ml_walk *walk, bool (*again)(void *context, uint32_t number), void *context)
{
    ml_model *model = walk->model;
    for (uint32_t n = 1; n < model->count; n++) {
        ml_attempt *attempt = &model->attempts[n];
        if (attempt->fate != ML_SENT) continue;
        bool sent_again = attempt->queued || (again != NULL && again(context, n));
        if (attempt->seen)
            attempt->fate = ML_KEPT;
        else if (!sent_again)
            attempt->fate = ML_REFUSED;
    }
}
