/* push.c -- subscriptions: a cursor of the store and a credit, served once a turn.
 *
 * Nothing is queued for a subscriber. Each turn, every subscription that has credit and whose
 * connection takes output reads on from its cursor; one that does not keep up costs its
 * cursor. So catching up and following are the same, and nothing can fall between them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "translate.h"

/* Events on their way through a worker; outlives the subscription if that ends meanwhile. */
typedef struct round_trip {
    ml_ask ask;
    ml_subscription *of; /* NULL: it has ended */
    ml_server *server;
    uint32_t count;      /* as stored, */
    size_t bytes;        /* and how many of them */
    uint64_t before, after; /* where the cursor was, and is */
    char error[ML_SENTENCE_MAX]; /* why the event behind them cannot be read; else "" */
} round_trip;

struct ml_subscription {
    ml_follower link;
    ml_subscription *prev, *next;   /* of the server */
    ml_cursor *cursor;
    bool raw;               /* as stored, whatever the rules say */
    round_trip *trip;       /* under way: nothing is served until it is back */
    bool as_map;            /* how the connection wanted events when it subscribed */
    bool bounded;           /* has credit */
    uint64_t credit;        /* events it may still get */
    bool caught_up;         /* was told so, and got nothing since */
    bool failed;            /* an event could not be read: nothing more is pushed */
    uint64_t told;          /* position that the client knows it has passed */
    uint64_t looked_at;     /* log position when it was last served to the head */
};

/* It is back, or nobody waits for it any more. */
static void end_trip(ml_subscription *of)
{
    of->link.conn->travelling -= of->trip->bytes;
    of->trip->of = NULL;
    of->trip = NULL;
}

/* What may be added to the output of its connection, less what is about to be. */
static size_t room_of(const ml_subscription *of)
{
    const ml_conn *conn = of->link.conn;
    size_t room = ml_conn_room(conn);
    return room > conn->travelling ? room - conn->travelling : 0;
}

static void free_subscription(ml_subscription *of)
{
    ml_server *server = of->link.conn->server;
    if (of->prev != NULL) of->prev->next = of->next;
    else server->subscriptions = of->next;
    if (of->next != NULL) of->next->prev = of->prev;
    if (server->next_served == of) server->next_served = of->next;
    if (of->trip != NULL) end_trip(of);
    ml_follow_end(&of->link, &of->link.conn->subscriptions);
    ml_cursor_free(of->cursor);
    free(of);
}

/* Something may be there for it, although the log is where it was. */
static void look_again(ml_subscription *of)
{
    of->looked_at = UINT64_MAX;
    of->link.conn->server->behind = of->link.conn->server->more = true;
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
    bool bounded, raw = false;
    if (ml_params_bool(params, "raw", &raw, &call->why)) return ML_REFUSED;
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
    of->raw = raw;
    of->credit = (uint64_t)credit;
    of->told = after;
    of->next = server->subscriptions;
    if (of->next != NULL) of->next->prev = of;
    server->subscriptions = of;
    ml_follow_begin(call, &of->link, &call->conn->subscriptions);
    look_again(of);
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
    look_again(of);
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
    uint64_t position = of->trip != NULL ? of->trip->before : ml_cursor_position(of->cursor);
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
static void tell_failure(ml_subscription *of, const char *error)
{
    ml_buf *out = ml_dispatch_push(of->link.conn, "failed");
    ml_pack_map(out, 2);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->link.id);
    ml_pack_text(out, "error");
    ml_pack_text(out, error);
    of->failed = true;
}

/* ---- by way of a worker ------------------------------------------------------------------------- */

static void push_translated(ml_subscription *of, const round_trip *trip, uint32_t count, ml_bytes events)
{
    of->told = trip->after;
    of->caught_up = false;
    if (of->bounded) of->credit -= trip->count;
    if (count == 0) return; /* all of them are dropped by now */
    ml_buf *out = ml_dispatch_push(of->link.conn, "event");
    ml_pack_map(out, 2);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)of->link.id);
    ml_pack_text(out, "events");
    ml_pack_array(out, count);
    ml_buf_add(out, events.data, events.size);
}

static void came_back(ml_ask *ask, ml_code code, ml_bytes result, const char *sentence)
{
    round_trip *trip = (round_trip *)ask;
    ml_subscription *of = trip->of;
    ml_bytes events;
    uint32_t count;
    char error[ML_SENTENCE_MAX + 64];
    if (!code && !ml_translate_read(result, &count, &events)) code = ML_INTERNAL, sentence = "a worker gave no events back";
    if (of != NULL) {
        end_trip(of);
        look_again(of);
        snprintf(error, sizeof error, "%s: %s", ml_error_name(code), sentence);
        if (code) tell_failure(of, error);
        else push_translated(of, trip, count, events);
        if (!code && trip->error[0] != '\0') tell_failure(of, trip->error);
    }
    ml_buf_free(&trip->ask.params);
    free(trip);
}

