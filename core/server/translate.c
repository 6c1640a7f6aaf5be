/* translate.c -- see translate.h. */
#include "translate.h"

enum { HEAD = 5 }; /* of a bin whose size is known at its end: c6 and four bytes */

ml_buf *ml_translate_begin(ml_ask *ask)
{
    *ask = (ml_ask){.method = "upcast", .count = 2};
    uint8_t *head = ml_buf_take(&ask->params, HEAD);
    if (head != NULL) memset(head, 0, HEAD);
    return &ask->params;
}

ml_code ml_translate_send(ml_server *server, ml_ask *ask, bool as_maps, ml_asked *asked,
                          ml_error *why)
{
    if (ask->params.failed) return ml_error_memory(why, "events to be upcast");
    size_t size = ask->params.size - HEAD;
    uint8_t *head = ask->params.data;
    head[0] = 0xc6;
    for (unsigned n = 0; n < 4; n++)
        head[1 + n] = (uint8_t)(size >> (24 - 8 * n));
    ml_pack_bool(&ask->params, as_maps);
    ask->asked = asked;
    return ml_workers_ask(server, ml_workers_idlest(server), ask, why);
}

bool ml_translate_read(ml_bytes result, uint32_t *count, ml_bytes *events)
{
    ml_unpack cursor = ml_unpack_from(result);
    uint32_t items;
    int64_t number;
    if (!ml_unpack_array(&cursor, &items) || items != 2 || !ml_unpack_int(&cursor, &number))
        return false;
    ml_token token = ml_unpack_next(&cursor);
    *events = token.bytes;
    *count = (uint32_t)number;
    /* Each takes a byte at least, so a wrong number is no promise of many. */
    return token.kind == ML_KIND_BIN && number >= 0 && (uint64_t)number <= token.bytes.size;
}
