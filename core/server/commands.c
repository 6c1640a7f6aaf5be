/* commands.c -- see commands.h. */
#include "commands.h"

#include <stdlib.h>

#include "../base/crc32c.h"

/* ---- those with a command_id ------------------------------------------------------ */

ml_bytes ml_commands_tag(const ml_command *c, char *space)
{
    memcpy(space, "$command:", 9);
    memcpy(space + 9, c->command_id.data, c->command_id.size);
    return (ml_bytes){space, 9 + c->command_id.size};
}

static ml_command **id_bucket(const ml_server *server, ml_bytes command_id)
{
    return &server->commands
                ->ids[ml_crc32c(0, command_id.data, command_id.size) % ML_COMMANDS_BUCKETS];
}

ml_command *ml_commands_twin(const ml_server *server, ml_bytes command_id)
{
    ml_command *c = *id_bucket(server, command_id);
    while (c != NULL && !ml_bytes_equal(c->command_id, command_id))
        c = c->same;
    return c;
}

void ml_commands_enter(ml_command *c)
{
    ml_command **bucket = id_bucket(c->server, c->command_id);
    c->same = *bucket;
    *bucket = c;
}

void ml_commands_leave(ml_command *c)
{
    ml_command **at = id_bucket(c->server, c->command_id);
    while (*at != c)
        at = &(*at)->same;
    *at = c->same;
}

/* ---- those of one stream ---------------------------------------------------------- */

static ml_command **stream_bucket(const ml_command *c)
{
    return &c->server->commands
                ->streams[ml_crc32c(0, c->stream, c->stream_size) % ML_COMMANDS_BUCKETS];
}

static void begin_deciding(ml_command *c)
{
    ml_command **bucket = stream_bucket(c);
    c->deciding = true;
    c->other = *bucket;
    *bucket = c;
}

bool ml_commands_take_turn(ml_command *c)
{
    ml_command *first = *stream_bucket(c);
    while (first != NULL && !ml_bytes_equal(ml_commands_stream(first), ml_commands_stream(c)))
        first = first->other;
    if (first == NULL) {
        begin_deciding(c);
        return true;
    }
    if (first->behind == NULL)
        first->behind = c;
    else
        first->last->behind = c;
    first->last = c;
    return false;
}

void ml_commands_pass_turn(ml_command *c)
{
    struct ml_commands *all = c->server->commands;
    ml_command *next = c->behind, **at = stream_bucket(c);
    if (!c->deciding) return;
    c->deciding = false;
    while (*at != c)
        at = &(*at)->other;
    *at = c->other;
    c->behind = NULL;
    if (next == NULL) return;
    next->last = c->last;
    begin_deciding(next);
    next->next = NULL;
    if (all->ready == NULL)
        all->ready = next;
    else
        all->last_ready->next = next;
    all->last_ready = next;
    c->server->more = true; /* if this turn is past it */
}

/* ---- waiting for the disk --------------------------------------------------------- */

void ml_commands_wait(ml_command *c, uint64_t position, bool told)
{
    if (told) ml_commands_pass_turn(c);
    c->until = position;
    c->told = told;
    c->next = c->server->commands->waiting;
    c->server->commands->waiting = c;
}

static void resume_waiting(ml_server *server)
{
    ml_head head;
    ml_command *all = server->commands->waiting, *due = NULL;
    if (all == NULL) return;
    ML_IGNORE(ml_get_head(server->store, (ml_bytes){0}, &head)); /* of the log: always there */
    server->commands->waiting = NULL;
    while (all != NULL) {
        ml_command *c = all;
        all = all->next;
        /* What was given up is not waited for. */
        bool now =
            c->until <= head.position || c->epoch != server->commands->epoch || server->stopped;
        ml_command **to = now ? &due : &server->commands->waiting;
        c->next = *to;
        *to = c;
    }
    while (due != NULL) { /* they came in the turned order, and go in the one of their coming */
        ml_command *c = due;
        due = due->next;
        c->go_on(c);
    }
}

void ml_commands_resume(ml_server *server)
{
    struct ml_commands *all = server->commands;
    if (all == NULL) return;
    resume_waiting(server);
    while (all->ready != NULL) {
        ml_command *c = all->ready;
        all->ready = c->next;
        c->go_on(c);
    }
}

/* ---- life ------------------------------------------------------------------------- */

ml_code ml_commands_begin(ml_server *server, ml_error *why)
{
    server->commands = calloc(1, sizeof *server->commands);
    return server->commands != NULL ? ML_OK : ml_error_memory(why, "commands");
}

void ml_commands_free(ml_server *server)
{
    free(server->commands);
    server->commands = NULL;
}
