// The clocks by which a live source is judged, never by its connection. Pure; for this room alone.
#ifndef FW_CAMERA_LIVENESS_H
#define FW_CAMERA_LIVENESS_H

#include "util/error.h"
#include <stdbool.h>
#include <stdint.h>

struct fw_liveness {
    int64_t packet_timeout_us, keyframe_timeout_us;
    int64_t packet_us; // when the last packet of the video came
    bool awaits_keyframe;
    int64_t keyframe_us; // since when it is waited for
    int64_t picture_us;  // when the last clean picture came out
};

void fw_liveness_start(struct fw_liveness *liveness, int64_t now_us);
void fw_liveness_packet(struct fw_liveness *liveness, int64_t now_us);
void fw_liveness_await_keyframe(struct fw_liveness *liveness, int64_t now_us);
void fw_liveness_picture(struct fw_liveness *liveness, int64_t now_us);
// Milliseconds until the first clock runs out; 0 when one has.
int64_t fw_liveness_left_ms(const struct fw_liveness *liveness, int64_t now_us);
// FW_OK, or FW_ETIMEDOUT with ERROR naming the clock that ran out.
int fw_liveness_check(const struct fw_liveness *liveness, int64_t now_us, struct fw_error *error);

#endif
