/* upcast.c -- random data through a random chain of declarative steps.
 *
 *   input:  steps (1..4); for each step wishes (0..7) of three bytes: what, path, path or value;
 *           the rest is data
 *
 * Steps that cannot be meant are left out. Whatever the data is, nothing is read beyond it; what
 * may be stored stays so, and the same again gives the same.
 */
#include "../../core/rules/upcast_step.h"

#include <stdlib.h>

#include "../../core/base/unpack.h"
#include "../../core/rules/prove.h"
#include "fuzz.h"

enum { STEPS_MAX = 4, WISHES_MAX = 7 };

static const char *const paths[] = {"a",   "b",   "c",     "d",       "a.a", "a.b", "b.a",
                                    "b.c", "c.d", "a.b.c", "b.a.b.c", "e.f", "a..", "moonlog"};
static const char *const values[] = {
    "\x05", "\xc0", "\xa1x", "\x80", "\x81\xa1z\x01", "\xcb@\x09!\xfbTD-\x18", "\x93\x01\x02\x03",
    "\xc3"};
static const size_t value_sizes[] = {1, 1, 2, 1, 4, 9, 4, 1};

void ml_fuzz_begin(void) {}

void ml_fuzz_seeds(void)
{
    const ml_bytes seeds[] = {ML_STR("\1\2\0\0\1\4\2\2\x82\xa1"
                                     "a\x05\xa1"
                                     "b\xa1x"),
                              ML_STR("\2\3\1\4\7\2\0\0\3\2\1\1\4\1\2\x82\xa1"
                                     "a\x82\xa1"
                                     "a\xa3"
                                     "1.5\xa1"
                                     "b\x93\1\2\3\xa1"
                                     "d\xca\x3f\xc0\0\0"),
                              ML_STR("\1\4\1\0\4\1\1\7\3\4\3\4\2\5\x83\xa1"
                                     "a\x01\xa1"
                                     "b\x81\xa1"
                                     "c\xa4true\xa1"
                                     "c\xc0")};
    for (size_t n = 0; n < sizeof seeds / sizeof *seeds; n++)
        ml_fuzz_seed(seeds[n].data, seeds[n].size);
}

static ml_bytes path_of(uint8_t byte)
{
    const char *path = paths[byte % (sizeof paths / sizeof *paths)];
    return (ml_bytes){path, strlen(path)};
}

static ml_code make_wish(ml_upcast_step *step, ml_fuzz_input *input)
{
    ml_error why;
    uint8_t what = ml_fuzz_byte(input);
    ml_bytes path = path_of(ml_fuzz_byte(input));
    uint8_t more = ml_fuzz_byte(input);
    size_t value = more % (sizeof values / sizeof *values);
    switch (what % 5) {
    case 0: return ml_upcast_step_rename(step, path, path_of(more), &why);
    case 1: return ml_upcast_step_move(step, path, path_of(more), &why);
    case 2: return ml_upcast_step_drop(step, path, &why);
    case 3: return ml_upcast_step_cast(step, path, (ml_upcast_kind)(1 + more % 4), &why);
    default:
        return ml_upcast_step_default(step, path, (ml_bytes){values[value], value_sizes[value]},
                                      &why);
    }
}

/* NULL if it cannot be meant. */
static ml_upcast_step *make_step(ml_fuzz_input *input)
{
    ml_error why;
    ml_upcast_step *step = ml_upcast_step_new();
    ML_ASSERT(step != NULL);
    bool good = true;
    for (uint8_t left = ml_fuzz_byte(input) % (WISHES_MAX + 1); left > 0; left--)
        good = make_wish(step, input) == ML_OK && good;
    if (good && ml_upcast_step_ready(step, &why) == ML_OK) return step;
    ml_upcast_step_free(step);
    return NULL;
}

/* A block of just that size: what reads behind it is seen. */
static ml_bytes own(ml_bytes data)
{
    uint8_t *copy = malloc(data.size > 0 ? data.size : 1);
    ML_ASSERT(copy != NULL);
    if (data.size > 0) memcpy(copy, data.data, data.size);
    return (ml_bytes){copy, data.size};
}

/* True if there is a result; *data then is it, in a block of its own. */
static bool apply(const ml_upcast_step *step, ml_bytes *data)
{
    ml_error why = {.code = ML_OK};
    ml_buf out = {0}, again = {0};
    ml_bytes result, same;
    bool stored = ml_unpack_check(*data, "data", NULL) == ML_OK;
    ml_code code = ml_upcast_step_apply(step, *data, &out, &result, &why);
    ML_ASSERT(code == ML_OK || (code == ML_SCRIPT_ERROR && why.sentence[0] != '\0'));
    ML_ASSERT(ml_upcast_step_apply(step, *data, &again, &same, &why) == code);
    if (code == ML_OK) {
        ML_ASSERT(ml_bytes_equal(result, same));
        ML_ASSERT(!stored || ml_unpack_check(result, "data", NULL) == ML_OK);
        ml_bytes next = own(result);
        free((void *)(uintptr_t)data->data);
        *data = next;
    }
    ml_buf_free(&out);
    ml_buf_free(&again);
    return code == ML_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_fuzz_input input = {data, size};
    ml_upcast_step *steps[STEPS_MAX];
    size_t count = 1 + ml_fuzz_byte(&input) % STEPS_MAX;
    for (size_t n = 0; n < count; n++)
        steps[n] = make_step(&input);
    ml_bytes now = own((ml_bytes){input.at, input.left});
    uint64_t shape = ml_prove_shape(now);
    ML_ASSERT(shape == ml_prove_shape(now));
    for (size_t n = 0; n < count; n++)
        if (steps[n] != NULL && !apply(steps[n], &now)) break;
    for (size_t n = 0; n < count; n++)
        ml_upcast_step_free(steps[n]);
    free((void *)(uintptr_t)now.data);
    return 0;
}
