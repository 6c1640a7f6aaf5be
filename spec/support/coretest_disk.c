/* coretest_disk.c -- the disks of core/base as specs see them.
 *
 *     disk.real(root, create)  disk.sim{files=, file_bytes=, seed=, lazy_shrink=}
 *     disk.faulty(below)       disk.recorder(below)
 *
 * give a disk. Its methods open, close, read … are the ml_disk_… functions: a result, or nil
 * and "CODE: sentence". sys_open, sys_close, sys_pread … are the calls of the table below
 * them: a result, or nil and the name of the errno. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../core/base/disk_faulty.h"
#include "../../core/base/disk_recorder.h"
#include "../../core/base/disk_sim.h"
#include "coretest.h"

#define META "moonlog.disk"

typedef struct box {
    ml_disk *disk;
} box;

static ml_disk *disk_at(lua_State *L, int index)
{
    return ((box *)luaL_checkudata(L, index, META))->disk;
}

ml_disk *ml_coretest_disk(lua_State *L, int index) { return disk_at(L, index); }

/* A box for a disk to come; what it stands on (at `below`, or 0) stays alive with it. */
static box *push_box(lua_State *L, int below)
{
    box *made = lua_newuserdatauv(L, sizeof *made, 1);
    *made = (box){0};
    luaL_setmetatable(L, META);
    if (below > 0) {
        lua_pushvalue(L, below);
        lua_setiuservalue(L, -2, 1);
    }
    return made;
}

static int free_disk(lua_State *L)
{
    box *gone = luaL_checkudata(L, 1, META);
    ml_disk_free(gone->disk);
    gone->disk = NULL;
    return 0;
}

static uint64_t to_size(lua_State *L, int index)
{
    return (uint64_t)luaL_checkinteger(L, index);
}
static int to_file(lua_State *L, int index)
{
    return (int)luaL_checkinteger(L, index);
}

static ml_bytes to_bytes(lua_State *L, int index)
{
    size_t size;
    const char *text = luaL_checklstring(L, index, &size);
    return (ml_bytes){text, size};
}

static int to_how(lua_State *L, int index)
{
    static const char *const words[] = {"r", "rw", "create", NULL};
    static const int hows[] = {ML_DISK_READ, ML_DISK_WRITE, ML_DISK_CREATE};
    return hows[luaL_checkoption(L, index, "r", words)];
}

static int to_errno(lua_State *L, const char *name)
{
    for (int number = 1; number < 134; number++) {
        const char *known = strerrorname_np(number);
        if (known != NULL && strcmp(known, name) == 0) return number;
    }
    return luaL_error(L, "no errno is called %s", name);
}

static int push_code(lua_State *L, ml_code code, const ml_error *why)
{
    if (code) return ml_coretest_refuse(L, why);
    lua_pushboolean(L, true);
    return 1;
}

static int push_result(lua_State *L, int64_t result)
{
    if (result < 0) {
        lua_pushnil(L);
        lua_pushstring(L, strerrorname_np((int)-result));
        return 2;
    }
    lua_pushinteger(L, result);
    return 1;
}

static int push_printed(lua_State *L, ml_buf *buf)
{
    bool failed = buf->failed;
    lua_pushlstring(L, buf->data == NULL ? "" : (const char *)buf->data, buf->size);
    ml_buf_free(buf);
    return failed ? luaL_error(L, "out of memory") : 1;
}

/* ---- ml_disk_… -------------------------------------------------------------------------- */

static int do_open(lua_State *L)
{
    ml_error why;
    int file = -1;
    ml_code code = ml_disk_open(disk_at(L, 1), luaL_checkstring(L, 2), to_how(L, 3), &file, &why);
    if (code) return ml_coretest_refuse(L, &why);
    lua_pushinteger(L, file);
    return 1;
}

static int do_close(lua_State *L)
{
    ml_error why;
    return push_code(
        L, ml_disk_close(disk_at(L, 1), to_file(L, 2), luaL_optstring(L, 3, "f"), &why), &why);
}

