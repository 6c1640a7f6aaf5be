/* segment.c -- header, footer, map, offsets in memory, and the walk over frames. */
#include "segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/limits.h"

enum {
    AT_FORMAT = 8,
    AT_READER = 10,
    AT_LOG = 16,
    AT_NUMBER = 32,
    AT_FIRST = 40,
    AT_SEQUENCE = 48,
    AT_PREVIOUS = 56,
    AT_CREATED = 64,
    AT_HEADER_CRC = ML_SEGMENT_HEADER - 4,

    FOOTER_MAGIC = 0x31454c4d, /* "MLE1" */
    AT_FOOTER_CRC = 4,
    AT_FOOTER_COUNT = 8,
    AT_FOOTER_LAST = 16,
    AT_FOOTER_SEQUENCE = 24,
    AT_FOOTER_END = 32,
    AT_FOOTER_SHA256 = 40,
    AT_FOOTER_PREVIOUS = 72
};

/* The largest segment, or one that holds a single frame of an append: offsets are 32-bit. */
#define SEGMENT_FILE_MAX ((uint64_t)ML_SEGMENT_BYTES_MAX + 2 * (uint64_t)ML_APPEND_BYTES_MAX)

static const char magic[8] = {'M', 'O', 'O', 'N', 'L', 'O', 'G', '1'};

void ml_segment_path(char path[ML_SEGMENT_PATH], uint64_t first)
{
    snprintf(path, ML_SEGMENT_PATH, "log/%020" PRIu64 ".seg", first);
}

void ml_segment_name(ml_segment *segment)
{
    uint8_t bytes[ML_LOG_ID_SIZE + 8];
    memcpy(bytes, segment->log, ML_LOG_ID_SIZE);
    ml_put_u64(bytes + ML_LOG_ID_SIZE, segment->first);
    segment->salt = ml_crc32c(0, bytes, sizeof bytes);
    ml_segment_path(segment->path, segment->first);
}

void ml_segment_encode(const ml_segment *segment, uint8_t page[ML_SEGMENT_HEADER])
{
    memset(page, 0, ML_SEGMENT_HEADER);
    memcpy(page, magic, sizeof magic);
    ml_put_u16(page + AT_FORMAT, ML_LOG_FORMAT);
    ml_put_u16(page + AT_READER, ML_LOG_FORMAT);
    memcpy(page + AT_LOG, segment->log, ML_LOG_ID_SIZE);
    ml_put_u64(page + AT_NUMBER, segment->number);
    ml_put_u64(page + AT_FIRST, segment->first);
    ml_put_u64(page + AT_SEQUENCE, segment->sequence);
    ml_put_u32(page + AT_PREVIOUS, segment->previous);
    ml_put_u64(page + AT_CREATED, (uint64_t)segment->created);
    ml_put_u32(page + AT_HEADER_CRC, ml_crc32c(0, page, AT_HEADER_CRC));
}

ml_code ml_segment_decode(ml_segment *segment, const uint8_t page[ML_SEGMENT_HEADER],
                          const char *path, ml_error *why)
{
    if (memcmp(page, magic, sizeof magic) != 0)
        return ml_error_set(why, ML_CORRUPT, "%s does not begin as a segment does", path);
    if (ml_get_u32(page + AT_HEADER_CRC) != ml_crc32c(0, page, AT_HEADER_CRC))
        return ml_error_set(why, ML_CORRUPT, "%s: bytes 0..%d (its header) are damaged", path,
                            ML_SEGMENT_HEADER - 1);
    uint16_t reader = ml_get_u16(page + AT_READER);
    if (reader > ML_LOG_FORMAT)
        return ml_error_set(why, ML_UNSUPPORTED,
                            "%s is of log format %u, this is moonlog %s, which reads up to "
                            "format %d; nothing was touched, use a newer moonlog",
                            path, (unsigned)reader, ML_VERSION, ML_LOG_FORMAT);
    *segment = (ml_segment){.number = ml_get_u64(page + AT_NUMBER),
                            .first = ml_get_u64(page + AT_FIRST),
                            .sequence = ml_get_u64(page + AT_SEQUENCE),
                            .previous = ml_get_u32(page + AT_PREVIOUS),
                            .created = (int64_t)ml_get_u64(page + AT_CREATED)};
    memcpy(segment->log, page + AT_LOG, ML_LOG_ID_SIZE);
    ml_segment_name(segment);
    if (strcmp(segment->path, path) != 0)
        return ml_error_set(why, ML_CORRUPT, "%s says that it is %s; was it renamed?", path,
                            segment->path);
    return ML_OK;
}

