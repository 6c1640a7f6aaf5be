/* bench_net_moonlog.c -- the daemon's dialect: msgpack-rpc, events as arrays.
 *
 * Places in a request have fixed widths (a msgid of 4 bytes, a number of 8), which MessagePack
 * allows and the daemon reads like shorter ones.
 */
#include <unistd.h>

#include "../base/bytes.h"
#include "bench_net.h"
#include "reach.h"

#define SUBJECT "bench.signal"

/* ---- the server --------------------------------------------------------------------- */

static ml_code call(ml_net *net, ml_bytes *result)
{
    ml_code code = ml_client_call(&net->client, result);
    if (code) net->bench->why = net->client.why;
    return code;
}

/* Nothing is ever deleted: what a benchmark writes into somebody's store would stay there. */
static ml_code check_store(ml_net *net)
{
    ml_bytes result;
    uint32_t count;
    ml_buf *out = ml_client_begin(&net->client, "streams");
    ml_pack_map(out, 1);
    ml_pack_text(out, "limit");
    ml_pack_int(out, 1);
    ml_code code = call(net, &result);
    if (code) return code;
    ml_unpack streams = ml_client_list(result, "streams", &count);
    if (count == 0) return ML_OK;
    ml_bytes first = {streams.at, (size_t)(streams.end - streams.at)};
    ml_bytes name = ml_unpack_find_str(first, "stream");
    if (name.size >= 6 && memcmp(name.data, "bench-", 6) == 0) return ML_OK;
    return ml_error_set(&net->bench->why, ML_BAD_REQUEST,
                        "the store has streams that are not the benchmark's (%.*s), and what it "
                        "writes stays; start a daemon on an empty directory", ML_SHOW(name));
}

static ml_code begin(ml_net *net)
{
    if (!ml_reach_open(net->bench->cli, ML_REACH_USE, false, &net->client, &net->status))
        return ML_UNREACHABLE;
    ml_code code = check_store(net);
    if (code) ml_client_close(&net->client);
    return code;
}

static void end(ml_net *net) { ml_client_close(&net->client); }

static ml_code open_file(ml_net *net, int *file)
{
    ml_client client;
    if (!ml_reach_open(net->bench->cli, ML_REACH_USE, false, &client, &net->status))
        return ML_UNREACHABLE;
    *file = client.file;
    ml_buf_free(&client.in);
    ml_buf_free(&client.out);
    return ML_OK;
}

/* Each append says it. */
static ml_code set_disk(ml_net *net, bool disk)
{
    net->disk = disk;
    return ML_OK;
}

static ml_code length(ml_net *net, ml_bytes stream, uint64_t *events)
{
    ml_bytes result;
    ml_buf *out = ml_client_begin(&net->client, "head");
    ml_pack_map(out, 1);
    ml_pack_text(out, "stream");
    ml_pack_str(out, stream);
    ml_code code = call(net, &result);
    *events = code ? 0 : ml_client_natural(result, "revision") + 1;
    return code == ML_NOT_FOUND ? ML_OK : code;
}

static ml_code process(ml_net *net, uint64_t *pid)
{
    ml_bytes result;
    ml_pack_map(ml_client_begin(&net->client, "status"), 0);
    ml_code code = call(net, &result);
    *pid = code ? 0 : ml_client_natural(result, "pid");
    return code;
}

/* ---- requests ----------------------------------------------------------------------- */

static size_t put_wide(ml_buf *out, uint8_t lead, size_t size)
{
    static const uint8_t zeros[8] = {0};
    ml_buf_byte(out, lead);
    size_t at = out->size;
    ml_buf_add(out, zeros, size);
    return at;
}

static void begin_request(ml_net_form *form, const char *method, uint32_t pairs)
{
    ml_buf *out = &form->bytes;
    ml_pack_array(out, 4);
    ml_pack_int(out, 0);
    form->msgid = put_wide(out, 0xce, 4);
    ml_pack_text(out, method);
    ml_pack_array(out, 1);
    ml_pack_map(out, pairs);
    form->replies = 1;
}

static void put_pair(ml_buf *out, const char *name, ml_bytes value)
{
    ml_pack_text(out, name);
    ml_pack_str(out, value);
}

static size_t put_payload(const ml_net *net, ml_buf *out)
{
    size_t at = out->size;
    ml_bytes payload = ml_bench_data_payload(net->bench, 0);
    ml_buf_add(out, payload.data, payload.size);
    return at;
}

static size_t put_event(const ml_net *net, ml_buf *out)
{
    ml_pack_map(out, 2);
    put_pair(out, "type", ML_STR("Deposited"));
    ml_pack_text(out, "data");
    return put_payload(net, out);
}

