/* fuzz.c -- seeds, input, repaired frames, disks, and reading a whole store. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "../../core/base/crc32c.h"

#define GOLDEN "spec/golden/v1/"

enum { DISK_FILES = 32, DISK_FILE_BYTES = 1 << 16, GOLDEN_MAX = 16 };

/* ---- seeds ------------------------------------------------------------------------------ */

int LLVMFuzzerInitialize(int *count, char ***words);

int LLVMFuzzerInitialize(int *count, char ***words)
{
    (void)count;
    (void)words;
    ml_fuzz_begin();
    if (getenv("FUZZ_SEEDS") != NULL) ml_fuzz_seeds();
    return 0;
}

void ml_fuzz_seed(const void *data, size_t size)
{
    static unsigned number;
    char path[512];
    snprintf(path, sizeof path, "%s/seed-%03u", getenv("FUZZ_SEEDS"), number++);
    FILE *file = fopen(path, "wb");
    ML_ASSERT(file != NULL);
    ML_ASSERT(fwrite(data, 1, size, file) == size);
    ML_ASSERT(fclose(file) == 0);
}

/* ---- input ------------------------------------------------------------------------------ */

uint8_t ml_fuzz_byte(ml_fuzz_input *input)
{
    if (input->left == 0) return 0;
    input->left--;
    return *input->at++;
}

uint16_t ml_fuzz_u16(ml_fuzz_input *input)
{
    uint8_t low = ml_fuzz_byte(input);
    return (uint16_t)(low | ml_fuzz_byte(input) << 8);
}

ml_bytes ml_fuzz_take(ml_fuzz_input *input, size_t size)
{
    ml_bytes bytes = {input->at, size < input->left ? size : input->left};
    input->at += bytes.size;
    input->left -= bytes.size;
    return bytes;
}

ml_bytes ml_fuzz_golden(const char *path)
{
    static struct {
        char path[64];
        uint8_t bytes[1 << 16];
        size_t size;
    } files[GOLDEN_MAX];
    size_t n = 0;
    while (n < GOLDEN_MAX - 1 && files[n].path[0] != 0 && strcmp(files[n].path, path) != 0) n++;
    if (files[n].path[0] == 0) {
        char whole[256];
        snprintf(whole, sizeof whole, GOLDEN "%s", path);
        FILE *file = fopen(whole, "rb");
        ML_ASSERT(file != NULL); /* run from the top of the tree */
        files[n].size = fread(files[n].bytes, 1, sizeof files[n].bytes, file);
        ML_ASSERT(files[n].size > 0 && fclose(file) == 0);
        snprintf(files[n].path, sizeof files[n].path, "%s", path);
    }
    return (ml_bytes){files[n].bytes, files[n].size};
}

/* ---- frames ----------------------------------------------------------------------------- */

/* Walks the records; gives how many there are, *used their bytes. */
static uint32_t repair_records(uint8_t *body, uint32_t size, uint64_t position, bool place,
                               uint32_t *used)
{
    uint32_t count = 0, at = 0;
    while (size - at >= ML_RECORD_HEADER + ML_RECORD_MIN) {
        uint32_t payload = ml_get_u32(body + at);
        if (payload < ML_RECORD_MIN || payload > size - at - ML_RECORD_HEADER) break;
        uint8_t *record = body + at + ML_RECORD_HEADER;
        if (place) {
            record[0] = 0x9b;
            record[1] = 0xcf;
            ml_put_be64(record + 2, position + count);
        }
        ml_put_u32(body + at + 4, ml_crc32c(0, record, payload));
        at += ML_RECORD_HEADER + payload;
        count++;
    }
    *used = at;
    return count;
}

static uint32_t body_crc(const uint8_t *body, uint32_t size, uint32_t used)
{
    uint32_t crc = 0;
    for (uint32_t at = 0; at < used; at += ML_RECORD_HEADER + ml_get_u32(body + at))
        crc = ml_crc32c(crc, body + at, ML_RECORD_HEADER);
    return ml_crc32c(crc, body + used, size - used);
}

