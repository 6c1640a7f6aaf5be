/* swaps.c -- which generation is live, and how another takes its place without a step back.
 *
 * When the next one has been at the end of the log, the live one is told nothing newer (frozen),
 * and the next one takes its place when it is as far. Without that it might never be, where much is
 * appended. What the old one has still to answer may come behind what the new one has answered:
 * readings.c asks that again.
 */
#include <inttypes.h>

#include "projections.h"

enum {
    FREEZE_MS = 500, /* for so long at most, */
    THAW_MS = 1000   /* and not again for so long */
};

/* Will it not move by itself? */
static bool rests(const ml_generation *g)
{
    return g->state == ML_GENERATION_PAUSED || g->state == ML_GENERATION_STOPPED;
}

static uint64_t later_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* As far as anything that it may have answered, or may still answer. */
static uint64_t reach_of(const ml_projected *p)
{
    const ml_generation *live = p->live;
    bool moves = live->process.state == ML_PROCESS_UP && !rests(live);
    return later_of(p->served, moves ? live->told : live->position);
}

static void note_ready(ml_projected *p)
{
    ml_generation *g = p->live;
    if (g == NULL || g->ready || g->process.state != ML_PROCESS_UP) return;
    bool whole = g->state == ML_GENERATION_LIVE || rests(g);
    g->ready = whole && g->position >= later_of(p->served, g->reached);
}

static void say_live(const ml_projected *p, const ml_generation *old)
{
    const ml_generation *g = p->live;
    uint64_t ms = uv_now(&p->server->loop) - g->began_ms;
    uint64_t events = g->position > g->began_at ? g->position - g->began_at : 0;
    ml_say(p->server, "info",
           "projection %s: %s is live at position %" PRIu64 "%s%s: %" PRIu64
           " events in %.3f s, %.0f a second",
           p->name, g->hash, g->position, old != NULL ? " instead of " : "",
           old != NULL ? old->hash : "", events, (double)ms / 1000,
           ms > 0 ? (double)events * 1000 / (double)ms : 0.0);
}

static void say_back(const ml_projected *p, const ml_generation *old)
{
    ml_say(p->server, "info",
           "projection %s: %s is live again at position %" PRIu64 " instead of %s", p->name,
           p->live->hash, p->live->position, old != NULL ? old->hash : "none");
}

static void answer_rollback(ml_projected *p)
{
    if (!p->rolling) return;
    p->rolling = false;
    ml_buf *out = ml_later_answer(&p->rollback);
    if (out != NULL) ml_listings_pack(p, out);
    ml_later_end(&p->rollback);
}

void ml_swaps_abandon(ml_projected *p, ml_code code, const char *sentence)
{
    p->taking = p->building;
    p->frozen = false;
    if (!p->rolling) return;
    p->rolling = false;
    ml_later_refuse(&p->rollback, code, sentence);
    ml_later_end(&p->rollback);
}

/* Where the old one goes: it is kept for a rollback, unless it is the same version once more. */
static void put_aside(ml_projected *p, ml_generation *old)
{
    if (old == NULL) return;
    if (strcmp(old->hash, p->live->hash) == 0) {
        ml_generations_drop(old, true);
        return;
    }
    if (p->before != NULL) ml_generations_drop(p->before, true);
    p->before = old;
}

static void take(ml_projected *p)
{
    ml_generation *old = p->live, *g = p->taking;
    p->live = g;
    p->taking = NULL;
    p->frozen = false;
    bool back = g == p->before;
    if (back)
        p->before = NULL;
    else
        p->building = NULL;
    g->reached = g->position;
    g->ready = true;
    if (back)
        say_back(p, old);
    else
        say_live(p, old);
    put_aside(p, old);
    ml_folders_write(p);
    answer_rollback(p);
}

static void freeze(ml_projected *p, uint64_t now)
{
    bool back = p->taking == p->before, known = p->taking->state == ML_GENERATION_LIVE;
    if (!known && !(back && rests(p->taking))) return;
    if (now < p->refrozen_ms && !p->rolling) return;
    p->frozen_at = reach_of(p);
    p->frozen_ms = now;
    p->frozen = true;
}

static void thaw(ml_projected *p, uint64_t now)
{
    if (now < p->frozen_ms + FREEZE_MS) return;
    p->refrozen_ms = now + THAW_MS;
    p->frozen = false;
    if (p->rolling)
        ml_swaps_abandon(p, ML_TIMEOUT,
                         "the version before is behind what was read already, and readers never "
                         "step back; see `moonlog projection ls`, and try again");
}

static void go_on(ml_projected *p)
{
    uint64_t now = uv_now(&p->server->loop);
    if (p->taking == NULL || p->taking->process.state != ML_PROCESS_UP) {
        p->frozen = false;
        return;
    }
    if (p->live == NULL) {
        if (p->taking->state == ML_GENERATION_LIVE) take(p);
        return;
    }
    if (!p->frozen) freeze(p, now);
    if (!p->frozen) return;
    if (p->taking->position >= later_of(p->frozen_at, p->served))
        take(p);
    else
        thaw(p, now);
}

void ml_swaps_consider(ml_projected *p)
{
    note_ready(p);
    go_on(p);
    ml_readings_go_on(p);
}

ml_code ml_swaps_roll_back(ml_projected *p, ml_error *why)
{
    if (p->building != NULL) { /* what comes is what is not wanted */
        ml_generations_drop(p->building, true);
        p->building = p->taking = NULL;
        p->frozen = false;
        answer_rollback(p);
        return ML_OK;
    }
    if (p->before == NULL)
        return ml_error_set(why, ML_NOT_FOUND, "there is no version of %s before the one of now",
                            p->name);
    p->taking = p->before;
    ml_swaps_consider(p);
    return ML_OK;
}

uint64_t ml_swaps_limit(const ml_generation *g, uint64_t durable)
{
    const ml_projected *p = g->of;
    bool frozen = g == p->live && p->frozen;
    return frozen && p->frozen_at < durable ? p->frozen_at : durable;
}
