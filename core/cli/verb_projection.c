/* verb_projection.c -- projection ls, get, scan, pause, resume, rebuild, rollback, skip, retry.
 *
 * A key is what one types: text. What can also be read as a number, true or false is looked for as
 * that, too; so nobody has to know which kind of keys there are.
 */
#include <float.h>
#include <stdio.h>

#include "../base/json.h"
#include "../base/text.h"
#include "blame.h"
#include "projection_text.h"
#include "reach.h"
#include "show.h"

enum { PAGE_ROWS = 1000 };

typedef struct asking {
    const ml_cli *cli;
    const char *method;
    const char *name, *word; /* of the projection; KEY or PREFIX; NULL: none */
    const char *done;        /* what is said after an order */
    ml_client client;
    int status;
} asking;

/* False: it has failed, and was said. */
static bool call(asking *a, ml_bytes *result)
{
    if (ml_client_call(&a->client, result) == ML_OK) return true;
    a->status = ml_reach_fail(a->cli, &a->client);
    return false;
}

static ml_kind kind_of(ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    return ml_unpack_next(&cursor).kind;
}

static bool is_there(ml_bytes value)
{
    return value.size > 0 && kind_of(value) != ML_KIND_NIL;
}

/* ---- options ---------------------------------------------------------------------- */

static void pack_natural(ml_buf *out, uint32_t *pairs, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
    ++*pairs;
}

/* A number, if it was given, under a name that may be another one. False after saying that it is
 * none. */
static bool pack_option(asking *a, ml_buf *out, uint32_t *pairs, const char *option,
                        const char *name, uint64_t factor)
{
    uint64_t value;
    if (!ml_options_has(a->cli, option)) return true;
    if (!ml_options_natural(a->cli, option, 0, factor == 1 ? INT64_MAX : INT32_MAX, &value)) {
        a->status = ML_EXIT_USAGE;
        return false;
    }
    pack_natural(out, pairs, name, value * factor);
    return true;
}

/* What get and scan have in common. */
static bool pack_when(asking *a, ml_buf *out, uint32_t *pairs)
{
    ml_pack_text(out, "name");
    ml_pack_text(out, a->name);
    ++*pairs;
    return pack_option(a, out, pairs, "after", "after", 1) &&
           pack_option(a, out, pairs, "at", "at", 1) &&
           pack_option(a, out, pairs, "timeout", "timeout_ms", 1000);
}

/* ---- rows ------------------------------------------------------------------------- */

static int64_t time_of(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    int64_t time;
    return ml_unpack_int(&cursor, &time) ? time : 0;
}

/* Adds from, to and closed of a row's window, if it has one. */
static size_t add_window(ml_field *fields, size_t count, ml_bytes row)
{
    ml_bytes window = ml_unpack_find(row, "window");
    if (!is_there(window)) return count;
    fields[count++] = ML_TIME("from", time_of(window, "from"));
    fields[count++] = ML_TIME("to", time_of(window, "to"));
    fields[count++] = ML_BOOL("closed", ml_client_bool(window, "closed"));
    return count;
}

/* Asks for one row; `key` may be empty. False after saying what went wrong. */
static bool ask_row(asking *a, ml_bytes key, ml_bytes *result)
{
    ml_buf *out = ml_client_begin(&a->client, a->method);
    uint32_t pairs = 0;
    size_t begin = ml_pack_begin(out);
    int64_t window;
    const char *moment = ml_options_get(a->cli, "window");
    if (!pack_when(a, out, &pairs)) return false;
    if (key.size > 0) {
        ml_pack_text(out, "key");
        ml_buf_add(out, key.data, key.size);
        pairs++;
    }
    if (moment != NULL && !ml_time_read(ml_cli_text(moment), &window)) {
        a->status = ml_cli_usage(a->cli,
                                 "--window wants a time, like 2026-01-31T12:00:00Z or "
                                 "microseconds since 1970, and not '%.512s'",
                                 moment);
        return false;
    }
    if (moment != NULL) {
        ml_pack_text(out, "window");
        ml_pack_int(out, window);
        pairs++;
    }
    ml_pack_end_map(out, begin, pairs);
    return call(a, result);
}

/* The word as a number or boolean onto `value`, if it can be read as one; else NONE. */
static ml_kind read_scalar(const char *word, ml_buf *value)
{
    ml_error unused;
    ml_buf_clear(value);
    if (ml_json_read(ml_cli_text(word), value, &unused)) return ML_KIND_NONE;
    ml_kind kind = kind_of(ml_buf_view(value));
    bool scalar = kind == ML_KIND_INT || kind == ML_KIND_BOOL || kind == ML_KIND_FLOAT;
    return scalar ? kind : ML_KIND_NONE;
}

