/* blame.c -- see blame.h. */
#include "blame.h"

#include <unistd.h>

#include "../base/json.h"
#include "reach.h"

static void say(ml_buf *text)
{
    /* There is nowhere left to say that this failed. */
    if (!text->failed) ML_IGNORE(write(STDERR_FILENO, text->data, text->size) < 0);
    ml_buf_free(text);
}

/* Where in the line the first word that the message quotes stands; 0 if nowhere. */
static size_t column_of(ml_bytes source, ml_bytes message)
{
    const char *text = message.data;
    for (size_t n = 0; n < message.size; n++) {
        if (text[n] != '\'' && text[n] != '"') continue;
        const char *word = text + n + 1, *close = memchr(word, text[n], message.size - n - 1);
        if (close == NULL || close == word) return 0;
        const char *found = memmem(source.data, source.size, word, (size_t)(close - word));
        return found != NULL ? (size_t)(found - (const char *)source.data) : 0;
    }
    return 0;
}

static void add_source(ml_buf *out, ml_bytes source, ml_bytes message)
{
    if (source.size == 0) return;
    ml_buf_print(out, "  ");
    ml_cli_plain(out, source);
    ml_buf_print(out, "\n  %*s^\n", (int)column_of(source, message), "");
}

/* ---- diagnostics ------------------------------------------------------------------ */

static void add_diagnostic(ml_buf *out, ml_bytes one)
{
    ml_bytes message = ml_unpack_find_str(one, "message");
    ml_cli_plain(out, ml_unpack_find_str(one, "file"));
    if (ml_client_natural(one, "line") > 0)
        ml_buf_print(out, ":%llu", (unsigned long long)ml_client_natural(one, "line"));
    ml_buf_print(out, ": ");
    ml_cli_plain(out, ml_unpack_find_str(one, "severity"));
    ml_buf_print(out, ": ");
    ml_cli_plain(out, ml_unpack_find_str(one, "code"));
    ml_buf_print(out, ": ");
    ml_cli_plain(out, message);
    ml_buf_byte(out, '\n');
    add_source(out, ml_unpack_find_str(one, "source"), message);
}

size_t ml_blame_show_all(const ml_cli *cli, ml_bytes result)
{
    uint32_t count;
    size_t errors = 0;
    ml_unpack list = ml_client_list(result, "diagnostics", &count);
    for (uint32_t n = 0; n < count; n++) {
        ml_buf out = {0};
        const uint8_t *from = list.at;
        if (!ml_unpack_skip(&list)) break;
        ml_bytes one = {from, (size_t)(list.at - from)};
        ml_unpack cursor = ml_unpack_from(one);
        errors += ml_bytes_equal(ml_unpack_find_str(one, "severity"), ML_STR("error"));
        if (cli->shape != ML_SHAPE_JSON)
            add_diagnostic(&out, one);
        else if (ml_json_write(&cursor, &out))
            ml_buf_byte(&out, '\n');
        say(&out);
    }
    return errors;
}

/* ---- a fault ---------------------------------------------------------------------- */

static void add_traceback(ml_buf *out, ml_bytes text)
{
    const char *at = text.data, *end = at + text.size;
    while (text.size > 0 && at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL) stop = end;
        ml_buf_print(out, "    ");
        ml_cli_plain(out, (ml_bytes){at, (size_t)(stop - at)});
        ml_buf_byte(out, '\n');
        at = stop + 1;
    }
}

static void show_more(ml_bytes fault)
{
    ml_buf out = {0};
    ml_bytes event = ml_unpack_find(fault, "event");
    add_source(&out, ml_unpack_find_str(fault, "source"), ml_unpack_find_str(fault, "message"));
    add_traceback(&out, ml_unpack_find_str(fault, "traceback"));
    if (event.size > 0) {
        unsigned long long position = ml_client_natural(event, "position");
        if (position > 0) ml_buf_print(&out, "  event %llu, ", position);
        else ml_buf_print(&out, "  decided, and not written: ");
        ml_cli_plain(&out, ml_unpack_find_str(event, "type"));
        ml_buf_print(&out, " in ");
        ml_cli_plain(&out, ml_unpack_find_str(event, "stream"));
        ml_buf_byte(&out, '\n');
    }
    say(&out);
}

bool ml_blame_show(const ml_cli *cli, ml_bytes result, int *status)
{
    uint32_t count;
    int64_t number;
    ml_bytes text;
    ml_error why;
    ml_unpack error = ml_client_list(result, "error", &count);
    if (count != 2 || !ml_unpack_int(&error, &number) || !ml_unpack_str(&error, &text))
        return false;
    ml_client_error(text, &why);
    *status = ml_cli_fail(cli, why.code, why.sentence);
    if (cli->shape != ML_SHAPE_JSON) show_more(ml_unpack_find(result, "fault"));
    return true;
}
