/* recover.c -- what is in the log after any stop, and telling torn from corrupt.
 *
 * The frames are walked, in the chain of sequence, position and previous crc, from the
 * segment that holds what the WATERMARK says is synced. Let s be the sequence that the first
 * thing that is no such frame should have, and D the highest sequence known to be synced:
 * from the WATERMARK, from the `durable` fields of all good frames before it and behind it
 * (found at every 8th byte), and from footers, which are written only after a sync.
 *
 *     s <= D   CORRUPT: it was synced, and its bytes are not what was written. The log opens
 *              read-only, says where, deletes nothing, and gives every record that is whole.
 *     s >  D   torn: the end of what the writer was doing. The bytes behind are kept aside in
 *              log/<first>-<offset>.torn, then zeroed; later segments become .torn files.
 *
 * What is kept but not known to be synced is written again, byte for byte, and synced: after
 * a failed sync the kernel may show pages that the disk never got. Every step can be cut by
 * another crash and leads to the same log.
 *
 * A read-only opening decides the same and changes nothing; it shows what is settled.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "inside.h"

enum { SEGMENT_RECORDS_MAX = ML_SEGMENT_BYTES_MAX / (ML_RECORD_HEADER + ML_RECORD_MIN) };

typedef struct recovery {
    ml_log *log;
    ml_watermark mark;
    bool marked;      /* there was a valid WATERMARK of this log */
    uint64_t durable; /* D */
    size_t stop;      /* the segment where the walk ended … */
    ml_walk walk;     /* … and what it expected there */
} recovery;

/* ---- headers and chain --------------------------------------------------------------------- */

ml_code ml_recover_header(ml_log *log, const char *path, ml_segment **out, ml_error *why)
{
    uint8_t page[ML_SEGMENT_HEADER];
    int file = -1;
    ml_code code = ml_disk_open(log->disk, path, ML_DISK_READ, &file, why);
    if (code) return code;
    code = ml_disk_read(log->disk, file, path, page, sizeof page, 0, why);
    log->disk->ops->close(log->disk, file);
    if (code) return code;
    ml_segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL) return ml_error_memory(why, "a segment");
    code = ml_segment_decode(segment, page, path, why);
    if (code) {
        free(segment);
        return code;
    }
    segment->end = ML_SEGMENT_HEADER;
    *out = segment;
    return ML_OK;
}

static ml_code check_chain(const ml_segment *before, const ml_segment *segment, ml_error *why)
{
    if (before == NULL) {
        if (segment->number == 0 && segment->first == 1 && segment->sequence == 1) return ML_OK;
        return ml_error_set(why, ML_CORRUPT,
                            "the log begins with %s, which is segment %" PRIu64
                            "; the segments before it are missing: restore them from a backup",
                            segment->path, segment->number);
    }
    if (memcmp(before->log, segment->log, ML_LOG_ID_SIZE) != 0)
        return ml_error_set(why, ML_CORRUPT, "%s and %s are of different logs", before->path,
                            segment->path);
    if (segment->number != before->number + 1 || segment->first <= before->first ||
        segment->sequence <= before->sequence)
        return ml_error_set(why, ML_CORRUPT,
                            "between %s (segment %" PRIu64 ") and %s (segment %" PRIu64
                            ") segments are missing: restore them from a backup",
                            before->path, before->number, segment->path, segment->number);
    /* A header that promises what no file can hold would cost memory for every such record. */
    if (segment->first - before->first > SEGMENT_RECORDS_MAX)
        return ml_error_set(why, ML_CORRUPT,
                            "%s cannot hold all positions up to %s; was one of them renamed?",
                            before->path, segment->path);
    return ML_OK;
}

static ml_code load_headers(ml_log *log, ml_error *why)
{
    ml_disk_names names;
    ml_code code = ml_disk_list(log->disk, "log", ".seg", &names, why);
    if (code) return code;
    ml_segment *before = NULL;
    for (size_t n = 0; !code && n < names.count; n++) {
        char path[ML_SEGMENT_PATH];
        ml_segment *segment = NULL;
        if (snprintf(path, sizeof path, "log/%s", names.names[n]) >= (int)sizeof path) {
            code = ml_error_set(why, ML_CORRUPT, "log/%s is no name of a segment; move it away",
                                names.names[n]);
            break;
        }
        code = ml_recover_header(log, path, &segment, why);
        if (!code) code = check_chain(before, segment, why);
        if (!code) code = ml_log_push(log, segment, why);
        if (code) ml_segment_free(segment, log->disk);
        before = segment;
    }
    ml_disk_names_free(&names);
    if (!code && log->count > 0) memcpy(log->id, log->segments[0]->log, ML_LOG_ID_SIZE);
    return code;
}

