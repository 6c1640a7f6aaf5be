/* rulepack.c -- the five projections' files, as text, in the version that is asked for. */
#include <inttypes.h>
#include <stdio.h>

#include "views.h"

const char *const ml_views_names[ML_VIEWS] = {"orders", "groups", "totals", "seconds", "stock"};

static const char *const heads[ML_VIEWS] = {
    "projection = 'orders', from = { category = 'orders' }, key = 'stream',\n"
    "  row = { count = 0, added = 0, taken = 0 },",
    "projection = 'groups', from = { types = { 'Added', 'Taken' } }, key = 'data.group',\n"
    "  row = { count = 0, added = 0, taken = 0 },",
    "projection = 'totals', from = { types = { 'Added', 'Taken', 'Closed' } },\n"
    "  init = function() return { count = 0, added = 0, taken = 0 } end,",
    "projection = 'seconds', from = { category = 'visits' }, key = 'type',\n"
    "  row = { count = 0, added = 0, taken = 0 },\n"
    "  window = moonlog.tumbling('1s', { grace = '1s' }),",
    "projection = 'stock', from = { category = 'stock' },\n"
    "  key = function(d, e) return { e.stream, 'shelf-' .. d.group } end,\n"
    "  row = { count = 0, added = 0, taken = 0 }, index = { 'group', 'count' },"};

static const char *const closers[ML_VIEWS] = {
    "Closed = function(row) row.count = row.count + 1 end", "",
    "Closed = function(row) row.count = row.count + 1 end",
    "Closed = function(row) row.count = row.count + 1 end",
    "Closed = function() return moonlog.delete end"};

static void print_file(const ml_views_rules *rules, ml_views_name name, ml_buf *out)
{
    const char *group = name == ML_VIEWS_STOCK ? "row.group = d.group" : "";
    bool flawed = rules->flaw != ML_VIEWS_GOOD && rules->flawed == name;
    ml_buf_print(out, "-- in words, version %" PRIu32 "\n", rules->comment);
    ml_buf_print(out, "local moonlog = require 'moonlog'\nreturn { %s\n  on = {\n", heads[name]);
    ml_buf_print(out, "    Added = function(row, d, e) -- %" PRIu32 "\n", rules->comment);
    if (flawed && rules->flaw == ML_VIEWS_RAISES)
        ml_buf_print(out, "      if e.position >= %" PRIu64 " then error 'not this one' end\n",
                     rules->raises_at);
    ml_buf_print(out,
                 "      row.count, row.added = row.count + 1, row.added + d.amount * %" PRIu32 "\n"
                 "      row.factor = %" PRIu32 " %s\n    end,\n",
                 rules->factor[name], rules->factor[name], group);
    ml_buf_print(out,
                 "    Taken = function(row, d)\n"
                 "      row.count, row.taken = row.count + 1, row.taken + d.amount %s\n    end,\n",
                 group);
    ml_buf_print(out, "    %s } %s\n", closers[name],
                 flawed && rules->flaw == ML_VIEWS_SYNTAX ? "end" : "}");
}

void ml_views_pack_rules(const ml_views_rules *rules, ml_buf *out)
{
    ml_pack_map(out, 1);
    ml_pack_text(out, "files");
    ml_pack_map(out, rules->alone ? 1 : ML_VIEWS);
    for (ml_views_name name = 0; name < ML_VIEWS; name++) {
        if (rules->alone && name != ML_VIEWS_TOTALS) continue;
        char path[32];
        ml_buf text = {0};
        print_file(rules, name, &text);
        snprintf(path, sizeof path, "%s.lua", ml_views_names[name]);
        ml_pack_text(out, path);
        ml_pack_str(out, ml_buf_view(&text));
        ml_buf_free(&text);
    }
}
