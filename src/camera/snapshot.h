// The pictures of an alert: whole and face crop, clean and annotated, as JPEG.
#ifndef FW_CAMERA_SNAPSHOT_H
#define FW_CAMERA_SNAPSHOT_H

#include "camera/overlay.h"

struct fw_bytes;

struct fw_snapshot_picture {
    struct fw_bytes *jpeg;
    int width, height;
};

struct fw_snapshot {
    struct fw_snapshot_picture full, full_annotated, face, face_annotated;
};

// FACES[0] is the one that the alert is about; the crop is its box grown by 40 % on each side, cut
// from the full-size picture. FRAME is not written to. FW_OK, FW_ENOMEM, FW_EIO, FW_ENOENT (no font
// is installed), FW_EINVAL (no face, or the first lies outside the picture); on failure SNAPSHOT is
// empty. Free with fw_snapshot_free(). Any thread.
int fw_snapshot_render(const struct fw_frame *frame, const struct fw_overlay_face *faces,
                       int face_count, int quality, struct fw_snapshot *snapshot,
                       struct fw_error *error);
void fw_snapshot_free(struct fw_snapshot *snapshot);

#endif
