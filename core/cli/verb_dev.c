/* verb_dev.c -- `moonlog dev`: rules that are being written, a daemon to try them, and a session.
 *
 * The daemon is reached like any verb's, so it is our own and goes with us unless one is there
 * already. The rules are loaded and reloaded over the session's connection.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "reach.h"
#include "repl.h"

extern char **environ;

enum { PATH_BYTES = 4096 };

/* ---- what is where ---------------------------------------------------------------------- */

static bool is_directory(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* An example is a directory that has its rules in rules/; what else is given is the rules. Without
 * a word ./rules, if there is one: else `rules` is "". */
static bool find_rules(const ml_cli *cli, const char *word, char rules[PATH_BYTES])
{
    const char *dir = word != NULL ? word : ".";
    int size = snprintf(rules, PATH_BYTES, "%s/rules", dir);
    if (size < PATH_BYTES && is_directory(rules)) return true;
    rules[0] = '\0';
    if (word == NULL) return true;
    size = snprintf(rules, PATH_BYTES, "%s", word);
    if (size < PATH_BYTES && is_directory(rules)) return true;
    ml_cli_failf(cli, ML_NOT_FOUND, "there is no directory %.512s with rules in it", word);
    return false;
}

/* ---- the tour --------------------------------------------------------------------------- */

/* Runs sh SCRIPT; gives its exit status. */
static int run_script(const ml_cli *cli, const char *script)
{
    const char *words[] = {"sh", script, NULL};
    pid_t pid;
    int ended = 0,
        failed = posix_spawnp(&pid, "sh", NULL, NULL, (char *const *)(uintptr_t)words, environ);
    if (failed)
        return ml_cli_failf(cli, ML_IO, "%.512s cannot be run: %s", script, strerror(failed));
    while (waitpid(pid, &ended, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(ended) ? WEXITSTATUS(ended) : ML_EXIT_FAILED;
}

/* Which program, and whose store, the script finds in its environment. */
static int play(const ml_cli *cli, const char *script)
{
    char program[PATH_BYTES];
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    if (size < 0)
        return ml_cli_failf(cli, ML_IO, "/proc/self/exe cannot be read: %s", strerror(errno));
    program[size] = '\0';
    if (setenv("MOONLOG", program, 1) != 0 || setenv("DATA", cli->data, 1) != 0)
        return ml_cli_fail(cli, ML_NO_MEMORY, "out of memory for the environment of the tour");
    return run_script(cli, script);
}

/* ---- without a terminal ----------------------------------------------------------------- */

/* Makes the rules the active ones; false after saying on stderr what is wrong with them. */
static bool load(const ml_cli *cli, const ml_client *client, const char *rules, int *status)
{
    ml_repl repl;
    ml_error why;
    ml_buf said = {0};
    ml_code code = ml_repl_open(&repl, cli, client, "dev", false, &why);
    bool active = !code && ml_repl_load(&repl, rules, false, &said);
    if (code) *status = ml_cli_fail(cli, code, why.sentence);
    else if (!active) fprintf(stderr, "%.*s\n", (int)said.size, (const char *)said.data);
    if (!code && !active) *status = ML_EXIT_PROBLEMS;
    ml_repl_close(&repl);
    ml_buf_free(&said);
    return active;
}

static int dev_plain(const ml_cli *cli, const ml_client *client, const char *word,
                     const char *rules)
{
    char tour[PATH_BYTES];
    int status = ML_EXIT_OK;
    if (rules[0] != '\0' && !load(cli, client, rules, &status)) return status;
    int size = snprintf(tour, sizeof tour, "%s/tour.sh", word != NULL ? word : ".");
    bool has_tour = size < (int)sizeof tour && access(tour, R_OK) == 0;
    if (has_tour && ml_options_count(cli, "eval") == 0) return play(cli, tour);
    return ml_repl_lines(cli, client);
}

/* ---- with one --------------------------------------------------------------------------- */

static int dev_terminal(const ml_cli *cli, const ml_client *client, const char *rules)
{
    ml_repl_watch watch;
    ml_error why;
    if (rules[0] == '\0') return ml_repl_loop(cli, client, NULL, NULL);
    /* Watched before it is read, so that no change falls between. */
    ml_code code = ml_repl_watch_open(&watch, rules, &why);
    if (code) return ml_cli_fail(cli, code, why.sentence);
    int status = ml_repl_loop(cli, client, rules, &watch);
    ml_repl_watch_close(&watch);
    return status;
}

int ml_verb_dev(const ml_cli *given, int argc, char **argv)
{
    ml_cli here = *given, *cli = &here;
    char rules[PATH_BYTES];
    const char *word = argc > 1 ? argv[1] : NULL;
    ml_client client;
    int status;
    here.connect = NULL; /* MOONLOG_CONNECT is for verbs that work with someone's daemon */
    if (!find_rules(cli, word, rules)) return ML_EXIT_NOT_FOUND;
    if (!ml_reach_open(cli, ML_REACH_WRITE, false, &client, &status)) return status;
    status = ml_repl_is_terminal(cli) ? dev_terminal(cli, &client, rules)
                                      : dev_plain(cli, &client, word, rules);
    return ml_reach_close(cli, &client, status);
}
