/* textdiff.h -- the lines in which two texts differ.
 *
 *     account.lua:7
 *     -    Deposited = function(s, d) s.balance = s.balance + d.amount end,
 *     +    Deposited = function(s, d) s.balance = s.balance + 2 * d.amount end,
 *
 * Floor    cli.
 */
#ifndef ML_CLI_TEXTDIFF_H
#define ML_CLI_TEXTDIFF_H

#include "../base/buf.h"

/* Writes them onto `out`, nothing if there are none; `name` and the line of the old text before
 * each place. A refused allocation shows as out->failed. */
void ml_textdiff_write(ml_buf *out, ml_bytes name, ml_bytes old, ml_bytes new);

#endif
