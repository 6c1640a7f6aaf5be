/* shape_projection.c -- reads what a projection declares, key by key. */
#include "shape_projection.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdlib.h>

#include "../base/limits.h"
#include "../base/text.h"
#include "../base/unpack.h"
#include "../script/value.h"
#include "shape.h"
#include "shape_inside.h"

static const char *const keys[] = {"projection", "from",  "key",   "row",   "init",
                                   "on",         "index", "window", "late", "merge",
                                   "ttl",        "start", "fault", "sql",   "snapshot", NULL};
static const char *const from_keys[] = {"category", "stream", "types", "tags", NULL};
static const char *const sql_keys[] = {"table", "columns", NULL};
static const char *const column_keys[] = {"type", "path", NULL};
static const char *const kept_keys[] = {"every", NULL};
static const char *const type_words[] = {"integer", "real", "text", "blob", "json", NULL};
static const char *const fault_words[] = {"stop", "hold", NULL};
static const char *const start_words[] = {"beginning", "now", NULL};
/* In the order of ml_shape_key. */
static const char *const key_words[] = {"stream", "id", "type", "category", NULL};

/* ---- texts ------------------------------------------------------------------------------ */

struct ml_shape_text {
    ml_shape_text *next;
    char bytes[];
};

void ml_shape_projection_free(ml_shape_projection *p)
{
    if (p == NULL) return;
    for (ml_shape_text *text = p->texts, *next; text != NULL; text = next) {
        next = text->next;
        free(text);
    }
    free(p->types);
    free(p->tags);
    free(p);
}

/* A copy, with a NUL behind it: a handler might change the table that the text is in. */
static ml_bytes keep(ml_shape *s, ml_bytes given)
{
    ml_shape_projection *p = s->unit->projection;
    ml_shape_text *text = given.data == NULL ? NULL : malloc(sizeof *text + given.size + 1);
    if (text == NULL) {
        if (given.data != NULL) ml_shape_refuse_memory(s);
        return (ml_bytes){0};
    }
    text->next = p->texts;
    p->texts = text;
    memcpy(text->bytes, given.data, given.size);
    text->bytes[given.size] = '\0';
    return (ml_bytes){text->bytes, given.size};
}

static ml_bytes text_at(lua_State *L, int index)
{
    ml_bytes text = {0};
    if (lua_type(L, index) == LUA_TSTRING) text.data = lua_tolstring(L, index, &text.size);
    return text;
}

/* Names with dots between them. */
static bool is_path(ml_bytes path)
{
    const char *text = path.data;
    unsigned levels = 1;
    if (path.size == 0 || path.size > ML_SHAPE_PATH_BYTES || !ml_unpack_utf8(path)) return false;
    for (size_t n = 0; n < path.size; n++) {
        if (text[n] == '\0') return false;
        if (text[n] != '.') continue;
        if (n == 0 || text[n - 1] == '.' || n + 1 == path.size) return false;
        levels++;
    }
    return levels <= ML_SHAPE_PATH_LEVELS;
}

/* ---- lists of names --------------------------------------------------------------------- */

typedef bool is_name(ml_bytes text);

static bool is_term(ml_bytes text)
{
    return text.size > 0 && text.size <= ML_TYPE_BYTES_MAX && ml_unpack_utf8(text);
}

/* The nth value of the list on top of the stack, kept; a mistake if it is no name, or there before.
 */
static bool read_item(ml_shape *s, const ml_fields *fields, const char *name, is_name *is,
                      ml_bytes *items, size_t n)
{
    lua_rawgeti(s->L, -1, (lua_Integer)n + 1);
    ml_bytes text = text_at(s->L, -1);
    if (!is(text))
        ml_fields_refuse(fields, "%s[%d] must be a %s", name, (int)n + 1,
                         is == is_path ? "path of a field, like \"address.city\"" : "name");
    for (size_t m = 0; m < n && !s->why.code; m++)
        if (ml_bytes_equal(items[m], text))
            ml_fields_refuse(fields, "%s has \"%.*s\" twice", name, ML_SHOW(text));
    if (!s->why.code) items[n] = keep(s, text);
    lua_pop(s->L, 1);
    return !s->why.code;
}

