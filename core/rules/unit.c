/* unit.c -- from a file to handlers that can be called. */
#include "unit.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../base/digest.h"
#include "../script/value.h"
#include "shape.h"

bool ml_unit_with(ml_sandbox *sandbox, lua_CFunction body, void *context, ml_fault *fault)
{
    lua_State *L = ml_sandbox_lua(sandbox);
    lua_pushcfunction(L, body);
    lua_pushlightuserdata(L, context);
    lua_rotate(L, -3, 2);
    return ml_sandbox_call(sandbox, 2, 0, fault);
}

/* ---- life ------------------------------------------------------------------------------- */

static void free_handlers(ml_handlers *handlers)
{
    for (size_t n = 0; n < handlers->count; n++) {
        free((void *)(uintptr_t)handlers->all[n].name.data);
        ml_buf_free(&handlers->all[n].fields);
    }
    free(handlers->all);
}

void ml_unit_free(ml_unit *unit)
{
    if (unit == NULL) return;
    ml_upcasts_free(unit->upcasts);
    ml_sandbox_free(unit->sandbox);
    ml_shape_projection_free(unit->projection);
    free_handlers(&unit->on);
    free_handlers(&unit->commands);
    ml_buf_free(&unit->initial);
    ml_buf_free(&unit->desk.bytes);
    ml_buf_free(&unit->desk.sorting);
    free(unit);
}

static void refuse(ml_diagnostics *to, ml_fault *fault, const ml_source *files, size_t count)
{
    static const char *const codes[] = {
        [ML_FAULT_NONE] = "INTERNAL", [ML_FAULT_COMPILE] = "COMPILE",
        [ML_FAULT_RAISED] = "RAISED", [ML_FAULT_OVERSTAY] = "OVERSTAY",
        [ML_FAULT_MEMORY] = "MEMORY", [ML_FAULT_SHAPE] = "SHAPE"};
    ml_unit_quote(files, count, fault);
    ml_diagnose_error(to, codes[fault->kind], fault);
}

static bool run(ml_unit *unit, const ml_source *files, size_t count, ml_fault *fault)
{
    ml_error why;
    unit->sandbox = ml_sandbox_new(files, count, 0, &why);
    if (unit->sandbox == NULL) {
        ml_fault_set(fault, ML_FAULT_MEMORY, "", 0, "%.400s", why.sentence);
        return false;
    }
    if (!ml_sandbox_run(unit->sandbox, unit->file.path, fault)) return false;
    for (size_t n = 0; n < count && !unit->splits; n++)
        unit->splits = ml_sandbox_loaded(unit->sandbox, n) &&
                       memmem(files[n].text.data, files[n].text.size, "split", 5) != NULL;
    return ml_shape_read(unit, fault);
}

ml_unit *ml_unit_new(const ml_source *files, size_t count, ml_source file, ml_diagnostics *to)
{
    ml_fault fault = {.kind = ML_FAULT_NONE};
    ml_unit *unit = calloc(1, sizeof *unit);
    if (unit == NULL) {
        ml_fault_set(&fault, ML_FAULT_MEMORY, "", 0, "no memory for a unit");
        refuse(to, &fault, files, count);
        return NULL;
    }
    unit->file = file;
    if (run(unit, files, count, &fault)) {
        unit->upcasts = ml_upcasts_new(unit->sandbox);
        if (unit->upcasts != NULL) return unit;
        ml_fault_set(&fault, ML_FAULT_MEMORY, "", 0, "no memory for a unit");
    }
    refuse(to, &fault, files, count);
    ml_unit_free(unit);
    return NULL;
}

/* ---- chains ----------------------------------------------------------------------------- */

bool ml_unit_add_chain(ml_unit *unit, ml_bytes path)
{
    ml_fault fault;
    ml_diagnostics said = {0};
    bool done = ml_sandbox_run(unit->sandbox, path, &fault) &&
                ml_upcasts_add(unit->upcasts, path, &said);
    ml_diagnostics_free(&said);
    return done;
}

/* A place for a type without a handler, whose chain may make it one that has. */
static ml_handler *insert(ml_handlers *to, ml_bytes type)
{
    ml_handler *all = realloc(to->all, (to->count + 1) * sizeof *all);
    char *copy = malloc(type.size + 1);
    if (all != NULL) to->all = all;
    if (all == NULL || copy == NULL) {
        free(copy);
        return NULL;
    }
    memcpy(copy, type.data, type.size);
    copy[type.size] = '\0';
    size_t at = 0;
    while (at < to->count &&
           (all[at].name.size < type.size ||
            (all[at].name.size == type.size && memcmp(all[at].name.data, copy, type.size) < 0)))
        at++;
    memmove(all + at + 1, all + at, (to->count - at) * sizeof *all);
    to->count++;
    all[at] = (ml_handler){.name = {copy, type.size}, .function = LUA_NOREF};
    return &all[at];
}

