/* document.c -- the tables of dispatch.c as text: core/PROTOCOL.md.
 *
 * What a table cannot say stands here: how a message is framed, and the shapes that methods share.
 */
#include <stdio.h>

#include "inside.h"

/* ---- what stays ---------------------------------------------------------------------------- */

const char *ml_server_stays(const char *method)
{
    static const char *const stays[][2] = {{"subscribe", "tail"}, {"credit", "tail"},
                                           {"unsubscribe", "tail"}, {"listen", "listen"},
                                           {"unlisten", "listen"}};
    for (size_t n = 0; n < sizeof stays / sizeof *stays; n++)
        if (strcmp(stays[n][0], method) == 0) return stays[n][1];
    return NULL;
}

/* ---- parts --------------------------------------------------------------------------------- */

static void document_messages(void)
{
    puts("# The protocol\n\n"
         "Made from the table of methods (`moonlog rpc --document`); do not edit.\n\n"
         "msgpack-rpc over a unix stream socket, DIR/moonlog.sock, or TCP: request `[0, msgid, "
         "method, params]`, response\n"
         "`[1, msgid, error, result]`, notification `[2, method, params]`, one behind the other "
         "and with\n"
         "nothing between. `params` is an array that holds one map (or is empty). `msgid` is a "
         "number of 32 bits\n"
         "that the client chooses; answers may come out of order. An error is `[number, \"CODE: "
         "sentence\"]`, and nil\n"
         "where there is none. A trailing `?` marks what may be left out, or be nil. An unknown "
         "key is an error.\n"
         "Of notifications a client may send `append`, `credit` and `signal`; they are not "
         "answered, whatever\n"
         "comes of them.\n\n"
         "TCP is plain text, the token too: nothing is encrypted. Beyond this machine put it "
         "into a tunnel (ssh,\n"
         "WireGuard, a TLS proxy).\n");
}

static void document_selection(void)
{
    puts("### which events\n\n"
         "A `stream`, a `category` or neither, for all; and a `query` or none. An event must fit "
         "both.\n\n"
         "* `stream`: a name, 1 to 512 bytes of UTF-8. `category`: what stands before a name's "
         "first `-`\n"
         "* `query`: an array of items `{types?: [str], tags?: [str]}`, such as\n"
         "  `[{\"types\":[\"Deposited\",\"Withdrawn\"],\"tags\":[\"vip\"]}]`. An event matches "
         "if one item does: it has one\n"
         "  of the item's types, and all of its tags. An item without types takes every type; an "
         "empty query\n"
         "  matches every event\n"
         "* `system: true`: of all, also the streams that begin with `$`\n"
         "* a stream that has no event is NOT_FOUND for `read` and `head`, and is waited for by "
         "`subscribe`\n");
}

static void document_append(void)
{
    puts("### an event to append\n\n"
         "`{type, data?, meta?, tags?, id?, schema?, occurred?}`\n\n"
         "* `type`: 1 to 256 bytes of UTF-8. `data`: any value. `meta`: a map\n"
         "* `tags`: up to 32 different strings of 1 to 256 bytes\n"
         "* `id`: 16 bytes as bin, or a UUID as text; default a new UUIDv7. The same ids in the "
         "same stream are\n"
         "  the same append, whatever else differs: what was written then is answered, with "
         "`duplicate`. With an\n"
         "  `expected` revision or `no_stream` an id is known for ever, else while among the "
         "last 65,536 events\n"
         "* `schema`: the version of the type's shape, from 1. `occurred`: a time\n\n"
         "### expected, condition, durability\n\n"
         "* `expected`: `\"any\"` (the default), `\"no_stream\"`, `\"stream_exists\"`, or the "
         "revision of the stream's\n"
         "  last event; else WRONG_EXPECTED_REVISION, and nothing is written\n"
         "* `condition`: `{query, after?: position}`; CONDITION_FAILED if an event that the "
         "query matches stands\n"
         "  behind `after` (default 0), in any stream. For who decided on what a query gave: "
         "`after` is the head\n"
         "  that came with it\n"
         "* `durability`: `\"disk\"` (the default) is answered when it is synced and survives "
         "power loss; `\"os\"` when\n"
         "  it is written and survives the daemon; `\"memory\"` when it is accepted\n");
}

