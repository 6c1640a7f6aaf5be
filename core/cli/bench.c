/* bench.c -- `moonlog bench`: what this machine and disk give. */
#include "cli.h"

const ml_option ml_bench_options[] = {{0}};

int ml_bench_run(const ml_cli *cli, int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return ml_cli_fail(cli, ML_UNSUPPORTED, "nothing is measured yet");
}
