/* dispatch.c -- the one table of methods, and what msgpack-rpc says around them.
 *
 *   request [0, msgid, method, params]   response [1, msgid, error, result]
 *   notification [2, method, params]     an error is [number, "CODE: sentence"]
 *
 * The table serves the rpc, the `api` method and the document (PROTOCOL.md): what is not in
 * it does not exist, and what is in it is documented.
 */
#include <inttypes.h>
#include <stdio.h>

#include "inside.h"

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

const ml_method ml_dispatch_methods[] = {
    {"hello", "client?, events?: \"map\"|\"array\", token?", "server, version, protocol, limits, features", "0.1",
     "Says who you are and how you want events. Optional on a unix socket; first, with the token, where one is wanted.",
     "{\"client\":\"shop\",\"events\":\"array\"}", NAMES("client", "events", "token"), ml_methods_hello},
    {"append",
     "stream, events: [{type, data?, meta?, tags?, id?, schema?, occurred?}], expected?, condition?, durability?; or "
     "writes: [{stream, events, expected?}], condition?, durability?",
     "first, last, revisions: {stream: revision}, durability, duplicate?", "0.1",
     "Appends atomically, over all writes. Answered when the events are as durable as asked (disk, os). A retry with "
     "the same ids gets the first answer, with duplicate = true.",
     "{\"stream\":\"account-ada\",\"events\":[{\"type\":\"Deposited\",\"data\":{\"amount\":5}}],\"expected\":\"any\"}",
     NAMES("stream", "events", "expected", "writes", "condition", "durability"), ml_methods_append},
    {"read", "stream | category | query | nothing, from?, limit?, backward?, max_bytes?, system?, raw?, partial?",
     "events, next, end, head, unreadable?", "0.1",
     "Reads a stream, a category, what a query matches, or everything. `from` is a revision for a stream, else a "
     "position; go on with from = next until end. "
     "With partial = true, what cannot be read for damage is passed over and said in `unreadable`; else it is an error.",
     "{\"stream\":\"account-ada\",\"from\":0,\"limit\":100}",
     NAMES("stream", "category", "query", "from", "limit", "backward", "max_bytes", "system", "raw", "partial"), ml_methods_read},
    {"head", "stream?", "position, revision, first", "0.1", "Where the log ends, and where a stream does.",
     "{\"stream\":\"account-ada\"}", NAMES("stream"), ml_methods_head},
    {"streams", "category?, prefix?, after?, limit?", "streams: [{stream, revision, first, last}], next", "0.1",
     "Lists streams in the order they were begun; go on with after = next until next is nil.",
     "{\"category\":\"account\",\"limit\":10}", NAMES("category", "prefix", "after", "limit"), ml_methods_streams},
    {"subscribe", "stream | category | query | nothing, after: \"start\"|\"end\"|position, credit?, system?",
     "subscription", "0.1",
     "Pushes `event` from a position on, for ever, without gap or duplicate; `caught_up` when it has reached the head; "
     "`checkpoint` past filtered-out events; `failed`, and nothing after it, if an event cannot be read. With credit, "
     "never more events than were granted.",
     "{\"category\":\"account\",\"after\":\"start\",\"credit\":1000}",
     NAMES("stream", "category", "query", "after", "credit", "system"), ml_methods_subscribe},
    {"credit", "subscription, events", "credit", "0.1", "Grants a subscription more events.",
     "{\"subscription\":1,\"events\":1000}", NAMES("subscription", "events"), ml_methods_credit},
    {"unsubscribe", "subscription", "position", "0.1", "Ends a subscription; position is where to go on.",
     "{\"subscription\":1}", NAMES("subscription"), ml_methods_unsubscribe},
    {"signal", "subject, data?, reply?", "listeners", "0.1",
     "Tells whoever listens now; nothing is stored. With `reply` (a subject you listen to) it is a request, and "
     "NO_LISTENERS says at once that nobody will answer.",
     "{\"subject\":\"ui.alert\",\"data\":{\"order\":7}}", NAMES("subject", "data", "reply"), ml_methods_signal},
    {"listen", "subject, buffer?, policy?: \"drop_old\"|\"drop_new\"|\"disconnect\"", "subscription", "0.1",
     "Pushes `signal` for every signal whose subject matches: * is one token, > the rest, . separates. A listener that "
     "does not keep up loses signals by its policy and is told how many: `gap`; or is disconnected.",
     "{\"subject\":\"ui.>\"}", NAMES("subject", "buffer", "policy"), ml_methods_listen},
    {"unlisten", "subscription", "missed", "0.1", "Ends a listener.", "{\"subscription\":2}", NAMES("subscription"),
     ml_methods_unlisten},
    {"status", "", "everything a dashboard needs", "0.1", "What the daemon and its store are doing.", "{}",
     NAMES("verbose"), ml_methods_status},
    {"api", "", "methods, pushes, errors, limits", "0.1", "This document, as data.", "{}", NAMES("verbose"), ml_methods_api},
    {.name = NULL},
};

