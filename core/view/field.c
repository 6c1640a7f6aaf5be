/* field.c -- walking into a map, name by name. */
#include "field.h"

#include "../base/unpack.h"

/* Takes the name up to the next dot off the path's front. */
static ml_bytes take_name(ml_bytes *path)
{
    const char *dot = memchr(path->data, '.', path->size);
    size_t size = dot == NULL ? path->size : (size_t)(dot - (const char *)path->data);
    ml_bytes name = {path->data, size};
    size_t taken = dot == NULL ? size : size + 1;
    *path = (ml_bytes){(const char *)path->data + taken, path->size - taken};
    return name;
}

bool ml_field_is_path(ml_bytes path)
{
    const char *text = path.data;
    if (path.size == 0 || path.size > ML_FIELD_BYTES || text[path.size - 1] == '.') return false;
    for (int level = 0; path.size > 0; level++)
        if (level == ML_FIELD_LEVELS || take_name(&path).size == 0) return false;
    return true;
}

/* Moves the cursor, which stands at a map, to the value of that name. */
static bool enter(ml_unpack *cursor, ml_bytes name)
{
    uint32_t pairs;
    if (!ml_unpack_map(cursor, &pairs)) return false;
    for (uint32_t n = 0; n < pairs; n++) {
        ml_bytes key;
        bool is_name = ml_unpack_str(cursor, &key);
        if (is_name && ml_bytes_equal(key, name)) return true;
        if (!is_name && !ml_unpack_skip(cursor)) return false;
        if (!ml_unpack_skip(cursor)) return false;
    }
    return false;
}

ml_bytes ml_field_find(ml_bytes map, ml_bytes path)
{
    ml_bytes none = {0};
    ml_unpack cursor = ml_unpack_from(map);
    if (path.size == 0) return none;
    while (path.size > 0)
        if (!enter(&cursor, take_name(&path))) return none;
    const uint8_t *begin = cursor.at;
    if (!ml_unpack_skip(&cursor)) return none;
    return (ml_bytes){begin, (size_t)(cursor.at - begin)};
}
