/* upcast_step.c -- one pass over a map: runs of fields that stay are copied as they are.
 *
 *     a8 currency a3 EUR  a3 sum 05  a4 note a2 hi
 *     ├──── run ────────┤        ├── run ─────────┤      and between them a6 amount
 *
 * Where a step moves fields from or to below the root, a look ahead notes where their values
 * lie. Both walk the plan's levels beside the maps of the data, never deeper than a path.
 */
#include "upcast_plan.h"

#include "../base/pack.h"

enum { FIXMAP = 0x80, FIXMAP_MAX = 15, FIXSTR = 0xa0, NIL = 0xc0, FLOAT64 = 0xcb, STR8 = 0xd9 };

typedef struct pass {
    const ml_upcast_step *step;
    ml_buf *out;
    ml_error *why;
    uint64_t landed;                       /* fields to which something was moved … */
    uint64_t seen;                         /* fields that were met in the data */
    ml_bytes values[ML_UPCAST_FIELDS_MAX]; /* … and what */
} pass;

/* ---- refusing -------------------------------------------------------------------------- */

static bool cut(pass *p)
{
    ML_IGNORE(ml_error_set(p->why, ML_SCRIPT_ERROR, "data is cut short"));
    return false;
}

static bool refuse_there(pass *p, const ml_plan_field *field)
{
    ML_IGNORE(ml_error_set(
        p->why, ML_SCRIPT_ERROR,
        "field '%.*s' would be there twice: something is renamed or moved onto it, or the data "
        "has it twice",
        ML_SHOW(field->path)));
    return false;
}

static bool refuse_cast(pass *p, const ml_plan_field *field, ml_bytes value)
{
    char words[ML_UPCAST_CAST_WORDS];
    const char *kind = ml_upcast_cast_names[field->cast - 1];
    ml_upcast_cast_describe(words, value);
    ML_IGNORE(ml_error_set(p->why, ML_SCRIPT_ERROR,
                           "field '%.*s' is %s, which cannot be cast to %s", ML_SHOW(field->path),
                           words, kind));
    return false;
}

/* `field` NULL: the data itself. */
static bool refuse_no_map(pass *p, const ml_plan_field *field, ml_bytes value)
{
    char words[ML_UPCAST_CAST_WORDS];
    ml_upcast_cast_describe(words, value);
    ml_code code =
        field == NULL
            ? ml_error_set(p->why, ML_SCRIPT_ERROR, "data is %s, and the step needs a map", words)
            : ml_error_set(p->why, ML_SCRIPT_ERROR, "field '%.*s' is %s, and the step needs a map",
                           ML_SHOW(field->path), words);
    return code == ML_OK;
}

/* ---- reading --------------------------------------------------------------------------- */

/* Most values in line: small integers, texts under 256 bytes, floats. */
static inline bool skip(ml_unpack *in)
{
    ptrdiff_t left = in->end - in->at, size;
    if (left == 0) return false;
    uint8_t lead = *in->at;
    if (lead < 0x80 || lead >= 0xe0)
        size = 1;
    else if ((lead & 0xe0) == FIXSTR)
        size = 1 + (lead & 0x1f);
    else if (lead == STR8 && left > 1)
        size = 2 + in->at[1];
    else if (lead == FLOAT64)
        size = 9;
    else
        return ml_unpack_skip(in);
    if (size > left) return false;
    in->at += size;
    return true;
}

/* A key that is longer, or no text: that one is skipped and gives none. bin counts as text, as it
 * does in Lua. */
static bool read_long_key(ml_unpack *in, ml_bytes *key)
{
    ml_unpack next = *in;
    ml_token token = ml_unpack_next(&next);
    *key = (ml_bytes){0};
    if (token.kind != ML_KIND_BIN && token.kind != ML_KIND_STR) return ml_unpack_skip(in);
    *key = token.bytes;
    *in = next;
    return true;
}

static inline bool read_key(ml_unpack *in, ml_bytes *key)
{
    ptrdiff_t left = in->end - in->at;
    if (left == 0 || (*in->at & 0xe0) != FIXSTR || (*in->at & 0x1f) >= left)
        return read_long_key(in, key);
    *key = (ml_bytes){in->at + 1, *in->at & 0x1f};
    in->at += 1 + key->size;
    return true;
}

static inline bool read_map(ml_unpack *in, uint32_t *pairs)
{
    if (in->at == in->end || (*in->at & 0xf0) != FIXMAP) return ml_unpack_map(in, pairs);
    *pairs = *in->at++ & FIXMAP_MAX;
    return true;
}

