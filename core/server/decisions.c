/* decisions.c -- what a worker has decided, as an append. Its word is checked like a client's. */
#include <inttypes.h>

#include "commands.h"
#include "packs.h"

static ml_code broken(ml_error *why)
{
    return ml_error_set(why, ML_INTERNAL, "a worker's decision is none that can be admitted");
}

static ml_code read_tags(ml_server *server, const ml_command *c, ml_bytes raw, ml_draft *draft,
                         size_t *used, char *space, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(raw);
    uint32_t count = 0;
    bool named = c->command_id.size > 0;
    if (raw.size > 0 && !ml_unpack_array(&cursor, &count)) return broken(why);
    if (count + named > ML_TAGS_MAX)
        return ml_error_set(why, ML_TOO_LARGE,
                            "an event has %" PRIu32 " tags, and the command's own; the limit is %d",
                            count, ML_TAGS_MAX);
    ml_bytes *tags = server->tags + *used;
    for (uint32_t n = 0; n < count; n++)
        if (!ml_unpack_str(&cursor, &tags[n])) return broken(why);
    if (named) tags[count] = ml_commands_tag(c, space);
    draft->tags = tags;
    draft->tag_count = count + named;
    *used += draft->tag_count;
    return ML_OK;
}

/* Events of the decision as the daemon's drafts, views into it. */
static ml_code read_drafts(ml_command *c, ml_bytes events, char *space, ml_error *why)
{
    ml_server *server = c->server;
    ml_unpack cursor = ml_unpack_from(events);
    size_t used = 0;
    if (!ml_unpack_array(&cursor, &c->count) || c->count > ML_APPEND_EVENTS_MAX) return broken(why);
    for (uint32_t n = 0; n < c->count; n++) {
        const uint8_t *from = cursor.at;
        if (!ml_unpack_skip(&cursor)) return broken(why);
        ml_bytes map = {from, (size_t)(cursor.at - from)};
        ml_unpack number = ml_unpack_from(ml_unpack_find(map, "schema"));
        int64_t schema = 1;
        if (number.at != number.end &&
            (!ml_unpack_int(&number, &schema) || schema < 1 || schema > INT32_MAX))
            return broken(why);
        ml_draft *draft = &server->drafts[n];
        *draft = (ml_draft){.type = ml_unpack_find_str(map, "type"),
                            .data = ml_unpack_find(map, "data"),
                            .meta = ml_unpack_find(map, "meta"),
                            .schema = (uint32_t)schema};
        ml_code code = read_tags(server, c, ml_unpack_find(map, "tags"), draft, &used, space, why);
        if (code) return code;
    }
    return ML_OK;
}

static ml_code read_expected(ml_bytes raw, int64_t *expected, ml_error *why)
{
    ml_unpack cursor = ml_unpack_from(raw);
    ml_bytes word;
    *expected = ML_NO_STREAM;
    if (ml_unpack_str(&cursor, &word))
        return ml_bytes_equal(word, ML_STR("no_stream")) ? ML_OK : broken(why);
    return ml_unpack_int(&cursor, expected) && *expected >= 0 ? ML_OK : broken(why);
}

ml_code ml_decisions_read(ml_command *c, ml_bytes decided, char *space, ml_write *write,
                          ml_error *why)
{
    *write = (ml_write){.stream = ml_commands_stream(c), .events = c->server->drafts};
    ml_code code = read_expected(ml_unpack_find(decided, "expected"), &write->expected, why);
    if (!code) code = read_drafts(c, ml_unpack_find(decided, "events"), space, why);
    /* A worker writes to the stream that the command is for, whatever it says. */
    if (!code && !ml_bytes_equal(ml_unpack_find_str(decided, "stream"), ml_commands_stream(c)))
        code = broken(why);
    write->count = c->count;
    return code;
}
