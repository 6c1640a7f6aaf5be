/* postings.c -- walking the positions of one key through runs and tables.
 *
 * The sources cover ranges that follow each other, so the whole list is theirs, one after
 * the other. Only the block in hand is decoded.
 */
#include <stdlib.h>

#include "inside.h"

/* ---- gathering -------------------------------------------------------------------------- */

static void add_table(ml_postings *p, const ml_table *table, uint64_t from, uint64_t to)
{
    if (table->postings == 0 || table->last < from || table->first > to) return;
    const ml_table_slot *slot = ml_table_find(table, p->key);
    if (slot == NULL) return;
    p->sources[p->source_count++] = (ml_postings_source){.table = table,
                                                         .slot = slot,
                                                         .first = table->first,
                                                         .last = table->first + slot->last,
                                                         .count = slot->count};
    p->count += slot->count;
}

static void add_run(ml_postings *p, size_t n, uint64_t from, uint64_t to)
{
    const ml_run *run = p->index->runs[n];
    if (run->head.last < from || run->head.first > to) return;
    ml_postings_source *source = &p->sources[p->source_count];
    ml_found found = ml_run_find(run, p->key, &source->list);
    source->run = n;
    if (found == ML_DAMAGED) {
        p->damaged = true;
        p->source = p->source_count;
        return;
    }
    if (found == ML_ABSENT) return;
    source->table = NULL;
    source->slot = NULL;
    source->first = run->head.first;
    source->last = run->head.last;
    source->count = source->list.count;
    p->source_count++;
    p->count += source->count;
}

void ml_postings_find(ml_index *index, uint64_t key, uint64_t from, uint64_t to, ml_postings *p)
{
    p->index = index;
    p->key = key;
    p->count = 0;
    p->damaged = false;
    p->source_count = 0;
    p->source = 0;
    p->at = p->size = 0;
    for (size_t n = 0; n < index->run_count && !p->damaged; n++) add_run(p, n, from, to);
    if (p->damaged) return;
    add_table(p, &index->frozen, from, to);
    add_table(p, &index->live, from, to);
}

/* ---- blocks -------------------------------------------------------------------------------- */

static bool set_block(ml_postings *p, size_t source, uint64_t block)
{
    const ml_postings_source *from = &p->sources[source];
    p->source = source;
    p->block = block;
    if (from->table != NULL) {
        const uint32_t *chunk = from->table->words + block;
        p->size = chunk[ML_CHUNK_USED];
        memcpy(p->distances, chunk + ML_CHUNK_DATA, p->size * sizeof *p->distances);
        return true;
    }
    p->size = ml_run_decode(&from->list, block, p->distances);
    p->damaged = p->size == 0;
    return !p->damaged;
}

static bool first_block(ml_postings *p, size_t source)
{
    const ml_postings_source *from = &p->sources[source];
    return set_block(p, source, from->table != NULL ? from->slot->head : 0);
}

static bool last_block(ml_postings *p, size_t source)
{
    const ml_postings_source *from = &p->sources[source];
    return set_block(p, source,
                     from->table != NULL ? from->slot->tail : ml_run_blocks(&from->list) - 1);
}

static bool set_at(ml_postings *p, uint32_t at)
{
    p->at = at;
    p->position = p->sources[p->source].first + p->distances[at];
    return true;
}

bool ml_postings_next(ml_postings *p)
{
    if (p->at + 1 < p->size) return set_at(p, p->at + 1);
    const ml_postings_source *from = &p->sources[p->source];
    if (from->table != NULL) {
        uint32_t next = from->table->words[p->block + ML_CHUNK_NEXT];
        if (next != ML_CHUNK_NONE) return set_block(p, p->source, next) && set_at(p, 0);
    } else if (p->block + 1 < ml_run_blocks(&from->list)) {
        return set_block(p, p->source, p->block + 1) && set_at(p, 0);
    }
    if (p->source + 1 >= p->source_count) return false;
    return first_block(p, p->source + 1) && set_at(p, 0);
}

bool ml_postings_prev(ml_postings *p)
{
    if (p->at > 0) return set_at(p, p->at - 1);
    const ml_postings_source *from = &p->sources[p->source];
    if (from->table != NULL) {
        uint32_t prev = from->table->words[p->block + ML_CHUNK_PREV];
        if (prev != ML_CHUNK_NONE) return set_block(p, p->source, prev) && set_at(p, p->size - 1);
    } else if (p->block > 0) {
        return set_block(p, p->source, p->block - 1) && set_at(p, p->size - 1);
    }
    if (p->source == 0) return false;
    return last_block(p, p->source - 1) && set_at(p, p->size - 1);
}

