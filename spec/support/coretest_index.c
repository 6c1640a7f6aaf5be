/* coretest_index.c -- the room core/index as specs see it.
 *
 *     index.table(first)                        a table in memory
 *     index.write(disk, head, {{key, {position, …}}, …})   writes a run, gives its path
 *     index.run(disk, path)                     opens it
 *     index.open(disk, {log=, head=, memory_events=, read_only=, salt=})   an index
 *
 * Keys are 64 bits, as Lua integers. Without a log, the anchor of a position is made of the
 * position and `salt`. */
#include <stdlib.h>

#include "../../core/index/index.h"
#include "../../core/index/merge.h"
#include "../../core/index/runwriter.h"
#include "coretest.h"

#define TABLE "moonlog.test.table"
#define RUN "moonlog.test.run"
#define INDEX "moonlog.test.index"
#define POSTINGS "moonlog.test.postings"

static uint64_t to_number(lua_State *L, int index) { return (uint64_t)luaL_checkinteger(L, index); }

static void push_number(lua_State *L, uint64_t value) { lua_pushinteger(L, (lua_Integer)value); }

static void add_number(lua_State *L, lua_Integer at, uint64_t value)
{
    push_number(L, value);
    lua_rawseti(L, -2, at);
}

/* ---- tables ------------------------------------------------------------------------ */

static ml_table *table_at(lua_State *L) { return luaL_checkudata(L, 1, TABLE); }

static int new_table(lua_State *L)
{
    uint64_t first = to_number(L, 1);
    ml_table *table = lua_newuserdatauv(L, sizeof *table, 0);
    *table = (ml_table){0};
    luaL_setmetatable(L, TABLE);
    ml_table_begin(table, first);
    return 1;
}

static int table_begin(lua_State *L)
{
    ml_table_begin(table_at(L), to_number(L, 2));
    return 0;
}

static int table_add(lua_State *L)
{
    lua_pushboolean(L, ml_table_add(table_at(L), to_number(L, 2), to_number(L, 3)));
    return 1;
}

static int table_retract(lua_State *L)
{
    ml_table_retract(table_at(L), to_number(L, 2), to_number(L, 3));
    return 0;
}

/* find(key) -> its positions; nothing if it has none */
static int table_find(lua_State *L)
{
    const ml_table *table = table_at(L);
    const ml_table_slot *slot = ml_table_find(table, to_number(L, 2));
    if (slot == NULL) return 0;
    lua_createtable(L, (int)slot->count, 0);
    lua_Integer count = 0;
    for (uint32_t at = slot->head; at != ML_CHUNK_NONE; at = table->words[at + ML_CHUNK_NEXT])
        for (uint32_t i = 0; i < table->words[at + ML_CHUNK_USED]; i++)
            add_number(L, ++count, table->first + table->words[at + ML_CHUNK_DATA + i]);
    luaL_argcheck(L, count == (lua_Integer)slot->count, 2, "the count is not that of the chunks");
    return 1;
}

static int table_keys(lua_State *L)
{
    const ml_table *table = table_at(L);
    uint32_t *order = ml_table_sorted(table);
    if (order == NULL) return luaL_error(L, "out of memory");
    lua_newtable(L);
    for (uint32_t n = 0; n < table->used; n++)
        add_number(L, (lua_Integer)n + 1, table->slots[order[n]].key);
    free(order);
    return 1;
}

/* numbers() -> keys, postings, last position, bytes */
static int table_numbers(lua_State *L)
{
    const ml_table *table = table_at(L);
    push_number(L, table->used);
    push_number(L, table->postings);
    push_number(L, table->last);
    push_number(L, ml_table_bytes(table));
    return 4;
}

static int table_free(lua_State *L)
{
    ml_table_free(table_at(L));
    return 0;
}

/* ---- runs -------------------------------------------------------------------------- */

typedef struct run_box {
    ml_disk *disk;
    ml_run *run;
} run_box;

static ml_run_head to_head(lua_State *L, int index)
{
    ml_run_head head = {.first = ml_coretest_number(L, index, "first"),
                        .last = ml_coretest_number(L, index, "last"),
                        .anchor = (uint32_t)ml_coretest_number(L, index, "anchor")};
    ml_bytes id = ml_coretest_text(L, index, "log");
    if (id.size == sizeof head.log) memcpy(head.log, id.data, sizeof head.log);
    return head;
}

