/* cli.h -- the program `moonlog`: what its verbs share.
 *
 *     main.c      the signal flag, and the way in
 *     verbs.c     THE table: every verb, its options, its help      help.c  shows it
 *     options.c   walks the words of a command line by that table
 *     cli.c       what every verb says in the same way: errors, numbers, JSON
 *     twice.c     JSON in which a key stands twice
 *     reach.h     the daemon that a verb talks to     client.h  how it talks
 *     select.h    which events
 *     show.h      results on stdout as table, JSON, NDJSON or Lua
 *     progress.h  a bar on stderr
 *     repl.h      the session behind `repl` and `dev`
 *     verb_*.c    the verbs, each `int ml_verb_<name>(cli, argc, argv)`: the exit status
 *
 * Floor    cli, the top: speaks base, the doors of the server and of a worker (rules/worker.h), and the reader
 *          of configurations (script/config.h).
 * Threads  one.
 * Errors   a verb says why on stderr itself (ml_cli_fail and its kin) and returns what
 *          the program exits with.
 */
#ifndef ML_CLI_CLI_H
#define ML_CLI_CLI_H

#include "../base/error.h"
#include "../base/buf.h"

enum ml_exit {
    ML_EXIT_OK = 0,
    ML_EXIT_FAILED = 1,
    ML_EXIT_USAGE = 2,
    ML_EXIT_NOT_FOUND = 3,
    ML_EXIT_CONFLICT = 4,
    ML_EXIT_REFUSED = 5,     /* by a rule */
    ML_EXIT_UNREACHABLE = 6, /* cannot connect, or timed out */
    ML_EXIT_PROBLEMS = 7,    /* a check found some */
    ML_EXIT_INTERRUPTED = 130,
    ML_EXIT_PIPE = 141 /* whoever read stdout has gone; what SIGPIPE would give */
};

/* How results are written. */
typedef enum ml_shape { ML_SHAPE_TABLE, ML_SHAPE_JSON, ML_SHAPE_NDJSON, ML_SHAPE_LUA } ml_shape;

typedef struct ml_cli ml_cli;

/* ---- the table of verbs ------------------------------------------------------------- */

typedef struct ml_option {
    const char *name;  /* "limit" for --limit; NULL ends a list */
    const char *value; /* what follows it, as the usage line names it: "N"; NULL: a switch */
    const char *help;  /* one line; NULL: only for moonlog itself, not shown */
    char letter;       /* 'o' for -o, or 0 */
    bool many;         /* may be given again and again */
} ml_option;

typedef struct ml_verb {
    const char *name;
    const char *words;      /* its positional words, as the usage line names them */
    int least, most;        /* how many of them */
    const char *help;       /* one line; NULL: only for moonlog itself, not shown */
    const char *hint;       /* for who gave too few words, or too many; or NULL */
    const char *manual;     /* the rest: what it prints, what it refuses */
    const char *example;
    const ml_option *options;
    bool local;             /* asks no daemon */
    /* argv[0] is the verb, then its positional words; options are asked from `cli`. Gives
     * the exit status. */
    int (*run)(const ml_cli *cli, int argc, char **argv);
} ml_verb;

extern const ml_verb ml_verbs[];          /* ends with .name == NULL */
extern const ml_option ml_verbs_common[]; /* the options that every verb takes */

/* The verb of that name, or NULL. */
const ml_verb *ml_verbs_find(const char *name);

/* What was probably meant: of `count` names the first that begins with `word`, else the nearest
 * to it, or NULL if none is near. */
const char *ml_verbs_nearest(const char *word, const char *const *names, size_t count);

/* The help of one verb, or with NULL of all, on stdout; gives the exit status. */
int ml_help_show(const ml_cli *cli, const ml_verb *verb);

/* ---- a command line ----------------------------------------------------------------- */

typedef struct ml_given {
    const ml_option *option;
    const char *value; /* never empty; NULL for a switch */
} ml_given;

/* A command line after it was read. All of it is borrowed from argv and the environment. */
struct ml_cli {
    const ml_verb *verb; /* NULL: none was named */
    const char *data;    /* the directory of the store */
    const char *connect; /* where a daemon listens, or NULL */
    ml_shape shape;
    unsigned width; /* columns of the terminal that stdout is; 0: stdout is none */
    bool progress;  /* stderr is a terminal */
    bool colour;    /* stdout is one, and NO_COLOR is not set */
    bool help, version;
    ml_given *given; /* options, in the order they came */
    size_t given_count;
    char **words; /* the verb, then its positional words */
    int word_count;
};

/* Reads the command line. ML_OK, or the sentence for a usage error; in both cases `cli`
 * holds what could be read (so that errors have the shape asked for) and wants
 * ml_options_free. */
ML_MUST_USE ml_code ml_options_read(ml_cli *cli, int argc, char **argv, ml_error *why);
void ml_options_free(ml_cli *cli);

/* Was it given? Its value, the last if it came again; NULL if not given. Asking for an option
 * that the verb's table does not list is a bug. */