static bool link_chains(ml_unit *unit)
{
    ml_bytes type;
    uint32_t latest;
    for (size_t n = 0; ml_upcasts_each(unit->upcasts, n, &type, &latest); n++) {
        ml_handler *handler = (ml_handler *)(uintptr_t)ml_unit_find(&unit->on, type);
        if (handler == NULL) handler = insert(&unit->on, type);
        if (handler == NULL) return false;
        handler->latest = latest;
    }
    return true;
}

static ml_code hash_files(ml_unit *unit, const ml_source *files, size_t count, ml_error *why)
{
    uint8_t digest[ML_DIGEST_SIZE];
    ml_bytes *parts = calloc(2 * count, sizeof *parts);
    if (parts == NULL) return ml_error_memory(why, "the hash of a unit");
    size_t used = 0;
    for (size_t n = 0; n < count; n++) {
        if (!ml_sandbox_loaded(unit->sandbox, n)) continue;
        parts[used++] = (ml_bytes){files[n].path.data,
                                   files[n].path.size + 1}; /* the NUL parts them */
        parts[used++] = (ml_bytes){files[n].text.data, files[n].text.size + 1};
    }
    ml_code code = ml_digest_of(parts, used, digest, why);
    if (!code) ml_digest_hex(digest, ML_RULES_HASH, unit->hash);
    free(parts);
    return code;
}

ml_code ml_unit_seal(ml_unit *unit, const ml_source *files, size_t count, ml_error *why)
{
    if (!link_chains(unit)) return ml_error_memory(why, "a unit");
    ml_code code = hash_files(unit, files, count, why);
    if (ml_unit_runs(unit)) return code;
    ml_upcasts_free(unit->upcasts);
    ml_sandbox_free(unit->sandbox);
    unit->upcasts = NULL;
    unit->sandbox = NULL;
    return code;
}

bool ml_unit_runs(const ml_unit *unit)
{
    return unit->kind == ML_UNIT_AGGREGATE || unit->kind == ML_UNIT_PROJECTION;
}

/* ---- calling ---------------------------------------------------------------------------- */

const ml_handler *ml_unit_find(const ml_handlers *handlers, ml_bytes name)
{
    size_t low = 0, high = handlers->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const ml_handler *handler = &handlers->all[middle];
        int order = handler->name.size != name.size
                        ? (handler->name.size < name.size ? -1 : 1)
                        : memcmp(handler->name.data, name.data, name.size);
        if (order == 0) return handler;
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

void ml_unit_push_data(lua_State *L, const ml_handler *handler, ml_bytes data)
{
    ml_unpack cursor = ml_unpack_from(data);
    bool picks = handler != NULL && handler->picks;
    if (picks ? !ml_value_read_fields(L, &cursor, ml_buf_view(&handler->fields))
              : !ml_value_read(L, &cursor))
        luaL_error(L, "the event's data is nothing that Lua can hold");
}

_Static_assert(sizeof((ml_unit *)0)->label == sizeof((ml_engine_doing *)0)->unit &&
                   sizeof((ml_unit *)0)->hash <= sizeof((ml_engine_doing *)0)->hash &&
                   sizeof((ml_handler *)0)->where == sizeof((ml_engine_doing *)0)->where,
               "texts are copied whole");

/* A projection's handlers take turns, so that this is not printf's work. */
static void tell(ml_engine_doing *doing, const ml_unit *unit, const char *verb, const ml_handler *handler)
{
    size_t front = strlen(verb), room = sizeof doing->handler - 2 - front;
    size_t size = handler->name.size < room ? handler->name.size : room;
    memcpy(doing->unit, unit->label, sizeof unit->label);
    memcpy(doing->hash, unit->hash, sizeof unit->hash);
    memcpy(doing->where, handler->where, sizeof handler->where);
    memcpy(doing->handler, verb, front);
    doing->handler[front] = ' ';
    memcpy(doing->handler + front + 1, handler->name.data, size);
    doing->handler[front + 1 + size] = '\0';
}

/* The texts change only when another handler is called: a fold calls few in turn. Coarse time is
 * off by a tick of the kernel, and costs a quarter. */
void ml_unit_begin(ml_unit *unit, const char *verb, const ml_handler *handler, uint64_t position)
{
    struct timespec now;
    if (unit->watch == NULL || unit->watch->where == NULL) return;
    ml_engine_doing *doing = unit->watch->where;
    if (unit->watch->told != handler) {
        tell(doing, unit, verb, handler);
        unit->watch->told = handler;
    }
    doing->position = position;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    uint64_t began = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    __atomic_store_n(&doing->began, began, __ATOMIC_RELEASE);
}

/* ---- quoting ---------------------------------------------------------------------------- */

void ml_unit_quote(const ml_source *files, size_t count, ml_fault *fault)
{
    if (fault->source[0] != '\0') return;
    for (size_t n = 0; n < count; n++)
        if (ml_bytes_equal(files[n].path, (ml_bytes){fault->file, strlen(fault->file)}))
            ml_fault_quote(fault, files[n].text);
}
