/* cli.c -- what every verb does in the same way. */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "../base/json.h"
#include "../base/limits.h"

/* ---- saying no ---------------------------------------------------------------------- */

/* To stderr in one write, so that lines of several processes do not mix. */
static void say(const ml_buf *line)
{
    /* There is nowhere left to say that this failed. */
    ML_IGNORE(write(STDERR_FILENO, line->data, line->size) < 0);
}

static void say_json(ml_buf *line, ml_code code, const char *sentence)
{
    ml_buf_print(line, "{\"error\":{\"code\":\"%s\",\"number\":%d,\"message\":",
                 ml_error_name(code), (int)code);
    ml_json_string(line, ml_cli_text(sentence));
    ml_buf_print(line, ",\"retry\":%s}}\n", ml_error_retry(code) ? "true" : "false");
}

int ml_cli_fail(const ml_cli *cli, ml_code code, const char *sentence)
{
    ml_buf line = {0};
    if (cli->shape == ML_SHAPE_JSON) {
        say_json(&line, code, sentence);
    } else {
        ml_buf_print(&line, "moonlog: %s: ", ml_error_name(code));
        ml_cli_plain(&line, ml_cli_text(sentence));
        ml_buf_byte(&line, '\n');
    }
    say(&line);
    ml_buf_free(&line);
    return ml_error_exit(code);
}

int ml_cli_failf(const ml_cli *cli, ml_code code, const char *format, ...)
{
    char sentence[ML_SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return ml_cli_fail(cli, code, sentence);
}

int ml_cli_usage(const ml_cli *cli, const char *format, ...)
{
    char sentence[ML_SENTENCE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    ml_cli_fail(cli, ML_BAD_REQUEST, sentence);
    return ML_EXIT_USAGE;
}

const char *ml_cli_sentence(ml_code code, const char *why)
{
    const char *name = ml_error_name(code);
    size_t size = strlen(name);
    bool named = strncmp(why, name, size) == 0 && why[size] == ':' && why[size + 1] == ' ';
    return named ? why + size + 2 : why;
}

int ml_cli_no_store(const ml_cli *cli)
{
    return ml_cli_failf(cli, ML_NOT_FOUND,
                        "there is no store in %.700s; append or import creates it", cli->data);
}

/* ---- text --------------------------------------------------------------------------- */

bool ml_cli_natural(const char *text, uint64_t least, uint64_t most, uint64_t *value)
{
    uint64_t result = 0;
    if (text[0] == '\0') return false;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < '0' || *at > '9') return false;
        if (__builtin_mul_overflow(result, 10, &result)) return false;
        if (__builtin_add_overflow(result, (uint64_t)(*at - '0'), &result)) return false;
    }
    if (result < least || result > most) return false;
    *value = result;
    return true;
}

void ml_cli_plain(ml_buf *out, ml_bytes text)
{
    const uint8_t *data = text.data;
    for (size_t i = 0; i < text.size; i++) {
        bool second = data[i] == 0xc2 && i + 1 < text.size && data[i + 1] < 0xa0; /* U+0080.. */
        if (second) ml_buf_print(out, "\\u00%02x", data[++i]);
        else if (data[i] < 0x20 || data[i] == 0x7f) ml_buf_print(out, "\\u00%02x", data[i]);
        else ml_buf_byte(out, data[i]);
    }
}

/* ---- JSON ----------------------------------------------------------------------------- */

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

static int refuse_twice(const ml_cli *cli, const char *what, ml_bytes key)
{
    ml_unpack cursor = ml_unpack_from(key);
    ml_bytes name;
    if (key.size == 0)
        return ml_cli_failf(cli, ML_NO_MEMORY, "out of memory for the keys of %s", what);
    if (!ml_unpack_str(&cursor, &name)) name = ML_STR("of that name");
    return ml_cli_failf(cli, ML_BAD_REQUEST, "%s, key %.*s is there twice; leave one out", what,
                        ML_SHOW(name));
}

int ml_cli_json(const ml_cli *cli, const char *what, ml_bytes text, ml_buf *out)
{
    ml_error why;
    size_t before = out->size;
    ml_code code = ml_json_read(text, out, &why);
    if (code) return ml_cli_failf(cli, code, "%s, %s", what, why.sentence);
    ml_bytes key, value = {out->data + before, out->size - before};
    if (!ml_twice_find(value, &key)) return ML_EXIT_OK;
    return refuse_twice(cli, what, key);
}

int ml_cli_data(const ml_cli *cli, const char *word, ml_buf *out)
{
    if (strcmp(word, "-") != 0) return ml_cli_json(cli, "data", ml_cli_text(word), out);
    ml_buf text = {0};
    ml_error why;
    ml_code code = read_stdin(&text, &why);
    int status = code == ML_OK ? ml_cli_json(cli, "data", ml_buf_view(&text), out)
                               : ml_cli_fail(cli, code, why.sentence);
    ml_buf_free(&text);
    return status;
}

/* ---- the world ---------------------------------------------------------------------- */

static volatile sig_atomic_t deferred, interrupted;

static void on_interrupt(int number)
{
    (void)number;
    if (!deferred || interrupted) _exit(ML_EXIT_INTERRUPTED);
    interrupted = 1;
}

void ml_cli_catch_signals(void)
{
    struct sigaction interrupt = {.sa_handler = on_interrupt}; /* no SA_RESTART: wake read() */
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    /* These calls fail only for signals that do not exist. */
    ML_IGNORE(sigaction(SIGINT, &interrupt, NULL) != 0);
    ML_IGNORE(sigaction(SIGPIPE, &ignore, NULL) != 0);
    ML_IGNORE(sigaction(SIGXFSZ, &ignore, NULL) != 0); /* a file-size limit is an error like any */
}

void ml_cli_defer_interrupt(void) { deferred = 1; }

bool ml_cli_interrupted(void) { return interrupted != 0; }

double ml_cli_seconds(void)
{
    struct timespec now = {0};
    ML_IGNORE(clock_gettime(CLOCK_MONOTONIC, &now) != 0); /* this clock is always there */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
