/* projection_text.h -- how projections are, for a reader; `one` is an entry of projection.list.
 *
 * Floor    cli.
 */
#ifndef ML_CLI_PROJECTION_TEXT_H
#define ML_CLI_PROJECTION_TEXT_H

#include "show.h"

/* A row of the table. False as ml_show_record. */
bool ml_projection_text_row(ml_show *show, ml_bytes one);
/* All that the daemon says of it, under the names that it uses. */
bool ml_projection_text_whole(ml_show *show, ml_bytes one);
/* Below the table: what is wrong, and the way on; what is built beside it. */
void ml_projection_text_tell(ml_bytes one);

#endif
