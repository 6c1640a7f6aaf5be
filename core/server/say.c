/* say.c -- the program's own messages: one line each on stderr, text or JSON.
 *
 * ("log" means events in this house.) Control characters in names from outside are shown as
 * escapes, so that nobody writes a line of ours.
 */
#include <stdarg.h>
#include <stdio.h>

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
    if (!line.failed) fwrite(line.data, 1, line.size, stderr);
    ml_buf_free(&line);
}
