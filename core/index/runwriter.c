/* runwriter.c -- the two streams and the filter of a run; the byte tables are in run.h. */
#include "runwriter.h"

#include <stdio.h>
#include <stdlib.h>

#include "../base/crc32c.h"

enum { STREAM_BYTES = 256 << 10, ENTRY = 14, LINE_CONTENT = ML_RUN_LINE - 4, LINE_COUNT = 56 };

/* ---- streams ------------------------------------------------------------------------------ */

static void fail(ml_runwriter *writer, ml_code code)
{
    if (writer->code == ML_OK) writer->code = code;
}

static void flush_stream(ml_runwriter *writer, ml_runwriter_stream *stream)
{
    if (stream->buf.failed) fail(writer, ml_error_memory(writer->why, "an index run"));
    if (writer->code || stream->buf.size == 0) return;
    fail(writer, ml_disk_write(writer->disk, writer->file, writer->aside, stream->buf.data,
                               stream->buf.size, stream->at, writer->why));
    stream->at += stream->buf.size;
    ml_buf_clear(&stream->buf);
}

static void put(ml_runwriter *writer, ml_runwriter_stream *stream, const void *data, size_t size)
{
    ml_buf_add(&stream->buf, data, size);
    if (stream->buf.size >= STREAM_BYTES || stream->buf.failed) flush_stream(writer, stream);
}

static uint64_t stream_end(const ml_runwriter_stream *stream) { return stream->at + stream->buf.size; }

static void seal_line(uint8_t line[ML_RUN_LINE])
{
    ml_put_u32(line + LINE_CONTENT, ml_crc32c(0, line, LINE_CONTENT));
}

/* ---- begin ---------------------------------------------------------------------------------- */

void ml_runwriter_begin(ml_runwriter *writer, ml_disk *disk, const ml_run_head *head, ml_error *why)
{
    *writer = (ml_runwriter){.disk = disk, .file = -1, .head = *head, .why = why};
    ml_run_path(writer->path, head->first, head->last);
    snprintf(writer->aside, sizeof writer->aside, "%s~", writer->path);
    writer->head.postings = 0;
    writer->head.filter_lines = head->keys / 48 + 1;
    /* 7 of 10 entries used, so that few keys are pushed out of their line. */
    writer->head.home_lines = head->keys * 10 / (7 * ML_RUN_ENTRIES) + 1;
    /* Pushed keys may run over the last line; how far is known only at the end, and every
     * four keys need one more line at most. */
    writer->head.table_lines = writer->head.home_lines + 16 + head->keys / 256;
    writer->table.at = ml_run_table_at(&writer->head);
    writer->lists.at = ml_run_lists_at(&writer->head);
    writer->filter = calloc(writer->head.filter_lines, ML_RUN_LINE);
    if (writer->filter == NULL) fail(writer, ml_error_memory(why, "the filter of an index run"));
    else fail(writer, ml_disk_open(disk, writer->aside, ML_DISK_CREATE, &writer->file, why));
}

/* ---- the table -------------------------------------------------------------------------------- */

static void end_line(ml_runwriter *writer)
{
    writer->line[LINE_COUNT] = (uint8_t)writer->line_count;
    seal_line(writer->line);
    put(writer, &writer->table, writer->line, ML_RUN_LINE);
    memset(writer->line, 0, ML_RUN_LINE);
    writer->line_number++;
    writer->line_count = 0;
}

static void add_entry(ml_runwriter *writer, uint64_t key, uint64_t where)
{
    uint64_t home = ml_run_home(key, writer->head.home_lines);
    while (writer->line_number < home || writer->line_count == ML_RUN_ENTRIES) end_line(writer);
    if (writer->line_number >= writer->head.table_lines) {
        fail(writer, ml_error_set(writer->why, ML_INTERNAL, "index keys are not spread evenly"));
        return;
    }
    uint8_t *entry = writer->line + writer->line_count++ * ENTRY;
    ml_put_u64(entry, key);
    ml_put_u32(entry + 8, (uint32_t)where);
    ml_put_u16(entry + 12, (uint16_t)(where >> 32));
    ml_run_filter_add(writer->filter, writer->head.filter_lines, key);
}

/* ---- lists --------------------------------------------------------------------------------------- */

static uint32_t block_size(uint64_t count)
{
    if (count <= ML_RUN_SHORT) return 0;
    return count < ML_RUN_LONG ? ML_RUN_SHORT : ML_RUN_BLOCK_MAX;
}

void ml_runwriter_key(ml_runwriter *writer, uint64_t key, uint64_t count)
{
    ML_ASSERT(count > 0);
    writer->key = key;
    writer->expected = count;
    writer->count = 0;
    writer->block = block_size(count);
    writer->blocks_at = stream_end(&writer->lists);
    ml_buf_clear(&writer->content);
    ml_buf_clear(&writer->heads);
}

