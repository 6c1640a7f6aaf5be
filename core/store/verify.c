/* verify.c -- ml_verify: the log by log/check.c, and with `deep` what the store put into it.
 *
 * Deep, each event is decoded, its time and revision are held against those before it, and
 * the index against the log: for each run, the sum over hash(key, position) of all postings
 * must equal the sum over the events it covers. Equal sums of 64-bit hashes, and an equal
 * count, mean equal sets but for one chance in 2^64; so no table of all keys is needed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/unpack.h"
#include "../log/check.h"
#include "inside.h"

/* What a run must sum up to, and what the events have summed up to so far. */
typedef struct run_sum {
    uint64_t first, last;
    uint64_t count, sum;       /* of the run's postings */
    uint64_t events_count, events_sum;
} run_sum;

typedef struct verifying {
    ml_check check;
    void (*report)(void *context, const char *sentence);
    void *context;
    bool deep;
    ml_heads heads; /* last revision of every stream met */
    bool forgot; /* memory for a stream was refused: nothing can be said of revisions */
    int64_t time;
    uint64_t seed;
    run_sum runs[ML_INDEX_RUNS_MAX];
    size_t run_count;
    uint64_t position; /* of the event being looked at */
} verifying;

static void pass_on(void *context, const char *sentence)
{
    verifying *v = context;
    if (v->report != NULL) v->report(v->context, sentence);
}

