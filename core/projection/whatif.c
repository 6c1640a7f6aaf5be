/* whatif.c -- two packs, their units in pairs. What is told of each is found by whatif_rows.c and
 * whatif_states.c. */
#include "whatif.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/pack.h"
#include "../rules/lint.h"
#include "whatif_inside.h"

static ml_bytes text_of(const char *text) { return (ml_bytes){text, strlen(text)}; }

/* ---- for all ---------------------------------------------------------------------------- */

ml_code ml_whatif_step(ml_whatif_work *work, uint64_t position)
{
    if (work->steps++ % ML_WHATIF_STEP != 0 || work->ask->progress == NULL) return ML_OK;
    if (work->ask->progress(work->ask->context, text_of(work->unit->label), position, work->head))
        return ML_OK;
    return ml_error_set(work->why, ML_TIMEOUT, "it was ended before it had seen all events");
}

ml_code ml_whatif_store_failed(ml_whatif_work *work, ml_code code)
{
    return ml_error_retell(work->why, code, ml_why(work->ask->store));
}

void ml_whatif_blame(const ml_unit *unit, ml_fault *fault)
{
    if (fault->file[0] == '\0')
        snprintf(fault->file, sizeof fault->file, "%.*s", ML_SHOW(unit->file.path));
    ml_unit_quote(&unit->file, 1, fault);
}

/* ---- units ------------------------------------------------------------------------------ */

static void pack_count(ml_buf *out, const char *name, uint64_t count)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)count);
}

static void pack_unit(ml_whatif_work *work, const ml_unit *unit, const char *status)
{
    ml_buf *out = &work->units;
    const ml_whatif_counts *counts = &work->counts;
    ml_pack_map(out, 12);
    ml_pack_text(out, "unit");
    ml_pack_text(out, unit->label);
    ml_pack_text(out, "status");
    ml_pack_text(out, status);
    pack_count(out, "events", counts->events);
    pack_count(out, "rows", counts->rows);
    pack_count(out, "differing", counts->differing);
    pack_count(out, "transient", counts->transient);
    pack_count(out, "earlier", counts->earlier);
    pack_count(out, "commands", counts->commands);
    pack_count(out, "refused", counts->refused);
    pack_count(out, "allowed", counts->allowed);
    pack_count(out, "others", counts->others);
    pack_count(out, "unseen", counts->unseen);
    work->unit_count++;
}

static ml_unit *other_of(const ml_whatif_work *work, int pack, const ml_unit *unit)
{
    return ml_rulepack_find(work->packs[pack], unit->kind, text_of(unit->name));
}

static bool is_asked(const ml_whatif_work *work, const ml_unit *unit)
{
    ml_bytes asked = work->ask->unit;
    return asked.size == 0 || ml_bytes_equal(asked, text_of(unit->label)) ||
           ml_bytes_equal(asked, text_of(unit->name));
}

/* "new", "same", or "changed", which then has to be looked at. */
static const char *status_of(const ml_whatif_work *work, const ml_unit *after)
{
    const ml_unit *before = other_of(work, 0, after);
    if (before == NULL) return "new";
    return strcmp(before->hash, after->hash) == 0 ? "same" : "changed";
}

static bool is_to_run(const ml_whatif_work *work, const ml_unit *after)
{
    return is_asked(work, after) && strcmp(status_of(work, after), "changed") == 0 &&
           (after->kind == ML_UNIT_AGGREGATE || after->kind == ML_UNIT_PROJECTION);
}

static ml_code make_scratch(const ml_whatif_work *work)
{
    if (mkdir(work->ask->scratch, 0750) == 0 || errno == EEXIST) return ML_OK;
    return ml_error_disk(work->why, -errno, "mkdir", work->ask->scratch);
}

static ml_code run_unit(ml_whatif_work *work, ml_unit *after, size_t units)
{
    ml_unit *before = other_of(work, 0, after);
    work->unit = after;
    work->same = false;
    ml_tell_begin(work, units);
    ml_code code = after->kind == ML_UNIT_AGGREGATE ? ml_whatif_states(work, before, after)
                                                    : ml_whatif_rows(work, before, after);
    return code ? code : ml_tell_end(work);
}

