/* listings.c -- how projections are doing, for projection.list and status. What has just been
 * started is waited for, for a moment: it knows how far it is when it has opened its view. */
#include <stdlib.h>

#include "../base/clock.h"
#include "projections.h"

enum { WAIT_MS = 2000 };

struct ml_listing {
    struct ml_listing *next;
    ml_server *server;
    ml_later later;
    uint64_t due_ms;
    char name[ML_PROJECTIONS_NAME]; /* "": all */
};

/* ---- an entry --------------------------------------------------------------------- */

static void pack_natural(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

/* As it was told; nil if it was not. */
static void pack_told(ml_buf *out, const ml_generation *g, const char *name)
{
    ml_bytes value = ml_unpack_find(ml_buf_view(&g->report), name);
    ml_pack_text(out, name);
    if (value.size > 0)
        ml_buf_add(out, value.data, value.size);
    else
        ml_pack_nil(out);
}

/* How long the first event that it does not have has been there. */
static double seconds_behind(ml_server *server, uint64_t position)
{
    ml_selection selection = {.system = true, .has_from = true, .from = position + 1, .limit = 1};
    ml_cursor *cursor;
    ml_event event = {.time = INT64_MAX};
    double seconds = 0;
    int64_t now = ml_clock_wall_us();
    ml_code code = ml_read(server->store, &selection, &cursor);
    if (!code) code = ml_next(cursor, &event);
    if (!code && now > event.time) seconds = (double)(now - event.time) / 1e6;
    ml_cursor_free(cursor);
    return seconds;
}

static void pack_lag(ml_buf *out, const ml_generation *g, ml_server *server, uint64_t left)
{
    ml_pack_text(out, "lag");
    ml_pack_map(out, 2);
    pack_natural(out, "events", left);
    ml_pack_text(out, "seconds");
    ml_pack_double(out, left > 0 ? seconds_behind(server, g->position) : 0.0);
}

/* In seconds; nil if it is not known. */
static void pack_eta(ml_buf *out, const ml_generation *g, uint64_t left)
{
    uint64_t ms = left > 0 ? ml_generations_eta_ms(g) : 0;
    ml_pack_text(out, "eta");
    if (ms > 0)
        ml_pack_double(out, (double)ms / 1000);
    else
        ml_pack_nil(out);
}

static const char *state_of(const ml_projected *p, const ml_generation *g)
{
    if (g == NULL) return "failed";                                   /* no memory for it */
    if (p->paused && g->state == ML_GENERATION_LIVE) return "paused"; /* it will know in a moment */
    bool behind = g == p->live && g->state == ML_GENERATION_BUILDING && g->ready;
    return behind ? "live" : ml_generations_state_name(g->state);
}

static void pack_generation(const ml_projected *p, const ml_generation *g, ml_buf *out)
{
    ml_pack_map(out, 8);
    ml_packs_pack(out, "hash", (ml_bytes){g->hash, strlen(g->hash)});
    ml_packs_pack(out, "folder", (ml_bytes){g->folder, strlen(g->folder)});
    ml_pack_text(out, "role");
    ml_pack_text(out, g == p->live ? "live" : g == p->before ? "before" : "next");
    ml_pack_text(out, "state");
    ml_pack_text(out, state_of(p, g));
    pack_natural(out, "position", g->position);
    ml_pack_text(out, "pid");
    if (g->process.alive)
        ml_pack_int(out, g->process.child.pid);
    else
        ml_pack_nil(out);
    pack_told(out, g, "incremental");
    ml_pack_text(out, "error");
    ml_generations_pack_error(g, out);
}

static void pack_generations(const ml_projected *p, ml_buf *out)
{
    const ml_generation *all[] = {p->live, p->building, p->before};
    size_t begin = ml_pack_begin(out);
    uint32_t count = 0;
    for (size_t n = 0; n < 3; n++)
        if (all[n] != NULL) pack_generation(p, all[n], out), count++;
    ml_pack_end_array(out, begin, count);
}

void ml_listings_pack(const ml_projected *p, ml_buf *out)
{
    static const ml_generation nothing;
    static const char *const told[] = {"rate", "events", "rows", "bytes", "digest", "late", "held", "held_keys"};
    const ml_generation *shown = p->live != NULL ? p->live : p->building;
    const ml_generation *g = shown != NULL ? shown : &nothing;
    uint64_t durable = ml_projections_durable(p->server),
             left = durable > g->position ? durable - g->position : 0;
    ml_pack_map(out, 16);
    ml_packs_pack(out, "name", (ml_bytes){p->name, strlen(p->name)});
    ml_packs_pack(out, "hash", (ml_bytes){g->hash, strlen(g->hash)});
    ml_pack_text(out, "state");
    ml_pack_text(out, state_of(p, shown));
    pack_natural(out, "position", g->position);
    pack_lag(out, g, p->server, left);
    pack_eta(out, g, left);
    for (size_t n = 0; n < sizeof told / sizeof *told; n++)
        pack_told(out, g, told[n]);
    ml_pack_text(out, "error");
    ml_generations_pack_error(g, out);
    ml_pack_text(out, "generations");
    pack_generations(p, out);
}

static void pack_briefly(const ml_projected *p, const ml_generation *g, ml_buf *out)
{
    bool up = g != NULL && g->process.state == ML_PROCESS_UP;
    ml_pack_map(out, 5);
    ml_packs_pack(out, "name", (ml_bytes){p->name, strlen(p->name)});
    ml_pack_text(out, "state");
    ml_pack_text(out, state_of(p, g));
    pack_natural(out, "position", g != NULL ? g->position : 0);
    ml_pack_text(out, "pid");
    if (up)
        ml_pack_int(out, g->process.child.pid);
    else
        ml_pack_nil(out);
    ml_pack_text(out, "running");
    ml_pack_bool(out, up && g->process.page->doing.began != 0);
}

void ml_listings_pack_status(const ml_server *server, ml_buf *out)
{
    size_t begin = ml_pack_begin(out);
    uint32_t count = 0;
    for (const ml_projected *p = server->projections->all; p != NULL; p = p->next) {
        if (!p->defined) continue;
        pack_briefly(p, p->live != NULL ? p->live : p->building, out);
        count++;
    }
    ml_pack_end_array(out, begin, count);
}

/* ---- a list ----------------------------------------------------------------------- */

/* In the daemon of a command also what has not come as far as it will. */
static bool is_starting(const ml_server *server, const ml_generation *g)
{
    if (g == NULL || g->process.state != ML_PROCESS_UP) return false;
    if (g->state == ML_GENERATION_STARTING) return true;
    if (server->options->client < 0) return false;
    return g->state == ML_GENERATION_BUILDING ||
           (g->state == ML_GENERATION_LIVE && g->position < ml_projections_durable(server));
}

static bool is_listed(const struct ml_listing *listing, const ml_projected *p)
{
    return p->defined && (listing->name[0] == '\0' || strcmp(listing->name, p->name) == 0);
}

static bool must_wait(const struct ml_listing *listing)
{
    bool waits = false;
    if (uv_now(&listing->server->loop) >= listing->due_ms || listing->server->draining)
        return false;
    for (const ml_projected *p = listing->server->projections->all; p != NULL; p = p->next)
        if (is_listed(listing, p))
            waits |=
                is_starting(listing->server, p->live) || is_starting(listing->server, p->building);
    return waits;
}

static void answer(const struct ml_listing *listing)
{
    ml_buf *out = ml_later_answer(&listing->later);
    uint32_t count = 0;
    if (out == NULL) return;
    ml_pack_map(out, 2);
    ml_pack_text(out, "projections");
    size_t begin = ml_pack_begin(out);
    for (const ml_projected *p = listing->server->projections->all; p != NULL; p = p->next)
        if (is_listed(listing, p)) ml_listings_pack(p, out), count++;
    ml_pack_end_array(out, begin, count);
    pack_natural(out, "position", ml_projections_durable(listing->server));
}

void ml_listings_go_on(ml_server *server)
{
    struct ml_listing **at = &server->projections->listings;
    while (*at != NULL) {
        struct ml_listing *listing = *at;
        if (must_wait(listing)) {
            at = &listing->next;
            continue;
        }
        *at = listing->next;
        server->projections->waiting--;
        answer(listing);
        ml_later_end(&listing->later);
        free(listing);
    }
}

ml_code ml_listings_begin(ml_call *call, ml_bytes name)
{
    ml_server *server = call->server;
    struct ml_projections *all = server->projections;
    struct ml_listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) return ml_error_memory(&call->why, "a list");
    ml_projections_want(server);
    if (name.size > 0) memcpy(listing->name, name.data, name.size);
    listing->server = server;
    listing->later = ml_later_begin(call, 0);
    listing->due_ms = uv_now(&server->loop) + WAIT_MS;
    listing->next = all->listings;
    all->listings = listing;
    all->waiting++;
    ml_readings_watch(server);
    ml_listings_go_on(server);
    return ML_OK;
}
