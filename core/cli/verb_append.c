/* verb_append.c -- one event from the command line. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "../base/json.h"
#include "../base/limits.h"
#include "../base/text.h"
#include "show.h"

/* What the command line says, as the store wants it. */
typedef struct request {
    ml_draft draft;
    ml_write write;
    ml_durability durability;
    ml_buf data, meta;
    ml_bytes *tags;
    uint8_t id[ML_ID_SIZE];
} request;

/* All of stdin, up to the size of a line of import. */
static ml_code read_stdin(ml_buf *text, ml_error *why)
{
    for (;;) {
        if (!ml_buf_reserve(text, 64 << 10)) return ml_error_memory(why, "the data on stdin");
        ssize_t size = read(STDIN_FILENO, text->data + text->size, text->capacity - text->size);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return ml_error_disk(why, -errno, "read", "stdin");
        if (size == 0) return ML_OK;
        text->size += (size_t)size;
        if (text->size > ML_LINE_BYTES_MAX)
            return ml_error_set(why, ML_TOO_LARGE, "the data on stdin is over %d bytes",
                                ML_LINE_BYTES_MAX);
    }
}

/* A JSON text from the command line; gives the exit status. */
static int read_json(const ml_cli *cli, const char *what, ml_bytes text, ml_buf *out)
{
    ml_error why;
    ml_code code = ml_json_read(text, out, &why);
    if (code == ML_OK) return ML_EXIT_OK;
    return ml_cli_failf(cli, code, "%s, %s", what, why.sentence);
}

static int read_data(const ml_cli *cli, const char *word, request *r)
{
    if (word == NULL) return ML_EXIT_OK;
    if (strcmp(word, "-") != 0) return read_json(cli, "data", ml_cli_text(word), &r->data);
    ml_buf text = {0};
    ml_error why;
    ml_code code = read_stdin(&text, &why);
    int status = code == ML_OK ? read_json(cli, "data", ml_buf_view(&text), &r->data)
                               : ml_cli_fail(cli, code, why.sentence);
    ml_buf_free(&text);
    return status;
}

static bool read_expected(const char *text, int64_t *expected)
{
    uint64_t revision;
    if (text == NULL || strcmp(text, "any") == 0) *expected = ML_ANY;
    else if (strcmp(text, "no_stream") == 0) *expected = ML_NO_STREAM;
    else if (strcmp(text, "stream_exists") == 0) *expected = ML_STREAM_EXISTS;
    else if (ml_cli_natural(text, 0, INT64_MAX, &revision)) *expected = (int64_t)revision;
    else return false;
    return true;
}

static bool read_durability(const char *text, ml_durability *durability)
{
    if (text == NULL || strcmp(text, "disk") == 0) *durability = ML_DISK;
    else if (strcmp(text, "os") == 0) *durability = ML_OS;
    else if (strcmp(text, "memory") == 0) *durability = ML_MEMORY;
    else return false;
    return true;
}

static int read_tags(const ml_cli *cli, request *r)
{
    size_t count = ml_options_count(cli, "tag");
    if (count == 0) return ML_EXIT_OK;
    r->tags = calloc(count, sizeof *r->tags);
    if (r->tags == NULL) return ml_cli_fail(cli, ML_NO_MEMORY, "no memory for the tags");
    for (size_t i = 0; i < count; i++) r->tags[i] = ml_cli_text(ml_options_at(cli, "tag", i));
    r->draft.tags = r->tags;
    r->draft.tag_count = count;
    return ML_EXIT_OK;
}

