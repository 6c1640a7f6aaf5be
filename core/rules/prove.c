/* prove.c -- one pass over history, one trial for every shape.
 *
 * Which fields the latest schema always has is known only at the end of the pass, and so is what
 * an upcast event should have had: of each chain a list of fields is kept, with how many of the
 * events at the latest schema have it, and where the first upcast event is that has not. A null
 * field counts as none.
 */
#include "prove.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "../base/unpack.h"
#include "../script/envelope.h"
#include "upcast_cast.h"
#include "upcast_hash.h"

enum {
    SHAPES_MAX =
        1 << 20, /* that are told apart: 16 MiB, and a log that has more keeps ids as keys */
    SHAPES_FIRST = 1 << 10,
    FIELDS_MAX = 4096, /* of one chain whose fate is followed: for the same reason */
    ELEMENTS_MAX = 32 /* kinds of elements of an array that count once */
};

/* ---- shapes ---------------------------------------------------------------------------- */

static uint64_t shape_of(ml_unpack *at, unsigned depth);

/* The order and number of elements do not count. Kinds over the limit count each time they come:
 * shapes are then told apart that need not be, never the other way. */
static uint64_t shape_array(ml_unpack *at, uint32_t count, unsigned depth)
{
    uint64_t seen[ELEMENTS_MAX], sum = 0;
    unsigned known = 0;
    for (; count > 0; count--) {
        uint64_t shape = shape_of(at, depth);
        unsigned n = 0;
        while (n < known && seen[n] != shape)
            n++;
        if (n < known) continue;
        if (known < ELEMENTS_MAX) seen[known++] = shape;
        sum += ml_upcast_hash_mix(shape, ML_KIND_ARRAY);
    }
    return ml_upcast_hash_mix(sum, ML_KIND_ARRAY);
}

static uint64_t shape_key(ml_unpack *at)
{
    ml_unpack next = *at;
    ml_token token = ml_unpack_next(&next);
    const uint8_t *from = at->at;
    if (token.kind == ML_KIND_STR || token.kind == ML_KIND_BIN) {
        *at = next;
        return ml_upcast_hash(token.bytes);
    }
    if (!ml_unpack_skip(at)) at->at = at->end;
    return ~ml_upcast_hash((ml_bytes){from, (size_t)(at->at - from)});
}

static uint64_t shape_map(ml_unpack *at, uint32_t pairs, unsigned depth)
{
    uint64_t sum = 0;
    for (; pairs > 0; pairs--) {
        uint64_t key = shape_key(at);
        sum += ml_upcast_hash_mix(key, shape_of(at, depth));
    }
    return ml_upcast_hash_mix(sum, ML_KIND_MAP);
}

static uint64_t shape_of(ml_unpack *at, unsigned depth)
{
    ml_unpack before = *at;
    ml_token token = ml_unpack_next(at);
    bool inside = token.kind == ML_KIND_ARRAY || token.kind == ML_KIND_MAP;
    if (inside && depth == 0) { /* no stored value nests so deep */
        *at = before;
        if (!ml_unpack_skip(at)) at->at = at->end;
        return 0;
    }
    if (token.kind == ML_KIND_ARRAY) return shape_array(at, token.count, depth - 1);
    if (token.kind == ML_KIND_MAP) return shape_map(at, token.count, depth - 1);
    return ml_upcast_hash_mix((uint64_t)token.kind, 0);
}

uint64_t ml_prove_shape(ml_bytes data)
{
    ml_unpack at = ml_unpack_from(data);
    return shape_of(&at, ML_DEPTH_MAX);
}

/* Shapes that have been met: their hashes, 0 = free. */
typedef struct shapes {
    uint64_t *slots;
    size_t capacity, count;
    bool full; /* one was met that is not kept */
} shapes;

static uint64_t *find_shape(const shapes *s, uint64_t shape)
{
    size_t at = (size_t)shape & (s->capacity - 1);
    while (s->slots[at] != 0 && s->slots[at] != shape)
        at = (at + 1) & (s->capacity - 1);
    return &s->slots[at];
}

static bool grow_shapes(shapes *s)
{
    shapes more = {.capacity = s->capacity > 0 ? 2 * s->capacity : SHAPES_FIRST};
    more.slots = calloc(more.capacity, sizeof *more.slots);
    if (more.slots == NULL) return false;
    for (size_t n = 0; n < s->capacity; n++)
        if (s->slots[n] != 0) *find_shape(&more, s->slots[n]) = s->slots[n];
    free(s->slots);
    s->slots = more.slots;
    s->capacity = more.capacity;
    return true;
}

