/* projections.c -- see projections.h: which there are, what of them runs, what they are told. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/clock.h"
#include "projections.h"
#include "rules.h"

enum {
    TELL_US = 1000,   /* how often a projector is told that the log has grown */
    TICK_US = 1000000 /* how often time is written into the log at most */
};
#define KIND "projection/"

static const ml_pack_unit *unit_of(const ml_pack *pack, const ml_projected *p)
{
    char unit[ML_PROJECTIONS_NAME + sizeof KIND];
    int size = snprintf(unit, sizeof unit, KIND "%s", p->name);
    return ml_packs_unit(pack, (ml_bytes){unit, (size_t)size});
}

static bool is_hash(ml_bytes hash, const char *text)
{
    return text[0] != '\0' && ml_bytes_equal(hash, (ml_bytes){text, strlen(text)});
}

/* The hash that a folder is named after: up to a '.', if there is one. */
static bool is_folder_of(const char *folder, ml_bytes hash)
{
    size_t size = strcspn(folder, ".");
    return size > 0 && ml_bytes_equal(hash, (ml_bytes){folder, size});
}

uint64_t ml_projections_durable(const ml_server *server)
{
    return server->projections->durable;
}

/* ---- finding ---------------------------------------------------------------------- */

static ml_projected *find(const ml_server *server, ml_bytes name)
{
    ml_projected *p = server->projections->all;
    while (p != NULL && !ml_bytes_equal(name, (ml_bytes){p->name, strlen(p->name)}))
        p = p->next;
    return p;
}

ml_projected *ml_projections_find(ml_server *server, ml_bytes name)
{
    ml_projected *p = find(server, name);
    if (p != NULL || name.size >= ML_PROJECTIONS_NAME) return p;
    p = calloc(1, sizeof *p);
    if (p == NULL) return NULL;
    p->server = server;
    memcpy(p->name, name.data, name.size);
    ml_projected **at = &server->projections->all; /* in the order of names */
    while (*at != NULL && strcmp((*at)->name, p->name) < 0)
        at = &(*at)->next;
    p->next = *at;
    *at = p;
    return p;
}

static const char *nearest(const ml_server *server, ml_bytes name)
{
    const char *names[64];
    size_t count = 0;
    for (const ml_projected *p = server->projections->all; p != NULL && count < 63; p = p->next)
        if (p->defined) names[count++] = p->name;
    names[count] = NULL;
    return ml_params_nearest(name, names);
}

ml_projected *ml_projections_get(ml_server *server, ml_bytes name, ml_error *why)
{
    if (server->options->read_only) {
        ml_error_set(why, ML_READ_ONLY,
                     "projections are kept by the daemon that writes; ask that one");
        return NULL;
    }
    ml_projected *p = find(server, name);
    if (p != NULL && p->defined) {
        ml_projections_want(server);
        return p;
    }
    const char *near = nearest(server, name);
    name = ml_params_shown(name);
    ml_error_set(why, ML_NOT_FOUND, "no active rule defines the projection %.*s%s%s%s",
                 ML_SHOW(name), near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                 near != NULL ? "?" : "");
    return NULL;
}

/* ---- what was active before ------------------------------------------------------- */

/* Two things are found by looking back: from which activation on a name, or a version of it, was
 * there; and the packs of the versions that are on the disk. */
static ml_generation *take_version(ml_projected *p, ml_generation *there, const char *folder,
                                   const ml_pack_unit *unit, const ml_pack *pack)
{
    if (there != NULL || !is_folder_of(folder, unit->hash)) return there;
    return ml_generations_new(p, unit->hash, pack->files, folder);
}

static bool trace(ml_projected *p, const ml_pack *pack)
{
    const ml_pack_unit *unit = unit_of(pack, p);
    p->tracing = p->tracing && unit != NULL;
    p->tracing_version = p->tracing_version && unit != NULL && is_hash(unit->hash, p->wanted);
    if (p->tracing) p->since = pack->position;
    if (p->tracing_version) p->version_since = pack->position;
    if (unit != NULL) {
        p->live = take_version(p, p->live, p->found.live, unit, pack);
        p->before = take_version(p, p->before, p->found.before, unit, pack);
    }
    return p->tracing || (p->found.live[0] != '\0' && p->live == NULL) ||
           (p->found.before[0] != '\0' && p->before == NULL);
}

