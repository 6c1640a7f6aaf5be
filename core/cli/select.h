/* select.h -- which events: STREAM, '$all' or '$category:C', --type and --tag.
 *
 * Floor    cli.
 * Threads  none.
 * Memory   views of the command line.
 */
#ifndef ML_CLI_SELECT_H
#define ML_CLI_SELECT_H

#include "../base/pack.h"
#include "show.h"

typedef struct ml_select {
    ml_bytes stream, category; /* both empty: all */
} ml_select;

/* False after saying that the word is none of the three. */
ML_MUST_USE bool ml_select_take(const ml_cli *cli, const char *word, ml_select *select);

/* Packs the parameters `stream`, `category`, `query`, `system` and `raw`, as far as they are
 * wanted, and gives their number. The verb must have --type, --tag, --system and --raw. */
uint32_t ml_select_pack(const ml_cli *cli, const ml_select *select, ml_buf *out);

/* A table shows only columns that say something: no name of a stream if it is always the same,
 * tags if one was asked for. */
void ml_select_columns(const ml_cli *cli, const ml_select *select, ml_show *show);

#endif
