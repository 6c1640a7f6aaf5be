/* bench_projection.c -- projections: building a view from the log, or from that of another version,
 * asking it, and asking what another version would make of the log.
 *
 * Each build runs in a child, as in a worker process without its walls: with the log opened for
 * reading only, and with memory that is its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/pack.h"
#include "../base/unpack.h"
#include "../projection/projector.h"
#include "../projection/whatif.h"
#include "bench.h"

enum {
    KEYS_FEW = 1000,
    KEYS_MANY = 1000000,
    RARE_EVERY = 1000, /* one event in so many is of a rare type … */
    RARE_KEYS = 100,   /* … and these go to one key in so many */
    STEP_US = 5000,    /* as in a worker */
    LOOKS = 20,        /* at the past, at random positions … */
    COPIES = 10        /* … of a view that was to be copied so often */
};

static const char balances_lua[] =
    "return { projection = 'balances', from = { category = 'account' }, key = 'stream',\n"
    "  row = { balance = 0, n = 0 },%s\n"
    "  on = {\n"
    "    Deposited = function(r, d) r.balance, r.n = r.balance + d.amount, r.n + %s end,\n"
    "    Withdrawn = function(r, d) r.balance, r.n = r.balance - d.amount, r.n + 1 end,\n"
    "    Moved = function(r, d)\n"
    "      local sum = d.kind == 'credit' and d.amount or -d.amount\n"
    "      if d.seq > (r.last or -1) then r.last = d.seq end\n"
    "      r.balance, r.n = r.balance + sum, r.n + 1 end,\n"
    "    Audited = function(r, d) r.audits = (r.audits or 0) + %d end } }\n";

typedef struct built {
    uint64_t events, rows, ns, early_ns, late_ns; /* the first and the last tenth */
    uint64_t anonymous_kib, peak_kib;
    uint64_t gets, get_ns;
    uint64_t look_ns; /* of all looks at the past */
    bool incremental;
    char digest[2 * ML_VIEW_DIGEST];
} built;

typedef struct building {
    ml_bench *bench;
    const char *store, *view, *base;
    char files[3][1024];
    int version;
    uint64_t keys;
    bool asks, looks;
} building;

/* ---- the log ---------------------------------------------------------------------------- */

static ml_draft draft_of(const ml_bench *bench, uint64_t at, bool wide)
{
    static const char data[] = "\x82\xa6"
                               "amount\x05\xa4"
                               "note\xb0"
                               "sixteen letters.";
    if (wide) return (ml_draft){.type = ML_STR("Moved"), .data = ml_bench_data_payload(bench, at)};
    ml_bytes type = at % RARE_EVERY == 0 ? ML_STR("Audited")
                    : at % 3 == 0        ? ML_STR("Withdrawn")
                                         : ML_STR("Deposited");
    return (ml_draft){.type = type, .data = ML_STR(data)};
}

/* `wide`: payloads as those of the other benchmarks, and of the peers. */
static ml_code fill(ml_bench *bench, const char *name, uint64_t keys, bool wide)
{
    char names[ML_BENCH_BATCH][ML_BENCH_NAME];
    ml_draft drafts[ML_BENCH_BATCH];
    ml_write writes[ML_BENCH_BATCH];
    ml_store *store;
    ml_code code = ml_bench_open(bench, name, &store);
    for (uint64_t n = 0; !code && n < bench->events; n += ML_BENCH_BATCH) {
        for (uint64_t i = 0; i < ML_BENCH_BATCH; i++) {
            uint64_t at = n + i, key = at * 7919 % keys;
            if (at % RARE_EVERY == 0) key = key / RARE_KEYS * RARE_KEYS;
            drafts[i] = draft_of(bench, at, wide);
            writes[i] = (ml_write){.stream = ml_bench_data_stream(names[i], key),
                                   .expected = ML_ANY,
                                   .events = &drafts[i],
                                   .count = 1};
        }
        ml_proposal proposal = {.writes = writes, .count = ML_BENCH_BATCH, .durability = ML_MEMORY};
        code = ml_append(store, &proposal, NULL);
        if (ml_cli_interrupted()) code = ML_END;
    }
    return ml_bench_close(bench, store, code);
}