static void add_varint(ml_buf *buf, uint64_t value)
{
    uint8_t bytes[ML_VARINT_MAX];
    ml_buf_add(buf, bytes, ml_put_varint(bytes, value));
}

/* Writes the block that has been filled, and notes its head. How far it is before the list's
 * head is known only at the end: until then its offset is noted instead. */
static void end_block(ml_runwriter *writer)
{
    uint8_t head[12];
    ml_put_u32(head, writer->first);
    ml_put_u32(head + 4, (uint32_t)(stream_end(&writer->lists) - writer->blocks_at));
    ml_put_u32(head + 8, ml_crc32c(0, writer->content.data, writer->content.size));
    ml_buf_add(&writer->heads, head, sizeof head);
    if (writer->content.failed) fail(writer, ml_error_memory(writer->why, "an index list"));
    put(writer, &writer->lists, writer->content.data, writer->content.size);
    ml_buf_clear(&writer->content);
}

void ml_runwriter_add(ml_runwriter *writer, uint64_t position)
{
    ML_ASSERT(position >= writer->head.first);
    ML_ASSERT(position <= writer->head.last);
    uint32_t distance = (uint32_t)(position - writer->head.first);
    bool begins = writer->count == 0 || (writer->block > 0 && writer->count % writer->block == 0);
    ML_ASSERT(writer->count == 0 || distance > writer->before);
    if (begins && writer->count > 0) end_block(writer);
    if (begins) writer->first = distance;
    if (!begins) add_varint(&writer->content, distance - writer->before);
    else if (writer->block == 0) add_varint(&writer->content, distance);
    writer->before = distance;
    writer->count++;
    writer->head.postings++;
}

void ml_runwriter_end_key(ml_runwriter *writer)
{
    ML_ASSERT(writer->count == writer->expected);
    if (writer->count == 1) {
        add_entry(writer, writer->key, ML_RUN_INLINE | writer->first);
        return;
    }
    if (writer->block > 0) end_block(writer);
    uint64_t at = stream_end(&writer->lists);
    for (size_t n = 0; !writer->heads.failed && n < writer->heads.size; n += 12) {
        uint32_t offset = ml_get_u32(writer->heads.data + n + 4);
        ml_put_u32(writer->heads.data + n + 4, (uint32_t)(at - writer->blocks_at - offset));
    }
    ml_buf head = writer->block > 0 ? writer->heads : writer->content;
    uint8_t count[ML_VARINT_MAX], size[ML_VARINT_MAX], crc[4];
    size_t count_size = ml_put_varint(count, writer->count);
    size_t size_size = ml_put_varint(size, count_size + head.size);
    if (head.failed) fail(writer, ml_error_memory(writer->why, "an index list"));
    ml_put_u32(crc, ml_crc32c(ml_crc32c(0, count, count_size), head.data, head.size));
    put(writer, &writer->lists, crc, sizeof crc);
    put(writer, &writer->lists, size, size_size);
    put(writer, &writer->lists, count, count_size);
    put(writer, &writer->lists, head.data, head.size);
    add_entry(writer, writer->key, at);
}

/* ---- finish ------------------------------------------------------------------------------------- */

static void write_filter(ml_runwriter *writer)
{
    if (writer->code) return;
    for (uint64_t n = 0; n < writer->head.filter_lines; n++) seal_line(writer->filter + n * ML_RUN_LINE);
    fail(writer, ml_disk_write(writer->disk, writer->file, writer->aside, writer->filter,
                               writer->head.filter_lines * ML_RUN_LINE, ml_run_filter_at(&writer->head),
                               writer->why));
}

static void write_head(ml_runwriter *writer)
{
    uint8_t bytes[ML_RUN_HEADER];
    writer->head.size = stream_end(&writer->lists);
    ml_run_encode_head(&writer->head, bytes);
    if (writer->code) return;
    fail(writer, ml_disk_write(writer->disk, writer->file, writer->aside, bytes, sizeof bytes, 0,
                               writer->why));
}

ml_code ml_runwriter_finish(ml_runwriter *writer)
{
    while (!writer->code && writer->line_number < writer->head.table_lines) end_line(writer);
    flush_stream(writer, &writer->table);
    flush_stream(writer, &writer->lists);
    write_filter(writer);
    write_head(writer);
    if (!writer->code)
        fail(writer, ml_disk_sync(writer->disk, writer->file, writer->aside, writer->why));
    if (writer->file >= 0) writer->disk->ops->close(writer->disk, writer->file);
    if (!writer->code)
        fail(writer, ml_disk_adopt(writer->disk, writer->aside, writer->path, "index", writer->why));
    if (writer->code && writer->file >= 0) writer->disk->ops->unlink(writer->disk, writer->aside);
    free(writer->filter);
    ml_buf_free(&writer->table.buf);
    ml_buf_free(&writer->lists.buf);
    ml_buf_free(&writer->content);
    ml_buf_free(&writer->heads);
    return writer->code;
}