static bool look_back(void *context, ml_pack *pack)
{
    ml_server *server = context;
    bool more = false;
    for (ml_projected *p = server->projections->all; p != NULL; p = p->next)
        if (p->appearing && trace(p, pack)) more = true;
    return more;
}

/* ---- following the rules ---------------------------------------------------------- */

static void appear(ml_projected *p, const ml_pack *active, const ml_pack_unit *unit)
{
    p->defined = p->appearing = p->tracing = p->tracing_version = true;
    p->since = p->version_since = active->position;
    snprintf(p->wanted, sizeof p->wanted, "%.*s", ML_SHOW(unit->hash));
    ml_folders_read(p, &p->found);
}

/* Its last view stays on the disk: the rules may be rolled back. */
static void disappear(ml_projected *p)
{
    p->defined = false;
    ml_swaps_abandon(p, ML_NOT_FOUND, "the rules that are active now do not define it");
    if (p->building != NULL) ml_generations_drop(p->building, true);
    if (p->before != NULL) ml_generations_drop(p->before, true);
    if (p->live != NULL) ml_generations_drop(p->live, false);
    p->live = p->building = p->before = p->taking = NULL;
    p->served = 0;
    ml_readings_go_on(p);
}

static void drop_building(ml_projected *p)
{
    if (p->building != NULL) ml_generations_drop(p->building, true);
    if (p->taking == p->building) p->taking = NULL;
    p->building = NULL;
    p->frozen = false;
}

static void build(ml_projected *p, const ml_pack *active, const char *folder, bool full)
{
    const ml_pack_unit *unit = unit_of(active, p);
    drop_building(p);
    if (folder != NULL && ml_generations_busy(p, folder)) folder = NULL;
    p->building = ml_generations_new(p, unit->hash, active->files, folder);
    p->taking = p->building;
    if (p->building == NULL)
        ml_say(p->server, "error", "no memory to build the projection %s", p->name);
    else
        p->building->full = full;
}

/* A rebuild that was asked for, and is not live yet. */
static bool is_rebuilding(const ml_projected *p, ml_bytes hash)
{
    return is_folder_of(p->rebuilt, hash) && p->live != NULL &&
           strcmp(p->live->folder, p->rebuilt) != 0;
}

static void follow_version(ml_projected *p, const ml_pack *active)
{
    ml_bytes hash = unit_of(active, p)->hash;
    bool refused = is_hash(hash, p->refused) && p->live != NULL;
    if (!is_hash(hash, p->wanted)) {
        p->version_since = active->position;
        snprintf(p->wanted, sizeof p->wanted, "%.*s", ML_SHOW(hash));
        p->refused[0] = p->rebuilt[0] = '\0';
        refused = false;
        ml_swaps_abandon(p, ML_NOT_FOUND, "other rules have become active meanwhile");
    }
    if (p->building != NULL && is_hash(hash, p->building->hash)) return;
    if (refused || (p->live != NULL && is_hash(hash, p->live->hash))) {
        if (!refused && is_rebuilding(p, hash))
            build(p, active, p->rebuilt, true);
        else
            drop_building(p);
    } else if (p->before != NULL && is_hash(hash, p->before->hash)) {
        drop_building(p);
        p->taking = p->before;
    } else {
        build(p, active, is_folder_of(p->rebuilt, hash) ? p->rebuilt : NULL, false);
    }
}

static void end_appearing(ml_projected *p)
{
    p->appearing = false;
    if (p->refused_at < p->version_since) p->refused[0] = '\0';
    uint64_t most = p->server->projections->durable; /* of a log that may be an older copy's */
    if (p->live != NULL) p->live->reached = p->found.position < most ? p->found.position : most;
}

static void start(ml_projected *p)
{
    ml_generation *all[] = {p->live, p->building, p->before};
    for (size_t n = 0; n < 3; n++)
        if (all[n] != NULL) ml_generations_start(all[n]);
}