/* Of one posting; keys are hashes already. */
static uint64_t digest(uint64_t key, uint64_t position)
{
    uint64_t mixed = (key ^ position * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
    return (mixed ^ mixed >> 29) * UINT64_C(0x94d049bb133111eb);
}

/* ---- events --------------------------------------------------------------------------------- */

/* The keys of an event as the index keeps them: one that two names share is there once. */
typedef struct key_list {
    uint64_t keys[ML_TAGS_MAX + 8];
    size_t count;
} key_list;

static ml_code collect(void *context, uint64_t key)
{
    key_list *list = context;
    for (size_t n = 0; n < list->count; n++)
        if (list->keys[n] == key) return ML_OK;
    if (list->count < sizeof list->keys / sizeof *list->keys) list->keys[list->count++] = key;
    return ML_OK;
}

static void sum_event(verifying *v, const ml_event *event)
{
    key_list list = {.count = 0};
    ML_IGNORE(ml_key_each(v->seed, event, collect, &list)); /* it was decoded before */
    uint64_t sum = 0;
    for (size_t n = 0; n < list.count; n++) sum += digest(list.keys[n], v->position);
    /* Runs may overlap: what was merged is removed a little later. */
    for (size_t n = 0; n < v->run_count; n++) {
        run_sum *run = &v->runs[n];
        if (v->position < run->first || v->position > run->last) continue;
        run->events_sum += sum;
        run->events_count += list.count;
    }
}

static void check_revision(verifying *v, const ml_event *event)
{
    uint64_t key = ml_key_of(v->seed, ML_KEY_STREAM, event->stream), before;
    bool known = ml_heads_get(&v->heads, key, event->stream, &before);
    uint64_t wanted = known ? before + 1 : 0;
    if (event->revision != wanted && !v->forgot)
        ml_check_report(&v->check, "position %" PRIu64 ": stream %.*s is at revision %" PRIu64 " where %" PRIu64 " should follow",
                        v->position, ML_SHOW(event->stream), event->revision, wanted);
    ml_heads_put(&v->heads, key, event->stream, event->revision);
    if (!ml_heads_get(&v->heads, key, event->stream, &before)) v->forgot = true;
}

static void look(void *context, uint64_t position, ml_bytes payload)
{
    verifying *v = context;
    ml_event event;
    v->position = position;
    if (!ml_event_decode(payload, &event)) {
        ml_check_report(&v->check, "position %" PRIu64 ": the record is whole, but it is no event", position);
        return;
    }
    if (event.time < v->time)
        ml_check_report(&v->check, "position %" PRIu64 ": its time is before that of the event before it", position);
    v->time = event.time;
    check_revision(v, &event);
    sum_event(v, &event);
}

/* ---- the index ---------------------------------------------------------------------------------- */

/* Sums up one list of a run; false if it is damaged. */
static bool sum_list(const ml_run *run, uint64_t key, uint64_t where, run_sum *sum)
{
    ml_run_list list = {.count = 1, .single = true, .only = (uint32_t)where};
    uint64_t floor = ml_run_lists_at(&run->head);
    if (!(where & ML_RUN_INLINE)) {
        if (where < floor || where >= run->head.size) return false;
        if (!ml_run_parse_list(run->map + where, run->map + run->head.size, run->map + floor, &list)) return false;
    }
    uint32_t distances[ML_RUN_BLOCK_MAX];
    uint64_t blocks = ml_run_blocks(&list);
    for (uint64_t n = 0; n < blocks; n++) {
        uint32_t count = ml_run_decode(&list, n, distances);
        if (count == 0) return false;
        for (uint32_t i = 0; i < count; i++) sum->sum += digest(key, run->head.first + distances[i]);
        sum->count += count;
    }
    /* The filter must let the key through, too. */
    return ml_run_find(run, key, &list) == ML_PRESENT;
}

static bool sum_run(const ml_run *run, run_sum *sum)
{
    ml_run_entry entry;
    for (uint64_t line = 0; line < run->head.table_lines; line++)
        for (unsigned n = 0;; n++) {
            ml_found found = ml_run_entry_at(run, line, n, &entry);
            if (found == ML_DAMAGED) return false;
            if (found == ML_ABSENT) break;
            if (!sum_list(run, entry.key, entry.where, sum)) return false;
        }
    return sum->count == run->head.postings;
}

static void load_run(verifying *v, const char *name)
{
    char path[ML_RUN_PATH];
    ml_run *run = NULL;
    run_sum sum = {0};
    if (v->run_count == ML_INDEX_RUNS_MAX || !ml_run_parse_name(name, &sum.first, &sum.last)) return;
    ml_run_path(path, sum.first, sum.last);
    ml_code code = ml_run_open(v->check.disk, path, &run, NULL);
    if (code == ML_NOT_FOUND) return; /* merged away since it was listed */
    bool good = code == ML_OK && sum_run(run, &sum);
    if (!good)
        ml_check_report(&v->check, "%s is damaged; delete it, it is made again from the log", path);
    else
        v->runs[v->run_count++] = sum;
    if (run != NULL) ml_run_close(run, v->check.disk);
}

static ml_code load_runs(verifying *v, ml_error *why)
{
    ml_disk_names names;
    ml_code code = ml_disk_list(v->check.disk, "index", ".run", &names, why);
    if (code) return code;
    for (size_t n = 0; n < names.count; n++) load_run(v, names.names[n]);
    ml_disk_names_free(&names);
    return ML_OK;
}

static void compare_runs(verifying *v)
{
    for (size_t n = 0; n < v->run_count; n++) {
        const run_sum *run = &v->runs[n];
        if (run->count == run->events_count && run->sum == run->events_sum) continue;
        if (run->last > v->check.last) continue; /* ahead of the log: dropped by the next opening */
        char path[ML_RUN_PATH];
        ml_run_path(path, run->first, run->last);
        ml_check_report(&v->check, "%s does not name the events that are there (%" PRIu64 " entries, %" PRIu64
                                   " are right); delete it, it is made again from the log",
                        path, run->count, run->events_count);
    }
}

/* ---- all ------------------------------------------------------------------------------------------ */

/* Asks, and takes nothing: a writer may start at any time. */
static bool has_writer(ml_disk *disk)
{
    int file = disk->ops->open(disk, "LOCK", ML_DISK_READ);
    if (file < 0) return false;
    bool taken = disk->ops->locked(disk, file) == 1;
    disk->ops->close(disk, file);
    return taken;
}

static ml_code read_seed(verifying *v, ml_error *why)
{
    char path[ML_SEGMENT_PATH];
    uint8_t page[ML_SEGMENT_HEADER];
    ml_segment first;
    int file = -1;
    ml_segment_path(path, 1);
    if (ml_disk_open(v->check.disk, path, ML_DISK_READ, &file, NULL) != ML_OK) return ML_OK;
    ml_code code = ml_disk_read(v->check.disk, file, path, page, sizeof page, 0, NULL);
    v->check.disk->ops->close(v->check.disk, file);
    if (!code) code = ml_segment_decode(&first, page, path, why);
    if (code == ML_UNSUPPORTED) return code;
    if (!code) v->seed = ml_get_u64(first.log);
    return ML_OK;
}

static ml_code verify(verifying *v, ml_error *why)
{
    ml_code code = read_seed(v, why);
    if (!code && v->deep) code = load_runs(v, why);
    if (!code) code = ml_check_log(&v->check, why);
    if (!code && v->deep) compare_runs(v);
    if (!code && v->forgot) code = ml_error_memory(why, "the revisions of all streams");
    return code;
}

ml_code ml_verify_disk(ml_disk *disk, bool deep, void (*report)(void *context, const char *sentence),
                       void *context, ml_verified *verified, ml_error *why)
{
    verifying *v = calloc(1, sizeof *v);
    if (v == NULL) return ml_error_memory(why, "verifying");
    *v = (verifying){.report = report, .context = context, .deep = deep, .time = INT64_MIN};
    v->check = (ml_check){.disk = disk, .deep = deep, .writing = has_writer, .report = pass_on,
                          .record = deep ? look : NULL, .context = v};
    ml_heads_init(&v->heads, UINT64_MAX); /* revisions can only be checked if none is forgotten */
    ml_code code = verify(v, why);
    *verified = (ml_verified){.segments = v->check.segments,
                              .frames = v->check.frames,
                              .events = v->check.records,
                              .bytes = v->check.bytes,
                              .problems = v->check.problems};
    ml_heads_free(&v->heads);
    free(v);
    if (code) return code;
    return verified->problems > 0 ? ML_CORRUPT : ML_OK;
}
