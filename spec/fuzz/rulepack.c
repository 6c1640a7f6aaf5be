/* rulepack.c -- whatever the files of a pack say, staging it ends with a report.
 *
 *   input:  the texts of up to four files, with a NUL between them
 *
 * The report is MessagePack; a pack that it calls good can be activated, asked for a state, told
 * of a command, and staged again with the same hash.
 */
#include "../../core/base/unpack.h"
#include "../../core/rules/engine.h"
#include "fuzz.h"

enum { FILES = 4 };

static const char *const paths[FILES] = {"account.lua", "upcast.lua", "lib/a.lua", "other.lua"};
static ml_engine *engine;

void ml_fuzz_begin(void)
{
    ml_error why = {.code = ML_OK};
    ML_ASSERT(ml_engine_new(NULL, NULL, &engine, &why) == ML_OK);
}

void ml_fuzz_seeds(void)
{
    static const char aggregate[] =
        "local m = require 'moonlog'\n"
        "return { aggregate = 'a', initial = { n = 0 }, on = { E = function(s, d) s.n = s.n + 1 end },\n"
        "commands = { go = function(s, c) return m.event('E', { x = c }) end } }";
    static const char chain[] =
        "return 1\0return { upcast = 'E', latest = 3, [1] = { rename = { a = 'b' }, default = { c = 1 } },\n"
        "[2] = function(d, e) d.x = e.stream return d end }\0return { f = function() end }";
    ml_fuzz_seed(aggregate, sizeof aggregate - 1);
    ml_fuzz_seed(chain, sizeof chain - 1);
}

static size_t split(const uint8_t *data, size_t size, ml_source files[FILES])
{
    size_t count = 0, from = 0;
    for (size_t n = 0; n <= size && count < FILES; n++) {
        if (n < size && data[n] != '\0') continue;
        files[count] = (ml_source){{paths[count], strlen(paths[count])}, {data + from, n - from}};
        count++;
        from = n + 1;
    }
    return count;
}

/* Its report is one whole map, which begins with `ok`. */
static bool stage(const ml_source *files, size_t count, ml_buf *report)
{
    ml_error why = {.code = ML_OK};
    ml_buf_clear(report);
    ML_ASSERT(ml_engine_stage(engine, files, count, ML_STAGE_SHAPES, report, &why) == ML_OK);
    ML_ASSERT(ml_unpack_check(ml_buf_view(report), "a report", &why) == ML_OK);
    ml_unpack at = ml_unpack_from(ml_buf_view(report));
    uint32_t pairs;
    ml_bytes key;
    ML_ASSERT(ml_unpack_map(&at, &pairs) && pairs >= 3);
    ML_ASSERT(ml_unpack_str(&at, &key) && ml_bytes_equal(key, ML_STR("ok")));
    return ml_unpack_next(&at).boolean;
}

static void work(void)
{
    static const char state[] = "\x82\xa9" "aggregate\xa1" "a\xa2" "id\xa1" "1";
    static const char command[] = "\x84\xa9" "aggregate\xa1" "a\xa2" "id\xa1" "1\xa4" "name\xa2" "go"
                                  "\xa4" "dice\xc4\x10" "0123456789abcdef";
    ml_buf answer = {0};
    ml_error why = {.code = ML_OK};
    ML_IGNORE(ml_engine_state(engine, (ml_bytes){state, sizeof state - 1}, &answer, &why));
    ML_IGNORE(ml_engine_command(engine, (ml_bytes){command, sizeof command - 1}, &answer, &why));
    ml_buf_free(&answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ml_source files[FILES];
    ml_buf one = {0}, again = {0};
    ml_error why = {.code = ML_OK};
    size_t count = split(data, size, files);
    if (stage(files, count, &one)) {
        ML_ASSERT(ml_engine_activate(engine, &why) == ML_OK);
        work();
        ML_ASSERT(stage(files, count, &again));
    }
    ml_buf_free(&one);
    ml_buf_free(&again);
    return 0;
}
