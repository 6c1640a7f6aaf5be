/* segment.h -- one file of the log: a header page, frames, and at last a footer.
 *
 *   header, 4,096 bytes
 *    at  size  field       meaning (little-endian)
 *     0     8  magic       "MOONLOG1"
 *     8     2  format      1
 *    10     2  reader      lowest format a reader must know to read this: 1
 *    12     4  zero
 *    16    16  log         id of the log, random
 *    32     8  number      of the segment: 0, 1, 2, …
 *    40     8  first       position of its first record; the file's name, too
 *    48     8  sequence    of its first frame
 *    56     4  previous    crc of the last frame before it (of the first: 0)
 *    60     4  zero
 *    64     8  created     µs UTC
 *    72        zero
 *  4092     4  crc         crc32c of bytes 0..4091
 *
 *   footer, 128 bytes, behind the last frame, at the end of the file
 *     0     4  magic       "MLE1"
 *     4     4  crc         crc32c of bytes 8..127, seeded with the salt
 *     8     8  count       records in the segment
 *    16     8  last        position of the last one
 *    24     8  sequence    of the last frame
 *    32     8  end         offset of this footer
 *    40    32  sha256      of bytes 0..end-1
 *    72     4  previous    crc of the last frame
 *    76        zero
 *
 * The salt that goes into the crc of frame headers and footers is crc32c of log id and
 * `first`, so a frame of another log or another segment is never taken for one of this.
 * Between the last frame and the end of a file that is not sealed yet there are zeros.
 *
 * Floor    log. Uses base.
 * Memory   a segment owns its path, its table of offsets and its map.
 */
#ifndef ML_LOG_SEGMENT_H
#define ML_LOG_SEGMENT_H

#include <stdatomic.h>

#include "../base/disk.h"
#include "frame.h"

enum {
    ML_SEGMENT_HEADER = 4096,
    ML_SEGMENT_FOOTER = 128,
    ML_SEGMENT_PATH = 40, /* "log/" + 20 digits + ".seg", and NUL */
    ML_LOG_FORMAT = 1,
    ML_LOG_ID_SIZE = 16
};

typedef struct ml_segment {
    /* From the header; never change. */
    uint8_t log[ML_LOG_ID_SIZE];
    uint64_t number, first, sequence;
    uint32_t previous;
    int64_t created;
    uint32_t salt;
    char path[ML_SEGMENT_PATH];

    /* The owner's thread: what readers may see. */
    uint32_t count;        /* records */
    uint32_t capacity;     /* room in `offsets` */
    uint32_t *offsets;     /* of each record in the file, 0 = unreadable; NULL = not loaded */
    bool mapped_offsets;   /* `offsets` points into `table`, not to the heap */
    bool rebuilt;          /* `offsets` came from the frames: nothing better can be had */
    uint64_t end;          /* behind the last frame; 0 = not known yet (sealed, not read) */
    const uint8_t *map;    /* NULL = not mapped */
    uint64_t map_size;
    const uint8_t *table;  /* map of the offsets file */
    uint64_t table_size;
    uint64_t used;         /* tick of the last read, to find the one to unmap */

    /* Set by the background thread, read by the writer. */
    atomic_bool synced; /* all of it is on disk, under a descriptor of its own */
} ml_segment;

void ml_segment_path(char path[ML_SEGMENT_PATH], uint64_t first);

/* Computes salt and path from log id and first position. */
void ml_segment_name(ml_segment *segment);

/* Header page to and from bytes. Decoding: UNSUPPORTED for a newer format, CORRUPT with a
 * sentence that names `path` and what is wrong. */
void ml_segment_encode(const ml_segment *segment, uint8_t page[ML_SEGMENT_HEADER]);
ML_MUST_USE ml_code ml_segment_decode(ml_segment *segment, const uint8_t page[ML_SEGMENT_HEADER],
                                      const char *path, ml_error *why);

typedef struct ml_footer {
    uint64_t count, last, sequence, end;
    uint8_t sha256[32];
    uint32_t previous;
} ml_footer;

void ml_segment_encode_footer(const ml_footer *footer, uint32_t salt,
                              uint8_t bytes[ML_SEGMENT_FOOTER]);
ML_MUST_USE bool ml_segment_decode_footer(ml_footer *footer, uint32_t salt,
                                          const uint8_t bytes[ML_SEGMENT_FOOTER]);

/* Maps the file if it is not, or if it has grown over the map. */
ML_MUST_USE ml_code ml_segment_map(ml_segment *segment, ml_disk *disk, ml_error *why);
void ml_segment_unmap(ml_segment *segment, ml_disk *disk);

/* Adds the offsets of `count` records that lie at `base` + relative[n] (0 = unreadable). */
ML_MUST_USE ml_code ml_segment_extend(ml_segment *segment, uint64_t base, const uint32_t *relative,
                                      uint32_t count, ml_error *why);

void ml_segment_free(ml_segment *segment, ml_disk *disk);

/* ---- walking frames ----------------------------------------------------------------------
 *
 * The one loop that recovery, followers, verification and the rebuilding of offsets share. */
typedef struct ml_walk {
    const uint8_t *data; /* the mapped file */
    uint64_t size;
    uint32_t salt;
    uint64_t offset;     /* of the next frame */
    uint64_t sequence;   /* it must have */
    uint64_t position;   /* its first record must have */
    uint32_t previous;   /* it must name */
    uint64_t durable;    /* highest `durable` field met so far */
    uint32_t *offsets;   /* of the records of the frame just met, from its start */
    uint32_t capacity;
} ml_walk;

/* Begins at the first frame of a mapped segment. */
void ml_segment_walk(ml_walk *walk, const ml_segment *segment);

/* True if a good frame that continues the chain stands at `offset`; *frame tells it,
 * walk->offsets its records, and the walk moves behind it. False at anything else; *memory
 * is set if memory for the offsets was refused. */
ML_MUST_USE bool ml_segment_walk_next(ml_walk *walk, ml_frame *frame, bool *memory);

void ml_segment_walk_free(ml_walk *walk);

/* Looks from `*offset` on, at every 8th byte, for a frame whose header, trailer and records
 * hold, whatever its place in the chain. True with *offset on it, false at the end. */
ML_MUST_USE bool ml_segment_find(const uint8_t *data, uint64_t size, uint32_t salt,
                                 uint64_t *offset, ml_frame *frame);

/* Offset behind the last byte in [from, size) that is not zero; `from` if all are. */
uint64_t ml_segment_content_end(const uint8_t *data, uint64_t from, uint64_t size);

#endif
