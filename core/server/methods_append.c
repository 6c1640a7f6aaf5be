/* methods_append.c -- append: a request becomes a proposal, views into the message; the answer
 * comes when the group has been written. */
#include <inttypes.h>
#include <stdlib.h>

#include "../base/crc32c.h"
#include "../base/text.h"
#include "inside.h"

/* ---- reading the request --------------------------------------------------------------- */

typedef struct reading {
    ml_server *server;
    ml_error *why;
    size_t events, tags, writes;
} reading;

static ml_code read_id(reading *r, ml_bytes raw, const uint8_t **id)
{
    if (raw.size == 0) return ML_OK;
    ml_unpack cursor = ml_unpack_from(raw);
    ml_token token = ml_unpack_next(&cursor);
    uint8_t *own = r->server->ids[r->events];
    *id = own;
    if (token.kind == ML_KIND_BIN && token.bytes.size == ML_ID_SIZE) {
        memcpy(own, token.bytes.data, ML_ID_SIZE);
        return ML_OK;
    }
    if (token.kind == ML_KIND_STR && ml_uuid_read(token.bytes, own)) return ML_OK;
    return ml_error_set(r->why, ML_BAD_REQUEST, "id is neither 16 bytes of bin nor a UUID");
}

static ml_code read_tags(reading *r, const ml_params *event, ml_draft *draft)
{
    ml_bytes rest;
    uint32_t count;
    ml_code code = ml_params_list(event, "tags", &rest, &count, r->why);
    if (code) return code;
    if (count > ML_TAGS_MAX)
        return ml_error_set(r->why, ML_TOO_LARGE, "%" PRIu32 " tags, the limit is %d; drop some", count, ML_TAGS_MAX);
    draft->tags = r->server->tags + r->tags;
    draft->tag_count = count;
    for (uint32_t n = 0; !code && n < count; n++)
        code = ml_params_item_str(&rest, "tags", &r->server->tags[r->tags++], r->why);
    return code;
}

static ml_code read_event(reading *r, ml_bytes *rest)
{
    static const char *const names[] = {"type", "data", "meta", "tags", "id", "schema", "occurred", NULL};
    ml_params event;
    ml_draft *draft = &r->server->drafts[r->events];
    *draft = (ml_draft){0};
    int64_t schema = 1;
    ml_code code = ml_params_read(rest, "an event", names, &event, r->why);
    if (!code) code = ml_params_str(&event, "type", &draft->type, r->why);
    if (!code) code = ml_params_int(&event, "schema", 1, INT32_MAX, &schema, NULL, r->why);
    if (!code) code = ml_params_time(&event, "occurred", &draft->occurred, &draft->has_occurred, r->why);
    if (!code) code = read_id(r, ml_params_raw(&event, "id"), &draft->id);
    if (!code) code = read_tags(r, &event, draft);
    if (code) return code;
    draft->schema = (uint32_t)schema;
    draft->data = ml_params_raw(&event, "data");
    draft->meta = ml_params_raw(&event, "meta");
    r->events++;
    return ML_OK;
}

static ml_code read_expected(const ml_params *params, int64_t *expected, ml_error *why)
{
    ml_bytes raw = ml_params_raw(params, "expected"), word;
    ml_unpack cursor = ml_unpack_from(raw);
    *expected = ML_ANY;
    if (raw.size == 0) return ML_OK;
    if (!ml_unpack_str(&cursor, &word)) return ml_params_int(params, "expected", 0, INT64_MAX, expected, NULL, why);
    if (ml_bytes_equal(word, ML_STR("any"))) return ML_OK;
    if (ml_bytes_equal(word, ML_STR("no_stream"))) *expected = ML_NO_STREAM;
    else if (ml_bytes_equal(word, ML_STR("stream_exists"))) *expected = ML_STREAM_EXISTS;
    else return ml_error_set(why, ML_BAD_REQUEST, "expected is none of any, no_stream, stream_exists or a revision");
    return ML_OK;
}

/* What begins with '$' says what the daemon has done, and which rules are active. */
static ml_code check_stream(ml_bytes stream, ml_error *why)
{
    if (stream.size == 0 || *(const char *)stream.data != '$') return ML_OK;
    return ml_error_set(why, ML_FORBIDDEN,
                        "the stream %.*s is the system's, as all that begin with $; append to one "
                        "of another name",
                        ML_SHOW(ml_params_shown(stream)));
}

