/* repl_history.c -- what was typed before: one statement a line in a file, its own newlines as \n.
 *
 * Each statement is added as it is accepted, so several sessions share a file and none that is
 * killed forgets. What is old is cut off when it is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repl.h"

enum {
    KEPT = 1000,               /* statements remembered */
    FILE_LINES_MAX = 2 * KEPT, /* more, and the file is cut */
    STATEMENT_MAX = 64 << 10   /* longer ones are not worth keeping */
};

/* ---- where ------------------------------------------------------------------------------ */

/* Makes the folders on the way to a file. */
static void make_folders(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ML_IGNORE(mkdir(path, 0700) != 0); /* it is there, or the file will not open */
        *slash = '/';
    }
}

static void find_path(char *path, size_t size)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int length = 0;
    if (state != NULL && state[0] == '/')
        length = snprintf(path, size, "%s/moonlog/history", state);
    else if (home != NULL && home[0] == '/')
        length = snprintf(path, size, "%s/.local/state/moonlog/history", home);
    if (length <= 0 || length >= (int)size) path[0] = '\0';
    else make_folders(path);
}

/* ---- lines ------------------------------------------------------------------------------ */

static void pack_line(ml_buf *out, ml_bytes statement)
{
    const char *text = statement.data;
    for (size_t n = 0; n < statement.size; n++) {
        if (text[n] == '\n') ml_buf_print(out, "\\n");
        else if (text[n] == '\\') ml_buf_print(out, "\\\\");
        else ml_buf_byte(out, (uint8_t)text[n]);
    }
    ml_buf_byte(out, '\n');
}

/* In place; the line gets no longer. */
static void unpack_line(char *line)
{
    char *to = line;
    for (const char *at = line; *at != '\0' && *at != '\n'; at++) {
        if (*at == '\\' && at[1] == 'n') *to++ = '\n', at++;
        else if (*at == '\\' && at[1] == '\\') *to++ = '\\', at++;
        else *to++ = *at;
    }
    *to = '\0';
}

static void remember(ml_repl_history *past, const char *statement)
{
    HistEvent event;
    ML_IGNORE(history(past->list, &event, H_ENTER, statement) < 0);
}

/* ---- the file --------------------------------------------------------------------------- */

/* Writes what is remembered beside the file, and puts it in its place. */
static void rewrite(const ml_repl_history *past)
{
    char aside[sizeof past->path + 8];
    HistEvent event;
    ml_buf out = {0};
    snprintf(aside, sizeof aside, "%s.new", past->path);
    for (int found = history(past->list, &event, H_LAST); found >= 0;
         found = history(past->list, &event, H_PREV))
        pack_line(&out, ml_cli_text(event.str));
    int file = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool whole = file >= 0 && !out.failed && write(file, out.data, out.size) == (ssize_t)out.size;
    if (file >= 0) close(file);
    /* If it cannot be cut, it stays long. */
    if (whole) ML_IGNORE(rename(aside, past->path) != 0);
    else if (file >= 0) ML_IGNORE(unlink(aside) != 0);
    ml_buf_free(&out);
}

static void read_all(ml_repl_history *past)
{
    char *line = NULL;
    size_t room = 0, lines = 0;
    FILE *file = fopen(past->path, "re");
    if (file == NULL) return;
    while (getline(&line, &room, file) > 0) {
        unpack_line(line);
        remember(past, line);
        lines++;
    }
    free(line);
    fclose(file);
    if (lines > FILE_LINES_MAX) rewrite(past);
}

ml_code ml_repl_history_open(ml_repl_history *past, ml_error *why)
{
    HistEvent event;
    *past = (ml_repl_history){.list = history_init()};
    if (past->list == NULL) return ml_error_memory(why, "the history");
    ML_IGNORE(history(past->list, &event, H_SETSIZE, KEPT) < 0);
    ML_IGNORE(history(past->list, &event, H_SETUNIQUE, 1) < 0);
    find_path(past->path, sizeof past->path);
    if (past->path[0] != '\0') read_all(past);
    return ML_OK;
}

void ml_repl_history_add(ml_repl_history *past, ml_bytes statement)
{
    ml_buf line = {0};
    if (statement.size == 0 || statement.size > STATEMENT_MAX) return;
    ml_buf_add(&line, statement.data, statement.size);
    ml_buf_byte(&line, '\0');
    if (!line.failed) remember(past, (const char *)line.data);
    ml_buf_clear(&line);
    pack_line(&line, statement);
    int file = past->path[0] == '\0'
                   ? -1
                   : open(past->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    /* One write, so that lines of two sessions do not mix. A full disk is no reason to stop. */
    if (file >= 0 && !line.failed) ML_IGNORE(write(file, line.data, line.size) < 0);
    if (file >= 0) close(file);
    ml_buf_free(&line);
}

void ml_repl_history_close(ml_repl_history *past)
{
    if (past->list != NULL) history_end(past->list);
    past->list = NULL;
}