static void mark_defined(ml_server *server, const ml_pack *active)
{
    for (size_t n = 0; n < active->unit_count; n++) {
        const ml_pack_unit *unit = &active->units[n];
        if (!ml_bytes_begins(unit->unit, ML_STR(KIND))) continue;
        ml_bytes name = {(const char *)unit->unit.data + sizeof KIND - 1,
                         unit->unit.size - (sizeof KIND - 1)};
        ml_projected *p = ml_projections_find(server, name);
        if (p == NULL)
            ml_say(server, "error", "no memory for the projection %.*s", ML_SHOW(name));
        else if (!p->defined)
            appear(p, active, unit);
    }
}

static void clean(ml_projected *p)
{
    ml_folders_clean(p, &p->found, p->building != NULL ? p->building->folder : "");
}

void ml_projections_follow(ml_server *server)
{
    ml_error why;
    const ml_pack *active = ml_rules_active(server);
    if (server->projections == NULL || server->options->read_only) return;
    for (ml_projected *p = server->projections->all; p != NULL; p = p->next)
        if (p->defined && unit_of(active, p) == NULL) disappear(p);
    mark_defined(server, active);
    bool looks = false;
    for (ml_projected *p = server->projections->all; p != NULL; p = p->next)
        looks |= p->appearing;
    if (looks && ml_rules_each(server, look_back, server, &why))
        ml_say(server, "error", "what was active before cannot be read: %s", why.sentence);
    for (ml_projected *p = server->projections->all; p != NULL; p = p->next) {
        bool appears = p->appearing;
        if (!p->defined) continue;
        if (appears) end_appearing(p);
        follow_version(p, active);
        if (appears && server->projections->wanted) clean(p);
        start(p);
        ml_swaps_consider(p);
    }
}

/* ---- building once more ----------------------------------------------------------- */

void ml_projections_next_folder(const ml_projected *p, char folder[ML_PROJECTIONS_FOLDER])
{
    const ml_generation *all[] = {p->live, p->building, p->before};
    unsigned highest = 1;
    for (size_t n = 0; n < 3; n++) {
        const char *dot = all[n] != NULL ? strchr(all[n]->folder, '.') : NULL;
        unsigned number = dot != NULL ? (unsigned)strtoul(dot + 1, NULL, 10) : 1;
        if (number > highest) highest = number;
    }
    do
        snprintf(folder, ML_PROJECTIONS_FOLDER, "%.12s.%u", p->wanted, ++highest % 1000000);
    while (ml_generations_busy(p, folder));
}

ml_code ml_projections_rebuild(ml_projected *p, ml_error *why)
{
    build(p, ml_rules_active(p->server), p->rebuilt, true);
    if (p->building == NULL) return ml_error_memory(why, "a projection");
    start(p);
    return ML_OK;
}

/* ---- telling ---------------------------------------------------------------------- */

static void note_durable(ml_server *server)
{
    struct ml_projections *all = server->projections;
    ml_head head;
    ml_stats stats;
    ML_IGNORE(ml_get_head(server->store, (ml_bytes){0}, &head)); /* of the log: always there */
    if (head.position == all->durable) return;
    if (ml_get_stats(server->store, &stats) == ML_OK) all->durable = stats.durable;
}

static void wake(uv_timer_t *timer)
{
    (void)timer;
} /* the turn that follows does the work */

void ml_projections_turn(ml_server *server)
{
    struct ml_projections *all = server->projections;
    if (all == NULL || all->all == NULL || !all->wanted || server->draining) return;
    note_durable(server);
    uint64_t us = uv_hrtime() / 1000;
    bool now = us - all->told_us >= TELL_US, some = false;
    for (ml_projected *p = all->all; p != NULL; p = p->next) {
        ml_generation *each[] = {p->live, p->building, p->before};
        for (size_t n = 0; n < 3; n++)
            if (each[n] != NULL && ml_generations_tell(each[n], all->durable, now)) some = true;
    }
    if (some && now) all->told_us = us;
    if (some && !now && !uv_is_active((uv_handle_t *)&all->again))
        uv_timer_start(&all->again, wake, 1, 0);
}

/* ---- time ------------------------------------------------------------------------- */

static int64_t due_of(const ml_generation *g, int64_t now)
{
    return g != NULL && g->state == ML_GENERATION_LIVE && g->closes > 0 && g->closes <= now
               ? g->closes
               : 0;
}