static inline const ml_plan_name *find_name(const ml_upcast_step *step, const ml_plan_level *level,
                                            ml_bytes key)
{
    if (!(level->sizes >> (key.size & 63) & 1)) return NULL;
    const ml_plan_name *name = step->names + level->first, *end = name + level->count;
    for (; name < end; name++)
        if (name->text.size == key.size && memcmp(name->text.data, key.data, key.size) == 0)
            return name;
    return NULL;
}

static inline bool is_nil(ml_bytes value)
{
    return *(const uint8_t *)value.data == NIL;
}

static inline uint64_t bit_of(const pass *p, const ml_plan_field *field)
{
    return (uint64_t)1 << (field - p->step->fields);
}

/* ---- looking ahead --------------------------------------------------------------------- */

static bool take_level(pass *p, const ml_plan_level *level, ml_unpack *in, uint32_t pairs);

static bool take_below(pass *p, const ml_plan_field *field, ml_bytes value)
{
    ml_unpack in = ml_unpack_from(value);
    uint32_t pairs;
    if (is_nil(value)) return true;
    if (!read_map(&in, &pairs)) return refuse_no_map(p, field, value);
    return take_level(p, &p->step->levels[field->below], &in, pairs);
}

/* Notes where the values lie that are moved away. */
static bool take_level(pass *p, const ml_plan_level *level, ml_unpack *in, uint32_t pairs)
{
    for (; pairs > 0; pairs--) {
        ml_bytes key;
        if (!read_key(in, &key)) return cut(p);
        const uint8_t *from = in->at;
        if (!skip(in)) return cut(p);
        const ml_plan_name *name = find_name(p->step, level, key);
        if (name == NULL || name->arrives) continue;
        const ml_plan_field *field = &p->step->fields[name->field];
        ml_bytes value = {from, (size_t)(in->at - from)};
        if (field->taken) {
            const ml_plan_field *to = &p->step->fields[field->lands];
            if (p->landed & bit_of(p, to)) return refuse_there(p, to);
            p->landed |= bit_of(p, to);
            p->values[field->lands] = value;
        } else if (field->below > 0 && p->step->levels[field->below].takes) {
            if (!take_below(p, field, value)) return false;
        }
    }
    return true;
}

/* ---- writing --------------------------------------------------------------------------- */

static bool write_level(pass *p, const ml_plan_level *level, ml_unpack *in, uint32_t pairs);

/* Does anything come to be below a field that is not there? */
static bool is_made(const pass *p, const ml_plan_field *field)
{
    return field->fills || (field->puts & p->landed) != 0;
}

static bool write_below(pass *p, const ml_plan_field *field, ml_bytes value)
{
    static const uint8_t nothing;
    ml_unpack in = {&nothing, &nothing};
    uint32_t pairs = 0;
    const ml_plan_level *level = &p->step->levels[field->below];
    if (value.size == 0 || is_nil(value)) return write_level(p, level, &in, 0);
    in = ml_unpack_from(value);
    if (read_map(&in, &pairs)) return write_level(p, level, &in, pairs);
    if (field->needs || is_made(p, field)) return refuse_no_map(p, field, value);
    ml_buf_add(p->out, value.data, value.size);
    return true;
}

/* The value of a field, cast, filled in and looked into. */
static bool write_value(pass *p, const ml_plan_field *field, ml_bytes value)
{
    if (is_nil(value)) {
        if (field->below > 0 && is_made(p, field)) return write_below(p, field, value);
        if (field->standard.size > 0) value = field->standard;
        ml_buf_add(p->out, value.data, value.size);
        return true;
    }
    if (field->below > 0) return write_below(p, field, value);
    return ml_upcast_cast_pack(p->out, field->cast, value) || refuse_cast(p, field, value);
}

/* A map being written: `copied` is where the run begins that is still to be copied. */
typedef struct run {
    const uint8_t *copied;
    uint32_t pairs;
    uint64_t kept; /* fields that have been written */
} run;

static inline void flush(pass *p, run *r, const uint8_t *upto)
{
    ml_buf_add(p->out, r->copied, (size_t)(upto - r->copied));
    r->copied = upto;
}

