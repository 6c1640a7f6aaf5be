/* peers.c -- SQLite and LMDB at the work of an event log, in process, for `make bench`.
 *
 *     peers sqlite|lmdb append DIR [--batch N] [--sync 0|1] [--seconds S] [--streams N]
 *     peers sqlite|lmdb fill   DIR [--events N] [--streams N]      batches of 100, no sync
 *     peers sqlite|lmdb scan   DIR [--events N] [--seconds S]
 *     peers sqlite|lmdb load   DIR [--events N] [--seconds S]      streams of 100 at random
 *
 * Both keep what moonlog keeps of an event: its place in the whole log, its stream and
 * revision (unique together), its data of 256 bytes; names and places are those of
 * `moonlog bench`. Neither checks a checksum. Figures are printed as `moonlog bench` prints
 * them, a JSON object a line. A measuring program: any failure ends it.
 */
#include <inttypes.h>
#include <lmdb.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { PAYLOAD = 256, BATCH_MAX = 1024, POOL = 1024, NAME = 32, RECORD = NAME + 8 + PAYLOAD };

typedef struct event {
    char stream[NAME];
    size_t stream_size;
    uint64_t revision;
    const uint8_t *data;
} event;

typedef struct engine {
    const char *name;
    void (*open)(const char *dir, bool sync);
    void (*append)(const event *events, size_t count);
    uint64_t (*scan)(void);
    uint64_t (*load)(const event *stream);
    void (*close)(void);
} engine;

static struct {
    uint64_t events, streams, batch, sync;
    double seconds;
} option = {1000000, 100000, 1, 1, 2};

static uint8_t pool[POOL][PAYLOAD];
static volatile uint64_t sum; /* of bytes, so that they are really read */

_Noreturn static void fail(const char *what, const char *why)
{
    fprintf(stderr, "peers: %s: %s\n", what, why);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t dice(void)
{
    static uint64_t state = 1;
    uint64_t mixed = state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    return mixed ^ mixed >> 29;
}

static void set_stream(event *e, uint64_t number)
{
    e->stream_size = (size_t)snprintf(e->stream, NAME, "account-%07" PRIu64, number);
}

/* ---- SQLite ----------------------------------------------------------------------------- */

static sqlite3 *db;
static sqlite3_stmt *insert, *select_all, *select_stream, *begin, *commit;

static void sql(const char *text)
{
    if (sqlite3_exec(db, text, NULL, NULL, NULL) != SQLITE_OK) fail(text, sqlite3_errmsg(db));
}

static sqlite3_stmt *prepare(const char *text)
{
    sqlite3_stmt *made;
    int code = sqlite3_prepare_v3(db, text, -1, SQLITE_PREPARE_PERSISTENT, &made, NULL);
    if (code != SQLITE_OK) fail(text, sqlite3_errmsg(db));
    return made;
}

static void finish(sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE) fail("step", sqlite3_errmsg(db));
    sqlite3_reset(statement);
}

static void sqlite_open(const char *dir, bool sync)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/events.sqlite", dir);
    if (sqlite3_open(path, &db) != SQLITE_OK) fail(path, sqlite3_errmsg(db));
    sql("PRAGMA journal_mode = WAL");
    sql(sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = OFF");
    sql("PRAGMA cache_size = -262144");
    sql("PRAGMA mmap_size = 17179869184");
    sql("CREATE TABLE IF NOT EXISTS event (position INTEGER PRIMARY KEY, stream TEXT NOT NULL, "
        "revision INTEGER NOT NULL, data BLOB NOT NULL)");
    sql("CREATE UNIQUE INDEX IF NOT EXISTS by_stream ON event (stream, revision)");
    insert = prepare("INSERT INTO event (stream, revision, data) VALUES (?, ?, ?)");
    select_all = prepare("SELECT stream, revision, data FROM event ORDER BY position");
    select_stream = prepare("SELECT revision, data FROM event WHERE stream = ? ORDER BY revision");
    begin = prepare("BEGIN IMMEDIATE");
    commit = prepare("COMMIT");
}

static void sqlite_append(const event *events, size_t count)
{
    if (count > 1) finish(begin);
    for (size_t n = 0; n < count; n++) {
        sqlite3_bind_text(insert, 1, events[n].stream, (int)events[n].stream_size, SQLITE_STATIC);
        sqlite3_bind_int64(insert, 2, (sqlite3_int64)events[n].revision);
        sqlite3_bind_blob(insert, 3, events[n].data, PAYLOAD, SQLITE_STATIC);
        finish(insert);
    }
    if (count > 1) finish(commit);
}

static uint64_t sqlite_rows(sqlite3_stmt *statement, int column)
{
    uint64_t count = 0;
    int code;
    for (; (code = sqlite3_step(statement)) == SQLITE_ROW; count++) {
        const uint8_t *data = sqlite3_column_blob(statement, column);
        sum += data[0] + data[sqlite3_column_bytes(statement, column) - 1];
    }
    if (code != SQLITE_DONE) fail("read", sqlite3_errmsg(db));
    sqlite3_reset(statement);
    return count;
}

