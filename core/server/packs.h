/* packs.h -- what the daemon knows of the rules that are active, without running any.
 *
 * A pack is what an event of the stream `$rules` says:
 *
 *     RulesActivated, RulesRolledBack {hash, files: {path: text}, units: [{unit, file, hash, …}],
 *                                      upcasts: {type: latest schema}}
 *
 * Floor    server. Uses base.
 * Threads  none.
 * Memory   a pack owns a copy of the event's data, and views into it.
 */
#ifndef ML_SERVER_PACKS_H
#define ML_SERVER_PACKS_H

#include "../base/buf.h"
#include "../base/pack.h"
#include "../rules/doing.h"

#define ML_PACKS_STREAM ML_STR("$rules")

typedef struct ml_pack_unit {
    ml_bytes unit, file, hash;
    unsigned kills; /* workers that it has killed, */
    unsigned stops; /* and calls that overstayed and were stopped, since the last that did not */
} ml_pack_unit;

typedef struct ml_pack_chain {
    ml_bytes type;
    uint32_t latest;
} ml_pack_chain;

typedef struct ml_pack {
    ml_buf data; /* empty: no pack */
    ml_bytes hash, files;
    ml_pack_unit *units;
    size_t unit_count;
    ml_pack_chain *chains;
    size_t chain_count;
    uint64_t position; /* of the activation, */
    int64_t time;      /* and when that was */
    const char *type;  /* "RulesActivated" */
} ml_pack;

/* Reads a copy of `data`. UNSUPPORTED if that is no pack; NO_MEMORY. */
ML_MUST_USE ml_code ml_packs_read(ml_pack *pack, ml_bytes data, ml_error *why);
void ml_packs_free(ml_pack *pack);
static inline bool ml_packs_none(const ml_pack *pack)
{
    return pack->data.size == 0;
}

/* The unit of that name, or NULL. */
ml_pack_unit *ml_packs_unit(const ml_pack *pack, ml_bytes unit);
/* Does a report of staging tell of the same pack and units? */
bool ml_packs_agrees(const ml_pack *pack, ml_bytes report);
/* Does it translate this event? */
bool ml_packs_upcasts(const ml_pack *pack, const ml_event *event);

/* Takes over the kills and stops of those units that are the same in both. */
void ml_packs_inherit(ml_pack *pack, const ml_pack *from);

/* The unit, if it has that hash; or NULL. */
ml_pack_unit *ml_packs_version(const ml_pack *pack, ml_bytes unit, ml_bytes hash);

/* An entry of a map. */
static inline void ml_packs_pack(ml_buf *out, const char *name, ml_bytes text)
{
    ml_pack_text(out, name);
    ml_pack_str(out, text);
}

#endif
