/* show.c -- records to stdout; JSON is written here, Lua and tables beside it. */
#include "show.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "../base/json.h"
#include "../base/text.h"

enum { FLUSH_BYTES = 1 << 20 };

void ml_show_begin(ml_show *show, const ml_cli *cli, bool list)
{
    *show = (ml_show){.cli = cli, .shape = cli->shape, .list = list};
}

bool ml_show_flush(ml_show *show)
{
    if (show->out.failed && show->failed == 0) show->failed = ENOMEM;
    for (size_t at = 0; at < show->out.size && show->failed == 0;) {
        ssize_t size = write(STDOUT_FILENO, show->out.data + at, show->out.size - at);
        if (size > 0) at += (size_t)size;
        else if (size < 0 && (errno != EINTR || ml_cli_interrupted())) show->failed = errno;
    }
    ml_buf_clear(&show->out);
    return show->failed == 0;
}

/* ---- JSON --------------------------------------------------------------------------- */

static void add_natural(ml_buf *out, uint64_t value)
{
    char digits[20], *at = digits + sizeof digits;
    do {
        *--at = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    ml_buf_add(out, at, (size_t)(digits + sizeof digits - at));
}

static void add_time(ml_buf *out, int64_t time)
{
    char text[ML_TIME_TEXT + 1];
    size_t size = ml_time_write(text, time);
    ml_buf_add(out, text, size);
}

static void add_id(ml_buf *out, const uint8_t *id)
{
    char text[ML_UUID_TEXT + 1];
    ml_uuid_write(text, id);
    ml_buf_add(out, text, ML_UUID_TEXT);
}

static void add_value(ml_buf *out, ml_bytes value)
{
    ml_unpack cursor = ml_unpack_from(value);
    /* The store keeps whole values only; one that is not is shown as the bytes it is. */
    if (!ml_json_write(&cursor, out)) ml_json_string(out, ML_STR("(not MessagePack)"));
}

/* The value of a field; strings in the quotes that `string` puts around them. */
static void add_field(ml_buf *out, const ml_field *field)
{
    switch (field->kind) {
    case ML_FIELD_NATURAL: add_natural(out, field->natural); break;
    case ML_FIELD_NUMBER: ml_json_double(out, field->number); break;
    case ML_FIELD_BOOL: ml_buf_print(out, field->boolean ? "true" : "false"); break;
    case ML_FIELD_TEXT: ml_json_string(out, field->bytes); break;
    case ML_FIELD_VALUE: add_value(out, field->bytes); break;
    case ML_FIELD_TIME:
        ml_buf_byte(out, '"');
        add_time(out, field->time);
        ml_buf_byte(out, '"');
        break;
    case ML_FIELD_ID:
        ml_buf_byte(out, '"');
        add_id(out, field->bytes.data);
        ml_buf_byte(out, '"');
        break;
    }
}

/* Names are ours and need no escape. */
static void add_object(ml_buf *out, const ml_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ml_buf_add(out, i == 0 ? "{\"" : ",\"", 2);
        ml_buf_add(out, fields[i].name, strlen(fields[i].name));
        ml_buf_add(out, "\":", 2);
        add_field(out, &fields[i]);
    }
    ml_buf_byte(out, '}');
}

/* ---- Lua ---------------------------------------------------------------------------- */

static void add_lua_field(ml_buf *out, const ml_field *field)
{
    size_t before = out->size;
    switch (field->kind) {
    case ML_FIELD_VALUE:
        if (ml_show_lua_value(out, field->bytes)) break;
        out->size = before;
        ml_buf_print(out, "nil");
        break;
    case ML_FIELD_TEXT: ml_show_lua_string(out, field->bytes); break;
    case ML_FIELD_NATURAL:
    case ML_FIELD_NUMBER:
    case ML_FIELD_BOOL:
    case ML_FIELD_TIME:
    case ML_FIELD_ID: add_field(out, field); break; /* JSON writes these as Lua does */
    }
}

static void add_lua(ml_buf *out, const ml_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ml_buf_byte(out, i == 0 ? '{' : ',');
        ml_show_lua_key(out, ml_cli_text(fields[i].name));
        add_lua_field(out, &fields[i]);
    }
    ml_buf_byte(out, '}');
}

/* ---- tables ------------------------------------------------------------------------- */

/* Whole seconds are enough to look at. */
static void add_seconds(ml_buf *out, int64_t time)
{
    char text[ML_TIME_TEXT + 1];
    size_t size = ml_time_write(text, time);
    const char *dot = memchr(text, '.', size);
    ml_buf_add(out, text, dot != NULL ? (size_t)(dot - text) : size);
    if (dot != NULL) ml_buf_byte(out, 'Z');
}

