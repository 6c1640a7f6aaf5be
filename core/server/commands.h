/* commands.h -- commands and states on their way: asked, decided, admitted, durable, answered.
 *
 * Here is who waits for what: for a twin with the same command_id, for the command before on the
 * same stream, for the disk. What they do is in methods_command.c.
 *
 * Floor    server.
 * Threads  the loop's.
 */
#ifndef ML_SERVER_COMMANDS_H
#define ML_SERVER_COMMANDS_H

#include "later.h"
#include "workers.h"

enum {
    ML_COMMANDS_BUCKETS = 1024,
    ML_COMMANDS_BYTES_MAX = 128 << 20,         /* of the requests under way */
    ML_COMMANDS_ID_MAX = ML_TAG_BYTES_MAX - 9, /* behind "$command:" */
    ML_COMMANDS_NAME_MAX = 200,                /* of an aggregate's name */
    ML_COMMANDS_META_MAX = 64 << 10            /* goes into each event, whose data needs the room */
};

/* Who else waits for the same command. */
typedef struct ml_command_twin {
    struct ml_command_twin *next;
    ml_later later;
} ml_command_twin;

typedef struct ml_command ml_command;

struct ml_command {
    ml_ask ask;
    ml_server *server;
    void (*go_on)(ml_command *c); /* when it has waited long enough */
    ml_later later;
    ml_command_twin *twins;
    ml_command *same;          /* in its bucket by command_id */
    ml_command *other;         /* in its bucket by stream: those being decided, */
    ml_command *behind, *last; /* and who waits until it is; `last` of them */
    bool deciding;
    ml_command *next;    /* of those that are ready, or wait for the disk */
    uint64_t until;      /* they wait for this position */
    unsigned epoch;      /* of when it was asked: see ml_commands */
    bool state;          /* and no command */
    bool told;           /* has its answer, and only waits */
    ml_bytes command_id; /* empty: none */
    char command_id_space[ML_COMMANDS_ID_MAX];
    char stream[ML_STREAM_BYTES_MAX + 1], unit[ML_COMMANDS_NAME_MAX + 16];
    size_t stream_size;
    int worker;
    unsigned tries;
    ml_buf result; /* the answer that waits */
    ml_buf events; /* as they were admitted */
    uint32_t count;
};

struct ml_commands {
    ml_command *ids[ML_COMMANDS_BUCKETS];
    ml_command *streams[ML_COMMANDS_BUCKETS];
    ml_command *ready, *last_ready; /* their turn has come */
    ml_command *waiting;            /* for the disk */
    size_t bytes;
    unsigned epoch; /* counts how often admitted events were given up */
};

static inline ml_bytes ml_commands_stream(const ml_command *c)
{
    return (ml_bytes){c->stream, c->stream_size};
}

ML_MUST_USE ml_code ml_commands_begin(ml_server *server, ml_error *why);
void ml_commands_free(ml_server *server);

/* The tag that events of those with a command_id carry, made in `space` of ML_TAG_BYTES_MAX. */
ml_bytes ml_commands_tag(const ml_command *c, char *space);

/* Those with a command_id, while they are under way. */
ml_command *ml_commands_twin(const ml_server *server, ml_bytes command_id);
void ml_commands_enter(ml_command *c);
void ml_commands_leave(ml_command *c);

/* True if no command for its stream is being decided; else it goes on when that is. */
bool ml_commands_take_turn(ml_command *c);
/* The worker knows what became of it, or nothing did: the next one goes on. */
void ml_commands_pass_turn(ml_command *c);

/* Goes on when everything up to the position is on the disk; `told`: it has its answer, and does
 * not keep others from being decided. */
void ml_commands_wait(ml_command *c, uint64_t position, bool told);
/* In a turn of the loop, after settling: those that have waited long enough go on. */
void ml_commands_resume(ml_server *server);

/* requests.c: reads a command, or with c->state the question for a state, and packs what its worker
 * is asked. */
ML_MUST_USE ml_code ml_requests_read(ml_command *c, const ml_params *params, ml_error *why);
/* Each time that it is asked: how many events the stream has by now. A worker that was told of
 * fewer looks into the log. */
void ml_requests_stamp(ml_command *c);

/* decisions.c: the write that a worker has decided, and c->count; views into `decided`, into
 * `space` (of ML_TAG_BYTES_MAX) and the server's drafts. */
ML_MUST_USE ml_code ml_decisions_read(ml_command *c, ml_bytes decided, char *space, ml_write *write,
                                      ml_error *why);

#endif
