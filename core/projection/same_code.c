/* same_code.c -- one pass over a dump. Even a stripped one says on which lines a function begins
 * and ends; all else is taken over as it is. */
#include "same_code.h"

#include <lua.h>

enum {
    DEEP_MAX = 64, /* functions in one another: the compiler allows 200 */
    HEADER_BYTES = 4 + 2 + 6 + 3 + 8 + 8,

    IS_NIL = 0x00, IS_FALSE = 0x01, IS_TRUE = 0x11, IS_INTEGER = 0x03, IS_FLOAT = 0x13,
    IS_SHORT = 0x04, IS_LONG = 0x14
};

typedef struct reader {
    const uint8_t *at, *end;
    bool bad;
    ml_buf *out;
} reader;

/* Goes on, taking over nothing. */
static const uint8_t *skip(reader *r, size_t size)
{
    if (r->bad || (size_t)(r->end - r->at) < size) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->at;
    r->at += size;
    return at;
}

static uint8_t take(reader *r, size_t size)
{
    const uint8_t *at = skip(r, size);
    if (at == NULL || size == 0) return 0;
    ml_buf_add(r->out, at, size);
    return *at;
}

/* Seven bits a byte, highest first; the last byte has the high bit. */
static size_t read_size(reader *r)
{
    size_t value = 0;
    for (unsigned n = 0; n < 10; n++) {
        const uint8_t *byte = skip(r, 1);
        if (byte == NULL) return 0;
        value = value << 7 | (*byte & 0x7f);
        if (*byte & 0x80) return value;
    }
    r->bad = true;
    return 0;
}

static size_t take_size(reader *r)
{
    uint8_t bytes[8];
    size_t size = read_size(r);
    ml_put_u64(bytes, size);
    ml_buf_add(r->out, bytes, sizeof bytes);
    if (size > (size_t)(r->end - r->at)) r->bad = true; /* each takes a byte at least */
    return r->bad ? 0 : size;
}

static void take_constant(reader *r)
{
    size_t size;
    switch (take(r, 1)) {
    case IS_NIL:
    case IS_FALSE:
    case IS_TRUE: break;
    case IS_INTEGER:
    case IS_FLOAT: take(r, 8); break;
    case IS_SHORT:
    case IS_LONG:
        size = take_size(r); /* and one more, for texts that are none */
        if (size > 0) take(r, size - 1);
        break;
    default: r->bad = true;
    }
}

static void take_function(reader *r, unsigned deep)
{
    if (deep == 0) r->bad = true;
    if (r->bad) return;
    if (read_size(r) != 0) r->bad = true; /* the source: it is stripped */
    read_size(r);                         /* the lines */
    read_size(r);
    take(r, 3); /* parameters, whether there are more, registers */
    size_t count = take_size(r);
    if (!r->bad && count > (size_t)(r->end - r->at) / 4) r->bad = true;
    take(r, 4 * count);
    for (count = take_size(r); count > 0 && !r->bad; count--) take_constant(r);
    for (count = take_size(r); count > 0 && !r->bad; count--) take(r, 3); /* upvalues */
    for (count = take_size(r); count > 0 && !r->bad; count--) take_function(r, deep - 1);
    for (int list = 0; list < 4; list++) /* lines twice, names of locals and of upvalues */
        if (read_size(r) != 0) r->bad = true;
}

bool ml_same_code(ml_bytes dump, ml_buf *out)
{
    reader r = {.at = dump.data, .end = (const uint8_t *)dump.data + dump.size, .out = out};
    const uint8_t *header = skip(&r, HEADER_BYTES);
    if (header == NULL || memcmp(header, LUA_SIGNATURE, 4) != 0 || header[4] != 0x54) return false;
    take(&r, 1); /* upvalues */
    take_function(&r, DEEP_MAX);
    return !r.bad && r.at == r.end && !out->failed;
}
