/* verb_tail.c -- events as they come: a subscription with credit, shown as it is pushed. */
#include <inttypes.h>

#include "../base/text.h"
#include "reach.h"
#include "select.h"
#include "show.h"

enum { CREDIT = 4096, GRANT = CREDIT / 2 };

typedef struct tail {
    const ml_cli *cli;
    ml_client client;
    ml_select select;
    ml_show show;
    uint64_t subscription;
    uint64_t passed; /* position: nothing up to it is still to come */
    uint32_t shown;  /* since credit was last granted */
    bool until_end, ended;
    int status;
} tail;

/* ---- where to begin ------------------------------------------------------------------- */

/* The time of the first event at or behind a position that is not over the head. */
static ml_code time_at(tail *t, uint64_t position, int64_t *time)
{
    ml_bytes page;
    uint32_t count;
    ml_event event;
    ml_buf *out = ml_client_begin(&t->client, "read");
    ml_pack_map(out, 4);
    ml_pack_text(out, "from");
    ml_pack_int(out, (int64_t)position);
    ml_pack_text(out, "limit");
    ml_pack_int(out, 1);
    ml_pack_text(out, "system");
    ml_pack_bool(out, true);
    ml_pack_text(out, "raw");
    ml_pack_bool(out, true);
    ml_code code = ml_client_call(&t->client, &page);
    if (code) return code;
    ml_unpack list = ml_client_list(page, "events", &count);
    if (count != 1 || !ml_client_event(&list, &event))
        return ml_error_set(&t->client.why, ML_UNSUPPORTED, "position %" PRIu64 " gave no event",
                            position);
    *time = event.time;
    return ML_OK;
}

/* Times never decrease with position: halves what is left until the last event before `time`
 * is found. */
static ml_code find_time(tail *t, int64_t time, uint64_t *after)
{
    ml_bytes head;
    ml_pack_map(ml_client_begin(&t->client, "head"), 0);
    ml_code code = ml_client_call(&t->client, &head);
    uint64_t before = 0, behind = code ? 0 : ml_client_natural(head, "position") + 1;
    while (!code && before + 1 < behind) {
        uint64_t middle = before + (behind - before) / 2;
        int64_t there = 0;
        code = time_at(t, middle, &there);
        if (there < time)
            before = middle;
        else
            behind = middle;
    }
    *after = before;
    return code;
}

/* --from, as the subscription's `after`. */
typedef struct origin {
    const char *word; /* "start", "end", or NULL */
    uint64_t after;
    bool has_time;
    int64_t time;
} origin;

static bool read_origin(const ml_cli *cli, origin *from)
{
    const char *text = ml_options_get(cli, "from");
    *from = (origin){.word = "end"};
    if (text == NULL || strcmp(text, "end") == 0) return true;
    from->word = strcmp(text, "start") == 0 ? "start" : NULL;
    if (from->word != NULL) return true;
    from->has_time = text[0] == '@';
    if (from->has_time && ml_time_read(ml_cli_text(text + 1), &from->time)) return true;
    if (ml_cli_natural(text, 1, INT64_MAX, &from->after)) {
        from->after--; /* the position itself is included */
        return true;
    }
    ml_cli_usage(cli, "--from wants start, end, a position from 1 or @TIME, and not '%.512s'",
                 text);
    return false;
}

static ml_code subscribe(tail *t, origin *from)
{
    ml_code code = from->has_time ? find_time(t, from->time, &from->after) : ML_OK;
    if (code) return code;
    ml_bytes result;
    ml_buf *out = ml_client_begin(&t->client, "subscribe");
    size_t begin = ml_pack_begin(out);
    uint32_t pairs = 2 + ml_select_pack(t->cli, &t->select, out);
    ml_pack_text(out, "credit");
    ml_pack_int(out, CREDIT);
    ml_pack_text(out, "after");
    if (from->word != NULL)
        ml_pack_text(out, from->word);
    else
        ml_pack_int(out, (int64_t)from->after);
    ml_pack_end_map(out, begin, pairs);
    code = ml_client_call(&t->client, &result);
    if (!code) t->subscription = ml_client_natural(result, "subscription");
    return code;
}

