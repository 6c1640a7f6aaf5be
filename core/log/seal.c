/* seal.c -- the background half of the writer: the next segment before it is needed, and the
 * last one's footer when it is left.
 *
 * Both jobs run on the worker. The first hands an open file to the writer under a lock; the
 * second uses a descriptor of its own, because the kernel reports a failed write-back once to
 * each descriptor that is open: so the writer and this job both learn of it.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "inside.h"

#define NEXT_PATH "log/next"

/* ---- the next segment ------------------------------------------------------------------- */

void ml_seal_init(ml_log *log)
{
    log->ahead = (ml_spare){.disk = log->disk, .file = -1, .asked_for = UINT64_MAX};
    pthread_mutex_init(&log->ahead.lock, NULL);
    pthread_cond_init(&log->ahead.changed, NULL);
}

void ml_seal_fini(ml_log *log)
{
    uint64_t size;
    int file = ml_seal_take(log, &size);
    if (file >= 0) {
        log->disk->ops->close(log->disk, file);
        log->disk->ops->unlink(log->disk, NEXT_PATH);
    }
    pthread_cond_destroy(&log->ahead.changed);
    pthread_mutex_destroy(&log->ahead.lock);
}

enum {
    LARGE = 2 << 20,
    SMALL = 128 << 10,
    SLOW_US = 1000 /* for a LARGE of zeros: some five times what it takes in memory that is there */
};

static ml_code write_zeros(const ml_spare *spare, int file, const uint8_t *zeros, uint64_t from, uint64_t to,
                           size_t step)
{
    ml_code code = ML_OK;
    for (uint64_t at = from; !code && at < to; at += step)
        code = ml_disk_write(spare->disk, file, NEXT_PATH, zeros, to - at < step ? (size_t)(to - at) : step, at, NULL);
    return code;
}

/* Zeros in steps of 2 MiB: the kernel then keeps the file in pages of that size, so that the
 * appends that follow allocate nothing, and random reads through the map miss the TLB less (a
 * third of the time of loading a stream that is spread over gigabytes). But a virtual machine
 * may have to get its memory from the host first, and a kernel that does not preempt itself
 * lets nobody else onto this processor for the 5 ms that 2 MiB then take: so while it is slow,
 * steps are small. With `synced`, 2 MiB are on the disk before the next: a sync of the log that
 * comes meanwhile never waits behind more than that. */
static ml_code fill_with_zeros(const ml_spare *spare, int file)
{
    uint8_t *zeros = calloc(1, LARGE);
    ml_code code = zeros == NULL ? ML_NO_MEMORY : ML_OK;
    size_t step = SMALL;
    for (uint64_t at = 0; !code && at < spare->size; at += LARGE) {
        uint64_t to = spare->size - at < LARGE ? spare->size : at + LARGE;
        int64_t began = spare->disk->ops->now(spare->disk);
        code = write_zeros(spare, file, zeros, at, to, step);
        step = spare->disk->ops->now(spare->disk) - began > SLOW_US ? SMALL : LARGE;
        if (!code && spare->synced) code = ml_disk_sync(spare->disk, file, NEXT_PATH, NULL);
        if (atomic_load(&spare->unwanted)) code = ML_END;
    }
    free(zeros);
    return code;
}

static void prepare(ml_job *job)
{
    ml_spare *spare = (ml_spare *)job;
    ml_disk *disk = spare->disk;
    int file = -1;
    ml_code code = ml_disk_open(disk, NEXT_PATH, ML_DISK_CREATE, &file, NULL);
    if (!code && disk->ops->allocate(disk, file, spare->size) < 0) code = ML_IO;
    if (!code) code = fill_with_zeros(spare, file);
    if (code && file >= 0) {
        disk->ops->close(disk, file);
        disk->ops->unlink(disk, NEXT_PATH);
        file = -1;
    }
    pthread_mutex_lock(&spare->lock);
    spare->file = file;
    spare->state = code ? ML_SPARE_FAILED : ML_SPARE_READY;
    pthread_cond_signal(&spare->changed);
    pthread_mutex_unlock(&spare->lock);
}

static void prepared(ml_job *job) { ((ml_spare *)job)->underway = false; }

void ml_seal_ahead(ml_log *log, const ml_segment *active, uint64_t size, uint64_t end)
{
    ml_spare *spare = &log->ahead;
    if (spare->asked_for == active->number || spare->underway || end < size / 2) return;
    /* Who opens the store for a few events will not come to the next segment. */
    if (log->written < size / 64) return;
    pthread_mutex_lock(&spare->lock);
    bool start = spare->state == ML_SPARE_NONE || spare->state == ML_SPARE_FAILED;
    if (start) spare->state = ML_SPARE_RUNNING;
    pthread_mutex_unlock(&spare->lock);
    if (!start) return;
    spare->asked_for = active->number;
    spare->underway = true;
    spare->size = ml_writer_segment_size(log, active->number + 1);
    spare->synced = log->sync_lately;
    spare->job.run = prepare;
    spare->job.done = prepared;
    ml_worker_start(log->worker, &spare->job);
}

