/* make.c -- made the store in spec/golden/v1, once; README.md there tells its story.
 *
 *     cc -std=c11 -D_GNU_SOURCE spec/golden/make.c build/libmoonlog.a -lcrypto -lm -o build/golden
 *     build/golden NEW-DIRECTORY
 *
 * Log id and times differ from run to run, so its output cannot be compared with the golden
 * files byte for byte: it is kept so that one can see what is in them, and make the next.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/moonlog.h"

enum { LEDGER = 72 }; /* events that only fill segments and index runs */

static ml_store *store;

static void check(ml_code code, const char *what)
{
    if (code == ML_OK) return;
    fprintf(stderr, "%s: %s\n", what, ml_why(store));
    exit(1);
}

static void append(const ml_write *writes, size_t count, ml_durability level)
{
    ml_proposal proposal = {.writes = writes, .count = count, .durability = level};
    check(ml_append(store, &proposal, NULL), "append");
}

static void append_one(ml_bytes stream, const ml_draft *draft)
{
    ml_write write = {.stream = stream, .expected = ML_ANY, .events = draft, .count = 1};
    append(&write, 1, ML_DISK);
}

/* Every kind and every width of MessagePack that an event may hold, one event each. */
static void append_kinds(void)
{
    const ml_bytes values[] = {
        ML_STR("\xc0"),                                          /* nil */
        ML_STR("\xc2"), ML_STR("\xc3"),                          /* false, true */
        ML_STR("\x00"), ML_STR("\x7f"), ML_STR("\xe0"),          /* fixints */
        ML_STR("\xcc\xff"), ML_STR("\xcd\xff\xff"),              /* uint 8, 16 */
        ML_STR("\xce\xff\xff\xff\xff"),                          /* uint 32 */
        ML_STR("\xcf\x7f\xff\xff\xff\xff\xff\xff\xff"),          /* the largest integer */
        ML_STR("\xd0\x80"), ML_STR("\xd1\x80\x00"),              /* int 8, 16 */
        ML_STR("\xd2\x80\x00\x00\x00"),                          /* int 32 */
        ML_STR("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"),          /* the smallest integer */
        ML_STR("\xcd\x00\x05"),                                  /* 5, wider than needed */
        ML_STR("\xca\x3f\xc0\x00\x00"),                          /* float 32: 1.5 */
        ML_STR("\xca\x3d\xcc\xcc\xcd"),                          /* float 32: about 0.1 */
        ML_STR("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"),          /* float 64: 0.1 */
        ML_STR("\xcb\x40\x41\x80\x00\x00\x00\x00\x00"),          /* 35.0 */
        ML_STR("\xcb\x80\x00\x00\x00\x00\x00\x00\x00"),          /* -0.0 */
        ML_STR("\xcb\x00\x00\x00\x00\x00\x00\x00\x01"),          /* the smallest denormal */
        ML_STR("\xcb\x7f\xef\xff\xff\xff\xff\xff\xff"),          /* the largest double */
        ML_STR("\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),          /* NaN */
        ML_STR("\xca\x7f\xc0\x00\x00"),                          /* NaN in 32 bits */
        ML_STR("\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00"),          /* inf */
        ML_STR("\xcb\xff\xf0\x00\x00\x00\x00\x00\x00"),          /* -inf */
        ML_STR("\xa0"), ML_STR("\xa3" "ada"),                    /* fixstr */
        ML_STR("\xd9\x05\"\\\n\x01\x7f"),                        /* str 8 that JSON escapes */
        ML_STR("\xda\x00\x0a\xc3\xbc\xe2\x82\xac\xf0\x9f\x8c\x99!"), /* str 16: ü € moon ! */
        ML_STR("\xdb\x00\x00\x00\x01x"),                         /* str 32 */
        ML_STR("\xc4\x00"), ML_STR("\xc4\x03\x00\xff\x80"),      /* bin 8 */
        ML_STR("\xc5\x00\x01z"), ML_STR("\xc6\x00\x00\x00\x02zz"), /* bin 16, 32 */
        ML_STR("\xd4\x05\x01"), ML_STR("\xd5\x80\x01\x02"),      /* fixext 1, 2 */
        ML_STR("\xd6\xff\x00\x00\x00\x00"),                      /* fixext 4: a timestamp */
        ML_STR("\xd7\x01" "12345678"),                           /* fixext 8 */
        ML_STR("\xd8\x7f" "0123456789abcdef"),                   /* fixext 16 */
        ML_STR("\xc7\x00\x09"), ML_STR("\xc8\x00\x03\x09xyz"),   /* ext 8, 16 */
        ML_STR("\xc9\x00\x00\x00\x01\x09x"),                     /* ext 32 */
        ML_STR("\x90"), ML_STR("\x93\x01\xa1" "b\xc0"),          /* fixarray */
        ML_STR("\xdc\x00\x01\x01"), ML_STR("\xdd\x00\x00\x00\x01\x01"), /* array 16, 32 */
        ML_STR("\x80"), ML_STR("\x82\xa1" "a\x01\xa1" "b\x80"),  /* fixmap */
        ML_STR("\xde\x00\x01\xa1" "a\x01"),                      /* map 16 */
        ML_STR("\xdf\x00\x00\x00\x01\xa1" "a\x01"),              /* map 32 */
        ML_STR("\x82\x01\xa3" "one\xc3\xc0"),                    /* keys that are no strings */
        ML_STR("\x81\xa4$bin\xa1" "x"),                          /* the key that JSON needs */
        ML_STR("\x82\xa1k\x01\xa1k\x02"),                        /* a key that comes twice */
        ML_STR("\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91"
               "\x91\x91\x91\x91\x91\x91\x91\x91\x91\x90"),      /* 30 deep */
    };
    for (size_t n = 0; n < sizeof values / sizeof *values; n++) {
        ml_draft draft = {.type = ML_STR("Kind"), .data = values[n]};
        append_one(ML_STR("kinds-all"), &draft);
    }
}

/* Every field an event has, at its edges. */
static void append_fields(void)
{
    static const uint8_t id[ML_ID_SIZE] = {0x01, 0x8f, 0x00, 0x00, 0x00, 0x00, 0x70, 0x00,
                                           0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01};
    const ml_bytes tags[] = {ML_STR("iban:FR14"), ML_STR("süd"), ML_STR("vip")};
    ml_draft opened = {.type = ML_STR("AccountOpened"),
                       .data = ML_STR("\x82\xa5" "owner\xa3" "Ada\xa7" "balance\x00"),
                       .meta = ML_STR("\x81\xa2" "by\xa4" "desk"),
                       .tags = tags,
                       .tag_count = 3,
                       .id = id,
                       .schema = 7,
                       .has_occurred = true,
                       .occurred = 1700000000000001};
    append_one(ML_STR("account-ada"), &opened);
    ml_draft early = {.type = ML_STR("Born"), .has_occurred = true, .occurred = -1};
    append_one(ML_STR("account-bob"), &early);
    ml_draft schema = {.type = ML_STR("Latest"), .schema = INT32_MAX};
    append_one(ML_STR("noDash"), &schema);

    char name[512], type[256], many[32][8];
    ml_bytes all[32];
    memset(name, 'n', sizeof name);
    memset(type, 't', sizeof type);
    for (size_t n = 0; n < 32; n++)
        all[n] = (ml_bytes){many[n], (size_t)snprintf(many[n], sizeof many[n], "t%zu", n)};
    ml_draft widest = {.type = {type, sizeof type}, .tags = all, .tag_count = 32};
    append_one((ml_bytes){name, sizeof name}, &widest);
    ml_draft system = {.type = ML_STR("$Noted"), .data = ML_STR("\x81\xa4" "note\xa2" "ok")};
    append_one(ML_STR("$moonlog-notes"), &system);
}

/* One append, one frame, three streams, one of them twice. */
static void append_transfer(void)
{
    ml_draft out = {.type = ML_STR("Withdrawn"), .data = ML_STR("\x81\xa6" "amount\x23")};
    ml_draft in = {.type = ML_STR("Deposited"), .data = ML_STR("\x81\xa6" "amount\x23")};
    ml_draft noted[] = {{.type = ML_STR("Begun")}, {.type = ML_STR("Ended")}};
    ml_write writes[] = {
        {.stream = ML_STR("account-ada"), .expected = 0, .events = &out, .count = 1},
        {.stream = ML_STR("transfer-1"), .expected = ML_NO_STREAM, .events = noted, .count = 2},
        {.stream = ML_STR("account-bob"), .expected = ML_STREAM_EXISTS, .events = &in, .count = 1},
        {.stream = ML_STR("account-ada"), .expected = 1, .events = &in, .count = 1}};
    append(writes, 4, ML_DISK);
}

/* Some text, so that segments fill; some written without a sync. */
static void append_ledger(void)
{
    for (unsigned n = 0; n < LEDGER; n++) {
        const ml_bytes tags[] = {ML_STR("even"), ML_STR("odd")};
        char stream[16];
        uint8_t data[128] = {0xd9, 120};
        memset(data + 2, (int)('a' + n % 26), 120);
        ml_bytes name = {stream, (size_t)snprintf(stream, sizeof stream, "ledger-%u", n % 5)};
        ml_draft draft = {
            .type = ML_STR("Line"), .data = {data, 122}, .tags = &tags[n % 2], .tag_count = 1};
        ml_write write = {.stream = name, .expected = ML_ANY, .events = &draft, .count = 1};
        append(&write, 1, n % 16 == 7 ? ML_OS : ML_DISK);
    }
}

int main(int count, char **words)
{
    if (count != 2) {
        fprintf(stderr, "usage: golden NEW-DIRECTORY\n");
        return 2;
    }
    ml_options options = {.segment_bytes = 16384, .memory_events = 64, .no_threads = true};
    check(ml_open(&store, words[1], &options), "open");
    append_fields();
    append_transfer();
    append_kinds();
    append_ledger();
    return ml_close(store) == ML_OK ? 0 : 1;
}