/* The WATERMARK is read before the segments are listed: what it speaks of is then there. */
static ml_code open_mark(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    int how = log->options.read_only ? ML_DISK_READ : ML_DISK_WRITE;
    ml_code code = ml_disk_open(log->disk, ML_WATERMARK_PATH, how, &log->mark_file, why);
    if (code == ML_NOT_FOUND) return ML_OK;
    if (code) return code;
    /* A second lock, for who removes LOCK under a writer: two would give positions out twice. */
    if (!log->options.read_only && log->disk->ops->lock(log->disk, log->mark_file) < 0)
        return ml_error_set(why, ML_LOCKED, "%s is being written to in another process, although its "
                                            "LOCK is gone; stop that one", log->disk->root);
    r->marked = ml_watermark_read(log->disk, log->mark_file, &r->mark);
    return ML_OK;
}

/* The first change to the directory: a log of a newer format was refused before. */
static ml_code tidy(ml_log *log, ml_error *why)
{
    if (log->options.read_only) return ML_OK;
    /* What an earlier writer was still making. */
    ml_code code = ml_disk_remove(log->disk, "log/next", why);
    if (!code) code = ml_disk_remove(log->disk, "log/new", why);
    if (!code && log->mark_file < 0)
        code = ml_disk_open(log->disk, ML_WATERMARK_PATH, ML_DISK_CREATE, &log->mark_file, why);
    return code;
}

static bool read_footer(ml_log *log, const ml_segment *segment, ml_footer *footer)
{
    uint8_t bytes[ML_SEGMENT_FOOTER];
    uint64_t size = 0;
    int file = log->disk->ops->open(log->disk, segment->path, ML_DISK_READ);
    if (file < 0) return false;
    bool good = log->disk->ops->size(log->disk, file, &size) == 0 &&
                size >= ML_SEGMENT_HEADER + ML_SEGMENT_FOOTER &&
                ml_disk_read(log->disk, file, segment->path, bytes, sizeof bytes,
                             size - sizeof bytes, NULL) == ML_OK &&
                ml_segment_decode_footer(footer, segment->salt, bytes) &&
                footer->end == size - ML_SEGMENT_FOOTER;
    log->disk->ops->close(log->disk, file);
    return good;
}

static ml_code damage(recovery *r, const ml_segment *segment, uint64_t offset, uint64_t position,
                      const char *what)
{
    ml_log *log = r->log;
    if (log->damaged) return ML_OK; /* the first place is the one to look at */
    log->damaged = true;
    ml_error_set(&log->damage, ML_CORRUPT,
                 "%s, offset %" PRIu64 ": %s, although it was synced (positions from %" PRIu64
                 "); the store is open for reading only: run `moonlog verify`, restore that file "
                 "from a backup",
                 segment->path, offset, what, position);
    return ML_OK;
}

/* What the headers and footers alone tell of a segment that is not the last. */
static void take_footer(recovery *r, size_t n)
{
    ml_log *log = r->log;
    ml_segment *segment = log->segments[n], *after = log->segments[n + 1];
    ml_footer footer;
    if (!read_footer(log, segment, &footer)) return;
    segment->end = footer.end;
    atomic_store(&segment->synced, true);
    if (footer.sequence > r->durable) r->durable = footer.sequence;
    if (footer.last + 1 == after->first && footer.sequence + 1 == after->sequence &&
        footer.previous == after->previous)
        return;
    ML_IGNORE(damage(r, segment, footer.end, footer.last + 1,
                     "its footer and the header of the next segment do not agree"));
}

/* ---- the walk -------------------------------------------------------------------------------- */

static ml_code walk_segment(recovery *r, ml_segment *segment, ml_error *why)
{
    ml_log *log = r->log;
    ml_code code = ml_log_map(log, segment, why);
    if (code) return code;
    ml_segment_walk_free(&r->walk);
    ml_segment_walk(&r->walk, segment);
    uint64_t limit = log->options.read_only && r->marked ? r->mark.settled : UINT64_MAX;
    ml_frame frame;
    bool memory = false;
    uint64_t at = r->walk.offset;
    while (!code && r->walk.sequence <= limit && ml_segment_walk_next(&r->walk, &frame, &memory)) {
        code = ml_segment_extend(segment, at, r->walk.offsets, frame.count, why);
        at = r->walk.offset;
    }
    segment->end = r->walk.offset;
    if (r->walk.durable > r->durable) r->durable = r->walk.durable;
    return memory ? ml_error_memory(why, "the offsets of a frame") : code;
}