static void document_event(void)
{
    puts("### an event as it comes\n\n"
         "A map of all of these, or where `hello` asked for `\"events\":\"array\"` an array of "
         "the values in this\n"
         "order.\n\n"
         "| | field | value |\n|---|---|---|\n"
         "| 0 | `position` | place in the log: 1, 2, 3, … without a gap |\n"
         "| 1 | `revision` | place in its stream: 0, 1, 2, … |\n"
         "| 2 | `time` | when it was recorded; never decreases with position |\n"
         "| 3 | `stream` | str |\n| 4 | `type` | str |\n| 5 | `schema` | from 1 |\n"
         "| 6 | `id` | bin of 16 bytes |\n| 7 | `tags` | array of str |\n| 8 | `data` | any "
         "value |\n"
         "| 9 | `meta` | map or nil |\n| 10 | `occurred` | time or nil |\n\n"
         "Times are integers, microseconds since 1970 UTC; where one is sent, RFC 3339 text will "
         "do. Positions and\n"
         "revisions stay below 2^53. What is said as JSON here and by `moonlog rpc` is "
         "MessagePack on the wire;\n"
         "`{\"$bin\":\"base64\"}` stands for bin.\n\n"
         "### a conversation\n\n"
         "```\n"
         "→ [0,1,\"hello\",[{\"client\":\"shop\",\"events\":\"array\"}]]\n"
         "← [1,1,null,{\"server\":\"moonlog\",\"protocol\":1,…}]\n"
         "→ [0,2,\"subscribe\",[{\"category\":\"account\",\"after\":\"start\",\"credit\":100}]]\n"
         "← [1,2,null,{\"subscription\":1}]\n"
         "← "
         "[2,\"event\",[{\"subscription\":1,\"events\":[[7,0,1795268446000000,\"account-ada\",\"Deposited\",1,<16 bytes>,[],\n"
         "                                             {\"amount\":5},null,null]]}]]\n"
         "← [2,\"caught_up\",[{\"subscription\":1,\"position\":7}]]\n"
         "→ [2,\"credit\",[{\"subscription\":1,\"events\":50}]]\n"
         "```\n\n"
         "Subscriptions and listeners end with their connection. After it is lost, subscribe "
         "again with `after`:\n"
         "the last position that was seen. An append whose answer never came may have been "
         "written: send it again\n"
         "with the same ids.\n");
}

static void document_limits(void)
{
    printf("\n## Limits\n\n`hello` and `api` have them as numbers. A message is refused and its connection closed, with an\n"
           "error whose msgid is 0, where nothing behind it could be understood.\n\n"
           "* a message: %d bytes, %d levels deep; once begun, whole within %d s\n"
           "* an event: %d bytes, its data and meta %d levels deep; an append: %d bytes, %d "
           "events\n"
           "* a connection: %d requests in flight, %d subscriptions and listeners; answers that "
           "are not read stop the\n"
           "  reading of requests at %d bytes, and after %d s without any being taken end the "
           "connection\n"
           "* connections: %d, from one other machine %d (`serve --connections`, "
           "`--connections-per-address`)\n"
           "* before `hello`, where a token is wanted: %d bytes, %d values, %d levels, %d s, %d "
           "such connections\n",
           FRAME_MAX, ML_WIRE_DEPTH_MAX, FRAME_MS / 1000, ML_EVENT_BYTES_MAX, ML_DEPTH_MAX, ML_APPEND_BYTES_MAX,
           ML_APPEND_EVENTS_MAX, IN_FLIGHT_MAX, SUBSCRIPTIONS_MAX, OUT_HIGH, READER_MS / 1000, ML_SERVER_CONNECTIONS,
           ML_SERVER_PER_ADDRESS, UNKNOWN_FRAME_MAX, UNKNOWN_VALUES_MAX, UNKNOWN_DEPTH_MAX, UNKNOWN_MS / 1000,
           UNKNOWN_CONNS_MAX);
}

static void document_methods(void)
{
    puts("## Methods\n");
    for (const ml_method *method = ml_dispatch_methods; method->name != NULL; method++) {
        const char *stays = ml_server_stays(method->name);
        printf("### `%s`\n\n%s\n\n* params: %s\n* result: %s\n* since %s; ", method->name, method->doc,
               method->params[0] != '\0' ? method->params : "none", method->result, method->since);
        if (stays == NULL) printf("try `moonlog rpc %s '%s'`\n\n", method->name, method->example);
        else printf("such as `%s`; ends with the connection, in a shell use `moonlog %s`\n\n", method->example, stays);
    }
}

/* ---- the document -------------------------------------------------------------------------- */

void ml_server_document(void)
{
    document_messages();
    puts("## Shapes\n");
    document_selection();
    document_append();
    document_event();
    document_methods();
    puts("## Pushes\n\nNotifications that the daemon sends to who has subscribed or listens.\n");
    for (const ml_pushed *push = ml_dispatch_pushes; push->name != NULL; push++)
        printf("### `%s`\n\n%s\n\n* params: %s\n* such as `%s`\n\n", push->name, push->doc, push->params, push->example);
    puts("## Errors\n\n| number | code | the same call may succeed later | meaning "
         "|\n|---|---|---|---|");
#define ROW(number, name, retry, status, meaning) printf("| %d | `%s` | %s | %s |\n", number, #name, #retry, meaning);
    ML_CODES(ROW)
#undef ROW
    document_limits();
}
