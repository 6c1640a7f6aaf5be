/* alike.c -- two versions of a unit held against each other. */
#include "alike.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "same.h"

static bool same_function(const ml_unit *before, int one, const ml_unit *after, int other)
{
    uint8_t digests[2][ML_SAME_DIGEST];
    if (one == LUA_NOREF || other == LUA_NOREF) return one == other;
    return ml_same_digest(before, one, digests[0]) && ml_same_digest(after, other, digests[1]) &&
           memcmp(digests[0], digests[1], ML_SAME_DIGEST) == 0;
}

/* Every upcaster of one has its like in the other, by the hash of the files that it is made of. */
static bool has_chains(const ml_rulepack *of, const ml_rulepack *in)
{
    for (size_t n = 0; n < of->unit_count; n++) {
        const ml_unit *unit = of->units[n];
        if (unit->kind != ML_UNIT_UPCAST) continue;
        const ml_unit *other =
            ml_rulepack_find(in, ML_UNIT_UPCAST, (ml_bytes){unit->name, strlen(unit->name)});
        if (other == NULL || strcmp(unit->hash, other->hash) != 0) return false;
    }
    return true;
}

static bool has_splits(const ml_rulepack *pack)
{
    for (size_t n = 0; n < pack->unit_count; n++)
        if (pack->units[n]->kind == ML_UNIT_UPCAST && pack->units[n]->splits) return true;
    return false;
}

static bool has_handlers(const ml_alike *alike)
{
    const ml_handlers *before = &alike->before->on, *after = &alike->after->on;
    for (size_t n = 0; n < before->count; n++)
        if (!alike->on[n]) return false;
    for (size_t n = 0; n < after->count; n++)
        if (ml_unit_find(before, after->all[n].name) == NULL) return false;
    return true;
}

ml_code ml_alike_begin(ml_alike *alike, const ml_rulepack *packs[2], const ml_unit *before,
                       const ml_unit *after, ml_error *why)
{
    *alike = (ml_alike){.before = before, .after = after};
    alike->on = calloc(before->on.count + 1, sizeof *alike->on);
    alike->commands = calloc(after->commands.count + 1, sizeof *alike->commands);
    if (alike->on == NULL || alike->commands == NULL) {
        ml_alike_end(alike);
        return ml_error_memory(why, "what is the same in two packs");
    }
    alike->chains = has_chains(packs[0], packs[1]) && has_chains(packs[1], packs[0]);
    alike->splits = has_splits(packs[0]);
    for (size_t n = 0; n < before->on.count; n++) {
        const ml_handler *one = &before->on.all[n], *other = ml_unit_find(&after->on, one->name);
        alike->on[n] = other != NULL && one->latest == other->latest &&
                       same_function(before, one->function, after, other->function);
    }
    for (size_t n = 0; n < after->commands.count; n++) {
        const ml_handler *one = &after->commands.all[n],
                         *other = ml_unit_find(&before->commands, one->name);
        alike->commands[n] =
            other != NULL && same_function(after, one->function, before, other->function);
    }
    alike->handlers = has_handlers(alike);
    return ML_OK;
}

void ml_alike_end(ml_alike *alike)
{
    free(alike->on);
    free(alike->commands);
}

/* What a split makes of an event may be of any type. */
bool ml_alike_event(const ml_alike *alike, ml_bytes type)
{
    const ml_handler *handler = ml_unit_find(&alike->before->on, type);
    if (handler == NULL) return ml_unit_find(&alike->after->on, type) == NULL;
    if (!alike->on[handler - alike->before->on.all]) return false;
    return handler->latest == 0 || (alike->chains && (alike->handlers || !alike->splits));
}

/* The latest schemas are in what it decides. */
bool ml_alike_command(const ml_alike *alike, const ml_handler *handler)
{
    return alike->chains && alike->commands[handler - alike->after->commands.all];
}
