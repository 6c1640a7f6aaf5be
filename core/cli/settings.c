/* settings.c -- see settings.h. */
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "../server/server.h"
#include "reach.h"

static const struct {
    const char *name, *option, *variable;
    bool list, number;
} table[ML_SETTING_KEYS] = {
    [ML_SETTING_DATA] = {"data", "data", "MOONLOG_DATA", false, false},
    [ML_SETTING_LISTEN] = {"listen", "listen", "MOONLOG_LISTEN", true, false},
    [ML_SETTING_TOKEN_FILE] = {"token_file", "token-file", "MOONLOG_TOKEN_FILE", false,
                               false},
    [ML_SETTING_MESSAGES] = {"messages", "messages", "MOONLOG_MESSAGES", false, false},
    [ML_SETTING_MESSAGES_FILE] = {"messages_file", "messages-file", "MOONLOG_MESSAGES_FILE", false,
                                  false},
    [ML_SETTING_CONNECTIONS] = {"connections", "connections", "MOONLOG_CONNECTIONS", false, true},
    [ML_SETTING_PER_ADDRESS] = {"connections_per_address", "connections-per-address",
                                "MOONLOG_CONNECTIONS_PER_ADDRESS", false, true},
    [ML_SETTING_WORKERS] = {"workers", "workers", "MOONLOG_WORKERS", false, true},
    [ML_SETTING_RULES] = {"rules", "rules", "MOONLOG_RULES", false, false},
};

/* ---- the file's keys ------------------------------------------------------------------- */

static size_t find_key(const char *name)
{
    size_t key = 0;
    while (key < ML_SETTING_KEYS && strcmp(table[key].name, name) != 0)
        key++;
    return key;
}

static ml_code refuse_key(const char *path, const char *name, ml_error *why)
{
    const char *names[ML_SETTING_KEYS];
    for (size_t n = 0; n < ML_SETTING_KEYS; n++)
        names[n] = table[n].name;
    const char *near = ml_verbs_nearest(name, names, ML_SETTING_KEYS);
    return ml_error_set(
        why, ML_BAD_REQUEST, "%.300s has an unknown key '%.300s'; %s%s%s", path, name,
        near != NULL ? "did you mean " : "`moonlog help serve` has those there are",
        near != NULL ? near : "", near != NULL ? "?" : "");
}

static ml_code check_keys(const char *path, const ml_config *file, ml_error *why)
{
    for (size_t n = 0; n < file->count; n++) {
        const ml_config_entry *entry = &file->entries[n];
        size_t key = find_key(entry->key);
        if (key == ML_SETTING_KEYS) return refuse_key(path, entry->key, why);
        if (entry->list && !table[key].list)
            return ml_error_set(why, ML_BAD_REQUEST, "%.300s: %s is one %s, and not a list", path,
                                entry->key, table[key].number ? "number" : "string");
        if (entry->number && !table[key].number)
            return ml_error_set(why, ML_BAD_REQUEST, "%.300s: %s is a string, and not a number",
                                path, entry->key);
    }
    return ML_OK;
}

/* ---- where each comes from --------------------------------------------------------------- */

/* One value more; those that are too many are counted, and refused later. */
static void add(ml_setting *setting, const char *value, const char *from)
{
    if (setting->count < ML_SETTINGS_LISTEN_MAX) setting->values[setting->count] = value;
    setting->count++;
    setting->from = from;
}

static void take_options(const ml_cli *cli, size_t key, ml_setting *setting)
{
    size_t count = ml_options_count(cli, table[key].option);
    for (size_t n = 0; n < count; n++) {
        if (!setting->list) setting->count = 0; /* the last one counts */
        add(setting, ml_options_at(cli, table[key].option, n), "option");
    }
}

static ml_code take_environment(ml_settings *settings, size_t key, ml_error *why)
{
    ml_setting *setting = &settings->keys[key];
    const char *value = getenv(table[key].variable);
    if (value == NULL || value[0] == '\0') return ML_OK;
    if (!setting->list) {
        add(setting, value, "environment");
        return ML_OK;
    }
    settings->listen = strdup(value);
    if (settings->listen == NULL) return ml_error_memory(why, "the environment");
    char *rest = NULL;
    for (char *at = strtok_r(settings->listen, ", ", &rest); at != NULL;
         at = strtok_r(NULL, ", ", &rest))
        add(setting, at, "environment");
    return ML_OK;
}

static void take_file(const ml_config *file, size_t key, ml_setting *setting)
{
    for (size_t n = 0; n < file->count; n++)
        for (size_t i = 0;
             strcmp(file->entries[n].key, table[key].name) == 0 && i < file->entries[n].count; i++)
            add(setting, file->entries[n].values[i], "file");
}

static void add_number(ml_settings *settings, size_t key, size_t number)
{
    snprintf(settings->defaults[key], sizeof settings->defaults[key], "%zu", number);
    add(&settings->keys[key], settings->defaults[key], "default");
}

