/* merge.c -- k-way merge by key; within a key the runs' positions simply follow each other. */
#include "merge.h"

#include <stdlib.h>

#include "../base/crc32c.h"
#include "../base/limits.h"
#include "runwriter.h"

/* ---- from a table --------------------------------------------------------------------------- */

enum { AHEAD_SLOT = 24, AHEAD_CHUNK = 12 };

ml_code ml_merge_table(ml_disk *disk, const ml_table *table, const ml_run_head *head, ml_error *why)
{
    uint32_t *order = ml_table_sorted(table);
    if (order == NULL) return ml_error_memory(why, "an index run");
    ml_run_head own = *head;
    own.keys = table->used;
    ml_runwriter writer;
    ml_runwriter_begin(&writer, disk, &own, why);
    for (uint32_t n = 0; n < table->used; n++) {
        /* The order of keys is none in memory: each slot, and the chunk behind it, is a cache
         * miss, asked for while the keys before are written. (Not in a function of its own:
         * gcc 12 takes one that only prefetches for one without effect.) */
        if (n + AHEAD_SLOT < table->used) __builtin_prefetch(&table->slots[order[n + AHEAD_SLOT]]);
        if (n + AHEAD_CHUNK < table->used)
            __builtin_prefetch(table->words + table->slots[order[n + AHEAD_CHUNK]].head);
        const ml_table_slot *slot = &table->slots[order[n]];
        ml_runwriter_key(&writer, slot->key, slot->count);
        for (uint32_t at = slot->head; at != ML_CHUNK_NONE; at = table->words[at + ML_CHUNK_NEXT])
            for (uint32_t i = 0; i < table->words[at + ML_CHUNK_USED]; i++)
                ml_runwriter_add(&writer, table->first + table->words[at + ML_CHUNK_DATA + i]);
        ml_runwriter_end_key(&writer);
    }
    free(order);
    return ml_runwriter_finish(&writer);
}

/* ---- a run as a stream ------------------------------------------------------------------------ */

/* Bytes of a file, read ahead: keys and lists of a run are both visited in file order. Read
 * by pread, not through the map, so that merging does not pull the index into memory. */
typedef struct window {
    ml_buf buf;
    uint64_t at;
} window;

typedef struct source {
    ml_disk *disk;
    ml_run *run;
    int file;
    window table, lists, blocks;
    uint64_t line;
    unsigned entry;
    bool ended;
    uint64_t key, where; /* the current entry */
} source;

enum { TABLE_AHEAD = 64 << 10, LISTS_AHEAD = 128 << 10, ENTRY = 14, LINE_COUNT = 56 };

/* Gives bytes [at, at + size) of the file, reading `ahead` bytes if they are not there. */
static ml_code see(source *from, window *seen, uint64_t at, uint64_t size, size_t ahead,
                   const uint8_t **bytes, ml_error *why)
{
    if (at + size > from->run->head.size) return ML_CORRUPT;
    if (at < seen->at || at + size > seen->at + seen->buf.size) {
        uint64_t left = from->run->head.size - at;
        size_t want = size > ahead ? (size_t)size : ahead;
        if (want > left) want = (size_t)left;
        ml_buf_clear(&seen->buf);
        uint8_t *to = ml_buf_take(&seen->buf, want);
        if (to == NULL) return ml_error_memory(why, "merging index runs");
        ml_code code = ml_disk_read(from->disk, from->file, from->run->path, to, want, at, why);
        if (code) return code;
        seen->at = at;
    }
    *bytes = seen->buf.data + (at - seen->at);
    return ML_OK;
}

