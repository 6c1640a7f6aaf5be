/* verbs.c -- THE table of verbs: command lines are read by it, help is printed from it. */
#include "cli.h"

#define WAIT                                                                             \
    {.name = "wait", .value = "SECONDS",                                                 \
     .help = "for another program that has the store open for writing; default 5, 0 not at all"}

#define RAW {.name = "raw", .help = "as stored, and not in the shape that upcasters give"}

/* Ends a list. */
#define NO_MORE {0}

const ml_option ml_verbs_common[] = {
    {.name = "data", .value = "DIR",
     .help = "the store's directory; default MOONLOG_DATA, else ./moonlog-data"},
    {.name = "connect", .value = "URI",
     .help = "a daemon: unix:PATH or tcp:HOST:PORT; default MOONLOG_CONNECT, else that of DIR"},
    {.name = "token-file", .value = "FILE",
     .help = "the first line is the daemon's token, wanted on TCP; default MOONLOG_TOKEN itself"},
    {.name = "output", .letter = 'o', .value = "table|json|ndjson|lua",
     .help = "how results are written; default table on a terminal, else ndjson"},
    {.name = "help", .letter = 'h', .help = "the help of this verb"},
    {.name = "version", .help = "the version of this program"},
    NO_MORE,
};

static const ml_option append_options[] = {
    {.name = "expected", .value = "any|no_stream|stream_exists|N",
     .help = "what the stream must be for the append to be admitted; N is its last revision; "
             "default any"},
    {.name = "tag", .value = "T", .many = true,
     .help = "a label for queries across streams; up to 32"},
    {.name = "meta", .value = "JSON",
     .help = "an object kept beside the data: correlation_id, causation_id, actor, ..."},
    {.name = "id", .value = "UUID",
     .help = "the event's id, which makes a retry safe; default a new one"},
    {.name = "occurred", .value = "TIME",
     .help = "business time: RFC 3339, or microseconds since 1970 UTC"},
    {.name = "schema", .value = "N", .help = "the version of the type's shape; default 1"},
    {.name = "durability", .value = "disk|os|memory",
     .help = "when it counts as done; default disk: survives power loss"},
    WAIT,
    NO_MORE,
};

static const ml_option import_options[] = {
    {.name = "batch", .value = "N",
     .help = "events per append, each synced and whole or absent; 1 to 1024, default 1000"},
    WAIT,
    NO_MORE,
};

static const ml_option export_options[] = {
    {.name = "from", .value = "P", .help = "the first position; default 1"},
    {.name = "to", .value = "P", .help = "the last position; default the last there is"},
    {.name = "system", .help = "also the streams that begin with $, which import does not take"},
    NO_MORE,
};

static const ml_option read_options[] = {
    {.name = "type", .value = "T", .many = true,
     .help = "only events of this type; several are OR'd"},
    {.name = "tag", .value = "T", .many = true,
     .help = "only events with this tag; several are AND'd"},
    {.name = "from", .value = "N",
     .help = "where to begin: a revision of a stream, else a position; it is included"},
    {.name = "limit", .value = "N", .help = "events at most"},
    {.name = "backward", .help = "newest first"},
    RAW,
    {.name = "system", .help = "with $all: also the streams that begin with $"},
    NO_MORE,
};

static const ml_option streams_options[] = {
    {.name = "category", .value = "C",
     .help = "only streams of this category: the part before the first '-'"},
    {.name = "prefix", .value = "P", .help = "only streams whose name begins so"},
    {.name = "limit", .value = "N", .help = "streams at most"},
    {.name = "after", .value = "FIRST", .help = "go on behind the stream whose `first` this is"},
    NO_MORE,
};

static const ml_option verify_options[] = {
    {.name = "deep",
     .help = "also each event's fields and revisions, and the index against the log"},
    NO_MORE,
};

#define SETTINGS                                                                         \
    {.name = "listen", .value = "tcp:HOST:PORT", .many = true,                           \
     .help = "also listen here; beyond loopback only with a token file"},                \
    {.name = "messages", .value = "text|json",                                           \
     .help = "how the daemon's own messages are written"},                               \
    {.name = "messages-file", .value = "FILE",                                           \
     .help = "where they go, instead of stderr; opened again on SIGHUP"},                \
    {.name = "connections", .value = "N",                                                \
     .help = "connections at most; default 1024, fewer if `ulimit -n` leaves no more"},  \
    {.name = "connections-per-address", .value = "N",                                    \
     .help = "of them from one address on TCP; default 64, this machine as many as it likes"}, \
    {.name = "workers", .value = "N",                                                    \
     .help = "processes that run rules; default as many as there are processors"},       \
    {.name = "rules", .value = "DIR",                                                    \
     .help = "rule files to be active; if they have errors, what was active stays"},     \
    {.name = "config", .value = "FILE", .help = "a Lua file that returns a table of settings"}