/* A pair that the plan speaks of: its key begins at `key`, its value takes up `value`. */
static bool write_pair(pass *p, run *r, const ml_plan_name *name, const uint8_t *key,
                       ml_bytes value)
{
    const ml_plan_field *field = &p->step->fields[name->field];
    const uint8_t *from = value.data, *behind = from + value.size;
    uint64_t bit = bit_of(p, field);
    bool taken = field->taken && !name->arrives;
    if (!taken && ((p->seen | p->landed) & bit)) return refuse_there(p, field);
    if (!taken) p->seen |= bit;
    if (taken || field->drop) {
        flush(p, r, key);
        r->copied = behind;
        r->pairs--;
        return true;
    }
    r->kept |= bit;
    if (name->renamed) {
        flush(p, r, key);
        ml_buf_add(p->out, field->packed.data, field->packed.size);
        r->copied = from;
    }
    if (field->cast == ML_UPCAST_KEEP && field->below == 0 && !is_nil(value)) return true;
    flush(p, r, from);
    r->copied = behind;
    return write_value(p, field, value);
}

/* A field that was not met in its map: something was moved here, or has to be made. */
static bool write_missing(pass *p, run *r, const ml_plan_field *field)
{
    bool landed = (p->landed & bit_of(p, field)) != 0 && !field->drop;
    bool made = field->below > 0 && is_made(p, field);
    if (!landed && !made && field->standard.size == 0) return true;
    r->pairs++;
    ml_buf_add(p->out, field->packed.data, field->packed.size);
    if (landed) return write_value(p, field, p->values[field - p->step->fields]);
    if (made) return write_below(p, field, (ml_bytes){0});
    ml_buf_add(p->out, field->standard.data, field->standard.size);
    return true;
}

static bool write_level(pass *p, const ml_plan_level *level, ml_unpack *in, uint32_t pairs)
{
    size_t begin = p->out->size;
    ml_buf_byte(p->out, 0); /* as ml_pack_begin */
    run r = {.copied = in->at, .pairs = pairs};
    for (; pairs > 0; pairs--) {
        const uint8_t *at = in->at;
        ml_bytes key;
        if (!read_key(in, &key)) return cut(p);
        const uint8_t *from = in->at;
        if (!skip(in)) return cut(p);
        const ml_plan_name *name = find_name(p->step, level, key);
        if (name == NULL) continue;
        if (!write_pair(p, &r, name, at, (ml_bytes){from, (size_t)(in->at - from)})) return false;
    }
    flush(p, &r, in->at);
    for (uint64_t left = level->fields & ~r.kept; left != 0; left &= left - 1)
        if (!write_missing(p, &r, &p->step->fields[__builtin_ctzll(left)])) return false;
    if (p->out->failed) return true;
    if (r.pairs <= FIXMAP_MAX)
        p->out->data[begin] = (uint8_t)(FIXMAP | r.pairs);
    else
        ml_pack_end_map(p->out, begin, r.pairs);
    return true;
}

/* Was something moved that has levels of its own? */
static bool has_moved_levels(const pass *p)
{
    for (uint64_t left = p->landed; left != 0; left &= left - 1) {
        ml_unpack in = ml_unpack_from(p->values[__builtin_ctzll(left)]);
        ml_token token = ml_unpack_next(&in);
        if (token.kind == ML_KIND_ARRAY || token.kind == ML_KIND_MAP) return true;
    }
    return false;
}

ml_code ml_upcast_step_apply(const ml_upcast_step *step, ml_bytes data, ml_buf *out,
                             ml_bytes *result, ml_error *why)
{
    pass p; /* not cleared: it has values only where `landed` says so */
    p.step = step;
    p.out = out;
    p.why = why;
    p.landed = p.seen = 0;
    const ml_plan_level *root = &step->levels[0];
    ml_unpack in = ml_unpack_from(data), ahead;
    uint32_t pairs;
    *result = data;
    ml_buf_clear(out);
    if (step->name_count == 0) return ML_OK;
    if (!read_map(&in, &pairs)) {
        ML_IGNORE(refuse_no_map(&p, NULL, data));
        return ML_SCRIPT_ERROR;
    }
    ahead = in;
    if (root->takes && !take_level(&p, root, &ahead, pairs)) return ML_SCRIPT_ERROR;
    if (!write_level(&p, root, &in, pairs)) return ML_SCRIPT_ERROR;
    if (out->failed) return ml_error_memory(why, "an upcast event");
    *result = ml_buf_view(out);
    if (!step->deepens || !has_moved_levels(&p)) return ML_OK;
    ml_error said;
    if (ml_unpack_check(*result, "data, as the step makes it,", &said) == ML_OK) return ML_OK;
    return ml_error_set(why, ML_SCRIPT_ERROR, "%s", said.sentence);
}
