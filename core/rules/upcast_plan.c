/* upcast_plan.c -- wishes become a tree of fields; what cannot be meant is refused. */
#include "upcast_plan.h"

#include <stdlib.h>

#include "../base/limits.h"
#include "../base/pack.h"

_Static_assert(ML_UPCAST_FIELDS_MAX <= 64, "fields are bits of a word");

#define REFUSE(why, ...) ml_error_set(why, ML_BAD_REQUEST, __VA_ARGS__)

/* ---- texts ----------------------------------------------------------------------------- */

ml_upcast_step *ml_upcast_step_new(void)
{
    ml_upcast_step *step = calloc(1, sizeof *step);
    if (step != NULL) step->level_count = 1;
    return step;
}

void ml_upcast_step_free(ml_upcast_step *step)
{
    if (step == NULL) return;
    for (ml_plan_text *text = step->texts; text != NULL;) {
        ml_plan_text *next = text->next;
        free(text);
        text = next;
    }
    free(step);
}

/* The step's own copy. */
static ml_code keep(ml_upcast_step *step, ml_bytes bytes, ml_bytes *own, ml_error *why)
{
    ml_plan_text *text = malloc(sizeof *text + bytes.size);
    if (text == NULL) return ml_error_memory(why, "a step of an upcaster");
    if (bytes.size > 0) memcpy(text->bytes, bytes.data, bytes.size);
    text->next = step->texts;
    step->texts = text;
    *own = (ml_bytes){text->bytes, bytes.size};
    return ML_OK;
}

static ml_code keep_packed(ml_upcast_step *step, ml_bytes name, ml_bytes *packed, ml_error *why)
{
    ml_buf buf = {0};
    ml_pack_str(&buf, name);
    ml_code code = buf.failed ? ml_error_memory(why, "a field's name")
                              : keep(step, ml_buf_view(&buf), packed, why);
    ml_buf_free(&buf);
    return code;
}

static ml_code check_name(ml_bytes name, ml_bytes path, ml_error *why)
{
    if (name.size == 0)
        return REFUSE(why, "'%.*s' has an empty part; write a field, or a path like 'a.b'",
                      ML_SHOW(path));
    if (name.size > ML_UPCAST_NAME_BYTES_MAX)
        return REFUSE(why, "'%.40s…' is over %d bytes; use a function for that field",
                      (const char *)name.data, ML_UPCAST_NAME_BYTES_MAX);
    return ml_unpack_utf8(name) ? ML_OK : REFUSE(why, "'%.*s' is no UTF-8", ML_SHOW(path));
}

/* ---- fields ---------------------------------------------------------------------------- */

static ml_code too_many(ml_error *why)
{
    return ml_error_set(why, ML_LIMIT,
                        "the step speaks of more than %d fields; use a function, or two steps",
                        ML_UPCAST_FIELDS_MAX);
}

static ml_plan_field *find_field(ml_upcast_step *step, unsigned level, ml_bytes name)
{
    for (uint32_t n = 0; n < step->field_count; n++) {
        ml_plan_field *field = &step->fields[n];
        if (field->level == level && ml_bytes_equal(field->name, name)) return field;
    }
    return NULL;
}

/* The field `name` of a level, made if it is not there. `path` ends with it. */
static ml_code get_field(ml_upcast_step *step, unsigned level, ml_bytes path, ml_bytes name,
                         ml_plan_field **found, ml_error *why)
{
    *found = find_field(step, level, name);
    if (*found != NULL) return ML_OK;
    if (check_name(name, path, why)) return why->code;
    if (step->field_count == ML_UPCAST_FIELDS_MAX) return too_many(why);
    ml_plan_field field = {.level = (uint8_t)level};
    if (keep(step, path, &field.path, why)) return why->code;
    if (keep(step, name, &field.name, why)) return why->code;
    if (keep_packed(step, name, &field.packed, why)) return why->code;
    step->levels[level].fields |= (uint64_t)1 << step->field_count;
    *found = &step->fields[step->field_count++];
    **found = field;
    return ML_OK;
}

/* The field at a path, with those on the way to it. */
static ml_code get_path(ml_upcast_step *step, ml_bytes path, ml_plan_field **found, ml_error *why)
{
    const char *text = path.data;
    unsigned level = 0;
    size_t from = 0, parts = 0;
    for (size_t at = 0; at <= path.size; at++) {
        if (at < path.size && text[at] != '.') continue;
        ml_bytes so_far = {text, at}, name = {text + from, at - from};
        if (++parts > ML_DEPTH_MAX)
            return REFUSE(why, "'%.*s' has more than %d parts; data does not nest deeper",
                          ML_SHOW(path), ML_DEPTH_MAX);
        if (get_field(step, level, so_far, name, found, why)) return why->code;
        if (at < path.size && (*found)->below == 0) (*found)->below = (uint8_t)step->level_count++;
        level = (*found)->below;
        from = at + 1;
    }
    return ML_OK;
}

