/* buf.c -- growth and printing. */
#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIRST_CAPACITY = 256 };

bool ml_buf_reserve(ml_buf *buf, size_t more)
{
    ML_ASSERT(buf->size <= buf->capacity);
    if (more <= buf->capacity - buf->size) return true;
    size_t wanted = buf->size + more;
    size_t capacity = buf->capacity > 0 ? buf->capacity : FIRST_CAPACITY;
    while (capacity < wanted && capacity <= SIZE_MAX / 2) capacity *= 2;
    uint8_t *data = capacity < wanted ? NULL : realloc(buf->data, capacity);
    if (data == NULL) {
        buf->failed = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void ml_buf_free(ml_buf *buf)
{
    free(buf->data);
    *buf = (ml_buf){0};
}

void ml_buf_print(ml_buf *buf, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size >= 0 && ml_buf_reserve(buf, (size_t)size + 1)) {
        vsnprintf((char *)buf->data + buf->size, (size_t)size + 1, format, again);
        buf->size += (size_t)size;
    }
    va_end(again);
}