/* When the last event was recorded. */
static int64_t last_time(ml_server *server)
{
    ml_selection selection = {.system = true, .backward = true, .limit = 1};
    ml_cursor *cursor;
    ml_event event = {.time = INT64_MAX}; /* what cannot be read is no reason to write */
    ml_code code = ml_read(server->store, &selection, &cursor);
    if (!code) code = ml_next(cursor, &event);
    ml_cursor_free(cursor);
    return code ? INT64_MAX : event.time;
}

/* A window is to close, and the log does not tell that its time has come. */
static void tick(ml_server *server)
{
    int64_t due = 0;
    int64_t now = ml_clock_wall_us();
    for (const ml_projected *p = server->projections->all; p != NULL; p = p->next) {
        int64_t all[] = {due_of(p->live, now), due_of(p->building, now), due_of(p->before, now)};
        for (size_t n = 0; n < 3; n++)
            if (all[n] > due) due = all[n];
    }
    if (due > 0 && last_time(server) < due) ml_ledger_tick(server);
}

void ml_projections_each_second(ml_server *server)
{
    struct ml_projections *all = server->projections;
    if (all == NULL || server->draining) return;
    for (ml_projected *p = all->all; p != NULL; p = p->next)
        if (p->defined) ml_swaps_consider(p);
    if (all->wanted) tick(server);
    ml_looks_go_on(server);
}

/* ---- life ------------------------------------------------------------------------- */

void ml_projections_want(ml_server *server)
{
    struct ml_projections *all = server->projections;
    if (all->wanted || server->draining) return;
    all->wanted = true;
    note_durable(server);
    for (ml_projected *p = all->all; p != NULL; p = p->next)
        if (p->defined) start(p);
}

ml_code ml_projections_begin(ml_server *server, ml_error *why)
{
    struct ml_projections *all = calloc(1, sizeof *all);
    if (all == NULL) return ml_error_memory(why, "the projections");
    server->projections = all;
    uv_timer_init(&server->loop, &all->again);
    uv_timer_init(&server->loop, &all->clock);
    all->clock.data = server;
    ml_view_boot(all->boot);
    /* The daemon of a command starts them if that command asks. */
    all->wanted = server->options->client < 0 && !server->options->read_only;
    note_durable(server);
    if (all->wanted) ml_folders_remove_now(server, ML_PROJECTIONS_DIR "/.past");
    ml_code code = ml_ledger_read(server, why);
    if (code == ML_CORRUPT) {
        ml_say(server, "error", "what was done to projections cannot be read: %s", why->sentence);
        code = ML_OK;
    }
    if (!code) ml_projections_follow(server);
    return code;
}

void ml_projections_drain(ml_server *server)
{
    struct ml_projections *all = server->projections;
    if (all == NULL) return;
    for (ml_projected *p = all->all; p != NULL; p = p->next)
        ml_swaps_abandon(p, ML_SHUTTING_DOWN, "the daemon is stopping; ask again when it is back");
    ml_readings_fail_all(server, ML_SHUTTING_DOWN,
                         "the daemon is stopping; ask again when it is back");
    ml_listings_go_on(server);
    ml_looks_fail_all(server, ML_SHUTTING_DOWN,
                      "the daemon is stopping; ask again when it is back");
    for (ml_process *process = server->processes; process != NULL; process = process->next)
        if (ml_generations_is(process)) ml_process_finish(process);
}

bool ml_projections_ended(const ml_server *server)
{
    for (const ml_process *process = server->processes; process != NULL; process = process->next)
        if (ml_generations_is(process) && process->alive) return false;
    return true;
}

void ml_projections_free(ml_server *server)
{
    struct ml_projections *all = server->projections;
    if (all == NULL) return;
    ml_folders_end(server);
    while (all->all != NULL) {
        ml_projected *p = all->all;
        all->all = p->next;
        free(p->skips);
        free(p);
    }
    while (all->spare != NULL) {
        ml_reading *reading = all->spare;
        all->spare = reading->next;
        ml_buf_free(&reading->ask.params);
        free(reading);
    }
    free(all);
    server->projections = NULL;
}
