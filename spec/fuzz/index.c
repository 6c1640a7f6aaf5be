/* index.c -- damaged and forged index files beside a good log: every read equals the scan.
 *
 *   input:  what (bits below)
 *           FORGE_RUN:      u16 size and the bytes of a run, checksums put right
 *           FORGE_OFFSETS:  u16 size and the offsets of the first segment, checksum put right
 *           then damage, four bytes each: which file, offset (u16), xor
 *
 * A forged run may tell of too few events, since its checksums hold; then only what is read
 * must be right. Damage, and forged offsets, must not change what is read at all.
 */
#include <stdlib.h>

#include "../../core/base/crc32c.h"
#include "../../core/index/run.h"
#include "../../core/log/segment.h"
#include "fuzz.h"

enum {
    FORGE_RUN = 1,
    FORGE_OFFSETS = 2,
    CUT = 4, /* the next u16 cuts the file that the next byte names */

    EVENTS = 176,
    FILES_MAX = 16,
    QUERIES = 10,
    SEGMENT_BYTES = 16384
};

typedef struct known_file {
    char path[64];
    uint8_t *bytes;
    uint64_t size;
} known_file;

/* The good log, its index files, and what its queries give. */
static known_file files[FILES_MAX];
static size_t file_count, derived[FILES_MAX], derived_count;
static uint64_t scanned[QUERIES];
static uint8_t log_id[16];

/* ---- the story -------------------------------------------------------------------------- */

/* Most events in one stream, so that its list has blocks. */
static void append_all(ml_store *store)
{
    const ml_bytes streams[] = {ML_STR("item-0"), ML_STR("item-1"), ML_STR("rare-x"),
                                ML_STR("$sys")};
    const ml_bytes tags[] = {ML_STR("all"), ML_STR("some")};
    for (unsigned n = 0; n < EVENTS; n += 8) {
        ml_draft drafts[8];
        for (unsigned i = 0; i < 8; i++)
            drafts[i] = (ml_draft){.type = i % 4 ? ML_STR("A") : ML_STR("B"),
                                   .tags = tags,
                                   .tag_count = 1 + (n % 40 == 0)};
        const ml_bytes stream = streams[n == 8 ? 1 : n == 24 ? 2 : n == 48 ? 3 : 0];
        ml_write write = {.stream = stream, .expected = ML_ANY, .events = drafts, .count = 8};
        ML_ASSERT(ml_append(store, &(ml_proposal){.writes = &write, .count = 1}, NULL) == ML_OK);
    }
}

static void keep_file(ml_disk *disk, const char *path)
{
    known_file *file = &files[file_count];
    ML_ASSERT(file_count < FILES_MAX && strlen(path) < sizeof file->path);
    memcpy(file->path, path, strlen(path) + 1);
    const uint8_t *content = ml_disk_sim_content(disk, path, &file->size);
    ML_ASSERT(content != NULL);
    file->bytes = malloc(file->size);
    ML_ASSERT(file->bytes != NULL);
    memcpy(file->bytes, content, file->size);
    if (strncmp(path, "index/", 6) == 0) derived[derived_count++] = file_count;
    file_count++;
}

static void keep_files(ml_disk *disk, const char *dir, const char *suffix)
{
    ml_disk_names names;
    ML_ASSERT(ml_disk_list(disk, dir, suffix, &names, NULL) == ML_OK);
    for (size_t n = 0; n < names.count; n++) {
        char path[64] = {0};
        strcat(strcat(strcpy(path, dir), "/"), names.names[n]);
        keep_file(disk, path);
    }
    ml_disk_names_free(&names);
}

/* ---- queries ---------------------------------------------------------------------------- */

