/* wire.c -- the scan of message boundaries. */
#include "wire.h"

/* What a lead byte says: how many bytes of size follow, how many of content, how many items. */
typedef struct head {
    size_t bytes; /* lead byte and size field */
    uint64_t content;
    uint64_t items;
    bool container;
} head;

enum found_head { HEAD_MORE, HEAD_GOOD, HEAD_BAD };

static uint64_t big_endian(const uint8_t *at, size_t width)
{
    uint64_t value = 0;
    for (size_t n = 0; n < width; n++)
        value = value << 8 | at[n];
    return value;
}

/* Lead bytes c0 to df: width of the size field, fixed content, and what the size counts. */
static const struct {
    uint8_t width, content, each; /* each: 0 bytes, 1 items, 2 pairs */
} forms[32] = {
    {0, 0, 0},  {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {1, 0, 0}, {2, 0, 0}, {4, 0, 0}, {1, 1, 0},
    {2, 1, 0},  {4, 1, 0}, {0, 4, 0}, {0, 8, 0}, {0, 1, 0}, {0, 2, 0}, {0, 4, 0}, {0, 8, 0},
    {0, 1, 0},  {0, 2, 0}, {0, 4, 0}, {0, 8, 0}, {0, 2, 0}, {0, 3, 0}, {0, 5, 0}, {0, 9, 0},
    {0, 17, 0}, {1, 0, 0}, {2, 0, 0}, {4, 0, 0}, {2, 0, 1}, {4, 0, 1}, {2, 0, 2}, {4, 0, 2},
};

static enum found_head read_head(const uint8_t *at, size_t left, head *h)
{
    uint8_t lead = *at;
    *h = (head){.bytes = 1};
    if (lead < 0x80 || lead >= 0xe0) return HEAD_GOOD;
    if (lead < 0xa0) {
        h->container = true;
        h->items = (uint64_t)(lead & 0x0f) * (lead < 0x90 ? 2 : 1);
        return HEAD_GOOD;
    }
    if (lead < 0xc0) {
        h->content = lead & 0x1f;
        return HEAD_GOOD;
    }
    if (lead == 0xc1) return HEAD_BAD;
    size_t width = forms[lead - 0xc0].width;
    if (left < 1 + width) return HEAD_MORE;
    uint64_t size = big_endian(at + 1, width);
    h->bytes = 1 + width;
    h->container = forms[lead - 0xc0].each > 0;
    if (h->container)
        h->items = size * forms[lead - 0xc0].each;
    else
        h->content = size + forms[lead - 0xc0].content;
    return HEAD_GOOD;
}

/* Closes every container that has all its items; true if the message is whole. */
static bool close_full(ml_wire *wire)
{
    while (wire->depth > 0) {
        if (--wire->left[wire->depth - 1] > 0) return false;
        wire->depth--;
    }
    return true;
}

static ml_wire_found refuse(const ml_wire *wire, const ml_wire_limits *limits,
                            enum found_head found, bool deep, ml_error *why)
{
    if (found == HEAD_BAD)
        ml_error_set(why, ML_BAD_REQUEST,
                     "byte c1 at offset %zu is no MessagePack; check the encoder", wire->scanned);
    else if (deep)
        ml_error_set(why, ML_BAD_REQUEST, "the message nests more than %u levels deep; flatten it",
                     limits->depth);
    else if (limits->values > 0)
        ml_error_set(why, ML_TOO_LARGE,
                     "the message is over %zu bytes or %zu values; begin with hello", limits->bytes,
                     limits->values);
    else
        ml_error_set(why, ML_TOO_LARGE, "the message is over %zu bytes; send less at once",
                     limits->bytes);
    return ML_WIRE_BAD;
}

/* Would the message with this value be over a limit, if all it promises came? */
static bool is_over(const ml_wire *wire, const head *h, const ml_wire_limits *limits)
{
    size_t used = wire->scanned + h->bytes;
    if (used > limits->bytes || h->content > limits->bytes - used) return true;
    uint64_t owed = wire->owed + h->items - (wire->depth > 0); /* an item takes a byte at least */
    if (owed > limits->bytes - used) return true;
    return limits->values > 0 && wire->values + 1 + owed > limits->values;
}

ml_wire_found ml_wire_scan(ml_wire *wire, const uint8_t *data, size_t size,
                           const ml_wire_limits *limits, ml_error *why)
{
    while (wire->scanned < size) {
        head h;
        enum found_head found = read_head(data + wire->scanned, size - wire->scanned, &h);
        if (found == HEAD_MORE) return ML_WIRE_MORE;
        bool opens = h.container && h.items > 0;
        bool deep = opens && wire->depth == limits->depth;
        if (found == HEAD_BAD || deep || is_over(wire, &h, limits))
            return refuse(wire, limits, found, deep, why);
        size_t used = wire->scanned + h.bytes;
        if (h.content > size - used) return ML_WIRE_MORE;
        wire->values++;
        wire->owed += h.items - (wire->depth > 0);
        wire->scanned = used + (size_t)h.content;
        if (opens)
            wire->left[wire->depth++] = (uint32_t)h.items;
        else if (close_full(wire))
            return ML_WIRE_WHOLE;
    }
    return ML_WIRE_MORE;
}