/* The list `name`, if there is one, of at most `max`. */
static bool read_list(ml_shape *s, const ml_fields *fields, const char *name, is_name *is,
                      size_t max, ml_bytes *items, size_t *count)
{
    int type = ml_fields_push(fields, name), list = lua_gettop(s->L);
    lua_Integer size = type == LUA_TTABLE ? (lua_Integer)lua_rawlen(s->L, list) : 0;
    if (type != LUA_TNIL &&
        (type != LUA_TTABLE || size == 0 || !ml_fields_is_list(s->L, list, size)))
        ml_fields_refuse(fields, "%s must be a list of %s", name,
                         is == is_path ? "paths" : "names");
    else if ((size_t)size > max)
        ml_fields_refuse(fields, "%s has over %zu of them", name, max);
    for (size_t n = 0; !s->why.code && n < (size_t)size; n++)
        if (read_item(s, fields, name, is, items, n)) *count = n + 1;
    lua_settop(s->L, list - 1);
    return !s->why.code;
}

static bool read_terms(ml_shape *s, const ml_fields *fields, const char *name, ml_bytes **terms,
                       size_t *count)
{
    *terms = calloc(ML_QUERY_TERMS_MAX, sizeof **terms);
    if (*terms == NULL) return ml_shape_refuse_memory(s);
    return read_list(s, fields, name, is_term, ML_QUERY_TERMS_MAX / 2, *terms, count);
}

/* ---- from, start ------------------------------------------------------------------------ */

static bool read_source(ml_shape *s, const ml_fields *fields, const char *name, ml_bytes *source)
{
    ml_bytes text = ml_fields_text(fields, name);
    if (text.data != NULL && (text.size == 0 || text.size > ML_STREAM_BYTES_MAX))
        ml_fields_refuse(fields, "%s must be a name of up to %d bytes", name, ML_STREAM_BYTES_MAX);
    if (!s->why.code && text.data != NULL) *source = keep(s, text);
    return !s->why.code;
}

static bool read_from(ml_shape *s, const ml_fields *fields)
{
    ml_shape_projection *p = s->unit->projection;
    int type = ml_fields_push(fields, "from");
    if (type == LUA_TNIL || s->why.code) return !s->why.code;
    if (type == LUA_TSTRING) return read_source(s, fields, "from", &p->category);
    if (type != LUA_TTABLE) {
        ml_fields_refuse(fields, "from must be a category, or a table {category=, stream=, types=, "
                                 "tags=}, not a %s",
                         lua_typename(s->L, type));
        return false;
    }
    ml_fields from = ml_fields_from(s->L, lua_gettop(s->L), "from", from_keys, &s->why);
    if (!read_source(s, &from, "category", &p->category)) return false;
    if (!read_source(s, &from, "stream", &p->stream)) return false;
    if (p->category.size > 0 && p->stream.size > 0)
        ml_fields_refuse(&from, "stream and category are both there; events come from one");
    return read_terms(s, &from, "types", &p->types, &p->type_count) &&
           read_terms(s, &from, "tags", &p->tags, &p->tag_count);
}

static bool read_start(ml_shape *s, const ml_fields *fields)
{
    ml_shape_projection *p = s->unit->projection;
    int type = ml_fields_push(fields, "start");
    lua_pop(s->L, 1);
    if (type == LUA_TNUMBER) {
        p->start = ML_SHAPE_POSITION;
        p->start_position = ml_fields_natural(fields, "start", 1, INT64_MAX, 1);
    } else {
        p->start = (ml_shape_start)ml_fields_word(fields, "start", start_words, ML_SHAPE_BEGINNING);
    }
    return !s->why.code;
}

/* ---- functions -------------------------------------------------------------------------- */

/* The function `name`, if there is one. */
static bool read_function(ml_shape *s, const ml_fields *fields, const char *name)
{
    int type = ml_fields_push(fields, name);
    if (type != LUA_TNIL && type != LUA_TFUNCTION)
        ml_fields_refuse(fields, "%s must be a function, not a %s", name, lua_typename(s->L, type));
    if (!s->why.code && type == LUA_TFUNCTION)
        ml_shape_function(s, &s->unit->commands, (ml_bytes){name, strlen(name)});
    lua_pop(s->L, 1);
    return !s->why.code;
}

static bool has(const ml_shape *s, const char *name)
{
    return ml_unit_find(&s->unit->commands, (ml_bytes){name, strlen(name)}) != NULL;
}