static ml_selection query_of(unsigned n, ml_query_item items[2], ml_bytes terms[4])
{
    terms[0] = ML_STR("A");
    terms[1] = ML_STR("B");
    terms[2] = ML_STR("some");
    terms[3] = ML_STR("none");
    ml_query_item one_tag = {.tags = &terms[2], .tag_count = 1};
    ml_query_item both = {.types = &terms[1], .type_count = 1, .tags = &terms[2], .tag_count = 1};
    ml_query_item absent = {.tags = &terms[3], .tag_count = 1};
    ml_selection selection = {0};
    switch (n) {
    case 0: return (ml_selection){.stream = ML_STR("item-0")};
    case 1: return (ml_selection){.stream = ML_STR("item-0"), .backward = true};
    case 2: return (ml_selection){.stream = ML_STR("rare-x"), .has_from = true, .from = 3};
    case 3: return (ml_selection){.category = ML_STR("item")};
    case 4: return (ml_selection){.category = ML_STR("rare"), .backward = true, .limit = 5};
    case 5: items[0] = one_tag; break;
    case 6: items[0] = both; break;
    case 7: items[0] = both; items[1] = absent; break;
    case 8: items[0] = absent; break;
    default: return (ml_selection){.stream = ML_STR("$sys")};
    }
    selection.query = (ml_query){.items = items, .count = n == 7 ? 2 : 1};
    return selection;
}

/* A digest of the positions; each must be in order. A forged run may make a stream look as if
 * revisions were missing, and that is said. */
static uint64_t run_query(ml_store *store, unsigned n, bool strict)
{
    ml_query_item items[2];
    ml_bytes terms[4];
    ml_selection selection = query_of(n, items, terms);
    ml_cursor *cursor = NULL;
    ml_event event;
    uint64_t digest = 1, last = selection.backward ? UINT64_MAX : 0;
    ml_code code = ml_read(store, &selection, &cursor);
    if (code == ML_OK) {
        while ((code = ml_next(cursor, &event)) == ML_OK) {
            ML_ASSERT(selection.backward ? event.position < last : event.position > last);
            last = event.position;
            digest = digest * UINT64_C(1000003) + event.position;
        }
        ML_ASSERT(code == ML_END || (!strict && code == ML_CORRUPT));
    } else {
        ML_ASSERT(!strict && (code == ML_NOT_FOUND || code == ML_CORRUPT));
    }
    ml_cursor_free(cursor);
    ml_head head = {0};
    if (selection.stream.size > 0 && ml_get_head(store, selection.stream, &head) == ML_OK)
        digest += head.revision * 31 + head.first;
    return digest;
}

static bool count_stream(void *context, const ml_stream_info *info)
{
    uint64_t *digest = context;
    *digest = *digest * 31 + info->first * 7 + info->last;
    return true;
}

static uint64_t list_streams(ml_store *store)
{
    uint64_t digest = 0;
    ML_ASSERT(ml_streams(store, ML_STR("item"), (ml_bytes){0}, 0, count_stream, &digest) == ML_OK);
    ML_ASSERT(ml_streams(store, (ml_bytes){0}, ML_STR("r"), 0, count_stream, &digest) == ML_OK);
    return digest;
}

/* ---- opening ---------------------------------------------------------------------------- */

static void query_all(ml_store *store, bool strict)
{
    static uint64_t listed;
    for (unsigned n = 0; n < QUERIES; n++) {
        uint64_t digest = run_query(store, n, strict);
        if (scanned[n] == 0) scanned[n] = digest;
        ML_ASSERT(!strict || digest == scanned[n]);
    }
    uint64_t digest = strict ? list_streams(store) : 0;
    if (listed == 0) listed = digest;
    ML_ASSERT(!strict || digest == listed);
}