/* ---- seeking ---------------------------------------------------------------------------------- */

/* The block of a run's list that may hold `distance`: the last that begins at or before it. */
static uint64_t run_block_for(const ml_run_list *list, uint32_t distance)
{
    uint64_t low = 0, high = ml_run_blocks(list);
    if (list->block == 0) return 0;
    while (high - low > 1) {
        uint64_t middle = (low + high) / 2;
        if (ml_run_block_first(list, middle) <= distance) low = middle;
        else high = middle;
    }
    return low;
}

/* The chunk of a table's list that may hold `distance`, looked for from the end: who seeks
 * in memory is mostly near the head of the log. */
static uint64_t chunk_for(const ml_postings_source *from, uint32_t distance)
{
    const uint32_t *words = from->table->words;
    uint32_t at = from->slot->tail;
    while (words[at + ML_CHUNK_DATA] > distance && words[at + ML_CHUNK_PREV] != ML_CHUNK_NONE)
        at = words[at + ML_CHUNK_PREV];
    return at;
}

/* Index of the first distance in hand that is >= distance. */
static uint32_t lower_bound(const ml_postings *p, uint32_t distance)
{
    uint32_t low = 0, high = p->size;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (p->distances[middle] < distance) low = middle + 1;
        else high = middle;
    }
    return low;
}

static bool load_for(ml_postings *p, size_t source, uint32_t distance)
{
    const ml_postings_source *from = &p->sources[source];
    return set_block(p, source, from->table != NULL ? chunk_for(from, distance)
                                                    : run_block_for(&from->list, distance));
}

bool ml_postings_seek(ml_postings *p, uint64_t position)
{
    if (p->damaged) return false;
    /* Mostly a small step on, within the block in hand. */
    if (p->size > 0 && p->at < p->size) {
        const ml_postings_source *from = &p->sources[p->source];
        if (position >= from->first + p->distances[0] &&
            position <= from->first + p->distances[p->size - 1])
            return set_at(p, lower_bound(p, (uint32_t)(position - from->first)));
    }
    for (size_t n = 0; n < p->source_count; n++) {
        const ml_postings_source *from = &p->sources[n];
        if (from->last < position) continue;
        if (position <= from->first) return first_block(p, n) && set_at(p, 0);
        uint32_t distance = (uint32_t)(position - from->first);
        if (!load_for(p, n, distance)) return false;
        uint32_t at = lower_bound(p, distance);
        if (at < p->size) return set_at(p, at);
        p->at = p->size - 1;
        return ml_postings_next(p);
    }
    return false;
}

bool ml_postings_seek_back(ml_postings *p, uint64_t position)
{
    if (p->damaged) return false;
    for (size_t n = p->source_count; n > 0; n--) {
        const ml_postings_source *from = &p->sources[n - 1];
        if (from->first > position) continue;
        uint64_t distance = position - from->first;
        if (distance >= UINT32_MAX) return last_block(p, n - 1) && set_at(p, p->size - 1);
        if (!load_for(p, n - 1, (uint32_t)distance)) return false;
        uint32_t at = lower_bound(p, (uint32_t)distance + 1);
        if (at > 0) return set_at(p, at - 1);
        p->at = 0;
        return ml_postings_prev(p);
    }
    return false;
}

static bool nth_of_table(ml_postings *p, size_t source, uint64_t n)
{
    const ml_postings_source *from = &p->sources[source];
    uint64_t left = from->slot->count;
    uint32_t at = from->slot->tail;
    /* From the end, as in chunk_for. */
    for (;; at = from->table->words[at + ML_CHUNK_PREV]) {
        left -= from->table->words[at + ML_CHUNK_USED];
        if (left <= n) break;
    }
    return set_block(p, source, at) && set_at(p, (uint32_t)(n - left));
}

bool ml_postings_nth(ml_postings *p, uint64_t n)
{
    if (p->damaged) return false;
    for (size_t source = 0; source < p->source_count; source++) {
        const ml_postings_source *from = &p->sources[source];
        if (n >= from->count) {
            n -= from->count;
            continue;
        }
        if (from->table != NULL) return nth_of_table(p, source, n);
        uint64_t block = from->list.block == 0 ? 0 : n / from->list.block;
        uint32_t at = (uint32_t)(from->list.block == 0 ? n : n % from->list.block);
        return set_block(p, source, block) && set_at(p, at);
    }
    return false;
}
