/* module.h -- what the files of the Lua module share: handles, and how they fail.
 *
 * A store is a userdata that owns an ml_store; a cursor is a userdata that owns an ml_cursor
 * and holds on to its store. The store keeps a list of its cursors, because they must be freed
 * before it whatever order the collector or the program picks.
 *
 * Floor    script; the doors of the store below it.
 * Threads  one Lua state, one thread at a time.
 * Errors   what the world did wrong is nil and "CODE: sentence"; a mistake in the calling code
 *          raises at the caller's line.
 */
#ifndef ML_SCRIPT_MODULE_H
#define ML_SCRIPT_MODULE_H

#include <lauxlib.h>
#include <lua.h>

#include "../moonlog.h"
#include "desk.h"
#include "fields.h"

typedef struct ml_module_cursor ml_module_cursor;

typedef struct ml_module_store {
    ml_store *store; /* NULL: closed */
    ml_module_cursor *cursors;
} ml_module_store;

/* The words of the levels of durability, in the order of ml_durability; NULL at the end. */
extern const char *const ml_module_levels[];

/* The open store at `index`; raises if it is none, or closed. */
ml_module_store *ml_module_check(lua_State *L, int index);

/* Pushes the module's table, but for what the rooms above add: luaopen_moonlog is there
 * (projection/module_projection.c). */
int ml_module_open(lua_State *L);

/* Makes the metatable of stores; opens one: m.open. */
void ml_module_store_init(lua_State *L);
int ml_module_store_open(lua_State *L);

/* Makes the metatables of reads and subscriptions. */
void ml_module_read_init(lua_State *L);

/* Frees the cursors of a store that is about to be closed. */
void ml_module_read_orphan(ml_module_store *store);

/* Methods of a store that have files of their own. */
int ml_module_append(lua_State *L);
int ml_module_read(lua_State *L);
int ml_module_subscribe(lua_State *L);

/* nil, "CODE: sentence": of an error, or of the last call that failed on the store. */
int ml_module_fail(lua_State *L, const ml_error *why);
int ml_module_fail_store(lua_State *L, ml_store *store);

/* Raises the sentence at the caller's line: a mistake in code. */
int ml_module_raise(lua_State *L, const ml_error *why);

/* Sets fields of the table on top of the stack. */
void ml_module_set_natural(lua_State *L, const char *name, uint64_t value);
void ml_module_set_text(lua_State *L, const char *name, ml_bytes text);

#endif
