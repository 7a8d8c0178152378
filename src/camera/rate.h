// Events a second over the last seconds. Pure, for one thread or under the caller's lock.
#ifndef FW_CAMERA_RATE_H
#define FW_CAMERA_RATE_H

#include <stdint.h>

#define FW_RATE_SLOTS 64

// The times of the latest events. Zero-initialise.
struct fw_rate {
    int64_t times_us[FW_RATE_SLOTS];
    uint64_t count;
};

void fw_rate_count(struct fw_rate *rate, int64_t now_us);
// Over the last 3 s, or as many as fit the slots; 0 when nothing came in them.
double fw_rate_get(const struct fw_rate *rate, int64_t now_us);

#endif
