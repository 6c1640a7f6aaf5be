/* clock.h -- what time it is, in microseconds.
 *
 * Floor    base.
 * Threads  any.
 * Errors   none: these clocks are always there.
 */
#ifndef ML_BASE_CLOCK_H
#define ML_BASE_CLOCK_H

#include <time.h>

#include "error.h"

static inline int64_t ml_clock_read(clockid_t clock)
{
    struct timespec time = {0};
    ML_IGNORE(clock_gettime(clock, &time) != 0); /* always there */
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* Since some moment: it only goes forward. */
static inline uint64_t ml_clock_us(void)
{
    return (uint64_t)ml_clock_read(CLOCK_MONOTONIC);
}

/* Since 1970: it may be set back. */
static inline int64_t ml_clock_wall_us(void)
{
    return ml_clock_read(CLOCK_REALTIME);
}

#endif
