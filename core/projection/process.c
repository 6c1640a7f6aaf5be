/* process.c -- see process.h. */
#include "process.h"

#include <stdio.h>
#include <stdlib.h>

#include "../base/clock.h"
#include "../base/pack.h"
#include "projector.h"

enum {
    LIVE_US = 2000,        /* of a step: as long may an answer wait */
    BUILDING_US = 5000,    /* nobody asks then, and a step costs something */
    TELL_US = 2000,        /* from one progress to the next … */
    TELL_LATE_US = 250000, /* … if there was a commit; else so long, while it builds */
    PATH = 4096
};

typedef struct projecting {
    ml_worker_world world;
    ml_projector *projector; /* NULL: nothing was said yet of what to project */
    uint64_t head;
    bool headed;      /* it was told: before that, it might take itself for live */
    bool due;         /* something has happened since the last step */
    uint64_t next_us; /* when to step again although nothing has; UINT64_MAX = never */
    bool news;        /* to be told at once, as it is an answer to what was asked */
    uint64_t told_us, told_position;
    ml_projector_state told_state;
} projecting;

static projecting *of(const ml_worker_call *c)
{
    return c->role;
}

/* ---- project ---------------------------------------------------------------------------- */

/* What the request says, where it lies in the message. */
typedef struct plan {
    ml_projector_options options;
    ml_source files[ML_RULES_FILES_MAX], base_files[ML_RULES_FILES_MAX];
    char dir[PATH], base[PATH], past[PATH], boot[ML_VIEW_BOOT];
    uint64_t *skips;
} plan;

/* Below views, and nowhere else. */
static ml_code take_dir(ml_worker_call *c, const ml_worker_world *world, char path[PATH])
{
    ml_bytes dir;
    static const char above[] = "/.."; /* "@..", of a projection of that name, is none */
    if (*c->args.at == 0xc0) return ml_unpack_skip(&c->args) ? ML_OK : ML_BAD_REQUEST;
    bool good = ml_unpack_str(&c->args, &dir) && ml_bytes_begins(dir, ML_STR("views/")) &&
                memmem(dir.data, dir.size, above, sizeof above - 1) == NULL &&
                memchr(dir.data, '\0', dir.size) == NULL;
    if (!good) return ml_worker_refuse(c, "directory below views");
    if (world->writable == NULL)
        return ml_error_set(c->why, ML_IO, "the directory views cannot be made or written to");
    int size = snprintf(path, PATH, "%s/%.*s", world->dir, ML_SHOW(dir));
    return size < PATH ? ML_OK : ml_worker_refuse(c, "directory with a short name");
}