static void take_default(ml_settings *settings, size_t key)
{
    ml_setting *setting = &settings->keys[key];
    setting->from = "default";
    if (key == ML_SETTING_DATA) add(setting, "./moonlog-data", "default");
    if (key == ML_SETTING_MESSAGES) add(setting, "text", "default");
    if (key == ML_SETTING_CONNECTIONS) add_number(settings, key, ML_SERVER_CONNECTIONS);
    if (key == ML_SETTING_PER_ADDRESS) add_number(settings, key, ML_SERVER_PER_ADDRESS);
    if (key == ML_SETTING_WORKERS) add_number(settings, key, ml_server_workers());
}

static ml_code take(const ml_cli *cli, ml_settings *settings, size_t key, ml_error *why)
{
    ml_setting *setting = &settings->keys[key];
    *setting = (ml_setting){.name = table[key].name, .list = table[key].list,
                            .number = table[key].number};
    take_options(cli, key, setting);
    if (setting->count == 0 && take_environment(settings, key, why)) return why->code;
    if (setting->count == 0) take_file(&settings->file, key, setting);
    if (setting->count == 0) take_default(settings, key);
    return ML_OK;
}

/* ---- checking ------------------------------------------------------------------------------ */

enum { NUMBER_MAX = 1000000 }; /* connections: more than any machine has descriptors for */

/* False if it is none from 1 to NUMBER_MAX. */
static bool read_number(const char *text, size_t *number)
{
    *number = 0;
    for (; *text >= '0' && *text <= '9' && *number <= NUMBER_MAX; text++)
        *number = *number * 10 + (size_t)(*text - '0');
    return *text == '\0' && *number > 0 && *number <= NUMBER_MAX;
}

size_t ml_settings_number(const ml_settings *settings, ml_setting_key key)
{
    size_t number = 0;
    const ml_setting *setting = &settings->keys[key];
    bool given = setting->count > 0 && strcmp(setting->from, "default") != 0;
    return given && read_number(setting->values[0], &number) ? number : 0;
}

static ml_code check(const ml_settings *settings, size_t key, ml_error *why)
{
    const ml_setting *setting = &settings->keys[key];
    char token[ML_REACH_TOKEN_MAX];
    if (setting->count > ML_SETTINGS_LISTEN_MAX)
        return ml_error_set(why, ML_BAD_REQUEST, "%s has more than %d values", setting->name,
                            ML_SETTINGS_LISTEN_MAX);
    for (size_t n = 0; n < setting->count; n++) {
        const char *value = setting->values[n];
        ml_code code = ML_OK;
        if (value[0] == '\0')
            return ml_error_set(why, ML_BAD_REQUEST, "%s is empty", setting->name);
        size_t unused;
        if (table[key].number && !read_number(value, &unused))
            return ml_error_set(why, ML_BAD_REQUEST,
                                "%s is a number from 1 to %d, and not '%.512s'", setting->name,
                                NUMBER_MAX, value);
        if (key == ML_SETTING_LISTEN) code = ml_server_check_address(value, true, why);
        if (key == ML_SETTING_TOKEN_FILE) code = ml_reach_token(value, token, why);
        if (key == ML_SETTING_MESSAGES && strcmp(value, "text") != 0 && strcmp(value, "json") != 0)
            code = ml_error_set(why, ML_BAD_REQUEST, "messages is text or json, and not '%.512s'",
                                value);
        if (code) return code;
    }
    return ML_OK;
}

/* Which addresses are fit depends on whether a token is wanted. */
static ml_code check_listen(const ml_settings *settings, ml_error *why)
{
    const ml_setting *listen = &settings->keys[ML_SETTING_LISTEN];
    bool token = settings->keys[ML_SETTING_TOKEN_FILE].count > 0;
    ml_code code = ML_OK;
    for (size_t n = 0; !code && n < listen->count; n++)
        code = ml_server_check_address(listen->values[n], token, why);
    return code;
}

bool ml_settings_read(const ml_cli *cli, ml_settings *settings, int *status)
{
    *settings = (ml_settings){0};
    ml_error why;
    const char *path = ml_options_get(cli, "config");
    ml_code code = path != NULL ? ml_config_read(path, &settings->file, &why) : ML_OK;
    if (!code && path != NULL) code = check_keys(path, &settings->file, &why);
    for (size_t key = 0; !code && key < ML_SETTING_KEYS; key++) {
        code = take(cli, settings, key, &why);
        if (!code) code = check(settings, key, &why);
        bool typed = code == ML_BAD_REQUEST && strcmp(settings->keys[key].from, "option") == 0;
        if (typed && key != ML_SETTING_TOKEN_FILE) {
            *status = ml_cli_usage(cli, "--%s: %s", table[key].option, why.sentence);
            return false;
        }
    }
    if (!code) code = check_listen(settings, &why);
    if (code) *status = ml_cli_fail(cli, code, why.sentence);
    return code == ML_OK;
}

void ml_settings_free(ml_settings *settings)
{
    ml_config_free(&settings->file);
    free(settings->listen);
    settings->listen = NULL;
}