static int do_read(lua_State *L)
{
    ml_error why;
    luaL_Buffer buffer;
    size_t size = (size_t)to_size(L, 3);
    char *to = luaL_buffinitsize(L, &buffer, size);
    ml_code code = ml_disk_read(disk_at(L, 1), to_file(L, 2), "f", to, size, to_size(L, 4), &why);
    luaL_pushresultsize(&buffer, code ? 0 : size);
    return code ? ml_coretest_refuse(L, &why) : 1;
}

static int do_write(lua_State *L)
{
    ml_error why;
    ml_bytes from = to_bytes(L, 3);
    return push_code(
        L,
        ml_disk_write(disk_at(L, 1), to_file(L, 2), "f", from.data, from.size, to_size(L, 4), &why),
        &why);
}

static int do_sync(lua_State *L)
{
    ml_error why;
    return push_code(L, ml_disk_sync(disk_at(L, 1), to_file(L, 2), "f", &why), &why);
}

static int do_size(lua_State *L)
{
    ml_error why;
    uint64_t size = 0;
    ml_code code = ml_disk_size(disk_at(L, 1), to_file(L, 2), "f", &size, &why);
    if (code) return ml_coretest_refuse(L, &why);
    lua_pushinteger(L, (lua_Integer)size);
    return 1;
}

static int do_remove(lua_State *L)
{
    ml_error why;
    return push_code(L, ml_disk_remove(disk_at(L, 1), luaL_checkstring(L, 2), &why), &why);
}

static int do_adopt(lua_State *L)
{
    ml_error why;
    return push_code(L,
                     ml_disk_adopt(disk_at(L, 1), luaL_checkstring(L, 2), luaL_checkstring(L, 3),
                                   luaL_optstring(L, 4, "."), &why),
                     &why);
}

static int do_save(lua_State *L)
{
    ml_error why;
    return push_code(L,
                     ml_disk_save(disk_at(L, 1), luaL_checkstring(L, 2), luaL_optstring(L, 4, "."),
                                  to_bytes(L, 3), &why),
                     &why);
}

static int do_list(lua_State *L)
{
    ml_error why;
    ml_disk_names names;
    const char *suffix = luaL_optstring(L, 3, "");
    ml_code code = ml_disk_list(disk_at(L, 1), luaL_checkstring(L, 2), suffix, &names, &why);
    if (code) return ml_coretest_refuse(L, &why);
    lua_createtable(L, (int)names.count, 0);
    for (size_t i = 0; i < names.count; i++) {
        lua_pushstring(L, names.names[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    ml_disk_names_free(&names);
    return 1;
}

/* ---- the table -------------------------------------------------------------------------- */

static int sys_open(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->open(disk, luaL_checkstring(L, 2), to_how(L, 3)));
}

static int sys_close(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->close(disk, to_file(L, 2)));
}

static int sys_pread(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    luaL_Buffer buffer;
    size_t size = (size_t)to_size(L, 3);
    char *to = luaL_buffinitsize(L, &buffer, size);
    int64_t moved = disk->ops->pread(disk, to_file(L, 2), to, size, to_size(L, 4));
    luaL_pushresultsize(&buffer, moved < 0 ? 0 : (size_t)moved);
    return moved < 0 ? push_result(L, moved) : 1;
}

static int sys_pwrite(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    ml_bytes from = to_bytes(L, 3);
    return push_result(L,
                       disk->ops->pwrite(disk, to_file(L, 2), from.data, from.size, to_size(L, 4)));
}

static int sys_sync(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->sync(disk, to_file(L, 2)));
}

static int sys_allocate(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->allocate(disk, to_file(L, 2), to_size(L, 3)));
}

static int sys_truncate(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->truncate(disk, to_file(L, 2), to_size(L, 3)));
}

static int sys_rename(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->rename(disk, luaL_checkstring(L, 2), luaL_checkstring(L, 3)));
}

static int sys_unlink(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->unlink(disk, luaL_checkstring(L, 2)));
}

static int sys_make_dir(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->make_dir(disk, luaL_checkstring(L, 2)));
}

static int sys_sync_dir(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->sync_dir(disk, luaL_checkstring(L, 2)));
}

static void count_name(void *context, const char *name)
{
    (void)name;
    ++*(int *)context;
}