/* stream, events, expected: of the request itself, or of one of its writes. */
static ml_code read_write(reading *r, const ml_params *params)
{
    ml_write *write = &r->server->writes[r->writes];
    ml_bytes rest;
    uint32_t count;
    *write = (ml_write){.events = r->server->drafts + r->events};
    ml_code code = ml_params_str(params, "stream", &write->stream, r->why);
    if (!code) code = check_stream(write->stream, r->why);
    if (!code) code = read_expected(params, &write->expected, r->why);
    if (!code) code = ml_params_list(params, "events", &rest, &count, r->why);
    if (code) return code;
    if (count > ML_APPEND_EVENTS_MAX - r->events)
        return ml_error_set(r->why, ML_TOO_LARGE, "more than %d events in one append; split it", ML_APPEND_EVENTS_MAX);
    write->count = count;
    r->writes++;
    for (uint32_t n = 0; !code && n < count; n++) code = read_event(r, &rest);
    return code;
}

static ml_code read_writes(reading *r, const ml_params *params)
{
    static const char *const names[] = {"stream", "events", "expected", NULL};
    ml_bytes rest;
    uint32_t count;
    if (ml_params_raw(params, "writes").size == 0) return read_write(r, params);
    if (ml_params_raw(params, "stream").size + ml_params_raw(params, "events").size +
            ml_params_raw(params, "expected").size > 0)
        return ml_error_set(r->why, ML_BAD_REQUEST, "give writes, or stream and events; not both");
    ml_code code = ml_params_list(params, "writes", &rest, &count, r->why);
    if (!code && count > ML_APPEND_EVENTS_MAX)
        code = ml_error_set(r->why, ML_TOO_LARGE, "more than %d writes in one append; split it", ML_APPEND_EVENTS_MAX);
    for (uint32_t n = 0; !code && n < count; n++) {
        ml_params write;
        code = ml_params_read(&rest, "a write", names, &write, r->why);
        if (!code) code = read_write(r, &write);
    }
    return code;
}

static ml_code read_condition(reading *r, ml_bytes raw, ml_query *query, ml_proposal *proposal)
{
    static const char *const names[] = {"query", "after", NULL};
    ml_params condition;
    int64_t after = 0;
    if (raw.size == 0) return ML_OK;
    ml_code code = ml_params_read(&raw, "condition", names, &condition, r->why);
    if (!code) code = ml_params_int(&condition, "after", 0, INT64_MAX, &after, NULL, r->why);
    if (!code) code = ml_selection_query(r->server, ml_params_raw(&condition, "query"), query, r->why);
    if (code) return code;
    proposal->condition = query;
    proposal->after = (uint64_t)after;
    return ML_OK;
}

static ml_code read_durability(const ml_params *params, ml_durability *durability, ml_error *why)
{
    ml_bytes word = {0};
    ml_code code = ml_params_str(params, "durability", &word, why);
    if (code || word.size == 0 || ml_bytes_equal(word, ML_STR("disk"))) return code;
    if (ml_bytes_equal(word, ML_STR("os"))) *durability = ML_OS;
    else if (ml_bytes_equal(word, ML_STR("memory"))) *durability = ML_MEMORY;
    else return ml_error_set(why, ML_BAD_REQUEST, "durability is none of disk, os and memory");
    return ML_OK;
}

/* ---- answering ----------------------------------------------------------------------------- */

/* An append on its way: who asked, and the streams, for the answer's revisions. */
typedef struct pending {
    ml_conn *conn;
    uint32_t msgid;
    bool request;
    size_t count;
    ml_bytes streams[]; /* copies, behind the array */
} pending;

static pending *new_pending(const ml_call *call, const ml_proposal *proposal)
{
    size_t names = 0;
    for (size_t n = 0; n < proposal->count; n++) names += proposal->writes[n].stream.size;
    pending *p = malloc(sizeof *p + proposal->count * sizeof *p->streams + names);
    if (p == NULL) return NULL;
    char *to = (char *)(p->streams + proposal->count);
    *p = (pending){.conn = call->conn, .msgid = call->msgid, .request = call->request, .count = proposal->count};
    for (size_t n = 0; n < proposal->count; n++) {
        ml_bytes stream = proposal->writes[n].stream;
        if (stream.size > 0) memcpy(to, stream.data, stream.size);
        p->streams[n] = (ml_bytes){to, stream.size};
        to += stream.size;
    }
    return p;
}

