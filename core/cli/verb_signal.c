/* verb_signal.c -- signals: told with `signal`, heard with `listen`; nothing of them is stored. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>

#include "reach.h"
#include "show.h"

typedef struct hearing {
    const ml_cli *cli;
    ml_client client;
    ml_show show;
    uint64_t left; /* signals still wanted */
    bool ended;
} hearing;

/* ---- hearing -------------------------------------------------------------------------- */

static void say_gap(const hearing *h, ml_bytes params)
{
    fprintf(stderr,
            "moonlog: %" PRIu64 " signals were missed: they came faster than they were taken\n",
            ml_client_natural(params, "missed"));
    (void)h;
}

static void pushed(void *context, ml_bytes method, ml_bytes params)
{
    hearing *h = context;
    if (h->ended) return;
    if (ml_bytes_equal(method, ML_STR("gap"))) say_gap(h, params);
    if (!ml_bytes_equal(method, ML_STR("signal"))) return;
    ml_bytes reply = ml_unpack_find_str(params, "reply");
    ml_field fields[] = {
        ML_TEXT("subject", ml_unpack_find_str(params, "subject")),
        ML_VALUE("data", ml_unpack_find(params, "data")),
        ML_TEXT("reply", reply),
    };
    /* A table has the same columns in each row. */
    bool all = reply.size > 0 || h->show.shape == ML_SHAPE_TABLE;
    bool going =
        ml_show_record(&h->show, fields, all ? 3 : 2) && (!h->show.list || ml_show_now(&h->show));
    h->ended = !going || --h->left == 0;
}

static ml_code listen_to(hearing *h, const char *pattern)
{
    ml_bytes result;
    ml_buf *out = ml_client_begin(&h->client, "listen");
    ml_pack_map(out, 1);
    ml_pack_text(out, "subject");
    ml_pack_text(out, pattern);
    h->client.pushed = pushed;
    h->client.context = h;
    return ml_client_call(&h->client, &result);
}

static int hear(hearing *h, const char *pattern)
{
    ml_code code = listen_to(h, pattern);
    if (code) return ml_reach_fail(h->cli, &h->client);
    int status = ML_EXIT_OK;
    ml_show_begin(&h->show, h->cli, true);
    h->show.slow = true;
    h->client.shows = true;
    while (!code && !h->ended)
        code = ml_client_wait(&h->client, -1);
    if (code == ML_END)
        status = h->client.unseen ? ML_EXIT_PIPE : ML_EXIT_INTERRUPTED;
    else if (code == ML_UNREACHABLE)
        status = ml_cli_fail(h->cli, code,
                             "the daemon went away; what is signalled until you listen again is "
                             "lost");
    else if (code)
        status = ml_reach_fail(h->cli, &h->client);
    return ml_show_end(&h->show, status);
}

int ml_verb_listen(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    hearing h = {.cli = cli, .left = UINT64_MAX};
    int status;
    if (!ml_options_natural(cli, "count", 1, UINT64_MAX, &h.left)) return ML_EXIT_USAGE;
    if (!ml_reach_open(cli, ML_REACH_USE, false, &h.client, &status)) return status;
    ml_cli_defer_interrupt();
    return ml_reach_close(cli, &h.client, hear(&h, argv[1]));
}

/* ---- telling -------------------------------------------------------------------------- */

/* A subject for the answer, that nobody else will think of. */
static void make_inbox(char inbox[48])
{
    uint8_t random[16] = {0};
    int size = snprintf(inbox, 48, "_inbox.");
    ML_IGNORE(getrandom(random, sizeof random, 0) < 0); /* 16 bytes are always there after boot */
    for (size_t n = 0; n < sizeof random; n++)
        size += snprintf(inbox + size, 48 - (size_t)size, "%02x", random[n]);
}

static ml_code tell(ml_client *client, const char *subject, ml_bytes data, const char *reply,
                    ml_bytes *result)
{
    ml_buf *out = ml_client_begin(client, "signal");
    size_t begin = ml_pack_begin(out);
    uint32_t pairs = 1;
    ml_pack_text(out, "subject");
    ml_pack_text(out, subject);
    if (data.size > 0) {
        ml_pack_text(out, "data");
        ml_buf_add(out, data.data, data.size);
        pairs++;
    }
    if (reply != NULL) {
        ml_pack_text(out, "reply");
        ml_pack_text(out, reply);
        pairs++;
    }
    ml_pack_end_map(out, begin, pairs);
    return ml_client_call(client, result);
}

static int tell_only(hearing *h, const char *subject, ml_bytes data)
{
    ml_bytes result;
    if (tell(&h->client, subject, data, NULL, &result)) return ml_reach_fail(h->cli, &h->client);
    return ml_show_one(h->cli, &ML_NATURAL("listeners", ml_client_natural(result, "listeners")), 1,
                       ML_EXIT_OK);
}

/* Tells, and shows the first answer. */
static int request(hearing *h, const char *subject, ml_bytes data, uint64_t seconds)
{
    char inbox[48];
    ml_bytes result;
    make_inbox(inbox);
    h->left = 1;
    ml_show_begin(&h->show, h->cli, false);
    ml_code code = listen_to(h, inbox);
    if (!code) code = tell(&h->client, subject, data, inbox, &result);
    double end = ml_cli_seconds() + (double)seconds;
    while (!code && !h->ended) {
        double left = end - ml_cli_seconds();
        code = ml_client_wait(&h->client, left > 0 ? (int)(left * 1e3) : 0);
    }
    int status = ML_EXIT_OK;
    if (code == ML_END)
        status = ML_EXIT_INTERRUPTED;
    else if (code == ML_TIMEOUT)
        status = ml_cli_failf(h->cli, code, "nobody answered within %" PRIu64 " s", seconds);
    else if (code)
        status = ml_reach_fail(h->cli, &h->client);
    return ml_show_end(&h->show, status);
}

int ml_verb_signal(const ml_cli *cli, int argc, char **argv)
{
    hearing h = {.cli = cli};
    ml_buf data = {0};
    uint64_t seconds = 5;
    if (!ml_options_natural(cli, "timeout", 1, 86400, &seconds)) return ML_EXIT_USAGE;
    int status = argc > 2 ? ml_cli_data(cli, argv[2], &data) : ML_EXIT_OK;
    if (status == ML_EXIT_OK && ml_reach_open(cli, ML_REACH_USE, false, &h.client, &status)) {
        ml_cli_defer_interrupt();
        if (ml_options_has(cli, "reply"))
            status = request(&h, argv[1], ml_buf_view(&data), seconds);
        else
            status = tell_only(&h, argv[1], ml_buf_view(&data));
        status = ml_reach_close(cli, &h.client, status);
    }
    ml_buf_free(&data);
    return status;
}
