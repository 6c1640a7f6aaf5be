/* methods_read.c -- hello, read, head, streams, status, api: answered at once. */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "later.h"
#include "projections.h"
#include "translate.h"

enum { PROTOCOL = 1 };

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
        ml_error_set(&call->why, ML_UNAUTHENTICATED,
                     token.size > 0 ? "the token is not the daemon's"
                                    : "this daemon wants a token: --token-file or MOONLOG_TOKEN");
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
    bool raw;           /* as stored, whatever the rules say */
    bool translate;     /* an event has another shape by now: all go through a worker */
    ml_buf *stored;     /* then: to here */
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

/* The event onto the page. False: from here on it is clear that a worker has to see them. */
static bool add_event(const ml_call *call, page *p, const ml_event *event)
{
    if (p->translate) {
        ml_buf_add(p->stored, event->wire.data, event->wire.size);
        return true;
    }
    if (!p->raw && ml_translate_wanted(call->server, event)) return false;
    ml_selection_pack_event(call->conn->maps, p->out, event);
    return true;
}

/* Stops early, with p->translate set, if the page has to be made by a worker. */
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
        if (!add_event(call, p, &event)) {
            p->translate = true;
            return ML_OK;
        }
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

/* What stands before the events, so that who reads the map need not pass over them to know where
 * to go on. `out` is left at the events' array. */
typedef struct page_map {
    size_t begin, next, end;
} page_map;

static page_map begin_page(ml_buf *out, uint64_t head)
{
    page_map map = {.begin = ml_pack_begin(out)};
    pack_entry(out, "head", head);
    map.next = begin_later(out, "next");
    ml_pack_text(out, "end");
    map.end = out->size;
    ml_pack_bool(out, false);
    ml_pack_text(out, "events");
    return map;
}

static void end_page(ml_buf *out, const page_map *map, const page *p)
{
    end_later(out, map->next, p->next);
    if (p->ended && !out->failed) out->data[map->end] = 0xc3;
    if (p->unreadable_count > 0) {
        ml_pack_text(out, "unreadable");
        ml_pack_array(out, p->unreadable_count);
        ml_buf_add(out, p->unreadable.data, p->unreadable.size);
    }
    ml_pack_end_map(out, map->begin, p->unreadable_count > 0 ? 5 : 4); /* under 16: nothing is moved */
}

static ml_ended answer_page(ml_call *call, const ml_selection *selection, ml_cursor *cursor, page *p)
{
    size_t before = call->conn->out.size;
    ml_buf *out = p->out = ml_dispatch_answer(call->conn, call->msgid);
    ml_head head;
    ML_IGNORE(ml_get_head(call->server->store, (ml_bytes){0}, &head));
    page_map map = begin_page(out, head.position);
    size_t events = begin_events(out);
    ml_code code = fill(call, selection, cursor, p);
    if (code || p->translate) {
        out->size = before; /* a damaged event is an error, not a page that ends early */
        return code ? ml_dispatch_refuse_store(call, code) : ML_ANSWERED;
    }
    end_events(out, events, p->count);
    end_page(out, &map, p);
    return ML_ANSWERED;
}

/* ---- read, by way of a worker ------------------------------------------------------------------- */

/* A page whose events come back in their latest shape. */
typedef struct round_trip {
    ml_ask ask;
    ml_later later;
    page page;
    uint64_t head;
} round_trip;

static void end_trip(round_trip *trip)
{
    ml_later_end(&trip->later);
    ml_buf_free(&trip->page.unreadable);
    ml_buf_free(&trip->ask.params);
    free(trip);
}

static void came_back(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    round_trip *trip = (round_trip *)ask;
    ml_bytes events;
    uint32_t count;
    if (!code && !ml_translate_read(result, &count, &events)) code = ML_INTERNAL, sentence = "a worker gave no events back";
    ml_buf *out = code ? NULL : ml_later_answer(&trip->later);
    if (out != NULL) {
        page_map map = begin_page(out, trip->head);
        ml_pack_array(out, count);
        ml_buf_add(out, events.data, events.size);
        end_page(out, &map, &trip->page);
    }
    if (code) ml_later_refuse(&trip->later, code, sentence);
    end_trip(trip);
}

static ml_code begin_trip(ml_call *call, const ml_selection *selection, round_trip *trip)
{
    ml_cursor *cursor;
    ml_head head;
    page *p = &trip->page;
    ML_IGNORE(ml_get_head(call->server->store, (ml_bytes){0}, &head));
    trip->head = head.position;
    ml_code code = ml_read(call->server->store, selection, &cursor);
    if (!code) code = fill(call, selection, cursor, p);
    ml_cursor_free(cursor);
    if (code) return ml_error_retell(&call->why, code, ml_why(call->server->store));
    return ml_translate_send(call->server, &trip->ask, call->conn->maps, came_back, &call->why);
}

static ml_ended send_round(ml_call *call, const ml_selection *selection, bool partial)
{
    round_trip *trip = calloc(1, sizeof *trip);
    if (trip == NULL) {
        ml_error_memory(&call->why, "a page");
        return ML_REFUSED;
    }
    trip->page = (page){.translate = true, .partial = partial, .next = selection->from};
    trip->page.stored = ml_translate_begin(&trip->ask);
    if (begin_trip(call, selection, trip)) {
        end_trip(trip);
        return ML_REFUSED;
    }
    trip->later = ml_later_begin(call, trip->ask.params.size);
    return ML_ANSWERED;
}

ml_ended ml_methods_read(ml_call *call, const ml_params *params)
{
    ml_selection selection;
    ml_cursor *cursor = NULL;
    page p = {0};
    if (read_range(call, params, &selection)) return ML_REFUSED;
    if (ml_params_bool(params, "partial", &p.partial, &call->why)) return ML_REFUSED;
    if (ml_params_bool(params, "raw", &p.raw, &call->why)) return ML_REFUSED;
    ml_code code = ml_read(call->server->store, &selection, &cursor);
    if (code) return ml_dispatch_refuse_store(call, code);
    p.next = selection.from;
    ml_ended ended = answer_page(call, &selection, cursor, &p);
    ml_buf_free(&p.unreadable);
    ml_cursor_free(cursor);
    return p.translate ? send_round(call, &selection, p.partial) : ended;
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
    if (!code) code = ml_params_int(params, "limit", 1, STREAMS_LIMIT_MAX, &l.limit, NULL, &call->why);
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
    ml_pack_map(out, damage ? 25 : 24);
    ml_pack_text(out, "version");
    ml_pack_text(out, ML_VERSION);
    ml_pack_text(out, "directory");
    ml_pack_text(out, server->directory);
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
    ml_pack_text(out, "rules");
    ml_rules_pack_status(server, out);
    ml_pack_text(out, "workers");
    ml_workers_pack_status(server, out);
    ml_pack_text(out, "projections");
    ml_listings_pack_status(server, out);
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