/* *is_new: it is met for the first time, and kept. False: memory is refused. */
static bool meet_shape(shapes *s, uint64_t shape, bool *is_new)
{
    if (shape == 0) shape = 1;
    if (2 * s->count >= s->capacity && !grow_shapes(s)) return false;
    uint64_t *slot = find_shape(s, shape);
    *is_new = *slot == 0 && s->count < SHAPES_MAX;
    if (*slot == 0 && !*is_new) s->full = true;
    if (!*is_new) return true;
    *slot = shape;
    s->count++;
    return true;
}

/* ---- fields of a chain ----------------------------------------------------------------- */

typedef struct field {
    uint64_t hash;
    char *name;
    size_t size;
    uint64_t stored;  /* events at the latest schema that have it */
    uint64_t missing; /* position of the first upcast event that has it not; 0 = all have */
    uint64_t mark;    /* the last event that had it, counted over all */
} field;

typedef struct proof {
    ml_bytes type;
    uint32_t latest;
    bool failed, ahead; /* an error, a warning was said */
    bool overfull;      /* fields were met that are not followed */
    uint64_t stored;    /* events looked at that are stored at the latest schema … */
    uint64_t upcast;    /* … and that became so; both only one of a shape */
    uint64_t first;     /* position of the first of the latter */
    uint64_t turn;
    field *fields;
    size_t count, capacity;
} proof;

typedef struct proving {
    ml_store *store;
    ml_upcasts *upcasts;
    ml_sandbox *sandbox;
    ml_diagnostics *to;
    bool full;
    proof *proofs;
    size_t count;
    shapes shapes;
    const ml_event *event; /* that is being tried */
    bool no_memory;
} proving;

static proof *find_proof(proving *p, ml_bytes type)
{
    for (size_t n = 0; n < p->count; n++)
        if (ml_bytes_equal(p->proofs[n].type, type)) return &p->proofs[n];
    return NULL;
}

static field *find_field(proof *of, ml_bytes name, uint64_t hash)
{
    for (size_t n = 0; n < of->count; n++) {
        field *f = &of->fields[n];
        if (f->hash == hash && ml_bytes_equal((ml_bytes){f->name, f->size}, name)) return f;
    }
    return NULL;
}

/* A field that no event had so far. Once an event at the latest schema was met without it, nobody
 * needs it. */
static void add_field(proving *p, proof *of, ml_bytes name, uint64_t hash, bool is_stored)
{
    if (of->stored > 0) return;
    if (of->count == FIELDS_MAX) of->overfull = true;
    if (of->overfull) return;
    if (of->count == of->capacity) {
        size_t capacity = of->capacity > 0 ? 2 * of->capacity : 16;
        field *fields = realloc(of->fields, capacity * sizeof *fields);
        if (fields == NULL) {
            p->no_memory = true;
            return;
        }
        of->fields = fields;
        of->capacity = capacity;
    }
    char *copy = malloc(name.size + 1);
    if (copy == NULL) {
        p->no_memory = true;
        return;
    }
    if (name.size > 0) memcpy(copy, name.data, name.size);
    copy[name.size] = '\0';
    of->fields[of->count++] = (field){.hash = hash,
                                      .name = copy,
                                      .size = name.size,
                                      .stored = is_stored,
                                      .missing = of->first,
                                      .mark = of->turn};
}

/* Counts the fields of an event, one that is stored at the latest schema or one that was upcast. */
static void count_fields(proving *p, proof *of, ml_bytes data, bool is_stored)
{
    ml_unpack at = ml_unpack_from(data);
    uint32_t pairs = 0;
    of->turn++;
    if (!ml_unpack_map(&at, &pairs)) pairs = 0; /* no map has no fields */
    for (; pairs > 0; pairs--) {
        ml_token key = ml_unpack_next(&at);
        bool is_nil = at.at < at.end && *at.at == 0xc0;
        if ((key.kind == ML_KIND_ARRAY || key.kind == ML_KIND_MAP) || !ml_unpack_skip(&at)) break;
        if (key.kind != ML_KIND_STR || is_nil) continue;
        uint64_t hash = ml_upcast_hash(key.bytes);
        field *known = find_field(of, key.bytes, hash);
        if (known == NULL) {
            add_field(p, of, key.bytes, hash, is_stored);
        } else if (known->mark != of->turn) {
            known->mark = of->turn;
            known->stored += is_stored;
        }
    }
    for (size_t n = 0; !is_stored && n < of->count; n++)
        if (of->fields[n].mark != of->turn && of->fields[n].missing == 0)
            of->fields[n].missing = p->event->position;
    if (is_stored)
        of->stored++;
    else if (of->upcast++ == 0)
        of->first = p->event->position;
}

