/* rules.h -- the rules that are active: from `$rules`, into every worker, and exchanged while the
 * daemon serves.
 *
 *     load ──▶ checked at the bench ──▶ staged in each worker ──▶ an event in `$rules` ──▶ active
 *
 * Only the bench meets a pack that nobody has checked. The event is the boundary: what was
 * decided by another version and is not admitted before it is decided again after it.
 *
 * Floor    server.
 */
#ifndef ML_SERVER_RULES_H
#define ML_SERVER_RULES_H

#include "inside.h"
#include "packs.h"

typedef struct ml_load ml_load; /* loads.c */

struct ml_rules {
    ml_pack active;
    bool changing;         /* another one's event is admitted, and not yet on the disk */
    ml_load *first, *last; /* loads, one at a time; the first is under way */
    size_t loads;
    uint64_t doubted; /* the activation whose event and files do not go together */
};

/* Finds what was active last. The workers have it before ml_rules_ready says so. */
ML_MUST_USE ml_code ml_rules_begin(ml_server *server, ml_error *why);
bool ml_rules_ready(const ml_server *server);
void ml_rules_free(ml_server *server);

const ml_pack *ml_rules_active(const ml_server *server);
/* Is another pack about to be active, its event admitted and not yet on the disk? */
bool ml_rules_changing(const ml_server *server);
bool ml_rules_loading(const ml_server *server);
/* A worker has staged the active rules, and says what they are. Their event may say something
 * else: then another version of the program, or somebody else, wrote it, and what it holds is
 * loaded like any other pack. */
void ml_rules_compare(ml_server *server, ml_bytes report);
/* May the unit be asked? NOT_FOUND without any rules; SCRIPT_ERROR if it is quarantined. */
ML_MUST_USE ml_code ml_rules_check_unit(const ml_server *server, ml_bytes unit, ml_error *why);
/* A unit has killed a worker; a call of it overstayed and was stopped; one came to an end in time,
 * good or bad. */
void ml_rules_blame(ml_server *server, ml_bytes unit, ml_bytes hash);
void ml_rules_stopped(ml_server *server, ml_bytes unit, ml_bytes hash);
void ml_rules_in_time(ml_server *server, ml_bytes unit);
bool ml_rules_quarantined(const ml_pack_unit *unit);

/* The pack is active from here on; it is taken over. */
void ml_rules_take_over(ml_server *server, ml_pack *pack);
/* Goes through what was active once, newest first, until `each` returns false. */
ML_MUST_USE ml_code ml_rules_each(ml_server *server, bool (*each)(void *context, ml_pack *pack),
                                  void *context, ml_error *why);
/* Does a report of staging say that all is well? */
bool ml_rules_is_good(ml_bytes report);
/* For `status`: a map. */
void ml_rules_pack_status(const ml_server *server, ml_buf *out);

#endif