static uint32_t footer_crc(const uint8_t *bytes, uint32_t salt)
{
    return ml_crc32c(salt, bytes + AT_FOOTER_COUNT, ML_SEGMENT_FOOTER - AT_FOOTER_COUNT);
}

void ml_segment_encode_footer(const ml_footer *footer, uint32_t salt,
                              uint8_t bytes[ML_SEGMENT_FOOTER])
{
    memset(bytes, 0, ML_SEGMENT_FOOTER);
    ml_put_u32(bytes, FOOTER_MAGIC);
    ml_put_u64(bytes + AT_FOOTER_COUNT, footer->count);
    ml_put_u64(bytes + AT_FOOTER_LAST, footer->last);
    ml_put_u64(bytes + AT_FOOTER_SEQUENCE, footer->sequence);
    ml_put_u64(bytes + AT_FOOTER_END, footer->end);
    memcpy(bytes + AT_FOOTER_SHA256, footer->sha256, sizeof footer->sha256);
    ml_put_u32(bytes + AT_FOOTER_PREVIOUS, footer->previous);
    ml_put_u32(bytes + AT_FOOTER_CRC, footer_crc(bytes, salt));
}

bool ml_segment_decode_footer(ml_footer *footer, uint32_t salt,
                              const uint8_t bytes[ML_SEGMENT_FOOTER])
{
    if (ml_get_u32(bytes) != FOOTER_MAGIC) return false;
    if (ml_get_u32(bytes + AT_FOOTER_CRC) != footer_crc(bytes, salt)) return false;
    footer->count = ml_get_u64(bytes + AT_FOOTER_COUNT);
    footer->last = ml_get_u64(bytes + AT_FOOTER_LAST);
    footer->sequence = ml_get_u64(bytes + AT_FOOTER_SEQUENCE);
    footer->end = ml_get_u64(bytes + AT_FOOTER_END);
    memcpy(footer->sha256, bytes + AT_FOOTER_SHA256, sizeof footer->sha256);
    footer->previous = ml_get_u32(bytes + AT_FOOTER_PREVIOUS);
    return true;
}

/* ---- map and offsets ------------------------------------------------------------------- */

/* The header may have been another's since it was read. */
static bool is_same(const ml_segment *segment)
{
    const uint8_t *page = segment->map;
    return memcmp(page + AT_LOG, segment->log, ML_LOG_ID_SIZE) == 0 &&
           ml_get_u64(page + AT_FIRST) == segment->first;
}

ml_code ml_segment_map(ml_segment *segment, ml_disk *disk, ml_error *why)
{
    if (segment->map != NULL && segment->end <= segment->map_size) return ML_OK;
    ml_segment_unmap(segment, disk);
    int file = -1;
    ml_code code = ml_disk_open(disk, segment->path, ML_DISK_READ, &file, why);
    if (code) return code;
    uint64_t size = 0;
    code = ml_disk_size(disk, file, segment->path, &size, why);
    if (!code && (size < ML_SEGMENT_HEADER || size < segment->end))
        code = ml_error_set(why, ML_CORRUPT, "%s is cut short: %" PRIu64 " bytes of at least %" PRIu64,
                            segment->path, size,
                            segment->end > 0 ? segment->end : (uint64_t)ML_SEGMENT_HEADER);
    if (!code && size > SEGMENT_FILE_MAX)
        code = ml_error_set(why, ML_CORRUPT, "%s has %" PRIu64 " bytes, more than a segment can have",
                            segment->path, size);
    if (!code) {
        int refused = disk->ops->map(disk, file, size, &segment->map);
        if (refused < 0) code = ml_error_disk(why, refused, "map", segment->path);
        else segment->map_size = size;
    }
    if (!code && !is_same(segment))
        code = ml_error_set(why, ML_CORRUPT, "%s is not the file that it was; was it replaced?", segment->path);
    ml_code closed = ml_disk_close(disk, file, segment->path, code ? NULL : why);
    if (code || closed) ml_segment_unmap(segment, disk);
    return code ? code : closed;
}