/* How many entries there are. */
static int sys_list(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    int count = 0;
    int error = disk->ops->list(disk, luaL_checkstring(L, 2), count_name, &count);
    return push_result(L, error < 0 ? error : count);
}

static int sys_lock(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->lock(disk, to_file(L, 2)));
}

static int sys_map(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    const uint8_t *map = NULL;
    int error = disk->ops->map(disk, to_file(L, 2), to_size(L, 3), &map);
    if (error < 0) return push_result(L, error);
    lua_pushlightuserdata(L, (void *)(uintptr_t)map);
    return 1;
}

static int sys_unmap(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    disk->ops->unmap(disk, lua_touserdata(L, 2), to_size(L, 3));
    return 0;
}

static int sys_now(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    return push_result(L, disk->ops->now(disk));
}

static int sys_random(lua_State *L)
{
    ml_disk *disk = disk_at(L, 1);
    luaL_Buffer buffer;
    size_t size = (size_t)to_size(L, 2);
    char *to = luaL_buffinitsize(L, &buffer, size);
    int error = disk->ops->random(disk, to, size);
    luaL_pushresultsize(&buffer, size);
    return error < 0 ? push_result(L, error) : 1;
}

/* peek(map, offset, size): bytes seen through a map. */
static int peek(lua_State *L)
{
    const char *map = lua_touserdata(L, 1);
    lua_pushlstring(L, map + to_size(L, 2), (size_t)to_size(L, 3));
    return 1;
}

/* ---- real ------------------------------------------------------------------------------- */

static int new_real(lua_State *L)
{
    ml_error why;
    const char *root = luaL_checkstring(L, 1);
    bool create = lua_toboolean(L, 2);
    box *made = push_box(L, 0);
    return ml_disk_real_new(root, create, &made->disk, &why) ? ml_coretest_refuse(L, &why) : 1;
}

enum { CAUGHT = 42 };

static void caught(int number)
{
    (void)number;
    _exit(CAUGHT);
}

/* For a process of its own: reads a map that no disk made, of a file that was cut. With
 * `catch`, a handler that exits with 42 was there before the disk's. */
static int fault_outside(lua_State *L)
{
    const char *path = luaL_checkstring(L, 2);
    if (lua_toboolean(L, 3)) signal(SIGBUS, caught);
    ml_disk *disk = disk_at(L, 1);
    int file = open(path, O_RDWR | O_CLOEXEC);
    const uint8_t *map = NULL;
    if (file < 0 || disk->ops->map(disk, file, 4096, &map) < 0) return luaL_error(L, "no map");
    volatile char *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
    if (at == MAP_FAILED || ftruncate(file, 0) < 0) return luaL_error(L, "no map");
    lua_pushinteger(L, at[0]);
    return 1;
}

/* ---- sim -------------------------------------------------------------------------------- */

static lua_Integer option(lua_State *L, const char *name)
{
    lua_getfield(L, 1, name);
    lua_Integer value = luaL_optinteger(L, -1, 0);
    lua_pop(L, 1);
    return value;
}

static int new_sim(lua_State *L)
{
    ml_error why;
    ml_disk_sim_options options = {0};
    if (!lua_isnoneornil(L, 1)) {
        options.files = (size_t)option(L, "files");
        options.file_bytes = (uint64_t)option(L, "file_bytes");
        options.seed = (uint64_t)option(L, "seed");
        lua_getfield(L, 1, "lazy_shrink");
        options.lazy_shrink = lua_toboolean(L, -1);
    }
    box *made = push_box(L, 0);
    return ml_disk_sim_new(&options, &made->disk, &why) ? ml_coretest_refuse(L, &why) : 1;
}

static int pending(lua_State *L)
{
    ml_disk_sim_count count = ml_disk_sim_pending(disk_at(L, 1));
    lua_pushinteger(L, (lua_Integer)count.units);
    lua_pushinteger(L, (lua_Integer)count.dir_ops);
    return 2;
}

/* A fate: at `index` a string with '1' for each unit kept, '0' for each lost ("" loses all),
 * behind it the number of directory operations kept (default all). */
