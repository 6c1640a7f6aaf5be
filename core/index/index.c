/* index.c -- which runs there are, when a table becomes one, when runs become a larger one.
 *
 *     live ──full──▶ frozen ──settled, written──▶ run      (job: ml_merge_table)
 *     four neighbouring runs of one size ────────▶ one run (job: ml_merge_runs)
 *
 * One job runs at a time. Sizes grow by fours, so n events lie in about 3 · log4(n / memory)
 * runs and each position is written log4(n / memory) times.
 */
#include "index.h"

#include <stdio.h>
#include <stdlib.h>

#include "inside.h"

enum {
    FANOUT = 4,
    SAVE_EVENTS_MIN = 16384 /* fewer are fed again faster than a run is written and synced */
};

/* ---- opening --------------------------------------------------------------------------------- */

static bool fits(const ml_index *index, const ml_run *run)
{
    const ml_index_options *options = &index->options;
    return memcmp(run->head.log, options->log, sizeof run->head.log) == 0 &&
           run->head.first == index->covered + 1 && run->head.last <= options->head &&
           run->head.anchor == options->anchor(options->context, run->head.last);
}

/* Opens the longest good run that begins right behind what is covered. */
static ml_code open_next(ml_index *index, const ml_disk_names *names, bool *found, ml_error *why)
{
    ml_run *best = NULL;
    for (size_t n = 0; n < names->count; n++) {
        uint64_t first, last;
        char path[ML_RUN_PATH];
        ml_run *run = NULL;
        if (!ml_run_parse_name(names->names[n], &first, &last)) continue;
        if (first != index->covered + 1 || (best != NULL && last <= best->head.last)) continue;
        ml_run_path(path, first, last);
        ml_code code = ml_run_open(index->disk, path, &run, why);
        if (code == ML_NO_MEMORY) {
            ml_run_close(best, index->disk);
            return code;
        }
        if (code) continue;
        bool good = fits(index, run);
        ml_run_close(good ? best : run, index->disk);
        if (good) best = run;
    }
    *found = best != NULL;
    if (best == NULL) return ML_OK;
    index->runs[index->run_count++] = best;
    index->covered = best->head.last;
    return ML_OK;
}

/* A run that is not part of the list: merged away, of another log, damaged, or half-written
 * (then a "~" ends its name). */
static bool is_stray(const ml_index *index, const char *name)
{
    uint64_t first, last;
    if (strstr(name, ".run") == NULL) return false; /* the log's tables of offsets */
    if (!ml_run_parse_name(name, &first, &last)) return true;
    for (size_t n = 0; n < index->run_count; n++)
        if (index->runs[n]->head.first == first && index->runs[n]->head.last == last) return false;
    return true;
}

static ml_code remove_strays(ml_index *index, const ml_disk_names *names, ml_error *why)
{
    bool removed = false;
    for (size_t n = 0; n < names->count; n++) {
        char path[300];
        if (!is_stray(index, names->names[n])) continue;
        if (snprintf(path, sizeof path, "index/%s", names->names[n]) >= (int)sizeof path) continue;
        ML_IGNORE(ml_disk_remove(index->disk, path, NULL)); /* it will be seen as a stray again */
        removed = true;
    }
    /* Gone for good before new events can take the positions that a stray speaks of. */
    int refused = removed ? index->disk->ops->sync_dir(index->disk, "index") : 0;
    return refused < 0 ? ml_error_disk(why, refused, "sync directory", "index") : ML_OK;
}

static ml_code open_runs(ml_index *index, ml_error *why)
{
    ml_disk_names names;
    ml_code code = ml_disk_list(index->disk, "index", "", &names, why);
    if (code) return code;
    bool found = true;
    while (!code && found && index->run_count < ML_INDEX_RUNS_MAX)
        code = open_next(index, &names, &found, why);
    if (!code && !index->options.read_only) code = remove_strays(index, &names, why);
    ml_disk_names_free(&names);
    return code;
}

ml_code ml_index_open(ml_disk *disk, ml_worker *worker, const ml_index_options *options,
                      ml_index **out, ml_error *why)
{
    *out = NULL;
    ml_index *index = calloc(1, sizeof *index);
    if (index == NULL) return ml_error_memory(why, "the index");
    index->disk = disk;
    index->worker = worker;
    index->options = *options;
    ml_code code = open_runs(index, why);
    if (code) {
        ml_index_close(index);
        return code;
    }
    ml_table_begin(&index->live, index->covered + 1);
    ml_table_begin(&index->frozen, index->covered + 1);
    *out = index;
    return ML_OK;
}

void ml_index_close(ml_index *index)
{
    if (index == NULL) return;
    for (size_t n = 0; n < index->run_count; n++) ml_run_close(index->runs[n], index->disk);
    ml_table_free(&index->live);
    ml_table_free(&index->frozen);
    free(index);
}

/* ---- feeding ------------------------------------------------------------------------------------ */

uint64_t ml_index_covered(const ml_index *index) { return index->covered; }

