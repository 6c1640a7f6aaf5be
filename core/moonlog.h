/* moonlog.h -- a durable, ordered, replayable log of events, in your own process.
 *
 * This header is the manual. What is not in it is not promised.
 *
 *     ml_store *store;
 *     if (ml_open(&store, "./data", NULL)) { fprintf(stderr, "%s\n", ml_why(store)); … }
 *
 *     ml_draft draft = { .type = ML_STR("Deposited"), .data = ML_STR("\x81\xa6" "amount\x05") };
 *     ml_write write = { .stream = ML_STR("account-ada"), .expected = ML_ANY,
 *                        .events = &draft, .count = 1 };
 *     ml_receipt receipt;
 *     if (ml_append(store, &(ml_proposal){ .writes = &write, .count = 1 }, &receipt)) …
 *
 *     ml_cursor *cursor;
 *     ml_event event;
 *     ml_read(store, &(ml_selection){ .stream = ML_STR("account-ada") }, &cursor);
 *     while (ml_next(cursor, &event) == ML_OK) …
 *     ml_cursor_free(cursor);
 *     ml_close(store);
 *
 * Caveats, first:
 *   - One process at a time may have a directory open for writing; any number may have it
 *     open with ML_READ_ONLY beside it, and they follow the writer live.
 *   - A handle and its cursors belong to one thread at a time. moonlog runs threads of its
 *     own behind them (see `threads`), and they never call you.
 *   - fork() with an open handle is not supported; exec() is fine.
 *   - Segments are read through memory maps. The first ml_open of a process installs a
 *     SIGBUS handler that turns a file cut short or a failed page-in under such a map into
 *     the error CORRUPT, and passes every other SIGBUS on to the handler that was there.
 *   - `data` and `meta` are MessagePack values (https://msgpack.org), kept byte for byte.
 *
 * Units: positions count events in the whole log from 1; revisions count events in a
 * stream from 0; times are microseconds since 1970 UTC; sizes are bytes.
 */
#ifndef MOONLOG_H
#define MOONLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ML_API __attribute__((visibility("default")))

#define ML_VERSION "0.1.0"

/* ---- errors ------------------------------------------------------------------------
 *
 * One list: number, name, may the same call succeed later, exit status of the program,
 * meaning. Numbers are on the wire and never change. */
#define ML_CODES(X)                                                                      \
    X(1, BAD_REQUEST, no, 1, "the request itself is wrong; sending it again cannot help") \
    X(2, UNKNOWN_METHOD, no, 1, "no such method")                                        \
    X(3, UNAUTHENTICATED, no, 1, "say who you are first")                                \
    X(4, FORBIDDEN, no, 1, "known, and not allowed")                                     \
    X(5, NOT_FOUND, no, 3, "what was named does not exist")                              \
    X(6, WRONG_EXPECTED_REVISION, no, 4, "the stream is not where the append expects it") \
    X(7, CONDITION_FAILED, no, 4, "an event that the condition excludes exists")         \
    X(8, TOO_LARGE, no, 1, "over a size limit")                                          \
    X(9, LIMIT, yes, 1, "over a limit on how much at once")                              \
    X(10, NO_SPACE, yes, 1, "the disk is full; nothing was written")                     \
    X(11, STORE_FAILED, no, 1, "a write or sync failed; the outcome is unknown, reopen") \
    X(12, READ_ONLY, no, 1, "opened, or mounted, for reading only")                      \
    X(13, CORRUPT, no, 1, "stored bytes are not what was written")                       \
    X(14, SCRIPT_ERROR, no, 1, "a rule raised an error")                                 \
    X(15, TIMEOUT, yes, 6, "not done in time")                                           \
    X(16, STALE_LEASE, no, 1, "the lease has passed to another")                         \
    X(17, SHUTTING_DOWN, yes, 6, "the daemon is stopping")                               \
    X(18, UNSUPPORTED, no, 1, "a format or feature this version does not know")          \
    X(19, INTERNAL, no, 1, "a bug in moonlog")                                           \
    X(20, IO, no, 1, "the operating system refused a call on a file")                    \
    X(21, LOCKED, yes, 1, "another process has the directory open for writing")          \
    X(22, NO_MEMORY, yes, 1, "out of memory")                                            \
    X(23, NOT_A_STORE, no, 1, "the directory holds something, but no moonlog store")      \
    X(24, NO_LISTENERS, yes, 3, "a request was signalled and nobody listens to its subject") \
    X(25, UNREACHABLE, yes, 6, "no daemon answers at that address, or it went away")