/* A value as JSON, nil as nothing. */
static void add_plain_value(ml_buf *out, ml_bytes value)
{
    if (ml_bytes_equal(value, ML_STR("\xc0"))) return;
    ml_buf json = {0};
    add_value(&json, value);
    ml_cli_plain(out, ml_buf_view(&json));
    out->failed |= json.failed;
    ml_buf_free(&json);
}

/* A cell: text as it is, but for what could play with the terminal. */
static void add_plain_field(ml_buf *out, const ml_field *field)
{
    switch (field->kind) {
    case ML_FIELD_TEXT: ml_cli_plain(out, field->bytes); break;
    case ML_FIELD_TIME: add_seconds(out, field->time); break;
    case ML_FIELD_ID: add_id(out, field->bytes.data); break;
    case ML_FIELD_VALUE: add_plain_value(out, field->bytes); break;
    case ML_FIELD_NATURAL:
    case ML_FIELD_NUMBER:
    case ML_FIELD_BOOL: add_field(out, field); break;
    }
}

/* A single record: "name      value" a line. */
static void add_lines(ml_buf *out, const ml_field *fields, size_t count)
{
    size_t width = 0;
    for (size_t i = 0; i < count; i++)
        if (strlen(fields[i].name) > width) width = strlen(fields[i].name);
    for (size_t i = 0; i < count; i++) {
        ml_buf_print(out, "%-*s  ", (int)width, fields[i].name);
        add_plain_field(out, &fields[i]);
        ml_buf_byte(out, '\n');
    }
}

static bool add_row(ml_show *show, const ml_field *fields, size_t count)
{
    ml_buf cell = {0};
    bool going = ml_show_table_begin_row(show, fields, count);
    for (size_t i = 0; i < count && going; i++) {
        ml_buf_clear(&cell);
        add_plain_field(&cell, &fields[i]);
        going = !cell.failed && ml_show_table_cell(show, i, ml_buf_view(&cell));
    }
    show->out.failed |= !going;
    ml_buf_free(&cell);
    return going;
}

/* ---- records ------------------------------------------------------------------------ */

bool ml_show_record(ml_show *show, const ml_field *fields, size_t count)
{
    ML_ASSERT(count <= ML_SHOW_FIELDS_MAX);
    ml_buf *out = &show->out;
    if (show->failed != 0) return false;
    switch (show->shape) {
    case ML_SHAPE_TABLE:
        if (show->list) ML_IGNORE(!add_row(show, fields, count)); /* shows as out->failed */
        else add_lines(out, fields, count);
        break;
    case ML_SHAPE_JSON:
        if (show->list) ml_buf_add(out, show->count == 0 ? "[\n" : ",\n", 2);
        add_object(out, fields, count);
        if (!show->list) ml_buf_byte(out, '\n');
        break;
    case ML_SHAPE_NDJSON:
        add_object(out, fields, count);
        ml_buf_byte(out, '\n');
        break;
    case ML_SHAPE_LUA:
        add_lua(out, fields, count);
        ml_buf_byte(out, '\n');
        break;
    }
    show->count++;
    return (out->size < FLUSH_BYTES && !out->failed) || ml_show_flush(show);
}

bool ml_show_now(ml_show *show)
{
    if (show->shape == ML_SHAPE_TABLE && show->list) ml_show_table_end(show);
    return ml_show_flush(show);
}

static int say_failure(const ml_show *show, int status)
{
    if (show->failed == EINTR) return ML_EXIT_INTERRUPTED;
    if (show->failed == EPIPE) return status != ML_EXIT_OK ? status : ML_EXIT_PIPE;
    /* Not a code that invites to try again: what the verb did is done. */
    ml_cli_failf(show->cli, ML_IO, "write stdout: %s; only the output is missing, %s was done",
                 strerror(show->failed), show->cli->verb->name);
    return status != ML_EXIT_OK ? status : ML_EXIT_FAILED;
}

int ml_show_end(ml_show *show, int status)
{
    if (show->shape == ML_SHAPE_TABLE && show->list) ml_show_table_end(show);
    if (show->shape == ML_SHAPE_JSON && show->list && show->failed == 0)
        ml_buf_print(&show->out, show->count == 0 ? "[]\n" : "\n]\n");
    bool written = ml_show_flush(show);
    ml_buf_free(&show->out);
    ml_buf_free(&show->rows);
    ml_buf_free(&show->ends);
    return written ? status : say_failure(show, status);
}

int ml_show_one(const ml_cli *cli, const ml_field *fields, size_t count, int status)
{
    ml_show show;
    ml_show_begin(&show, cli, false);
    ML_IGNORE(!ml_show_record(&show, fields, count)); /* ml_show_end says it */
    return ml_show_end(&show, status);
}