uint64_t ml_fuzz_repair_frame(uint8_t *at, uint64_t left, ml_fuzz_chain *chain)
{
    if (left < ML_FRAME_HEADER + ML_FRAME_TRAILER || ml_get_u32(at) != ML_FRAME_MAGIC) return 0;
    uint64_t room = (left - ML_FRAME_HEADER - ML_FRAME_TRAILER) & ~(uint64_t)7;
    uint32_t body = ml_get_u32(at + 8) & ~UINT32_C(7), used = 0;
    if (body > room) body = (uint32_t)room;
    ml_frame frame = {.body = body,
                      .count = ml_get_u32(at + 12),
                      .sequence = chain->place ? chain->sequence : ml_get_u64(at + 16),
                      .first = chain->place ? chain->position : ml_get_u64(at + 24),
                      .durable = ml_get_u64(at + 32),
                      .previous = chain->place ? chain->previous : ml_get_u32(at + 44),
                      .time = (int64_t)ml_get_u64(at + 48)};
    if (frame.sequence == 0) frame.sequence = 1;
    frame.durable %= frame.sequence;
    uint32_t count = repair_records(at + ML_FRAME_HEADER, body, frame.first, chain->place, &used);
    if (chain->place) frame.count = count;
    frame.body_crc = body_crc(at + ML_FRAME_HEADER, body, used);
    ml_frame_encode(&frame, chain->salt, at);
    chain->sequence++;
    chain->position += count;
    chain->previous = frame.crc;
    return ml_frame_size(&frame);
}

/* ---- disks ------------------------------------------------------------------------------ */

static const ml_disk_sim_options disk_options = {.files = DISK_FILES,
                                                 .file_bytes = DISK_FILE_BYTES};

ml_disk *ml_fuzz_disk(void)
{
    ml_disk *disk = NULL;
    ML_ASSERT(ml_disk_sim_new(&disk_options, &disk, NULL) == ML_OK);
    ML_ASSERT(disk->ops->make_dir(disk, "log") == 0);
    ML_ASSERT(disk->ops->make_dir(disk, "index") == 0);
    return disk;
}

void ml_fuzz_plant(ml_disk *disk, const char *path, ml_bytes content, uint64_t size)
{
    int file = disk->ops->open(disk, path, ML_DISK_CREATE);
    ML_ASSERT(file >= 0);
    if (content.size > 0)
        ML_ASSERT(ml_disk_write(disk, file, path, content.data, content.size, 0, NULL) == ML_OK);
    if (size > content.size) ML_ASSERT(disk->ops->allocate(disk, file, size) == 0);
    ML_ASSERT(disk->ops->close(disk, file) == 0);
    ml_disk_sim_settle(disk);
}

ml_disk *ml_fuzz_crash(const ml_disk *disk, bool power)
{
    ml_disk *image = NULL;
    ml_disk_sim_count pending = ml_disk_sim_pending(disk);
    uint64_t *kept = calloc(pending.units / 64 + 1, sizeof *kept);
    ML_ASSERT(kept != NULL);
    memset(kept, 0xff, (pending.units / 64 + 1) * sizeof *kept);
    ml_disk_sim_fate fate = {.kept = power ? NULL : kept, .dir_ops = power ? 0 : pending.dir_ops};
    ML_ASSERT(ml_disk_sim_crash(disk, &fate, &image, NULL) == ML_OK);
    free(kept);
    return image;
}

/* ---- reading everything ----------------------------------------------------------------- */

typedef struct reading {
    ml_store *store;
    uint64_t digest;
    uint64_t events, errors;
} reading;

static void mix(uint64_t *digest, const void *data, size_t size)
{
    *digest = *digest * UINT64_C(0x9e3779b97f4a7c15) + ml_crc32c((uint32_t)*digest, data, size);
}

