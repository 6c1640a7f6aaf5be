/* help.c -- the table of verbs, for people; and the two verbs about the program itself. */
#include <stdio.h>

#include "show.h"

/* The end of a line of help begins here. */
enum { HELP_COLUMN = 26, WIDTH = 96 };

/* " [--tag T]...", on a new line when the line is full. */
static void add_usage(ml_buf *out, size_t *column, const char *part)
{
    if (*column + strlen(part) > WIDTH) {
        ml_buf_print(out, "\n         ");
        *column = 9;
    }
    ml_buf_print(out, " %s", part);
    *column += strlen(part) + 1;
}

static void add_usage_line(ml_buf *out, const ml_verb *verb)
{
    size_t before = out->size;
    ml_buf_print(out, "usage: moonlog %s", verb->name);
    size_t column = out->size - before;
    if (verb->words[0] != '\0') add_usage(out, &column, verb->words);
    for (const ml_option *o = verb->options; o != NULL && o->name != NULL; o++) {
        char part[128];
        if (o->help == NULL) continue;
        snprintf(part, sizeof part, "[--%s%s%s]%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "", o->many ? "..." : "");
        add_usage(out, &column, part);
    }
    ml_buf_byte(out, '\n');
}

static void add_options(ml_buf *out, const char *title, const ml_option *options)
{
    if (options == NULL || options->name == NULL) return;
    ml_buf_print(out, "\n%s\n", title);
    for (const ml_option *o = options; o->name != NULL; o++) {
        char left[128];
        if (o->help == NULL) continue;
        char letter[6] = "";
        if (o->letter != 0) snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "  %s--%s %s", letter, o->name, o->value ? o->value : "");
        ml_buf_print(out, "%-*s", HELP_COLUMN, left);
        if (strlen(left) >= HELP_COLUMN) ml_buf_print(out, "\n%*s", HELP_COLUMN, "");
        ml_buf_print(out, "%s\n", o->help);
    }
}

static void add_verb(ml_buf *out, const ml_verb *verb)
{
    ml_buf_print(out, "moonlog %s: %s\n\n", verb->name, verb->help);
    add_usage_line(out, verb);
    ml_buf_print(out, "\n%s\n", verb->manual);
    add_options(out, "options", verb->options);
    add_options(out, "options of every verb", ml_verbs_common);
    ml_buf_print(out, "\nexample\n  %s\n", verb->example);
}

static void add_all(ml_buf *out)
{
    ml_buf_print(out, "moonlog %s: a durable, ordered, replayable log of events\n\n", ML_VERSION);
    ml_buf_print(out, "usage: moonlog VERB [WORD]... [OPTION]...\n\nverbs\n");
    for (const ml_verb *verb = ml_verbs; verb->name != NULL; verb++)
        if (verb->help != NULL) ml_buf_print(out, "  %-*s%s\n", 12, verb->name, verb->help);
    add_options(out, "options of every verb", ml_verbs_common);
    ml_buf_print(out,
                 "\nexit status\n"
                 "  0    ok\n"
                 "  1    failed: bad data, a store that is locked or damaged, a full disk, ...\n"
                 "  2    a wrong command line\n"
                 "  3    not found\n"
                 "  4    conflict: a stream is not where the append expects it\n"
                 "  5    refused by a rule\n"
                 "  6    cannot connect, or timed out\n"
                 "  7    a check found problems\n"
                 "  130  interrupted\n"
                 "  141  whoever read the output has gone\n"
                 "\n`moonlog help VERB` tells more about one of them.\n");
}

int ml_help_show(const ml_cli *cli, const ml_verb *verb)
{
    ml_show show;
    ml_show_begin(&show, cli, false);
    if (verb != NULL) add_verb(&show.out, verb);
    else add_all(&show.out);
    return ml_show_end(&show, ML_EXIT_OK);
}

int ml_verb_help(const ml_cli *cli, int argc, char **argv)
{
    if (argc < 2) return ml_help_show(cli, NULL);
    const ml_verb *verb = ml_verbs_find(argv[1]);
    if (verb != NULL) return ml_help_show(cli, verb);

    const char *names[64];
    size_t count = 0;
    for (const ml_verb *v = ml_verbs; v->name != NULL && count < 64; v++) names[count++] = v->name;
    const char *near = ml_verbs_nearest(argv[1], names, count);
    if (near == NULL)
        return ml_cli_usage(cli, "there is no verb '%.512s'; `moonlog help` lists them", argv[1]);
    return ml_cli_usage(cli, "there is no verb '%.512s'; did you mean %s?", argv[1], near);
}

int ml_verb_version(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    ml_show show;
    ml_show_begin(&show, cli, false);
    ml_buf_print(&show.out, "moonlog %s\n", ML_VERSION);
    return ml_show_end(&show, ML_EXIT_OK);
}
