/* methods_read.c -- hello, read, head, streams, status, api: answered at once. */
#include <inttypes.h>
#include <sys/resource.h>
#include <unistd.h>

#include "inside.h"

enum { READ_LIMIT = 1000, UNREADABLE_MAX = 100, READ_BYTES_MAX = 4 << 20, STREAMS_LIMIT = 1000, PROTOCOL = 1 };

static void pack_entry(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
}

/* ---- hello ---------------------------------------------------------------------------------- */

/* Takes the same time whatever the difference is. */
static bool same_token(ml_bytes given, const char *token)
{
    size_t size = strlen(token);
    unsigned differs = given.size != size;
    for (size_t n = 0; n < given.size; n++)
        differs |= (unsigned)((const uint8_t *)given.data)[n] ^ (uint8_t)token[size > 0 ? n % size : 0];
    return differs == 0;
}

static void pack_limits(ml_buf *out, const ml_server *server)
{
    ml_pack_map(out, 9);
    pack_entry(out, "event_bytes", ML_EVENT_BYTES_MAX);
    pack_entry(out, "append_bytes", ML_APPEND_BYTES_MAX);
    pack_entry(out, "append_events", ML_APPEND_EVENTS_MAX);
    pack_entry(out, "depth", ML_DEPTH_MAX);
    pack_entry(out, "tags", ML_TAGS_MAX);
    pack_entry(out, "in_flight", IN_FLIGHT_MAX);
    pack_entry(out, "subscriptions", SUBSCRIPTIONS_MAX);
    pack_entry(out, "message_bytes", FRAME_MAX);
    pack_entry(out, "connections", server->conns_max);
}

ml_ended ml_methods_hello(ml_call *call, const ml_params *params)
{
    ml_conn *conn = call->conn;
    ml_bytes events = {0}, token = {0}, client = {0};
    ml_code code = ml_params_str(params, "events", &events, &call->why);
    if (!code) code = ml_params_str(params, "token", &token, &call->why);
    if (!code) code = ml_params_str(params, "client", &client, &call->why);
    if (code) return ML_REFUSED;
    bool array = ml_bytes_equal(events, ML_STR("array"));
    if (events.size > 0 && !array && !ml_bytes_equal(events, ML_STR("map"))) {
        ml_error_set(&call->why, ML_BAD_REQUEST, "events is neither map nor array");
        return ML_REFUSED;
    }
    if (!conn->known && !same_token(token, call->server->options->token)) {
        ml_error_set(&call->why, ML_UNAUTHENTICATED, "the token is not the daemon's");
        return ML_REFUSED;
    }
    ml_access_greeted(conn);
    if (events.size > 0) conn->maps = !array;
    ml_buf *out = ml_dispatch_answer(conn, call->msgid);
    ml_pack_map(out, 5);
    ml_pack_text(out, "server");
    ml_pack_text(out, "moonlog");
    ml_pack_text(out, "version");
    ml_pack_text(out, ML_VERSION);
    pack_entry(out, "protocol", PROTOCOL);
    ml_pack_text(out, "limits");
    pack_limits(out, call->server);
    ml_pack_text(out, "features");
    ml_pack_array(out, 3);
    ml_pack_text(out, "subscribe");
    ml_pack_text(out, "signal");
    ml_pack_text(out, "condition");
    return ML_ANSWERED;
}

/* ---- read ------------------------------------------------------------------------------------- */

static ml_code read_range(ml_call *call, const ml_params *params, ml_selection *selection)
{
    int64_t from = 0, limit = READ_LIMIT, max_bytes = READ_BYTES_MAX;
    ml_code code = ml_selection_read(call->server, params, selection, &call->why);
    if (!code) code = ml_params_int(params, "from", 0, INT64_MAX, &from, &selection->has_from, &call->why);
    if (!code) code = ml_params_int(params, "limit", 1, INT64_MAX, &limit, NULL, &call->why);
    if (!code) code = ml_params_int(params, "max_bytes", 1, INT64_MAX, &max_bytes, NULL, &call->why);
    if (!code) code = ml_params_bool(params, "backward", &selection->backward, &call->why);
    selection->wire_only = !call->conn->maps;
    selection->from = (uint64_t)from;
    selection->limit = (uint64_t)limit;
    selection->max_bytes = max_bytes < READ_BYTES_MAX ? (uint64_t)max_bytes : READ_BYTES_MAX;
    return code;
}