static ml_cursor *begin_read(ml_store *store, const ml_selection *selection)
{
    ml_cursor *cursor = NULL;
    ML_ASSERT(ml_read(store, selection, &cursor) == ML_OK);
    return cursor;
}

static void read_forward(reading *r)
{
    ml_cursor *cursor = begin_read(r->store, &(ml_selection){.system = true});
    ml_event event;
    uint64_t last = 0;
    ml_code code;
    while ((code = ml_next(cursor, &event)) != ML_END) {
        mix(&r->digest, &code, sizeof code);
        ML_ASSERT(code == ML_OK || code == ML_CORRUPT);
        if (code) {
            r->errors++;
            continue;
        }
        ML_ASSERT(event.position > last);
        last = event.position;
        mix(&r->digest, event.wire.data, event.wire.size);
        r->events++;
    }
    ml_cursor_free(cursor);
}

static void read_backward(const reading *r)
{
    ml_cursor *cursor = begin_read(r->store, &(ml_selection){.system = true, .backward = true});
    ml_event event;
    uint64_t events = 0, errors = 0, last = UINT64_MAX;
    ml_code code;
    while ((code = ml_next(cursor, &event)) != ML_END) {
        if (code) {
            errors++;
            continue;
        }
        ML_ASSERT(event.position < last);
        last = event.position;
        events++;
    }
    ML_ASSERT(events == r->events);
    ML_ASSERT(errors == r->errors);
    ml_cursor_free(cursor);
}

/* Of a whole stream every event can be found; revisions are as forged as the input is. */
static bool read_stream(void *context, const ml_stream_info *info)
{
    reading *r = context;
    uint8_t name[1024];
    if (info->stream.size > sizeof name) return true;
    memcpy(name, info->stream.data, info->stream.size);
    ml_bytes stream = {name, info->stream.size};
    mix(&r->digest, stream.data, stream.size);
    mix(&r->digest, &info->first, sizeof info->first);
    mix(&r->digest, &info->last, sizeof info->last);
    ml_head head;
    ml_code code = ml_get_head(r->store, stream, &head);
    mix(&r->digest, &code, sizeof code);
    ml_cursor *cursor = NULL;
    if (ml_read(r->store, &(ml_selection){.stream = stream}, &cursor) == ML_OK) {
        ml_event event;
        while ((code = ml_next(cursor, &event)) != ML_END) {
            if (code) continue;
            ML_ASSERT(ml_bytes_equal(event.stream, stream));
            mix(&r->digest, &event.position, sizeof event.position);
        }
    }
    ml_cursor_free(cursor);
    return true;
}

uint64_t ml_fuzz_read_all(ml_store *store)
{
    reading r = {.store = store};
    ml_stats stats;
    ml_cursor *cursor = NULL;
    ml_code refused = ml_read(store, &(ml_selection){.system = true}, &cursor);
    ml_cursor_free(cursor);
    if (refused) {
        /* A reader that cannot follow what WATERMARK says was synced is told so. */
        ML_ASSERT(refused == ML_CORRUPT || refused == ML_UNSUPPORTED);
        ML_ASSERT(strlen(ml_why(store)) > strlen("CORRUPT: ") + 10);
        mix(&r.digest, &refused, sizeof refused);
        return r.digest;
    }
    read_forward(&r);
    read_backward(&r);
    /* A stream whose first event is damaged cannot be listed; that is said by an error. */
    ml_code code = ml_streams(store, (ml_bytes){0}, (ml_bytes){0}, 0, read_stream, &r);
    mix(&r.digest, &code, sizeof code);
    ML_ASSERT(ml_get_stats(store, &stats) == ML_OK);
    ML_ASSERT(stats.position >= r.events);
    mix(&r.digest, &stats.position, sizeof stats.position);
    return r.digest;
}
