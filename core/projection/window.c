/* window.c -- where an event's time lies among the windows.
 *
 * Writers may say any time at all. Those beyond TIME_MAX, 73,000 years from 1970, count as that, so
 * that no sum here overflows. */
#include "window.h"

#include "../base/error.h"

static const int64_t TIME_MAX = INT64_C(1) << 61;

static int64_t clamp(int64_t time)
{
    if (time > TIME_MAX) return TIME_MAX;
    return time < -TIME_MAX ? -TIME_MAX : time;
}

/* ---- the clock -------------------------------------------------------------------------- */

int64_t ml_clock_at(const ml_clock *clock, int64_t recorded)
{
    return clock->begun ? clamp(clamp(recorded) + clock->ahead) : -TIME_MAX;
}

void ml_clock_see(ml_clock *clock, int64_t time, int64_t recorded)
{
    int64_t ahead = clamp(time) - clamp(recorded);
    if (!clock->begun || ahead > clock->ahead) clock->ahead = ahead;
    if (!clock->begun || clamp(time) > clock->latest) clock->latest = clamp(time);
    clock->begun = true;
}

/* ---- windows ---------------------------------------------------------------------------- */

static int64_t step_of(const ml_window *window)
{
    return window->kind == ML_WINDOW_HOPPING ? window->hop : window->size;
}

/* The greatest start of a window that is not behind `time`. */
static int64_t last_start(const ml_window *window, int64_t time)
{
    int64_t step = step_of(window), past = (time - window->offset) % step;
    return time - (past < 0 ? past + step : past);
}

size_t ml_window_of(const ml_window *window, int64_t time, ml_span spans[ML_WINDOW_HOPS_MAX])
{
    size_t count = 0;
    time = clamp(time);
    ML_ASSERT(window->kind == ML_WINDOW_TUMBLING || window->kind == ML_WINDOW_HOPPING);
    int64_t step = step_of(window), last = last_start(window, time);
    int64_t back = (last + window->size - 1 - time) / step; /* windows before the last one */
    for (int64_t start = last - back * step; start <= last; start += step) {
        ML_ASSERT(count < ML_WINDOW_HOPS_MAX);
        spans[count++] = (ml_span){start, start + window->size};
    }
    return count;
}

ml_span ml_window_session(const ml_window *window, int64_t time)
{
    return (ml_span){clamp(time), clamp(time) + window->size};
}

bool ml_window_closed(const ml_window *window, ml_span span, int64_t now)
{
    return span.end + window->grace <= now;
}

int64_t ml_window_next(const ml_window *window, int64_t latest, int64_t now)
{
    int64_t end = clamp(latest) + window->size;
    if (window->kind == ML_WINDOW_NONE) return 0;
    if (window->kind != ML_WINDOW_SESSION) end = last_start(window, clamp(latest)) + window->size;
    if (end + window->grace <= now) return 0;
    int64_t step = step_of(window), left = end + window->grace - now - 1;
    if (window->kind != ML_WINDOW_SESSION && step > 0) end -= left / step * step;
    return end + window->grace;
}