ml_code ml_index_add(ml_index *index, uint64_t key, uint64_t position, ml_error *why)
{
    if (ml_table_add(&index->live, key, position)) return ML_OK;
    return ml_error_memory(why, "the index");
}

void ml_index_prefetch(const ml_index *index, uint64_t key, bool chunk)
{
    const ml_table *table = &index->live;
    if (table->used == 0) return;
    const ml_table_slot *slot = &table->slots[(uint32_t)key & (table->slot_count - 1)];
    if (!chunk) __builtin_prefetch(slot);
    else if (slot->count > 0) __builtin_prefetch(table->words + slot->tail);
}

void ml_index_cover(ml_index *index, uint64_t position)
{
    ML_ASSERT(position == index->covered + 1);
    index->covered = position;
}

void ml_index_retract(ml_index *index, uint64_t key, uint64_t last)
{
    ml_table_retract(&index->live, key, last);
    if (index->freezing) ml_table_retract(&index->frozen, key, last);
}

void ml_index_uncover(ml_index *index, uint64_t last)
{
    ML_ASSERT(last <= index->covered);
    index->covered = last;
    /* The live table may begin further on than what is left: it is empty then. */
    if (index->live.first > last + 1) ml_table_begin(&index->live, last + 1);
}

/* ---- background work ------------------------------------------------------------------------------ */

typedef struct index_job {
    ml_job job;
    ml_index *index;
    ml_disk *disk;
    ml_run_head head;          /* of the run to be made */
    const ml_table *table;     /* what from: a table … */
    ml_run *runs[FANOUT];      /* … or runs */
    size_t at, count, damaged; /* index of the first of them in the list */
    ml_run *made;
    ml_code code;
} index_job;

static void run_job(ml_job *base)
{
    index_job *job = (index_job *)base;
    char path[ML_RUN_PATH];
    if (job->table != NULL) job->code = ml_merge_table(job->disk, job->table, &job->head, NULL);
    else job->code = ml_merge_runs(job->disk, job->runs, job->count, &job->damaged, NULL);
    ml_run_path(path, job->head.first, job->head.last);
    if (!job->code) job->code = ml_run_open(job->disk, path, &job->made, NULL);
}

static void drop_from(ml_index *index, size_t n)
{
    for (size_t i = n; i < index->run_count; i++) {
        /* Who only reads leaves the file to the writer. */
        if (!index->options.read_only)
            ML_IGNORE(ml_disk_remove(index->disk, index->runs[i]->path, NULL));
        ml_run_close(index->runs[i], index->disk);
    }
    index->run_count = n;
    index->covered = n > 0 ? index->runs[n - 1]->head.last : 0;
    index->freezing = false;
    ml_table_begin(&index->frozen, index->covered + 1);
    ml_table_begin(&index->live, index->covered + 1);
}

static void table_written(index_job *job)
{
    ml_index *index = job->index;
    index->runs[index->run_count++] = job->made;
    index->freezing = false;
    ml_table_begin(&index->frozen, index->live.first);
}

static void runs_merged(index_job *job)
{
    ml_index *index = job->index;
    for (size_t n = 0; n < job->count; n++) {
        ML_IGNORE(ml_disk_remove(index->disk, job->runs[n]->path, NULL)); /* else a stray, later */
        ml_run_close(job->runs[n], index->disk);
    }
    index->runs[job->at] = job->made;
    index->run_count -= job->count - 1;
    memmove(index->runs + job->at + 1, index->runs + job->at + job->count,
            (index->run_count - job->at - 1) * sizeof(ml_run *));
}

static void job_done(ml_job *base)
{
    index_job *job = (index_job *)base;
    ml_index *index = job->index;
    index->busy = false;
    index->failed = job->code != ML_OK;
    /* Derived data: a full disk or a failed call only means that memory keeps it for longer. */
    if (index->failed) index->retry_at = index->covered + index->options.memory_events / 4 + 1;
    if (job->code == ML_CORRUPT && job->table == NULL)
        index->damaged_at = job->runs[job->damaged]->head.first;
    if (!index->failed && job->table != NULL) table_written(job);
    if (!index->failed && job->table == NULL) runs_merged(job);
    free(job);
}

static index_job *new_job(ml_index *index, uint64_t first, uint64_t last)
{
    index_job *job = calloc(1, sizeof *job);
    if (job == NULL) return NULL;
    job->job.run = run_job;
    job->job.done = job_done;
    job->index = index;
    job->disk = index->disk;
    job->head.first = first;
    job->head.last = last;
    memcpy(job->head.log, index->options.log, sizeof job->head.log);
    return job;
}

static ml_code start_writing(ml_index *index, ml_error *why)
{
    uint64_t first = index->run_count > 0 ? index->runs[index->run_count - 1]->head.last + 1 : 1;
    uint64_t last = index->live.first - 1;
    index_job *job = new_job(index, first, last);
    if (job == NULL) return ml_error_memory(why, "an index run");
    job->head.anchor = index->options.anchor(index->options.context, last);
    job->table = &index->frozen;
    index->busy = true;
    ml_worker_start(index->worker, &job->job);
    return ML_OK;
}