static void show_row(asking *a, ml_bytes result)
{
    ml_field fields[5] = {ML_VALUE("row", ml_unpack_find(result, "row"))};
    size_t count = add_window(fields, 1, result);
    fields[count++] = ML_NATURAL("position", ml_client_natural(result, "position"));
    a->status = ml_show_one(a->cli, fields, count, a->status);
}

/* Asks with the key as it was typed, and as what else it may be. */
static bool find_row(asking *a, ml_buf *key, ml_bytes *result)
{
    bool exact = ml_options_has(a->cli, "json-key");
    if (a->word != NULL && exact)
        a->status = ml_cli_json(a->cli, "KEY", ml_cli_text(a->word), key);
    else if (a->word != NULL)
        ml_pack_text(key, a->word);
    if (a->status != ML_EXIT_OK || !ask_row(a, ml_buf_view(key), result)) return false;
    if (is_there(ml_unpack_find(*result, "row"))) return true;
    if (a->word == NULL || exact) return true;
    ml_kind kind = read_scalar(a->word, key);
    if (kind != ML_KIND_INT && kind != ML_KIND_BOOL) return true;
    return ask_row(a, ml_buf_view(key), result);
}

static void get(asking *a)
{
    ml_buf key = {0};
    ml_bytes result;
    if (find_row(a, &key, &result)) {
        if (is_there(ml_unpack_find(result, "row")))
            show_row(a, result);
        else
            a->status = ml_cli_failf(
                a->cli, ML_NOT_FOUND, "%s has no row%s%.512s%s%s by position %llu", a->name,
                a->word != NULL ? " '" : "", a->word != NULL ? a->word : "",
                a->word != NULL ? "'" : "",
                ml_options_has(a->cli, "window") ? " in the window of that time" : "",
                (unsigned long long)ml_client_natural(result, "position"));
    }
    ml_buf_free(&key);
}

/* A key that is text is shown without quotes in a table. */
static ml_field key_field(ml_bytes row)
{
    ml_bytes key = ml_unpack_find(row, "key"), text = ml_unpack_find_str(row, "key");
    return text.data != NULL ? ML_TEXT("key", text) : ML_VALUE("key", key);
}

static bool show_rows(ml_show *show, ml_bytes result, uint64_t *left)
{
    uint32_t count;
    ml_unpack list = ml_client_list(result, "rows", &count);
    bool going = true;
    for (uint32_t n = 0; going && n < count; n++) {
        ml_bytes row = ml_unpack_value(&list);
        ml_field fields[5] = {key_field(row)};
        size_t columns = add_window(fields, 1, row);
        fields[columns++] = ML_VALUE("row", ml_unpack_find(row, "row"));
        going = ml_show_record(show, fields, columns);
    }
    *left -= count < *left ? count : *left;
    return going && *left > 0;
}

/* The value that a word stands for: as JSON has it, if that is a scalar and wanted; else text, of
 * which quotes may be round it. */
static void pack_word(ml_buf *out, const char *word, bool scalar)
{
    ml_error unused;
    ml_buf read = {0};
    bool json = ml_json_read(ml_cli_text(word), &read, &unused) == ML_OK;
    if (json && (scalar || kind_of(ml_buf_view(&read)) == ML_KIND_STR))
        ml_buf_add(out, read.data, read.size);
    else
        ml_pack_text(out, word);
    out->failed |= read.failed;
    ml_buf_free(&read);
}

/* Where an end is not given the range ends with its kind: a number is not followed by all texts. */
static void pack_open_end(asking *a, ml_buf *out, bool low)
{
    if (ml_options_has(a->cli, "index")) ml_pack_double(out, low ? -DBL_MAX : DBL_MAX);
    else ml_pack_int(out, low ? INT64_MIN : INT64_MAX);
}

/* `next` is empty, or what the last page said is next: that is where this one begins. */
static void pack_range(asking *a, ml_buf *out, uint32_t *pairs, ml_bytes next, bool scalar)
{
    static const char *const names[] = {"from", "to"};
    const char *words[] = {ml_options_get(a->cli, names[0]), ml_options_get(a->cli, names[1])};
    bool backward = ml_options_has(a->cli, "backward");
    if (a->word != NULL && scalar) words[0] = words[1] = a->word;
    bool given = words[0] != NULL || words[1] != NULL;
    for (int n = 0; n < 2; n++) {
        bool low = (n == 0) != backward, continued = n == 0 && next.size > 0;
        if (!continued && words[n] == NULL && (!given || (!scalar && !low))) continue;
        ml_pack_text(out, names[n]);
        if (continued) ml_buf_add(out, next.data, next.size);
        else if (words[n] != NULL) pack_word(out, words[n], scalar);
        else if (scalar) pack_open_end(a, out, low);
        else ml_pack_text(out, "");
        ++*pairs;
    }
}