static bool read_window(ml_shape *s, const ml_fields *fields)
{
    ml_shape_projection *p = s->unit->projection;
    int type = ml_fields_push(fields, "window");
    if (type == LUA_TUSERDATA && ml_word_of(s->L, -1) == ML_WORD_WINDOW)
        p->window = ml_words_window(s->L, -1);
    else if (type != LUA_TNIL)
        ml_fields_refuse(fields, "window must be what moonlog.tumbling, moonlog.hopping or "
                                 "moonlog.session gives, not a %s",
                         lua_typename(s->L, type));
    lua_pop(s->L, 1);
    bool joins = p->window.kind == ML_WINDOW_SESSION && p->window.occurred;
    if (!read_function(s, fields, "late") || !read_function(s, fields, "merge")) return false;
    ml_shape_sort(&s->unit->commands);
    if (has(s, "late") && p->window.kind == ML_WINDOW_NONE)
        ml_fields_refuse(fields, "late is for events that come after their window has closed, and "
                                 "there is no window");
    else if (joins && !has(s, "merge"))
        ml_fields_refuse(fields,
                         "window: sessions by occurred can grow together: there must be merge "
                         "= function(row, other)");
    else if (!joins && has(s, "merge"))
        ml_fields_refuse(fields,
                         "merge is for sessions by occurred, which can grow together; no other "
                         "rows do");
    return !s->why.code;
}

/* ---- keys and rows ---------------------------------------------------------------------- */

static bool read_path(ml_shape *s, const ml_fields *fields)
{
    ml_shape_projection *p = s->unit->projection;
    ml_bytes text = keep(s, ml_fields_text(fields, "key"));
    if (s->why.code) return false;
    bool data = ml_bytes_begins(text, ML_STR("data.")),
         meta = ml_bytes_begins(text, ML_STR("meta."));
    p->whole_path = text;
    p->key_line = ml_shape_line(s->unit->file.text, ML_STR("key"));
    if (data || meta) {
        p->key = data ? ML_SHAPE_KEY_DATA : ML_SHAPE_KEY_META;
        p->path = (ml_bytes){(const char *)text.data + 5, text.size - 5};
        if (!is_path(p->path))
            ml_fields_refuse(fields,
                             "key \"%.*s\" is no path: names with a dot between them, at most %d",
                             ML_SHOW(text), ML_SHAPE_PATH_LEVELS);
        return !s->why.code;
    }
    for (int n = 0; key_words[n] != NULL; n++)
        if (strcmp(key_words[n], text.data) == 0) p->key = (ml_shape_key)(ML_SHAPE_KEY_STREAM + n);
    const char *near = p->key == ML_SHAPE_KEY_NONE ? ml_fields_nearest(text, key_words) : NULL;
    if (near != NULL)
        ml_fields_refuse(fields, "key \"%.60s\" is none (did you mean \"%s\"?)",
                         (const char *)text.data, near);
    else if (p->key == ML_SHAPE_KEY_NONE)
        ml_fields_refuse(
            fields,
            "key \"%.60s\" is none: there are stream, id, type, category, data.FIELD and "
            "meta.FIELD, or a function(data, event)",
            (const char *)text.data);
    return !s->why.code;
}

static bool read_key(ml_shape *s, const ml_fields *fields)
{
    int type = ml_fields_push(fields, "key");
    lua_pop(s->L, 1);
    if (s->why.code || type == LUA_TNIL) return !s->why.code;
    if (type == LUA_TSTRING) return read_path(s, fields);
    if (type == LUA_TFUNCTION) {
        s->unit->projection->key = ML_SHAPE_KEY_FUNCTION;
        return read_function(s, fields, "key");
    }
    ml_fields_refuse(
        fields, "key must be a path like \"stream\" or \"data.owner\", or a function, not a %s",
        lua_typename(s->L, type));
    return false;
}

/* The one row of a free fold is made here, once: nothing that init could look at changes. */
static bool read_init(ml_shape *s, const ml_fields *fields)
{
    int type = ml_fields_push(fields, "init");
    if (type != LUA_TNIL && type != LUA_TFUNCTION)
        ml_fields_refuse(fields, "init must be a function that returns a row, not a %s",
                         lua_typename(s->L, type));
    if (type == LUA_TNIL && s->unit->projection->key == ML_SHAPE_KEY_NONE)
        ml_fields_refuse(fields,
                         "key is missing: a path like \"stream\" or \"data.owner\", or a function; "
                         "or init = function() return {} end, for one row");
    if (type == LUA_TFUNCTION && s->unit->projection->key != ML_SHAPE_KEY_NONE)
        ml_fields_refuse(fields,
                         "init is for a fold of one row, without key; with a key, row is what "
                         "each row begins as");
    if (type == LUA_TFUNCTION && ml_fields_has(fields, "row"))
        ml_fields_refuse(fields,
                         "row and init are both there; init returns what the one row begins as");
    if (s->why.code || type == LUA_TNIL) {
        lua_pop(s->L, 1);
        return !s->why.code;
    }
    lua_call(s->L, 0, 1);
    if (!lua_istable(s->L, -1))
        ml_fields_refuse(fields, "init must return a table, not a %s", luaL_typename(s->L, -1));
    return ml_shape_initial(s, fields, "init");
}

