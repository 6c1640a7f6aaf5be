/* module_append.c -- store:append: Lua tables become one proposal on a desk.
 *
 * Everything is put on the desk in the order of the writes: a stream, then of each of its
 * events the type, the tags, the id, data and meta; last the condition's types and tags. While
 * the desk grows, writes and drafts hold sizes only; settle() walks them in the same order and
 * sets the pointers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/limits.h"
#include "../base/text.h"
#include "module.h"
#include "filter.h"
#include "value.h"

/* "writes[1].events[3].data": what sentences call a value. */
enum { WHERE_MAX = 80, WHAT_MAX = 96 };

/* An append that is being put together. */
typedef struct request {
    lua_State *L;
    ml_desk *desk;
    ml_error *why;
    ml_proposal proposal;
    ml_query condition;
} request;

/* ---- one event ------------------------------------------------------------------------- */

/* Marks a draft that has an id until its place is known. */
static const uint8_t id_follows[ML_ID_SIZE] = {0};

static void read_id(const ml_fields *event, ml_desk *desk, ml_draft *draft)
{
    uint8_t id[ML_ID_SIZE];
    ml_bytes text = ml_fields_text(event, "id");
    if (text.data == NULL) return;
    if (!ml_uuid_read(text, id)) {
        ml_fields_refuse(event, "id must be a UUID like 0190a5b4-7c2e-7d43-9f10-2b6f0c3d4e5f");
        return;
    }
    ml_buf_add(&desk->bytes, id, sizeof id);
    draft->id = id_follows;
}

static void read_occurred(const ml_fields *event, ml_draft *draft)
{
    lua_State *L = event->L;
    bool known = false;
    int type = ml_fields_push(event, "occurred");
    if (type == LUA_TSTRING) {
        ml_bytes text;
        text.data = lua_tolstring(L, -1, &text.size);
        known = ml_time_read(text, &draft->occurred);
    } else if (lua_isinteger(L, -1)) {
        draft->occurred = lua_tointeger(L, -1);
        known = true;
    }
    draft->has_occurred = known;
    if (!known && type != LUA_TNIL)
        ml_fields_refuse(event, "occurred must be microseconds since 1970 or RFC 3339 text");
    lua_pop(L, 1);
}

/* Writes `data` or `meta`; gives its size. `where` is "" or "events[3].". */
static ml_bytes write_value(const ml_fields *event, const char *name, const char *where,
                            ml_desk *desk)
{
    char what[WHAT_MAX];
    size_t begin = desk->bytes.size;
    snprintf(what, sizeof what, "%s%s", where, name);
    if (ml_fields_push(event, name) != LUA_TNIL)
        ML_IGNORE(ml_value_write(event->L, -1, desk, ML_EVENT_BYTES_MAX, what, event->why));
    lua_pop(event->L, 1);
    return (ml_bytes){NULL, desk->bytes.size - begin};
}

/* Refuses what is too much before more of it is gathered. */
static bool check_size(request *r)
{
    if (r->desk->bytes.size > 2 * ML_APPEND_BYTES_MAX)
        ML_IGNORE(ml_error_set(r->why, ML_TOO_LARGE, "the append is over %d bytes; split it",
                               ML_APPEND_BYTES_MAX));
    else if (r->desk->drafts.size / sizeof(ml_draft) > ML_APPEND_EVENTS_MAX)
        ML_IGNORE(ml_error_set(r->why, ML_TOO_LARGE, "the append has over %d events; split it",
                               ML_APPEND_EVENTS_MAX));
    return r->why->code == ML_OK;
}

/* Reads the event on top of the stack. Fields that only a store gives are let through, so
 * that what was read can be appended elsewhere. */
static bool read_draft(request *r, const char *where)
{
    static const char *const known[] = {"type", "data", "tags", "meta", "id", "schema", "occurred",
                                        "position", "revision", "time", "stream", NULL};
    char what[WHAT_MAX];
    size_t size = strlen(where); /* "events[3]." is called "events[3]" */
    snprintf(what, sizeof what, "%.*s", size > 0 ? (int)size - 1 : 5, size > 0 ? where : "event");
    ml_fields event = ml_fields_from(r->L, -1, what, known, r->why);
    ml_draft draft = {0};
    draft.schema = (uint32_t)ml_fields_natural(&event, "schema", 1, UINT32_MAX, 1);
    read_occurred(&event, &draft);
    draft.type = ml_desk_put(r->desk, ml_fields_text(&event, "type"));
    draft.tag_count = ml_filter_terms(&event, "tags", r->desk);
    read_id(&event, r->desk, &draft);
    draft.data = write_value(&event, "data", where, r->desk);
    draft.meta = write_value(&event, "meta", where, r->desk);
    ml_buf_add(&r->desk->drafts, &draft, sizeof draft);
    return r->why->code == ML_OK && check_size(r);
}