static void write_key(lua_State *L, ml_runwriter *writer)
{
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    ml_runwriter_key(writer, to_number(L, -2), (uint64_t)count);
    for (lua_Integer n = 1; n <= count; n++) {
        lua_rawgeti(L, -1, n);
        ml_runwriter_add(writer, to_number(L, -1));
        lua_pop(L, 1);
    }
    ml_runwriter_end_key(writer);
    lua_pop(L, 2);
}

static int push_path(lua_State *L, ml_code code, const ml_run_head *head, const ml_error *why)
{
    char path[ML_RUN_PATH];
    if (code) return ml_coretest_refuse(L, why);
    ml_run_path(path, head->first, head->last);
    lua_pushstring(L, path);
    return 1;
}

/* write(disk, head, keys) -> path; the keys ascend, as numbers without a sign */
static int write(lua_State *L)
{
    ml_error why;
    ml_runwriter writer;
    ml_run_head head = to_head(L, 2);
    head.keys = lua_rawlen(L, 3);
    ml_runwriter_begin(&writer, ml_coretest_disk(L, 1), &head, &why);
    for (lua_Integer n = 1; n <= (lua_Integer)head.keys; n++) {
        lua_rawgeti(L, 3, n);
        write_key(L, &writer);
        lua_pop(L, 1);
    }
    return push_path(L, ml_runwriter_finish(&writer), &head, &why);
}

/* write_table(table, disk, head) -> path */
static int write_table(lua_State *L)
{
    ml_error why;
    ml_run_head head = to_head(L, 3);
    ml_code code = ml_merge_table(ml_coretest_disk(L, 2), table_at(L), &head, &why);
    return push_path(L, code, &head, &why);
}

static int run_open(lua_State *L)
{
    ml_error why;
    ml_disk *disk = ml_coretest_disk(L, 1);
    run_box *self = lua_newuserdatauv(L, sizeof *self, 1);
    *self = (run_box){.disk = disk};
    luaL_setmetatable(L, RUN);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    ml_code code = ml_run_open(disk, luaL_checkstring(L, 2), &self->run, &why);
    return code ? ml_coretest_refuse(L, &why) : 1;
}

static run_box *run_at(lua_State *L, int index)
{
    run_box *self = luaL_checkudata(L, index, RUN);
    if (self->run == NULL) luaL_error(L, "the run is closed");
    return self;
}

static int run_close(lua_State *L)
{
    run_box *self = luaL_checkudata(L, 1, RUN);
    ml_run_close(self->run, self->disk);
    self->run = NULL;
    return 0;
}

static int run_head(lua_State *L)
{
    const ml_run_head *head = &run_at(L, 1)->run->head;
    lua_newtable(L);
    ml_coretest_set(L, "first", head->first);
    ml_coretest_set(L, "last", head->last);
    ml_coretest_set(L, "anchor", head->anchor);
    ml_coretest_set(L, "keys", head->keys);
    ml_coretest_set(L, "postings", head->postings);
    ml_coretest_set(L, "filter_at", ml_run_filter_at(head));
    ml_coretest_set(L, "table_at", ml_run_table_at(head));
    ml_coretest_set(L, "lists_at", ml_run_lists_at(head));
    ml_coretest_set(L, "size", head->size);
    ml_coretest_set_text(L, "log", (ml_bytes){head->log, sizeof head->log});
    return 1;
}

/* find(key) -> positions, and how many a block; or "absent"; or "damaged" */
static int run_find(lua_State *L)
{
    const ml_run *run = run_at(L, 1)->run;
    ml_run_list list;
    uint32_t distances[ML_RUN_BLOCK_MAX];
    ml_found found = ml_run_find(run, to_number(L, 2), &list);
    if (found != ML_PRESENT) {
        lua_pushstring(L, found == ML_ABSENT ? "absent" : "damaged");
        return 1;
    }
    lua_createtable(L, (int)list.count, 0);
    lua_Integer count = 0;
    for (uint64_t n = 0; n < ml_run_blocks(&list); n++) {
        uint32_t size = ml_run_decode(&list, n, distances);
        for (uint32_t i = 0; i < size; i++) add_number(L, ++count, run->head.first + distances[i]);
        if (size > 0) continue;
        lua_pushstring(L, "damaged");
        return 1;
    }
    luaL_argcheck(L, count == (lua_Integer)list.count, 2, "the count is not that of the blocks");
    push_number(L, list.block);
    return 2;
}

