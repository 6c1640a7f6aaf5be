/* verb_projection.c -- projection ls, get, scan, pause, resume, rebuild, rollback, skip, retry.
 *
 * A key is what one types: text. Where no row has it and it can be read as a number, true or
 * false, the row of that is looked for; so nobody has to know which kind of keys there are.
 */
#include <stdio.h>

#include "../base/json.h"
#include "../base/text.h"
#include "blame.h"
#include "reach.h"
#include "show.h"

enum { PAGE_ROWS = 1000 };

typedef struct asking {
    const ml_cli *cli;
    const char *method;
    const char *name, *word; /* of the projection; KEY or PREFIX; NULL: none */
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
    if (!ml_options_natural(a->cli, option, 0, INT32_MAX * (factor == 1 ? UINT32_MAX : 1ULL),
                            &value)) {
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

/* JSON if it can be read as such, else text. */
static void pack_value(ml_buf *out, const char *word)
{
    ml_error unused;
    if (ml_json_read(ml_cli_text(word), out, &unused)) ml_pack_text(out, word);
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

/* The word as a number or boolean onto `key`, if it can be read as one. */
static bool read_scalar(const char *word, ml_buf *key)
{
    ml_error unused;
    ml_buf_clear(key);
    if (ml_json_read(ml_cli_text(word), key, &unused)) return false;
    ml_kind kind = kind_of(ml_buf_view(key));
    return kind == ML_KIND_INT || kind == ML_KIND_BOOL;
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
    if (a->word == NULL || exact || !read_scalar(a->word, key)) return true;
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
            a->status =
                ml_cli_failf(a->cli, ML_NOT_FOUND, "%s has no row%s%.512s%s by position %llu",
                             a->name, a->word != NULL ? " '" : "", a->word != NULL ? a->word : "",
                             a->word != NULL ? "'" : "",
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

/* `from` is empty, or what the last page said is next. */
static bool ask_rows(asking *a, ml_bytes from, uint64_t left, ml_bytes *result)
{
    ml_buf *out = ml_client_begin(&a->client, a->method);
    const char *first = ml_options_get(a->cli, "from"), *last = ml_options_get(a->cli, "to"),
               *index = ml_options_get(a->cli, "index");
    uint32_t pairs = 0;
    size_t begin = ml_pack_begin(out);
    if (!pack_when(a, out, &pairs)) return false;
    if (a->word != NULL) {
        ml_pack_text(out, "prefix");
        ml_pack_text(out, a->word);
        pairs++;
    }
    if (index != NULL) {
        ml_pack_text(out, "index");
        ml_pack_text(out, index);
        pairs++;
    }
    if (from.size > 0 || first != NULL) {
        ml_pack_text(out, "from");
        if (from.size > 0)
            ml_buf_add(out, from.data, from.size);
        else
            pack_value(out, first);
        pairs++;
    }
    if (last != NULL) {
        ml_pack_text(out, "to");
        pack_value(out, last);
        pairs++;
    }
    if (ml_options_has(a->cli, "backward")) {
        ml_pack_text(out, "backward");
        ml_pack_bool(out, true);
        pairs++;
    }
    pack_natural(out, &pairs, "limit", left < PAGE_ROWS ? left : PAGE_ROWS);
    ml_pack_end_map(out, begin, pairs);
    return call(a, result);
}

static void scan(asking *a)
{
    ml_show show;
    ml_buf from = {0};
    ml_bytes result;
    uint64_t left = UINT64_MAX;
    if (!ml_options_natural(a->cli, "limit", 1, INT64_MAX, &left)) {
        a->status = ML_EXIT_USAGE;
        return;
    }
    ml_show_begin(&show, a->cli, true);
    for (bool going = true; going;) {
        going = ask_rows(a, ml_buf_view(&from), left, &result) && show_rows(&show, result, &left);
        ml_bytes next = going ? ml_unpack_find(result, "next") : (ml_bytes){0};
        going = going && is_there(next);
        ml_buf_clear(&from);
        ml_buf_add(&from, next.data, going ? next.size : 0);
        if (from.failed) a->status = ml_cli_fail(a->cli, ML_NO_MEMORY, "no memory for a key");
        going = going && !from.failed;
    }
    ml_buf_free(&from);
    a->status = ml_show_end(&show, a->status);
}

/* ---- how they are ----------------------------------------------------------------- */

static double number_of(ml_bytes map, const char *name)
{
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(map, name));
    ml_token token = ml_unpack_next(&cursor);
    return token.kind == ML_KIND_FLOAT ? token.number : (double)token.integer;
}

/* Of a number that is not known nothing is shown. */
static void add_number(ml_buf *out, ml_bytes map, const char *name, const char *unit)
{
    double value = number_of(map, name);
    if (value > 0) ml_buf_print(out, "%.*f%s", value < 10 ? 1 : 0, value, unit);
}

/* "balances.lua:12: attempt to … (event 17)" */
static void add_error(ml_buf *out, ml_bytes one)
{
    ml_bytes error = ml_unpack_find(one, "error"), sentence = ml_unpack_find_str(error, "sentence");
    unsigned long long position = ml_client_natural(error, "position");
    ml_buf_add(out, sentence.data, sentence.size);
    if (position > 0) ml_buf_print(out, " (event %llu)", position);
}

/* A row of the table. How fast it goes is of interest while it is behind. */
static bool show_short(ml_show *show, ml_bytes one)
{
    enum { SECONDS, RATE, ETA, ERROR, TEXTS };
    ml_buf texts[TEXTS] = {{0}};
    ml_bytes lag = ml_unpack_find(one, "lag");
    if (ml_client_natural(lag, "events") > 0) {
        add_number(&texts[SECONDS], lag, "seconds", " s");
        add_number(&texts[RATE], one, "rate", "/s");
        add_number(&texts[ETA], one, "eta", " s");
    }
    add_error(&texts[ERROR], one);
    ml_field fields[] = {
        ML_TEXT("name", ml_unpack_find_str(one, "name")),
        ML_TEXT("state", ml_unpack_find_str(one, "state")),
        ML_NATURAL("position", ml_client_natural(one, "position")),
        ML_NATURAL("lag", ml_client_natural(lag, "events")),
        ML_TEXT("behind", ml_buf_view(&texts[SECONDS])),
        ML_TEXT("rate", ml_buf_view(&texts[RATE])),
        ML_TEXT("eta", ml_buf_view(&texts[ETA])),
        ML_NATURAL("rows", ml_client_natural(one, "rows")),
        ML_TEXT("error", ml_buf_view(&texts[ERROR])),
    };
    for (int n = 0; n < TEXTS; n++)
        show->out.failed |= texts[n].failed;
    bool going = ml_show_record(show, fields, sizeof fields / sizeof *fields);
    for (int n = 0; n < TEXTS; n++)
        ml_buf_free(&texts[n]);
    return going;
}

/* All that the daemon says of it, under the names that it uses. */
static bool show_whole(ml_show *show, ml_bytes one)
{
    ml_field fields[ML_SHOW_FIELDS_MAX];
    char names[ML_SHOW_FIELDS_MAX][32];
    size_t count = 0;
    uint32_t pairs;
    ml_bytes name;
    ml_unpack cursor = ml_unpack_from(one);
    if (!ml_unpack_map(&cursor, &pairs)) return true;
    for (uint32_t n = 0; n < pairs && count < ML_SHOW_FIELDS_MAX; n++) {
        if (!ml_unpack_str(&cursor, &name)) break;
        snprintf(names[count], sizeof names[count], "%.*s", (int)name.size,
                 (const char *)name.data);
        ml_bytes value = ml_unpack_value(&cursor);
        if (is_there(value)) fields[count] = ML_VALUE(names[count], value), count++;
    }
    return ml_show_record(show, fields, count);
}

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
    ml_unpack all = ml_client_list(result, "projections", &count);
    ml_show_begin(&show, a->cli, true);
    for (uint32_t n = 0; going && n < count; n++) {
        ml_bytes one = ml_unpack_value(&all);
        going = a->cli->shape == ML_SHAPE_TABLE ? show_short(&show, one) : show_whole(&show, one);
    }
    a->status = ml_show_end(&show, a->status);
}

/* pause, resume, rebuild, rollback, skip, retry: what it is like then. */
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
    ml_show_begin(&show, a->cli, a->cli->shape == ML_SHAPE_TABLE);
    if (a->cli->shape == ML_SHAPE_TABLE)
        ML_IGNORE(!show_short(&show, result));
    else
        ML_IGNORE(!show_whole(&show, result)); /* end says it */
    a->status = ml_show_end(&show, a->status);
}

/* ---- the verb --------------------------------------------------------------------- */

static const struct {
    const char *name, *method;
    int least, most;   /* words behind it */
    const char *words; /* what they are */
    void (*run)(asking *a);
} actions[] = {
    {"ls", "projection.list", 0, 1, "[NAME]", list},
    {"get", "projection.get", 1, 2, "NAME KEY (one that has no keys: NAME)", get},
    {"scan", "projection.scan", 1, 2, "NAME [PREFIX]", scan},
    {"pause", "projection.pause", 1, 1, "NAME", act},
    {"resume", "projection.resume", 1, 1, "NAME", act},
    {"rebuild", "projection.rebuild", 1, 1, "NAME", act},
    {"rollback", "projection.rollback", 1, 1, "NAME", act},
    {"skip", "projection.skip", 1, 1, "NAME --position P --reason TEXT", act},
    {"retry", "projection.retry", 1, 1, "NAME", act},
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
    asking a = {.cli = cli,
                .method = actions[n].method,
                .name = words > 0 ? argv[2] : NULL,
                .word = words > 1 ? argv[3] : NULL,
                .status = ML_EXIT_OK};
    if (!ml_reach_open(cli, ML_REACH_USE, false, &a.client, &a.status)) return a.status;
    actions[n].run(&a);
    return ml_reach_close(cli, &a.client, a.status);
}
