/* upcast_cast.c -- see upcast_cast.h. */
#include "upcast_cast.h"

#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/json.h"
#include "../base/pack.h"

#define TWO_TO_63 9223372036854775808.0

enum { NUMBER_TEXT_MAX = 64 }; /* longest text that is looked at as a number */

const char *const ml_upcast_cast_names[] = {"integer", "float", "string", "boolean", NULL};

/* ---- from text ------------------------------------------------------------------------- */

/* [+-]digits, within 64 bits; leading zeros are fine. */
static bool read_integer(ml_bytes text, int64_t *value)
{
    const char *at = text.data, *end = at + text.size;
    bool negative = text.size > 0 && *at == '-';
    if (text.size > 0 && (*at == '-' || *at == '+')) at++;
    if (at == end) return false;
    *value = 0; /* counted below zero, where there is one number more */
    for (; at < end; at++) {
        if (*at < '0' || *at > '9') return false;
        if (__builtin_mul_overflow(*value, 10, value)) return false;
        if (__builtin_sub_overflow(*value, *at - '0', value)) return false;
    }
    return negative || !__builtin_sub_overflow(0, *value, value);
}

/* What strtod reads, without its hexadecimals, spaces and names. */
static bool read_float(ml_bytes text, double *value)
{
    char copy[NUMBER_TEXT_MAX + 1];
    if (text.size == 0 || text.size > NUMBER_TEXT_MAX) return false;
    memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    if (strspn(copy, "+-.0123456789eE") != text.size) return false;
    char *end;
    *value = strtod(copy, &end);
    return end == copy + text.size && isfinite(*value);
}

/* ---- to a kind ------------------------------------------------------------------------- */

static bool to_integer(ml_buf *out, const ml_token *from)
{
    int64_t value = from->integer;
    if (from->kind == ML_KIND_STR) {
        if (!read_integer(from->bytes, &value)) return false;
    } else if (from->kind == ML_KIND_FLOAT) {
        /* -2^63 is a float, 2^63 - 1 is none; NaN fails every comparison. */
        if (!(from->number >= -TWO_TO_63 && from->number < TWO_TO_63)) return false;
        if (from->number != trunc(from->number)) return false;
        value = (int64_t)from->number;
    } else if (from->kind != ML_KIND_INT) {
        return false;
    }
    ml_pack_int(out, value);
    return true;
}

static bool to_float(ml_buf *out, const ml_token *from)
{
    double value = from->number;
    if (from->kind == ML_KIND_STR) {
        if (!read_float(from->bytes, &value)) return false;
    } else if (from->kind == ML_KIND_INT) {
        value = (double)from->integer;
        if (value >= TWO_TO_63 || (int64_t)value != from->integer) return false;
    } else if (from->kind != ML_KIND_FLOAT) {
        return false;
    }
    ml_pack_double(out, value);
    return true;
}

static bool to_string(ml_buf *out, const ml_token *from)
{
    char text[32];
    size_t begin = out->size;
    if (from->kind == ML_KIND_BOOL) {
        ml_pack_text(out, from->boolean ? "true" : "false");
    } else if (from->kind == ML_KIND_INT) {
        snprintf(text, sizeof text, "%" PRId64, from->integer);
        ml_pack_text(out, text);
    } else if (from->kind == ML_KIND_FLOAT && isfinite(from->number)) {
        ml_json_double(out, from->number);
        size_t size = out->size - begin;
        ML_ASSERT(size < sizeof text);
        if (size > 0) memcpy(text, out->data + begin, size);
        out->size = begin;
        ml_pack_str(out, (ml_bytes){text, size});
    } else {
        return false;
    }
    return true;
}

static bool to_boolean(ml_buf *out, const ml_token *from)
{
    bool is_true = from->boolean, is_false = false;
    if (from->kind == ML_KIND_STR) {
        is_true = ml_bytes_equal(from->bytes, ML_STR("true"));
        is_false = ml_bytes_equal(from->bytes, ML_STR("false"));
    } else if (from->kind == ML_KIND_INT) {
        is_true = from->integer == 1;
        is_false = from->integer == 0;
    }
    if (!is_true && !is_false) return false;
    ml_pack_bool(out, is_true);
    return true;
}

