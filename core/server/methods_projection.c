/* methods_projection.c -- projection.get and scan, which are passed on; list; and what is done by
 * hand. */
#include <inttypes.h>
#include <stdlib.h>

#include "projections.h"

/* ---- get, scan -------------------------------------------------------------------- */

static ml_projected *find(ml_call *call, const ml_params *params)
{
    ml_bytes name = {0};
    if (ml_params_str(params, "name", &name, &call->why)) return NULL;
    if (name.size == 0) {
        ml_error_set(&call->why, ML_BAD_REQUEST, "which projection? give a name");
        return NULL;
    }
    return ml_projections_get(call->server, name, &call->why);
}

/* Packs those that were given, as they came. */
static void pack_wishes(ml_buf *out, const ml_params *params, const char *const *names)
{
    size_t begin = ml_pack_begin(out);
    uint32_t count = 0;
    for (; *names != NULL; names++) {
        ml_bytes value = ml_params_raw(params, *names);
        if (value.size == 0) continue;
        ml_pack_text(out, *names);
        ml_buf_add(out, value.data, value.size);
        count++;
    }
    ml_pack_end_map(out, begin, count);
}

static ml_ended pass_on(ml_call *call, const ml_params *params, const char *method,
                        const char *const *wishes)
{
    int64_t after = 0, at = 0, timeout = ML_PROJECTIONS_TIMEOUT_MS;
    bool given = false, past = false;
    ml_projected *p = find(call, params);
    if (p == NULL || ml_params_int(params, "after", 0, INT64_MAX, &after, &given, &call->why) ||
        ml_params_int(params, "at", 0, INT64_MAX, &at, &past, &call->why) ||
        ml_params_int(params, "timeout_ms", 0, ML_PROJECTIONS_TIMEOUT_MAX, &timeout, NULL,
                      &call->why))
        return ML_REFUSED;
    ml_reading *reading = ml_readings_new(p, method);
    if (reading == NULL) {
        ml_error_memory(&call->why, "a question to a projection");
        return ML_REFUSED;
    }
    /* Where it runs for one command, that is to see what there is. */
    if (!given && call->server->options->client >= 0) {
        after = (int64_t)ml_projections_durable(call->server);
        reading->as_far = true;
    }
    reading->after = (uint64_t)after;
    reading->due_ms = uv_now(&call->server->loop) + (uint64_t)timeout;
    pack_wishes(&reading->ask.params, params, wishes);
    reading->later = (ml_later){0};
    if (past ? ml_looks_send(reading, (uint64_t)at, &call->why)
             : ml_readings_send(reading, &call->why)) {
        ml_readings_free(reading);
        return ML_REFUSED;
    }
    reading->later = ml_later_begin(call, 0);
    return ML_ANSWERED;
}

ml_ended ml_methods_projection_get(ml_call *call, const ml_params *params)
{
    static const char *const wishes[] = {"key", "window", NULL};
    return pass_on(call, params, "get", wishes);
}

ml_ended ml_methods_projection_scan(ml_call *call, const ml_params *params)
{
    static const char *const wishes[] = {"prefix", "index",    "from", "to",
                                         "limit",  "backward", NULL};
    return pass_on(call, params, "scan", wishes);
}

/* ---- list ------------------------------------------------------------------------- */

ml_ended ml_methods_projection_list(ml_call *call, const ml_params *params)
{
    ml_server *server = call->server;
    ml_bytes name = {0};
    ml_error *why = &call->why;
    if (ml_params_str(params, "name", &name, why)) return ML_REFUSED;
    if (name.size > 0 && ml_projections_get(server, name, why) == NULL) return ML_REFUSED;
    return ml_listings_begin(call, name) ? ML_REFUSED : ML_ANSWERED;
}

/* ---- by hand ---------------------------------------------------------------------- */

