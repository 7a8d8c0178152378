// The shape of a YuNet network, as found in an ONNX graph.
//
// Every layer but the first is a "unit": a pointwise (1x1) convolution, then a depthwise 3x3 one,
// then, except in the heads, ReLU. A unit reads the output of another, directly, or after 2x2 max
// pooling, or with the output of a third one, doubled in size, added to it (the neck).
#ifndef FW_NN_YUNET_PLAN_H
#define FW_NN_YUNET_PLAN_H

#include "nn/onnx.h"

enum {
    FW_YUNET_LEVELS = 3,
    FW_YUNET_PARTS = 4, // cls, obj, bbox, kps
    FW_YUNET_MAX_UNITS = 64,
    FW_YUNET_MAX_CHANNELS = 1024,
    FW_YUNET_HEAD_CHANNELS = 16,
    FW_YUNET_STEM = -1, // as a unit's source
    FW_YUNET_NONE = -2, // as a unit's `upsampled`
};

// One convolution's constants. Borrowed from the graph; BIAS may be NULL.
struct fw_conv {
    const float *weights; // [out][in per group][kernel][kernel]
    const float *bias;
    int out_channels, in_channels; // IN_CHANNELS of one group
};

struct fw_unit_plan {
    struct fw_conv pointwise[FW_YUNET_PARTS];
    struct fw_conv depthwise[FW_YUNET_PARTS];
    int part_count; // 1; a head has its four branches merged into one unit of 16 channels
    int in_channels, out_channels;
    bool relu;
    int source; // index of a unit, always lower than this one's, or FW_YUNET_STEM
    bool pooled;
    int upsampled; // index of a unit or FW_YUNET_NONE
    int shift;     // the unit's maps are the input's size >> shift
};

struct fw_yunet_plan {
    struct fw_conv stem;
    struct fw_unit_plan units[FW_YUNET_MAX_UNITS];
    int unit_count;
    int heads[FW_YUNET_LEVELS]; // unit indices for the strides 8, 16, 32
};

// Follows GRAPH back from its outputs cls_8 … kps_32 to its input. PLAN borrows from GRAPH. FW_OK;
// FW_ENOTSUP (another network), FW_EFORMAT (weights missing, of wrong size, NaN or absurd), with
// ERROR naming the place.
int fw_yunet_match(const struct fw_onnx_graph *graph, struct fw_yunet_plan *plan,
                   struct fw_error *error);

#endif