typedef enum ml_code {
    ML_OK = 0,
#define ML_CODE_ENUM(number, name, retry, status, meaning) ML_##name = number,
    ML_CODES(ML_CODE_ENUM)
#undef ML_CODE_ENUM
    ML_END = -1 /* not an error: no further event (ml_next), none yet (ml_poll) */
} ml_code;

/* ---- words -------------------------------------------------------------------------- */

/* A borrowed view of bytes: whoever holds the view does not own them. */
typedef struct ml_bytes {
    const void *data;
    size_t size;
} ml_bytes;

#define ML_STR(literal) ((ml_bytes){(literal), sizeof(literal) - 1})

/* Opaque handles. */
typedef struct ml_store ml_store;   /* an open directory */
typedef struct ml_cursor ml_cursor; /* a place in it, and a filter */

enum { ML_ID_SIZE = 16 };

/* An event as it is read. Every view is borrowed: it is valid until the next call on the
 * cursor or the store it came from. */
typedef struct ml_event {
    uint64_t position; /* place in the whole log, dense, from 1 */
    uint64_t revision; /* place in its stream, dense, from 0 */
    int64_t time;      /* when it was recorded; never decreases with position */
    ml_bytes stream;   /* "category-id" */
    ml_bytes type;
    uint32_t schema; /* version of that type's shape, from 1 */
    const uint8_t *id; /* ML_ID_SIZE bytes */
    ml_bytes tags;     /* a MessagePack array of strings; never empty bytes */
    ml_bytes data;     /* a MessagePack value */
    ml_bytes meta;     /* a MessagePack map or nil */
    bool has_occurred;
    int64_t occurred; /* business time, if the writer gave one */
    ml_bytes wire;    /* the whole event as stored: a MessagePack array of the fields
                       * above, in this order (occurred is nil if not given) */
} ml_event;

/* An event as it is appended; zero-initialise, then set what you have. */
typedef struct ml_draft {
    ml_bytes type;     /* 1..256 bytes of UTF-8 */
    ml_bytes data;     /* one MessagePack value; empty = nil */
    ml_bytes meta;     /* one MessagePack map; empty = nil */
    const ml_bytes *tags; /* at most 32, each 1..256 bytes of UTF-8, no two equal */
    size_t tag_count;
    const uint8_t *id; /* ML_ID_SIZE bytes that make a retry safe; NULL: a UUIDv7 is made */
    uint32_t schema;   /* 0 means 1 */
    bool has_occurred;
    int64_t occurred;
} ml_draft;

/* What a stream must look like for a write to be admitted. */
enum { ML_ANY = -1, ML_NO_STREAM = -2, ML_STREAM_EXISTS = -3 };

typedef struct ml_write {
    ml_bytes stream; /* 1..512 bytes of UTF-8; category = what stands before the first '-' */
    int64_t expected; /* a revision from 0, or ML_ANY, ML_NO_STREAM, ML_STREAM_EXISTS */
    const ml_draft *events;
    size_t count; /* 1..1,024 over all writes of a proposal */
} ml_write;

/* A query: items are OR'd; in an item types are OR'd, tags are AND'd, and the two are
 * AND'd. An item with neither matches every event. No items: matches every event. */