static int compare(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static ml_code take_skips(ml_worker_call *c, plan *p)
{
    uint32_t count;
    int64_t position;
    if (!ml_unpack_array(&c->args, &count)) return ml_worker_refuse(c, "list of skips");
    p->skips = calloc((size_t)count + 1, sizeof *p->skips);
    if (p->skips == NULL) return ml_error_memory(c->why, "skips");
    for (uint32_t n = 0; n < count; n++) {
        if (!ml_unpack_int(&c->args, &position) || position < 1)
            return ml_worker_refuse(c, "list of positions to skip");
        p->skips[n] = (uint64_t)position;
    }
    qsort(p->skips, count, sizeof *p->skips, compare);
    p->options.skips = p->skips;
    p->options.skip_count = count;
    return ML_OK;
}

static ml_code take_boot(ml_worker_call *c, plan *p)
{
    ml_bytes boot;
    if (!ml_unpack_str(&c->args, &boot) || boot.size >= sizeof p->boot)
        return ml_worker_refuse(c, "id of the boot");
    snprintf(p->boot, sizeof p->boot, "%.*s", ML_SHOW(boot));
    return ML_OK;
}

static ml_code take_log(ml_worker_call *c, plan *p)
{
    ml_token token = ml_unpack_next(&c->args);
    p->options.log = token.bytes;
    bool good = token.kind == ML_KIND_BIN || token.kind == ML_KIND_STR;
    return good ? ML_OK : ml_worker_refuse(c, "id of the log");
}

static ml_code take_position(ml_worker_call *c, const char *what, uint64_t *position)
{
    int64_t number;
    if (!ml_unpack_int(&c->args, &number) || number < 0) return ml_worker_refuse(c, what);
    *position = (uint64_t)number;
    return ML_OK;
}

static ml_code take_flag(ml_worker_call *c, const char *what, bool *flag)
{
    return ml_worker_take_bool(c, flag) ? ML_OK : ml_worker_refuse(c, what);
}

static ml_code take_pack(ml_worker_call *c, ml_source *files, const ml_source **to, size_t *count)
{
    uint32_t found = 0;
    if (*c->args.at == 0xc0) return ml_unpack_skip(&c->args) ? ML_OK : ML_BAD_REQUEST;
    ml_code code = ml_worker_take_files(c, files, &found);
    *to = files;
    *count = found;
    return code;
}

static ml_code take_one(ml_worker_call *c, ml_bytes name, plan *p)
{
    ml_projector_options *options = &p->options;
    const ml_worker_world *world = &of(c)->world;
    if (ml_bytes_equal(name, ML_STR("files")))
        return take_pack(c, p->files, &options->files, &options->count);
    if (ml_bytes_equal(name, ML_STR("base_files")))
        return take_pack(c, p->base_files, &options->base_files, &options->base_count);
    if (ml_bytes_equal(name, ML_STR("dir"))) return take_dir(c, world, p->dir);
    if (ml_bytes_equal(name, ML_STR("base"))) return take_dir(c, world, p->base);
    if (ml_bytes_equal(name, ML_STR("boot"))) return take_boot(c, p);
    if (ml_bytes_equal(name, ML_STR("log"))) return take_log(c, p);
    if (ml_bytes_equal(name, ML_STR("start"))) return take_position(c, "start", &options->start);
    if (ml_bytes_equal(name, ML_STR("past"))) return take_dir(c, world, p->past);
    if (ml_bytes_equal(name, ML_STR("past_at")))
        return take_position(c, "past_at", &options->past_at);
    if (ml_bytes_equal(name, ML_STR("past_whole")))
        return take_flag(c, "past_whole", &options->past_whole);
    if (ml_bytes_equal(name, ML_STR("skips"))) return take_skips(c, p);
    if (ml_bytes_equal(name, ML_STR("paused"))) return take_flag(c, "paused", &options->paused);
    if (ml_bytes_equal(name, ML_STR("name")))
        return ml_unpack_str(&c->args, &options->name) ? ML_OK : ml_worker_refuse(c, "name");
    return ml_error_set(c->why, ML_BAD_REQUEST, "project knows no %.*s", ML_SHOW(name));
}

static ml_code take_plan(ml_worker_call *c, plan *p)
{
    uint32_t count;
    ml_bytes name;
    if (!ml_unpack_map(&c->args, &count)) return ml_worker_refuse(c, "map");
    for (uint32_t n = 0; n < count; n++) {
        if (!ml_unpack_str(&c->args, &name) || c->args.at == c->args.end)
            return ml_worker_refuse(c, "map of names to values");
        ml_code code = take_one(c, name, p);
        if (code) return code;
    }
    if (p->options.files == NULL || p->options.name.size == 0 || p->dir[0] == '\0')
        return ml_worker_refuse(c, "files, name or dir");
    p->options.dir = p->dir;
    p->options.base = p->base[0] != '\0' && p->options.base_files != NULL ? p->base : NULL;
    p->options.past = p->past[0] != '\0' ? p->past : NULL;
    p->options.boot = p->boot;
    return ML_OK;
}

static ml_code project(ml_worker_call *c, ml_buf *answer)
{
    projecting *own = of(c);
    ml_diagnostics report = {0};
    if (own->projector != NULL)
        return ml_error_set(c->why, ML_BAD_REQUEST, "this worker has its projection already");
    plan *p = calloc(1, sizeof *p);
    if (p == NULL) return ml_error_memory(c->why, "a projection");
    ml_code code = take_plan(c, p);
    p->options.watch = &own->world.page->doing;
    if (!code)
        code = ml_projector_new(own->world.store, &p->options, &report, &own->projector, c->why);
    if (!code) {
        ml_projector_pack_status(own->projector, answer);
    } else if (report.count > 0) {
        ml_pack_map(answer, 1);
        ml_pack_text(answer, "diagnostics");
        ml_pack_array(answer, report.count);
        ml_buf_add(answer, report.items.data, report.items.size);
    }
    own->due = true;
    ml_diagnostics_free(&report);
    free(p->skips);
    free(p);
    return code;
}

/* ---- the others ------------------------------------------------------------------------- */

static ml_code need(const ml_worker_call *c)
{
    if (of(c)->projector != NULL) return ML_OK;
    return ml_error_set(c->why, ML_BAD_REQUEST, "this worker has no projection yet");
}

static ml_code head(ml_worker_call *c, ml_buf *answer)
{
    int64_t position;
    (void)answer;
    if (!ml_unpack_int(&c->args, &position) || position < 0) return ml_worker_refuse(c, "position");
    of(c)->head = (uint64_t)position;
    of(c)->headed = of(c)->due = true;
    return ML_OK;
}

/* Who finds the view damaged sees to it that it is made anew. */
static ml_code get(ml_worker_call *c, ml_buf *answer)
{
    ml_code code = need(c);
    if (!code) code = ml_projector_get(of(c)->projector, ml_worker_rest(c), answer, c->why);
    if (code == ML_CORRUPT) of(c)->due = true;
    return code;
}

static ml_code scan(ml_worker_call *c, ml_buf *answer)
{
    ml_code code = need(c);
    if (!code) code = ml_projector_scan(of(c)->projector, ml_worker_rest(c), answer, c->why);
    if (code == ML_CORRUPT) of(c)->due = true;
    return code;
}

static ml_code status(ml_worker_call *c, ml_buf *answer)
{
    ml_code code = need(c);
    if (!code) ml_projector_pack_status(of(c)->projector, answer);
    return code;
}

/* After what changes how it goes on: it does so at once, and that is told. */
static ml_code changed(ml_worker_call *c, ml_buf *answer)
{
    of(c)->due = of(c)->news = true;
    return status(c, answer);
}

static ml_code pause_it(ml_worker_call *c, ml_buf *answer)
{
    ml_code code = need(c);
    if (code) return code;
    ml_projector_pause(of(c)->projector, true);
    return changed(c, answer);
}

static ml_code resume(ml_worker_call *c, ml_buf *answer)
{
    ml_code code = need(c);
    if (code) return code;
    ml_projector_pause(of(c)->projector, false);
    return changed(c, answer);
}

static ml_code retry(ml_worker_call *c, ml_buf *answer)
{
    ml_code code = need(c);
    if (code) return code;
    ml_projector_retry(of(c)->projector);
    return changed(c, answer);
}

static ml_code skip(ml_worker_call *c, ml_buf *answer)
{
    int64_t position;
    ml_code code = need(c);
    if (code) return code;
    if (!ml_unpack_int(&c->args, &position)) return ml_worker_refuse(c, "position");
    code = ml_projector_skip(of(c)->projector, (uint64_t)position, c->why);
    return code ? code : changed(c, answer);
}

/* ---- unasked ---------------------------------------------------------------------------- */

static void tell(projecting *own, uint64_t now, ml_buf *out)
{
    own->news = false;
    own->told_us = now;
    own->told_position = ml_projector_position(own->projector);
    own->told_state = ml_projector_get_state(own->projector);
    ml_pack_array(out, 3);
    ml_pack_int(out, 2);
    ml_pack_text(out, "progress");
    ml_pack_array(out, 1);
    ml_projector_pack_status(own->projector, out);
}

/* When its progress is to be told; UINT64_MAX = there is none. */
static uint64_t tell_at(const projecting *own)
{
    ml_projector_state state = ml_projector_get_state(own->projector);
    bool moved = ml_projector_position(own->projector) != own->told_position;
    if (own->news || state != own->told_state) return 0;
    if (moved) return own->told_us + TELL_US;
    return state == ML_PROJECTOR_BUILDING ? own->told_us + TELL_LATE_US : UINT64_MAX;
}

static int step(void *role, ml_buf *out)
{
    projecting *own = role;
    if (own->projector == NULL || !own->headed) return -1;
    uint64_t now = ml_clock_us();
    if (own->due || now >= own->next_us) {
        bool live = ml_projector_get_state(own->projector) == ML_PROJECTOR_LIVE;
        own->due = ml_projector_step(own->projector, own->head, live ? LIVE_US : BUILDING_US);
        int wait_ms = ml_projector_wait_ms(own->projector);
        now = ml_clock_us();
        own->next_us = wait_ms < 0 ? UINT64_MAX : now + (uint64_t)wait_ms * 1000;
    }
    if (now >= tell_at(own)) tell(own, now, out);
    if (own->due) return 0;
    uint64_t next = tell_at(own);
    if (own->next_us < next) next = own->next_us;
    if (next == UINT64_MAX) return -1;
    return next <= now ? 0 : (int)((next - now + 999) / 1000);
}

/* ---- the role --------------------------------------------------------------------------- */

static ml_code begin(void *role, const ml_worker_world *world, ml_error *why)
{
    (void)why;
    *(projecting *)role = (projecting){.world = *world, .next_us = UINT64_MAX};
    return ML_OK;
}

static void end(void *role)
{
    ml_projector_free(((projecting *)role)->projector);
}

static const ml_worker_method methods[] = {
    {"get", get},        {"head", head},       {"scan", scan},
    {"status", status},  {"project", project}, {"skip", skip},
    {"pause", pause_it}, {"resume", resume},   {"retry", retry},
};

const ml_worker_role ml_process_projection = {.name = "projection",
                                              .writes = "views",
                                              .file_bytes = ML_VIEW_MAP_BYTES,
                                              .shares = true,
                                              .size = sizeof(projecting),
                                              .methods = methods,
                                              .method_count = sizeof methods / sizeof *methods,
                                              .begin = begin,
                                              .step = step,
                                              .end = end};
