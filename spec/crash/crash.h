/* crash.h -- the four trials of the crash program, and what they share.
 *
 * Each trial prints one line of figures, and gives false after the first violation, which it
 * has then told with everything that is needed to see it again.
 *
 * Floor    spec/crash: a test program above all of core/ but the program itself.
 */
#ifndef ML_CRASH_H
#define ML_CRASH_H

#include "../../core/base/disk_sim.h"

typedef struct ml_crash_options {
    const char *program;  /* the moonlog to be killed */
    const char *workload; /* only this one; NULL: all */
    uint64_t states;      /* distinct images at least; 0: one round */
    uint64_t seed;
    uint64_t op;      /* only the crashes after this call; 0: all */
    const char *fate; /* only this one, as it was printed; NULL: all */
    const char *part; /* of flip: only "bits" or "files"; NULL: both */
    uint64_t every;   /* of the faults, flips … only each n-th; 1: all */
    uint64_t rounds;  /* kills */
} ml_crash_options;

bool ml_simulate(const ml_crash_options *options);
bool ml_faulty(const ml_crash_options *options);
bool ml_flip(const ml_crash_options *options);
bool ml_kill(const ml_crash_options *options);

/* ---- image.c: looking at a simulated disk from outside ------------------------------------ */

/* A hash of all names and contents whose name begins with `prefix`. */
uint64_t ml_image_hash(const ml_disk *disk, const char *prefix);

/* Calls each(path) for every file. */
void ml_image_each(const ml_disk *disk, void (*each)(void *context, const char *path),
                   void *context);

/* Frames of the log: those that hold events up to position `last`, or those up to sequence
 * `last`. They are found without the code under test. */
typedef struct ml_image_frames {
    uint64_t last;
    bool by_sequence;
} ml_image_frames;

/* Gives a place in one of them: `pick` says which byte of all of them, modulo their number.
 * False if there are none. */
enum { ML_IMAGE_PATH = 64 };
bool ml_image_pick(ml_disk *disk, ml_image_frames frames, uint64_t pick, char path[ML_IMAGE_PATH],
                   uint64_t *offset);
uint64_t ml_image_hash_frames(ml_disk *disk, ml_image_frames frames);

/* The highest sequence that any frame says is synced. */
uint64_t ml_image_durable(ml_disk *disk);

/* 1234567 as 1,234,567; one of a few buffers that take turns. */
const char *ml_crash_number(uint64_t number);

#endif