static ml_disk_sim_fate to_fate(lua_State *L, int index, uint64_t kept[64])
{
    size_t size;
    const char *text = luaL_checklstring(L, index, &size);
    ml_disk_sim_count count = ml_disk_sim_pending(disk_at(L, 1));
    luaL_argcheck(L, size == 0 || size == count.units, index, "one digit for each unit");
    luaL_argcheck(L, size <= 4096, index, "too many units for a spec");
    for (size_t i = 0; i < size; i++)
        if (text[i] == '1') kept[i / 64] |= (uint64_t)1 << i % 64;
    lua_Integer dir_ops = luaL_optinteger(L, index + 1, (lua_Integer)count.dir_ops);
    return (ml_disk_sim_fate){.kept = size > 0 ? kept : NULL, .dir_ops = (size_t)dir_ops};
}

static int crash(lua_State *L)
{
    ml_error why;
    uint64_t kept[64] = {0};
    ml_disk_sim_fate fate = to_fate(L, 2, kept);
    box *made = push_box(L, 0);
    return ml_disk_sim_crash(disk_at(L, 1), &fate, &made->disk, &why) ? ml_coretest_refuse(L, &why)
                                                                      : 1;
}

static int crash_into(lua_State *L)
{
    uint64_t kept[64] = {0};
    ml_disk_sim_fate fate = to_fate(L, 3, kept);
    ml_disk_sim_crash_into(disk_at(L, 1), &fate, disk_at(L, 2));
    lua_settop(L, 2);
    return 1;
}

static int settle(lua_State *L)
{
    ml_disk_sim_settle(disk_at(L, 1));
    return 0;
}

static int show(lua_State *L)
{
    ml_buf buf = {0};
    ml_disk_sim_show(disk_at(L, 1), &buf);
    return push_printed(L, &buf);
}

static void call_hook(void *context, ml_disk *disk, enum ml_disk_op op)
{
    (void)disk;
    lua_State *L = context;
    lua_getfield(L, LUA_REGISTRYINDEX, META ".hook");
    lua_pushstring(L, ml_disk_op_name(op));
    lua_call(L, 1, 0);
}

static int on_op(lua_State *L)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_setfield(L, LUA_REGISTRYINDEX, META ".hook");
    ml_disk_sim_on_op(disk_at(L, 1), call_hook, L);
    return 0;
}

static int set_space(lua_State *L)
{
    ml_disk_sim_set_space(disk_at(L, 1), to_size(L, 2));
    return 0;
}

static int set_time(lua_State *L)
{
    ml_disk_sim_set_time(disk_at(L, 1), luaL_checkinteger(L, 2));
    return 0;
}

static int content(lua_State *L)
{
    uint64_t size = 0;
    const uint8_t *bytes = ml_disk_sim_content(disk_at(L, 1), luaL_checkstring(L, 2), &size);
    if (bytes == NULL) return 0;
    lua_pushlstring(L, (const char *)bytes, (size_t)size);
    return 1;
}

/* flip(path, n): the n-th bit of a file. */
static int flip(lua_State *L)
{
    uint64_t size = 0, bit = to_size(L, 3);
    uint8_t *bytes = ml_disk_sim_content(disk_at(L, 1), luaL_checkstring(L, 2), &size);
    luaL_argcheck(L, bytes != NULL && bit / 8 < size, 3, "no such bit");
    bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    return 0;
}

static int cut(lua_State *L)
{
    lua_pushboolean(L, ml_disk_sim_cut(disk_at(L, 1), luaL_checkstring(L, 2), to_size(L, 3)));
    return 1;
}

/* ---- faulty and recorder ---------------------------------------------------------------- */

static uint32_t to_op_bit(lua_State *L, int index)
{
    const char *name = luaL_checkstring(L, index);
    for (int op = 0; op < ML_DISK_OP_COUNT; op++)
        if (strcmp(name, ml_disk_op_name((enum ml_disk_op)op)) == 0)
            return ml_disk_op_bit((enum ml_disk_op)op);
    return (uint32_t)luaL_error(L, "no operation is called %s", name);
}

