/* bench_rules.c -- rules at work on a log: folding, deciding, upcasting, loading a pack.
 *
 * Everything goes through rules/engine.h, as in a worker process, without one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../base/pack.h"
#include "../rules/engine.h"
#include "bench.h"

enum {
    STREAMS = 50, /* of each kind: states are folded one after the other … */
    BATCHES = 20, /* … of so many events times ML_BENCH_BATCH */
    STREAM_EVENTS = BATCHES * ML_BENCH_BATCH,
    UPCAST_EVENTS = 500, /* a page of a read */
    PACK_FILES = 20
};

/* A handler that does next to nothing; one that does what an account does; one whose events have
 * as many fields and bytes as those of the other workloads. */
static const char tally_lua[] =
    "return { aggregate = 'tally', initial = { n = 0 },\n"
    "  on = { Deposited = function(s, d) s.n = s.n + d.amount end } }\n";
static const char wide_lua[] = "return { aggregate = 'wide', initial = { n = 0 },\n"
                               "  on = { Deposited = function(s, d) s.n = s.n + d.amount end,\n"
                               "         Withdrawn = function(s, d) s.n = s.n - d.amount end } }\n";
static const char account_lua[] =
    "local moonlog = require 'moonlog'\n"
    "return { aggregate = 'account', initial = { open = false, balance = 0 },\n"
    "  on = {\n"
    "    AccountOpened = function(s, d) s.open, s.owner = true, d.owner end,\n"
    "    Deposited = function(s, d) s.balance = s.balance + d.amount end,\n"
    "    Withdrawn = function(s, d) s.balance = s.balance - d.amount end },\n"
    "  commands = {\n"
    "    deposit = function(s, c) return moonlog.event('Deposited', { amount = c.amount }) end,\n"
    "    withdraw = function(s, c)\n"
    "      if c.amount > s.balance then\n"
    "        return moonlog.refuse('INSUFFICIENT_FUNDS', { balance = s.balance }) end\n"
    "      return moonlog.event('Withdrawn', { amount = c.amount }) end } }\n";
static const char table_lua[] =
    "return { upcast = 'OldTable', latest = 2, [1] = { rename = { sum = 'amount' } } }\n";
static const char function_lua[] =
    "return { upcast = 'OldFunction', latest = 2,\n"
    "  [1] = function(d) d.amount, d.sum = d.sum, nil return d end }\n";

static const char *const kinds[] = {"tally", "account", "wide"};

typedef struct ruling {
    ml_bench *bench;
    ml_store *store;
    ml_engine *engine;
    const char *kind; /* of streams that are folded */
    uint64_t next;    /* stream, or command */
    ml_buf request, answer, events;
} ruling;

/* ---- the log ---------------------------------------------------------------------------- */

static ml_code append_batch(ruling *r, const char *kind, uint64_t stream, uint64_t batch)
{
    static const char amount[] = "\x81\xa6"
                                 "amount\x05",
                      owner[] = "\x81\xa5"
                                "owner\xa3"
                                "ada";
    char name[ML_BENCH_NAME];
    ml_draft drafts[ML_BENCH_BATCH];
    bool wide = strcmp(kind, "wide") == 0;
    for (uint64_t n = 0; n < ML_BENCH_BATCH; n++) {
        drafts[n] = ml_bench_data_draft(r->bench, stream * STREAM_EVENTS + n);
        if (!wide) drafts[n].data = ML_STR(amount);
        if (strcmp(kind, "tally") == 0) drafts[n].type = ML_STR("Deposited");
        if (strcmp(kind, "account") == 0 && batch + n == 0)
            drafts[n] = (ml_draft){.type = ML_STR("AccountOpened"), .data = ML_STR(owner)};
    }
    int size = snprintf(name, sizeof name, "%s-%05u", kind, (unsigned)stream);
    ml_write write = {.stream = {name, (size_t)size},
                      .expected = ML_ANY,
                      .events = drafts,
                      .count = ML_BENCH_BATCH};
    return ml_append(r->store,
                     &(ml_proposal){.writes = &write, .count = 1, .durability = ML_MEMORY}, NULL);
}

