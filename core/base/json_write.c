/* json_write.c -- MessagePack to JSON text, such that reading gives the same bytes' values. */
#include "json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "limits.h"

#define ADD(buf, literal) ml_buf_add(buf, "" literal, sizeof(literal) - 1)

/* ---- strings ------------------------------------------------------------------------- */

static const char hex[] = "0123456789abcdef";

/* The letter behind the backslash for a byte that must be escaped, 'u' for the unnamed. */
static char escape_letter(uint8_t c)
{
    switch (c) {
    case '"':
    case '\\': return (char)c;
    case '\b': return 'b';
    case '\f': return 'f';
    case '\n': return 'n';
    case '\r': return 'r';
    case '\t': return 't';
    default: return 'u';
    }
}

static void add_escape(ml_buf *out, uint8_t c)
{
    char letter = escape_letter(c);
    ml_buf_byte(out, '\\');
    ml_buf_byte(out, (uint8_t)letter);
    if (letter != 'u') return;
    ADD(out, "00");
    ml_buf_byte(out, (uint8_t)hex[c >> 4]);
    ml_buf_byte(out, (uint8_t)hex[c & 0x0f]);
}

void ml_json_string(ml_buf *out, ml_bytes text)
{
    const uint8_t *data = text.data;
    size_t from = 0; /* of the run that needs no escape */
    ml_buf_byte(out, '"');
    for (size_t i = 0; i < text.size; i++) {
        if (data[i] >= 0x20 && data[i] != '"' && data[i] != '\\') continue;
        ml_buf_add(out, data + from, i - from);
        add_escape(out, data[i]);
        from = i + 1;
    }
    if (text.size > 0) ml_buf_add(out, data + from, text.size - from);
    ml_buf_byte(out, '"');
}

static void add_base64(ml_buf *out, ml_bytes bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *data = bytes.data;
    ml_buf_byte(out, '"');
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t count = bytes.size - i < 3 ? bytes.size - i : 3;
        uint32_t bits = (uint32_t)data[i] << 16;
        if (count > 1) bits |= (uint32_t)data[i + 1] << 8;
        if (count > 2) bits |= data[i + 2];
        char four[4] = {digits[bits >> 18], digits[bits >> 12 & 63], digits[bits >> 6 & 63],
                        digits[bits & 63]};
        if (count < 3) four[3] = '=';
        if (count < 2) four[2] = '=';
        ml_buf_add(out, four, sizeof four);
    }
    ml_buf_byte(out, '"');
}

static void add_bin(ml_buf *out, ml_bytes bytes)
{
    ADD(out, "{\"$bin\":");
    add_base64(out, bytes);
    ml_buf_byte(out, '}');
}

/* ---- numbers ------------------------------------------------------------------------- */

static void add_natural(ml_buf *out, uint64_t value)
{
    char digits[20], *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    ml_buf_add(out, at, (size_t)(digits + sizeof digits - at));
}

