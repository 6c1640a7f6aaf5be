/* loads.c -- a pack on its way to be active, from hand to hand; each step begins where the one
 * before was answered:
 *
 *     checked (bench) ▶ tried on (bench) ▶ staged (all workers) ▶ written (`$rules`) ▶ active
 */
#include <inttypes.h>
#include <stdlib.h>

#include "../store/event.h"
#include "../store/store.h"
#include "loads.h"
#include "rules.h"
#include "workers.h"

enum { LOADS_MAX = 16 };

/* What one worker is asked for a load. */
typedef struct part {
    ml_ask ask;
    ml_load *load;
    int worker;
} part;

struct ml_load {
    ml_load *next;
    ml_server *server;
    ml_later later;
    ml_load_kind kind;
    part bench;
    ml_buf files; /* a map of paths to texts */
    bool full;
    ml_buf report; /* what the bench said */
    ml_buf upcasts;
    ml_pack pack; /* what is to be active */
    part *parts;  /* one a worker */
    size_t left;  /* of them, not answered yet */
    ml_error why; /* the first thing that went wrong with them */
};

/* ---- ending ----------------------------------------------------------------------- */

static void begin_next(ml_server *server);

static void free_load(ml_load *load)
{
    ml_later_end(&load->later);
    ml_buf_free(&load->bench.ask.params);
    ml_buf_free(&load->files);
    ml_buf_free(&load->report);
    ml_buf_free(&load->upcasts);
    ml_packs_free(&load->pack);
    for (size_t n = 0; load->parts != NULL && n < ml_workers_count(load->server); n++)
        ml_buf_free(&load->parts[n].ask.params);
    free(load->parts);
    free(load);
}

static void end_load(ml_load *load)
{
    ml_server *server = load->server;
    ML_ASSERT(server->rules->first == load);
    server->rules->first = load->next;
    if (load->next == NULL) server->rules->last = NULL;
    server->rules->loads--;
    free_load(load);
    begin_next(server);
}

static void refuse_load(ml_load *load, ml_code code, const char *sentence)
{
    ml_later_refuse(&load->later, code, sentence);
    if (load->later.conn == NULL)
        ml_say(load->server, "error", "the rules could not be loaded: %s", sentence);
    end_load(load);
}

/* ---- the answer ------------------------------------------------------------------- */

/* Diagnostics of one file, or of all with an empty name. */
static void pack_diagnostics(ml_buf *out, ml_bytes all, ml_bytes file)
{
    ml_unpack cursor = ml_unpack_from(all);
    uint32_t count, kept = 0;
    size_t begin = ml_pack_begin(out);
    if (!ml_unpack_array(&cursor, &count)) count = 0;
    for (uint32_t n = 0; n < count; n++) {
        const uint8_t *from = cursor.at;
        if (!ml_unpack_skip(&cursor)) break;
        ml_bytes one = {from, (size_t)(cursor.at - from)};
        if (file.size > 0 && !ml_bytes_equal(ml_unpack_find_str(one, "file"), file)) continue;
        ml_buf_add(out, one.data, one.size);
        kept++;
    }
    ml_pack_end_array(out, begin, kept);
}

/* The report's units; with what each has to be told, or for the event. */
static void pack_units(ml_buf *out, ml_bytes report, bool for_event)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(report, "units"));
    ml_bytes diagnostics = ml_unpack_find(report, "diagnostics");
    uint32_t count, packed = 0;
    size_t begin = ml_pack_begin(out);
    if (!ml_unpack_array(&cursor, &count)) count = 0;
    for (; packed < count; packed++) {
        const uint8_t *from = cursor.at;
        if (!ml_unpack_skip(&cursor)) break;
        ml_bytes one = {from, (size_t)(cursor.at - from)}, file = ml_unpack_find_str(one, "file");
        ml_pack_map(out, for_event ? 3 : 5);
        ml_packs_pack(out, "unit", ml_unpack_find_str(one, "unit"));
        ml_packs_pack(out, "file", file);
        ml_packs_pack(out, "hash", ml_unpack_find_str(one, "hash"));
        if (for_event) continue;
        ml_packs_pack(out, "status", ml_unpack_find_str(one, "status"));
        ml_pack_text(out, "diagnostics");
        pack_diagnostics(out, diagnostics, file);
    }
    ml_pack_end_array(out, begin, packed);
}