/* ---- in the child ----------------------------------------------------------------------- */

/* A tenth at a time, and how long each took. */
static ml_code run_build(building *b, ml_projector *projector, ml_store *store, built *made)
{
    ml_head head;
    ml_code code = ml_get_head(store, (ml_bytes){0}, &head);
    if (code) return code;
    for (uint64_t tenth = 1; tenth <= 10; tenth++) {
        uint64_t begin = ml_bench_stats_now();
        bool more;
        do {
            more = ml_projector_step(projector, head.position * tenth / 10, STEP_US);
            uint64_t kib = ml_bench_store_kib("RssAnon:");
            if (kib > made->anonymous_kib) made->anonymous_kib = kib;
        } while (more);
        made->late_ns = ml_bench_stats_now() - begin;
        made->ns += made->late_ns;
        if (tenth == 1) made->early_ns = made->late_ns;
    }
    made->events = head.position;
    made->peak_kib = ml_bench_store_kib("VmHWM:");
    if (ml_projector_get_state(projector) == ML_PROJECTOR_LIVE) return ML_OK;
    return ml_error_set(&b->bench->why, ML_INTERNAL, "a projection did not come to the end");
}

static ml_code run_gets(building *b, ml_projector *projector, built *made)
{
    char name[ML_BENCH_NAME];
    ml_buf request = {0}, answer = {0};
    ml_code code = ML_OK;
    uint64_t begin = ml_bench_stats_now(), dice = 1, long_ns = (uint64_t)(b->bench->seconds * 1e9);
    while (!code && made->get_ns < long_ns) {
        for (int n = 0; !code && n < 1000; n++) {
            uint64_t key = ml_bench_stats_dice(&dice) % b->keys;
            ml_buf_clear(&request);
            ml_buf_clear(&answer);
            ml_pack_map(&request, 1);
            ml_pack_text(&request, "key");
            ml_pack_str(&request, ml_bench_data_stream(name, key));
            code = ml_projector_get(projector, ml_buf_view(&request), &answer, &b->bench->why);
        }
        made->gets += 1000;
        made->get_ns = ml_bench_stats_now() - begin;
    }
    ml_buf_free(&request);
    ml_buf_free(&answer);
    return code;
}

/* As the process of a look does it: begins with a copy, folds up to the position, is asked once. */
static ml_code look(building *b, ml_store *store, const ml_projector_options *options,
                    uint64_t position, uint64_t key)
{
    char name[ML_BENCH_NAME];
    ml_projector *projector;
    ml_diagnostics report = {0};
    ml_buf request = {0}, answer = {0};
    ml_projector_options past = *options;
    past.past_at = position;
    ml_code code = ml_projector_new(store, &past, &report, &projector, &b->bench->why);
    ml_diagnostics_free(&report);
    if (code) return code;
    while (ml_projector_step(projector, position, STEP_US))
        continue;
    ml_pack_map(&request, 1);
    ml_pack_text(&request, "key");
    ml_pack_str(&request, ml_bench_data_stream(name, key));
    code = ml_projector_get(projector, ml_buf_view(&request), &answer, &b->bench->why);
    if (!code && ml_projector_position(projector) != position)
        code = ml_error_set(&b->bench->why, ML_INTERNAL, "a look is not at its position");
    ml_projector_free(projector);
    ml_buf_free(&request);
    ml_buf_free(&answer);
    return code;
}

static ml_code run_looks(building *b, ml_store *store, const ml_projector_options *options,
                         built *made)
{
    char dir[ML_BENCH_PATH];
    uint64_t dice = 1;
    ml_code code = ML_OK;
    ml_projector_options past = *options;
    past.past = options->dir;
    past.dir = dir;
    ml_bench_path(b->bench, "view-past", dir);
    for (int n = 0; !code && n < LOOKS; n++) {
        uint64_t position = ml_bench_stats_dice(&dice) % made->events + 1;
        uint64_t begin = ml_bench_stats_now();
        code = look(b, store, &past, position, ml_bench_stats_dice(&dice) % b->keys);
        made->look_ns += ml_bench_stats_now() - begin;
        ml_bench_remove(b->bench, "view-past");
    }
    return code;
}

