/* tally.c -- batches by number: made up by dice, packed, answered, found again in the log, folded.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "views.h"

enum { PAGE = 1000, MOST = 60, AMOUNT_MAX = 1000, BUSY = 20, NAME = 32, SIGHTS_MAX = 1 << 20 };

static const char *const categories[ML_VIEWS_CATEGORIES] = {"orders", "stock", "visits"};
static const char *const types[] = {"Added", "Taken", "Closed"};

typedef struct fact {
    ml_views_type type;
    uint32_t group, amount;
} fact;

ml_tally *ml_tally_new(ml_siege *siege)
{
    ml_tally *tally = ml_siege_grow(NULL, sizeof *tally);
    *tally = (ml_tally){.siege = siege, .count = 1, .next = 1, .most = MOST};
    return tally;
}

void ml_tally_free(ml_tally *tally)
{
    free(tally->batches);
    free(tally->seconds);
    free(tally->sights);
    free(tally);
}

static bool wrong(const ml_tally *tally, uint64_t number, const char *what)
{
    return ml_siege_wrong(tally->siege, "batch %" PRIu64 " %s", number, what);
}

/* ---- making up -------------------------------------------------------------------------- */

uint32_t ml_tally_plan(ml_tally *tally)
{
    ml_dice *dice = &tally->siege->dice;
    if (tally->count >= tally->room) {
        tally->room = tally->room == 0 ? 4096 : 2 * tally->room;
        tally->batches = ml_siege_grow(tally->batches, tally->room * sizeof *tally->batches);
    }
    uint32_t most = ml_dice_one_in(dice, 3) ? 1 : tally->most;
    /* Mostly few and busy streams. */
    uint32_t streams = ml_dice_one_in(dice, 2) ? BUSY : ML_VIEWS_STREAMS;
    tally->batches[tally->count] =
        (ml_batch){.category = (uint8_t)ml_dice_below(dice, ML_VIEWS_CATEGORIES),
                   .stream = (uint16_t)ml_dice_below(dice, streams),
                   .count = (uint16_t)(tally->steady ? tally->most : 1 + ml_dice_below(dice, most)),
                   .fate = ML_PLANNED};
    return tally->count++;
}

static fact fact_of(const ml_tally *tally, uint64_t number, uint64_t index)
{
    ml_dice dice = {tally->siege->seed ^ number << 20 ^ index};
    fact made = {.type = ml_dice_one_in(&dice, 60)  ? ML_VIEWS_CLOSED
                         : ml_dice_one_in(&dice, 3) ? ML_VIEWS_TAKEN
                                                    : ML_VIEWS_ADDED};
    made.group = ml_dice_below(&dice, ML_VIEWS_GROUP_COUNT);
    made.amount = ml_dice_below(&dice, AMOUNT_MAX);
    return made;
}

static void name_stream(const ml_batch *batch, char name[NAME])
{
    snprintf(name, NAME, "%s-%d", categories[batch->category], batch->stream);
}

