/* siege.c -- what the trials share. */
#include "siege.h"

#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

bool ml_siege_wrong(ml_siege *siege, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(siege->why, sizeof siege->why, format, arguments);
    va_end(arguments);
    return false;
}

bool ml_siege_daemon_wrong(ml_siege *siege)
{
    return ml_siege_wrong(siege, "%s", siege->daemon.why);
}

uint64_t ml_siege_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

const char *ml_siege_number(uint64_t number)
{
    static char buffers[16][32];
    static unsigned turn;
    char digits[24], *text = buffers[turn++ % 16], *to = text;
    size_t count = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number);
    for (size_t n = 0; n < count; n++) {
        if (n > 0 && (count - n) % 3 == 0) *to++ = ',';
        *to++ = digits[n];
    }
    *to = '\0';
    return text;
}

void *ml_siege_grow(void *memory, size_t size)
{
    void *grown = realloc(memory, size);
    if (grown != NULL) return grown;
    fprintf(stderr, "siege: out of memory for %zu bytes\n", size);
    exit(1);
}

bool ml_siege_descriptors(ml_siege *siege, uint64_t count)
{
    struct rlimit limit;
    rlim_t want = count + 256;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return ml_siege_wrong(siege, "getrlimit failed");
    if (limit.rlim_max < want) {
        struct rlimit raised = {want, want};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return true;
        return ml_siege_wrong(siege, "RLIMIT_NOFILE is %s and may not be raised to %s",
                              ml_siege_number(limit.rlim_max), ml_siege_number(want));
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 || ml_siege_wrong(siege, "setrlimit failed");
}

bool ml_siege_connect(ml_siege *siege, ml_client *client, bool tcp)
{
    ml_message message;
    if (!ml_client_connect(client, siege->daemon.socket, tcp ? siege->daemon.port : 0))
        return ml_siege_wrong(siege, "connecting to the daemon fails");
    ml_buf *out = ml_client_begin(client, "hello");
    ml_pack_map(out, 2);
    ml_pack_text(out, "client");
    ml_pack_text(out, "siege");
    ml_pack_text(out, "events");
    ml_pack_text(out, "array");
    return ml_siege_ask(siege, client, &message);
}

bool ml_siege_ask(ml_siege *siege, ml_client *client, ml_message *message)
{
    if (!ml_client_call(client, message, ML_SIEGE_ANSWER_MS))
        return ml_siege_wrong(siege, "no answer to request %" PRIu32, client->msgid);
    if (message->code == ML_OK) return true;
    return ml_siege_wrong(siege, "refused: %.*s", ML_SHOW(message->text));
}

bool ml_siege_status(ml_siege *siege, ml_client *client, const char *name, uint64_t *value)
{
    ml_message message;
    ml_pack_map(ml_client_begin(client, "status"), 0);
    if (!ml_siege_ask(siege, client, &message)) return false;
    *value = ml_client_natural(message.body, name);
    return true;
}

bool ml_siege_settle(ml_siege *siege, ml_client *client, uint64_t connections)
{
    uint64_t now = 0, until = ml_siege_now() + (uint64_t)ML_SIEGE_ANSWER_MS * 1000;
    do {
        if (!ml_siege_status(siege, client, "connections", &now)) return false;
        if (now == connections) return true;
        poll(NULL, 0, 10);
    } while (ml_siege_now() < until);
    return ml_siege_wrong(siege, "the daemon counts %s connections, and there are %s",
                          ml_siege_number(now), ml_siege_number(connections));
}

uint64_t ml_siege_idle_ms(ml_siege *siege)
{
    uint64_t before = ml_daemon_busy(&siege->daemon);
    poll(NULL, 0, 1000);
    return (ml_daemon_busy(&siege->daemon) - before) / 1000;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *ftw)
{
    (void)about, (void)kind, (void)ftw;
    return remove(path);
}

void ml_siege_remove(const char *path)
{
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void tell(void *context, const char *sentence)
{
    ml_siege_wrong(context, "verify: %s", sentence);
}

bool ml_siege_verify(ml_siege *siege)
{
    ml_verified verified = {0};
    char why[512] = "";
    ml_code code = ml_verify(siege->daemon.data, true, tell, siege, &verified, why, sizeof why);
    if (code == ML_OK && verified.problems == 0) return true;
    return verified.problems > 0 ? false : ml_siege_wrong(siege, "verify: %s", why);
}