/* Walks from the segment that holds the first frame not known to be synced. */
static ml_code walk_all(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    size_t start = 0;
    for (size_t n = 0; r->marked && n < log->count; n++)
        if (log->segments[n]->sequence <= r->mark.durable + 1) start = n;
    for (size_t n = 0; n + 1 < log->count; n++) take_footer(r, n);
    /* One without its footer will be sealed: only what was looked at, frame by frame, may be. */
    for (size_t n = 0; n < start; n++)
        if (!atomic_load(&log->segments[n]->synced)) start = n;
    for (size_t n = 0; n < start; n++)
        log->segments[n]->count = (uint32_t)(log->segments[n + 1]->first - log->segments[n]->first);
    for (r->stop = start; r->stop < log->count; r->stop++) {
        ml_code code = walk_segment(r, log->segments[r->stop], why);
        if (code) return code;
        if (r->stop + 1 == log->count) break;
        const ml_segment *after = log->segments[r->stop + 1];
        if (r->walk.sequence != after->sequence || r->walk.position != after->first ||
            r->walk.previous != after->previous)
            break;
    }
    return ML_OK;
}

/* Raises D by every good frame behind the place where the walk stopped. */
static ml_code search_behind(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    for (size_t n = r->stop; n < log->count; n++) {
        ml_segment *segment = log->segments[n];
        ml_code code = ml_log_map(log, segment, why);
        if (code) return code;
        uint64_t at = n == r->stop ? r->walk.offset : ML_SEGMENT_HEADER;
        ml_frame frame;
        while (ml_segment_find(segment->map, segment->map_size, segment->salt, &at, &frame)) {
            if (frame.durable > r->durable) r->durable = frame.durable;
            at += ml_frame_size(&frame);
        }
    }
    return ML_OK;
}

static bool ended_cleanly(const recovery *r)
{
    return r->marked && (r->mark.flags & ML_WATERMARK_CLEAN) != 0 &&
           r->stop + 1 == r->log->count && r->mark.settled == r->walk.sequence - 1 &&
           r->mark.end == r->walk.offset;
}

/* ---- damage ----------------------------------------------------------------------------------- */

/* Reads what can be read: from the place of the damage on, segment for segment. */
static ml_code salvage(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    for (size_t n = r->stop; n < log->count; n++) {
        ml_segment *segment = log->segments[n];
        bool last = n + 1 == log->count;
        if (!last) segment->count = (uint32_t)(log->segments[n + 1]->first - segment->first);
        ml_code code = ml_offsets_rebuild(log, segment, last, why);
        if (code) return code;
        log->position = segment->first + segment->count - 1;
    }
    log->durable = log->position;
    return ML_OK;
}

static ml_code decide(recovery *r, bool *torn, ml_error *why)
{
    ml_log *log = r->log;
    ml_segment *segment = log->segments[r->stop];
    *torn = false;
    if (ended_cleanly(r)) return ML_OK;
    /* A reader beside a live writer stops where the writer has settled, in good frames. */
    if (log->options.read_only && r->marked && r->walk.sequence > r->mark.settled) return ML_OK;
    ml_code code = search_behind(r, why);
    if (code) return code;
    ml_footer footer;
    if (r->walk.sequence <= r->durable)
        code = damage(r, segment, r->walk.offset, r->walk.position, "a frame is damaged or missing");
    else if (r->stop + 1 == log->count && read_footer(log, segment, &footer))
        code = damage(r, segment, footer.end, r->walk.position,
                      "the segment that follows this sealed one is missing");
    else
        *torn = true;
    return code;
}

/* ---- a torn tail ------------------------------------------------------------------------------- */

/* Keeps the bytes aside; on a full disk they are let go, so that a start never needs space. */
static ml_code keep_aside(ml_log *log, const ml_segment *segment, uint64_t from, uint64_t to,
                          ml_error *why)
{
    char path[ML_SEGMENT_PATH + 64];
    /* The time keeps apart what was torn at one place twice. */
    snprintf(path, sizeof path, "log/%020" PRIu64 "-%" PRIu64 "-%" PRId64 ".torn", segment->first, from,
             log->disk->ops->now(log->disk));
    ml_bytes tail = {segment->map + from, (size_t)(to - from)};
    ml_code code = ml_disk_save(log->disk, path, "log", tail, why);
    return code == ML_NO_SPACE ? ML_OK : code;
}

