/* harm.h -- a closed store, one harm done to it, and what becomes of that.
 *
 * Floor    spec/crash, for flip.c and forge.c.
 */
#ifndef ML_CRASH_HARM_H
#define ML_CRASH_HARM_H

#include "crash.h"
#include "model.h"

enum { ML_HARM_PATH = 64, ML_HARM_FILES = 32 };

/* How a harm was noticed: by an opening that refuses, or opens damaged; by reading; only by
 * verify; not at all. */
typedef enum ml_outcome {
    ML_REFUSED,
    ML_DAMAGED_OPEN,
    ML_BY_READING,
    ML_BY_VERIFY,
    ML_SILENT,
    ML_WRONG,
    ML_OUTCOMES
} ml_outcome;

typedef struct ml_harm {
    const ml_crash_options *options;
    ml_disk *base, *other, *image; /* two logs, and the one that is hurt */
    ml_model model, other_model;
    ml_options store;
    uint64_t found[ML_OUTCOMES], all;
    char what[256], why[2 * ML_MODEL_WHY];
} ml_harm;

/* Makes a store with that many appends, and closes it. */
ml_disk *ml_harm_make(const ml_harm *harm, ml_model *model, uint64_t seed, unsigned appends,
                      unsigned size);
/* Opens it again and appends more, as the dice say. */
void ml_harm_add(const ml_harm *harm, ml_disk *disk, ml_model *model, ml_dice *dice,
                 unsigned appends, unsigned size);
void ml_harm_free(ml_harm *harm);

/* The image is the base again, unhurt. */
void ml_harm_fresh(ml_harm *harm);

/* Notes what is being done, for the report. */
void ml_harm_say(ml_harm *harm, const char *format, ...) ML_FORMAT(2, 3);

/* Verifies, opens and reads the image; harm->why says what is wrong. */
ml_outcome ml_harm_look(ml_harm *harm);

/* Looks, counts, and reports what is wrong; `harmless`: nothing need be noticed. */
bool ml_harm_take(ml_harm *harm, bool harmless);
/* The same; it has to be noticed in this way. */
bool ml_harm_take_as(ml_harm *harm, ml_outcome wanted);

/* Opens and reads the image, by index too: it must be as if nothing had been done. */
bool ml_harm_whole(ml_harm *harm);

/* Reports that harm->what made harm->why. Gives false. */
bool ml_harm_fail(const ml_harm *harm);

/* Files whose name ends so, sorted. */
typedef struct ml_listing {
    char paths[ML_HARM_FILES][ML_HARM_PATH];
    size_t count;
    const char *suffix;
} ml_listing;
ml_listing ml_harm_list(const ml_disk *disk, const char *suffix);

/* Puts the content of a file of `from` at `to`. */
void ml_harm_put(ml_disk *disk, const char *to, ml_disk *from, const char *path);

/* forge.c: harm with good checksums. */
bool ml_forge(ml_harm *harm);

#endif