/* An array head of fixed width, to be patched: a page may be megabytes, which are not moved. */
static size_t begin_events(ml_buf *out)
{
    size_t begin = out->size;
    uint8_t *head = ml_buf_take(out, 5);
    if (head != NULL) memset(head, 0, 5);
    return begin;
}

static void end_events(ml_buf *out, size_t begin, uint32_t count)
{
    if (out->failed) return;
    out->data[begin] = 0xdd;
    for (unsigned n = 0; n < 4; n++) out->data[begin + 1 + n] = (uint8_t)(count >> (24 - 8 * n));
}

/* A page being filled. */
typedef struct page {
    ml_buf *out;
    uint32_t count;
    uint64_t next;
    bool ended;
    bool partial;       /* goes on behind what cannot be read */
    ml_buf unreadable;  /* why, as packed sentences */
    uint32_t unreadable_count;
} page;

/* So many in a row, and more of the same would not help anyone. */
static bool pass_unreadable(const ml_call *call, page *p, unsigned in_a_row)
{
    if (!p->partial || in_a_row >= UNREADABLE_MAX) return false;
    ml_pack_text(&p->unreadable, ml_why(call->server->store));
    p->unreadable_count++;
    return true;
}

static ml_code fill(ml_call *call, const ml_selection *selection, ml_cursor *cursor, page *p)
{
    ml_event event;
    ml_code code;
    unsigned in_a_row = 0;
    uint64_t last = selection->stream.size > 0 ? 0 : 1;
    while ((code = ml_next(cursor, &event)) != ML_END) {
        if (code == ML_CORRUPT && pass_unreadable(call, p, in_a_row++)) continue;
        if (code == ML_CORRUPT && p->partial) p->ended = true;
        if (code) return p->ended ? ML_OK : code;
        in_a_row = 0;
        ml_selection_pack_event(call->conn->maps, p->out, &event);
        uint64_t at = selection->stream.size > 0 ? event.revision : event.position;
        p->next = selection->backward ? (at > 0 ? at - 1 : 0) : at + 1;
        p->ended = selection->backward && at == last; /* nothing is before it, and next cannot say so */
        p->count++;
    }
    p->ended = p->ended || ml_cursor_at_end(cursor);
    return ML_OK;
}

/* An entry whose integer is known only later, in nine bytes. */
static size_t begin_later(ml_buf *out, const char *name)
{
    ml_pack_text(out, name);
    size_t begin = out->size;
    uint8_t *at = ml_buf_take(out, 9);
    if (at != NULL) memset(at, 0, 9);
    return begin;
}

static void end_later(ml_buf *out, size_t begin, uint64_t value)
{
    if (out->failed) return;
    out->data[begin] = 0xcf;
    ml_put_be64(out->data + begin + 1, value);
}

/* The events stand behind what is short, so that who reads the map need not pass over them to
 * know where to go on. */
static ml_ended answer_page(ml_call *call, const ml_selection *selection, ml_cursor *cursor, page *p)
{
    size_t before = call->conn->out.size;
    ml_buf *out = p->out = ml_dispatch_answer(call->conn, call->msgid);
    ml_head head;
    ML_IGNORE(ml_get_head(call->server->store, (ml_bytes){0}, &head));
    size_t map = ml_pack_begin(out);
    pack_entry(out, "head", head.position);
    size_t next = begin_later(out, "next");
    ml_pack_text(out, "end");
    size_t end = out->size;
    ml_pack_bool(out, false);
    ml_pack_text(out, "events");
    size_t events = begin_events(out);
    ml_code code = fill(call, selection, cursor, p);
    if (code) {
        out->size = before; /* a damaged event is an error, not a page that ends early */
        return ml_dispatch_refuse_store(call, code);
    }
    end_events(out, events, p->count);
    end_later(out, next, p->next);
    if (p->ended && !out->failed) out->data[end] = 0xc3;
    if (p->unreadable_count > 0) {
        ml_pack_text(out, "unreadable");
        ml_pack_array(out, p->unreadable_count);
        ml_buf_add(out, p->unreadable.data, p->unreadable.size);
    }
    ml_pack_end_map(out, map, p->unreadable_count > 0 ? 5 : 4); /* under 16: nothing is moved */
    return ML_ANSWERED;
}

