/* store.c -- opening, closing, and the way from a position to a record. */
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "inside.h"

/* ---- records ----------------------------------------------------------------------------- */

static const ml_group *staged_group(const ml_store *store, uint64_t position)
{
    const ml_group *filling = &store->filling->group;
    if (filling->count > 0 && position >= filling->first) return filling;
    return &store->flying->group;
}

ml_code ml_store_record(ml_store *store, uint64_t position, ml_bytes *record, ml_error *why)
{
    if (position <= ml_log_position(store->log)) return ml_log_get(store->log, position, record, why);
    ML_ASSERT(position < store->next);
    const ml_group *group = staged_group(store, position);
    *record = ml_group_payload(group, (uint32_t)(position - group->first));
    return ML_OK;
}

uint64_t ml_store_staged(const ml_store *store) { return store->next - 1; }

_Static_assert((int)ML_STORE_LOG_ID == (int)ML_LOG_ID_SIZE, "it is the log's");
const uint8_t *ml_store_log_id(const ml_store *store) { return ml_log_id(store->log); }

ml_store_work ml_store_get_work(const ml_store *store)
{
    if (store->flying != NULL) return ML_STORE_FLYING;
    return store->filling->count > 0 ? ML_STORE_STAGED : ML_STORE_DONE;
}

ml_code ml_store_admitted(ml_store *store, size_t count, ml_buf *events, ml_error *why)
{
    for (size_t n = 0; n < count; n++) {
        ml_bytes record;
        ml_code code = ml_store_record(store, store->next - count + n, &record, why);
        if (code) return code;
        ml_buf_add(events, record.data, record.size);
    }
    return events->failed ? ml_error_memory(why, "the events of a command") : ML_OK;
}

/* ---- feeding ------------------------------------------------------------------------------ */

typedef struct feeding {
    ml_store *store;
    uint64_t position;
    ml_error *why;
} feeding;

static ml_code feed_key(void *context, uint64_t key)
{
    feeding *f = context;
    return ml_index_add(f->store->index, key, f->position, f->why);
}

/* An event that cannot be read has no keys to be found by, so from here on nothing that is
 * asked of the index is sure to be complete: the store is damaged, and takes no appends. */
static ml_code note_unreadable(ml_store *store, uint64_t position, const ml_error *problem)
{
    ml_error why = {.code = ML_CORRUPT};
    ml_error_set(&why, ML_CORRUPT, "%s", problem->sentence);
    if (problem->code != ML_CORRUPT)
        ml_error_set(&why, ML_CORRUPT, "the record at position %" PRIu64 " is no event; the store is open for reading only", position);
    ml_log_note_damage(store->log, &why);
    store->failed = true;
    return ML_OK;
}

static ml_code feed_event(feeding *f)
{
    ml_bytes record;
    ml_event event;
    ml_error problem = {.code = ML_OK};
    ml_code code = ml_store_record(f->store, f->position, &record, &problem);
    if (code == ML_CORRUPT) return note_unreadable(f->store, f->position, &problem);
    if (code) return ml_error_set(f->why, code, "%s", problem.sentence);
    if (!ml_event_decode(record, &event)) return note_unreadable(f->store, f->position, &problem);
    code = ml_key_each(f->store->seed, &event, feed_key, f);
    return code == ML_CORRUPT ? note_unreadable(f->store, f->position, &problem) : code;
}

ml_code ml_store_feed(ml_store *store, ml_error *why)
{
    feeding f = {store, ml_index_covered(store->index) + 1, why};
    for (; f.position < store->next; f.position++) {
        ml_code code = feed_event(&f);
        if (code) return code;
        ml_index_cover(store->index, f.position);
        if (f.position % 4096 != 0 || f.position > ml_log_position(store->log)) continue;
        /* A long feed, after the index was lost, writes its runs as it goes. */
        ml_worker_poll(store->index_worker);
        ML_IGNORE(ml_index_tend(store->index, f.position, NULL)); /* tried again after the next settle */
    }
    return ML_OK;
}

ml_code ml_store_repair_index(ml_store *store, ml_error *why)
{
    ml_index_drop_damaged(store->index);
    return ml_store_feed(store, why);
}

static ml_code fill_window(ml_store *store)
{
    uint64_t last = ml_log_position(store->log);
    uint64_t size = store->window.size;
    uint64_t first = last > size ? last - size + 1 : 1;
    ml_window_clear(&store->window, first);
    for (uint64_t position = first; position <= last; position++) {
        static const uint8_t unreadable[ML_ID_SIZE];
        ml_bytes record;
        ml_event event;
        ml_error problem = {.code = ML_OK};
        ml_code code = ml_log_get(store->log, position, &record, &problem);
        /* A call that was refused says nothing of what is stored. */
        if (code && code != ML_CORRUPT) return ml_error_set(&store->why, code, "%s", problem.sentence);
        bool good = code == ML_OK && ml_event_decode(record, &event);
        if (!good) ML_IGNORE(note_unreadable(store, position, &problem));
        if (!ml_window_add(&store->window, good ? event.id : unreadable))
            return ml_error_memory(&store->why, "the window of ids");
        if (good) store->time = event.time;
    }
    return ML_OK;
}