static void answer_report(ml_load *load, bool active, uint64_t position)
{
    ml_bytes report = ml_buf_view(&load->report);
    ml_buf *out = ml_later_answer(&load->later);
    if (out != NULL) {
        ml_pack_map(out, 6);
        ml_pack_text(out, "ok");
        ml_pack_bool(out, ml_rules_is_good(report));
        ml_pack_text(out, "active");
        ml_pack_bool(out, active);
        ml_pack_text(out, "position");
        if (active)
            ml_pack_int(out, (int64_t)position);
        else
            ml_pack_nil(out);
        ml_packs_pack(out, "hash", ml_unpack_find_str(report, "hash"));
        ml_pack_text(out, "units");
        pack_units(out, report, false);
        ml_pack_text(out, "diagnostics");
        pack_diagnostics(out, ml_unpack_find(report, "diagnostics"), (ml_bytes){0});
    }
    end_load(load);
}

void ml_loads_say(const ml_server *server, ml_bytes report)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(report, "diagnostics"));
    uint32_t count;
    if (!ml_unpack_array(&cursor, &count)) return;
    for (uint32_t n = 0; n < count; n++) {
        const uint8_t *from = cursor.at;
        if (!ml_unpack_skip(&cursor)) break;
        ml_bytes one = {from, (size_t)(cursor.at - from)}, file = ml_unpack_find_str(one, "file");
        ml_unpack line = ml_unpack_from(ml_unpack_find(one, "line"));
        int64_t number = 0;
        ML_IGNORE(!ml_unpack_int(&line, &number));
        ml_bytes message = ml_unpack_find_str(one, "message"),
                 severity = ml_unpack_find_str(one, "severity");
        ml_say(server, ml_bytes_equal(severity, ML_STR("error")) ? "error" : "warning",
               "%.*s:%" PRId64 ": %.*s", ML_SHOW(file), number, ML_SHOW(message));
    }
}

/* ---- active ----------------------------------------------------------------------- */

/* A worker that cannot follow is replaced by one that begins with the new pack. */
static void followed(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    part *p = (part *)ask;
    (void)result;
    if (code && code != ML_SHUTTING_DOWN) {
        ml_say(p->load->server, "warning", "worker %d is started anew for the new rules: %s",
               p->worker, sentence);
        ml_workers_renew(p->load->server, p->worker);
    }
    if (--p->load->left > 0) return;
    answer_report(p->load, true, ml_rules_active(p->load->server)->position);
}

static void tell_all(ml_load *load)
{
    size_t count = ml_workers_count(load->server);
    load->left = count + 1;
    for (size_t n = 0; n < count; n++) {
        ml_error why;
        part *p = &load->parts[n];
        ml_buf_clear(&p->ask.params);
        p->ask.method = "activate";
        p->ask.count = 0;
        p->ask.asked = followed;
        if (ml_workers_ask(load->server, p->worker, &p->ask, &why) == ML_OK) continue;
        load->left--;
        ml_workers_renew(load->server, p->worker);
    }
    if (--load->left == 0) answer_report(load, true, ml_rules_active(load->server)->position);
}

static void written(void *context, ml_code code, const ml_receipt *receipt, const char *why)
{
    ml_load *load = context;
    ml_server *server = load->server;
    server->rules->changing = false;
    if (code) {
        ml_error retold;
        ml_error_retell(&retold, code, why);
        ml_workers_renew(server, ML_WORKERS_BENCH); /* it has the pack on already */
        refuse_load(load, code, retold.sentence);
        return;
    }
    load->pack.position = receipt->last;
    ml_rules_take_over(server, &load->pack);
    tell_all(load);
}

/* When the event was recorded. */
static int64_t time_of_last(ml_server *server)
{
    ml_buf events = {0};
    ml_event event = {0};
    bool read = ml_store_admitted(server->store, 1, &events, NULL) == ML_OK &&
                ml_event_decode_front(ml_buf_view(&events), &event);
    ml_buf_free(&events);
    return read ? event.time : 0;
}

