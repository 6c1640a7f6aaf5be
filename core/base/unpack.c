/* unpack.c -- one reader of heads; tokens, skipping and checking stand on it. */
#include "unpack.h"

#include <inttypes.h>

#include "limits.h"

/* ---- heads -------------------------------------------------------------------------- */

/* What stands in front of a value, held against the bytes that are left. */
typedef struct head {
    ml_kind kind;
    uint8_t lead;
    const uint8_t *body; /* where content, or the first item, begins */
    uint64_t size;       /* of the content of a scalar, the type byte of an ext included */
    uint64_t items;      /* that follow: of an array, or keys and values of a map */
} head;

/* The lead bytes c0 to df: how wide the size is that follows, and the bytes besides. */
typedef struct shape {
    uint8_t kind, width, fixed;
} shape;

static const shape shapes[32] = {
    {ML_KIND_NIL, 0, 0},   {ML_KIND_NONE, 0, 0},  {ML_KIND_BOOL, 0, 0}, {ML_KIND_BOOL, 0, 0},
    {ML_KIND_BIN, 1, 0},   {ML_KIND_BIN, 2, 0},   {ML_KIND_BIN, 4, 0},  {ML_KIND_EXT, 1, 1},
    {ML_KIND_EXT, 2, 1},   {ML_KIND_EXT, 4, 1},   {ML_KIND_FLOAT, 0, 4}, {ML_KIND_FLOAT, 0, 8},
    {ML_KIND_UINT, 0, 1},  {ML_KIND_UINT, 0, 2},  {ML_KIND_UINT, 0, 4}, {ML_KIND_UINT, 0, 8},
    {ML_KIND_INT, 0, 1},   {ML_KIND_INT, 0, 2},   {ML_KIND_INT, 0, 4},  {ML_KIND_INT, 0, 8},
    {ML_KIND_EXT, 0, 2},   {ML_KIND_EXT, 0, 3},   {ML_KIND_EXT, 0, 5},  {ML_KIND_EXT, 0, 9},
    {ML_KIND_EXT, 0, 17},  {ML_KIND_STR, 1, 0},   {ML_KIND_STR, 2, 0},  {ML_KIND_STR, 4, 0},
    {ML_KIND_ARRAY, 2, 0}, {ML_KIND_ARRAY, 4, 0}, {ML_KIND_MAP, 2, 0},  {ML_KIND_MAP, 4, 0},
};

enum { LEAD_RESERVED = 0xc1, LEAD_FLOAT32 = 0xca, LEAD_UINT64 = 0xcf };

static inline uint64_t get_be(const uint8_t *at, unsigned width)
{
    switch (width) {
    case 1: return *at;
    case 2: return ml_get_be16(at);
    case 4: return ml_get_be32(at);
    case 8: return ml_get_be64(at);
    default: return 0;
    }
}

/* Lead bytes below c0 and from e0 on: everything is in the byte itself. */
static inline void read_short_head(head *h)
{
    uint8_t lead = h->lead;
    if (lead < 0x80 || lead >= 0xe0) {
        h->kind = ML_KIND_INT;
    } else if (lead >= 0xa0) {
        h->kind = ML_KIND_STR;
        h->size = lead & 0x1f;
    } else {
        h->kind = lead < 0x90 ? ML_KIND_MAP : ML_KIND_ARRAY;
        h->items = (uint64_t)(lead & 0x0f) << (lead < 0x90);
    }
}

/* False if the head, its content, or one byte for each of its items is not there; or if it
 * is the reserved byte. */
static inline bool read_head(const uint8_t *at, const uint8_t *end, head *h)
{
    if (at == end) return false;
    *h = (head){.lead = *at, .body = at + 1};
    if (h->lead < 0xc0 || h->lead >= 0xe0) {
        read_short_head(h);
    } else {
        shape s = shapes[h->lead - 0xc0];
        if (s.width > end - h->body) return false;
        uint64_t size = get_be(h->body, s.width);
        h->kind = (ml_kind)s.kind;
        h->body += s.width;
        if (h->kind == ML_KIND_ARRAY) h->items = size;
        else if (h->kind == ML_KIND_MAP) h->items = 2 * size;
        else h->size = size + s.fixed;
    }
    uint64_t left = (uint64_t)(end - h->body);
    return h->kind != ML_KIND_NONE && h->size <= left && h->items <= left;
}

