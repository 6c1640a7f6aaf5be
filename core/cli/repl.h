/* repl.h -- what `moonlog repl` and `moonlog dev` are made of.
 *
 *     verb_repl.c     the verb: a terminal, or lines from stdin, or -e
 *     verb_dev.c      the same with rules that are watched; or the tour of an example
 *     repl_lua.c      the session's Lua state (lua/moonlog/repl.lua); of cli, it and verb_test.c
 *                     have lua.h
 *     repl_term.c     the line being typed; the only file with histedit.h
 *     repl_history.c  what was typed before
 *     repl_watch.c    a directory of rules, watched
 *     repl_loop.c     waits for all of them at once
 *
 * There is one connection to the daemon: it is reached like any verb's (reach.h) and then handed
 * to Lua, which asks and is pushed to over it.
 *
 * Floor    cli.
 * Threads  one.
 * Memory   text is given in buffers of the caller.
 * Errors   what is typed may fail, and says why in text; what the machine refuses is ml_code.
 */
#ifndef ML_CLI_REPL_H
#define ML_CLI_REPL_H

#include <histedit.h>
#include <limits.h>

#include "client.h"

/* ---- repl_lua.c ------------------------------------------------------------------------- */

struct lua_State;

/* The directory that has moonlog/repl.lua and its like: near the program, or MOONLOG_LUA. */
ML_MUST_USE ml_code ml_repl_find_files(char dir[PATH_MAX], ml_error *why);
/* Has `require` look there first, and find "moonlog" in this program. May raise. */
void ml_repl_set_path(struct lua_State *L, const char *dir);

typedef enum ml_repl_fed {
    ML_REPL_MORE, /* the statement goes on */
    ML_REPL_DONE,
    ML_REPL_FAILED,
    ML_REPL_QUIT
} ml_repl_fed;

typedef struct ml_repl {
    const ml_cli *cli;
    struct lua_State *lua;
    int file;     /* the connection, borrowed */
    bool waiting; /* something may have been pushed that was not shown */
    bool gone;    /* the connection has ended */
} ml_repl;

/* Opens a session on a connected client that said it wants events as arrays. `name` is how
 * sentences call the source of lines: "repl:3: …". UNSUPPORTED if lua/moonlog is not found. */
ML_MUST_USE ml_code ml_repl_open(ml_repl *repl, const ml_cli *cli, const ml_client *client,
                                 const char *name, bool terminal, ml_error *why);
void ml_repl_close(ml_repl *repl);

/* Takes a line. What is to be printed is appended to `said`, without a newline at its end; the
 * whole statement, once it is whole, to `statement`, which may be NULL. */
ml_repl_fed ml_repl_feed(ml_repl *repl, ml_bytes line, ml_buf *said, ml_buf *statement);
/* No more lines come. */
ml_repl_fed ml_repl_finish(ml_repl *repl, ml_buf *said);
/* Gives up what was begun. */
void ml_repl_cancel(ml_repl *repl);

/* The first words, and what stands before a line; `columns` of the terminal. */
void ml_repl_greet(ml_repl *repl, const char *place, ml_buf *said);
void ml_repl_prompt(ml_repl *repl, unsigned columns, ml_buf *prompt);
/* What may stand at the end of `line`: each name with its NUL; gives how many, and in *begun how
 * many bytes of the line they stand for. */
size_t ml_repl_complete(ml_repl *repl, ml_bytes line, ml_buf *names, size_t *begun);

/* What was pushed since, as lines; sets `waiting` and `gone`. */
void ml_repl_pushed(ml_repl *repl, ml_buf *said);

/* Loads a directory of rules; false if it was refused. With `changed` only if the files are not
 * those that were loaded last, and then only what changed is said. */
bool ml_repl_load(ml_repl *repl, const char *dir, bool changed, ml_buf *said);

/* ---- repl_history.c --------------------------------------------------------------------- */

typedef struct ml_repl_history {
    History *list;
    char path[4096]; /* "" if there is no place for it */
} ml_repl_history;

/* Reads $XDG_STATE_HOME/moonlog/history (~/.local/state/…). That it cannot be kept is no error:
 * then it is that of the session. NO_MEMORY. */
ML_MUST_USE ml_code ml_repl_history_open(ml_repl_history *history, ml_error *why);
/* Adds a whole statement, to the file too. */
void ml_repl_history_add(ml_repl_history *history, ml_bytes statement);
void ml_repl_history_close(ml_repl_history *history);

/* ---- repl_term.c ------------------------------------------------------------------------ */

typedef struct ml_repl_term {
    ml_repl *repl;
    EditLine *edit;
    ml_repl_history history;
    ml_buf prompt, said, statement, names;
    bool accepted, cancelled, ended; /* what the last key did to the line */
    bool quit;
} ml_repl_term;

/* Takes the terminal that stdin and stdout are, and shows the first prompt. */
ML_MUST_USE ml_code ml_repl_term_open(ml_repl_term *term, ml_repl *repl, ml_error *why);
/* Reads a key; evaluates a line that is whole. */
void ml_repl_term_key(ml_repl_term *term);
/* Prints lines above the prompt, and the line that is being typed again below them. */
void ml_repl_term_above(ml_repl_term *term, ml_bytes text);
/* Gives the terminal back. */
void ml_repl_term_close(ml_repl_term *term);

/* ---- repl_watch.c ----------------------------------------------------------------------- */

typedef struct ml_repl_watch {
    const char *dir;
    int file;     /* readable when something changed; -1: none */
    bool changed; /* something did, and more may be on its way */
} ml_repl_watch;

ML_MUST_USE ml_code ml_repl_watch_open(ml_repl_watch *watch, const char *dir, ml_error *why);
/* Notes what changed. */
void ml_repl_watch_take(ml_repl_watch *watch);
void ml_repl_watch_close(ml_repl_watch *watch);

/* ---- repl_loop.c, verb_repl.c ----------------------------------------------------------- */

/* A session on a terminal, to its end. `rules`, a directory to load first, and `watch` may be NULL.
 * Gives the exit status. */
int ml_repl_loop(const ml_cli *cli, const ml_client *client, const char *rules,
                 ml_repl_watch *watch);

/* The same from stdin, and for each -e there is instead. */
int ml_repl_lines(const ml_cli *cli, const ml_client *client);

/* Are stdin and stdout a terminal, and was no -e given? */
bool ml_repl_is_terminal(const ml_cli *cli);

#endif
