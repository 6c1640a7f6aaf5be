/* buf.h -- a growable run of bytes, owned by whoever holds the struct.
 *
 * Floor    base.
 * Threads  none of its own.
 * Memory   zero-initialised is empty and valid; ml_buf_free gives everything back. It
 *          doubles, so appending is O(1); `size` may be set back to roll back.
 * Errors   growing can fail: ml_buf_reserve says so; the others then set `failed` and drop
 *          the bytes, so that a long encoder need check only once, at its end.
 */
#ifndef ML_BASE_BUF_H
#define ML_BASE_BUF_H

#include "bytes.h"
#include "error.h"

typedef struct ml_buf {
    uint8_t *data;
    size_t size, capacity;
    bool failed; /* an allocation was refused since the buffer was last cleared */
} ml_buf;

/* Makes room for `more` bytes behind `size`; false (and `failed`) if memory is refused. */
ML_MUST_USE bool ml_buf_reserve(ml_buf *buf, size_t more);

void ml_buf_free(ml_buf *buf);

static inline void ml_buf_clear(ml_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
}

/* Room for exactly `size` bytes, counted as used; NULL if memory is refused. */
static inline uint8_t *ml_buf_take(ml_buf *buf, size_t size)
{
    if (buf->capacity - buf->size < size && !ml_buf_reserve(buf, size)) return NULL;
    uint8_t *at = buf->data + buf->size;
    buf->size += size;
    return at;
}

static inline void ml_buf_add(ml_buf *buf, const void *data, size_t size)
{
    if (size == 0) return;
    uint8_t *at = ml_buf_take(buf, size);
    if (at != NULL) memcpy(at, data, size);
}

static inline void ml_buf_byte(ml_buf *buf, uint8_t byte)
{
    uint8_t *at = ml_buf_take(buf, 1);
    if (at != NULL) *at = byte;
}

static inline ml_bytes ml_buf_view(const ml_buf *buf) { return (ml_bytes){buf->data, buf->size}; }

/* printf onto the end of the buffer. */
void ml_buf_print(ml_buf *buf, const char *format, ...) ML_FORMAT(2, 3);

#endif