bool ml_options_has(const ml_cli *cli, const char *name);
const char *ml_options_get(const ml_cli *cli, const char *name);
/* How often it was given, and its `at`th value from 0. */
size_t ml_options_count(const ml_cli *cli, const char *name);
const char *ml_options_at(const ml_cli *cli, const char *name, size_t at);
/* Its value as a number least..most; `value` is left alone if it was not given. A usage error
 * is said, and false returned, if it is no such number. */
ML_MUST_USE bool ml_options_natural(const ml_cli *cli, const char *name, uint64_t least,
                                    uint64_t most, uint64_t *value);

/* ---- saying no ---------------------------------------------------------------------- */

/* Writes "moonlog: CODE: sentence" to stderr, as JSON if that was asked for; gives the exit
 * status for the code. */
int ml_cli_fail(const ml_cli *cli, ml_code code, const char *sentence);
int ml_cli_failf(const ml_cli *cli, ml_code code, const char *format, ...) ML_FORMAT(3, 4);
/* There is no store to read; gives the exit status. */
int ml_cli_no_store(const ml_cli *cli);
/* A wrong command line: BAD_REQUEST, and always ML_EXIT_USAGE. */
int ml_cli_usage(const ml_cli *cli, const char *format, ...) ML_FORMAT(2, 3);

/* A "CODE: sentence" without its code. */
const char *ml_cli_sentence(ml_code code, const char *why);

/* A plain natural number least..most, nothing around it. */
ML_MUST_USE bool ml_cli_natural(const char *text, uint64_t least, uint64_t most,
                                uint64_t *value);

/* `text` with control characters as \u00XX, so that no name can play with a terminal. */
void ml_cli_plain(ml_buf *out, ml_bytes text);

/* Does a key stand twice in one of the maps of a MessagePack value? Which; empty bytes if there
 * is no memory to tell. */
ML_MUST_USE bool ml_twice_find(ml_bytes value, ml_bytes *key);

/* A JSON text as MessagePack onto `out`; `what` is shown in sentences. Gives the exit status,
 * after saying what is wrong: a key that stands twice is, too. */
int ml_cli_json(const ml_cli *cli, const char *what, ml_bytes text, ml_buf *out);
/* The same for a word of the command line; "-" is all of stdin. */
int ml_cli_data(const ml_cli *cli, const char *word, ml_buf *out);

static inline ml_bytes ml_cli_text(const char *text) { return (ml_bytes){text, strlen(text)}; }

/* ---- the world ---------------------------------------------------------------------- */

/* From here on SIGINT ends the program with ML_EXIT_INTERRUPTED, which a store survives like
 * any other sudden end, and a closed pipe shows as a failed write. */
void ml_cli_catch_signals(void);

/* From here on a first SIGINT only raises a flag, for verbs that have something to finish;
 * their loops ask for it, and blocking calls return with EINTR. */
void ml_cli_defer_interrupt(void);
bool ml_cli_interrupted(void);

/* Seconds of a clock that only goes forward. */
double ml_cli_seconds(void);

/* ---- the verbs ---------------------------------------------------------------------- */

int ml_verb_append(const ml_cli *cli, int argc, char **argv);
int ml_verb_serve(const ml_cli *cli, int argc, char **argv);
int ml_verb_config(const ml_cli *cli, int argc, char **argv);
int ml_verb_tail(const ml_cli *cli, int argc, char **argv);
int ml_verb_signal(const ml_cli *cli, int argc, char **argv);
int ml_verb_listen(const ml_cli *cli, int argc, char **argv);
int ml_verb_rpc(const ml_cli *cli, int argc, char **argv);
int ml_verb_repl(const ml_cli *cli, int argc, char **argv);
int ml_verb_dev(const ml_cli *cli, int argc, char **argv);
int ml_verb_import(const ml_cli *cli, int argc, char **argv);
int ml_verb_export(const ml_cli *cli, int argc, char **argv);
int ml_verb_read(const ml_cli *cli, int argc, char **argv);
int ml_verb_streams(const ml_cli *cli, int argc, char **argv);
int ml_verb_head(const ml_cli *cli, int argc, char **argv);
int ml_verb_status(const ml_cli *cli, int argc, char **argv);
int ml_verb_verify(const ml_cli *cli, int argc, char **argv);
int ml_verb_command(const ml_cli *cli, int argc, char **argv);
int ml_verb_state(const ml_cli *cli, int argc, char **argv);
int ml_verb_rules(const ml_cli *cli, int argc, char **argv);
int ml_verb_projection(const ml_cli *cli, int argc, char **argv);
int ml_verb_whatif(const ml_cli *cli, int argc, char **argv);
int ml_verb_test(const ml_cli *cli, int argc, char **argv);
int ml_verb_worker(const ml_cli *cli, int argc, char **argv);
int ml_verb_doctor(const ml_cli *cli, int argc, char **argv);
int ml_verb_help(const ml_cli *cli, int argc, char **argv);
int ml_verb_version(const ml_cli *cli, int argc, char **argv);

/* In bench*.c; its options stand beside it, in the form of the table. */
int ml_bench_run(const ml_cli *cli, int argc, char **argv);
extern const ml_option ml_bench_options[];
extern const char ml_bench_manual[];

#endif
