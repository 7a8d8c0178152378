#include "camera/rate.h"

#include "util/clock.h"

#define WINDOW_US (3 * FW_US_PER_S)

void fw_rate_count(struct fw_rate *rate, int64_t now_us)
{
    rate->times_us[rate->count++ % FW_RATE_SLOTS] = now_us;
}

double fw_rate_get(const struct fw_rate *rate, int64_t now_us)
{
    uint64_t known = rate->count < FW_RATE_SLOTS ? rate->count : FW_RATE_SLOTS;
    int64_t newest_us, oldest_us;
    uint64_t used = 1;

    if (known < 2)
        return 0;
    newest_us = oldest_us = rate->times_us[(rate->count - 1) % FW_RATE_SLOTS];
    if (now_us - newest_us > WINDOW_US)
        return 0;
    for (; used < known; used++) {
        int64_t time_us = rate->times_us[(rate->count - 1 - used) % FW_RATE_SLOTS];
        if (now_us - time_us > WINDOW_US)
            break;
        oldest_us = time_us;
    }
    // A rate of one in several seconds shows as nothing rather than as a guess.
    return newest_us > oldest_us ? (double)(used - 1) * 1e6 / (double)(newest_us - oldest_us) : 0;
}
