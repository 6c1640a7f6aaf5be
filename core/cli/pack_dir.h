/* pack_dir.h -- a directory of rule files as the daemon takes it: {path: text}.
 *
 * Every .lua in it and below, but no specs (…_spec.lua) and nothing hidden. A directory that is no
 * pack itself, but has one in its folder rules/, as an example has, stands for that one.
 *
 * Floor    cli.
 */
#ifndef ML_CLI_PACK_DIR_H
#define ML_CLI_PACK_DIR_H

#include "../base/buf.h"

enum {
    ML_PACK_DIR_FILES_MAX = 256,
    ML_PACK_DIR_BYTES_MAX = 1 << 20 /* of all files: a pack is one event */
};

/* Packs the map onto `out`, in the order of paths. NOT_FOUND if there is no such directory, or no
 * rule file in it; TOO_LARGE; what reading them says. */
ML_MUST_USE ml_code ml_pack_dir_read(const char *dir, ml_buf *out, ml_error *why);

#endif
