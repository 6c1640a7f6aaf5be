/* audit.c -- every row of every projection, by scans, held against the tally's own fold. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "views.h"

enum { PAGE = 700 };

/* A scan of one projection, page by page. */
typedef struct scan {
    const ml_tally *tally;
    ml_client *client;
    ml_views_name name;
    uint64_t factor;
    const char *index; /* NULL: by key */
    int64_t only;      /* its value; -1: all */
    int64_t last;      /* value that the last row had */
    uint64_t rows;
    ml_buf next;
} scan;

bool ml_audit_row(ml_bytes row, ml_sum *sum, uint64_t *factor)
{
    ml_unpack cursor = ml_unpack_from(row);
    uint32_t count;
    *sum = (ml_sum){.count = (int64_t)ml_client_natural(row, "count"),
                    .added = (int64_t)ml_client_natural(row, "added"),
                    .taken = (int64_t)ml_client_natural(row, "taken"),
                    .group = (uint32_t)ml_client_natural(row, "group")};
    *factor = ml_client_natural(row, "factor");
    return row.size > 0 && ml_unpack_map(&cursor, &count);
}

static bool wrong(const scan *s, ml_bytes key, const char *what)
{
    return ml_siege_wrong(s->tally->siege, "%s, row %.*s: %s", ml_views_names[s->name],
                          ML_SHOW(key), what);
}

/* ---- which one is meant ------------------------------------------------------------------ */

/* "orders-17" */
static bool read_number(ml_bytes key, const char *prefix, uint64_t below, uint64_t *number)
{
    char text[32], *end;
    size_t size = strlen(prefix);
    if (key.size >= sizeof text || key.size <= size || memcmp(key.data, prefix, size) != 0)
        return false;
    snprintf(text, sizeof text, "%.*s", ML_SHOW(key));
    *number = strtoull(text + size, &end, 10);
    return *end == '\0' && *number < below;
}

static const ml_sum *of_window(const ml_tally *tally, ml_bytes key, ml_bytes window)
{
    static const char *const types[] = {"Added", "Taken", "Closed"};
    uint64_t second = ml_client_natural(window, "from") / 1000000;
    if (second < (uint64_t)tally->began || second - (uint64_t)tally->began >= tally->second_count)
        return NULL;
    for (size_t n = 0; n < 3; n++)
        if (ml_bytes_equal(key, (ml_bytes){types[n], strlen(types[n])}))
            return &tally->seconds[second - (uint64_t)tally->began][n];
    return NULL;
}

static const ml_sum *find(const scan *s, ml_bytes entry)
{
    const ml_tally *tally = s->tally;
    ml_unpack cursor = ml_unpack_from(ml_unpack_find(entry, "key"));
    ml_token token = ml_unpack_next(&cursor);
    uint64_t at = (uint64_t)token.integer;
    if (s->name == ML_VIEWS_GROUPS)
        return token.kind == ML_KIND_INT && at < ML_VIEWS_GROUP_COUNT ? &tally->groups[at] : NULL;
    if (token.kind != ML_KIND_STR) return NULL;
    if (s->name == ML_VIEWS_TOTALS) return token.bytes.size == 0 ? &tally->totals : NULL;
    if (s->name == ML_VIEWS_SECONDS)
        return of_window(tally, token.bytes, ml_unpack_find(entry, "window"));
    if (s->name == ML_VIEWS_ORDERS)
        return read_number(token.bytes, "orders-", ML_VIEWS_STREAMS, &at) ? &tally->orders[at]
                                                                          : NULL;
    if (read_number(token.bytes, "shelf-", ML_VIEWS_GROUP_COUNT, &at)) return &tally->shelves[at];
    return read_number(token.bytes, "stock-", ML_VIEWS_STREAMS, &at) ? &tally->stock[at] : NULL;
}

/* ---- rows --------------------------------------------------------------------------------- */

static bool check_row(scan *s, ml_bytes entry)
{
    ml_bytes key = ml_unpack_find(entry, "key");
    const ml_sum *sum = find(s, entry);
    ml_sum row;
    uint64_t factor;
    char text[160];
    if (sum == NULL || (!sum->there && s->name != ML_VIEWS_TOTALS))
        return wrong(s, key, "there is nothing that it could be made of");
    if (!ml_audit_row(ml_unpack_find(entry, "row"), &row, &factor))
        return wrong(s, key, "it is no row");
    s->rows++;
    bool same = row.count == sum->count && row.taken == sum->taken &&
                row.added == sum->added * (int64_t)s->factor &&
                factor == (sum->adds > 0 ? s->factor : 0) &&
                (s->name != ML_VIEWS_STOCK || row.group == sum->group);
    snprintf(text, sizeof text,
             "count %" PRId64 ", added %" PRId64 " (by %" PRIu64 "), taken %" PRId64
             ", and it is %" PRId64 ", %" PRId64 " (by %" PRIu64 "), %" PRId64,
             row.count, row.added, factor, row.taken, sum->count, sum->added * (int64_t)s->factor,
             s->factor, sum->taken);
    if (!same) return wrong(s, key, text);
    if (s->index == NULL) return true;
    int64_t value = (int64_t)ml_client_natural(ml_unpack_find(entry, "row"), s->index);
    bool sorted = value >= s->last && (s->only < 0 || value == s->only);
    s->last = value;
    return sorted || wrong(s, key, "it is not where its index has it");
}

