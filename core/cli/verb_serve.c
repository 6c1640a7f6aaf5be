/* verb_serve.c -- `moonlog serve`: settings to a daemon; and `moonlog config`, which shows them. */
#include <stdio.h>

#include "../server/server.h"
#include "pack_dir.h"
#include "reach.h"
#include "settings.h"
#include "show.h"

/* ---- serve ------------------------------------------------------------------------------ */

/* The daemon of a command: all it is told stands on its command line (reach.c). */
static int serve_command(const ml_cli *cli, const char *how)
{
    ml_error why;
    ml_server_options options = {.dir = cli->data,
                                 .ready = -1,
                                 .client = ML_REACH_FD,
                                 .must_exist = strcmp(how, "write") != 0,
                                 .read_only = strcmp(how, "read") == 0};
    ml_code code = ml_server_run(&options, &why);
    return code ? ml_cli_fail(cli, code, why.sentence) : ML_EXIT_OK;
}

/* Who has the directory may be a daemon, and then it can be talked to. */
static int refuse(const ml_cli *cli, const ml_settings *settings, const ml_error *why)
{
    char uri[sizeof "unix:/moonlog.sock" + 4096];
    const char *dir = settings->keys[ML_SETTING_DATA].values[0];
    ml_client other;
    int size = snprintf(uri, sizeof uri, "unix:%s/moonlog.sock", dir);
    bool told = why->code == ML_LOCKED && size < (int)sizeof uri;
    if (!told || ml_client_connect(&other, uri) != ML_OK)
        return ml_cli_fail(cli, why->code, why->sentence);
    ml_client_close(&other);
    return ml_cli_failf(cli, why->code, "%s; a daemon answers at %s", why->sentence, uri);
}

static int serve(const ml_cli *cli, const ml_settings *settings)
{
    char space[ML_REACH_TOKEN_MAX];
    ml_error why;
    const ml_setting *token = &settings->keys[ML_SETTING_TOKEN_FILE];
    if (token->count > 0) ml_reach_warn(token->values[0]);
    ml_code code = token->count > 0 ? ml_reach_token(token->values[0], space, &why) : ML_OK;
    ml_server_options options = {
        .dir = settings->keys[ML_SETTING_DATA].values[0],
        .listen = settings->keys[ML_SETTING_LISTEN].values,
        .token = token->count > 0 ? space : NULL,
        .connections = ml_settings_number(settings, ML_SETTING_CONNECTIONS),
        .per_address = ml_settings_number(settings, ML_SETTING_PER_ADDRESS),
        .messages_file = settings->keys[ML_SETTING_MESSAGES_FILE].values[0],
        .json_messages = strcmp(settings->keys[ML_SETTING_MESSAGES].values[0], "json") == 0,
        .workers = ml_settings_number(settings, ML_SETTING_WORKERS),
        .ready = -1,
        .client = -1};
    const ml_setting *rules = &settings->keys[ML_SETTING_RULES];
    ml_buf files = {0};
    if (!code && rules->count > 0) code = ml_pack_dir_read(rules->values[0], &files, &why);
    options.rules = ml_buf_view(&files);
    if (!code) code = ml_server_run(&options, &why);
    ml_buf_free(&files);
    return code ? refuse(cli, settings, &why) : ML_EXIT_OK;
}

int ml_verb_serve(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const char *how = ml_options_get(cli, "for-command");
    if (how != NULL) return serve_command(cli, how);
    ml_settings settings;
    int status;
    if (ml_settings_read(cli, &settings, &status)) status = serve(cli, &settings);
    ml_settings_free(&settings);
    return status;
}

/* ---- config ----------------------------------------------------------------------------- */

static void pack_number(ml_buf *out, const char *digits)
{
    uint64_t number = 0;
    ML_IGNORE(!ml_cli_natural(digits, 0, INT64_MAX, &number)); /* it was checked */
    ml_pack_int(out, (int64_t)number);
}

static bool show_setting(ml_show *show, const ml_setting *setting)
{
    ml_buf value = {0};
    if (setting->list) ml_pack_array(&value, (uint32_t)setting->count);
    if (setting->number) pack_number(&value, setting->values[0]);
    for (size_t n = 0; n < setting->count && !setting->number; n++)
        ml_pack_text(&value, setting->values[n]);
    if (value.size == 0) ml_pack_nil(&value);
    ml_field fields[] = {
        ML_TEXT("key", ml_cli_text(setting->name)),
        ML_VALUE("value", ml_buf_view(&value)),
        ML_TEXT("from", ml_cli_text(setting->from)),
    };
    show->out.failed |= value.failed;
    bool going = ml_show_record(show, fields, 3);
    ml_buf_free(&value);
    return going;
}

static int show_settings(const ml_cli *cli, const ml_settings *settings)
{
    ml_show show;
    ml_show_begin(&show, cli, true);
    for (size_t key = 0; key < ML_SETTING_KEYS; key++)
        if (!show_setting(&show, &settings->keys[key])) break;
    const ml_setting *file = &settings->keys[ML_SETTING_TOKEN_FILE];
    ml_setting token = {.name = "token",
                        .values = {file->count > 0 ? "set" : "none"},
                        .count = 1,
                        .from = file->from};
    ML_IGNORE(!show_setting(&show, &token)); /* said at the end */
    return ml_show_end(&show, ML_EXIT_OK);
}

static int check_settings(const ml_cli *cli, const ml_settings *settings)
{
    ml_error why;
    ml_buf files = {0};
    const ml_setting *rules = &settings->keys[ML_SETTING_RULES];
    const ml_setting *token = &settings->keys[ML_SETTING_TOKEN_FILE];
    if (token->count > 0) ml_reach_warn(token->values[0]);
    ml_code code = ml_server_check(settings->keys[ML_SETTING_DATA].values[0],
                                   settings->keys[ML_SETTING_MESSAGES_FILE].values[0], &why);
    if (!code && rules->count > 0) code = ml_pack_dir_read(rules->values[0], &files, &why);
    ml_buf_free(&files);
    return code ? ml_cli_fail(cli, code, why.sentence)
                : ml_show_one(cli, &ML_BOOL("ok", true), 1, ML_EXIT_OK);
}

int ml_verb_config(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    bool shows = strcmp(argv[1], "show") == 0;
    if (!shows && strcmp(argv[1], "check") != 0)
        return ml_cli_usage(cli, "config knows check and show, and not '%.512s'", argv[1]);
    ml_settings settings;
    int status;
    if (ml_settings_read(cli, &settings, &status))
        status = shows ? show_settings(cli, &settings) : check_settings(cli, &settings);
    ml_settings_free(&settings);
    return status;
}
