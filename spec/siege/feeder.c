/* feeder.c -- a client that keeps some batches of the tally under way. */
#include <inttypes.h>

#include "views.h"

enum { OUT_MAX = 1 << 20 };

static void begin(ml_feeder *feeder)
{
    uint32_t number = ml_tally_plan(feeder->tally);
    ml_tally_pack(feeder->tally, number, ml_client_begin(&feeder->client, "append"));
    feeder->waiting[feeder->count].msgid = feeder->client.msgid;
    feeder->waiting[feeder->count++].batch = number;
    if (feeder->rate > 0)
        feeder->due += feeder->tally->batches[number].count * UINT64_C(1000000) / feeder->rate;
}

bool ml_feeder_fill(ml_feeder *feeder)
{
    uint64_t now = ml_siege_now();
    /* What could not be sent in time is not made up for by a flood. */
    if (feeder->due + 1000000 < now) feeder->due = now;
    while (feeder->count < feeder->depth && feeder->client.out.size < OUT_MAX &&
           (feeder->rate == 0 || feeder->due <= now))
        begin(feeder);
    return ml_client_flush(&feeder->client);
}

static bool take(ml_feeder *feeder, const ml_message *message)
{
    unsigned n = 0;
    while (n < feeder->count && feeder->waiting[n].msgid != message->msgid)
        n++;
    if (!message->answer || n == feeder->count)
        return ml_siege_wrong(feeder->tally->siege, "an answer to nothing that was asked");
    uint32_t number = feeder->waiting[n].batch;
    feeder->waiting[n] = feeder->waiting[--feeder->count];
    if (!ml_tally_answer(feeder->tally, number, message)) return false;
    const ml_batch *batch = &feeder->tally->batches[number];
    if (feeder->acknowledged != NULL && batch->fate == ML_KEPT)
        feeder->acknowledged(feeder->context, batch->first + batch->count - 1);
    return true;
}

bool ml_feeder_take(ml_feeder *feeder)
{
    ml_message message;
    bool good = true;
    while (good && ml_client_peek(&feeder->client, &message)) {
        good = take(feeder, &message);
        ml_client_drop(&feeder->client, &message);
    }
    return good;
}
