/* packs.c -- see packs.h. */
#include "packs.h"

#include <stdlib.h>

#include "../base/unpack.h"

/* ---- reading ---------------------------------------------------------------------- */

static ml_code refuse(const char *what, ml_error *why)
{
    return ml_error_set(why, ML_UNSUPPORTED,
                        "the event in $rules has no %s that this version can read", what);
}

static ml_code read_units(ml_pack *pack, ml_bytes raw, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(raw);
    uint32_t count;
    if (!ml_unpack_array(&cursor, &count)) return refuse("units", why);
    pack->units = calloc(count + 1, sizeof *pack->units);
    if (pack->units == NULL) return ml_error_memory(why, "a pack");
    for (uint32_t n = 0; n < count; n++) {
        const uint8_t *from = cursor.at;
        if (!ml_unpack_skip(&cursor)) return refuse("units", why);
        ml_bytes map = {from, (size_t)(cursor.at - from)};
        ml_pack_unit *unit = &pack->units[pack->unit_count++];
        *unit = (ml_pack_unit){.unit = ml_unpack_find_str(map, "unit"),
                               .file = ml_unpack_find_str(map, "file"),
                               .hash = ml_unpack_find_str(map, "hash")};
        if (unit->unit.size == 0 || unit->hash.size == 0) return refuse("units", why);
    }
    return ML_OK;
}

static ml_code read_chains(ml_pack *pack, ml_bytes raw, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(raw);
    uint32_t count;
    if (!ml_unpack_map(&cursor, &count)) return refuse("upcasts", why);
    pack->chains = calloc((size_t)count + 1, sizeof *pack->chains);
    if (pack->chains == NULL) return ml_error_memory(why, "a pack");
    for (uint32_t n = 0; n < count; n++) {
        ml_pack_chain *chain = &pack->chains[n];
        int64_t latest;
        if (!ml_unpack_str(&cursor, &chain->type) || !ml_unpack_int(&cursor, &latest) ||
            latest < 1 || latest > UINT32_MAX)
            return refuse("upcasts", why);
        chain->latest = (uint32_t)latest;
        pack->chain_count++;
    }
    return ML_OK;
}

ml_code ml_packs_read(ml_pack *pack, ml_bytes data, ml_error *why)
{
    *pack = (ml_pack){0};
    ml_buf_add(&pack->data, data.data, data.size);
    if (pack->data.failed) return ml_error_memory(why, "a pack");
    data = ml_buf_view(&pack->data);
    pack->hash = ml_unpack_find_str(data, "hash");
    pack->files = ml_unpack_find(data, "files");
    ml_code code = pack->hash.size == 0    ? refuse("hash", why)
                   : pack->files.size == 0 ? refuse("files", why)
                                           : ML_OK;
    if (!code) code = read_units(pack, ml_unpack_find(data, "units"), why);
    if (!code) code = read_chains(pack, ml_unpack_find(data, "upcasts"), why);
    if (code) ml_packs_free(pack);
    return code;
}

void ml_packs_free(ml_pack *pack)
{
    free(pack->units);
    free(pack->chains);
    ml_buf_free(&pack->data);
    *pack = (ml_pack){0};
}

/* ---- asking ----------------------------------------------------------------------- */

ml_pack_unit *ml_packs_unit(const ml_pack *pack, ml_bytes unit)
{
    for (size_t n = 0; n < pack->unit_count; n++)
        if (ml_bytes_equal(pack->units[n].unit, unit)) return &pack->units[n];
    return NULL;
}

bool ml_packs_agrees(const ml_pack *pack, ml_bytes report)
{
    ml_pack told = {0};
    if (!ml_bytes_equal(pack->hash, ml_unpack_find_str(report, "hash"))) return false;
    bool same = read_units(&told, ml_unpack_find(report, "units"), NULL) == ML_OK &&
                told.unit_count == pack->unit_count;
    for (size_t n = 0; same && n < told.unit_count; n++) {
        const ml_pack_unit *unit = ml_packs_unit(pack, told.units[n].unit);
        same = unit != NULL && ml_bytes_equal(unit->hash, told.units[n].hash);
    }
    free(told.units);
    return same;
}

bool ml_packs_upcasts(const ml_pack *pack, const ml_event *event)
{
    for (size_t n = 0; n < pack->chain_count; n++)
        if (ml_bytes_equal(pack->chains[n].type, event->type))
            return event->schema < pack->chains[n].latest;
    return false;
}

ml_pack_unit *ml_packs_version(const ml_pack *pack, ml_bytes unit, ml_bytes hash)
{
    ml_pack_unit *found = ml_packs_unit(pack, unit);
    return found != NULL && ml_bytes_equal(found->hash, hash) ? found : NULL;
}

void ml_packs_inherit(ml_pack *pack, const ml_pack *from)
{
    for (size_t n = 0; n < pack->unit_count; n++) {
        ml_pack_unit *unit = &pack->units[n];
        const ml_pack_unit *old = ml_packs_version(from, unit->unit, unit->hash);
        if (old == NULL) continue;
        unit->kills = old->kills;
        unit->stops = old->stops;
    }
}
