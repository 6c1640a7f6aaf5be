/* fuzz.h -- what the fuzz targets of this directory share.
 *
 * A target is one file: it is given arbitrary bytes, makes of them what its head says, and
 * asserts what must hold whatever they are. Bytes that a checksum guards would never get
 * past it by chance; so in most targets the input says, in its first byte, whether the
 * checksums are put right before the bytes are used.
 *
 * The golden store is where seeds come from: run the targets from the top of the tree.
 */
#ifndef ML_SPEC_FUZZ_H
#define ML_SPEC_FUZZ_H

#include "../../core/base/disk_sim.h"
#include "../../core/log/frame.h"
#include "../../core/store/store.h"

/* ---- what a target gives ---------------------------------------------------------------- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Called once, before the first input. */
void ml_fuzz_begin(void);

/* Calls ml_fuzz_seed for every input worth beginning with. */
void ml_fuzz_seeds(void);

void ml_fuzz_seed(const void *data, size_t size);

/* ---- input ------------------------------------------------------------------------------ */

/* The fuzzer's bytes, taken from the front; where there are none left, zeros are read. */
typedef struct ml_fuzz_input {
    const uint8_t *at;
    size_t left;
} ml_fuzz_input;

uint8_t ml_fuzz_byte(ml_fuzz_input *input);
uint16_t ml_fuzz_u16(ml_fuzz_input *input);
/* At most `size` bytes, fewer if there are no more. */
ml_bytes ml_fuzz_take(ml_fuzz_input *input, size_t size);

/* A file of spec/golden/v1, read whole once and kept. */
ml_bytes ml_fuzz_golden(const char *path);

/* ---- frames ----------------------------------------------------------------------------- */

typedef struct ml_fuzz_chain {
    uint64_t sequence, position;
    uint32_t previous, salt;
    bool place; /* frames and records get sequence, position and previous crc, too */
} ml_fuzz_chain;

/* Puts the checksums of the frame at `at` right, if there is room for one and it begins like
 * one; gives its size, or 0. The chain is moved behind it. */
uint64_t ml_fuzz_repair_frame(uint8_t *at, uint64_t left, ml_fuzz_chain *chain);

/* ---- disks and stores ------------------------------------------------------------------- */

/* An empty disk, small and quick to make. */
ml_disk *ml_fuzz_disk(void);

/* Puts a file there, synced, padded with zeros to `size` if that is more. */
void ml_fuzz_plant(ml_disk *disk, const char *path, ml_bytes content, uint64_t size);

/* The disk after a crash: of the process alone (everything was written), or of power. */
ml_disk *ml_fuzz_crash(const ml_disk *disk, bool power);

/* A digest of all that can be read: every event or its error, forward and, held against
 * that, backward; every stream and its head. Asserts what must hold between them. */
uint64_t ml_fuzz_read_all(ml_store *store);

#endif