static ml_token find(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    return ml_unpack_next(&cursor);
}

static ml_code read_status(building *b, const ml_projector *projector, built *made)
{
    ml_buf status = {0};
    ml_projector_pack_status(projector, &status);
    ml_token digest = find(ml_buf_view(&status), "digest");
    made->rows = (uint64_t)find(ml_buf_view(&status), "rows").integer;
    made->incremental = find(ml_buf_view(&status), "incremental").boolean;
    bool good = digest.kind == ML_KIND_STR && digest.bytes.size == sizeof made->digest;
    if (good) memcpy(made->digest, digest.bytes.data, sizeof made->digest);
    ml_buf_free(&status);
    return good ? ML_OK : ml_error_memory(&b->bench->why, "a status");
}

/* Version 0, and 1 and 2, which do something else with rare events, and with common ones. */
static ml_source source_of(building *b, size_t version, const char *snapshot)
{
    char *text = b->files[version];
    snprintf(text, sizeof b->files[version], balances_lua, snapshot,
             version == 2 ? "(d.amount > 9 and 2 or 1)" : "1", version == 1 ? 2 : 1);
    return (ml_source){ML_STR("balances.lua"), {text, strlen(text)}};
}

/* What the child does: view, a version of the rules, perhaps the other one's view. */
static ml_code build_here(building *b, built *made)
{
    char paths[3][ML_BENCH_PATH], boot[ML_VIEW_BOOT];
    ml_store *store;
    ml_projector *projector = NULL;
    ml_diagnostics report = {0};
    const char *names[] = {b->store, b->view, b->base != NULL ? b->base : ""};
    for (size_t n = 0; n < 3; n++)
        ml_bench_path(b->bench, names[n], paths[n]);
    ml_view_boot(boot);
    ml_source files[2];
    char snapshot[64] = "";
    if (b->looks)
        snprintf(snapshot, sizeof snapshot, " snapshot = { every = %" PRIu64 " },",
                 b->bench->events / COPIES > 1000 ? b->bench->events / COPIES : 1000);
    for (size_t n = 0; n < 2; n++)
        files[n] = source_of(b, n, snapshot);
    ml_projector_options options = {.files = &files[b->version],
                                    .count = 1,
                                    .name = ML_STR("balances"),
                                    .dir = paths[1],
                                    .boot = boot,
                                    .log = ML_STR("bench"),
                                    .base = b->base != NULL ? paths[2] : NULL,
                                    .base_files = &files[1 - b->version],
                                    .base_count = 1};
    ml_options reading = {.read_only = true, .no_threads = true};
    ml_code code = ml_open(&store, paths[0], &reading);
    if (!code) code = ml_projector_new(store, &options, &report, &projector, &b->bench->why);
    if (!code) code = run_build(b, projector, store, made);
    if (!code && b->asks) code = run_gets(b, projector, made);
    if (!code) code = read_status(b, projector, made);
    ml_projector_free(projector);
    ml_diagnostics_free(&report);
    if (!code && b->looks) code = run_looks(b, store, &options, made);
    ML_IGNORE(ml_close(store)); /* it was only read */
    return code;
}

_Noreturn static void build_as_child(building *b, int pipe)
{
    built made = {0};
    ml_code code = build_here(b, &made);
    if (code > 0) ml_cli_fail(b->bench->cli, code, b->bench->why.sentence);
    bool told = write(pipe, &made, sizeof made) == (ssize_t)sizeof made;
    _exit(code == ML_OK && told ? 0 : 1);
}

typedef struct child {
    pid_t pid; /* < 0: it could not be started */
    int pipe;
} child;

static ml_code start(building *b, child *started)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return ml_error_disk(&b->bench->why, -errno, "pipe", "bench");
    *started = (child){fork(), ends[0]};
    if (started->pid == 0) build_as_child(b, ends[1]);
    ML_IGNORE(close(ends[1]) != 0); /* the child has its own */
    return ML_OK;
}

