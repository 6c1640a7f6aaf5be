/* fault.c -- what went wrong in a script, in words that may be shown anywhere. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>

#include "../base/unpack.h"
#include "sandbox_inside.h"

enum {
    SHORT_NAME = LUA_IDSIZE - 1, /* of a file name, in front of what Lua says; a longer one is … */
    SHORT_TAIL = LUA_IDSIZE - 4  /* "..." and so many bytes of its end */
};

/* ---- text ------------------------------------------------------------------------------- */

/* Bytes of the character that the text begins with; 0 if it is none, or a control character. */
static size_t printable(const char *text, size_t size)
{
    unsigned char first = (unsigned char)text[0];
    size_t width = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0x20 || first == 0x7f || width > size) return 0;
    if (first == 0xc2 && (unsigned char)text[1] < 0xa0) return 0;
    return ml_unpack_utf8((ml_bytes){text, width}) ? width : 0;
}

/* Copies text that may hold anything, as far as it fits with a '\0'; gives the bytes used. */
static size_t put_clean(char *to, size_t room, const char *text, size_t size)
{
    size_t used = 0;
    for (size_t at = 0; at < size;) {
        size_t width = printable(text + at, size - at);
        if (used + (width > 0 ? width : 1) >= room) break;
        if (width > 0) memcpy(to + used, text + at, width);
        else to[used] = isspace((unsigned char)text[at]) ? ' ' : '?';
        used += width > 0 ? width : 1;
        at += width > 0 ? width : 1;
    }
    to[used] = '\0';
    return used;
}

void ml_fault_quote(ml_fault *fault, ml_bytes text)
{
    const char *at = text.data, *end = at + text.size;
    fault->source[0] = '\0';
    if (fault->line == 0) return;
    for (uint32_t line = 1; line < fault->line && at != NULL; line++) {
        at = memchr(at, '\n', (size_t)(end - at));
        if (at != NULL) at++;
    }
    if (at == NULL) return;
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    if (stop == NULL) stop = end;
    while (at < stop && isspace((unsigned char)*at)) at++;
    while (stop > at && isspace((unsigned char)stop[-1])) stop--;
    put_clean(fault->source, sizeof fault->source, at, (size_t)(stop - at));
}

static void put_source(const ml_sandbox *sandbox, ml_fault *fault)
{
    size_t n = ml_sandbox_find(sandbox, (ml_bytes){fault->file, strlen(fault->file)});
    fault->source[0] = '\0';
    if (n < sandbox->count) ml_fault_quote(fault, sandbox->sources[n].text);
}

/* ---- places ----------------------------------------------------------------------------- */

/* How Lua shows the name of a file in front of a message. */
static bool begins_with_file(ml_bytes text, ml_bytes path, size_t *shown)
{
    bool cut = path.size > SHORT_NAME - 1;
    ml_bytes tail = {(const char *)path.data + (cut ? path.size - SHORT_TAIL : 0),
                     cut ? SHORT_TAIL : path.size};
    size_t dots = cut ? 3 : 0;
    *shown = dots + tail.size;
    if (text.size <= *shown || (cut && memcmp(text.data, "...", 3) != 0)) return false;
    return memcmp((const char *)text.data + dots, tail.data, tail.size) == 0 &&
           ((const char *)text.data)[*shown] == ':';
}

/* Reads ":12: " or ": " at `at`; gives its size, 0 if it is neither. */
static size_t read_line(ml_bytes text, size_t at, uint32_t *line)
{
    const char *bytes = text.data;
    size_t start = at++;
    *line = 0;
    if (at < text.size && bytes[at] == ' ') return 2;
    for (; at < text.size && isdigit((unsigned char)bytes[at]) && *line < 100000000; at++)
        *line = *line * 10 + (uint32_t)(bytes[at] - '0');
    bool whole = at + 1 < text.size && at > start + 1 && bytes[at] == ':' && bytes[at + 1] == ' ';
    return whole ? at + 2 - start : 0;
}

/* A script may write what it likes in front of an error: it does not blame a file that is not
 * running. Among the innermost frames: a deep stack takes long to climb. */
