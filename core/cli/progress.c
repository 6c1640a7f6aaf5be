/* progress.c -- see progress.h. */
#include "progress.h"

#include <stdio.h>

enum { BAR_WIDTH = 24, DRAWS_PER_SECOND = 10 };

void ml_progress_begin(ml_progress *progress, const ml_cli *cli, const char *what,
                       uint64_t total)
{
    double now = ml_cli_seconds();
    *progress = (ml_progress){
        .what = what, .start = now, .shown = now, .total = total, .on = cli->progress};
}

static void draw_bar(uint64_t done, uint64_t total, double rest)
{
    double part = done < total ? (double)done / (double)total : 1;
    int filled = (int)(part * BAR_WIDTH);
    char bar[BAR_WIDTH + 1];
    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)filled);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, " [%s] %3d%%, %d:%02d left", bar, (int)(part * 100), (int)(rest / 60),
            (int)rest % 60);
}

void ml_progress_move(ml_progress *progress, uint64_t done, uint64_t events)
{
    if (!progress->on) return;
    double now = ml_cli_seconds();
    if (now - progress->shown < 1.0 / DRAWS_PER_SECOND) return;
    double passed = now - progress->start;
    fprintf(stderr, "\r%s: %llu events, %.0f/s", progress->what, (unsigned long long)events,
            (double)events / passed);
    if (progress->total > 0 && done > 0) {
        double left = done < progress->total ? (double)(progress->total - done) : 0;
        draw_bar(done, progress->total, passed * left / (double)done);
    }
    fputs("\x1b[K", stderr);
    fflush(stderr);
    progress->shown = now;
    progress->drawn = true;
}

void ml_progress_end(ml_progress *progress)
{
    if (progress->drawn) fputs("\r\x1b[K", stderr);
    fflush(stderr);
    progress->drawn = false;
}
