// A quantised model: topology and packed weights. Private to nn/.
#ifndef FW_NN_QUANT_MODEL_H
#define FW_NN_QUANT_MODEL_H

#include "nn/kernels_int8.h"
#include "nn/quant_net.h"
#include "nn/quant_ranges.h"
#include <stdatomic.h>

struct fw_quant_unit {
    struct fw_int8_unit weights;
    int source; // as in struct fw_unit_plan
    bool pooled;
    int upsampled;
    int shift;
};

// Immutable but for the count.
struct fw_quant_model {
    _Atomic int references;
    const struct fw_int8_kernels *kernels;
    bool is_faster; // than fp32 on the same processor
    const struct fw_quant_ranges *ranges;
    struct fw_int8_stem stem;
    int unit_count;
    struct fw_quant_unit units[FW_YUNET_MAX_UNITS];
    int heads[FW_YUNET_LEVELS];
};

// Packs PLAN with RANGES. UNITS and all else of MODEL must be zero. FW_OK; FW_ENOTSUP (the ranges
// don't fit the plan, or numbers that don't fit 32 bits), FW_ENOMEM; free with
// fw_quant_model_unref() in any case.
int fw_quant_pack(struct fw_quant_model *model, const struct fw_yunet_plan *plan,
                  const struct fw_quant_ranges *ranges, struct fw_error *error);

#endif
