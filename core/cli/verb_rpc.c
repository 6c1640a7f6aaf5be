/* verb_rpc.c -- any method of the daemon, JSON in and JSON out. */
#include "../base/json.h"
#include "../server/server.h"
#include "reach.h"
#include "show.h"

static int show_result(const ml_cli *cli, ml_bytes result)
{
    ml_show show;
    ml_unpack cursor = ml_unpack_from(result);
    ml_show_begin(&show, cli, false);
    bool shown = cli->shape == ML_SHAPE_LUA ? ml_show_lua_value(&show.out, result)
                                            : ml_json_write(&cursor, &show.out);
    ml_buf_byte(&show.out, '\n');
    if (shown) return ml_show_end(&show, ML_EXIT_OK);
    ml_buf_clear(&show.out);
    return ml_show_end(
        &show, ml_cli_fail(cli, ML_UNSUPPORTED, "the answer is no value that can be shown"));
}

static int call(const ml_cli *cli, const char *method, ml_bytes params)
{
    ml_client client;
    ml_bytes result;
    int status;
    if (!ml_reach_open(cli, ML_REACH_USE, true, &client, &status)) return status;
    ml_buf *out = ml_client_begin(&client, method);
    if (params.size > 0)
        ml_buf_add(out, params.data, params.size);
    else
        ml_pack_map(out, 0);
    status =
        ml_client_call(&client, &result) ? ml_reach_fail(cli, &client) : show_result(cli, result);
    return ml_reach_close(cli, &client, status);
}

int ml_verb_rpc(const ml_cli *cli, int argc, char **argv)
{
    ml_buf params = {0};
    if (ml_options_has(cli, "document")) {
        ml_server_document();
        return ML_EXIT_OK;
    }
    if (argc < 2) return ml_cli_usage(cli, "rpc wants a method; `moonlog rpc api` lists them");
    const char *stays = ml_server_stays(argv[1]);
    if (stays != NULL)
        return ml_cli_usage(cli, "use `moonlog %s`: %s ends with the connection", stays,
                            strcmp(stays, "tail") == 0 ? "a subscription" : "listening");
    if (ml_options_has(cli, "output") && cli->shape == ML_SHAPE_TABLE)
        return ml_cli_usage(cli, "an answer of any shape makes no table; use -o json or -o lua");
    int status = argc > 2 ? ml_cli_data(cli, argv[2], &params) : ML_EXIT_OK;
    if (status == ML_EXIT_OK) status = call(cli, argv[1], ml_buf_view(&params));
    ml_buf_free(&params);
    return status;
}