static void open_and_query(ml_disk *disk, bool write, bool strict)
{
    ml_options options = {.read_only = !write, .no_threads = true, .segment_bytes = SEGMENT_BYTES,
                          .memory_events = 40};
    ml_store *store = NULL;
    ML_ASSERT(ml_store_open(&store, disk, &options) == ML_OK);
    ml_selection whole = {.system = true};
    ml_cursor *cursor = NULL;
    ml_event event;
    uint64_t count = 0;
    ML_ASSERT(ml_read(store, &whole, &cursor) == ML_OK);
    while (ml_next(cursor, &event) == ML_OK) ML_ASSERT(event.position == ++count);
    ML_ASSERT(count == EVENTS);
    ml_cursor_free(cursor);
    query_all(store, strict);
    if (write && strict) {
        ml_draft draft = {.type = ML_STR("C")};
        ml_write next = {.stream = ML_STR("rare-x"), .expected = 7, .events = &draft, .count = 1};
        ml_receipt receipt;
        ML_ASSERT(ml_append(store, &(ml_proposal){.writes = &next, .count = 1}, &receipt) == ML_OK);
        ML_ASSERT(receipt.first == EVENTS + 1 && receipt.revisions[0] == 8);
    }
    ML_ASSERT(ml_store_close(store) == ML_OK);
}

void ml_fuzz_begin(void)
{
    ml_disk *disk = ml_fuzz_disk();
    ml_options options = {.no_threads = true, .segment_bytes = SEGMENT_BYTES, .memory_events = 40};
    ml_store *store = NULL;
    ML_ASSERT(ml_store_open(&store, disk, &options) == ML_OK);
    append_all(store);
    ml_disk_sim_settle(disk);
    keep_files(disk, "log", ".seg");
    size_t log_files = file_count;
    keep_files(disk, "index", ".run");
    keep_files(disk, "index", ".off");
    keep_file(disk, "WATERMARK");
    ML_ASSERT(log_files >= 2 && derived_count >= 2);
    memcpy(log_id, files[0].bytes + 16, sizeof log_id);
    query_all(store, true);
    ML_ASSERT(ml_store_close(store) == ML_OK);
}

/* ---- forging ---------------------------------------------------------------------------- */

static void repair_lines(uint8_t *at, uint64_t lines)
{
    for (uint64_t n = 0; n < lines; n++, at += ML_RUN_LINE)
        ml_put_u32(at + ML_RUN_LINE - 4, ml_crc32c(0, at, ML_RUN_LINE - 4));
}

static void repair_list(uint8_t *bytes, uint64_t size, uint64_t where)
{
    uint64_t length;
    if (where + 6 > size) return;
    const uint8_t *at = bytes + where + 4, *end = bytes + size;
    if (!ml_get_varint(&at, end, &length) || length > (uint64_t)(end - at)) return;
    ml_put_u32(bytes + where, ml_crc32c(0, at, length));
}

/* The first run's bytes replaced: header, lines and lists get checksums that hold. */
static void forge_run(ml_fuzz_input *input, known_file *file)
{
    ml_bytes given = ml_fuzz_take(input, ml_fuzz_u16(input));
    uint64_t size = given.size > ML_RUN_HEADER ? given.size : ML_RUN_HEADER;
    uint8_t *bytes = calloc(1, size);
    ML_ASSERT(bytes != NULL);
    if (given.size > 0) memcpy(bytes, given.data, given.size);
    memcpy(bytes, "MLR1", 4);
    memcpy(bytes + 8, log_id, sizeof log_id);
    memcpy(bytes + 24, file->bytes + 24, 20); /* first, last, anchor */
    ml_put_u64(bytes + 88, size);
    ml_put_u32(bytes + 4, ml_crc32c(0, bytes + 8, ML_RUN_HEADER - 8));
    ml_run_head head;
    if (ml_run_decode_head(&head, bytes)) {
        repair_lines(bytes + ml_run_filter_at(&head), head.filter_lines);
        uint8_t *table = bytes + ml_run_table_at(&head);
        for (uint64_t n = 0; n < head.table_lines * ML_RUN_ENTRIES; n++) {
            const uint8_t *line = table + n / ML_RUN_ENTRIES * ML_RUN_LINE;
            const uint8_t *entry = line + n % ML_RUN_ENTRIES * 14;
            uint64_t where = ml_get_u32(entry + 8) | (uint64_t)ml_get_u16(entry + 12) << 32;
            if (where >= ml_run_lists_at(&head) && where < size) repair_list(bytes, size, where);
        }
        repair_lines(table, head.table_lines);
    }
    *file = (known_file){.bytes = bytes, .size = size};
}

