/* filter.c -- streams, categories and queries out of Lua tables. */
#include "filter.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <stdio.h>

static bool begins_with(ml_bytes text, const char *prefix)
{
    size_t size = strlen(prefix);
    return text.size >= size && memcmp(text.data, prefix, size) == 0;
}

/* Pushes the list `name`, or what stands there instead, and gives its length. A name among
 * the keys of a list is a slip that must not pass. */
static lua_Integer push_list(const ml_fields *fields, const char *name, const char *of)
{
    lua_State *L = fields->L;
    int type = ml_fields_push(fields, name);
    lua_Integer count = type == LUA_TTABLE ? (lua_Integer)lua_rawlen(L, -1) : 0;
    if (type == LUA_TNIL || (type == LUA_TTABLE && ml_fields_is_list(L, -1, count))) return count;
    ml_fields_refuse(fields, "%s must be a list of %s", name, of);
    return 0;
}

size_t ml_filter_terms(const ml_fields *fields, const char *name, ml_desk *desk)
{
    lua_State *L = fields->L;
    lua_Integer count = push_list(fields, name, "strings");
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, -1, i) == LUA_TSTRING) {
            ml_bytes text;
            text.data = lua_tolstring(L, -1, &text.size);
            text = ml_desk_put(desk, text);
            ml_buf_add(&desk->terms, &text, sizeof text);
        } else {
            ml_fields_refuse(fields, "%s[%" PRId64 "] must be a string, not a %s", name, (int64_t)i,
                             luaL_typename(L, -1));
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return (size_t)count;
}

static void read_item(const ml_fields *fields, lua_Integer number, ml_desk *desk)
{
    static const char *const known[] = {"types", "tags", NULL};
    char what[64];
    ml_error why;
    snprintf(what, sizeof what, "query[%" PRId64 "]", (int64_t)number);
    ml_fields item = ml_fields_from(fields->L, -1, what, known, &why);
    ml_query_item found = {.type_count = ml_filter_terms(&item, "types", desk)};
    found.tag_count = ml_filter_terms(&item, "tags", desk);
    ml_buf_add(&desk->items, &found, sizeof found);
    if (why.code) ml_fields_refuse(fields, "%.400s", why.sentence);
}

ml_query ml_filter_query(const ml_fields *fields, ml_desk *desk)
{
    static const char *const items = "items like {types = {...}, tags = {...}}";
    lua_State *L = fields->L;
    lua_Integer count = push_list(fields, "query", items);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        read_item(fields, i, desk);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return (ml_query){.count = (size_t)count};
}

void ml_filter_settle_query(ml_desk *desk, size_t first, const uint8_t **at, ml_query *query)
{
    ml_query_item *item = (void *)desk->items.data;
    if (query->count > 0) query->items = item;
    for (size_t i = 0; i < query->count; i++, item++) {
        item->types = ml_filter_settle_terms(desk, &first, at, item->type_count);
        item->tags = ml_filter_settle_terms(desk, &first, at, item->tag_count);
    }
}

const ml_bytes *ml_filter_settle_terms(ml_desk *desk, size_t *first, const uint8_t **at,
                                          size_t count)
{
    if (count == 0) return NULL;
    ml_bytes *terms = (ml_bytes *)(void *)desk->terms.data + *first;
    for (size_t i = 0; i < count; i++) terms[i].data = ml_desk_walk(at, terms[i].size);
    *first += count;
    return terms;
}

void ml_filter_settle(ml_desk *desk, ml_selection *selection)
{
    const uint8_t *at = desk->bytes.data;
    selection->stream.data = ml_desk_walk(&at, selection->stream.size);
    selection->category.data = ml_desk_walk(&at, selection->category.size);
    ml_filter_settle_query(desk, 0, &at, &selection->query);
}

/* An empty text would select everything, which nobody means who names something. */
static ml_bytes read_name(const ml_fields *fields, const char *name, ml_desk *desk)
{
    ml_bytes text = ml_fields_text(fields, name);
    if (text.data != NULL && text.size == 0) ml_fields_refuse(fields, "%s is empty", name);
    return ml_desk_put(desk, text);
}

static ml_selection from_name(ml_bytes name, const char *what, ml_desk *desk, ml_error *why)
{
    static const char category[] = "$category:";
    size_t skip = sizeof category - 1;
    ml_selection selection = {0};
    if (name.size == 4 && begins_with(name, "$all")) return selection;
    if (begins_with(name, category) && name.size > skip)
        selection.category = ml_desk_put(
            desk, (ml_bytes){(const char *)name.data + skip, name.size - skip});
    else if (name.size > 0)
        selection.stream = ml_desk_put(desk, name);
    else
        ML_IGNORE(ml_error_set(why, ML_BAD_REQUEST,
                               "%s: the stream is named \"\"; say \"$all\" for all events", what));
    return selection;
}

ml_selection ml_filter_read(lua_State *L, int index, const char *what, ml_desk *desk,
                               ml_error *why)
{
    static const char *const known[] = {"stream", "category", "query", NULL};
    why->code = ML_OK;
    if (lua_type(L, index) == LUA_TSTRING) {
        ml_bytes name;
        name.data = lua_tolstring(L, index, &name.size);
        return from_name(name, what, desk, why);
    }
    ml_fields fields = ml_fields_from(L, index, what, known, why);
    ml_selection selection = {0};
    selection.stream = read_name(&fields, "stream", desk);
    selection.category = read_name(&fields, "category", desk);
    selection.query = ml_filter_query(&fields, desk);
    return selection;
}