const ml_pushed ml_dispatch_pushes[] = {
    {"event", "subscription, events",
     "Events of a subscription, in the order of their positions: as maps, or as arrays of the same values in the same "
     "order for whom `hello` says so. Each uses up one of the credit.",
     "[2,\"event\",[{\"subscription\":1,\"events\":[{\"position\":7,\"revision\":0,\"time\":1795268446000000,"
     "\"stream\":\"account-ada\",\"type\":\"Deposited\",\"schema\":1,\"id\":{\"$bin\":\"AZqvJlvwfQCAAAAAAAAAAQ==\"},"
     "\"tags\":[],\"data\":{\"amount\":5},\"meta\":null,\"occurred\":null}]}]]"},
    {"caught_up", "subscription, position",
     "All there is was pushed: position is the head of the log. Told once; again when events were pushed since. Where "
     "the credit ended before the head it waits for more credit.",
     "[2,\"caught_up\",[{\"subscription\":1,\"position\":7}]]"},
    {"checkpoint", "subscription, position",
     "Nothing up to position is still to come, although the events there did not match: subscribing after it misses "
     "nothing. Told each second, or each 10,000 events, while there is something to tell.",
     "[2,\"checkpoint\",[{\"subscription\":1,\"position\":10007}]]"},
    {"failed", "subscription, error",
     "An event cannot be read, and nothing more is pushed: error is what a read of it says. The position that "
     "`unsubscribe` gives is the event's, so subscribing after it goes on behind it.",
     "[2,\"failed\",[{\"subscription\":1,\"error\":\"CORRUPT: the record at position 7 is no event\"}]]"},
    {"signal", "subscription, subject, data, reply?",
     "A signal that a listener's pattern matches. With reply it is a request: signal the answer to that subject.",
     "[2,\"signal\",[{\"subscription\":2,\"subject\":\"ui.alert\",\"data\":{\"order\":7}}]]"},
    {"gap", "subscription, missed", "So many signals were lost since the last gap; told before the next signal.",
     "[2,\"gap\",[{\"subscription\":2,\"missed\":3}]]"},
    {.name = NULL},
};

/* ---- answers ----------------------------------------------------------------------------- */

ml_buf *ml_dispatch_answer(ml_conn *conn, uint32_t msgid)
{
    ml_conn_dirty(conn);
    ml_pack_array(&conn->out, 4);
    ml_pack_int(&conn->out, 1);
    ml_pack_int(&conn->out, msgid);
    ml_pack_nil(&conn->out);
    return &conn->out;
}

void ml_dispatch_refuse(ml_conn *conn, uint32_t msgid, ml_code code, const char *sentence)
{
    char text[ML_SENTENCE_MAX + 64];
    int size = snprintf(text, sizeof text, "%s: %s", ml_error_name(code), sentence);
    if (size >= (int)sizeof text) size = (int)sizeof text - 1;
    ml_conn_dirty(conn);
    ml_pack_array(&conn->out, 4);
    ml_pack_int(&conn->out, 1);
    ml_pack_int(&conn->out, msgid);
    ml_pack_array(&conn->out, 2);
    ml_pack_int(&conn->out, (int64_t)code);
    /* A sentence may be cut in the middle of a name's character. */
    while (size > 0 && !ml_unpack_utf8((ml_bytes){text, (size_t)size})) size--;
    ml_pack_str(&conn->out, (ml_bytes){text, (size_t)size});
    ml_pack_nil(&conn->out);
}

