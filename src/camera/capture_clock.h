// From a camera's clock to ours: when a picture was taken. Pure; for this room alone.
#ifndef FW_CAMERA_CAPTURE_CLOCK_H
#define FW_CAMERA_CAPTURE_CLOCK_H

#include <stdint.h>

// Cameras send the time of their own clock (RTCP sender reports), which may be wrong by seconds.
// The smallest delay between a picture's time and its arrival over the last 10 to 20 s is what the
// two clocks differ plus the shortest way; when no honest way is that short or long, it is taken as
// the difference of the clocks, so that ageing pictures by it stays right whatever the camera's
// clock says. Zero-initialise.
struct fw_capture_clock {
    int64_t window_began_us; // arrival time at which the current window began
    int64_t minimum_us[2];   // of the current and the previous window
    int windows;             // of the two, how many are filled
};

// SENDER_US is the time the camera gave (0: none), ARRIVAL_US when its packet came; both UTC. The
// capture time by our clock, never later than ARRIVAL_US.
int64_t fw_capture_clock_map(struct fw_capture_clock *clock, int64_t sender_us, int64_t arrival_us);

#endif
