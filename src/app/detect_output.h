// What `faceworker detect` makes of one picture: a line, a drawing, and the faces cut out.
#ifndef FW_APP_DETECT_OUTPUT_H
#define FW_APP_DETECT_OUTPUT_H

#include "util/error.h"
#include "util/face.h"

struct fw_detect_targets;
struct fw_frame;
struct fw_overlay;
struct fw_text;

// Appends the JSON object of one picture and a newline; with CROP_FOLDER each face has the path
// that fw_detect_write_crops() writes it to.
void fw_detect_append_line(struct fw_text *text, const char *name, const struct fw_frame *frame,
                           const struct fw_faces *faces, const char *crop_folder);

// Writes each of FACES with a margin around it, cut from FRAME, as a JPEG to FOLDER/NAME-N.jpg, N
// from 1, where NAME has lost a ".jpg" of its own. Faces outside of the picture are left out. Any
// thread. FW_OK, FW_ENOMEM, FW_EIO, FW_EINVAL (TARGETS forbid it).
int fw_detect_write_crops(struct fw_detect_targets *targets, const char *folder, const char *name,
                          const struct fw_frame *frame, const struct fw_faces *faces,
                          struct fw_error *error);

// Draws on copies of pictures. Zero-initialise; fw_annotator_free() at the end. One thread.
struct fw_annotator {
    struct fw_detect_targets *targets; // borrowed
    const char *folder;                // made when missing
    struct fw_overlay *overlay;
    int overlay_height_px;
};

// Writes FRAME with FACES as a JPEG to FOLDER/NAME, NAME's folders and all; ".jpg" is appended
// unless NAME ends so. FW_OK, FW_ENOMEM, FW_EIO, FW_EINVAL (`targets` forbid it) and what drawing
// and compressing fail with.
int fw_annotate(struct fw_annotator *annotator, const char *name, struct fw_frame *frame,
                const struct fw_faces *faces, struct fw_error *error);
void fw_annotator_free(struct fw_annotator *annotator);

#endif