static void add_integer(ml_buf *out, int64_t value)
{
    if (value < 0) ml_buf_byte(out, '-');
    add_natural(out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* A decimal: 0.DIGITS times 10^point, its digits without zeros at either end. */
typedef struct decimal {
    char digits[24];
    int count, point;
} decimal;

/* Keeps `digits` without the zeros at its end. */
static void trim(decimal *d)
{
    while (d->count > 1 && d->digits[d->count - 1] == '0') d->count--;
}

/* For most numbers that people write: m / 10^k with a small k. Division of two exact doubles
 * rounds as reading does, and up to 15 digits no other decimal as short reads the same. */
static bool find_short(double value, decimal *d)
{
    static const double tens[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    if (value < 1e-3 || value >= 1e9) return false;
    for (int k = 0; k <= 6; k++) {
        double scaled = nearbyint(value * tens[k]);
        if (scaled / tens[k] != value) continue;
        uint64_t rest = (uint64_t)scaled;
        char digits[24];
        int count = 0;
        for (; rest > 0; rest /= 10) digits[count++] = (char)('0' + rest % 10);
        for (int i = 0; i < count; i++) d->digits[i] = digits[count - 1 - i];
        d->count = count;
        d->point = count - k;
        trim(d);
        return true;
    }
    return false;
}

/* Prints 1.234e+05 with `count` digits; does it read back the same? Above a power of two
 * doubles lie twice as far apart as below, so if the nearest decimal of 16 digits lies too
 * low, the next one up may do. */
static bool print_digits(char *text, size_t size, int count, double value)
{
    snprintf(text, size, "%.*e", count - 1, value);
    if (strtod(text, NULL) == value) return true;
    if (count != 16 || text[16] == '9') return false;
    text[16]++;
    return strtod(text, NULL) == value;
}

/* The fewest digits that read back the same. 15 always suffice for what had no more, so
 * fewer need trying only for subnormals, which carry fewer. */
static void find_digits(double value, decimal *d)
{
    char text[40];
    for (int count = value < DBL_MIN ? 1 : 15; count <= 17; count++) {
        if (!print_digits(text, sizeof text, count, value)) continue;
        d->digits[0] = text[0];
        if (count > 1) memcpy(d->digits + 1, text + 2, (size_t)count - 1);
        d->count = count;
        d->point = atoi(strchr(text, 'e') + 1) + 1;
        trim(d);
        return;
    }
}

static void add_zeros(ml_buf *out, int count)
{
    for (; count > 0; count--) ml_buf_byte(out, '0');
}

/* 0.00012, 35.0, 1.5 */
static void add_plain(ml_buf *out, const decimal *d)
{
    int whole = d->point < 0 ? 0 : d->point < d->count ? d->point : d->count;
    if (whole == 0) ml_buf_byte(out, '0');
    ml_buf_add(out, d->digits, (size_t)whole);
    add_zeros(out, d->point - d->count);
    ml_buf_byte(out, '.');
    add_zeros(out, -d->point);
    if (whole == d->count) ml_buf_byte(out, '0');
    ml_buf_add(out, d->digits + whole, (size_t)(d->count - whole));
}

/* 1e300, 1.5e-7 */
static void add_scientific(ml_buf *out, const decimal *d)
{
    ml_buf_byte(out, (uint8_t)d->digits[0]);
    if (d->count > 1) {
        ml_buf_byte(out, '.');
        ml_buf_add(out, d->digits + 1, (size_t)d->count - 1);
    }
    ml_buf_byte(out, 'e');
    add_integer(out, d->point - 1);
}

void ml_json_double(ml_buf *out, double value)
{
    if (isnan(value)) {
        ADD(out, "{\"$float\":\"nan\"}");
    } else if (isinf(value)) {
        if (value < 0) ADD(out, "{\"$float\":\"-inf\"}");
        else ADD(out, "{\"$float\":\"inf\"}");
    } else {
        if (signbit(value)) ml_buf_byte(out, '-');
        value = fabs(value);
        decimal d = {.digits = "0", .count = 1, .point = 1};
        if (value > 0 && !find_short(value, &d)) find_digits(value, &d);
        if (d.point > -4 && d.point <= 16) add_plain(out, &d);
        else add_scientific(out, &d);
    }
}

/* ---- values -------------------------------------------------------------------------- */

static bool is_special(ml_bytes key)
{
    return ml_bytes_equal(key, ML_STR("$bin")) || ml_bytes_equal(key, ML_STR("$float")) ||
           ml_bytes_equal(key, ML_STR("$ext")) || ml_bytes_equal(key, ML_STR("$map"));
}

/* Looks ahead: can these pairs be an object, all keys strings, and no lone special one? */
static bool is_object(ml_unpack cursor, uint32_t pairs)
{
    for (uint32_t i = 0; i < pairs; i++) {
        ml_bytes key;
        if (!ml_unpack_str(&cursor, &key) || !ml_unpack_utf8(key)) return false;
        if (pairs == 1) return !is_special(key);
        if (!ml_unpack_skip(&cursor)) return false;
    }
    return true;
}

static bool write_value(ml_unpack *cursor, ml_buf *out, int depth);

static bool write_array(ml_unpack *cursor, ml_buf *out, uint32_t count, int depth)
{
    ml_buf_byte(out, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) ml_buf_byte(out, ',');
        if (!write_value(cursor, out, depth)) return false;
    }
    ml_buf_byte(out, ']');
    return true;
}

static bool write_object(ml_unpack *cursor, ml_buf *out, uint32_t pairs, int depth)
{
    ml_buf_byte(out, '{');
    for (uint32_t i = 0; i < pairs; i++) {
        if (i > 0) ml_buf_byte(out, ',');
        if (!write_value(cursor, out, depth)) return false;
        ml_buf_byte(out, ':');
        if (!write_value(cursor, out, depth)) return false;
    }
    ml_buf_byte(out, '}');
    return true;
}

static bool write_pairs(ml_unpack *cursor, ml_buf *out, uint32_t pairs, int depth)
{
    ADD(out, "{\"$map\":[");
    for (uint32_t i = 0; i < pairs; i++) {
        if (i > 0) ml_buf_byte(out, ',');
        if (!write_array(cursor, out, 2, depth)) return false;
    }
    ADD(out, "]}");
    return true;
}

static void write_ext(ml_buf *out, const ml_token *token)
{
    ADD(out, "{\"$ext\":[");
    add_integer(out, token->ext);
    ml_buf_byte(out, ',');
    add_base64(out, token->bytes);
    ADD(out, "]}");
}

static void write_str(ml_buf *out, ml_bytes text)
{
    if (ml_unpack_utf8(text)) ml_json_string(out, text);
    else add_bin(out, text);
}

/* `depth` counts the containers around this value. */
static bool write_value(ml_unpack *cursor, ml_buf *out, int depth)
{
    ml_token token = ml_unpack_next(cursor);
    switch (token.kind) {
    case ML_KIND_NONE: return false;
    case ML_KIND_NIL: ADD(out, "null"); return true;
    case ML_KIND_BOOL:
        if (token.boolean) ADD(out, "true");
        else ADD(out, "false");
        return true;
    case ML_KIND_INT: add_integer(out, token.integer); return true;
    case ML_KIND_UINT: add_natural(out, token.natural); return true;
    case ML_KIND_FLOAT: ml_json_double(out, token.number); return true;
    case ML_KIND_STR: write_str(out, token.bytes); return true;
    case ML_KIND_BIN: add_bin(out, token.bytes); return true;
    case ML_KIND_EXT: write_ext(out, &token); return true;
    case ML_KIND_ARRAY:
        return depth < ML_DEPTH_MAX && write_array(cursor, out, token.count, depth + 1);
    case ML_KIND_MAP:
        if (depth >= ML_DEPTH_MAX) return false;
        if (is_object(*cursor, token.count))
            return write_object(cursor, out, token.count, depth + 1);
        return write_pairs(cursor, out, token.count, depth + 1);
    }
    return false;
}

bool ml_json_write(ml_unpack *cursor, ml_buf *out)
{
    ml_unpack next = *cursor;
    size_t before = out->size;
    if (!write_value(&next, out, 0)) {
        out->size = before;
        return false;
    }
    *cursor = next;
    return true;
}