static void make_append(const ml_net *net, ml_net_ask what, ml_bytes stream, size_t items,
                        ml_net_form *form)
{
    ml_buf *out = &form->bytes;
    begin_request(form, "append", what == ML_NET_EXPECTED ? 4 : 3);
    put_pair(out, "durability", net->disk ? ML_STR("disk") : ML_STR("os"));
    put_pair(out, "stream", stream);
    if (what == ML_NET_EXPECTED) {
        ml_pack_text(out, "expected");
        form->number = put_wide(out, 0xd3, 8);
        form->less = 1; /* the last revision, not how many there are */
    }
    ml_pack_text(out, "events");
    ml_pack_array(out, (uint32_t)items);
    for (size_t n = 0; n < items; n++) {
        size_t from = out->size, at = put_event(net, out);
        if (n == 0) form->payload = at;
        form->stride = out->size - from;
    }
}

/* To the aggregate whose stream that is, of bench_net_rules.c. */
static void make_command(ml_bytes stream, ml_net_form *form)
{
    const char *dash = memchr(stream.data, '-', stream.size);
    ML_ASSERT(dash != NULL);
    size_t category = (size_t)(dash - (const char *)stream.data);
    begin_request(form, "command", 4);
    put_pair(&form->bytes, "aggregate", (ml_bytes){stream.data, category});
    put_pair(&form->bytes, "id", (ml_bytes){dash + 1, stream.size - category - 1});
    put_pair(&form->bytes, "name", ML_STR("deposit"));
    ml_pack_text(&form->bytes, "args");
    ml_pack_map(&form->bytes, 1);
    ml_pack_text(&form->bytes, "amount");
    ml_pack_int(&form->bytes, 1);
}

/* The name of a stream of the data set; gives where its digits are. */
static size_t put_stream(ml_buf *out, ml_bytes prefix)
{
    char name[ML_BENCH_NAME + ML_NET_DIGITS];
    ML_ASSERT(prefix.size <= ML_BENCH_NAME);
    memcpy(name, prefix.data, prefix.size);
    memset(name + prefix.size, '0', ML_NET_DIGITS);
    put_pair(out, "stream", (ml_bytes){name, prefix.size + ML_NET_DIGITS});
    return out->size - ML_NET_DIGITS;
}

static void make_fill(const ml_net *net, ml_bytes prefix, size_t items, ml_net_form *form)
{
    ml_buf *out = &form->bytes;
    begin_request(form, "append", 2);
    put_pair(out, "durability", ML_STR("os"));
    ml_pack_text(out, "writes");
    ml_pack_array(out, (uint32_t)items);
    for (size_t n = 0; n < items; n++) {
        size_t from = out->size;
        ml_pack_map(out, 2);
        size_t stream = put_stream(out, prefix);
        ml_pack_text(out, "events");
        ml_pack_array(out, 1);
        size_t payload = put_event(net, out);
        if (n == 0) {
            form->stream = stream;
            form->payload = payload;
        }
        form->stride = out->size - from;
    }
}

static void make_page(size_t events, ml_net_form *form)
{
    ml_buf *out = &form->bytes;
    begin_request(form, "read", 2);
    ml_pack_text(out, "limit");
    ml_pack_int(out, (int64_t)events);
    ml_pack_text(out, "from");
    form->number = put_wide(out, 0xcf, 8);
}

static void make_signal(const ml_net *net, ml_net_form *form)
{
    ml_buf *out = &form->bytes;
    ml_pack_array(out, 3);
    ml_pack_int(out, 2);
    ml_pack_text(out, "signal");
    ml_pack_array(out, 1);
    ml_pack_map(out, 2);
    put_pair(out, "subject", ML_STR(SUBJECT));
    ml_pack_text(out, "data");
    form->payload = put_payload(net, out);
}

static bool make(ml_net *net, ml_net_ask what, ml_bytes stream, size_t items, ml_net_form *form)
{
    *form = (ml_net_form){.items = 1};
    switch (what) {
    case ML_NET_APPEND:
    case ML_NET_EXPECTED:
    case ML_NET_PUBLISH: make_append(net, what, stream, items, form); break;
    case ML_NET_COMMAND: make_command(stream, form); return true;
    case ML_NET_FILL: make_fill(net, stream, items, form); break;
    case ML_NET_FILL_ALL: return false; /* a log of all events is what it is */
    case ML_NET_PAGE: make_page(items, form); return true;
    case ML_NET_LOAD:
        begin_request(form, "read", 1);
        form->stream = put_stream(&form->bytes, stream);
        return true;
    case ML_NET_SUBSCRIBE:
        begin_request(form, "subscribe", 2);
        put_pair(&form->bytes, "stream", stream);
        put_pair(&form->bytes, "after", ML_STR("end"));
        return true;
    case ML_NET_LISTEN:
        begin_request(form, "listen", 1);
        put_pair(&form->bytes, "subject", stream);
        return true;
    case ML_NET_SIGNAL: make_signal(net, form); return true;
    }
    form->items = items;
    return true;
}

