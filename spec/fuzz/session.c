/* session.c -- a whole session with a real daemon on a fresh store in memory: whatever a client
 * sends, the daemon answers in whole messages, ends in order with its client, and gives
 * everything back.
 *
 *   input:  what the client sends, until it says that it has sent all
 */
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../core/base/json.h"
#include "../../core/server/inside.h"
#include "fuzz.h"

enum { MESSAGES_MAX = 1 << 20 }; /* answered to an input of 8 KiB: a page for each byte */

static char dir[64];

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

static void remove_dir(void)
{
    ML_IGNORE(nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS)); /* the first time none is there */
}

void ml_fuzz_begin(void)
{
    snprintf(dir, sizeof dir, "/dev/shm/moonlog-fuzz-%d", (int)getpid());
    ML_ASSERT(atexit(remove_dir) == 0);
}

/* ---- seeds -------------------------------------------------------------------------------- */

/* [0, msgid, method, [params]], params as JSON. */
static void add_request(ml_buf *out, int64_t msgid, const char *method, const char *params)
{
    ml_pack_array(out, 4);
    ml_pack_int(out, 0);
    ml_pack_int(out, msgid);
    ml_pack_text(out, method);
    ml_pack_array(out, 1);
    ML_ASSERT(ml_json_read((ml_bytes){params, strlen(params)}, out, NULL) == ML_OK);
}

/* Each method's example alone, all in a row, and some that examples do not show. */
void ml_fuzz_seeds(void)
{
    static const char *const more[][2] = {
        {"append",
         "{\"writes\":[{\"stream\":\"a-1\",\"events\":[{\"type\":\"T\",\"tags\":[\"x:1\"],"
         "\"meta\":{\"actor\":\"b\"},\"schema\":2,\"occurred\":5}],\"expected\":\"no_stream\"},"
         "{\"stream\":\"b-1\",\"events\":[{\"type\":\"U\",\"data\":[1,2.5,null,true]}]}],"
         "\"durability\":\"memory\"}"},
        {"append", "{\"stream\":\"a-1\",\"events\":[{\"type\":\"T\"}],\"condition\":{\"query\":"
                   "[{\"types\":[\"T\"],\"tags\":[\"x:1\"]}],\"after\":0},\"durability\":\"os\"}"},
        {"read", "{\"query\":[{\"types\":[\"T\",\"U\"]},{\"tags\":[\"x:1\"]}],\"backward\":true,"
                 "\"limit\":5,\"max_bytes\":100,\"system\":true,\"partial\":true}"},
        {"subscribe", "{\"after\":0,\"credit\":1,\"query\":[{\"types\":[\"T\"]}]}"},
        {"credit", "{\"subscription\":1,\"events\":3}"},
        {"listen", "{\"subject\":\"*.>\",\"buffer\":1,\"policy\":\"disconnect\"}"},
        {"signal", "{\"subject\":\"a.b\",\"reply\":\"c.d\",\"data\":{\"n\":1}}"},
        {"unlisten", "{\"subscription\":2}"},
    };
    ml_buf all = {0}, one = {0};
    for (const ml_method *method = ml_dispatch_methods; method->name != NULL; method++) {
        ml_buf_clear(&one);
        add_request(&one, 1, method->name, method->example);
        ml_fuzz_seed(one.data, one.size);
        ml_buf_add(&all, one.data, one.size);
    }
    for (size_t n = 0; n < sizeof more / sizeof *more; n++) {
        add_request(&all, (int64_t)n, more[n][0], more[n][1]);
        ml_fuzz_seed(all.data, all.size);
    }
    ml_buf_free(&one);
    ml_buf_free(&all);
}

/* ---- the client --------------------------------------------------------------------------- */

typedef struct client {
    int file;
    ml_bytes sends;
    ml_buf heard;
} client;

/* Sends while the daemon takes it, and hears until the daemon has closed. */
static void *talk(void *context)
{
    client *self = context;
    const char *at = self->sends.data;
    size_t left = self->sends.size;
    while (left > 0) { /* less than a socket holds, so this never waits for the daemon */
        ssize_t sent = send(self->file, at, left, MSG_NOSIGNAL);
        if (sent <= 0) break;
        at += sent;
        left -= (size_t)sent;
    }
    shutdown(self->file, SHUT_WR);
    for (;;) {
        ML_ASSERT(ml_buf_reserve(&self->heard, 65536));
        ssize_t size = recv(self->file, self->heard.data + self->heard.size, 65536, 0);
        if (size <= 0) break;
        self->heard.size += (size_t)size;
    }
    return NULL;
}

/* An error is [number, "CODE: sentence"] in UTF-8. */
static void check_error(ml_unpack *cursor)
{
    uint32_t count;
    int64_t number;
    ml_bytes text;
    if (*cursor->at == 0xc0) return;
    ML_ASSERT(ml_unpack_array(cursor, &count) && count == 2);
    ML_ASSERT(ml_unpack_int(cursor, &number) && ml_unpack_str(cursor, &text));
    const char *name = ml_error_name((ml_code)number);
    ML_ASSERT(text.size > strlen(name) + 2 && memcmp(text.data, name, strlen(name)) == 0);
    ML_ASSERT(memcmp((const char *)text.data + strlen(name), ": ", 2) == 0);
    ML_ASSERT(ml_unpack_utf8(text));
}

/* Whole messages, all of them answers or pushes. */
static void check_heard(ml_bytes heard)
{
    ml_unpack cursor = ml_unpack_from(heard);
    for (unsigned n = 0; cursor.at < cursor.end; n++) {
        ml_unpack message = cursor;
        uint32_t count;
        int64_t kind, msgid;
        ml_bytes name;
        ML_ASSERT(n < MESSAGES_MAX);
        ML_ASSERT(ml_unpack_skip(&cursor));
        ML_ASSERT(ml_unpack_array(&message, &count) && ml_unpack_int(&message, &kind));
        ML_ASSERT((kind == 1 && count == 4) || (kind == 2 && count == 3));
        if (kind == 2) {
            ML_ASSERT(ml_unpack_str(&message, &name));
            continue;
        }
        ML_ASSERT(ml_unpack_int(&message, &msgid) && msgid >= 0);
        check_error(&message);
    }
}

/* Those methods begin a worker process: this very program, which would begin to fuzz there. What
 * they do with what they are sent is fuzzed by rulepack.c and value.c. */
static bool needs_worker(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"rules.", "command", "state"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
        if (memmem(data, size, names[n], strlen(names[n])) != NULL) return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (needs_worker(data, size)) return 0;
    int pair[2];
    pthread_t thread;
    ml_error why;
    remove_dir();
    ML_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    client self = {.file = pair[0], .sends = {data, size}};
    ML_ASSERT(pthread_create(&thread, NULL, talk, &self) == 0);
    ml_server_options options = {.dir = dir, .ready = -1, .client = pair[1]};
    ML_ASSERT(ml_server_run(&options, &why) == ML_OK);
    ML_ASSERT(pthread_join(thread, NULL) == 0);
    check_heard(ml_buf_view(&self.heard));
    ml_buf_free(&self.heard);
    close(self.file);
    return 0;
}