/* merge(disk, {run, …}) -> path; or nil, why, number of the damaged one */
static int merge(lua_State *L)
{
    ml_error why = {0};
    ml_run *runs[ML_INDEX_RUNS_MAX];
    size_t count = lua_rawlen(L, 2), damaged = 0;
    for (size_t n = 0; n < count; n++) {
        lua_rawgeti(L, 2, (lua_Integer)n + 1);
        runs[n] = run_at(L, -1)->run;
        lua_pop(L, 1);
    }
    ml_run_head head = {.first = runs[0]->head.first, .last = runs[count - 1]->head.last};
    ml_code code = ml_merge_runs(ml_coretest_disk(L, 1), runs, count, &damaged, &why);
    int pushed = push_path(L, code, &head, &why);
    if (code) push_number(L, damaged + 1);
    return code ? pushed + 1 : pushed;
}

static int parse_name(lua_State *L)
{
    uint64_t first, last;
    if (!ml_run_parse_name(luaL_checkstring(L, 1), &first, &last)) return 0;
    push_number(L, first);
    push_number(L, last);
    return 2;
}

/* ---- the index --------------------------------------------------------------------- */

typedef struct index_box {
    ml_index *index;
    ml_worker *worker;
    uint64_t salt;
} index_box;

static index_box *index_at(lua_State *L)
{
    index_box *self = luaL_checkudata(L, 1, INDEX);
    if (self->index == NULL) luaL_error(L, "the index is closed");
    return self;
}

static uint32_t anchor(void *context, uint64_t position)
{
    const index_box *self = context;
    return (uint32_t)((position + self->salt) * 2654435761u);
}

static int index_open(lua_State *L)
{
    ml_error why;
    ml_disk *disk = ml_coretest_disk(L, 1);
    index_box *self = lua_newuserdatauv(L, sizeof *self, 1);
    *self = (index_box){.salt = ml_coretest_number(L, 2, "salt")};
    luaL_setmetatable(L, INDEX);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    uint64_t memory_events = ml_coretest_number(L, 2, "memory_events");
    ml_index_options options = {.read_only = ml_coretest_flag(L, 2, "read_only"),
                                .memory_events = (uint32_t)memory_events,
                                .head = ml_coretest_number(L, 2, "head"),
                                .anchor = anchor,
                                .context = self};
    ml_bytes id = ml_coretest_text(L, 2, "log");
    if (id.size == sizeof options.log) memcpy(options.log, id.data, sizeof options.log);
    ml_code code = ml_worker_new(ml_coretest_flag(L, 2, "threads"), &self->worker, &why);
    if (!code) code = ml_index_open(disk, self->worker, &options, &self->index, &why);
    return code ? ml_coretest_refuse(L, &why) : 1;
}

static int index_close(lua_State *L)
{
    index_box *self = luaL_checkudata(L, 1, INDEX);
    if (self->worker != NULL) ml_worker_wait(self->worker);
    ml_index_close(self->index);
    ml_worker_free(self->worker);
    self->index = NULL;
    self->worker = NULL;
    return 0;
}

static int index_covered(lua_State *L)
{
    push_number(L, ml_index_covered(index_at(L)->index));
    return 1;
}

/* feed(position, {key, …}): all keys of an event, and covers it */
static int index_feed(lua_State *L)
{
    ml_error why;
    ml_index *index = index_at(L)->index;
    uint64_t position = to_number(L, 2);
    for (lua_Integer n = 1; n <= (lua_Integer)lua_rawlen(L, 3); n++) {
        lua_rawgeti(L, 3, n);
        if (ml_index_add(index, to_number(L, -1), position, &why))
            return ml_coretest_refuse(L, &why);
        lua_pop(L, 1);
    }
    ml_index_cover(index, position);
    return 0;
}

static int index_retract(lua_State *L)
{
    ml_index_retract(index_at(L)->index, to_number(L, 2), to_number(L, 3));
    return 0;
}

static int index_uncover(lua_State *L)
{
    ml_index_uncover(index_at(L)->index, to_number(L, 2));
    return 0;
}

/* tend(settled) -> true; or nil and the name of the code, which may be without a sentence */
static int index_tend(lua_State *L)
{
    index_box *self = index_at(L);
    ml_worker_poll(self->worker);
    ml_code code = ml_index_tend(self->index, to_number(L, 2), NULL);
    if (code == ML_OK) {
        lua_pushboolean(L, true);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, ml_error_name(code));
    return 2;
}