/* ---- saying ---------------------------------------------------------------------------- */

/* "position 12 (stream account-ada, Payment schema 1)" */
static void print_event(char *text, size_t size, const ml_event *event)
{
    snprintf(text, size, "position %" PRIu64 " (stream %.*s, %.*s schema %u)", event->position,
             (int)(event->stream.size > 120 ? 120 : event->stream.size),
             (const char *)event->stream.data, (int)(event->type.size > 80 ? 80 : event->type.size),
             (const char *)event->type.data, (unsigned)event->schema);
}

/* An error about an event, at the place of the fault or else of the step that begins with it. */
static void refuse(proving *p, const ml_event *event, const ml_fault *fault)
{
    char where[320];
    ml_fault told;
    uint32_t line = fault->line;
    const char *file = fault->file;
    if (file[0] == '\0') file = ml_upcasts_where(p->upcasts, event->type, event->schema, &line);
    print_event(where, sizeof where, event);
    ml_fault_set(&told, fault->kind, file, line, "%s: %s", where, fault->message);
    memcpy(told.source, fault->source, sizeof told.source);
    ml_diagnose_error(p->to, "PROOF", &told);
}

static void refuse_chain(proving *p, const ml_event *event, const char *sentence)
{
    ml_fault fault;
    ml_fault_set(&fault, ML_FAULT_SHAPE, "", 0, "%s", sentence);
    refuse(p, event, &fault);
}

static void warn(proving *p, const char *code, ml_bytes type, const char *sentence)
{
    ml_fault fault;
    uint32_t line = 0;
    const char *file = type.size > 0 ? ml_upcasts_where(p->upcasts, type, 1, &line) : "";
    ml_fault_set(&fault, ML_FAULT_SHAPE, file, 0, "%s", sentence);
    ml_diagnose_warning(p->to, code, &fault);
}

/* ---- trials ---------------------------------------------------------------------------- */

static bool is_map(ml_bytes data)
{
    ml_unpack at = ml_unpack_from(data);
    uint32_t pairs;
    return ml_unpack_map(&at, &pairs);
}

static void look_at_part(void *context, lua_State *L, ml_bytes type, uint32_t schema,
                         ml_bytes data)
{
    proving *p = context;
    proof *of = find_proof(p, type);
    (void)schema;
    if (is_map(p->event->data) && !is_map(data)) {
        char words[ML_UPCAST_CAST_WORDS];
        ml_upcast_cast_describe(words, data);
        luaL_error(L, "the data was a map and becomes %s", words);
    }
    if (of != NULL) count_fields(p, of, data, false);
}

static int try_body(lua_State *L)
{
    proving *p = lua_touserdata(L, 1);
    ml_upcasts_encode(p->upcasts, L, p->event, look_at_part, p);
    return 0;
}

static void try_event(proving *p, proof *of)
{
    ml_fault fault;
    bool done = ml_sandbox_enter(p->sandbox, try_body, p, &fault);
    ml_envelope_clear(ml_sandbox_lua(p->sandbox));
    if (done) return;
    of->failed = true;
    refuse(p, p->event, &fault);
}

static void warn_ahead(proving *p, proof *of)
{
    char where[320], sentence[512];
    if (of->ahead) return;
    of->ahead = true;
    print_event(where, sizeof where, p->event);
    snprintf(sentence, sizeof sentence,
             "%s is behind the end of the chain, latest = %u; it is read as it is", where,
             (unsigned)of->latest);
    warn(p, "CHAIN", of->type, sentence);
}

/* False if memory is refused. */
static bool look_at(proving *p, const ml_event *event)
{
    proof *of = find_proof(p, event->type);
    bool is_new = true;
    if (of == NULL || of->failed) return true;
    uint64_t kind = ml_upcast_hash_mix(ml_upcast_hash(event->type), event->schema);
    uint64_t shape = ml_upcast_hash_mix(ml_prove_shape(event->data), kind);
    if (!p->full && !meet_shape(&p->shapes, shape, &is_new)) return false;
    if (!is_new) return true;
    p->event = event;
    if (event->schema < of->latest)
        try_event(p, of);
    else if (event->schema == of->latest)
        count_fields(p, of, event->data, true);
    else
        warn_ahead(p, of);
    return !p->no_memory;
}

/* ---- the pass -------------------------------------------------------------------------- */

