/* flip.c -- damage in files at rest: bits, lengths, segments in the wrong place.
 *
 * A store is written and closed. Then, one damage at a time, it is verified, opened and read:
 *
 *     segment             every damage is told: opening refuses, or opens damaged, or reading
 *                         says CORRUPT, or, of bytes that no reader needs, verify says so
 *     WATERMARK, index    nothing is lost, and reads by index equal a scan
 *
 * and never is an event given that is not the one written, and never anything cut off.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harm.h"
#include "workload.h"

enum { SEGMENT = 65536, SEGMENTS = 5 };

/* ---- one segment -------------------------------------------------------------------- */

static const char first[] = "log/00000000000000000001.seg";

static bool flip_bits(ml_harm *harm)
{
    for (uint64_t bit = harm->options->every - 1; bit < SEGMENT * 8; bit += harm->options->every) {
        uint64_t size;
        ml_harm_fresh(harm);
        uint8_t *content = ml_disk_sim_content(harm->image, first, &size);
        ML_ASSERT(size == SEGMENT);
        content[bit / 8] ^= (uint8_t)(1u << bit % 8);
        ml_harm_say(harm, "bit %" PRIu64 " of byte %" PRIu64 " of %s flipped", bit % 8, bit / 8,
                    first);
        if (!ml_harm_take(harm, false)) return false;
    }
    return true;
}

static bool cut_lengths(ml_harm *harm)
{
    uint64_t size;
    const uint8_t *content = ml_disk_sim_content(harm->base, first, &size);
    uint64_t end = size;
    while (end > 0 && content[end - 1] == 0)
        end--;
    for (uint64_t length = harm->options->every - 1; length < SEGMENT + 4096;
         length += harm->options->every) {
        ml_harm_fresh(harm);
        bool cut = ml_disk_sim_cut(harm->image, first, length);
        ML_ASSERT(cut);
        ml_harm_say(harm, "%s cut to %" PRIu64 " bytes", first, length);
        if (!ml_harm_take(harm, length >= end)) return false;
    }
    return true;
}

static bool try_one_segment(ml_harm *harm)
{
    harm->store = (ml_options){
        .segment_bytes = SEGMENT, .memory_events = 4096, .window_events = 16, .no_threads = true};
    harm->base = ml_harm_make(harm, &harm->model, harm->options->seed, 120, 220);
    harm->image = ml_harm_make(harm, &harm->other_model, harm->options->seed, 1, 1);
    bool good = flip_bits(harm);
    uint64_t bits = harm->all, refused = harm->found[ML_REFUSED],
             damaged = harm->found[ML_DAMAGED_OPEN], reading = harm->found[ML_BY_READING];
    uint64_t verified = harm->found[ML_BY_VERIFY];
    good = good && cut_lengths(harm);
    if (good)
        printf("flip: %s bits of a 64 KiB segment flipped, one by one: %s detected (%s opening "
               "refuses, %s opens "
               "damaged, %s by reading, %s behind the last frame by verify), %s lengths: 0 "
               "undetected; 0 wrong "
               "events, 0 cut off\n",
               ml_crash_number(bits), ml_crash_number(refused + damaged + reading + verified),
               ml_crash_number(refused), ml_crash_number(damaged), ml_crash_number(reading),
               ml_crash_number(verified), ml_crash_number(harm->all - bits));
    ml_harm_free(harm);
    return good;
}

/* ---- several segments --------------------------------------------------------------- */

static bool arrange_pair(ml_harm *harm, const char *a, const char *b)
{
    ml_harm_fresh(harm);
    ml_harm_put(harm->image, a, harm->base, b);
    ml_harm_put(harm->image, b, harm->base, a);
    ml_harm_say(harm, "%s and %s swapped", a, b);
    if (!ml_harm_take(harm, false)) return false;
    ml_harm_fresh(harm);
    ml_harm_put(harm->image, a, harm->base, b);
    ml_harm_say(harm, "%s is a copy of %s", a, b);
    if (!ml_harm_take(harm, false)) return false;
    ml_harm_fresh(harm);
    ml_harm_put(harm->image, b, harm->base, a);
    ml_harm_say(harm, "%s is a copy of %s", b, a);
    return ml_harm_take(harm, false);
}

static bool arrange_one(ml_harm *harm, const ml_listing *segments, const ml_listing *others,
                        size_t n)
{
    const char *path = segments->paths[n];
    ml_harm_fresh(harm);
    int refused = harm->image->ops->unlink(harm->image, path);
    ML_ASSERT(refused == 0);
    ml_disk_sim_settle(harm->image);
    ml_harm_say(harm, "%s is missing", path);
    if (!ml_harm_take(harm, false)) return false;
    ml_harm_fresh(harm);
    refused = harm->image->ops->unlink(harm->image, path);
    if (refused == 0) refused = harm->image->ops->unlink(harm->image, "WATERMARK");
    ML_ASSERT(refused == 0);
    ml_disk_sim_settle(harm->image);
    ml_harm_say(harm, "%s and WATERMARK are missing", path);
    if (!ml_harm_take(harm, false)) return false;
    ml_harm_fresh(harm);
    ml_harm_put(harm->image, "log/00000000000000009999.seg", harm->base, path);
    ml_harm_say(harm, "%s is there a second time, behind the last", path);
    if (!ml_harm_take(harm, false)) return false;
    if (n >= others->count) return true;
    ml_harm_fresh(harm);
    ml_harm_put(harm->image, path, harm->other, others->paths[n]);
    ml_harm_say(harm, "%s is of another log", path);
    return ml_harm_take_as(harm, ML_REFUSED);
}

