/* bench_net_redis.c -- Redis's dialect: RESP, streams, and channels for signals.
 *
 * An append is an XADD, several are a MULTI, one with an expected revision is a script. What is
 * published has its ordinal for an id, so that a subscriber knows what to ask for next.
 * Durability is the server's setting, not the request's, and is set before each workload.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench_net.h"

static const char script[] =
    "if redis.call('XLEN', KEYS[1]) ~= tonumber(ARGV[1]) then\n"
    "  return redis.error_reply('WRONGREVISION another than expected')\n"
    "end\n"
    "return redis.call('XADD', KEYS[1], '*', 'd', ARGV[2])\n";

enum { HASH = 40, ZEROS = 24 };
static const char zeros[] = "000000000000000000000000";
_Static_assert(sizeof zeros - 1 == ZEROS, "as many as are used");
_Static_assert((int)ML_NET_NUMBER <= (int)ZEROS, "a number has room");

/* ---- requests ----------------------------------------------------------------------- */

static void put_begin(ml_buf *out, size_t words) { ml_buf_print(out, "*%zu\r\n", words); }

/* A word; gives where it stands. */
static size_t put(ml_buf *out, ml_bytes word)
{
    ml_buf_print(out, "$%zu\r\n", word.size);
    size_t at = out->size;
    ml_buf_add(out, word.data, word.size);
    ml_buf_add(out, "\r\n", 2);
    return at;
}

static size_t put_text(ml_buf *out, const char *word) { return put(out, ml_cli_text(word)); }

static size_t put_number(ml_buf *out) { return put(out, (ml_bytes){zeros, ML_NET_NUMBER}); }

/* The name of a stream of the data set; gives where its digits are. */
static size_t put_stream(ml_buf *out, ml_bytes prefix)
{
    ml_buf_print(out, "$%zu\r\n", prefix.size + ML_NET_DIGITS);
    ml_buf_add(out, prefix.data, prefix.size);
    size_t at = out->size;
    ml_buf_add(out, zeros, ML_NET_DIGITS);
    ml_buf_add(out, "\r\n", 2);
    return at;
}

static void put_all(ml_buf *out, ml_bytes prefix)
{
    ml_buf_print(out, "$%zu\r\n%.*sall\r\n", prefix.size + 3, (int)prefix.size,
                 (const char *)prefix.data);
}

static ml_code call(ml_net *net, ml_bytes *reply)
{
    ml_net_conn *conn = &net->control;
    conn->heard = 0;
    conn->replies = 1;
    ml_code code = ml_bench_net_conn_wait(conn);
    *reply = conn->message;
    return code;
}

/* A request of words, answered. */
static ml_code call_words(ml_net *net, const char *const *words, size_t count, ml_bytes *reply)
{
    put_begin(&net->control.out, count);
    for (size_t n = 0; n < count; n++) put_text(&net->control.out, words[n]);
    return call(net, reply);
}

/* ---- the server --------------------------------------------------------------------- */

static ml_code open_file(ml_net *net, int *file)
{
    char uri[512];
    ml_client client;
    int size = snprintf(uri, sizeof uri, "tcp:%s", net->bench->cli->connect + strlen("redis:"));
    if (size < 0 || size >= (int)sizeof uri)
        return ml_error_set(&net->bench->why, ML_BAD_REQUEST, "write redis:HOST:PORT");
    ml_code code = ml_client_connect(&client, uri);
    if (code) net->bench->why = client.why;
    else *file = client.file;
    return code;
}

/* It must hold nothing but what the benchmark wrote, and must write a log. */
static ml_code check_server(ml_net *net)
{
    ml_bytes reply;
    ml_code code = call_words(net, (const char *const[]){"RANDOMKEY"}, 1, &reply);
    if (code) return code;
    const char *text = reply.data;
    if (text[1] != '-' && memmem(text, reply.size, "\nbench-", 7) == NULL)
        return ml_error_set(&net->bench->why, ML_BAD_REQUEST,
                            "the Redis holds what is not the benchmark's; start an empty one");
    const char *const words[] = {"CONFIG", "GET", "appendonly"};
    code = call_words(net, words, 3, &reply);
    if (code || memmem(reply.data, reply.size, "yes", 3) != NULL) return code;
    return ml_error_set(&net->bench->why, ML_BAD_REQUEST,
                        "the Redis keeps no log of its writes; start it with --appendonly yes");
}

static ml_code begin(ml_net *net)
{
    ml_code code = ml_bench_net_conn_open(net, &net->control);
    if (!code) code = check_server(net);
    if (code) ml_bench_net_conn_close(&net->control);
    return code;
}

