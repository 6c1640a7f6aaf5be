/* diagnose.c -- one map behind the other. */
#include "diagnose.h"

#include "../base/pack.h"

static void add(ml_diagnostics *to, const char *severity, const char *code, const ml_fault *fault)
{
    ml_buf *items = &to->items;
    ml_pack_map(items, fault->source[0] != '\0' ? 6 : 5);
    ml_pack_text(items, "severity");
    ml_pack_text(items, severity);
    ml_pack_text(items, "code");
    ml_pack_text(items, code);
    ml_pack_text(items, "file");
    ml_pack_text(items, fault->file);
    ml_pack_text(items, "line");
    ml_pack_int(items, fault->line);
    ml_pack_text(items, "message");
    ml_pack_text(items, fault->message);
    if (fault->source[0] != '\0') {
        ml_pack_text(items, "source");
        ml_pack_text(items, fault->source);
    }
    to->count++;
}

void ml_diagnose_error(ml_diagnostics *to, const char *code, const ml_fault *fault)
{
    to->errors++; /* counted even where memory is refused, so that it is not taken for none */
    add(to, "error", code, fault);
}

void ml_diagnose_warning(ml_diagnostics *to, const char *code, const ml_fault *fault)
{
    add(to, "warning", code, fault);
}

void ml_diagnostics_free(ml_diagnostics *of)
{
    ml_buf_free(&of->items);
    *of = (ml_diagnostics){0};
}
