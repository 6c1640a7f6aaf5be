/* viewer.c -- a client that keeps some questions after rows under way, and remembers what it was
 * told. */
#include <inttypes.h>
#include <stdio.h>

#include "views.h"

enum { NAME = 32, TIMEOUT_MS = 20000 };

void ml_viewer_forget(ml_viewer *viewer)
{
    memset(viewer->positions, 0, sizeof viewer->positions);
    memset(viewer->orders, 0, sizeof viewer->orders);
    memset(viewer->counts, 0, sizeof viewer->counts);
    viewer->count = 0;
}

/* ---- asking ----------------------------------------------------------------------------- */

static void pack_key(const ml_look *look, ml_buf *out)
{
    char stream[NAME];
    snprintf(stream, sizeof stream, "orders-%d", (int)look->key);
    ml_pack_text(out, "key");
    if (look->name == ML_VIEWS_ORDERS)
        ml_pack_text(out, stream);
    else if (look->name == ML_VIEWS_GROUPS)
        ml_pack_int(out, look->key);
    else
        ml_pack_text(out, "");
}

static void pack(const ml_look *look, ml_buf *out)
{
    ml_pack_map(out, look->after > 0 ? 4 : 2);
    ml_pack_text(out, "name");
    ml_pack_text(out, ml_views_names[look->name]);
    pack_key(look, out);
    if (look->after == 0) return;
    ml_pack_text(out, "after");
    ml_pack_int(out, (int64_t)look->after);
    ml_pack_text(out, "timeout_ms");
    ml_pack_int(out, TIMEOUT_MS);
}

/* Half of them are after what was written last. */
static ml_look choose(const ml_viewer *viewer)
{
    ml_dice *dice = &viewer->tally->siege->dice;
    const ml_batch *recent = &viewer->tally->recent;
    ml_look look = {.name = (uint8_t)ml_dice_below(dice, 3), .key = -1};
    bool after = !viewer->plain && ml_dice_one_in(dice, 2);
    if (after) look.after = viewer->tally->highest;
    if (look.name == ML_VIEWS_GROUPS) look.key = (int32_t)ml_dice_below(dice, ML_VIEWS_GROUP_COUNT);
    if (look.name != ML_VIEWS_ORDERS) return look;
    look.key = (int32_t)ml_dice_below(dice, ML_VIEWS_STREAMS);
    if (after && recent->first > 0) {
        look.key = recent->stream;
        look.after = recent->first + recent->count - 1;
        look.must_be = true;
    }
    look.must_be |= viewer->orders[look.key];
    return look;
}

bool ml_viewer_fill(ml_viewer *viewer)
{
    uint64_t now = ml_siege_now();
    if (viewer->due + 1000000 < now) viewer->due = now;
    while (viewer->count < viewer->depth && (viewer->rate == 0 || viewer->due <= now)) {
        ml_look look = choose(viewer);
        pack(&look, ml_client_begin(&viewer->client, "projection.get"));
        look.msgid = viewer->client.msgid;
        look.began = ml_siege_now();
        viewer->waiting[viewer->count++] = look;
        if (viewer->rate > 0) viewer->due += UINT64_C(1000000) / viewer->rate;
    }
    return ml_client_flush(&viewer->client);
}

/* ---- answers ---------------------------------------------------------------------------- */

static bool wrong(const ml_viewer *viewer, const ml_look *look, uint64_t position, const char *what)
{
    return ml_siege_wrong(viewer->tally->siege,
                          "%s, key %" PRId32 ", after %" PRIu64 ": position %" PRIu64
                          " (and %" PRIu64 " before): %s",
                          ml_views_names[look->name], look->key, look->after, position,
                          viewer->positions[look->name], what);
}

static bool note_row(ml_viewer *viewer, const ml_look *look, ml_sight *sight, ml_bytes row)
{
    ml_sum sum;
    if (!ml_audit_row(row, &sum, &sight->factor))
        return wrong(viewer, look, sight->position, "what it has is no row");
    sight->count = sum.count;
    sight->added = sum.added;
    sight->taken = sum.taken;
    if (look->name == ML_VIEWS_ORDERS) {
        viewer->orders[look->key] = true;
        return true;
    }
    int64_t *before = &viewer->counts[look->key + 1];
    if (sum.count < *before)
        return wrong(viewer, look, sight->position, "it counts less than before");
    *before = sum.count;
    return true;
}

static bool answered(ml_viewer *viewer, const ml_look *look, const ml_message *message)
{
    ml_bytes row = ml_unpack_find(message->body, "row");
    ml_sight sight = {.position = ml_client_natural(message->body, "position"),
                      .group = look->key,
                      .none = row.size == 0 || *(const uint8_t *)row.data == 0xc0};
    viewer->answers++;
    if (viewer->took != NULL) viewer->took(viewer->context, look->began, ml_siege_now());
    if (sight.position < viewer->positions[look->name])
        return wrong(viewer, look, sight.position, "a STEP BACK");
    if (sight.position < viewer->tally->floor)
        return wrong(viewer, look, sight.position, "a view that is NOT COMPLETE is read");
    if (sight.position < look->after)
        return wrong(viewer, look, sight.position, "that is not after what was asked");
    if (sight.none && (look->must_be || (look->key >= 0 && look->name == ML_VIEWS_GROUPS &&
                                         viewer->counts[look->key + 1] > 0)))
        return wrong(viewer, look, sight.position, "a row that was there is GONE");
    if (!sight.none && !note_row(viewer, look, &sight, row)) return false;
    viewer->positions[look->name] = sight.position;
    viewer->waited += look->after > 0;
    if (look->name != ML_VIEWS_ORDERS) ml_tally_see(viewer->tally, &sight);
    return true;
}

static bool take(ml_viewer *viewer, const ml_message *message)
{
    unsigned n = 0;
    while (n < viewer->count && viewer->waiting[n].msgid != message->msgid)
        n++;
    if (!message->answer || n == viewer->count)
        return ml_siege_wrong(viewer->tally->siege, "an answer to nothing that was asked");
    ml_look look = viewer->waiting[n];
    viewer->waiting[n] = viewer->waiting[--viewer->count];
    if (message->code == ML_OK) return answered(viewer, &look, message);
    if (message->code == ML_TIMEOUT && viewer->lenient) {
        viewer->timeouts++;
        return true;
    }
    return message->code == ML_SHUTTING_DOWN ||
           ml_siege_wrong(viewer->tally->siege,
                          "a FAILED READ of %s, key %" PRId32 ", after %" PRIu64 ": %.*s",
                          ml_views_names[look.name], look.key, look.after, ML_SHOW(message->text));
}

bool ml_viewer_take(ml_viewer *viewer)
{
    ml_message message;
    bool good = true;
    while (good && ml_client_peek(&viewer->client, &message)) {
        good = take(viewer, &message);
        ml_client_drop(&viewer->client, &message);
    }
    return good;
}
