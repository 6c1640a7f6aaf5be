/* verb_repl.c -- `moonlog repl`: a session on a terminal, or statements from stdin or the command
 * line, which stop at the first that fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "reach.h"
#include "repl.h"

bool ml_repl_is_terminal(const ml_cli *cli)
{
    return ml_options_count(cli, "eval") == 0 && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* ---- lines without a terminal ----------------------------------------------------------- */

/* What was said, on stdout, or as an error. False if it cannot be written. */
static bool tell(const ml_buf *said, bool failed)
{
    if (said->size == 0) return true;
    FILE *to = failed ? stderr : stdout;
    if (failed) fputs("moonlog: ", to);
    fwrite(said->data, 1, said->size, to);
    fputc('\n', to);
    return fflush(to) == 0 && !ferror(to);
}

typedef struct lines {
    ml_repl repl;
    ml_buf said;
    int status;
} lines;

/* False when there is nothing more to do. */
static bool feed(lines *l, ml_bytes line, bool last)
{
    ml_buf_clear(&l->said);
    ml_repl_fed fed = ml_repl_feed(&l->repl, line, &l->said, NULL);
    if (last && fed == ML_REPL_MORE) fed = ml_repl_finish(&l->repl, &l->said);
    if (fed == ML_REPL_FAILED) l->status = ML_EXIT_FAILED;
    if (!tell(&l->said, fed == ML_REPL_FAILED) && l->status == ML_EXIT_OK) l->status = ML_EXIT_PIPE;
    return l->status == ML_EXIT_OK && fed != ML_REPL_QUIT;
}

static void feed_stdin(lines *l)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    bool going = true;
    while (going && (size = getline(&line, &room, stdin)) > 0) {
        if (line[size - 1] == '\n') size--;
        going = feed(l, (ml_bytes){line, (size_t)size}, false);
    }
    free(line);
    ml_buf_clear(&l->said);
    if (!going || ml_repl_finish(&l->repl, &l->said) != ML_REPL_FAILED) return;
    l->status = ML_EXIT_FAILED;
    ML_IGNORE(!tell(&l->said, true)); /* it has failed already */
}

int ml_repl_lines(const ml_cli *cli, const ml_client *client)
{
    ml_error why;
    lines l = {0};
    size_t count = ml_options_count(cli, "eval");
    ml_code code = ml_repl_open(&l.repl, cli, client, count > 0 ? "-e" : "stdin", false, &why);
    if (code) return ml_cli_fail(cli, code, why.sentence);
    bool going = true;
    for (size_t n = 0; going && n < count; n++)
        going = feed(&l, ml_cli_text(ml_options_at(cli, "eval", n)), true);
    if (count == 0) feed_stdin(&l);
    ml_repl_close(&l.repl);
    ml_buf_free(&l.said);
    return l.status;
}

/* ---- the verb --------------------------------------------------------------------------- */

int ml_verb_repl(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    ml_client client;
    int status;
    if (!ml_reach_open(cli, ML_REACH_WRITE, false, &client, &status)) return status;
    status = ml_repl_is_terminal(cli) ? ml_repl_loop(cli, &client, NULL, NULL)
                                      : ml_repl_lines(cli, &client);
    return ml_reach_close(cli, &client, status);
}
