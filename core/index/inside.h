/* inside.h -- what index.c and postings.c share. Private to core/index. */
#ifndef ML_INDEX_INSIDE_H
#define ML_INDEX_INSIDE_H

#include "index.h"
#include "merge.h"

struct ml_index {
    ml_disk *disk;
    ml_worker *worker;
    ml_index_options options;
    ml_run *runs[ML_INDEX_RUNS_MAX]; /* by first position, without gap, from 1 */
    size_t run_count;
    ml_table frozen; /* behind the runs; empty, or waiting for or being written as a run */
    ml_table live;   /* behind that */
    uint64_t covered;
    uint64_t damaged_at; /* first position of a run found damaged; 0 = none */
    bool freezing;   /* `frozen` holds something */
    bool busy;       /* a background job is running */
    bool failed;     /* the last one failed: wait for `retry_at` */
    uint64_t retry_at;
};

#endif