static ml_code write_zeros(ml_log *log, int file, const char *path, uint64_t from, uint64_t to,
                           ml_error *why)
{
    static const uint8_t zeros[1 << 16];
    while (from < to) {
        size_t some = to - from < sizeof zeros ? (size_t)(to - from) : sizeof zeros;
        ml_code code = ml_disk_write(log->disk, file, path, zeros, some, from, why);
        if (code) return code;
        from += some;
    }
    return ML_OK;
}

static ml_code cut_tail(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    ml_segment *segment = log->segments[r->stop];
    uint64_t from = r->walk.offset;
    uint64_t to = ml_segment_content_end(segment->map, from, segment->map_size);
    if (to == from) return ML_OK;
    log->torn_bytes += to - from;
    ml_code code = keep_aside(log, segment, from, to, why);
    int file = -1;
    if (!code) code = ml_disk_open(log->disk, segment->path, ML_DISK_WRITE, &file, why);
    if (code) return code;
    code = write_zeros(log, file, segment->path, from, to, why);
    if (!code) code = ml_disk_sync(log->disk, file, segment->path, why);
    log->disk->ops->close(log->disk, file);
    return code;
}

static void forget_last(ml_log *log)
{
    ml_segment *segment = log->segments[--log->count];
    if (segment->map != NULL) log->mapped--;
    ml_segment_free(segment, log->disk);
}

static ml_code drop_later_segments(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    while (log->count > r->stop + 1) {
        ml_segment *segment = log->segments[log->count - 1];
        char path[ML_SEGMENT_PATH + 32];
        snprintf(path, sizeof path, "log/%020" PRIu64 "-%" PRId64 ".torn", segment->first,
                 log->disk->ops->now(log->disk));
        ml_code code = ml_log_map(log, segment, why);
        if (code) return code;
        log->torn_bytes +=
            ml_segment_content_end(segment->map, ML_SEGMENT_HEADER, segment->map_size) - ML_SEGMENT_HEADER;
        code = ml_disk_adopt(log->disk, segment->path, path, "log", why);
        if (code) return code;
        forget_last(log);
    }
    return ML_OK;
}

/* ---- writing again what is not known to be synced ----------------------------------------------- */

static ml_code rewrite(ml_log *log, ml_segment *segment, uint64_t from, ml_error *why)
{
    enum { CHUNK = 1 << 20 };
    uint8_t *chunk = malloc(CHUNK);
    int file = -1;
    if (chunk == NULL) return ml_error_memory(why, "recovery");
    ml_code code = ml_disk_open(log->disk, segment->path, ML_DISK_WRITE, &file, why);
    for (uint64_t at = from; !code && at < segment->end; at += CHUNK) {
        size_t some = segment->end - at < CHUNK ? (size_t)(segment->end - at) : CHUNK;
        memcpy(chunk, segment->map + at, some);
        code = ml_disk_write(log->disk, file, segment->path, chunk, some, at, why);
    }
    if (!code) code = ml_disk_sync(log->disk, file, segment->path, why);
    if (file >= 0) log->disk->ops->close(log->disk, file);
    free(chunk);
    return code;
}

static ml_code rewrite_unsynced(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    for (size_t n = 0; n <= r->stop; n++) {
        ml_segment *segment = log->segments[n];
        bool synced = n < r->stop && log->segments[n + 1]->sequence <= r->durable + 1;
        if (synced) continue;
        ml_code code = ml_log_map(log, segment, why);
        if (code) return code;
        ml_walk walk;
        ml_frame frame;
        bool memory = false;
        ml_segment_walk(&walk, segment);
        uint64_t from = walk.offset;
        while (walk.sequence <= r->durable && ml_segment_walk_next(&walk, &frame, &memory))
            from = walk.offset;
        ml_segment_walk_free(&walk);
        if (from < segment->end) code = rewrite(log, segment, from, why);
        if (code) return code;
    }
    return ML_OK;
}

/* ---- ready to write ------------------------------------------------------------------------------ */

static ml_code sync_dir(ml_log *log, const char *path, ml_error *why)
{
    int refused = log->disk->ops->sync_dir(log->disk, path);
    return refused < 0 ? ml_error_disk(why, refused, "sync directory", path) : ML_OK;
}