/* ---- one write ------------------------------------------------------------------------- */

/* A table with string keys is one event; {} and all others are lists. */
static bool is_one_event(lua_State *L)
{
    if (lua_rawlen(L, -1) > 0) return false;
    lua_pushnil(L);
    if (!lua_next(L, -2)) return false;
    lua_pop(L, 2);
    return true;
}

static size_t read_list(request *r, const char *where)
{
    lua_State *L = r->L;
    char item[WHERE_MAX];
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    if (!ml_fields_is_list(L, -1, count)) {
        ML_IGNORE(ml_error_set(r->why, ML_BAD_REQUEST,
                               "%sevents is neither an event nor a list of events", where));
        return 0;
    }
    for (lua_Integer i = 1; i <= count; i++) {
        snprintf(item, sizeof item, "%sevents[%" PRId64 "].", where, (int64_t)i);
        lua_rawgeti(L, -1, i);
        if (!read_draft(r, item)) return 0;
        lua_pop(L, 1);
    }
    return (size_t)count;
}

/* Reads the events on top of the stack: one, or a list. Gives how many. */
static size_t read_events(request *r, const char *where)
{
    if (lua_istable(r->L, -1))
        return is_one_event(r->L) ? read_draft(r, where) : read_list(r, where);
    ML_IGNORE(ml_error_set(r->why, ML_BAD_REQUEST,
                           "%sevents must be an event or a list of events, not a %s", where,
                           luaL_typename(r->L, -1)));
    return 0;
}

static int64_t read_expected(const ml_fields *fields)
{
    static const char *const words[] = {"any", "no_stream", "stream_exists", NULL};
    static const int64_t meanings[] = {ML_ANY, ML_NO_STREAM, ML_STREAM_EXISTS};
    int type = ml_fields_push(fields, "expected");
    lua_pop(fields->L, 1);
    if (type == LUA_TSTRING) return meanings[ml_fields_word(fields, "expected", words, 0)];
    if (type == LUA_TNUMBER)
        return (int64_t)ml_fields_natural(fields, "expected", 0, INT64_MAX, 0);
    if (type != LUA_TNIL)
        ml_fields_refuse(fields, "expected must be a revision, \"any\", \"no_stream\" or "
                                 "\"stream_exists\"");
    return ML_ANY;
}

/* Reads the table on top of the stack: {stream =, events =, expected =}. */
static bool read_write(request *r, lua_Integer number)
{
    static const char *const known[] = {"stream", "events", "expected", NULL};
    char where[WHERE_MAX / 2], what[WHERE_MAX / 2];
    snprintf(what, sizeof what, "writes[%" PRId64 "]", (int64_t)number);
    snprintf(where, sizeof where, "writes[%" PRId64 "].", (int64_t)number);
    ml_fields fields = ml_fields_from(r->L, -1, what, known, r->why);
    ml_write write = {.expected = read_expected(&fields)};
    write.stream = ml_desk_put(r->desk, ml_fields_text(&fields, "stream"));
    ml_fields_push(&fields, "events");
    if (r->why->code == ML_OK) write.count = read_events(r, where);
    ml_buf_add(&r->desk->writes, &write, sizeof write);
    lua_pop(r->L, 1);
    return r->why->code == ML_OK;
}

/* Reads the list of writes at index 2, or one write: a stream at 2 and its events at 3. */
static bool read_writes(request *r, bool many, int64_t expected)
{
    lua_State *L = r->L;
    ml_write write = {.expected = expected};
    if (!many) {
        write.stream.data = lua_tolstring(L, 2, &write.stream.size);
        write.stream = ml_desk_put(r->desk, write.stream);
        lua_pushvalue(L, 3);
        write.count = read_events(r, "");
        ml_buf_add(&r->desk->writes, &write, sizeof write);
        return r->why->code == ML_OK;
    }
    lua_Integer count = (lua_Integer)lua_rawlen(L, 2);
    if (!ml_fields_is_list(L, 2, count) || count == 0)
        ML_IGNORE(ml_error_set(r->why, ML_BAD_REQUEST,
                               "the writes must be a list of {stream = ..., events = ...}"));
    for (lua_Integer i = 1; i <= count && r->why->code == ML_OK; i++) {
        lua_rawgeti(L, 2, i);
        if (!read_write(r, i)) return false;
        lua_pop(L, 1);
    }
    return r->why->code == ML_OK;
}

/* ---- the proposal ---------------------------------------------------------------------- */

static void read_condition(request *r, const ml_fields *options)
{
    static const char *const known[] = {"query", "after", NULL};
    ml_error why;
    if (ml_fields_push(options, "condition") != LUA_TNIL) {
        ml_fields condition = ml_fields_from(r->L, -1, "condition", known, &why);
        r->condition = ml_filter_query(&condition, r->desk);
        r->proposal.condition = &r->condition;
        r->proposal.after = ml_fields_natural(&condition, "after", 0, INT64_MAX, 0);
        if (why.code) ml_fields_refuse(options, "%.400s", why.sentence);
    }
    lua_pop(r->L, 1);
}

