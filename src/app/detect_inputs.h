// What `faceworker detect` was given: pictures, folders of them, videos.
#ifndef FW_APP_DETECT_INPUTS_H
#define FW_APP_DETECT_INPUTS_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct fw_cancel;

struct fw_detect_input {
    char *path; // as found: PATH, or PATH/…/FILE
    bool is_video;
    dev_t device; // with FILE: which file it is, by whatever name
    ino_t file;
};

// Zero-initialise; fw_detect_inputs_free() at the end.
struct fw_detect_inputs {
    struct fw_detect_input *items;
    size_t count, capacity;
};

// Appends PATH: a folder's pictures (jpg, jpeg, png, webp, bmp; folders in it too, sorted, links to
// folders left out), or the file. A file is a picture if it begins like one or is named like one,
// else a video. FW_OK; FW_ENOENT, FW_EIO or FW_EINVAL (neither file nor folder), with ERROR about
// the first thing that can't be read and all the others appended; FW_ECANCELED, FW_ENOMEM.
int fw_detect_inputs_add(struct fw_detect_inputs *inputs, const char *path,
                         const struct fw_cancel *cancel, struct fw_error *error);
void fw_detect_inputs_free(struct fw_detect_inputs *inputs);

#endif