/* `event` is the first that has another shape by now; it and those behind it make a trip. */
static void send_round(ml_subscription *of, ml_event *event, size_t share)
{
    ml_server *server = of->link.conn->server;
    round_trip *trip = calloc(1, sizeof *trip);
    char error[ML_SENTENCE_MAX + 64];
    ml_error why;
    ml_code code = trip == NULL ? ml_error_memory(&why, "events to be upcast") : ML_OK;
    if (!code) {
        trip->server = server;
        trip->before = event->position - 1;
        ml_buf *stored = ml_translate_begin(&trip->ask);
        ml_code polled;
        do {
            ml_buf_add(stored, event->wire.data, event->wire.size);
            trip->after = event->position;
            bool full = ++trip->count == share || stored->size >= PUSH_BYTES;
            polled = full ? ML_END : ml_poll(of->cursor, event);
        } while (polled == ML_OK);
        if (polled != ML_END) snprintf(trip->error, sizeof trip->error, "%s", ml_why(server->store));
        code = ml_translate_send(server, &trip->ask, of->as_map, came_back, &why);
    }
    if (!code) {
        trip->of = of;
        of->trip = trip;
        trip->bytes = trip->ask.params.size;
        of->link.conn->travelling += trip->bytes;
        return;
    }
    snprintf(error, sizeof error, "%s: %s", ml_error_name(code), why.sentence);
    tell_failure(of, error);
    if (trip != NULL) ml_buf_free(&trip->ask.params);
    free(trip);
}

/* ---- a turn -------------------------------------------------------------------------------------- */

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
    size_t before = conn->out.size, begin = 0, room = room_of(of);
    if (of->failed || room == 0) return false;
    if (room > PUSH_BYTES) room = PUSH_BYTES;
    ml_code code = ML_OK;
    bool translate = false;
    while (count < share && conn->out.size - before < room && (code = ml_poll(of->cursor, &event)) == ML_OK) {
        translate = !of->raw && ml_translate_wanted(conn->server, &event);
        if (translate) break;
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
        of->told = translate ? event.position - 1 : ml_cursor_position(of->cursor);
        of->caught_up = false;
        if (of->bounded) of->credit -= count;
    }
    ml_conn_weigh(conn); /* the next one is to know how crowded it is */
    if (translate) {
        send_round(of, &event, share - count);
        return false;
    }
    bool starved = of->bounded && of->credit == 0;
    bool at_head = code == ML_END || (starved && !code && ml_cursor_position(of->cursor) >= head);
    if (at_head && !of->caught_up) {
        tell(of, "caught_up");
        of->caught_up = true;
    }
    if (code != ML_OK && code != ML_END) tell_failure(of, ml_why(conn->server->store));
    return code == ML_OK && !starved;
}

/* Gives the bytes that were added to its connection's output. */
static size_t serve_one(ml_subscription *of, uint64_t head)
{
    ml_conn *conn = of->link.conn;
    size_t before = conn->out.size;
    bool again = serve(of, head);
    if (room_of(of) > 0) {
        conn->server->more = conn->server->more || again;
        if (!again) of->looked_at = head;
    }
    /* Far past the last event it got, with nothing that matches: says how far. */
    bool far = of->trip == NULL && ml_cursor_position(of->cursor) >= of->told + CHECKPOINT_EVENTS;
    if (far && !of->failed) tell(of, "checkpoint");
    return conn->out.size - before;
}

/* All in their turn, from where the last turn of the loop has left off. */
void ml_push_serve(ml_server *server)
{
    ml_head head;
    size_t pushed = 0;
    ml_subscription *of = server->next_served;
    bool rest = of != NULL; /* then there may be something again for those before it */
    ML_IGNORE(ml_get_head(server->store, (ml_bytes){0}, &head));
    if (!rest) {
        /* Where all are at the head there is nobody to look at. */
        if (!server->behind && server->pushed_position == head.position) return;
        of = server->subscriptions;
        server->behind = false;
        server->pushed_position = head.position;
    }
    for (; of != NULL && pushed < TURN_BYTES; of = of->next) {
        if (of->trip != NULL || of->looked_at == head.position) continue;
        pushed += serve_one(of, head.position);
        server->behind = server->behind || of->looked_at != head.position;
    }
    server->next_served = of;
    server->more = server->more || of != NULL || rest;
}

void ml_push_checkpoints(ml_server *server)
{
    for (ml_subscription *of = server->subscriptions; of != NULL; of = of->next)
        if (of->trip == NULL && ml_cursor_position(of->cursor) > of->told && !of->failed && !ml_conn_congested(of->link.conn))
            tell(of, "checkpoint");
}
