/* run.c -- reading a run; the byte tables are in run.h. */
#include "run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/crc32c.h"

enum {
    MAGIC = 0x31524c4d, /* "MLR1" */
    AT_CRC = 4,
    AT_LOG = 8,
    AT_FIRST = 24,
    AT_LAST = 32,
    AT_ANCHOR = 40,
    AT_KEYS = 48,
    AT_POSTINGS = 56,
    AT_FILTER = 64,
    AT_HOME = 72,
    AT_TABLE = 80,
    AT_SIZE = 88,

    LINE_CONTENT = ML_RUN_LINE - 4,
    ENTRY = 14,
    LINE_COUNT = 56,
    FILTER_BITS = LINE_CONTENT * 8,
    FILTER_PROBES = 5,
    BLOCK_HEAD = 12
};

void ml_run_path(char path[ML_RUN_PATH], uint64_t first, uint64_t last)
{
    snprintf(path, ML_RUN_PATH, "index/%020" PRIu64 "-%020" PRIu64 ".run", first, last);
}

bool ml_run_parse_name(const char *name, uint64_t *first, uint64_t *last)
{
    char path[ML_RUN_PATH];
    if (sscanf(name, "%20" SCNu64 "-%20" SCNu64 ".run", first, last) != 2) return false;
    if (*first < 1 || *last < *first) return false;
    ml_run_path(path, *first, *last);
    return strcmp(path + sizeof "index/" - 1, name) == 0;
}

void ml_run_encode_head(const ml_run_head *head, uint8_t bytes[ML_RUN_HEADER])
{
    memset(bytes, 0, ML_RUN_HEADER);
    ml_put_u32(bytes, MAGIC);
    memcpy(bytes + AT_LOG, head->log, sizeof head->log);
    ml_put_u64(bytes + AT_FIRST, head->first);
    ml_put_u64(bytes + AT_LAST, head->last);
    ml_put_u32(bytes + AT_ANCHOR, head->anchor);
    ml_put_u64(bytes + AT_KEYS, head->keys);
    ml_put_u64(bytes + AT_POSTINGS, head->postings);
    ml_put_u64(bytes + AT_FILTER, head->filter_lines);
    ml_put_u64(bytes + AT_HOME, head->home_lines);
    ml_put_u64(bytes + AT_TABLE, head->table_lines);
    ml_put_u64(bytes + AT_SIZE, head->size);
    ml_put_u32(bytes + AT_CRC, ml_crc32c(0, bytes + AT_LOG, ML_RUN_HEADER - AT_LOG));
}

bool ml_run_decode_head(ml_run_head *head, const uint8_t bytes[ML_RUN_HEADER])
{
    if (ml_get_u32(bytes) != MAGIC) return false;
    if (ml_get_u32(bytes + AT_CRC) != ml_crc32c(0, bytes + AT_LOG, ML_RUN_HEADER - AT_LOG)) return false;
    memcpy(head->log, bytes + AT_LOG, sizeof head->log);
    head->first = ml_get_u64(bytes + AT_FIRST);
    head->last = ml_get_u64(bytes + AT_LAST);
    head->anchor = ml_get_u32(bytes + AT_ANCHOR);
    head->keys = ml_get_u64(bytes + AT_KEYS);
    head->postings = ml_get_u64(bytes + AT_POSTINGS);
    head->filter_lines = ml_get_u64(bytes + AT_FILTER);
    head->home_lines = ml_get_u64(bytes + AT_HOME);
    head->table_lines = ml_get_u64(bytes + AT_TABLE);
    head->size = ml_get_u64(bytes + AT_SIZE);
    if (head->first < 1 || head->last < head->first || head->last - head->first >= UINT32_MAX)
        return false;
    uint64_t lines_max = head->size / ML_RUN_LINE;
    return head->filter_lines >= 1 && head->filter_lines <= lines_max && head->home_lines >= 1 &&
           head->table_lines >= head->home_lines && head->table_lines <= lines_max &&
           ml_run_lists_at(head) <= head->size;
}

