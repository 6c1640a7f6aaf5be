/* log.c -- the owner's side: open, settle, get, follow, close. */
#include "log.h"

#include <inttypes.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "inside.h"

/* ---- life ----------------------------------------------------------------------------------- */

ml_code ml_log_open(ml_disk *disk, ml_worker *worker, const ml_log_options *options, ml_log **out,
                    ml_error *why)
{
    ml_log *log = calloc(1, sizeof *log);
    *out = NULL;
    if (log == NULL) return ml_error_memory(why, "the log");
    log->disk = disk;
    log->worker = worker;
    log->options = *options;
    log->file = log->mark_file = -1;
    ml_seal_init(log);
    ml_code code = ml_recover(log, why);
    if (code) {
        ml_worker_wait(worker);
        atomic_store(&log->fenced, true); /* close must write nothing */
        ML_IGNORE(ml_log_close(log, NULL));
        return code;
    }
    *out = log;
    return ML_OK;
}

void ml_log_hurry(ml_log *log) { atomic_store(&log->ahead.unwanted, true); }

static ml_code mark_clean(ml_log *log, ml_error *why)
{
    uint64_t durable;
    ml_code code = ml_log_sync(log, &durable, why);
    if (code) return code;
    log->mark.flags = ML_WATERMARK_CLEAN;
    ml_writer_mark(log);
    return ml_disk_sync(log->disk, log->mark_file, ML_WATERMARK_PATH, why);
}

ml_code ml_log_close(ml_log *log, ml_error *why)
{
    /* A fenced log refuses: what was acknowledged without a sync may not be on the disk. */
    bool write = !log->options.read_only && !log->damaged;
    ml_code code = write ? mark_clean(log, why) : ML_OK;
    ml_seal_fini(log);
    for (size_t n = 0; n < log->behind_count; n++)
        log->disk->ops->close(log->disk, log->behind[n].file);
    if (log->file >= 0) log->disk->ops->close(log->disk, log->file);
    if (log->mark_file >= 0) log->disk->ops->close(log->disk, log->mark_file);
    bool settled = false; /* the active segment is among the others unless its group never settled */
    for (size_t n = 0; n < log->count; n++) {
        settled = settled || log->segments[n] == log->active;
        ml_segment_free(log->segments[n], log->disk);
    }
    if (!settled) ml_segment_free(log->active, log->disk);
    free(log->segments);
    free(log->firsts);
    free(log);
    return code;
}

void ml_log_get_state(const ml_log *log, ml_log_state *state)
{
    *state = (ml_log_state){.position = log->position,
                            .durable = log->durable,
                            .segments = log->count,
                            .torn_bytes = log->torn_bytes,
                            .damaged = log->damaged};
    for (size_t n = 0; n < log->count; n++) {
        const ml_segment *segment = log->segments[n];
        int file = log->disk->ops->open(log->disk, segment->path, ML_DISK_READ);
        uint64_t size = 0;
        if (file >= 0) {
            if (log->disk->ops->size(log->disk, file, &size) < 0) size = 0;
            log->disk->ops->close(log->disk, file);
        }
        state->log_bytes += size;
        bool last = n + 1 == log->count;
        state->used_bytes += last && segment->end > 0 ? segment->end : size;
    }
}

uint64_t ml_log_position(const ml_log *log) { return log->position; }
uint64_t ml_log_durable(const ml_log *log) { return log->durable; }
const uint8_t *ml_log_id(const ml_log *log) { return log->id; }
void ml_log_note_damage(ml_log *log, const ml_error *damage)
{
    if (log->damaged) return; /* the first place is the one to look at */
    log->damaged = true;
    log->damage = *damage;
}

const char *ml_log_damage(const ml_log *log) { return log->damage.sentence; }

/* ---- settling ---------------------------------------------------------------------------------- */

ml_code ml_log_push(ml_log *log, ml_segment *segment, ml_error *why)
{
    if (log->count == log->capacity) {
        size_t capacity = log->capacity > 0 ? log->capacity * 2 : 16;
        ml_segment **segments = realloc(log->segments, capacity * sizeof *segments);
        if (segments != NULL) log->segments = segments;
        uint64_t *firsts = realloc(log->firsts, capacity * sizeof *firsts);
        if (firsts != NULL) log->firsts = firsts;
        if (segments == NULL || firsts == NULL) return ml_error_memory(why, "the list of segments");
        log->capacity = capacity;
    }
    log->firsts[log->count] = segment->first;
    log->segments[log->count++] = segment;
    return ML_OK;
}

/* Adopts the segment that a write opened, and has the one before it sealed. */
static ml_code adopt(ml_log *log, const ml_group *group, ml_error *why)
{
    ml_segment *left = log->segments[log->count - 1];
    ml_code code = ml_log_push(log, group->opened, why);
    if (code) return code;
    ml_seal_start(log, left, group->opened->sequence - 1, group->opened->previous);
    return ML_OK;
}

