/* filter.h -- which events a Lua program asks for.
 *
 * What is read lies on a desk, in the order in which it was read; `settle` walks it in that
 * order and sets the pointers (see desk.h).
 *
 * Floor    script.
 * Errors   the first mistake, in `why`.
 */
#ifndef ML_SCRIPT_FILTER_H
#define ML_SCRIPT_FILTER_H

#include "desk.h"
#include "fields.h"

/* Reads what stands at `index`: "account-ada", "$all", "$category:account", or a table of
 * stream, category and query. To be settled before anything else is put on the desk. */
ml_selection ml_filter_read(lua_State *L, int index, const char *what, ml_desk *desk,
                               ml_error *why);
void ml_filter_settle(ml_desk *desk, ml_selection *selection);

/* Reads the field `query`: a list of {types = {…}, tags = {…}}. Its terms begin at number
 * `first` of desk->terms, their text at `at`. */
ml_query ml_filter_query(const ml_fields *fields, ml_desk *desk);
void ml_filter_settle_query(ml_desk *desk, size_t first, const uint8_t **at, ml_query *query);

/* Adds the strings of the list `name` to desk->terms and gives their number; gives the
 * settled terms and moves *first and *at behind them. */
size_t ml_filter_terms(const ml_fields *fields, const char *name, ml_desk *desk);
const ml_bytes *ml_filter_settle_terms(ml_desk *desk, size_t *first, const uint8_t **at,
                                          size_t count);

#endif
