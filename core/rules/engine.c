/* engine.c -- the engine's life, and how a pack comes to be the active one. */
#include <stdlib.h>

#include "../base/pack.h"
#include "../store/event.h"
#include "inside.h"
#include "lint.h"
#include "prove.h"

/* ---- life ------------------------------------------------------------------------------- */

ml_code ml_engine_new(ml_store *store, const ml_engine_options *options, ml_engine **out,
                      ml_error *why)
{
    ml_engine *engine = *out = calloc(1, sizeof *engine);
    if (engine == NULL) return ml_error_memory(why, "an engine");
    engine->store = store;
    if (options != NULL) engine->options = *options;
    ml_engine_options *set = &engine->options;
    if (set->states_bytes == 0) set->states_bytes = ML_RULES_STATES_BYTES;
    if (set->fold_ms == 0) set->fold_ms = ML_RULES_FOLD_MS;
    if (set->command_ms == 0) set->command_ms = ML_RULES_COMMAND_MS;
    engine->states = ml_states_new(set->states_bytes);
    ml_code code = engine->states != NULL ? ML_OK : ml_error_memory(why, "an engine");
    if (!code && set->snapshots != NULL)
        code = ml_disk_real_new(set->snapshots, true, &engine->snapshots, why);
    set->snapshots = NULL; /* it was borrowed for this call */
    if (!code) return ML_OK;
    ml_engine_free(engine);
    *out = NULL;
    return code;
}

void ml_engine_free(ml_engine *engine)
{
    if (engine == NULL) return;
    ml_guard_stop();
    ml_rulepack_free(engine->active);
    ml_rulepack_free(engine->staged);
    ml_states_free(engine->states);
    ml_disk_free(engine->snapshots);
    free(engine);
}

void ml_engine_watch(ml_engine *engine, ml_engine_doing *where)
{
    engine->watch = (ml_watch){.where = where};
}

void ml_engine_get_stats(const ml_engine *engine, ml_engine_stats *stats)
{
    *stats = engine->stats;
    ml_states_count(engine->states, &stats->states, &stats->states_bytes, &stats->evicted);
}

bool ml_engine_upcasts(const ml_engine *engine, ml_bytes type, uint32_t schema)
{
    return engine->active != NULL && ml_upcasts_wants(engine->active->upcasts, type, schema);
}

/* ---- staging ---------------------------------------------------------------------------- */

static const ml_unit *active_unit(const ml_engine *engine, const ml_unit *unit)
{
    if (engine->active == NULL) return NULL;
    return ml_rulepack_find(engine->active, unit->kind, (ml_bytes){unit->name, strlen(unit->name)});
}

static const char *status_of(const ml_engine *engine, const ml_unit *unit)
{
    const ml_unit *active = active_unit(engine, unit);
    if (active == NULL) return "new";
    return strcmp(active->hash, unit->hash) == 0 ? "same" : "changed";
}

/* What has not changed was proved before. */
static ml_code prove(ml_engine *engine, ml_rulepack *pack, bool full, ml_diagnostics *to,
                     ml_error *why)
{
    ml_code code = ML_OK;
    bool changed = false;
    for (size_t n = 0; n < pack->unit_count; n++)
        changed = changed || (pack->units[n]->kind == ML_UNIT_UPCAST &&
                              strcmp(status_of(engine, pack->units[n]), "same") != 0);
    ml_guard_start(engine->options.fold_ms);
    if (engine->store != NULL && (changed || full))
        code = ml_prove_chains(engine->store, pack->upcasts, pack->sandbox, full, to, why);
    for (size_t n = 0; !code && to->errors == 0 && n < pack->unit_count; n++) {
        ml_unit *unit = pack->units[n];
        unit->watch = &engine->watch;
        if (strcmp(status_of(engine, unit), "same") == 0) continue;
        if (unit->kind == ML_UNIT_AGGREGATE)
            code = ml_dryrun_unit(engine, pack, unit, to, why);
        if (unit->kind == ML_UNIT_PROJECTION && engine->store != NULL &&
            engine->options.rehearse != NULL)
            code = engine->options.rehearse(engine->store, pack, unit, to, why);
    }
    return code;
}