static bool read_row(ml_shape *s, const ml_fields *fields)
{
    if (s->unit->projection->key == ML_SHAPE_KEY_NONE) return true; /* init did it */
    int type = ml_fields_push(fields, "row");
    if (type != LUA_TNIL && type != LUA_TTABLE)
        ml_fields_refuse(fields, "row must be a table, not a %s", lua_typename(s->L, type));
    if (type == LUA_TNIL) lua_newtable(s->L);
    return ml_shape_initial(s, fields, "row");
}

static bool read_ttl(ml_shape *s, const ml_fields *fields)
{
    ml_bytes text = ml_fields_text(fields, "ttl");
    if (text.data != NULL && !ml_duration_read(text, &s->unit->projection->ttl))
        ml_fields_refuse(fields, "ttl must be a span of time like \"90d\" or \"1h30m\"");
    return !s->why.code;
}

/* ---- what is made of the rows ----------------------------------------------------------- */

/* A name that needs no quotes in SQL. */
static bool is_plain(ml_bytes name)
{
    const char *text = name.data;
    if (name.size == 0 || name.size > ML_SHAPE_PATH_BYTES || isdigit((unsigned char)text[0]))
        return false;
    for (size_t n = 0; n < name.size; n++)
        if (!isalnum((unsigned char)text[n]) && text[n] != '_') return false;
    return true;
}

/* The name is at -2 of the stack, and at -1 a type, or {type=, path=}. */
static bool read_column(ml_shape *s, const ml_fields *sql)
{
    static const char *const taken[] = {"key", "window_start", "window_end"};
    lua_State *L = s->L;
    ml_shape_projection *p = s->unit->projection;
    ml_shape_column *column = &p->columns[p->column_count];
    ml_bytes name = text_at(L, -2), word = text_at(L, -1), path = name;
    if (p->column_count == ML_SHAPE_COLUMNS_MAX) {
        ml_fields_refuse(sql, "columns has over %d of them", ML_SHAPE_COLUMNS_MAX);
        return false;
    }
    if (lua_istable(L, -1)) {
        ml_fields fields = ml_fields_from(L, -1, "columns", column_keys, &s->why);
        word = ml_fields_text(&fields, "type");
        path = ml_fields_text(&fields, "path");
        if (path.data == NULL) path = name;
    }
    if (!s->why.code && !is_plain(name))
        ml_fields_refuse(sql, "columns are named with letters, digits and '_': {owner = \"text\"}");
    if (!s->why.code && (word.data == NULL || !is_path(path)))
        ml_fields_refuse(
            sql, "column \"%s\" must be a type, or {type = \"text\", path = \"address.city\"}",
            (const char *)name.data);
    for (size_t n = 0; !s->why.code && n < sizeof taken / sizeof taken[0]; n++)
        if (strcasecmp(name.data, taken[n]) == 0)
            ml_fields_refuse(
                sql, "column \"%s\" is there anyway, made of the key; name it otherwise", taken[n]);
    if (!s->why.code)
        column->type =
            (ml_shape_type)ml_fields_choose(sql, "the type of a column", word, type_words);
    if (!s->why.code) *column = (ml_shape_column){keep(s, name), keep(s, path), column->type};
    p->column_count++;
    return !s->why.code;
}

static int compare_columns(const void *left, const void *right)
{
    const ml_shape_column *a = left, *b = right;
    return strcmp(a->name.data, b->name.data);
}

