/* limits.h -- every limit of the house, and its reason. Sizes in bytes unless named. */
#ifndef ML_BASE_LIMITS_H
#define ML_BASE_LIMITS_H

enum {
    /* What a client may send (CONTRACT §2; `hello` will show them). */
    ML_EVENT_BYTES_MAX = 1 << 20,  /* data + meta of one event: more is a file, not an event;
                                    * the same as NATS, and 1/8 of an append */
    ML_APPEND_BYTES_MAX = 8 << 20, /* one append as stored: bounds the group and the sync */
    ML_APPEND_EVENTS_MAX = 1024,   /* one append: bounds the work between two turns of a loop */
    ML_STREAM_BYTES_MAX = 512,     /* a name, shown on screens and in every record */
    ML_TYPE_BYTES_MAX = 256,
    ML_TAG_BYTES_MAX = 256,
    ML_TAGS_MAX = 32,              /* per event: each costs an index entry */
    ML_QUERY_ITEMS_MAX = 64,       /* per query: it is evaluated per event when not selective */
    ML_QUERY_TERMS_MAX = 256,      /* types and tags over all items: 11 KB each while it is read */
    ML_DEPTH_MAX = 30,             /* nesting of data and meta: msgpack-c unpacks 32 levels,
                                    * two of which the rpc envelope needs */

    /* Files. */
    ML_SEGMENT_BYTES = 64 << 20,      /* the default: 190,000 events of 256 bytes; scanned at
                                       * start in 10 ms, zeroed ahead of need in 60 ms */
    ML_SEGMENT_BYTES_MIN = 16 << 10,  /* for tests: header page, frames, footer */
    ML_SEGMENT_BYTES_MAX = 1 << 30,   /* offsets in it are 32-bit */
    ML_SEGMENTS_MAPPED_MAX = 1024,    /* and as many tables of offsets, in each of the handles that
                                       * share a process's 8,192 guarded maps: 64 GiB at hand */
    ML_INDEX_RUNS_MAX = 64,           /* runs open at once; merging keeps it near 10 */

    /* Memory. */
    ML_MEMORY_EVENTS = 1 << 18,  /* indexed in memory before a run is written: about 30 MB,
                                  * and at most 60 ms of log to read again after a crash */
    ML_WINDOW_EVENTS = 1 << 16,  /* idempotence window of ML_ANY: 13 s at 5,000 events/s */
    ML_HEADS_BYTES = 112 << 20,  /* two generations that each hold a million short names */
    ML_LAZY_BYTES = 1 << 20,     /* ML_MEMORY appends gathered before they are written */

    /* Text. */
    ML_LINE_BYTES_MAX = 16 << 20, /* an NDJSON line: 8 MiB of msgpack as base64 and escapes */
};

#endif
