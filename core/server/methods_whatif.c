/* methods_whatif.c -- whatif, and whatif.stop: see whatifs.h.
 *
 *     whatif ─▶ process ──progress──▶ whatif.progress, to who asked
 *                  └────the answer──▶ answered, and the process ends
 */
#include <stdio.h>
#include <stdlib.h>

#include "../view/view.h"
#include "later.h"
#include "packs.h"
#include "process.h"
#include "projections.h"
#include "rules.h"
#include "whatifs.h"

typedef struct whatif {
    ml_process process;
    ml_ask ask;
    ml_later later;
    unsigned slot; /* which of the directories it works in */
} whatif;

static whatif *of(ml_process *process) { return (whatif *)(void *)process; }

/* ---- the process ------------------------------------------------------------------ */

/* Nobody waits for it: it need not come to an end. */
static bool is_alone(const whatif *w)
{
    return w->later.conn == NULL || w->later.conn->closing;
}

static void asked(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    whatif *w = (whatif *)(void *)((char *)ask - offsetof(whatif, ask));
    if (code) {
        ml_later_refuse(&w->later, code, sentence);
    } else {
        ml_buf *out = ml_later_answer(&w->later);
        if (out != NULL) ml_buf_add(out, result.data, result.size);
    }
    ml_later_end(&w->later);
    ml_process_leave(&w->process, false);
}

/* {unit, position, head} is passed on as it came, once it is seen to be a map. */
static bool told(ml_process *process, ml_bytes name, ml_unpack params)
{
    whatif *w = of(process);
    uint32_t count;
    if (ml_bytes_equal(name, ML_STR("ready"))) return true;
    if (!ml_bytes_equal(name, ML_STR("progress"))) return false;
    if (!ml_unpack_array(&params, &count) || count != 1) return false;
    const uint8_t *from = params.at;
    ml_token token = ml_unpack_next(&(ml_unpack){params.at, params.end});
    if (token.kind != ML_KIND_MAP || !ml_unpack_skip(&params)) return false;
    if (is_alone(w)) {
        ml_later_end(&w->later);
        ml_crew_kill(process);
        return true;
    }
    if (ml_conn_congested(w->later.conn)) return true; /* it is told the next time */
    ml_buf *out = ml_dispatch_push(w->later.conn, "whatif.progress");
    ml_buf_add(out, from, (size_t)(params.at - from));
    return true;
}

static bool left(ml_process *process, ml_ask *ask)
{
    (void)process;
    asked(ask, ML_TIMEOUT, (ml_bytes){0},
          "the process that was to find out has ended; try once more");
    return true;
}

/* Some other script is to blame than an active one: nothing is to be remembered of it. */
static void blame(ml_process *process, const ml_engine_doing *doing, const char *verdict)
{
    (void)doing;
    ml_say(process->server, "warning", "%s: %s", process->name, verdict);
}

static bool again(ml_process *process)
{
    ml_process_leave(process, false);
    return false;
}

static uint32_t limit_ms(const ml_process *process)
{
    (void)process;
    return ML_RULES_COMMAND_MS;
}

static void gone(ml_process *process)
{
    whatif *w = of(process);
    ml_later_end(&w->later);
    ml_buf_free(&w->ask.params);
    free(w);
}

static const ml_process_kind kind = {.role = "whatif",
                                     .told = told,
                                     .left = left,
                                     .blame = blame,
                                     .again = again,
                                     .limit_ms = limit_ms,
                                     .gone = gone};

/* ---- all -------------------------------------------------------------------------- */

static ml_code find_slot(const ml_server *server, unsigned *slot, ml_error *why)
{
    bool taken[ML_WHATIFS_MAX] = {false};
    for (ml_process *process = server->processes; process != NULL; process = process->next)
        if (process->kind == &kind) taken[of(process)->slot] = true;
    for (*slot = 0; *slot < ML_WHATIFS_MAX; ++*slot)
        if (!taken[*slot]) return ML_OK;
    return ml_error_set(why, ML_LIMIT, "%d of them are under way; ask again when one has ended",
                        ML_WHATIFS_MAX);
}

unsigned ml_whatifs_end(ml_server *server, const ml_conn *conn, ml_code code, const char *sentence)
{
    unsigned count = 0;
    for (ml_process *process = server->processes; process != NULL; process = process->next) {
        whatif *w = of(process);
        if (process->kind != &kind || w->later.conn == NULL) continue;
        if (conn != NULL && w->later.conn != conn) continue;
        ml_later_refuse(&w->later, code, sentence);
        ml_later_end(&w->later);
        ml_crew_kill(process);
        count++;
    }
    return count;
}