static void pack_natural(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

static void pack_event(const ml_tally *tally, uint32_t number, uint32_t index, ml_buf *out)
{
    fact made = fact_of(tally, number, index);
    ml_pack_map(out, 2);
    ml_pack_text(out, "type");
    ml_pack_text(out, types[made.type]);
    ml_pack_text(out, "data");
    ml_pack_map(out, 4);
    pack_natural(out, "batch", number);
    pack_natural(out, "index", index);
    pack_natural(out, "group", made.group);
    pack_natural(out, "amount", made.amount);
}

static bool is_synced(const ml_tally *tally, uint32_t number)
{
    return tally->steady || number % 4 != 0;
}

void ml_tally_pack(ml_tally *tally, uint32_t number, ml_buf *out)
{
    ml_batch *batch = &tally->batches[number];
    char name[NAME];
    name_stream(batch, name);
    ml_pack_map(out, 3);
    ml_pack_text(out, "stream");
    ml_pack_text(out, name);
    ml_pack_text(out, "durability");
    ml_pack_text(out, is_synced(tally, number) ? "disk" : "os");
    ml_pack_text(out, "events");
    ml_pack_array(out, batch->count);
    for (uint32_t n = 0; n < batch->count; n++)
        pack_event(tally, number, n, out);
    batch->fate = ML_SENT;
}

bool ml_tally_answer(ml_tally *tally, uint32_t number, const ml_message *message)
{
    ml_batch *batch = &tally->batches[number];
    if (message->code == ML_SHUTTING_DOWN) {
        batch->fate = ML_REFUSED;
        return true;
    }
    if (message->code != ML_OK)
        return ml_siege_wrong(tally->siege, "batch %" PRIu32 " is refused: %.*s", number,
                              ML_SHOW(message->text));
    uint64_t last = ml_client_natural(message->body, "last");
    batch->fate = ML_KEPT;
    batch->first = ml_client_natural(message->body, "first");
    if (batch->first == 0 || last != batch->first + batch->count - 1)
        return wrong(tally, number, "got other positions than it has events");
    if (last > tally->highest) tally->highest = last;
    if (is_synced(tally, number) && last > tally->synced) tally->synced = last;
    if (batch->category == 0) tally->recent = *batch;
    tally->acknowledged++;
    tally->appended += batch->count;
    return true;
}

void ml_tally_see(ml_tally *tally, const ml_sight *sight)
{
    bool folded = sight->position + 1 < tally->next; /* how it was then is not known any more */
    if (folded || tally->sight_count == SIGHTS_MAX) return;
    if (tally->sight_count == tally->sight_room) {
        tally->sight_room = tally->sight_room == 0 ? 4096 : 2 * tally->sight_room;
        tally->sights = ml_siege_grow(tally->sights, tally->sight_room * sizeof *tally->sights);
    }
    tally->sights[tally->sight_count++] = *sight;
}

/* ---- folding ---------------------------------------------------------------------------- */

static void add(ml_sum *sum, const fact *made)
{
    sum->there = true;
    sum->count++;
    if (made->type == ML_VIEWS_ADDED) sum->adds++, sum->added += made->amount;
    if (made->type == ML_VIEWS_TAKEN) sum->taken += made->amount;
    if (made->type != ML_VIEWS_CLOSED) sum->group = made->group;
}

static void add_second(ml_tally *tally, int64_t time, const fact *made)
{
    int64_t second = time / 1000000;
    if (tally->second_count == 0) tally->began = second;
    size_t at = (size_t)(second - tally->began);
    if (at >= tally->second_room) {
        size_t before = tally->second_room;
        tally->second_room = 2 * at + 64;
        tally->seconds = ml_siege_grow(tally->seconds, tally->second_room * sizeof *tally->seconds);
        memset(tally->seconds + before, 0, (tally->second_room - before) * sizeof *tally->seconds);
    }
    if (at >= tally->second_count) tally->second_count = at + 1;
    add(&tally->seconds[at][made->type], made);
}

static void fold(ml_tally *tally, const ml_batch *batch, const fact *made, int64_t time)
{
    ml_sum none = {0}, *both[] = {&tally->stock[batch->stream], &tally->shelves[made->group]};
    add(&tally->totals, made);
    if (made->type != ML_VIEWS_CLOSED) add(&tally->groups[made->group], made);
    if (batch->category == 0) add(&tally->orders[batch->stream], made);
    for (size_t n = 0; batch->category == 1 && n < 2; n++) {
        if (made->type == ML_VIEWS_CLOSED)
            *both[n] = none;
        else
            add(both[n], made);
    }
    if (batch->category == 2) add_second(tally, time, made);
}

/* ---- what was seen ------------------------------------------------------------------------ */

static bool check_sight(const ml_tally *tally, const ml_sight *sight)
{
    const ml_sum *sum = sight->group < 0 ? &tally->totals : &tally->groups[sight->group];
    /* A free fold has its row from the start on. */
    bool same = sight->none ? !sum->there
                            : sight->count == sum->count && sight->taken == sum->taken &&
                                  sight->added == sum->added * (int64_t)sight->factor &&
                                  (sight->factor > 0) == (sum->adds > 0);
    if (same) return true;
    return ml_siege_wrong(tally->siege,
                          "%s %d at position %" PRIu64 " was seen as count %" PRId64
                          ", added %" PRId64 " (by %" PRIu64 "), taken %" PRId64
                          ", and is count %" PRId64 ", added %" PRId64 ", taken %" PRId64,
                          sight->group < 0 ? "totals" : "group", sight->group, sight->position,
                          sight->count, sight->added, sight->factor, sight->taken, sum->count,
                          sum->added, sum->taken);
}

static int compare_sights(const void *a, const void *b)
{
    const ml_sight *one = a, *other = b;
    return (one->position > other->position) - (one->position < other->position);
}

/* All events up to before that position are folded. */
static bool check_sights(ml_tally *tally, uint64_t position)
{
    for (; tally->sight_next < tally->sight_count; tally->sight_next++) {
        if (tally->sights[tally->sight_next].position >= position) break;
        if (!check_sight(tally, &tally->sights[tally->sight_next])) return false;
    }
    return true;
}

/* ---- the log ------------------------------------------------------------------------------ */

static bool enter(ml_tally *tally, const ml_event *event)
{
    uint64_t number = ml_client_natural(event->data, "batch"),
             index = ml_client_natural(event->data, "index");
    char name[NAME];
    if (number == 0 || number >= tally->count)
        return wrong(tally, number, "was never appended, and is in the log");
    ml_batch *batch = &tally->batches[number];
    fact made = fact_of(tally, number, index);
    name_stream(batch, name);
    if (index != batch->seen || index >= batch->count)
        return wrong(tally, number, "is torn, or twice in the log");
    if (index == 0 && batch->fate == ML_SENT) batch->first = event->position;
    if (batch->fate == ML_REFUSED) return wrong(tally, number, "was refused, and is in the log");
    if (event->position != batch->first + index)
        return wrong(tally, number, "is not where its answer said");
    if (!ml_bytes_equal(event->stream, (ml_bytes){name, strlen(name)}) ||
        !ml_bytes_equal(event->type, (ml_bytes){types[made.type], strlen(types[made.type])}))
        return wrong(tally, number, "has other events than its own");
    batch->seen++;
    tally->events++;
    fold(tally, batch, &made, event->time);
    return true;
}

static bool read_page(ml_tally *tally, ml_client *client, bool *end)
{
    ml_message message;
    ml_event event;
    uint32_t count;
    ml_buf *out = ml_client_begin(client, "read");
    ml_pack_map(out, 3);
    pack_natural(out, "from", tally->next);
    pack_natural(out, "limit", PAGE);
    ml_pack_text(out, "raw");
    ml_pack_bool(out, true);
    if (!ml_siege_ask(tally->siege, client, &message)) return false;
    ml_unpack events = ml_client_list(message.body, "events", &count);
    *end = count == 0;
    for (; count > 0; count--) {
        if (!ml_client_event(&events, &event) || event.position < tally->next)
            return ml_siege_wrong(tally->siege, "what was read holds no events");
        if (!check_sights(tally, event.position) || !enter(tally, &event)) return false;
        tally->next = event.position + 1;
    }
    return true;
}

bool ml_tally_read(ml_tally *tally, ml_client *client)
{
    if (tally->sight_count > 0)
        qsort(tally->sights, tally->sight_count, sizeof *tally->sights, compare_sights);
    for (bool end = false; !end;)
        if (!read_page(tally, client, &end)) return false;
    for (uint32_t n = 1; n < tally->count; n++) {
        const ml_batch *batch = &tally->batches[n];
        if (batch->seen > 0 && batch->seen < batch->count) return wrong(tally, n, "is torn");
        if (batch->fate == ML_KEPT && batch->seen == 0)
            return wrong(tally, n, "is LOST: it was acknowledged, and is not in the log");
    }
    if (!check_sights(tally, UINT64_MAX)) return false;
    tally->sighted += tally->sight_count;
    tally->sight_count = tally->sight_next = 0;
    return true;
}
