// What is drawn on the published picture.
#ifndef FW_CAMERA_OVERLAY_H
#define FW_CAMERA_OVERLAY_H

#include "util/error.h"
#include "util/face.h"
#include <stdint.h>

struct fw_frame;

// A face to draw: where it is in this very picture.
struct fw_overlay_face {
    uint64_t track;
    struct fw_face face;
    int is_coasted; // drawn thinner: predicted, not seen
};

// Borrowed for the call.
struct fw_overlay_info {
    const char *camera_name, *location; // location may be NULL
    int64_t utc_us;                     // shown in local time with zone
    double fps;
    const struct fw_overlay_face *faces;
    int face_count;
};

// Fonts and cached text for one camera and one picture height. One thread.
struct fw_overlay;

// FW_OK, FW_ENOMEM, or fw_font_open()'s FW_ENOENT and FW_EFORMAT.
int fw_overlay_create(struct fw_overlay **overlay, int picture_height_px, struct fw_error *error);
void fw_overlay_destroy(struct fw_overlay *overlay);

// Draws on FRAME, which must be writable: name, place, wall-clock time, fps, number of faces, and
// each face's box with track number and score.
void fw_overlay_draw(struct fw_overlay *overlay, struct fw_frame *frame,
                     const struct fw_overlay_info *info);
// Boxes and labels only, for annotated snapshots.
void fw_overlay_draw_faces(struct fw_overlay *overlay, struct fw_frame *frame,
                           const struct fw_overlay_face *faces, int face_count);
// A dark picture that names the camera, REASON and the time, shown while a camera is away.
void fw_overlay_draw_placeholder(struct fw_overlay *overlay, struct fw_frame *frame,
                                 const struct fw_overlay_info *info, const char *reason);

#endif