/* Moves to the next key of a source. */
static ml_code advance(source *from, ml_error *why)
{
    while (from->line < from->run->head.table_lines) {
        const uint8_t *line;
        uint64_t at = ml_run_table_at(&from->run->head) + from->line * ML_RUN_LINE;
        ml_code code = see(from, &from->table, at, ML_RUN_LINE, TABLE_AHEAD, &line, why);
        if (code) return code;
        if (ml_get_u32(line + ML_RUN_LINE - 4) != ml_crc32c(0, line, ML_RUN_LINE - 4)) return ML_CORRUPT;
        if (from->entry < line[LINE_COUNT] && from->entry < ML_RUN_ENTRIES) {
            const uint8_t *entry = line + from->entry++ * ENTRY;
            uint64_t key = ml_get_u64(entry);
            from->key = key;
            from->where = (uint64_t)ml_get_u32(entry + 8) | (uint64_t)ml_get_u16(entry + 12) << 32;
            return ML_OK;
        }
        from->line++;
        from->entry = 0;
    }
    from->ended = true;
    return ML_OK;
}

static ml_code open_source(source *from, ml_disk *disk, ml_run *run, ml_error *why)
{
    *from = (source){.disk = disk, .run = run, .file = -1};
    ml_code code = ml_disk_open(disk, run->path, ML_DISK_READ, &from->file, why);
    return code ? code : advance(from, why);
}

static void close_source(source *from)
{
    if (from->file >= 0) from->disk->ops->close(from->disk, from->file);
    ml_buf_free(&from->table.buf);
    ml_buf_free(&from->lists.buf);
    ml_buf_free(&from->blocks.buf);
}

/* Parses the head of the current list. */
static ml_code read_list(source *from, ml_run_list *list, ml_error *why)
{
    if (from->where & ML_RUN_INLINE) {
        *list = (ml_run_list){.count = 1, .single = true, .only = (uint32_t)from->where};
        return ML_OK;
    }
    uint64_t floor = ml_run_lists_at(&from->run->head), size = from->run->head.size;
    if (from->where < floor || from->where >= size) return ML_CORRUPT;
    const uint8_t *head, *end;
    uint64_t some = size - from->where < 16 ? size - from->where : 16;
    ml_code code = see(from, &from->lists, from->where, some, LISTS_AHEAD, &head, why);
    if (code) return code;
    uint64_t length;
    end = head + some;
    const uint8_t *at = head + 4;
    if (some < 6 || !ml_get_varint(&at, end, &length)) return ML_CORRUPT;
    length += (uint64_t)(at - head);
    if (length > size - from->where) return ML_CORRUPT;
    code = see(from, &from->lists, from->where, length, LISTS_AHEAD, &head, why);
    if (code) return code;
    return ml_run_parse_list(head, head + length, head, list) ? ML_OK : ML_CORRUPT;
}

/* A block of the current list: one by one, because a key may have a hundred million positions. */
static ml_code read_block(source *from, const ml_run_list *list, uint64_t n, uint32_t *distances,
                          uint32_t *count, ml_error *why)
{
    uint64_t back, size;
    const uint8_t *data;
    if (list->block == 0) {
        *count = ml_run_decode(list, n, distances);
        return *count > 0 ? ML_OK : ML_CORRUPT;
    }
    if (!ml_run_block_span(list, n, &back, &size) || back > from->where) return ML_CORRUPT;
    ml_code code = see(from, &from->blocks, from->where - back, size, LISTS_AHEAD, &data, why);
    if (code) return code;
    *count = ml_run_decode_block(list, n, data, size, distances);
    return *count > 0 ? ML_OK : ML_CORRUPT;
}

static ml_code copy_list(source *from, const ml_run_list *list, ml_runwriter *writer, ml_error *why)
{
    uint32_t distances[ML_RUN_BLOCK_MAX], count;
    uint64_t blocks = ml_run_blocks(list);
    for (uint64_t n = 0; n < blocks; n++) {
        ml_code code = read_block(from, list, n, distances, &count, why);
        if (code) return code;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t position = from->run->head.first + distances[i];
            if (position > from->run->head.last) return ML_CORRUPT;
            ml_runwriter_add(writer, position);
        }
    }
    return ML_OK;
}

/* ---- merging ------------------------------------------------------------------------------------ */

