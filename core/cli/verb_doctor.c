/* verb_doctor.c -- what of this machine rules can rely on: its Lua, its kernel, the directory. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../rules/jail.h"
#include "../script/canary.h"
#include "show.h"

typedef struct visit {
    ml_show show;
    bool bad; /* something is not as it must be */
} visit;

static void tell(visit *v, const char *what, const char *verdict, const char *more)
{
    ml_field fields[] = {
        ML_TEXT("check", ml_cli_text(what)),
        ML_TEXT("verdict", ml_cli_text(verdict)),
        ML_TEXT("more", ml_cli_text(more)),
    };
    ML_IGNORE(!ml_show_record(&v->show, fields, 3)); /* ml_show_end says it */
}

/* That plain Lua has a bug is news; that rules can crash by it is a fault. */
static void tell_canary(void *context, const ml_canary *canary)
{
    visit *v = context;
    char what[64], more[512];
    bool safe = canary->rules != ML_CANARY_CRASHED;
    bool well = canary->rules == ML_CANARY_OK && canary->plain == ML_CANARY_OK;
    snprintf(what, sizeof what, "lua: %s", canary->name);
    /* What matters first: a narrow terminal shows only the beginning. */
    snprintf(more, sizeof more, "rules: %s, plain Lua: %s; %s; %s",
             ml_canary_verdict_name(canary->rules), ml_canary_verdict_name(canary->plain),
             canary->effect, canary->kept);
    tell(v, what, !safe ? "bad" : well ? "ok" : "warning", well ? "" : more);
    v->bad |= !safe;
}

/* A wall that is missing is no fault of ours; but rules of strangers need it. */
static void tell_wall(void *context, const char *what, bool held)
{
    visit *v = context;
    char text[96];
    snprintf(text, sizeof text, "worker: %s", what);
    tell(v, text, held ? "ok" : "warning",
         held ? "" : "this kernel does not hold it; run only rules that you trust");
}

static void look_at_walls(visit *v, const char *dir)
{
    ml_error why;
    if (ml_jail_try(dir, tell_wall, v, &why) == ML_OK) return;
    tell(v, "worker", "bad", why.sentence);
    v->bad = true;
}

/* The directory, if it is there; a store that is to begin needs none. */
static bool look_at_directory(visit *v, const char *dir)
{
    struct stat about;
    if (stat(dir, &about) != 0) {
        tell(v, "directory", errno == ENOENT ? "ok" : "bad",
             errno == ENOENT ? "it is not there yet" : strerror(errno));
        v->bad |= errno != ENOENT;
        return false;
    }
    bool usable = S_ISDIR(about.st_mode) && access(dir, R_OK | W_OK | X_OK) == 0;
    tell(v, "directory", usable ? "ok" : "bad", usable ? "" : "it cannot be read and written");
    v->bad |= !usable;
    return usable;
}

int ml_verb_doctor(const ml_cli *cli, int argc, char **argv)
{
    visit v = {.bad = false};
    (void)argc;
    (void)argv;
    ml_show_begin(&v.show, cli, true);
    bool there = look_at_directory(&v, cli->data);
    look_at_walls(&v, there ? cli->data : "/tmp");
    ml_canary_run(tell_canary, &v);
    return ml_show_end(&v.show, v.bad ? ML_EXIT_PROBLEMS : ML_EXIT_OK);
}
