/* worker_rules.c -- the role `rules`: an engine answers (worker.h). */
#include "../base/pack.h"
#include "engine.h"
#include "worker.h"

enum { SNAPSHOT_BYTES = 64 << 20 };

typedef struct ruling {
    ml_engine *engine;
    ml_buf units; /* report of the staged pack */
    bool active;  /* one has been activated */
} ruling;

static ruling *of(const ml_worker_call *c)
{
    return c->role;
}

/* ---- packs ------------------------------------------------------------------------ */

static ml_code stage(ml_worker_call *c, ml_buf *answer)
{
    ml_source files[ML_RULES_FILES_MAX];
    uint32_t count;
    int64_t how = 0;
    ml_code code = ml_worker_take_files(c, files, &count);
    if (!code && (!ml_unpack_int(&c->args, &how) || how < ML_STAGE_SHAPES || how > ML_STAGE_PROVED))
        code = ml_worker_refuse(c, "word on how much to prove");
    if (!code)
        code = ml_engine_stage(of(c)->engine, files, count, (ml_stage_how)how, answer, c->why);
    if (code) return code;
    ml_buf_clear(&of(c)->units);
    ml_buf_add(&of(c)->units, answer->data, answer->size);
    return of(c)->units.failed ? ml_error_memory(c->why, "a pack") : ML_OK;
}

static int64_t latest_schema(const ruling *r, ml_bytes type)
{
    uint32_t schema = 1;
    while (schema < UINT16_MAX && ml_engine_upcasts(r->engine, type, schema))
        schema++;
    return schema;
}

/* The types that the pack has chains for, by the names of its units. */
static void pack_upcasts(const ruling *r, ml_buf *answer)
{
    static const char kind[] = "upcast/";
    ml_unpack units = ml_unpack_from(ml_unpack_find(ml_buf_view(&r->units), "units"));
    uint32_t count = 0, types = 0;
    size_t begin = ml_pack_begin(answer);
    if (!ml_unpack_array(&units, &count)) count = 0;
    for (uint32_t n = 0; n < count; n++) {
        const uint8_t *from = units.at;
        if (!ml_unpack_skip(&units)) break;
        ml_unpack text =
            ml_unpack_from(ml_unpack_find((ml_bytes){from, (size_t)(units.at - from)}, "unit"));
        ml_bytes name;
        if (!ml_unpack_str(&text, &name) || !ml_bytes_begins(name, ML_STR(kind))) continue;
        ml_bytes type = {(const char *)name.data + sizeof kind - 1, name.size - (sizeof kind - 1)};
        ml_pack_str(answer, type);
        ml_pack_int(answer, latest_schema(r, type));
        types++;
    }
    ml_pack_end_map(answer, begin, types);
}

static ml_code activate(ml_worker_call *c, ml_buf *answer)
{
    ml_code code = ml_engine_activate(of(c)->engine, c->why);
    of(c)->active |= !code;
    if (!code) pack_upcasts(of(c), answer);
    return code;
}

/* ---- work ------------------------------------------------------------------------- */

static ml_code command(ml_worker_call *c, ml_buf *answer)
{
    return ml_engine_command(of(c)->engine, ml_worker_rest(c), answer, c->why);
}

static ml_code state(ml_worker_call *c, ml_buf *answer)
{
    return ml_engine_state(of(c)->engine, ml_worker_rest(c), answer, c->why);
}

static ml_code admitted(ml_worker_call *c, ml_buf *answer)
{
    ml_bytes events;
    (void)answer;
    if (!ml_worker_take_bin(c, &events)) return ml_worker_refuse(c, "events");
    ML_IGNORE(ml_engine_admitted(of(c)->engine, events, NULL, c->why)); /* who asks next is told */
    return ML_OK;
}

static ml_code forget(ml_worker_call *c, ml_buf *answer)
{
    ml_bytes stream;
    (void)answer;
    if (!ml_unpack_str(&c->args, &stream)) return ml_worker_refuse(c, "stream");
    ml_engine_forget(of(c)->engine, stream);
    return ML_OK;
}

static ml_code upcast(ml_worker_call *c, ml_buf *answer)
{
    ml_bytes events;
    bool as_maps;
    uint32_t count = 0;
    ml_buf made = {0};
    if (!ml_worker_take_bin(c, &events) || !ml_worker_take_bool(c, &as_maps))
        return ml_worker_refuse(c, "events");
    if (!of(c)->active)
        return ml_error_set(c->why, ML_SCRIPT_ERROR,
                            "the active rules have errors, so that no event can be upcast; load "
                            "others, or read raw");
    ml_code code = ml_engine_upcast(of(c)->engine, events, as_maps, &made, &count, c->why);
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

static ml_code stats(ml_worker_call *c, ml_buf *answer)
{
    ml_engine_stats s;
    ml_engine_get_stats(of(c)->engine, &s);
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

static const ml_worker_method methods[] = {
    {"command", command}, {"admitted", admitted}, {"state", state},       {"upcast", upcast},
    {"forget", forget},   {"stage", stage},       {"activate", activate}, {"stats", stats},
};

/* ---- life ------------------------------------------------------------------------- */

static ml_code begin(void *role, const ml_worker_world *world, ml_error *why)
{
    ruling *r = role;
    ml_engine_options about = {.snapshots = world->writable, .rehearse = world->rehearse};
    ml_code code = ml_engine_new(world->store, &about, &r->engine, why);
    if (!code) ml_engine_watch(r->engine, &world->page->doing);
    return code;
}

static void end(void *role)
{
    ruling *r = role;
    ml_engine_free(r->engine);
    ml_buf_free(&r->units);
}

/* Without a directory for them there are no snapshots: folds take longer, and that is all. */
const ml_worker_role ml_worker_rules = {.name = "rules",
                                        .writes = "snapshots",
                                        .file_bytes = SNAPSHOT_BYTES,
                                        .size = sizeof(ruling),
                                        .methods = methods,
                                        .method_count = sizeof methods / sizeof *methods,
                                        .begin = begin,
                                        .end = end};