static void pack_units(const ml_engine *engine, const ml_rulepack *pack, bool ok, ml_buf *report)
{
    ml_pack_array(report, (uint32_t)pack->unit_count);
    for (size_t n = 0; n < pack->unit_count; n++) {
        const ml_unit *unit = pack->units[n];
        ml_pack_map(report, 4);
        ml_pack_text(report, "unit");
        ml_pack_text(report, unit->label);
        ml_pack_text(report, "file");
        ml_pack_str(report, unit->file.path);
        ml_pack_text(report, "hash");
        ml_pack_text(report, unit->hash);
        ml_pack_text(report, "status");
        ml_pack_text(report, ok || unit->hash[0] != '\0' ? status_of(engine, unit) : "new");
    }
}

static void pack_report(const ml_engine *engine, const ml_rulepack *pack,
                        const ml_diagnostics *said, ml_buf *report)
{
    ml_pack_map(report, 4);
    ml_pack_text(report, "ok");
    ml_pack_bool(report, said->errors == 0);
    ml_pack_text(report, "hash");
    ml_pack_text(report, pack->hash);
    ml_pack_text(report, "units");
    pack_units(engine, pack, said->errors == 0, report);
    ml_pack_text(report, "diagnostics");
    ml_pack_array(report, said->count);
    ml_buf_add(report, said->items.data, said->items.size);
}

ml_code ml_engine_stage(ml_engine *engine, const ml_source *files, size_t count, ml_stage_how how,
                        ml_buf *report, ml_error *why)
{
    ml_rulepack *pack;
    ml_diagnostics said = {0};
    ml_guard_start(engine->options.command_ms);
    ml_code code = ml_rulepack_new(files, count, &said, &pack, why);
    if (!code) ml_lint_pack(pack, &said);
    if (!code && said.errors == 0 && how != ML_STAGE_PROVED)
        code = prove(engine, pack, how == ML_STAGE_FULL, &said, why);
    if (!code) pack_report(engine, pack, &said, report);
    if (!code && (report->failed || said.items.failed)) code = ml_error_memory(why, "a report");
    if (!code && said.errors == 0) {
        ml_rulepack_free(engine->staged);
        engine->staged = pack;
        pack = NULL;
    }
    engine->watch.told = NULL;
    ml_rulepack_free(pack);
    ml_diagnostics_free(&said);
    return code;
}

/* ---- activating ------------------------------------------------------------------------- */

typedef struct change {
    const ml_rulepack *before, *after;
} change;

static const ml_unit *aggregate_of(const ml_rulepack *pack, ml_bytes stream)
{
    return pack == NULL ? NULL
                        : ml_rulepack_find(pack, ML_UNIT_AGGREGATE, ml_event_category(stream));
}

static bool is_same(void *context, ml_bytes stream)
{
    const change *c = context;
    const ml_unit *before = aggregate_of(c->before, stream),
                  *after = aggregate_of(c->after, stream);
    return before != NULL && after != NULL && strcmp(before->hash, after->hash) == 0;
}

ml_code ml_engine_activate(ml_engine *engine, ml_error *why)
{
    if (engine->staged == NULL)
        return ml_error_set(why, ML_BAD_REQUEST,
                            "no pack is staged, so none can be activated; stage one first");
    change c = {engine->active, engine->staged};
    ml_states_sift(engine->states, is_same, &c);
    ml_rulepack_free(engine->active);
    engine->active = engine->staged;
    engine->staged = NULL;
    engine->watch.told = NULL; /* it was a handler of the pack that is gone */
    for (size_t n = 0; n < engine->active->unit_count; n++)
        engine->active->units[n]->watch = &engine->watch;
    return ML_OK;
}