ml_ended ml_methods_read(ml_call *call, const ml_params *params)
{
    ml_selection selection;
    ml_cursor *cursor = NULL;
    page p = {0};
    if (read_range(call, params, &selection)) return ML_REFUSED;
    if (ml_params_bool(params, "partial", &p.partial, &call->why)) return ML_REFUSED;
    ml_code code = ml_read(call->server->store, &selection, &cursor);
    if (code) return ml_dispatch_refuse_store(call, code);
    p.next = selection.from;
    ml_ended ended = answer_page(call, &selection, cursor, &p);
    ml_buf_free(&p.unreadable);
    ml_cursor_free(cursor);
    return ended;
}

/* ---- head, streams -------------------------------------------------------------------------------- */

ml_ended ml_methods_head(ml_call *call, const ml_params *params)
{
    ml_bytes stream = {0};
    ml_head head;
    if (ml_params_str(params, "stream", &stream, &call->why)) return ML_REFUSED;
    ml_code code = ml_get_head(call->server->store, stream, &head);
    if (code) return ml_dispatch_refuse_store(call, code);
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, stream.size > 0 ? 3 : 1);
    pack_entry(out, "position", head.position);
    if (stream.size == 0) return ML_ANSWERED;
    pack_entry(out, "revision", head.revision);
    pack_entry(out, "first", head.first);
    return ML_ANSWERED;
}

typedef struct listing {
    ml_buf *out;
    uint32_t count;
    int64_t limit;
    uint64_t last;
} listing;

static bool add_stream(void *context, const ml_stream_info *info)
{
    listing *l = context;
    ml_pack_map(l->out, 4);
    ml_pack_text(l->out, "stream");
    ml_pack_str(l->out, info->stream);
    pack_entry(l->out, "revision", info->revision);
    pack_entry(l->out, "first", info->first);
    pack_entry(l->out, "last", info->last);
    l->last = info->first;
    return ++l->count < (uint32_t)l->limit;
}

ml_ended ml_methods_streams(ml_call *call, const ml_params *params)
{
    ml_bytes category = {0}, prefix = {0};
    int64_t after = 0;
    listing l = {.limit = STREAMS_LIMIT};
    ml_code code = ml_params_str(params, "category", &category, &call->why);
    if (!code) code = ml_params_str(params, "prefix", &prefix, &call->why);
    if (!code) code = ml_params_int(params, "after", 0, INT64_MAX, &after, NULL, &call->why);
    if (!code) code = ml_params_int(params, "limit", 1, 10000, &l.limit, NULL, &call->why);
    if (code) return ML_REFUSED;
    size_t before = call->conn->out.size;
    l.out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(l.out, 2);
    ml_pack_text(l.out, "streams");
    size_t begin = begin_events(l.out);
    code = ml_streams(call->server->store, category, prefix, (uint64_t)after, add_stream, &l);
    if (code) {
        l.out->size = before;
        return ml_dispatch_refuse_store(call, code);
    }
    end_events(l.out, begin, l.count);
    ml_pack_text(l.out, "next");
    if (l.count == (uint32_t)l.limit) ml_pack_int(l.out, (int64_t)l.last);
    else ml_pack_nil(l.out);
    return ML_ANSWERED;
}

/* ---- status, api -------------------------------------------------------------------------------------- */

static uint64_t resident_bytes(void)
{
    size_t rss = 0;
    return uv_resident_set_memory(&rss) == 0 ? rss : 0;
}

