// Faces in a camera's pictures: which pictures are analysed, tracks, best shots, reports.
// For this room alone.
#ifndef FW_CAMERA_ANALYSE_H
#define FW_CAMERA_ANALYSE_H

#include "camera/camera.h"

struct fw_analyse;
struct fw_cancel;
struct fw_overlay_face;

struct fw_analyse_options {
    const struct fw_camera_options *camera;
    struct fw_pool *pool; // NULL: nothing is analysed
    const struct fw_camera_listener *listener;
    const struct fw_log *log;
    struct fw_cancel *cancel;
    bool is_lossless; // fw_analyse_frame() waits for the analysis before, and no age counts
};

// All borrowed. FW_OK or FW_ENOMEM.
int fw_analyse_create(struct fw_analyse **analyse, const struct fw_analyse_options *options);
// Gives FRAME to the pool when its turn has come. The source's thread.
void fw_analyse_frame(struct fw_analyse *analyse, struct fw_frame *frame);
// Waits until nothing is being analysed, TIMEOUT_MS at most, or canceled.
void fw_analyse_wait(struct fw_analyse *analyse, int64_t timeout_ms);
// No pictures come: tracks that were last seen long before NOW_US (monotonic) end. Any thread.
void fw_analyse_advance(struct fw_analyse *analyse, int64_t now_us);
// Up to MAX confirmed faces, boxes moved to where they are at TIME_US. Returns how many. Any
// thread.
int fw_analyse_faces(struct fw_analyse *analyse, int64_t time_us, struct fw_overlay_face *faces,
                     int max);
// Fills the fields of STATUS that are about analysis. Any thread.
void fw_analyse_get_status(struct fw_analyse *analyse, struct fw_camera_status *status);
// Waits for the analysis under way and reports every open track as left, "camera_stopped". Once,
// and no frame after it.
void fw_analyse_end(struct fw_analyse *analyse);
// After fw_analyse_end(), or when nothing was ever given to it. NULL is allowed.
void fw_analyse_destroy(struct fw_analyse *analyse);

#endif
