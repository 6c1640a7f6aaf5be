/* repl_loop.c -- waits for keys, for what the daemon pushes, for what a daemon of our own says, and
 * for rules that change; whichever comes is shown above the line that is being typed.
 */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "repl.h"

enum {
    QUIET_MS = 20, /* a folder of rules that is changing is looked at when it is quiet so long */
    MESSAGE_MAX = 4096
};

typedef struct loop {
    ml_repl repl;
    ml_repl_term term;
    ml_repl_watch *watch;
    int messages; /* what a daemon of our own says on its stderr; -1: none */
    ml_buf said;
} loop;

static void show_said(loop *l)
{
    ml_repl_term_above(&l->term, ml_buf_view(&l->said));
    ml_buf_clear(&l->said);
}

static void take_messages(loop *l)
{
    char text[MESSAGE_MAX];
    ssize_t size = read(l->messages, text, sizeof text);
    if (size < 0 && errno == EINTR) return;
    if (size <= 0) l->messages = -1;
    else ml_buf_add(&l->said, text, (size_t)size);
    show_said(l);
}

static void take_rules(loop *l)
{
    l->watch->changed = false;
    ML_IGNORE(!ml_repl_load(&l->repl, l->watch->dir, true, &l->said)); /* it says so itself */
    show_said(l);
}

/* One turn; false when the terminal is gone. */
static bool turn(loop *l)
{
    enum { KEYS, DAEMON, MESSAGES, RULES, COUNT };
    bool changed = l->watch != NULL && l->watch->changed;
    struct pollfd files[COUNT] = {
        [KEYS] = {.fd = STDIN_FILENO, .events = POLLIN},
        [DAEMON] = {.fd = l->repl.gone ? -1 : l->repl.file, .events = POLLIN},
        [MESSAGES] = {.fd = l->messages, .events = POLLIN},
        [RULES] = {.fd = l->watch != NULL ? l->watch->file : -1, .events = POLLIN}};
    int found = poll(files, COUNT, l->repl.waiting ? 0 : changed ? QUIET_MS : -1);
    if (found < 0) return errno == EINTR; /* a new size of the window */
    if (l->repl.waiting || files[DAEMON].revents != 0) {
        ml_repl_pushed(&l->repl, &l->said);
        show_said(l);
    }
    if (files[MESSAGES].revents != 0) take_messages(l);
    if (files[RULES].revents != 0) ml_repl_watch_take(l->watch);
    else if (changed) take_rules(l);
    if ((files[KEYS].revents & POLLIN) != 0) ml_repl_term_key(&l->term);
    return (files[KEYS].revents & (POLLIN | POLLHUP | POLLERR | POLLNVAL)) <= POLLIN;
}

static void greet(loop *l, const char *rules)
{
    const ml_cli *cli = l->repl.cli;
    ml_repl_greet(&l->repl, cli->connect != NULL ? cli->connect : cli->data, &l->said);
    if (rules != NULL) {
        ml_buf_byte(&l->said, '\n');
        ML_IGNORE(!ml_repl_load(&l->repl, rules, false,
                                &l->said)); /* its author is here to put it right */
    }
}

int ml_repl_loop(const ml_cli *cli, const ml_client *client, const char *rules,
                 ml_repl_watch *watch)
{
    ml_error why;
    loop l = {.watch = watch, .messages = client->messages};
    ml_code code = ml_repl_open(&l.repl, cli, client, "repl", true, &why);
    if (code) return ml_cli_fail(cli, code, why.sentence);
    greet(&l, rules);
    code = ml_repl_term_open(&l.term, &l.repl, &why);
    if (!code) {
        show_said(&l);
        while (!l.term.quit && turn(&l)) continue;
        ml_repl_term_close(&l.term);
    }
    ml_repl_close(&l.repl);
    ml_buf_free(&l.said);
    return code ? ml_cli_fail(cli, code, why.sentence) : ML_EXIT_OK;
}
