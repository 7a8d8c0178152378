// A constant-velocity Kalman filter of a box: centre and size, each axis by itself.
#ifndef FW_TRACK_KALMAN_H
#define FW_TRACK_KALMAN_H

#include "util/face.h"

// One coordinate and its velocity with their covariance. Noise couples no two coordinates, so the
// usual 8-dimensional filter falls apart into four of these, exactly.
struct fw_kalman_axis {
    double x, v; // px, px/s
    double p_xx, p_xv, p_vv;
};

struct fw_kalman {
    struct fw_kalman_axis cx, cy, w, h;
};

// Starts at BOX (finite, with an area), at rest, with an unknown velocity.
void fw_kalman_init(struct fw_kalman *kalman, const struct fw_box *box);
// Moves DT_S (at least 0) ahead. Velocities die away, so the box goes a bounded way however long it
// coasts; sizes stay at 1 px or more.
void fw_kalman_predict(struct fw_kalman *kalman, double dt_s);
// Takes in BOX as measured at the time of the latest prediction.
void fw_kalman_update(struct fw_kalman *kalman, const struct fw_box *box);
struct fw_box fw_kalman_box(const struct fw_kalman *kalman);
// BOX, which belongs to KALMAN's time, moved by DT_S (may be negative) along KALMAN's velocities.
struct fw_box fw_kalman_shift(const struct fw_kalman *kalman, struct fw_box box, double dt_s);

#endif
