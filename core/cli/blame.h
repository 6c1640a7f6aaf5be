/* blame.h -- what is wrong with a script, for people: the sentence, the line of the source with a
 * caret under what is meant, and how it came there.
 *
 *     account.lua:12: error: SHAPE: there is no key 'comands'; did you mean 'commands'?
 *       comands = {
 *       ^
 *
 * Floor    cli.
 */
#ifndef ML_CLI_BLAME_H
#define ML_CLI_BLAME_H

#include "client.h"

/* Diagnostics of a pack, each to stderr; as JSON, one a line, if that is the shape. Gives how many
 * are errors. */
size_t ml_blame_show_all(const ml_cli *cli, ml_bytes result);

/* {error, fault} of a command or state, if the result is one: true after saying it; *status is
 * then the exit status. */
bool ml_blame_show(const ml_cli *cli, ml_bytes result, int *status);

#endif
