/* rules.c -- see rules.h. */
#include "rules.h"

#include <inttypes.h>
#include <stdlib.h>

#include "loads.h"
#include "projections.h"
#include "workers.h"

enum { HISTORY_MAX = 1000 }; /* activations that are looked back at */

/* ---- history ---------------------------------------------------------------------- */

static const char *const activations[] = {"RulesActivated", "RulesRolledBack"};

/* The activation that an event tells of; false if it is something else. */
static bool read_activation(const ml_event *event, ml_pack *pack)
{
    for (size_t n = 0; n < sizeof activations / sizeof *activations; n++) {
        if (!ml_params_is(activations[n], event->type)) continue;
        if (ml_packs_read(pack, event->data, NULL)) return false;
        pack->position = event->position;
        pack->time = event->time;
        pack->type = activations[n];
        return true;
    }
    return false;
}

ml_code ml_rules_each(ml_server *server, bool (*each)(void *context, ml_pack *pack), void *context,
                      ml_error *why)
{
    ml_selection selection = {.stream = ML_PACKS_STREAM, .backward = true, .limit = HISTORY_MAX};
    ml_cursor *cursor;
    ml_event event;
    ml_code code = ml_read(server->store, &selection, &cursor);
    bool going = true;
    while (!code && going && (code = ml_next(cursor, &event)) == ML_OK) {
        ml_pack pack;
        if (!read_activation(&event, &pack)) continue;
        going = each(context, &pack);
        ml_packs_free(&pack); /* empty if it was taken over */
    }
    ml_cursor_free(cursor);
    if (code == ML_OK || code == ML_END || code == ML_NOT_FOUND) return ML_OK;
    return ml_error_retell(why, code, ml_why(server->store));
}

/* ---- what is active --------------------------------------------------------------- */

const ml_pack *ml_rules_active(const ml_server *server)
{
    return &server->rules->active;
}

bool ml_rules_changing(const ml_server *server)
{
    return server->rules->changing;
}

bool ml_rules_loading(const ml_server *server)
{
    return server->rules->first != NULL;
}

void ml_rules_compare(ml_server *server, ml_bytes report)
{
    const ml_pack *active = &server->rules->active;
    bool good = ml_rules_is_good(report);
    if (server->rules->doubted == active->position) return;
    if (good && ml_packs_agrees(active, report)) return;
    server->rules->doubted = active->position;
    if (good) {
        ml_say(server, "warning",
               "the event at position %" PRIu64 " in $rules does not say what its files hold: they "
               "are loaded anew",
               active->position);
        ml_loads_given(server, active->files);
        return;
    }
    ml_say(server, "error",
           "the rules activated at position %" PRIu64 " have errors by now: load others, or roll "
           "them back",
           active->position);
    ml_loads_say(server, report);
}

void ml_rules_take_over(ml_server *server, ml_pack *pack)
{
    ml_pack old = server->rules->active;
    server->rules->active = *pack;
    *pack = (ml_pack){0};
    ml_packs_inherit(&server->rules->active, &old);
    ml_packs_free(&old);
    ml_projections_follow(server);
}

static bool take_newest(void *context, ml_pack *pack)
{
    ml_rules_take_over(context, pack);
    return false;
}

ml_code ml_rules_begin(ml_server *server, ml_error *why)
{
    server->rules = calloc(1, sizeof *server->rules);
    if (server->rules == NULL) return ml_error_memory(why, "the rules");
    ml_code code = ml_rules_each(server, take_newest, server, why);
    if (code == ML_CORRUPT) {
        /* A damaged log can be read, and by whom rules are needed is told then. */
        ml_say(server, "error", "which rules are active cannot be read: %s", why->sentence);
        code = ML_OK;
    }
    if (code) return code;
    /* The daemon of a command starts workers if that command needs them. */
    if (!ml_packs_none(ml_rules_active(server)) && server->options->client < 0)
        ml_workers_start(server);
    if (server->options->rules.size > 0) ml_loads_given(server, server->options->rules);
    return ML_OK;
}

