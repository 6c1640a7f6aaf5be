/* group.c -- filling a frame: records encoded straight into the bytes that will be written. */
#include <stdlib.h>

#include "log.h"

bool ml_group_begin(ml_group *group, uint64_t first)
{
    ml_buf_clear(&group->bytes);
    group->count = 0;
    group->first = first;
    group->time = 0;
    group->sync = false;
    group->opened = NULL;
    return ml_buf_take(&group->bytes, ML_FRAME_HEADER) != NULL;
}

static bool reserve_offset(ml_group *group)
{
    if (group->count < group->capacity) return true;
    uint32_t capacity = group->capacity > 0 ? group->capacity * 2 : 16;
    uint32_t *offsets = realloc(group->offsets, capacity * sizeof *offsets);
    if (offsets == NULL) return false;
    group->offsets = offsets;
    group->capacity = capacity;
    return true;
}

uint8_t *ml_group_record(ml_group *group, size_t most)
{
    /* Room for the trailer and padding too, so that sealing the frame cannot fail. */
    size_t room = ML_RECORD_HEADER + most + ML_FRAME_TRAILER + 8;
    if (!reserve_offset(group) || !ml_buf_reserve(&group->bytes, room)) return NULL;
    return group->bytes.data + group->bytes.size + ML_RECORD_HEADER;
}

void ml_group_end_record(ml_group *group, uint8_t *payload, size_t size)
{
    ML_ASSERT(payload == group->bytes.data + group->bytes.size + ML_RECORD_HEADER);
    ML_ASSERT(size >= ML_RECORD_MIN);
    group->offsets[group->count++] = (uint32_t)group->bytes.size;
    ml_put_u32(group->bytes.data + group->bytes.size, (uint32_t)size);
    group->bytes.size += ML_RECORD_HEADER + size;
}

void ml_group_cut(ml_group *group, uint32_t count)
{
    ML_ASSERT(count <= group->count);
    if (count < group->count) group->bytes.size = group->offsets[count];
    group->count = count;
}

ml_bytes ml_group_payload(const ml_group *group, uint32_t n)
{
    ML_ASSERT(n < group->count);
    const uint8_t *at = group->bytes.data + group->offsets[n];
    return (ml_bytes){at + ML_RECORD_HEADER, ml_get_u32(at)};
}

void ml_group_free(ml_group *group)
{
    ml_buf_free(&group->bytes);
    free(group->offsets);
    *group = (ml_group){0};
}