static bool is_running(const ml_sandbox *sandbox, ml_bytes path)
{
    lua_Debug frame;
    for (int level = 0; level <= ML_SANDBOX_TRACE_LEVELS; level++) {
        if (!lua_getstack(sandbox->L, level, &frame) || !lua_getinfo(sandbox->L, "S", &frame))
            return false;
        if (frame.source[0] == '@' &&
            ml_bytes_equal(path, (ml_bytes){frame.source + 1, strlen(frame.source + 1)}))
            return true;
    }
    return false;
}

void ml_fault_say(const ml_sandbox *sandbox, ml_fault *fault, ml_bytes text)
{
    size_t shown = 0, digits = 0;
    uint32_t line;
    for (size_t n = 0; n < sandbox->count && digits == 0; n++) {
        ml_bytes path = sandbox->sources[n].path;
        if (path.size == 0 || !begins_with_file(text, path, &shown)) continue;
        digits = read_line(text, shown, &line);
        if (digits > 0 && sandbox->failing == ML_FAULT_NONE && !is_running(sandbox, path))
            digits = 0;
        if (digits == 0) continue;
        put_clean(fault->file, sizeof fault->file, path.data, path.size);
        fault->line = line;
        put_source(sandbox, fault);
    }
    size_t skip = digits > 0 ? shown + digits : 0;
    put_clean(fault->message, sizeof fault->message, (const char *)text.data + skip,
              text.size - skip);
}

/* "account.lua:12: in withdraw", on a line of its own; gives the bytes used. */
static size_t put_frame(char *to, size_t room, const lua_Debug *frame)
{
    char line[320];
    const char *file = frame->source[0] == '@' ? frame->source + 1 : frame->short_src;
    int size = snprintf(line, sizeof line, "%.200s:%d: in ", file, frame->currentline);
    size_t used = (size_t)size, left = sizeof line - used;
    if (frame->name != NULL) snprintf(line + used, left, "%.80s", frame->name);
    else if (frame->what[0] == 'm') snprintf(line + used, left, "the file itself");
    else snprintf(line + used, left, "the function of line %d", frame->linedefined);
    return put_clean(to, room, line, strlen(line));
}

void ml_fault_locate(const ml_sandbox *sandbox, ml_fault *fault)
{
    lua_Debug frame;
    size_t used = 0;
    *fault = (ml_fault){0};
    for (int level = 0, shown = 0; lua_getstack(sandbox->L, level, &frame); level++) {
        if (!lua_getinfo(sandbox->L, "Sln", &frame) || frame.currentline < 0) continue;
        if (shown == ML_SANDBOX_TRACE_LEVELS || used + 16 > sizeof fault->traceback) break;
        if (shown++ == 0) {
            const char *file = frame.source[0] == '@' ? frame.source + 1 : "";
            put_clean(fault->file, sizeof fault->file, file, strlen(file));
            fault->line = (uint32_t)frame.currentline;
        } else {
            fault->traceback[used++] = '\n';
        }
        used += put_frame(fault->traceback + used, sizeof fault->traceback - used, &frame);
    }
    put_source(sandbox, fault);
}

/* ---- of the host's own ------------------------------------------------------------------ */

void ml_fault_set(ml_fault *fault, ml_fault_kind kind, const char *file, uint32_t line,
                  const char *format, ...)
{
    char text[sizeof fault->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    *fault = (ml_fault){.kind = kind, .line = line};
    put_clean(fault->file, sizeof fault->file, file, strlen(file));
    put_clean(fault->message, sizeof fault->message, text, strlen(text));
}

ml_code ml_fault_tell(const ml_fault *fault, ml_error *why)
{
    if (fault->file[0] == '\0') return ml_error_set(why, ML_SCRIPT_ERROR, "%s", fault->message);
    if (fault->line == 0)
        return ml_error_set(why, ML_SCRIPT_ERROR, "%s: %s", fault->file, fault->message);
    return ml_error_set(why, ML_SCRIPT_ERROR, "%s:%u: %s", fault->file, (unsigned)fault->line,
                        fault->message);
}