static ml_code fill(ruling *r)
{
    ml_code code = ml_bench_open(r->bench, "rules", &r->store);
    for (size_t kind = 0; kind < 3; kind++)
        for (uint64_t batch = 0; batch < BATCHES; batch++)
            for (uint64_t stream = 0; !code && stream < STREAMS; stream++)
                code = append_batch(r, kinds[kind], stream, batch);
    return code ? code : ml_flush(r->store, ML_OS);
}

/* ---- packs ------------------------------------------------------------------------------ */

static ml_source source(const char *path, const char *text)
{
    return (ml_source){{path, strlen(path)}, {text, strlen(text)}};
}

static ml_code load(ruling *r, const ml_source *files, size_t count)
{
    ml_buf_clear(&r->answer);
    ml_code code = ml_engine_stage(r->engine, files, count, false, &r->answer, &r->bench->why);
    return code ? code : ml_engine_activate(r->engine, &r->bench->why);
}

static ml_code start(ruling *r)
{
    ml_source files[] = {source("account.lua", account_lua), source("function.lua", function_lua),
                         source("table.lua", table_lua), source("tally.lua", tally_lua),
                         source("wide.lua", wide_lua)};
    ml_code code = ml_engine_new(r->store, NULL, &r->engine, &r->bench->why);
    return code ? code : load(r, files, 5);
}

/* Twenty aggregates of which every second is another one each time. */
static ml_code load_pack(void *context)
{
    ruling *r = context;
    ml_code code = ML_OK;
    ml_source files[PACK_FILES];
    char paths[PACK_FILES][32], *texts = malloc(PACK_FILES * 1024);
    if (texts == NULL) return ml_error_memory(&r->bench->why, "a pack");
    for (unsigned n = 0; n < PACK_FILES; n++) {
        char *text = texts + n * 1024;
        bool first = n == 0;
        snprintf(paths[n], sizeof paths[n], "unit%02u.lua", n);
        snprintf(text, 1024,
                 "return { aggregate = '%s%.0u', initial = { n = %u },\n  on = { Deposited = "
                 "function(s, d) s.n = s.n + d.amount end, Withdrawn = function(s, d) s.n = s.n - "
                 "d.amount end } }\n",
                 first ? "account" : "unit", n, n % 2 == 0 ? (unsigned)r->next : 0);
        files[n] = source(paths[n], text);
    }
    r->next++;
    code = load(r, files, PACK_FILES);
    free(texts);
    return code;
}

/* ---- operations ------------------------------------------------------------------------- */

static void pack_pair(ml_buf *out, const char *name, const char *value)
{
    ml_pack_text(out, name);
    ml_pack_text(out, value);
}

static ml_code fold_stream(void *context)
{
    ruling *r = context;
    char id[16];
    snprintf(id, sizeof id, "%05u", (unsigned)(r->next++ % STREAMS));
    ml_buf_clear(&r->request);
    ml_buf_clear(&r->answer);
    ml_pack_map(&r->request, 3);
    pack_pair(&r->request, "aggregate", r->kind);
    pack_pair(&r->request, "id", id);
    ml_pack_text(&r->request, "at");
    ml_pack_int(&r->request, STREAM_EVENTS);
    return ml_engine_state(r->engine, ml_buf_view(&r->request), &r->answer, &r->bench->why);
}

static ml_code decide(void *context)
{
    static const uint8_t dice[16];
    ruling *r = context;
    char id[16];
    snprintf(id, sizeof id, "%05u", (unsigned)(r->next++ % STREAMS));
    ml_buf_clear(&r->request);
    ml_buf_clear(&r->answer);
    ml_pack_map(&r->request, 6);
    pack_pair(&r->request, "aggregate", "account");
    pack_pair(&r->request, "id", id);
    pack_pair(&r->request, "name", "deposit");
    ml_pack_text(&r->request, "args");
    ml_pack_map(&r->request, 1);
    ml_pack_text(&r->request, "amount");
    ml_pack_int(&r->request, 5);
    ml_pack_text(&r->request, "now");
    ml_pack_int(&r->request, 1795268446000000);
    ml_pack_text(&r->request, "dice");
    ml_pack_bin(&r->request, (ml_bytes){dice, sizeof dice});
    return ml_engine_command(r->engine, ml_buf_view(&r->request), &r->answer, &r->bench->why);
}

