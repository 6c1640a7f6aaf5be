/* worker.c -- see worker.h. */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../base/pack.h"
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
    const ml_worker_role *role;
    void *own; /* the role's bytes */
    ml_worker_world world;
    unsigned walls;
    ml_buf in, out, answer;
    size_t at; /* in `in`: the message that is looked at */
    ml_wire wire;
    uint64_t waiting; /* since when `out` holds something */
} worker;

/* ---- arguments -------------------------------------------------------------------- */

ml_code ml_worker_refuse(const ml_worker_call *c, const char *what)
{
    return ml_error_set(c->why, ML_BAD_REQUEST, "the request to a worker has no %s", what);
}

bool ml_worker_take_bin(ml_worker_call *c, ml_bytes *bytes)
{
    ml_token token = ml_unpack_next(&c->args);
    *bytes = token.bytes;
    return token.kind == ML_KIND_BIN;
}

bool ml_worker_take_bool(ml_worker_call *c, bool *value)
{
    ml_token token = ml_unpack_next(&c->args);
    *value = token.boolean;
    return token.kind == ML_KIND_BOOL;
}

ml_code ml_worker_take_files(ml_worker_call *c, ml_source *files, uint32_t *count)
{
    if (!ml_unpack_map(&c->args, count)) return ml_worker_refuse(c, "files");
    if (*count > ML_RULES_FILES_MAX)
        return ml_error_set(c->why, ML_TOO_LARGE, "the pack has %u files, the limit is %d", *count,
                            ML_RULES_FILES_MAX);
    for (uint32_t n = 0; n < *count; n++)
        if (!ml_unpack_str(&c->args, &files[n].path) || !ml_unpack_str(&c->args, &files[n].text))
            return ml_error_set(c->why, ML_BAD_REQUEST,
                                "files is no map of paths to texts in UTF-8");
    return ML_OK;
}

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

static ml_code call(worker *w, ml_bytes name, ml_unpack args, ml_error *why)
{
    ml_worker_call c = {w->own, args, why};
    for (size_t n = 0; n < w->role->method_count; n++) {
        const ml_worker_method *method = &w->role->methods[n];
        if (ml_bytes_equal(name, (ml_bytes){method->name, strlen(method->name)}))
            return method->run(&c, &w->answer);
    }
    if (ml_bytes_equal(name, ML_STR("ping"))) return ML_OK;
    return ml_error_set(why, ML_UNKNOWN_METHOD, "a worker for %s knows no %.*s", w->role->name,
                        ML_SHOW(name));
}

static ml_code run(worker *w, ml_bytes name, ml_unpack args, ml_error *why)
{
    ml_buf_clear(&w->answer);
    ml_code code = call(w, name, args, why);
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
    w->world.page->msgid = (uint32_t)msgid;
    ml_error problem = {.code = ML_OK};
    ml_code code = run(w, name, cursor, &problem);
    w->world.page->msgid = 0;
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

bool ml_worker_tell(ml_bytes message)
{
    const uint8_t *data = message.data;
    for (size_t done = 0; done < message.size;) {
        ssize_t size = write(ML_WORKER_SOCKET, data + done, message.size - done);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return false;
        done += (size_t)size;
    }
    return true;
}

/* ML_END: the daemon has gone. */
static ml_code write_out(worker *w)
{
    if (!ml_worker_tell(ml_buf_view(&w->out))) return ML_END;
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
    signal(SIGXFSZ, SIG_IGN); /* a file over its limit is an error like a full disk */
}

static ml_code map_page(worker *w, ml_error *why)
{
    ml_worker_page *page =
        mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, ML_WORKER_PAGE, 0);
    if (page == MAP_FAILED)
        return ml_error_set(why, ML_BAD_REQUEST, "a worker is started by `moonlog serve` alone");
    w->world.page = page;
    return ML_OK;
}

/* The directory that the role may write to; without one it has to do without. */
static const char *make_writable(const ml_worker_role *role, const char *dir, char path[4096])
{
    if (role->writes == NULL) return NULL;
    int size = snprintf(path, 4096, "%s/%s", dir, role->writes);
    if (size >= 4096 || (mkdir(path, 0750) != 0 && errno != EEXIST)) return NULL;
    return path;
}

static ml_code begin(worker *w, const char *dir, char path[4096], ml_error *why)
{
    ml_options options = {.read_only = true, .must_exist = true, .no_threads = true};
    ml_code code = map_page(w, why);
    if (code) return code;
    w->own = calloc(1, w->role->size);
    if (w->own == NULL) return ml_error_memory(why, "a worker");
    code = ml_open(&w->world.store, dir, &options);
    if (code) return ml_error_retell(why, code, ml_why(w->world.store));
    ml_jail jail = {.dir = dir,
                    .writable = make_writable(w->role, dir, path),
                    .file_bytes = w->role->file_bytes,
                    .shares = w->role->shares};
    w->walls = ml_jail_enter(&jail);
    bool may_write = jail.shares || w->walls & 1U << ML_JAIL_FILES; /* jail.h */
    w->world.dir = dir;
    w->world.rehearse = w->role->rehearse;
    w->world.writable = may_write ? jail.writable : NULL;
    return w->role->begin(w->own, &w->world, why);
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
    if (w->own != NULL) w->role->end(w->own);
    free(w->own);
    ML_IGNORE(ml_close(w->world.store)); /* it was only read */
    ml_buf *bufs[] = {&w->in, &w->out, &w->answer};
    for (size_t n = 0; n < sizeof bufs / sizeof *bufs; n++)
        ml_buf_free(bufs[n]);
    if (w->world.page != NULL) munmap(w->world.page, sizeof *w->world.page);
}

/* Works unasked until there is a request, or nothing to do but wait for one. */
static ml_code step(worker *w)
{
    struct pollfd socket = {.fd = ML_WORKER_SOCKET, .events = POLLIN};
    for (;;) {
        int wait_ms = w->role->step(w->own, &w->out);
        ml_code code = w->out.failed ? ML_END : write_out(w);
        if (code) return code;
        if (poll(&socket, 1, wait_ms) > 0) return ML_OK;
    }
}

ml_code ml_worker_run(const char *dir, const ml_worker_role *role, ml_error *why)
{
    worker w = {.role = role};
    char path[4096];
    follow_daemon();
    /* Nothing of the daemon's that was left open by mistake. */
    ML_IGNORE(close_range(ML_WORKER_PAGE + 1, ~0U, 0) != 0);
    ml_code code = begin(&w, dir, path, why);
    if (!code) pack_ready(&w);
    if (!code) code = write_out(&w);
    while (!code) {
        if (role->step != NULL) code = step(&w);
        if (!code) code = read_in(&w, why);
        if (!code) code = handle_all(&w, why);
    }
    end(&w);
    return code == ML_END ? ML_OK : code;
}
