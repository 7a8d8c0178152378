// The row loops of scaling and colour conversion. Plain C that compilers vectorise by themselves;
// included by each kernels file, so that each instruction set gets its own.
#ifndef FW_NN_PICTURE_ROWS_H
#define FW_NN_PICTURE_ROWS_H

#include "nn/kernels.h"
#include <string.h>

// The weight of pixel I of SPAN.
static inline float span_weight(const struct fw_span *span, int i)
{
    if (i == 0 || span->count <= 3) {
        return span->weights[i];
    }
    return span->weights[i == span->count - 1 ? 2 : 1];
}

// Columns FROM to COUNT - 1 of fw_kernels.accumulate().
static void accumulate_columns(const struct fw_span *span, const uint8_t *plane, ptrdiff_t stride,
                               size_t from, size_t count, float *restrict sums)
{
    memset(sums + from, 0, (count - from) * sizeof(float));
    for (int y = 0; y < span->count; y++) {
        const uint8_t *row = plane + (span->first + y) * stride;
        float weight = span_weight(span, y);
        for (size_t i = from; i < count; i++) {
            sums[i] += weight * (float)row[i];
        }
    }
}

// FACTOR and CHANNELS are constants where this is called, so that the loops unroll.
static inline void average_evenly(const float *restrict sums, int width, const int factor,
                                  const int channels, float *restrict row)
{
    float weight = 1.0f / (float)factor;
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            float sum = 0;
            for (int i = 0; i < factor; i++) {
                sum += sums[(x * factor + i) * channels + c];
            }
            row[x * channels + c] = sum * weight;
        }
    }
}

// The same for six, as three and then two, which compilers know how to vectorise.
static inline void average_six(const float *restrict sums, int width, float *restrict row)
{
    enum { CHUNK = 64 };
    float triples[2 * CHUNK];
    for (int x = 0; x < width; x += CHUNK) {
        int count = width - x < CHUNK ? width - x : CHUNK;
        average_evenly(sums + (ptrdiff_t)x * 6, 2 * count, 3, 1, triples);
        average_evenly(triples, count, 2, 1, row + x);
    }
}

// Two target pixels from three source pixels: how 1080p's chroma comes to a width of 640.
static inline void average_three_halves(const float *restrict sums, int width, const int channels,
                                        float *restrict row)
{
    for (int x = 0; x < width / 2; x++) {
        for (int c = 0; c < channels; c++) {
            const float *from = sums + x * 3 * channels + c;
            float middle = from[channels] * (1.0f / 3);
            row[2 * x * channels + c] = from[0] * (2.0f / 3) + middle;
            row[(2 * x + 1) * channels + c] = middle + from[2 * channels] * (2.0f / 3);
        }
    }
}

// Three source pixels for every target pixel, needed or not: no inner loop.
static inline void average_few(const struct fw_columns *columns, const int channels,
                               const float *restrict sums, float *restrict row)
{
    for (int x = 0; x < columns->width; x++) {
        const struct fw_span *span = &columns->spans[x];
        const float *first = sums + span->first * channels;
        for (int c = 0; c < channels; c++) {
            row[x * channels + c] = first[c] * span->weights[0] +
                                    first[channels + c] * span->weights[1] +
                                    first[2 * channels + c] * span->weights[2];
        }
    }
}

static inline void average_many(const struct fw_columns *columns, const int channels,
                                const float *restrict sums, float *restrict row)
{
    for (int x = 0; x < columns->width; x++) {
        const struct fw_span *span = &columns->spans[x];
        const float *first = sums + span->first * channels;
        int last = span->count - 1;
        for (int c = 0; c < channels; c++) {
            float sum = 0;
            for (int i = 1; i < last; i++) {
                sum += first[i * channels + c];
            }
            row[x * channels + c] = first[c] * span->weights[0] + sum * span->weights[1] +
                                    first[last * channels + c] * span->weights[2];
        }
    }
}

static inline void average_channels(const struct fw_columns *columns, const int channels,
                                    const float *restrict sums, float *restrict row)
{
    int width = columns->width;
    switch (columns->factor) {
    case FW_THREE_HALVES:
        average_three_halves(sums, width, channels, row);
        break;
    case 1:
        memcpy(row, sums, (size_t)width * (size_t)channels * sizeof(float));
        break;
    case 2:
        average_evenly(sums, width, 2, channels, row);
        break;
    case 3:
        average_evenly(sums, width, 3, channels, row);
        break;
    case 4:
        average_evenly(sums, width, 4, channels, row);
        break;
    case 6:
        if (channels == 1) {
            average_six(sums, width, row);
        } else {
            average_evenly(sums, width, 6, channels, row);
        }
        break;
    default:
        if (columns->longest <= 3) {
            average_few(columns, channels, sums, row);
        } else {
            average_many(columns, channels, sums, row);
        }
        break;
    }
}

static void average(const struct fw_columns *columns, const float *sums, float *row)
{
    switch (columns->channels) {
    case 1:
        average_channels(columns, 1, sums, row);
        break;
    case 2:
        average_channels(columns, 2, sums, row);
        break;
    default:
        average_channels(columns, 3, sums, row);
        break;
    }
}

static inline float clamp_color(float value)
{
    value = value > 0 ? value : 0;
    return value < 255 ? value : 255;
}

static inline void convert_pixels(const struct fw_color_rule *rule, const float *restrict luma,
                                  const float *u, const float *v, const int chroma_step, int width,
                                  float *restrict pixels)
{
    const struct fw_color_rule r = *rule;
    for (int x = 0; x < width; x++) {
        float grey = (luma[x] - r.luma_offset) * r.luma_gain;
        float blue = u[x * chroma_step] - 128, red = v[x * chroma_step] - 128;
        pixels[x * 3] = clamp_color(grey + r.blue_u * blue);
        pixels[x * 3 + 1] = clamp_color(grey - r.green_u * blue - r.green_v * red);
        pixels[x * 3 + 2] = clamp_color(grey + r.red_v * red);
    }
}

static void convert(const struct fw_color_rule *rule, const float *luma, const float *u,
                    const float *v, int chroma_step, int width, float *pixels)
{
    if (chroma_step == 2) {
        convert_pixels(rule, luma, u, v, 2, width, pixels);
    } else {
        convert_pixels(rule, luma, u, v, 1, width, pixels);
    }
}

#endif
