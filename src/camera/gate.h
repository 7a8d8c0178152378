// Which pictures are analysed: frame_skip and analyze_fps. Pure; for this room alone.
#ifndef FW_CAMERA_GATE_H
#define FW_CAMERA_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct fw_gate {
    int frame_skip;      // pictures left out between two
    int64_t interval_us; // between two on average; 0: no limit
    int skipped;
    int64_t due_us;
    bool has_begun;
};

void fw_gate_init(struct fw_gate *gate, int frame_skip, double analyze_fps);
// Whether the picture taken at TIME_US (monotonic) is one of them. The first is.
bool fw_gate_passes(struct fw_gate *gate, int64_t time_us);

#endif
