// Where packets can be published to: one row a kind of output. For this room alone.
#ifndef FW_CAMERA_MUXER_H
#define FW_CAMERA_MUXER_H

#include "util/error.h"
#include <stdbool.h>

struct fw_url;

struct fw_muxer {
    const char *const *schemes;    // NULL-terminated
    const char *const *extensions; // of files, NULL-terminated; NULL: whatever the name
    const char *format;            // libavformat's name
    const char *const *options;    // pairs, NULL-terminated
};

// The muxer for URL: by scheme, and for files by extension. NULL with ERROR naming the schemes that
// there are.
const struct fw_muxer *fw_muxer_find(const struct fw_url *url, struct fw_error *error);

#endif
