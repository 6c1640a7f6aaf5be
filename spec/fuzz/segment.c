/* segment.c -- a log directory of forged segments, opened read-only and for writing.
 *
 *   input:  what is there (bits below)   if MARK: 128 bytes of WATERMARK's slots
 *           then for each segment: how (bits below), u16 size, 72 bytes of header, content
 *
 * What must hold: nothing is written by a read-only opening; what a writer recovers is shown
 * again after a kill or a power loss that comes next; appending goes on from there.
 */
#include "../../core/log/segment.h"

#include <stdlib.h>

#include "../../core/base/crc32c.h"
#include "../../core/log/watermark.h"
#include "fuzz.h"

enum {
    MARK = 1,        /* there is a WATERMARK */
    REPAIR_MARK = 2, /* its checksums are put right, and the log it names */

    HEADER = 1,   /* magic, versions and crc are put right */
    NUMBER = 2,   /* and its place in the chain of segments */
    FRAMES = 4,   /* the checksums of frames are put right */
    PLACE = 8,    /* and their place in the chain of frames */
    FOOTER = 16,  /* a footer behind the last good frame, which ends the file */
    PAD = 32,     /* zeros up to the usual size */
    FAR = 64,     /* its positions are farther than any segment can hold */

    SEGMENTS_MAX = 4,
    GAP_MAX = 4096,
    SEGMENT_BYTES = 16384,
    HEADER_BYTES = 72,
    SLOT = 64,
    SLOT_DISTANCE = 512
};

typedef struct forgery {
    ml_disk *disk;
    uint8_t log[ML_LOG_ID_SIZE]; /* of the first segment */
    uint64_t number;
    ml_fuzz_chain chain;
} forgery;

void ml_fuzz_begin(void) {}

/* Three segments of the golden store, `size` bytes of frames from each. */
static void seed(uint8_t what, uint8_t how, uint16_t size)
{
    static const char *const names[] = {"store/log/00000000000000000001.seg",
                                        "store/log/00000000000000000071.seg",
                                        "store/log/00000000000000000115.seg"};
    uint8_t bytes[1 + 2 * SLOT + 3 * (3 + HEADER_BYTES + 4096)], *to = bytes;
    *to++ = what;
    if (what & MARK) {
        const uint8_t *mark = ml_fuzz_golden("store/WATERMARK").data;
        memcpy(to, mark, SLOT);
        memcpy(to + SLOT, mark + SLOT_DISTANCE, SLOT);
        to += 2 * SLOT;
    }
    for (unsigned n = 0; n < 3; n++) {
        const uint8_t *segment = ml_fuzz_golden(names[n]).data;
        *to++ = (uint8_t)(n < 2 ? how : (how & ~FOOTER) | PAD);
        ml_put_u16(to, size);
        memcpy(to + 2, segment, HEADER_BYTES);
        memcpy(to + 2 + HEADER_BYTES, segment + ML_SEGMENT_HEADER, size);
        to += 2 + HEADER_BYTES + size;
    }
    ml_fuzz_seed(bytes, (size_t)(to - bytes));
}

void ml_fuzz_seeds(void)
{
    static const uint8_t hows[] = {HEADER | NUMBER | FRAMES | PLACE | FOOTER,
                                   HEADER | NUMBER | FRAMES | PLACE | PAD,
                                   HEADER | NUMBER | FRAMES | PAD, HEADER | FRAMES, HEADER,
                                   HEADER | FRAMES | FAR};
    for (uint8_t what = 0; what < 4; what++)
        for (size_t n = 0; n < sizeof hows; n++) seed(what, hows[n], n % 2 ? 1024 : 400);
}

/* ---- forging ---------------------------------------------------------------------------- */

