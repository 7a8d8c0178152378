// A loaded model: topology and packed weights. Private to nn/.
#ifndef FW_NN_YUNET_MODEL_H
#define FW_NN_YUNET_MODEL_H

#include "nn/kernels.h"
#include "nn/yunet_net.h"
#include "nn/yunet_plan.h"
#include <stdatomic.h>

struct fw_yunet_unit {
    struct fw_unit_weights weights;
    int source; // as in struct fw_unit_plan
    bool pooled;
    int upsampled;
    int shift;
};

// Immutable but for the count.
struct fw_yunet_model {
    _Atomic int references;
    enum fw_isa isa;
    const struct fw_kernels *kernels;
    int stem_channels; // padded
    float *stem;       // [3][3][3][stem_channels]: row, column, colour
    float *stem_bias;  // [stem_channels]
    int unit_count;
    struct fw_yunet_unit units[FW_YUNET_MAX_UNITS];
    int heads[FW_YUNET_LEVELS];
};

#endif
