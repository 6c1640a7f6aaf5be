/* verb_state.c -- what an aggregate is, or was; and what is different between two moments. */
#include <stdio.h>

#include "../base/text.h"
#include "blame.h"
#include "reach.h"
#include "show.h"

/* ---- asking ----------------------------------------------------------------------- */

/* A revision as it is typed; a position "#7"; anything else is a time. */
static void pack_at(ml_buf *out, const char *at)
{
    uint64_t revision;
    ml_pack_text(out, "at");
    if (ml_cli_natural(at, 0, INT64_MAX, &revision))
        ml_pack_int(out, (int64_t)revision);
    else
        ml_pack_text(out, at);
}

static ml_code ask(const ml_cli *cli, ml_client *client, char **argv, const char *at,
                   ml_bytes *result)
{
    const char *as_of = ml_options_get(cli, "as-of");
    ml_buf *out = ml_client_begin(client, "state");
    ml_pack_map(out, 3U + (at != NULL) + (as_of != NULL));
    ml_pack_text(out, "aggregate");
    ml_pack_text(out, argv[1]);
    ml_pack_text(out, "id");
    ml_pack_text(out, argv[2]);
    ml_pack_text(out, "explain");
    ml_pack_bool(out, true);
    if (at != NULL) pack_at(out, at);
    if (as_of != NULL) {
        ml_pack_text(out, "as_of");
        ml_pack_text(out, as_of);
    }
    return ml_client_call(client, result);
}

static int show_state(const ml_cli *cli, ml_bytes result)
{
    int status;
    if (ml_blame_show(cli, result, &status)) return status;
    ml_field fields[] = {
        ML_VALUE("state", ml_unpack_find(result, "state")),
        ML_VALUE("revision", ml_unpack_find(result, "revision")),
        ML_VALUE("position", ml_unpack_find(result, "position")),
    };
    return ml_show_one(cli, fields, 3, ML_EXIT_OK);
}

/* ---- what is different ------------------------------------------------------------ */

/* The value of a key in a map that has any kind of keys. */
static ml_bytes find_key(ml_bytes map, ml_bytes key)
{
    ml_unpack cursor = ml_unpack_from(map);
    uint32_t count;
    if (!ml_unpack_map(&cursor, &count)) return (ml_bytes){0};
    for (uint32_t n = 0; n < count; n++) {
        ml_bytes other = ml_unpack_value(&cursor), value = ml_unpack_value(&cursor);
        if (ml_bytes_equal(other, key)) return value;
    }
    return (ml_bytes){0};
}

static bool is_map(ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    return value.size > 0 && ml_unpack_next(&cursor).kind == ML_KIND_MAP;
}

static bool show_difference(ml_show *show, const ml_buf *path, ml_bytes before, ml_bytes after)
{
    static const uint8_t nil = 0xc0;
    ml_bytes none = {&nil, 1};
    ml_field fields[] = {
        ML_TEXT("field", ml_buf_view(path)),
        ML_VALUE("before", before.size > 0 ? before : none),
        ML_VALUE("after", after.size > 0 ? after : none),
    };
    return ml_show_record(show, fields, 3);
}

static bool compare(ml_show *show, ml_buf *path, ml_bytes before, ml_bytes after);

/* The path of a field: "address.city", "lines[3]" where a key is no string. */
static bool compare_key(ml_show *show, ml_buf *path, ml_bytes key, ml_bytes before, ml_bytes after)
{
    ml_unpack cursor = ml_unpack_from(key);
    ml_token token = ml_unpack_next(&cursor);
    size_t size = path->size;
    if (token.kind == ML_KIND_STR) {
        if (size > 0) ml_buf_byte(path, '.');
        ml_buf_add(path, token.bytes.data, token.bytes.size);
    } else {
        ml_buf_print(path, "[%lld]", (long long)token.integer);
    }
    bool going = compare(show, path, before, after);
    path->size = size;
    return going;
}

/* Levels as deep as a state may nest. */
static bool compare(ml_show *show, ml_buf *path, ml_bytes before, ml_bytes after)
{
    if (ml_bytes_equal(before, after)) return true;
    if (!is_map(before) || !is_map(after)) return show_difference(show, path, before, after);
    ml_unpack old = ml_unpack_from(before), new = ml_unpack_from(after);
    uint32_t counts[2];
    bool going = ml_unpack_map(&old, &counts[0]) && ml_unpack_map(&new, &counts[1]);
    for (uint32_t n = 0; going && n < counts[0]; n++) {
        ml_bytes key = ml_unpack_value(&old), value = ml_unpack_value(&old);
        going = compare_key(show, path, key, value, find_key(after, key));
    }
    for (uint32_t n = 0; going && n < counts[1]; n++) {
        ml_bytes key = ml_unpack_value(&new), value = ml_unpack_value(&new);
        if (find_key(before, key).size == 0)
            going = compare_key(show, path, key, (ml_bytes){0}, value);
    }
    return going;
}

static int diff(const ml_cli *cli, ml_client *client, char **argv, const char *from, const char *to)
{
    ml_bytes result;
    ml_buf first = {0}, path = {0};
    ml_show show;
    int status = ML_EXIT_OK;
    ml_code code = ask(cli, client, argv, from, &result);
    if (!code && ml_blame_show(cli, result, &status)) return status;
    if (!code) {
        ml_bytes state = ml_unpack_find(result, "state");
        ml_buf_add(&first, state.data, state.size);
        code = first.failed ? ml_error_memory(&client->why, "a state")
                            : ask(cli, client, argv, to, &result);
    }
    if (code) {
        status = ml_reach_fail(cli, client);
    } else if (!ml_blame_show(cli, result, &status)) {
        ml_show_begin(&show, cli, true);
        ML_IGNORE(!compare(&show, &path, ml_buf_view(&first),
                           ml_unpack_find(result, "state"))); /* end says it */
        status = ml_show_end(&show, ML_EXIT_OK);
    }
    ml_buf_free(&first);
    ml_buf_free(&path);
    return status;
}

/* ---- the verb --------------------------------------------------------------------- */

/* "A..B" cut in two; either may be missing: the beginning is before all, the end is now. */
static int run(const ml_cli *cli, ml_client *client, char **argv)
{
    const char *range = ml_options_get(cli, "diff");
    ml_bytes result;
    char from[64], to[64];
    if (range == NULL) {
        ml_code code = ask(cli, client, argv, ml_options_get(cli, "at"), &result);
        return code ? ml_reach_fail(cli, client) : show_state(cli, result);
    }
    const char *dots = strstr(range, "..");
    snprintf(from, sizeof from, "%.*s", (int)(dots - range), range);
    snprintf(to, sizeof to, "%s", dots + 2);
    return diff(cli, client, argv, from, to[0] != '\0' ? to : NULL);
}

int ml_verb_state(const ml_cli *cli, int argc, char **argv)
{
    ml_client client;
    int status;
    const char *range = ml_options_get(cli, "diff"),
               *dots = range != NULL ? strstr(range, "..") : NULL;
    (void)argc;
    if (range != NULL &&
        (dots == NULL || dots == range || dots - range >= 64 || strlen(dots) >= 64))
        return ml_cli_usage(cli, "--diff wants A..B, each as --at does, and not '%.512s'", range);
    if (range != NULL && ml_options_has(cli, "at"))
        return ml_cli_usage(cli, "give --diff or --at, and not both");
    if (!ml_reach_open(cli, ML_REACH_USE, false, &client, &status)) return status;
    status = run(cli, &client, argv);
    return ml_reach_close(cli, &client, status);
}
