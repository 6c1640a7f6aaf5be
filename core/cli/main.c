/* main.c -- the way in: read the command line, run the verb. */
#include <fcntl.h>

#include "cli.h"

static int run(const ml_cli *cli)
{
    if (cli->version) return ml_verb_version(cli, 0, NULL);
    if (cli->help) return ml_help_show(cli, cli->verb);
    if (cli->verb == NULL) return ml_cli_usage(cli, "no verb given; `moonlog help` lists them");
    if (cli->verb->local && ml_options_has(cli, "connect"))
        return ml_cli_usage(cli, "%s works on this machine's own files and asks no daemon; leave out --connect",
                            cli->verb->name);
    return cli->verb->run(cli, cli->word_count, cli->words);
}

/* A standard descriptor that is closed would be given to the next file that is opened, and an
 * error message written into the store. Opened the wrong way round, using one is an error. */
static void keep_standard_descriptors(void)
{
    for (int file = 0; file <= 2; file++)
        if (fcntl(file, F_GETFD) < 0)
            ML_IGNORE(open("/dev/null", (file == 0 ? O_WRONLY : O_RDONLY)) != file);
}

int main(int argc, char **argv)
{
    keep_standard_descriptors();
    ml_cli_catch_signals();
    ml_cli cli;
    ml_error why;
    int status;
    ml_code code = ml_options_read(&cli, argc, argv, &why);
    if (code == ML_OK) status = run(&cli);
    else if (code == ML_BAD_REQUEST) status = ml_cli_usage(&cli, "%s", why.sentence);
    else status = ml_cli_fail(&cli, code, why.sentence);
    ml_options_free(&cli);
    return status;
}