/* `next` is empty, or what the last page said is next. */
static bool ask_rows(asking *a, ml_bytes next, bool scalar, uint64_t left, ml_bytes *result)
{
    ml_buf *out = ml_client_begin(&a->client, a->method);
    const char *index = ml_options_get(a->cli, "index");
    uint32_t pairs = 0;
    size_t begin = ml_pack_begin(out);
    if (!pack_when(a, out, &pairs)) return false;
    if (a->word != NULL && !scalar) {
        ml_pack_text(out, "prefix");
        ml_pack_text(out, a->word);
        pairs++;
    }
    if (index != NULL) {
        ml_pack_text(out, "index");
        ml_pack_text(out, index);
        pairs++;
    }
    pack_range(a, out, &pairs, next, scalar);
    if (ml_options_has(a->cli, "backward")) {
        ml_pack_text(out, "backward");
        ml_pack_bool(out, true);
        pairs++;
    }
    pack_natural(out, &pairs, "limit", left < PAGE_ROWS ? left : PAGE_ROWS);
    ml_pack_end_map(out, begin, pairs);
    return call(a, result);
}

/* Page by page. Gives how many there were. */
static uint64_t scan_pages(asking *a, ml_show *show, uint64_t most, bool scalar)
{
    ml_buf from = {0};
    ml_bytes result;
    uint64_t left = most;
    for (bool going = true; going;) {
        going = ask_rows(a, ml_buf_view(&from), scalar, left, &result) &&
                show_rows(show, result, &left);
        ml_bytes next = going ? ml_unpack_find(result, "next") : (ml_bytes){0};
        going = going && is_there(next);
        ml_buf_clear(&from);
        ml_buf_add(&from, next.data, going ? next.size : 0);
        if (from.failed) a->status = ml_cli_fail(a->cli, ML_NO_MEMORY, "no memory for a key");
        going = going && !from.failed;
    }
    ml_buf_free(&from);
    return most - left;
}

static bool is_scalar(const char *word)
{
    ml_buf read = {0};
    bool scalar = word == NULL || read_scalar(word, &read) != ML_KIND_NONE;
    ml_buf_free(&read);
    return scalar;
}

/* What can be read as a number, true or false may be that, or text: the rows are of one of these. */
static bool may_be_scalar(const asking *a)
{
    const char *first = ml_options_get(a->cli, "from"), *last = ml_options_get(a->cli, "to");
    bool ranged = first != NULL || last != NULL;
    if (a->word != NULL)
        return !ranged && !ml_options_has(a->cli, "index") && is_scalar(a->word);
    return ranged && is_scalar(first) && is_scalar(last);
}

static void scan(asking *a)
{
    ml_show show;
    uint64_t most = UINT64_MAX;
    if (!ml_options_natural(a->cli, "limit", 1, INT64_MAX, &most)) {
        a->status = ML_EXIT_USAGE;
        return;
    }
    ml_show_begin(&show, a->cli, true);
    bool found = may_be_scalar(a) && scan_pages(a, &show, most, true) > 0;
    if (!found && a->status == ML_EXIT_OK) scan_pages(a, &show, most, false);
    a->status = ml_show_end(&show, a->status);
}

/* ---- how they are ----------------------------------------------------------------- */

static void list(asking *a)
{
    ml_bytes result;
    ml_show show;
    uint32_t count;
    bool going = true;
    ml_buf *out = ml_client_begin(&a->client, a->method);
    ml_pack_map(out, a->name != NULL);
    if (a->name != NULL) {
        ml_pack_text(out, "name");
        ml_pack_text(out, a->name);
    }
    if (!call(a, &result)) return;
    ml_unpack all = ml_client_list(result, "projections", &count), again = all;
    bool table = a->cli->shape == ML_SHAPE_TABLE;
    ml_show_begin(&show, a->cli, true);
    for (uint32_t n = 0; going && n < count; n++) {
        ml_bytes one = ml_unpack_value(&all);
        going = table ? ml_projection_text_row(&show, one) : ml_projection_text_whole(&show, one);
    }
    a->status = ml_show_end(&show, a->status);
    for (uint32_t n = 0; table && going && n < count; n++)
        ml_projection_text_tell(ml_unpack_value(&again));
}

/* pause, resume, rebuild, rollback, skip, retry. The order is recorded, and is carried out after the
 * answer, so that a table of how it is now would mislead. */