static bool arrange(ml_harm *harm)
{
    ml_listing segments = ml_harm_list(harm->base, ".seg"),
               others = ml_harm_list(harm->other, ".seg");
    ML_ASSERT(segments.count >= SEGMENTS);
    for (size_t a = 0; a < segments.count; a++) {
        if (!arrange_one(harm, &segments, &others, a)) return false;
        for (size_t b = a + 1; b < segments.count; b++)
            if (!arrange_pair(harm, segments.paths[a], segments.paths[b])) return false;
    }
    return true;
}

/* ---- what is derived, or only a lower bound ----------------------------------------- */

static bool flip_bytes(ml_harm *harm, const char *path, ml_dice *dice, uint64_t *bytes)
{
    uint64_t size;
    ml_disk_sim_content(harm->base, path, &size);
    for (uint64_t at = ml_dice_below(dice, (uint32_t)harm->options->every); at < size;
         at += harm->options->every) {
        ml_harm_fresh(harm);
        ml_disk_sim_content(harm->image, path, &size)[at] ^=
            (uint8_t)(1u << ml_dice_below(dice, 8));
        ml_harm_say(harm, "byte %" PRIu64 " of %s", at, path);
        if (!ml_harm_whole(harm)) return false;
        ++*bytes;
    }
    for (unsigned n = 0; n < 16; n++) {
        ml_harm_fresh(harm);
        uint64_t length = ml_dice_below(dice, (uint32_t)size);
        bool cut = ml_disk_sim_cut(harm->image, path, length);
        ML_ASSERT(cut);
        ml_harm_say(harm, "%s cut to %" PRIu64 " bytes", path, length);
        if (!ml_harm_whole(harm)) return false;
    }
    return true;
}

/* The same log as a kill leaves it: then it matters what the WATERMARK says is synced. */
static bool flip_mark(ml_harm *harm, ml_dice *dice, uint64_t *bytes)
{
    ml_disk *closed = harm->base, *open = NULL;
    ml_code code = ml_disk_sim_crash(closed, &(ml_disk_sim_fate){0}, &open, NULL);
    ML_ASSERT(code == ML_OK);
    ml_store *store = ml_play_open(open, &harm->store, &code);
    bool good = code == ML_OK && ml_play_append_one(&harm->model, store, false);
    ML_ASSERT(good);
    ml_disk_sim_settle(open);
    code = ml_disk_sim_crash(open, &(ml_disk_sim_fate){0}, &harm->base, NULL);
    ML_ASSERT(code == ML_OK);
    ML_IGNORE(ml_close(store)); /* only what it had written counts */
    good = flip_bytes(harm, "WATERMARK", dice, bytes);
    ml_model_cut(&harm->model, harm->model.count - 1);
    ml_disk_free(harm->base);
    ml_disk_free(open);
    harm->base = closed;
    return good;
}

static bool flip_derived(ml_harm *harm, uint64_t *bytes)
{
    static const char *const suffixes[] = {"WATERMARK", ".run", ".off"};
    ml_dice dice = {harm->options->seed};
    for (size_t n = 0; n < sizeof suffixes / sizeof *suffixes; n++) {
        ml_listing files = ml_harm_list(harm->base, suffixes[n]);
        ML_ASSERT(files.count > 0);
        for (size_t i = 0; i < files.count; i++)
            if (!flip_bytes(harm, files.paths[i], &dice, bytes)) return false;
    }
    return flip_mark(harm, &dice, bytes);
}

static bool try_segments(ml_harm *harm)
{
    harm->store = (ml_options){
        .segment_bytes = 16384, .memory_events = 32, .window_events = 16, .no_threads = true};
    harm->base = ml_harm_make(harm, &harm->model, harm->options->seed, 190, 220);
    harm->other = ml_harm_make(harm, &harm->other_model, harm->options->seed + 1, 190, 220);
    ml_model_free(&harm->other_model);
    harm->image = ml_harm_make(harm, &harm->other_model, harm->options->seed, 1, 1);
    harm->all = 0;
    uint64_t bytes = 0;
    bool good = arrange(harm) && ml_forge(harm) && flip_derived(harm, &bytes);
    if (good)
        printf("flip: %s arrangements of the segments of two logs, and forgeries with good "
               "checksums: all "
               "detected; %s bytes of WATERMARK, index runs and tables of offsets: 0 wrong "
               "answers; seed %" PRIu64 "\n",
               ml_crash_number(harm->all), ml_crash_number(bytes), harm->options->seed);
    ml_harm_free(harm);
    return good;
}

bool ml_flip(const ml_crash_options *options)
{
    ml_harm *harm = calloc(1, sizeof *harm);
    ML_ASSERT(harm != NULL);
    harm->options = options;
    const char *part = options->part;
    bool good = (part != NULL && strcmp(part, "bits") != 0) || try_one_segment(harm);
    good = good && ((part != NULL && strcmp(part, "files") != 0) || try_segments(harm));
    free(harm);
    return good;
}