static ml_ended answer_now(ml_call *call, const ml_projected *p)
{
    ml_listings_pack(p, ml_dispatch_answer(call->conn, call->msgid));
    return ML_ANSWERED;
}

static ml_ended write_deed(ml_call *call, ml_projected *p, const ml_params *params,
                           ml_ledger_entry *entry)
{
    if (ml_params_str(params, "actor", &entry->actor, &call->why)) return ML_REFUSED;
    if (call->server->draining) {
        ml_error_set(&call->why, ML_SHUTTING_DOWN, "the daemon is stopping; try when it is back");
        return ML_REFUSED;
    }
    ml_later later = ml_later_begin(call, 0);
    if (ml_ledger_write(p, entry, later, &call->why) == ML_OK) return ML_ANSWERED;
    ml_later_end(&later);
    return ML_REFUSED;
}

static ml_ended pause_or_resume(ml_call *call, const ml_params *params, bool paused)
{
    ml_projected *p = find(call, params);
    ml_ledger_entry entry = {.deed = paused ? ML_DEED_PAUSED : ML_DEED_RESUMED};
    if (p == NULL) return ML_REFUSED;
    if (p->paused == paused && p->writing == 0) return answer_now(call, p);
    return write_deed(call, p, params, &entry);
}

ml_ended ml_methods_projection_pause(ml_call *call, const ml_params *params)
{
    return pause_or_resume(call, params, true);
}

ml_ended ml_methods_projection_resume(ml_call *call, const ml_params *params)
{
    return pause_or_resume(call, params, false);
}

ml_ended ml_methods_projection_rebuild(ml_call *call, const ml_params *params)
{
    char folder[ML_PROJECTIONS_FOLDER];
    ml_projected *p = find(call, params);
    if (p == NULL) return ML_REFUSED;
    ml_projections_next_folder(p, folder);
    ml_ledger_entry entry = {.deed = ML_DEED_REBUILT, .hash = p->wanted, .folder = folder};
    return write_deed(call, p, params, &entry);
}

/* The version that is not wanted any more: the one that builds, or else the live one. */
ml_ended ml_methods_projection_rollback(ml_call *call, const ml_params *params)
{
    ml_projected *p = find(call, params);
    if (p == NULL) return ML_REFUSED;
    const ml_generation *from = p->building != NULL ? p->building : p->live;
    bool possible = p->live != NULL && (p->building != NULL || p->before != NULL);
    if (!possible || p->rolling) {
        ml_error_set(&call->why, possible ? ML_LIMIT : ML_NOT_FOUND,
                     possible ? "%s is being rolled back already"
                              : "there is no version of %s before the one of now",
                     p->name);
        return ML_REFUSED;
    }
    ml_ledger_entry entry = {.deed = ML_DEED_ROLLED_BACK, .hash = from->hash};
    return write_deed(call, p, params, &entry);
}

ml_ended ml_methods_projection_retry(ml_call *call, const ml_params *params)
{
    ml_projected *p = find(call, params);
    ml_ledger_entry entry = {.deed = ML_DEED_RETRIED};
    return p != NULL ? write_deed(call, p, params, &entry) : ML_REFUSED;
}

/* ---- skipping --------------------------------------------------------------------- */

/* An event that keys are held for: only the process knows them, so it is asked first. */
typedef struct skipping {
    ml_ask ask;
    ml_later later;
    ml_projected *p;
    uint64_t position;
    char hash[ML_RULES_HASH + 1];
    ml_buf reason, actor;
} skipping;

static void end_skipping(skipping *s)
{
    ml_later_end(&s->later);
    ml_buf_free(&s->ask.params);
    ml_buf_free(&s->reason);
    ml_buf_free(&s->actor);
    free(s);
}