int ml_seal_take(ml_log *log, uint64_t *size)
{
    ml_spare *spare = &log->ahead;
    pthread_mutex_lock(&spare->lock);
    while (spare->state == ML_SPARE_RUNNING) pthread_cond_wait(&spare->changed, &spare->lock);
    int file = spare->state == ML_SPARE_READY ? spare->file : -1;
    *size = spare->size;
    spare->state = ML_SPARE_NONE;
    spare->file = -1;
    pthread_mutex_unlock(&spare->lock);
    return file;
}

/* ---- sealing ------------------------------------------------------------------------------ */

typedef struct seal_job {
    ml_job job;
    ml_log *log;
    ml_segment *segment;
    int file;          /* opened before any sync of the segment can have failed */
    uint32_t *offsets; /* a copy: the owner's table may be moved meanwhile */
    uint32_t count;
    ml_footer footer;
    uint32_t salt;
    ml_code code;
    ml_error why;
} seal_job;

static ml_code hash_file(ml_disk *disk, int file, const char *path, uint64_t end, uint8_t sha256[32],
                         ml_error *why)
{
    enum { CHUNK = 1 << 18 };
    uint8_t *chunk = malloc(CHUNK);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    ml_code code = ML_OK;
    if (chunk == NULL || hash == NULL || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1)
        code = ml_error_memory(why, "the hash of a segment");
    for (uint64_t at = 0; !code && at < end; at += CHUNK) {
        size_t some = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        code = ml_disk_read(disk, file, path, chunk, some, at, why);
        if (!code && EVP_DigestUpdate(hash, chunk, some) != 1)
            code = ml_error_memory(why, "the hash of a segment");
    }
    if (!code && EVP_DigestFinal_ex(hash, sha256, NULL) != 1)
        code = ml_error_memory(why, "the hash of a segment");
    EVP_MD_CTX_free(hash);
    free(chunk);
    return code;
}

ml_code ml_seal_hash(ml_disk *disk, const char *path, uint64_t end, uint8_t sha256[32], ml_error *why)
{
    int file = -1;
    ml_code code = ml_disk_open(disk, path, ML_DISK_READ, &file, why);
    if (code) return code;
    code = hash_file(disk, file, path, end, sha256, why);
    disk->ops->close(disk, file);
    return code;
}

/* Sync first: a footer says "this is what the segment is", so it may not come before it. */
static ml_code seal(seal_job *job, ml_disk *disk, int file, const char *path)
{
    ml_code code = ml_disk_sync(disk, file, path, &job->why);
    /* Never synced again: the kernel may have dropped what it could not write. */
    if (code) atomic_store(&job->log->fenced, true);
    if (code || atomic_load(&job->log->fenced)) return code;
    atomic_store(&job->segment->synced, true);
    uint8_t bytes[ML_SEGMENT_FOOTER];
    code = hash_file(disk, file, path, job->footer.end, job->footer.sha256, &job->why);
    if (!code) {
        ml_segment_encode_footer(&job->footer, job->salt, bytes);
        code = ml_disk_write(disk, file, path, bytes, sizeof bytes, job->footer.end, &job->why);
    }
    if (!code) code = ml_disk_sync(disk, file, path, &job->why);
    if (!code) disk->ops->truncate(disk, file, job->footer.end + ML_SEGMENT_FOOTER);
    return code;
}

static void run(ml_job *base)
{
    seal_job *job = (seal_job *)base;
    ml_disk *disk = job->log->disk;
    job->code = seal(job, disk, job->file, job->segment->path);
    disk->ops->close(disk, job->file);
    if (job->offsets != NULL) ml_offsets_save(disk, job->segment, job->offsets, job->count);
}

static void done(ml_job *base)
{
    /* A seal that failed is begun again by the next opening; a fenced log refuses by itself. */
    seal_job *job = (seal_job *)base;
    free(job->offsets);
    free(job);
}

void ml_seal_start(ml_log *log, ml_segment *segment, uint64_t sequence, uint32_t previous)
{
    seal_job *job = calloc(1, sizeof *job);
    if (job == NULL) return;
    /* On this thread, between two writes: a failed write-back is told to every descriptor that
     * is open by then, and to none that is opened later. */
    job->file = log->disk->ops->open(log->disk, segment->path, ML_DISK_WRITE);
    if (job->file < 0) {
        free(job); /* sealed by the next opening */
        return;
    }
    job->job.run = run;
    job->job.done = done;
    job->log = log;
    job->segment = segment;
    job->salt = segment->salt;
    job->footer = (ml_footer){.count = segment->count,
                              .last = segment->first + segment->count - 1,
                              .sequence = sequence,
                              .end = segment->end,
                              .previous = previous};
    if (segment->offsets != NULL && !segment->mapped_offsets) {
        job->count = segment->count;
        job->offsets = malloc((size_t)segment->count * sizeof *job->offsets + 1);
        if (job->offsets != NULL && segment->count > 0)
            memcpy(job->offsets, segment->offsets, (size_t)segment->count * sizeof *job->offsets);
    }
    ml_worker_start(log->worker, &job->job);
}
