/* upcast.c -- chains, found by type, and events on their way through them.
 *
 * While the steps are tables, data stays bytes; the first function has it decoded. A table
 * behind a function costs an encoding and a decoding more. What functions gave is looked at
 * once, where the chain ends or bytes are needed again; by the encoder, if there is one. What
 * is found wrong there may be an earlier function's fault: the event goes its way once more, and
 * the result of every function is looked at.
 */
#include "upcast.h"

#include <lauxlib.h>
#include <stdarg.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "../script/envelope.h"
#include "../script/value.h"
#include "../script/words.h"
#include "upcast_chain.h"
#include "upcast_hash.h"
#include "upcast_sound.h"

enum { SLOTS_FIRST = 16 };

struct ml_upcasts {
    ml_sandbox *sandbox;
    ml_upcast_chain **chains;
    size_t count;
    uint32_t *slots;   /* number of a chain from 1, by hash of its type; 0 = free */
    size_t slot_count; /* a power of two, more than twice the chains */
    ml_buf *spare;     /* the other of two buffers that data goes to and fro between */
    ml_buf bytes;      /* data that is going to be decoded */
    ml_desk desk;      /* what is encoded */
    uint32_t schemas[ML_UPCAST_PARTS_MAX]; /* of the parts of the last push */
};

/* ---- life ------------------------------------------------------------------------------ */

ml_upcasts *ml_upcasts_new(ml_sandbox *sandbox)
{
    ml_upcasts *upcasts = calloc(1, sizeof *upcasts);
    if (upcasts == NULL) return NULL;
    upcasts->sandbox = sandbox;
    upcasts->slot_count = SLOTS_FIRST;
    upcasts->slots = calloc(SLOTS_FIRST, sizeof *upcasts->slots);
    upcasts->spare = calloc(1, sizeof *upcasts->spare);
    if (upcasts->slots != NULL && upcasts->spare != NULL) return upcasts;
    ml_upcasts_free(upcasts);
    return NULL;
}

void ml_upcasts_free(ml_upcasts *upcasts)
{
    if (upcasts == NULL) return;
    for (size_t n = 0; n < upcasts->count; n++)
        ml_upcast_chain_free(upcasts->chains[n]);
    if (upcasts->spare != NULL) ml_buf_free(upcasts->spare);
    ml_buf_free(&upcasts->bytes);
    ml_buf_free(&upcasts->desk.bytes);
    ml_buf_free(&upcasts->desk.sorting);
    free(upcasts->chains);
    free(upcasts->slots);
    free(upcasts->spare);
    free(upcasts);
}

/* ---- by type --------------------------------------------------------------------------- */

/* The slot of a type: its own, or the free one where it belongs. */
static uint32_t *find_slot(const ml_upcasts *upcasts, ml_bytes type)
{
    size_t at = (size_t)ml_upcast_hash(type) & (upcasts->slot_count - 1);
    while (upcasts->slots[at] != 0 &&
           !ml_bytes_equal(upcasts->chains[upcasts->slots[at] - 1]->type, type))
        at = (at + 1) & (upcasts->slot_count - 1);
    return &upcasts->slots[at];
}

static const ml_upcast_chain *find(const ml_upcasts *upcasts, ml_bytes type)
{
    uint32_t number = *find_slot(upcasts, type);
    return number == 0 ? NULL : upcasts->chains[number - 1];
}

static bool grow(ml_upcasts *upcasts)
{
    size_t count = upcasts->slot_count;
    ml_upcast_chain **chains =
        realloc(upcasts->chains, (upcasts->count + 1) * sizeof(ml_upcast_chain *));
    if (chains == NULL) return false;
    upcasts->chains = chains;
    if (2 * (upcasts->count + 1) < count) return true;
    uint32_t *slots = calloc(2 * count, sizeof *slots);
    if (slots == NULL) return false;
    free(upcasts->slots);
    upcasts->slots = slots;
    upcasts->slot_count = 2 * count;
    for (size_t n = 0; n < upcasts->count; n++)
        *find_slot(upcasts, chains[n]->type) = (uint32_t)n + 1;
    return true;
}

bool ml_upcasts_each(const ml_upcasts *upcasts, size_t n, ml_bytes *type, uint32_t *latest)
{
    if (n >= upcasts->count) return false;
    *type = upcasts->chains[n]->type;
    *latest = upcasts->chains[n]->latest;
    return true;
}

const char *ml_upcasts_where(const ml_upcasts *upcasts, ml_bytes type, uint32_t schema,
                             uint32_t *line)
{
    const ml_upcast_chain *chain = find(upcasts, type);
    *line = 0;
    if (chain == NULL) return "";
    if (schema >= 1 && schema < chain->latest) *line = chain->steps[schema - 1].line;
    return chain->file;
}

