// From a camera's states, which flap, to events that people want to read: online, stalled, offline.
// Pure: time comes in.
#ifndef FW_ALERT_PRESENCE_H
#define FW_ALERT_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

enum fw_presence {
    FW_PRESENCE_UNKNOWN,
    FW_PRESENCE_ONLINE,
    FW_PRESENCE_STALLED,
    FW_PRESENCE_OFFLINE
};

// Zero-initialise; for fw_presence_set() and fw_presence_due().
struct fw_presence_filter {
    enum fw_presence told, current;
    int64_t current_since_us;
    int64_t away_since_us; // since when pictures have not flowed for a second on end
};

// The camera is in STATE at NOW_US (monotonic).
void fw_presence_set(struct fw_presence_filter *filter, enum fw_presence state, int64_t now_us);
// True when a state is to be told now: it is in filter->told from here on, *PREVIOUS the one
// before. An outage is told once the camera has been away for DEBOUNCE_US, whatever it flapped
// through in that time, short flashes of pictures included; another kind of outage when it has held
// for as long. The first `online` and the one that ends a told outage are told when pictures have
// flowed for a second.
bool fw_presence_due(struct fw_presence_filter *filter, int64_t now_us, int64_t debounce_us,
                     enum fw_presence *previous);

#endif