/* ---- replies ------------------------------------------------------------------------ */

/* The size of a value that most messages are made of, known by its first byte; 0: look closer. */
static size_t plain_size(const uint8_t *at, const uint8_t *limit)
{
    uint8_t lead = *at;
    size_t size = 0;
    if (lead < 0x80 || lead >= 0xe0 || lead == 0xc0) size = 1;
    else if (lead >= 0xa0 && lead < 0xc0) size = 1 + (lead & 0x1f);
    else if (lead == 0xc4 && limit - at > 1) size = 2 + (size_t)at[1];
    else if (lead >= 0xcc && lead <= 0xcf) size = 1 + ((size_t)1 << (lead - 0xcc));
    return size <= (size_t)(limit - at) ? size : 0;
}

/* Looks on until the message is whole. A payload is passed over in one step. */
static bool pass_message(ml_net_conn *conn)
{
    ml_net_scan *scan = &conn->scan;
    const uint8_t *from = conn->in.data + conn->at, *limit = conn->in.data + conn->in.size;
    size_t payload = conn->net->bench->payload;
    while (from + scan->size < limit) {
        const uint8_t *at = from + scan->size;
        ml_unpack cursor = {at, limit};
        uint32_t items = 0;
        size_t plain = plain_size(at, limit);
        if (plain > 0) {
            cursor.at += plain;
        } else if (*at == ml_bench_net_mark[0] && limit - at >= ML_NET_MARK &&
                   memcmp(at, ml_bench_net_mark, ML_NET_MARK) == 0) {
            if ((size_t)(limit - at) < payload) return false;
            ml_bench_net_conn_seen(conn, at);
            cursor.at += payload;
        } else {
            ml_token token = ml_unpack_next(&cursor);
            if (token.kind == ML_KIND_NONE) return false;
            if (token.kind == ML_KIND_ARRAY) items = token.count;
            if (token.kind == ML_KIND_MAP) items = 2 * token.count;
        }
        scan->size += (size_t)(cursor.at - at);
        if (items > 0) {
            ML_ASSERT(scan->depth < ML_NET_DEPTH);
            scan->left[scan->depth++] = items;
        } else if (ml_bench_net_closed(scan)) {
            return true;
        }
    }
    return false;
}

static ml_net_found refused(ml_net_conn *conn, ml_unpack cursor)
{
    uint32_t count;
    int64_t number;
    ml_bytes text = ML_STR("INTERNAL: an answer is none that this version knows");
    if (ml_unpack_array(&cursor, &count) && ml_unpack_int(&cursor, &number))
        ML_IGNORE(!ml_unpack_str(&cursor, &text)); /* then the sentence above stands */
    ml_client_error(text, &conn->net->bench->why);
    return ML_NET_FAILED;
}

/* event and signal were counted by their payloads. */
static ml_net_found look_at_push(ml_net_conn *conn, ml_unpack cursor)
{
    ml_bytes method;
    uint32_t count;
    if (!ml_unpack_str(&cursor, &method) || !ml_unpack_array(&cursor, &count))
        return refused(conn, cursor);
    ml_bytes params = {cursor.at, (size_t)(cursor.end - cursor.at)};
    if (ml_bytes_equal(method, ML_STR("gap")))
        conn->net->missed += ml_client_natural(params, "missed");
    if (!ml_bytes_equal(method, ML_STR("failed"))) return ML_NET_OTHER;
    ml_client_error(ml_unpack_find_str(params, "error"), &conn->net->bench->why);
    return ML_NET_FAILED;
}

static ml_net_found scan(ml_net_conn *conn)
{
    if (!pass_message(conn)) return ML_NET_MORE;
    ml_unpack cursor = {conn->in.data + conn->at, conn->in.data + conn->at + conn->scan.size};
    uint32_t count;
    int64_t kind, msgid;
    if (!ml_unpack_array(&cursor, &count) || !ml_unpack_int(&cursor, &kind))
        return refused(conn, cursor);
    if (kind == 2) return look_at_push(conn, cursor);
    if (!ml_unpack_int(&cursor, &msgid)) return refused(conn, cursor);
    if (cursor.at < cursor.end && *cursor.at != 0xc0) return refused(conn, cursor);
    conn->answer = (uint32_t)msgid;
    return ML_NET_ANSWER;
}

const ml_net_dialect ml_bench_net_moonlog = {
    .begin = begin, .end = end, .open = open_file, .set_disk = set_disk, .length = length,
    .process = process, .make = make, .scan = scan,
};
