/* rehearse.h -- a new projection meets the log before anybody depends on it.
 *
 * Its last events are folded twice, in two sandboxes that are alive at once and have different
 * pasts, into rows in memory, which are held against each other after each event. What differs,
 * overstays, or is no row is an error (TWIN, OVERSTAY, SHAPE …). A handler or key function that
 * raises is a warning: it began in the middle of a history, and a projection that stops is seen,
 * and serves nobody before it has caught up.
 *
 * Floor    projection; called by way of ml_engine_options, whose floor knows no views.
 * Threads  one.
 */
#ifndef ML_PROJECTION_REHEARSE_H
#define ML_PROJECTION_REHEARSE_H

#include "../rules/rulepack.h"

enum {
    ML_REHEARSE_EVENTS = 1000,        /* 2 to 5 ms */
    ML_REHEARSE_ROW_BYTES = 32 << 20, /* kept by each of the two: large rows end it sooner */
    ML_REHEARSE_WARM = 64 /* events that the second sandbox has folded before, backward */
};

ML_MUST_USE ml_code ml_rehearse(ml_store *store, const ml_rulepack *pack, ml_unit *unit,
                                ml_diagnostics *to, ml_error *why);

#endif