static ml_code finish(const building *b, const child *started, built *made)
{
    int status = 0;
    bool told =
        started->pid > 0 && read(started->pipe, made, sizeof *made) == (ssize_t)sizeof *made;
    ML_IGNORE(close(started->pipe) != 0); /* it was only read */
    while (started->pid > 0 && waitpid(started->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (told && WIFEXITED(status) && WEXITSTATUS(status) == 0) return ML_OK;
    if (ml_cli_interrupted()) return ML_END;
    return ml_error_set(&b->bench->why, ML_INTERNAL, "building a view did not succeed");
}

static ml_code build(building *b, built *made)
{
    child started;
    ml_code code = start(b, &started);
    return code ? code : finish(b, &started, made);
}

/* ---- figures ---------------------------------------------------------------------------- */

static void tell_build(const building *b, const built *made, const char *size)
{
    char name[32];
    double tenth = (double)made->events / 10, early = tenth / (double)made->early_ns,
           late = tenth / (double)made->late_ns;
    snprintf(name, sizeof name, "projection.build.%s", size);
    ml_figure *figure = ml_bench_stats_value(b->bench, name, "events/s",
                                             ml_bench_stats_per_second(made->events, made->ns));
    snprintf(figure->note, sizeof figure->note, "%" PRIu64 " rows", made->rows);
    snprintf(name, sizeof name, "projection.linear.%s", size);
    ml_bench_stats_value(b->bench, name, "percent", late / early * 100);
    snprintf(name, sizeof name, "projection.rss.%s", size);
    figure = ml_bench_stats_value(b->bench, name, "KiB", (double)made->anonymous_kib);
    snprintf(figure->note, sizeof figure->note,
             "of its own; with the files that it has mapped %" PRIu64 " KiB", made->peak_kib);
    snprintf(name, sizeof name, "projection.get.%s", size);
    ml_bench_stats_value(b->bench, name, "gets/s",
                         ml_bench_stats_per_second(made->gets, made->get_ns));
}

/* The other version from the first one's view, and from the beginning: the same has to come out. */
static ml_code time_incremental(building *b)
{
    built part = {0}, full = {0};
    b->version = 1;
    b->asks = false;
    b->base = b->view;
    b->view = "view-part";
    ml_code code = build(b, &part);
    b->base = NULL;
    b->view = "view-full";
    if (!code) code = build(b, &full);
    ml_bench_remove(b->bench, "view-part");
    ml_bench_remove(b->bench, "view-full");
    if (code) return code;
    if (!part.incremental || memcmp(part.digest, full.digest, sizeof part.digest) != 0)
        return ml_error_set(&b->bench->why, ML_INTERNAL,
                            part.incremental ? "an incremental build gave another view"
                                             : "a build was no incremental one");
    ml_figure *figure = ml_bench_stats_value(b->bench, "projection.incremental", "events/s",
                                             ml_bench_stats_per_second(part.events, part.ns));
    snprintf(figure->note, sizeof figure->note, "%.1f times as fast as a full build",
             (double)full.ns / (double)part.ns);
    return ML_OK;
}

/* Two views at once, each in a process of its own. */
static ml_code time_two(building *b, const built *alone)
{
    child children[2];
    built made[2] = {{0}};
    b->asks = false;
    b->view = "view-one";
    ml_code code = start(b, &children[0]);
    if (code) return code;
    b->view = "view-two";
    code = start(b, &children[1]);
    ml_code first = finish(b, &children[0], &made[0]);
    if (!code) code = finish(b, &children[1], &made[1]);
    ml_bench_remove(b->bench, "view-one");
    ml_bench_remove(b->bench, "view-two");
    if (first || code) return first ? first : code;
    uint64_t ns = made[0].ns > made[1].ns ? made[0].ns : made[1].ns;
    ml_figure *figure =
        ml_bench_stats_value(b->bench, "projection.two", "events/s",
                             ml_bench_stats_per_second(made[0].events + made[1].events, ns));
    snprintf(figure->note, sizeof figure->note, "%.2f times as many as one",
             2 * (double)alone->ns / (double)ns);
    return ML_OK;
}

/* A view of which copies are kept, and looks at the past. */
static ml_code time_looks(building *b)
{
    built made = {0};
    b->asks = false;
    b->looks = true;
    b->view = "view-kept";
    ml_code code = build(b, &made);
    ml_bench_remove(b->bench, "view-kept");
    if (code) return code;
    ml_figure *figure = ml_bench_stats_value(b->bench, "projection.at", "ms",
                                             (double)made.look_ns / LOOKS / 1e6);
    snprintf(figure->note, sizeof figure->note, "of %" PRIu64 " events, built in %.0f ms",
             made.events, (double)made.ns / 1e6);
    return ML_OK;
}

/* History through a version that does something else with some events, in percent of a build. */
static ml_code run_whatif(building *b, size_t version, const char *name, const built *made)
{
    char paths[2][ML_BENCH_PATH], boot[ML_VIEW_BOOT];
    ml_store *store;
    ml_diagnostics report = {0};
    ml_buf answer = {0};
    ml_source files[2] = {source_of(b, 0, ""), source_of(b, version, "")};
    ml_bench_path(b->bench, b->store, paths[0]);
    ml_bench_path(b->bench, "whatif", paths[1]);
    ml_view_boot(boot);
    ml_options reading = {.read_only = true, .no_threads = true};
    ml_code code = ml_open(&store, paths[0], &reading);
    ml_whatif ask = {.store = store,
                     .before = &files[0],
                     .after = &files[1],
                     .before_count = 1,
                     .after_count = 1,
                     .scratch = paths[1],
                     .boot = boot};
    uint64_t begin = ml_bench_stats_now();
    if (!code) code = ml_whatif_run(&ask, &report, &answer, &b->bench->why);
    uint64_t ns = ml_bench_stats_now() - begin;
    ml_diagnostics_free(&report);
    ml_buf_free(&answer);
    ML_IGNORE(ml_close(store)); /* it was only read */
    ml_bench_remove(b->bench, "whatif");
    if (code) return code;
    ml_figure *figure = ml_bench_stats_value(b->bench, name, "events/s",
                                             ml_bench_stats_per_second(made->events, ns));
    snprintf(figure->note, sizeof figure->note, "%.0f%% of a build's speed",
             100 * (double)made->ns / (double)ns);
    return ML_OK;
}

static ml_code time_whatif(building *b, const built *made)
{
    ml_code code = run_whatif(b, 1, "projection.whatif.rare", made);
    return code ? code : run_whatif(b, 2, "projection.whatif.common", made);
}

/* What else is timed on a log of few keys, and of many. */
static ml_code time_others(building *b, const built *made)
{
    if (b->keys > KEYS_FEW) return time_incremental(b);
    ml_code code = time_two(b, made);
    if (!code) code = time_whatif(b, made);
    return code ? code : time_looks(b);
}

ml_code ml_bench_projection(ml_bench *bench)
{
    static const struct {
        uint64_t keys;
        const char *name;
        bool wide;
    } sizes[] = {{KEYS_FEW, "1k", false}, {KEYS_MANY, "1m", false}, {KEYS_FEW, "wide", true}};
    ml_code code = ML_OK;
    bench->why.code = ML_OK;
    for (size_t n = 0; !code && n < 3; n++) {
        built made = {0};
        building b = {.bench = bench, .store = "projection", .view = "view", .asks = true};
        b.keys = sizes[n].keys < bench->events ? sizes[n].keys : bench->events;
        code = fill(bench, b.store, b.keys, sizes[n].wide);
        if (!code) code = build(&b, &made);
        if (!code) tell_build(&b, &made, sizes[n].name);
        if (!code && !sizes[n].wide) code = time_others(&b, &made);
        ml_bench_remove(bench, "view");
        ml_bench_remove(bench, "projection");
    }
    return code;
}