static bool read_table(ml_shape *s, const ml_fields *sql)
{
    ml_shape_projection *p = s->unit->projection;
    ml_bytes table = ml_fields_text(sql, "table");
    if (!s->why.code && table.data == NULL)
        table = (ml_bytes){s->unit->name, strlen(s->unit->name)};
    if (!s->why.code && (!is_plain(table) || strncasecmp(table.data, "sqlite_", 7) == 0 ||
                         strcasecmp(table.data, "moonlog") == 0))
        ml_fields_refuse(
            sql, "table must be a name of letters, digits and '_', and not moonlog or sqlite_…");
    if (!s->why.code) p->table = keep(s, table);
    return !s->why.code;
}

/* SQL does not tell large letters from small. */
static bool has_twice(const ml_shape_projection *p, size_t n)
{
    for (size_t m = 0; m < n; m++)
        if (strcasecmp(p->columns[m].name.data, p->columns[n].name.data) == 0) return true;
    return false;
}

static bool read_sql(ml_shape *s, const ml_fields *fields)
{
    lua_State *L = s->L;
    ml_shape_projection *p = s->unit->projection;
    int type = ml_fields_push(fields, "sql");
    if (type == LUA_TNIL || s->why.code) return !s->why.code;
    if (type != LUA_TTABLE) {
        ml_fields_refuse(fields,
                         "sql must be a table {table=, columns={owner = \"text\"}}, not a %s",
                         lua_typename(L, type));
        return false;
    }
    ml_fields sql = ml_fields_from(L, lua_gettop(L), "sql", sql_keys, &s->why);
    if (!read_table(s, &sql)) return false;
    if (ml_fields_push(&sql, "columns") != LUA_TTABLE) {
        ml_fields_refuse(&sql, "columns is missing: {owner = \"text\", balance = \"integer\"}");
        return false;
    }
    for (lua_pushnil(L); !s->why.code && lua_next(L, -2); lua_settop(L, -2))
        if (!read_column(s, &sql)) return false;
    qsort(p->columns, p->column_count, sizeof p->columns[0], compare_columns);
    for (size_t n = 1; n < p->column_count; n++)
        if (has_twice(p, n))
            ml_fields_refuse(&sql,
                             "column \"%s\" is there twice: SQL does not tell large from small",
                             (const char *)p->columns[n].name.data);
    return !s->why.code;
}

static bool read_kept(ml_shape *s, const ml_fields *fields)
{
    int type = ml_fields_push(fields, "snapshot");
    if (type == LUA_TNIL || s->why.code) return !s->why.code;
    if (type != LUA_TTABLE) {
        ml_fields_refuse(fields, "snapshot must be a table {every = 1000000}, not a %s",
                         lua_typename(s->L, type));
        return false;
    }
    ml_fields inner = ml_fields_from(s->L, lua_gettop(s->L), "snapshot", kept_keys, &s->why);
    uint64_t every = ml_fields_natural(&inner, "every", ML_SHAPE_KEPT_MIN, INT64_MAX, 0);
    if (!s->why.code && every == 0) ml_fields_refuse(&inner, "every is missing: {every = 1000000}");
    s->unit->projection->kept_every = every;
    return !s->why.code;
}

/* ---- the door --------------------------------------------------------------------------- */

static bool read_on(ml_shape *s, const ml_fields *fields)
{
    if (!ml_shape_handlers(s, fields, "on", &s->unit->on)) return false;
    if (s->unit->on.count == 0)
        ml_fields_refuse(fields, "on is missing: a table {EventType = function(row, data, event)}");
    return !s->why.code;
}

bool ml_shape_projection_read(ml_shape *s)
{
    ml_fields fields = ml_fields_from(s->L, ML_SHAPE_TABLE, "projection", keys, &s->why);
    if (s->why.code || !ml_shape_name(s, &fields, "projection")) return false;
    s->unit->projection = calloc(1, sizeof *s->unit->projection);
    if (s->unit->projection == NULL) return ml_shape_refuse_memory(s);
    ml_shape_projection *p = s->unit->projection;
    if (!read_on(s, &fields) || !read_from(s, &fields) || !read_key(s, &fields)) return false;
    if (!read_init(s, &fields) || !read_row(s, &fields) || !read_window(s, &fields)) return false;
    if (!read_list(s, &fields, "index", is_path, ML_SHAPE_INDEXES_MAX, p->indexes, &p->index_count))
        return false;
    if (!read_ttl(s, &fields) || !read_start(s, &fields)) return false;
    p->holds = ml_fields_word(&fields, "fault", fault_words, 0) == 1;
    return !s->why.code && read_sql(s, &fields) && read_kept(s, &fields);
}
