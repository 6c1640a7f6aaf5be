/* shape.c -- one reader for each kind of file. What is wrong first is said, with the nearest word
 * that would have been right. */
#include "shape.h"

#include <ctype.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "../script/value.h"
#include "../store/event.h"
#include "bytecode.h"
#include "shape_inside.h"

/* In the order of ml_unit_kind. */
static const char *const kinds[] = {"aggregate", "upcast", "projection", "reactor", NULL};
static const char *const aggregate_keys[] = {"aggregate", "initial", "on", "commands",
                                             "snapshot",  "record",  NULL};
static const char *const snapshot_keys[] = {"every", NULL};
static const char *const reactor_keys[] = {"reactor", "from",  "correlate", "initial",
                                           "start",   "retry", "on",        NULL};

typedef ml_shape shape;

enum {
    TABLE = ML_SHAPE_TABLE,
    FIELDS_BYTES_MAX = 120 /* names that a handler gets: with more, looking for each takes longer
                            * than to decode them all */
};

const char *ml_shape_kind_name(ml_unit_kind kind)
{
    return kind == ML_UNIT_NONE ? NULL : kinds[kind - 1];
}

static bool refuse(shape *s, const char *what, const char *sentence)
{
    if (!s->why.code) ML_IGNORE(ml_error_set(&s->why, ML_BAD_REQUEST, "%s%s", what, sentence));
    return false;
}

bool ml_shape_refuse_memory(shape *s)
{
    ml_error_memory(&s->why, s->unit->label);
    return false;
}

/* ---- where it stands -------------------------------------------------------------------- */

static bool is_word_byte(int byte) { return isalnum(byte) || byte == '_'; }

/* Does `word = ` or `["word"] =` begin at `at`? */
static bool is_set(const char *at, const char *end, size_t size)
{
    at += size;
    while (at < end && (*at == ' ' || *at == '"' || *at == '\'' || *at == ']')) at++;
    return at < end && *at == '=' && (at + 1 == end || at[1] != '=');
}

uint32_t ml_shape_line(ml_bytes text, ml_bytes word)
{
    const char *begin = text.data, *end = begin + text.size;
    uint32_t line = 1, seen = 0;
    if (word.size == 0) return 0;
    for (const char *at = begin; at + word.size <= end; at++) {
        if (*at == '\n') line++;
        if (memcmp(at, word.data, word.size) != 0) continue;
        bool whole = (at == begin || !is_word_byte((unsigned char)at[-1])) &&
                     (at + word.size == end || !is_word_byte((unsigned char)at[word.size]));
        if (whole && is_set(at, end, word.size)) return line;
        if (whole && seen == 0) seen = line;
    }
    return seen;
}

/* The line of the word that begins at `at`. */
static uint32_t line_of(const shape *s, const char *at)
{
    if (at == NULL) return 0;
    while (*at == '"' || *at == ':' || *at == ' ') at++;
    return ml_shape_line(s->unit->file.text, (ml_bytes){at, strcspn(at, "\" ,:[")});
}

/* The sentence is about the word behind the first colon, or the first one in quotes. */
static uint32_t find_line(const shape *s)
{
    uint32_t line = line_of(s, strchr(s->why.sentence, ':'));
    return line != 0 ? line : line_of(s, strchr(s->why.sentence, '"'));
}

/* ---- handlers --------------------------------------------------------------------------- */

/* With a NUL behind it. */
static ml_bytes copy_name(ml_bytes name)
{
    char *copy = malloc(name.size + 1);
    if (copy != NULL) memcpy(copy, name.data, name.size + 1);
    return (ml_bytes){copy, name.size};
}

/* What the function on top does with its first two parameters, if there is memory to find out. */
static void look_at_parameters(shape *s, ml_handler *handler)
{
    ml_buf dump = {0}, frames = {0};
    if (ml_sandbox_dump(s->L, true, &dump)) {
        ml_bytes code = ml_buf_view(&dump);
        handler->lends = ml_bytecode_lends(code, 0, &frames);
        handler->picks = ml_bytecode_picks(code, 1, &handler->fields, &frames) &&
                         handler->fields.size <= FIELDS_BYTES_MAX;
    }
    ml_buf_free(&dump);
    ml_buf_free(&frames);
}

