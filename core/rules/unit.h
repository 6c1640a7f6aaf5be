/* unit.h -- one rule file at work: its sandbox, its handlers, what it may be called with.
 *
 * A file of a pack returns one table. Its kind is told by the key that it has: aggregate, upcast,
 * projection or reactor. An aggregate or a projection gets a sandbox of its own, with the chains of
 * upcasters it needs in it; upcasters live in the sandboxes of who needs them; reactors are checked
 * for their shape and listed, and run by nobody here yet.
 *
 * Floor    rules; uses script.
 * Threads  one.
 * Memory   texts are borrowed from the pack's files, or from names in the sandbox that stay.
 * Errors   of the file: diagnostics, faults. Of the machine: codes.
 */
#ifndef ML_RULES_UNIT_H
#define ML_RULES_UNIT_H

#include "../script/desk.h"
#include "diagnose.h"
#include "engine.h"
#include "shape_projection.h"
#include "upcast.h"

enum {
    ML_UNIT_NAME_MAX = 80,         /* bytes of "account"; in a stream's name and in messages */
    ML_UNIT_HANDLERS_MAX = 1024,   /* of one table */
    ML_UNIT_STATE_BYTES = 4 << 20, /* of one state as MessagePack: it is decoded whole for each
                                    * command, and goes through a message of the daemon */
    ML_UNIT_SNAPSHOT_MIN = 10      /* events between snapshots: each is a file to be written */
};

typedef enum ml_unit_kind {
    ML_UNIT_NONE,
    ML_UNIT_AGGREGATE,
    ML_UNIT_UPCAST,
    ML_UNIT_PROJECTION,
    ML_UNIT_REACTOR
} ml_unit_kind;

/* A function of the file, and the name it goes by: an event's type, a command. */
typedef struct ml_handler {
    ml_bytes name;
    int function;    /* in the sandbox's registry; LUA_NOREF: none, but the type has a chain of
                      * upcasters that may make it another */
    uint8_t params;  /* that it takes: what it does not take is not made */
    bool lends;      /* its first parameter: nobody has that table when it has returned */
    bool picks;      /* it gets no fields of its second parameter but … */
    ml_buf fields;   /* … of these names, each with its size, a byte, in front */
    uint32_t latest; /* schema that the type's chain of upcasters ends at; 0: there is none */
    char where[128]; /* "account.lua:12" */
} ml_handler;

/* Sorted by size of the name, then by its bytes. */
typedef struct ml_handlers {
    ml_handler *all;
    size_t count;
} ml_handlers;

/* Who watches, and which handler it was told of last. One for all units of an engine. */
typedef struct ml_watch {
    ml_engine_doing *where; /* NULL: nobody */
    const ml_handler *told;
} ml_watch;

typedef struct ml_unit {
    ml_unit_kind kind;
    char name[ML_UNIT_NAME_MAX + 1]; /* "account" */
    char label[96];                  /* "aggregate/account" */
    char hash[ML_RULES_HASH + 1];
    ml_source file;
    bool splits; /* its text, or that of a file it requires, has the word */

    /* Of an aggregate or a projection. */
    ml_sandbox *sandbox;
    ml_upcasts *upcasts;
    ml_handlers on, commands; /* commands of a projection: its functions key, late and merge */
    ml_buf initial; /* MessagePack of a map: what a state, or a row, begins as */
    ml_shape_projection *projection; /* NULL: it is none */
    uint64_t every; /* events from one snapshot to the next; 0 = none are made */
    bool record;    /* commands stand in what they decide, to be decided again */
    int state;      /* registry place of the state that is being folded */
    ml_desk desk;   /* what is encoded */
    /* Who changed that state: the handler called last, and how often it was another than before. */
    const ml_handler *suspect;
    uint64_t suspects;

    ml_watch *watch; /* told of every call; NULL: nobody watches */
} ml_unit;

/* Runs the file in a new sandbox that has `files`, and checks the shape of what it returns. NULL
 * with an error in `to` if it cannot be. */
ml_unit *ml_unit_new(const ml_source *files, size_t count, ml_source file, ml_diagnostics *to);
void ml_unit_free(ml_unit *unit);

/* Adds the chain that the file `path` returns. False: it has errors, which were said when the
 * pack's own chains were made, or memory is refused. */
ML_MUST_USE bool ml_unit_add_chain(ml_unit *unit, ml_bytes path);
/* After the last chain: marks the handlers whose types have one, and names the version, by the
 * hash of every file that was run on the way. Only what ml_unit_runs keeps its sandbox. */
ML_MUST_USE ml_code ml_unit_seal(ml_unit *unit, const ml_source *files, size_t count,
                                 ml_error *why);

/* Does it have handlers of events that are called here? */
bool ml_unit_runs(const ml_unit *unit);

/* The handler of this name, or NULL. */
const ml_handler *ml_unit_find(const ml_handlers *handlers, ml_bytes name);

/* Pushes an event's data for this handler: of a map it may be less than there is, but no less than
 * the handler can see; without one, all. Raises an error if Lua cannot hold it. */
void ml_unit_push_data(lua_State *L, const ml_handler *handler, ml_bytes data);

/* Around each call of a handler, for whoever watches. `verb` is "on" or "command". */
void ml_unit_begin(ml_unit *unit, const char *verb, const ml_handler *handler, uint64_t position);
static inline void ml_unit_end(ml_unit *unit)
{
    if (unit->watch != NULL && unit->watch->where != NULL)
        __atomic_store_n(&unit->watch->where->began, 0, __ATOMIC_RELEASE);
}

/* Calls `body`, which may raise, with the value on top of the sandbox's stack at index 2 (it is
 * popped) and `context` at index 1. */
ML_MUST_USE bool ml_unit_with(ml_sandbox *sandbox, lua_CFunction body, void *context,
                              ml_fault *fault);

/* Fills in the source line that a fault names, from the files. */
void ml_unit_quote(const ml_source *files, size_t count, ml_fault *fault);

#endif
