// The inner loops of the quantised network, in whole numbers only: every instruction set gives the
// same bits as the plain C.
//
// Activations are bytes, 0 to 255, times a scale that each channel has of its own; weights of the
// pointwise step are signed bytes. What lies between the two steps of a unit has 16 bits, and so
// have the weights of the depthwise step and of the first layer. All sums have 32 bits; that they
// can't overflow is proven for each channel when the weights are packed (quant_model.c).
//
// Layouts. Channels are padded to a multiple of 16, widths to a multiple of 4 ("padded width"), so
// that no loop has a remainder. What the padding pixels hold is undefined and never shows.
// - A "byte row" is [channels / 16][padded width][16].
// - A "pair" is two rows between the steps of a unit, interleaved: [channels / 16][padded width +
//   2][16][2]. Pixel 0 and the one after the last are zero. A dot product of 16-bit pairs then
//   takes two taps of the depthwise step at a time.
// Loops that read two pixels for one may read up to FW_INT8_SLACK_BYTES behind a buffer's end.
#ifndef FW_NN_KERNELS_INT8_H
#define FW_NN_KERNELS_INT8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FW_INT8_BLOCK = 16,
    FW_INT8_GROUP = 4,  // inputs of the pointwise step that one 32-bit sum takes at a time
    FW_INT8_PIXELS = 4, // widths are padded to this
    FW_INT8_SLACK_BYTES = 1024,
    FW_INT8_MAX_HALVES = 16, // 16 x 16 bytes fit an unsigned word
    FW_INT8_MEAN_SHIFT = 6,
    FW_INT8_COLOR_SHIFT = 14,
    FW_INT8_STEM_SHIFT = 3,    // a colour in a row of words is its byte shifted left by this
    FW_INT8_OUTPUT_SHIFT = 16, // sums are shifted right by this to become bytes
    FW_INT8_STEM_PAIRS = 5,    // pairs of words for the nine values of a row under the first layer
};

// Constants of the first layer.
struct fw_int8_stem {
    int channels;     // padded
    int16_t *weights; // [channels / 16][3 rows][FW_INT8_STEM_PAIRS][16][2]
    int32_t *bias;    // [channels], with half of what the shift cuts off
};

// Which two rows of a pair a vector of depthwise weights belongs to: the upper target row takes
// the lower row of the pair above and both of its own, the other one likewise.
enum { FW_INT8_ABOVE, FW_INT8_UPPER, FW_INT8_LOWER, FW_INT8_BELOW, FW_INT8_KINDS };

// Constants of one unit.
struct fw_int8_unit {
    int in_channels, out_channels; // padded
    // [in / 4][out][4]. Neighbours (0 and 1, 2 and 3 of the four) are at most 128 together, so that
    // two products of bytes fit 16 signed bits.
    int8_t *pointwise;
    int32_t *pointwise_bias; // [out], with half of what the shift cuts off
    int32_t *signed_bias;    // [out], the same for inputs of which 128 is taken off
    int32_t *shift;          // [out], by how much sums are shifted right to fit 16 bits: 0 to 16
    int32_t *complement;     // [out], 16 - shift
    int16_t *depthwise;      // [out / 16][FW_INT8_KINDS][3 columns][16][2]
    int32_t *depthwise_bias; // [out], for bytes with half of what the shift cuts off
    float *scale;            // [out] for a head, whose results are floats; else NULL
};

// How luma and chroma become colours; factors times 1 << FW_INT8_COLOR_SHIFT.
struct fw_int8_colors {
    int32_t luma_offset, luma_gain;
    int32_t red_v, green_u, green_v, blue_u;
};

// Strides between blocks of channels are in elements. WIDTH is padded everywhere.
struct fw_int8_kernels {
    const char *name;
    // COUNT bytes to words.
    void (*widen)(const uint8_t *bytes, size_t count, int16_t *words);
    // 3x3 with stride 2 and ReLU of three rows of BGR words. ROWS point at the pixel left of the
    // first one.
    void (*stem)(const struct fw_int8_stem *stem, const int16_t *const rows[3], int width,
                 uint8_t *out);
    // Two rows at once into the pair OUT (its border's begin). With HAS_SECOND false ROW1 is not
    // used, and the lower row of the pair becomes zero. Clears the border's end, after
    // VALID_WIDTH pixels.
    void (*pointwise)(const struct fw_int8_unit *unit, const uint8_t *row0, const uint8_t *row1,
                      bool has_second, int width, int valid_width, int16_t *out);
    // Two rows of the depthwise step with ReLU, from the pair above, their own and the one below.
    void (*depthwise)(const struct fw_int8_unit *unit, const int16_t *const pairs[3], int width,
                      uint8_t *out0, uint8_t *out1);
    // The same two rows and 2x2 maximum: one row of POOLED_WIDTH.
    void (*depthwise_pool)(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                           int width, int pooled_width, uint8_t *out);
    // The same for a head: [width][16] floats a row.
    void (*depthwise_head)(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                           int width, float *out0, float *out1);
    // 2x2 maximum of two rows of WIDTH.
    void (*pool)(const uint8_t *row0, const uint8_t *row1, int channels, int width,
                 int pooled_width, uint8_t *out);
    // OUT = ROW + HALF with each of its pixels taken twice, at most 255.
    void (*add_doubled)(const uint8_t *row, const uint8_t *half, int channels, int width,
                        int half_width, uint8_t *out);
    // Sums of ROW_COUNT rows (maybe none) of COUNT bytes. With HALF_ROW: twice that, and HALF_ROW.
    void (*sum_rows)(const uint8_t *rows, ptrdiff_t stride, int row_count, const uint8_t *half_row,
                     size_t count, uint16_t *sums);
    // Means of squares, times 1 << FW_INT8_MEAN_SHIFT, from the sums of their rows. HALVES is a
    // square's side in half pixels, at most FW_INT8_MAX_HALVES. When it is odd, every second target
    // pixel begins with half a source pixel and every other one ends so; those count once, whole
    // ones twice.
    void (*average)(const uint16_t *sums, int halves, int channels, int width, uint16_t *means);
    // Such means to interleaved BGR. U and V advance by CHROMA_STEP (2: interleaved).
    void (*convert)(const struct fw_int8_colors *colors, const uint16_t *luma, const uint16_t *u,
                    const uint16_t *v, int chroma_step, int width, uint8_t *pixels);
};

extern const struct fw_int8_kernels fw_int8_scalar;
extern const struct fw_int8_kernels fw_int8_avx2;
extern const struct fw_int8_kernels fw_int8_avxvnni;
extern const struct fw_int8_kernels fw_int8_avx512vnni;
extern const struct fw_int8_kernels fw_int8_neon;
extern const struct fw_int8_kernels fw_int8_neondot;

#endif