static void released(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    skipping *s = (skipping *)ask;
    ml_error why;
    ml_ledger_entry entry = {.deed = ML_DEED_SKIPPED,
                             .position = s->position,
                             .hash = s->hash,
                             .reason = ml_buf_view(&s->reason),
                             .actor = ml_buf_view(&s->actor),
                             .done = true};
    (void)result;
    if (!code) {
        code = ml_ledger_write(s->p, &entry, s->later, &why);
        sentence = why.sentence;
        if (!code) s->later.conn = NULL; /* taken over */
    }
    if (code) ml_later_refuse(&s->later, code, sentence);
    end_skipping(s);
}

static ml_ended release(ml_call *call, ml_projected *p, ml_generation *g,
                        const ml_ledger_entry *entry)
{
    skipping *s = calloc(1, sizeof *s);
    if (s == NULL) {
        ml_error_memory(&call->why, "an event to be skipped");
        return ML_REFUSED;
    }
    s->ask = (ml_ask){.method = "skip", .count = 1, .asked = released};
    ml_pack_int(&s->ask.params, (int64_t)entry->position);
    s->p = p;
    s->position = entry->position;
    memcpy(s->hash, g->hash, sizeof s->hash);
    ml_buf_add(&s->reason, entry->reason.data, entry->reason.size);
    ml_buf_add(&s->actor, entry->actor.data, entry->actor.size);
    s->ask.params.failed |= s->reason.failed | s->actor.failed;
    if (ml_process_ask(&g->process, &s->ask, &call->why)) {
        end_skipping(s);
        return ML_REFUSED;
    }
    s->later = ml_later_begin(call, 0);
    return ML_ANSWERED;
}

typedef enum found { NOWHERE, STOPPED, PERHAPS_HELD } found;

/* Which version has stopped at the event, or may hold a key for it? */
static found find_event(const ml_projected *p, uint64_t *position, ml_generation **at)
{
    ml_generation *all[] = {p->live, p->building, p->before};
    for (size_t n = 0; n < 3; n++) {
        *at = all[n];
        if (*at == NULL || !ml_generations_stopped_at(*at, *position)) continue;
        *position = (*at)->stopped_at;
        return STOPPED;
    }
    for (size_t n = 0; n < 3 && *position > 0; n++) {
        *at = all[n];
        if (*at != NULL && ml_generations_holds(*at)) return PERHAPS_HELD;
    }
    return NOWHERE;
}

ml_ended ml_methods_projection_skip(ml_call *call, const ml_params *params)
{
    int64_t given = 0;
    ml_generation *g;
    ml_projected *p = find(call, params);
    ml_ledger_entry entry = {.deed = ML_DEED_SKIPPED};
    if (p == NULL || ml_params_int(params, "position", 1, INT64_MAX, &given, NULL, &call->why) ||
        ml_params_str(params, "reason", &entry.reason, &call->why) ||
        ml_params_str(params, "actor", &entry.actor, &call->why))
        return ML_REFUSED;
    if (entry.reason.size == 0) {
        ml_error_set(&call->why, ML_BAD_REQUEST, "why may it be skipped? give a reason");
        return ML_REFUSED;
    }
    entry.position = (uint64_t)given;
    switch (find_event(p, &entry.position, &g)) {
    case STOPPED: entry.hash = g->hash; return write_deed(call, p, params, &entry);
    case PERHAPS_HELD: return release(call, p, g, &entry);
    case NOWHERE: break;
    }
    entry.position = 0;
    bool elsewhere = given > 0 && find_event(p, &entry.position, &g) == STOPPED;
    if (elsewhere)
        ml_error_set(&call->why, ML_NOT_FOUND,
                     "%s has not stopped at position %" PRId64 ", but at %" PRIu64, p->name, given,
                     entry.position);
    else if (given > 0)
        ml_error_set(&call->why, ML_NOT_FOUND, "%s has not stopped at position %" PRId64, p->name,
                     given);
    else
        ml_error_set(&call->why, ML_NOT_FOUND, "%s has not stopped at an event", p->name);
    return ML_REFUSED;
}
