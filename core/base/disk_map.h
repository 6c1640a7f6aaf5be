/* disk_map.h -- file maps that read as zeros where the file cannot be read any more.
 *
 * Floor    base; for disk_real.c only.
 * Threads  any. Reading through a map costs nothing; the handler that serves a fault takes
 *          no lock and allocates nothing.
 * Memory   a map is borrowed until ml_disk_map_free.
 * Errors   0 or a negative errno.
 * Signals  the first map of the process installs a SIGBUS handler, once and for ever. A
 *          fault outside every map goes on to the handler that was there before.
 */
#ifndef ML_BASE_DISK_MAP_H
#define ML_BASE_DISK_MAP_H

#include "error.h"

/* Maps the first `size` bytes of descriptor `file` for reading. -ENOMEM if the process has
 * too many maps already. */
ML_MUST_USE int ml_disk_map_new(int file, uint64_t size, const uint8_t **map);

/* No thread may be reading through it. */
void ml_disk_map_free(const uint8_t *map, uint64_t size);

#endif
