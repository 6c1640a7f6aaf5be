/* json_read.c -- JSON text to MessagePack, in one pass and without a tree between.
 *
 * Objects with one special key ($bin, $float, $ext, $map) are read like any other and then
 * rewritten where they stand on the buffer: only behind the value is it known that the key
 * was the only one.
 */
#include "json.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "limits.h"
#include "pack.h"

enum {
    /* A container of the result takes up to three of JSON: {"$map":[[1,[ … ]]]}. This bounds
     * the recursion; ML_DEPTH_MAX is held against the result. */
    NESTING_MAX = 3 * ML_DEPTH_MAX + 3,
};

typedef struct reader {
    const uint8_t *start, *at, *end;
    ml_buf *out;
    ml_buf scratch; /* a string with escapes, a long number, the value of a special key */
    ml_error *why;
    int depth_max;
} reader;

/* What a value came to: its depth (a scalar has 0), or -1 after an error. */
typedef int depth;

static const depth REFUSED = -1;

static depth refuse(reader *r, const uint8_t *at, const char *sentence)
{
    ml_error_set(r->why, ML_BAD_REQUEST, "column %zu: %s", (size_t)(at - r->start) + 1, sentence);
    return REFUSED;
}

static depth refuse_deep(reader *r, const uint8_t *at)
{
    _Static_assert(ML_DEPTH_MAX == 30, "the sentence names the limit");
    return refuse(r, at, "the value nests more than 30 levels deep; flatten it");
}

static bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

/* The next byte, or 0 at the end (a NUL in the text is refused wherever it stands). */
static inline uint8_t peek(const reader *r) { return r->at < r->end ? *r->at : 0; }

