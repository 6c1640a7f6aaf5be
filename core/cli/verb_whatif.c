/* verb_whatif.c -- what would be different with other rules? */
#include <stdio.h>
#include <unistd.h>

#include "../base/json.h"
#include "blame.h"
#include "pack_dir.h"
#include "progress.h"
#include "reach.h"
#include "show.h"
#include "whatif_text.h"

enum { FLUSH_BYTES = 1 << 16 };

typedef struct asking {
    const ml_cli *cli;
    const char *dir;
    ml_client client;
    ml_progress progress;
    bool begun;
} asking;

/* ---- asking ----------------------------------------------------------------------- */

static void show_progress(void *context, ml_bytes method, ml_bytes params)
{
    asking *a = context;
    uint64_t position = ml_client_natural(params, "position"),
             head = ml_client_natural(params, "head");
    if (!ml_bytes_equal(method, ML_STR("whatif.progress"))) return;
    if (!a->begun) ml_progress_begin(&a->progress, a->cli, "replaying", head);
    a->begun = true;
    ml_progress_move(&a->progress, position, position);
}

/* False after saying what is wrong. */
static bool pack_natural(asking *a, ml_buf *out, const char *name, uint64_t least, uint32_t *pairs)
{
    uint64_t value = 0;
    if (!ml_options_has(a->cli, name)) return true;
    if (!ml_options_natural(a->cli, name, least, INT32_MAX, &value)) return false;
    ml_pack_text(out, name);
    ml_pack_int(out, (int64_t)value);
    ++*pairs;
    return true;
}

static int ask(asking *a, ml_bytes files, ml_bytes *result)
{
    uint32_t pairs = 1;
    const char *unit = ml_options_get(a->cli, "unit");
    ml_buf *out = ml_client_begin(&a->client, "whatif");
    size_t begin = ml_pack_begin(out);
    ml_pack_text(out, "files");
    ml_buf_add(out, files.data, files.size);
    if (unit != NULL) {
        ml_pack_text(out, "unit");
        ml_pack_text(out, unit);
        pairs++;
    }
    if (!pack_natural(a, out, "from", 0, &pairs) || !pack_natural(a, out, "limit", 1, &pairs))
        return ML_EXIT_USAGE;
    ml_pack_end_map(out, begin, pairs);
    a->client.pushed = show_progress;
    a->client.context = a;
    ml_code code = ml_client_call(&a->client, result);
    if (a->begun) ml_progress_end(&a->progress);
    return code ? ml_reach_fail(a->cli, &a->client) : ML_EXIT_OK;
}

/* ---- showing ---------------------------------------------------------------------- */

static bool write_out(ml_buf *out)
{
    bool good = !out->failed;
    if (good && out->size > 0) good = fwrite(out->data, 1, out->size, stdout) == out->size;
    ml_buf_clear(out);
    return good && fflush(stdout) == 0;
}

static void add_item(const asking *a, ml_buf *out, ml_bytes item, bool unit)
{
    ml_unpack cursor = ml_unpack_from(item);
    bool good = true;
    if (a->cli->shape == ML_SHAPE_TABLE && unit) ml_whatif_text_unit(out, item);
    else if (a->cli->shape == ML_SHAPE_TABLE) ml_whatif_text_difference(out, item);
    else if (a->cli->shape == ML_SHAPE_LUA) good = ml_show_lua_value(out, item);
    else good = ml_json_write(&cursor, out);
    if (!good) out->failed = true;
    if (a->cli->shape != ML_SHAPE_TABLE) ml_buf_byte(out, '\n');
}

/* Differences, then units; one a line but for people, and whole as JSON. */
static bool show_lists(const asking *a, ml_bytes result, ml_buf *out)
{
    static const char *const names[] = {"differences", "units"};
    bool going = true;
    for (int n = 0; n < 2; n++) {
        uint32_t count;
        ml_unpack list = ml_client_list(result, names[n], &count);
        for (uint32_t i = 0; going && i < count; i++) {
            add_item(a, out, ml_unpack_value(&list), n == 1);
            if (out->size >= FLUSH_BYTES) going = write_out(out);
        }
        if (a->cli->shape == ML_SHAPE_TABLE && n == 0 && count > 0) ml_buf_byte(out, '\n');
    }
    return going;
}

static uint64_t count_all(ml_bytes result)
{
    uint32_t count;
    uint64_t sum = 0;
    ml_unpack list = ml_client_list(result, "units", &count);
    for (uint32_t n = 0; n < count; n++) sum += ml_whatif_text_count(ml_unpack_value(&list));
    return sum;
}

static int show(const asking *a, ml_bytes result)
{
    ml_buf out = {0};
    ml_unpack cursor = ml_unpack_from(result);
    uint32_t told;
    uint64_t all = count_all(result);
    bool good;
    ml_client_list(result, "differences", &told);
    if (a->cli->shape == ML_SHAPE_JSON) {
        good = ml_json_write(&cursor, &out);
        ml_buf_byte(&out, '\n');
    } else {
        good = show_lists(a, result, &out);
    }
    if (a->cli->shape == ML_SHAPE_TABLE && all == 0) ml_buf_print(&out, "no difference\n");
    if (a->cli->shape == ML_SHAPE_TABLE && all > told)
        ml_buf_print(&out, "%llu more are not shown; --limit shows more of each unit\n",
                     (unsigned long long)(all - told));
    good = good && write_out(&out);
    ml_buf_free(&out);
    if (!good) return ml_cli_fail(a->cli, ML_IO, "stdout could not be written");
    return all > 0 ? ML_EXIT_PROBLEMS : ML_EXIT_OK;
}

/* ---- the verb --------------------------------------------------------------------- */

static int run(asking *a)
{
    ml_buf files = {0};
    ml_bytes result;
    ml_error why;
    uint32_t diagnostics;
    ml_code code = ml_pack_dir_read(a->dir, &files, &why);
    int status = code ? ml_cli_fail(a->cli, code, why.sentence)
                      : ask(a, ml_buf_view(&files), &result);
    ml_buf_free(&files);
    if (status != ML_EXIT_OK) return status;
    ml_client_list(result, "diagnostics", &diagnostics);
    if (diagnostics == 0) return show(a, result);
    size_t errors = ml_blame_show_all(a->cli, result);
    ml_cli_failf(a->cli, ML_SCRIPT_ERROR, "%zu %s in %.512s", errors,
                 errors == 1 ? "error" : "errors", a->dir);
    return ML_EXIT_PROBLEMS;
}

int ml_verb_whatif(const ml_cli *cli, int argc, char **argv)
{
    asking a = {.cli = cli, .dir = argv[1]};
    int status;
    (void)argc;
    if (!ml_reach_open(cli, ML_REACH_USE, false, &a.client, &status)) return status;
    return ml_reach_close(cli, &a.client, run(&a));
}
