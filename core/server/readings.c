/* readings.c -- questions to projections: asked when the view is as far as is wanted, and answered.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "projections.h"

enum {
    SPARES_MAX = 2048, /* kept for the next questions, */
    SPARE_BYTES = 512, /* each with so much room */
    CLOCK_MS = 20
};

/* ---- one -------------------------------------------------------------------------- */

static void asked(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence);

bool ml_readings_is(const ml_ask *ask)
{
    return ask->asked == asked;
}

ml_reading *ml_readings_new(ml_projected *p, const char *method)
{
    struct ml_projections *all = p->server->projections;
    ml_reading *reading = all->spare;
    if (reading != NULL) {
        all->spare = reading->next;
        all->spares--;
    } else {
        reading = calloc(1, sizeof *reading);
        if (reading == NULL) return NULL;
    }
    reading->ask.method = method;
    reading->ask.count = 1;
    reading->ask.asked = asked;
    reading->of = p;
    reading->next = NULL;
    reading->after = 0;
    reading->as_far = false;
    return reading;
}

void ml_readings_free(ml_reading *reading)
{
    struct ml_projections *all = reading->of->server->projections;
    ml_later_end(&reading->later);
    ml_buf_clear(&reading->ask.params);
    if (reading->ask.params.capacity > SPARE_BYTES) ml_buf_free(&reading->ask.params);
    if (all->spares >= SPARES_MAX || reading->of->server->stopped) {
        ml_buf_free(&reading->ask.params);
        free(reading);
        return;
    }
    reading->next = all->spare;
    all->spare = reading;
    all->spares++;
}

static void refuse(ml_reading *reading, ml_code code, const char *sentence)
{
    ml_later_refuse(&reading->later, code, sentence);
    ml_readings_free(reading);
}

static void wait(ml_reading *reading);
static bool can_ask(const ml_reading *reading, bool due);

/* Of an answer. */
static uint64_t position_of(ml_bytes result)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(result, "position"));
    int64_t position;
    return ml_unpack_int(&cursor, &position) && position > 0 ? (uint64_t)position : 0;
}

static void answer(ml_reading *reading, ml_bytes result, uint64_t position)
{
    ml_buf *out = ml_later_answer(&reading->later);
    if (out != NULL) ml_buf_add(out, result.data, result.size);
    reading->of->served = position;
    ml_readings_free(reading);
}

/* Its view is being built anew, or it comes from one that is not live any more. */
static void ask_again(ml_reading *reading, bool anew)
{
    ml_projected *p = reading->of;
    ml_error why;
    if (p->live != NULL && (anew || p->live->position < p->served)) p->live->ready = false;
    if (!can_ask(reading, false) || ml_process_ask(&p->live->process, &reading->ask, &why))
        wait(reading);
}

static void asked(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    ml_reading *reading = (ml_reading *)ask;
    uint64_t position = code ? 0 : position_of(result);
    if (code == ML_TIMEOUT || (!code && position < reading->of->served))
        ask_again(reading, code == ML_TIMEOUT);
    else if (code)
        refuse(reading, code, sentence);
    else
        answer(reading, result, position);
}

/* ---- waiting ---------------------------------------------------------------------- */

/* Is it where it stays, unless somebody does something? */
static bool stands(const ml_projected *p)
{
    const ml_generation *next = p->building;
    return p->live != NULL && p->live->state == ML_GENERATION_STOPPED &&
           (next == NULL || next->state == ML_GENERATION_STOPPED);
}

/* Is a version on its way that is to be asked instead? */
static bool has_next(const ml_projected *p)
{
    const ml_generation *next = p->building;
    return next != NULL &&
           (next->state == ML_GENERATION_STARTING || next->state == ML_GENERATION_BUILDING ||
            next->state == ML_GENERATION_LIVE);
}

/* `due`: it will not wait any more. */
static bool can_ask(const ml_reading *reading, bool due)
{
    const ml_projected *p = reading->of;
    const ml_generation *live = p->live;
    if (live == NULL || !live->ready) return false;
    if (reading->as_far && has_next(p)) return due;
    if (live->position >= reading->after) return true;
    return reading->as_far && (due || stands(p) || live->state == ML_GENERATION_PAUSED);
}

/* "43 % of 1000000 events, about 12 s to go" */
static void describe(const ml_generation *g, uint64_t durable, char *text, size_t size)
{
    uint64_t eta_ms = ml_generations_eta_ms(g);
    int used =
        snprintf(text, size, "%u %% of %" PRIu64 " events", ml_generations_percent(g), durable);
    if (used > 0 && (size_t)used < size && eta_ms > 0)
        snprintf(text + used, size - (size_t)used, ", about %" PRIu64 " s to go",
                 (eta_ms + 999) / 1000);
}

