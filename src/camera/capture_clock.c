#include "camera/capture_clock.h"

#include "util/clock.h"

#define WINDOW_US       (10 * FW_US_PER_S)
#define SANE_US         (10 * FW_US_PER_S)
#define HONEST_DELAY_US (300 * FW_US_PER_MS)

static void note_delay(struct fw_capture_clock *clock, int64_t delay_us, int64_t arrival_us)
{
    if (clock->windows == 0) {
        clock->window_began_us = arrival_us;
        clock->minimum_us[0] = delay_us;
        clock->windows = 1;
    } else if (arrival_us - clock->window_began_us > WINDOW_US) {
        clock->window_began_us = arrival_us;
        clock->minimum_us[1] = clock->minimum_us[0];
        clock->minimum_us[0] = delay_us;
        clock->windows = 2;
    } else if (delay_us < clock->minimum_us[0]) {
        clock->minimum_us[0] = delay_us;
    }
}

int64_t fw_capture_clock_map(struct fw_capture_clock *clock, int64_t sender_us, int64_t arrival_us)
{
    int64_t delay_us = arrival_us - sender_us;
    int64_t least_us;

    if (sender_us <= 0 || delay_us > SANE_US || delay_us < -SANE_US)
        return arrival_us;
    note_delay(clock, delay_us, arrival_us);
    least_us = clock->minimum_us[0];
    if (clock->windows == 2 && clock->minimum_us[1] < least_us)
        least_us = clock->minimum_us[1];
    if (least_us < 0 || least_us > HONEST_DELAY_US)
        delay_us -= least_us;
    return arrival_us - delay_us;
}
