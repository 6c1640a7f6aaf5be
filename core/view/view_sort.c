/* view_sort.c -- by eight bytes at once, those behind what all have in common; then by the rest. */
#include <stdlib.h>

#include "inside.h"

enum { DIGITS = 8, VALUES = 256, FEW = 64 };

static int compare(const void *left, const void *right)
{
    const ml_view_item *a = left, *b = right;
    if (a->prefix != b->prefix) return a->prefix < b->prefix ? -1 : 1;
    size_t least = a->size < b->size ? a->size : b->size;
    int order = memcmp(a->bytes, b->bytes, least);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* Bytes that all of them begin with. */
static size_t common(const ml_view_item *items, size_t count)
{
    size_t shared = items[0].size;
    for (size_t n = 1; n < count && shared > 0; n++) {
        if (items[n].size < shared) shared = items[n].size;
        while (shared > 0 && memcmp(items[n].bytes, items[0].bytes, shared) != 0)
            shared--;
    }
    return shared;
}

/* Eight bytes from there on, as a number that sorts; zeros where it ends before. */
static uint64_t prefix_of(const ml_view_item *item, size_t from)
{
    uint8_t bytes[DIGITS] = {0};
    size_t left = item->size - from;
    if (left >= DIGITS) return ml_get_be64(item->bytes + from);
    memcpy(bytes, item->bytes + from, left);
    return ml_get_be64(bytes);
}

/* One pass by one byte of the prefix; false if they all have the same, so that nothing moved. */
static bool pass(const ml_view_item *from, ml_view_item *to, size_t count, unsigned shift)
{
    size_t starts[VALUES] = {0}, sum = 0;
    for (size_t n = 0; n < count; n++)
        starts[from[n].prefix >> shift & 0xff]++;
    if (starts[from[0].prefix >> shift & 0xff] == count) return false;
    for (size_t value = 0; value < VALUES; value++) {
        size_t many = starts[value];
        starts[value] = sum;
        sum += many;
    }
    for (size_t n = 0; n < count; n++)
        to[starts[from[n].prefix >> shift & 0xff]++] = from[n];
    return true;
}

/* What has one prefix stands together now; there the rest decides. */
static void sort_equals(ml_view_item *items, size_t count)
{
    for (size_t begin = 0, end; begin < count; begin = end) {
        for (end = begin + 1; end < count && items[end].prefix == items[begin].prefix;)
            end++;
        if (end - begin > 1) qsort(items + begin, end - begin, sizeof *items, compare);
    }
}

bool ml_view_sort(ml_view_item *items, size_t count)
{
    if (count < 2) return true;
    size_t shared = common(items, count);
    for (size_t n = 0; n < count; n++)
        items[n].prefix = prefix_of(&items[n], shared);
    if (count <= FEW) {
        qsort(items, count, sizeof *items, compare);
        return true;
    }
    ml_view_item *spare = malloc(count * sizeof *spare), *from = items, *to = spare;
    if (spare == NULL) return false;
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        if (!pass(from, to, count, 8 * digit)) continue;
        ml_view_item *swap = from;
        from = to;
        to = swap;
    }
    if (from != items) memcpy(items, from, count * sizeof *items);
    free(spare);
    sort_equals(items, count);
    return true;
}
