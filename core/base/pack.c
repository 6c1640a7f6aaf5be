/* pack.c -- msgpack-c's encoder, writing onto our buffer. */
#include "pack.h"

#include <msgpack/pack.h>

static int append(void *buf, const char *data, size_t size)
{
    ml_buf_add(buf, data, size);
    return 0; /* a refusal is remembered by the buffer */
}

static inline msgpack_packer packer(ml_buf *buf) { return (msgpack_packer){buf, append}; }

void ml_pack_nil(ml_buf *buf)
{
    msgpack_packer to = packer(buf);
    msgpack_pack_nil(&to);
}

void ml_pack_bool(ml_buf *buf, bool value)
{
    msgpack_packer to = packer(buf);
    if (value) msgpack_pack_true(&to);
    else msgpack_pack_false(&to);
}

void ml_pack_int(ml_buf *buf, int64_t value)
{
    msgpack_packer to = packer(buf);
    msgpack_pack_int64(&to, value);
}

void ml_pack_double(ml_buf *buf, double value)
{
    msgpack_packer to = packer(buf);
    msgpack_pack_double(&to, value);
}

void ml_pack_str(ml_buf *buf, ml_bytes text)
{
    ML_ASSERT(text.size <= UINT32_MAX);
    msgpack_packer to = packer(buf);
    msgpack_pack_str(&to, text.size);
    ml_buf_add(buf, text.data, text.size);
}

void ml_pack_bin(ml_buf *buf, ml_bytes bytes)
{
    ML_ASSERT(bytes.size <= UINT32_MAX);
    msgpack_packer to = packer(buf);
    msgpack_pack_bin(&to, bytes.size);
    ml_buf_add(buf, bytes.data, bytes.size);
}

void ml_pack_ext(ml_buf *buf, int8_t type, ml_bytes bytes)
{
    ML_ASSERT(bytes.size <= UINT32_MAX);
    msgpack_packer to = packer(buf);
    msgpack_pack_ext(&to, bytes.size, type);
    ml_buf_add(buf, bytes.data, bytes.size);
}

void ml_pack_array(ml_buf *buf, uint32_t count)
{
    msgpack_packer to = packer(buf);
    msgpack_pack_array(&to, count);
}

void ml_pack_map(ml_buf *buf, uint32_t pairs)
{
    msgpack_packer to = packer(buf);
    msgpack_pack_map(&to, pairs);
}

size_t ml_pack_begin(ml_buf *buf)
{
    size_t begin = buf->size;
    ml_buf_byte(buf, 0);
    return begin;
}

/* The head is packed behind the content, then the two change places. */
static void end(ml_buf *buf, size_t begin, uint32_t count, void (*pack)(ml_buf *, uint32_t))
{
    uint8_t head[5];
    size_t behind = buf->size;
    pack(buf, count);
    if (buf->failed) return;
    ML_ASSERT(begin < behind);
    size_t size = buf->size - behind;
    ML_ASSERT(size <= sizeof head);
    memcpy(head, buf->data + behind, size);
    if (size > 1)
        memmove(buf->data + begin + size, buf->data + begin + 1, behind - begin - 1);
    memcpy(buf->data + begin, head, size);
    buf->size = behind + size - 1;
}

void ml_pack_end_array(ml_buf *buf, size_t begin, uint32_t count)
{
    end(buf, begin, count, ml_pack_array);
}

void ml_pack_end_map(ml_buf *buf, size_t begin, uint32_t pairs)
{
    end(buf, begin, pairs, ml_pack_map);
}
