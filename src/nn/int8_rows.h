// The row loops that compilers turn into vector code by themselves. Included by each file of int8
// kernels, so that each instruction set gets its own.
#ifndef FW_NN_INT8_ROWS_H
#define FW_NN_INT8_ROWS_H

#include "nn/kernels_int8.h"

static void widen(const uint8_t *restrict bytes, size_t count, int16_t *restrict words)
{
    for (size_t i = 0; i < count; i++) {
        words[i] = (int16_t)(bytes[i] << FW_INT8_STEM_SHIFT);
    }
}

static inline uint8_t larger_byte(uint8_t a, uint8_t b)
{
    return a > b ? a : b;
}

static void pool(const uint8_t *row0, const uint8_t *row1, int channels, int width,
                 int pooled_width, uint8_t *restrict out)
{
    for (int block = 0; block < channels / FW_INT8_BLOCK; block++) {
        const uint8_t *upper = row0 + (size_t)block * (size_t)width * FW_INT8_BLOCK;
        const uint8_t *lower = row1 + (size_t)block * (size_t)width * FW_INT8_BLOCK;
        for (int x = 0; x < pooled_width; x++) {
            for (int c = 0; c < FW_INT8_BLOCK; c++) {
                uint8_t left = larger_byte(upper[c], lower[c]);
                uint8_t right = larger_byte(upper[FW_INT8_BLOCK + c], lower[FW_INT8_BLOCK + c]);
                out[c] = larger_byte(left, right);
            }
            upper += 2 * FW_INT8_BLOCK;
            lower += 2 * FW_INT8_BLOCK;
            out += FW_INT8_BLOCK;
        }
    }
}

static void add_doubled(const uint8_t *row, const uint8_t *half, int channels, int width,
                        int half_width, uint8_t *restrict out)
{
    for (int block = 0; block < channels / FW_INT8_BLOCK; block++) {
        const uint8_t *coarse = half + (size_t)block * (size_t)half_width * FW_INT8_BLOCK;
        for (int x = 0; x < width; x++) {
            const uint8_t *from = coarse + (x / 2) * FW_INT8_BLOCK;
            for (int c = 0; c < FW_INT8_BLOCK; c++) {
                // Written so that no step needs more than a byte.
                uint8_t room = (uint8_t)(255 - row[c]);
                out[c] = (uint8_t)(row[c] + (from[c] < room ? from[c] : room));
            }
            row += FW_INT8_BLOCK;
            out += FW_INT8_BLOCK;
        }
    }
}

static void sum_rows(const uint8_t *rows, ptrdiff_t stride, int row_count, size_t count,
                     uint16_t *restrict sums)
{
    int y = 0;
    for (size_t i = 0; i < count; i++) {
        sums[i] = rows[i];
    }
    for (y = 1; y + 1 < row_count; y += 2) {
        const uint8_t *first = rows + y * stride, *second = first + stride;
        for (size_t i = 0; i < count; i++) {
            sums[i] = (uint16_t)(sums[i] + first[i] + second[i]);
        }
    }
    for (; y < row_count; y++) {
        const uint8_t *row = rows + y * stride;
        for (size_t i = 0; i < count; i++) {
            sums[i] = (uint16_t)(sums[i] + row[i]);
        }
    }
}

// FACTOR and CHANNELS are constants where it matters, so that the loops unroll.
static inline void average_evenly(const uint16_t *restrict sums, const int factor,
                                  const int channels, int width, uint16_t *restrict means)
{
    uint32_t area = (uint32_t)(factor * factor);
    uint32_t reciprocal = ((1u << 22) + area / 2) / area;
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            uint32_t sum = 0;
            for (int i = 0; i < factor; i++) {
                sum += sums[(x * factor + i) * channels + c];
            }
            // At most 255 << 22, which with the rounding of the reciprocal stays below 2^32.
            means[x * channels + c] = (uint16_t)((sum * reciprocal + (1u << 15)) >> 16);
        }
    }
}

static void average(const uint16_t *sums, int factor, int channels, int width, uint16_t *means)
{
    switch (channels * 100 + factor) {
    case 101:
        average_evenly(sums, 1, 1, width, means);
        break;
    case 102:
        average_evenly(sums, 2, 1, width, means);
        break;
    case 103:
        average_evenly(sums, 3, 1, width, means);
        break;
    case 104:
        average_evenly(sums, 4, 1, width, means);
        break;
    case 106:
        average_evenly(sums, 6, 1, width, means);
        break;
    case 203:
        average_evenly(sums, 3, 2, width, means);
        break;
    default:
        average_evenly(sums, factor, channels, width, means);
        break;
    }
}

static inline uint8_t color_byte(int32_t value)
{
    value >>= FW_INT8_COLOR_SHIFT + FW_INT8_MEAN_SHIFT;
    value = value > 0 ? value : 0;
    return (uint8_t)(value < 255 ? value : 255);
}

static inline void convert_pixels(const struct fw_int8_colors *colors,
                                  const uint16_t *restrict luma, const uint16_t *u,
                                  const uint16_t *v, const int chroma_step, int width,
                                  uint8_t *restrict pixels)
{
    const struct fw_int8_colors k = *colors;
    const int32_t half = 1 << (FW_INT8_COLOR_SHIFT + FW_INT8_MEAN_SHIFT - 1);
    const int32_t black = half - (k.luma_offset << FW_INT8_MEAN_SHIFT) * k.luma_gain;
    for (int x = 0; x < width; x++) {
        int32_t grey = luma[x] * k.luma_gain + black;
        int32_t blue = u[x * chroma_step] - (128 << FW_INT8_MEAN_SHIFT);
        int32_t red = v[x * chroma_step] - (128 << FW_INT8_MEAN_SHIFT);
        pixels[x * 3] = color_byte(grey + k.blue_u * blue);
        pixels[x * 3 + 1] = color_byte(grey - k.green_u * blue - k.green_v * red);
        pixels[x * 3 + 2] = color_byte(grey + k.red_v * red);
    }
}

static void convert(const struct fw_int8_colors *colors, const uint16_t *luma, const uint16_t *u,
                    const uint16_t *v, int chroma_step, int width, uint8_t *pixels)
{
    if (chroma_step == 2) {
        convert_pixels(colors, luma, u, v, 2, width, pixels);
    } else {
        convert_pixels(colors, luma, u, v, 1, width, pixels);
    }
}

#endif
