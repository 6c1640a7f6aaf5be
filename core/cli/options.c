/* options.c -- the words of a command line, walked by the table of verbs.
 *
 * Options may stand before, behind and between the positional words; "--" ends them. The
 * walk goes on behind the first mistake, so that an error is shown as a later `-o json`
 * asks for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

typedef struct walk {
    ml_cli *cli;
    char **at, **end;
    bool plain; /* behind "--" every word is positional */
    ml_error *why;
} walk;

/* Keeps the first mistake only. */
#define REFUSE(walk, ...)                                                                \
    do {                                                                                 \
        if ((walk)->why->code == ML_OK)                                                  \
            ml_error_set((walk)->why, ML_BAD_REQUEST, __VA_ARGS__);                      \
    } while (0)

static size_t count_options(const ml_option *options)
{
    size_t count = 0;
    while (options != NULL && options[count].name != NULL) count++;
    return count;
}

static const ml_option *find_in(const ml_option *options, const char *name, size_t size)
{
    for (size_t i = 0, count = count_options(options); i < count; i++)
        if (strlen(options[i].name) == size && memcmp(options[i].name, name, size) == 0)
            return &options[i];
    return NULL;
}

static const ml_option *find_option(const ml_cli *cli, const char *name, size_t size)
{
    const ml_option *option = find_in(ml_verbs_common, name, size);
    if (option == NULL && cli->verb != NULL) option = find_in(cli->verb->options, name, size);
    return option;
}

static const ml_option *find_letter(const ml_cli *cli, char letter)
{
    const ml_option *lists[] = {ml_verbs_common, cli->verb != NULL ? cli->verb->options : NULL};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0, count = count_options(lists[l]); i < count; i++)
            if (lists[l][i].letter == letter) return &lists[l][i];
    return NULL;
}

/* ---- mistakes ----------------------------------------------------------------------- */

/* "; did you mean --limit?" or "; see `moonlog help read`" */
static void refuse_option(walk *w, const char *word, size_t size)
{
    enum { NAMES_MAX = 48 };
    const char *names[NAMES_MAX];
    size_t count = 0;
    const ml_option *lists[] = {ml_verbs_common, w->cli->verb ? w->cli->verb->options : NULL};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0, n = count_options(lists[l]); i < n && count < NAMES_MAX; i++)
            if (lists[l][i].help != NULL) names[count++] = lists[l][i].name;

    const char *verb = w->cli->verb ? w->cli->verb->name : "moonlog";
    char name[64];
    size_t dashes = strspn(word, "-");
    snprintf(name, sizeof name, "%.*s", (int)(size > 512 ? 512 : size - dashes), word + dashes);
    const char *near = ml_verbs_nearest(name, names, count);
    int shown = (int)(size > 512 ? 512 : size);
    if (near != NULL)
        REFUSE(w, "%s has no option '%.*s'; did you mean --%s?", verb, shown, word, near);
    else
        REFUSE(w, "%s has no option '%.*s'; `moonlog help%s%s` lists them", verb, shown, word,
               w->cli->verb ? " " : "", w->cli->verb ? verb : "");
}

static void refuse_verb(walk *w, const char *word)
{
    enum { NAMES_MAX = 48 };
    const char *names[NAMES_MAX];
    size_t count = 0;
    for (const ml_verb *verb = ml_verbs; verb->name != NULL && count < NAMES_MAX; verb++)
        names[count++] = verb->name;
    const char *near = ml_verbs_nearest(word, names, count);
    if (near != NULL) REFUSE(w, "there is no verb '%.512s'; did you mean %s?", word, near);
    else REFUSE(w, "there is no verb '%.512s'; `moonlog help` lists them", word);
}

static void check_count(walk *w)
{
    const ml_cli *cli = w->cli;
    if (cli->verb == NULL || cli->help) return;
    const ml_verb *verb = cli->verb;
    const char *hint = verb->hint != NULL ? verb->hint : "", *gap = verb->hint != NULL ? "; " : "";
    int given = cli->word_count - 1;
    if (given < verb->least)
        REFUSE(w, "%s wants more words: %s%s%s; see `moonlog help %s`", verb->name, verb->words,
               gap, hint, verb->name);
    else if (given > verb->most)
        REFUSE(w, "%s has no place for the word '%.512s'%s%s; see `moonlog help %s`", verb->name,
               cli->words[verb->most + 1], gap, hint, verb->name);
}

/* ---- the walk ----------------------------------------------------------------------- */

/* A lone '-' means stdin, and -5 is a number: both are words. */
static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0' && (word[1] < '0' || word[1] > '9');
}

/* Notes an option that was found; `joined` is what stood behind its '=', or NULL. */
static void take_option(walk *w, const ml_option *option, const char *joined)
{
    const char *value = joined;
    if (option->value == NULL && joined != NULL) {
        REFUSE(w, "--%s takes no value, and got '%.512s'", option->name, joined);
        return;
    }
    if (option->value != NULL && value == NULL && w->at < w->end && !is_option(*w->at))
        value = *w->at++;
    if (option->value != NULL && (value == NULL || value[0] == '\0')) {
        REFUSE(w, "--%s wants a value: %s", option->name, option->value);
        return;
    }
    w->cli->given[w->cli->given_count++] = (ml_given){option, value};
}