static void plant_mark(forgery *f, ml_fuzz_input *input, uint8_t what)
{
    uint8_t bytes[SLOT_DISTANCE + SLOT] = {0};
    for (unsigned n = 0; n < 2; n++) {
        uint8_t *slot = bytes + n * SLOT_DISTANCE;
        ml_bytes given = ml_fuzz_take(input, SLOT);
        if (given.size > 0) memcpy(slot, given.data, given.size);
        if (!(what & REPAIR_MARK)) continue;
        memcpy(slot, "MLW1", 4);
        ml_put_u32(slot + 60, ml_crc32c(0, f->log, sizeof f->log));
        ml_put_u32(slot + 4, ml_crc32c(0, slot + 8, SLOT - 8));
    }
    ml_fuzz_plant(f->disk, ML_WATERMARK_PATH, (ml_bytes){bytes, sizeof bytes}, 0);
}

/* The header page; its `first` gives the file its name. */
static void forge_header(forgery *f, uint8_t *page, uint8_t how, ml_segment *segment)
{
    if (how & NUMBER) {
        memcpy(page + 16, f->log, sizeof f->log);
        ml_put_u64(page + 32, f->number);
        ml_put_u64(page + 40, f->chain.position);
        ml_put_u64(page + 48, f->chain.sequence);
        ml_put_u32(page + 56, f->chain.previous);
    } else {
        /* A gap costs time for each position in it; without FAR only small ones are tried. */
        uint64_t first = ml_get_u64(page + 40), far = (uint64_t)(how & FAR) << 24;
        ml_put_u64(page + 40, far ? first | far : first % GAP_MAX);
    }
    if (how & HEADER) {
        memcpy(page, "MOONLOG1\1\0\1", 12);
        ml_put_u32(page + ML_SEGMENT_HEADER - 4, ml_crc32c(0, page, ML_SEGMENT_HEADER - 4));
    }
    memcpy(segment->log, page + 16, sizeof segment->log);
    segment->first = ml_get_u64(page + 40);
    ml_segment_name(segment);
    f->chain.salt = segment->salt;
}

static uint64_t forge_frames(forgery *f, uint8_t *bytes, uint64_t size, uint8_t how)
{
    uint64_t end = ML_SEGMENT_HEADER;
    f->chain.place = how & PLACE;
    for (uint64_t at = end; how & FRAMES && at < size;) {
        uint64_t frame = ml_fuzz_repair_frame(bytes + at, size - at, &f->chain);
        at += frame > 0 ? frame : 8;
        if (frame > 0 && end + frame == at) end = at;
    }
    return end;
}

static void plant_segment(forgery *f, ml_fuzz_input *input)
{
    static uint8_t bytes[ML_SEGMENT_HEADER + SEGMENT_BYTES + ML_SEGMENT_FOOTER];
    memset(bytes, 0, sizeof bytes);
    uint8_t how = ml_fuzz_byte(input);
    uint16_t room = ml_fuzz_u16(input) % SEGMENT_BYTES;
    ml_bytes header = ml_fuzz_take(input, HEADER_BYTES);
    ml_bytes content = ml_fuzz_take(input, room);
    memcpy(bytes, header.data, header.size);
    if (content.size > 0) memcpy(bytes + ML_SEGMENT_HEADER, content.data, content.size);
    ml_segment segment = {0};
    if (f->number == 0) memcpy(f->log, bytes + 16, sizeof f->log);
    forge_header(f, bytes, how, &segment);
    uint64_t size = ML_SEGMENT_HEADER + content.size;
    uint64_t end = forge_frames(f, bytes, size, how);
    if (how & FOOTER) {
        ml_footer footer = {.count = f->chain.position - segment.first,
                            .last = f->chain.position - 1,
                            .sequence = f->chain.sequence - 1,
                            .end = end,
                            .previous = f->chain.previous};
        ml_segment_encode_footer(&footer, segment.salt, bytes + end);
        size = end + ML_SEGMENT_FOOTER;
    }
    ml_fuzz_plant(f->disk, segment.path, (ml_bytes){bytes, size}, how & PAD ? SEGMENT_BYTES : 0);
    f->number++;
}