/* ---- wishes ---------------------------------------------------------------------------- */

static bool is_path(ml_bytes text)
{
    return text.size > 0 && memchr(text.data, '.', text.size) != NULL;
}

static size_t count_parts(ml_bytes path)
{
    size_t parts = 1;
    for (size_t at = 0; at < path.size; at++)
        parts += ((const char *)path.data)[at] == '.';
    return parts;
}

static ml_code add_alias(ml_upcast_step *step, ml_bytes from, ml_bytes to, bool move, ml_error *why)
{
    ml_plan_alias alias = {.move = move};
    if (check_name(from, from, why) || check_name(to, to, why)) return why->code;
    if (ml_bytes_equal(from, to)) return REFUSE(why, "'%.*s' gets the name it has", ML_SHOW(from));
    if (step->alias_count == ML_UPCAST_FIELDS_MAX) return too_many(why);
    if (keep(step, from, &alias.from, why) || keep(step, to, &alias.to, why)) return why->code;
    step->aliases[step->alias_count++] = alias;
    return ML_OK;
}

ml_code ml_upcast_step_rename(ml_upcast_step *step, ml_bytes from, ml_bytes to, ml_error *why)
{
    if (is_path(from) || is_path(to))
        return REFUSE(why, "rename takes fields of the data itself; move '%.*s' to '%.*s' instead",
                      ML_SHOW(from), ML_SHOW(to));
    return add_alias(step, from, to, false, why);
}

ml_code ml_upcast_step_move(ml_upcast_step *step, ml_bytes from, ml_bytes to, ml_error *why)
{
    ml_plan_field *source, *target;
    if (!is_path(from) && !is_path(to)) return add_alias(step, from, to, true, why);
    if (get_path(step, from, &source, why) || get_path(step, to, &target, why)) return why->code;
    if (source == target) return REFUSE(why, "'%.*s' is moved to where it is", ML_SHOW(from));
    if (source->taken) return REFUSE(why, "'%.*s' is moved twice", ML_SHOW(from));
    source->taken = true;
    source->lands = (uint8_t)(target - step->fields);
    target->put = true;
    step->deepens = step->deepens || count_parts(to) > count_parts(from);
    return ML_OK;
}

ml_code ml_upcast_step_drop(ml_upcast_step *step, ml_bytes path, ml_error *why)
{
    ml_plan_field *field;
    if (get_path(step, path, &field, why)) return why->code;
    field->drop = true;
    return ML_OK;
}

ml_code ml_upcast_step_cast(ml_upcast_step *step, ml_bytes path, ml_upcast_kind kind, ml_error *why)
{
    ml_plan_field *field;
    ML_ASSERT(kind != ML_UPCAST_KEEP);
    if (get_path(step, path, &field, why)) return why->code;
    field->cast = kind;
    return ML_OK;
}

/* A default in as many lists as there will be maps around it nests as deep as it will. */
static ml_code check_depth(ml_bytes path, ml_bytes value, ml_error *why)
{
    ml_buf buf = {0};
    for (size_t n = count_parts(path); n > 0; n--)
        ml_pack_array(&buf, 1);
    ml_buf_add(&buf, value.data, value.size);
    ml_code code =
        buf.failed ? ml_error_memory(why, "a default")
                   : ml_unpack_check(ml_buf_view(&buf), "a default, with the maps around it,", why);
    ml_buf_free(&buf);
    return code;
}

ml_code ml_upcast_step_default(ml_upcast_step *step, ml_bytes path, ml_bytes value, ml_error *why)
{
    ml_plan_field *field;
    if (get_path(step, path, &field, why) || check_depth(path, value, why)) return why->code;
    return keep(step, value, &field->standard, why);
}

/* ---- together -------------------------------------------------------------------------- */

/* What is wished for below a field, at any depth. */
typedef struct below {
    const ml_plan_field *take, *put, *change, *standard;
    uint64_t puts;
} below;

static void look_below(const ml_upcast_step *step, unsigned level, below *b)
{
    if (level == 0) return; /* a field without any below; nothing is above the root */
    for (uint64_t left = step->levels[level].fields; left != 0; left &= left - 1) {
        unsigned n = (unsigned)__builtin_ctzll(left);
        const ml_plan_field *field = &step->fields[n];
        if (field->taken) b->take = field;
        if (field->put) {
            b->put = field;
            b->puts |= (uint64_t)1 << n;
        }
        if (field->standard.size > 0) b->standard = field;
        if (field->drop || field->cast != ML_UPCAST_KEEP) b->change = field;
        look_below(step, field->below, b);
    }
}

static ml_code refuse_pair(const char *what, const ml_plan_field *field,
                           const ml_plan_field *inside, ml_error *why)
{
    return REFUSE(why,
                  "%s '%.*s' does not go with what is wished for '%.*s' inside it; use two steps",
                  what, ML_SHOW(field->path), ML_SHOW(inside->path));
}

