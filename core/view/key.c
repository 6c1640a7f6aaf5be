/* key.c -- values as keys and back, side by side. */
#include "key.h"

#include <math.h>

#include "../base/pack.h"
#include "../base/unpack.h"

enum {
    TAG_FALSE = 0x08,
    TAG_TRUE = 0x09,
    TAG_NUMBER = 0x10,
    TAG_STRING = 0x20,
    TAG_BIN = 0x30,
    END = 0x00,
    ESCAPED = 0xff, /* behind a 00 that is content */
    AT_DOUBLE = 1,
    AT_INTEGER = 9,
    AT_IS_FLOAT = 17,
    NUMBER = 18,
    WINDOW = 16
};
_Static_assert(ML_KEY_BYTES_MAX <= sizeof((ml_key *)0)->bytes, "a key fits");

static const int64_t window_limit = INT64_C(1) << 62;

/* ---- numbers whose bytes sort ----------------------------------------------------------- */

static void put_int(uint8_t *at, int64_t value)
{
    ml_put_be64(at, (uint64_t)value ^ (UINT64_C(1) << 63));
}

static int64_t get_int(const uint8_t *at)
{
    return (int64_t)(ml_get_be64(at) ^ (UINT64_C(1) << 63));
}

/* The sign turns over; below zero all bits do, for there more is less. */
static void put_double(uint8_t *at, double value)
{
    uint64_t bits, sign = UINT64_C(1) << 63;
    memcpy(&bits, &value, sizeof bits);
    ml_put_be64(at, bits & sign ? ~bits : bits | sign);
}

static double get_double(const uint8_t *at)
{
    double value;
    uint64_t bits = ml_get_be64(at), sign = UINT64_C(1) << 63;
    bits = bits & sign ? bits & ~sign : ~bits;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The integer at or below it, as near as there is one. */
static int64_t whole_part(double value)
{
    const double limit = 9223372036854775808.0; /* 2^63 */
    if (value >= limit) return INT64_MAX;
    return value < -limit ? INT64_MIN : (int64_t)floor(value);
}

static void set_number(ml_key *key, double number, int64_t integer, bool is_float)
{
    key->bytes[0] = TAG_NUMBER;
    put_double(key->bytes + AT_DOUBLE, number);
    put_int(key->bytes + AT_INTEGER, integer);
    key->bytes[AT_IS_FLOAT] = is_float;
    key->size = NUMBER;
}

/* Adding zero makes 0.0 of -0.0. */
static void set_float(ml_key *key, double number)
{
    set_number(key, number + 0.0, whole_part(number), true);
}

/* ---- strings ---------------------------------------------------------------------------- */

/* As much of the text as fits into `limit` bytes; false if that is not all. */
static bool add_text(ml_key *key, ml_bytes text, size_t limit)
{
    const uint8_t *at = text.data;
    for (size_t n = 0; n < text.size; n++) {
        size_t needs = at[n] == END ? 2 : 1;
        if (key->size + needs > limit) return false;
        key->bytes[key->size++] = at[n];
        if (at[n] == END) key->bytes[key->size++] = ESCAPED;
    }
    return true;
}

/* False if it had to be cut. */
static bool set_text(ml_key *key, uint8_t tag, ml_bytes text, size_t limit)
{
    *key = (ml_key){.size = 1};
    key->bytes[0] = tag;
    bool whole = add_text(key, text, limit - 1);
    key->bytes[key->size++] = END;
    return whole;
}

/* Where the text at `at`, behind its tag, ends (behind its 00); NULL if it does not. */
static const uint8_t *text_end(const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        const uint8_t *zero = memchr(at, END, (size_t)(end - at));
        if (zero == NULL) return NULL;
        if (zero + 1 == end || zero[1] != ESCAPED) return zero + 1;
        at = zero + 2;
    }
    return NULL;
}

/* ---- values to keys --------------------------------------------------------------------- */

static ml_code refuse(const ml_token *token, bool floats, ml_error *why)
{
    static const char *const names[] = {[ML_KIND_NONE] = "no value",
                                        [ML_KIND_NIL] = "nil",
                                        [ML_KIND_BOOL] = "a boolean",
                                        [ML_KIND_INT] = "an integer",
                                        [ML_KIND_UINT] = "an integer over 9223372036854775807",
                                        [ML_KIND_FLOAT] = "a float",
                                        [ML_KIND_STR] = "a string",
                                        [ML_KIND_BIN] = "bytes",
                                        [ML_KIND_EXT] = "an extension",
                                        [ML_KIND_ARRAY] = "a list",
                                        [ML_KIND_MAP] = "a map"};
    const char *what = names[token->kind];
    if (token->kind == ML_KIND_FLOAT && isnan(token->number)) what = "NaN";
    return ml_error_set(why, ML_BAD_REQUEST, "%s cannot be a key; a string, an integer%s can", what,
                        floats ? ", a float or a boolean" : " or a boolean");
}

static ml_code refuse_size(ml_error *why)
{
    return ml_error_set(why, ML_TOO_LARGE,
                        "a key takes over %d bytes; use a shorter one, or a hash of it",
                        ML_KEY_BYTES_MAX);
}

