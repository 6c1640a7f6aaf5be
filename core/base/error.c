/* error.c -- codes, names, sentences. The list itself is ML_CODES in moonlog.h. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void ml_error_bug(const char *file, int line, const char *condition)
{
    fprintf(stderr, "moonlog: INTERNAL: %s:%d: %s does not hold; please report this\n", file,
            line, condition);
    abort();
}

ml_code ml_error_set(ml_error *why, ml_code code, const char *format, ...)
{
    if (why == NULL) return code;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why->sentence, sizeof why->sentence, format, arguments);
    va_end(arguments);
    why->code = code;
    return code;
}

ml_code ml_error_retell(ml_error *why, ml_code code, const char *text)
{
    const char *sentence = strstr(text, ": ");
    return ml_error_set(why, code, "%s", sentence != NULL ? sentence + 2 : text);
}

static ml_code code_of_errno(int number)
{
    switch (number) {
    case ENOSPC:
    case EFBIG:
    case EDQUOT: return ML_NO_SPACE;
    case EACCES:
    case EPERM: return ML_FORBIDDEN;
    case EROFS: return ML_READ_ONLY;
    case ENOENT: return ML_NOT_FOUND;
    case ENOMEM: return ML_NO_MEMORY;
    default: return ML_IO;
    }
}

static const char *advice(ml_code code, int number)
{
    if (number == ENOTDIR) return "; a file is where a directory belongs, move it away";
    if (number == EISDIR) return "; a directory is where a file belongs, move it away";
    if (code == ML_NO_SPACE) return "; free some space, then try again";
    if (code == ML_FORBIDDEN) return "; check the owner and mode of the directory and its files";
    if (code == ML_READ_ONLY) return "; the file system is mounted read-only";
    if (code == ML_NO_MEMORY) return "; free some memory, then try again";
    return "";
}

ml_code ml_error_disk(ml_error *why, int negative_errno, const char *call, const char *path)
{
    ML_ASSERT(negative_errno < 0);
    ml_code code = code_of_errno(-negative_errno);
    return ml_error_set(why, code, "%s %s: %s%s", call, path, strerror(-negative_errno),
                        advice(code, -negative_errno));
}

ml_code ml_error_memory(ml_error *why, const char *what)
{
    return ml_error_set(why, ML_NO_MEMORY, "out of memory for %s", what);
}

const char *ml_error_name(ml_code code)
{
    switch (code) {
    case ML_OK: return "OK";
    case ML_END: return "END";
#define NAME(number, name, retry, status, meaning)                                       \
    case ML_##name: return #name;
        ML_CODES(NAME)
#undef NAME
    }
    return "UNKNOWN";
}

bool ml_error_retry(ml_code code)
{
    enum { no = false, yes = true };
    switch (code) {
    case ML_OK:
    case ML_END: return true;
#define RETRY(number, name, retry, status, meaning)                                      \
    case ML_##name: return retry;
        ML_CODES(RETRY)
#undef RETRY
    }
    return false;
}

int ml_error_exit(ml_code code)
{
    switch (code) {
    case ML_OK:
    case ML_END: return 0;
#define STATUS(number, name, retry, status, meaning)                                     \
    case ML_##name: return status;
        ML_CODES(STATUS)
#undef STATUS
    }
    return 1;
}