static const ml_option config_options[] = {SETTINGS, NO_MORE};

static const ml_option serve_options[] = {
    SETTINGS,
    {.name = "for-command", .value = "read|use|write"},
    NO_MORE,
};

static const ml_option tail_options[] = {
    {.name = "from", .value = "start|end|N|@TIME",
     .help = "begin at a position (included) or a time; default end: only what is still to come"},
    {.name = "type", .value = "T", .many = true,
     .help = "only events of this type; several are OR'd"},
    {.name = "tag", .value = "T", .many = true,
     .help = "only events with this tag; several are AND'd"},
    {.name = "system", .help = "with $all: also the streams that begin with $"},
    RAW,
    {.name = "until-end", .help = "stop where the log ends, instead of waiting for more"},
    NO_MORE,
};

static const ml_option signal_options[] = {
    {.name = "reply", .help = "wait for one answer and print it"},
    {.name = "timeout", .value = "SECONDS", .help = "how long to wait for it; default 5"},
    NO_MORE,
};

static const ml_option listen_options[] = {
    {.name = "count", .value = "N", .help = "stop after so many signals"},
    NO_MORE,
};

static const ml_option command_options[] = {
    {.name = "command-id", .value = "ID",
     .help = "does it once: sent again, it gets what was written the first time"},
    {.name = "meta", .value = "JSON", .help = "an object for the events' meta: actor, traceparent, ..."},
    NO_MORE,
};

static const ml_option state_options[] = {
    {.name = "at", .value = "REV|#POS|TIME",
     .help = "up to and including that revision, position of the log, or time of recording"},
    {.name = "as-of", .value = "TIME", .help = "only what had occurred by then"},
    {.name = "diff", .value = "A..B", .help = "what is different between two moments, each as of --at"},
    NO_MORE,
};

static const ml_option rules_options[] = {
    {.name = "full", .help = "check, load: prove upcasters on every event, and not on one of each shape"},
    {.name = "to", .value = "HASH", .help = "rollback: to the version whose hash begins so"},
    WAIT,
    NO_MORE,
};

static const ml_option whatif_options[] = {
    {.name = "unit", .value = "U", .help = "of this unit alone, like projection/balances"},
    {.name = "from", .value = "P", .help = "differences that begin at this position, or later"},
    {.name = "limit", .value = "N", .help = "show so many of each unit; default 1000"},
    NO_MORE,
};
static const ml_option projection_options[] = {
    {.name = "after", .value = "POS",
     .help = "get, scan: wait until the view has passed this position of the log"},
    {.name = "at", .value = "POS", .help = "get, scan: as the view was at that position"},
    {.name = "timeout", .value = "SECONDS", .help = "get, scan: how long to wait for the view"},
    {.name = "window", .value = "TIME",
     .help = "get: of the windows that a row has, the one around this time"},
    {.name = "json-key", .help = "get: KEY is JSON: 7, \"7\", true"},
    {.name = "index", .value = "FIELD",
     .help = "scan: in the order of this field, which the projection indexes"},
    {.name = "from", .value = "V",
     .help = "scan: begin with this value of the index, or with this key; it is included"},
    {.name = "to", .value = "V", .help = "scan: end with this one; it is included"},
    {.name = "limit", .value = "N", .help = "scan: rows at most"},
    {.name = "backward", .help = "scan: the last first"},
    {.name = "position", .value = "P", .help = "skip: of the event to pass over"},
    {.name = "reason", .value = "TEXT", .help = "skip: why; it is kept in the log"},
    NO_MORE,
};

static const ml_option rpc_options[] = {
    {.name = "document", .help = "print the protocol's description (core/PROTOCOL.md)"},
    NO_MORE,
};

static const ml_option repl_options[] = {
    {.name = "eval", .letter = 'e', .value = "STATEMENT", .many = true,
     .help = "evaluate this instead of what is typed; may be given again"},
    WAIT,
    NO_MORE,
};

