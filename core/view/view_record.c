/* view_record.c -- bytes of rows and of the record, encode and decode side by side.
 *
 *     a row, under its key
 *      at  size  field
 *       0     4  crc       crc32c of the key and of what follows
 *       4  1-10  expires   varint; 0 = never
 *       …        row
 *
 *     the record
 *       0     8  magic     "mlview1\n"
 *       8     4  crc       crc32c of what follows
 *      12     4  about     its size; 16  position   24  previous   32  rows   40  entries
 *      48     8  commits   56  txn   64  digest, 16 bytes, the high half first, big-endian
 *      80     4  changed   crc32c of the lists of changed keys; 84  zeros
 *      88        about     identity and paths: each with its size in a byte in front
 *       …        note
 */
#include "../base/crc32c.h"
#include "inside.h"

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wswitch-enum"
#include <xxhash.h>
#pragma GCC diagnostic pop

enum {
    AT_CRC = 8,
    AT_ABOUT_SIZE = 12,
    AT_POSITION = 16,
    AT_PREVIOUS = 24,
    AT_ROWS = 32,
    AT_ENTRIES = 40,
    AT_COMMITS = 48,
    AT_TXN = 56,
    AT_DIGEST = 64,
    AT_CHANGED = 80,
    HEADER = 88,
    CRC = 4
};

static const char magic[] = "mlview1\n";

/* ---- rows ------------------------------------------------------------------------------- */

static uint32_t checksum(ml_bytes key, const uint8_t *rest, size_t size)
{
    return ml_crc32c(ml_crc32c(0, key.data, key.size), rest, size);
}

void ml_view_row_write(ml_bytes key, ml_bytes row, int64_t expires, ml_buf *out)
{
    ml_buf_clear(out);
    uint8_t *at = ml_buf_take(out, ML_VIEW_VALUE_EXTRA + row.size);
    if (at == NULL) return;
    size_t size = CRC + ml_put_varint(at + CRC, (uint64_t)expires);
    if (row.size > 0) memcpy(at + size, row.data, row.size);
    out->size = size + row.size;
    ml_put_u32(at, checksum(key, at + CRC, out->size - CRC));
}

bool ml_view_row_read(ml_bytes key, ml_bytes value, ml_bytes *row, int64_t *expires)
{
    uint64_t time;
    const uint8_t *at = value.data, *end = at + value.size;
    if (value.size <= CRC || value.size > ML_VIEW_ROW_BYTES + ML_VIEW_VALUE_EXTRA) return false;
    if (ml_get_u32(at) != checksum(key, at + CRC, value.size - CRC)) return false;
    at += CRC;
    if (!ml_get_varint(&at, end, &time)) return false;
    *expires = (int64_t)time;
    *row = (ml_bytes){at, (size_t)(end - at)};
    return true;
}

uint32_t ml_view_row_hash(ml_bytes key)
{
    return (uint32_t)XXH3_64bits(key.data, key.size);
}

/* Key and row, one behind the other; they may be already. */
static bool join(ml_bytes key, ml_bytes row, ml_buf *scratch, ml_bytes *joined)
{
    *joined = (ml_bytes){key.data, key.size + row.size};
    if ((const uint8_t *)key.data + key.size == row.data) return true;
    ml_buf_clear(scratch);
    ml_buf_add(scratch, key.data, key.size);
    ml_buf_add(scratch, row.data, row.size);
    *joined = ml_buf_view(scratch);
    return !scratch->failed;
}

bool ml_view_row_digest(ml_bytes key, ml_bytes row, bool add, uint64_t digest[2], ml_buf *scratch)
{
    ml_bytes joined;
    if (!join(key, row, scratch, &joined)) return false;
    XXH128_hash_t hash = XXH3_128bits(joined.data, joined.size);
    uint64_t before = digest[0];
    digest[0] = add ? before + hash.low64 : before - hash.low64;
    if (add)
        digest[1] += hash.high64 + (digest[0] < before);
    else
        digest[1] -= hash.high64 + (digest[0] > before);
    return true;
}

/* ---- the record ------------------------------------------------------------------------- */

