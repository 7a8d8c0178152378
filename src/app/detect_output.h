// What `faceworker detect` makes of one picture: a line and a drawing.
#ifndef FW_APP_DETECT_OUTPUT_H
#define FW_APP_DETECT_OUTPUT_H

#include "util/error.h"
#include "util/face.h"

struct fw_frame;
struct fw_overlay;
struct fw_text;

// Appends the JSON object of one picture and a newline.
void fw_detect_append_line(struct fw_text *text, const char *name, const struct fw_frame *frame,
                           const struct fw_faces *faces);

// Draws on copies of pictures. Zero-initialise; fw_annotator_free() at the end. One thread.
struct fw_annotator {
    const char *folder; // made when missing
    struct fw_overlay *overlay;
    int overlay_height_px;
};

// Writes FRAME with FACES as a JPEG to FOLDER/NAME, NAME's folders and all; ".jpg" is appended
// unless NAME ends so. FW_OK, FW_ENOMEM, FW_EIO and what drawing and compressing fail with.
int fw_annotate(struct fw_annotator *annotator, const char *name, struct fw_frame *frame,
                const struct fw_faces *faces, struct fw_error *error);
void fw_annotator_free(struct fw_annotator *annotator);

#endif