ml_ended ml_methods_status(ml_call *call, const ml_params *params)
{
    ml_server *server = call->server;
    ml_stats stats;
    (void)params;
    ml_code code = ml_get_stats(server->store, &stats);
    if (code) return ml_dispatch_refuse_store(call, code);
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    bool damage = server->damage[0] != '\0';
    ml_pack_map(out, damage ? 22 : 21);
    ml_pack_text(out, "version");
    ml_pack_text(out, ML_VERSION);
    ml_pack_text(out, "directory");
    ml_pack_text(out, server->options->dir);
    pack_entry(out, "pid", (uint64_t)getpid());
    pack_entry(out, "uptime_ms", uv_now(&server->loop) - server->started);
    pack_entry(out, "connections", server->conn_count);
    pack_entry(out, "requests", server->requests);
    pack_entry(out, "appended", server->appended);
    pack_entry(out, "memory_bytes", resident_bytes());
    pack_entry(out, "buffered_bytes", server->buffered);
    pack_entry(out, "position", stats.position);
    pack_entry(out, "durable", stats.durable);
    pack_entry(out, "segments", stats.segments);
    pack_entry(out, "log_bytes", stats.log_bytes);
    pack_entry(out, "used_bytes", stats.used_bytes);
    pack_entry(out, "index_bytes", stats.index_bytes);
    pack_entry(out, "index_runs", stats.index_runs);
    pack_entry(out, "memory_events", stats.memory_events);
    pack_entry(out, "torn_bytes", stats.torn_bytes);
    ml_pack_text(out, "read_only");
    ml_pack_bool(out, stats.read_only);
    ml_pack_text(out, "damaged");
    ml_pack_bool(out, stats.damaged);
    if (damage) {
        ml_pack_text(out, "damage");
        ml_pack_text(out, server->damage);
    }
    ml_pack_text(out, "draining");
    ml_pack_bool(out, server->draining);
    return ML_ANSWERED;
}

static void pack_pair(ml_buf *out, const char *name, const char *text)
{
    ml_pack_text(out, name);
    ml_pack_text(out, text);
}

static void pack_pushes(ml_buf *out)
{
    size_t begin = ml_pack_begin(out);
    uint32_t count = 0;
    for (const ml_pushed *push = ml_dispatch_pushes; push->name != NULL; push++, count++) {
        ml_pack_map(out, 4);
        pack_pair(out, "name", push->name);
        pack_pair(out, "params", push->params);
        pack_pair(out, "doc", push->doc);
        pack_pair(out, "example", push->example);
    }
    ml_pack_end_array(out, begin, count);
}

static void pack_errors(ml_buf *out)
{
    size_t begin = ml_pack_begin(out);
    uint32_t count = 0;
#define ENTRY(number, name, retry, status, meaning)                                      \
    ml_pack_map(out, 4);                                                                 \
    pack_entry(out, "number", number);                                                   \
    pack_pair(out, "code", #name);                                                       \
    pack_pair(out, "retry", #retry);                                                     \
    pack_pair(out, "meaning", meaning);                                                  \
    count++;
    ML_CODES(ENTRY)
#undef ENTRY
    ml_pack_end_array(out, begin, count);
}

ml_ended ml_methods_api(ml_call *call, const ml_params *params)
{
    (void)params;
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, 4);
    ml_pack_text(out, "methods");
    size_t begin = ml_pack_begin(out);
    uint32_t count = 0;
    for (const ml_method *method = ml_dispatch_methods; method->name != NULL; method++, count++) {
        ml_pack_map(out, 6);
        pack_pair(out, "name", method->name);
        pack_pair(out, "params", method->params);
        pack_pair(out, "result", method->result);
        pack_pair(out, "since", method->since);
        pack_pair(out, "doc", method->doc);
        pack_pair(out, "example", method->example);
    }
    ml_pack_end_array(out, begin, count);
    ml_pack_text(out, "pushes");
    pack_pushes(out);
    ml_pack_text(out, "errors");
    pack_errors(out);
    ml_pack_text(out, "limits");
    pack_limits(out, call->server);
    return ML_ANSWERED;
}
