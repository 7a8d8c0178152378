// The inner loops, once in plain C and once for each instruction set, behind one table.
//
// Layouts. Channels are padded to a multiple of 16, whatever the vector width, so that weights and
// buffers look the same to every instruction set.
// - A "row" is [width][channels]: what units read and write.
// - A "ring row" is [channels / 16][width + 2][16], one zero pixel on either side: what the
//   depthwise step reads. With the pixels of one block of channels next to each other its loads
//   form a few long streams; in a plain row they would be `channels` apart.
#ifndef FW_NN_KERNELS_H
#define FW_NN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FW_BLOCK = 16, FW_ALIGNMENT_BYTES = 64 };

// Widths of output channels that the pointwise weights are cut into, widest first.
#define FW_TILE_CHANNELS(left) ((left) >= 64 ? 64 : (left) >= 32 ? 32 : 16)

// Constants of one unit. Aligned to FW_ALIGNMENT_BYTES, padded channels are zero.
struct fw_unit_weights {
    int in_channels, out_channels; // padded
    bool relu;
    // Tile after tile of FW_TILE_CHANNELS() outputs, each [in_channels][outputs of the tile].
    float *pointwise;
    float *pointwise_bias; // [out_channels]
    float *depthwise;      // [9][out_channels]
    float *depthwise_bias; // [out_channels]
};

// The source pixels of one target pixel when a row is scaled: FIRST up to FIRST + COUNT - 1, with
// the weights of the first, of each inner one, and of the last (for three at most: simply one
// after the other), which add up to 1.
struct fw_span {
    int first, count;
    float weights[3];
};

struct fw_columns {
    struct fw_span *spans; // WIDTH of them
    int width, channels;   // CHANNELS interleaved: 1, 2 or 3
    int longest;           // the largest `count`
    int factor;            // source pixels a target pixel when that is the same for all, else 0
};

// How luma and chroma become colours on the scale 0..255.
struct fw_color_rule {
    float luma_offset, luma_gain;
    float red_v, green_u, green_v, blue_u;
};

// All pointers to weights and to rings are aligned; rows are, because channels are.
struct fw_kernels {
    // The 3x3 convolution with stride 2 and ReLU of three BGR rows. ROWS point at the pixel left of
    // the first one. WEIGHTS is [3][3][3][channels]: row, column, colour. OUT is a row of WIDTH.
    void (*stem)(const float *const rows[3], const float *weights, const float *bias, int channels,
                 int width, float *out);
    // The 1x1 convolution of a row. OUT points at the first pixel (not the border) of a ring row
    // whose blocks are BLOCK_STRIDE floats apart.
    void (*pointwise)(const struct fw_unit_weights *unit, const float *row, int width, float *out,
                      size_t block_stride);
    // Two rows of the depthwise 3x3 convolution, from four ring rows (pointers at the left border).
    void (*depthwise)(const struct fw_unit_weights *unit, const float *const rows[4],
                      size_t block_stride, int width, float *out0, float *out1);
    // 2x2 maximum of two rows of 2 * WIDTH pixels.
    void (*pool)(const float *row0, const float *row1, int channels, int width, float *out);
    // OUT = ROW + HALF with each of its pixels taken twice. HALF has (WIDTH + 1) / 2 pixels.
    void (*add_doubled)(const float *row, const float *half, int channels, int width, float *out);
    // SUMS += WEIGHT * BYTES.
    void (*accumulate)(float *sums, const uint8_t *bytes, float weight, size_t count);
    // Scales SUMS to ROW. Up to two pixels behind the last source pixel are read, never used.
    void (*average)(const struct fw_columns *columns, const float *sums, float *row);
    // WIDTH pixels to interleaved BGR. U and V advance by CHROMA_STEP (2: interleaved).
    void (*convert)(const struct fw_color_rule *rule, const float *luma, const float *u,
                    const float *v, int chroma_step, int width, float *pixels);
};

extern const struct fw_kernels fw_kernels_scalar;
extern const struct fw_kernels fw_kernels_avx2;
extern const struct fw_kernels fw_kernels_avx512;
extern const struct fw_kernels fw_kernels_neon;

#endif
