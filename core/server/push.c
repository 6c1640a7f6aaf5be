/* push.c -- subscriptions: a cursor of the store and a credit, served once a turn.
 *
 * Nothing is queued for a subscriber. Each turn, every subscription that has credit and whose
 * connection takes output reads on from its cursor; one that does not keep up costs its
 * cursor. So catching up and following are the same, and nothing can fall between them.
 */
#include <stdlib.h>

#include "inside.h"

struct ml_subscription {
    ml_follower link;
    ml_subscription *prev, *next;   /* of the server */
    ml_cursor *cursor;
    bool as_map;            /* how the connection wanted events when it subscribed */
    bool bounded;           /* has credit */
    uint64_t credit;        /* events it may still get */
    bool caught_up;         /* was told so, and got nothing since */
    bool failed;            /* an event could not be read: nothing more is pushed */
    uint64_t told;          /* position that the client knows it has passed */
    uint64_t looked_at;     /* log position when it was last served to the head */
};

static void free_subscription(ml_subscription *of)
{
    ml_server *server = of->link.conn->server;
    if (of->prev != NULL) of->prev->next = of->next;
    else server->subscriptions = of->next;
    if (of->next != NULL) of->next->prev = of->prev;
    ml_follow_end(&of->link, &of->link.conn->subscriptions);
    ml_cursor_free(of->cursor);
    free(of);
}

void ml_push_drop(ml_conn *conn)
{
    while (conn->subscriptions != NULL) free_subscription((ml_subscription *)conn->subscriptions);
}

static ml_subscription *find(ml_call *call, const ml_params *params)
{
    return (ml_subscription *)ml_follow_find(call, params, call->conn->subscriptions, "subscription");
}

/* ---- methods ------------------------------------------------------------------------------- */

static ml_code read_after(ml_call *call, const ml_params *params, uint64_t *after)
{
    ml_bytes raw = ml_params_raw(params, "after"), word;
    ml_unpack cursor = ml_unpack_from(raw);
    int64_t position = 0;
    ml_head head;
    if (raw.size > 0 && ml_unpack_str(&cursor, &word)) {
        if (ml_bytes_equal(word, ML_STR("start"))) return ML_OK;
        if (!ml_bytes_equal(word, ML_STR("end")))
            return ml_error_set(&call->why, ML_BAD_REQUEST, "after is none of start, end or a position");
        ML_IGNORE(ml_get_head(call->server->store, (ml_bytes){0}, &head)); /* of the log: always there */
        *after = head.position;
        return ML_OK;
    }
    ml_code code = ml_params_int(params, "after", 0, INT64_MAX, &position, NULL, &call->why);
    *after = (uint64_t)position;
    return code;
}

ml_ended ml_methods_subscribe(ml_call *call, const ml_params *params)
{
    ml_server *server = call->server;
    ml_selection selection;
    uint64_t after = 0;
    int64_t credit = 0;
    bool bounded;
    if (ml_selection_read(server, params, &selection, &call->why)) return ML_REFUSED;
    if (read_after(call, params, &after)) return ML_REFUSED;
    if (ml_params_int(params, "credit", 0, INT64_MAX, &credit, &bounded, &call->why)) return ML_REFUSED;
    if (ml_follow_room(call)) return ML_REFUSED;
    ml_subscription *of = calloc(1, sizeof *of);
    if (of == NULL) {
        ml_error_memory(&call->why, "a subscription");
        return ML_REFUSED;
    }
    of->as_map = call->conn->maps;
    selection.wire_only = !of->as_map;
    ml_code code = ml_subscribe(server->store, &selection, after, &of->cursor);
    if (code) {
        free(of);
        return ml_dispatch_refuse_store(call, code);
    }
    of->bounded = bounded;
    of->credit = (uint64_t)credit;
    of->told = after;
    of->looked_at = UINT64_MAX;
    of->next = server->subscriptions;
    if (of->next != NULL) of->next->prev = of;
    server->subscriptions = of;
    server->more = true;
    ml_follow_begin(call, &of->link, &call->conn->subscriptions);
    return ML_ANSWERED;
}

ml_ended ml_methods_credit(ml_call *call, const ml_params *params)
{
    int64_t events = 0;
    bool given;
    ml_subscription *of = find(call, params);
    if (of == NULL || ml_params_int(params, "events", 0, INT64_MAX, &events, &given, &call->why)) return ML_REFUSED;
    of->bounded = true;
    of->credit = of->credit > UINT64_MAX - (uint64_t)events ? UINT64_MAX : of->credit + (uint64_t)events;
    of->looked_at = UINT64_MAX;
    call->server->more = true;
    if (!call->request) return ML_ANSWERED;
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, 1);
    ml_pack_text(out, "credit");
    ml_pack_int(out, of->credit > INT64_MAX ? INT64_MAX : (int64_t)of->credit);
    return ML_ANSWERED;
}