static ml_code write_pack(ml_load *load)
{
    const char *type = load->kind == ML_LOAD_ROLLBACK ? "RulesRolledBack" : "RulesActivated";
    ml_draft draft = {.type = {type, strlen(type)}, .data = ml_buf_view(&load->pack.data)};
    ml_write write = {.stream = ML_PACKS_STREAM, .expected = ML_ANY, .events = &draft, .count = 1};
    ml_server *server = load->server;
    load->pack.type = type;
    ml_code code =
        ml_submit(server->store, &(ml_proposal){.writes = &write, .count = 1}, written, load);
    if (code == ML_LIMIT)
        return ml_error_set(&load->why, ML_LIMIT,
                            "too much is being written just now; load the rules again");
    if (code) return ml_error_retell(&load->why, code, ml_why(server->store));
    load->pack.time = time_of_last(server);
    server->rules->changing = true;
    return ML_OK;
}

/* ---- staged ----------------------------------------------------------------------- */

static void staged(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    part *p = (part *)ask;
    ml_load *load = p->load;
    if (!code && !ml_rules_is_good(result))
        code = ML_INTERNAL,
        sentence = "a worker finds errors in a pack that was found good; see the daemon's messages";
    if (code && !load->why.code) ml_error_set(&load->why, code, "%s", sentence);
    if (--load->left > 0) return;
    if (!load->why.code) ML_IGNORE(write_pack(load));
    if (!load->why.code) return;
    ml_workers_renew(load->server, ML_WORKERS_BENCH);
    refuse_load(load, load->why.code, load->why.sentence);
}

static ml_code begin_parts(ml_load *load)
{
    size_t count = ml_workers_count(load->server);
    load->parts = calloc(count, sizeof *load->parts);
    if (load->parts == NULL) return ml_error_memory(&load->why, "loading rules");
    for (size_t n = 0; n < count; n++) {
        part *p = &load->parts[n];
        *p = (part){.ask = {.method = "stage", .count = 2, .asked = staged},
                    .load = load,
                    .worker = (int)n};
        ml_buf_add(&p->ask.params, load->files.data, load->files.size);
        ml_pack_int(&p->ask.params, ML_STAGE_PROVED);
    }
    return ML_OK;
}

static void stage_all(ml_load *load)
{
    size_t count = ml_workers_count(load->server);
    ml_workers_start(load->server);
    load->left = count + 1; /* one more, so that the last answer does not come while we ask */
    for (size_t n = 0; n < count; n++) {
        ml_error why;
        if (ml_workers_ask(load->server, (int)n, &load->parts[n].ask, &why) == ML_OK) continue;
        if (!load->why.code) load->why = why;
        load->left--;
    }
    if (--load->left > 0) return;
    ml_workers_renew(load->server, ML_WORKERS_BENCH);
    refuse_load(load, load->why.code, load->why.sentence);
}

/* ---- at the bench ----------------------------------------------------------------- */

/* The event's data. */
static ml_code make_pack(ml_load *load)
{
    ml_buf data = {0};
    ml_bytes report = ml_buf_view(&load->report);
    ml_pack_map(&data, 4);
    ml_packs_pack(&data, "hash", ml_unpack_find_str(report, "hash"));
    ml_pack_text(&data, "files");
    ml_buf_add(&data, load->files.data, load->files.size);
    ml_pack_text(&data, "units");
    pack_units(&data, report, true);
    ml_pack_text(&data, "upcasts");
    ml_buf_add(&data, load->upcasts.data, load->upcasts.size);
    ml_code code = data.failed ? ml_error_memory(&load->why, "a pack")
                               : ml_packs_read(&load->pack, ml_buf_view(&data), &load->why);
    ml_buf_free(&data);
    return code;
}

/* Active at the bench, so that what it translates is known. */
static void tried_on(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    ml_load *load = ((part *)ask)->load;
    if (!code) {
        ml_buf_add(&load->upcasts, result.data, result.size);
        if (load->upcasts.failed) code = ml_error_memory(&load->why, "a pack");
        if (!code) code = make_pack(load);
        if (!code) code = begin_parts(load);
        sentence = load->why.sentence;
    }
    if (!code) {
        stage_all(load);
        return;
    }
    ml_workers_renew(load->server, ML_WORKERS_BENCH);
    refuse_load(load, code, sentence);
}

