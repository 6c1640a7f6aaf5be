/* process_whatif.h -- the role of a worker process (rules/worker.h) that runs a whatif, and ends.
 *
 *     method     params                                          result
 *     whatif     {before: {path: text}, after, scratch, boot,    as whatif.h; {diagnostics: […]}
 *                 unit?, from?, limit?}                          if a pack has errors
 *
 * `scratch` is a directory below the store's `views`. Four times a second at most it pushes the
 * notification `progress` with {unit, position, head}.
 *
 * Floor    projection.
 * Threads  the process has one.
 */
#ifndef ML_PROJECTION_PROCESS_WHATIF_H
#define ML_PROJECTION_PROCESS_WHATIF_H

#include "../rules/worker.h"

extern const ml_worker_role ml_process_whatif;

#endif