/* Marks the writes whose stream does not come again: those tell its last revision. A hash table
 * of write numbers + 1, so that an import of a thousand streams is not a million compares. */
static void mark_last(const pending *p, bool *last)
{
    enum { PLACES = 2 * ML_APPEND_EVENTS_MAX };
    uint16_t places[PLACES] = {0};
    for (size_t n = p->count; n > 0; n--) {
        ml_bytes stream = p->streams[n - 1];
        size_t at = ml_crc32c(0, stream.data, stream.size) % PLACES;
        while (places[at] != 0 && !ml_bytes_equal(p->streams[places[at] - 1], stream)) at = (at + 1) % PLACES;
        last[n - 1] = places[at] == 0;
        if (last[n - 1]) places[at] = (uint16_t)n;
    }
}

static void pack_receipt(ml_buf *out, const pending *p, const ml_receipt *receipt)
{
    static const char *const levels[] = {"disk", "os", "memory"};
    ml_pack_map(out, receipt->duplicate ? 5 : 4);
    ml_pack_text(out, "first");
    ml_pack_int(out, (int64_t)receipt->first);
    ml_pack_text(out, "last");
    ml_pack_int(out, (int64_t)receipt->last);
    ml_pack_text(out, "revisions");
    size_t begin = ml_pack_begin(out);
    uint32_t streams = 0;
    bool last[ML_APPEND_EVENTS_MAX];
    last[0] = true;
    if (p->count > 1) mark_last(p, last);
    for (size_t n = 0; n < p->count; n++) {
        if (!last[n]) continue;
        ml_pack_str(out, p->streams[n]);
        ml_pack_int(out, (int64_t)receipt->revisions[n]);
        streams++;
    }
    ml_pack_end_map(out, begin, streams);
    ml_pack_text(out, "durability");
    ml_pack_text(out, levels[receipt->durability]);
    if (!receipt->duplicate) return;
    ml_pack_text(out, "duplicate");
    ml_pack_bool(out, true);
}

static void settled(void *context, ml_code code, const ml_receipt *receipt, const char *why)
{
    pending *p = context;
    ml_conn *conn = p->conn;
    conn->in_flight--;
    if (!conn->closing && p->request) {
        if (code) {
            ml_error retold;
            ml_error_retell(&retold, code, why);
            ml_dispatch_refuse(conn, p->msgid, code, retold.sentence);
        } else {
            pack_receipt(ml_dispatch_answer(conn, p->msgid), p, receipt);
        }
    }
    if (!code) conn->server->appended += receipt->duplicate ? 0 : receipt->last - receipt->first + 1;
    free(p);
    ml_conn_release(conn);
}

ml_ended ml_methods_append(ml_call *call, const ml_params *params)
{
    ml_server *server = call->server;
    reading r = {.server = server, .why = &call->why};
    ml_query query;
    ml_proposal proposal = {.writes = server->writes};
    ml_code code = read_writes(&r, params);
    if (!code) code = read_condition(&r, ml_params_raw(params, "condition"), &query, &proposal);
    if (!code) code = read_durability(params, &proposal.durability, &call->why);
    if (code) return ML_REFUSED;
    if (server->draining) {
        ml_error_set(&call->why, ML_SHUTTING_DOWN, "the daemon is stopping; append again when it is back");
        return ML_REFUSED;
    }
    proposal.count = r.writes;
    pending *p = new_pending(call, &proposal);
    if (p == NULL) {
        ml_error_memory(&call->why, "an append");
        return ML_REFUSED;
    }
    code = ml_submit(server->store, &proposal, settled, p);
    if (code == ML_OK) {
        call->conn->refs++;
        call->conn->in_flight++;
        return ML_ANSWERED;
    }
    free(p);
    return code == ML_LIMIT ? ML_HOLD : ml_dispatch_refuse_store(call, code);
}
