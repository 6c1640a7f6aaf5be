#include "inside.h"
ml_code ml_verify(const char *dir, bool deep,
                         void (*report)(void *context, const char *sentence), void *context,
                         ml_verified *verified, char *why, size_t why_size){(void)dir;(void)deep;(void)report;(void)context;(void)verified;(void)why;(void)why_size;return ML_OK;}