static void end(ml_net *net) { ml_bench_net_conn_close(&net->control); }

static ml_code set_disk(ml_net *net, bool disk)
{
    ml_bytes reply;
    const char *const words[] = {"CONFIG", "SET", "appendfsync", disk ? "always" : "everysec"};
    return call_words(net, words, 4, &reply);
}

static ml_code length(ml_net *net, ml_bytes stream, uint64_t *events)
{
    ml_bytes reply;
    put_begin(&net->control.out, 2);
    put_text(&net->control.out, "XLEN");
    put(&net->control.out, stream);
    ml_code code = call(net, &reply);
    *events = code ? 0 : strtoull((const char *)reply.data + 1, NULL, 10);
    return code;
}

static ml_code process(ml_net *net, uint64_t *pid)
{
    static const char name[] = "process_id:";
    ml_bytes reply;
    const char *const words[] = {"INFO", "server"};
    ml_code code = call_words(net, words, 2, &reply);
    const char *at = code ? NULL : memmem(reply.data, reply.size, name, sizeof name - 1);
    *pid = at == NULL ? 0 : strtoull(at + sizeof name - 1, NULL, 10);
    return code;
}

/* ---- requests made beforehand -------------------------------------------------------- */

static size_t put_payload(const ml_net *net, ml_buf *out)
{
    return put(out, ml_bench_data_payload(net->bench, 0));
}

/* XADD KEY ID d PAYLOAD, from behind its key on. */
static void put_entry(const ml_net *net, bool numbered, ml_net_form *form)
{
    size_t number = numbered ? put_number(&form->bytes) : put_text(&form->bytes, "*");
    if (numbered && form->number == 0) form->number = number;
    put_text(&form->bytes, "d");
    size_t payload = put_payload(net, &form->bytes);
    if (form->payload == 0) form->payload = payload;
}

static void make_append(const ml_net *net, ml_bytes stream, size_t items, bool numbered,
                        ml_net_form *form)
{
    ml_buf *out = &form->bytes;
    bool many = items > 1;
    if (many) put_begin(out, 1);
    if (many) put_text(out, "MULTI");
    for (size_t n = 0; n < items; n++) {
        size_t from = out->size;
        put_begin(out, 5);
        put_text(out, "XADD");
        put(out, stream);
        put_entry(net, numbered, form);
        form->stride = out->size - from;
    }
    if (many) put_begin(out, 1);
    if (many) put_text(out, "EXEC");
    form->replies = many ? (unsigned)items + 2 : 1;
}

static void make_fill(const ml_net *net, bool all, ml_bytes prefix, size_t items, ml_net_form *form)
{
    ml_buf *out = &form->bytes;
    for (size_t n = 0; n < items; n++) {
        size_t from = out->size;
        put_begin(out, 5);
        put_text(out, "XADD");
        if (all) put_all(out, prefix);
        size_t stream = all ? 0 : put_stream(out, prefix);
        if (n == 0) form->stream = stream;
        put_entry(net, true, form);
        form->stride = out->size - from;
    }
    form->replies = (unsigned)items;
}

static void make_expected(ml_net *net, ml_bytes stream, ml_net_form *form)
{
    ml_buf *out = &form->bytes;
    ml_bytes reply;
    const char *const words[] = {"SCRIPT", "LOAD", script};
    ml_code code = call_words(net, words, 3, &reply); /* "$40\r\n", and its name */
    out->failed = code != ML_OK;
    put_begin(out, 6);
    put_text(out, "EVALSHA");
    put(out, code ? ML_STR("") : (ml_bytes){(const char *)reply.data + 5, HASH});
    put_text(out, "1");
    put(out, stream);
    form->number = put_number(out);
    form->payload = put_payload(net, out);
}

static void make_page(ml_bytes prefix, size_t events, ml_net_form *form)
{
    ml_buf *out = &form->bytes;
    char count[24];
    snprintf(count, sizeof count, "%zu", events);
    put_begin(out, 6);
    put_text(out, "XRANGE");
    put_all(out, prefix);
    form->number = put_number(out);
    put_text(out, "+");
    put_text(out, "COUNT");
    put_text(out, count);
}

static void make_load(ml_bytes prefix, ml_net_form *form)
{
    put_begin(&form->bytes, 4);
    put_text(&form->bytes, "XRANGE");
    form->stream = put_stream(&form->bytes, prefix);
    put_text(&form->bytes, "-");
    put_text(&form->bytes, "+");
}