ml_code ml_run_open(ml_disk *disk, const char *path, ml_run **out, ml_error *why)
{
    int file = -1;
    uint64_t size = 0;
    uint8_t bytes[ML_RUN_HEADER];
    ml_run *run = calloc(1, sizeof *run);
    if (run == NULL) return ml_error_memory(why, "a run of the index");
    ml_code code = ml_disk_open(disk, path, ML_DISK_READ, &file, why);
    if (!code) code = ml_disk_read(disk, file, path, bytes, sizeof bytes, 0, why);
    if (!code) code = ml_disk_size(disk, file, path, &size, why);
    if (!code && (!ml_run_decode_head(&run->head, bytes) || run->head.size != size))
        code = ml_error_set(why, ML_CORRUPT, "%s is damaged", path);
    if (!code) {
        int refused = disk->ops->map(disk, file, size, &run->map);
        if (refused < 0) code = ml_error_disk(why, refused, "map", path);
    }
    if (file >= 0) disk->ops->close(disk, file);
    if (code) {
        free(run);
        return code;
    }
    snprintf(run->path, sizeof run->path, "%s", path);
    *out = run;
    return ML_OK;
}

void ml_run_close(ml_run *run, ml_disk *disk)
{
    if (run == NULL) return;
    disk->ops->unmap(disk, run->map, run->head.size);
    free(run);
}

/* ---- lookup -------------------------------------------------------------------------------- */

static bool line_holds(const uint8_t *line)
{
    return ml_get_u32(line + LINE_CONTENT) == ml_crc32c(0, line, LINE_CONTENT);
}

/* The n-th bit of a key: 9 of its low 45 bits, scaled to the line. The line is chosen by the
 * high bits. */
static uint32_t filter_bit(uint64_t key, unsigned n)
{
    return (uint32_t)(((key >> (9 * n)) & 511) * FILTER_BITS >> 9);
}

void ml_run_filter_add(uint8_t *lines, uint64_t line_count, uint64_t key)
{
    uint8_t *line = lines + ml_run_home(key, line_count) * ML_RUN_LINE;
    for (unsigned n = 0; n < FILTER_PROBES; n++) {
        uint32_t bit = filter_bit(key, n);
        line[bit / 8] = (uint8_t)(line[bit / 8] | 1u << bit % 8);
    }
}

static ml_found filter_says(const ml_run *run, uint64_t key)
{
    const uint8_t *line = run->map + ml_run_filter_at(&run->head) +
                          ml_run_home(key, run->head.filter_lines) * ML_RUN_LINE;
    if (!line_holds(line)) return ML_DAMAGED;
    for (unsigned n = 0; n < FILTER_PROBES; n++) {
        uint32_t bit = filter_bit(key, n);
        if ((line[bit / 8] >> bit % 8 & 1) == 0) return ML_ABSENT;
    }
    return ML_PRESENT;
}

/* Finds the entry of a key: `where`, 0 if it is not there. */
static ml_found table_says(const ml_run *run, uint64_t key, uint64_t *where)
{
    const uint8_t *table = run->map + ml_run_table_at(&run->head);
    for (uint64_t n = ml_run_home(key, run->head.home_lines); n < run->head.table_lines; n++) {
        const uint8_t *line = table + n * ML_RUN_LINE;
        if (!line_holds(line)) return ML_DAMAGED;
        unsigned count = line[LINE_COUNT] <= ML_RUN_ENTRIES ? line[LINE_COUNT] : ML_RUN_ENTRIES;
        for (unsigned i = 0; i < count; i++) {
            uint64_t stored = ml_get_u64(line + i * ENTRY);
            if (stored > key) return ML_ABSENT;
            if (stored < key) continue;
            *where = (uint64_t)ml_get_u32(line + i * ENTRY + 8) |
                     (uint64_t)ml_get_u16(line + i * ENTRY + 12) << 32;
            return ML_PRESENT;
        }
        if (count < ML_RUN_ENTRIES) return ML_ABSENT;
    }
    return ML_ABSENT;
}

ml_found ml_run_entry_at(const ml_run *run, uint64_t number, unsigned n, ml_run_entry *entry)
{
    const uint8_t *line = run->map + ml_run_table_at(&run->head) + number * ML_RUN_LINE;
    if (n == 0 && !line_holds(line)) return ML_DAMAGED;
    if (n >= line[LINE_COUNT] || n >= ML_RUN_ENTRIES) return ML_ABSENT;
    const uint8_t *at = line + n * ENTRY;
    entry->key = ml_get_u64(at);
    entry->where = (uint64_t)ml_get_u32(at + 8) | (uint64_t)ml_get_u16(at + 12) << 32;
    return ML_PRESENT;
}

