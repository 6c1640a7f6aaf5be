/* twice.c -- JSON of a command line in which a key stands twice: one of the two values would be
 * lost on the way to whoever reads the map, and nobody means that.
 */
#include <stdlib.h>

#include "../base/unpack.h"
#include "cli.h"

static int compare(const void *left, const void *right)
{
    const ml_bytes *a = left, *b = right;
    int differs = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    return differs != 0 ? differs : (a->size > b->size) - (a->size < b->size);
}

static bool look(ml_unpack *cursor, ml_bytes *twice);

/* Sorted, since a map may have a million keys. Equal keys are packed equally. */
static bool look_at_map(ml_unpack *cursor, uint32_t pairs, ml_bytes *twice)
{
    ml_bytes *keys = calloc(pairs > 0 ? pairs : 1, sizeof *keys);
    bool good = keys != NULL;
    for (uint32_t n = 0; good && n < pairs; n++) {
        const uint8_t *from = cursor->at;
        good = look(cursor, twice);
        keys[n] = (ml_bytes){from, (size_t)(cursor->at - from)};
        good = good && look(cursor, twice);
    }
    if (good) qsort(keys, pairs, sizeof *keys, compare);
    for (uint32_t n = 1; good && n < pairs; n++) {
        good = compare(&keys[n - 1], &keys[n]) != 0;
        if (!good) *twice = keys[n];
    }
    free(keys);
    return good;
}

static bool look(ml_unpack *cursor, ml_bytes *twice)
{
    ml_unpack begin = *cursor;
    ml_token token = ml_unpack_next(cursor);
    bool good = true;
    if (token.kind == ML_KIND_MAP) return look_at_map(cursor, token.count, twice);
    if (token.kind != ML_KIND_ARRAY) {
        *cursor = begin;
        return ml_unpack_skip(cursor);
    }
    for (uint32_t n = 0; good && n < token.count; n++) good = look(cursor, twice);
    return good;
}

bool ml_twice_find(ml_bytes value, ml_bytes *key)
{
    ml_unpack cursor = ml_unpack_from(value);
    *key = (ml_bytes){0};
    return !look(&cursor, key);
}
