/* process.h -- the role of a worker process (rules/worker.h) that keeps one projection up.
 *
 *     method     params                                          result
 *     project    {files: {path: text}, name, dir, boot, log,     status; with an error of the pack
 *                 start, skips: [position], paused,              {diagnostics: […]} beside it
 *                 base?: dir, base_files?: {path: text}}
 *     head       position                                        (notification) durable up to there;
 *                                                                nothing is done before the first
 *     get, scan  request                                         projector.h
 *     status                                                     projector.h
 *     pause, resume, retry                                       status
 *     skip       position                                        status
 *
 * Directories are relative to the store's, and below `views`. After a commit, or when its state
 * changes, it pushes the notification `progress` with its status, at most one each 2 ms.
 *
 * Floor    projection.
 * Threads  the process has one.
 */
#ifndef ML_PROJECTION_PROCESS_H
#define ML_PROJECTION_PROCESS_H

#include "../rules/worker.h"

extern const ml_worker_role ml_process_projection;

#endif
