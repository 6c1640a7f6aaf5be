/* bench_data.c -- the events that the benchmark writes.
 *
 * A payload is a MessagePack map {at, kind, seq, amount, id, note}. The text of its note is
 * random and makes it exactly as long as was asked for. A store that compresses would gain
 * nothing.
 */
#include <stdlib.h>

#include "../base/bytes.h"
#include "bench.h"

enum { NOTE_AT = 92 /* where the str of the note begins */ };

/* ---- payloads ----------------------------------------------------------------------- */

static uint8_t *put_text(uint8_t *to, const char *text)
{
    size_t size = strlen(text);
    memcpy(to, text, size);
    return to + size;
}

static uint8_t *put_be32(uint8_t *to, uint32_t value)
{
    value = __builtin_bswap32(value);
    memcpy(to, &value, sizeof value);
    return to + sizeof value;
}

/* `size` letters out of the first 2^bits of an alphabet. */
static uint8_t *put_random(uint8_t *to, size_t size, const char *letters, unsigned bits,
                           uint64_t *dice)
{
    uint64_t drawn = 0;
    for (size_t n = 0; n < size; n++) {
        if (n % 8 == 0) drawn = ml_bench_stats_dice(dice);
        *to++ = (uint8_t)letters[drawn & ((1u << bits) - 1)];
        drawn >>= bits;
    }
    return to;
}

static void make_payload(uint8_t *to, uint64_t size, uint32_t n, uint64_t *dice)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    const uint8_t *start = to;
    to = put_text(to, "\x86\xa2" "at\xcf");
    ml_put_be64(to, UINT64_C(1700000000000000) + n);
    to = put_text(to + 8, "\xa4kind\xa6");
    to = put_text(to, n % 3 == 0 ? "debit_" : "credit");
    to = put_be32(put_text(to, "\xa3seq\xce"), n + 65536);
    to = put_be32(put_text(to, "\xa6" "amount\xce"), 65536 + n % 1000);
    to = put_random(put_text(to, "\xa2id\xd9\x24"), 36, letters, 4, dice);
    to = put_text(to, "\xa4note");
    ML_ASSERT(to - start == NOTE_AT);
    size_t note = (size_t)size - NOTE_AT - 2;
    if (note < 256) {
        *to++ = 0xd9;
    } else {
        *to++ = 0xda;
        *to++ = (uint8_t)(--note >> 8);
    }
    *to++ = (uint8_t)note;
    to = put_random(to, note, letters, 6, dice);
    ML_ASSERT(to - start == (ptrdiff_t)size);
}

ml_code ml_bench_data_init(ml_bench *bench)
{
    bench->dice = 1;
    bench->pool = malloc(ML_BENCH_POOL * bench->payload);
    if (bench->pool == NULL) return ml_error_memory(&bench->why, "payloads");
    for (uint32_t n = 0; n < ML_BENCH_POOL; n++)
        make_payload(bench->pool + n * bench->payload, bench->payload, n, &bench->dice);
    return ML_OK;
}

ml_bytes ml_bench_data_payload(const ml_bench *bench, uint64_t n)
{
    return (ml_bytes){bench->pool + n % ML_BENCH_POOL * bench->payload, bench->payload};
}

ml_draft ml_bench_data_draft(const ml_bench *bench, uint64_t n)
{
    return (ml_draft){.type = n % 3 == 0 ? ML_STR("Withdrawn") : ML_STR("Deposited"),
                      .data = ml_bench_data_payload(bench, n)};
}

/* ---- names -------------------------------------------------------------------------- */

ml_bytes ml_bench_data_tag(char name[ML_BENCH_NAME], const char *kind, uint64_t number)
{
    size_t size = strlen(kind), digits = 7;
    ML_ASSERT(size + 1 + 20 < ML_BENCH_NAME);
    for (uint64_t rest = number / 10000000; rest > 0; rest /= 10) digits++;
    memcpy(name, kind, size);
    name[size] = '-';
    size += 1 + digits;
    for (size_t n = 0; n < digits; n++) {
        name[size - 1 - n] = (char)('0' + number % 10);
        number /= 10;
    }
    return (ml_bytes){name, size};
}

ml_bytes ml_bench_data_stream(char name[ML_BENCH_NAME], uint64_t number)
{
    return ml_bench_data_tag(name, "account", number);
}

/* ---- sets --------------------------------------------------------------------------- */

uint64_t ml_bench_data_events(const ml_bench *bench, ml_set set)
{
    enum { TAGGED_MAX = 1000000 };
    return set == ML_SET_TAGGED && bench->events > TAGGED_MAX ? TAGGED_MAX : bench->events;
}

uint64_t ml_bench_data_groups(const ml_bench *bench, ml_set set)
{
    uint64_t events = ml_bench_data_events(bench, set);
    return set == ML_SET_MIXED ? events / 200 : events / 10;
}

static uint64_t stream_of(const ml_bench *bench, ml_set set, uint64_t n)
{
    uint64_t large = ml_bench_data_groups(bench, ML_SET_MIXED);
    if (set != ML_SET_MIXED) return n % ml_bench_data_groups(bench, set);
    return n % 2 == 0 ? n / 2 % large : large + n / 2 % (bench->streams - large);
}

void ml_bench_data_batch(const ml_bench *bench, ml_set set, uint64_t from, ml_bench_batch *batch)
{
    uint64_t groups = ml_bench_data_groups(bench, set);
    batch->proposal =
        (ml_proposal){.writes = batch->writes, .count = ML_BENCH_BATCH, .durability = ML_OS};
    for (size_t i = 0; i < ML_BENCH_BATCH; i++) {
        uint64_t n = from + i;
        ml_bytes stream = ml_bench_data_stream(batch->names[i][0], stream_of(bench, set, n));
        batch->drafts[i] = ml_bench_data_draft(bench, n);
        batch->writes[i] = (ml_write){
            .stream = stream, .expected = ML_ANY, .events = &batch->drafts[i], .count = 1};
        if (set != ML_SET_TAGGED) continue;
        batch->tags[i][0] = ml_bench_data_tag(batch->names[i][1], "customer", n % groups);
        batch->tags[i][1] = ml_bench_data_tag(batch->names[i][2], "region", n / groups % 5);
        batch->drafts[i].tags = batch->tags[i];
        batch->drafts[i].tag_count = 2;
    }
}
