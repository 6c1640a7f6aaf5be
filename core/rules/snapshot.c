/* snapshot.c -- encode and decode side by side. */
#include "snapshot.h"

#include <inttypes.h>
#include <stdio.h>

#include "../base/crc32c.h"
#include "../base/digest.h"
#include "../base/pack.h"
#include "../base/unpack.h"

enum { AT_CRC = 8, AT_SIZE = 12, HEADER = 16, FIELDS = 8, NAME_DIGITS = 32, PATH_MAX_BYTES = 64 };

static const char magic[] = "mlstate1";

bool ml_snapshot_keeps(uint64_t number, uint64_t newest)
{
    return number > 0 && number <= newest &&
           (newest - number) >> (unsigned)__builtin_ctzll(number) < ML_SNAPSHOT_NEAR;
}

/* ---- names ------------------------------------------------------------------------------ */

static bool name_stream(ml_bytes stream, char name[NAME_DIGITS + 1])
{
    uint8_t digest[ML_DIGEST_SIZE];
    if (ml_digest_of(&stream, 1, digest, NULL)) return false;
    ml_digest_hex(digest, NAME_DIGITS, name);
    return true;
}

static void name_file(const char *stream, uint64_t number, char path[PATH_MAX_BYTES])
{
    snprintf(path, PATH_MAX_BYTES, "%s-%012" PRIu64, stream, number);
}

/* ---- writing ---------------------------------------------------------------------------- */

static void encode(ml_buf *out, const ml_unit *unit, ml_bytes stream, const ml_state *state)
{
    uint8_t *header = ml_buf_take(out, HEADER);
    if (header != NULL) memset(header, 0, HEADER);
    ml_pack_array(out, FIELDS);
    ml_pack_text(out, unit->label);
    ml_pack_text(out, unit->hash);
    ml_pack_str(out, stream);
    ml_pack_int(out, (int64_t)state->next);
    ml_pack_int(out, (int64_t)state->position);
    ml_pack_int(out, state->time);
    ml_pack_bin(out, (ml_bytes){state->id, ML_ID_SIZE});
    ml_buf_add(out, state->bytes.data, state->bytes.size);
    if (out->failed) return;
    memcpy(out->data, magic, AT_CRC);
    ml_put_u32(out->data + AT_SIZE, (uint32_t)(out->size - HEADER));
    ml_put_u32(out->data + AT_CRC, ml_crc32c(0, out->data + AT_SIZE, out->size - AT_SIZE));
}

/* Not synced: see snapshot.h. */
static bool put_in_place(ml_disk *disk, const char *path, ml_bytes content)
{
    char aside[PATH_MAX_BYTES + 2];
    int file = -1;
    snprintf(aside, sizeof aside, "%s~", path);
    if (ml_disk_open(disk, aside, ML_DISK_CREATE, &file, NULL)) return false;
    bool done = ml_disk_write(disk, file, aside, content.data, content.size, 0, NULL) == ML_OK;
    done = ml_disk_close(disk, file, aside, NULL) == ML_OK && done;
    if (done && disk->ops->rename(disk, aside, path) == 0) return true;
    ML_IGNORE(disk->ops->unlink(disk, aside) != 0); /* it will be written over */
    return false;
}

/* With a new one, at most one of those that are whole multiples of each power of two, and of no
 * higher one, is passed over from now on. */
static void thin_out(ml_disk *disk, const char *stream, uint64_t newest)
{
    char path[PATH_MAX_BYTES];
    for (unsigned power = 0; newest >> power >= ML_SNAPSHOT_NEAR; power++) {
        uint64_t number = newest - ((uint64_t)ML_SNAPSHOT_NEAR << power);
        if (number == 0 || (unsigned)__builtin_ctzll(number) != power) continue;
        name_file(stream, number, path);
        ML_IGNORE(disk->ops->unlink(disk, path) != 0); /* it may never have been there */
    }
}

bool ml_snapshot_save(ml_disk *disk, const ml_unit *unit, ml_bytes stream, const ml_state *state,
                      uint64_t newest)
{
    char name[NAME_DIGITS + 1], path[PATH_MAX_BYTES];
    uint64_t number = state->next / unit->every;
    ml_buf content = {0};
    if (!ml_snapshot_keeps(number, newest) || !name_stream(stream, name)) return false;
    encode(&content, unit, stream, state);
    name_file(name, number, path);
    bool done = !content.failed && put_in_place(disk, path, ml_buf_view(&content));
    ml_buf_free(&content);
    if (done && number == newest) thin_out(disk, name, newest);
    return done;
}

/* ---- reading ---------------------------------------------------------------------------- */

static bool read_file(ml_disk *disk, const char *path, ml_buf *content)
{
    int file = -1;
    uint64_t size = 0;
    if (ml_disk_open(disk, path, ML_DISK_READ, &file, NULL)) return false;
    bool good = ml_disk_size(disk, file, path, &size, NULL) == ML_OK && size > HEADER &&
                size <= ML_UNIT_STATE_BYTES + 4096;
    uint8_t *to = good ? ml_buf_take(content, (size_t)size) : NULL;
    good = to != NULL && ml_disk_read(disk, file, path, to, (size_t)size, 0, NULL) == ML_OK;
    disk->ops->close(disk, file);
    return good;
}

static bool take_text(ml_unpack *at, ml_bytes wanted)
{
    ml_bytes text;
    return ml_unpack_str(at, &text) && ml_bytes_equal(text, wanted);
}

static bool decode(ml_bytes content, const ml_unit *unit, ml_bytes stream, ml_state *state)
{
    const uint8_t *bytes = content.data;
    if (memcmp(bytes, magic, AT_CRC) != 0 || ml_get_u32(bytes + AT_SIZE) != content.size - HEADER ||
        ml_get_u32(bytes + AT_CRC) != ml_crc32c(0, bytes + AT_SIZE, content.size - AT_SIZE))
        return false;
    ml_unpack at = {bytes + HEADER, bytes + content.size};
    uint32_t count;
    int64_t next, position;
    if (!ml_unpack_array(&at, &count) || count != FIELDS ||
        !take_text(&at, (ml_bytes){unit->label, strlen(unit->label)}) ||
        !take_text(&at, (ml_bytes){unit->hash, strlen(unit->hash)}) || !take_text(&at, stream) ||
        !ml_unpack_int(&at, &next) || !ml_unpack_int(&at, &position) ||
        !ml_unpack_int(&at, &state->time))
        return false;
    ml_token id = ml_unpack_next(&at);
    if (id.kind != ML_KIND_BIN || id.bytes.size != ML_ID_SIZE || next <= 0 || position <= 0)
        return false;
    memcpy(state->id, id.bytes.data, ML_ID_SIZE);
    state->next = (uint64_t)next;
    state->position = (uint64_t)position;
    ml_buf_clear(&state->bytes);
    ml_buf_add(&state->bytes, at.at, (size_t)(at.end - at.at));
    return !state->bytes.failed;
}

bool ml_snapshot_load(ml_disk *disk, const ml_unit *unit, ml_bytes stream, uint64_t number,
                      ml_state *state)
{
    char name[NAME_DIGITS + 1], path[PATH_MAX_BYTES];
    ml_buf content = {0};
    if (!name_stream(stream, name)) return false;
    name_file(name, number, path);
    bool good = read_file(disk, path, &content) &&
                decode(ml_buf_view(&content), unit, stream, state);
    ml_buf_free(&content);
    return good;
}