static void try_on(ml_load *load)
{
    ml_ask *ask = &load->bench.ask;
    ml_buf_clear(&ask->params);
    ask->method = "activate";
    ask->count = 0;
    ask->asked = tried_on;
    if (ml_workers_ask(load->server, ML_WORKERS_BENCH, ask, &load->why))
        refuse_load(load, load->why.code, load->why.sentence);
}

static void checked(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    ml_load *load = ((part *)ask)->load;
    const ml_pack *active = ml_rules_active(load->server);
    if (code) {
        refuse_load(load, code, sentence);
        return;
    }
    ml_buf_add(&load->report, result.data, result.size);
    if (load->report.failed) {
        refuse_load(load, ML_NO_MEMORY, "out of memory for a report");
        return;
    }
    /* Without one who asked, the pack came with `serve --rules`. */
    if (load->later.conn == NULL) ml_loads_say(load->server, result);
    bool good = ml_rules_is_good(result);
    bool same = good && !ml_packs_none(active) && ml_packs_agrees(active, result);
    if (good && !same && load->kind != ML_LOAD_CHECK)
        try_on(load);
    else
        answer_report(load, same && load->kind != ML_LOAD_CHECK, active->position);
}

static void begin_next(ml_server *server)
{
    ml_load *load = server->rules->first;
    if (load == NULL) return;
    ml_ask *ask = &load->bench.ask;
    ask->method = "stage";
    ask->count = 2;
    ask->asked = checked;
    ml_buf_add(&ask->params, load->files.data, load->files.size);
    ml_pack_int(&ask->params, load->full ? ML_STAGE_FULL : ML_STAGE_SHAPES);
    if (ml_workers_ask(server, ML_WORKERS_BENCH, ask, &load->why))
        refuse_load(load, load->why.code, load->why.sentence);
}

/* ---- beginning -------------------------------------------------------------------- */

static ml_load *new_load(ml_server *server, ml_load_kind kind, ml_bytes files)
{
    ml_load *load = calloc(1, sizeof *load);
    if (load == NULL) return NULL;
    load->server = server;
    load->kind = kind;
    load->bench.load = load;
    ml_buf_add(&load->files, files.data, files.size);
    if (!load->files.failed) return load;
    free(load);
    return NULL;
}

static void enqueue(ml_load *load)
{
    struct ml_rules *rules = load->server->rules;
    if (rules->last != NULL)
        rules->last->next = load;
    else
        rules->first = load;
    rules->last = load;
    if (++rules->loads == 1) begin_next(load->server);
}

ml_ended ml_loads_begin(ml_call *call, ml_load_kind kind, ml_bytes files, bool full)
{
    ml_server *server = call->server;
    ml_unpack cursor = ml_unpack_from(files);
    uint32_t count;
    ml_error *why = &call->why;
    if (server->draining)
        ml_error_set(why, ML_SHUTTING_DOWN, "the daemon is stopping; load when it is back");
    else if (server->rules->loads >= LOADS_MAX)
        ml_error_set(why, ML_LIMIT, "%d packs are being checked; try again when they are done",
                     LOADS_MAX);
    else if (!ml_unpack_map(&cursor, &count))
        ml_error_set(why, ML_BAD_REQUEST, "files is no map of paths to texts");
    if (why->code) return ML_REFUSED;
    ml_load *load = new_load(server, kind, files);
    if (load == NULL) {
        ml_error_memory(why, "loading rules");
        return ML_REFUSED;
    }
    load->full = full;
    load->later = ml_later_begin(call, 0);
    enqueue(load);
    return ML_ANSWERED;
}

void ml_loads_given(ml_server *server, ml_bytes files)
{
    ml_load *load = new_load(server, ML_LOAD_ACTIVATE, files);
    if (load != NULL)
        enqueue(load);
    else
        ml_say(server, "error", "no memory to load the rules");
}
