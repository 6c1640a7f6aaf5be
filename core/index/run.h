/* run.h -- the part of the index that is on disk: an immutable file per range of positions.
 *
 * index/<first>-<last>.run holds, for every key that occurs at positions first … last, those
 * positions in ascending order. Its parts, at 64-byte boundaries, numbers little-endian:
 *
 *   header, 128 bytes
 *     0   4  magic "MLR1"           4   4  crc32c of bytes 8..127
 *     8  16  log id
 *    24   8  first position        32   8  last position
 *    40   4  anchor: the crc of the record at `last`; binds the run to this very history
 *    44   4  zero
 *    48   8  keys                  56   8  postings
 *    64   8  filter: lines         72   8  table: lines to hash over
 *    80   8  table: all lines      88   8  size of the file
 *    96  32  zero
 *   filter, lines of 64 bytes: 480 bits, then 4 bytes of crc. A key sets 5 bits in one line;
 *     10 bits a key, so about 1 lookup in 80 for an absent key gets past it.
 *   table, lines of 64 bytes: 4 entries of 14 bytes, 1 byte count, 3 zero, 4 bytes of crc.
 *     Keys ascend through the whole table; a key stands in line key * lines / 2^64, or as far
 *     behind it as full lines push it. Entry: key 8, where 6. The top bit of `where` says
 *     that the key has one position and the low 32 bits are its distance from `first`;
 *     otherwise `where` is the offset of its list in the file.
 *   lists, in ascending order of key:
 *     crc 4 (of the bytes counted by `size`), varint size, then varint count, and
 *       up to 128 positions: varint distance of the first one from `first`, then deltas;
 *       more: blocks of 128 positions (1,024 from 16,384 on) lie right before the list's
 *       head, each a varint delta after the first; the head holds for each block 12 bytes:
 *       distance of its first position, how far before the head's crc it begins, its crc.
 *
 * Every line, list and block carries its own crc and is checked whenever it is read.
 *
 * Floor    index. Uses base.
 * Threads  an open run never changes; any number may read it.
 * Crash    written aside, synced, renamed: a run that can be seen is whole. It may be ahead
 *          of the log after power loss (appends that were not synced); `anchor` tells.
 */
#ifndef ML_INDEX_RUN_H
#define ML_INDEX_RUN_H

#include "../base/disk.h"

enum {
    ML_RUN_HEADER = 128,
    ML_RUN_LINE = 64,
    ML_RUN_ENTRIES = 4,
    ML_RUN_SHORT = 128,      /* positions of a list without blocks, and of a block */
    ML_RUN_LONG = 16384,     /* positions from which blocks hold more */
    ML_RUN_BLOCK_MAX = 1024,
    ML_RUN_PATH = 64
};
#define ML_RUN_INLINE (UINT64_C(1) << 47)

typedef struct ml_run_head {
    uint8_t log[16];
    uint64_t first, last;
    uint32_t anchor;
    uint64_t keys, postings;
    uint64_t filter_lines, home_lines, table_lines, size;
} ml_run_head;

typedef struct ml_run {
    ml_run_head head;
    char path[ML_RUN_PATH];
    const uint8_t *map;
} ml_run;

void ml_run_path(char path[ML_RUN_PATH], uint64_t first, uint64_t last);
/* Reads first and last from a file name (without its directory); false if it is no run's. */
ML_MUST_USE bool ml_run_parse_name(const char *name, uint64_t *first, uint64_t *last);

void ml_run_encode_head(const ml_run_head *head, uint8_t bytes[ML_RUN_HEADER]);
/* False if the bytes are no header, or one that contradicts itself. */
ML_MUST_USE bool ml_run_decode_head(ml_run_head *head, const uint8_t bytes[ML_RUN_HEADER]);

static inline uint64_t ml_run_filter_at(const ml_run_head *head)
{
    (void)head;
    return ML_RUN_HEADER;
}
static inline uint64_t ml_run_table_at(const ml_run_head *head)
{
    return ML_RUN_HEADER + head->filter_lines * ML_RUN_LINE;
}
static inline uint64_t ml_run_lists_at(const ml_run_head *head)
{
    return ml_run_table_at(head) + head->table_lines * ML_RUN_LINE;
}

/* Opens and maps a run. CORRUPT if it is none; what is behind its header is checked later. */
ML_MUST_USE ml_code ml_run_open(ml_disk *disk, const char *path, ml_run **run, ml_error *why);
void ml_run_close(ml_run *run, ml_disk *disk);

/* Where a key's positions are. */
typedef struct ml_run_list {
    uint64_t count;
    bool single;          /* one position, at distance `only` */
    uint32_t only;
    uint32_t block;       /* positions a block; 0 = one block, at data */
    const uint8_t *data;  /* of a short list: the first distance; of a long one: its blocks' heads */
    const uint8_t *end;
    const uint8_t *head;  /* of a long list: its crc, that blocks are counted back from */
    const uint8_t *floor; /* the lists of the run begin here */
} ml_run_list;

typedef enum ml_found { ML_ABSENT, ML_PRESENT, ML_DAMAGED } ml_found;

/* Three cache misses for a key that is there, one for most that are not. */
ML_MUST_USE ml_found ml_run_find(const ml_run *run, uint64_t key, ml_run_list *list);

/* An entry of the table, by place: for who walks all keys. ABSENT behind a line's last one. */
typedef struct ml_run_entry {
    uint64_t key, where;
} ml_run_entry;
ML_MUST_USE ml_found ml_run_entry_at(const ml_run *run, uint64_t line, unsigned n, ml_run_entry *entry);

/* Reads the list's head at `head`, of which bytes up to `end` can be read. */
ML_MUST_USE bool ml_run_parse_list(const uint8_t *head, const uint8_t *end, const uint8_t *floor,
                                   ml_run_list *list);

static inline uint64_t ml_run_blocks(const ml_run_list *list)
{
    return list->block == 0 ? 1 : (list->count + list->block - 1) / list->block;
}

/* Distance of the first position of a block of a long list. */
uint32_t ml_run_block_first(const ml_run_list *list, uint64_t block);

/* Decodes block `n` into distances (room for ML_RUN_BLOCK_MAX); 0 if it is damaged. */
ML_MUST_USE uint32_t ml_run_decode(const ml_run_list *list, uint64_t n, uint32_t *distances);

/* The same in two steps, for who reads the file in pieces: block `n` of a long list lies
 * `back` bytes before the list's head and is `size` bytes long (false if that cannot be). */
ML_MUST_USE bool ml_run_block_span(const ml_run_list *list, uint64_t n, uint64_t *back, uint64_t *size);
ML_MUST_USE uint32_t ml_run_decode_block(const ml_run_list *list, uint64_t n, const uint8_t *data,
                                         uint64_t size, uint32_t *distances);

/* The filter: used by the writer too. */
void ml_run_filter_add(uint8_t *lines, uint64_t line_count, uint64_t key);

/* Which line a key belongs to. */
__extension__ typedef unsigned __int128 ml_run_wide;
static inline uint64_t ml_run_home(uint64_t key, uint64_t lines)
{
    return (uint64_t)((ml_run_wide)key * lines >> 64);
}

#endif