static int index_save(lua_State *L)
{
    ml_error why;
    if (ml_index_save(index_at(L)->index, to_number(L, 2), &why))
        return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int index_refresh(lua_State *L)
{
    ml_error why;
    if (ml_index_refresh(index_at(L)->index, to_number(L, 2), &why))
        return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int index_drop_damaged(lua_State *L)
{
    ml_index_drop_damaged(index_at(L)->index);
    return 0;
}

static int index_state(lua_State *L)
{
    ml_index_state state;
    ml_index_get_state(index_at(L)->index, &state);
    lua_newtable(L);
    ml_coretest_set(L, "runs", state.runs);
    ml_coretest_set(L, "bytes", state.bytes);
    ml_coretest_set(L, "memory_events", state.memory_events);
    ml_coretest_set(L, "memory_bytes", state.memory_bytes);
    return 1;
}

/* ---- postings ---------------------------------------------------------------------- */

static ml_postings *postings_at(lua_State *L) { return luaL_checkudata(L, 1, POSTINGS); }

/* postings(key, from, to) */
static int index_postings(lua_State *L)
{
    ml_index *index = index_at(L)->index;
    uint64_t key = to_number(L, 2), from = to_number(L, 3), to = to_number(L, 4);
    ml_postings *postings = lua_newuserdatauv(L, sizeof *postings, 1);
    luaL_setmetatable(L, POSTINGS);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    ml_postings_find(index, key, from, to, postings);
    return 1;
}

/* A position, or nothing; or "damaged". */
static int push_found(lua_State *L, bool found)
{
    const ml_postings *postings = postings_at(L);
    if (found) push_number(L, postings->position);
    else if (postings->damaged) lua_pushstring(L, "damaged");
    return found || postings->damaged ? 1 : 0;
}

static int postings_seek(lua_State *L)
{
    return push_found(L, ml_postings_seek(postings_at(L), to_number(L, 2)));
}

static int postings_seek_back(lua_State *L)
{
    return push_found(L, ml_postings_seek_back(postings_at(L), to_number(L, 2)));
}

static int postings_next(lua_State *L) { return push_found(L, ml_postings_next(postings_at(L))); }

static int postings_prev(lua_State *L) { return push_found(L, ml_postings_prev(postings_at(L))); }

static int postings_nth(lua_State *L)
{
    return push_found(L, ml_postings_nth(postings_at(L), to_number(L, 2)));
}

static int postings_count(lua_State *L)
{
    push_number(L, postings_at(L)->count);
    return 1;
}

/* note_damage(): as who found it does, for the index to drop the run */
static int postings_note_damage(lua_State *L)
{
    ml_postings *postings = postings_at(L);
    ml_index_note_damage(postings->index, postings);
    return 0;
}

static int postings_free(lua_State *L)
{
    (void)L;
    return 0;
}

/* ---- the tables -------------------------------------------------------------------- */

static const luaL_Reg table_methods[] = {{"begin", table_begin},     {"add", table_add},
                                         {"retract", table_retract}, {"find", table_find},
                                         {"keys", table_keys},       {"numbers", table_numbers},
                                         {"write", write_table},     {NULL, NULL}};

static const luaL_Reg run_methods[] = {
    {"close", run_close}, {"head", run_head}, {"find", run_find}, {NULL, NULL}};

static const luaL_Reg index_methods[] = {{"close", index_close},
                                         {"covered", index_covered},
                                         {"feed", index_feed},
                                         {"retract", index_retract},
                                         {"uncover", index_uncover},
                                         {"tend", index_tend},
                                         {"save", index_save},
                                         {"refresh", index_refresh},
                                         {"drop_damaged", index_drop_damaged},
                                         {"state", index_state},
                                         {"postings", index_postings},
                                         {NULL, NULL}};

static const luaL_Reg postings_methods[] = {{"seek", postings_seek},
                                            {"seek_back", postings_seek_back},
                                            {"next", postings_next},
                                            {"prev", postings_prev},
                                            {"nth", postings_nth},
                                            {"count", postings_count},
                                            {"note_damage", postings_note_damage},
                                            {NULL, NULL}};

static const luaL_Reg functions[] = {{"table", new_table}, {"write", write}, {"run", run_open},
                                     {"merge", merge},     {"parse_name", parse_name},
                                     {"open", index_open}, {NULL, NULL}};

int luaopen_coretest_index(lua_State *L)
{
    ml_coretest_class(L, TABLE, table_methods, table_free);
    ml_coretest_class(L, RUN, run_methods, run_close);
    ml_coretest_class(L, INDEX, index_methods, index_close);
    ml_coretest_class(L, POSTINGS, postings_methods, postings_free);
    luaL_newlib(L, functions);
    return 1;
}
