/* select.c -- see select.h. */
#include "select.h"

#include <stdio.h>

/* A name of a stream may begin with '$', but one so near to ours is a slip. */
static const char *slip_of(const char *word)
{
    static const char *const ours[] = {"$all", "$category:"};
    char begin[sizeof "$category:" + 2];
    size_t size = strcspn(word, ":");
    if (word[0] != '$' || size + 2 > sizeof begin) return NULL;
    snprintf(begin, sizeof begin, "%.*s", (int)(size + (word[size] == ':')), word);
    return size > 1 ? ml_verbs_nearest(begin, ours, 2) : NULL;
}

bool ml_select_take(const ml_cli *cli, const char *word, ml_select *select)
{
    static const char category[] = "$category:";
    size_t size = sizeof category - 1;
    *select = (ml_select){0};
    if (strcmp(word, "$all") == 0) return true;
    bool named = strncmp(word, category, size) == 0;
    const char *meant = named ? NULL : slip_of(word);
    if (meant != NULL) {
        ml_cli_usage(cli, "'%.512s' is no stream; did you mean '%s%s'?", word, meant,
                     meant[1] == 'c' ? "C" : "");
        return false;
    }
    if (named)
        select->category = ml_cli_text(word + size);
    else
        select->stream = ml_cli_text(word);
    if (select->stream.size + select->category.size > 0) return true;
    ml_cli_usage(cli, "%s wants a stream, '$all' or '$category:C', and not '%.512s'",
                 cli->verb->name, word);
    return false;
}

static uint32_t pack_terms(const ml_cli *cli, const char *option, const char *name, ml_buf *out)
{
    size_t count = ml_options_count(cli, option);
    if (count == 0) return 0;
    ml_pack_text(out, name);
    ml_pack_array(out, (uint32_t)count);
    for (size_t n = 0; n < count; n++)
        ml_pack_text(out, ml_options_at(cli, option, n));
    return 1;
}

/* One item: types are OR'd, tags AND'd. */
static uint32_t pack_query(const ml_cli *cli, ml_buf *out)
{
    if (!ml_options_has(cli, "type") && !ml_options_has(cli, "tag")) return 0;
    ml_pack_text(out, "query");
    ml_pack_array(out, 1);
    size_t begin = ml_pack_begin(out);
    uint32_t pairs = pack_terms(cli, "type", "types", out);
    pairs += pack_terms(cli, "tag", "tags", out);
    ml_pack_end_map(out, begin, pairs);
    return 1;
}

uint32_t ml_select_pack(const ml_cli *cli, const ml_select *select, ml_buf *out)
{
    uint32_t pairs = pack_query(cli, out);
    if (select->stream.size > 0) {
        ml_pack_text(out, "stream");
        ml_pack_str(out, select->stream);
        pairs++;
    }
    if (select->category.size > 0) {
        ml_pack_text(out, "category");
        ml_pack_str(out, select->category);
        pairs++;
    }
    if (ml_options_has(cli, "system")) {
        ml_pack_text(out, "system");
        ml_pack_bool(out, true);
        pairs++;
    }
    if (ml_options_has(cli, "raw")) {
        ml_pack_text(out, "raw");
        ml_pack_bool(out, true);
        pairs++;
    }
    return pairs;
}

void ml_select_columns(const ml_cli *cli, const ml_select *select, ml_show *show)
{
    show->one_stream = select->stream.size > 0;
    show->tags = ml_options_has(cli, "tag");
}