typedef struct ml_query_item {
    const ml_bytes *types;
    size_t type_count;
    const ml_bytes *tags;
    size_t tag_count;
} ml_query_item;

typedef struct ml_query {
    const ml_query_item *items;
    size_t count;
} ml_query;

typedef enum ml_durability {
    ML_DISK = 0, /* acknowledged when synced to disk: survives power loss (the default) */
    ML_OS,       /* when written to the file: survives kill -9, not power loss */
    ML_MEMORY    /* when accepted: written by the next append of another level, read, head,
                  * ml_flush or ml_close, or when a megabyte has gathered. On a full disk it is
                  * given up: whichever of these meets it says NO_SPACE */
} ml_durability;

/* One atomic append: all of its events or none, to one stream or several. Positions follow
 * the order given here; a stream may come again, and is then expected where the write before
 * left it. */
typedef struct ml_proposal {
    const ml_write *writes;
    size_t count;
    const ml_query *condition; /* if set: refuse if an event matching it exists after … */
    uint64_t after;            /* … this position (a dynamic consistency boundary) */
    ml_durability durability;
} ml_proposal;

typedef struct ml_receipt {
    uint64_t first, last; /* positions given */
    ml_durability durability;
    bool duplicate; /* the same event ids were appended before; this is that result */
    const uint64_t *revisions; /* last revision of each write, in order; borrowed until the
                                * next call on the store */
    size_t count;
} ml_receipt;

/* Which events to read. Zero-initialised it means: all that are not of the system. At most
 * one of stream and category; either may be combined with a query. */
typedef struct ml_selection {
    ml_bytes stream;
    ml_bytes category;
    ml_query query;
    bool system;    /* without stream or category: also streams that begin with '$' */
    bool backward;  /* newest first */
    bool has_from;  /* otherwise from the first, backward from the last */
    uint64_t from;  /* inclusive; a revision if `stream` is set, else a position */
    uint64_t limit; /* events at most; 0 = no limit */
    uint64_t max_bytes; /* stop before the event that would pass this many bytes of `wire`,
                         * but give one event at least; 0 = no limit */
    bool wire_only; /* leave data, meta and occurred of events empty, for who only passes `wire`
                     * on: finding where they end is a quarter of the cost of a scan */
} ml_selection;

typedef struct ml_head {
    uint64_t position; /* of the last event; 0 = none */
    uint64_t revision; /* of the stream asked for; 0 if none was */
    uint64_t first;    /* position of that stream's first event */
} ml_head;

typedef struct ml_stream_info {
    ml_bytes stream;
    uint64_t revision, first, last; /* last revision; positions of first and last event */
} ml_stream_info;

typedef struct ml_stats {
    uint64_t position;       /* last event */
    uint64_t durable;        /* last event known to be on the disk */
    uint64_t segments;
    uint64_t log_bytes;      /* of segment files, preallocated tail included */
    uint64_t used_bytes;     /* of segment files, as far as they are written */
    uint64_t index_bytes;
    uint64_t index_runs;
    uint64_t memory_events;  /* events whose index is still only in memory … */
    uint64_t memory_bytes;   /* … and what it takes there */
    uint64_t torn_bytes;     /* cut from the tail by the recovery of this opening */
    bool read_only;
    bool damaged; /* opened read-only because stored bytes are damaged; see ml_why */
} ml_stats;

typedef struct ml_options {
    bool read_only;         /* do not lock, do not write, follow a writer if there is one */
    bool must_exist;        /* refuse with NOT_FOUND instead of creating the directory */
    uint64_t segment_bytes; /* 0 = 64 MiB */
    uint32_t memory_events; /* events indexed in memory before a run is written; 0 = 262,144 */
    uint32_t window_events; /* how far back a retry with expected = ML_ANY is recognised;
                             * 0 = 65,536 */
    uint64_t heads_bytes;   /* bound of the cache of stream heads; 0 = 112 MiB */
    bool no_threads;        /* do background work (next segment, index runs) inline */
    void (*notify)(void *context); /* called on the flusher's thread when ml_settle has */
    void *notify_context;          /* something to answer; must only wake a loop */
    uint32_t inline_us;     /* ml_settle itself writes a group, instead of its thread, as long as
                             * that took less than this of late: handing over and back costs 40 us,
                             * and on a fast disk that is half of it; 0 = never */
} ml_options;