ml_ended ml_dispatch_refuse_store(ml_call *call, ml_code code)
{
    ml_error_retell(&call->why, code, ml_why(call->server->store));
    return ML_REFUSED;
}

ml_buf *ml_dispatch_push(ml_conn *conn, const char *method)
{
    ml_conn_dirty(conn);
    ml_pack_array(&conn->out, 3);
    ml_pack_int(&conn->out, 2);
    ml_pack_text(&conn->out, method);
    ml_pack_array(&conn->out, 1);
    return &conn->out;
}

/* ---- messages ------------------------------------------------------------------------------- */

static const ml_method *find(ml_bytes name)
{
    for (const ml_method *method = ml_dispatch_methods; method->name != NULL; method++)
        if (ml_params_is(method->name, name)) return method;
    return NULL;
}

static void refuse_unknown(ml_call *call, ml_bytes name)
{
    const char *names[32];
    size_t count = 0;
    for (; ml_dispatch_methods[count].name != NULL; count++) names[count] = ml_dispatch_methods[count].name;
    names[count] = NULL;
    const char *nearest = ml_params_nearest(name, names);
    name = ml_params_shown(name);
    ml_error_set(&call->why, ML_UNKNOWN_METHOD, "there is no method %.*s%s%s%s", ML_SHOW(name), nearest != NULL ? "; did you mean " : "; ask `api` for those there are",
                 nearest != NULL ? nearest : "", nearest != NULL ? "?" : "");
}

/* params is an array that holds one map, or nothing. */
static ml_code take_params(ml_unpack *cursor, ml_call *call)
{
    static const uint8_t empty_map = 0x80;
    uint32_t count;
    if (!ml_unpack_array(cursor, &count) || count > 1)
        return ml_error_set(&call->why, ML_BAD_REQUEST, "params is no array of one map");
    call->params = count == 1 ? (ml_bytes){cursor->at, (size_t)(cursor->end - cursor->at)} : (ml_bytes){&empty_map, 1};
    return ML_OK;
}

static ml_ended run(ml_call *call, ml_bytes name, ml_unpack *cursor)
{
    const ml_method *method = find(name);
    if (!call->conn->known && (method == NULL || method->run != ml_methods_hello)) {
        ml_error_set(&call->why, ML_UNAUTHENTICATED, "call hello with the daemon's token first");
        return ML_REFUSED;
    }
    if (method == NULL) {
        refuse_unknown(call, name);
        return ML_REFUSED;
    }
    ml_params params;
    if (take_params(cursor, call)) return ML_REFUSED;
    if (ml_params_read(&call->params, method->name, method->names, &params, &call->why)) return ML_REFUSED;
    return method->run(call, &params);
}

static bool request(ml_call *call, ml_unpack *cursor, ml_ended *ended)
{
    int64_t msgid;
    ml_bytes name;
    if (!ml_unpack_int(cursor, &msgid) || msgid < 0 || msgid > UINT32_MAX) {
        ml_dispatch_refuse(call->conn, 0, ML_BAD_REQUEST, "msgid is no integer of 32 bits");
        return false;
    }
    call->request = true;
    call->msgid = (uint32_t)msgid;
    call->server->requests++;
    if (!ml_unpack_str(cursor, &name)) {
        ml_dispatch_refuse(call->conn, call->msgid, ML_BAD_REQUEST, "the method's name is no str");
        return true;
    }
    *ended = run(call, name, cursor);
    if (*ended == ML_REFUSED) ml_dispatch_refuse(call->conn, call->msgid, call->why.code, call->why.sentence);
    /* Who does not know the token gets one try. */
    return call->conn->known || *ended != ML_REFUSED;
}

/* What a client notifies of is ignored unless it is a method of ours that makes sense so. */
static void notification(ml_call *call, ml_unpack *cursor, ml_ended *ended)
{
    ml_bytes name;
    if (!call->conn->known || !ml_unpack_str(cursor, &name)) return;
    const ml_method *method = find(name);
    if (method == NULL) return;
    if (method->run != ml_methods_signal && method->run != ml_methods_credit && method->run != ml_methods_append) return;
    *ended = run(call, name, cursor);
}