/* Why it has waited in vain. */
static ml_code explain(const ml_reading *reading, ml_error *why)
{
    const ml_projected *p = reading->of;
    const ml_generation *live = p->live, *g = live != NULL ? live : p->building;
    char text[128];
    if (g == NULL)
        return ml_error_set(why, ML_NOT_FOUND, "no active rule defines the projection %s", p->name);
    if (g->failures > 0) /* perhaps it tries again just now */
        return ml_error_set(why, g->trouble.code, "%s", g->trouble.sentence);
    describe(g, ml_projections_durable(p->server), text, sizeof text);
    if (live == NULL)
        return ml_error_set(why, ML_TIMEOUT,
                            "projection %s is being built for the first time: %s; ask again then",
                            p->name, text);
    if (!live->ready)
        return ml_error_set(why, ML_TIMEOUT,
                            "projection %s is not yet as far as it was read before: %s; ask again",
                            p->name, text);
    return ml_error_set(why, ML_TIMEOUT,
                        "projection %s has come to position %" PRIu64 ", and not yet to %" PRIu64
                        "; ask again, or look at `moonlog projection ls`",
                        p->name, live->position, reading->after);
}

/* What nobody needs to wait for: it has stopped. */
static ml_code check_stopped(const ml_reading *reading, ml_error *why)
{
    const ml_projected *p = reading->of;
    const ml_generation *g = p->live != NULL ? p->live : p->building;
    bool first = p->live == NULL && g != NULL && g->state == ML_GENERATION_STOPPED;
    if (!first && (!stands(p) || reading->as_far)) return ML_OK;
    ml_bytes reason = ml_generations_reason(g);
    return ml_error_set(why, ml_generations_code(g),
                        "projection %s %s at position %" PRIu64 ": %.*s", p->name,
                        first ? "was never complete: it stopped" : "has stopped",
                        g->stopped_at > 0 ? g->stopped_at : g->position, ML_SHOW(reason));
}

static void look_at_clock(uv_timer_t *timer)
{
    ml_server *server = timer->data;
    for (ml_projected *p = server->projections->all; p != NULL; p = p->next)
        if (p->first != NULL) ml_readings_go_on(p);
    ml_listings_go_on(server);
    ml_looks_go_on(server);
    if (server->projections->waiting == 0) uv_timer_stop(timer);
}

void ml_readings_watch(ml_server *server)
{
    struct ml_projections *all = server->projections;
    if (uv_is_active((uv_handle_t *)&all->clock)) return;
    uv_timer_start(&all->clock, look_at_clock, CLOCK_MS, CLOCK_MS);
}

static void wait(ml_reading *reading)
{
    ml_projected *p = reading->of;
    struct ml_projections *all = p->server->projections;
    reading->next = NULL;
    if (p->first == NULL)
        p->first = reading;
    else
        p->last->next = reading;
    p->last = reading;
    all->waiting++;
    ml_readings_watch(p->server);
}

ml_code ml_readings_send(ml_reading *reading, ml_error *why)
{
    ml_projected *p = reading->of;
    if (can_ask(reading, false)) return ml_process_ask(&p->live->process, &reading->ask, why);
    if (reading->ask.params.failed) return ml_error_memory(why, "a question to a projection");
    if (p->server->draining)
        return ml_error_set(why, ML_SHUTTING_DOWN, "the daemon is stopping; ask when it is back");
    if (p->server->projections->waiting >= ML_PROJECTIONS_WAITING_MAX)
        return ml_error_set(why, ML_LIMIT, "%d questions wait for projections already",
                            ML_PROJECTIONS_WAITING_MAX);
    ml_code code = check_stopped(reading, why);
    if (!code) wait(reading);
    return code;
}

void ml_readings_again(ml_reading *reading)
{
    if (reading->of->server->draining)
        refuse(reading, ML_SHUTTING_DOWN, "the daemon is stopping; ask when it is back");
    else
        wait(reading);
}

void ml_readings_go_on(ml_projected *p)
{
    ml_reading *all = p->first;
    uint64_t now = uv_now(&p->server->loop);
    ml_error why;
    p->first = p->last = NULL;
    while (all != NULL) {
        ml_reading *reading = all;
        all = all->next;
        p->server->projections->waiting--;
        ml_code code = ML_OK;
        if (can_ask(reading, reading->due_ms <= now)) {
            code = ml_process_ask(&p->live->process, &reading->ask, &why);
        } else {
            code = reading->due_ms <= now ? explain(reading, &why) : check_stopped(reading, &why);
            if (!code) wait(reading);
        }
        if (code) refuse(reading, code, why.sentence);
    }
}

void ml_readings_fail_all(ml_server *server, ml_code code, const char *sentence)
{
    for (ml_projected *p = server->projections->all; p != NULL; p = p->next) {
        ml_reading *reading = p->first;
        p->first = p->last = NULL;
        while (reading != NULL) {
            ml_reading *next = reading->next;
            server->projections->waiting--;
            refuse(reading, code, sentence);
            reading = next;
        }
    }
}