/* Sets the key; false if the value cannot be one. `*whole`: it was not cut. */
static bool set_value(ml_key *key, const ml_token *token, size_t limit, bool *whole)
{
    *whole = true;
    switch (token->kind) {
    case ML_KIND_BOOL:
        key->bytes[0] = token->boolean ? TAG_TRUE : TAG_FALSE;
        key->size = 1;
        return true;
    case ML_KIND_INT: set_number(key, (double)token->integer, token->integer, false); return true;
    case ML_KIND_FLOAT:
        if (isnan(token->number)) return false;
        set_float(key, token->number);
        return true;
    case ML_KIND_STR: *whole = set_text(key, TAG_STRING, token->bytes, limit); return true;
    case ML_KIND_BIN: *whole = set_text(key, TAG_BIN, token->bytes, limit); return true;
    case ML_KIND_NONE:
    case ML_KIND_NIL:
    case ML_KIND_UINT:
    case ML_KIND_EXT:
    case ML_KIND_ARRAY:
    case ML_KIND_MAP: return false;
    }
    return false;
}

ml_code ml_key_make(ml_bytes value, bool floats, ml_key *key, ml_error *why)
{
    bool whole;
    ml_unpack cursor = ml_unpack_from(value);
    ml_token token = ml_unpack_next(&cursor);
    if (token.kind == ML_KIND_FLOAT && !floats) return refuse(&token, floats, why);
    if (!set_value(key, &token, ML_KEY_BYTES_MAX, &whole)) return refuse(&token, floats, why);
    return whole ? ML_OK : refuse_size(why);
}

ml_code ml_key_prefix(ml_bytes text, ml_key *key, ml_error *why)
{
    *key = (ml_key){.size = 1};
    key->bytes[0] = TAG_STRING;
    return add_text(key, text, ML_KEY_BYTES_MAX) ? ML_OK : refuse_size(why);
}

bool ml_key_index(ml_bytes value, ml_key *key)
{
    bool whole;
    ml_unpack cursor = ml_unpack_from(value);
    ml_token token = ml_unpack_next(&cursor);
    return set_value(key, &token, ML_KEY_INDEX_BYTES, &whole);
}

ml_code ml_key_add_window(ml_key *key, int64_t start, int64_t end, ml_error *why)
{
    if (start < -window_limit || start >= window_limit || end < -window_limit ||
        end >= window_limit)
        return ml_error_set(why, ML_TOO_LARGE,
                            "a window is over 146,000 years away; are its times in microseconds?");
    if (key->size + WINDOW > ML_KEY_BYTES_MAX) return refuse_size(why);
    put_int(key->bytes + key->size, start);
    put_int(key->bytes + key->size + 8, end);
    key->size += WINDOW;
    return ML_OK;
}

/* ---- keys to values --------------------------------------------------------------------- */

size_t ml_key_size(ml_bytes bytes)
{
    const uint8_t *at = bytes.data;
    if (bytes.size == 0) return 0;
    switch (at[0]) {
    case TAG_FALSE:
    case TAG_TRUE: return 1;
    case TAG_NUMBER: return bytes.size >= NUMBER ? NUMBER : 0;
    case TAG_STRING:
    case TAG_BIN: {
        const uint8_t *end = text_end(at + 1, at + bytes.size);
        return end == NULL ? 0 : (size_t)(end - at);
    }
    default: return 0;
    }
}

/* Only what set_number would have made is one. */
static bool pack_number(const uint8_t *at, ml_buf *value)
{
    ml_key again;
    double number = get_double(at + AT_DOUBLE);
    int64_t integer = get_int(at + AT_INTEGER);
    bool is_float = at[AT_IS_FLOAT] != 0;
    if (isnan(number)) return false;
    if (is_float)
        set_float(&again, number);
    else
        set_number(&again, (double)integer, integer, false);
    if (memcmp(again.bytes, at, NUMBER) != 0) return false;
    if (is_float)
        ml_pack_double(value, number);
    else
        ml_pack_int(value, integer);
    return true;
}

/* Behind the tag and before the 00. */
static void pack_text(const uint8_t *at, size_t size, ml_buf *value)
{
    uint8_t text[ML_KEY_BYTES_MAX];
    size_t length = 0;
    for (size_t n = 1; n + 1 < size; n++) {
        text[length++] = at[n];
        if (at[n] == END) n++;
    }
    if (at[0] == TAG_STRING)
        ml_pack_str(value, (ml_bytes){text, length});
    else
        ml_pack_bin(value, (ml_bytes){text, length});
}

static bool read_window(const uint8_t *at, int64_t *start, int64_t *end)
{
    *start = get_int(at);
    *end = get_int(at + 8);
    return *start >= -window_limit && *start < window_limit && *end >= -window_limit &&
           *end < window_limit;
}

bool ml_key_pack(ml_bytes key, ml_buf *value, bool *windowed, int64_t *start, int64_t *end)
{
    const uint8_t *at = key.data;
    size_t size = ml_key_size(key);
    if (size == 0 || key.size > ML_KEY_BYTES_MAX) return false;
    *windowed = key.size == size + WINDOW;
    *start = *end = 0;
    if (!*windowed && key.size != size) return false;
    if (*windowed && !read_window(at + size, start, end)) return false;
    if (at[0] == TAG_NUMBER) return pack_number(at, value);
    if (at[0] == TAG_FALSE || at[0] == TAG_TRUE)
        ml_pack_bool(value, at[0] == TAG_TRUE);
    else
        pack_text(at, size, value);
    return true;
}