bool ml_shape_function(shape *s, ml_handlers *to, ml_bytes name)
{
    lua_Debug about;
    ml_unit *unit = s->unit;
    ml_handler *all = realloc(to->all, (to->count + 1) * sizeof *all);
    if (all == NULL) return ml_shape_refuse_memory(s);
    to->all = all;
    ml_handler *handler = &all[to->count];
    *handler = (ml_handler){.function = LUA_NOREF};
    handler->name = copy_name(name);
    if (handler->name.data == NULL) return ml_shape_refuse_memory(s);
    to->count++;
    lua_pushvalue(s->L, -1);
    lua_getinfo(s->L, ">Su", &about);
    handler->params = about.isvararg ? UINT8_MAX : about.nparams;
    if (about.linedefined > 0) {
        snprintf(handler->where, sizeof handler->where, "%.100s:%d",
                 about.source + (about.source[0] == '@'), about.linedefined);
    } else {
        snprintf(handler->where, sizeof handler->where, "%.*s", ML_SHOW(unit->file.path));
    }
    look_at_parameters(s, handler);
    lua_pushvalue(s->L, -1);
    handler->function = luaL_ref(s->L, LUA_REGISTRYINDEX);
    return true;
}

static int compare(const void *left, const void *right)
{
    const ml_handler *a = left, *b = right;
    if (a->name.size != b->name.size) return a->name.size < b->name.size ? -1 : 1;
    return memcmp(a->name.data, b->name.data, a->name.size);
}

void ml_shape_sort(ml_handlers *handlers)
{
    if (handlers->count > 1)
        qsort(handlers->all, handlers->count, sizeof *handlers->all, compare);
}

bool ml_shape_handlers(shape *s, const ml_fields *fields, const char *name, ml_handlers *to)
{
    lua_State *L = s->L;
    int type = ml_fields_push(fields, name);
    if (type != LUA_TNIL && type != LUA_TTABLE)
        ml_fields_refuse(fields, "%s must be a table of functions, not a %s", name,
                         lua_typename(L, type));
    if (s->why.code || type == LUA_TNIL) {
        lua_pop(L, 1);
        return !s->why.code;
    }
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        ml_bytes key = {0};
        if (lua_type(L, -2) == LUA_TSTRING) key.data = lua_tolstring(L, -2, &key.size);
        if (key.data == NULL || key.size == 0)
            ml_fields_refuse(fields,
                             "%s has a key that is no name; it is a table {Name = function}", name);
        else if (!lua_isfunction(L, -1))
            ml_fields_refuse(fields, "\"%s\" in %s must be a function, not a %s",
                             (const char *)key.data, name, luaL_typename(L, -1));
        else if (to != NULL && to->count == ML_UNIT_HANDLERS_MAX)
            ml_fields_refuse(fields, "%s has over %d functions", name, ML_UNIT_HANDLERS_MAX);
        else if (to != NULL && !ml_shape_function(s, to, key)) break;
        if (s->why.code) break;
    }
    lua_settop(L, table - 1);
    if (!s->why.code && to != NULL) ml_shape_sort(to);
    return !s->why.code;
}

/* ---- names ------------------------------------------------------------------------------ */

/* An aggregate's name is the category of its streams: it may not hold the '-' that ends one. */
bool ml_shape_name(shape *s, const ml_fields *fields, const char *kind)
{
    ml_bytes name = ml_fields_text(fields, kind);
    if (s->why.code) return false;
    const char *text = name.data;
    bool good = text != NULL && name.size > 0 && name.size <= ML_UNIT_NAME_MAX;
    for (size_t n = 0; good && n < name.size; n++)
        good = is_word_byte((unsigned char)text[n]) || text[n] == '.' ||
               (unsigned char)text[n] >= 0x80 ||
               (text[n] == '-' && s->unit->kind != ML_UNIT_AGGREGATE);
    if (!good || !ml_unpack_utf8(name)) {
        ml_fields_refuse(fields, "%s must be a name: 1 to %d letters, digits, '_' and '.'", kind,
                         ML_UNIT_NAME_MAX);
        return false;
    }
    memcpy(s->unit->name, text, name.size + 1);
    snprintf(s->unit->label, sizeof s->unit->label, "%s/%s", kind, s->unit->name);
    return true;
}

