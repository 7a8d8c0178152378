// The picture thread: overlay, encoding, the placeholder while the camera is away, the live JPEG.
// For this room alone.
#ifndef FW_CAMERA_PICTURE_H
#define FW_CAMERA_PICTURE_H

#include "camera/camera.h"

struct fw_analyse;
struct fw_frame;
struct fw_picture;
struct fw_publish;

struct fw_picture_options {
    const struct fw_camera_options *camera;
    struct fw_analyse *analyse;
    struct fw_publish *publish;
    struct fw_slot *live;
    const struct fw_log *log;
    struct fw_cancel *cancel;
    bool is_lossless; // fw_picture_submit() waits until there is room
};

// Starts the thread. Options are copied, what they point to is borrowed. FW_OK, FW_ENOMEM,
// FW_EAGAIN.
int fw_picture_start(struct fw_picture **picture, const struct fw_picture_options *options);
// Gives FRAME (a reference is taken) to be shown; of too many that wait the oldest is dropped and
// counted.
// SOURCE_FPS is about how many will come a second, 0 if unknown.
void fw_picture_submit(struct fw_picture *picture, struct fw_frame *frame, double source_fps);
// Why no pictures come, for the placeholder; "" when they do. Any thread.
void fw_picture_set_reason(struct fw_picture *picture, const char *reason);
// Fills what STATUS says about pictures. Any thread.
void fw_picture_get_status(struct fw_picture *picture, struct fw_camera_status *status);
// Shows what still waits, ends the thread and flushes the encoder, TIMEOUT_MS at most. FW_OK, or
// FW_ETIMEDOUT: then PICTURE must not be destroyed.
int fw_picture_finish(struct fw_picture *picture, int64_t timeout_ms);
void fw_picture_destroy(struct fw_picture *picture); // after fw_picture_finish()

#endif
