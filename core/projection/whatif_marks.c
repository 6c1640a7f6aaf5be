/* whatif_marks.c -- a map from keys to the positions since which they differ: open addressing, each
 * mark a block of its own, no graves: what is behind a removed one moves up. */
#include <stdlib.h>

#include "../base/bytes.h"
#include "whatif_inside.h"

enum { SLOTS_FIRST = 64 };

struct ml_marks {
    ml_mark **slots;
    size_t room, count; /* room: a power of two */
};

uint64_t ml_marks_hash(ml_bytes key)
{
    uint64_t hash = key.size;
    const uint8_t *at = key.data;
    for (size_t left = key.size; left > 0;) {
        uint64_t word = 0;
        size_t size = left < 8 ? left : 8;
        memcpy(&word, at, size);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
        at += size;
        left -= size;
    }
    return hash;
}

ml_marks *ml_marks_new(void)
{
    ml_marks *marks = calloc(1, sizeof *marks);
    if (marks == NULL) return NULL;
    marks->room = SLOTS_FIRST;
    marks->slots = calloc(marks->room, sizeof(ml_mark *));
    if (marks->slots != NULL) return marks;
    free(marks);
    return NULL;
}

void ml_marks_free(ml_marks *marks)
{
    if (marks == NULL) return;
    for (size_t n = 0; n < marks->room; n++) free(marks->slots[n]);
    free(marks->slots);
    free(marks);
}

size_t ml_marks_count(const ml_marks *marks) { return marks->count; }

/* Where the key is, or has its place. */
static size_t seek(const ml_marks *marks, uint64_t hash, ml_bytes key)
{
    size_t at = hash & (marks->room - 1);
    for (; marks->slots[at] != NULL; at = (at + 1) & (marks->room - 1)) {
        const ml_mark *mark = marks->slots[at];
        if (mark->hash == hash && ml_bytes_equal(key, (ml_bytes){mark->key, mark->size})) break;
    }
    return at;
}

const ml_mark *ml_marks_find(const ml_marks *marks, ml_bytes key)
{
    return marks->count == 0 ? NULL : marks->slots[seek(marks, ml_marks_hash(key), key)];
}

static bool grow(ml_marks *marks)
{
    ml_mark **old = marks->slots;
    size_t room = marks->room;
    ml_mark **slots = calloc(2 * room, sizeof(ml_mark *));
    if (slots == NULL) return false;
    marks->slots = slots;
    marks->room = 2 * room;
    for (size_t n = 0; n < room; n++) {
        if (old[n] == NULL) continue;
        size_t at = old[n]->hash & (marks->room - 1);
        while (slots[at] != NULL) at = (at + 1) & (marks->room - 1);
        slots[at] = old[n];
    }
    free(old);
    return true;
}

ml_code ml_marks_put(ml_marks *marks, ml_bytes key, uint64_t position, ml_error *why)
{
    uint64_t hash = ml_marks_hash(key);
    if (marks->slots[seek(marks, hash, key)] != NULL) return ML_OK;
    if (marks->count == ML_WHATIF_MARKS_MAX)
        return ml_error_set(why, ML_LIMIT, "over %d keys differ", ML_WHATIF_MARKS_MAX);
    if (2 * marks->count >= marks->room && !grow(marks))
        return ml_error_memory(why, "the keys that differ");
    ml_mark *mark = malloc(sizeof *mark + key.size);
    if (mark == NULL) return ml_error_memory(why, "the keys that differ");
    mark->hash = hash;
    mark->position = position;
    mark->size = key.size;
    memcpy(mark->key, key.data, key.size);
    marks->slots[seek(marks, hash, key)] = mark;
    marks->count++;
    return ML_OK;
}

/* May the mark at `at` stand in the free slot `hole`, which is before it in its row of slots? */
static bool may_move(const ml_marks *marks, size_t hole, size_t at)
{
    size_t home = marks->slots[at]->hash & (marks->room - 1), mask = marks->room - 1;
    return ((at - home) & mask) >= ((at - hole) & mask);
}

bool ml_marks_remove(ml_marks *marks, ml_bytes key)
{
    if (marks->count == 0) return false;
    size_t hole = seek(marks, ml_marks_hash(key), key);
    if (marks->slots[hole] == NULL) return false;
    free(marks->slots[hole]);
    marks->slots[hole] = NULL;
    marks->count--;
    for (size_t at = hole;;) {
        at = (at + 1) & (marks->room - 1);
        if (marks->slots[at] == NULL) return true;
        if (!may_move(marks, hole, at)) continue;
        marks->slots[hole] = marks->slots[at];
        marks->slots[at] = NULL;
        hole = at;
    }
}

static int compare(const void *left, const void *right)
{
    const ml_mark *a = *(const ml_mark *const *)left, *b = *(const ml_mark *const *)right;
    if (a->position != b->position) return a->position < b->position ? -1 : 1;
    size_t size = a->size < b->size ? a->size : b->size;
    int order = memcmp(a->key, b->key, size);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

const ml_mark **ml_marks_sorted(const ml_marks *marks)
{
    const ml_mark **all = calloc(marks->count + 1, sizeof *all);
    size_t count = 0;
    if (all == NULL) return NULL;
    for (size_t n = 0; n < marks->room; n++)
        if (marks->slots[n] != NULL) all[count++] = marks->slots[n];
    qsort(all, count, sizeof *all, compare);
    return all;
}
