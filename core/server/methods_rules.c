/* methods_rules.c -- rules.check, rules.load, rules.rollback, which loads.c carries out; rules.list
 * and rules.history, answered at once. */
#include <stdlib.h>

#include "loads.h"
#include "rules.h"
#include "workers.h"

enum { HISTORY_LIMIT = 20 };

/* ---- loading ---------------------------------------------------------------------- */

static ml_ended check_or_load(ml_call *call, const ml_params *params, ml_load_kind kind)
{
    bool full = false;
    if (ml_params_bool(params, "full", &full, &call->why)) return ML_REFUSED;
    return ml_loads_begin(call, kind, ml_params_raw(params, "files"), full);
}

ml_ended ml_methods_rules_check(ml_call *call, const ml_params *params)
{
    return check_or_load(call, params, ML_LOAD_CHECK);
}

ml_ended ml_methods_rules_load(ml_call *call, const ml_params *params)
{
    return check_or_load(call, params, ML_LOAD_ACTIVATE);
}

/* ---- rolling back ----------------------------------------------------------------- */

/* What to go back to: the newest that is another than now, or the one asked for. */
typedef struct finding {
    const ml_pack *active;
    ml_bytes unit,
        to;       /* a unit's name, or none: the whole pack; the beginning of a hash, or none */
    ml_bytes now; /* the hash that it has */
    ml_pack found;
} finding;

static bool look_back(void *context, ml_pack *pack)
{
    finding *f = context;
    const ml_pack_unit *unit = f->unit.size > 0 ? ml_packs_unit(pack, f->unit) : NULL;
    if (f->unit.size > 0 && unit == NULL) return true;
    ml_bytes hash = unit != NULL ? unit->hash : pack->hash;
    if (ml_bytes_equal(hash, f->now)) return true;
    if (f->to.size > 0 && !ml_bytes_begins(hash, f->to)) return true;
    f->found = *pack;
    *pack = (ml_pack){0};
    return false;
}

static ml_code find_earlier(ml_call *call, finding *f)
{
    const ml_pack_unit *now = f->unit.size > 0 ? ml_packs_unit(f->active, f->unit) : NULL;
    f->now = f->unit.size > 0 ? (now != NULL ? now->hash : (ml_bytes){0}) : f->active->hash;
    ml_code code = ml_rules_each(call->server, look_back, f, &call->why);
    if (code || !ml_packs_none(&f->found)) return code;
    ml_bytes what = f->unit.size > 0 ? ml_params_shown(f->unit) : ML_STR("the pack");
    if (f->unit.size > 0 && what.data != f->unit.data) what = ML_STR("that unit");
    return ml_error_set(
        &call->why, ML_NOT_FOUND,
        "there is no %s version of %.*s; `moonlog rules history` lists those there were",
        f->to.size > 0 ? "such" : "earlier", ML_SHOW(what));
}

/* The files of now, but for those of the unit. */
static uint32_t pack_others(ml_buf *out, const finding *f, ml_bytes old_file)
{
    const ml_pack_unit *now = ml_packs_unit(f->active, f->unit);
    ml_unpack cursor = ml_unpack_from(f->active->files);
    uint32_t count, kept = 0;
    ml_bytes path, text;
    if (!ml_unpack_map(&cursor, &count)) return 0;
    for (uint32_t n = 0;
         n < count && ml_unpack_str(&cursor, &path) && ml_unpack_str(&cursor, &text); n++) {
        if (ml_bytes_equal(path, old_file) || (now != NULL && ml_bytes_equal(path, now->file)))
            continue;
        ml_pack_str(out, path);
        ml_pack_str(out, text);
        kept++;
    }
    return kept;
}

static ml_bytes text_of(const ml_pack *pack, ml_bytes file)
{
    char path[ML_STREAM_BYTES_MAX];
    if (file.size >= sizeof path) return (ml_bytes){0};
    memcpy(path, file.data, file.size);
    path[file.size] = '\0';
    return ml_unpack_find_str(pack->files, path);
}

/* The pack of now with one unit as it was. */
static void pack_mixed(ml_buf *out, const finding *f)
{
    ml_bytes file = ml_packs_unit(&f->found, f->unit)->file;
    size_t begin = ml_pack_begin(out);
    uint32_t count = pack_others(out, f, file);
    ml_pack_str(out, file);
    ml_pack_str(out, text_of(&f->found, file));
    ml_pack_end_map(out, begin, count + 1);
}

ml_ended ml_methods_rules_rollback(ml_call *call, const ml_params *params)
{
    finding f = {.active = ml_rules_active(call->server)};
    ml_code code = ml_params_str(params, "unit", &f.unit, &call->why);
    if (!code) code = ml_params_str(params, "to", &f.to, &call->why);
    if (!code && ml_bytes_equal(f.unit, ML_STR("pack"))) f.unit.size = 0;
    if (!code) code = find_earlier(call, &f);
    if (code) return ML_REFUSED;
    ml_buf files = {0};
    if (f.unit.size > 0)
        pack_mixed(&files, &f);
    else
        ml_buf_add(&files, f.found.files.data, f.found.files.size);
    ml_ended ended = ml_loads_begin(call, ML_LOAD_ROLLBACK, ml_buf_view(&files), false);
    ml_buf_free(&files);
    ml_packs_free(&f.found);
    return ended;
}