ml_code ml_store_forget_staged(ml_store *store)
{
    store->next = ml_log_position(store->log) + 1;
    ml_heads_clear(&store->heads);
    return fill_window(store);
}

static ml_code open_index(ml_store *store);

/* A reader that was there before the first segment learns only now which log this is. */
static ml_code follow_index(ml_store *store)
{
    if (store->seed != ml_get_u64(ml_log_id(store->log))) {
        ml_index_close(store->index);
        store->index = NULL;
        return open_index(store);
    }
    ml_code code = ml_index_refresh(store->index, ml_log_position(store->log), &store->why);
    return code ? code : ml_store_feed(store, &store->why);
}

ml_code ml_store_catch_up(ml_store *store)
{
    ml_worker_poll(store->log_worker);
    ml_worker_poll(store->index_worker);
    if (!store->options.read_only) {
        ml_code code = store->lazy && !store->answering ? ml_commit_all(store, false, &store->why) : ML_OK;
        return code ? code : ml_store_complete(store, &store->why);
    }
    ml_code code = ml_log_follow(store->log, &store->why);
    store->next = ml_log_position(store->log) + 1;
    /* Asked of the index, not of whether the log moved: an earlier attempt may have failed. */
    if (!code && ml_index_covered(store->index) + 1 < store->next) code = follow_index(store);
    return code;
}

/* ---- opening ------------------------------------------------------------------------------- */

static void take_options(ml_store *store, const ml_options *options)
{
    ml_options *own = &store->options;
    if (options != NULL) *own = *options;
    if (own->segment_bytes == 0) own->segment_bytes = ML_SEGMENT_BYTES;
    if (own->memory_events == 0) own->memory_events = ML_MEMORY_EVENTS;
    if (own->window_events == 0) own->window_events = ML_WINDOW_EVENTS;
    if (own->heads_bytes == 0) own->heads_bytes = ML_HEADS_BYTES;
}

static ml_code check_options(ml_store *store)
{
    uint64_t segment = store->options.segment_bytes;
    if (segment >= ML_SEGMENT_BYTES_MIN && segment <= ML_SEGMENT_BYTES_MAX && segment % 4096 == 0)
        return ML_OK;
    return ml_error_set(&store->why, ML_BAD_REQUEST,
                        "segment_bytes is %" PRIu64 "; give a multiple of 4096 from %d to %d", segment,
                        ML_SEGMENT_BYTES_MIN, ML_SEGMENT_BYTES_MAX);
}

static void look_at_name(void *context, const char *name)
{
    static const char *const ours[] = {"log", "index", "LOCK", "WATERMARK", "WATERMARK~", "views", "snapshots",
                                       "moonlog.sock", "lost+found"};
    bool *strange = context;
    for (size_t n = 0; n < sizeof ours / sizeof *ours; n++)
        if (strcmp(name, ours[n]) == 0) return;
    *strange = true;
}

/* A directory with other people's files in it and no log is not turned into a store. */
static ml_code check_directory(ml_store *store)
{
    bool strange = false, segments;
    ml_disk_names names;
    ml_code code = ml_disk_list(store->disk, "log", ".seg", &names, &store->why);
    if (code) return code;
    segments = names.count > 0;
    ml_disk_names_free(&names);
    int refused = store->disk->ops->list(store->disk, ".", look_at_name, &strange);
    if (refused < 0) return ml_error_disk(&store->why, refused, "list", store->disk->root);
    if (segments || !strange) return ML_OK;
    return ml_error_set(&store->why, ML_NOT_A_STORE,
                        "%s holds other files and no moonlog store; name an empty or a new directory",
                        store->disk->root);
}

static ml_code make_dir(ml_store *store, const char *path)
{
    int refused = store->disk->ops->make_dir(store->disk, path);
    return refused < 0 ? ml_error_disk(&store->why, refused, "make directory", path) : ML_OK;
}

enum { HOLDER = 12 }; /* bytes of LOCK: the writer's process id, and a line's end */

/* For who is refused to know whom to ask. Nothing depends on it, so a full disk is no matter. */
static void sign_lock(ml_store *store)
{
    char text[HOLDER + 1];
    snprintf(text, sizeof text, "%-11d\n", (int)getpid());
    ML_IGNORE(store->disk->ops->pwrite(store->disk, store->lock_file, text, HOLDER, 0) < 0);
}

static ml_code refuse_lock(ml_store *store)
{
    char text[HOLDER + 1] = "", holder[32] = "another process";
    ML_IGNORE(store->disk->ops->pread(store->disk, store->lock_file, text, HOLDER, 0) < 0);
    long pid = strtol(text, NULL, 10);
    bool runs = pid > 0 && (kill((pid_t)pid, 0) == 0 || errno != ESRCH); /* else it was the last */
    if (runs) snprintf(holder, sizeof holder, "process %ld", pid);
    return ml_error_set(&store->why, ML_LOCKED,
                        "%s is open for writing in %s; stop that one, or open it read-only to "
                        "read beside it",
                        store->disk->root, holder);
}

