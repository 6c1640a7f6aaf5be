/* offsets.c -- from a position to a place in a segment.
 *
 * One 32-bit offset per record. For segments that still grow it is in memory; for others in
 * a file beside the index, `index/<first position, 20 digits>.off`, mapped when it is needed:
 *
 *    at  size  field    meaning (little-endian)
 *     0     4  magic    "MLO1"
 *     4     4  crc      crc32c of bytes 8 to the end, seeded with the segment's salt
 *     8     8  first    position of the first record
 *    16     4  count    records
 *    20     4  zero
 *    24     4  offset of the first record, and so on
 *
 * A derived file: missing, damaged or of another segment, it is made again from the frames.
 * A wrong offset cannot give a wrong event, because a record carries its own position.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "inside.h"

enum { MAGIC = 0x314f4c4d, HEADER = 24, OFFSETS_PATH = 48 };

static void path_of(char path[OFFSETS_PATH], uint64_t first)
{
    snprintf(path, OFFSETS_PATH, "index/%020" PRIu64 ".off", first);
}

static bool valid(const ml_segment *segment, const uint8_t *table, uint64_t size)
{
    if (size != HEADER + (uint64_t)segment->count * 4) return false;
    if (ml_get_u32(table) != MAGIC || ml_get_u64(table + 8) != segment->first) return false;
    if (ml_get_u32(table + 16) != segment->count) return false;
    return ml_get_u32(table + 4) == ml_crc32c(segment->salt, table + 8, size - 8);
}

/* True if the file was there and good. */
static bool load_file(ml_disk *disk, ml_segment *segment)
{
    char path[OFFSETS_PATH];
    path_of(path, segment->first);
    int file = disk->ops->open(disk, path, ML_DISK_READ);
    if (file < 0) return false;
    uint64_t size = 0;
    const uint8_t *table = NULL;
    bool good = disk->ops->size(disk, file, &size) == 0 && size > HEADER &&
                disk->ops->map(disk, file, size, &table) == 0;
    disk->ops->close(disk, file);
    if (good && !valid(segment, table, size)) {
        disk->ops->unmap(disk, table, size);
        good = false;
    }
    if (!good) return false;
    segment->table = table;
    segment->table_size = size;
    /* Maps begin on a page, so the table behind the 24-byte header is aligned for u32. */
    segment->offsets = (uint32_t *)(uintptr_t)(table + HEADER);
    segment->mapped_offsets = true;
    return true;
}

ml_code ml_offsets_load(ml_log *log, ml_segment *segment, ml_error *why)
{
    if (segment->offsets != NULL || segment->count == 0) return ML_OK;
    if (load_file(log->disk, segment)) return ML_OK;
    ml_code code = ml_offsets_rebuild(log, segment, false, why);
    if (!code && !log->options.read_only)
        ml_offsets_save(log->disk, segment, segment->offsets, segment->count);
    return code;
}

void ml_offsets_unmap(ml_log *log, ml_segment *segment)
{
    if (!segment->mapped_offsets) return;
    log->disk->ops->unmap(log->disk, segment->table, segment->table_size);
    segment->table = NULL;
    segment->offsets = NULL;
    segment->mapped_offsets = false;
}

static void drop(ml_log *log, ml_segment *segment)
{
    ml_offsets_unmap(log, segment);
    free(segment->offsets);
    segment->offsets = NULL;
    segment->capacity = 0;
}

/* Adds a frame found behind damage: zeros for the records in between, then its own. */
static ml_code add_salvaged(ml_segment *segment, ml_walk *walk, const ml_frame *frame, ml_error *why)
{
    static const uint32_t none[256];
    while (walk->position < frame->first) {
        uint64_t gap = frame->first - walk->position;
        uint32_t some = gap > 256 ? 256 : (uint32_t)gap;
        ml_code code = ml_segment_extend(segment, 0, none, some, why);
        if (code) return code;
        walk->position += some;
    }
    walk->sequence = frame->sequence;
    walk->previous = frame->previous;
    return ML_OK;
}

