/* process_whatif.c -- see process_whatif.h. */
#include "process_whatif.h"

#include <stdio.h>
#include <stdlib.h>

#include "../base/clock.h"
#include "../base/pack.h"
#include "../view/view.h"
#include "whatif.h"

enum { TELL_US = 250000, PATH = 4096 };

typedef struct asking {
    ml_worker_world world;
    uint64_t told_us;
    ml_buf out;
} asking;

/* False: the daemon has gone. */
static bool tell(void *context, ml_bytes unit, uint64_t position, uint64_t head)
{
    asking *own = context;
    uint64_t now = ml_clock_us();
    if (now - own->told_us < TELL_US) return true;
    own->told_us = now;
    ml_buf *out = &own->out;
    ml_buf_clear(out);
    ml_pack_array(out, 3);
    ml_pack_int(out, 2);
    ml_pack_text(out, "progress");
    ml_pack_array(out, 1);
    ml_pack_map(out, 3);
    ml_pack_text(out, "unit");
    ml_pack_str(out, unit);
    ml_pack_text(out, "position");
    ml_pack_int(out, (int64_t)position);
    ml_pack_text(out, "head");
    ml_pack_int(out, (int64_t)head);
    return out->failed || ml_worker_tell(ml_buf_view(out));
}

/* ---- the request ------------------------------------------------------------------------ */

typedef struct plan {
    ml_whatif ask;
    ml_source files[2][ML_RULES_FILES_MAX];
    char scratch[PATH], boot[ML_VIEW_BOOT];
} plan;

static ml_code take_scratch(ml_worker_call *c, plan *p)
{
    ml_bytes name;
    const asking *own = c->role;
    bool good = ml_unpack_str(&c->args, &name) && name.size > 0 &&
                memchr(name.data, '/', name.size) == NULL &&
                memchr(name.data, '\0', name.size) == NULL && *(const char *)name.data != '.';
    if (!good) return ml_worker_refuse(c, "name of a directory");
    if (own->world.writable == NULL)
        return ml_error_set(c->why, ML_IO, "the directory views cannot be made or written to");
    int size = snprintf(p->scratch, PATH, "%s/%.*s", own->world.writable, ML_SHOW(name));
    p->ask.scratch = p->scratch;
    return size < PATH ? ML_OK : ml_worker_refuse(c, "directory with a short name");
}

static ml_code take_boot(ml_worker_call *c, plan *p)
{
    ml_bytes boot;
    if (!ml_unpack_str(&c->args, &boot) || boot.size >= sizeof p->boot)
        return ml_worker_refuse(c, "id of the boot");
    snprintf(p->boot, sizeof p->boot, "%.*s", ML_SHOW(boot));
    p->ask.boot = p->boot;
    return ML_OK;
}

static ml_code take_natural(ml_worker_call *c, const char *name, uint64_t *value)
{
    int64_t number;
    if (!ml_unpack_int(&c->args, &number) || number < 0) return ml_worker_refuse(c, name);
    *value = (uint64_t)number;
    return ML_OK;
}

static ml_code take_files(ml_worker_call *c, ml_source *files, const ml_source **to, size_t *count)
{
    uint32_t found = 0;
    ml_code code = ml_worker_take_files(c, files, &found);
    *to = files;
    *count = found;
    return code;
}

static ml_code take_one(ml_worker_call *c, ml_bytes name, plan *p)
{
    ml_whatif *ask = &p->ask;
    if (ml_bytes_equal(name, ML_STR("before")))
        return take_files(c, p->files[0], &ask->before, &ask->before_count);
    if (ml_bytes_equal(name, ML_STR("after")))
        return take_files(c, p->files[1], &ask->after, &ask->after_count);
    if (ml_bytes_equal(name, ML_STR("scratch"))) return take_scratch(c, p);
    if (ml_bytes_equal(name, ML_STR("boot"))) return take_boot(c, p);
    if (ml_bytes_equal(name, ML_STR("from"))) return take_natural(c, "from", &ask->from);
    if (ml_bytes_equal(name, ML_STR("limit"))) return take_natural(c, "limit", &ask->limit);
    if (ml_bytes_equal(name, ML_STR("unit")))
        return ml_unpack_str(&c->args, &ask->unit) ? ML_OK : ml_worker_refuse(c, "unit");
    if (ml_bytes_equal(name, ML_STR("skips"))) {
        ask->skips = ml_unpack_value(&c->args);
        return ask->skips.size > 0 ? ML_OK : ml_worker_refuse(c, "skips");
    }
    return ml_error_set(c->why, ML_BAD_REQUEST, "whatif knows no %.*s", ML_SHOW(name));
}

static ml_code take_plan(ml_worker_call *c, plan *p)
{
    uint32_t count;
    ml_bytes name;
    if (!ml_unpack_map(&c->args, &count)) return ml_worker_refuse(c, "map");
    for (uint32_t n = 0; n < count; n++) {
        if (!ml_unpack_str(&c->args, &name)) return ml_worker_refuse(c, "map of names to values");
        ml_code code = take_one(c, name, p);
        if (code) return code;
    }
    bool packs = p->ask.before != NULL && p->ask.after != NULL;
    if (!packs || p->ask.scratch == NULL || p->ask.boot == NULL)
        return ml_worker_refuse(c, "before, after, scratch or boot");
    return ML_OK;
}

static ml_code whatif(ml_worker_call *c, ml_buf *answer)
{
    asking *own = c->role;
    ml_diagnostics report = {0};
    plan *p = calloc(1, sizeof *p);
    if (p == NULL) return ml_error_memory(c->why, "a whatif");
    ml_code code = take_plan(c, p);
    p->ask.store = own->world.store;
    p->ask.watch = &own->world.page->doing;
    p->ask.progress = tell;
    p->ask.context = own;
    if (!code) code = ml_whatif_run(&p->ask, &report, answer, c->why);
    if (code == ML_SCRIPT_ERROR && report.errors > 0) {
        code = ML_OK;
        ml_buf_clear(answer);
        ml_pack_map(answer, 1);
        ml_pack_text(answer, "diagnostics");
        ml_pack_array(answer, report.count);
        ml_buf_add(answer, report.items.data, report.items.size);
    }
    ml_diagnostics_free(&report);
    free(p);
    return code;
}

/* ---- the role --------------------------------------------------------------------------- */

static ml_code begin(void *role, const ml_worker_world *world, ml_error *why)
{
    (void)why;
    ((asking *)role)->world = *world;
    return ML_OK;
}

static void end(void *role) { ml_buf_free(&((asking *)role)->out); }

static const ml_worker_method methods[] = {{"whatif", whatif}};

const ml_worker_role ml_process_whatif = {.name = "whatif",
                                          .writes = "views",
                                          .file_bytes = ML_VIEW_MAP_BYTES,
                                          .shares = true,
                                          .size = sizeof(asking),
                                          .methods = methods,
                                          .method_count = sizeof methods / sizeof *methods,
                                          .begin = begin,
                                          .end = end};
