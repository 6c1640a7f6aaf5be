/* projection_hot.c -- rows that come again and again stay Lua tables from event to event.
 *
 * To decode a row and to encode it again is half of what an event costs that changes two numbers.
 * So a small row, once decoded, stays in the sandbox; the next event's handler gets that same
 * table, and it is encoded once a commit. Nobody can tell, because
 *
 *   - no handler of the unit keeps the table: each only gets and sets fields, as its bytecode
 *     shows (rules/bytecode.h);
 *   - after each event all fields are looked at, and a row that is not plain is encoded at once, as
 *     without this: plain are booleans, numbers and short texts under names, which come out of
 *     MessagePack as they went in;
 *   - an event that does not come to its end leaves rows half changed: then everything since the
 *     last commit is forgotten, and applied again up to that event without this (ML_APPLIED_AGAIN).
 *
 * Where rows rarely come again it rests for a while. An event whose row is there allocates nothing
 * but its data.
 */
#include <lauxlib.h>

#include "../base/unpack.h"
#include "../script/value.h"
#include "projection_inside.h"

enum {
    ROWS_MAX = 4096,   /* that were decoded: some MiB of tables, in a sandbox that may have 64 */
    FIELDS_MAX = 32,   /* of a row: it is looked through after each event */
    TEXT_MAX = 512,    /* bytes of its names and texts together */
    REST = 200000,     /* events, where rows do not come again … */
    WORTH = 2,         /* … so often, each */
    SPREAD = 1000,     /* events after a fault, and twice as many after each one more … */
    SPREAD_MAX = REST  /* … up to these */
};

enum {
    KEPT = 1,    /* it is a table */
    CHANGED = 2, /* and not as the rows have it */
    THERE = 4    /* they have it */
};

typedef ml_applying applying;

/* ---- whether ---------------------------------------------------------------------------- */

static int make_table(lua_State *L)
{
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, lua_touserdata(L, 1));
    return 0;
}

static bool lend(const ml_handlers *on)
{
    for (size_t n = 0; n < on->count; n++)
        if (on->all[n].function != LUA_NOREF && !on->all[n].lends) return false;
    return true;
}

ml_code ml_projection_keep_hot(ml_projection *p, ml_error *why)
{
    ml_fault fault;
    if (p->timed || !lend(&p->unit->on)) return ML_OK;
    p->hot.spread = SPREAD;
    p->hot.keys = ml_keys_new();
    if (p->hot.keys == NULL) return ml_error_memory(why, "hot rows");
    p->hot.on = ml_sandbox_enter(p->unit->sandbox, make_table, p->unit, &fault);
    return ML_OK;
}

bool ml_projection_is_hot(ml_projection *p, const ml_rows *rows)
{
    if (!p->hot.on || rows->stays == NULL) return false;
    p->hot.events++;
    if (p->hot.rest == 0) return true;
    p->hot.rest--;
    return false;
}

/* ---- one row ---------------------------------------------------------------------------- */

/* Bytes of a text are taken off `*left`. */
static bool is_plain(lua_State *L, int value, size_t *left)
{
    ml_bytes text;
    switch (lua_type(L, value)) {
    case LUA_TBOOLEAN:
    case LUA_TNUMBER: return true;
    case LUA_TSTRING:
        text.data = lua_tolstring(L, value, &text.size);
        if (text.size > *left || !ml_unpack_utf8(text)) return false;
        *left -= text.size;
        return true;
    default: return false;
    }
}

/* Without a metatable, for one would not come back. */
static bool is_plain_row(lua_State *L, int row)
{
    int top = lua_gettop(L), fields = 0;
    size_t left = TEXT_MAX;
    bool plain = !lua_getmetatable(L, row);
    lua_settop(L, top);
    for (lua_pushnil(L); plain && lua_next(L, row); lua_settop(L, top + 1))
        plain = ++fields <= FIELDS_MAX && lua_type(L, top + 1) == LUA_TSTRING &&
                is_plain(L, top + 1, &left) && is_plain(L, top + 2, &left);
    lua_settop(L, top);
    return plain;
}

static uint8_t *flags_of(const ml_projection *p, size_t n)
{
    ML_ASSERT(n < p->hot.flags.size);
    return p->hot.flags.data + n;
}

static bool find(const ml_projection *p, ml_bytes key, size_t *number)
{
    *number = ml_keys_find(p->hot.keys, key);
    return *number < p->hot.flags.size && (*flags_of(p, *number) & KEPT);
}

bool ml_projection_has_hot(const ml_projection *p)
{
    return p->hot.flags.size > 0;
}

bool ml_projection_hot_has(const ml_projection *p, const ml_key *key)
{
    size_t number;
    return p->hot.flags.size > 0 && find(p, (ml_bytes){key->bytes, key->size}, &number);
}

bool ml_projection_hot_get(applying *a, lua_State *L, const ml_key *key, size_t *number,
                           bool *there)
{
    ml_projection *p = a->projection;
    if (!find(p, (ml_bytes){key->bytes, key->size}, number)) return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, p->unit);
    lua_rawgeti(L, -1, (lua_Integer)*number + 1);
    lua_remove(L, -2);
    *there = (*flags_of(p, *number) & (THERE | CHANGED)) != 0;
    p->hot.hits++;
    a->unsure = true;
    return true;
}

static bool add_slot(ml_projection *p, ml_bytes key)
{
    ml_error said;
    uint8_t none = 0;
    size_t count = p->hot.flags.size;
    if (ml_keys_add(p->hot.keys, key, &said)) return false;
    ml_buf_add(&p->hot.flags, &none, 1);
    if (!p->hot.flags.failed) return true;
    ml_keys_cut(p->hot.keys, count);
    p->hot.flags.failed = false;
    return false;
}

