#include "camera/gate.h"

#include "util/clock.h"

void fw_gate_init(struct fw_gate *gate, int frame_skip, double analyze_fps)
{
    *gate = (struct fw_gate){.frame_skip = frame_skip};
    if (analyze_fps > 0)
        gate->interval_us = (int64_t)((double)FW_US_PER_S / analyze_fps);
}

// Due times go on in equal steps from the first, so that 25 pictures a second thinned to 10 give 10
// and not 8; a quarter of a step early is close enough, so that jitter does not halve the rate of a
// camera that sends just as many as are wanted.
static bool is_due(struct fw_gate *gate, int64_t time_us)
{
    if (gate->has_begun && time_us + gate->interval_us / 4 < gate->due_us &&
        gate->due_us - time_us < 2 * gate->interval_us)
        return false;
    if (!gate->has_begun || time_us - gate->due_us > gate->interval_us ||
        gate->due_us - time_us >= 2 * gate->interval_us)
        gate->due_us = time_us;
    gate->due_us += gate->interval_us;
    return true;
}

bool fw_gate_passes(struct fw_gate *gate, int64_t time_us)
{
    bool passes;

    if (gate->has_begun && gate->skipped < gate->frame_skip) {
        gate->skipped++;
        return false;
    }
    passes = gate->interval_us == 0 || is_due(gate, time_us);
    gate->has_begun = true;
    if (passes)
        gate->skipped = 0;
    return passes;
}
