/* mixed.c -- clients that do everything there is at random, good and bad, for the sanitizers.
 *
 * What is asked rightly must be answered rightly, what is asked wrongly must be refused, what is
 * no message must cost no more than its connection; every request is answered, and at the end
 * the log is held against the model.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "model.h"

enum {
    CLIENTS_MAX = ML_MODEL_CLIENTS,
    DEPTH = 32, /* requests of a client under way, beside its appends */
    SUBJECTS = 6,
    SUBSCRIPTIONS = 8, /* ids that a client remembers, of either kind */
    STUCK_MS = 60000,
    GARBAGE = 64
};

typedef enum hope { MAY, MUST, MUST_NOT } hope; /* succeed */

typedef struct one {
    ml_writer writer;
    struct {
        uint32_t msgid;
        hope hope;
        char kind; /* 's', 'l': the answer names a subscription, a listener */
    } waiting[DEPTH];
    unsigned count;
    uint64_t subscriptions[SUBSCRIPTIONS], listeners[SUBSCRIPTIONS];
    unsigned doomed; /* turns until it hangs up: what it sent is no message */
} one;

typedef struct trial {
    ml_siege *siege;
    ml_model *model;
    one all[CLIENTS_MAX];
    size_t clients;
    uint64_t asked, refused, pushed, lost, appends;
} trial;

static uint32_t below(trial *t, uint32_t sides)
{
    return ml_dice_below(&t->siege->dice, sides);
}

/* ---- values ------------------------------------------------------------------------------ */

/* Any MessagePack value, of any kind. */
static void pack_any(trial *t, ml_buf *out, unsigned depth)
{
    static const char words[] = "stream\0data\0\xff\xfe broken\0\xc3\xa4\0";
    uint32_t count = below(t, 4);
    switch (below(t, depth > 3 ? 7 : 9)) {
    case 0: ml_pack_nil(out); break;
    case 1: ml_pack_bool(out, count > 1); break;
    case 2: ml_pack_int(out, (int64_t)ml_dice_roll(&t->siege->dice)); break;
    case 3: ml_pack_int(out, (int64_t)count - 2); break;
    case 4: ml_pack_double(out, (double)count / 3); break;
    case 5: ml_pack_str(out, (ml_bytes){words + below(t, 20), below(t, 8)}); break;
    case 6: ml_pack_bin(out, (ml_bytes){words, below(t, 17)}); break;
    case 7:
        ml_pack_array(out, count);
        while (count-- > 0)
            pack_any(t, out, depth + 1);
        break;
    default:
        ml_pack_map(out, count);
        for (uint32_t n = 0; n < 2 * count; n++)
            pack_any(t, out, depth + 1);
        break;
    }
}

static void pack_subject(trial *t, ml_buf *out, bool pattern)
{
    char text[32];
    snprintf(text, sizeof text, pattern && below(t, 2) == 0 ? "siege.%u.>" : "siege.%u.told",
             below(t, SUBJECTS));
    ml_pack_text(out, pattern && below(t, 8) == 0 ? ">" : text);
}

/* stream, category, query or nothing; gives how many entries. */
static uint32_t pack_selection(trial *t, ml_buf *out)
{
    char name[ML_MODEL_NAME];
    uint32_t which = below(t, 4);
    if (which == 0) return 0;
    ml_pack_text(out, which == 1 ? "stream" : which == 2 ? "category" : "query");
    if (which == 1) ml_model_stream(below(t, ML_MODEL_STREAMS), name);
    if (which == 2) ml_model_category(below(t, ML_MODEL_CATEGORIES), name);
    if (which < 3) {
        ml_pack_text(out, name);
        return 1;
    }
    ml_pack_array(out, 1);
    ml_pack_map(out, 1);
    ml_pack_text(out, "tags");
    ml_pack_array(out, 1);
    ml_model_tag(below(t, ML_MODEL_TAGS), name);
    ml_pack_text(out, name);
    return 1;
}

/* ---- requests ------------------------------------------------------------------------------ */

static ml_buf *ask(trial *t, one *of, const char *method, hope wish, char kind)
{
    ml_buf *out = ml_client_begin(&of->writer.client, method);
    of->waiting[of->count].msgid = of->writer.client.msgid;
    of->waiting[of->count].hope = wish;
    of->waiting[of->count++].kind = kind;
    t->asked++;
    return out;
}