uint32_t ml_upcasts_latest(const ml_upcasts *upcasts, ml_bytes type)
{
    const ml_upcast_chain *chain = upcasts->count > 0 ? find(upcasts, type) : NULL;
    return chain != NULL ? chain->latest : 1;
}

bool ml_upcasts_wants(const ml_upcasts *upcasts, ml_bytes type, uint32_t schema)
{
    const ml_upcast_chain *chain = upcasts->count > 0 ? find(upcasts, type) : NULL;
    return chain != NULL && schema < chain->latest;
}

/* ---- adding ---------------------------------------------------------------------------- */

typedef struct adding {
    ml_upcasts *upcasts;
    ml_upcast_chain *chain;
    ml_diagnostics *to;
    bool good;
} adding;

static int add_body(lua_State *L)
{
    adding *a = lua_touserdata(L, 1);
    a->good = ml_upcast_chain_read(L, 2, a->chain, &a->upcasts->desk, a->to);
    return 0;
}

static ml_upcast_chain *new_chain(ml_bytes path)
{
    ml_upcast_chain *chain = calloc(1, sizeof *chain);
    if (chain == NULL) return NULL;
    chain->file = malloc(path.size + 1);
    if (chain->file == NULL) {
        free(chain);
        return NULL;
    }
    memcpy(chain->file, path.data, path.size);
    chain->file[path.size] = '\0';
    return chain;
}

static bool refuse_memory(ml_diagnostics *to)
{
    ml_fault fault;
    ml_fault_set(&fault, ML_FAULT_MEMORY, "", 0, "no memory for a chain of upcasters");
    ml_diagnose_error(to, "MEMORY", &fault);
    return false;
}

/* The chain that has been read, unless there is one for its type. */
static bool keep_chain(ml_upcasts *upcasts, ml_upcast_chain *chain, ml_diagnostics *to)
{
    const ml_upcast_chain *first = find(upcasts, chain->type);
    if (first != NULL) {
        ml_upcast_chain_refuse(chain, to, "CHAIN", 0,
                               "%.*s has its chain in %s; one file holds all steps of a type",
                               ML_SHOW(chain->type), first->file);
        return false;
    }
    if (!grow(upcasts)) return refuse_memory(to);
    *find_slot(upcasts, chain->type) = (uint32_t)upcasts->count + 1;
    upcasts->chains[upcasts->count++] = chain;
    return true;
}

bool ml_upcasts_add(ml_upcasts *upcasts, ml_bytes path, ml_diagnostics *to)
{
    lua_State *L = ml_sandbox_lua(upcasts->sandbox);
    ml_fault fault;
    adding a = {.upcasts = upcasts, .chain = new_chain(path), .to = to};
    if (a.chain == NULL) {
        lua_pop(L, 1);
        return refuse_memory(to);
    }
    lua_pushcfunction(L, add_body);
    lua_pushlightuserdata(L, &a);
    lua_rotate(L, -3, 2);
    if (!ml_sandbox_call(upcasts->sandbox, 2, 0, &fault))
        ml_diagnose_error(to, "MEMORY", &fault);
    else if (a.good && keep_chain(upcasts, a.chain, to))
        return true;
    ml_upcast_chain_free(a.chain);
    return false;
}

/* ---- bytes ----------------------------------------------------------------------------- */

/* Applies the tables that the chain goes on with at *schema. `out` and the spare buffer change
 * places, so that what a step reads is never where it writes. */
static ml_code apply(const ml_upcasts *upcasts, const ml_upcast_chain *chain, ml_buf *out,
                     ml_bytes *data, uint32_t *schema, ml_error *why)
{
    for (; *schema < chain->latest; ++*schema) {
        const ml_upcast_step *step = chain->steps[*schema - 1].plain;
        if (step == NULL) return ML_OK;
        if (data->data == out->data) {
            ml_buf full = *out;
            *out = *upcasts->spare;
            *upcasts->spare = full;
        }
        ml_code code = ml_upcast_step_apply(step, *data, out, data, why);
        if (!code && data->size > ML_UPCAST_DATA_BYTES)
            code = ml_error_set(why, ML_SCRIPT_ERROR, "data is over %d bytes", ML_UPCAST_DATA_BYTES);
        if (code) return code;
    }
    return ML_OK;
}

