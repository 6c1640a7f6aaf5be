/* writer.c -- frames onto the disk: checksum, one pwrite, one fdatasync, the WATERMARK.
 *
 * Cost of a synced group of one record: header and record checksummed (50 ns), pwrite,
 * fdatasync (90 µs on the machine that moonlog was measured on), a pwrite of 64 bytes.
 *
 * When a frame does not fit any more, the writer rolls: the prepared file gets its header,
 * is synced, renamed and made known to its directory, and only then written to. What it
 * leaves may still be un-synced; such segments wait in `behind`, and a group that asks for
 * a sync has them synced first: a frame is never durable before the frames before it.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "inside.h"

#define NEW_PATH "log/new"
#define NEXT_PATH "log/next"

static ml_code fence(ml_log *log, ml_error *why)
{
    atomic_store(&log->fenced, true);
    if (why == NULL) return ML_STORE_FAILED;
    ml_error cause = *why;
    return ml_error_set(why, ML_STORE_FAILED,
                        "%.600s; whether the pending append is stored is unknown, and nothing more "
                        "is written: close and reopen the store, then look",
                        cause.sentence);
}

static ml_code refuse_fenced(ml_error *why)
{
    return ml_error_set(why, ML_STORE_FAILED,
                        "an earlier write or sync failed, so nothing more is written: close and "
                        "reopen the store");
}

uint64_t ml_writer_segment_size(const ml_log *log, uint64_t number)
{
    uint64_t size = number < 20 ? (uint64_t)FIRST_SEGMENT_BYTES << number : log->options.segment_bytes;
    return size < log->options.segment_bytes ? size : log->options.segment_bytes;
}

/* ---- syncing ------------------------------------------------------------------------------ */

/* Forgets the oldest segment left behind, which is synced by now. */
static ml_code drop_behind(ml_log *log, ml_error *why)
{
    ml_behind oldest = log->behind[0];
    log->mark.durable = oldest.sequence;
    log->mark.durable_position = oldest.position;
    log->behind_count--;
    memmove(log->behind, log->behind + 1, log->behind_count * sizeof *log->behind);
    return ml_disk_close(log->disk, oldest.file, oldest.segment->path, why);
}

/* With `all`, syncs every segment left behind; otherwise only forgets those that the
 * background has synced, and makes room for one more. */
static ml_code settle_behind(ml_log *log, bool all, ml_error *why)
{
    while (log->behind_count > 0) {
        ml_behind *oldest = &log->behind[0];
        bool synced = atomic_load(&oldest->segment->synced);
        if (!synced && !all && log->behind_count < BEHIND_MAX) return ML_OK;
        if (!synced) {
            ml_code code = ml_disk_sync(log->disk, oldest->file, oldest->segment->path, why);
            if (code) return code;
        }
        ml_code code = drop_behind(log, why);
        if (code) return code;
    }
    return ML_OK;
}

/* Syncs all that is written. Fences on any failure. */
static ml_code sync_all(ml_log *log, ml_error *why)
{
    ml_code code = settle_behind(log, true, why);
    if (!code && log->dirty) {
        code = ml_disk_sync(log->disk, log->file, log->active->path, why);
        if (!code) log->dirty = false;
    }
    if (code) return fence(log, why);
    log->mark.durable = log->sequence - 1;
    log->mark.durable_position = log->next - 1;
    /* The background may have been told of a failed write-back that this descriptor, or an
     * earlier one of the same file, was not. */
    return atomic_load(&log->fenced) ? refuse_fenced(why) : ML_OK;
}

void ml_writer_mark(ml_log *log)
{
    log->mark.settled = log->sequence - 1;
    log->mark.settled_position = log->next - 1;
    log->mark.end = log->offset;
    /* A watermark that could not be written is an older one: still true. */
    ML_IGNORE(ml_watermark_write(log->disk, log->mark_file, &log->mark, NULL));
    log->marked = true;
}

/* ---- rolling -------------------------------------------------------------------------------- */

