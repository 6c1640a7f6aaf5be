/* worker.c -- see worker.h. */
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../base/pack.h"
#include "../base/unpack.h"
#include "../base/wire.h"
#include "engine.h"
#include "jail.h"

enum {
    READ_BYTES = 256 << 10,
    OUT_HIGH = 1 << 20, /* answers waiting: written before the next request */
    LINGER_NS = 200000, /* … and so long an answer may wait for those behind it */
    /* the daemon takes no message that is larger; the rest is what is around the answer */
    ANSWER_MAX = ML_WORKER_MESSAGE_MAX - 4096
};

typedef struct worker {
    ml_store *store;
    ml_engine *engine;
    ml_worker_page *page;
    const char *snapshots; /* NULL: none can be written */
    unsigned walls;
    ml_buf in, out, answer;
    size_t at; /* in `in`: the message that is looked at */
    ml_wire wire;
    uint64_t waiting; /* since when `out` holds something */
    ml_buf units;     /* report of the staged pack */
    bool active;      /* one has been activated */
} worker;

/* ---- requests --------------------------------------------------------------------- */

/* Arguments are looked at where they lie in the message. */
typedef struct call {
    worker *of;
    ml_unpack args;
    ml_error *why;
} call;

static ml_code refuse_args(const call *c, const char *what)
{
    return ml_error_set(c->why, ML_BAD_REQUEST, "the request to a worker has no %s", what);
}

/* The rest of the arguments, for the engine to read. */
static ml_bytes rest_of(const call *c)
{
    return (ml_bytes){c->args.at, (size_t)(c->args.end - c->args.at)};
}

static bool take_bin(call *c, ml_bytes *bytes)
{
    ml_token token = ml_unpack_next(&c->args);
    *bytes = token.bytes;
    return token.kind == ML_KIND_BIN;
}

static bool take_bool(call *c, bool *value)
{
    ml_token token = ml_unpack_next(&c->args);
    *value = token.boolean;
    return token.kind == ML_KIND_BOOL;
}

/* ---- packs ------------------------------------------------------------------------ */

/* The texts stay where they lie; the engine copies what it keeps. */
static ml_code take_files(call *c, ml_source files[ML_RULES_FILES_MAX], uint32_t *count)
{
    if (!ml_unpack_map(&c->args, count)) return refuse_args(c, "files");
    if (*count > ML_RULES_FILES_MAX)
        return ml_error_set(c->why, ML_TOO_LARGE, "the pack has %u files, the limit is %d", *count,
                            ML_RULES_FILES_MAX);
    for (uint32_t n = 0; n < *count; n++)
        if (!ml_unpack_str(&c->args, &files[n].path) || !ml_unpack_str(&c->args, &files[n].text))
            return ml_error_set(c->why, ML_BAD_REQUEST,
                                "files is no map of paths to texts in UTF-8");
    return ML_OK;
}

static ml_code stage(call *c, ml_buf *answer)
{
    ml_source files[ML_RULES_FILES_MAX];
    uint32_t count;
    int64_t how = 0;
    ml_code code = take_files(c, files, &count);
    if (!code && (!ml_unpack_int(&c->args, &how) || how < ML_STAGE_SHAPES || how > ML_STAGE_PROVED))
        code = refuse_args(c, "word on how much to prove");
    if (!code)
        code = ml_engine_stage(c->of->engine, files, count, (ml_stage_how)how, answer, c->why);
    if (code) return code;
    ml_buf_clear(&c->of->units);
    ml_buf_add(&c->of->units, answer->data, answer->size);
    return c->of->units.failed ? ml_error_memory(c->why, "a pack") : ML_OK;
}

/* The value of a name in a map; empty if it has none. */
static ml_bytes find_value(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(map);
    uint32_t count;
    ml_bytes key;
    if (!ml_unpack_map(&cursor, &count)) return (ml_bytes){0};
    for (uint32_t n = 0; n < count && ml_unpack_str(&cursor, &key); n++) {
        const uint8_t *from = cursor.at;
        if (!ml_unpack_skip(&cursor)) break;
        if (ml_bytes_equal(key, (ml_bytes){name, strlen(name)}))
            return (ml_bytes){from, (size_t)(cursor.at - from)};
    }
    return (ml_bytes){0};
}

static int64_t latest_schema(const worker *w, ml_bytes type)
{
    uint32_t schema = 1;
    while (schema < UINT16_MAX && ml_engine_upcasts(w->engine, type, schema))
        schema++;
    return schema;
}