static int new_faulty(lua_State *L)
{
    ml_error why;
    ml_disk *below = disk_at(L, 1);
    box *made = push_box(L, 1);
    return ml_disk_faulty_new(below, &made->disk, &why) ? ml_coretest_refuse(L, &why) : 1;
}

/* fail(nth, errno or "short", for_ever, op, …) */
static int fail(lua_State *L)
{
    ml_disk_fault fault = {.nth = to_size(L, 2), .for_ever = lua_toboolean(L, 4)};
    const char *error = luaL_checkstring(L, 3);
    fault.error = strcmp(error, "short") == 0 ? 0 : to_errno(L, error);
    for (int i = 5; i <= lua_gettop(L); i++)
        fault.ops |= to_op_bit(L, i);
    ml_disk_faulty_set(disk_at(L, 1), fault);
    return 0;
}

static int calls(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)ml_disk_faulty_calls(disk_at(L, 1)));
    return 1;
}

static int hit(lua_State *L)
{
    lua_pushboolean(L, ml_disk_faulty_hit(disk_at(L, 1)));
    return 1;
}

static int new_recorder(lua_State *L)
{
    ml_error why;
    ml_disk *below = disk_at(L, 1);
    box *made = push_box(L, 1);
    return ml_disk_recorder_new(below, &made->disk, &why) ? ml_coretest_refuse(L, &why) : 1;
}

static int trace(lua_State *L)
{
    ml_buf buf = {0};
    ml_disk_recorder_print(disk_at(L, 1), &buf);
    return push_printed(L, &buf);
}

/* count(op, …) */
static int count_calls(lua_State *L)
{
    uint32_t kinds = 0;
    for (int i = 2; i <= lua_gettop(L); i++)
        kinds |= to_op_bit(L, i);
    lua_pushinteger(L, (lua_Integer)ml_disk_recorder_count(disk_at(L, 1), kinds));
    return 1;
}

static int clear(lua_State *L)
{
    ml_disk_recorder_clear(disk_at(L, 1));
    return 0;
}

static const luaL_Reg methods[] = {{"open", do_open},
                                   {"close", do_close},
                                   {"read", do_read},
                                   {"write", do_write},
                                   {"sync", do_sync},
                                   {"size", do_size},
                                   {"remove", do_remove},
                                   {"adopt", do_adopt},
                                   {"save", do_save},
                                   {"list", do_list},
                                   {"sys_open", sys_open},
                                   {"sys_close", sys_close},
                                   {"sys_pread", sys_pread},
                                   {"sys_pwrite", sys_pwrite},
                                   {"sys_sync", sys_sync},
                                   {"sys_allocate", sys_allocate},
                                   {"sys_truncate", sys_truncate},
                                   {"sys_rename", sys_rename},
                                   {"sys_unlink", sys_unlink},
                                   {"sys_make_dir", sys_make_dir},
                                   {"sys_sync_dir", sys_sync_dir},
                                   {"sys_list", sys_list},
                                   {"sys_lock", sys_lock},
                                   {"sys_map", sys_map},
                                   {"sys_unmap", sys_unmap},
                                   {"sys_now", sys_now},
                                   {"sys_random", sys_random},
                                   {"fault_outside", fault_outside},
                                   {"pending", pending},
                                   {"crash", crash},
                                   {"crash_into", crash_into},
                                   {"settle", settle},
                                   {"show", show},
                                   {"on_op", on_op},
                                   {"set_space", set_space},
                                   {"set_time", set_time},
                                   {"content", content},
                                   {"flip", flip},
                                   {"cut", cut},
                                   {"fail", fail},
                                   {"calls", calls},
                                   {"hit", hit},
                                   {"trace", trace},
                                   {"count", count_calls},
                                   {"clear", clear},
                                   {"free", free_disk},
                                   {"__gc", free_disk},
                                   {NULL, NULL}};

static const luaL_Reg functions[] = {{"real", new_real},     {"sim", new_sim},
                                     {"faulty", new_faulty}, {"recorder", new_recorder},
                                     {"peek", peek},         {NULL, NULL}};

int luaopen_coretest_disk(lua_State *L)
{
    luaL_newmetatable(L, META);
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
