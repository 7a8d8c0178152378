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

#endif
