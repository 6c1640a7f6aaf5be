/* config.h -- a configuration: a Lua file that returns a table of strings, whole numbers and
 * lists of strings.
 *
 * Floor    script. Uses base. Knows no key by name.
 * Threads  none.
 * Memory   the entries are owned by the configuration.
 * Limits   the file runs in an empty environment, as text, with a million instructions and
 *          4 MiB; it can reach nothing of this machine.
 * Errors   NOT_FOUND, FORBIDDEN, IO, TOO_LARGE; SCRIPT_ERROR with file and line if it raises an
 *          error, or what it returns is no such table; NO_MEMORY.
 */
#ifndef ML_SCRIPT_CONFIG_H
#define ML_SCRIPT_CONFIG_H

#include "../base/error.h"

enum { ML_CONFIG_KEYS_MAX = 64, ML_CONFIG_LIST_MAX = 64 };

typedef struct ml_config_entry {
    char *key;
    char **values;
    size_t count;
    bool list;   /* it was given as a list, */
    bool number; /* or as a number; values[0] has its digits */
} ml_config_entry;

typedef struct ml_config {
    ml_config_entry entries[ML_CONFIG_KEYS_MAX];
    size_t count;
} ml_config;

/* In every case *config wants ml_config_free. */
ML_MUST_USE ml_code ml_config_read(const char *path, ml_config *config, ml_error *why);
void ml_config_free(ml_config *config);

#endif
