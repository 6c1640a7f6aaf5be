/* forge.c -- harm with good checksums: what only the chain, the salt and the anchor can tell.
 *
 *     a frame whose sequence, position or chain is another one's, a body longer than the file
 *     a footer that does not fit the next header; a header of a newer format
 *     the frames of a twin: a log with the same events at the same times
 *     the index of another history of the same log
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../../core/base/bytes.h"
#include "../../core/base/crc32c.h"
#include "harm.h"

enum {
    HEADER = 4096,
    AT_READER = 10, /* of the segment's header */
    AT_LOG = 16,
    AT_HEADER_CRC = HEADER - 4,
    FRAME = 64,
    TRAILER = 8,
    AT_CRC = 4, /* of a frame */
    AT_BODY = 8,
    AT_SEQUENCE = 16,
    AT_FIRST = 24,
    AT_PREVIOUS = 44,
    FOOTER = 128,
    AT_LAST = 16, /* of a footer */
    AT_FOOTER_SEQUENCE = 24,
    AT_FOOTER_PREVIOUS = 72
};

static uint32_t salt_of(const uint8_t *segment, uint64_t first)
{
    uint8_t bytes[24];
    memcpy(bytes, segment + AT_LOG, 16);
    ml_put_u64(bytes + 16, first);
    return ml_crc32c(0, bytes, sizeof bytes);
}

/* Offset of the last frame but `back`. */
static uint64_t find_frame(const uint8_t *data, uint64_t size, unsigned back)
{
    uint64_t offsets[512] = {0};
    size_t count = 0;
    for (uint64_t at = HEADER;
         at + FRAME < size && memcmp(data + at, "MLF1", 4) == 0 && count < 512;
         at += FRAME + ml_get_u32(data + at + AT_BODY) + TRAILER)
        offsets[count++] = at;
    ML_ASSERT(count > back);
    return offsets[count - 1 - back];
}

/* Gives a frame's header and trailer good checksums again. */
static void sign_frame(uint8_t *at, uint32_t salt, uint32_t body)
{
    uint32_t crc = ml_crc32c(salt, at + AT_BODY, FRAME - AT_BODY);
    ml_put_u32(at + AT_CRC, crc);
    ml_put_u32(at + FRAME + body + 4, crc);
}

typedef struct last {
    char path[ML_HARM_PATH];
    uint8_t *data;
    uint64_t size, first;
    uint32_t salt;
} last;

/* A segment of a fresh image: 0 is the first. */
static last take_segment(ml_harm *harm, size_t n)
{
    ml_harm_fresh(harm);
    ml_listing segments = ml_harm_list(harm->image, ".seg");
    ML_ASSERT(n < segments.count);
    last it = {.first = 0};
    memcpy(it.path, segments.paths[n], sizeof it.path);
    sscanf(it.path, "log/%20" SCNu64, &it.first);
    it.data = ml_disk_sim_content(harm->image, it.path, &it.size);
    it.salt = salt_of(it.data, it.first);
    return it;
}

/* ---- frames ------------------------------------------------------------------------- */

static bool forge_field(ml_harm *harm, size_t segment, unsigned back, unsigned at, const char *name)
{
    last it = take_segment(harm, segment);
    uint64_t offset = find_frame(it.data, it.size, back);
    uint8_t *frame = it.data + offset;
    ml_put_u32(frame + at, ml_get_u32(frame + at) + 1);
    sign_frame(frame, it.salt, ml_get_u32(frame + AT_BODY));
    ml_harm_say(harm, "%s, offset %" PRIu64 ": a frame with good checksums and a wrong %s", it.path,
                offset, name);
    return ml_harm_take_as(harm, ML_DAMAGED_OPEN);
}

/* A header in the zeros behind the log, good but for its body, which the file cannot hold. */
static bool forge_length(ml_harm *harm, size_t segment, bool clean)
{
    last it = take_segment(harm, segment);
    const uint8_t *model = it.data + find_frame(it.data, it.size, 0);
    uint64_t end = (uint64_t)(model - it.data) + FRAME + ml_get_u32(model + AT_BODY) + TRAILER;
    ML_ASSERT(end + FRAME + TRAILER <= it.size);
    memcpy(it.data + end, model, FRAME);
    ml_put_u64(it.data + end + AT_SEQUENCE, ml_get_u64(model + AT_SEQUENCE) + 1);
    ml_put_u32(it.data + end + AT_BODY, 0x7ffffff8);
    ml_put_u32(it.data + end + AT_CRC,
               ml_crc32c(it.salt, it.data + end + AT_BODY, FRAME - AT_BODY));
    ml_harm_say(harm, "%s, offset %" PRIu64 ": a frame longer than the file", it.path, end);
    if (clean) return ml_harm_take_as(harm, ML_BY_VERIFY);
    int refused = harm->image->ops->unlink(harm->image, "WATERMARK");
    ML_ASSERT(refused == 0);
    return ml_harm_whole(harm); /* then it is a torn tail */
}

