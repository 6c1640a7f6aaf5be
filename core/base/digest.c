/* digest.c -- SHA-256, by OpenSSL. */
#include "digest.h"

#include <openssl/evp.h>

ml_code ml_digest_of(const ml_bytes *parts, size_t count, uint8_t digest[ML_DIGEST_SIZE],
                     ml_error *why)
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool done = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;
    for (size_t n = 0; done && n < count; n++)
        done = parts[n].size == 0 || EVP_DigestUpdate(hash, parts[n].data, parts[n].size) == 1;
    done = done && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
    EVP_MD_CTX_free(hash);
    return done ? ML_OK : ml_error_memory(why, "a hash");
}

void ml_digest_hex(const uint8_t digest[ML_DIGEST_SIZE], size_t digits, char *text)
{
    static const char hex[] = "0123456789abcdef";
    ML_ASSERT(digits <= 2 * ML_DIGEST_SIZE);
    for (size_t n = 0; n < digits; n++)
        text[n] = hex[n % 2 == 0 ? digest[n / 2] >> 4 : digest[n / 2] & 15];
    text[digits] = '\0';
}