/* ---- kinds ------------------------------------------------------------------------------ */

bool ml_shape_initial(shape *s, const ml_fields *fields, const char *name)
{
    ml_unit *unit = s->unit;
    ml_buf_clear(&unit->desk.bytes);
    if (!s->why.code && ml_value_write(s->L, lua_gettop(s->L), &unit->desk, ML_UNIT_STATE_BYTES,
                                       name, &s->why) == ML_OK) {
        ml_buf_add(&unit->initial, unit->desk.bytes.data, unit->desk.bytes.size);
        if (unit->initial.failed) return ml_shape_refuse_memory(s);
        if ((unit->initial.data[0] & 0xf0) == 0x90 || unit->initial.data[0] == 0xdc ||
            unit->initial.data[0] == 0xdd)
            ml_fields_refuse(fields, "%s is a list; a %s has names: {items = {}}", name,
                             unit->kind == ML_UNIT_AGGREGATE ? "state" : "row");
    }
    return !s->why.code;
}

static bool read_initial(shape *s, const ml_fields *fields)
{
    int type = ml_fields_push(fields, "initial");
    if (type != LUA_TNIL && type != LUA_TTABLE)
        ml_fields_refuse(fields, "initial must be a table, not a %s", lua_typename(s->L, type));
    if (type == LUA_TNIL) lua_newtable(s->L);
    return ml_shape_initial(s, fields, "initial");
}

static bool read_snapshot(shape *s, const ml_fields *fields)
{
    int type = ml_fields_push(fields, "snapshot");
    if (type == LUA_TNIL || s->why.code) return !s->why.code;
    if (type != LUA_TTABLE) {
        ml_fields_refuse(fields, "snapshot must be a table {every = 1000}, not a %s",
                         lua_typename(s->L, type));
        return false;
    }
    ml_fields inner = ml_fields_from(s->L, lua_gettop(s->L), "snapshot", snapshot_keys, &s->why);
    s->unit->every = ml_fields_natural(&inner, "every", ML_UNIT_SNAPSHOT_MIN, INT32_MAX, 0);
    if (!s->why.code && s->unit->every == 0)
        ml_fields_refuse(&inner, "every is missing: {every = 1000}");
    return !s->why.code;
}

static bool read_record(shape *s, const ml_fields *fields)
{
    int type = ml_fields_push(fields, "record");
    if (type != LUA_TNIL && type != LUA_TBOOLEAN)
        ml_fields_refuse(fields, "record must be true or false, not a %s",
                         lua_typename(s->L, type));
    s->unit->record = lua_toboolean(s->L, -1);
    lua_pop(s->L, 1);
    return !s->why.code;
}

static bool read_aggregate(shape *s)
{
    ml_fields fields = ml_fields_from(s->L, TABLE, "aggregate", aggregate_keys, &s->why);
    if (s->why.code || !ml_shape_name(s, &fields, "aggregate")) return false;
    if (!read_initial(s, &fields) || !read_snapshot(s, &fields) || !read_record(s, &fields))
        return false;
    if (!ml_shape_handlers(s, &fields, "on", &s->unit->on)) return false;
    if (!ml_shape_handlers(s, &fields, "commands", &s->unit->commands)) return false;
    if (s->unit->on.count == 0)
        ml_fields_refuse(&fields,
                         "on is missing: a table {EventType = function(state, data, event)}");
    return !s->why.code;
}

