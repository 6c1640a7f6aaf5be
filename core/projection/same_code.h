/* same_code.h -- a dumped function without what it does not do: where it stands in its file.
 *
 * Floor    projection, private to same.c.
 * Errors   false: the dump has another form than that of Lua 5.4, or nests too deep.
 * Source   Lua 5.4, ldump.c.
 */
#ifndef ML_PROJECTION_SAME_CODE_H
#define ML_PROJECTION_SAME_CODE_H

#include "../base/buf.h"

/* Adds to `out` what is left of the dump, which was stripped (no lines, no names). */
ML_MUST_USE bool ml_same_code(ml_bytes dump, ml_buf *out);

#endif