ml_code ml_log_settle(ml_log *log, const ml_group *group, ml_error *why)
{
    ML_ASSERT(group->first == log->position + 1);
    ml_code code = group->opened == NULL ? ML_OK : adopt(log, group, why);
    ml_segment *segment = log->segments[log->count - 1];
    if (!code) code = ml_segment_extend(segment, group->offset, group->offsets, group->count, why);
    if (code) {
        atomic_store(&log->fenced, true); /* written, but it cannot be shown: reopen */
        return code;
    }
    segment->end = group->end;
    log->position += group->count;
    log->durable = group->durable;
    log->sync_lately = group->sync;
    log->written += group->end - group->offset;
    uint64_t size = ml_writer_segment_size(log, segment->number);
    ml_seal_ahead(log, segment, size, segment->end);
    return ML_OK;
}

void ml_log_settle_sync(ml_log *log, uint64_t durable) { log->durable = durable; }

/* ---- reading ------------------------------------------------------------------------------------ */

/* Unmaps the segment that was read longest ago, if there are too many maps. */
static void bound_maps(ml_log *log)
{
    if (log->mapped < ML_SEGMENTS_MAPPED_MAX) return;
    ml_segment *oldest = NULL;
    for (size_t n = 0; n < log->count; n++) {
        ml_segment *segment = log->segments[n];
        if (segment->map == NULL) continue;
        if (oldest == NULL || segment->used < oldest->used) oldest = segment;
    }
    if (oldest == NULL) return;
    ml_segment_unmap(oldest, log->disk);
    ml_offsets_unmap(log, oldest);
    log->mapped--;
}

ml_code ml_log_map(ml_log *log, ml_segment *segment, ml_error *why)
{
    bool fresh = segment->map == NULL;
    if (fresh) bound_maps(log);
    ml_code code = ml_segment_map(segment, log->disk, why);
    if (fresh && segment->map != NULL) log->mapped++;
    if (!fresh && segment->map == NULL) log->mapped--;
    return code;
}

/* A search without branches to mispredict: reads at random positions do this three times. */
static ml_segment *find(ml_log *log, uint64_t position)
{
    ml_segment *segment = log->segments[log->recent];
    if (position - segment->first < segment->count) return segment;
    size_t low = 0;
    for (size_t left = log->count; left > 1;) {
        size_t half = left / 2;
        low += log->firsts[low + half] <= position ? half : 0;
        left -= half;
    }
    log->recent = low;
    segment = log->segments[low];
    segment->used = ++log->tick;
    return segment;
}

/* Makes a segment readable: map and offsets. Costs nothing when it is. */
static inline ml_code ready(ml_log *log, ml_segment *segment, ml_error *why)
{
    if (segment->map != NULL && segment->offsets != NULL && segment->end <= segment->map_size)
        return ML_OK;
    ml_code code = ml_log_map(log, segment, why);
    return code ? code : ml_offsets_load(log, segment, why);
}

static bool record(const ml_segment *segment, uint64_t position, ml_bytes *payload)
{
    uint32_t offset = segment->offsets[position - segment->first];
    if (offset == 0 || offset >= segment->map_size) return false;
    return ml_frame_record(segment->map + offset, segment->map_size - offset, position, payload);
}

ml_code ml_log_get(ml_log *log, uint64_t position, ml_bytes *payload, ml_error *why)
{
    ML_ASSERT(position >= 1);
    ML_ASSERT(position <= log->position);
    ml_segment *segment = find(log, position);
    ml_code code = ready(log, segment, why);
    if (code) return code;
    if (record(segment, position, payload)) return ML_OK;
    /* Perhaps only the table of offsets is wrong; the frames decide. */
    if (!segment->rebuilt) {
        code = ml_offsets_rebuild(log, segment, false, why);
        if (code) return code;
        if (record(segment, position, payload)) return ML_OK;
    }
    uint32_t offset = segment->offsets[position - segment->first];
    return ml_error_set(why, ML_CORRUPT,
                        "the event at position %" PRIu64 " cannot be read: %s is damaged at or behind "
                        "offset %u; restore that file from a backup, `moonlog verify` lists all "
                        "damage",
                        position, segment->path, offset);
}

void ml_log_prefetch(ml_log *log, uint64_t position, bool record)
{
    const ml_segment *segment = find(log, position);
    if (segment->map == NULL || segment->offsets == NULL) return;
    const uint32_t *offset = &segment->offsets[position - segment->first];
    if (!record) {
        __builtin_prefetch(offset);
        return;
    }
    const uint8_t *at = segment->map + *offset;
    for (size_t line = 0; line < 384; line += 64) __builtin_prefetch(at + line);
}