/* ---- list, history ---------------------------------------------------------------- */

static void pack_unit(ml_buf *out, const ml_pack_unit *unit)
{
    ml_pack_map(out, 6);
    ml_packs_pack(out, "unit", unit->unit);
    ml_packs_pack(out, "file", unit->file);
    ml_packs_pack(out, "hash", unit->hash);
    ml_pack_text(out, "status");
    ml_pack_text(out, ml_rules_quarantined(unit) ? "quarantined" : "active");
    ml_pack_text(out, "kills");
    ml_pack_int(out, unit->kills);
    ml_pack_text(out, "stops");
    ml_pack_int(out, unit->stops);
}

ml_ended ml_methods_rules_list(ml_call *call, const ml_params *params)
{
    const ml_pack *active = ml_rules_active(call->server);
    bool none = ml_packs_none(active), files = false;
    if (ml_params_bool(params, "files", &files, &call->why)) return ML_REFUSED;
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, files ? 5 : 4);
    ml_pack_text(out, "hash");
    if (none)
        ml_pack_nil(out);
    else
        ml_pack_str(out, active->hash);
    ml_pack_text(out, "position");
    ml_pack_int(out, (int64_t)active->position);
    ml_pack_text(out, "time");
    if (none)
        ml_pack_nil(out);
    else
        ml_pack_int(out, active->time);
    ml_pack_text(out, "units");
    ml_pack_array(out, (uint32_t)active->unit_count);
    for (size_t n = 0; n < active->unit_count; n++)
        pack_unit(out, &active->units[n]);
    if (!files) return ML_ANSWERED;
    ml_pack_text(out, "files");
    if (none)
        ml_pack_map(out, 0);
    else
        ml_buf_add(out, active->files.data, active->files.size);
    return ML_ANSWERED;
}

typedef struct listing {
    ml_buf *out;
    size_t begin;
    uint32_t count;
    int64_t limit, before;
    uint64_t last; /* position of what was packed last */
    bool files, more;
} listing;

static bool pack_activation(void *context, ml_pack *pack)
{
    listing *l = context;
    if (pack->position >= (uint64_t)l->before) return true;
    l->more = l->count == l->limit || l->out->size - l->begin > READ_BYTES_MAX;
    if (l->more) return false;
    l->last = pack->position;
    ml_pack_map(l->out, l->files ? 6 : 5);
    ml_pack_text(l->out, "position");
    ml_pack_int(l->out, (int64_t)pack->position);
    ml_pack_text(l->out, "time");
    ml_pack_int(l->out, pack->time);
    ml_pack_text(l->out, "type");
    ml_pack_text(l->out, pack->type);
    ml_packs_pack(l->out, "hash", pack->hash);
    ml_pack_text(l->out, "units");
    ml_pack_array(l->out, (uint32_t)pack->unit_count);
    for (size_t n = 0; n < pack->unit_count; n++) {
        ml_pack_map(l->out, 3);
        ml_packs_pack(l->out, "unit", pack->units[n].unit);
        ml_packs_pack(l->out, "file", pack->units[n].file);
        ml_packs_pack(l->out, "hash", pack->units[n].hash);
    }
    if (l->files) {
        ml_pack_text(l->out, "files");
        ml_buf_add(l->out, pack->files.data, pack->files.size);
    }
    l->count++;
    return true;
}

ml_ended ml_methods_rules_history(ml_call *call, const ml_params *params)
{
    listing l = {.limit = HISTORY_LIMIT, .before = INT64_MAX};
    ml_code code = ml_params_int(params, "limit", 1, 1000, &l.limit, NULL, &call->why);
    if (!code)
        code = ml_params_int(params, "before", 1, INT64_MAX, &l.before, NULL, &call->why);
    if (!code) code = ml_params_bool(params, "files", &l.files, &call->why);
    if (code) return ML_REFUSED;
    size_t before = call->conn->out.size;
    l.out = ml_dispatch_answer(call->conn, call->msgid);
    l.begin = l.out->size;
    ml_pack_map(l.out, 2);
    ml_pack_text(l.out, "activations");
    size_t begin = ml_pack_begin(l.out);
    if (ml_rules_each(call->server, pack_activation, &l, &call->why)) {
        l.out->size = before;
        return ML_REFUSED;
    }
    ml_pack_end_array(l.out, begin, l.count);
    ml_pack_text(l.out, "next");
    if (l.more)
        ml_pack_int(l.out, (int64_t)l.last);
    else
        ml_pack_nil(l.out);
    return ML_ANSWERED;
}