/* What comes behind the number; nobody waits for an answer before that. */
static void make_subscribe(ml_bytes stream, ml_net_form *form)
{
    ml_buf *out = &form->bytes;
    put_begin(out, 6);
    put_text(out, "XREAD");
    put_text(out, "BLOCK");
    put_text(out, "0");
    put_text(out, "STREAMS");
    put(out, stream);
    form->number = put_number(out);
    form->replies = 0;
}

static bool make(ml_net *net, ml_net_ask what, ml_bytes stream, size_t items, ml_net_form *form)
{
    *form = (ml_net_form){.items = 1, .replies = 1, .digits = true};
    switch (what) {
    case ML_NET_APPEND: make_append(net, stream, items, false, form); break;
    case ML_NET_PUBLISH: make_append(net, stream, items, true, form); break;
    case ML_NET_EXPECTED: make_expected(net, stream, form); break;
    case ML_NET_FILL: make_fill(net, false, stream, items, form); break;
    case ML_NET_FILL_ALL: make_fill(net, true, stream, items, form); break;
    case ML_NET_COMMAND: ML_ASSERT(false); return false; /* bench_net_rules.c does not ask */
    case ML_NET_PAGE: make_page(stream, items, form); return true;
    case ML_NET_LOAD: make_load(stream, form); return true;
    case ML_NET_SUBSCRIBE: make_subscribe(stream, form); return true;
    case ML_NET_LISTEN:
        put_begin(&form->bytes, 2);
        put_text(&form->bytes, "SUBSCRIBE");
        put(&form->bytes, stream);
        return true;
    case ML_NET_SIGNAL:
        put_begin(&form->bytes, 3);
        put_text(&form->bytes, "PUBLISH");
        put(&form->bytes, stream);
        form->payload = put_payload(net, &form->bytes);
        return true;
    }
    form->items = items;
    return true;
}

/* ---- replies ------------------------------------------------------------------------ */

/* The number behind the kind of a reply; *size is its line's. False if the line is not whole. */
static bool read_line(const uint8_t *at, const uint8_t *limit, size_t *size, int64_t *number)
{
    const uint8_t *newline = memchr(at, '\n', (size_t)(limit - at));
    if (newline == NULL) return false;
    *size = (size_t)(newline - at) + 1;
    *number = 0;
    bool less = at[1] == '-';
    for (const uint8_t *c = at + 1 + less; *c >= '0' && *c <= '9'; c++)
        *number = *number * 10 + (*c - '0');
    if (less) *number = -*number;
    return true;
}

static bool pass_message(ml_net_conn *conn)
{
    ml_net_scan *scan = &conn->scan;
    const uint8_t *from = conn->in.data + conn->at, *limit = conn->in.data + conn->in.size;
    size_t payload = conn->net->bench->payload, line;
    int64_t number;
    while (from + scan->size < limit) {
        const uint8_t *at = from + scan->size;
        if (!read_line(at, limit, &line, &number)) return false;
        scan->failed |= *at == '-';
        if (*at == '$' && number >= 0) {
            size_t size = (size_t)number;
            if ((size_t)(limit - at) < line + size + 2) return false;
            if (size == payload && memcmp(at + line, ml_bench_net_mark, ML_NET_MARK) == 0)
                ml_bench_net_conn_seen(conn, at + line);
            line += size + 2;
        }
        scan->size += line;
        if (*at == '*' && number > 0) {
            ML_ASSERT(scan->depth < ML_NET_DEPTH);
            scan->left[scan->depth++] = (uint32_t)number;
        } else if (ml_bench_net_closed(scan)) {
            return true;
        }
    }
    return false;
}

static ml_net_found scan(ml_net_conn *conn)
{
    if (!pass_message(conn)) return ML_NET_MORE;
    ml_bytes text = {conn->in.data + conn->at, conn->scan.size};
    if (conn->scan.failed) {
        int size = text.size > 200 ? 200 : (int)text.size - 2;
        ml_error_set(&conn->net->bench->why, ML_BAD_REQUEST, "Redis: %.*s", size,
                     (const char *)text.data);
        return ML_NET_FAILED;
    }
    if (conn->replies == 0) return ML_NET_OTHER;
    if (++conn->heard < conn->replies) return ML_NET_OTHER;
    conn->heard = 0;
    conn->answer = conn->answered++;
    return ML_NET_ANSWER;
}

const ml_net_dialect ml_bench_net_redis = {
    .begin = begin, .end = end, .open = open_file, .set_disk = set_disk, .length = length,
    .process = process, .make = make, .scan = scan, .again = true,
};