static ml_code read_all(proving *p, const ml_selection *selection, ml_error *why)
{
    ml_cursor *cursor;
    ml_event event;
    ml_code code = ml_read(p->store, selection, &cursor);
    if (code) return ml_error_retell(why, code, ml_why(p->store));
    while ((code = ml_next(cursor, &event)) == ML_OK)
        if (!look_at(p, &event)) break;
    if (code == ML_OK)
        code = ml_error_memory(why, "the shapes of events");
    else if (code == ML_END)
        code = ML_OK;
    else
        code = ml_error_retell(why, code, ml_why(p->store));
    ml_cursor_free(cursor);
    return code;
}

/* Only events that have a chain, where a query may name so many types. */
static ml_code read_types(proving *p, ml_error *why)
{
    ml_bytes types[ML_QUERY_TERMS_MAX];
    ml_query_item item = {.types = types, .type_count = p->count};
    ml_selection selection = {.system = true};
    for (size_t n = 0; p->count <= ML_QUERY_TERMS_MAX && n < p->count; n++)
        types[n] = p->proofs[n].type;
    if (p->count <= ML_QUERY_TERMS_MAX) selection.query = (ml_query){.items = &item, .count = 1};
    return read_all(p, &selection, why);
}

/* ---- the verdict ----------------------------------------------------------------------- */

/* The field that every event at the latest schema has and that an upcast event lost first. */
static const field *find_lost(const proof *of)
{
    const field *lost = NULL;
    for (size_t n = 0; of->stored > 0 && n < of->count; n++) {
        const field *f = &of->fields[n];
        if (f->stored == of->stored && f->missing > 0 &&
            (lost == NULL || f->missing < lost->missing))
            lost = f;
    }
    return lost;
}

static ml_code refuse_lost(proving *p, const proof *of, const field *lost, ml_error *why)
{
    char sentence[512], type[81];
    ml_cursor *cursor;
    ml_event event;
    snprintf(type, sizeof type, "%.*s", ML_SHOW(of->type));
    ml_selection at = {.system = true, .has_from = true, .from = lost->missing, .limit = 1};
    ml_code code = ml_read(p->store, &at, &cursor);
    if (code) return ml_error_retell(why, code, ml_why(p->store));
    code = ml_next(cursor, &event);
    if (code == ML_OK) {
        snprintf(sentence, sizeof sentence,
                 "the upcast event lacks '%.80s', which every stored %s of schema %u has; give it "
                 "a default, or rename "
                 "the field that it was",
                 lost->name, type, (unsigned)of->latest);
        refuse_chain(p, &event, sentence);
    } else {
        code = ml_error_retell(why, code == ML_END ? ML_CORRUPT : code, ml_why(p->store));
    }
    ml_cursor_free(cursor);
    return code;
}

static ml_code judge(proving *p, ml_error *why)
{
    ml_code code = ML_OK;
    for (size_t n = 0; n < p->count && !code; n++) {
        proof *of = &p->proofs[n];
        const field *lost = of->failed ? NULL : find_lost(of);
        if (lost != NULL) code = refuse_lost(p, of, lost, why);
        if (of->overfull)
            warn(p, "PROOF", of->type,
                 "there are over 4096 fields; whether one is lost was not looked at for all");
    }
    if (p->shapes.full)
        warn(p, "PROOF", (ml_bytes){0},
             "there are over 1048576 shapes of events; prove the rest with --full");
    return code;
}

/* ---- life ------------------------------------------------------------------------------ */

static ml_code begin(proving *p, ml_error *why)
{
    ml_bytes type;
    uint32_t latest;
    while (ml_upcasts_each(p->upcasts, p->count, &type, &latest))
        p->count++;
    p->proofs = calloc(p->count > 0 ? p->count : 1, sizeof *p->proofs);
    if (p->proofs == NULL) return ml_error_memory(why, "the proof of upcasters");
    for (size_t n = 0; ml_upcasts_each(p->upcasts, n, &type, &latest); n++)
        p->proofs[n] = (proof){.type = type, .latest = latest};
    return ML_OK;
}

static void end(proving *p)
{
    for (size_t n = 0; p->proofs != NULL && n < p->count; n++) {
        for (size_t i = 0; i < p->proofs[n].count; i++)
            free(p->proofs[n].fields[i].name);
        free(p->proofs[n].fields);
    }
    free(p->proofs);
    free(p->shapes.slots);
}

ml_code ml_prove_chains(ml_store *store, ml_upcasts *upcasts, ml_sandbox *sandbox, bool full,
                        ml_diagnostics *to, ml_error *why)
{
    proving p = {.store = store, .upcasts = upcasts, .sandbox = sandbox, .full = full, .to = to};
    ml_code code = begin(&p, why);
    if (!code && p.count > 0) code = read_types(&p, why);
    if (!code && p.count > 0) code = judge(&p, why);
    end(&p);
    return code;
}