/* ---- following ------------------------------------------------------------------------ */

static void show_events(tail *t, ml_bytes params)
{
    uint32_t count;
    ml_unpack list = ml_client_list(params, "events", &count);
    for (uint32_t n = 0; n < count && !t->ended; n++) {
        ml_event event;
        t->ended = !ml_client_event(&list, &event) || !ml_show_event(&t->show, &event);
        if (!t->ended) t->passed = event.position;
    }
    t->shown += count;
    /* A table that ends has time to find its widths. */
    bool later = t->until_end && t->show.shape == ML_SHAPE_TABLE;
    t->ended = (!later && !ml_show_now(&t->show)) || t->ended;
}

static void pushed(void *context, ml_bytes method, ml_bytes params)
{
    tail *t = context;
    if (t->ended) return;
    if (ml_bytes_equal(method, ML_STR("event"))) show_events(t, params);
    bool live = ml_bytes_equal(method, ML_STR("caught_up"));
    if (live) t->ended = t->until_end;
    if (live || ml_bytes_equal(method, ML_STR("checkpoint")))
        t->passed = ml_client_natural(params, "position");
    if (!ml_bytes_equal(method, ML_STR("failed"))) return;
    ml_error why;
    ml_client_error(ml_unpack_find_str(params, "error"), &why);
    t->status = ml_cli_fail(t->cli, why.code, why.sentence);
    t->ended = true;
}

static ml_code grant(tail *t)
{
    if (t->shown < GRANT) return ML_OK;
    ml_buf *out = ml_client_begin_notice(&t->client, "credit");
    ml_pack_map(out, 2);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)t->subscription);
    ml_pack_text(out, "events");
    ml_pack_int(out, t->shown);
    t->shown = 0;
    return ml_client_send(&t->client);
}

static int say_lost(const tail *t)
{
    if (t->client.why.code != ML_UNREACHABLE) return ml_reach_fail(t->cli, &t->client);
    if (t->passed == 0)
        return ml_cli_fail(t->cli, ML_UNREACHABLE, "the daemon went away; begin again as before");
    return ml_cli_failf(t->cli, ML_UNREACHABLE,
                        "the daemon went away; go on with `--from %" PRIu64 "`", t->passed + 1);
}

static int follow(tail *t, origin *from)
{
    ml_code code = subscribe(t, from);
    if (code) return ml_reach_fail(t->cli, &t->client);
    t->passed = from->after;
    ml_show_begin(&t->show, t->cli, true);
    t->show.slow = !t->until_end;
    ml_select_columns(t->cli, &t->select, &t->show);
    while (!code && !t->ended) {
        code = ml_client_wait(&t->client, -1);
        if (!code && !t->ended) code = grant(t);
    }
    if (code == ML_END)
        t->status = t->client.unseen ? ML_EXIT_PIPE : ML_EXIT_INTERRUPTED;
    else if (code)
        t->status = say_lost(t);
    return ml_show_end(&t->show, t->status);
}

int ml_verb_tail(const ml_cli *cli, int argc, char **argv)
{
    tail t = {.cli = cli, .until_end = ml_options_has(cli, "until-end")};
    origin from;
    int status;
    if (!ml_select_take(cli, argc > 1 ? argv[1] : "$all", &t.select)) return ML_EXIT_USAGE;
    if (!read_origin(cli, &from)) return ML_EXIT_USAGE;
    if (!ml_reach_open(cli, ML_REACH_FOLLOW, false, &t.client, &status)) return status;
    ml_cli_defer_interrupt();
    t.client.pushed = pushed;
    t.client.context = &t;
    t.client.shows = true;
    return ml_reach_close(cli, &t.client, follow(&t, &from));
}
