/* watermark.c -- two slots, the newer valid one counts; the byte table is in the header. */
#include "watermark.h"

#include "../base/crc32c.h"

enum {
    SLOT_SIZE = 64,
    SLOT_DISTANCE = 512,
    MAGIC = 0x31574c4d, /* "MLW1" */
    AT_CRC = 4,
    AT_GENERATION = 8,
    AT_DURABLE = 16,
    AT_DURABLE_POSITION = 24,
    AT_SETTLED = 32,
    AT_SETTLED_POSITION = 40,
    AT_END = 48,
    AT_FLAGS = 56,
    AT_LOG = 60
};
_Static_assert(AT_LOG + sizeof(uint32_t) == SLOT_SIZE, "no byte is unaccounted for");

static uint32_t slot_crc(const uint8_t *slot)
{
    return ml_crc32c(0, slot + AT_GENERATION, SLOT_SIZE - AT_GENERATION);
}

static void encode(const ml_watermark *mark, uint8_t *slot)
{
    ml_put_u32(slot, MAGIC);
    ml_put_u64(slot + AT_GENERATION, mark->generation);
    ml_put_u64(slot + AT_DURABLE, mark->durable);
    ml_put_u64(slot + AT_DURABLE_POSITION, mark->durable_position);
    ml_put_u64(slot + AT_SETTLED, mark->settled);
    ml_put_u64(slot + AT_SETTLED_POSITION, mark->settled_position);
    ml_put_u64(slot + AT_END, mark->end);
    ml_put_u32(slot + AT_FLAGS, mark->flags);
    ml_put_u32(slot + AT_LOG, mark->log);
    ml_put_u32(slot + AT_CRC, slot_crc(slot));
}

static bool decode(const uint8_t *slot, ml_watermark *mark)
{
    if (ml_get_u32(slot) != MAGIC || ml_get_u32(slot + AT_CRC) != slot_crc(slot)) return false;
    mark->generation = ml_get_u64(slot + AT_GENERATION);
    mark->durable = ml_get_u64(slot + AT_DURABLE);
    mark->durable_position = ml_get_u64(slot + AT_DURABLE_POSITION);
    mark->settled = ml_get_u64(slot + AT_SETTLED);
    mark->settled_position = ml_get_u64(slot + AT_SETTLED_POSITION);
    mark->end = ml_get_u64(slot + AT_END);
    mark->flags = ml_get_u32(slot + AT_FLAGS);
    mark->log = ml_get_u32(slot + AT_LOG);
    return true;
}

bool ml_watermark_read(ml_disk *disk, int file, ml_watermark *mark)
{
    *mark = (ml_watermark){0};
    bool found = false;
    for (unsigned n = 0; n < 2; n++) {
        uint8_t slot[SLOT_SIZE] = {0};
        ml_watermark candidate;
        ml_code code = ml_disk_read(disk, file, ML_WATERMARK_PATH, slot, SLOT_SIZE,
                                    (uint64_t)n * SLOT_DISTANCE, NULL);
        if (code != ML_OK || !decode(slot, &candidate)) continue;
        if (!found || candidate.generation > mark->generation) *mark = candidate;
        found = true;
    }
    return found;
}

ml_code ml_watermark_write(ml_disk *disk, int file, ml_watermark *mark, ml_error *why)
{
    mark->generation++;
    uint8_t slot[SLOT_SIZE];
    encode(mark, slot);
    return ml_disk_write(disk, file, ML_WATERMARK_PATH, slot, SLOT_SIZE,
                         (mark->generation % 2) * SLOT_DISTANCE, why);
}