/* ---- life --------------------------------------------------------------------------- */

/* Opens `dir`, creating a store in it if it is absent or empty, and recovers it. On any
 * error *store is a handle that answers ml_why() and wants ml_close(), and nothing else;
 * it is NULL only when even that did not fit in memory. `options` may be NULL.
 *   LOCKED another writer; NOT_A_STORE; UNSUPPORTED a newer format, left untouched;
 *   NOT_FOUND; FORBIDDEN; READ_ONLY; NO_SPACE; CORRUPT a header or the chain of segments;
 *   IO; NO_MEMORY.
 * Bytes damaged below what was known to be synced are no error here: the store opens
 * read-only, ml_get_stats says `damaged`, ml_why says where, appends get CORRUPT. */
ML_API ml_code ml_open(ml_store **store, const char *dir, const ml_options *options);

/* Writes what is pending, syncs, saves the index, unlocks, frees. NULL is allowed. Returns
 * the first failure; the handle is gone in any case. Frees no cursor: free those before. */
ML_API ml_code ml_close(ml_store *store);

/* "CODE: sentence" of the last call on this handle that failed. Borrowed until the next
 * call; never NULL. */
ML_API const char *ml_why(const ml_store *store);

/* The name of a code, e.g. "NO_SPACE". Never NULL. */
ML_API const char *ml_code_name(ml_code code);

/* ---- appending ---------------------------------------------------------------------- */

/* Appends. When it returns ML_OK the events are as durable as receipt->durability says and
 * readers see them. On any error but STORE_FAILED nothing was written and no position or
 * revision was used. `receipt` may be NULL.
 *
 * Retrying is safe: if every event id of the proposal is already there, written by one
 * append to the same streams, the receipt is that of the first with `duplicate` set. With
 * expected = a revision or ML_NO_STREAM this holds for ever, with ML_ANY or
 * ML_STREAM_EXISTS for the last `window_events` positions.
 *   WRONG_EXPECTED_REVISION, CONDITION_FAILED, BAD_REQUEST, TOO_LARGE, LIMIT, NO_SPACE,
 *   READ_ONLY, CORRUPT, STORE_FAILED (reopen to learn the outcome), NO_MEMORY. */
ML_API ml_code ml_append(ml_store *store, const ml_proposal *proposal, ml_receipt *receipt);

/* ---- appending from a loop -----------------------------------------------------------
 *
 * Group commit: proposals are admitted one by one, while a thread of the store's own writes
 * and syncs those admitted before, all in one frame.
 *
 *     for each request:  ml_submit(store, &proposal, answer, request);
 *     once a turn:       ml_settle(store, false);
 *     when options.notify was called (on another thread): wake the loop, ml_settle again
 *
 * Do not mix with ml_append in one turn: that waits for all that was submitted. */

/* How a submitted proposal ended, called from ml_settle (or whatever else waits for it). It may
 * call ml_submit; ml_append, ml_settle and ml_flush refuse with BAD_REQUEST there. `why` is "CODE: sentence", or NULL
 * with ML_OK. The receipt is borrowed for the call, NULL unless ML_OK. */
typedef void ml_settled(void *context, ml_code code, const ml_receipt *receipt, const char *why);

/* Admits a proposal, or refuses it at once (then `settled` is not called). Positions are
 * given; nothing is written and no reader sees it yet. LIMIT: the group is full, call
 * ml_settle first. ML_MEMORY counts as ML_OS here. */
