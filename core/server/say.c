/* say.c -- the program's own messages: one line each on stderr or in a file, text or JSON.
 *
 * ("log" means events in this house.) Control characters in names from outside are shown as
 * escapes, so that nobody writes a line of ours.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <unistd.h>

#include "../base/json.h"
#include "../base/text.h"
#include "inside.h"

static void add_escaped(ml_buf *line, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x20 || byte == 0x7f) ml_buf_print(line, "\\x%02x", byte);
        else ml_buf_byte(line, byte);
    }
}

void ml_say(const ml_server *server, const char *level, const char *format, ...)
{
    char text[ML_SENTENCE_MAX], when[ML_TIME_TEXT + 1];
    struct timespec now;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    clock_gettime(CLOCK_REALTIME, &now);
    ml_time_write(when, (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    ml_buf line = {0};
    if (server->options->json_messages) {
        ml_buf_print(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":", when, level);
        ml_json_string(&line, (ml_bytes){text, strlen(text)});
        ml_buf_print(&line, "}\n");
    } else {
        ml_buf_print(&line, "%s %s ", when, level);
        add_escaped(&line, text);
        ml_buf_byte(&line, '\n');
    }
    /* In one piece, behind what others write; there is nobody to tell if it fails. */
    if (!line.failed) ML_IGNORE(write(server->said, line.data, line.size) < 0);
    ml_buf_free(&line);
}

ml_code ml_say_open(ml_server *server, ml_error *why)
{
    const char *path = server->options->messages_file;
    if (path == NULL) return ML_OK;
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (file < 0) return ml_error_disk(why, -errno, "open", path);
    ml_say_close(server);
    server->said = file;
    return ML_OK;
}

void ml_say_close(ml_server *server)
{
    if (server->said != STDERR_FILENO) close(server->said);
    server->said = STDERR_FILENO;
}