static uint64_t sqlite_scan(void) { return sqlite_rows(select_all, 2); }

static uint64_t sqlite_load(const event *stream)
{
    sqlite3_bind_text(select_stream, 1, stream->stream, (int)stream->stream_size, SQLITE_STATIC);
    return sqlite_rows(select_stream, 1);
}

static void sqlite_close(void)
{
    sqlite3_stmt *all[] = {insert, select_all, select_stream, begin, commit};
    for (size_t n = 0; n < sizeof all / sizeof *all; n++) sqlite3_finalize(all[n]);
    sql("PRAGMA wal_checkpoint(TRUNCATE)");
    if (sqlite3_close(db) != SQLITE_OK) fail("close", sqlite3_errmsg(db));
}

/* ---- LMDB ------------------------------------------------------------------------------- */

static MDB_env *env;
static MDB_dbi log_table, stream_table;
static uint64_t last_position;

static void check(int code, const char *what)
{
    if (code != 0) fail(what, mdb_strerror(code));
}

static void put_be64(uint8_t *to, uint64_t value)
{
    value = __builtin_bswap64(value);
    memcpy(to, &value, sizeof value);
}

/* Name, a zero, revision: sorted by stream, then by revision. */
static size_t key_of(uint8_t *key, const event *e)
{
    memcpy(key, e->stream, e->stream_size);
    key[e->stream_size] = 0;
    put_be64(key + e->stream_size + 1, e->revision);
    return e->stream_size + 9;
}

static void lmdb_open(const char *dir, bool sync)
{
    char path[4096];
    MDB_txn *txn;
    MDB_stat about;
    snprintf(path, sizeof path, "%s/events.lmdb", dir);
    mkdir(path, 0700); /* it may be there; opening tells */
    check(mdb_env_create(&env), "create");
    check(mdb_env_set_mapsize(env, (size_t)32 << 30), "map size");
    check(mdb_env_set_maxdbs(env, 2), "tables");
    check(mdb_env_open(env, path, sync ? 0 : MDB_NOSYNC | MDB_WRITEMAP, 0600), "open");
    check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    check(mdb_dbi_open(txn, "log", MDB_CREATE, &log_table), "table");
    check(mdb_dbi_open(txn, "stream", MDB_CREATE, &stream_table), "table");
    check(mdb_stat(txn, log_table, &about), "stat");
    last_position = about.ms_entries;
    check(mdb_txn_commit(txn), "commit");
}

static void lmdb_put(MDB_txn *txn, const event *e)
{
    uint8_t position[8], record[RECORD];
    size_t size = key_of(record, e);
    put_be64(position, ++last_position);
    MDB_val key = {size, record}, value = {sizeof position, position};
    check(mdb_put(txn, stream_table, &key, &value, MDB_NOOVERWRITE), "put into stream");
    memcpy(record + size, e->data, PAYLOAD);
    key = (MDB_val){sizeof position, position};
    value = (MDB_val){size + PAYLOAD, record};
    check(mdb_put(txn, log_table, &key, &value, MDB_APPEND), "put into log");
}

static void lmdb_append(const event *events, size_t count)
{
    MDB_txn *txn;
    check(mdb_txn_begin(env, NULL, 0, &txn), "begin");
    for (size_t n = 0; n < count; n++) lmdb_put(txn, &events[n]);
    check(mdb_txn_commit(txn), "commit");
}

static void take(const MDB_val *value)
{
    const uint8_t *data = value->mv_data;
    sum += data[value->mv_size - PAYLOAD] + data[value->mv_size - 1];
}

static uint64_t lmdb_scan(void)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, value;
    uint64_t count = 0;
    check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
    check(mdb_cursor_open(txn, log_table, &cursor), "cursor");
    for (; mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0; count++) take(&value);
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return count;
}

static uint64_t lmdb_load(const event *stream)
{
    static MDB_txn *txn;
    static MDB_cursor *cursor;
    uint8_t start[NAME + 9];
    MDB_val key = {key_of(start, stream), start}, position, value;
    uint64_t count = 0;
    if (txn == NULL) {
        check(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), "begin");
        check(mdb_cursor_open(txn, stream_table, &cursor), "cursor");
    } else {
        mdb_txn_reset(txn);
        check(mdb_txn_renew(txn), "renew");
        check(mdb_cursor_renew(txn, cursor), "renew");
    }
    int code = mdb_cursor_get(cursor, &key, &position, MDB_SET_RANGE);
    for (; code == 0; code = mdb_cursor_get(cursor, &key, &position, MDB_NEXT)) {
        if (key.mv_size != stream->stream_size + 9) break;
        if (memcmp(key.mv_data, stream->stream, stream->stream_size) != 0) break;
        check(mdb_get(txn, log_table, &position, &value), "get");
        take(&value);
        count++;
    }
    return count;
}

static void lmdb_close(void)
{
    check(mdb_env_sync(env, 1), "sync");
    mdb_env_close(env);
}

