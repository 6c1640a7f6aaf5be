/* pack.h -- writing MessagePack onto a buffer, each value in its shortest form.
 *
 * Floor    base; the only room that speaks msgpack.h (msgpack-c does the encoding).
 * Threads  none.
 * Errors   none here: a refused allocation shows as `failed` on the buffer.
 */
#ifndef ML_BASE_PACK_H
#define ML_BASE_PACK_H

#include "buf.h"

void ml_pack_nil(ml_buf *buf);
void ml_pack_bool(ml_buf *buf, bool value);
void ml_pack_int(ml_buf *buf, int64_t value);
void ml_pack_double(ml_buf *buf, double value);
void ml_pack_str(ml_buf *buf, ml_bytes text);
void ml_pack_bin(ml_buf *buf, ml_bytes bytes);
void ml_pack_ext(ml_buf *buf, int8_t type, ml_bytes bytes);
void ml_pack_array(ml_buf *buf, uint32_t count);
void ml_pack_map(ml_buf *buf, uint32_t pairs);
/* A C string as str; here, so that the size of a literal is known when it is compiled. */
static inline void ml_pack_text(ml_buf *buf, const char *text)
{
    ml_pack_str(buf, (ml_bytes){text, strlen(text)});
}

/* Containers whose count is known only at their end: `begin` notes the place (a byte is
 * kept free), `end` writes the head there, moving the content by 2 or 4 bytes if the count
 * needs them. */
size_t ml_pack_begin(ml_buf *buf);
void ml_pack_end_array(ml_buf *buf, size_t begin, uint32_t count);
void ml_pack_end_map(ml_buf *buf, size_t begin, uint32_t pairs);

#endif