static ml_code fill_file(ml_log *log, int file, uint64_t size, bool zero, ml_error *why)
{
    int refused = log->disk->ops->allocate(log->disk, file, size);
    if (refused < 0) return ml_error_disk(why, refused, "allocate", NEW_PATH);
    if (!zero) return ML_OK;
    uint8_t *zeros = calloc(1, size);
    if (zeros == NULL) return ml_error_memory(why, "the first segment");
    ml_code code = ml_disk_write(log->disk, file, NEW_PATH, zeros, size, 0, why);
    free(zeros);
    return code;
}

ml_code ml_writer_create(ml_log *log, ml_segment *segment, int prepared, uint64_t size, int *file,
                         bool *named, ml_error *why)
{
    const char *aside = prepared >= 0 ? NEXT_PATH : NEW_PATH;
    uint8_t page[ML_SEGMENT_HEADER];
    ml_segment_encode(segment, page);
    ml_code code = ML_OK;
    *file = prepared;
    if (prepared < 0) {
        code = ml_disk_open(log->disk, NEW_PATH, ML_DISK_CREATE, file, why);
        /* Only the first segment is filled inline, and it is small. */
        if (!code) code = fill_file(log, *file, size, segment->number == 0, why);
    }
    if (!code) code = ml_disk_write(log->disk, *file, aside, page, sizeof page, 0, why);
    if (!code) code = ml_disk_sync(log->disk, *file, aside, why);
    /* Synced before it gets its name: a segment that can be seen has a good header. */
    if (!code) {
        code = ml_disk_adopt(log->disk, aside, segment->path, "log", why);
        *named = code != ML_NO_SPACE; /* any other failure leaves it open whether it has */
    }
    if (code && *file >= 0) {
        log->disk->ops->close(log->disk, *file);
        log->disk->ops->unlink(log->disk, aside);
        *file = -1;
    }
    return code;
}

static ml_segment *new_segment(ml_log *log, const ml_group *group)
{
    ml_segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL) return NULL;
    memcpy(segment->log, log->id, sizeof segment->log);
    segment->number = log->active->number + 1;
    segment->first = group->first;
    segment->sequence = log->sequence;
    segment->previous = log->previous;
    segment->created = log->disk->ops->now(log->disk);
    segment->end = ML_SEGMENT_HEADER;
    ml_segment_name(segment);
    return segment;
}

static ml_code leave_active(ml_log *log, ml_error *why)
{
    if (!log->dirty) return ml_disk_close(log->disk, log->file, log->active->path, why);
    log->behind[log->behind_count++] = (ml_behind){.file = log->file,
                                                   .segment = log->active,
                                                   .sequence = log->sequence - 1,
                                                   .position = log->next - 1};
    return settle_behind(log, false, why);
}

/* The prepared file, unless it has no room for `least` bytes: then it is let go, because a
 * file that grows as it is written to can fill the disk half-way. -1 if there is none. */
static int take_prepared(ml_log *log, uint64_t least, uint64_t *size)
{
    int file = ml_seal_take(log, size);
    if (file < 0 || *size >= least) return file;
    log->disk->ops->close(log->disk, file);
    log->disk->ops->unlink(log->disk, NEXT_PATH);
    return -1;
}

/* Makes a new segment the active one, with room for a frame of `need` bytes. A failure before
 * the segment has its name leaves everything as it was; any other fences. */
static ml_code roll(ml_log *log, ml_group *group, uint64_t need, ml_error *why)
{
    ml_segment *segment = new_segment(log, group);
    if (segment == NULL) return ml_error_memory(why, "a segment");
    uint64_t size = 0, least = ML_SEGMENT_HEADER + need + ML_SEGMENT_FOOTER;
    int file = take_prepared(log, least, &size);
    if (file < 0) size = ml_writer_segment_size(log, segment->number);
    if (size < least) size = least;
    bool named = false;
    ml_code code = ml_writer_create(log, segment, file, size, &file, &named, why);
    /* On a nearly full disk one just large enough may still fit. */
    if (code == ML_NO_SPACE && size > least)
        code = ml_writer_create(log, segment, -1, size = least, &file, &named, why);
    if (code) {
        free(segment);
        return named ? fence(log, why) : code; /* until it has its name, nothing has happened */
    }
    code = leave_active(log, why);
    log->active = group->opened = segment;
    log->file = file;
    log->size = size;
    log->offset = ML_SEGMENT_HEADER;
    log->dirty = false;
    return code ? fence(log, why) : ML_OK;
}