const ml_verb ml_verbs[] = {
    {.name = "append", .words = "STREAM TYPE [JSON|-]", .least = 2, .most = 3,
     .run = ml_verb_append, .options = append_options,
     .help = "append one event to a stream",
     .manual =
         "The data is any JSON value; '-' reads it from stdin; without one it is null. A\n"
         "stream begins with its first event. Prints the position and the revision the\n"
         "event was given, and \"duplicate\": true if an event with this id was there\n"
         "already. Exits 4 if the stream is not what --expected says, 1 if a program\n"
         "other than a daemon keeps the store open for writing longer than --wait.\n\n"
         "--id makes a retry safe: the same id in the same stream writes nothing and\n"
         "prints the result of the first append, whatever the data is this time. With\n"
         "--expected a revision or no_stream an id is known for ever, else while it is\n"
         "among the last 65536 events. In another stream it is refused.\n\n"
         "Floats stay floats (35.0) and integers integers (35); NaN and the infinities\n"
         "are {\"$float\":\"nan\"}, \"inf\", \"-inf\"; bytes are {\"$bin\":\"base64\"}.",
     .example = "moonlog append account-ada Deposited '{\"amount\": 500}' --expected 3"},
    {.name = "serve", .words = "", .least = 0, .most = 0,
     .run = ml_verb_serve, .options = serve_options, .local = true,
     .help = "run the daemon on the store",
     .manual =
         "Listens on DIR/moonlog.sock (mode 0660), speaks msgpack-rpc (core/PROTOCOL.md), and\n"
         "prints `ready SOCKET tcp:HOST:PORT pid N` when it serves, with every address that\n"
         "is bound (port 0 asks for a free one). SIGTERM and SIGINT finish the appends\n"
         "under way, and it exits 0. Options go before the environment (MOONLOG_DATA,\n"
         "MOONLOG_LISTEN with commas, and so on for each), and that before the keys of the\n"
         "configuration: data, listen, token_file, messages, messages_file, connections,\n"
         "connections_per_address, workers, rules. Other verbs need no daemon: where none runs,\n"
         "one is started for the command.\n"
         "The unix socket is for the daemon's user, root, and the group that the socket has\n"
         "(chgrp it to let a group in). Who sends a message over more than 10 seconds, or\n"
         "takes no answers for so long, is disconnected; so is, where a token is wanted, who\n"
         "does not bring it in 5. `moonlog rpc hello` shows the limits.\n"
         "TCP is plain text, the token too: beyond this machine put it into a tunnel.",
     .example = "moonlog serve --data ./moonlog-data --listen tcp:127.0.0.1:7070"},
    {.name = "config", .words = "check|show", .least = 1, .most = 1,
     .run = ml_verb_config, .options = config_options, .local = true,
     .help = "check a configuration, or show what serve would take",
     .manual =
         "The file is Lua, run in an empty environment: `return { data = \"/var/lib/moonlog\",\n"
         "listen = { \"tcp:127.0.0.1:7070\" } }`. `show` prints each value and where it comes\n"
         "from: option, environment, file or default. An unknown key is an error. `check` exits\n"
         "as serve would if it could not begin with them; another daemon on the directory, or\n"
         "on the address, is no matter.",
     .example = "moonlog config show --listen tcp:127.0.0.1:7070"},
    {.name = "import", .words = "[FILE|-]", .least = 0, .most = 1,
     .run = ml_verb_import, .options = import_options,
     .help = "append the events of an NDJSON file",
     .manual =
         "Each line is an object {\"stream\", \"type\", \"data\"?, \"meta\"?, \"tags\"?, \"id\"?,\n"
         "\"occurred\"?, \"schema\"?}; they are appended in this order, and empty lines are\n"
         "skipped. The fields position, revision and time, which export prints, are\n"
         "accepted and ignored: the store gives its own. A bad line stops the import\n"
         "with its number, and nothing of its batch is written; the batches before it\n"
         "are, and stay. Lines that carry ids can be imported again at once: events that\n"
         "are there already are counted as duplicates.",
     .example = "moonlog import examples/bank/history.ndjson"},
    {.name = "export", .words = "", .run = ml_verb_export, .options = export_options,
     .help = "print all events, as import reads them",
     .manual =
         "Prints the events of all streams but those of the system, in the order of positions.\n"
         "Importing them into an empty store gives the same log but for the time of recording,\n"
         "and for what the daemon notes in streams that begin with $: which rules are active.\n"
         "Load the rules there, too. Default shape is ndjson, also on a terminal.",
     .example = "moonlog export --from 1 --to 10"},
    {.name = "read", .words = "STREAM|'$all'|'$category:C'", .least = 1, .most = 1,
     .run = ml_verb_read, .options = read_options,
     .help = "print the events of a stream, a category, or all",
     .hint = "in a shell, '$all' and '$category:C' want their quotes",
     .manual =
         "Reads what is there now, also beside a process that writes. `--type` and\n"
         "`--tag` select; an event must have one of the types and all of the tags. A\n"
         "table shows some fields, times in whole seconds, and the data cut to the width\n"
         "of the terminal; the other shapes (-o json) show events whole. Exits 3 if the\n"
         "stream has no event. In a shell, '$all' and '$category:C' want their quotes.",
     .example = "moonlog read '$category:account' --type Deposited --limit 10 --backward"},
    {.name = "tail", .words = "[STREAM|'$all'|'$category:C']", .least = 0, .most = 1,
     .run = ml_verb_tail, .options = tail_options,
     .help = "print events as they come",
     .hint = "in a shell, '$all' and '$category:C' want their quotes",
     .manual =
         "Follows the log without gap or duplicate, until interrupted. Without a word it\n"
         "follows all. N is a position in the log, for a stream too; a TIME is RFC 3339 or\n"
         "microseconds since 1970 UTC.",
     .example = "moonlog tail '$category:account' --from start --type Deposited"},
    {.name = "signal", .words = "SUBJECT [JSON|-]", .least = 1, .most = 2,
     .run = ml_verb_signal, .options = signal_options,
     .help = "tell whoever listens; nothing is stored",
     .manual =
         "A subject is tokens with a '.' between them. Prints how many heard it. With\n"
         "--reply it is a request: the first answer is printed; exits 3 if nobody\n"
         "listens, 6 if nobody answers in time.",
     .example = "moonlog signal ui.alert '{\"order\": 7}'"},
    {.name = "listen", .words = "PATTERN", .least = 1, .most = 1,
     .run = ml_verb_listen, .options = listen_options,
     .help = "print signals as they come",
     .manual =
         "In a pattern * is any one token, and > at the end is the rest. A signal that\n"
         "wants an answer has the field reply: answer with `moonlog signal REPLY JSON`.",
     .example = "moonlog listen 'ui.>' --count 1"},
    {.name = "command", .words = "AGGREGATE ID NAME [JSON|-|KEY=VALUE]...", .least = 3, .most = 64,
     .run = ml_verb_command, .options = command_options,
     .hint = "say the aggregate, its id and the command; then its arguments",
     .help = "let an aggregate's rule decide, and append what it decides",
     .manual =
         "Prints the events written. A value is JSON if it can be read as such, else text.\n"
         "A refusal is a line on stderr, and exit status 5. An error in the script is told\n"
         "with the line of its source and how it came there.",
     .example = "moonlog command account ada withdraw amount=30"},
    {.name = "state", .words = "AGGREGATE ID", .least = 2, .most = 2,
     .run = ml_verb_state, .options = state_options,
     .help = "fold an aggregate's events: what it is, or was",
     .manual =
         "Prints the state, and revision and position of the last event in it. --at looks\n"
         "at what was recorded, --as-of at when it happened. --diff prints a record for\n"
         "each field that differs; B may be left out for now.",
     .example = "moonlog state account ada --at 2026-01-31T12:00:00Z"},
    {.name = "rules", .words = "ls|check|load|diff|history|rollback|show [DIR|UNIT]",
     .least = 1, .most = 2, .run = ml_verb_rules, .options = rules_options,
     .hint = "say what to do: ls, check DIR, load DIR, diff DIR, history, rollback UNIT, show UNIT",
     .help = "the rules that are active, and how to exchange them",
     .manual =
         "check DIR compiles the rule files, checks their shape and tries them on what has\n"
         "happened; load DIR makes them active as well, or exits 7 with what is wrong on\n"
         "stderr and what was active still active. diff DIR prints the lines that differ\n"
         "from the active ones. ls lists those, and history what was active when. rollback\n"
         "UNIT (or `pack` for all) loads the version from before. show UNIT prints the\n"
         "source. DIR may also hold a folder `rules` of rule files, and none itself.",
     .example = "moonlog rules load examples/bank/rules"},
    {.name = "projection",
     .words = "ls|get|scan|pause|resume|rebuild|rollback|skip|retry [NAME] [KEY|PREFIX]",
     .least = 1, .most = 3, .run = ml_verb_projection, .options = projection_options,
     .hint = "say what to do: ls, get NAME KEY, scan NAME [PREFIX], pause NAME, ...",
     .help = "read models: rows that are kept up with the log",
     .manual =
         "get prints the row of a key, and the position of the log that it speaks of; exits 3 if\n"
         "there is none, 6 if the view is not that far in time. A key is text; where no row has\n"
         "it and it can be read as a number or true or false, the row of that is meant. A\n"
         "projection without keys has one row: get NAME. scan prints the rows whose keys\n"
         "begin with PREFIX, or all, in the order of keys or of --index. What can be read as a\n"
         "number in PREFIX, --from or --to is looked for as a number, and if there is none, as text.\n"
         "ls tells how far each one is: lag counts the events of the log that it has not seen,\n"
         "behind says since when the first of them is there, eta when it will have seen all. One that\n"
         "is stopped has an error: correct its rules and load them, and it goes on by itself; or\n"
         "retry, or skip the event. rebuild begins again beside the view that is read; rollback goes\n"
         "back to the version before, and once more to this one; a version that is still being\n"
         "built it gives up.",
     .example = "moonlog projection scan balances --index balance --backward --limit 3"},
    {.name = "whatif", .words = "DIR", .least = 1, .most = 1, .run = ml_verb_whatif,
     .options = whatif_options, .hint = "say which directory of rule files",
     .help = "replay history through other rules: what would be different",
     .manual =
         "Folds all events with the rules in DIR and with the active ones, and prints each row of\n"
         "a projection and each state of an aggregate that would be another today, with the\n"
         "first event that made it so; where events raise an error; and which commands would\n"
         "now be refused, allowed, or decide otherwise. Those are known of aggregates that say\n"
         "`record = true`. Nothing is written. Exits 0 if nothing differs, else 7.",
     .example = "moonlog whatif examples/bank/rules --unit account"},
    {.name = "test", .words = "DIR", .least = 1, .most = 1, .run = ml_verb_test, .local = true,
     .hint = "say which directory of rule files",
     .help = "run the specs of rules, without a daemon",
     .manual =
         "Checks the rule files in DIR as `rules check` does, but for the log, and has busted\n"
         "(apt-get install lua-busted) run each *_spec.lua in DIR and below; lua/README.md tells\n"
         "how they are written. Ends with a line `N passed, N failed`; exits 7 if any failed, or\n"
         "if there is none.",
     .example = "moonlog test examples/bank/rules"},
    {.name = "doctor", .words = "", .run = ml_verb_doctor, .local = true,
     .help = "check what rules rely on: this machine's Lua and its kernel",
     .manual =
         "Tries in child processes what rules of a stranger might: escapes from a worker,\n"
         "and the known bugs of this Lua. `warning` is for you to know, `bad` must not be:\n"
         "exit 7.",
     .example = "moonlog doctor"},
    {.name = "worker", .words = "[ROLE]", .most = 1, .run = ml_verb_worker, .local = true},
    {.name = "rpc", .words = "METHOD [JSON|-]", .least = 0, .most = 2,
     .run = ml_verb_rpc, .options = rpc_options,
     .help = "call any method of the daemon",
     .manual =
         "The JSON is the method's one map of parameters. Prints the result as JSON, or with\n"
         "-o lua as Lua, as the daemon sent it: unlike `read`, with times in microseconds and ids\n"
         "as {\"$bin\":\"base64\"}. `moonlog rpc api` lists the methods. Subscribing and listening\n"
         "end with the connection: those are `tail` and `listen`.",
     .example = "moonlog rpc read '{\"stream\": \"account-ada\", \"limit\": 1}'"},
    {.name = "repl", .words = "", .run = ml_verb_repl, .options = repl_options,
     .help = "try things out: Lua with the daemon's words",
     .manual =
         "Lines are Lua: an expression is shown, a statement that is not finished goes on on the\n"
         "next line. `append`, `read`, `state` and others are words, and so is each active\n"
         "aggregate: account(\"ada\"):withdraw{amount=30}. Lines like `.help`, which lists them\n"
         "all, `.at 17` (the past) and `.tail` (events as they come) are commands. TAB completes;\n"
         "what was typed is kept in $XDG_STATE_HOME/moonlog/history.\n"
         "Without a terminal statements come from stdin, or from -e; the first that fails ends\n"
         "it with exit status 1. The Lua files are those beside the program, or MOONLOG_LUA's.",
     .example = "moonlog repl -e 'read(\"account-ada\", {limit=3})'"},
    {.name = "dev", .words = "[DIR]", .least = 0, .most = 1, .run = ml_verb_dev,
     .options = repl_options, .local = true,
     .help = "write rules: a daemon, a folder that is watched, and the repl",
     .manual =
         "DIR holds rule files, or a folder `rules` of them; default ./rules, if it is there. They\n"
         "are loaded, and again whenever one is saved: what is wrong with them is shown, and the\n"
         "old ones stay active. A daemon is started for as long as this runs, unless the store\n"
         "has one. Without a terminal DIR/tour.sh is played if there is one, else statements are\n"
         "taken as `repl` takes them. Exits 7 there if the rules are refused.",
     .example = "moonlog dev examples/bank"},
    {.name = "streams", .words = "", .run = ml_verb_streams, .options = streams_options,
     .help = "list streams in the order they began",
     .manual =
         "Prints each stream's last revision and the positions of its first and last\n"
         "event. Streams that begin with $ are listed only if --category or --prefix\n"
         "does too.",
     .example = "moonlog streams --category account --limit 20"},
    {.name = "head", .words = "[STREAM]", .least = 0, .most = 1, .run = ml_verb_head,
     .help = "print the last position, or a stream's last revision",
     .manual = "Exits 3 if the stream has no event.",
     .example = "moonlog head account-ada"},
    {.name = "status", .words = "", .run = ml_verb_status,
     .help = "print what is known about the store",
     .manual =
         "Sizes are bytes; `position` is the last event and `durable` the last one known\n"
         "to be on the disk. If a daemon owns the store, it also tells about itself.",
     .example = "moonlog status -o json"},
    {.name = "verify", .words = "", .run = ml_verb_verify, .options = verify_options, .local = true,
     .help = "check every stored byte",
     .manual =
         "Checks the files themselves, also while another process writes them. Each\n"
         "problem is a line on stderr that names file, offset and positions; a summary\n"
         "is on stdout. Exits 7 if there were problems. Nothing is ever repaired or\n"
         "deleted.",
     .example = "moonlog verify --deep"},
    {.name = "bench", .words = "[WORKLOAD]...", .least = 0, .most = 64,
     .run = ml_bench_run, .options = ml_bench_options,
     .help = "measure this machine and disk, or a daemon",
     .manual = ml_bench_manual,
     .example = "moonlog bench append scan --events 100000"},
    {.name = "help", .words = "[VERB]", .least = 0, .most = 1, .run = ml_verb_help,
     .help = "this list, or the help of one verb",
     .manual =
         "`moonlog VERB --help` prints the same.",
     .example = "moonlog help append"},
    {.name = "version", .words = "", .run = ml_verb_version,
     .help = "print the version",
     .manual =
         "`moonlog --version` prints the same.",
     .example = "moonlog version"},
    NO_MORE,
};