ml_code ml_upcasts_plain(const ml_upcasts *upcasts, const ml_event *event, ml_buf *out,
                         ml_bytes *data, uint32_t *schema, ml_error *why)
{
    ml_error said;
    const ml_upcast_chain *chain = find(upcasts, event->type);
    *data = event->data;
    *schema = event->schema;
    if (chain == NULL) return ML_OK;
    ml_code code = apply(upcasts, chain, out, data, schema, &said);
    if (code != ML_SCRIPT_ERROR) return code ? ml_error_set(why, code, "%s", said.sentence) : ML_OK;
    uint32_t line = chain->steps[*schema - 1].line;
    return ml_error_set(why, code, "%.256s:%u: %.*s, step [%u]: %.500s", chain->file,
                        (unsigned)line, ML_SHOW(chain->type), (unsigned)*schema, said.sentence);
}

/* ---- functions ------------------------------------------------------------------------- */

/* Who looks at what functions gave. */
typedef enum look {
    LOOK_AT_END,   /* we, where the chain ends */
    LOOK_ELSEWHERE, /* whoever encodes the parts */
    LOOK_ALWAYS    /* we, behind each function: one of them is to blame */
} look;

/* One stored event on its way to what it is now. */
typedef struct journey {
    ml_upcasts *upcasts;
    lua_State *L;
    const ml_event *event;
    look look;
    int parts;
} journey;

static void travel(journey *j);

/* Raises: "payment.lua:12: Payment, step [1]: …". `schema` is where the step starts from. */
static _Noreturn void refuse(lua_State *L, const ml_upcast_chain *chain, uint32_t schema,
                             const char *format, ...)
{
    va_list arguments;
    lua_rawgeti(L, LUA_REGISTRYINDEX, chain->name);
    va_start(arguments, format);
    lua_pushvfstring(L, format, arguments);
    va_end(arguments);
    lua_pushfstring(L, "%s, step [%d]: %s", lua_tostring(L, -2), (int)schema, lua_tostring(L, -1));
    ml_sandbox_raise(L, chain->file, chain->steps[schema - 1].line, lua_tostring(L, -1));
}

static void decode(journey *j, ml_bytes data)
{
    ml_unpack cursor = ml_unpack_from(data);
    if (!ml_value_read(j->L, &cursor)) luaL_error(j->L, "the data is no value that Lua can hold");
}

/* ---- what a function may give ---------------------------------------------------------- */

/* The value at `index` as bytes, on the desk. BAD_REQUEST, TOO_LARGE, NO_MEMORY. */
static ml_code write(journey *j, int index, ml_bytes *data, ml_error *why)
{
    ml_desk *desk = &j->upcasts->desk;
    ml_buf_clear(&desk->bytes);
    ml_buf_clear(&desk->sorting);
    ml_code code = ml_value_write(j->L, index, desk, ML_UPCAST_DATA_BYTES, "data", why);
    if (code) return code;
    *data = ml_buf_view(&desk->bytes);
    if (ml_upcast_cast_is_finite(*data)) return ML_OK;
    return ml_error_set(why, ML_BAD_REQUEST, "data holds NaN or an infinity, which is no value");
}

/* Raises at the first function whose result cannot be stored, if there is one. */
static void find_culprit(const journey *j)
{
    journey again = {
        .upcasts = j->upcasts, .L = j->L, .event = j->event, .look = LOOK_ALWAYS};
    int top = lua_gettop(j->L);
    if (j->look != LOOK_ALWAYS) travel(&again);
    lua_settop(j->L, top);
}

/* The value on top, the last function of which was step [schema]. */
static ml_bytes encode(journey *j, const ml_upcast_chain *chain, uint32_t schema)
{
    ml_error why;
    ml_bytes data;
    if (write(j, -1, &data, &why) == ML_OK) return data;
    find_culprit(j);
    refuse(j->L, chain, schema, "%s", why.sentence);
}

/* The value on top was made by functions, the last of them step [schema]. */
static void check(journey *j, const ml_upcast_chain *chain, uint32_t schema)
{
    if (j->look == LOOK_ELSEWHERE) return;
    if (j->look == LOOK_AT_END && ml_upcast_is_sound(j->L)) return;
    (void)encode(j, chain, schema);
}

/* ---- along the chain ------------------------------------------------------------------- */

static void run(journey *j, const ml_upcast_chain *chain, uint32_t schema, unsigned ran, bool made);

/* Data is on top: its type goes below it, and a part is done. */
static void arrive(journey *j, uint32_t schema)
{
    lua_insert(j->L, -2);
    if (j->parts == ML_UPCAST_PARTS_MAX)
        luaL_error(j->L, "one event becomes more than %d", ML_UPCAST_PARTS_MAX);
    j->upcasts->schemas[j->parts++] = schema;
}