/* The types that the pack has chains for, by the names of its units. */
static void pack_upcasts(const worker *w, ml_buf *answer)
{
    static const char kind[] = "upcast/";
    ml_unpack units = ml_unpack_from(find_value(ml_buf_view(&w->units), "units"));
    uint32_t count = 0, types = 0;
    size_t begin = ml_pack_begin(answer);
    if (!ml_unpack_array(&units, &count)) count = 0;
    for (uint32_t n = 0; n < count; n++) {
        const uint8_t *from = units.at;
        if (!ml_unpack_skip(&units)) break;
        ml_unpack text =
            ml_unpack_from(find_value((ml_bytes){from, (size_t)(units.at - from)}, "unit"));
        ml_bytes name;
        if (!ml_unpack_str(&text, &name) || !ml_bytes_begins(name, ML_STR(kind))) continue;
        ml_bytes type = {(const char *)name.data + sizeof kind - 1, name.size - (sizeof kind - 1)};
        ml_pack_str(answer, type);
        ml_pack_int(answer, latest_schema(w, type));
        types++;
    }
    ml_pack_end_map(answer, begin, types);
}

static ml_code activate(call *c, ml_buf *answer)
{
    ml_code code = ml_engine_activate(c->of->engine, c->why);
    c->of->active |= !code;
    if (!code) pack_upcasts(c->of, answer);
    return code;
}

/* ---- work ------------------------------------------------------------------------- */

static ml_code command(call *c, ml_buf *answer)
{
    return ml_engine_command(c->of->engine, rest_of(c), answer, c->why);
}

static ml_code state(call *c, ml_buf *answer)
{
    return ml_engine_state(c->of->engine, rest_of(c), answer, c->why);
}

static ml_code admitted(call *c, ml_buf *answer)
{
    ml_bytes events;
    (void)answer;
    if (!take_bin(c, &events)) return refuse_args(c, "events");
    ML_IGNORE(ml_engine_admitted(c->of->engine, events, NULL, c->why)); /* who asks next is told */
    return ML_OK;
}

static ml_code forget(call *c, ml_buf *answer)
{
    ml_bytes stream;
    (void)answer;
    if (!ml_unpack_str(&c->args, &stream)) return refuse_args(c, "stream");
    ml_engine_forget(c->of->engine, stream);
    return ML_OK;
}

static ml_code upcast(call *c, ml_buf *answer)
{
    ml_bytes events;
    bool as_maps;
    uint32_t count = 0;
    ml_buf made = {0};
    if (!take_bin(c, &events) || !take_bool(c, &as_maps)) return refuse_args(c, "events");
    if (!c->of->active)
        return ml_error_set(c->why, ML_SCRIPT_ERROR,
                            "the active rules have errors, so that no event can be upcast; load "
                            "others, or read raw");
    ml_code code = ml_engine_upcast(c->of->engine, events, as_maps, &made, &count, c->why);
    if (code) {
        ml_buf_add(answer, made.data, made.size);
    } else {
        ml_pack_array(answer, 2);
        ml_pack_int(answer, count);
        ml_pack_bin(answer, ml_buf_view(&made));
    }
    answer->failed |= made.failed;
    ml_buf_free(&made);
    return code;
}

