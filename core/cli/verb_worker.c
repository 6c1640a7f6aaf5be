/* verb_worker.c -- the process that runs rules, started by the daemon alone. */
#include "../rules/worker.h"
#include "cli.h"

int ml_verb_worker(const ml_cli *cli, int argc, char **argv)
{
    ml_error why;
    (void)argc;
    (void)argv;
    ml_code code = ml_worker_run(cli->data, &why);
    return code ? ml_cli_fail(cli, code, why.sentence) : ML_EXIT_OK;
}