/* The options that are no JSON; wrong ones are mistakes of the command line. */
static int read_options(const ml_cli *cli, request *r)
{
    const char *expected = ml_options_get(cli, "expected"), *id = ml_options_get(cli, "id");
    const char *occurred = ml_options_get(cli, "occurred");
    const char *durability = ml_options_get(cli, "durability");
    uint64_t schema = 0;
    if (!read_expected(expected, &r->write.expected))
        return ml_cli_usage(cli,
                            "--expected wants any, no_stream, stream_exists or a revision from 0, "
                            "and not '%.512s'", expected);
    if (!read_durability(durability, &r->durability))
        return ml_cli_usage(cli, "--durability knows disk, os and memory, and not '%.512s'",
                            durability);
    if (id != NULL && !ml_uuid_read(ml_cli_text(id), r->id))
        return ml_cli_usage(cli, "--id wants a UUID of 36 characters, and not '%.512s'", id);
    if (occurred != NULL && !ml_time_read(ml_cli_text(occurred), &r->draft.occurred))
        return ml_cli_usage(cli,
                            "--occurred wants a time like 2026-01-31T12:00:00Z, or microseconds "
                            "since 1970 UTC, and not '%.512s'", occurred);
    if (!ml_options_natural(cli, "schema", 1, INT32_MAX, &schema)) return ML_EXIT_USAGE;
    r->draft.id = id != NULL ? r->id : NULL;
    r->draft.has_occurred = occurred != NULL;
    r->draft.schema = (uint32_t)schema;
    return read_tags(cli, r);
}

/* What is `r` itself points into it: it must not be moved afterwards. */
static int read_request(const ml_cli *cli, int argc, char **argv, request *r)
{
    int status = read_options(cli, r);
    const char *meta = ml_options_get(cli, "meta");
    if (status == ML_EXIT_OK && meta != NULL)
        status = read_json(cli, "meta", ml_cli_text(meta), &r->meta);
    if (status == ML_EXIT_OK) status = read_data(cli, argc > 3 ? argv[3] : NULL, r);
    r->draft.type = ml_cli_text(argv[2]);
    r->draft.data = ml_buf_view(&r->data);
    r->draft.meta = ml_buf_view(&r->meta);
    r->write.stream = ml_cli_text(argv[1]);
    r->write.events = &r->draft;
    r->write.count = 1;
    return status;
}

static int show_receipt(const ml_cli *cli, const request *r, const ml_receipt *receipt,
                        uint64_t revision)
{
    static const char *const names[] = {"disk", "os", "memory"};
    ml_field fields[5] = {
        ML_NATURAL("position", receipt->first),
        ML_NATURAL("revision", revision),
        ML_TEXT("stream", r->write.stream),
    };
    size_t count = 3;
    if (receipt->duplicate) fields[count++] = ML_BOOL("duplicate", true);
    if (ml_options_has(cli, "durability"))
        fields[count++] = ML_TEXT("durability", ml_cli_text(names[receipt->durability]));
    return ml_show_one(cli, fields, count, ML_EXIT_OK);
}

static int append(const ml_cli *cli, const request *r)
{
    ml_store *store;
    int status;
    if (!ml_cli_open(cli, true, &store, &status)) return status;
    ml_proposal proposal = {.writes = &r->write, .count = 1, .durability = r->durability};
    ml_receipt receipt;
    ml_code code = ml_append(store, &proposal, &receipt);
    if (code != ML_OK) {
        status = ml_cli_why(cli, code, store);
        /* The refusal was said; what was there before is as durable as it was. */
        ML_IGNORE(ml_close(store) != ML_OK);
        return status;
    }
    uint64_t revision = receipt.revisions[0];
    code = ml_close(store);
    if (code != ML_OK)
        return ml_cli_failf(cli, code, "the event got position %llu, but the store did not close "
                                       "cleanly; `moonlog head` tells what is there",
                            (unsigned long long)receipt.first);
    return show_receipt(cli, r, &receipt, revision);
}

int ml_verb_append(const ml_cli *cli, int argc, char **argv)
{
    request r = {0};
    int status = read_request(cli, argc, argv, &r);
    if (status == ML_EXIT_OK) status = append(cli, &r);
    ml_buf_free(&r.data);
    ml_buf_free(&r.meta);
    free(r.tags);
    return status;
}
