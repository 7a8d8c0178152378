// What the calibration of a model found: how large the activations of each layer become.
#ifndef FW_NN_QUANT_RANGES_H
#define FW_NN_QUANT_RANGES_H

#include "nn/yunet_plan.h"

// One layer's outputs. Channel C reaches up to MAX * 2^(-D / 8), D being digit C of CHANNELS (0 to
// 9, then a to z).
struct fw_quant_range {
    float max;
    const char *channels;
};

// Difficulties of the WIDER FACE benchmark.
enum { FW_QUANT_EASY, FW_QUANT_MEDIUM, FW_QUANT_HARD, FW_QUANT_DIFFICULTIES };

struct fw_quant_ranges {
    const char *model;    // for messages
    uint64_t fingerprint; // fw_quant_fingerprint() of the model
    // The largest loss of average precision against fp32 over the sizes measured, per difficulty.
    float losses[FW_QUANT_DIFFICULTIES];
    int layer_count; // the first layer, then each unit of the plan; empty for heads
    const struct fw_quant_range *layers;
};

// The largest loss with which int8 is chosen by itself.
#define FW_QUANT_MAX_LOSS 0.005f

// FNV-1a over all weights and biases in the plan's order, and over what each unit reads: the same
// for a file that was only written anew, another one for any other training or wiring. Tells models
// apart; protects against nobody.
uint64_t fw_quant_fingerprint(const struct fw_yunet_plan *plan);
// NULL: never calibrated.
const struct fw_quant_ranges *fw_quant_ranges_find(uint64_t fingerprint);
// The range of channel CHANNEL; 0 when LAYER has no such channel.
float fw_quant_range_of(const struct fw_quant_range *layer, int channel);
bool fw_quant_ranges_are_equal(const struct fw_quant_range *a, const struct fw_quant_range *b);

#endif