/* The first table's offsets replaced. */
static void forge_offsets(ml_fuzz_input *input, known_file *file)
{
    ml_bytes given = ml_fuzz_take(input, ml_fuzz_u16(input));
    uint8_t *bytes = malloc(file->size);
    ML_ASSERT(bytes != NULL);
    memcpy(bytes, file->bytes, file->size);
    size_t some = given.size < file->size - 24 ? given.size : file->size - 24;
    if (some > 0) memcpy(bytes + 24, given.data, some);
    uint8_t salted[24];
    memcpy(salted, log_id, 16);
    memcpy(salted + 16, bytes + 8, 8);
    uint32_t salt = ml_crc32c(0, salted, sizeof salted);
    ml_put_u32(bytes + 4, ml_crc32c(salt, bytes + 8, file->size - 8));
    *file = (known_file){.bytes = bytes, .size = file->size};
}

static void damage(ml_fuzz_input *input, ml_disk *disk)
{
    while (input->left >= 4) {
        const char *path = files[derived[ml_fuzz_byte(input) % derived_count]].path;
        uint16_t at = ml_fuzz_u16(input);
        uint64_t size;
        uint8_t *content = ml_disk_sim_content(disk, path, &size), flip = ml_fuzz_byte(input);
        if (at < size) content[at] ^= flip;
    }
}

static ml_disk *forge(ml_fuzz_input *input, bool *strict)
{
    uint8_t what = ml_fuzz_byte(input);
    ml_disk *disk = ml_fuzz_disk();
    bool run = what & FORGE_RUN, offsets = what & FORGE_OFFSETS;
    *strict = !run;
    for (size_t n = 0; n < file_count; n++) {
        known_file file = files[n];
        if (run && strstr(files[n].path, ".run") != NULL) {
            forge_run(input, &file);
            run = false;
        } else if (offsets && strstr(files[n].path, ".off") != NULL) {
            forge_offsets(input, &file);
            offsets = false;
        }
        ml_fuzz_plant(disk, files[n].path, (ml_bytes){file.bytes, file.size}, 0);
        if (file.bytes != files[n].bytes) free(file.bytes);
    }
    if (what & CUT) {
        const char *path = files[derived[ml_fuzz_byte(input) % derived_count]].path;
        ML_ASSERT(ml_disk_sim_cut(disk, path, ml_fuzz_u16(input)));
    }
    damage(input, disk);
    return disk;
}

void ml_fuzz_seeds(void)
{
    static uint8_t bytes[1 << 15];
    for (uint8_t what = 0; what < 8; what++) {
        uint8_t *to = bytes;
        *to++ = what;
        for (size_t n = 0; n < derived_count; n++) {
            const known_file *file = &files[derived[n]];
            bool is_run = strstr(file->path, ".run") != NULL;
            if (!(what & (is_run ? FORGE_RUN : FORGE_OFFSETS))) continue;
            uint64_t skip = is_run ? 0 : 24;
            ml_put_u16(to, (uint16_t)(file->size - skip));
            memcpy(to + 2, file->bytes + skip, file->size - skip);
            to += 2 + file->size - skip;
            what &= (uint8_t)~(is_run ? FORGE_RUN : FORGE_OFFSETS);
        }
        what = bytes[0];
        static const uint8_t rest[] = {0, 200, 0, 1, 200, 0, 1, 1, 24, 1, 255, 2, 40, 0, 3};
        memcpy(to, rest, sizeof rest);
        ml_fuzz_seed(bytes, (size_t)(to - bytes) + sizeof rest);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_fuzz_input input = {data, size};
    bool strict;
    ml_disk *disk = forge(&input, &strict);
    ml_disk *copy = ml_fuzz_crash(disk, false);
    open_and_query(disk, false, strict);
    open_and_query(copy, true, strict);
    return 0;
}
