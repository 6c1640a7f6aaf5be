/* verb_command.c -- a command to an aggregate: what it decides is printed as it was written. */
#include <stdlib.h>
#include <unistd.h>

#include "../base/json.h"
#include "blame.h"
#include "reach.h"
#include "show.h"

/* ---- arguments -------------------------------------------------------------------- */

/* key=value: JSON if it is some, else text. */
static int add_pair(const ml_cli *cli, const char *word, ml_buf *out)
{
    const char *equals = strchr(word, '=');
    if (equals == NULL || equals == word)
        return ml_cli_usage(cli, "'%.512s' is neither JSON nor key=value", word);
    ml_pack_str(out, (ml_bytes){word, (size_t)(equals - word)});
    ml_bytes text = ml_cli_text(equals + 1);
    ml_error unused;
    if (ml_json_read(text, out, &unused)) ml_pack_str(out, text);
    return ML_EXIT_OK;
}

static int read_args(const ml_cli *cli, int count, char **words, ml_buf *out)
{
    if (count == 1 && (words[0][0] == '{' || strcmp(words[0], "-") == 0))
        return ml_cli_data(cli, words[0], out);
    int status = ML_EXIT_OK;
    ml_pack_map(out, (uint32_t)count);
    for (int n = 0; status == ML_EXIT_OK && n < count; n++)
        status = add_pair(cli, words[n], out);
    return status;
}

static void pack_request(const ml_cli *cli, char **argv, ml_bytes args, ml_bytes meta, ml_buf *out)
{
    const char *id = ml_options_get(cli, "command-id");
    ml_pack_map(out, 5U + (meta.size > 0) + (id != NULL));
    ml_pack_text(out, "aggregate");
    ml_pack_text(out, argv[1]);
    ml_pack_text(out, "id");
    ml_pack_text(out, argv[2]);
    ml_pack_text(out, "name");
    ml_pack_text(out, argv[3]);
    ml_pack_text(out, "args");
    ml_buf_add(out, args.data, args.size);
    ml_pack_text(out, "explain");
    ml_pack_bool(out, true);
    if (meta.size > 0) {
        ml_pack_text(out, "meta");
        ml_buf_add(out, meta.data, meta.size);
    }
    if (id != NULL) {
        ml_pack_text(out, "command_id");
        ml_pack_text(out, id);
    }
}

/* ---- what came of it -------------------------------------------------------------- */

static void say(ml_buf *line)
{
    /* There is nowhere left to say that this failed. */
    if (!line->failed) ML_IGNORE(write(STDERR_FILENO, line->data, line->size) < 0);
    ml_buf_free(line);
}

/* "moonlog: CODE: account ada refuses withdraw: {"balance":5}" */
static int show_refusal(const ml_cli *cli, char **argv, ml_bytes refused)
{
    ml_buf line = {0}, detail = {0};
    ml_bytes code = ml_unpack_find_str(refused, "code"), value = ml_unpack_find(refused, "detail");
    ml_unpack cursor = ml_unpack_from(value);
    bool has_detail =
        value.size > 0 && *(const uint8_t *)value.data != 0xc0 && ml_json_write(&cursor, &detail);
    if (cli->shape == ML_SHAPE_JSON) {
        ml_buf_print(&line, "{\"refused\":{\"code\":");
        ml_json_string(&line, code);
        ml_buf_print(&line, ",\"detail\":");
        if (has_detail)
            ml_buf_add(&line, detail.data, detail.size);
        else
            ml_buf_print(&line, "null");
        ml_buf_print(&line, "}}\n");
    } else {
        ml_buf_print(&line, "moonlog: ");
        ml_cli_plain(&line, code);
        ml_buf_print(&line, ": %.200s %.512s refuses %.200s", argv[1], argv[2], argv[3]);
        if (has_detail) ml_buf_print(&line, ": ");
        if (has_detail) ml_cli_plain(&line, ml_buf_view(&detail));
        ml_buf_byte(&line, '\n');
    }
    say(&line);
    ml_buf_free(&detail);
    return ML_EXIT_REFUSED;
}

static int show_events(const ml_cli *cli, ml_client *client, ml_bytes result)
{
    ml_show show;
    uint32_t count;
    ml_event event;
    bool going = true;
    ml_unpack list = ml_client_list(result, "events", &count);
    ml_show_begin(&show, cli, true);
    show.one_stream = true;
    for (uint32_t n = 0; going && n < count; n++) {
        if (!ml_client_event(&list, &event)) {
            ml_error_set(&client->why, ML_UNSUPPORTED,
                         "the daemon's answer is none that this version knows");
            return ml_show_end(&show, ml_reach_fail(cli, client));
        }
        going = ml_show_event(&show, &event);
    }
    return ml_show_end(&show, ML_EXIT_OK);
}

static int show_result(const ml_cli *cli, char **argv, ml_client *client, ml_bytes result)
{
    int status;
    ml_bytes refused = ml_unpack_find(result, "refused");
    if (refused.size > 0) return show_refusal(cli, argv, refused);
    if (ml_blame_show(cli, result, &status)) return status;
    return show_events(cli, client, result);
}

static int send(const ml_cli *cli, char **argv, ml_bytes args, ml_bytes meta)
{
    ml_client client;
    ml_bytes result;
    int status;
    if (!ml_reach_open(cli, ML_REACH_USE, false, &client, &status)) return status;
    pack_request(cli, argv, args, meta, ml_client_begin(&client, "command"));
    status = ml_client_call(&client, &result) ? ml_reach_fail(cli, &client)
                                              : show_result(cli, argv, &client, result);
    return ml_reach_close(cli, &client, status);
}

int ml_verb_command(const ml_cli *cli, int argc, char **argv)
{
    ml_buf args = {0}, meta = {0};
    const char *given = ml_options_get(cli, "meta");
    int status = read_args(cli, argc - 4, argv + 4, &args);
    if (status == ML_EXIT_OK && given != NULL)
        status = ml_cli_json(cli, "meta", ml_cli_text(given), &meta);
    if (status == ML_EXIT_OK) status = send(cli, argv, ml_buf_view(&args), ml_buf_view(&meta));
    ml_buf_free(&args);
    ml_buf_free(&meta);
    return status;
}
