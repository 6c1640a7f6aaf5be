/* key.c -- hashing names. */
#include "key.h"

#include "../base/unpack.h"

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wswitch-enum"
#include <xxhash.h>
#pragma GCC diagnostic pop

uint64_t ml_key_of(uint64_t seed, ml_key_kind kind, ml_bytes name)
{
    return XXH3_64bits_withSeed(name.size > 0 ? name.data : "", name.size, seed + (uint64_t)kind);
}

ml_code ml_key_each(uint64_t seed, const ml_event *event, ml_code (*each)(void *context, uint64_t key),
                    void *context)
{
    ml_bytes category = ml_event_category(event->stream);
    ml_code code = each(context, ml_key_of(seed, ML_KEY_STREAM, event->stream));
    if (!code) code = each(context, ml_key_of(seed, ML_KEY_CATEGORY, category));
    if (!code) code = each(context, ml_key_of(seed, ML_KEY_TYPE, event->type));
    ml_unpack tags = ml_unpack_from(event->tags);
    uint32_t count;
    if (!ml_unpack_array(&tags, &count)) return ML_CORRUPT;
    for (uint32_t n = 0; !code && n < count; n++) {
        ml_bytes tag;
        if (!ml_unpack_str(&tags, &tag)) return ML_CORRUPT;
        code = each(context, ml_key_of(seed, ML_KEY_TAG, tag));
    }
    if (code || event->revision > 0) return code;
    code = each(context, ml_key_of(seed, ML_KEY_BEGUN, (ml_bytes){"", 0}));
    return code ? code : each(context, ml_key_of(seed, ML_KEY_BEGUN_CATEGORY, category));
}
