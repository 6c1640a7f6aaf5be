/* fields.h -- reading a table of named fields that a Lua program gave.
 *
 *     ml_fields f = ml_fields_from(L, 2, "moonlog.open", known, &why);
 *     bool read_only = ml_fields_flag(&f, "read_only");
 *     uint64_t bytes = ml_fields_natural(&f, "segment_bytes", 0, UINT64_MAX, 0);
 *     if (why.code) …
 *
 * The first mistake stays in *why, as BAD_REQUEST and a sentence that begins with `what`; from
 * then on every field reads as absent. Tables are read raw: no metamethod runs. But looking a
 * field up may run a finalizer, which may change the table; so a text is borrowed only until
 * the next call, and copied at once (see desk.h).
 *
 * Floor    script.
 * Threads  those of the Lua state.
 * Errors   in *why; raises only if Lua has no memory.
 * Memory   a field that is read leaves the stack as it found it.
 */
#ifndef ML_SCRIPT_FIELDS_H
#define ML_SCRIPT_FIELDS_H

#include <lua.h>

#include "../base/error.h"

typedef struct ml_fields {
    lua_State *L;
    int table; /* 0: there is none, every field is absent */
    const char *what;
    ml_error *why;
} ml_fields;

/* Clears *why and looks at all keys of the table: one that is not in `known` (which ends in
 * NULL) is a mistake, answered with the nearest that is. Nil or nothing at `index` is an
 * empty table; what is no table is a mistake. */
ml_fields ml_fields_from(lua_State *L, int index, const char *what, const char *const *known,
                         ml_error *why);

/* Notes a mistake, unless there was one. */
void ml_fields_refuse(const ml_fields *fields, const char *format, ...) ML_FORMAT(2, 3);

/* Pushes the field and gives its Lua type; LUA_TNIL if absent. */
int ml_fields_push(const ml_fields *fields, const char *name);

bool ml_fields_has(const ml_fields *fields, const char *name);
bool ml_fields_flag(const ml_fields *fields, const char *name);

/* A string, borrowed until the next call into Lua; empty if absent. */
ml_bytes ml_fields_text(const ml_fields *fields, const char *name);

/* An integer from `min` to `max`. */
uint64_t ml_fields_natural(const ml_fields *fields, const char *name, uint64_t min,
                           uint64_t max, uint64_t absent);

/* A string out of `words` (which ends in NULL); gives its place among them. */
size_t ml_fields_word(const ml_fields *fields, const char *name, const char *const *words,
                      size_t absent);

/* The place of `text` among the words; 0 after a mistake, which calls it `name`. */
size_t ml_fields_choose(const ml_fields *fields, const char *name, ml_bytes text,
                        const char *const *words);

/* True if the keys of the table at `index` are just 1..count. */
bool ml_fields_is_list(lua_State *L, int index, lua_Integer count);

/* The word nearest to `text`, or NULL if none is near. */
const char *ml_fields_nearest(ml_bytes text, const char *const *words);

#endif
