/* ndjson.c -- a line of text: as a JSON value there and back, and as an event to import.
 *
 *   input:  the text
 */
#include "../../core/base/json.h"
#include "../../core/cli/import.h"
#include "../../core/store/event.h"
#include "fuzz.h"

void ml_fuzz_begin(void) {}

void ml_fuzz_seeds(void)
{
    ml_bytes lines = ml_fuzz_golden("events.ndjson");
    const char *at = lines.data, *end = at + lines.size;
    for (unsigned n = 0; at < end && n < 70; n++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        ml_fuzz_seed(at, (size_t)(stop - at));
        at = stop + 1;
    }
    static const char *const more[] = {
        "{\"stream\":\"a\",\"type\":\"b\",\"occurred\":5,\"id\":null,\"tags\":null,\"schema\":2}",
        "{\"$map\":[[{\"$bin\":\"AA==\"},[1e400,-0,0.1e-5]],[\"\\ud83c\\udf19\",null]]}",
        " [ true , false , -9223372036854775808 , 18446744073709551615 ] "};
    for (size_t n = 0; n < sizeof more / sizeof *more; n++) ml_fuzz_seed(more[n], strlen(more[n]));
}

/* What was read can be stored; written and read again it is the same. */
static void there_and_back(ml_bytes text)
{
    ml_buf packed = {0}, written = {0}, again = {0};
    ml_error why;
    if (ml_json_read(text, &packed, &why) == ML_OK) {
        ML_ASSERT(ml_unpack_check(ml_buf_view(&packed), "data", NULL) == ML_OK);
        ml_unpack cursor = ml_unpack_from(ml_buf_view(&packed));
        ML_ASSERT(ml_json_write(&cursor, &written) && cursor.at == cursor.end);
        ML_ASSERT(ml_json_read(ml_buf_view(&written), &again, &why) == ML_OK);
        ML_ASSERT(ml_bytes_equal(ml_buf_view(&packed), ml_buf_view(&again)));
    } else {
        ML_ASSERT(packed.size == 0 && why.code == ML_BAD_REQUEST && why.sentence[0] != 0);
    }
    ml_buf_free(&packed);
    ml_buf_free(&written);
    ml_buf_free(&again);
}

/* What the importer lets through, the store takes. */
static void import(ml_bytes text)
{
    ml_buf arena = {0};
    ml_import_slot slot = {.line = 1};
    ml_draft draft;
    ml_error why;
    ML_ASSERT(ml_buf_reserve(&arena, ml_import_line_room(text.size)));
    const uint8_t *before = arena.data;
    ml_code code = ml_import_line_read(text, &arena, &slot, &draft, &why);
    ML_ASSERT(arena.data == before); /* the promised room is enough */
    if (code == ML_OK) {
        ML_ASSERT(ml_event_check(&draft, 1, NULL) == ML_OK);
        ML_ASSERT(ml_event_check_name(slot.stream, ML_STREAM_BYTES_MAX, "stream", NULL) == ML_OK);
        ML_ASSERT(ml_event_bound(slot.stream, &draft) <= slot.bytes);
    } else {
        ML_ASSERT(strncmp(why.sentence, "line 1, ", 8) == 0);
    }
    ml_buf_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_bytes text = {data, size};
    there_and_back(text);
    import(text);
    return 0;
}
