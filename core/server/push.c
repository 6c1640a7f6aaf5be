/* push.c -- subscriptions: a cursor of the store and a credit, served once a turn.
 *
 * Nothing is queued for a subscriber. Each turn, every subscription that has credit and whose
 * connection takes output reads on from its cursor; one that does not keep up costs its
 * cursor. So catching up and following are the same, and nothing can fall between them.
 */
#include <stdlib.h>

#include "inside.h"

struct ml_subscription {
    ml_subscription *conn_next;     /* of its connection */
    ml_subscription *prev, *next;   /* of the server */
    ml_conn *conn;
    uint64_t id;
    ml_cursor *cursor;
    bool bounded;           /* has credit */
    uint64_t credit;        /* events it may still get */
    bool caught_up;         /* was told so, and got nothing since */
    uint64_t told;          /* position that the client knows it has passed */
    uint64_t looked_at;     /* log position when it was last served to the head */
};

static void free_subscription(ml_subscription *of)
{
    ml_server *server = of->conn->server;
    if (of->prev != NULL) of->prev->next = of->next;
    else server->subscriptions = of->next;
    if (of->next != NULL) of->next->prev = of->prev;
    of->conn->subscription_count--;
    ml_cursor_free(of->cursor);
    free(of);
}

void ml_push_drop(ml_conn *conn)
{
    while (conn->subscriptions != NULL) {
        ml_subscription *first = conn->subscriptions;
        conn->subscriptions = first->conn_next;
        free_subscription(first);
    }
}

static ml_subscription *find(ml_call *call, const ml_params *params)
{
    int64_t id = 0;
    if (ml_params_int(params, "subscription", 1, INT64_MAX, &id, NULL, &call->why)) return NULL;
    for (ml_subscription *of = call->conn->subscriptions; of != NULL; of = of->conn_next)
        if (of->id == (uint64_t)id) return of;
    ml_error_set(&call->why, ML_NOT_FOUND, "this connection has no subscription %lld", (long long)id);
    return NULL;
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
    if (call->conn->subscription_count >= SUBSCRIPTIONS_MAX) {
        ml_error_set(&call->why, ML_LIMIT, "%d subscriptions on one connection; end one, or open another connection",
                     SUBSCRIPTIONS_MAX);
        return ML_REFUSED;
    }
    ml_subscription *of = calloc(1, sizeof *of);
    if (of == NULL) {
        ml_error_memory(&call->why, "a subscription");
        return ML_REFUSED;
    }
    ml_code code = ml_subscribe(server->store, &selection, after, &of->cursor);
    if (code) {
        free(of);
        const char *why = strchr(ml_why(server->store), ' ');
        ml_error_set(&call->why, code, "%s", why != NULL ? why + 1 : "");
        return ML_REFUSED;
    }
    of->conn = call->conn;
    of->id = ++server->last_id;
    of->bounded = bounded;
    of->credit = (uint64_t)credit;
    of->told = after;
    of->looked_at = UINT64_MAX;
    of->conn_next = call->conn->subscriptions;
    call->conn->subscriptions = of;
    of->next = server->subscriptions;
    if (of->next != NULL) of->next->prev = of;
    server->subscriptions = of;
    call->conn->subscription_count++;
    server->more = true;
    ml_buf *out = ml_dispatch_answer(call->conn, call->msgid);
    ml_pack_map(out, 1);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->id);
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
    ml_subscription **at = &call->conn->subscriptions;
    while (*at != of) at = &(*at)->conn_next;
    *at = of->conn_next;
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
    ml_buf *out = ml_dispatch_push(of->conn, what);
    ml_pack_map(out, 2);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->id);
    ml_pack_text(out, "position");
    ml_pack_int(out, (int64_t)of->told);
}

/* An event that cannot be read ends the subscription: it is said, never skipped. */
static void tell_failure(ml_subscription *of)
{
    ml_buf *out = ml_dispatch_push(of->conn, "failed");
    ml_pack_map(out, 2);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->id);
    ml_pack_text(out, "error");
    ml_pack_text(out, ml_why(of->conn->server->store));
    of->bounded = true;
    of->credit = 0;
}

/* Pushes what there is, up to a turn's share, in one notification. True if there is more. */
static bool serve(ml_subscription *of)
{
    ml_conn *conn = of->conn;
    ml_event event;
    uint32_t count = 0;
    size_t share = PUSH_EVENTS;
    if (of->bounded && of->credit < share) share = (size_t)of->credit;
    if (share == 0 || ml_conn_congested(conn)) return false;
    size_t before = conn->out.size, begin = 0;
    ml_code code = ML_OK;
    while (count < share && conn->out.size - before < PUSH_BYTES && (code = ml_poll(of->cursor, &event)) == ML_OK) {
        if (count++ == 0) {
            ml_buf *out = ml_dispatch_push(conn, "event");
            ml_pack_map(out, 2);
            ml_pack_text(out, "subscription");
            ml_pack_int(out, (int64_t)of->id);
            ml_pack_text(out, "events");
            begin = out->size;
            uint8_t *head = ml_buf_take(out, 3);
            if (head != NULL) memset(head, 0, 3);
        }
        ml_selection_pack_event(conn, &conn->out, &event);
    }
    if (count > 0 && !conn->out.failed) {
        conn->out.data[begin] = 0xdc;
        conn->out.data[begin + 1] = (uint8_t)(count >> 8);
        conn->out.data[begin + 2] = (uint8_t)count;
        of->told = ml_cursor_position(of->cursor);
        of->caught_up = false;
        if (of->bounded) of->credit -= count;
    }
    if (code == ML_END && !of->caught_up) {
        tell(of, "caught_up");
        of->caught_up = true;
    }
    if (code != ML_OK && code != ML_END) tell_failure(of);
    return code == ML_OK;
}

void ml_push_serve(ml_server *server)
{
    ml_head head;
    ML_IGNORE(ml_get_head(server->store, (ml_bytes){0}, &head));
    for (ml_subscription *of = server->subscriptions, *next; of != NULL; of = next) {
        next = of->next;
        if (of->looked_at == head.position) continue;
        if (serve(of)) {
            server->more = server->more || !ml_conn_congested(of->conn);
        } else if (!ml_conn_congested(of->conn) && (!of->bounded || of->credit > 0)) {
            of->looked_at = head.position;
        }
        /* Far past the last event it got, with nothing that matches: says how far. */
        if (ml_cursor_position(of->cursor) >= of->told + CHECKPOINT_EVENTS) tell(of, "checkpoint");
    }
}

void ml_push_checkpoints(ml_server *server)
{
    for (ml_subscription *of = server->subscriptions; of != NULL; of = of->next)
        if (ml_cursor_position(of->cursor) > of->told && !ml_conn_congested(of->conn)) tell(of, "checkpoint");
}
