/* projection_row.c -- one row: decoded, changed by a handler, encoded, and put on the stage. */
#include <lauxlib.h>

#include "../base/unpack.h"
#include "../script/envelope.h"
#include "../script/value.h"
#include "projection_inside.h"

typedef ml_applying applying;

/* ---- the stage --------------------------------------------------------------------------------
 */

size_t ml_projection_staged_count(const ml_projection *p)
{
    return p->staged.size / sizeof(ml_staged);
}

ml_staged *ml_projection_staged(const ml_projection *p, size_t n)
{
    return (ml_staged *)(void *)p->staged.data + n;
}

/* One part of an event changes a row once; only with several is there something to find. */
static ml_staged *find_staged(const applying *a, const ml_key *key)
{
    const ml_projection *p = a->projection;
    if (a->parts < 2) return NULL;
    for (size_t n = ml_projection_staged_count(p); n > 0; n--) {
        ml_staged *change = ml_projection_staged(p, n - 1);
        if (change->key.size == key->size && memcmp(change->key.bytes, key->bytes, key->size) == 0)
            return change;
    }
    return NULL;
}

static int64_t expiry(const applying *a)
{
    if (a->projection->shape->ttl == 0) return 0;
    int64_t expires = a->now + a->projection->shape->ttl;
    return expires > 0 ? expires : 1; /* 0 is never */
}

/* The row lies on the desk from `at` to its end; without `at` it goes away. */
static void stage(applying *a, const ml_place *place, const size_t *at)
{
    ml_projection *p = a->projection;
    ml_staged *change = find_staged(a, &place->key);
    if (change == NULL) change = (ml_staged *)(void *)ml_buf_take(&p->staged, sizeof *change);
    if (change == NULL) {
        p->staged.failed = false;
        a->code = ml_error_memory(a->why, "the rows of an event");
        return;
    }
    change->key.size = place->key.size;
    memcpy(change->key.bytes, place->key.bytes, place->key.size);
    change->span = place->span;
    change->gone = at == NULL;
    change->at = at != NULL ? *at : 0;
    change->size = p->unit->desk.bytes.size - change->at;
    change->expires = expiry(a);
}

ml_bytes ml_projection_row_get(applying *a, const ml_key *key)
{
    ml_bytes row = {0}, name = {key->bytes, key->size};
    const ml_projection *p = a->projection;
    const ml_staged *change = find_staged(a, key);
    if (change != NULL && change->gone) return row;
    if (change != NULL) return (ml_bytes){p->unit->desk.bytes.data + change->at, change->size};
    if (p->shape->ttl > 0) {
        int64_t expires = a->rows->expires(a->rows->context, name);
        if (expires != 0 && expires <= a->now) return row;
    }
    a->code = a->rows->get(a->rows->context, name, &row, a->why);
    if (a->code) row = (ml_bytes){0};
    return row;
}

/* ---- between bytes and tables ------------------------------------------------------------------
 */

static void push_row(applying *a, lua_State *L, ml_bytes row)
{
    ml_unpack cursor = ml_unpack_from(row);
    if (ml_value_read(L, &cursor) && lua_istable(L, -1)) return;
    lua_newtable(L);
    a->code = ml_error_set(a->why, ML_CORRUPT, "a row of %s is no map that Lua can hold",
                           a->projection->unit->label);
}

static const char *show(const applying *a, const ml_place *place, char text[ML_PATH_SHOWN])
{
    ml_path_show((ml_bytes){place->key.bytes, place->key.size}, &a->projection->scratch, text);
    return text;
}

/* Writes the table at `index` behind what lies on the desk. */
static void write_row(applying *a, lua_State *L, int index, const ml_place *place)
{
    ml_error said;
    char text[ML_PATH_SHOWN];
    ml_desk *desk = &a->projection->unit->desk;
    size_t at = desk->bytes.size;
    ml_code code = ml_value_write(L, index, desk, ML_VIEW_ROW_BYTES, "row", &said);
    if (code == ML_NO_MEMORY) {
        a->code = ml_error_set(a->why, code, "%s", said.sentence);
    } else if (code == ML_TOO_LARGE) {
        ml_projection_blame(a, a->handler,
                            "the row of %s is over %d bytes; keep less in it, or make more rows",
                            show(a, place, text), ML_VIEW_ROW_BYTES);
    } else if (code) {
        ml_projection_blame(a, a->handler, "the row of %s: %.300s", show(a, place, text),
                            said.sentence);
    } else if ((desk->bytes.data[at] & 0xf0) == 0x90 || (desk->bytes.data[at] & 0xfe) == 0xdc) {
        ml_projection_blame(a, a->handler,
                            "the row of %s has become a list; a row has names: row.items = {…}",
                            show(a, place, text));
    } else if (desk->bytes.size > ML_PROJECTION_STAGE_BYTES) {
        a->has_key = false; /* no one key is to blame */
        ml_projection_blame(a, a->handler, "this event changes rows of over %d bytes together",
                            ML_PROJECTION_STAGE_BYTES);
    }
}

