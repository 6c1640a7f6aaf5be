/* verb_read.c -- events out of the store: read and export, a page at a time.
 *
 * While one page is being shown, the daemon already gathers the next.
 */
#include "progress.h"
#include "reach.h"
#include "select.h"
#include "show.h"

enum { PAGE_EVENTS = 100000, PAGE_BYTES = 1 << 20, PROGRESS_EVERY = 4096 };

typedef struct reading {
    const ml_cli *cli;
    ml_client *client;
    const ml_select *select; /* NULL: all events, as they are stored */
    bool backward, has_from;
    uint64_t from;
    uint64_t left;        /* events still wanted */
    uint64_t first, last; /* positions; for the end and the bar */
    uint64_t seen;
    int status;
    ml_show show;
    ml_progress progress;
} reading;

/* ---- pages ---------------------------------------------------------------------------- */

static void pack_natural(ml_buf *out, const char *name, uint64_t value)
{
    ml_pack_text(out, name);
    ml_pack_int(out, value < INT64_MAX ? (int64_t)value : INT64_MAX);
}

static void pack_true(ml_buf *out, const char *name)
{
    ml_pack_text(out, name);
    ml_pack_bool(out, true);
}

/* Asks for the next page. */
static ml_code ask(reading *r)
{
    ml_buf *out = ml_client_begin(r->client, "read");
    size_t begin = ml_pack_begin(out);
    pack_true(out, "partial");
    pack_natural(out, "limit", r->left < PAGE_EVENTS ? r->left : PAGE_EVENTS);
    pack_natural(out, "max_bytes", PAGE_BYTES);
    uint32_t pairs = 3;
    if (r->select != NULL) {
        pairs += ml_select_pack(r->cli, r->select, out);
    } else {
        bool system = ml_options_has(r->cli, "system");
        if (system) pack_true(out, "system");
        pack_true(out, "raw"); /* what is exported is what is stored */
        pairs += 1 + (uint32_t)system;
    }
    if (r->has_from) pack_natural(out, "from", r->from);
    if (r->backward) pack_true(out, "backward");
    pairs += (uint32_t)r->has_from + r->backward;
    ml_pack_end_map(out, begin, pairs);
    return ml_client_send(r->client);
}

typedef struct page {
    ml_unpack events, unreadable;
    uint32_t event_count, unreadable_count;
    int64_t next, head;
    bool end;
} page;

static bool take_array(ml_unpack value, ml_unpack *items, uint32_t *count)
{
    bool is = ml_unpack_array(&value, count);
    *items = value;
    return is;
}

/* In one pass, which need not go over the events if they stand last: a page is a megabyte, and
 * the message is known to be whole. False if it is no page. */
static bool take_page(ml_bytes result, page *p)
{
    ml_unpack cursor = ml_unpack_from(result);
    uint32_t pairs;
    *p = (page){0};
    bool whole = ml_unpack_map(&cursor, &pairs);
    for (uint32_t n = 0; whole && n < pairs; n++) {
        ml_bytes key;
        whole = ml_unpack_str(&cursor, &key);
        ml_unpack value = cursor;
        whole = whole && (n + 1 == pairs || ml_unpack_skip(&cursor));
        if (!whole) break;
        if (ml_bytes_equal(key, ML_STR("events")))
            whole = take_array(value, &p->events, &p->event_count);
        else if (ml_bytes_equal(key, ML_STR("next")))
            whole = ml_unpack_int(&value, &p->next);
        else if (ml_bytes_equal(key, ML_STR("head")))
            whole = ml_unpack_int(&value, &p->head);
        else if (ml_bytes_equal(key, ML_STR("end")))
            p->end = ml_unpack_next(&value).boolean;
        else if (ml_bytes_equal(key, ML_STR("unreadable")))
            whole = take_array(value, &p->unreadable, &p->unreadable_count);
    }
    return whole && p->next >= 0 && p->head >= 0;
}

/* What cannot be read is said, and the others are shown all the same. */
static void say_unreadable(reading *r, page *p)
{
    ml_bytes text;
    for (uint32_t n = 0; n < p->unreadable_count && ml_unpack_str(&p->unreadable, &text); n++) {
        ml_error why;
        ml_client_error(text, &why);
        ml_progress_end(&r->progress);
        r->status = ml_cli_fail(r->cli, why.code, why.sentence);
    }
}

static bool refuse_form(reading *r)
{
    r->status = ml_cli_fail(r->cli, ML_UNSUPPORTED,
                            "the daemon sends events in a form that this version does not know");
    return false;
}

/* False if no more is wanted. */
static bool show_page(reading *r, page *p)
{
    for (uint32_t n = 0; n < p->event_count; n++) {
        ml_event event;
        if (!ml_client_event(&p->events, &event)) return refuse_form(r);
        if (event.position > r->last || !ml_show_event(&r->show, &event)) return false;
        if (r->seen++ % PROGRESS_EVERY == 0)
            ml_progress_move(&r->progress, event.position - r->first, r->seen);
    }
    return true;
}