const ml_verb *ml_verbs_find(const char *name)
{
    for (const ml_verb *verb = ml_verbs; verb->name != NULL; verb++)
        if (strcmp(verb->name, name) == 0) return verb;
    return NULL;
}

/* ---- what was meant ----------------------------------------------------------------- */

enum { WORD_MAX = 32 };

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* Edits that make `a` of `b`: insert, delete, replace, or swap two neighbours, each 1. */
static size_t distance(const char *a, const char *b)
{
    size_t sizes[2] = {strlen(a), strlen(b)};
    size_t rows[WORD_MAX + 1][WORD_MAX + 1];
    if (sizes[0] > WORD_MAX || sizes[1] > WORD_MAX) return SIZE_MAX;
    for (size_t i = 0; i <= sizes[0]; i++) {
        for (size_t j = 0; j <= sizes[1]; j++) {
            if (i == 0 || j == 0) {
                rows[i][j] = i + j;
                continue;
            }
            size_t edits = least(rows[i - 1][j], rows[i][j - 1]) + 1;
            edits = least(edits, rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                edits = least(edits, rows[i - 2][j - 2] + 1);
            rows[i][j] = edits;
        }
    }
    return rows[sizes[0]][sizes[1]];
}

const char *ml_verbs_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t size = strlen(word), best = (size + 1) / 3; /* further off it is another word */
    for (size_t i = 0; i < count && size > 0; i++)
        if (strncmp(word, names[i], size) == 0) return names[i];
    for (size_t i = 0; i < count; i++) {
        size_t edits = distance(word, names[i]);
        if (edits > best || (nearest != NULL && edits == best)) continue;
        nearest = names[i];
        best = edits;
    }
    return nearest;
}