/* ---- calling -----------------------------------------------------------------------------------
 */

static void merge(applying *a, lua_State *L, int row, const ml_place *other)
{
    const ml_handler *function = a->projection->merge;
    ml_bytes bytes = ml_projection_row_get(a, &other->key);
    if (a->code) return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, function->function);
    lua_pushvalue(L, row);
    push_row(a, L, bytes);
    a->handler = function;
    lua_call(L, 2, 1);
    if (!lua_isnil(L, -1))
        ml_projection_blame(
            a, function, "merge returned a %s; change the row that it is given, and return nothing",
            luaL_typename(L, -1));
    lua_pop(L, 1);
}

/* Leaves what the handler returned on the stack. */
static void call(applying *a, lua_State *L, int row, const ml_part *part)
{
    const ml_handler *handler = part->handler;
    int args = handler->params < 3 ? handler->params : 3;
    lua_rawgeti(L, LUA_REGISTRYINDEX, handler->function);
    if (args > 0) lua_pushvalue(L, row);
    if (args > 1) ml_unit_push_data(L, handler, part->data);
    if (args > 2) ml_envelope_push(L, a->event);
    a->handler = handler;
    lua_call(L, args, 1);
    if (args > 2) ml_envelope_clear(L);
}

/* Is the row to be kept? */
static bool take_result(applying *a, lua_State *L, const ml_part *part)
{
    if (lua_isnil(L, -1)) return true;
    if (ml_word_of(L, -1) != ML_WORD_DELETE)
        ml_projection_blame(
            a, part->handler,
            "the handler of %.80s returned a %s; change the row it is given and return "
            "nothing, or return moonlog.delete",
            (const char *)part->handler->name.data, luaL_typename(L, -1));
    return false;
}

static bool is_much(applying *a)
{
    const ml_projection *p = a->projection;
    if (++a->changed <= ML_PROJECTION_KEYS_MAX) return false;
    a->has_key = false; /* no one key is to blame */
    ml_projection_blame(a, p->key != NULL ? p->key : a->first,
                        "one event changes up to %d rows, and this one more",
                        ML_PROJECTION_KEYS_MAX);
    return true;
}

/* Leaves the row on the stack, as a table of the handler's own. True: it is one that stays. */
static bool take_row(applying *a, lua_State *L, const ml_place *from, ml_bytes *kept, size_t *hot,
                     bool *was)
{
    const ml_projection *p = a->projection;
    int row = lua_gettop(L) + 1;
    *kept = (ml_bytes){0};
    if (a->hot && ml_projection_hot_get(a, L, &from->key, hot, was)) return true;
    ML_ASSERT(from == NULL || !ml_projection_hot_has(p, &from->key));
    if (from != NULL) *kept = ml_projection_row_get(a, &from->key);
    if (a->code) return false;
    *was = kept->size > 0;
    push_row(a, L, *was ? *kept : ml_buf_view(&p->unit->initial));
    return a->hot && !a->code && ml_projection_hot_add(a, L, row, &from->key, *kept, hot);
}

void ml_projection_row(applying *a, lua_State *L, const ml_part *part, const ml_place *from,
                       const ml_place *other, const ml_place *to)
{
    ml_projection *p = a->projection;
    int top = lua_gettop(L);
    ml_bytes kept;
    size_t hot;
    bool was = false;
    if (is_much(a)) return;
    bool stays = take_row(a, L, from, &kept, &hot, &was);
    if (!a->code && other != NULL) merge(a, L, top + 1, other);
    if (!a->code) call(a, L, top + 1, part);
    bool keep = !a->code && take_result(a, L, part);
    if (!a->code && stays && ml_projection_hot_put(a, L, top + 1, hot, keep)) {
        lua_settop(L, top);
        return;
    }
    /* The kept bytes can be looked at again if nothing else was asked of the rows since. */
    bool still = kept.size > 0 && a->parts == 1 && from == to && p->shape->ttl == 0;
    size_t at = p->unit->desk.bytes.size;
    if (!a->code && keep) write_row(a, L, top + 1, to);
    lua_settop(L, top);
    if (a->code) return;
    if (from != NULL && (from != to || !keep) && was) stage(a, from, NULL);
    if (!a->code && other != NULL) stage(a, other, NULL);
    if (a->code || !keep) return;
    ml_bytes row = {p->unit->desk.bytes.data + at, p->unit->desk.bytes.size - at};
    if (still && ml_bytes_equal(kept, row)) p->unit->desk.bytes.size = at;
    else stage(a, to, &at);
}
