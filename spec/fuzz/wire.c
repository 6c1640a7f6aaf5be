/* wire.c -- the scan of message boundaries, in pieces of any size, held against one pass and
 * against the reader of values.
 *
 *   input:  limits, size of a piece, bytes
 */
#include "../../core/base/wire.h"

#include "../../core/base/limits.h"
#include "../../core/base/unpack.h"
#include "fuzz.h"

static const ml_wire_limits all_limits[] = {
    {.bytes = ML_APPEND_BYTES_MAX, .depth = ML_WIRE_DEPTH_MAX},
    {.bytes = 4096, .values = 16, .depth = 4},
    {.bytes = 64, .values = 5, .depth = 1},
    {.bytes = 100, .depth = 2},
};

enum { LIMITS = sizeof all_limits / sizeof *all_limits };

void ml_fuzz_begin(void) {}

void ml_fuzz_seeds(void)
{
    static const char *const messages[] = {
        "\x94\x00\x01\xa4head\x91\x81\xa6stream\xa1"
        "a",
        "\x93\x02\xa6signal\x91\x82\xa7subject\xa1s\xa4"
        "data\xcb?\xf8zzzzzz",
        "\x91\x91\x91\x91\x91\xc0",
        "\x92\xc4\x03zzz\xd9\x02zz",
        "\x93\xd4\x80z\xc7\x02\x05zz\xd8\x05zzzzzzzzzzzzzzzz",
        "\x82\x01\xcd\xff\xff\x02\xd3\x7f\xff\xff\xff\xff\xff\xff\xff",
    };
    static const size_t sizes[] = {17, 32, 6, 10, 26, 15};
    uint8_t seed[64];
    for (uint8_t n = 0; n < sizeof messages / sizeof *messages; n++) {
        seed[0] = n;
        seed[1] = (uint8_t)(n + 1);
        memcpy(seed + 2, messages[n], sizes[n]);
        ml_fuzz_seed(seed, sizes[n] + 2);
    }
}

/* ---- what the message is, by the reader of values ----------------------------------------- */

typedef struct measure {
    bool whole;
    size_t size, values;
    unsigned depth;
} measure;

/* Walks tokens; stops where one is not there or too much is open. */
static measure take_measure(ml_bytes bytes)
{
    enum { OPEN_MAX = 4096 };
    static uint64_t left[OPEN_MAX];
    ml_unpack cursor = ml_unpack_from(bytes);
    unsigned open = 0;
    measure found = {0};
    for (;;) {
        ml_token token = ml_unpack_next(&cursor);
        if (token.kind == ML_KIND_NONE) return found;
        found.values++;
        uint64_t items = token.kind == ML_KIND_MAP ? UINT64_C(2) * token.count : token.count;
        bool holds = (token.kind == ML_KIND_ARRAY || token.kind == ML_KIND_MAP) && items > 0;
        if (holds && open == OPEN_MAX) return found;
        if (holds) left[open++] = items;
        if (open > found.depth) found.depth = open;
        if (holds) continue;
        while (open > 0 && --left[open - 1] == 0)
            open--;
        if (open > 0) continue;
        found.whole = true;
        found.size = (size_t)(cursor.at - (const uint8_t *)bytes.data);
        return found;
    }
}

static bool is_within(const measure *m, const ml_wire_limits *limits)
{
    return m->whole && m->size <= limits->bytes && m->depth <= limits->depth &&
           (limits->values == 0 || m->values <= limits->values);
}

/* ---- the scan ----------------------------------------------------------------------------- */

static ml_wire_found scan_in_pieces(ml_bytes bytes, size_t piece, const ml_wire_limits *limits,
                                    ml_wire *wire, ml_error *why)
{
    ml_wire_found found = ML_WIRE_MORE;
    for (size_t size = 0; found == ML_WIRE_MORE && size < bytes.size;) {
        size_t before = wire->scanned;
        size = piece < bytes.size - size ? size + piece : bytes.size;
        found = ml_wire_scan(wire, bytes.data, size, limits, why);
        ML_ASSERT(wire->scanned >= before && wire->scanned <= size);
        ML_ASSERT(wire->depth <= limits->depth);
    }
    return found;
}

static void check(ml_bytes bytes, size_t piece, const ml_wire_limits *limits)
{
    ml_wire one = {0}, many = {0};
    ml_error why = {0}, why_many = {0};
    ml_wire_found found = ml_wire_scan(&one, bytes.data, bytes.size, limits, &why);
    ML_ASSERT(scan_in_pieces(bytes, piece, limits, &many, &why_many) == found);
    ML_ASSERT(memcmp(&one, &many, sizeof one) == 0);
    ML_ASSERT(why.code == why_many.code && strcmp(why.sentence, why_many.sentence) == 0);
    measure real = take_measure(bytes);
    ML_ASSERT((found == ML_WIRE_WHOLE) == is_within(&real, limits));
    if (found == ML_WIRE_BAD) ML_ASSERT(why.code == ML_BAD_REQUEST || why.code == ML_TOO_LARGE);
    if (found != ML_WIRE_WHOLE) return;
    ml_unpack cursor = ml_unpack_from(bytes);
    ML_ASSERT(ml_unpack_skip(&cursor));
    ML_ASSERT(cursor.at == (const uint8_t *)bytes.data + one.scanned && one.scanned == real.size);
    ML_ASSERT(one.owed == 0 && one.depth == 0 && one.values == real.values);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_fuzz_input input = {data, size};
    const ml_wire_limits *limits = &all_limits[ml_fuzz_byte(&input) % LIMITS];
    size_t piece = 1 + ml_fuzz_byte(&input) % 32;
    if (input.left > 0) check((ml_bytes){input.at, input.left}, piece, limits);
    return 0;
}