bool ml_projection_hot_add(applying *a, lua_State *L, int row, const ml_key *key, ml_bytes encoded,
                           size_t *number)
{
    ml_projection *p = a->projection;
    ml_bytes name = {key->bytes, key->size};
    p->hot.full = ++p->hot.misses > ROWS_MAX;
    if (p->hot.full || !a->rows->stays(a->rows->context, name) ||
        !is_plain_row(L, row) || (*number == p->hot.flags.size && !add_slot(p, name)))
        return false;
    lua_rawgetp(L, LUA_REGISTRYINDEX, p->unit);
    lua_pushvalue(L, row);
    lua_rawseti(L, -2, (lua_Integer)*number + 1);
    lua_pop(L, 1);
    *flags_of(p, *number) = KEPT | (encoded.size > 0 ? THERE : 0);
    a->unsure = true;
    return true;
}

static void drop(const ml_projection *p, lua_State *L, int table, size_t number)
{
    *flags_of(p, number) = 0;
    lua_pushnil(L);
    lua_rawseti(L, table, (lua_Integer)number + 1);
}

bool ml_projection_hot_put(applying *a, lua_State *L, int row, size_t number, bool keep)
{
    ml_projection *p = a->projection;
    if (keep && is_plain_row(L, row)) {
        *flags_of(p, number) |= CHANGED;
        return true;
    }
    lua_rawgetp(L, LUA_REGISTRYINDEX, p->unit);
    drop(p, L, lua_gettop(L), number);
    lua_pop(L, 1);
    return false;
}

/* ---- all rows --------------------------------------------------------------------------- */

typedef struct flushing {
    ml_projection *projection;
    size_t number;
    bool drop;
    ml_code code;
    ml_error *why;
} flushing;

/* Onto the desk; what is dropped is no table any more. */
static int encode_body(lua_State *L)
{
    flushing *f = lua_touserdata(L, 1);
    ml_projection *p = f->projection;
    lua_rawgetp(L, LUA_REGISTRYINDEX, p->unit); /* at 2 */
    lua_rawgeti(L, 2, (lua_Integer)f->number + 1);
    ml_buf_clear(&p->unit->desk.bytes);
    f->code = ml_value_write(L, 3, &p->unit->desk, ML_VIEW_ROW_BYTES, "row", f->why);
    ML_ASSERT(!f->code || f->code == ML_NO_MEMORY); /* plain rows are small, and can be encoded */
    return 0;
}

static int drop_body(lua_State *L)
{
    const flushing *f = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, f->projection->unit);
    drop(f->projection, L, 2, f->number);
    return 0;
}

/* One call each: what a rule may take for a call is not meant for thousands of rows. */
static ml_code flush(ml_projection *p, const ml_rows *rows, size_t number, ml_error *why)
{
    ml_fault fault;
    ml_bytes was;
    flushing f = {.projection = p, .number = number, .why = why};
    if (!(*flags_of(p, number) & CHANGED)) return ML_OK;
    if (!ml_sandbox_enter(p->unit->sandbox, encode_body, &f, &fault)) {
        p->hot.on = false; /* as it is, there is not enough memory for this */
        return ml_error_memory(why, "the rows of a batch");
    }
    ml_bytes key = ml_keys_get(p->hot.keys, number), row = ml_buf_view(&p->unit->desk.bytes);
    if (!f.code) f.code = rows->get(rows->context, key, &was, why);
    if (!f.code && !ml_bytes_equal(was, row))
        f.code = rows->put(rows->context, key, row, 0, why);
    if (!f.code) *flags_of(p, number) = KEPT | THERE;
    return f.code;
}

ml_code ml_projection_flush_rows(ml_projection *p, const ml_rows *rows, ml_error *why)
{
    ml_code code = ML_OK;
    for (size_t n = 0; n < p->hot.flags.size && !code; n++) code = flush(p, rows, n, why);
    return code;
}

ml_code ml_projection_cool_rows(ml_projection *p, const ml_rows *rows, const ml_keys *keys,
                                ml_error *why)
{
    ml_fault fault;
    ml_code code = ML_OK;
    for (size_t n = 0; n < ml_keys_count(keys) && !code; n++) {
        flushing f = {.projection = p};
        if (!find(p, ml_keys_get(keys, n), &f.number)) continue;
        code = flush(p, rows, f.number, why);
        if (!code && !ml_sandbox_enter(p->unit->sandbox, drop_body, &f, &fault))
            code = ml_error_memory(why, "the rows of a batch");
    }
    return code;
}

void ml_projection_forget_hot(ml_projection *p)
{
    ml_fault fault;
    p->hot.hits = p->hot.misses = 0;
    p->hot.full = false;
    if (p->hot.flags.size == 0) return;
    ml_keys_cut(p->hot.keys, 0);
    ml_buf_clear(&p->hot.flags);
    /* Without memory for an empty table the old one's rows stay, and are replaced one by one. */
    ML_IGNORE(ml_sandbox_enter(p->unit->sandbox, make_table, p->unit, &fault));
}

ml_code ml_projection_hot_end(applying *a)
{
    ml_projection *p = a->projection;
    if (!p->hot.full) return ML_OK;
    bool worth = p->hot.hits > WORTH * p->hot.misses;
    ml_code code = ml_projection_flush_rows(p, a->rows, a->why);
    if (code) return code;
    ml_projection_forget_hot(p);
    if (!worth) p->hot.rest = REST;
    return ML_OK;
}

void ml_projection_doubt(ml_projection *p)
{
    p->hot.rest = p->hot.events + p->hot.spread;
    ml_projection_forget_hot(p);
    if (p->hot.spread < SPREAD_MAX) p->hot.spread *= 2;
}