/* Takes a page, asks for the one behind it, shows it. */
static ml_code next_page(reading *r, bool *more)
{
    ml_bytes result;
    page p;
    ml_code code = ml_client_receive(r->client, &result);
    if (code) return code;
    if (!take_page(result, &p)) {
        *more = refuse_form(r);
        return ML_OK;
    }
    /* What is appended from now on is not part of it. */
    if (r->last > (uint64_t)p.head) r->last = (uint64_t)p.head;
    r->left -= p.event_count < r->left ? p.event_count : r->left;
    r->from = (uint64_t)p.next;
    r->has_from = true;
    bool beyond = r->select == NULL && r->from > r->last;
    *more = !p.end && p.event_count > 0 && r->left > 0 && !beyond;
    if (*more) code = ask(r);
    say_unreadable(r, &p);
    *more = show_page(r, &p) && *more;
    return code;
}

/* Events that cannot be read are missing from the index too, so a stream may look whole that
 * is not: in a damaged store no read is a success. */
static ml_code say_damage(reading *r)
{
    ml_bytes result;
    ml_pack_map(ml_client_begin(r->client, "status"), 0);
    ml_code code = ml_client_call(r->client, &result);
    if (code || !ml_client_bool(result, "damaged")) return code;
    ml_error why;
    ml_client_error(ml_unpack_find_str(result, "damage"), &why);
    r->status = ml_cli_fail(r->cli, ML_CORRUPT, why.sentence);
    return ML_OK;
}

static int show_pages(reading *r)
{
    bool more = true;
    ml_show_begin(&r->show, r->cli, true);
    if (r->select != NULL) ml_select_columns(r->cli, r->select, &r->show);
    ml_code code = say_damage(r);
    if (!code) code = ask(r);
    while (!code && more)
        code = next_page(r, &more);
    ml_progress_end(&r->progress);
    if (!code) return ml_show_end(&r->show, r->status);
    /* A refusal at once leaves stdout empty, in whatever shape. */
    if (r->show.count == 0) r->show.shape = ML_SHAPE_NDJSON;
    return ml_show_end(&r->show, ml_reach_fail(r->cli, r->client));
}

/* ---- read ----------------------------------------------------------------------------- */

int ml_verb_read(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    ml_select select;
    ml_client client;
    reading r = {.cli = cli,
                 .client = &client,
                 .select = &select,
                 .left = UINT64_MAX,
                 .first = 1,
                 .last = UINT64_MAX,
                 .backward = ml_options_has(cli, "backward"),
                 .has_from = ml_options_has(cli, "from")};
    int status;
    if (!ml_select_take(cli, argv[1], &select)) return ML_EXIT_USAGE;
    if (!ml_options_natural(cli, "from", 0, UINT64_MAX, &r.from) ||
        !ml_options_natural(cli, "limit", 1, UINT64_MAX, &r.left))
        return ML_EXIT_USAGE;
    if (!ml_reach_open(cli, ML_REACH_READ, false, &client, &status)) return status;
    return ml_reach_close(cli, &client, show_pages(&r));
}

/* ---- export --------------------------------------------------------------------------- */

static int export_span(reading *r)
{
    ml_bytes result;
    ml_pack_map(ml_client_begin(r->client, "head"), 0);
    if (ml_client_call(r->client, &result)) return ml_reach_fail(r->cli, r->client);
    uint64_t head = ml_client_natural(result, "position");
    if (r->last > head) r->last = head;
    uint64_t total = r->last >= r->first ? r->last - r->first + 1 : 0;
    ml_progress_begin(&r->progress, r->cli, "exporting", total);
    if (r->cli->width > 0) r->progress.on = false; /* the events themselves are on the screen */
    return show_pages(r);
}

int ml_verb_export(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    ml_cli shaped = *cli;
    ml_client client;
    reading r = {.cli = &shaped,
                 .client = &client,
                 .left = UINT64_MAX,
                 .has_from = true,
                 .first = 1,
                 .last = UINT64_MAX};
    int status;
    if (!ml_options_natural(cli, "from", 1, UINT64_MAX, &r.first) ||
        !ml_options_natural(cli, "to", 1, UINT64_MAX, &r.last))
        return ML_EXIT_USAGE;
    if (r.last < r.first)
        return ml_cli_usage(cli, "--to %llu lies before --from %llu", (unsigned long long)r.last,
                            (unsigned long long)r.first);
    r.from = r.first;
    if (!ml_options_has(cli, "output")) shaped.shape = ML_SHAPE_NDJSON;
    if (!ml_reach_open(&shaped, ML_REACH_READ, false, &client, &status)) return status;
    return ml_reach_close(cli, &client, export_span(&r));
}
