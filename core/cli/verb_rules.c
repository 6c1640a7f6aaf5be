/* verb_rules.c -- rules ls, check, load, diff, history, rollback, show. */
#include <stdio.h>
#include <unistd.h>

#include "blame.h"
#include "pack_dir.h"
#include "reach.h"
#include "show.h"
#include "textdiff.h"

typedef struct asking {
    const ml_cli *cli;
    const char *word; /* DIR or UNIT; NULL: none */
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

/* ---- check, load, rollback -------------------------------------------------------- */

static bool pack_files(asking *a, const char *method)
{
    ml_buf files = {0};
    ml_error why;
    ml_code code = ml_pack_dir_read(a->word, &files, &why);
    if (!code) {
        ml_buf *out = ml_client_begin(&a->client, method);
        ml_pack_map(out, 2);
        ml_pack_text(out, "files");
        ml_buf_add(out, files.data, files.size);
        ml_pack_text(out, "full");
        ml_pack_bool(out, ml_options_has(a->cli, "full"));
    } else {
        a->status = ml_cli_fail(a->cli, code, why.sentence);
    }
    ml_buf_free(&files);
    return code == ML_OK;
}

static void show_units(asking *a, ml_bytes result)
{
    ml_show show;
    uint32_t count;
    bool going = true;
    ml_unpack list = ml_client_list(result, "units", &count);
    ml_show_begin(&show, a->cli, true);
    for (uint32_t n = 0; going && n < count; n++) {
        ml_bytes unit = ml_unpack_value(&list);
        ml_field fields[] = {
            ML_TEXT("unit", ml_unpack_find_str(unit, "unit")),
            ML_TEXT("file", ml_unpack_find_str(unit, "file")),
            ML_TEXT("hash", ml_unpack_find_str(unit, "hash")),
            ML_TEXT("status", ml_unpack_find_str(unit, "status")),
        };
        going = ml_show_record(&show, fields, 4);
    }
    a->status = ml_show_end(&show, a->status);
}

/* What was found wrong goes to stderr; a pack that may not be active is a check that failed. */
static void show_report(asking *a, ml_bytes result)
{
    size_t errors = ml_blame_show_all(a->cli, result);
    if (ml_client_bool(result, "ok")) {
        show_units(a, result);
        return;
    }
    ml_cli_failf(a->cli, ML_SCRIPT_ERROR, "%zu %s; what was active is active still", errors,
                 errors == 1 ? "error" : "errors");
    a->status = ML_EXIT_PROBLEMS;
}

static void check(asking *a)
{
    ml_bytes result;
    if (pack_files(a, "rules.check") && call(a, &result)) show_report(a, result);
}

static void load(asking *a)
{
    ml_bytes result;
    if (pack_files(a, "rules.load") && call(a, &result)) show_report(a, result);
}

static void roll_back(asking *a)
{
    const char *to = ml_options_get(a->cli, "to");
    ml_bytes result;
    ml_buf *out = ml_client_begin(&a->client, "rules.rollback");
    ml_pack_map(out, 1U + (to != NULL));
    ml_pack_text(out, "unit");
    ml_pack_text(out, a->word);
    if (to != NULL) {
        ml_pack_text(out, "to");
        ml_pack_text(out, to);
    }
    if (call(a, &result)) show_report(a, result);
}

/* ---- ls, history, show ------------------------------------------------------------ */

static bool ask_list(asking *a, bool files, ml_bytes *result)
{
    ml_buf *out = ml_client_begin(&a->client, "rules.list");
    ml_pack_map(out, 1);
    ml_pack_text(out, "files");
    ml_pack_bool(out, files);
    return call(a, result);
}

static void list(asking *a)
{
    ml_bytes result;
    if (ask_list(a, false, &result)) show_units(a, result);
}

/* "aggregate/account upcast/Payment" */
static void add_names(ml_buf *names, ml_bytes activation)
{
    uint32_t count;
    ml_unpack units = ml_client_list(activation, "units", &count);
    for (uint32_t n = 0; n < count; n++) {
        ml_bytes name = ml_unpack_find_str(ml_unpack_value(&units), "unit");
        if (n > 0) ml_buf_byte(names, ' ');
        ml_buf_add(names, name.data, name.size);
    }
}

static void history(asking *a)
{
    ml_bytes result;
    ml_show show;
    uint32_t count;
    bool going = true;
    ml_pack_map(ml_client_begin(&a->client, "rules.history"), 0);
    if (!call(a, &result)) return;
    ml_unpack list_of = ml_client_list(result, "activations", &count);
    ml_show_begin(&show, a->cli, true);
    for (uint32_t n = 0; going && n < count; n++) {
        ml_buf names = {0};
        ml_bytes one = ml_unpack_value(&list_of);
        add_names(&names, one);
        ml_field fields[] = {
            ML_NATURAL("position", ml_client_natural(one, "position")),
            ML_TIME("time", (int64_t)ml_client_natural(one, "time")),
            ML_TEXT("type", ml_unpack_find_str(one, "type")),
            ML_TEXT("hash", ml_unpack_find_str(one, "hash")),
            ML_TEXT("units", ml_buf_view(&names)),
        };
        going = ml_show_record(&show, fields, 5);
        ml_buf_free(&names);
    }
    a->status = ml_show_end(&show, ML_EXIT_OK);
}

/* The text of a file by its path, which may be any bytes. */
static ml_bytes text_of(ml_bytes files, ml_bytes path)
{
    ml_unpack cursor = ml_unpack_from(files);
    uint32_t count;
    ml_bytes name, text;
    if (!ml_unpack_map(&cursor, &count)) return (ml_bytes){0};
    for (uint32_t n = 0;
         n < count && ml_unpack_str(&cursor, &name) && ml_unpack_str(&cursor, &text); n++)
        if (ml_bytes_equal(name, path)) return text;
    return (ml_bytes){0};
}

/* The unit whose name is, or ends with, the word. */
static ml_bytes find_unit(asking *a, ml_bytes result)
{
    uint32_t count;
    ml_bytes word = ml_cli_text(a->word);
    ml_unpack units = ml_client_list(result, "units", &count);
    for (uint32_t n = 0; n < count; n++) {
        ml_bytes unit = ml_unpack_value(&units), name = ml_unpack_find_str(unit, "unit");
        const char *slash = name.size > 0 ? memchr(name.data, '/', name.size) : NULL;
        size_t kind = slash != NULL ? (size_t)(slash + 1 - (const char *)name.data) : 0;
        ml_bytes last = {(const char *)name.data + kind, name.size - kind};
        if (ml_bytes_equal(name, word) || ml_bytes_equal(last, word)) return unit;
    }
    return (ml_bytes){0};
}

static void show_unit(asking *a)
{
    ml_bytes result;
    if (!ask_list(a, true, &result)) return;
    ml_bytes unit = find_unit(a, result);
    if (unit.size == 0) {
        a->status =
            ml_cli_failf(a->cli, ML_NOT_FOUND,
                         "no unit is called '%.512s'; `moonlog rules ls` lists them", a->word);
        return;
    }
    ml_bytes text = text_of(ml_unpack_find(result, "files"), ml_unpack_find_str(unit, "file"));
    if (a->cli->shape == ML_SHAPE_TABLE) {
        bool whole = fwrite(text.data, 1, text.size, stdout) == text.size && fflush(stdout) == 0;
        a->status = whole ? ML_EXIT_OK : ml_cli_fail(a->cli, ML_IO, "stdout could not be written");
        return;
    }
    ml_field fields[] = {
        ML_TEXT("unit", ml_unpack_find_str(unit, "unit")),
        ML_TEXT("file", ml_unpack_find_str(unit, "file")),
        ML_TEXT("hash", ml_unpack_find_str(unit, "hash")),
        ML_TEXT("source", text),
    };
    a->status = ml_show_one(a->cli, fields, 4, ML_EXIT_OK);
}

/* ---- diff ------------------------------------------------------------------------- */

/* Every file of one against the other's; or only those that the other has not. */
static void add_differences(ml_buf *out, ml_bytes files, ml_bytes others, bool removed)
{
    ml_unpack cursor = ml_unpack_from(files);
    uint32_t count;
    ml_bytes path, text;
    if (!ml_unpack_map(&cursor, &count)) return;
    for (uint32_t n = 0;
         n < count && ml_unpack_str(&cursor, &path) && ml_unpack_str(&cursor, &text); n++) {
        ml_bytes other = text_of(others, path);
        if (!removed)
            ml_textdiff_write(out, path, other, text);
        else if (other.data == NULL)
            ml_textdiff_write(out, path, text, (ml_bytes){0});
    }
}

static void diff(asking *a)
{
    ml_buf files = {0}, out = {0};
    ml_bytes result;
    ml_error why;
    ml_code code = ml_pack_dir_read(a->word, &files, &why);
    if (code) a->status = ml_cli_fail(a->cli, code, why.sentence);
    if (!code && ask_list(a, true, &result)) {
        ml_bytes active = ml_unpack_find(result, "files");
        add_differences(&out, ml_buf_view(&files), active, false);
        add_differences(&out, active, ml_buf_view(&files), true);
        bool whole = out.size == 0 ||
                     (fwrite(out.data, 1, out.size, stdout) == out.size && fflush(stdout) == 0);
        a->status = whole && !out.failed
                        ? ML_EXIT_OK
                        : ml_cli_fail(a->cli, ML_IO, "stdout could not be written");
    }
    ml_buf_free(&files);
    ml_buf_free(&out);
}

/* ---- the verb --------------------------------------------------------------------- */

static const struct {
    const char *name, *word; /* what it wants; NULL: nothing */
    ml_reach_how how;
    void (*run)(asking *a);
} actions[] = {
    {"ls", NULL, ML_REACH_USE, list},
    {"check", "DIR", ML_REACH_USE, check},
    {"load", "DIR", ML_REACH_WRITE, load},
    {"diff", "DIR", ML_REACH_USE, diff},
    {"history", NULL, ML_REACH_USE, history},
    {"rollback", "UNIT, or pack", ML_REACH_USE, roll_back},
    {"show", "UNIT", ML_REACH_USE, show_unit},
};

int ml_verb_rules(const ml_cli *cli, int argc, char **argv)
{
    enum { COUNT = sizeof actions / sizeof *actions };
    const char *names[COUNT];
    size_t n = 0;
    while (n < COUNT && strcmp(actions[n].name, argv[1]) != 0)
        n++;
    for (size_t i = 0; i < COUNT; i++)
        names[i] = actions[i].name;
    if (n == COUNT) {
        const char *near = ml_verbs_nearest(argv[1], names, COUNT);
        return ml_cli_usage(cli, "rules knows no '%.512s'%s%s%s", argv[1],
                            near != NULL ? "; did you mean "
                                         : "; `moonlog help rules` lists what it knows",
                            near != NULL ? near : "", near != NULL ? "?" : "");
    }
    if (actions[n].word != NULL && argc < 3)
        return ml_cli_usage(cli, "rules %s wants a %s", argv[1], actions[n].word);
    if (actions[n].word == NULL && argc > 2)
        return ml_cli_usage(cli, "rules %s takes no word", argv[1]);
    asking a = {.cli = cli, .word = argc > 2 ? argv[2] : NULL, .status = ML_EXIT_OK};
    if (!ml_reach_open(cli, actions[n].how, false, &a.client, &a.status)) return a.status;
    actions[n].run(&a);
    return ml_reach_close(cli, &a.client, a.status);
}