static void act(asking *a)
{
    ml_bytes result;
    ml_show show;
    const char *reason = ml_options_get(a->cli, "reason");
    ml_buf *out = ml_client_begin(&a->client, a->method);
    uint32_t pairs = 1;
    size_t begin = ml_pack_begin(out);
    ml_pack_text(out, "name");
    ml_pack_text(out, a->name);
    if (!pack_option(a, out, &pairs, "position", "position", 1)) return;
    if (reason != NULL) {
        ml_pack_text(out, "reason");
        ml_pack_text(out, reason);
        pairs++;
    }
    ml_pack_end_map(out, begin, pairs);
    if (!call(a, &result)) return;
    if (a->cli->shape == ML_SHAPE_TABLE) {
        printf("%s %s; `moonlog projection ls %s` tells how it is\n", a->name, a->done, a->name);
        return;
    }
    ml_show_begin(&show, a->cli, false);
    ML_IGNORE(!ml_projection_text_whole(&show, result)); /* end says it */
    a->status = ml_show_end(&show, a->status);
}

/* ---- the verb --------------------------------------------------------------------- */

static const struct {
    const char *name, *method;
    int least, most;   /* words behind it */
    const char *words; /* what they are */
    const char *options[8]; /* of those of the verb */
    void (*run)(asking *a);
    const char *done; /* what is said then, after the name */
} actions[] = {
    {"ls", "projection.list", 0, 1, "[NAME]", {NULL}, list, NULL},
    {"get", "projection.get", 1, 2, "NAME KEY (one that has no keys: NAME)",
     {"after", "at", "timeout", "window", "json-key"}, get, NULL},
    {"scan", "projection.scan", 1, 2, "NAME [PREFIX]",
     {"after", "at", "timeout", "index", "from", "to", "limit", "backward"}, scan, NULL},
    {"pause", "projection.pause", 1, 1, "NAME", {NULL}, act, "is paused"},
    {"resume", "projection.resume", 1, 1, "NAME", {NULL}, act, "goes on"},
    {"rebuild", "projection.rebuild", 1, 1, "NAME", {NULL}, act,
     "is built again, beside the rows that are read"},
    {"rollback", "projection.rollback", 1, 1, "NAME", {NULL}, act, "is rolled back"},
    {"skip", "projection.skip", 1, 1, "NAME --position P --reason TEXT", {"position", "reason"},
     act, "goes on without that event"},
    {"retry", "projection.retry", 1, 1, "NAME", {NULL}, act, "tries again"},
};
enum { ACTIONS = sizeof actions / sizeof *actions };

static int refuse_action(const ml_cli *cli, const char *word)
{
    const char *names[ACTIONS];
    for (size_t n = 0; n < ACTIONS; n++)
        names[n] = actions[n].name;
    const char *near = ml_verbs_nearest(word, names, ACTIONS);
    if (near != NULL)
        return ml_cli_usage(cli, "projection knows no '%.512s'; did you mean %s?", word, near);
    return ml_cli_usage(
        cli, "projection knows no '%.512s'; `moonlog help projection` lists what it knows", word);
}

/* An option of the verb that this action does not have, or NULL. */
static const char *find_foreign(const ml_cli *cli, size_t action)
{
    for (size_t other = 0; other < ACTIONS; other++)
        for (int n = 0; n < 8 && actions[other].options[n] != NULL; n++) {
            bool own = false;
            for (int m = 0; m < 8 && actions[action].options[m] != NULL; m++)
                own |= strcmp(actions[action].options[m], actions[other].options[n]) == 0;
            if (!own && ml_options_has(cli, actions[other].options[n]))
                return actions[other].options[n];
        }
    return NULL;
}

int ml_verb_projection(const ml_cli *cli, int argc, char **argv)
{
    size_t n = 0;
    while (n < ACTIONS && strcmp(actions[n].name, argv[1]) != 0)
        n++;
    if (n == ACTIONS) return refuse_action(cli, argv[1]);
    int words = argc - 2;
    bool is_skip = strcmp(actions[n].name, "skip") == 0;
    bool told = ml_options_has(cli, "position") && ml_options_has(cli, "reason");
    if (words < actions[n].least || words > actions[n].most || (is_skip && !told))
        return ml_cli_usage(cli, "write: moonlog projection %s %s", actions[n].name,
                            actions[n].words);
    const char *foreign = find_foreign(cli, n);
    if (foreign != NULL)
        return ml_cli_usage(cli, "projection %s has no --%s", actions[n].name, foreign);
    asking a = {.cli = cli,
                .method = actions[n].method,
                .done = actions[n].done,
                .name = words > 0 ? argv[2] : NULL,
                .word = words > 1 ? argv[3] : NULL,
                .status = ML_EXIT_OK};
    if (!ml_reach_open(cli, ML_REACH_USE, false, &a.client, &a.status)) return a.status;
    actions[n].run(&a);
    return ml_reach_close(cli, &a.client, a.status);
}