/* ---- measuring -------------------------------------------------------------------------- */

static const engine engines[] = {
    {"sqlite", sqlite_open, sqlite_append, sqlite_scan, sqlite_load, sqlite_close},
    {"lmdb", lmdb_open, lmdb_append, lmdb_scan, lmdb_load, lmdb_close},
};
static const engine *chosen;

static void show(const char *name, double value, const char *unit)
{
    printf("{\"name\":\"%s\",\"value\":%.0f,\"unit\":\"%s\",\"peer\":\"%s\"}\n", name, value, unit,
           chosen->name);
}

/* As in the mixed set of `moonlog bench`: every second event in a stream of 100. */
static void place(uint64_t n, event *e)
{
    uint64_t large = option.events / 200, half = n / 2, small = option.streams - large;
    set_stream(e, n % 2 == 0 ? half % large : large + half % small);
    e->revision = n % 2 == 0 ? half / large : half / small;
    e->data = pool[n % POOL];
}

/* One append to one stream; the next one goes to another. */
static void measure_append(void)
{
    static event events[BATCH_MAX];
    char name[64];
    uint64_t next = 0, appends = 0;
    double start = now(), passed;
    do {
        for (uint64_t n = 0; n < option.batch; n++, next++) {
            set_stream(&events[n], appends % option.streams);
            events[n].revision = appends / option.streams * option.batch + n;
            events[n].data = pool[next % POOL];
        }
        chosen->append(events, option.batch);
        appends++;
        passed = now() - start;
    } while (passed < option.seconds);
    snprintf(name, sizeof name, "append.%s.%" PRIu64, option.sync ? "disk" : "os", option.batch);
    show(name, (double)next / passed, "events/s");
}

static void measure_fill(void)
{
    enum { EACH = 100 };
    static event events[EACH];
    double start = now();
    for (uint64_t n = 0; n < option.events; n += EACH) {
        for (uint64_t i = 0; i < EACH; i++) place(n + i, &events[i]);
        chosen->append(events, EACH);
    }
    show("fill", (double)option.events / (now() - start), "events/s");
}

static void measure_scan(void)
{
    if (chosen->scan() != option.events) fail("scan", "another number of events than was written");
    uint64_t count = 0;
    double start = now(), passed;
    do {
        count += chosen->scan();
        passed = now() - start;
    } while (passed < option.seconds);
    show("scan", (double)count / passed, "events/s");
}

static uint64_t load_for(double seconds, double *passed)
{
    uint64_t count = 0;
    double start = now();
    do {
        event stream = {.revision = 0};
        set_stream(&stream, dice() % (option.events / 200));
        if (chosen->load(&stream) != 100) fail("load", "not the 100 events that were written");
        count++;
        *passed = now() - start;
    } while (*passed < seconds);
    return count;
}

static void measure_load(void)
{
    double passed;
    chosen->scan(); /* everything into memory */
    load_for(option.seconds / 4, &passed);
    uint64_t count = load_for(option.seconds, &passed);
    show("load100", (double)count / passed, "streams/s");
}

/* ---- the command line ------------------------------------------------------------------- */

static void read_options(int argc, char **argv)
{
    for (int n = 4; n + 1 < argc; n += 2) {
        uint64_t value = strtoull(argv[n + 1], NULL, 10);
        if (strcmp(argv[n], "--events") == 0) option.events = value;
        else if (strcmp(argv[n], "--streams") == 0) option.streams = value;
        else if (strcmp(argv[n], "--batch") == 0) option.batch = value;
        else if (strcmp(argv[n], "--sync") == 0) option.sync = value;
        else if (strcmp(argv[n], "--seconds") == 0) option.seconds = strtod(argv[n + 1], NULL);
        else fail(argv[n], "no such option");
    }
    if (option.batch < 1 || option.batch > BATCH_MAX) fail("--batch", "1 to 1024");
    if (option.streams <= option.events / 200) fail("--streams", "too few");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*measure)(void);
    } works[] = {{"append", measure_append}, {"fill", measure_fill}, {"scan", measure_scan},
                 {"load", measure_load}};
    if (argc < 4) fail("usage", "peers sqlite|lmdb append|fill|scan|load DIR [OPTION]...");
    read_options(argc, argv);
    for (size_t n = 0; n < POOL; n++)
        for (size_t i = 0; i < PAYLOAD; i++) pool[n][i] = (uint8_t)dice();
    for (size_t n = 0; n < sizeof engines / sizeof *engines; n++)
        if (strcmp(argv[1], engines[n].name) == 0) chosen = &engines[n];
    if (chosen == NULL) fail(argv[1], "no such engine");
    for (size_t n = 0; n < sizeof works / sizeof *works; n++) {
        if (strcmp(argv[2], works[n].name) != 0) continue;
        chosen->open(argv[3], strcmp(argv[2], "append") == 0 && option.sync);
        works[n].measure();
        chosen->close();
        return 0;
    }
    fail(argv[2], "no such work");
}