void ml_segment_unmap(ml_segment *segment, ml_disk *disk)
{
    if (segment->map != NULL) disk->ops->unmap(disk, segment->map, segment->map_size);
    segment->map = NULL;
    segment->map_size = 0;
}

ml_code ml_segment_extend(ml_segment *segment, uint64_t base, const uint32_t *relative,
                          uint32_t count, ml_error *why)
{
    if (segment->capacity - segment->count < count) {
        size_t capacity = (size_t)segment->capacity * 2 + count + 64;
        uint32_t *offsets = realloc(segment->offsets, capacity * sizeof *offsets);
        if (offsets == NULL) return ml_error_memory(why, "the offsets of a segment");
        segment->offsets = offsets;
        segment->capacity = (uint32_t)capacity;
    }
    uint32_t *to = segment->offsets + segment->count;
    for (uint32_t n = 0; n < count; n++) to[n] = relative[n] == 0 ? 0 : (uint32_t)base + relative[n];
    segment->count += count;
    return ML_OK;
}

void ml_segment_free(ml_segment *segment, ml_disk *disk)
{
    if (segment == NULL) return;
    ml_segment_unmap(segment, disk);
    if (segment->table != NULL) disk->ops->unmap(disk, segment->table, segment->table_size);
    if (!segment->mapped_offsets) free(segment->offsets);
    free(segment);
}

/* ---- walking ----------------------------------------------------------------------------- */

void ml_segment_walk(ml_walk *walk, const ml_segment *segment)
{
    *walk = (ml_walk){.data = segment->map,
                      .size = segment->map_size,
                      .salt = segment->salt,
                      .offset = ML_SEGMENT_HEADER,
                      .sequence = segment->sequence,
                      .position = segment->first,
                      .previous = segment->previous};
}

static bool reserve_offsets(ml_walk *walk, uint32_t count)
{
    if (walk->capacity >= count) return true;
    uint32_t *offsets = realloc(walk->offsets, (size_t)count * sizeof *offsets);
    if (offsets == NULL) return false;
    walk->offsets = offsets;
    walk->capacity = count;
    return true;
}

bool ml_segment_walk_next(ml_walk *walk, ml_frame *frame, bool *memory)
{
    if (walk->offset > walk->size) return false;
    const uint8_t *at = walk->data + walk->offset;
    if (!ml_frame_decode(at, walk->size - walk->offset, walk->salt, frame)) return false;
    if (frame->sequence != walk->sequence || frame->first != walk->position) return false;
    if (frame->previous != walk->previous) return false;
    if (!reserve_offsets(walk, frame->count)) {
        *memory = true;
        return false;
    }
    if (!ml_frame_check(at, frame, walk->offsets)) return false;
    walk->offset += ml_frame_size(frame);
    walk->sequence++;
    walk->position += frame->count;
    walk->previous = frame->crc;
    if (frame->durable > walk->durable) walk->durable = frame->durable;
    return true;
}

void ml_segment_walk_free(ml_walk *walk)
{
    free(walk->offsets);
    walk->offsets = NULL;
    walk->capacity = 0;
}

bool ml_segment_find(const uint8_t *data, uint64_t size, uint32_t salt, uint64_t *offset,
                     ml_frame *frame)
{
    for (uint64_t at = *offset; at + ML_FRAME_HEADER + ML_FRAME_TRAILER <= size; at += 8) {
        if (ml_get_u32(data + at) != ML_FRAME_MAGIC) continue;
        if (!ml_frame_decode(data + at, size - at, salt, frame)) continue;
        if (!ml_frame_check(data + at, frame, NULL)) continue;
        *offset = at;
        return true;
    }
    return false;
}

uint64_t ml_segment_content_end(const uint8_t *data, uint64_t from, uint64_t size)
{
    while (size > from && data[size - 1] == 0) {
        if (size - from >= 8 && ml_get_u64(data + size - 8) == 0) size -= 8;
        else size--;
    }
    return size;
}