static void add_short(ml_buf *out, ml_bytes bytes)
{
    ML_ASSERT(bytes.size <= UINT8_MAX);
    ml_buf_byte(out, (uint8_t)bytes.size);
    ml_buf_add(out, bytes.data, bytes.size);
}

void ml_view_record_about(const ml_view_about *about, ml_buf *packed)
{
    ML_ASSERT(about->index_count <= ML_VIEW_INDEXES_MAX);
    add_short(packed, about->identity);
    for (size_t n = 0; n < about->index_count; n++)
        add_short(packed, about->indexes[n]);
}

size_t ml_view_record_paths(ml_bytes packed, ml_bytes paths[ML_VIEW_INDEXES_MAX])
{
    size_t count = 0;
    const uint8_t *at = packed.data, *end = at + packed.size;
    if (packed.size > 0) at += 1 + (size_t)*at;
    while (at < end && at + 1 + *at <= end && count < ML_VIEW_INDEXES_MAX) {
        paths[count++] = (ml_bytes){at + 1, *at};
        at += 1 + (size_t)*at;
    }
    return count;
}

void ml_view_record_write(const ml_view_record *record, ml_buf *out)
{
    ml_buf_clear(out);
    uint8_t *at = ml_buf_take(out, HEADER);
    if (at == NULL) return;
    memcpy(at, magic, AT_CRC);
    ml_put_u32(at + AT_ABOUT_SIZE, (uint32_t)record->about.size);
    ml_put_u64(at + AT_POSITION, record->position);
    ml_put_u64(at + AT_PREVIOUS, record->previous);
    ml_put_u64(at + AT_ROWS, record->rows);
    ml_put_u64(at + AT_ENTRIES, record->entries);
    ml_put_u64(at + AT_COMMITS, record->commits);
    ml_put_u64(at + AT_TXN, record->txn);
    ml_put_u64(at + AT_CHANGED, record->changed);
    ml_put_be64(at + AT_DIGEST, record->digest[1]);
    ml_put_be64(at + AT_DIGEST + 8, record->digest[0]);
    ml_buf_add(out, record->about.data, record->about.size);
    ml_buf_add(out, record->note.data, record->note.size);
    if (out->failed) return;
    ml_put_u32(out->data + AT_CRC,
               ml_crc32c(0, out->data + AT_ABOUT_SIZE, out->size - AT_ABOUT_SIZE));
}

ml_code ml_view_record_read(ml_bytes bytes, ml_view_record *record, ml_error *why)
{
    const uint8_t *at = bytes.data;
    if (bytes.size < HEADER || memcmp(at, magic, 6) != 0)
        return ml_error_set(why, ML_CORRUPT, "it has no record of what it holds");
    if (memcmp(at, magic, AT_CRC) != 0)
        return ml_error_set(why, ML_UNSUPPORTED, "another version of moonlog made it");
    if (ml_get_u32(at + AT_CRC) != ml_crc32c(0, at + AT_ABOUT_SIZE, bytes.size - AT_ABOUT_SIZE))
        return ml_error_set(why, ML_CORRUPT, "the checksum of its record is wrong");
    size_t about = ml_get_u32(at + AT_ABOUT_SIZE);
    if (about > bytes.size - HEADER) return ml_error_set(why, ML_CORRUPT, "its record ends early");
    *record =
        (ml_view_record){.position = ml_get_u64(at + AT_POSITION),
                         .previous = ml_get_u64(at + AT_PREVIOUS),
                         .rows = ml_get_u64(at + AT_ROWS),
                         .entries = ml_get_u64(at + AT_ENTRIES),
                         .commits = ml_get_u64(at + AT_COMMITS),
                         .txn = ml_get_u64(at + AT_TXN),
                         .digest = {ml_get_be64(at + AT_DIGEST + 8), ml_get_be64(at + AT_DIGEST)},
                         .changed = ml_get_u32(at + AT_CHANGED),
                         .about = {at + HEADER, about},
                         .note = {at + HEADER + about, bytes.size - HEADER - about}};
    return ML_OK;
}
