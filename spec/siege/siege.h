/* siege.h -- the trials of the daemon under load and faults, and what they share.
 *
 * Each trial starts a real daemon in a directory of its own, besieges it over real sockets,
 * prints one line of figures, and gives false after the first violation, told in `why`.
 *
 * Floor    spec/siege: a test program above core/base; the daemon is another process.
 */
#ifndef ML_SIEGE_H
#define ML_SIEGE_H

#include "../../core/base/error.h"
#include "../crash/dice.h"
#include "client.h"
#include "daemon.h"

typedef struct ml_siege {
    const char *program; /* the moonlog that serves */
    uint64_t seed;
    uint64_t kills;       /* of kill, rules, views */
    uint64_t reloads;     /* of reloads, pace */
    uint64_t events;      /* of views, pace: those that are there at first */
    uint64_t deliveries;  /* of resume */
    uint64_t connections; /* of idle, storm, descriptors */
    uint64_t readers;     /* of slow */
    uint64_t frames;      /* of half */
    uint64_t rounds;      /* of slow, full */
    uint64_t clients;     /* of mixed */
    uint64_t requests;    /* of mixed */
    ml_dice dice;
    char root[64]; /* the trial's own directory */
    ml_daemon daemon;
    char why[1024];
} ml_siege;

bool ml_kill_run(ml_siege *siege);
bool ml_rules_run(ml_siege *siege);
bool ml_views_run(ml_siege *siege);
bool ml_reloads_run(ml_siege *siege);
bool ml_pace_run(ml_siege *siege);
bool ml_resume_run(ml_siege *siege);
bool ml_idle_run(ml_siege *siege);
bool ml_slow_run(ml_siege *siege);
bool ml_half_run(ml_siege *siege);
bool ml_storm_run(ml_siege *siege);
bool ml_descriptors_run(ml_siege *siege);
bool ml_full_run(ml_siege *siege);
bool ml_mixed_run(ml_siege *siege);

/* ---- siege.c -------------------------------------------------------------------------- */

enum { ML_SIEGE_ANSWER_MS = 30000 }; /* an answer that takes longer will not come */

/* Keeps the sentence and gives false. */
bool ml_siege_wrong(ml_siege *siege, const char *format, ...) ML_FORMAT(2, 3);
/* The same with what the daemon's keeper says. */
bool ml_siege_daemon_wrong(ml_siege *siege);

/* Microseconds of a clock that only goes on. */
uint64_t ml_siege_now(void);
/* 1234567 as 1,234,567; one of a few buffers that take turns. */
const char *ml_siege_number(uint64_t number);
/* realloc; ends the program where memory is refused. */
void *ml_siege_grow(void *memory, size_t size);

/* Descriptors for so many connections, here and in a daemon begun later. False if the system
 * does not give as many: the sentence is in `why`. */
bool ml_siege_descriptors(ml_siege *siege, uint64_t count);

/* A client on the unix socket, or with `tcp` on the other, that gets events as arrays. */
bool ml_siege_connect(ml_siege *siege, ml_client *client, bool tcp);
/* Calls; false, and the reason kept, if there is no answer or it is an error. */
bool ml_siege_ask(ml_siege *siege, ml_client *client, ml_message *message);
/* A number of `status`. */
bool ml_siege_status(ml_siege *siege, ml_client *client, const char *name, uint64_t *value);
/* Waits until `status` counts so many connections. */
bool ml_siege_settle(ml_siege *siege, ml_client *client, uint64_t connections);
/* Processor time that the daemon takes in a second in which nobody asks anything, in ms. */
uint64_t ml_siege_idle_ms(ml_siege *siege);
/* A directory with all that is in it. */
void ml_siege_remove(const char *path);
/* `moonlog verify --deep`, by the library. */
bool ml_siege_verify(ml_siege *siege);

#endif
