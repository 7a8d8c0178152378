// The inner loops, once in plain C and once for each instruction set, behind one table.
//
// Layouts. Channels are padded to a multiple of 16 (a "block"), whatever the vector width, so that
// weights and buffers look the same to every instruction set.
// - A "row" is [channels / 16][width][16]: what units read and write. A pixel's neighbour is always
//   16 floats away, and what one block of channels reads or writes is a single long stream.
// - A "ring row" is the same with one zero pixel on either side, [channels / 16][width + 2][16]:
//   what the depthwise step reads.
#ifndef FW_NN_KERNELS_H
#define FW_NN_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { FW_BLOCK = 16, FW_ALIGNMENT_BYTES = 64 };

// Most inputs of a unit that is computed as seven products (their sums lie on the stack).
enum { FW_PRODUCT_INPUTS = 256 };

// Constants of one unit. Aligned to FW_ALIGNMENT_BYTES, padded channels are zero.
struct fw_unit_weights {
    int in_channels, out_channels; // padded
    bool relu;
    float *pointwise;      // [out_channels / 16][in_channels][16]
    float *pointwise_bias; // [out_channels]
    float *depthwise;      // [9][out_channels]
    float *depthwise_bias; // [out_channels]
    // The same once more, as the vector versions want it. Of the pointwise matrix B, cut in four,
    // the seven factors B11, B21, T2, T3, -T4, T1, B22, each
    // [out_channels / 2 / 16][in_channels / 2][16]; NULL where halves are not whole blocks.
    float *products;
    // [out_channels]; from the second half the first one is subtracted. NULL as above.
    float *products_bias;
    // [4 kinds][3 columns][out_channels]. kernels_vector.c explains both.
    float *taps;
};

// The source pixels of one target pixel when a row is scaled: FIRST up to FIRST + COUNT - 1, with
// the weights of the first, of each inner one, and of the last (for three at most: simply one
// after the other), which add up to 1.
struct fw_span {
    int first, count;
    float weights[3];
};

enum { FW_THREE_HALVES = -1 };

struct fw_columns {
    struct fw_span *spans; // WIDTH of them
    int width, channels;   // CHANNELS interleaved: 1, 2 or 3
    int longest;           // the largest `count`
    // Source pixels a target pixel when that is the same for all, FW_THREE_HALVES when it is 1.5
    // and WIDTH is even, else 0.
    int factor;
};

// How luma and chroma become colours on the scale 0..255.
struct fw_color_rule {
    float luma_offset, luma_gain;
    float red_v, green_u, green_v, blue_u;
};

// All pointers to weights, rows and rings are aligned.
struct fw_kernels {
    // The 3x3 convolution with stride 2 and ReLU of three BGR rows. ROWS point at the pixel left of
    // the first one; the last two are what the next call reads in addition to these, and may be
    // fetched ahead. WEIGHTS is [3][3][3][channels]: row, column, colour. OUT is a row of WIDTH, a
    // multiple of 16.
    void (*stem)(const float *const rows[5], const float *weights, const float *bias, int channels,
                 int width, float *out);
    // The 1x1 convolution of two rows. OUT point at the first pixel (not the border) of ring rows
    // whose blocks are BLOCK_STRIDE floats apart.
    void (*pointwise)(const struct fw_unit_weights *unit, const float *const rows[2], int width,
                      float *const out[2], size_t block_stride);
    // Two rows of the depthwise 3x3 convolution, from four ring rows (pointers at the left border),
    // to OUT, and the row of their 2x2 maxima to POOLED (WIDTH is even then). Either may be NULL.
    void (*depthwise)(const struct fw_unit_weights *unit, const float *const rows[4],
                      size_t block_stride, int width, float *const out[2], float *pooled);
    // 2x2 maximum of two rows of 2 * WIDTH pixels.
    void (*pool)(const float *row0, const float *row1, int channels, int width, float *out);
    // OUT = ROW + HALF with each of its pixels taken twice. HALF has (WIDTH + 1) / 2 pixels.
    void (*add_doubled)(const float *row, const float *half, int channels, int width, float *out);
    // The sigmoid of the first two of the 16 numbers of each cell.
    void (*probabilities)(float *rows, size_t cells);
    // SUMS (aligned) = the rows of SPAN, COUNT bytes each and STRIDE apart, times their weights.
    // Those of NEXT are summed next and may be fetched ahead.
    void (*accumulate)(const struct fw_span *span, const struct fw_span *next, const uint8_t *plane,
                       ptrdiff_t stride, size_t count, float *sums);
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
