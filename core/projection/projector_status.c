/* projector_status.c -- how a projector is doing. */
#include "../base/pack.h"
#include "projector_inside.h"

/* ---- the rate --------------------------------------------------------------------------- */

void ml_projector_sample_now(ml_projector *p)
{
    uint64_t now = ml_projector_clock_us();
    const ml_projector_sample *last = &p->samples[(p->sampled - 1) % ML_PROJECTOR_SAMPLES];
    if (p->sampled > 0 && now - last->at_us < 1000000) return;
    p->samples[p->sampled++ % ML_PROJECTOR_SAMPLES] =
        (ml_projector_sample){.at_us = now, .events = p->events, .position = p->passed};
}

/* Since the oldest sample; 0 if it is not known yet. */
static void get_rates(const ml_projector *p, double *events, double *positions)
{
    *events = *positions = 0;
    if (p->sampled == 0) return;
    size_t oldest = p->sampled > ML_PROJECTOR_SAMPLES ? p->sampled - ML_PROJECTOR_SAMPLES : 0;
    const ml_projector_sample *from = &p->samples[oldest % ML_PROJECTOR_SAMPLES];
    double seconds = (double)(ml_projector_clock_us() - from->at_us) / 1e6;
    if (seconds < 0.1 || p->events < from->events || p->passed < from->position) return;
    *events = (double)(p->events - from->events) / seconds;
    *positions = (double)(p->passed - from->position) / seconds;
}

static double progress(const ml_projector *p)
{
    if (p->rebuild != NULL) return ml_rebuild_progress(p->rebuild) / 1000.0;
    if (p->head <= p->start || p->passed >= p->head) return 1;
    return (double)(p->passed - p->start) / (double)(p->head - p->start);
}

/* ---- packing ---------------------------------------------------------------------------- */

static void pack_text(ml_buf *out, const char *name, const char *value)
{
    ml_pack_text(out, name);
    ml_pack_text(out, value);
}

static void pack_natural(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

static void pack_digest(ml_buf *out, const uint8_t digest[ML_VIEW_DIGEST])
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * ML_VIEW_DIGEST];
    for (size_t n = 0; n < ML_VIEW_DIGEST; n++) {
        text[2 * n] = digits[digest[n] >> 4];
        text[2 * n + 1] = digits[digest[n] & 15];
    }
    ml_pack_text(out, "digest");
    ml_pack_str(out, (ml_bytes){text, sizeof text});
}

static void pack_error(const ml_projector *p, ml_buf *out)
{
    static const char *const kinds[] = {
        [ML_FAULT_NONE] = "none",     [ML_FAULT_COMPILE] = "compile",
        [ML_FAULT_RAISED] = "raised", [ML_FAULT_OVERSTAY] = "overstay",
        [ML_FAULT_MEMORY] = "memory", [ML_FAULT_SHAPE] = "shape"};
    const ml_fault *fault = &p->stop.fault;
    size_t begin = ml_pack_begin(out);
    uint32_t pairs = 2;
    pack_text(out, "code", ml_error_name(p->stop.why.code));
    pack_text(out, "sentence", p->stop.why.sentence);
    if (fault->kind != ML_FAULT_NONE) {
        pairs += 6;
        pack_text(out, "kind", kinds[fault->kind]);
        pack_text(out, "message", fault->message);
        pack_text(out, "file", fault->file);
        pack_natural(out, "line", fault->line);
        pack_text(out, "source", fault->source);
        pack_text(out, "traceback", fault->traceback);
    }
    if (p->stop.position > 0) {
        pairs += 3;
        pack_natural(out, "position", p->stop.position);
        pack_text(out, "type", p->stop.type);
        pack_text(out, "stream", p->stop.stream);
    }
    ml_pack_end_map(out, begin, pairs);
}

static const char *state_name(const ml_projector *p)
{
    static const char *const names[] = {[ML_PROJECTOR_BUILDING] = "building",
                                        [ML_PROJECTOR_LIVE] = "live",
                                        [ML_PROJECTOR_PAUSED] = "paused",
                                        [ML_PROJECTOR_STOPPED] = "stopped"};
    return names[ml_projector_get_state(p)];
}

/* The first of the keys that are held, and why. */
static void pack_held(const ml_projector *p, ml_buf *out)
{
    enum { SHOWN = 10 };
    ml_bytes key;
    uint64_t position;
    uint32_t count = 0;
    bool windowed;
    int64_t start, end;
    ml_pack_text(out, "held_keys");
    size_t begin = ml_pack_begin(out);
    for (; count < SHOWN && ml_projection_held(p->projection, count, &key, &position); count++) {
        ml_pack_map(out, 3);
        ml_pack_text(out, "key");
        if (!ml_key_pack(key, out, &windowed, &start, &end)) ml_pack_nil(out);
        pack_natural(out, "position", position);
        pack_text(out, "sentence", ml_projection_held_why(p->projection, count));
    }
    ml_pack_end_array(out, begin, count);
}

static void pack_kept(const ml_projector *p, ml_buf *out)
{
    ml_pack_text(out, "kept");
    ml_pack_array(out, (uint32_t)p->kept.count);
    for (size_t n = 0; n < p->kept.count; n++)
        ml_pack_int(out, (int64_t)p->kept.at[n]);
}

/* What is there only now and then. */
static uint32_t pack_some(const ml_projector *p, const ml_projection_stats *stats, double positions,
                          ml_buf *out)
{
    uint32_t pairs = 0;
    if (stats->held > 0) {
        pack_held(p, out);
        pairs++;
    }
    if (p->kept.count > 0) {
        pack_kept(p, out);
        pairs++;
    }
    if (p->copying.code != ML_OK) {
        pack_text(out, "copying", p->copying.sentence);
        pairs++;
    }
    if (p->full != NULL) {
        pack_text(out, "full", p->full);
        pairs++;
    }
    if (stats->closes > 0) {
        pack_natural(out, "closes", (uint64_t)stats->closes);
        pairs++;
    }
    if (positions > 0 && p->head > p->passed) {
        pack_natural(out, "eta_ms", (uint64_t)((double)(p->head - p->passed) * 1000 / positions));
        pairs++;
    }
    if (p->stop.why.code == ML_OK) return pairs;
    ml_pack_text(out, "error");
    pack_error(p, out);
    return pairs + 1;
}

void ml_projector_pack_status(const ml_projector *p, ml_buf *out)
{
    enum { ALWAYS = 14 };
    ml_view_stats view = {0};
    ml_projection_stats stats;
    double events, positions;
    if (p->view != NULL) ml_view_get_stats(p->view, &view);
    ml_projection_get_stats(p->projection, &stats);
    get_rates(p, &events, &positions);
    size_t begin = ml_pack_begin(out);
    pack_text(out, "state", state_name(p));
    pack_text(out, "hash", p->unit->hash);
    pack_natural(out, "position", ml_projector_position(p));
    pack_natural(out, "events", p->events);
    pack_natural(out, "skipped", p->skipped);
    pack_natural(out, "rows", view.rows);
    pack_natural(out, "bytes", view.bytes);
    pack_digest(out, view.digest);
    pack_natural(out, "late", stats.late);
    pack_natural(out, "held", stats.held);
    pack_natural(out, "commits", view.commits);
    ml_pack_text(out, "incremental");
    ml_pack_bool(out, p->incremental);
    ml_pack_text(out, "progress");
    ml_pack_double(out, progress(p));
    ml_pack_text(out, "rate");
    ml_pack_double(out, events);
    ml_pack_end_map(out, begin, ALWAYS + pack_some(p, &stats, positions, out));
}