static ml_code check_field(const ml_plan_field *field, const below *b, ml_error *why)
{
    const ml_plan_field *made = b->put != NULL ? b->put : b->standard;
    const ml_plan_field *kept = made != NULL ? made : b->change;
    if (field->drop && kept != NULL) return refuse_pair("dropping", field, kept, why);
    if (field->cast != ML_UPCAST_KEEP && kept != NULL)
        return refuse_pair("casting", field, kept, why);
    if (field->cast != ML_UPCAST_KEEP && b->take != NULL)
        return refuse_pair("casting", field, b->take, why);
    if (field->standard.size > 0 && b->standard != NULL)
        return refuse_pair("the default of", field, b->standard, why);
    if (field->taken && b->take != NULL) return refuse_pair("moving", field, b->take, why);
    if (field->put && b->put != NULL) return refuse_pair("moving to", field, b->put, why);
    if ((field->put || field->arrives) && b->take != NULL)
        return refuse_pair("moving to", field, b->take, why);
    return ML_OK;
}

static const ml_plan_alias *find_alias(const ml_upcast_step *step, ml_bytes from, bool move)
{
    for (uint32_t n = 0; n < step->alias_count; n++) {
        const ml_plan_alias *alias = &step->aliases[n];
        if (alias->move == move && ml_bytes_equal(alias->from, from)) return alias;
    }
    return NULL;
}

static ml_code add_name(ml_upcast_step *step, unsigned level, ml_plan_name name, ml_error *why)
{
    ml_plan_level *at = &step->levels[level];
    if (step->name_count == 2 * ML_UPCAST_FIELDS_MAX) return too_many(why);
    step->names[step->name_count++] = name;
    at->count++;
    at->sizes |= (uint64_t)1 << (name.text.size & 63);
    return ML_OK;
}

/* Where a field of the old root is in the new one: renamed first, moved from there. */
static ml_code add_root_alias(ml_upcast_step *step, const ml_plan_alias *alias, ml_error *why)
{
    const ml_plan_alias *moved = alias->move ? alias : find_alias(step, alias->to, true);
    ml_plan_field *target, *source = find_field(step, 0, alias->from);
    below b = {0};
    if (source != NULL && alias->move) look_below(step, source->below, &b);
    if (b.take != NULL) return refuse_pair("moving", source, b.take, why);
    if (source != NULL && alias->move && source->taken)
        return REFUSE(why, "'%.*s' is moved twice", ML_SHOW(alias->from));
    if (alias->move && find_alias(step, alias->from, false) != NULL)
        return ML_OK; /* gone by another name */
    ml_bytes to = moved != NULL ? moved->to : alias->to;
    if (get_field(step, 0, to, to, &target, why)) return why->code;
    target->arrives = target->arrives || moved != NULL;
    ml_plan_name name = {.text = alias->from,
                         .renamed = !ml_bytes_equal(alias->from, to),
                         .arrives = moved != NULL,
                         .field = (uint8_t)(target - step->fields)};
    return add_name(step, 0, name, why);
}

/* The names of a level: of the root the old ones, where they differ. */
static ml_code add_names(ml_upcast_step *step, unsigned level, ml_error *why)
{
    step->levels[level].first = (uint16_t)step->name_count;
    for (uint32_t n = 0; level == 0 && n < step->alias_count; n++)
        if (add_root_alias(step, &step->aliases[n], why)) return why->code;
    for (uint64_t left = step->levels[level].fields; left != 0; left &= left - 1) {
        uint8_t n = (uint8_t)__builtin_ctzll(left);
        ml_bytes text = step->fields[n].name;
        bool gone = level == 0 &&
                    (find_alias(step, text, false) != NULL || find_alias(step, text, true) != NULL);
        if (!gone && add_name(step, level, (ml_plan_name){.text = text, .field = n}, why))
            return why->code;
    }
    return ML_OK;
}

/* Levels are made from the root down, so from the last to the first each knows those below. */
static void find_takes(ml_upcast_step *step)
{
    for (uint32_t level = step->level_count; level-- > 0;)
        for (uint64_t left = step->levels[level].fields; left != 0; left &= left - 1) {
            const ml_plan_field *field = &step->fields[__builtin_ctzll(left)];
            bool takes = field->taken || (field->below > 0 && step->levels[field->below].takes);
            step->levels[level].takes = step->levels[level].takes || takes;
        }
}

ml_code ml_upcast_step_ready(ml_upcast_step *step, ml_error *why)
{
    ML_ASSERT(step->name_count == 0);
    for (unsigned level = 0; level < step->level_count; level++)
        if (add_names(step, level, why)) return why->code;
    for (uint32_t n = 0; n < step->field_count; n++) {
        ml_plan_field *field = &step->fields[n];
        below b = {0};
        look_below(step, field->below, &b);
        if (check_field(field, &b, why)) return why->code;
        field->puts = b.puts;
        field->fills = b.standard != NULL;
        field->needs = b.take != NULL || b.change != NULL || b.standard != NULL;
    }
    find_takes(step);
    return ML_OK;
}
