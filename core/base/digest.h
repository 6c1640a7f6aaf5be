/* digest.h -- SHA-256 of bytes that are in memory: names for versions of things.
 *
 * Floor    base. OpenSSL does it (files are hashed by log/seal.c).
 * Threads  pure functions.
 */
#ifndef ML_BASE_DIGEST_H
#define ML_BASE_DIGEST_H

#include "bytes.h"
#include "error.h"

enum { ML_DIGEST_SIZE = 32 };

/* The hash of the parts one after another. NO_MEMORY if OpenSSL has none. */
ML_MUST_USE ml_code ml_digest_of(const ml_bytes *parts, size_t count,
                                 uint8_t digest[ML_DIGEST_SIZE], ml_error *why);

/* Its first `digits` hex digits, and a NUL. */
void ml_digest_hex(const uint8_t digest[ML_DIGEST_SIZE], size_t digits, char *text);

#endif