static void ask_read(trial *t, one *of)
{
    ml_buf *out = ask(t, of, "read", MAY, 0); /* a stream may not be there yet */
    size_t begin = ml_pack_begin(out);
    uint32_t entries = pack_selection(t, out) + 1;
    ml_pack_text(out, "limit");
    ml_pack_int(out, 1 + below(t, 300));
    if (below(t, 2) == 0) {
        ml_pack_text(out, "from");
        ml_pack_int(out, below(t, (uint32_t)t->model->highest + 10));
        entries++;
    }
    if (below(t, 3) == 0) {
        ml_pack_text(out, "backward");
        ml_pack_bool(out, true);
        entries++;
    }
    ml_pack_end_map(out, begin, entries);
}

static void ask_subscribe(trial *t, one *of)
{
    ml_buf *out = ask(t, of, "subscribe", MAY, 's'); /* at most so many on one connection */
    size_t begin = ml_pack_begin(out);
    uint32_t entries = pack_selection(t, out) + 1;
    ml_pack_text(out, "after");
    if (below(t, 3) == 0)
        ml_pack_text(out, below(t, 2) == 0 ? "start" : "end");
    else
        ml_pack_int(out, below(t, (uint32_t)t->model->highest + 1));
    if (below(t, 4) > 0) {
        ml_pack_text(out, "credit");
        ml_pack_int(out, below(t, 200));
        entries++;
    }
    ml_pack_end_map(out, begin, entries);
}

static void ask_about(trial *t, one *of, const char *method, uint64_t id, bool credit)
{
    ml_buf *out = ask(t, of, method, MAY, 0);
    ml_pack_map(out, credit ? 2 : 1);
    ml_pack_text(out, "subscription");
    ml_pack_int(out, (int64_t)id);
    if (!credit) return;
    ml_pack_text(out, "events");
    ml_pack_int(out, below(t, 500));
}

static void ask_listen(trial *t, one *of)
{
    static const char *const policies[] = {"drop_old", "drop_new"};
    ml_buf *out = ask(t, of, "listen", MAY, 'l');
    ml_pack_map(out, 3);
    ml_pack_text(out, "subject");
    pack_subject(t, out, true);
    ml_pack_text(out, "buffer");
    ml_pack_int(out, 1 + below(t, 20));
    ml_pack_text(out, "policy");
    ml_pack_text(out, policies[below(t, 2)]);
}

static void ask_signal(trial *t, one *of)
{
    ml_buf *out = below(t, 2) == 0 ? ml_client_notice(&of->writer.client, "signal")
                                   : ask(t, of, "signal", MUST, 0);
    ml_pack_map(out, 2);
    ml_pack_text(out, "subject");
    pack_subject(t, out, false);
    ml_pack_text(out, "data");
    ml_pack_int(out, (int64_t)t->asked);
}

static void ask_plain(trial *t, one *of)
{
    static const char *const methods[] = {"head", "status", "api", "streams"};
    ml_pack_map(ask(t, of, methods[below(t, 4)], MUST, 0), 0);
}

static void say_hello(trial *t, one *of)
{
    ml_buf *out = ask(t, of, "hello", MUST, 0);
    ml_pack_map(out, 1);
    ml_pack_text(out, "events");
    ml_pack_text(out, below(t, 2) == 0 ? "map" : "array");
}

/* A method that is there, with parameters that cannot be meant. */
static void ask_wrongly(trial *t, one *of)
{
    static const char *const methods[] = {"append", "read",   "subscribe", "credit", "unsubscribe",
                                          "signal", "listen", "unlisten",  "streams"};
    ml_buf *out;
    switch (below(t, 4)) {
    case 0: ml_pack_map(ask(t, of, "no_such_method", MUST_NOT, 0), 0); break;
    case 1:
        out = ask(t, of, methods[below(t, 9)], MUST_NOT, 0);
        ml_pack_map(out, 1);
        ml_pack_text(out, "no_such_name");
        pack_any(t, out, 0);
        break;
    case 2:
        out = ask(t, of, methods[below(t, 8)], MAY, 0);
        pack_any(t, out, 0);
        break;
    default:
        out = ask(t, of, "append", MUST_NOT, 0);
        ml_pack_map(out, 2);
        ml_pack_text(out, "stream");
        ml_pack_text(out, "never-1");
        ml_pack_text(out, "events");
        ml_pack_array(out, 1);
        pack_any(t, out, 3); /* no map that deep */
        break;
    }
}

