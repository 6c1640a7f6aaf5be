/* settings.h -- what the daemon is told: by options, the environment, a configuration file, or
 * nobody, in this order.
 *
 *     return {                                      -- moonlog.lua
 *       data       = "/var/lib/moonlog",            -- --data        MOONLOG_DATA
 *       listen     = { "tcp:127.0.0.1:7070" },      -- --listen      MOONLOG_LISTEN, with commas
 *       token_file = "/etc/moonlog/token",          -- --token-file  MOONLOG_TOKEN_FILE
 *       messages   = "json",                        -- --messages    MOONLOG_MESSAGES
 *       messages_file = "/var/log/moonlog",         -- --messages-file  MOONLOG_MESSAGES_FILE
 *       connections = 10000,                        -- --connections    MOONLOG_CONNECTIONS
 *       connections_per_address = 500,              -- --connections-per-address  MOONLOG_…
 *       workers    = 4,                             -- --workers     MOONLOG_WORKERS
 *       rules      = "/etc/moonlog/rules",          -- --rules       MOONLOG_RULES
 *     }
 *
 * Floor    cli.
 * Threads  none.
 * Memory   values are borrowed from the command line, the environment and the file's own copy.
 */
#ifndef ML_CLI_SETTINGS_H
#define ML_CLI_SETTINGS_H

#include "../script/config.h"
#include "cli.h"

enum { ML_SETTINGS_LISTEN_MAX = 8 };

typedef enum ml_setting_key {
    ML_SETTING_DATA,
    ML_SETTING_LISTEN,
    ML_SETTING_TOKEN_FILE,
    ML_SETTING_MESSAGES,
    ML_SETTING_MESSAGES_FILE,
    ML_SETTING_CONNECTIONS,
    ML_SETTING_PER_ADDRESS,
    ML_SETTING_WORKERS,
    ML_SETTING_RULES,
    ML_SETTING_KEYS /* how many */
} ml_setting_key;

typedef struct ml_setting {
    const char *name; /* "token_file" */
    bool list, number;
    const char *values[ML_SETTINGS_LISTEN_MAX + 1]; /* NULL behind the last */
    size_t count;
    const char *from; /* "option", "environment", "file", "default" */
} ml_setting;

typedef struct ml_settings {
    ml_setting keys[ML_SETTING_KEYS];
    char defaults[ML_SETTING_KEYS][24]; /* of numbers, as text */
    ml_config file;
    char *listen; /* MOONLOG_LISTEN, cut at its commas */
} ml_settings;

/* Finds and checks all of them. False after saying what is wrong; *status is then the exit
 * status. In both cases the settings want ml_settings_free. */
ML_MUST_USE bool ml_settings_read(const ml_cli *cli, ml_settings *settings, int *status);
/* The value of one that is a number, 0 if it is the default; of settings that were read. */
size_t ml_settings_number(const ml_settings *settings, ml_setting_key key);
void ml_settings_free(ml_settings *settings);

#endif
