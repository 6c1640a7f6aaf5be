/* verb_inspect.c -- questions about the store: streams, head, status, verify. */
#include <math.h>

#include "reach.h"
#include "show.h"

/* ---- streams ------------------------------------------------------------------------ */

enum { PAGE_STREAMS = 1000 };

static uint32_t pack_text(const ml_cli *cli, const char *name, ml_buf *out)
{
    const char *value = ml_options_get(cli, name);
    if (value == NULL) return 0;
    ml_pack_text(out, name);
    ml_pack_text(out, value);
    return 1;
}

static ml_code ask_streams(const ml_cli *cli, ml_client *client, uint64_t after, uint64_t left,
                           ml_bytes *result)
{
    ml_buf *out = ml_client_begin(client, "streams");
    size_t begin = ml_pack_begin(out);
    ml_pack_text(out, "after");
    ml_pack_int(out, after < INT64_MAX ? (int64_t)after : INT64_MAX);
    ml_pack_text(out, "limit");
    ml_pack_int(out, left < PAGE_STREAMS ? (int64_t)left : PAGE_STREAMS);
    uint32_t pairs = 2 + pack_text(cli, "category", out);
    pairs += pack_text(cli, "prefix", out);
    ml_pack_end_map(out, begin, pairs);
    return ml_client_call(client, result);
}

static bool show_stream(ml_show *show, ml_unpack *list)
{
    ml_bytes info = {list->at, (size_t)(list->end - list->at)};
    if (!ml_unpack_skip(list)) return false;
    ml_field fields[] = {
        ML_TEXT("stream", ml_unpack_find_str(info, "stream")),
        ML_NATURAL("revision", ml_client_natural(info, "revision")),
        ML_NATURAL("first", ml_client_natural(info, "first")),
        ML_NATURAL("last", ml_client_natural(info, "last")),
    };
    return ml_show_record(show, fields, 4);
}

static int list_streams(const ml_cli *cli, ml_client *client, uint64_t after, uint64_t left)
{
    ml_show show;
    ml_show_begin(&show, cli, true);
    ml_code code = ML_OK;
    for (bool going = true; going && left > 0;) {
        ml_bytes result;
        uint32_t count;
        code = ask_streams(cli, client, after, left, &result);
        if (code) break;
        ml_unpack list = ml_client_list(result, "streams", &count);
        for (uint32_t n = 0; n < count && going; n++) going = show_stream(&show, &list);
        after = ml_client_natural(result, "next"); /* nil at the end */
        left -= count < left ? count : left;
        going = going && after > 0;
    }
    return ml_show_end(&show, code ? ml_reach_fail(cli, client) : ML_EXIT_OK);
}

int ml_verb_streams(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    uint64_t left = UINT64_MAX, after = 0;
    if (!ml_options_natural(cli, "limit", 1, UINT64_MAX, &left) ||
        !ml_options_natural(cli, "after", 0, UINT64_MAX, &after))
        return ML_EXIT_USAGE;
    ml_client client;
    int status;
    if (!ml_reach_open(cli, ML_REACH_READ, false, &client, &status)) return status;
    return ml_reach_close(cli, &client, list_streams(cli, &client, after, left));
}

/* ---- head --------------------------------------------------------------------------- */

static int show_head(const ml_cli *cli, ml_client *client, ml_bytes stream)
{
    ml_bytes head;
    ml_buf *out = ml_client_begin(client, "head");
    ml_pack_map(out, stream.size > 0 ? 1 : 0);
    if (stream.size > 0) {
        ml_pack_text(out, "stream");
        ml_pack_str(out, stream);
    }
    if (ml_client_call(client, &head)) return ml_reach_fail(cli, client);
    ml_field fields[] = {
        ML_NATURAL("position", ml_client_natural(head, "position")),
        ML_NATURAL("revision", ml_client_natural(head, "revision")),
        ML_TEXT("stream", stream),
        ML_NATURAL("first", ml_client_natural(head, "first")),
    };
    return ml_show_one(cli, fields, stream.size > 0 ? 4 : 1, ML_EXIT_OK);
}

int ml_verb_head(const ml_cli *cli, int argc, char **argv)
{
    ml_bytes stream = argc > 1 ? ml_cli_text(argv[1]) : (ml_bytes){0};
    if (argc > 1 && stream.size == 0) return ml_cli_usage(cli, "the name of a stream is not empty");
    ml_client client;
    int status;
    if (!ml_reach_open(cli, ML_REACH_READ, false, &client, &status)) return status;
    return ml_reach_close(cli, &client, show_head(cli, &client, stream));
}