/* True if a value of this kind is what is asked for. */
static bool is_that(ml_kind has, ml_upcast_kind wanted)
{
    static const ml_kind kinds[] = {[ML_UPCAST_INTEGER] = ML_KIND_INT,
                                    [ML_UPCAST_FLOAT] = ML_KIND_FLOAT,
                                    [ML_UPCAST_STRING] = ML_KIND_STR,
                                    [ML_UPCAST_BOOLEAN] = ML_KIND_BOOL};
    return has == ML_KIND_NIL || wanted == ML_UPCAST_KEEP || has == kinds[wanted];
}

bool ml_upcast_cast_pack(ml_buf *out, ml_upcast_kind kind, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    ml_token token = ml_unpack_next(&cursor);
    if (is_that(token.kind, kind)) {
        ml_buf_add(out, value.data, value.size);
        return true;
    }
    switch (kind) {
    case ML_UPCAST_KEEP: break;
    case ML_UPCAST_INTEGER: return to_integer(out, &token);
    case ML_UPCAST_FLOAT: return to_float(out, &token);
    case ML_UPCAST_STRING: return to_string(out, &token);
    case ML_UPCAST_BOOLEAN: return to_boolean(out, &token);
    }
    return false;
}

bool ml_upcast_cast_is_finite(ml_bytes values)
{
    ml_unpack cursor = ml_unpack_from(values);
    for (;;) {
        ml_token token = ml_unpack_next(&cursor);
        if (token.kind == ML_KIND_NONE) return true;
        if (token.kind == ML_KIND_FLOAT && !isfinite(token.number)) return false;
    }
}

/* ---- in words -------------------------------------------------------------------------- */

static void quote(char words[ML_UPCAST_CAST_WORDS], ml_bytes text)
{
    enum { SHOWN = 40 };
    const char *from = text.data;
    size_t size = text.size < SHOWN ? text.size : SHOWN, to = 0;
    words[to++] = '"';
    for (size_t n = 0; n < size; n++)
        words[to++] = isprint((unsigned char)from[n]) ? from[n] : '?';
    snprintf(words + to, ML_UPCAST_CAST_WORDS - to, "%s\"", text.size > SHOWN ? "..." : "");
}

void ml_upcast_cast_describe(char words[ML_UPCAST_CAST_WORDS], ml_bytes value)
{
    static const char *const kinds[] = {
        [ML_KIND_NONE] = "cut short", [ML_KIND_NIL] = "null",   [ML_KIND_UINT] = "over 2^63-1",
        [ML_KIND_BIN] = "bytes",      [ML_KIND_EXT] = "an ext", [ML_KIND_ARRAY] = "a list",
        [ML_KIND_MAP] = "a map"};
    ml_unpack cursor = ml_unpack_from(value);
    ml_token token = ml_unpack_next(&cursor);
    switch (token.kind) {
    case ML_KIND_STR: quote(words, token.bytes); return;
    case ML_KIND_INT: snprintf(words, ML_UPCAST_CAST_WORDS, "%" PRId64, token.integer); return;
    case ML_KIND_FLOAT: snprintf(words, ML_UPCAST_CAST_WORDS, "%.17g", token.number); return;
    case ML_KIND_BOOL:
        snprintf(words, ML_UPCAST_CAST_WORDS, "%s", token.boolean ? "true" : "false");
        return;
    case ML_KIND_NONE:
    case ML_KIND_NIL:
    case ML_KIND_UINT:
    case ML_KIND_BIN:
    case ML_KIND_EXT:
    case ML_KIND_ARRAY:
    case ML_KIND_MAP: break;
    }
    snprintf(words, ML_UPCAST_CAST_WORDS, "%s", kinds[token.kind]);
}