/* What is no message, or not the beginning of one that ends. */
static void send_garbage(trial *t, one *of)
{
    static const uint8_t huge[] = {0x94, 0x00, 0x01, 0xdb, 0xff, 0xff, 0xff, 0xff}, reserved = 0xc1;
    ml_buf *out = &of->writer.client.out;
    switch (below(t, 4)) {
    case 0: ml_buf_byte(out, reserved); break;
    case 1: ml_buf_add(out, huge, sizeof huge); break;
    case 2:
        for (int n = 0; n < GARBAGE; n++)
            ml_buf_byte(out, 0x91); /* deep */
        break;
    default:
        for (int n = 0; n < GARBAGE; n++)
            ml_buf_byte(out, (uint8_t)below(t, 256));
        break;
    }
    of->doomed = 1 + below(t, 5);
}

static void do_something(trial *t, one *of)
{
    uint32_t which = below(t, 100);
    uint64_t subscription = of->subscriptions[below(t, SUBSCRIPTIONS)],
             listener = of->listeners[below(t, SUBSCRIPTIONS)];
    if (which < 35) {
        if (of->writer.count < ML_WRITER_DEPTH) ml_writer_begin(&of->writer), t->appends++;
    } else if (which < 45)
        ask_read(t, of);
    else if (which < 50)
        ask_subscribe(t, of);
    else if (which < 58)
        ask_about(t, of, "credit", subscription, true);
    else if (which < 62)
        ask_about(t, of, "unsubscribe", subscription, false);
    else if (which < 66)
        ask_listen(t, of);
    else if (which < 69)
        ask_about(t, of, "unlisten", listener, false);
    else if (which < 79)
        ask_signal(t, of);
    else if (which < 86)
        ask_plain(t, of);
    else if (which < 88)
        say_hello(t, of);
    else if (which < 99)
        ask_wrongly(t, of);
    else if (below(t, 10) == 0)
        send_garbage(t, of);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static bool take_answer(trial *t, one *of, const ml_message *message)
{
    unsigned n = 0;
    while (n < of->count && of->waiting[n].msgid != message->msgid)
        n++;
    if (n == of->count) /* msgid 0: what was no message */
        return (of->doomed > 0 && message->code != ML_OK) ||
               ml_siege_wrong(t->siege, "an answer to nothing that was asked, msgid %" PRIu32,
                              message->msgid);
    hope wish = of->waiting[n].hope;
    char kind = of->waiting[n].kind;
    of->waiting[n] = of->waiting[--of->count];
    t->refused += message->code != ML_OK;
    if (wish == MUST && message->code != ML_OK)
        return ml_siege_wrong(t->siege, "refused: %.*s", ML_SHOW(message->text));
    if (wish == MUST_NOT && message->code == ML_OK)
        return ml_siege_wrong(t->siege, "a wrong request is not refused");
    uint64_t *ids = kind == 's' ? of->subscriptions : of->listeners;
    if (kind != 0 && message->code == ML_OK)
        ids[below(t, SUBSCRIPTIONS)] = ml_client_natural(message->body, "subscription");
    return true;
}

static bool take(trial *t, one *of)
{
    ml_message message;
    bool good = true;
    while (good && ml_client_peek(&of->writer.client, &message)) {
        if (!message.answer)
            t->pushed++;
        else if (!ml_writer_answered(&of->writer, &message, &good))
            good = take_answer(t, of, &message);
        ml_client_drop(&of->writer.client, &message);
    }
    return good;
}

/* It hangs up, or was: some of what had no answer is sent again. */
static bool begin_again(trial *t, one *of)
{
    for (unsigned n = 0; n < of->writer.count; n++)
        if (below(t, 2) == 0) ml_writer_retry(&of->writer, of->writer.waiting[n].attempt);
    ml_client_close(&of->writer.client, below(t, 2) == 0);
    ml_writer_close(&of->writer);
    memset(of->subscriptions, 0, sizeof of->subscriptions);
    memset(of->listeners, 0, sizeof of->listeners);
    of->count = of->doomed = 0;
    t->lost++;
    return ml_writer_connect(&of->writer, below(t, 2) == 0);
}

static bool hear(trial *t, one *of)
{
    bool there = ml_client_fill(&of->writer.client);
    if (!take(t, of)) return false;
    if (there) return true;
    if (of->doomed == 0)
        return ml_siege_wrong(t->siege, "a client that did nothing wrong is disconnected");
    return begin_again(t, of);
}

/* ---- the whole ----------------------------------------------------------------------------------
 */

static bool act(trial *t, one *of)
{
    if (of->doomed > 0 && --of->doomed == 0) return begin_again(t, of);
    if (of->doomed == 0 && below(t, 2000) == 0) return begin_again(t, of);
    while (of->doomed == 0 && of->count < DEPTH - 1 && below(t, 4) > 0)
        do_something(t, of);
    return true;
}

static bool turn(trial *t, bool acting, uint64_t *waiting)
{
    struct pollfd on[CLIENTS_MAX];
    *waiting = 0;
    for (size_t n = 0; n < t->clients; n++) {
        one *of = &t->all[n];
        if (acting && !act(t, of)) return false;
        /* A broken pipe is met again when reading. */
        ML_IGNORE(!ml_client_flush(&of->writer.client));
        short also = of->writer.client.out.size > 0 ? POLLOUT : 0;
        on[n] = (struct pollfd){.fd = of->writer.client.file, .events = (short)(POLLIN | also)};
        *waiting += of->doomed > 0 ? 0 : of->count + of->writer.count;
    }
    if (poll(on, (nfds_t)t->clients, 2) < 0 && errno != EINTR)
        return ml_siege_wrong(t->siege, "poll fails");
    for (size_t n = 0; n < t->clients; n++)
        if ((on[n].revents & ~POLLOUT) != 0 && !hear(t, &t->all[n])) return false;
    return true;
}

static bool check(trial *t)
{
    ml_client client;
    ml_walk *walk = ml_walk_new(t->model);
    bool good = ml_siege_connect(t->siege, &client, false) && ml_walk_read(walk, &client);
    ml_client_close(&client, false);
    ml_walk_free(walk);
    return good;
}

static bool besiege(trial *t)
{
    uint64_t waiting = 1, until;
    if (!ml_daemon_start(&t->siege->daemon)) return ml_siege_daemon_wrong(t->siege);
    for (size_t n = 0; n < t->clients; n++)
        if (!ml_writer_connect(&t->all[n].writer, n % 2 == 1)) return false;
    while (t->asked + t->appends < t->siege->requests)
        if (!turn(t, true, &waiting))
            return ml_daemon_alive(&t->siege->daemon) ? false : ml_siege_daemon_wrong(t->siege);
    until = ml_siege_now() + (uint64_t)STUCK_MS * 1000;
    while (waiting > 0) {
        if (!turn(t, false, &waiting))
            return ml_daemon_alive(&t->siege->daemon) ? false : ml_siege_daemon_wrong(t->siege);
        if (ml_siege_now() > until)
            return ml_siege_wrong(t->siege, "%s requests are not answered",
                                  ml_siege_number(waiting));
    }
    for (size_t n = 0; n < t->clients; n++)
        ml_writer_close(&t->all[n].writer);
    if (!check(t)) return false;
    return ml_daemon_stop(&t->siege->daemon) || ml_siege_daemon_wrong(t->siege);
}

bool ml_mixed_run(ml_siege *siege)
{
    static trial t;
    if (siege->clients == 0 || siege->clients > CLIENTS_MAX)
        return ml_siege_wrong(siege, "1 to %d clients", CLIENTS_MAX);
    t = (trial){.siege = siege, .model = ml_model_new(siege), .clients = siege->clients};
    for (unsigned n = 0; n < t.clients; n++)
        t.all[n].writer = (ml_writer){.client.file = -1, .model = t.model};
    bool good = besiege(&t);
    if (good)
        printf("mixed: %s clients, %s appends (%s acknowledged) and %s other requests (%s "
               "refused), %s pushes, %s "
               "connections cut; every request answered, nothing wrong in the log, the daemon "
               "ended with status 0; "
               "seed %" PRIu64 "\n",
               ml_siege_number(t.clients), ml_siege_number(t.appends),
               ml_siege_number(t.model->acknowledged), ml_siege_number(t.asked),
               ml_siege_number(t.refused), ml_siege_number(t.pushed), ml_siege_number(t.lost),
               siege->seed);
    for (size_t n = 0; n < t.clients; n++)
        ml_writer_free(&t.all[n].writer);
    ml_model_free(t.model);
    return good;
}