/* After the walk has stopped at something that is no good frame: goes to the next good one
 * of this segment. False if there is none. */
static bool skip_damage(ml_segment *segment, ml_walk *walk, ml_frame *frame, ml_code *code,
                        ml_error *why)
{
    /* A frame with a good header and a bad record still tells where its other records are. */
    if (ml_frame_decode(walk->data + walk->offset, walk->size - walk->offset, walk->salt, frame) &&
        frame->first == walk->position) {
        uint32_t *offsets = malloc((size_t)frame->count * sizeof *offsets);
        if (offsets == NULL) {
            *code = ml_error_memory(why, "the offsets of a damaged frame");
            return false;
        }
        /* It is bad, or the walk had taken it; what counts is which records are not. */
        ML_IGNORE(ml_frame_check(walk->data + walk->offset, frame, offsets));
        *code = ml_segment_extend(segment, walk->offset, offsets, frame->count, why);
        free(offsets);
        walk->position += frame->count;
        walk->sequence = frame->sequence + 1;
        walk->previous = frame->crc;
        walk->offset += ml_frame_size(frame);
        return *code == ML_OK;
    }
    uint64_t at = walk->offset;
    /* A sector's worth of records is the least that can be lost between two frames; more than
     * the file could hold is no frame of ours. */
    do {
        at += 8;
        if (at >= walk->size || !ml_segment_find(walk->data, walk->size, walk->salt, &at, frame))
            return false;
    } while (frame->first < walk->position ||
             frame->first - walk->position > walk->size / ML_RECORD_MIN);
    walk->offset = at;
    *code = add_salvaged(segment, walk, frame, why);
    return *code == ML_OK;
}

ml_code ml_offsets_rebuild(ml_log *log, ml_segment *segment, bool open_end, ml_error *why)
{
    ml_code code = ml_log_map(log, segment, why);
    if (code) return code;
    uint32_t known = segment->count;
    drop(log, segment);
    segment->count = 0;
    segment->rebuilt = true;
    ml_walk walk;
    ml_frame frame;
    bool memory = false;
    ml_segment_walk(&walk, segment);
    while (!code && (open_end || segment->count < known)) {
        uint64_t at = walk.offset;
        if (ml_segment_walk_next(&walk, &frame, &memory))
            code = ml_segment_extend(segment, at, walk.offsets, frame.count, why);
        else if (memory)
            code = ml_error_memory(why, "the offsets of a frame");
        else if (!skip_damage(segment, &walk, &frame, &code, why))
            break;
    }
    segment->end = segment->end > walk.offset ? segment->end : walk.offset;
    ml_segment_walk_free(&walk);
    static const uint32_t none[1];
    while (!code && !open_end && segment->count < known)
        code = ml_segment_extend(segment, 0, none, 1, why);
    if (code) drop(log, segment); /* a table that is too short would be read beyond its end */
    if (!open_end) segment->count = known; /* what a sealed segment held is not up to its frames */
    return code;
}

void ml_offsets_save(ml_disk *disk, const ml_segment *segment, const uint32_t *offsets,
                     uint32_t count)
{
    ml_buf content = {0};
    size_t size = HEADER + (size_t)count * 4;
    uint8_t *table = ml_buf_take(&content, size);
    if (table == NULL) return;
    memset(table, 0, HEADER);
    ml_put_u32(table, MAGIC);
    ml_put_u64(table + 8, segment->first);
    ml_put_u32(table + 16, count);
    if (count > 0) memcpy(table + HEADER, offsets, (size_t)count * 4);
    ml_put_u32(table + 4, ml_crc32c(segment->salt, table + 8, size - 8));
    char path[OFFSETS_PATH];
    path_of(path, segment->first);
    /* Derived: whatever goes wrong here, the table is made again when it is needed. */
    ML_IGNORE(ml_disk_save(disk, path, "index", ml_buf_view(&content), NULL));
    ml_buf_free(&content);
}
