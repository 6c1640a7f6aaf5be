/* image.c -- looking at a simulated disk from outside. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../core/base/bytes.h"
#include "../../core/base/sim.h"
#include "crash.h"

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wswitch-enum"
#include <xxhash.h>
#pragma GCC diagnostic pop

uint64_t ml_image_hash(const ml_disk *disk, const char *prefix)
{
    const ml_sim *sim = ml_sim_of(disk);
    uint64_t sum = 0;
    for (size_t n = 0; n < sim->live.count; n++) {
        const ml_sim_name *name = &sim->live.at[n];
        if (strncmp(name->path, prefix, strlen(prefix)) != 0) continue;
        uint64_t hash = XXH3_64bits(name->path, strlen(name->path));
        if (name->file != ML_SIM_DIRECTORY) {
            const ml_sim_file *file = &sim->files[name->file];
            hash = XXH3_64bits_withSeed(file->data, (size_t)file->size, hash + file->size);
        }
        sum += hash; /* names are in no order */
    }
    return sum;
}

void ml_image_each(const ml_disk *disk, void (*each)(void *context, const char *path),
                   void *context)
{
    const ml_sim *sim = ml_sim_of(disk);
    for (size_t n = 0; n < sim->live.count; n++)
        if (sim->live.at[n].file != ML_SIM_DIRECTORY) each(context, sim->live.at[n].path);
}

/* ---- frames ------------------------------------------------------------------------- */

enum {
    HEADER = 4096,
    MAGIC = 0x31464c4d,
    FRAME = 72,
    AT_BODY = 8,
    AT_COUNT = 12,
    AT_SEQUENCE = 16,
    AT_FIRST = 24,
    AT_DURABLE = 32
};

typedef struct survey {
    ml_disk *disk;
    ml_image_frames frames;
    uint64_t durable;     /* highest `durable` of any frame */
    uint64_t bytes, hash; /* of all those frames */
    uint64_t pick;        /* look for this byte of them */
    char *path;
    uint64_t offset;
} survey;

static bool is_one(const survey *s, const uint8_t *frame)
{
    if (s->frames.by_sequence) return ml_get_u64(frame + AT_SEQUENCE) <= s->frames.last;
    return ml_get_u64(frame + AT_FIRST) + ml_get_u32(frame + AT_COUNT) <= s->frames.last + 1;
}

static void take_frame(survey *s, const char *path, const uint8_t *data, uint64_t at, uint64_t size)
{
    if (s->path != NULL && s->pick >= s->bytes && s->pick < s->bytes + size) {
        snprintf(s->path, ML_IMAGE_PATH, "%s", path);
        s->offset = at + (s->pick - s->bytes);
    }
    s->bytes += size;
    s->hash += XXH3_64bits_withSeed(data + at, (size_t)size, ml_get_u64(data + at + AT_FIRST));
}

static void survey_segment(void *context, const char *path)
{
    survey *s = context;
    uint64_t size, length = strlen(path);
    if (length < 4 || strcmp(path + length - 4, ".seg") != 0) return;
    const uint8_t *data = ml_disk_sim_content(s->disk, path, &size);
    for (uint64_t at = HEADER; at + FRAME <= size && ml_get_u32(data + at) == MAGIC;) {
        uint64_t frame = FRAME + (uint64_t)ml_get_u32(data + at + AT_BODY);
        if (frame > size - at) break;
        if (ml_get_u64(data + at + AT_DURABLE) > s->durable)
            s->durable = ml_get_u64(data + at + AT_DURABLE);
        if (is_one(s, data + at)) take_frame(s, path, data, at, frame);
        at += frame;
    }
}

bool ml_image_pick(ml_disk *disk, ml_image_frames frames, uint64_t pick, char path[ML_IMAGE_PATH],
                   uint64_t *offset)
{
    survey all = {.disk = disk, .frames = frames};
    ml_image_each(disk, survey_segment, &all);
    if (all.bytes == 0) return false;
    survey one = {.disk = disk, .frames = frames, .pick = pick % all.bytes, .path = path};
    ml_image_each(disk, survey_segment, &one);
    *offset = one.offset;
    return true;
}

uint64_t ml_image_hash_frames(ml_disk *disk, ml_image_frames frames)
{
    survey all = {.disk = disk, .frames = frames};
    ml_image_each(disk, survey_segment, &all);
    return all.hash;
}

uint64_t ml_image_durable(ml_disk *disk)
{
    survey all = {.disk = disk};
    ml_image_each(disk, survey_segment, &all);
    return all.durable;
}

const char *ml_crash_number(uint64_t number)
{
    static char texts[8][32];
    static unsigned turn;
    char digits[24], *to = texts[turn++ % 8];
    const char *text = to;
    int count = snprintf(digits, sizeof digits, "%" PRIu64, number);
    for (int n = 0; n < count; n++) {
        if (n > 0 && (count - n) % 3 == 0) *to++ = ',';
        *to++ = digits[n];
    }
    *to = '\0';
    return text;
}