ML_API ml_code ml_submit(ml_store *store, const ml_proposal *proposal, ml_settled *settled,
                         void *context);

/* Answers what has been written, and starts writing what has been admitted since. What a
 * callback submits may wait for the next call. With `wait` returns only when nothing is left.
 * The code is that of the worst answer. */
ML_API ml_code ml_settle(ml_store *store, bool wait);

/* Makes everything acknowledged so far durable to `level`. When it is already, ML_DISK syncs
 * the WATERMARK too: worth a call when nothing was appended for a second. */
ML_API ml_code ml_flush(ml_store *store, ml_durability level);

/* ---- reading ------------------------------------------------------------------------ */

/* Starts a read of what is there now; events appended later are not part of it. The
 * selection is copied. NOT_FOUND if a stream was named that has no event; BAD_REQUEST. */
ML_API ml_code ml_read(ml_store *store, const ml_selection *selection, ml_cursor **cursor);

/* The next event, ML_END after the last; CORRUPT names the position that cannot be read,
 * and a further call goes on behind it. */
ML_API ml_code ml_next(ml_cursor *cursor, ml_event *event);

/* Starts a subscription: every event of the selection after `after` (a position; for a
 * stream too), in order, without gap or duplicate, for as long as ml_poll is called.
 * `from`, `limit`, `max_bytes` and `backward` must be unset. */
ML_API ml_code ml_subscribe(ml_store *store, const ml_selection *selection, uint64_t after,
                            ml_cursor **cursor);

/* The next event of a subscription, or ML_END when there is none yet. Never blocks. */
ML_API ml_code ml_poll(ml_cursor *cursor, ml_event *event);

/* How far the cursor has looked: every matching event up to here was given. A subscription
 * resumed after this position misses and repeats nothing. */
ML_API uint64_t ml_cursor_position(const ml_cursor *cursor);

/* After ML_END: true if there is nothing more, false if the limit or max_bytes ended the read. */
ML_API bool ml_cursor_at_end(const ml_cursor *cursor);

ML_API void ml_cursor_free(ml_cursor *cursor);

/* The last position and, if `stream` is not empty, that stream's head; NOT_FOUND if the
 * stream has no event (head->position is set all the same). In a damaged store a stream's
 * head, a stream that is not there, and the list of streams end with CORRUPT: what can be read
 * was given, and more may have been there. */
ML_API ml_code ml_get_head(ml_store *store, ml_bytes stream, ml_head *head);

/* Lists streams in the order they were begun. `category` and `prefix` may be empty; streams
 * that begin with '$' are listed only if category or prefix does too. `after` is 0, or the
 * `first` of the stream to go on behind. Calls `each` until it returns false. */
ML_API ml_code ml_streams(ml_store *store, ml_bytes category, ml_bytes prefix, uint64_t after,
                          bool (*each)(void *context, const ml_stream_info *info),
                          void *context);

ML_API ml_code ml_get_stats(ml_store *store, ml_stats *stats);

/* ---- checking ----------------------------------------------------------------------- */

/* Reads the files of `dir` and checks every byte of every segment against its checksums and
 * chain, and with `deep` also each event's fields, revisions and footers, and the index
 * against the log. Needs no handle and no lock: what a writer is just writing is not looked
 * at. Calls `report`, unless it is NULL, for each problem with a sentence naming file, offset and positions.
 * ML_OK if all is well, CORRUPT if problems were reported, else why nothing could be
 * checked (`why` gets the sentence, `why_size` bytes at most). */
typedef struct ml_verified {
    uint64_t segments, frames, events, bytes, problems;
} ml_verified;
ML_API ml_code ml_verify(const char *dir, bool deep,
                         void (*report)(void *context, const char *sentence), void *context,
                         ml_verified *verified, char *why, size_t why_size);

#ifdef __cplusplus
}
#endif

#endif