bool ml_dispatch_message(ml_conn *conn, ml_bytes message, ml_ended *ended)
{
    ml_call call = {.server = conn->server, .conn = conn};
    ml_unpack cursor = ml_unpack_from(message);
    uint32_t count;
    int64_t kind;
    if (!ml_unpack_array(&cursor, &count) || !ml_unpack_int(&cursor, &kind)) {
        ml_dispatch_refuse(conn, 0, ML_BAD_REQUEST, "a message is an array that begins with 0 (request) or 2 (notification)");
        return false;
    }
    if (kind == 0 && count == 4) return request(&call, &cursor, ended);
    if (kind == 2 && count == 3) {
        notification(&call, &cursor, ended);
        return true;
    }
    if (kind == 1 && count == 4) return true; /* an answer to nothing we asked */
    ml_dispatch_refuse(conn, 0, ML_BAD_REQUEST, "a message is [0, msgid, method, params] or [2, method, params]");
    return false;
}

/* ---- the document ----------------------------------------------------------------------------- */

static void document_limits(void)
{
    printf("\n## Limits\n\n`hello` and `api` have them as numbers. A message is refused and its connection closed, with an\n"
           "error whose msgid is 0, where nothing behind it could be understood.\n\n"
           "* a message: %d bytes, %d levels deep; once begun, whole within %d s\n"
           "* an event: %d bytes, its data and meta %d levels deep; an append: %d bytes, %d events\n"
           "* a connection: %d appends in flight, %d subscriptions and listeners; answers that are not read stop the\n"
           "  reading of requests at %d bytes, and after %d s without any being taken end the connection\n"
           "* connections: %d, from one other machine %d (`serve --connections`, `--connections-per-address`)\n"
           "* before `hello`, where a token is wanted: %d bytes, %d values, %d levels, %d s, %d such connections\n",
           FRAME_MAX, ML_WIRE_DEPTH_MAX, FRAME_MS / 1000, ML_EVENT_BYTES_MAX, ML_DEPTH_MAX, ML_APPEND_BYTES_MAX,
           ML_APPEND_EVENTS_MAX, IN_FLIGHT_MAX, SUBSCRIPTIONS_MAX, OUT_HIGH, READER_MS / 1000, CONNS_DEFAULT,
           PER_ADDRESS_DEFAULT, UNKNOWN_FRAME_MAX, UNKNOWN_VALUES_MAX, UNKNOWN_DEPTH_MAX, UNKNOWN_MS / 1000,
           UNKNOWN_CONNS_MAX);
}

void ml_server_document(void)
{
    puts("# The protocol\n\n"
         "Made from the table of methods (`moonlog rpc --document`); do not edit.\n\n"
         "msgpack-rpc over a unix or TCP stream: request `[0, msgid, method, params]`, response\n"
         "`[1, msgid, error, result]`, notification `[2, method, params]`. `params` is an array that holds one map\n"
         "(or is empty). Answers may come out of order. An error is `[number, \"CODE: sentence\"]`. A trailing `?`\n"
         "marks what may be left out.\n");
    puts("## Methods\n");
    for (const ml_method *method = ml_dispatch_methods; method->name != NULL; method++)
        printf("### `%s`\n\n%s\n\n* params: %s\n* result: %s\n* since %s; try `moonlog rpc %s '%s'`\n\n", method->name,
               method->doc, method->params[0] != '\0' ? method->params : "none", method->result, method->since,
               method->name, method->example);
    puts("## Pushes\n\nNotifications that the daemon sends to who has subscribed or listens.\n");
    for (const ml_pushed *push = ml_dispatch_pushes; push->name != NULL; push++)
        printf("### `%s`\n\n%s\n\n* params: %s\n* such as `%s`\n\n", push->name, push->doc, push->params, push->example);
    puts("## Errors\n\n| number | code | the same call may succeed later | meaning |\n|---|---|---|---|");
#define ROW(number, name, retry, status, meaning) printf("| %d | `%s` | %s | %s |\n", number, #name, #retry, meaning);
    ML_CODES(ROW)
#undef ROW
    document_limits();
}