/* ---- tokens ------------------------------------------------------------------------- */

static int64_t get_signed(const head *h)
{
    if (h->size == 0) return (int8_t)h->lead;
    uint64_t bits = get_be(h->body, (unsigned)h->size);
    unsigned unused = 64 - 8 * (unsigned)h->size;
    return (int64_t)(bits << unused) >> unused; /* the sign comes down from above */
}

static double get_float(const head *h)
{
    if (h->lead == LEAD_FLOAT32) {
        uint32_t bits = ml_get_be32(h->body);
        float single;
        memcpy(&single, &bits, sizeof single);
        return (double)single;
    }
    uint64_t bits = ml_get_be64(h->body);
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static void read_natural(const head *h, ml_token *token)
{
    token->natural = get_be(h->body, (unsigned)h->size);
    if (token->natural > INT64_MAX) return;
    token->kind = ML_KIND_INT;
    token->integer = (int64_t)token->natural;
    token->natural = 0;
}

ml_token ml_unpack_next(ml_unpack *cursor)
{
    head h;
    ml_token token = {0};
    if (!read_head(cursor->at, cursor->end, &h)) return token;
    token.kind = h.kind;
    switch (h.kind) {
    case ML_KIND_NONE:
    case ML_KIND_NIL: break;
    case ML_KIND_BOOL: token.boolean = h.lead & 1; break;
    case ML_KIND_INT: token.integer = get_signed(&h); break;
    case ML_KIND_UINT: read_natural(&h, &token); break;
    case ML_KIND_FLOAT:
        token.number = get_float(&h);
        token.single = h.lead == LEAD_FLOAT32;
        break;
    case ML_KIND_STR:
    case ML_KIND_BIN: token.bytes = (ml_bytes){h.body, h.size}; break;
    case ML_KIND_EXT:
        token.ext = (int8_t)h.body[0];
        token.bytes = (ml_bytes){h.body + 1, h.size - 1};
        break;
    case ML_KIND_ARRAY: token.count = (uint32_t)h.items; break;
    case ML_KIND_MAP: token.count = (uint32_t)(h.items / 2); break;
    }
    cursor->at = h.body + h.size;
    return token;
}

bool ml_unpack_str(ml_unpack *cursor, ml_bytes *text)
{
    ml_unpack next = *cursor;
    ptrdiff_t left = next.end - next.at;
    if (left > 0 && (*next.at & 0xe0) == 0xa0 && (*next.at & 0x1f) < left) { /* most names */
        *text = (ml_bytes){next.at + 1, *next.at & 0x1f};
        cursor->at = next.at + 1 + text->size;
        return true;
    }
    ml_token token = ml_unpack_next(&next);
    if (token.kind != ML_KIND_STR) return false;
    *text = token.bytes;
    *cursor = next;
    return true;
}

bool ml_unpack_array(ml_unpack *cursor, uint32_t *count)
{
    if (cursor->end - cursor->at > 15 && (*cursor->at & 0xf0) == 0x90) {
        *count = *cursor->at++ & 0x0f;
        return true;
    }
    ml_unpack next = *cursor;
    ml_token token = ml_unpack_next(&next);
    if (token.kind != ML_KIND_ARRAY) return false;
    *count = token.count;
    *cursor = next;
    return true;
}

bool ml_unpack_map(ml_unpack *cursor, uint32_t *count)
{
    ml_unpack next = *cursor;
    ml_token token = ml_unpack_next(&next);
    if (token.kind != ML_KIND_MAP) return false;
    *count = token.count;
    *cursor = next;
    return true;
}

bool ml_unpack_int(ml_unpack *cursor, int64_t *value)
{
    if (cursor->at < cursor->end && *cursor->at < 0x80) {
        *value = *cursor->at++;
        return true;
    }
    ml_unpack next = *cursor;
    ml_token token = ml_unpack_next(&next);
    if (token.kind != ML_KIND_INT) return false;
    *value = token.integer;
    *cursor = next;
    return true;
}

ml_bytes ml_unpack_value(ml_unpack *cursor)
{
    const uint8_t *from = cursor->at;
    return ml_unpack_skip(cursor) ? (ml_bytes){from, (size_t)(cursor->at - from)} : (ml_bytes){0};
}

ml_bytes ml_unpack_find(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(map);
    uint32_t count;
    ml_bytes key, wanted = {name, strlen(name)};
    if (!ml_unpack_map(&cursor, &count)) return (ml_bytes){0};
    for (uint32_t n = 0; n < count && ml_unpack_str(&cursor, &key); n++) {
        ml_bytes value = ml_unpack_value(&cursor);
        if (value.size == 0) break;
        if (ml_bytes_equal(key, wanted)) return value;
    }
    return (ml_bytes){0};
}

ml_bytes ml_unpack_find_str(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    ml_bytes text;
    return ml_unpack_str(&cursor, &text) ? text : (ml_bytes){0};
}

/* ---- UTF-8 -------------------------------------------------------------------------- */

#define HIGH_BITS 0x8080808080808080u

/* Length of the sequence of two to four bytes at `at`, or 0 if it is none. The second byte
 * carries the rules: e0 and f0 would be over-long under a0 and 90, ed is a surrogate from
 * a0 on, f4 is over U+10FFFF from 90 on. */
static inline unsigned sequence_size(const uint8_t *at, const uint8_t *end)
{
    uint8_t lead = *at, low = 0x80, high = 0xbf;
    unsigned size;
    if (lead >= 0xc2 && lead <= 0xdf) size = 2;
    else if (lead >= 0xe0 && lead <= 0xef) size = 3;
    else if (lead >= 0xf0 && lead <= 0xf4) size = 4;
    else return 0;
    if (end - at < (ptrdiff_t)size) return 0;

    if (lead == 0xe0) low = 0xa0;
    else if (lead == 0xf0) low = 0x90;
    else if (lead == 0xed) high = 0x9f;
    else if (lead == 0xf4) high = 0x8f;
    if (at[1] < low || at[1] > high) return 0;
    if (size > 2 && (at[2] & 0xc0) != 0x80) return 0;
    if (size > 3 && (at[3] & 0xc0) != 0x80) return 0;
    return size;
}

/* Most strings are short and plain; two loads that may overlap see 4 to 16 bytes whole. */
static inline bool is_short_ascii(const uint8_t *at, size_t size)
{
    if (size > 16 || size < 4) return false;
    if (size >= 8) return !((ml_get_u64(at) | ml_get_u64(at + size - 8)) & HIGH_BITS);
    return !((ml_get_u32(at) | ml_get_u32(at + size - 4)) & (uint32_t)HIGH_BITS);
}

bool ml_unpack_utf8(ml_bytes text)
{
    const uint8_t *at = text.data;
    if (text.size == 0 || is_short_ascii(at, text.size)) return true;
    const uint8_t *end = at + text.size;
    while (at < end) {
        while (end - at >= 8 && !(ml_get_u64(at) & HIGH_BITS)) at += 8;
        while (at < end && *at < 0x80) at++;
        while (at < end && *at >= 0x80) {
            unsigned size = sequence_size(at, end);
            if (size == 0) return false;
            at += size;
        }
    }
    return true;
}

/* ---- whole values ------------------------------------------------------------------- */

typedef enum verdict { WHOLE, CUT, DEEP, NOT_UTF8, TOO_BIG } verdict;

static inline verdict check_scalar(const head *h)
{
    if (h->kind == ML_KIND_STR && !ml_unpack_utf8((ml_bytes){h->body, h->size})) return NOT_UTF8;
    if (h->lead == LEAD_UINT64 && *h->body >= 0x80) return TOO_BIG;
    return WHOLE;
}

/* Moves behind one value, or to what is wrong with it. */
static verdict walk(ml_unpack *cursor)
{
    uint64_t above[ML_DEPTH_MAX]; /* items to come in the containers around this one */
    uint64_t items = 1;           /* and in this one */
    unsigned depth = 0;
    for (;;) {
        head h;
        if (!read_head(cursor->at, cursor->end, &h)) return CUT;
        items--;
        if (h.kind == ML_KIND_ARRAY || h.kind == ML_KIND_MAP) {
            if (depth == ML_DEPTH_MAX) return DEEP;
            above[depth++] = items;
            items = h.items;
        } else {
            verdict v = check_scalar(&h);
            if (v != WHOLE) return v;
        }
        cursor->at = h.body + h.size;
        while (items == 0) {
            if (depth == 0) return WHOLE;
            items = above[--depth];
        }
    }
}

/* What skipping needs to know of a lead byte, without a branch on its kind: every event that
 * is read has its data skipped. */
typedef struct step {
    uint8_t bytes; /* lead, size and fixed content; 0 = no value begins so */
    uint8_t width; /* of the size among them */
    uint8_t items; /* that follow a short array or map */
    uint8_t each;  /* items that each of the size stands for; 0 = it counts bytes */
} step;

static step steps[256];

__attribute__((constructor)) static void make_steps(void)
{
    for (unsigned lead = 0; lead < 256; lead++) {
        head h = {.lead = (uint8_t)lead};
        steps[lead] = (step){.bytes = 1};
        if (lead < 0xc0 || lead >= 0xe0) {
            read_short_head(&h);
            steps[lead] = (step){.bytes = (uint8_t)(1 + h.size), .items = (uint8_t)h.items};
            continue;
        }
        shape s = shapes[lead - 0xc0];
        steps[lead] = (step){.bytes = (uint8_t)(1 + s.width + s.fixed), .width = s.width};
        if (s.kind == ML_KIND_NONE) steps[lead].bytes = 0;
        if (s.kind == ML_KIND_ARRAY) steps[lead].each = 1;
        if (s.kind == ML_KIND_MAP) steps[lead].each = 2;
    }
}

bool ml_unpack_skip(ml_unpack *cursor)
{
    const uint8_t *at = cursor->at, *end = cursor->end;
    for (uint64_t items = 1; items > 0; items--) {
        /* Every item takes a byte at least, so this also bounds the loop. */
        if (items > (uint64_t)(end - at)) return false;
        step s = steps[*at];
        if (s.bytes == 0 || s.bytes > end - at) return false;
        uint64_t size = s.width == 0 ? 0 : get_be(at + 1, s.width);
        at += s.bytes;
        items += s.items + size * s.each;
        if (s.each > 0) continue;
        if (size > (uint64_t)(end - at)) return false;
        at += size;
    }
    cursor->at = at;
    return true;
}

static ml_code refuse_cut(ml_unpack at, size_t offset, const char *what, ml_error *why)
{
    if (at.at < at.end && *at.at == LEAD_RESERVED)
        return ml_error_set(why, ML_BAD_REQUEST,
                            "%s holds the byte c1 at offset %zu, which MessagePack does not use; "
                            "check the encoder",
                            what, offset);
    return ml_error_set(why, ML_BAD_REQUEST,
                        "%s is cut short: the value at offset %zu needs more bytes than there "
                        "are; send one whole MessagePack value",
                        what, offset);
}

ml_code ml_unpack_check(ml_bytes bytes, const char *what, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(bytes);
    const uint8_t *start = cursor.at;
    if (bytes.size == 0)
        return ml_error_set(why, ML_BAD_REQUEST,
                            "%s is empty; send one MessagePack value, nil (c0) for nothing", what);
    verdict v = walk(&cursor);
    size_t offset = (size_t)(cursor.at - start);
    switch (v) {
    case WHOLE: break;
    case CUT: return refuse_cut(cursor, offset, what, why);
    case DEEP:
        return ml_error_set(why, ML_BAD_REQUEST, "%s nests more than %d levels deep; flatten it",
                            what, ML_DEPTH_MAX);
    case NOT_UTF8:
        return ml_error_set(why, ML_BAD_REQUEST,
                            "%s holds a string that is not UTF-8, at offset %zu; send such bytes "
                            "as bin",
                            what, offset);
    case TOO_BIG:
        return ml_error_set(why, ML_BAD_REQUEST,
                            "%s holds the integer %" PRIu64 ", over 2^63-1, which Lua cannot "
                            "hold; send it as a float or a string",
                            what, ml_unpack_next(&cursor).natural);
    }
    if (cursor.at == cursor.end) return ML_OK;
    return ml_error_set(why, ML_BAD_REQUEST,
                        "%s goes on behind its value, at offset %zu; send exactly one MessagePack "
                        "value",
                        what, offset);
}
