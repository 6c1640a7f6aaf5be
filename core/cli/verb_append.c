/* verb_append.c -- one event from the command line. */
#include <stdlib.h>

#include "../base/text.h"
#include "reach.h"
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

/* What was answered. */
typedef struct receipt {
    uint64_t position, revision;
    bool duplicate;
    char durability[8];
} receipt;

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
        status = ml_cli_json(cli, "meta", ml_cli_text(meta), &r->meta);
    if (status == ML_EXIT_OK && argc > 3) status = ml_cli_data(cli, argv[3], &r->data);
    r->draft.type = ml_cli_text(argv[2]);
    r->draft.data = ml_buf_view(&r->data);
    r->draft.meta = ml_buf_view(&r->meta);
    r->write.stream = ml_cli_text(argv[1]);
    r->write.events = &r->draft;
    r->write.count = 1;
    return status;
}

static int show_receipt(const ml_cli *cli, const request *r, const receipt *got)
{
    ml_field fields[5] = {
        ML_NATURAL("position", got->position),
        ML_NATURAL("revision", got->revision),
        ML_TEXT("stream", r->write.stream),
    };
    size_t count = 3;
    if (got->duplicate) fields[count++] = ML_BOOL("duplicate", true);
    if (ml_options_has(cli, "durability"))
        fields[count++] = ML_TEXT("durability", ml_cli_text(got->durability));
    return ml_show_one(cli, fields, count, ML_EXIT_OK);
}

/* {first, revisions: {stream: revision}, durability, duplicate?} */
static void take_receipt(ml_bytes result, receipt *got)
{
    ml_unpack revisions = ml_unpack_from(ml_unpack_find(result, "revisions"));
    ml_bytes stream, durability = ml_unpack_find_str(result, "durability");
    uint32_t count;
    int64_t revision = 0;
    *got = (receipt){.position = ml_client_natural(result, "first"),
                     .duplicate = ml_client_bool(result, "duplicate")};
    if (ml_unpack_map(&revisions, &count) && count == 1 && ml_unpack_str(&revisions, &stream) &&
        ml_unpack_int(&revisions, &revision))
        got->revision = (uint64_t)revision;
    if (durability.size < sizeof got->durability) memcpy(got->durability, durability.data, durability.size);
}

static int append(const ml_cli *cli, const request *r)
{
    ml_client client;
    ml_bytes result;
    receipt got = {0};
    int status = ML_EXIT_OK;
    if (!ml_reach_open(cli, ML_REACH_WRITE, false, &client, &status)) return status;
    ml_proposal proposal = {.writes = &r->write, .count = 1, .durability = r->durability};
    ml_client_pack_append(ml_client_begin(&client, "append"), &proposal);
    if (ml_client_call(&client, &result) == ML_OK) take_receipt(result, &got);
    else status = ml_reach_fail(cli, &client);
    status = ml_reach_close(cli, &client, status);
    return status == ML_EXIT_OK ? show_receipt(cli, r, &got) : status;
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
