/* coretest_log.c -- the room core/log as specs see it.
 *
 *     log.frame{records = {…}, salt=, sequence=, first=, durable=, previous=, time=} -> bytes
 *     log.segment{log=, number=, first=, …} -> page       log.footer{count=, …} -> bytes
 *     log.group(first)                                    a group
 *     log.open(disk, {read_only=, segment_bytes=})        a log, without threads
 *
 * A payload is given without its first ten bytes, which tell its position: they are put there
 * and taken off here. */
#include <stdlib.h>

#include "../../core/log/log.h"
#include "../../core/log/watermark.h"
#include "coretest.h"

#define GROUP "moonlog.test.group"
#define LOG "moonlog.test.log"

enum { STAMP = ML_RECORD_MIN };

static void stamp(uint8_t *to, uint64_t position)
{
    to[0] = 0x9b;
    to[1] = 0xcf;
    ml_put_be64(to + 2, position);
}

static void *copy_of(lua_State *L, int index, size_t *size)
{
    const char *text = luaL_checklstring(L, index, size);
    void *copy = malloc(*size > 0 ? *size : 1);
    if (copy == NULL) luaL_error(L, "out of memory");
    memcpy(copy, text, *size);
    return copy;
}

/* ---- frames ------------------------------------------------------------------------ */

static void push_frame(lua_State *L, const ml_frame *frame)
{
    lua_createtable(L, 0, 10);
    ml_coretest_set(L, "crc", frame->crc);
    ml_coretest_set(L, "body", frame->body);
    ml_coretest_set(L, "count", frame->count);
    ml_coretest_set(L, "body_crc", frame->body_crc);
    ml_coretest_set(L, "previous", frame->previous);
    ml_coretest_set(L, "sequence", frame->sequence);
    ml_coretest_set(L, "first", frame->first);
    ml_coretest_set(L, "durable", frame->durable);
    ml_coretest_set(L, "time", (uint64_t)frame->time);
    ml_coretest_set(L, "size", ml_frame_size(frame));
}

static ml_bytes record_at(lua_State *L, lua_Integer n)
{
    ml_bytes tail;
    lua_rawgeti(L, -1, n);
    tail.data = luaL_checklstring(L, -1, &tail.size);
    lua_pop(L, 1); /* the table keeps it */
    return tail;
}

static int frame(lua_State *L)
{
    ml_frame made = {.sequence = ml_coretest_number(L, 1, "sequence"),
                     .first = ml_coretest_number(L, 1, "first"),
                     .durable = ml_coretest_number(L, 1, "durable"),
                     .previous = (uint32_t)ml_coretest_number(L, 1, "previous"),
                     .time = (int64_t)ml_coretest_number(L, 1, "time")};
    lua_getfield(L, 1, "records");
    uint32_t count = (uint32_t)lua_rawlen(L, -1), size = 0;
    for (uint32_t n = 1; n <= count; n++)
        size += ML_RECORD_HEADER + STAMP + (uint32_t)record_at(L, n).size;
    uint8_t *at = lua_newuserdatauv(L, ML_FRAME_HEADER + size + 8 + ML_FRAME_TRAILER, 0);
    lua_insert(L, -2);
    uint8_t *to = at + ML_FRAME_HEADER;
    for (uint32_t n = 1; n <= count; n++) {
        ml_bytes tail = record_at(L, n);
        ml_put_u32(to, STAMP + (uint32_t)tail.size);
        stamp(to + ML_RECORD_HEADER, made.first + n - 1);
        memcpy(to + ML_RECORD_HEADER + STAMP, tail.data, tail.size);
        to += ML_RECORD_HEADER + STAMP + tail.size;
    }
    ml_frame_seal_body(at + ML_FRAME_HEADER, size, count, &made);
    ml_frame_encode(&made, (uint32_t)ml_coretest_number(L, 1, "salt"), at);
    lua_pushlstring(L, (const char *)at, ml_frame_size(&made));
    return 1;
}

/* frame_decode(bytes, salt) -> fields; nothing if refused */
static int frame_decode(lua_State *L)
{
    size_t size;
    ml_frame found;
    uint8_t *bytes = copy_of(L, 1, &size);
    bool good = ml_frame_decode(bytes, size, (uint32_t)luaL_checkinteger(L, 2), &found);
    free(bytes);
    if (!good) return 0;
    push_frame(L, &found);
    return 1;
}

