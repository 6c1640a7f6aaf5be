/* value.c -- MessagePack into a sandbox and out again: nothing is lost, nothing is made up.
 *
 *   input:  bytes, of which only what may be stored is used
 *
 * What comes out is in a canonical form, so a second round must give the same bytes. Where the
 * keys of all maps are strings or integers in that form's order already, the first round must
 * give the same value, token for token.
 */
#include "../../core/script/value.h"

#include <math.h>

#include "../../core/base/limits.h"
#include "../../core/base/pack.h"
#include "../../core/script/sandbox.h"
#include "fuzz.h"

static ml_sandbox *sandbox;

void ml_fuzz_begin(void)
{
    sandbox = ml_sandbox_new(NULL, 0, 0, NULL);
    ML_ASSERT(sandbox != NULL);
}

void ml_fuzz_seeds(void)
{
    static const char *const seeds[] = {
        "\x93\x01\xcb\x3f\xf8\0\0\0\0\0\0\xa1x", "\x82\xa1" "a\x90\xa1" "b\xc4\x02\xff\0",
        "\x82\x01\xc0\x02\xd4\x05\x07", "\x80", "\x90", "\xd3\x80\0\0\0\0\0\0\0"};
    static const size_t sizes[] = {13, 10, 7, 1, 1, 9};
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++) ml_fuzz_seed(seeds[n], sizes[n]);
}

/* ---- a round ---------------------------------------------------------------------------- */

typedef struct round_trip {
    ml_bytes in;
    ml_buf out;
    bool read, written;
} round_trip;

static int go_round(lua_State *L)
{
    round_trip *trip = lua_touserdata(L, 1);
    ml_error why;
    ml_unpack cursor = ml_unpack_from(trip->in);
    trip->read = ml_value_read(L, &cursor);
    if (!trip->read) return 0;
    ML_ASSERT(cursor.at == cursor.end);
    ml_desk *desk = ml_desk_take(L);
    trip->written = ml_value_write(L, -2, desk, ML_APPEND_BYTES_MAX, "data", &why) == ML_OK;
    if (trip->written) ml_buf_add(&trip->out, desk->bytes.data, desk->bytes.size);
    ml_desk_give(L, -1);
    return 0;
}

static round_trip send_round(ml_bytes in)
{
    ml_fault fault;
    round_trip trip = {.in = in};
    ML_ASSERT(ml_sandbox_enter(sandbox, go_round, &trip, &fault));
    ML_ASSERT(!trip.out.failed);
    return trip;
}

/* ---- what must hold ---------------------------------------------------------------------- */

/* Is `b` behind `a` in the canonical order? Integers come before strings. */
static bool ascends(const ml_token *a, const ml_token *b)
{
    if (a->kind == ML_KIND_INT) return b->kind == ML_KIND_STR || a->integer < b->integer;
    if (b->kind == ML_KIND_INT) return false;
    size_t least = a->bytes.size < b->bytes.size ? a->bytes.size : b->bytes.size;
    int order = least > 0 ? memcmp(a->bytes.data, b->bytes.data, least) : 0;
    return order != 0 ? order < 0 : a->bytes.size < b->bytes.size;
}

static bool is_canonical(ml_unpack *at)
{
    ml_token token = ml_unpack_next(at), last = {0};
    for (uint32_t n = 0; token.kind == ML_KIND_ARRAY && n < token.count; n++)
        if (!is_canonical(at)) return false;
    for (uint32_t n = 0; token.kind == ML_KIND_MAP && n < token.count; n++) {
        ml_token key = ml_unpack_next(at);
        if (key.kind != ML_KIND_STR && key.kind != ML_KIND_INT) return false;
        if (n > 0 && !ascends(&last, &key)) return false;
        last = key;
        if (!is_canonical(at)) return false;
    }
    return true;
}

static bool is_same_token(const ml_token *a, const ml_token *b)
{
    if (a->kind != b->kind || a->count != b->count || !ml_bytes_equal(a->bytes, b->bytes))
        return false;
    if (a->kind == ML_KIND_FLOAT)
        return isnan(a->number) ? isnan(b->number)
                                : memcmp(&a->number, &b->number, sizeof a->number) == 0;
    return a->integer == b->integer && a->boolean == b->boolean && a->ext == b->ext;
}

static void assert_same(ml_bytes left, ml_bytes right)
{
    ml_unpack a = ml_unpack_from(left), b = ml_unpack_from(right);
    while (a.at < a.end) {
        ml_token one = ml_unpack_next(&a), other = ml_unpack_next(&b);
        ML_ASSERT(is_same_token(&one, &other));
    }
    ML_ASSERT(b.at == b.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_bytes in = {data, size};
    if (ml_unpack_check(in, "data", NULL) != ML_OK) return 0;
    ml_unpack cursor = ml_unpack_from(in);
    bool canonical = is_canonical(&cursor);
    round_trip first = send_round(in);
    ML_ASSERT(!canonical || (first.read && first.written));
    if (canonical) assert_same(in, ml_buf_view(&first.out));
    if (first.written) {
        round_trip second = send_round(ml_buf_view(&first.out));
        ML_ASSERT(second.written);
        ML_ASSERT(ml_bytes_equal(ml_buf_view(&first.out), ml_buf_view(&second.out)));
        ml_buf_free(&second.out);
    }
    ml_buf_free(&first.out);
    return 0;
}