static ml_code upcast(void *context)
{
    ruling *r = context;
    uint32_t count;
    ml_buf_clear(&r->answer);
    return ml_engine_upcast(r->engine, ml_buf_view(&r->events), false, &r->answer, &count,
                            &r->bench->why);
}

/* ---- measuring -------------------------------------------------------------------------- */

static ml_code time_it(ruling *r, const char *name, const char *unit, uint64_t each,
                       ml_code (*op)(void *context))
{
    ml_timer *timer = calloc(1, sizeof *timer);
    if (timer == NULL) return ml_error_memory(&r->bench->why, "latencies");
    ml_code code = ml_bench_stats_run(timer, r->bench->seconds, op, r);
    if (!code) ml_bench_stats_rate(r->bench, name, unit, timer, each);
    free(timer);
    return code;
}

static ml_code time_folds(ruling *r)
{
    static const char *const names[] = {"rules.fold.tally", "rules.fold.account",
                                        "rules.fold.wide"};
    ml_code code = ML_OK;
    for (size_t n = 0; !code && n < 3; n++) {
        r->kind = kinds[n];
        code = time_it(r, names[n], "events/s", STREAM_EVENTS, fold_stream);
    }
    return code;
}

static ml_code time_commands(ruling *r)
{
    ml_code code = ML_OK;
    ml_engine_stats before, after;
    for (int n = 0; !code && n < STREAMS; n++) code = decide(r); /* now every state is in memory */
    ml_engine_get_stats(r->engine, &before);
    if (!code) code = time_it(r, "rules.command", "commands/s", 1, decide);
    ml_engine_get_stats(r->engine, &after);
    if (!code && after.log_reads != before.log_reads)
        return ml_error_set(&r->bench->why, ML_INTERNAL,
                            "commands on states in memory have read the log");
    return code;
}

/* A page of events that all have to be upcast. They are made by a store of their own. */
static ml_code time_upcast(ruling *r, const char *type, const char *name)
{
    static const char data[] = "\x82\xa3"
                               "sum\x05\xa4"
                               "note\xa3"
                               "abc";
    ml_event event;
    ml_cursor *cursor = NULL;
    ml_draft drafts[UPCAST_EVENTS];
    for (size_t n = 0; n < UPCAST_EVENTS; n++)
        drafts[n] = (ml_draft){.type = {type, strlen(type)}, .data = ML_STR(data)};
    ml_write write = {.stream = {type, strlen(type)},
                      .expected = ML_ANY,
                      .events = drafts,
                      .count = UPCAST_EVENTS};
    ml_code code = ml_append(r->store, &(ml_proposal){.writes = &write, .count = 1}, NULL);
    if (!code)
        code = ml_read(r->store, &(ml_selection){.stream = write.stream, .limit = UPCAST_EVENTS},
                       &cursor);
    ml_buf_clear(&r->events);
    while (!code && (code = ml_next(cursor, &event)) == ML_OK)
        ml_buf_add(&r->events, event.wire.data, event.wire.size);
    ml_cursor_free(cursor);
    if (code != ML_END) return code;
    return time_it(r, name, "events/s", UPCAST_EVENTS, upcast);
}

static ml_code measure(ruling *r)
{
    ml_code code = time_folds(r);
    if (!code) code = time_commands(r);
    if (!code) code = time_upcast(r, "OldTable", "rules.upcast.table");
    if (!code) code = time_upcast(r, "OldFunction", "rules.upcast.function");
    if (!code) code = time_it(r, "rules.load.20", "packs/s", 1, load_pack);
    return code;
}

ml_code ml_bench_rules(ml_bench *bench)
{
    ruling r = {.bench = bench};
    bench->why.code = ML_OK;
    ml_code code = fill(&r);
    if (!code) code = start(&r);
    if (!code) code = measure(&r);
    ml_engine_free(r.engine);
    ml_buf_free(&r.request);
    ml_buf_free(&r.answer);
    ml_buf_free(&r.events);
    ml_error said = bench->why;
    code = ml_bench_close(bench, r.store, code);
    if (said.code != ML_OK && said.code == code) bench->why = said; /* the engine's own sentence */
    ml_bench_remove(bench, "rules");
    return code;
}
