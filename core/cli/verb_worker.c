/* verb_worker.c -- the process that runs rules, started by the daemon alone. */
#include "../projection/process.h"
#include "../projection/process_whatif.h"
#include "../projection/rehearse.h"
#include "cli.h"

/* What it does is said by a word; without one it decides and folds. */
static const ml_worker_role *const roles[] = {&ml_worker_rules, &ml_process_projection,
                                             &ml_process_whatif};

int ml_verb_worker(const ml_cli *cli, int argc, char **argv)
{
    ml_error why;
    ml_worker_role deciding = ml_worker_rules;
    const ml_worker_role *role = argc < 2 ? roles[0] : NULL;
    for (size_t n = 0; role == NULL && n < sizeof roles / sizeof *roles; n++)
        if (strcmp(argv[1], roles[n]->name) == 0) role = roles[n];
    if (role == NULL) return ml_cli_usage(cli, "there is no worker for '%.512s'", argv[1]);
    deciding.rehearse = ml_rehearse;
    ml_code code = ml_worker_run(cli->data, role == &ml_worker_rules ? &deciding : role, &why);
    return code ? ml_cli_fail(cli, code, why.sentence) : ML_EXIT_OK;
}
