/* check.c -- the slow, suspicious reader. */
#include "check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "inside.h"

enum { HELD_BYTES_MAX = 1 << 20 }; /* a few thousand sentences: more say nothing new */

typedef struct checking {
    ml_check *check;
    bool live; /* a writer is at work */
    ml_watermark mark;
    bool marked;
    uint64_t durable;   /* highest sequence known to be synced, as in recover.c */
    bool begun;         /* `before` is set */
    ml_segment before;  /* header of the segment before this one */
    ml_walk walk;       /* where its frames ended */
    bool walked;        /* … unless it was damaged */
    uint64_t lost;      /* sequence of the first frame that is not there; 0 = none */
} checking;

void ml_check_report(ml_check *check, const char *format, ...)
{
    char sentence[ML_SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (check->holding && check->held.size < HELD_BYTES_MAX) {
        ml_buf_add(&check->held, sentence, strlen(sentence) + 1);
        check->held_count++;
    } else if (!check->holding) {
        check->problems++;
        check->report(check->context, sentence);
    }
}

/* From here on frames are missing: everything found behind waits for the verdict, unless a
 * writer is at work, whose log is whole. */
static void lose(checking *c)
{
    if (c->lost > 0) return;
    c->lost = c->walk.sequence;
    c->check->holding = !c->live;
}

/* Torn or lost, by recovery's rule (recover.c). */
static void judge(checking *c)
{
    ml_check *check = c->check;
    check->holding = false;
    if (c->marked && c->mark.durable > c->durable) c->durable = c->mark.durable;
    bool torn = c->lost > c->durable || check->held.failed;
    for (size_t at = 0; !torn && at < check->held.size;) {
        const char *sentence = (const char *)check->held.data + at;
        check->problems++;
        check->report(check->context, sentence);
        at += strlen(sentence) + 1;
    }
    ml_buf_free(&check->held);
}

/* ---- the chain of segments --------------------------------------------------------------- */

static void check_first(checking *c, const ml_segment *segment)
{
    memcpy(c->check->log, segment->log, ML_LOG_ID_SIZE);
    if (segment->number != 0 || segment->first != 1 || segment->sequence != 1)
        ml_check_report(c->check, "%s is segment %" PRIu64 ", but the log begins with it: earlier segments are missing",
                        segment->path, segment->number);
}

static void check_chain(checking *c, const ml_segment *segment)
{
    const ml_segment *before = &c->before;
    if (memcmp(before->log, segment->log, ML_LOG_ID_SIZE) != 0) {
        ml_check_report(c->check, "%s is of another log than %s", segment->path, before->path);
    } else if (segment->number != before->number + 1) {
        ml_check_report(c->check, "segments are missing between %s (number %" PRIu64 ") and %s (number %" PRIu64 ")",
                        before->path, before->number, segment->path, segment->number);
    } else if (c->walked && (c->walk.sequence != segment->sequence || c->walk.position != segment->first ||
                             c->walk.previous != segment->previous)) {
        lose(c);
        ml_check_report(c->check,
                        "%s, offset %" PRIu64 ": its frames end with position %" PRIu64 ", but %s begins with %" PRIu64
                        ": positions between them are damaged or missing",
                        before->path, c->walk.offset, c->walk.position - 1, segment->path, segment->first);
    }
}

/* ---- frames --------------------------------------------------------------------------------- */

static void take_frame(checking *c, const ml_segment *segment, uint64_t at, const ml_frame *frame)
{
    ml_check *check = c->check;
    check->frames++;
    if (frame->durable > c->durable) c->durable = frame->durable;
    for (uint32_t n = 0; n < frame->count; n++) {
        const uint8_t *record = segment->map + at + c->walk.offsets[n];
        ml_bytes payload = {record + ML_RECORD_HEADER, ml_get_u32(record)};
        check->records++;
        if (!check->holding) check->last = frame->first + n;
        if (check->record != NULL) check->record(check->context, frame->first + n, payload);
    }
}

/* Walks on behind damage, if there is a good frame somewhere; says what lies between. */
static bool skip_damage(checking *c, const ml_segment *segment)
{
    ml_frame frame;
    uint64_t from = c->walk.offset, at = from + 8;
    if (!ml_segment_find(segment->map, segment->map_size, segment->salt, &at, &frame)) return false;
    if (frame.first < c->walk.position) return false;
    lose(c);
    ml_check_report(c->check, "%s, offset %" PRIu64 ": damaged up to offset %" PRIu64 " (positions %" PRIu64 " to %" PRIu64 ")",
                    segment->path, from, at, c->walk.position, frame.first - 1);
    c->walk.offset = at;
    c->walk.sequence = frame.sequence;
    c->walk.position = frame.first;
    c->walk.previous = frame.previous;
    return true;
}

static ml_code walk_frames(checking *c, const ml_segment *segment, bool last, ml_error *why)
{
    uint64_t limit = last && c->live && c->marked ? c->mark.settled : UINT64_MAX;
    ml_frame frame;
    bool memory = false;
    ml_segment_walk_free(&c->walk);
    ml_segment_walk(&c->walk, segment);
    while (c->walk.sequence <= limit) {
        uint64_t at = c->walk.offset;
        if (ml_segment_walk_next(&c->walk, &frame, &memory)) take_frame(c, segment, at, &frame);
        else if (memory || !skip_damage(c, segment)) break;
    }
    c->walked = true;
    return memory ? ml_error_memory(why, "checking a segment") : ML_OK;
}

/* ---- what is behind the last frame --------------------------------------------------------------- */

static ml_code check_footer(checking *c, const ml_segment *segment, const ml_footer *footer, ml_error *why)
{
    uint64_t count = c->walk.position - segment->first;
    if (footer->end != c->walk.offset || footer->last + 1 != c->walk.position || footer->count != count ||
        footer->sequence + 1 != c->walk.sequence || footer->previous != c->walk.previous) {
        ml_check_report(c->check, "%s: its footer tells of %" PRIu64 " records up to position %" PRIu64 ", its frames hold %" PRIu64
                                  " up to %" PRIu64,
                        segment->path, footer->count, footer->last, count, c->walk.position - 1);
        return ML_OK;
    }
    if (!c->check->deep) return ML_OK;
    uint8_t hash[32];
    ml_code code = ml_seal_hash(c->check->disk, segment->path, footer->end, hash, why);
    if (!code && memcmp(hash, footer->sha256, sizeof hash) != 0)
        ml_check_report(c->check, "%s: its bytes do not have the SHA-256 that its footer names", segment->path);
    return code;
}

static void check_zeros(checking *c, const ml_segment *segment, uint64_t from)
{
    uint64_t end = ml_segment_content_end(segment->map, from, segment->map_size);
    if (end > from)
        ml_check_report(c->check, "%s, offset %" PRIu64 ": %" PRIu64 " bytes behind the last frame that should be zero",
                        segment->path, from, end - from);
}

/* The last segment of a log that nobody writes: torn is fine, lost is not. */
static void check_tail(checking *c, const ml_segment *segment)
{
    bool clean = c->marked && (c->mark.flags & ML_WATERMARK_CLEAN) != 0;
    if (c->marked && c->mark.durable > c->durable) c->durable = c->mark.durable;
    if (c->lost > 0) return;
    if (c->walk.sequence <= c->durable)
        ml_check_report(c->check, "%s, offset %" PRIu64 ": the log ends with position %" PRIu64 " here, but frames up to %" PRIu64
                                  " were synced: later positions are damaged or missing",
                        segment->path, c->walk.offset, c->walk.position - 1, c->durable);
    else if (clean) check_zeros(c, segment, c->walk.offset);
}

static ml_code check_behind(checking *c, const ml_segment *segment, bool last, ml_error *why)
{
    ml_footer footer;
    uint64_t at = c->walk.offset;
    bool footed = segment->map_size - at >= ML_SEGMENT_FOOTER &&
                  ml_segment_decode_footer(&footer, segment->salt, segment->map + at);
    if (footed) {
        ml_code code = check_footer(c, segment, &footer, why);
        if (code) return code;
        check_zeros(c, segment, at + ML_SEGMENT_FOOTER);
        if (footer.sequence > c->durable) c->durable = footer.sequence;
        if (last && !c->live)
            ml_check_report(c->check, "%s is sealed, but the segment that should follow it is missing", segment->path);
        return ML_OK;
    }
    if (last && !c->live) check_tail(c, segment);
    /* Behind the frames of one that is left but not sealed there may be what a full disk refused:
     * sealing cuts it off. */
    return ML_OK;
}

/* ---- segments -------------------------------------------------------------------------------------- */

static ml_code check_segment(checking *c, const char *path, bool last, ml_error *why)
{
    ml_check *check = c->check;
    ml_log reader = {.disk = check->disk};
    ml_segment *segment = NULL;
    ml_error problem;
    ml_code code = ml_recover_header(&reader, path, &segment, &problem);
    if (code == ML_CORRUPT) {
        ml_check_report(check, "%s", problem.sentence);
        c->walked = false;
        return ML_OK;
    }
    if (code) return ml_error_set(why, code, "%s", problem.sentence);
    if (c->begun) check_chain(c, segment);
    else check_first(c, segment);
    segment->end = 0;
    if (last) c->live = check->writing(check->disk);
    code = ml_segment_map(segment, check->disk, why);
    if (!code) code = walk_frames(c, segment, last, why);
    if (!code) code = check_behind(c, segment, last, why);
    check->segments++;
    check->bytes += segment->map_size;
    c->begun = true;
    c->before = *segment;
    ml_segment_free(segment, check->disk);
    return code;
}

static void check_mark(checking *c)
{
    ml_check *check = c->check;
    if (!c->marked && check->records > 0) {
        ml_check_report(check, "WATERMARK is missing or damaged; the next opening for writing makes it anew");
        return;
    }
    if (!c->begun && c->mark.settled > 0)
        ml_check_report(check, "WATERMARK tells of %" PRIu64 " events, but log/ holds no segment", c->mark.settled_position);
    if (!c->begun || !c->marked) return;
    if (c->mark.log != ml_crc32c(0, check->log, ML_LOG_ID_SIZE))
        ml_check_report(check, "WATERMARK is of another log");
    else if (c->mark.durable_position > check->last)
        ml_check_report(check, "WATERMARK tells of events up to position %" PRIu64 ", the segments hold them up to %" PRIu64,
                        c->mark.durable_position, check->last);
}

ml_code ml_check_log(ml_check *check, ml_error *why)
{
    checking c = {.check = check};
    int file = check->disk->ops->open(check->disk, ML_WATERMARK_PATH, ML_DISK_READ);
    if (file >= 0) {
        c.marked = ml_watermark_read(check->disk, file, &c.mark);
        check->disk->ops->close(check->disk, file);
    }
    c.live = check->writing(check->disk);
    ml_disk_names names;
    ml_code code = ml_disk_list(check->disk, "log", ".seg", &names, why);
    if (code) return code;
    for (size_t n = 0; !code && n < names.count; n++) {
        char path[ML_SEGMENT_PATH];
        if (snprintf(path, sizeof path, "log/%s", names.names[n]) >= (int)sizeof path)
            ml_check_report(check, "log/%s is no name of a segment", names.names[n]);
        else
            code = check_segment(&c, path, n + 1 == names.count, why);
    }
    judge(&c);
    if (!code && (names.count > 0 || file >= 0)) check_mark(&c);
    ml_segment_walk_free(&c.walk);
    ml_disk_names_free(&names);
    return code;
}