static void pack_entry(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

static ml_code stats(call *c, ml_buf *answer)
{
    ml_engine_stats s;
    ml_engine_get_stats(c->of->engine, &s);
    ml_pack_map(answer, 8);
    pack_entry(answer, "commands", s.commands);
    pack_entry(answer, "folded", s.folded);
    pack_entry(answer, "log_reads", s.log_reads);
    pack_entry(answer, "snapshots_read", s.snapshots_read);
    pack_entry(answer, "snapshots_written", s.snapshots_written);
    pack_entry(answer, "states", s.states);
    pack_entry(answer, "states_bytes", s.states_bytes);
    pack_entry(answer, "evicted", s.evicted);
    return ML_OK;
}

static ml_code ping(call *c, ml_buf *answer)
{
    (void)c;
    ml_pack_nil(answer);
    return ML_OK;
}

static const struct {
    const char *name;
    ml_code (*run)(call *c, ml_buf *answer);
} methods[] = {
    {"command", command},   {"admitted", admitted}, {"state", state},
    {"upcast", upcast},     {"forget", forget},     {"stage", stage},
    {"activate", activate}, {"stats", stats},       {"ping", ping},
};

/* ---- answers ---------------------------------------------------------------------- */

static void pack_error(ml_buf *out, ml_code code, const char *sentence)
{
    char text[ML_SENTENCE_MAX + 64];
    int size = snprintf(text, sizeof text, "%s: %s", ml_error_name(code), sentence);
    if (size >= (int)sizeof text) size = (int)sizeof text - 1;
    while (size > 0 && !ml_unpack_utf8((ml_bytes){text, (size_t)size}))
        size--;
    ml_pack_array(out, 2);
    ml_pack_int(out, code);
    ml_pack_str(out, (ml_bytes){text, (size_t)size});
}

static void pack_answer(worker *w, int64_t msgid, ml_code code, const ml_error *why)
{
    ml_pack_array(&w->out, 4);
    ml_pack_int(&w->out, 1);
    ml_pack_int(&w->out, msgid);
    if (code)
        pack_error(&w->out, code, why->sentence);
    else
        ml_pack_nil(&w->out);
    if (w->answer.size > 0)
        ml_buf_add(&w->out, w->answer.data, w->answer.size);
    else
        ml_pack_nil(&w->out);
}

static ml_code run(worker *w, ml_bytes name, ml_unpack args, ml_error *why)
{
    call c = {w, args, why};
    ml_buf_clear(&w->answer);
    for (size_t n = 0; n < sizeof methods / sizeof *methods; n++) {
        if (!ml_bytes_equal(name, (ml_bytes){methods[n].name, strlen(methods[n].name)})) continue;
        ml_code code = methods[n].run(&c, &w->answer);
        if (!code && w->answer.failed) code = ml_error_memory(why, "an answer");
        if (w->answer.size > ANSWER_MAX)
            code = ml_error_set(why, ML_TOO_LARGE,
                                "what the rules made is %zu bytes, the limit is %d; ask for fewer "
                                "events at once",
                                w->answer.size, (int)ANSWER_MAX);
        if (code && code != ML_SCRIPT_ERROR)
            ml_buf_clear(&w->answer); /* a fault may stand beside an error */
        if (w->answer.failed) ml_buf_clear(&w->answer);
        return code;
    }
    return ml_error_set(why, ML_UNKNOWN_METHOD, "a worker knows no %.*s", ML_SHOW(name));
}

/* [0, msgid, method, params] or [2, method, params]. */
static ml_code handle(worker *w, ml_bytes message, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(message);
    uint32_t count, args;
    int64_t kind, msgid = 0;
    ml_bytes name;
    bool good = ml_unpack_array(&cursor, &count) && ml_unpack_int(&cursor, &kind) &&
                ((kind == 0 && count == 4 && ml_unpack_int(&cursor, &msgid)) ||
                 (kind == 2 && count == 3)) &&
                ml_unpack_str(&cursor, &name) && ml_unpack_array(&cursor, &args);
    if (!good) return ml_error_set(why, ML_BAD_REQUEST, "what came is no request");
    w->page->msgid = (uint32_t)msgid;
    ml_error problem = {.code = ML_OK};
    ml_code code = run(w, name, cursor, &problem);
    w->page->msgid = 0;
    if (kind == 0) pack_answer(w, msgid, code, &problem);
    if (w->answer.capacity > OUT_HIGH) ml_buf_free(&w->answer);
    return w->out.failed ? ml_error_memory(why, "answers") : ML_OK;
}

/* ---- the socket ------------------------------------------------------------------- */

static uint64_t now(void)
{
    struct timespec time = {0};
    ML_IGNORE(clock_gettime(CLOCK_MONOTONIC, &time) != 0); /* always there */
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

/* ML_END: the daemon has gone. */
static ml_code write_out(worker *w)
{
    for (size_t done = 0; done < w->out.size;) {
        ssize_t size = write(ML_WORKER_SOCKET, w->out.data + done, w->out.size - done);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return ML_END;
        done += (size_t)size;
    }
    if (w->out.capacity > OUT_HIGH) ml_buf_free(&w->out);
    ml_buf_clear(&w->out);
    return ML_OK;
}

static ml_code read_in(worker *w, ml_error *why)
{
    if (w->at > 0) {
        w->in.size -= w->at;
        memmove(w->in.data, w->in.data + w->at, w->in.size);
        w->at = 0;
    }
    if (w->in.size == 0 && w->in.capacity > 4 * READ_BYTES) ml_buf_free(&w->in);
    if (!ml_buf_reserve(&w->in, READ_BYTES)) return ml_error_memory(why, "requests");
    for (;;) {
        ssize_t size = read(ML_WORKER_SOCKET, w->in.data + w->in.size, w->in.capacity - w->in.size);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return ML_END;
        w->in.size += (size_t)size;
        return ML_OK;
    }
}

/* Answers leave together, but none waits long for the next request's work. */
static ml_code keep_or_write(worker *w, uint64_t began)
{
    if (w->out.size == 0) return ML_OK;
    if (w->waiting == 0) w->waiting = began;
    bool more = w->in.size > w->at, early = now() - w->waiting < LINGER_NS;
    if (more && early && w->out.size < OUT_HIGH) return ML_OK;
    w->waiting = 0;
    return write_out(w);
}

static ml_code handle_all(worker *w, ml_error *why)
{
    static const ml_wire_limits limits = {.bytes = ML_WORKER_MESSAGE_MAX,
                                          .depth = ML_WIRE_DEPTH_MAX};
    while (w->in.size > w->at) {
        const uint8_t *data = w->in.data + w->at;
        ml_wire_found found = ml_wire_scan(&w->wire, data, w->in.size - w->at, &limits, why);
        if (found == ML_WIRE_BAD) return why->code;
        if (found == ML_WIRE_MORE) break;
        uint64_t began = now();
        ml_code code = handle(w, (ml_bytes){data, w->wire.scanned}, why);
        w->at += w->wire.scanned;
        ml_wire_reset(&w->wire);
        if (!code) code = keep_or_write(w, began);
        if (code) return code;
    }
    w->waiting = 0;
    return write_out(w);
}

/* ---- life ------------------------------------------------------------------------- */

/* A worker ends with its daemon, and only so: what a terminal or a supervisor tells the whole
 * group is for the daemon, which has commands to finish. */
static void follow_daemon(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

static ml_code map_page(worker *w, ml_error *why)
{
    w->page = mmap(NULL, sizeof *w->page, PROT_READ | PROT_WRITE, MAP_SHARED, ML_WORKER_PAGE, 0);
    if (w->page != MAP_FAILED) return ML_OK;
    w->page = NULL;
    return ml_error_set(why, ML_BAD_REQUEST, "a worker is started by `moonlog serve` alone");
}

/* Without a directory for them there are no snapshots: folds take longer, and that is all. */
static const char *make_snapshots(const char *dir, char path[4096])
{
    int size = snprintf(path, 4096, "%s/" ML_WORKER_SNAPSHOTS, dir);
    if (size >= 4096 || (mkdir(path, 0750) != 0 && errno != EEXIST)) return NULL;
    return path;
}

static ml_code begin(worker *w, const char *dir, char path[4096], ml_error *why)
{
    ml_options options = {.read_only = true, .must_exist = true, .no_threads = true};
    ml_code code = map_page(w, why);
    if (code) return code;
    code = ml_open(&w->store, dir, &options);
    if (code) return ml_error_retell(why, code, ml_why(w->store));
    w->snapshots = make_snapshots(dir, path);
    w->walls = ml_jail_enter(dir, w->snapshots);
    if (!(w->walls & 1U << ML_JAIL_FILES))
        w->snapshots = NULL; /* nothing can be opened for writing then */
    ml_engine_options about = {.snapshots = w->snapshots};
    code = ml_engine_new(w->store, &about, &w->engine, why);
    if (!code) ml_engine_watch(w->engine, &w->page->doing);
    return code;
}

static void pack_ready(worker *w)
{
    ml_pack_array(&w->out, 3);
    ml_pack_int(&w->out, 2);
    ml_pack_text(&w->out, "ready");
    ml_pack_array(&w->out, 1);
    ml_pack_int(&w->out, w->walls);
}

static void end(worker *w)
{
    ml_engine_free(w->engine);
    ML_IGNORE(ml_close(w->store)); /* it was only read */
    ml_buf *bufs[] = {&w->in, &w->out, &w->answer, &w->units};
    for (size_t n = 0; n < sizeof bufs / sizeof *bufs; n++)
        ml_buf_free(bufs[n]);
    if (w->page != NULL) munmap(w->page, sizeof *w->page);
}

ml_code ml_worker_run(const char *dir, ml_error *why)
{
    worker w = {0};
    char path[4096];
    follow_daemon();
    /* Nothing of the daemon's that was left open by mistake. */
    ML_IGNORE(close_range(ML_WORKER_PAGE + 1, ~0U, 0) != 0);
    ml_code code = begin(&w, dir, path, why);
    if (!code) pack_ready(&w);
    if (!code) code = write_out(&w);
    while (!code) {
        code = read_in(&w, why);
        if (!code) code = handle_all(&w, why);
    }
    end(&w);
    return code == ML_END ? ML_OK : code;
}