static inline void skip_space(reader *r)
{
    while (r->at < r->end &&
           (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t'))
        r->at++;
}

/* Takes `c` and the space around it, if it comes next. */
static inline bool take(reader *r, uint8_t c)
{
    skip_space(r);
    if (peek(r) != c) return false;
    r->at++;
    skip_space(r);
    return true;
}

/* ---- numbers ------------------------------------------------------------------------ */

/* A number as its digits without the point, times 10^exponent. */
typedef struct decimal {
    uint64_t mantissa; /* the digits, if they fit */
    int64_t exponent;
    bool negative, fits;
} decimal;

static void add_digits(reader *r, decimal *d)
{
    for (; is_digit(peek(r)); r->at++) {
        unsigned digit = *r->at - '0';
        if (d->mantissa >= UINT64_MAX / 10) d->fits = false;
        else d->mantissa = d->mantissa * 10 + digit;
    }
}

/* Moves behind [sign] digits; far too large exponents only need to stay large. */
static bool read_exponent(reader *r, decimal *d)
{
    static const int64_t FAR = (int64_t)1 << 40; /* further than any text has digits */
    r->at++;
    bool negative = peek(r) == '-';
    if (negative || peek(r) == '+') r->at++;
    if (!is_digit(peek(r))) return false;
    int64_t exponent = 0;
    for (; is_digit(peek(r)); r->at++)
        if (exponent < FAR) exponent = exponent * 10 + (*r->at - '0');
    d->exponent += negative ? -exponent : exponent;
    return true;
}

/* A mantissa under 2^53 and a power of ten up to 10^22 are exact as doubles, so one
 * multiplication or division rounds once, which is what reading a decimal asks for.
 * Source: Clinger, "How to Read Floating Point Numbers Accurately" (1990). */
static bool convert_short(const decimal *d, double *value)
{
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                  1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                  1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (!d->fits || d->mantissa > (uint64_t)1 << 53) return false;
    if (d->exponent < -22 || d->exponent > 22) return false;
    double mantissa = (double)d->mantissa;
    *value = d->exponent < 0 ? mantissa / tens[-d->exponent] : mantissa * tens[d->exponent];
    if (d->negative) *value = -*value;
    return true;
}

/* By the C library; without the point, which is another in some locales. */
static depth convert_long(reader *r, const uint8_t *from, int64_t exponent, double *value)
{
    ml_buf_clear(&r->scratch);
    for (const uint8_t *at = from; at < r->at && (*at | 0x20) != 'e'; at++)
        if (*at != '.') ml_buf_byte(&r->scratch, *at);
    ml_buf_print(&r->scratch, "e%" PRId64, exponent);
    if (r->scratch.failed) {
        ml_error_memory(r->why, "a number");
        return REFUSED;
    }
    *value = strtod((const char *)r->scratch.data, NULL);
    if (isinf(*value))
        return refuse(r, from, "the number is too large for a 64-bit float; write it as a string");
    return 0;
}

static depth pack_integer(reader *r, const uint8_t *from, const decimal *d)
{
    uint64_t limit = (uint64_t)INT64_MAX + d->negative;
    if (!d->fits || d->mantissa > limit)
        return refuse(r, from, "the integer does not fit 64 bits with a sign; write it as a float "
                               "(with .0 behind it) or as a string");
    uint64_t bits = d->negative ? 0 - d->mantissa : d->mantissa;
    ml_pack_int(r->out, (int64_t)bits);
    return 0;
}

static depth read_number(reader *r)
{
    const uint8_t *from = r->at;
    decimal d = {.negative = *from == '-', .fits = true};
    bool is_float = false;
    if (d.negative) r->at++;
    if (!is_digit(peek(r))) return refuse(r, r->at, "a digit must follow the '-'");
    if (*r->at == '0' && r->end - r->at > 1 && is_digit(r->at[1]))
        return refuse(r, r->at, "a number must not begin with 0; leave the zero out");
    add_digits(r, &d);
    if (peek(r) == '.') {
        is_float = true;
        r->at++;
        if (!is_digit(peek(r))) return refuse(r, r->at, "a digit must follow the '.'");
        const uint8_t *fraction = r->at;
        add_digits(r, &d);
        d.exponent = fraction - r->at;
    }
    if (peek(r) == 'e' || peek(r) == 'E') {
        is_float = true;
        if (!read_exponent(r, &d)) return refuse(r, r->at, "the exponent has no digit");
    }
    if (!is_float) return pack_integer(r, from, &d);

    double value;
    if (!convert_short(&d, &value) && convert_long(r, from, d.exponent, &value) < 0) return REFUSED;
    ml_pack_double(r->out, value);
    return 0;
}

/* ---- strings ------------------------------------------------------------------------ */

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t zero_bytes(uint64_t word)
{
    return (word - EACH_BYTE(0x01)) & ~word & EACH_BYTE(0x80);
}

static inline bool is_plain(uint8_t c) { return c >= 0x20 && c != '"' && c != '\\'; }

/* The first byte from `at` on that ends a plain run: a quote, a backslash, a control
 * character, or the end. Eight at a time; the lowest mark found is always a true one. */
static inline const uint8_t *run_end(const uint8_t *at, const uint8_t *end)
{
    for (; end - at >= 8; at += 8) {
        uint64_t word = ml_get_u64(at);
        uint64_t control = (word - EACH_BYTE(0x20)) & ~word & EACH_BYTE(0x80);
        uint64_t marks = control | zero_bytes(word ^ EACH_BYTE('"')) |
                         zero_bytes(word ^ EACH_BYTE('\\'));
        if (marks != 0) return at + __builtin_ctzll(marks) / 8;
    }
    while (at < end && is_plain(*at)) at++;
    return at;
}

/* Four hex digits at r->at, or -1. */
static int read_hex4(reader *r)
{
    int value = 0;
    if (r->end - r->at < 4) return -1;
    for (int i = 0; i < 4; i++) {
        int c = r->at[i], letter = c | 0x20;
        if (c >= '0' && c <= '9') value = value * 16 + (c - '0');
        else if (letter >= 'a' && letter <= 'f') value = value * 16 + (letter - 'a' + 10);
        else return -1;
    }
    r->at += 4;
    return value;
}

static void add_utf8(ml_buf *to, uint32_t point)
{
    if (point < 0x80) {
        ml_buf_byte(to, (uint8_t)point);
    } else if (point < 0x800) {
        ml_buf_byte(to, (uint8_t)(0xc0 | point >> 6));
        ml_buf_byte(to, (uint8_t)(0x80 | (point & 0x3f)));
    } else if (point < 0x10000) {
        ml_buf_byte(to, (uint8_t)(0xe0 | point >> 12));
        ml_buf_byte(to, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
        ml_buf_byte(to, (uint8_t)(0x80 | (point & 0x3f)));
    } else {
        ml_buf_byte(to, (uint8_t)(0xf0 | point >> 18));
        ml_buf_byte(to, (uint8_t)(0x80 | (point >> 12 & 0x3f)));
        ml_buf_byte(to, (uint8_t)(0x80 | (point >> 6 & 0x3f)));
        ml_buf_byte(to, (uint8_t)(0x80 | (point & 0x3f)));
    }
}

/* Behind "\u": one code point, from one escape or from a pair of surrogates. */
static depth read_unicode(reader *r)
{
    const uint8_t *from = r->at - 2;
    int high = read_hex4(r);
    if (high < 0) return refuse(r, from, "\\u must be followed by four hex digits");
    uint32_t point = (uint32_t)high;
    if (high >= 0xd800 && high <= 0xdfff) {
        int low = -1;
        if (high < 0xdc00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u') {
            r->at += 2;
            low = read_hex4(r);
        }
        if (low < 0xdc00 || low > 0xdfff)
            return refuse(r, from, "half of a surrogate pair stands alone; write both halves, "
                                   "high before low");
        point = 0x10000 + ((uint32_t)(high - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
    }
    add_utf8(&r->scratch, point);
    return 0;
}

static depth read_escape(reader *r)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const uint8_t *from = r->at++;
    uint8_t letter = peek(r);
    if (letter == 'u') {
        r->at++;
        return read_unicode(r);
    }
    const char *found = letter == 0 ? NULL : strchr(letters, letter);
    if (found == NULL)
        return refuse(r, from, "the backslash begins no escape that JSON knows; double it");
    r->at++;
    ml_buf_byte(&r->scratch, (uint8_t)meanings[found - letters]);
    return 0;
}

/* The rest of a string that holds an escape: decoded onto the scratch buffer. */
static depth read_escaped(reader *r, const uint8_t *from, ml_bytes *text)
{
    ml_buf_clear(&r->scratch);
    ml_buf_add(&r->scratch, from, (size_t)(r->at - from));
    while (peek(r) == '\\') {
        if (read_escape(r) < 0) return REFUSED;
        const uint8_t *end = run_end(r->at, r->end);
        ml_buf_add(&r->scratch, r->at, (size_t)(end - r->at));
        r->at = end;
    }
    *text = ml_buf_view(&r->scratch);
    if (!r->scratch.failed) return 0;
    ml_error_memory(r->why, "a string");
    return REFUSED;
}

static depth read_string(reader *r)
{
    const uint8_t *from = ++r->at;
    r->at = run_end(from, r->end);
    ml_bytes text = {from, (size_t)(r->at - from)};
    if (peek(r) == '\\' && read_escaped(r, from, &text) < 0) return REFUSED;
    if (r->at == r->end) return refuse(r, from - 1, "the string is not ended by a quote");
    if (*r->at != '"')
        return refuse(r, r->at, "a control character stands in a string; write it as an escape");
    if (!ml_unpack_utf8(text)) return refuse(r, from - 1, "the string is not UTF-8");
    r->at++;
    ml_pack_str(r->out, text);
    return 0;
}

/* ---- special objects ----------------------------------------------------------------- */

/* -1 for what is no digit of base64. */
static int base64_value(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (is_digit(c)) return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

/* Decodes onto itself (the bytes are fewer than the digits) and shortens the view. Strict:
 * standard alphabet, padded, and no bits set behind the last byte. */
static bool base64_decode(ml_bytes *text)
{
    uint8_t *at = (uint8_t *)text->data, *to = at; /* it lies on the scratch buffer */
    size_t digits = text->size;
    uint32_t bits = 0;
    if (digits % 4 != 0) return false;
    for (int pad = 0; pad < 2 && digits > 0 && at[digits - 1] == '='; pad++) digits--;
    for (size_t i = 0; i < digits; i++) {
        int value = base64_value(at[i]);
        if (value < 0) return false;
        bits = bits << 6 | (uint32_t)value;
        /* Every digit but the first of four completes a byte; 4, 2 or 0 bits are left. */
        if (i % 4 != 0) *to++ = (uint8_t)(bits >> (6 - 2 * (i % 4)));
    }
    text->size = (size_t)(to - at);
    uint32_t unused = digits % 4 == 2 ? 0x0f : digits % 4 == 3 ? 0x03 : 0;
    return (bits & unused) == 0;
}

/* Each packs what the value of its special key stands for; false if that is malformed. */

static bool pack_bin(ml_buf *out, ml_unpack value)
{
    ml_bytes bytes;
    if (!ml_unpack_str(&value, &bytes) || !base64_decode(&bytes)) return false;
    ml_pack_bin(out, bytes);
    return true;
}

static bool pack_float(ml_buf *out, ml_unpack value)
{
    ml_bytes word;
    if (!ml_unpack_str(&value, &word)) return false;
    if (ml_bytes_equal(word, ML_STR("nan"))) ml_pack_double(out, (double)NAN);
    else if (ml_bytes_equal(word, ML_STR("inf"))) ml_pack_double(out, (double)INFINITY);
    else if (ml_bytes_equal(word, ML_STR("-inf"))) ml_pack_double(out, -(double)INFINITY);
    else return false;
    return true;
}

static bool pack_ext(ml_buf *out, ml_unpack value)
{
    uint32_t count;
    int64_t type;
    ml_bytes bytes;
    if (!ml_unpack_array(&value, &count) || count != 2) return false;
    if (!ml_unpack_int(&value, &type) || type < INT8_MIN || type > INT8_MAX) return false;
    if (!ml_unpack_str(&value, &bytes) || !base64_decode(&bytes)) return false;
    ml_pack_ext(out, (int8_t)type, bytes);
    return true;
}

static bool pack_pairs(ml_buf *out, ml_unpack value)
{
    uint32_t pairs, count;
    if (!ml_unpack_array(&value, &pairs)) return false;
    ml_pack_map(out, pairs);
    for (uint32_t i = 0; i < pairs; i++) {
        if (!ml_unpack_array(&value, &count) || count != 2) return false;
        const uint8_t *pair = value.at;
        if (!ml_unpack_skip(&value) || !ml_unpack_skip(&value)) return false;
        ml_buf_add(out, pair, (size_t)(value.at - pair));
    }
    return true;
}

typedef struct special {
    ml_bytes key;
    bool (*pack)(ml_buf *out, ml_unpack value);
    const char *form;
} special;

static const special specials[] = {
    {{"$bin", 4}, pack_bin, "\"$bin\" must hold base64 with its padding, as a string"},
    {{"$float", 6}, pack_float, "\"$float\" must hold \"nan\", \"inf\" or \"-inf\""},
    {{"$ext", 4}, pack_ext, "\"$ext\" must hold [type, base64], the type from -128 to 127"},
    {{"$map", 4}, pack_pairs, "\"$map\" must hold an array of [key, value] pairs"},
};

static const special *find_special(ml_bytes key)
{
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++)
        if (ml_bytes_equal(key, specials[i].key)) return &specials[i];
    return NULL;
}

/* The depth of what a special object stands for, from the depth of its value. A map's value
 * is an array of pairs: one level more than the map, none if there are no pairs. */
static depth special_depth(const special *s, depth value)
{
    if (s->pack != pack_pairs) return 0;
    return value > 1 ? value - 1 : 1;
}

/* Rewrites the object with one member at `begin` (a byte is free there) if it is special. */
static depth convert_special(reader *r, const uint8_t *from, size_t begin, depth value,
                             bool *converted)
{
    ml_bytes key;
    ml_unpack member = {r->out->data + begin + 1, r->out->data + r->out->size};
    if (!ml_unpack_str(&member, &key)) return refuse(r, from, "the object cannot be read back");
    const special *s = find_special(key);
    *converted = s != NULL;
    if (s == NULL) return value;

    ml_buf_clear(&r->scratch);
    ml_buf_add(&r->scratch, member.at, (size_t)(member.end - member.at));
    if (r->scratch.failed) {
        ml_error_memory(r->why, "a special object");
        return REFUSED;
    }
    depth d = special_depth(s, value);
    if (d > ML_DEPTH_MAX) return refuse_deep(r, from);
    r->out->size = begin;
    if (!s->pack(r->out, ml_unpack_from(ml_buf_view(&r->scratch)))) return refuse(r, from, s->form);
    return d;
}

/* ---- values -------------------------------------------------------------------------- */

static depth read_value(reader *r, int nesting);

static depth refuse_end(reader *r, const char *sentence)
{
    return refuse(r, r->at, r->at < r->end ? sentence : "the text ends too early");
}

static depth read_array(reader *r, int nesting)
{
    uint32_t count = 0;
    depth deepest = 0;
    size_t begin = ml_pack_begin(r->out);
    r->at++;
    if (!take(r, ']')) {
        do {
            depth d = read_value(r, nesting + 1);
            if (d < 0) return REFUSED;
            if (d > deepest) deepest = d;
            count++;
        } while (take(r, ','));
        if (!take(r, ']')) return refuse_end(r, "a ',' or a ']' must come here");
    }
    ml_pack_end_array(r->out, begin, count);
    return deepest + 1;
}

static depth read_member(reader *r, int nesting)
{
    if (peek(r) != '"') return refuse_end(r, "a key must come here, a string in double quotes");
    if (read_string(r) < 0) return REFUSED;
    if (!take(r, ':')) return refuse_end(r, "a ':' must come between key and value");
    return read_value(r, nesting + 1);
}

static depth read_object(reader *r, int nesting)
{
    const uint8_t *from = r->at++;
    uint32_t pairs = 0;
    depth deepest = 0;
    size_t begin = ml_pack_begin(r->out);
    if (!take(r, '}')) {
        do {
            depth d = read_member(r, nesting);
            if (d < 0) return REFUSED;
            if (d > deepest) deepest = d;
            pairs++;
        } while (take(r, ','));
        if (!take(r, '}')) return refuse_end(r, "a ',' or a '}' must come here");
    }
    if (pairs == 1 && !r->out->failed) {
        bool converted;
        depth d = convert_special(r, from, begin, deepest, &converted);
        if (d < 0 || converted) return d;
    }
    ml_pack_end_map(r->out, begin, pairs);
    return deepest + 1;
}

static bool take_word(reader *r, const char *word, size_t size)
{
    if ((size_t)(r->end - r->at) < size || memcmp(r->at, word, size) != 0) return false;
    r->at += size;
    return true;
}

static depth read_word(reader *r)
{
    if (take_word(r, "true", 4)) ml_pack_bool(r->out, true);
    else if (take_word(r, "false", 5)) ml_pack_bool(r->out, false);
    else if (take_word(r, "null", 4)) ml_pack_nil(r->out);
    else return refuse_end(r, "a JSON value must come here");
    return 0;
}

static depth read_value(reader *r, int nesting)
{
    if (nesting > NESTING_MAX) return refuse_deep(r, r->at);
    switch (peek(r)) {
    case '{': return read_object(r, nesting);
    case '[': return read_array(r, nesting);
    case '"': return read_string(r);
    case '-':
    case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9': return read_number(r);
    default: return read_word(r);
    }
}

static depth read_text(reader *r)
{
    skip_space(r);
    const uint8_t *from = r->at;
    depth d = read_value(r, 0);
    if (d < 0) return REFUSED;
    skip_space(r);
    if (r->at < r->end) return refuse(r, r->at, "the text goes on behind its one value");
    if (d <= r->depth_max) return d;
    return refuse_deep(r, from);
}

static ml_code read_whole(ml_bytes text, int depth_max, ml_buf *out, ml_error *why)
{
    if (text.size == 0 || text.size > UINT32_MAX)
        return ml_error_set(why, ML_BAD_REQUEST, "column 1: %zu bytes of text; send one JSON value",
                            text.size);
    ml_error own;
    const uint8_t *start = text.data;
    reader r = {.start = start, .at = start, .end = start + text.size, .out = out,
                .depth_max = depth_max};
    r.why = why != NULL ? why : &own;
    size_t before = out->size;
    depth d = read_text(&r);
    ml_buf_free(&r.scratch);
    ml_code code = d < 0 ? r.why->code : ML_OK;
    if (out->failed) code = ml_error_memory(why, "what the JSON text says");
    if (code != ML_OK) out->size = before;
    return code;
}

ml_code ml_json_read(ml_bytes text, ml_buf *out, ml_error *why)
{
    return read_whole(text, ML_DEPTH_MAX, out, why);
}

ml_code ml_json_read_line(ml_bytes text, ml_buf *out, ml_error *why)
{
    return read_whole(text, ML_DEPTH_MAX + 1, out, why);
}