/* frame_check(bytes, salt) -> good without offsets, good with, the offsets */
static int frame_check(lua_State *L)
{
    size_t size;
    ml_frame found;
    uint8_t *bytes = copy_of(L, 1, &size);
    if (!ml_frame_decode(bytes, size, (uint32_t)luaL_checkinteger(L, 2), &found)) {
        free(bytes);
        return 0;
    }
    uint32_t *offsets = calloc(found.count, sizeof *offsets);
    if (offsets == NULL) return luaL_error(L, "out of memory");
    lua_pushboolean(L, ml_frame_check(bytes, &found, NULL));
    lua_pushboolean(L, ml_frame_check(bytes, &found, offsets));
    lua_createtable(L, (int)found.count, 0);
    for (uint32_t n = 0; n < found.count; n++) {
        lua_pushinteger(L, offsets[n]);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
    free(offsets);
    free(bytes);
    return 3;
}

/* frame_record(bytes, position) -> payload behind its stamp; nothing if refused */
static int frame_record(lua_State *L)
{
    size_t size;
    ml_bytes payload;
    uint8_t *bytes = copy_of(L, 1, &size);
    bool good = ml_frame_record(bytes, size, (uint64_t)luaL_checkinteger(L, 2), &payload);
    if (good) lua_pushlstring(L, (const char *)payload.data + STAMP, payload.size - STAMP);
    free(bytes);
    return good ? 1 : 0;
}

/* ---- segments ---------------------------------------------------------------------- */

static ml_segment to_segment(lua_State *L, int index)
{
    ml_segment segment = {.number = ml_coretest_number(L, index, "number"),
                          .first = ml_coretest_number(L, index, "first"),
                          .sequence = ml_coretest_number(L, index, "sequence"),
                          .previous = (uint32_t)ml_coretest_number(L, index, "previous"),
                          .created = (int64_t)ml_coretest_number(L, index, "created")};
    ml_bytes id = ml_coretest_text(L, index, "log");
    luaL_argcheck(L, id.size == ML_LOG_ID_SIZE, index, "log is 16 bytes");
    memcpy(segment.log, id.data, ML_LOG_ID_SIZE);
    ml_segment_name(&segment);
    return segment;
}

/* segment(fields) -> header page, salt, path */
static int segment_page(lua_State *L)
{
    uint8_t page[ML_SEGMENT_HEADER];
    ml_segment segment = to_segment(L, 1);
    ml_segment_encode(&segment, page);
    lua_pushlstring(L, (const char *)page, sizeof page);
    lua_pushinteger(L, segment.salt);
    lua_pushstring(L, segment.path);
    return 3;
}

static int segment_decode(lua_State *L)
{
    ml_error why;
    ml_segment segment;
    size_t size;
    uint8_t *page = copy_of(L, 1, &size);
    luaL_argcheck(L, size == ML_SEGMENT_HEADER, 1, "a page");
    ml_code code = ml_segment_decode(&segment, page, luaL_checkstring(L, 2), &why);
    free(page);
    if (code) return ml_coretest_refuse(L, &why);
    lua_newtable(L);
    ml_coretest_set_text(L, "log", (ml_bytes){segment.log, ML_LOG_ID_SIZE});
    ml_coretest_set(L, "number", segment.number);
    ml_coretest_set(L, "first", segment.first);
    ml_coretest_set(L, "sequence", segment.sequence);
    ml_coretest_set(L, "previous", segment.previous);
    ml_coretest_set(L, "created", (uint64_t)segment.created);
    ml_coretest_set(L, "salt", segment.salt);
    return 1;
}

static int footer(lua_State *L)
{
    uint8_t bytes[ML_SEGMENT_FOOTER];
    ml_footer made = {.count = ml_coretest_number(L, 1, "count"),
                      .last = ml_coretest_number(L, 1, "last"),
                      .sequence = ml_coretest_number(L, 1, "sequence"),
                      .end = ml_coretest_number(L, 1, "end"),
                      .previous = (uint32_t)ml_coretest_number(L, 1, "previous")};
    ml_bytes hash = ml_coretest_text(L, 1, "sha256");
    luaL_argcheck(L, hash.size == sizeof made.sha256, 1, "sha256 is 32 bytes");
    memcpy(made.sha256, hash.data, sizeof made.sha256);
    ml_segment_encode_footer(&made, (uint32_t)luaL_checkinteger(L, 2), bytes);
    lua_pushlstring(L, (const char *)bytes, sizeof bytes);
    return 1;
}

static int footer_decode(lua_State *L)
{
    size_t size;
    const char *bytes = luaL_checklstring(L, 1, &size);
    ml_footer found;
    luaL_argcheck(L, size == ML_SEGMENT_FOOTER, 1, "a footer");
    uint32_t salt = (uint32_t)luaL_checkinteger(L, 2);
    if (!ml_segment_decode_footer(&found, salt, (const uint8_t *)bytes)) return 0;
    lua_newtable(L);
    ml_coretest_set(L, "count", found.count);
    ml_coretest_set(L, "last", found.last);
    ml_coretest_set(L, "sequence", found.sequence);
    ml_coretest_set(L, "end", found.end);
    ml_coretest_set(L, "previous", found.previous);
    ml_coretest_set_text(L, "sha256", (ml_bytes){found.sha256, sizeof found.sha256});
    return 1;
}

/* walk(bytes of a segment file, its fields) -> the good frames, offset where the walk ended */
static int walk(lua_State *L)
{
    size_t size;
    bool memory = false;
    ml_frame frame_met;
    ml_segment segment = to_segment(L, 2);
    uint8_t *bytes = copy_of(L, 1, &size);
    segment.map = bytes;
    segment.map_size = size;
    ml_walk w;
    ml_segment_walk(&w, &segment);
    lua_newtable(L);
    for (lua_Integer n = 1; ml_segment_walk_next(&w, &frame_met, &memory); n++) {
        push_frame(L, &frame_met);
        lua_rawseti(L, -2, n);
    }
    lua_pushinteger(L, (lua_Integer)w.offset);
    ml_segment_walk_free(&w);
    free(bytes);
    return 2;
}

/* find(bytes, salt, offset) -> offset of the next good frame, and the frame */
static int find(lua_State *L)
{
    size_t size;
    ml_frame found;
    uint64_t offset = (uint64_t)luaL_checkinteger(L, 3);
    uint8_t *bytes = copy_of(L, 1, &size);
    uint32_t salt = (uint32_t)luaL_checkinteger(L, 2);
    bool there = ml_segment_find(bytes, size, salt, &offset, &found);
    free(bytes);
    if (!there) return 0;
    lua_pushinteger(L, (lua_Integer)offset);
    push_frame(L, &found);
    return 2;
}

static int content_end(lua_State *L)
{
    size_t size;
    uint8_t *bytes = copy_of(L, 1, &size);
    uint64_t end = ml_segment_content_end(bytes, (uint64_t)luaL_checkinteger(L, 2), size);
    free(bytes);
    lua_pushinteger(L, (lua_Integer)end);
    return 1;
}

/* ---- the watermark ----------------------------------------------------------------- */

/* mark_write(disk, file, fields) -> generation */
static int mark_write(lua_State *L)
{
    ml_error why;
    ml_watermark mark = {.generation = ml_coretest_number(L, 3, "generation"),
                         .durable = ml_coretest_number(L, 3, "durable"),
                         .durable_position = ml_coretest_number(L, 3, "durable_position"),
                         .settled = ml_coretest_number(L, 3, "settled"),
                         .settled_position = ml_coretest_number(L, 3, "settled_position"),
                         .end = ml_coretest_number(L, 3, "end"),
                         .flags = (uint32_t)ml_coretest_number(L, 3, "flags"),
                         .log = (uint32_t)ml_coretest_number(L, 3, "log")};
    int file = (int)luaL_checkinteger(L, 2);
    if (ml_watermark_write(ml_coretest_disk(L, 1), file, &mark, &why))
        return ml_coretest_refuse(L, &why);
    lua_pushinteger(L, (lua_Integer)mark.generation);
    return 1;
}

static int mark_read(lua_State *L)
{
    ml_watermark mark;
    int file = (int)luaL_checkinteger(L, 2);
    if (!ml_watermark_read(ml_coretest_disk(L, 1), file, &mark)) return 0;
    lua_newtable(L);
    ml_coretest_set(L, "generation", mark.generation);
    ml_coretest_set(L, "durable", mark.durable);
    ml_coretest_set(L, "durable_position", mark.durable_position);
    ml_coretest_set(L, "settled", mark.settled);
    ml_coretest_set(L, "settled_position", mark.settled_position);
    ml_coretest_set(L, "end", mark.end);
    ml_coretest_set(L, "flags", mark.flags);
    ml_coretest_set(L, "log", mark.log);
    return 1;
}

/* ---- groups ------------------------------------------------------------------------ */

static ml_group *group_at(lua_State *L) { return luaL_checkudata(L, 1, GROUP); }

static int new_group(lua_State *L)
{
    uint64_t first = (uint64_t)luaL_checkinteger(L, 1);
    ml_group *group = lua_newuserdatauv(L, sizeof *group, 0);
    *group = (ml_group){0};
    luaL_setmetatable(L, GROUP);
    return ml_group_begin(group, first) ? 1 : luaL_error(L, "out of memory");
}

static bool add_record(ml_group *group, ml_bytes tail, size_t spare)
{
    uint64_t position = group->first + group->count;
    uint8_t *to = ml_group_record(group, STAMP + tail.size + spare);
    if (to == NULL) return false;
    stamp(to, position);
    memcpy(to + STAMP, tail.data, tail.size);
    ml_group_end_record(group, to, STAMP + tail.size);
    return true;
}

/* add(tail, spare): a record, with room for `spare` bytes more than it takes */
static int group_add(lua_State *L)
{
    ml_bytes tail;
    tail.data = luaL_checklstring(L, 2, &tail.size);
    if (!add_record(group_at(L), tail, (size_t)luaL_optinteger(L, 3, 0)))
        return luaL_error(L, "out of memory");
    return 0;
}

static int group_cut(lua_State *L)
{
    ml_group_cut(group_at(L), (uint32_t)luaL_checkinteger(L, 2));
    return 0;
}

static int group_begin(lua_State *L)
{
    lua_pushboolean(L, ml_group_begin(group_at(L), (uint64_t)luaL_checkinteger(L, 2)));
    return 1;
}

/* payloads() -> list of tails, size of the group, position of the first */
static int group_payloads(lua_State *L)
{
    const ml_group *group = group_at(L);
    lua_newtable(L);
    for (uint32_t n = 0; n < group->count; n++) {
        ml_bytes payload = ml_group_payload(group, n);
        lua_pushlstring(L, (const char *)payload.data + STAMP, payload.size - STAMP);
        lua_rawseti(L, -2, (lua_Integer)n + 1);
    }
    lua_pushinteger(L, (lua_Integer)ml_group_size(group));
    lua_pushinteger(L, (lua_Integer)group->first);
    return 3;
}

static int group_free(lua_State *L)
{
    ml_group_free(group_at(L));
    return 0;
}

/* ---- the log ----------------------------------------------------------------------- */

typedef struct box {
    ml_log *log;
    ml_worker *worker;
    ml_group group;
} box;

static box *log_at(lua_State *L)
{
    box *self = luaL_checkudata(L, 1, LOG);
    if (self->log == NULL) luaL_error(L, "the log is closed");
    return self;
}

static int log_open(lua_State *L)
{
    ml_error why;
    ml_disk *disk = ml_coretest_disk(L, 1);
    ml_log_options options = {.read_only = ml_coretest_flag(L, 2, "read_only"),
                              .segment_bytes = ml_coretest_number(L, 2, "segment_bytes")};
    box *self = lua_newuserdatauv(L, sizeof *self, 1);
    *self = (box){0};
    luaL_setmetatable(L, LOG);
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
    ml_code code = ml_worker_new(false, &self->worker, &why);
    if (!code) code = ml_log_open(disk, self->worker, &options, &self->log, &why);
    return code ? ml_coretest_refuse(L, &why) : 1;
}

static int log_close(lua_State *L)
{
    box *self = luaL_checkudata(L, 1, LOG);
    ml_error why = {0};
    ml_code code = self->log != NULL ? ml_log_close(self->log, &why) : ML_OK;
    ml_worker_free(self->worker);
    ml_group_free(&self->group);
    *self = (box){0};
    if (code) return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

/* write(tails, sync) -> position of the first: fills a group, writes it, shows it */
static int log_write(lua_State *L)
{
    box *self = log_at(L);
    ml_error why;
    ml_group *group = &self->group;
    lua_settop(L, 3);
    bool sync = lua_toboolean(L, 3);
    lua_settop(L, 2);
    if (!ml_group_begin(group, ml_log_position(self->log) + 1)) return luaL_error(L, "memory");
    for (lua_Integer n = 1; n <= (lua_Integer)lua_rawlen(L, 2); n++)
        if (!add_record(group, record_at(L, n), 0)) return luaL_error(L, "memory");
    group->sync = sync;
    ml_code code = ml_log_write(self->log, group, &why);
    if (!code) code = ml_log_settle(self->log, group, &why);
    if (code) return ml_coretest_refuse(L, &why);
    lua_pushinteger(L, (lua_Integer)group->first);
    return 1;
}

static int log_sync(lua_State *L)
{
    box *self = log_at(L);
    ml_error why;
    uint64_t durable;
    if (ml_log_sync(self->log, &durable, &why)) return ml_coretest_refuse(L, &why);
    ml_log_settle_sync(self->log, durable);
    lua_pushinteger(L, (lua_Integer)durable);
    return 1;
}

static int log_rest(lua_State *L)
{
    ml_error why;
    if (ml_log_rest(log_at(L)->log, &why)) return ml_coretest_refuse(L, &why);
    lua_pushboolean(L, true);
    return 1;
}

static int log_get(lua_State *L)
{
    ml_error why;
    ml_bytes payload;
    uint64_t position = (uint64_t)luaL_checkinteger(L, 2);
    if (ml_log_get(log_at(L)->log, position, &payload, &why)) return ml_coretest_refuse(L, &why);
    lua_pushlstring(L, (const char *)payload.data + STAMP, payload.size - STAMP);
    return 1;
}

static int log_follow(lua_State *L)
{
    ml_error why;
    box *self = log_at(L);
    if (ml_log_follow(self->log, &why)) return ml_coretest_refuse(L, &why);
    lua_pushinteger(L, (lua_Integer)ml_log_position(self->log));
    return 1;
}

static int log_state(lua_State *L)
{
    box *self = log_at(L);
    ml_log_state state;
    ml_log_get_state(self->log, &state);
    lua_newtable(L);
    ml_coretest_set(L, "position", state.position);
    ml_coretest_set(L, "durable", state.durable);
    ml_coretest_set(L, "segments", state.segments);
    ml_coretest_set(L, "log_bytes", state.log_bytes);
    ml_coretest_set(L, "used_bytes", state.used_bytes);
    ml_coretest_set(L, "torn_bytes", state.torn_bytes);
    ml_coretest_set_flag(L, "damaged", state.damaged);
    ml_coretest_set_text(L, "id", (ml_bytes){ml_log_id(self->log), ML_LOG_ID_SIZE});
    lua_pushstring(L, ml_log_damage(self->log));
    lua_setfield(L, -2, "damage");
    return 1;
}

static int log_anchor(lua_State *L)
{
    uint64_t position = (uint64_t)luaL_checkinteger(L, 2);
    lua_pushinteger(L, ml_log_anchor(log_at(L)->log, position));
    return 1;
}

/* ---- the tables -------------------------------------------------------------------- */

static const luaL_Reg group_methods[] = {{"add", group_add},
                                         {"cut", group_cut},
                                         {"begin", group_begin},
                                         {"payloads", group_payloads},
                                         {NULL, NULL}};

static const luaL_Reg log_methods[] = {
    {"close", log_close},   {"write", log_write}, {"sync", log_sync},
    {"rest", log_rest},     {"get", log_get},     {"follow", log_follow},
    {"state", log_state},   {"anchor", log_anchor}, {NULL, NULL}};

static const luaL_Reg functions[] = {{"frame", frame},
                                     {"frame_decode", frame_decode},
                                     {"frame_check", frame_check},
                                     {"frame_record", frame_record},
                                     {"segment", segment_page},
                                     {"segment_decode", segment_decode},
                                     {"footer", footer},
                                     {"footer_decode", footer_decode},
                                     {"walk", walk},
                                     {"find", find},
                                     {"content_end", content_end},
                                     {"mark_write", mark_write},
                                     {"mark_read", mark_read},
                                     {"group", new_group},
                                     {"open", log_open},
                                     {NULL, NULL}};

int luaopen_coretest_log(lua_State *L)
{
    ml_coretest_class(L, GROUP, group_methods, group_free);
    ml_coretest_class(L, LOG, log_methods, log_close);
    luaL_newlib(L, functions);
    return 1;
}