/* Which power of the fan-out a run's size is, in tables. */
static unsigned size_class(const ml_index *index, const ml_run *run)
{
    uint64_t tables = (run->head.last - run->head.first + 1) / index->options.memory_events;
    unsigned class = 0;
    for (; tables >= FANOUT; tables /= FANOUT) class++;
    return class;
}

/* Finds the newest FANOUT neighbours of one class; false if there are none. */
static bool find_mergeable(const ml_index *index, size_t *at)
{
    for (size_t n = index->run_count; n >= FANOUT; n--) {
        const ml_run *newest = index->runs[n - 1], *oldest = index->runs[n - FANOUT];
        if (newest->head.last - oldest->head.first >= UINT32_MAX) continue;
        bool same = true;
        for (size_t i = n - FANOUT; i < n; i++)
            same = same && size_class(index, index->runs[i]) == size_class(index, newest);
        if (!same) continue;
        *at = n - FANOUT;
        return true;
    }
    return false;
}

static ml_code start_merging(ml_index *index, size_t at, ml_error *why)
{
    const ml_run *newest = index->runs[at + FANOUT - 1];
    index_job *job = new_job(index, index->runs[at]->head.first, newest->head.last);
    if (job == NULL) return ml_error_memory(why, "merging index runs");
    job->at = at;
    job->count = FANOUT;
    memcpy(job->runs, index->runs + at, sizeof job->runs);
    index->busy = true;
    ml_worker_start(index->worker, &job->job);
    return ML_OK;
}

static void freeze(ml_index *index)
{
    ml_table empty = index->frozen;
    index->frozen = index->live;
    index->live = empty;
    ml_table_begin(&index->live, index->covered + 1);
    index->freezing = true;
}

static uint64_t live_events(const ml_index *index) { return index->covered + 1 - index->live.first; }

ml_code ml_index_tend(ml_index *index, uint64_t settled, ml_error *why)
{
    size_t at;
    if (index->damaged_at > 0) return ML_CORRUPT;
    if (index->options.read_only) return ML_OK;
    if (!index->freezing && live_events(index) >= index->options.memory_events) freeze(index);
    /* The background is behind: wait, rather than hold more than two tables. */
    if (index->busy && live_events(index) >= 2 * (uint64_t)index->options.memory_events)
        ml_worker_wait(index->worker);
    if (index->busy || (index->failed && index->covered < index->retry_at)) return ML_OK;
    if (index->freezing && index->live.first - 1 <= settled && index->run_count < ML_INDEX_RUNS_MAX)
        return start_writing(index, why);
    return find_mergeable(index, &at) ? start_merging(index, at, why) : ML_OK;
}

ml_code ml_index_save(ml_index *index, uint64_t settled, ml_error *why)
{
    ml_worker_wait(index->worker);
    if (index->options.read_only || index->failed) return ML_OK;
    if (!index->freezing && live_events(index) >= SAVE_EVENTS_MIN) freeze(index);
    ml_code code = ML_OK;
    if (index->freezing && index->live.first - 1 <= settled && index->run_count < ML_INDEX_RUNS_MAX)
        code = start_writing(index, why);
    ml_worker_wait(index->worker);
    return code;
}

/* ---- readers beside a writer ------------------------------------------------------------------------ */

ml_code ml_index_refresh(ml_index *index, uint64_t head, ml_error *why)
{
    if (live_events(index) < index->options.memory_events) return ML_OK;
    uint64_t before = index->run_count > 0 ? index->runs[index->run_count - 1]->head.last : 0;
    ml_index_options options = index->options;
    options.head = head;
    ml_index *newer = NULL;
    ml_code code = ml_index_open(index->disk, index->worker, &options, &newer, why);
    if (code) return code;
    if (newer->covered <= before) {
        ml_index_close(newer);
        return ML_OK;
    }
    ml_index old = *index;
    *index = *newer;
    *newer = old;
    ml_index_close(newer);
    return ML_OK;
}

void ml_index_get_state(const ml_index *index, ml_index_state *state)
{
    *state = (ml_index_state){.runs = index->run_count,
                              .memory_events = live_events(index),
                              .memory_bytes = ml_table_bytes(&index->live) + ml_table_bytes(&index->frozen)};
    for (size_t n = 0; n < index->run_count; n++) state->bytes += index->runs[n]->head.size;
    if (index->freezing) state->memory_events += index->live.first - index->frozen.first;
}

void ml_index_note_damage(ml_index *index, const ml_postings *postings)
{
    size_t n = postings->sources[postings->source].run;
    if (n < index->run_count) index->damaged_at = index->runs[n]->head.first;
}

void ml_index_drop_damaged(ml_index *index)
{
    ml_worker_wait(index->worker);
    size_t n = 0;
    while (n < index->run_count && index->runs[n]->head.last < index->damaged_at) n++;
    drop_from(index, n);
    index->damaged_at = 0;
    index->failed = false;
}