typedef struct merge {
    source sources[ML_INDEX_RUNS_MAX];
    size_t count;
    size_t damaged;
    ml_error *why;
} merge;

/* The lowest key that any source stands on; false at the end of all. */
static bool lowest(const merge *m, uint64_t *key)
{
    bool found = false;
    for (size_t n = 0; n < m->count; n++) {
        const source *from = &m->sources[n];
        if (from->ended || (found && from->key >= *key)) continue;
        *key = from->key;
        found = true;
    }
    return found;
}

static ml_code advance_all(merge *m, uint64_t key)
{
    for (size_t n = 0; n < m->count; n++) {
        source *from = &m->sources[n];
        if (from->ended || from->key != key) continue;
        m->damaged = n;
        ml_code code = advance(from, m->why);
        if (code) return code;
        if (!from->ended && from->key <= key) return ML_CORRUPT;
    }
    return ML_OK;
}

static ml_code rewind_all(merge *m, ml_disk *disk, ml_run *const *runs)
{
    for (size_t n = 0; n < m->count; n++) {
        close_source(&m->sources[n]);
        m->damaged = n;
        ml_code code = open_source(&m->sources[n], disk, runs[n], m->why);
        if (code) return code;
    }
    return ML_OK;
}

/* The table of a run is laid out by the number of its keys, so they are counted first. */
static ml_code count_keys(merge *m, uint64_t *keys)
{
    uint64_t key = 0;
    *keys = 0;
    while (lowest(m, &key)) {
        ++*keys;
        ml_code code = advance_all(m, key);
        if (code) return code;
    }
    return ML_OK;
}

static ml_code merge_key(merge *m, uint64_t key, ml_runwriter *writer)
{
    /* Two rounds over the sources of a key: its count comes before its positions. */
    uint64_t count = 0;
    for (int round = 0; round < 2; round++) {
        if (round == 1) ml_runwriter_key(writer, key, count);
        for (size_t n = 0; n < m->count; n++) {
            source *from = &m->sources[n];
            if (from->ended || from->key != key) continue;
            ml_run_list list;
            m->damaged = n;
            ml_code code = read_list(from, &list, m->why);
            if (code) return code;
            if (round == 0) count += list.count;
            else if ((code = copy_list(from, &list, writer, m->why))) return code;
        }
    }
    ml_runwriter_end_key(writer);
    return writer->code;
}

static ml_code merge_into(merge *m, ml_disk *disk, const ml_run_head *head)
{
    ml_runwriter writer;
    ml_runwriter_begin(&writer, disk, head, m->why);
    ml_code code = writer.code;
    uint64_t key = 0;
    while (!code && lowest(m, &key)) {
        code = merge_key(m, key, &writer);
        if (!code) code = advance_all(m, key);
    }
    if (code && !writer.code) writer.code = code;
    return ml_runwriter_finish(&writer);
}

ml_code ml_merge_runs(ml_disk *disk, ml_run *const *runs, size_t count, size_t *damaged, ml_error *why)
{
    ML_ASSERT(count >= 2);
    ML_ASSERT(count <= ML_INDEX_RUNS_MAX);
    merge *m = calloc(1, sizeof *m);
    if (m == NULL) return ml_error_memory(why, "merging index runs");
    for (size_t n = 0; n < count; n++) m->sources[n].file = -1;
    m->count = count;
    m->why = why;
    ml_run_head head = runs[0]->head;
    head.last = runs[count - 1]->head.last;
    head.anchor = runs[count - 1]->head.anchor;
    ml_code code = rewind_all(m, disk, runs);
    if (!code) code = count_keys(m, &head.keys);
    if (!code) code = rewind_all(m, disk, runs);
    if (!code) code = merge_into(m, disk, &head);
    if (code == ML_CORRUPT) ml_error_set(why, ML_CORRUPT, "%s is damaged", runs[m->damaged]->path);
    *damaged = m->damaged;
    for (size_t n = 0; n < count; n++) close_source(&m->sources[n]);
    free(m);
    return code;
}
