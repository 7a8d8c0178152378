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

static void sum_rows(const uint8_t *rows, ptrdiff_t stride, int row_count, const uint8_t *half_row,
                     size_t count, uint16_t *restrict sums)
{
    int y = row_count % 2;
    for (size_t i = 0; i < count; i++) {
        sums[i] = y == 0 ? 0 : rows[i];
    }
    for (; y < row_count; y += 2) {
        const uint8_t *first = rows + y * stride, *second = first + stride;
        for (size_t i = 0; i < count; i++) {
            sums[i] = (uint16_t)(sums[i] + first[i] + second[i]);
        }
    }
    for (size_t i = 0; half_row != NULL && i < count; i++) {
        sums[i] = (uint16_t)(2 * sums[i] + half_row[i]);
    }
}

// What the means are multiplied by: at most 255 << 22 comes out, which with the rounding of the
// reciprocal stays below 2^32.
static inline uint32_t reciprocal_of(int area)
{
    return ((1u << (16 + FW_INT8_MEAN_SHIFT)) + (uint32_t)area / 2) / (uint32_t)area;
}

static inline uint16_t mean_of(uint32_t sum, uint32_t reciprocal)
{
    return (uint16_t)((sum * reciprocal + (1u << 15)) >> 16);
}

// FACTOR and CHANNELS are constants where it matters, so that the loops unroll.
static inline void average_whole(const uint16_t *restrict sums, const int factor,
                                 const int channels, int width, uint16_t *restrict means)
{
    uint32_t reciprocal = reciprocal_of(factor * factor);
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            uint32_t sum = 0;
            for (int i = 0; i < factor; i++) {
                sum += sums[(x * factor + i) * channels + c];
            }
            means[x * channels + c] = mean_of(sum, reciprocal);
        }
    }
}

// Two target pixels from HALVES source pixels.
static inline void average_odd(const uint16_t *restrict sums, const int halves, const int channels,
                               int width, uint16_t *restrict means)
{
    uint32_t reciprocal = reciprocal_of(halves * halves);
    for (int x = 0; x < width; x += 2) {
        for (int c = 0; c < channels; c++) {
            uint32_t left = 0, right = 0, middle = sums[halves / 2 * channels + c];
            for (int i = 0; i < halves / 2; i++) {
                left += sums[i * channels + c];
                right += sums[(halves - 1 - i) * channels + c];
            }
            means[c] = mean_of(2 * left + middle, reciprocal);
            if (x + 1 < width) {
                means[channels + c] = mean_of(2 * right + middle, reciprocal);
            }
        }
        sums += halves * channels;
        means += 2 * channels;
    }
}

static void average(const uint16_t *sums, int halves, int channels, int width, uint16_t *means)
{
    switch (halves * 10 + channels) {
    case 21:
        average_whole(sums, 1, 1, width, means);
        break;
    case 41:
        average_whole(sums, 2, 1, width, means);
        break;
    case 61:
        average_whole(sums, 3, 1, width, means);
        break;
    case 81:
        average_whole(sums, 4, 1, width, means);
        break;
    case 121:
        average_whole(sums, 6, 1, width, means);
        break;
    case 31:
        average_odd(sums, 3, 1, width, means);
        break;
    default:
        if (halves % 2 == 0) {
            average_whole(sums, halves / 2, channels, width, means);
        } else {
            average_odd(sums, halves, channels, width, means);
        }
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