/* ---- status ------------------------------------------------------------------------- */

/* What there is to know, in the order it is shown. A daemon that was started only to be asked
 * has nothing to tell about itself. */
static const struct {
    const char *name;
    ml_field_kind kind;
    bool of_daemon;
} known[] = {
    {"version", ML_FIELD_TEXT, false},        {"directory", ML_FIELD_TEXT, false},
    {"position", ML_FIELD_NATURAL, false},    {"durable", ML_FIELD_NATURAL, false},
    {"segments", ML_FIELD_NATURAL, false},    {"log_bytes", ML_FIELD_NATURAL, false},
    {"used_bytes", ML_FIELD_NATURAL, false},  {"index_bytes", ML_FIELD_NATURAL, false},
    {"index_runs", ML_FIELD_NATURAL, false},  {"memory_events", ML_FIELD_NATURAL, false},
    {"torn_bytes", ML_FIELD_NATURAL, false},  {"damaged", ML_FIELD_BOOL, false},
    {"damage", ML_FIELD_TEXT, false},         {"pid", ML_FIELD_NATURAL, true},
    {"uptime_ms", ML_FIELD_NATURAL, true},    {"connections", ML_FIELD_NATURAL, true},
    {"requests", ML_FIELD_NATURAL, true},     {"appended", ML_FIELD_NATURAL, true},
    {"memory_bytes", ML_FIELD_NATURAL, true}, {"draining", ML_FIELD_BOOL, true},
    {"rules", ML_FIELD_VALUE, true},          {"workers", ML_FIELD_VALUE, true},
};

enum { KNOWN = sizeof known / sizeof *known };
_Static_assert((int)KNOWN <= (int)ML_SHOW_FIELDS_MAX, "a record has room for them");

static int show_status(const ml_cli *cli, ml_client *client)
{
    ml_bytes status;
    ml_field fields[KNOWN];
    size_t count = 0;
    ml_pack_map(ml_client_begin(client, "status"), 0);
    if (ml_client_call(client, &status)) return ml_reach_fail(cli, client);
    for (size_t n = 0; n < KNOWN; n++) {
        const char *name = known[n].name;
        if (known[n].of_daemon && client->messages >= 0) continue;
        if (ml_unpack_find(status, name).size == 0) continue;
        fields[count++] = (ml_field){.name = name, .kind = known[n].kind,
                                     .natural = ml_client_natural(status, name),
                                     .boolean = ml_client_bool(status, name),
                                     .bytes = known[n].kind == ML_FIELD_VALUE
                                                  ? ml_unpack_find(status, name)
                                                  : ml_unpack_find_str(status, name)};
    }
    return ml_show_one(cli, fields, count, ML_EXIT_OK);
}

int ml_verb_status(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    ml_client client;
    int status;
    if (!ml_reach_open(cli, ML_REACH_READ, false, &client, &status)) return status;
    return ml_reach_close(cli, &client, show_status(cli, &client));
}

/* ---- verify ------------------------------------------------------------------------- */

static void say_problem(void *context, const char *sentence)
{
    const ml_cli *cli = context;
    ml_cli_fail(cli, ML_CORRUPT, ml_cli_sentence(ML_CORRUPT, sentence));
}

int ml_verb_verify(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    char why[ML_SENTENCE_MAX] = "";
    ml_verified verified = {0};
    ml_cli copy = *cli; /* the report takes what may be changed; nothing changes it */
    double start = ml_cli_seconds();
    ml_code code = ml_verify(cli->data, ml_options_has(cli, "deep"), say_problem, &copy, &verified,
                             why, sizeof why);
    if (code == ML_NOT_FOUND) return ml_cli_no_store(cli);
    if (code != ML_OK && (code != ML_CORRUPT || verified.problems == 0))
        return ml_cli_fail(cli, code, ml_cli_sentence(code, why));
    ml_field fields[] = {
        ML_BOOL("ok", code == ML_OK),
        ML_NATURAL("segments", verified.segments),
        ML_NATURAL("frames", verified.frames),
        ML_NATURAL("events", verified.events),
        ML_NATURAL("bytes", verified.bytes),
        ML_NATURAL("problems", verified.problems),
        ML_NUMBER("seconds", nearbyint((ml_cli_seconds() - start) * 1e6) / 1e6),
    };
    return ml_show_one(cli, fields, 7, code == ML_OK ? ML_EXIT_OK : ML_EXIT_PROBLEMS);
}
