/* projection.c -- a projection's life, what it is about, and what time it is for it. */
#include "projection.h"

#include <lauxlib.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "../view/field.h"
#include "projection_inside.h"

_Static_assert((int)ML_SHAPE_PATH_LEVELS == (int)ML_FIELD_LEVELS,
               "what is declared can be looked up");
_Static_assert((int)ML_SHAPE_PATH_BYTES == (int)ML_FIELD_BYTES,
               "what is declared can be looked up");
_Static_assert((int)ML_SHAPE_INDEXES_MAX == (int)ML_VIEW_INDEXES_MAX,
               "what is declared can be indexed");
_Static_assert((int)ML_SHAPE_COLUMNS_MAX == (int)ML_SQL_COLUMNS_MAX,
               "what is declared can be a column");
_Static_assert((int)ML_SHAPE_INTEGER == (int)ML_SQL_INTEGER &&
                   (int)ML_SHAPE_REAL == (int)ML_SQL_REAL &&
                   (int)ML_SHAPE_TEXT == (int)ML_SQL_TEXT &&
                   (int)ML_SHAPE_BLOB == (int)ML_SQL_BLOB &&
                   (int)ML_SHAPE_JSON_TEXT == (int)ML_SQL_JSON,
               "types have the same numbers");

/* ---- life --------------------------------------------------------------------------------- */

static const ml_handler *function(const ml_unit *unit, const char *name)
{
    return ml_unit_find(&unit->commands, (ml_bytes){name, strlen(name)});
}

/* Those that are asked for or have handlers, and those whose chain of upcasters may make them such.
 */
static bool choose_types(ml_projection *p)
{
    const ml_shape_projection *shape = p->shape;
    p->types = calloc(shape->type_count + p->unit->on.count, sizeof *p->types);
    if (p->types == NULL) return false;
    for (size_t n = 0; n < shape->type_count; n++) p->types[p->type_count++] = shape->types[n];
    for (size_t n = 0; n < p->unit->on.count; n++) {
        const ml_handler *handler = &p->unit->on.all[n];
        bool there = shape->type_count > 0 && handler->function != LUA_NOREF;
        for (size_t m = 0; m < shape->type_count && !there; m++)
            there = ml_bytes_equal(shape->types[m], handler->name);
        if (!there) p->types[p->type_count++] = handler->name;
    }
    p->item = (ml_query_item){p->types, p->type_count, shape->tags, shape->tag_count};
    /* More than a query may name: handlers sort them out. */
    if (p->type_count + shape->tag_count > ML_QUERY_TERMS_MAX) p->item.type_count = 0;
    return true;
}

static void choose_columns(ml_projection *p)
{
    for (size_t n = 0; n < p->shape->column_count; n++) {
        p->columns[n].name = p->shape->columns[n].name;
        p->columns[n].path = p->shape->columns[n].path;
        p->columns[n].type = p->shape->columns[n].type + 0u;
    }
}

ml_code ml_projection_new(ml_unit *unit, ml_projection **out, ml_error *why)
{
    ML_ASSERT(unit->kind == ML_UNIT_PROJECTION);
    ML_ASSERT(unit->sandbox != NULL);
    ml_projection *p = *out = calloc(1, sizeof *p);
    if (p == NULL) return ml_error_memory(why, "a projection");
    p->unit = unit;
    p->shape = unit->projection;
    p->key = function(unit, "key");
    p->late = function(unit, "late");
    p->merge = function(unit, "merge");
    p->timed = p->shape->window.kind != ML_WINDOW_NONE || p->shape->ttl > 0;
    p->holds = p->shape->holds;
    p->held = ml_keys_new();
    p->given = ml_keys_new();
    p->touched = ml_keys_new();
    p->identity = malloc(ML_PROJECTION_IDENTITY);
    choose_columns(p);
    if (p->held != NULL && p->given != NULL && p->touched != NULL && p->identity != NULL &&
        choose_types(p))
        return ML_OK;
    ml_projection_free(p);
    *out = NULL;
    return ml_error_memory(why, "a projection");
}

void ml_projection_free(ml_projection *p)
{
    if (p == NULL) return;
    ml_keys_free(p->held);
    ml_keys_free(p->given);
    ml_keys_free(p->touched);
    ml_keys_free(p->hot.keys);
    ml_buf_free(&p->hot.flags);
    ml_buf_free(&p->held_items);
    ml_buf_free(&p->staged);
    ml_buf_free(&p->scratch);
    ml_buf_free(&p->first);
    ml_buf_free(&p->sessions);
    free(p->types);
    free(p->identity);
    free(p);
}

/* ---- what it is about --------------------------------------------------------------------- */

ml_selection ml_projection_selection(const ml_projection *p)
{
    return (ml_selection){.stream = p->shape->stream,
                          .category = p->shape->category,
                          .query = {.items = &p->item, .count = 1}};
}

void ml_projection_about(const ml_projection *p, ml_bytes log, ml_view_about *about)
{
    ml_bytes hash = {p->unit->hash, strlen(p->unit->hash)};
    ML_ASSERT(log.size + 1 + hash.size <= ML_PROJECTION_IDENTITY);
    if (log.size > 0) memcpy(p->identity, log.data, log.size);
    p->identity[log.size] = '/';
    memcpy(p->identity + log.size + 1, hash.data, hash.size);
    about->identity = (ml_bytes){p->identity, log.size + 1 + hash.size};
    about->indexes = p->shape->indexes;
    about->index_count = p->shape->index_count;
}

bool ml_projection_sql(const ml_projection *p, ml_sql_about *about)
{
    if (p->shape->table.size == 0) return false;
    about->table = p->shape->table;
    about->projection = (ml_bytes){p->unit->name, strlen(p->unit->name)};
    about->hash = (ml_bytes){p->unit->hash, strlen(p->unit->hash)};
    about->columns = p->columns;
    about->column_count = p->shape->column_count;
    about->windowed = p->shape->window.kind != ML_WINDOW_NONE;
    return true;
}

const ml_window *ml_projection_window(const ml_projection *p) { return &p->shape->window; }

bool ml_projection_is_timed(const ml_projection *p) { return p->timed; }

uint64_t ml_projection_start(const ml_projection *p, uint64_t now)
{
    switch (p->shape->start) {
    case ML_SHAPE_BEGINNING: break;
    case ML_SHAPE_NOW: return now;
    case ML_SHAPE_POSITION: return p->shape->start_position - 1;
    }
    return 0;
}

/* ---- time ----------------------------------------------------------------------------------- */

ml_code ml_projection_pass(ml_projection *p, ml_view *view, int64_t recorded, ml_error *why)
{
    p->recorded = recorded;
    p->now = p->clock.begun ? ml_clock_at(&p->clock, recorded) : recorded;
    ml_projection_session_forget(p);
    return p->shape->ttl > 0 && p->clock.begun ? ml_view_sweep(view, p->now, why) : ML_OK;
}

void ml_projection_get_stats(const ml_projection *p, ml_projection_stats *stats)
{
    int64_t next = p->clock.begun ? ml_window_next(&p->shape->window, p->clock.latest, p->now) : 0;
    *stats = (ml_projection_stats){.late = p->late_count,
                                   .held = ml_keys_count(p->held),
                                   .now = p->now,
                                   .closes = next == 0 ? 0 : next - p->clock.ahead};
}
