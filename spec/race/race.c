/* race.c -- everything that has threads, at once: made to be built with MODE=tsan.
 *
 *   race DIR [appends]
 *
 * One thread submits and settles (the flusher writes behind it, the background prepares and
 * seals segments, writes and merges runs); a second one follows through a read-only handle.
 * Both check what they see: positions dense, nothing before it is settled, the follower the
 * same events. Prints one line and exits 0, or says what was wrong and exits 1.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/moonlog.h"

static atomic_ulong notified, followed;
static atomic_ulong settled_position;
static atomic_bool writing = true;

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "race: %s: %s\n", what, why);
    exit(1);
}

static void notify(void *context)
{
    (void)context;
    atomic_fetch_add(&notified, 1);
}

static void settled(void *context, ml_code code, const ml_receipt *receipt, const char *why)
{
    unsigned long *answered = context;
    if (code) fail("a submitted append was refused", why);
    if (receipt->last < receipt->first) fail("a receipt", "last is before first");
    if (receipt->last > atomic_load(&settled_position)) atomic_store(&settled_position, receipt->last);
    ++*answered;
}

static ml_options small(bool read_only)
{
    return (ml_options){.read_only = read_only,
                        .segment_bytes = 64 << 10,
                        .memory_events = 256,
                        .window_events = 128,
                        .notify = read_only ? NULL : notify};
}

static void *follow(void *context)
{
    const char *dir = context;
    ml_options options = small(true);
    ml_store *store;
    ml_cursor *cursor;
    ml_event event;
    uint64_t expected = 1;
    if (ml_open(&store, dir, &options)) fail("follower", ml_why(store));
    if (ml_subscribe(store, &(ml_selection){.system = true}, 0, &cursor)) fail("follower", ml_why(store));
    for (;;) {
        bool last = !atomic_load(&writing);
        ml_code code;
        while ((code = ml_poll(cursor, &event)) == ML_OK) {
            if (event.position != expected++) fail("follower", "positions are not dense");
            atomic_store(&followed, event.position);
        }
        if (code != ML_END) fail("follower", ml_why(store));
        if (last) break;
    }
    ml_cursor_free(cursor);
    ml_close(store);
    return NULL;
}

static void submit_all(ml_store *store, unsigned long appends, unsigned long *answered)
{
    for (unsigned long n = 0; n < appends; n++) {
        char name[32];
        snprintf(name, sizeof name, "account-%lu", n % 97);
        ml_bytes tag = {name + 8, strlen(name) - 8};
        ml_draft draft = {.type = ML_STR("Deposited"), .data = ML_STR("\x81\xa6" "amount\x05"), .tags = &tag, .tag_count = 1};
        ml_write write = {{name, strlen(name)}, ML_ANY, &draft, 1};
        ml_durability level = n % 5 == 0 ? ML_DISK : ML_OS;
        ml_proposal proposal = {.writes = &write, .count = 1, .durability = level};
        ml_code code = ml_submit(store, &proposal, settled, answered);
        if (code == ML_LIMIT) {
            ml_settle(store, true);
            code = ml_submit(store, &proposal, settled, answered);
        }
        if (code) fail("submit", ml_why(store));
        if (n % 16 == 0 && ml_settle(store, false)) fail("settle", ml_why(store));
        if (n % 1000 == 0 && ml_append(store, &proposal, NULL)) fail("append", ml_why(store));
    }
    if (ml_settle(store, true)) fail("settle", ml_why(store));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: race DIR [appends]\n");
        return 2;
    }
    unsigned long appends = argc > 2 ? strtoul(argv[2], NULL, 10) : 20000, answered = 0;
    ml_options options = small(false);
    ml_store *store;
    pthread_t follower;
    if (ml_open(&store, argv[1], &options)) fail("writer", ml_why(store));
    if (pthread_create(&follower, NULL, follow, argv[1]) != 0) fail("follower", "no thread");
    submit_all(store, appends, &answered);
    atomic_store(&writing, false);
    pthread_join(follower, NULL);
    ml_head head;
    if (ml_get_head(store, (ml_bytes){0}, &head)) fail("head", ml_why(store));
    if (answered != appends) fail("answers", "not every append was answered");
    if (head.position != atomic_load(&followed)) fail("follower", "it did not see the last event");
    if (atomic_load(&notified) == 0) fail("notify", "it was never called");
    if (ml_close(store)) fail("close", "failed");
    printf("race: %lu appends answered, %lu events followed\n", answered, (unsigned long)head.position);
    return 0;
}