/* ---- the methods ------------------------------------------------------------------ */

static void pack_raw(ml_buf *out, uint32_t *pairs, const ml_params *params, const char *name)
{
    ml_bytes value = ml_params_raw(params, name);
    if (value.size == 0) return;
    ml_pack_text(out, name);
    ml_buf_add(out, value.data, value.size);
    ++*pairs;
}

/* {name: [position, …]} of the versions that are active. */
static void pack_skips(const ml_server *server, ml_buf *out)
{
    size_t begin = ml_pack_begin(out);
    uint32_t count = 0;
    for (const ml_projected *p = server->projections->all; p != NULL; p = p->next, count++) {
        ml_pack_text(out, p->name);
        ml_ledger_pack_skips(p, p->wanted, out);
    }
    ml_pack_end_map(out, begin, count);
}

static void pack_request(whatif *w, const ml_params *params)
{
    const ml_pack *active = ml_rules_active(w->process.server);
    ml_bytes files = ml_params_raw(params, "files");
    ml_buf *out = &w->ask.params;
    char boot[ML_VIEW_BOOT], scratch[24];
    uint32_t pairs = 5;
    size_t begin = ml_pack_begin(out);
    ml_pack_text(out, "skips");
    pack_skips(w->process.server, out);
    ml_pack_text(out, "before");
    if (ml_packs_none(active)) ml_pack_map(out, 0);
    else ml_buf_add(out, active->files.data, active->files.size);
    ml_pack_text(out, "after");
    ml_buf_add(out, files.data, files.size);
    snprintf(scratch, sizeof scratch, "$whatif-%u", w->slot);
    ml_packs_pack(out, "scratch", (ml_bytes){scratch, strlen(scratch)});
    ml_view_boot(boot);
    ml_packs_pack(out, "boot", (ml_bytes){boot, strlen(boot)});
    pack_raw(out, &pairs, params, "unit");
    pack_raw(out, &pairs, params, "from");
    pack_raw(out, &pairs, params, "limit");
    ml_pack_end_map(out, begin, pairs);
}

static ml_code check(const ml_call *call, const ml_params *params, ml_error *why)
{
    ml_bytes unit;
    int64_t number;
    ml_unpack files = ml_unpack_from(ml_params_raw(params, "files"));
    uint32_t count;
    if (call->server->draining)
        return ml_error_set(why, ML_SHUTTING_DOWN, "the daemon is stopping; ask when it is back");
    if (!ml_unpack_map(&files, &count))
        return ml_error_set(why, ML_BAD_REQUEST, "files must be a map of paths to texts");
    ml_code code = ml_params_str(params, "unit", &unit, why);
    if (!code) code = ml_params_int(params, "from", 0, INT64_MAX, &number, NULL, why);
    return code ? code : ml_params_int(params, "limit", 1, INT32_MAX, &number, NULL, why);
}

ml_ended ml_methods_whatif(ml_call *call, const ml_params *params)
{
    unsigned slot;
    ml_code code = check(call, params, &call->why);
    if (!code) code = find_slot(call->server, &slot, &call->why);
    if (code) return ML_REFUSED;
    whatif *w = calloc(1, sizeof *w);
    if (w == NULL) {
        ml_error_memory(&call->why, "a whatif");
        return ML_REFUSED;
    }
    ml_process_init(&w->process, call->server, &kind);
    snprintf(w->process.name, sizeof w->process.name, "whatif %u", slot + 1);
    w->slot = slot;
    w->ask = (ml_ask){.method = "whatif", .count = 1, .asked = asked};
    pack_request(w, params);
    code = ml_process_ask(&w->process, &w->ask, &call->why);
    if (code) {
        ml_process_leave(&w->process, false);
        return ML_REFUSED;
    }
    w->later = ml_later_begin(call, 0);
    return ML_ANSWERED;
}

ml_ended ml_methods_whatif_stop(ml_call *call, const ml_params *params)
{
    (void)params;
    unsigned count =
        ml_whatifs_end(call->server, call->conn, ML_TIMEOUT, "it was ended by whatif.stop");
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, 1);
    ml_pack_text(out, "ended");
    ml_pack_int(out, count);
    return ML_ANSWERED;
}
