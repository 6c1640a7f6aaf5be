/* dispatch.c -- the one table of methods, and what msgpack-rpc says around them.
 *
 *   request [0, msgid, method, params]   response [1, msgid, error, result]
 *   notification [2, method, params]     an error is [number, "CODE: sentence"]
 *
 * The table serves the rpc, the `api` method and the document (document.c, PROTOCOL.md): what is
 * not in it does not exist, and what is in it is documented.
 */
#include <stdio.h>

#include "inside.h"

#define RULES_EXAMPLE                                                                      \
    "{\"files\":{\"account.lua\":\"return { aggregate = [[account]], initial = { balance = 0 }, " \
    "on = { Deposited = function(s, d) s.balance = s.balance + d.amount end } }\"}}"
#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

const ml_method ml_dispatch_methods[] = {
    {"hello", "client?, events?: \"map\"|\"array\", token?", "server, version, protocol, limits, features", "0.1",
     "Says who you are and how you want events. Optional on a unix socket; first, with the token, where one is wanted.",
     "{\"client\":\"shop\",\"events\":\"array\"}", NAMES("client", "events", "token"), ml_methods_hello},
    {"append",
     "stream, events: [{type, data?, meta?, tags?, id?, schema?, occurred?}], expected?, condition?, durability?; or "
     "writes: [{stream, events, expected?}], condition?, durability?",
     "first, last, revisions: {stream: revision}, durability, duplicate?", "0.1",
     "Appends atomically, over all writes. Streams that begin with $ are the system's, and FORBIDDEN. Answered when the "
     "events are as durable as asked (disk, os). A retry with the same ids gets the first answer, with duplicate = true.",
     "{\"stream\":\"account-ada\",\"events\":[{\"type\":\"Deposited\",\"data\":{\"amount\":5}}],\"expected\":\"any\"}",
     NAMES("stream", "events", "expected", "writes", "condition", "durability"), ml_methods_append},
    {"read", "stream | category | query | nothing, from?, limit?, backward?, max_bytes?, system?, raw?, partial?",
     "events, next, end, head, unreadable?", "0.1",
     "Reads a stream, a category, what a query matches, or everything. `from` is a revision for a stream, else a "
     "position; go on with from = next until end. "
     "Events come in the shape that the active rules' upcasters give them, unless raw. "
     "With partial = true, what cannot be read for damage is passed over and said in `unreadable`; else it is an error.",
     "{\"stream\":\"account-ada\",\"from\":0,\"limit\":100}",
     NAMES("stream", "category", "query", "from", "limit", "backward", "max_bytes", "system", "raw", "partial"), ml_methods_read},
    {"head", "stream?", "position, revision, first", "0.1", "Where the log ends, and where a stream does.",
     "{\"stream\":\"account-ada\"}", NAMES("stream"), ml_methods_head},
    {"streams", "category?, prefix?, after?, limit?", "streams: [{stream, revision, first, last}], next", "0.1",
     "Lists streams in the order they were begun; go on with after = next until next is nil.",
     "{\"category\":\"account\",\"limit\":10}", NAMES("category", "prefix", "after", "limit"), ml_methods_streams},
    {"subscribe", "stream | category | query | nothing, after: \"start\"|\"end\"|position, credit?, system?, raw?",
     "subscription", "0.1",
     "Pushes `event` from a position on, for ever, without gap or duplicate; `caught_up` when it has reached the head; "
     "`checkpoint` past filtered-out events; `failed`, and nothing after it, if an event cannot be read. With credit, "
     "never more events than were granted.",
     "{\"category\":\"account\",\"after\":\"start\",\"credit\":1000}",
     NAMES("stream", "category", "query", "after", "credit", "system", "raw"), ml_methods_subscribe},
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
    {"command", "aggregate, id, name, args?, meta?, command_id?, explain?",
     "events, position, revision, duplicate?; or refused: {code, detail}; or error, fault", "0.1",
     "Lets the aggregate's rule decide, and appends what it decides. Answered when that is on the disk. A refusal is a "
     "result. With a command_id the command is done once: sent again, it gets what was written then, with duplicate = "
     "true. Events carry the unit and its hash, causation_id and correlation_id in their meta. With explain, a script's "
     "error is a result too: error as elsewhere, and fault: {message, file, line, source, traceback, unit, hash, event?}.",
     "{\"aggregate\":\"account\",\"id\":\"ada\",\"name\":\"deposit\",\"args\":{\"amount\":5}}",
     NAMES("aggregate", "id", "name", "args", "meta", "command_id", "explain"), ml_methods_command},
    {"state", "aggregate, id, at?: revision|\"#POSITION\"|time, as_of?: time, explain?", "state, revision, position; or error, fault", "0.1",
     "Folds the aggregate's events: all, those up to and including `at` by what was recorded, or `as_of` by `occurred`. "
     "A time is RFC 3339 or microseconds beyond any revision. `explain` as of command.",
     "{\"aggregate\":\"account\",\"id\":\"ada\"}", NAMES("aggregate", "id", "at", "as_of", "explain"), ml_methods_state},
    {"rules.check", "files: {path: text}, full?", "ok, active, position, hash, units: [{unit, file, hash, status, diagnostics}], diagnostics",
     "0.1",
     "Compiles a pack, checks its shape, proves its upcasters on history (`full`: on every event) and tries it on the "
     "last events. Changes nothing.",
     RULES_EXAMPLE, NAMES("files", "full"),
     ml_methods_rules_check},
    {"rules.load", "files: {path: text}, full?", "as rules.check", "0.1",
     "Checks a pack and makes it the active one, at an event boundary: an event in the stream $rules that holds its "
     "source. With an error in it nothing changes, `active` is false and `diagnostics` say why.",
     RULES_EXAMPLE, NAMES("files", "full"),
     ml_methods_rules_load},
    {"rules.list", "files?", "hash, position, time, units: [{unit, file, hash, status, kills, stops}], files?", "0.1",
     "The rules that are active; a unit that has killed its worker too often, or had to be stopped too often in a row, is "
     "`quarantined`.", "{}", NAMES("files"),
     ml_methods_rules_list},
    {"rules.history", "limit?, before?, files?", "activations: [{position, time, type, hash, units, files?}], next", "0.1",
     "What was active once, newest first, up to `limit` (20) and some 4 MiB of it; `next` (nil at the end), given as "
     "`before`, goes on.",
     "{\"limit\":3}", NAMES("limit", "before", "files"), ml_methods_rules_history},
    {"rules.rollback", "unit?, to?", "as rules.check", "0.1",
     "Loads the version of a unit, or of the whole pack, that was active before the one of now; or the newest whose hash "
     "begins with `to`.",
     "{\"unit\":\"aggregate/account\"}", NAMES("unit", "to"), ml_methods_rules_rollback},
    {"projection.get", "name, key, window?, after?, timeout_ms?, at?", "row, position, window?", "0.1",
     "A row of a projection, nil if there is none; position is that of the last event it speaks of. `after`: waits until "
     "that is at least this one (read your own writes), up to timeout_ms (5 s), else TIMEOUT. With windows: the latest, "
     "or the one that the time `window` is in. `at`: as it was at this position; the log is folded up to there for it, from "
     "the nearest copy that the rule's `snapshot` keeps, so give it time.",
     "{\"name\":\"balances\",\"key\":\"account-ada\",\"after\":1}",
     NAMES("name", "key", "window", "after", "timeout_ms", "at"), ml_methods_projection_get},
    {"projection.scan", "name, prefix?, index?, from?, to?, limit?, backward?, after?, timeout_ms?, at?",
     "rows: [{key, row, window?}], next, position", "0.1",
     "Rows in the order of their keys, or with `index` (the path of a field) of its values, from `from` to `to`, both "
     "inclusive. Give `next` back as `from` until it is nil. All rows of a page are those of one moment.",
     "{\"name\":\"balances\",\"prefix\":\"account-\",\"limit\":10}",
     NAMES("name", "prefix", "index", "from", "to", "limit", "backward", "after", "timeout_ms", "at"), ml_methods_projection_scan},
    {"projection.list", "name?",
     "projections: [{name, hash, state, position, lag: {events, seconds}, rate, eta, events, rows, bytes, digest, late, held, "
     "held_keys: [{key, position, sentence}], error, generations: [{hash, folder, role, state, position, pid, incremental, error}]}], position", "0.1",
     "How projections are doing. lag: events of the log that it has not seen, and since when the first of them is there; "
     "rate: events/s of late; eta: seconds until it has seen all; late: events for windows that were closed; held: keys that go on "
     "no more, and some of them. state: building, live, paused, stopped (at `error`) or failed (its view cannot be opened, "
     "and is tried again). A generation's role: live (is asked), next (builds beside it), before (follows, for a rollback).",
     "{}", NAMES("name"), ml_methods_projection_list},
    {"projection.pause", "name, actor?", "as an entry of projection.list", "0.1",
     "Its rows stay as they are until projection.resume, also when the daemon starts anew. An event in $projections, as "
     "all that follows.",
     "{\"name\":\"balances\"}", NAMES("name", "actor"), ml_methods_projection_pause},
    {"projection.resume", "name, actor?", "as an entry of projection.list", "0.1", "Goes on after projection.pause.",
     "{\"name\":\"balances\"}", NAMES("name", "actor"), ml_methods_projection_resume},
    {"projection.rebuild", "name, actor?", "as an entry of projection.list", "0.1",
     "Builds the version of now once more, from the beginning, beside the live one, and then instead of it.",
     "{\"name\":\"balances\"}", NAMES("name", "actor"), ml_methods_projection_rebuild},
    {"projection.rollback", "name, actor?", "as an entry of projection.list", "0.1",
     "The version before is live again, at once and as far as the one of now; that one is not live any more until other rules "
     "are loaded, or this is called again. While a version builds, it is given up instead.",
     "{\"name\":\"balances\"}", NAMES("name", "actor"), ml_methods_projection_rollback},
    {"projection.skip", "name, reason, position?, actor?", "as an entry of projection.list", "0.1",
     "Passes over the event that it has stopped at, or that a key is held for (then position says which), in this version "
     "and for ever: also when it is built again.",
     "{\"name\":\"balances\",\"reason\":\"a test order\"}", NAMES("name", "reason", "position", "actor"),
     ml_methods_projection_skip},
    {"projection.retry", "name, actor?", "as an entry of projection.list", "0.1",
     "Tries again what it has stopped at, and what keys are held for.",
     "{\"name\":\"balances\"}", NAMES("name", "actor"), ml_methods_projection_retry},
    {"whatif", "files, unit?, from?, limit?",
     "differences: [{unit, kind, key, window?, before, after, first: {position, revision, type, stream}, command?, where?, "
     "before_fault?, after_fault?}], units: [{unit, status, events, rows, differing, transient, earlier, commands, refused, "
     "allowed, others, unseen}], position; or diagnostics", "0.1",
     "What would be different today if these rules had been active from the first event on. Replays history through them and "
     "the active ones and writes nothing. kind: row (of a projection), state (of an aggregate), command (recorded, and decided "
     "otherwise), fault (one of them raises). Pushes whatif.progress; two at once.",
     RULES_EXAMPLE, NAMES("files", "unit", "from", "limit"), ml_methods_whatif},
    {"whatif.stop", "", "ended", "0.1", "Ends what this connection has asked of whatif.", "{}", NAMES(NULL),
     ml_methods_whatif_stop},
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
    {"whatif.progress", "unit, position, head", "How far a whatif of this connection is, with the unit that it looks at.",
     "[2,\"whatif.progress\",[{\"unit\":\"projection/balances\",\"position\":40000,\"head\":100000}]]"},
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

void ml_dispatch_pack_error(ml_buf *out, ml_code code, const char *sentence)
{
    char text[ML_SENTENCE_MAX + 64];
    int size = snprintf(text, sizeof text, "%s: %s", ml_error_name(code), sentence);
    if (size >= (int)sizeof text) size = (int)sizeof text - 1;
    ml_pack_array(out, 2);
    ml_pack_int(out, (int64_t)code);
    /* A sentence may be cut in the middle of a name's character. */
    while (size > 0 && !ml_unpack_utf8((ml_bytes){text, (size_t)size})) size--;
    ml_pack_str(out, (ml_bytes){text, (size_t)size});
}

void ml_dispatch_refuse(ml_conn *conn, uint32_t msgid, ml_code code, const char *sentence)
{
    ml_conn_dirty(conn);
    ml_pack_array(&conn->out, 4);
    ml_pack_int(&conn->out, 1);
    ml_pack_int(&conn->out, msgid);
    ml_dispatch_pack_error(&conn->out, code, sentence);
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
    enum { COUNT = sizeof ml_dispatch_methods / sizeof *ml_dispatch_methods };
    const char *names[COUNT]; /* the last is NULL, as there */
    for (size_t n = 0; n < COUNT; n++) names[n] = ml_dispatch_methods[n].name;
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
    if (!ml_unpack_str(cursor, &name)) {
        ml_dispatch_refuse(call->conn, call->msgid, ML_BAD_REQUEST, "the method's name is no str");
        return true;
    }
    *ended = run(call, name, cursor);
    call->server->requests += *ended != ML_HOLD; /* that one comes again */
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