static ml_disk *forge(ml_fuzz_input *input, bool *marked)
{
    forgery f = {.disk = ml_fuzz_disk(), .chain = {.sequence = 1, .position = 1}};
    uint8_t what = ml_fuzz_byte(input);
    ml_fuzz_input mark = *input;
    *marked = what & MARK;
    /* Read below, when the id of the log is known. */
    if (*marked) ML_IGNORE(ml_fuzz_take(input, 2 * SLOT).size == 0);
    while (input->left > 0 && f.number < SEGMENTS_MAX) plant_segment(&f, input);
    if (*marked) plant_mark(&f, &mark, what);
    return f.disk;
}

/* ---- opening ---------------------------------------------------------------------------- */

static void forbid(void *context, ml_disk *disk, enum ml_disk_op op)
{
    (void)context;
    (void)disk;
    ML_ASSERT(op != op); /* a read-only opening changed the disk */
}

/* A refusal says why. */
static ml_code open_on(ml_disk *disk, ml_store **store, const ml_options *options)
{
    ml_code code = ml_store_open(store, disk, options);
    if (code) {
        const char *why = ml_why(*store), *name = ml_code_name(code);
        ML_ASSERT(strncmp(why, name, strlen(name)) == 0 && strlen(why) > strlen(name) + 10);
    }
    return code;
}

/* Opens, reads all, closes; gives the digest, and in *code what opening said. */
static uint64_t read_only(ml_disk *disk, ml_code *code)
{
    ml_options options = {.read_only = true, .no_threads = true, .segment_bytes = SEGMENT_BYTES};
    ml_store *store = NULL;
    ml_disk_sim_on_op(disk, forbid, NULL);
    *code = open_on(disk, &store, &options);
    uint64_t digest = *code ? 0 : ml_fuzz_read_all(store);
    ML_ASSERT(ml_store_close(store) == ML_OK);
    return digest;
}

static void append(ml_store *store, bool damaged)
{
    ml_head before, after;
    ML_ASSERT(ml_get_head(store, (ml_bytes){0}, &before) == ML_OK);
    ml_draft draft = {.type = ML_STR("Fuzzed"), .data = ML_STR("\x01")};
    ml_write write = {
        .stream = ML_STR("fuzz-new"), .expected = ML_ANY, .events = &draft, .count = 1};
    ml_receipt receipt;
    ml_code code = ml_append(store, &(ml_proposal){.writes = &write, .count = 1}, &receipt);
    ML_ASSERT(damaged ? code == ML_CORRUPT : code == ML_OK);
    ML_ASSERT(ml_get_head(store, (ml_bytes){0}, &after) == ML_OK);
    ML_ASSERT(after.position == before.position + !damaged);
    ML_ASSERT(damaged || receipt.first == after.position);
}

/* What was recovered is there again after a crash. A writer that met damage leaves all as it
 * is; then an old WATERMARK may end a reader's view before the damage. */
static void crash(const ml_disk *disk, uint64_t digest)
{
    for (int power = 0; power < 2; power++) {
        ml_code code;
        uint64_t later = read_only(ml_fuzz_crash(disk, power), &code);
        ML_ASSERT(code == ML_OK && later == digest);
    }
}

static void for_writing(ml_disk *disk, bool marked, ml_code expected, uint64_t seen)
{
    ml_options options = {.no_threads = true, .segment_bytes = SEGMENT_BYTES};
    ml_store *store = NULL;
    ml_code code = open_on(disk, &store, &options);
    /* Without a WATERMARK a reader knows as much as a writer. */
    ML_ASSERT(marked || code == expected);
    if (code == ML_OK) {
        uint64_t digest = ml_fuzz_read_all(store);
        ML_ASSERT(marked || digest == seen);
        ml_stats stats;
        ML_ASSERT(ml_get_stats(store, &stats) == ML_OK);
        if (!marked || !stats.damaged) crash(disk, digest);
        append(store, stats.damaged);
    }
    ML_ASSERT(ml_store_close(store) == ML_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_fuzz_input input = {data, size};
    bool marked;
    ml_disk *disk = forge(&input, &marked);
    ml_disk *copy = ml_fuzz_crash(disk, false);
    ml_code code;
    uint64_t seen = read_only(disk, &code);
    for_writing(copy, marked, code, seen);
    return 0;
}