/* What nobody runs yet is looked at as far as a slip of the pen shows. */
static bool read_later(shape *s, const char *kind, const char *const *keys)
{
    ml_fields fields = ml_fields_from(s->L, TABLE, kind, keys, &s->why);
    if (s->why.code || !ml_shape_name(s, &fields, kind)) return false;
    if (!ml_fields_has(&fields, "on"))
        ml_fields_refuse(&fields, "on is missing: a table {EventType = function}");
    return !s->why.code && ml_shape_handlers(s, &fields, "on", NULL);
}

/* The chain itself is checked by upcast.c; here it gets its name. */
static bool read_upcast(shape *s)
{
    ml_unit *unit = s->unit;
    lua_getfield(s->L, TABLE, "upcast");
    ml_bytes type = {0};
    if (lua_type(s->L, -1) == LUA_TSTRING) type.data = lua_tolstring(s->L, -1, &type.size);
    if (type.size == 0 || type.size > ML_UNIT_NAME_MAX ||
        ml_event_check_name(type, ML_UNIT_NAME_MAX, "type", NULL) != ML_OK)
        return refuse(s, "upcast: ",
                      "upcast must be the type of an event, of up to 80 bytes of UTF-8 without "
                      "control characters");
    memcpy(unit->name, type.data, type.size + 1);
    snprintf(unit->label, sizeof unit->label, "upcast/%s", unit->name);
    return true;
}

static bool refuse_kind(shape *s)
{
    ml_bytes key = {0};
    const char *near = NULL;
    for (lua_pushnil(s->L); near == NULL && lua_next(s->L, TABLE); lua_pop(s->L, 1)) {
        if (lua_type(s->L, -2) != LUA_TSTRING) continue;
        key.data = lua_tolstring(s->L, -2, &key.size);
        near = ml_fields_nearest(key, kinds);
    }
    if (near == NULL)
        return refuse(s, "",
                      "a rule file returns a table with the key aggregate, upcast, projection or "
                      "reactor; put what others require into lib/");
    ML_IGNORE(ml_error_set(
        &s->why, ML_BAD_REQUEST,
        "unknown key \"%.60s\" (did you mean \"%s\"?); a rule file has the key aggregate, "
        "upcast, projection or reactor",
        (const char *)key.data, near));
    return false;
}

static bool read_kind(shape *s)
{
    for (int n = 0; kinds[n] != NULL; n++) {
        lua_pushstring(s->L, kinds[n]);
        if (lua_rawget(s->L, TABLE) != LUA_TNIL) {
            if (s->unit->kind != ML_UNIT_NONE)
                return refuse(s, kinds[n], " and another kind in one file; a file is one thing");
            s->unit->kind = (ml_unit_kind)(n + 1);
        }
        lua_pop(s->L, 1);
    }
    return s->unit->kind != ML_UNIT_NONE || refuse_kind(s);
}

static int read_body(lua_State *L)
{
    shape *s = lua_touserdata(L, 1);
    s->L = L;
    luaL_checkstack(L, 16, "moonlog");
    if (!lua_istable(L, TABLE)) {
        refuse(s, luaL_typename(L, TABLE),
               " is what the file returns; end it with `return { aggregate = … }`");
        return 0;
    }
    if (!read_kind(s)) return 0;
    switch (s->unit->kind) {
    case ML_UNIT_AGGREGATE: read_aggregate(s); break;
    case ML_UNIT_UPCAST: read_upcast(s); break;
    case ML_UNIT_PROJECTION: ml_shape_projection_read(s); break;
    case ML_UNIT_REACTOR: read_later(s, "reactor", reactor_keys); break;
    case ML_UNIT_NONE: break;
    }
    lua_pushboolean(L, 0);
    s->unit->state = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

bool ml_shape_read(ml_unit *unit, ml_fault *fault)
{
    shape s = {.unit = unit, .why = {.code = ML_OK}};
    if (!ml_unit_with(unit->sandbox, read_body, &s, fault)) return false;
    if (!s.why.code) return true;
    char path[256];
    snprintf(path, sizeof path, "%.*s", ML_SHOW(unit->file.path));
    ml_fault_set(fault, ML_FAULT_SHAPE, path, find_line(&s), "%s", s.why.sentence);
    return false;
}
