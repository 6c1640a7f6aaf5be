/* verb_serve.c -- `moonlog serve`: options to a daemon. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../server/server.h"
#include "cli.h"

enum { ADDRESSES_MAX = 8, TOKEN_MAX = 256 };

/* The first line of the token file, which others may not read. */
static ml_code read_token(const char *path, char token[TOKEN_MAX], ml_error *why)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) return ml_error_set(why, ML_NOT_FOUND, "the token file %s cannot be opened", path);
    char *line = fgets(token, TOKEN_MAX, file);
    fclose(file);
    size_t size = line == NULL ? 0 : strcspn(token, "\r\n");
    if (size < 16)
        return ml_error_set(why, ML_BAD_REQUEST,
                            "the first line of %s has fewer than 16 characters; make a token with `openssl rand -hex 16`", path);
    token[size] = '\0';
    return ML_OK;
}

int ml_verb_serve(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    const char *listen[ADDRESSES_MAX + 1] = {NULL};
    char token[TOKEN_MAX];
    ml_error why;
    size_t count = ml_options_count(cli, "listen");
    const char *file = ml_options_get(cli, "token-file"), *messages = ml_options_get(cli, "messages");
    if (count > ADDRESSES_MAX) return ml_cli_usage(cli, "--listen is given more than %d times", ADDRESSES_MAX);
    for (size_t n = 0; n < count; n++) listen[n] = ml_options_at(cli, "listen", n);
    if (messages != NULL && strcmp(messages, "text") != 0 && strcmp(messages, "json") != 0)
        return ml_cli_usage(cli, "--messages is neither text nor json");
    ml_code code = file != NULL ? read_token(file, token, &why) : ML_OK;
    ml_server_options options = {.dir = cli->data,
                                 .listen = listen,
                                 .token = file != NULL ? token : NULL,
                                 .json_messages = messages != NULL && strcmp(messages, "json") == 0,
                                 .ready = -1};
    if (!code) code = ml_server_run(&options, &why);
    return code ? ml_cli_fail(cli, code, why.sentence) : ML_EXIT_OK;
}
