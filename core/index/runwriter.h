/* runwriter.h -- writes one run from keys in ascending order, each with its positions.
 *
 *     ml_runwriter_begin … { ml_runwriter_key, ml_runwriter_add … , ml_runwriter_end_key } …
 *     ml_runwriter_finish
 *
 * Table lines and lists are two streams into one file, a buffer of 256 KiB each; the filter
 * (10 bits a key) is in memory until the end. Nothing else grows with the run.
 *
 * Floor    index. Threads: one; any.
 * Errors   kept in the writer: after the first failure the calls do nothing, and finish
 *          reports it and removes the file.
 */
#ifndef ML_INDEX_RUNWRITER_H
#define ML_INDEX_RUNWRITER_H

#include "run.h"

typedef struct ml_runwriter_stream {
    ml_buf buf;
    uint64_t at; /* offset in the file of the buffer's first byte */
} ml_runwriter_stream;

typedef struct ml_runwriter {
    ml_disk *disk;
    int file;
    char path[ML_RUN_PATH], aside[ML_RUN_PATH + 1];
    ml_run_head head;
    ml_code code;
    ml_error *why;

    uint8_t *filter;
    ml_runwriter_stream table, lists;
    uint8_t line[ML_RUN_LINE]; /* being filled */
    uint64_t line_number;
    uint32_t line_count;

    /* The list being written. */
    uint64_t key, expected, count;
    uint32_t first, before; /* distances */
    uint32_t block;         /* positions a block; 0 = short */
    ml_buf content;         /* of a short list, or of the block being filled */
    ml_buf heads;           /* of a long list's blocks */
    uint64_t blocks_at;     /* offset of a long list's first block */
} ml_runwriter;

/* `head` gives log, first, last, anchor and the exact number of keys. */
void ml_runwriter_begin(ml_runwriter *writer, ml_disk *disk, const ml_run_head *head, ml_error *why);

/* `count` is the exact number of positions that will be added. */
void ml_runwriter_key(ml_runwriter *writer, uint64_t key, uint64_t count);
void ml_runwriter_add(ml_runwriter *writer, uint64_t position);
void ml_runwriter_end_key(ml_runwriter *writer);

/* Syncs and puts the run under its name. */
ML_MUST_USE ml_code ml_runwriter_finish(ml_runwriter *writer);

#endif