/* Reads the options but for the condition; gives what is expected of a single write. */
static int64_t read_options(request *r, ml_fields *options, int index, bool many)
{
    static const char *const known[] = {"expected", "condition", "durability", NULL};
    *options = ml_fields_from(r->L, index, "append", known, r->why);
    if (many && ml_fields_has(options, "expected"))
        ml_fields_refuse(options, "with several writes, expected stands in each of them");
    r->proposal.durability =
        (ml_durability)ml_fields_word(options, "durability", ml_module_levels, ML_DISK);
    return read_expected(options);
}

static void settle(request *r)
{
    ml_desk *desk = r->desk;
    const uint8_t *at = desk->bytes.data;
    ml_draft *draft = (void *)desk->drafts.data;
    ml_write *writes = (void *)desk->writes.data;
    size_t term = 0;
    r->proposal.writes = writes;
    r->proposal.count = desk->writes.size / sizeof *writes;
    for (size_t i = 0; i < r->proposal.count; i++) {
        writes[i].stream.data = ml_desk_walk(&at, writes[i].stream.size);
        writes[i].events = draft;
        for (size_t j = 0; j < writes[i].count; j++, draft++) {
            draft->type.data = ml_desk_walk(&at, draft->type.size);
            draft->tags = ml_filter_settle_terms(desk, &term, &at, draft->tag_count);
            if (draft->id != NULL) draft->id = ml_desk_walk(&at, ML_ID_SIZE);
            draft->data.data = ml_desk_walk(&at, draft->data.size);
            draft->meta.data = ml_desk_walk(&at, draft->meta.size);
        }
    }
    ml_filter_settle_query(desk, term, &at, &r->condition);
    ML_ASSERT(at == desk->bytes.data + desk->bytes.size);
}

/* ---- the method ------------------------------------------------------------------------ */

static void set_revisions(request *r, const uint64_t *revisions, size_t count)
{
    lua_State *L = r->L;
    const ml_write *writes = r->proposal.writes;
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(L, writes[i].stream.data, writes[i].stream.size);
        lua_pushinteger(L, (lua_Integer)revisions[i]);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "revisions");
    if (count == 1) ml_module_set_natural(L, "revision", revisions[0]);
}

/* The receipt's revisions are borrowed until the next call on the store, which a finalizer
 * may make while the tables are built: so they are copied before. If even that does not fit
 * in memory they are left out, because the events are written and that must be said. */
static int push_receipt(request *r, const ml_receipt *receipt)
{
    lua_State *L = r->L;
    ml_buf *copy = &r->desk->sorting;
    ml_buf_add(copy, receipt->revisions, receipt->count * sizeof *receipt->revisions);
    lua_createtable(L, 0, 6);
    ml_module_set_natural(L, "first", receipt->first);
    ml_module_set_natural(L, "last", receipt->last);
    lua_pushstring(L, ml_module_levels[receipt->durability]);
    lua_setfield(L, -2, "durability");
    if (receipt->duplicate) {
        lua_pushboolean(L, true);
        lua_setfield(L, -2, "duplicate");
    }
    if (!copy->failed) set_revisions(r, (const void *)copy->data, receipt->count);
    return 1;
}

/* append(stream, events, options) or append(writes, options). */
int ml_module_append(lua_State *L)
{
    ml_error why = {.code = ML_OK};
    ml_fields options;
    ml_receipt receipt;
    request r = {.L = L, .why = &why};
    ml_module_check(L, 1);
    bool many = lua_istable(L, 2);
    luaL_argcheck(L, many || lua_type(L, 2) == LUA_TSTRING, 2,
                  "a stream's name or a list of writes expected");
    luaL_argcheck(L, !many || lua_isnoneornil(L, 4), 4, "with several writes options come second");
    lua_settop(L, 4);
    luaL_checkstack(L, 20, "moonlog");

    int64_t expected = read_options(&r, &options, many ? 3 : 4, many);
    if (why.code) return ml_module_raise(L, &why);
    r.desk = ml_desk_take(L);
    if (!read_writes(&r, many, expected)) return ml_module_fail(L, &why);
    read_condition(&r, &options);
    if (why.code) return ml_module_raise(L, &why);
    if (ml_desk_check(r.desk, &why)) return ml_module_fail(L, &why);
    settle(&r);
    ml_store *store = ml_module_check(L, 1)->store;
    if (ml_append(store, &r.proposal, &receipt)) return ml_module_fail_store(L, store);
    int pushed = push_receipt(&r, &receipt);
    ml_desk_give(L, 5);
    return pushed;
}
