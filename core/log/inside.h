/* inside.h -- what the files of the log room share. Private to core/log.
 *
 *   log.c      open, close, get, follow          writer.c   write, roll, sync, fence
 *   recover.c  what is there after a stop        seal.c     the next segment, the last footer
 *   offsets.c  position -> offset
 */
#ifndef ML_LOG_INSIDE_H
#define ML_LOG_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "log.h"
#include "watermark.h"

enum {
    BEHIND_MAX = 8,              /* rolled segments not known to be synced: 512 MiB; at more the
                                  * oldest is synced at once */
    FIRST_SEGMENT_BYTES = 1 << 20 /* the first segment; each next one is twice as large up to
                                  * segment_bytes, so a small store stays small */
};

/* The next segment, made ahead of need: a file of its full size, zeros on the disk, so that
 * a sync has neither a size to write nor an extent to convert. */
enum ml_spare_state { ML_SPARE_NONE, ML_SPARE_RUNNING, ML_SPARE_READY, ML_SPARE_FAILED };

typedef struct ml_spare {
    ml_job job; /* first: the worker gives it back as this struct */
    ml_disk *disk;
    pthread_mutex_t lock; /* guards the three below */
    pthread_cond_t changed;
    enum ml_spare_state state;
    int file;
    uint64_t size;
    bool synced;         /* sync the zeros: worth it when frames are synced */
    uint64_t asked_for;  /* number of the segment that was active when it was started */
    bool underway;       /* the owner's: the worker has not given the job back yet */
    atomic_bool unwanted; /* the log is being closed */
} ml_spare;

/* A segment that the writer has left and that is perhaps not synced yet. */
typedef struct ml_behind {
    int file;
    ml_segment *segment;
    uint64_t sequence, position; /* last frame and record in it */
} ml_behind;

struct ml_log {
    /* Owner's thread. */
    uint64_t position, durable;
    ml_disk *disk;
    ml_worker *worker;
    ml_log_options options;
    uint8_t id[ML_LOG_ID_SIZE];
    ml_segment **segments; /* by first position */
    uint64_t *firsts;      /* their first positions, side by side */
    size_t count, capacity;
    size_t recent;         /* index of the segment that was read last */
    size_t mapped;
    uint64_t tick;
    uint64_t tail_sequence; /* of the next frame behind what readers see (followers) */
    uint32_t tail_previous;
    bool sync_lately;       /* the last settled group was synced */
    uint64_t written;       /* bytes of frames settled since the opening */
    bool damaged;
    ml_error damage;
    uint64_t torn_bytes;
    int mark_file; /* WATERMARK; shared: the writer writes, recovery and followers read */

    /* The writer's thread. */
    ml_segment *active; /* owned by `segments` once its first group is settled */
    int file;           /* of `active`; -1 when read-only */
    uint64_t size;      /* of `active`'s file */
    uint64_t offset;    /* of the next frame */
    uint64_t sequence;  /* of the next frame */
    uint64_t next;      /* position of its first record */
    uint32_t previous;
    bool dirty;         /* `active` has frames that are not synced */
    ml_behind behind[BEHIND_MAX];
    size_t behind_count;
    ml_watermark mark;
    bool marked; /* it was written since it was synced */

    /* Both, and the background thread. */
    atomic_bool fenced;
    ml_spare ahead;
};

/* log.c */
ML_MUST_USE ml_code ml_log_push(ml_log *log, ml_segment *segment, ml_error *why);
ML_MUST_USE ml_code ml_log_map(ml_log *log, ml_segment *segment, ml_error *why);

/* recover.c: fills the log from the files there are; with options.read_only it only reads. */
ML_MUST_USE ml_code ml_recover(ml_log *log, ml_error *why);
/* Reads the header of the segment at `path` into a new segment. */
ML_MUST_USE ml_code ml_recover_header(ml_log *log, const char *path, ml_segment **segment,
                                      ml_error *why);

/* writer.c */
/* Creates a segment file at its final name. The file is left open in *file. A failure with
 * *named false leaves nothing behind. `prepared` is the open file of log/next, or -1. */
ML_MUST_USE ml_code ml_writer_create(ml_log *log, ml_segment *segment, int prepared, uint64_t size,
                                     int *file, bool *named, ml_error *why);
uint64_t ml_writer_segment_size(const ml_log *log, uint64_t number);
void ml_writer_mark(ml_log *log);

/* seal.c */
void ml_seal_init(ml_log *log);
void ml_seal_fini(ml_log *log);
/* Starts making the next segment if the active one, of `size`, is half full at `end`. */
void ml_seal_ahead(ml_log *log, const ml_segment *active, uint64_t size, uint64_t end);
/* Takes the prepared file, waiting for it if it is being made; -1 if there is none. */
int ml_seal_take(ml_log *log, uint64_t *size);
/* Starts syncing and footing a segment that will not grow any more. */
void ml_seal_start(ml_log *log, ml_segment *segment, uint64_t sequence, uint32_t previous);
/* SHA-256 of the first `end` bytes of a file. */
ML_MUST_USE ml_code ml_seal_hash(ml_disk *disk, const char *path, uint64_t end, uint8_t sha256[32],
                                 ml_error *why);

/* offsets.c */
/* Makes segment->offsets usable: from its file, or from the frames. */
ML_MUST_USE ml_code ml_offsets_load(ml_log *log, ml_segment *segment, ml_error *why);
/* Lets go of a mapped table; it is loaded again when it is needed. */
void ml_offsets_unmap(ml_log *log, ml_segment *segment);
/* From the frames, whatever is damaged: unreadable records get 0. With `open_end` the count
 * is found too, otherwise it is known and stays. */
ML_MUST_USE ml_code ml_offsets_rebuild(ml_log *log, ml_segment *segment, bool open_end,
                                       ml_error *why);
/* Writes the table of a sealed segment to index/; a failure only costs time later. */
void ml_offsets_save(ml_disk *disk, const ml_segment *segment, const uint32_t *offsets,
                     uint32_t count);

#endif