static ml_code take_writer(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    ml_segment *active = log->segments[log->count - 1];
    if (log->file < 0) {
        ml_code code = ml_disk_open(log->disk, active->path, ML_DISK_WRITE, &log->file, why);
        if (code) return code;
    }
    ml_code code = ml_disk_size(log->disk, log->file, active->path, &log->size, why);
    /* An earlier process may have been killed between giving a segment its name and this; the
     * WATERMARK may not speak of a segment that can still vanish. */
    if (!code) code = sync_dir(log, "log", why);
    if (code) return code;
    log->active = active;
    log->offset = r->walk.offset;
    log->sequence = r->walk.sequence;
    log->next = r->walk.position;
    log->previous = r->walk.previous;
    log->mark = (ml_watermark){.generation = r->mark.generation,
                               .durable = log->sequence - 1,
                               .durable_position = log->next - 1,
                               .log = ml_crc32c(0, log->id, ML_LOG_ID_SIZE)};
    log->mark.settled = log->mark.durable;
    log->mark.settled_position = log->mark.durable_position;
    log->mark.end = log->offset;
    /* From here on the log is not cleanly closed, and that is on the disk before a frame is. */
    code = ml_watermark_write(log->disk, log->mark_file, &log->mark, why);
    /* Both slots, so that nothing older can outlive this, whatever its generation says. */
    if (!code) code = ml_watermark_write(log->disk, log->mark_file, &log->mark, why);
    if (!code) code = ml_disk_sync(log->disk, log->mark_file, ML_WATERMARK_PATH, why);
    return code ? code : sync_dir(log, ".", why);
}

/* A crash may have come between leaving a segment and its footer. */
static void seal_again(ml_log *log)
{
    for (size_t n = 0; n + 1 < log->count; n++) {
        ml_segment *segment = log->segments[n], *after = log->segments[n + 1];
        if (atomic_load(&segment->synced)) continue;
        ml_seal_start(log, segment, after->sequence - 1, after->previous);
    }
}

static ml_code create_first(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    int refused = log->disk->ops->random(log->disk, log->id, sizeof log->id);
    if (refused < 0) return ml_error_disk(why, refused, "random bytes for", "the log id");
    ml_segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL) return ml_error_memory(why, "a segment");
    *segment = (ml_segment){.first = 1,
                            .sequence = 1,
                            .created = log->disk->ops->now(log->disk),
                            .end = ML_SEGMENT_HEADER};
    memcpy(segment->log, log->id, sizeof segment->log);
    ml_segment_name(segment);
    bool named = false;
    ml_code code = ml_writer_create(log, segment, -1, ml_writer_segment_size(log, 0), &log->file, &named, why);
    if (!code) code = ml_log_push(log, segment, why);
    if (code) {
        free(segment);
        return code;
    }
    ml_segment_walk(&r->walk, segment);
    return take_writer(r, why);
}

static ml_code recover_empty(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    if (r->marked && r->mark.settled > 0)
        return ml_error_set(why, ML_CORRUPT,
                            "WATERMARK tells of %" PRIu64 " events, but log/ holds no segment: "
                            "restore the segments from a backup",
                            r->mark.settled_position);
    log->tail_sequence = 1;
    return log->options.read_only ? ML_OK : create_first(r, why);
}

static ml_code finish(recovery *r, bool torn, ml_error *why)
{
    ml_log *log = r->log;
    log->position = r->walk.position - 1;
    log->durable = log->position;
    log->tail_sequence = r->walk.sequence;
    log->tail_previous = r->walk.previous;
    if (log->options.read_only) {
        /* The writer may have rolled since its WATERMARK was read: followed like any roll. */
        while (log->count > r->stop + 1) forget_last(log);
        if (r->marked && r->mark.durable_position < log->position) log->durable = r->mark.durable_position;
        return ML_OK;
    }
    ml_code code = ML_OK;
    if (torn) code = drop_later_segments(r, why);
    if (!code && torn) code = cut_tail(r, why);
    if (!code && torn) code = rewrite_unsynced(r, why);
    if (!code) code = take_writer(r, why);
    if (!code) seal_again(log);
    return code;
}

static ml_code recover(recovery *r, ml_error *why)
{
    ml_log *log = r->log;
    ml_code code = open_mark(r, why);
    if (!code) code = load_headers(log, why);
    if (!code) code = tidy(log, why);
    if (code) return code;
    if (log->count == 0) return recover_empty(r, why);
    if (r->mark.log != ml_crc32c(0, log->id, ML_LOG_ID_SIZE)) r->marked = false;
    if (!r->marked) r->mark = (ml_watermark){.generation = r->mark.generation};
    r->durable = r->mark.durable;
    bool torn = false;
    code = walk_all(r, why);
    if (!code) code = decide(r, &torn, why);
    if (code) return code;
    if (log->damaged) return salvage(r, why);
    return finish(r, torn, why);
}

ml_code ml_recover(ml_log *log, ml_error *why)
{
    recovery r = {.log = log};
    ml_code code = recover(&r, why);
    ml_segment_walk_free(&r.walk);
    return code;
}
