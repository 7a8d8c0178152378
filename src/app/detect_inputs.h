// What `faceworker detect` was given: pictures, folders of them, videos.
#ifndef FW_APP_DETECT_INPUTS_H
#define FW_APP_DETECT_INPUTS_H

#include <stdbool.h>
#include <stddef.h>

struct fw_detect_input {
    char *path; // as found: PATH, or PATH/…/FILE
    bool is_video;
};

// Zero-initialise; fw_detect_inputs_free() at the end.
struct fw_detect_inputs {
    struct fw_detect_input *items;
    size_t count, capacity;
};

// Appends PATH: a folder's pictures (jpg, jpeg, png, webp, bmp; folders in it too, sorted, links to
// folders left out), or the file. A file is a picture if it begins like one or is named like one,
// else a video. FW_OK, FW_ENOENT or FW_EIO (errno says why; what could be read is appended),
// FW_ENOMEM.
int fw_detect_inputs_add(struct fw_detect_inputs *inputs, const char *path);
void fw_detect_inputs_free(struct fw_detect_inputs *inputs);

#endif