static ml_code run_units(ml_whatif_work *work)
{
    ml_code code = ML_OK;
    ml_rulepack *after = work->packs[1], *before = work->packs[0];
    size_t units = 0;
    for (size_t n = 0; n < after->unit_count; n++) units += is_to_run(work, after->units[n]);
    for (size_t n = 0; !code && n < after->unit_count; n++) {
        ml_unit *unit = after->units[n];
        const char *status = status_of(work, unit);
        if (!is_asked(work, unit)) continue;
        work->counts = (ml_whatif_counts){0};
        if (is_to_run(work, unit)) {
            code = run_unit(work, unit, units);
            if (work->same) status = "same";
        }
        pack_unit(work, unit, status);
    }
    work->counts = (ml_whatif_counts){0};
    for (size_t n = 0; !code && n < before->unit_count; n++)
        if (is_asked(work, before->units[n]) && other_of(work, 1, before->units[n]) == NULL)
            pack_unit(work, before->units[n], "gone");
    if (!code && work->unit_count == 0 && work->ask->unit.size > 0)
        return ml_error_set(work->why, ML_NOT_FOUND, "no unit of either pack is called \"%.*s\"",
                            ML_SHOW(work->ask->unit));
    return code;
}

/* ---- packs ------------------------------------------------------------------------------ */

static ml_code compile(ml_whatif_work *work, int pack, const ml_source *files, size_t count,
                       ml_diagnostics *report)
{
    ml_code code = ml_rulepack_new(files, count, report, &work->packs[pack], work->why);
    if (!code && pack == 1) ml_lint_pack(work->packs[pack], report);
    if (!code && report->errors > 0)
        code = ml_error_set(work->why, ML_SCRIPT_ERROR, "the %s rules have errors",
                            pack == 0 ? "active" : "new");
    for (size_t n = 0; !code && n < work->packs[pack]->unit_count; n++)
        work->packs[pack]->units[n]->watch = &work->watch;
    return code;
}

static ml_code pack_answer(ml_whatif_work *work, ml_buf *answer)
{
    ml_pack_map(answer, 3);
    ml_pack_text(answer, "differences");
    ml_code code = ml_tell_pack(work, answer);
    ml_pack_text(answer, "units");
    ml_pack_array(answer, work->unit_count);
    ml_buf_add(answer, work->units.data, work->units.size);
    pack_count(answer, "position", work->head);
    if (!code && (answer->failed || work->units.failed))
        code = ml_error_memory(work->why, "an answer");
    return code;
}

/* ---- the door --------------------------------------------------------------------------- */

ml_code ml_whatif_run(const ml_whatif *ask, ml_diagnostics *report, ml_buf *answer, ml_error *why)
{
    ml_head head = {0};
    ml_whatif_work work = {.ask = ask,
                           .limit = ask->limit > 0 ? ask->limit : ML_WHATIF_LIMIT,
                           .watch = {.where = ask->watch},
                           .why = why};
    ml_code code = ml_get_head(ask->store, (ml_bytes){0}, &head);
    if (code) return ml_whatif_store_failed(&work, code);
    work.head = head.position;
    ml_guard_start(ML_RULES_FOLD_MS);
    code = compile(&work, 0, ask->before, ask->before_count, report);
    if (!code) code = compile(&work, 1, ask->after, ask->after_count, report);
    if (!code) code = make_scratch(&work);
    if (!code) code = run_units(&work);
    if (!code) code = pack_answer(&work, answer);
    ml_guard_stop();
    ML_IGNORE(rmdir(ask->scratch) != 0); /* others may have something in it */
    ml_tell_free(&work.told);
    ml_buf_free(&work.units);
    ml_rulepack_free(work.packs[0]);
    ml_rulepack_free(work.packs[1]);
    return code;
}