bool ml_run_parse_list(const uint8_t *head, const uint8_t *end, const uint8_t *floor,
                       ml_run_list *list)
{
    *list = (ml_run_list){.head = head, .floor = floor};
    if (end - head < 6) return false;
    const uint8_t *at = head + 4;
    uint64_t size;
    if (!ml_get_varint(&at, end, &size) || size > (uint64_t)(end - at)) return false;
    if (ml_get_u32(head) != ml_crc32c(0, at, size)) return false;
    list->end = at + size;
    if (!ml_get_varint(&at, list->end, &list->count) || list->count == 0) return false;
    list->data = at;
    if (list->count <= ML_RUN_SHORT) return true;
    list->block = list->count < ML_RUN_LONG ? ML_RUN_SHORT : ML_RUN_BLOCK_MAX;
    return (uint64_t)(list->end - at) == ml_run_blocks(list) * BLOCK_HEAD;
}

ml_found ml_run_find(const ml_run *run, uint64_t key, ml_run_list *list)
{
    uint64_t where = 0;
    ml_found found = filter_says(run, key);
    if (found == ML_PRESENT) found = table_says(run, key, &where);
    if (found != ML_PRESENT) return found;
    if (where & ML_RUN_INLINE) {
        *list = (ml_run_list){.count = 1, .single = true, .only = (uint32_t)where};
        return ML_PRESENT;
    }
    uint64_t lists = ml_run_lists_at(&run->head);
    if (where < lists || where >= run->head.size) return ML_DAMAGED;
    bool good = ml_run_parse_list(run->map + where, run->map + run->head.size, run->map + lists, list);
    return good ? ML_PRESENT : ML_DAMAGED;
}

/* ---- blocks ----------------------------------------------------------------------------------- */

uint32_t ml_run_block_first(const ml_run_list *list, uint64_t block)
{
    return ml_get_u32(list->data + block * BLOCK_HEAD);
}

/* Decodes `count` distances; the first is given for blocks, read for short lists. */
static bool decode(const uint8_t *at, const uint8_t *end, uint32_t count, bool first_given,
                   uint32_t *distances)
{
    uint64_t distance = first_given ? distances[0] : 0;
    for (uint32_t n = first_given ? 1 : 0; n < count; n++) {
        uint64_t delta;
        if (!ml_get_varint(&at, end, &delta)) return false;
        distance += delta;
        if (distance > UINT32_MAX || (n > 0 && delta == 0)) return false;
        distances[n] = (uint32_t)distance;
    }
    return at == end;
}

uint32_t ml_run_decode(const ml_run_list *list, uint64_t n, uint32_t *distances)
{
    if (list->single) {
        distances[0] = list->only;
        return 1;
    }
    if (list->block == 0)
        return decode(list->data, list->end, (uint32_t)list->count, false, distances)
                   ? (uint32_t)list->count
                   : 0;
    uint64_t back, size;
    if (!ml_run_block_span(list, n, &back, &size)) return 0;
    if (back > (uint64_t)(list->head - list->floor)) return 0;
    return ml_run_decode_block(list, n, list->head - back, size, distances);
}

bool ml_run_block_span(const ml_run_list *list, uint64_t n, uint64_t *back, uint64_t *size)
{
    uint64_t blocks = ml_run_blocks(list);
    ML_ASSERT(n < blocks);
    const uint8_t *entry = list->data + n * BLOCK_HEAD;
    /* A block ends where the next one begins, the last one at the head. */
    uint64_t end = n + 1 < blocks ? ml_get_u32(entry + BLOCK_HEAD + 4) : 0;
    *back = ml_get_u32(entry + 4);
    *size = *back - end;
    return *back >= end;
}

uint32_t ml_run_decode_block(const ml_run_list *list, uint64_t n, const uint8_t *data, uint64_t size,
                             uint32_t *distances)
{
    const uint8_t *entry = list->data + n * BLOCK_HEAD;
    if (ml_get_u32(entry + 8) != ml_crc32c(0, data, size)) return 0;
    bool last = n + 1 == ml_run_blocks(list);
    uint32_t count = last ? (uint32_t)(list->count - n * list->block) : list->block;
    distances[0] = ml_get_u32(entry);
    return decode(data, data + size, count, true, distances) ? count : 0;
}
