/* whatif_text.h -- what a whatif has found, for people.
 *
 *     projection/balances  account-ada  row
 *         balance  30 → 25
 *         since position 13: Withdrawn, revision 6 of account-ada
 *     aggregate/account: 22 events, 2 states, 1 differs
 *
 * Floor    cli.
 */
#ifndef ML_CLI_WHATIF_TEXT_H
#define ML_CLI_WHATIF_TEXT_H

#include "client.h"

void ml_whatif_text_difference(ml_buf *out, ml_bytes difference);
/* Nothing for a unit that is the same. */
void ml_whatif_text_unit(ml_buf *out, ml_bytes unit);
/* What differs in it, however it is called. */
uint64_t ml_whatif_text_count(ml_bytes unit);

#endif