/* Makes the active segment, which is empty, large enough: before a byte is written, so that a
 * full disk leaves nothing half-done. */
static ml_code grow(ml_log *log, uint64_t need, ml_error *why)
{
    uint64_t size = log->offset + need + ML_SEGMENT_FOOTER;
    int refused = log->disk->ops->allocate(log->disk, log->file, size);
    if (refused == 0) {
        log->size = size;
        return ML_OK;
    }
    ml_code code = ml_error_disk(why, refused, "allocate", log->active->path);
    return code == ML_NO_SPACE ? code : fence(log, why);
}

/* ---- writing ---------------------------------------------------------------------------------- */

/* Checksums, and puts header and trailer around the records. */
static uint64_t seal_frame(ml_log *log, ml_group *group, ml_frame *frame)
{
    uint8_t *at = group->bytes.data;
    uint32_t body = (uint32_t)(group->bytes.size - ML_FRAME_HEADER);
    *frame = (ml_frame){.sequence = log->sequence,
                        .first = group->first,
                        .durable = log->mark.durable,
                        .previous = log->previous,
                        .time = group->time};
    ml_frame_seal_body(at + ML_FRAME_HEADER, body, group->count, frame);
    ml_frame_encode(frame, log->active->salt, at);
    return ml_frame_size(frame);
}

ml_code ml_log_write(ml_log *log, ml_group *group, ml_error *why)
{
    ML_ASSERT(group->count > 0);
    if (atomic_load(&log->fenced)) return refuse_fenced(why);
    ML_ASSERT(group->first == log->next);
    uint64_t need = ml_align8(group->bytes.size) + ML_FRAME_TRAILER;
    bool fits = log->offset + need + ML_SEGMENT_FOOTER <= log->size;
    /* A segment is named by its first record, so one without any is not left: it grows. */
    if (!fits) {
        ml_code code = log->offset > ML_SEGMENT_HEADER ? roll(log, group, need, why) : grow(log, need, why);
        if (code) return code;
    }
    ml_frame frame;
    uint64_t size = seal_frame(log, group, &frame);
    ML_ASSERT(size == need);
    ml_code code = ml_disk_write(log->disk, log->file, log->active->path, group->bytes.data, size,
                                 log->offset, why);
    /* Nothing counts as written on a full disk: the next frame goes to the same place. */
    if (code == ML_NO_SPACE && group->opened == NULL) return code;
    if (code) return fence(log, why);
    group->offset = log->offset;
    log->offset += size;
    log->sequence++;
    log->next += group->count;
    log->previous = frame.crc;
    log->dirty = true;
    if (group->sync) {
        code = sync_all(log, why);
        if (code) return code;
    } else {
        code = settle_behind(log, false, why);
        if (code) return fence(log, why);
    }
    group->end = log->offset;
    group->durable = log->mark.durable_position;
    ml_writer_mark(log);
    return ML_OK;
}

ml_code ml_log_sync(ml_log *log, uint64_t *durable, ml_error *why)
{
    if (atomic_load(&log->fenced)) return refuse_fenced(why);
    ml_code code = sync_all(log, why);
    if (code) return code;
    *durable = log->mark.durable_position;
    ml_writer_mark(log);
    return ML_OK;
}

ml_code ml_log_rest(ml_log *log, ml_error *why)
{
    if (atomic_load(&log->fenced) || !log->marked) return ML_OK;
    ml_code code = ml_disk_sync(log->disk, log->mark_file, ML_WATERMARK_PATH, why);
    log->marked = code != ML_OK;
    return code;
}

bool ml_log_rests(const ml_log *log)
{
    return atomic_load(&log->fenced) || (!log->dirty && log->behind_count == 0 && !log->marked);
}
