/* projector_kept.c -- keeping copies of the view (kept.h), and beginning with one. */
#include <stdio.h>

#include "projector_inside.h"

/* ---- beginning with one ----------------------------------------------------------------- */

/* Is it as far as it has to be? */
static ml_code check_position(ml_projector *p, uint64_t least, uint64_t most, ml_error *why)
{
    ml_view_stats stats;
    ml_view_get_stats(p->view, &stats);
    if (stats.position >= least && stats.position <= most) return ML_OK;
    ml_view_close(p->view);
    p->view = NULL;
    return ml_error_set(why, ML_CORRUPT, "a copy of the view is of another position");
}

/* Opens what was put into the view's directory, or, after an error too, leaves nothing there. */
static ml_code believe(ml_projector *p, ml_code code, uint64_t least, uint64_t most, ml_error *why)
{
    ml_error refused;
    if (!code) code = ml_projector_open_view(p, why);
    if (!code) code = check_position(p, least, most, why);
    if (code == ML_OK) return ML_OK;
    ml_code emptied = ml_view_discard(p->dir, &refused);
    if (emptied) *why = refused;
    return emptied ? emptied : code;
}

/* Tries the copies of the view in `dir`, up to a position, the newest first. */
static ml_code open_nearest(ml_projector *p, const char *dir, uint64_t most, bool ours,
                            ml_error *why)
{
    ml_kept kept;
    ml_kept_list(dir, &kept);
    for (size_t n = kept.count; n-- > 0;) {
        if (kept.at[n] > most) continue;
        uint64_t at = kept.at[n];
        ml_code code = believe(p, ml_kept_restore(dir, at, p->dir, why), at, at, why);
        if (code != ML_CORRUPT && code != ML_NOT_FOUND) return code;
        if (ours) ml_kept_remove(dir, at);
    }
    return ml_error_set(why, ML_NOT_FOUND, "no copy of the view is kept");
}

/* After the second time in a row it may be the copies. */
ml_code ml_projector_open_kept(ml_projector *p, ml_error *why)
{
    for (size_t n = 0; p->damaged > 1 && n < p->kept.count; n++)
        ml_kept_remove(p->dir, p->kept.at[n]);
    ml_code code = p->every > 0 ? open_nearest(p, p->dir, UINT64_MAX, true, why) : ML_NOT_FOUND;
    if (p->every > 0) ml_kept_list(p->dir, &p->kept);
    p->kept_at = 0;
    return code;
}

/* As another process has it; CORRUPT also if it has gone on meanwhile. */
static ml_code open_whole(ml_projector *p, const ml_projector_options *options, ml_error *why)
{
    ml_view_about about;
    ml_projection_about(p->projection, ml_buf_view(&p->log), &about);
    about.boot = p->boot;
    ml_code code = ml_view_copy(options->past, p->dir, &about, why);
    return believe(p, code, 0, options->past_at, why);
}

ml_code ml_projector_open_past(ml_projector *p, const ml_projector_options *options, ml_error *why)
{
    ml_code code = options->past_whole ? open_whole(p, options, why) : ML_NOT_FOUND;
    if (code != ML_NOT_FOUND && code != ML_CORRUPT) return code;
    return open_nearest(p, options->past, options->past_at, false, why);
}

/* ---- keeping ---------------------------------------------------------------------------- */

static bool is_time(ml_projector *p, const ml_view_stats *stats)
{
    ml_projection_stats held;
    uint64_t last = p->kept.count > 0 ? p->kept.at[p->kept.count - 1] : 0,
             cost = stats->bytes / ML_KEPT_EVENT_BYTES, wait = p->every > cost ? p->every : cost;
    if (p->kept_at > last) last = p->kept_at;
    if (stats->position < last || stats->position - last < wait) return false;
    ml_projection_get_stats(p->projection, &held);
    return held.held == 0;
}

void ml_projector_keep(ml_projector *p)
{
    ml_view_stats stats;
    if (p->every == 0 || p->view == NULL || p->redo != NULL || p->again) return;
    ml_view_get_stats(p->view, &stats);
    if (!is_time(p, &stats)) return;
    p->kept_at = stats.position;
    p->copying.code = ML_OK;
    if (ml_kept_add(p->dir, p->view, &p->copying)) return;
    ml_kept_list(p->dir, &p->kept);
}