static ml_code take_lock(ml_store *store)
{
    ml_disk *disk = store->disk;
    ml_code code = ml_disk_open(disk, "LOCK", ML_DISK_WRITE, &store->lock_file, &store->why);
    if (code == ML_NOT_FOUND)
        code = ml_disk_open(disk, "LOCK", ML_DISK_CREATE, &store->lock_file, &store->why);
    if (code) return code;
    if (disk->ops->lock(disk, store->lock_file) < 0) return refuse_lock(store);
    return ML_OK;
}

static uint32_t anchor(void *context, uint64_t position)
{
    ml_store *store = context;
    return ml_log_anchor(store->log, position);
}

static ml_code open_index(ml_store *store)
{
    ml_index_options options = {.read_only = store->options.read_only || store->failed,
                                .memory_events = store->options.memory_events,
                                .head = ml_log_position(store->log),
                                .anchor = anchor,
                                .context = store};
    memcpy(options.log, ml_log_id(store->log), sizeof options.log);
    store->seed = ml_get_u64(ml_log_id(store->log));
    ml_code code = ml_index_open(store->disk, store->index_worker, &options, &store->index, &store->why);
    return code ? code : ml_store_feed(store, &store->why);
}

static ml_code open_all(ml_store *store)
{
    ml_error *why = &store->why;
    bool write = !store->options.read_only, threads = !store->options.no_threads;
    ml_code code = check_options(store);
    if (!code) code = check_directory(store);
    if (!code && write) code = make_dir(store, "log");
    if (!code && write) code = make_dir(store, "index");
    if (!code && write) code = take_lock(store);
    if (!code) code = ml_worker_new(threads, &store->log_worker, why);
    if (!code) code = ml_worker_new(threads, &store->index_worker, why);
    if (code) return code;
    ml_log_options options = {.read_only = !write, .segment_bytes = store->options.segment_bytes};
    code = ml_log_open(store->disk, store->log_worker, &options, &store->log, why);
    if (code) return code;
    ml_log_state state;
    ml_log_get_state(store->log, &state);
    /* Damage: everything that is whole can be read, nothing can be written. */
    store->failed = state.damaged;
    if (state.damaged) ml_error_set(why, ML_CORRUPT, "%s", ml_log_damage(store->log));
    store->next = ml_log_position(store->log) + 1;
    code = open_index(store);
    if (!code && write) code = fill_window(store);
    /* Not before all is well: a store that is refused is left as it was. */
    if (!code && write && !state.damaged) sign_lock(store);
    return code ? code : ml_commit_start(store, why);
}

ml_code ml_store_open(ml_store **out, ml_disk *disk, const ml_options *options)
{
    ml_store *store = calloc(1, sizeof *store);
    *out = store;
    if (store == NULL) {
        ml_disk_free(disk);
        return ML_NO_MEMORY;
    }
    store->disk = disk;
    store->lock_file = -1;
    store->filling = &store->batches[0];
    take_options(store, options);
    ml_heads_init(&store->heads, store->options.heads_bytes);
    ml_window_init(&store->window, store->options.window_events);
    ml_code code = open_all(store);
    if (code) {
        /* What was opened is closed by ml_close; the handle only answers ml_why. */
        store->failed = true;
        store->why.code = code;
    }
    return code;
}

/* ---- closing ---------------------------------------------------------------------------------- */

static ml_code save(ml_store *store)
{
    ml_code code = ml_commit_all(store, true, &store->why);
    uint64_t settled = ml_log_position(store->log);
    if (!code && !store->failed && store->index != NULL)
        code = ml_index_save(store->index, settled, &store->why);
    return code;
}

ml_code ml_store_close(ml_store *store)
{
    bool opened = store->log != NULL && store->index != NULL;
    ml_code code = opened && !store->options.read_only && !store->failed ? save(store) : ML_OK;
    ml_commit_stop(store);
    if (store->log != NULL) ml_log_hurry(store->log);
    if (store->log_worker != NULL) ml_worker_wait(store->log_worker);
    if (store->index_worker != NULL) ml_worker_wait(store->index_worker);
    ml_index_close(store->index);
    if (store->log != NULL) {
        ml_code closed = ml_log_close(store->log, &store->why);
        if (!code) code = closed;
    }
    ml_worker_free(store->log_worker);
    ml_worker_free(store->index_worker);
    if (store->lock_file >= 0) store->disk->ops->close(store->disk, store->lock_file);
    ml_disk_free(store->disk);
    ml_commit_free(&store->batches[0]);
    ml_commit_free(&store->batches[1]);
    ml_heads_free(&store->heads);
    ml_window_free(&store->window);
    free(store);
    return code;
}
