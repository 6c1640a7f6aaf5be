/* error.h -- every way moonlog can say no, in one list.
 *
 * Floor    base. Includes nothing of ours but moonlog.h, which owns the numbers.
 * Threads  no shared state: an ml_error belongs to whoever holds it.
 * Errors   a function that can fail returns ml_code (0 = ML_OK) and, when it has one,
 *          writes a sentence to the `ml_error *` it was given. NULL is allowed there.
 */
#ifndef ML_BASE_ERROR_H
#define ML_BASE_ERROR_H

#include <stdbool.h>

#include "../moonlog.h"

#define ML_MUST_USE __attribute__((warn_unused_result))
/* For the rare call whose failure changes nothing; a comment beside it says why. */
#define ML_IGNORE(call)                                                                  \
    do {                                                                                 \
        if (call) {                                                                      \
        }                                                                                \
    } while (0)
#define ML_FORMAT(at, from) __attribute__((format(printf, at, from)))

/* Bugs stop the program where they are seen, in every build: going on with a broken
 * invariant is how a log gets damaged. What the world can do wrong is never asserted. */
#define ML_ASSERT(condition) ((condition) ? (void)0 : ml_error_bug(__FILE__, __LINE__, #condition))

_Noreturn void ml_error_bug(const char *file, int line, const char *condition);

/* Longest sentence kept: a stream name of 512 bytes, quoted, and what to do about it. */
enum { ML_SENTENCE_MAX = 1024 };

typedef struct ml_error {
    ml_code code;
    char sentence[ML_SENTENCE_MAX];
} ml_error;

/* Sets *why and returns `code`, so that refusing is one line:
 *     return ml_error_set(why, ML_TOO_LARGE, "event is %zu bytes, the limit is %d", …);
 * A sentence says what is wrong and what to try next, without a final full stop. */
ml_code ml_error_set(ml_error *why, ml_code code, const char *format, ...) ML_FORMAT(3, 4);

/* Takes over what another said as "CODE: sentence", as ml_why does; returns `code`. */
ml_code ml_error_retell(ml_error *why, ml_code code, const char *text);

/* Turns a negative errno of a disk call into a code and a sentence:
 * ENOSPC, EDQUOT -> NO_SPACE; EACCES, EPERM -> FORBIDDEN; EROFS -> READ_ONLY;
 * ENOENT -> NOT_FOUND; ENOMEM -> NO_MEMORY; all else -> IO. `call` and `path` name the
 * call that failed; a negative_errno of 0 is a bug. */
ml_code ml_error_disk(ml_error *why, int negative_errno, const char *call, const char *path);

/* Out of memory; the sentence names what the memory was for. */
ml_code ml_error_memory(ml_error *why, const char *what);

/* "WRONG_EXPECTED_REVISION" for ML_WRONG_EXPECTED_REVISION; "UNKNOWN" for a number not in
 * the list. Never NULL. */
const char *ml_error_name(ml_code code);

/* True if the same call may succeed later without being changed. */
bool ml_error_retry(ml_code code);

/* What the program exits with when this is its last word (CONTRACT §3). */
int ml_error_exit(ml_code code);

#endif