static void run_plain(journey *j, const ml_upcast_chain *chain, uint32_t *schema, bool made)
{
    ml_error why;
    ml_upcasts *upcasts = j->upcasts;
    ml_bytes data = encode(j, chain, made ? *schema - 1 : *schema);
    if (apply(upcasts, chain, &upcasts->bytes, &data, schema, &why))
        refuse(j->L, chain, *schema, "%s", why.sentence);
    lua_pop(j->L, 1);
    decode(j, data);
}

/* Calls the function with the data on top, and leaves what it gives instead. */
static void call(journey *j, const ml_chain_step *step)
{
    lua_rawgeti(j->L, LUA_REGISTRYINDEX, step->function);
    lua_insert(j->L, -2);
    if (step->wants_event) ml_envelope_push(j->L, j->event);
    lua_call(j->L, step->wants_event ? 2 : 1, 1);
}

/* At the top, null is nil. */
static void null_to_nil(lua_State *L)
{
    if (ml_value_of(L, -1) != ML_VALUE_NULL) return;
    lua_pop(L, 1);
    lua_pushnil(L);
}

/* Pushes a field of the moonlog.event on top. */
static int push_field(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    return lua_rawget(L, -2);
}

static bool has_field(lua_State *L, const char *name)
{
    bool has = push_field(L, name) != LUA_TNIL;
    lua_pop(L, 1);
    return has;
}

/* A moonlog.event on top: goes on from its own schema in its own chain. */
static void run_event(journey *j, const ml_upcast_chain *chain, uint32_t next, unsigned ran)
{
    lua_State *L = j->L;
    ml_bytes type;
    if (has_field(L, "tags") || has_field(L, "meta"))
        refuse(
            L, chain, next - 1,
            "a part of a split has type, data and schema; tags and meta are those that are stored");
    if (push_field(L, "type") != LUA_TSTRING)
        refuse(L, chain, next - 1, "a part of a split has lost its type");
    type.data = lua_tolstring(L, -1, &type.size);
    const ml_upcast_chain *own = find(j->upcasts, type);
    lua_insert(L, -2);
    lua_Integer schema = own == chain ? (lua_Integer)next : 1;
    if (push_field(L, "schema") != LUA_TNIL) schema = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (schema < 1 || schema > INT32_MAX)
        refuse(L, chain, next - 1, "the schema of a part is from 1");
    if (own == chain && schema < (lua_Integer)next)
        refuse(L, chain, next - 1,
               "a part of the same type has a schema that is over the step's, or none");
    (void)push_field(L, "data");
    lua_remove(L, -2); /* type, data */
    null_to_nil(L);
    check(j, chain, next - 1);
    if (own != NULL && schema < (lua_Integer)own->latest) {
        lua_remove(L, -2);
        run(j, own, (uint32_t)schema, ran, false);
    } else {
        lua_insert(L, -2);
        arrive(j, (uint32_t)schema);
    }
}

/* Each of the parts on top, a table, becomes what it is at the end of its chain. */
static void run_split(journey *j, const ml_upcast_chain *chain, uint32_t next, unsigned ran)
{
    lua_State *L = j->L;
    int table = lua_gettop(L);
    lua_Integer count = (lua_Integer)lua_rawlen(L, table);
    if (count > ML_UPCAST_PARTS_MAX)
        refuse(L, chain, next - 1, "one event becomes more than %d", ML_UPCAST_PARTS_MAX);
    for (lua_Integer n = 1; n <= count; n++) {
        luaL_checkstack(L, 16, "parts of an event");
        lua_rawgeti(L, table, n);
        ml_word word = ml_word_of(L, -1);
        if (word == ML_WORD_EVENT)
            run_event(j, chain, next, ran);
        else if (word == ML_WORD_NONE && lua_istable(L, -1))
            run(j, chain, next, ran, true);
        else
            refuse(L, chain, next - 1, "a part of a split is a table of data or a moonlog.event");
    }
    lua_remove(L, table);
}

static _Noreturn void raise_word(lua_State *L, const ml_upcast_chain *chain, uint32_t schema,
                                 ml_word word)
{
    switch (word) {
    case ML_WORD_EVENT:
        refuse(
            L, chain, schema,
            "it returned a moonlog.event; return moonlog.split{ moonlog.event(…) }, or the data");
    case ML_WORD_REFUSAL:
        refuse(L, chain, schema, "it returned moonlog.refuse; what has happened cannot be refused");
    case ML_WORD_DELETE:
        refuse(L, chain, schema,
               "it returned moonlog.delete; to leave the event out return moonlog.drop");
    case ML_WORD_WINDOW: refuse(L, chain, schema, "it returned a window; return the data");
    case ML_WORD_NONE:
    case ML_WORD_SPLIT:
    case ML_WORD_DROP: break;
    }
    refuse(L, chain, schema, "it returned nil; forgot return?");
}

