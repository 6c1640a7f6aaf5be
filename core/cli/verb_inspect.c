/* verb_inspect.c -- questions about the store: streams, head, status, verify. */
#include <math.h>

#include "show.h"

/* ---- streams ------------------------------------------------------------------------ */

typedef struct listing {
    ml_show show;
    uint64_t left; /* still to be shown */
} listing;

static bool show_stream(void *context, const ml_stream_info *info)
{
    listing *l = context;
    ml_field fields[] = {
        ML_TEXT("stream", info->stream),
        ML_NATURAL("revision", info->revision),
        ML_NATURAL("first", info->first),
        ML_NATURAL("last", info->last),
    };
    return ml_show_record(&l->show, fields, 4) && --l->left > 0;
}

static ml_bytes get_text(const ml_cli *cli, const char *name)
{
    const char *value = ml_options_get(cli, name);
    return value != NULL ? ml_cli_text(value) : (ml_bytes){0};
}

int ml_verb_streams(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    listing l = {.left = UINT64_MAX};
    uint64_t after = 0;
    if (!ml_options_natural(cli, "limit", 1, UINT64_MAX, &l.left) ||
        !ml_options_natural(cli, "after", 0, UINT64_MAX, &after))
        return ML_EXIT_USAGE;
    ml_store *store;
    int status;
    if (!ml_cli_open(cli, false, &store, &status)) return status;
    ml_show_begin(&l.show, cli, true);
    ml_code code = ml_streams(store, get_text(cli, "category"), get_text(cli, "prefix"), after,
                              show_stream, &l);
    status = code == ML_OK ? ML_EXIT_OK : ml_cli_why(cli, code, store);
    status = ml_show_end(&l.show, status);
    ML_IGNORE(ml_close(store) != ML_OK); /* it was open for reading: there is nothing to lose */
    return status;
}

/* ---- head --------------------------------------------------------------------------- */

static int show_head(const ml_cli *cli, ml_store *store, ml_bytes stream)
{
    ml_head head;
    ml_code code = ml_get_head(store, stream, &head);
    if (code != ML_OK) return ml_cli_why(cli, code, store);
    ml_field fields[] = {
        ML_NATURAL("position", head.position),
        ML_NATURAL("revision", head.revision),
        ML_TEXT("stream", stream),
        ML_NATURAL("first", head.first),
    };
    return ml_show_one(cli, fields, stream.size > 0 ? 4 : 1, ML_EXIT_OK);
}

int ml_verb_head(const ml_cli *cli, int argc, char **argv)
{
    ml_bytes stream = argc > 1 ? ml_cli_text(argv[1]) : (ml_bytes){0};
    if (argc > 1 && stream.size == 0) return ml_cli_usage(cli, "the name of a stream is not empty");
    ml_store *store;
    int status;
    if (!ml_cli_open(cli, false, &store, &status)) return status;
    status = show_head(cli, store, stream);
    ML_IGNORE(ml_close(store) != ML_OK); /* it was open for reading: there is nothing to lose */
    return status;
}

/* ---- status ------------------------------------------------------------------------- */

static int show_status(const ml_cli *cli, ml_store *store)
{
    ml_stats stats;
    ml_code code = ml_get_stats(store, &stats);
    if (code != ML_OK) return ml_cli_why(cli, code, store);
    ml_field fields[16] = {
        ML_TEXT("version", ML_STR(ML_VERSION)),
        ML_TEXT("directory", ml_cli_text(cli->data)),
        ML_NATURAL("position", stats.position),
        ML_NATURAL("durable", stats.durable),
        ML_NATURAL("segments", stats.segments),
        ML_NATURAL("log_bytes", stats.log_bytes),
        ML_NATURAL("used_bytes", stats.used_bytes),
        ML_NATURAL("index_bytes", stats.index_bytes),
        ML_NATURAL("index_runs", stats.index_runs),
        ML_NATURAL("memory_events", stats.memory_events),
        ML_NATURAL("torn_bytes", stats.torn_bytes),
        ML_BOOL("damaged", stats.damaged),
    };
    size_t count = 12;
    if (stats.damaged) fields[count++] = ML_TEXT("damage", ml_cli_text(ml_why(store)));
    return ml_show_one(cli, fields, count, ML_EXIT_OK);
}

int ml_verb_status(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    ml_store *store;
    int status;
    if (!ml_cli_open(cli, false, &store, &status)) return status;
    status = show_status(cli, store);
    ML_IGNORE(ml_close(store) != ML_OK); /* it was open for reading: there is nothing to lose */
    return status;
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
