/* alike.h -- what is provably the same in two versions of a unit, before any event is folded.
 *
 * Floor    projection.
 * Memory   `begin` and `end`; the units and packs are borrowed.
 */
#ifndef ML_PROJECTION_ALIKE_H
#define ML_PROJECTION_ALIKE_H

#include "../rules/rulepack.h"

typedef struct ml_alike {
    const ml_unit *before, *after;
    bool chains;    /* all upcasters are the same; */
    bool splits;    /* one of them may make events of other types; */
    bool handlers;  /* all handlers of events; */
    bool *on;       /* each of those of `before`; */
    bool *commands; /* each command of `after` */
} ml_alike;

/* The files of both packs, for the upcasters. */
ML_MUST_USE ml_code ml_alike_begin(ml_alike *alike, const ml_rulepack *packs[2],
                                   const ml_unit *before, const ml_unit *after, ml_error *why);
void ml_alike_end(ml_alike *alike);
/* Does an event of this type do the same in both, on the same state? */
bool ml_alike_event(const ml_alike *alike, ml_bytes type);
/* Is this command of `after` decided the same way? */
bool ml_alike_command(const ml_alike *alike, const ml_handler *handler);

#endif