bool ml_rules_ready(const ml_server *server)
{
    const struct ml_rules *rules = server->rules;
    if (rules->first != NULL) return false;
    return ml_packs_none(&rules->active) || ml_workers_begun(server);
}

void ml_rules_free(ml_server *server)
{
    if (server->rules != NULL) ml_packs_free(&server->rules->active);
    free(server->rules);
    server->rules = NULL;
}

/* ---- who may be asked ------------------------------------------------------------- */

bool ml_rules_quarantined(const ml_pack_unit *unit)
{
    return unit->kills >= ML_WORKERS_KILLS || unit->stops >= ML_WORKERS_STOPS;
}

static ml_code refuse_quarantined(const ml_pack_unit *unit, ml_error *why)
{
    bool killed = unit->kills >= ML_WORKERS_KILLS;
    const char *what = killed ? "has killed its worker 5 times"
                              : "ran for too long 10 times in a row, and had to be stopped";
    return ml_error_set(
        why, ML_SCRIPT_ERROR,
        "%.*s is quarantined: this version of it (%.*s) %s; correct %.*s and load it",
        ML_SHOW(unit->unit), ML_SHOW(unit->hash), what, ML_SHOW(unit->file));
}

_Static_assert(ML_WORKERS_KILLS == 5 && ML_WORKERS_STOPS == 10, "the sentence above says so");

ml_code ml_rules_check_unit(const ml_server *server, ml_bytes name, ml_error *why)
{
    const ml_pack *active = ml_rules_active(server);
    if (ml_packs_none(active))
        return ml_error_set(why, ML_NOT_FOUND,
                            "no rules are active; load some with `moonlog rules load DIR`");
    const ml_pack_unit *unit = ml_packs_unit(active, name);
    if (unit == NULL || !ml_rules_quarantined(unit))
        return ML_OK; /* an unknown one is refused with its nearest name */
    return refuse_quarantined(unit, why);
}

/* It has just come to that. */
static void quarantine(ml_server *server, const ml_pack_unit *unit)
{
    ml_error why;
    ML_IGNORE(refuse_quarantined(unit, &why));
    ml_say(server, "error", "%s", why.sentence);
    ml_workers_quarantine(server, unit->unit, why.sentence);
}

void ml_rules_blame(ml_server *server, ml_bytes name, ml_bytes hash)
{
    ml_pack_unit *unit = ml_packs_version(&server->rules->active, name, hash);
    if (unit == NULL) return;
    unit->kills++;
    if (unit->kills == ML_WORKERS_KILLS) quarantine(server, unit);
}

void ml_rules_stopped(ml_server *server, ml_bytes name, ml_bytes hash)
{
    ml_pack_unit *unit = ml_packs_version(&server->rules->active, name, hash);
    if (unit == NULL) return;
    unit->stops++;
    if (unit->stops == ML_WORKERS_STOPS) quarantine(server, unit);
}

void ml_rules_in_time(ml_server *server, ml_bytes name)
{
    ml_pack_unit *unit = ml_packs_unit(&server->rules->active, name);
    if (unit != NULL && !ml_rules_quarantined(unit)) unit->stops = 0;
}

bool ml_rules_is_good(ml_bytes report)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(report, "ok"));
    ml_token token = ml_unpack_next(&cursor);
    return token.kind == ML_KIND_BOOL && token.boolean;
}

void ml_rules_pack_status(const ml_server *server, ml_buf *out)
{
    const ml_pack *active = ml_rules_active(server);
    size_t quarantined = 0;
    for (size_t n = 0; n < active->unit_count; n++)
        quarantined += ml_rules_quarantined(&active->units[n]);
    ml_pack_map(out, 4);
    ml_pack_text(out, "hash");
    if (ml_packs_none(active))
        ml_pack_nil(out);
    else
        ml_pack_str(out, active->hash);
    ml_pack_text(out, "position");
    ml_pack_int(out, (int64_t)active->position);
    ml_pack_text(out, "units");
    ml_pack_int(out, (int64_t)active->unit_count);
    ml_pack_text(out, "quarantined");
    ml_pack_int(out, (int64_t)quarantined);
}