uint32_t ml_log_anchor(ml_log *log, uint64_t position)
{
    ml_bytes payload;
    if (position < 1 || position > log->position) return 0;
    ml_segment *segment = find(log, position);
    bool fresh = segment->map == NULL;
    uint32_t crc = 0;
    if (ml_log_get(log, position, &payload, NULL) == ML_OK) crc = ml_get_u32((const uint8_t *)payload.data - 4);
    /* Who only appends asks this of every segment once: their maps are not kept. */
    if (fresh && segment->map != NULL) {
        ml_segment_unmap(segment, log->disk);
        log->mapped--;
    }
    return crc;
}

/* ---- following a writer in another process ------------------------------------------------------- */

/* Takes up the frames behind the last one seen, as far as the writer has settled them. */
static ml_code follow_segment(ml_log *log, ml_segment *segment, uint64_t settled, bool *moved,
                              ml_error *why)
{
    ml_code code = ml_log_map(log, segment, why);
    if (code) return code;
    ml_walk walk;
    ml_frame frame;
    bool memory = false;
    ml_segment_walk(&walk, segment);
    walk.offset = segment->end;
    walk.sequence = log->tail_sequence;
    walk.position = log->position + 1;
    walk.previous = log->tail_previous;
    while (!code && log->position < settled && ml_segment_walk_next(&walk, &frame, &memory)) {
        code = ml_segment_extend(segment, segment->end, walk.offsets, frame.count, why);
        if (code) break;
        segment->end = walk.offset;
        log->position += frame.count;
        log->tail_sequence = walk.sequence;
        log->tail_previous = walk.previous;
        *moved = true;
    }
    ml_segment_walk_free(&walk);
    return memory ? ml_error_memory(why, "following the log") : code;
}

static ml_code follow_roll(ml_log *log, bool *moved, ml_error *why)
{
    char path[ML_SEGMENT_PATH];
    ml_segment *segment = NULL;
    /* The last one has no event yet: it is the one that would be found. */
    if (log->count > 0 && log->segments[log->count - 1]->first > log->position) return ML_OK;
    ml_segment_path(path, log->position + 1);
    ml_code code = ml_recover_header(log, path, &segment, why);
    if (code) return code == ML_NOT_FOUND ? ML_OK : code; /* not there yet */
    if (segment->sequence != log->tail_sequence || segment->previous != log->tail_previous) {
        ml_segment_free(segment, log->disk);
        return ml_error_set(why, ML_CORRUPT, "%s does not continue the log before it", path);
    }
    if (log->count == 0) memcpy(log->id, segment->log, ML_LOG_ID_SIZE);
    code = ml_log_push(log, segment, why);
    if (code) {
        ml_segment_free(segment, log->disk);
        return code;
    }
    *moved = true;
    return ML_OK;
}

/* A frame larger than a segment makes its file grow behind the map: maps it anew. */
static ml_code follow_growth(ml_log *log, ml_segment *segment, bool *moved, ml_error *why)
{
    uint64_t before = segment->map_size;
    ml_segment_unmap(segment, log->disk);
    log->mapped--;
    ml_code code = ml_log_map(log, segment, why);
    *moved = !code && segment->map_size > before;
    return code;
}

ml_code ml_log_follow(ml_log *log, ml_error *why)
{
    ml_watermark mark;
    if (log->damaged) return ML_OK;
    if (log->mark_file < 0) {
        /* The writer had not begun yet when this log was opened. */
        log->mark_file = log->disk->ops->open(log->disk, ML_WATERMARK_PATH, ML_DISK_READ);
        if (log->mark_file < 0) return ML_OK;
    }
    if (!ml_watermark_read(log->disk, log->mark_file, &mark)) return ML_OK;
    ml_code code = ML_OK;
    bool moved = true;
    while (!code && moved && log->position < mark.settled_position) {
        moved = false;
        ml_segment *last = log->count > 0 ? log->segments[log->count - 1] : NULL;
        if (last != NULL) code = follow_segment(log, last, mark.settled_position, &moved, why);
        if (!code && !moved) code = follow_roll(log, &moved, why);
        if (!code && !moved && last != NULL) code = follow_growth(log, last, &moved, why);
    }
    /* What was settled but not synced may be lost with power; what was synced may not. */
    if (!code && log->position < mark.durable_position)
        code = ml_error_set(why, ML_CORRUPT,
                            "positions up to %" PRIu64 " were synced, but %s can be read only up to %" PRIu64
                            "; `moonlog verify` lists all damage",
                            mark.durable_position, log->count > 0 ? log->segments[log->count - 1]->path : "log/",
                            log->position);
    log->durable = mark.durable_position < log->position ? mark.durable_position : log->position;
    return code;
}
