/* view_entry.c -- entries: what sorts, and behind it the key of the row. */
#include "inside.h"

enum { TIME = 8 };

uint8_t ml_view_entry_lead(int index)
{
    return (uint8_t)(index + 1);
}

static size_t add_time(uint8_t *at, int64_t time)
{
    ml_put_be64(at, (uint64_t)time ^ (UINT64_C(1) << 63));
    return TIME;
}

bool ml_view_entry_make(const ml_bytes *paths, int index, ml_bytes key, ml_bytes row,
                        int64_t expires, ml_view_entry *entry)
{
    ml_key value;
    entry->bytes[0] = ml_view_entry_lead(index);
    entry->size = 1;
    if (index < 0) {
        if (expires == 0) return false;
        entry->size += add_time(entry->bytes + 1, expires);
    } else {
        if (!ml_key_index(ml_field_find(row, paths[index]), &value)) return false;
        memcpy(entry->bytes + 1, value.bytes, value.size);
        entry->size += value.size;
    }
    memcpy(entry->bytes + entry->size, key.data, key.size);
    entry->size += key.size;
    return true;
}

ml_bytes ml_view_entry_key(ml_bytes entry)
{
    const uint8_t *at = entry.data;
    ml_bytes rest = {at + 1, entry.size - 1};
    if (entry.size == 0) return (ml_bytes){0};
    size_t value = at[0] == ml_view_entry_lead(-1) ? TIME : ml_key_size(rest);
    if (value == 0 || value >= rest.size) return (ml_bytes){0};
    return (ml_bytes){at + 1 + value, rest.size - value};
}

int64_t ml_view_entry_expires(ml_bytes entry)
{
    ML_ASSERT(entry.size > 1 + TIME);
    return (int64_t)(ml_get_be64((const uint8_t *)entry.data + 1) ^ (UINT64_C(1) << 63));
}