static void pack_scan(const scan *s, ml_buf *out)
{
    bool from = s->next.size > 0 || s->only >= 0;
    ml_pack_map(out,
                2u + (s->index != NULL ? 1u : 0u) + (from ? 1u : 0u) + (s->only >= 0 ? 1u : 0u));
    ml_pack_text(out, "name");
    ml_pack_text(out, ml_views_names[s->name]);
    ml_pack_text(out, "limit");
    ml_pack_int(out, PAGE);
    if (s->index != NULL) {
        ml_pack_text(out, "index");
        ml_pack_text(out, s->index);
    }
    if (from) ml_pack_text(out, "from");
    if (s->next.size > 0)
        ml_buf_add(out, s->next.data, s->next.size);
    else if (from)
        ml_pack_int(out, s->only);
    if (s->only < 0) return;
    ml_pack_text(out, "to");
    ml_pack_int(out, s->only);
}

static bool read_page(scan *s, bool *more)
{
    ml_message message;
    uint32_t count;
    pack_scan(s, ml_client_begin(s->client, "projection.scan"));
    if (!ml_siege_ask(s->tally->siege, s->client, &message)) return false;
    ml_bytes next = ml_unpack_find(message.body, "next");
    *more = next.size > 0 && *(const uint8_t *)next.data != 0xc0;
    ml_buf_clear(&s->next);
    if (*more) ml_buf_add(&s->next, next.data, next.size);
    ml_unpack rows = ml_client_list(message.body, "rows", &count);
    for (; count > 0; count--) {
        ml_bytes entry = {rows.at, 0};
        if (!ml_unpack_skip(&rows)) return wrong(s, ML_STR("?"), "the page is cut short");
        entry.size = (size_t)(rows.at - (const uint8_t *)entry.data);
        if (!check_row(s, entry)) return false;
    }
    return true;
}

/* ---- all of them ---------------------------------------------------------------------------- */

static uint64_t count_of(const ml_sum *sums, size_t count, int64_t group)
{
    uint64_t there = 0;
    for (size_t n = 0; n < count; n++)
        there += sums[n].there && (group < 0 || sums[n].group == group);
    return there;
}

static uint64_t expected(const ml_tally *tally, ml_views_name name, int64_t group)
{
    switch (name) {
    case ML_VIEWS_ORDERS: return count_of(tally->orders, ML_VIEWS_STREAMS, group);
    case ML_VIEWS_GROUPS: return count_of(tally->groups, ML_VIEWS_GROUP_COUNT, group);
    case ML_VIEWS_SECONDS:
        return tally->seconds == NULL ? 0
                                      : count_of(tally->seconds[0], 3 * tally->second_count, group);
    case ML_VIEWS_STOCK:
        return count_of(tally->stock, ML_VIEWS_STREAMS, group) +
               count_of(tally->shelves, ML_VIEWS_GROUP_COUNT, group);
    case ML_VIEWS_TOTALS:
    case ML_VIEWS:
    default: return 1;
    }
}

static bool run(scan s)
{
    bool more = true, good = true;
    s.last = INT64_MIN;
    while (good && more)
        good = read_page(&s, &more);
    ml_buf_free(&s.next);
    uint64_t rows = expected(s.tally, s.name, s.only);
    return good && (s.rows == rows ||
                    ml_siege_wrong(s.tally->siege, "%s has %" PRIu64 " rows%s%s, not %" PRIu64,
                                   ml_views_names[s.name], s.rows, s.index != NULL ? " by " : "",
                                   s.index != NULL ? s.index : "", rows));
}

bool ml_audit_run(const ml_tally *tally, ml_client *client, const ml_views_rules *rules)
{
    bool good = true;
    scan stock = {.tally = tally,
                  .client = client,
                  .name = ML_VIEWS_STOCK,
                  .only = -1,
                  .factor = rules->factor[ML_VIEWS_STOCK],
                  .index = "count"};
    for (ml_views_name name = 0; good && name < ML_VIEWS; name++)
        good = run((scan){.tally = tally,
                          .client = client,
                          .name = name,
                          .only = -1,
                          .factor = rules->factor[name]});
    good = good && run(stock);
    stock.index = "group";
    good = good && run(stock);
    for (stock.only = 0; good && stock.only < ML_VIEWS_GROUP_COUNT; stock.only++)
        good = run(stock);
    return good;
}