ml_ended ml_methods_unsubscribe(ml_call *call, const ml_params *params)
{
    ml_subscription *of = find(call, params);
    if (of == NULL) return ML_REFUSED;
    uint64_t position = ml_cursor_position(of->cursor);
    free_subscription(of);
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, 1);
    ml_pack_text(out, "position");
    ml_pack_int(out, (int64_t)position);
    return ML_ANSWERED;
}

/* ---- serving ----------------------------------------------------------------------------------- */

static void tell(ml_subscription *of, const char *what)
{
    of->told = ml_cursor_position(of->cursor);
    ml_buf *out = ml_dispatch_push(of->link.conn, what);
    ml_pack_map(out, 2);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->link.id);
    ml_pack_text(out, "position");
    ml_pack_int(out, (int64_t)of->told);
}

/* An event that cannot be read ends the pushing: it is said, never skipped. */
static void tell_failure(ml_subscription *of)
{
    ml_buf *out = ml_dispatch_push(of->link.conn, "failed");
    ml_pack_map(out, 2);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->link.id);
    ml_pack_text(out, "error");
    ml_pack_text(out, ml_why(of->link.conn->server->store));
    of->failed = true;
}

/* Pushes what there is, up to a turn's share, in one notification. True if there is more that
 * may be pushed. With its credit used up a subscription is not looked on for, but that it has
 * come to the head is seen without looking. */
static bool serve(ml_subscription *of, uint64_t head)
{
    ml_conn *conn = of->link.conn;
    ml_event event;
    uint32_t count = 0;
    size_t share = PUSH_EVENTS;
    if (of->bounded && of->credit < share) share = (size_t)of->credit;
    size_t before = conn->out.size, begin = 0, room = ml_conn_room(conn);
    if (of->failed || room == 0) return false;
    if (room > PUSH_BYTES) room = PUSH_BYTES;
    ml_code code = ML_OK;
    while (count < share && conn->out.size - before < room && (code = ml_poll(of->cursor, &event)) == ML_OK) {
        if (count++ == 0) {
            ml_buf *out = ml_dispatch_push(conn, "event");
            ml_pack_map(out, 2);
            ml_pack_text(out, "subscription");
            ml_pack_int(out, (int64_t)of->link.id);
            ml_pack_text(out, "events");
            begin = out->size;
            uint8_t *array = ml_buf_take(out, 3);
            if (array != NULL) memset(array, 0, 3);
        }
        ml_selection_pack_event(of->as_map, &conn->out, &event);
    }
    if (count > 0 && !conn->out.failed) {
        conn->out.data[begin] = 0xdc;
        conn->out.data[begin + 1] = (uint8_t)(count >> 8);
        conn->out.data[begin + 2] = (uint8_t)count;
        of->told = ml_cursor_position(of->cursor);
        of->caught_up = false;
        if (of->bounded) of->credit -= count;
    }
    ml_conn_weigh(conn); /* the next one is to know how crowded it is */
    bool starved = of->bounded && of->credit == 0;
    bool at_head = code == ML_END || (starved && !code && ml_cursor_position(of->cursor) >= head);
    if (at_head && !of->caught_up) {
        tell(of, "caught_up");
        of->caught_up = true;
    }
    if (code != ML_OK && code != ML_END) tell_failure(of);
    return code == ML_OK && !starved;
}

void ml_push_serve(ml_server *server)
{
    ml_head head;
    ML_IGNORE(ml_get_head(server->store, (ml_bytes){0}, &head));
    for (ml_subscription *of = server->subscriptions, *next; of != NULL; of = next) {
        next = of->next;
        if (of->looked_at == head.position) continue;
        if (serve(of, head.position)) server->more = server->more || !ml_conn_congested(of->link.conn);
        else if (!ml_conn_congested(of->link.conn)) of->looked_at = head.position;
        /* Far past the last event it got, with nothing that matches: says how far. */
        if (ml_cursor_position(of->cursor) >= of->told + CHECKPOINT_EVENTS && !of->failed) tell(of, "checkpoint");
    }
}

void ml_push_checkpoints(ml_server *server)
{
    for (ml_subscription *of = server->subscriptions; of != NULL; of = of->next)
        if (ml_cursor_position(of->cursor) > of->told && !of->failed && !ml_conn_congested(of->link.conn))
            tell(of, "checkpoint");
}
