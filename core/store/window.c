/* window.c -- see window.h. Adding costs one miss in a table that fits the second cache. */
#include "window.h"

#include <stdlib.h>

enum { CAPACITY_MIN = 64 };

void ml_window_init(ml_window *window, uint64_t size)
{
    *window = (ml_window){.size = size, .first = 1};
}

void ml_window_free(ml_window *window)
{
    free(window->places);
    free(window->newest);
    *window = (ml_window){0};
}

void ml_window_clear(ml_window *window, uint64_t next)
{
    if (window->newest != NULL) memset(window->newest, 0, window->capacity * sizeof *window->newest);
    window->first = next;
    window->last = next - 1;
}

static void place(ml_window *window, uint64_t position, const uint8_t *id)
{
    uint64_t mask = window->capacity - 1;
    ml_window_place *at = &window->places[position & mask];
    uint64_t *newest = &window->newest[ml_window_hash(id) & mask];
    memcpy(at->id, id, ML_ID_SIZE);
    at->before = *newest;
    *newest = position;
}

static bool grow(ml_window *window)
{
    uint64_t capacity = window->capacity > 0 ? window->capacity * 2 : CAPACITY_MIN;
    ml_window grown = *window;
    grown.capacity = capacity;
    grown.places = malloc(capacity * sizeof *grown.places);
    grown.newest = calloc(capacity, sizeof *grown.newest);
    if (grown.places == NULL || grown.newest == NULL) {
        free(grown.places);
        free(grown.newest);
        return false;
    }
    for (uint64_t position = window->first; position <= window->last; position++)
        place(&grown, position, window->places[position & (window->capacity - 1)].id);
    free(window->places);
    free(window->newest);
    *window = grown;
    return true;
}

void ml_window_prefetch(const ml_window *window, const uint8_t *id)
{
    if (window->capacity > 0) __builtin_prefetch(&window->newest[ml_window_hash(id) & (window->capacity - 1)], 1);
}

bool ml_window_add(ml_window *window, const uint8_t *id)
{
    uint64_t count = window->last + 1 - window->first;
    if (count == window->capacity && count < window->size && !grow(window)) return false;
    window->last++;
    if (window->last + 1 - window->first > window->size) window->first++;
    place(window, window->last, id);
    return true;
}

void ml_window_cut(ml_window *window, uint64_t last)
{
    uint64_t mask = window->capacity - 1;
    for (; window->last > last; window->last--) {
        const ml_window_place *at = &window->places[window->last & mask];
        window->newest[ml_window_hash(at->id) & mask] = at->before;
    }
}

uint64_t ml_window_find(const ml_window *window, const uint8_t *id)
{
    if (window->capacity == 0) return 0;
    uint64_t mask = window->capacity - 1;
    uint64_t position = window->newest[ml_window_hash(id) & mask];
    while (position >= window->first && position <= window->last && position > 0) {
        const ml_window_place *at = &window->places[position & mask];
        if (memcmp(at->id, id, ML_ID_SIZE) == 0) return position;
        position = at->before;
    }
    return 0;
}