static bool forge_frames(ml_harm *harm, size_t segments)
{
    static const struct {
        unsigned at;
        const char *name;
    } fields[] = {{AT_SEQUENCE, "sequence"},
                  {AT_PREVIOUS, "crc of the frame before"},
                  {AT_FIRST, "first position"}};
    for (size_t n = 0; n < sizeof fields / sizeof *fields; n++)
        if (!forge_field(harm, segments - 1, 0, fields[n].at, fields[n].name)) return false;
    return forge_length(harm, segments - 1, true) && forge_length(harm, segments - 1, false);
}

/* ---- headers and footers ------------------------------------------------------------ */

static bool forge_footer(ml_harm *harm, unsigned at, const char *name)
{
    last it = take_segment(harm, 1);
    uint8_t *footer = it.data + it.size - FOOTER;
    ML_ASSERT(memcmp(footer, "MLE1", 4) == 0);
    ml_put_u32(footer + at, ml_get_u32(footer + at) + 1);
    ml_put_u32(footer + 4, ml_crc32c(it.salt, footer + 8, FOOTER - 8));
    ml_harm_say(harm, "%s: a footer with a good checksum and a wrong %s", it.path, name);
    return ml_harm_take_as(harm, ML_DAMAGED_OPEN);
}

static bool forge_format(ml_harm *harm)
{
    last it = take_segment(harm, 0);
    ml_put_u16(it.data + AT_READER, 2);
    ml_put_u32(it.data + AT_HEADER_CRC, ml_crc32c(0, it.data, AT_HEADER_CRC));
    uint64_t before = ml_image_hash(harm->image, "log/");
    ml_harm_say(harm, "%s: a format of tomorrow", it.path);
    if (!ml_harm_take_as(harm, ML_REFUSED)) return false;
    if (ml_image_hash(harm->image, "log/") == before) return true;
    snprintf(harm->why, sizeof harm->why, "opening it changes files");
    return ml_harm_fail(harm);
}

/* ---- other logs --------------------------------------------------------------------- */

/* Only the log id, through the salt, tells a twin's frames from our own. */
static bool forge_twin(ml_harm *harm)
{
    ml_model same = {0};
    ml_dice dice = {harm->options->seed};
    ml_disk *twin = NULL;
    ml_code code =
        ml_disk_sim_new(&(ml_disk_sim_options){.file_bytes = 1 << 18, .seed = 4711}, &twin, NULL);
    ML_ASSERT(code == ML_OK);
    ml_harm_add(harm, twin, &same, &dice, 190, 220);
    bool good = true;
    ml_listing ours = ml_harm_list(harm->base, ".seg"), theirs = ml_harm_list(twin, ".seg");
    ML_ASSERT(ours.count == theirs.count);
    for (size_t n = 0; good && n < ours.count; n++) {
        uint64_t size;
        last it = take_segment(harm, n);
        const uint8_t *other = ml_disk_sim_content(twin, theirs.paths[n], &size);
        ML_ASSERT(size == it.size);
        memcpy(it.data + HEADER, other + HEADER, (size_t)size - HEADER);
        ml_harm_say(harm, "%s: the frames of a twin log", it.path);
        good = ml_harm_take_as(harm, ML_DAMAGED_OPEN);
    }
    ml_model_free(&same);
    ml_disk_free(twin);
    return good;
}

/* The log goes on in two ways; then one gets the index of the other. */
static bool forge_history(ml_harm *harm)
{
    ml_disk *fork = NULL, *base = harm->base;
    ml_model common = {0}, model = harm->model;
    ml_dice dice = {1};
    ml_disk *one = ml_harm_make(harm, &common, harm->options->seed, 20, 40);
    ml_code code = ml_disk_sim_crash(one, &(ml_disk_sim_fate){0}, &fork, NULL);
    ML_ASSERT(code == ML_OK);
    size_t before = common.count;
    ml_harm_add(harm, one, &common, &dice, 100, 40);
    ml_model_cut(&common, before);
    dice = (ml_dice){2};
    ml_harm_add(harm, fork, &common, &dice, 100, 40);
    harm->base = fork;
    harm->model = common;
    ml_harm_fresh(harm);
    ml_listing mine = ml_harm_list(harm->image, ".run"), others = ml_harm_list(one, ".run");
    ML_ASSERT(others.count > 0);
    for (size_t n = 0; n < mine.count; n++)
        ML_IGNORE(harm->image->ops->unlink(harm->image, mine.paths[n]));
    for (size_t n = 0; n < others.count; n++)
        ml_harm_put(harm->image, others.paths[n], one, others.paths[n]);
    ml_harm_say(harm, "the index runs of another history of the same log");
    bool good = ml_harm_whole(harm);
    harm->model = model;
    harm->base = base;
    ml_model_free(&common);
    ml_disk_free(fork);
    ml_disk_free(one);
    return good;
}

bool ml_forge(ml_harm *harm)
{
    size_t segments = ml_harm_list(harm->base, ".seg").count;
    return forge_frames(harm, segments) && forge_footer(harm, AT_LAST, "last position") &&
           forge_footer(harm, AT_FOOTER_SEQUENCE, "sequence") &&
           forge_footer(harm, AT_FOOTER_PREVIOUS, "crc of the last frame") && forge_format(harm) &&
           forge_twin(harm) && forge_history(harm);
}