static void take_long(walk *w, const char *word)
{
    const char *equals = strchr(word, '=');
    size_t size = equals ? (size_t)(equals - word) : strlen(word);
    const ml_option *option = find_option(w->cli, word + 2, size - 2);
    if (option != NULL) take_option(w, option, equals ? equals + 1 : NULL);
    else refuse_option(w, word, size);
}

/* -o json, -ojson, -h */
static void take_short(walk *w, const char *word)
{
    const ml_option *option = find_letter(w->cli, word[1]);
    if (option == NULL) refuse_option(w, word, strlen(word));
    else take_option(w, option, word[2] != '\0' ? word + 2 : NULL);
}

static void take_word(walk *w, char *word)
{
    ml_cli *cli = w->cli;
    if (cli->word_count == 0) {
        cli->verb = ml_verbs_find(word);
        if (cli->verb == NULL) refuse_verb(w, word);
    }
    cli->words[cli->word_count++] = word;
}

static void walk_words(walk *w)
{
    while (w->at < w->end) {
        char *word = *w->at++;
        if (w->plain || !is_option(word)) take_word(w, word);
        else if (strcmp(word, "--") == 0) w->plain = true;
        else if (word[1] == '-') take_long(w, word);
        else take_short(w, word);
    }
}

/* ---- what the common options and the environment say ---------------------------------- */

static const char *from_environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static void read_shape(walk *w)
{
    static const char *const names[] = {"table", "json", "ndjson", "lua"};
    const char *wanted = ml_options_get(w->cli, "output");
    w->cli->shape = isatty(STDOUT_FILENO) ? ML_SHAPE_TABLE : ML_SHAPE_NDJSON;
    if (wanted == NULL) return;
    for (int i = 0; i < 4; i++) {
        if (strcmp(wanted, names[i]) != 0) continue;
        w->cli->shape = (ml_shape)i;
        return;
    }
    REFUSE(w, "--output knows table, json, ndjson and lua, and not '%.512s'", wanted);
}

static void read_terminal(ml_cli *cli)
{
    struct winsize window;
    cli->progress = isatty(STDERR_FILENO);
    if (!isatty(STDOUT_FILENO)) return;
    cli->colour = from_environment("NO_COLOR") == NULL;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0;
    cli->width = known ? window.ws_col : 80;
}

ml_code ml_options_read(ml_cli *cli, int argc, char **argv, ml_error *why)
{
    *cli = (ml_cli){0};
    why->code = ML_OK;
    size_t count = argc > 0 ? (size_t)argc : 1;
    cli->given = calloc(count, sizeof *cli->given);
    cli->words = calloc(count, sizeof *cli->words);
    if (cli->given == NULL || cli->words == NULL) return ml_error_memory(why, "the command line");

    walk w = {.cli = cli, .at = argv + (argc > 0), .end = argv + argc, .why = why};
    walk_words(&w);
    cli->help = ml_options_has(cli, "help");
    cli->version = ml_options_has(cli, "version");
    check_count(&w);

    const char *data = ml_options_get(cli, "data");
    if (data == NULL) data = from_environment("MOONLOG_DATA");
    cli->data = data != NULL ? data : "./moonlog-data";
    cli->connect = ml_options_get(cli, "connect");
    if (cli->connect == NULL) cli->connect = from_environment("MOONLOG_CONNECT");
    read_shape(&w);
    read_terminal(cli);
    return why->code;
}

void ml_options_free(ml_cli *cli)
{
    free(cli->given);
    free(cli->words);
    cli->given = NULL;
    cli->words = NULL;
}

/* ---- asking ------------------------------------------------------------------------- */

size_t ml_options_count(const ml_cli *cli, const char *name)
{
    const ml_option *option = find_option(cli, name, strlen(name));
    size_t count = 0;
    ML_ASSERT(option != NULL);
    for (size_t i = 0; i < cli->given_count; i++) count += cli->given[i].option == option;
    return count;
}

const char *ml_options_at(const ml_cli *cli, const char *name, size_t at)
{
    const ml_option *option = find_option(cli, name, strlen(name));
    ML_ASSERT(option != NULL);
    for (size_t i = 0; i < cli->given_count; i++)
        if (cli->given[i].option == option && at-- == 0) return cli->given[i].value;
    return NULL;
}

bool ml_options_has(const ml_cli *cli, const char *name)
{
    return ml_options_count(cli, name) > 0;
}

const char *ml_options_get(const ml_cli *cli, const char *name)
{
    size_t count = ml_options_count(cli, name);
    return count > 0 ? ml_options_at(cli, name, count - 1) : NULL;
}

bool ml_options_natural(const ml_cli *cli, const char *name, uint64_t least, uint64_t most,
                        uint64_t *value)
{
    const char *text = ml_options_get(cli, name);
    if (text == NULL || ml_cli_natural(text, least, most, value)) return true;
    if (most >= INT64_MAX)
        ml_cli_usage(cli, "--%s wants a whole number from %llu, and not '%.512s'", name,
                     (unsigned long long)least, text);
    else
        ml_cli_usage(cli, "--%s wants a whole number from %llu to %llu, and not '%.512s'", name,
                     (unsigned long long)least, (unsigned long long)most, text);
    return false;
}
