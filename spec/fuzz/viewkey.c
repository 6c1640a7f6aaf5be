/* viewkey.c -- keys of views and fields of rows from bytes that nobody made.
 *
 *   input:  one byte, how much of the rest is a path; the path; bytes
 *
 * What is taken for a key is the key of the value it gives, byte for byte, and what is found in a
 * map lies in it. Any value that can be a key is its value again.
 */
#include "../../core/view/field.h"
#include "../../core/view/key.h"
#include "fuzz.h"

void ml_fuzz_begin(void) {}

void ml_fuzz_seeds(void)
{
    static const char *const seeds[] = {
        "\x03" "a.b" "\x81\xa1" "a\x81\xa1" "b\x07", "\0\x20" "ada\0", "\0\x20" "a\0\xff" "b\0",
        "\0\x10\xbf\xf0\0\0\0\0\0\0\x80\0\0\0\0\0\0\x01\0", "\0\x09",
        "\0\x30" "x\0\x80\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\x3c", "\0\xcb\x3f\xf8\0\0\0\0\0\0"};
    static const size_t sizes[] = {11, 6, 7, 20, 2, 20, 10};
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++) ml_fuzz_seed(seeds[n], sizes[n]);
}

/* Bytes that may be a key. */
static void check_key(ml_bytes bytes)
{
    ml_buf value = {0};
    ml_key again;
    bool windowed;
    int64_t start, end;
    size_t size = ml_key_size(bytes);
    ML_ASSERT(size <= bytes.size);
    if (ml_key_pack(bytes, &value, &windowed, &start, &end)) {
        ML_ASSERT(size + (windowed ? 16 : 0) == bytes.size);
        ML_ASSERT(ml_key_make(ml_buf_view(&value), true, &again, NULL) == ML_OK);
        if (windowed) ML_ASSERT(ml_key_add_window(&again, start, end, NULL) == ML_OK);
        ML_ASSERT(ml_bytes_equal((ml_bytes){again.bytes, again.size}, bytes));
    }
    ml_buf_free(&value);
}

/* Bytes that may be a value. */
static void check_value(ml_bytes bytes)
{
    ml_buf value = {0};
    ml_key key, index;
    bool windowed;
    int64_t start, end;
    if (ml_key_make(bytes, true, &key, NULL) == ML_OK) {
        ml_bytes made = {key.bytes, key.size};
        ML_ASSERT(key.size <= ML_KEY_BYTES_MAX);
        ML_ASSERT(ml_key_size(made) == key.size);
        ML_ASSERT(ml_key_pack(made, &value, &windowed, &start, &end) && !windowed);
        check_key(made);
        ML_ASSERT(ml_key_index(bytes, &index));
    }
    if (ml_key_index(bytes, &index)) {
        ML_ASSERT(index.size <= ML_KEY_INDEX_BYTES);
        ML_ASSERT(ml_key_size((ml_bytes){index.bytes, index.size}) == index.size);
    }
    ml_buf_free(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_fuzz_input input = {data, size};
    ml_bytes path = ml_fuzz_take(&input, ml_fuzz_byte(&input) % (ML_FIELD_BYTES + 8));
    ml_bytes bytes = {input.at, input.left};
    if (ml_field_is_path(path)) {
        ml_bytes found = ml_field_find(bytes, path);
        const uint8_t *at = found.data;
        ML_ASSERT(at == NULL || (at >= input.at && at + found.size <= input.at + input.left));
        check_value(found);
    }
    check_key(bytes);
    check_value(bytes);
    return 0;
}