/* What step [schema] returned, on top: true if it is data, on which the chain goes on. */
static bool take_result(journey *j, const ml_upcast_chain *chain, uint32_t schema, unsigned ran)
{
    lua_State *L = j->L;
    ml_word word = ml_word_of(L, -1);
    if (word == ML_WORD_DROP) {
        lua_pop(L, 1);
        return false;
    }
    if (word == ML_WORD_SPLIT) {
        run_split(j, chain, schema + 1, ran);
        return false;
    }
    if (word != ML_WORD_NONE || lua_isnil(L, -1)) raise_word(L, chain, schema, word);
    null_to_nil(L);
    return true;
}

/* Data of `schema` is on top, and makes way for the parts that it becomes. `ran` counts functions
 * since the stored event: events that split into each other come to an end. `made`: a function
 * made the data, and nobody has looked at it. */
static void run(journey *j, const ml_upcast_chain *chain, uint32_t schema, unsigned ran, bool made)
{
    luaL_checkstack(j->L, 16, "parts of an event");
    while (schema < chain->latest) {
        const ml_chain_step *step = &chain->steps[schema - 1];
        if (made && j->look == LOOK_ALWAYS) check(j, chain, schema - 1);
        if (step->plain != NULL) {
            run_plain(j, chain, &schema, made);
            made = false;
            continue;
        }
        if (ran++ == ML_UPCAST_STEPS_MAX)
            refuse(j->L, chain, schema, "more than %d steps: do events split into each other?",
                   ML_UPCAST_STEPS_MAX);
        call(j, step);
        if (!take_result(j, chain, schema++, ran)) return;
        made = true;
    }
    if (made) check(j, chain, schema - 1);
    lua_rawgeti(j->L, LUA_REGISTRYINDEX, chain->name);
    arrive(j, schema);
}

/* The whole way: pushes type and data of each part. */
static void travel(journey *j)
{
    ml_error why;
    ml_upcasts *upcasts = j->upcasts;
    const ml_event *event = j->event;
    const ml_upcast_chain *chain = find(upcasts, event->type);
    ml_bytes data = event->data;
    uint32_t schema = event->schema;
    luaL_checkstack(j->L, 2 * ML_UPCAST_PARTS_MAX + 16, "parts of an event");
    if (chain == NULL || schema >= chain->latest) {
        lua_pushlstring(j->L, event->type.data, event->type.size);
        decode(j, data);
        upcasts->schemas[j->parts++] = schema;
        return;
    }
    if (apply(upcasts, chain, &upcasts->bytes, &data, &schema, &why))
        refuse(j->L, chain, schema, "%s", why.sentence);
    decode(j, data);
    run(j, chain, schema, 0, false);
}

int ml_upcasts_push(ml_upcasts *upcasts, lua_State *L, const ml_event *event, uint32_t *schema)
{
    journey j = {.upcasts = upcasts, .L = L, .event = event, .look = LOOK_AT_END};
    travel(&j);
    *schema = j.parts > 0 ? upcasts->schemas[0] : event->schema;
    return j.parts;
}

void ml_upcasts_encode(ml_upcasts *upcasts, lua_State *L, const ml_event *event,
                       ml_upcast_take *take, void *context)
{
    ml_error why;
    ml_bytes type, data;
    int first = lua_gettop(L) + 1;
    journey j = {.upcasts = upcasts, .L = L, .event = event, .look = LOOK_ELSEWHERE};
    travel(&j);
    for (int n = 0; n < j.parts; n++) {
        if (write(&j, first + 2 * n + 1, &data, &why)) {
            const ml_upcast_chain *chain = find(upcasts, event->type);
            find_culprit(&j);
            if (chain == NULL) luaL_error(L, "%s", why.sentence);
            else refuse(L, chain, event->schema, "%s", why.sentence);
        }
        type.data = lua_tolstring(L, first + 2 * n, &type.size);
        take(context, L, type, upcasts->schemas[n], data);
    }
    lua_settop(L, first - 1);
}

uint32_t ml_upcasts_schema(const ml_upcasts *upcasts, int n)
{
    ML_ASSERT(n >= 0);
    ML_ASSERT(n < ML_UPCAST_PARTS_MAX);
    return upcasts->schemas[n];
}
