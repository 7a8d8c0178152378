// The inner loops in plain C: the reference for the vector versions, and what runs on processors
// that have none of their instruction sets.
#include "nn/kernels.h"
#include "nn/picture_rows.h"
#include <math.h>

enum { PIXEL = 3 };

static float relu_of(float value)
{
    return value > 0 ? value : 0;
}

// Where channel C of pixel X lies in a row of WIDTH pixels.
static size_t at(int width, int x, int c)
{
    return ((size_t)(c / FW_BLOCK) * (size_t)width + (size_t)x) * FW_BLOCK + (size_t)(c % FW_BLOCK);
}

static void stem(const float *const rows[5], const float *weights, const float *bias, int channels,
                 int width, float *out)
{
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            float sum = bias[c];
            for (int k = 0; k < 27; k++) {
                sum += weights[k * channels + c] * rows[k / 9][2 * x * PIXEL + k % 9];
            }
            out[at(width, x, c)] = relu_of(sum);
        }
    }
}

static float pointwise_sum(const struct fw_unit_weights *unit, const float *row, int width, int x,
                           int c)
{
    const float *weights = unit->pointwise +
                           (size_t)(c / FW_BLOCK) * (size_t)unit->in_channels * FW_BLOCK +
                           c % FW_BLOCK;
    float sum = unit->pointwise_bias[c];
    for (int k = 0; k < unit->in_channels; k++) {
        sum += weights[k * FW_BLOCK] * row[at(width, x, k)];
    }
    return sum;
}

static void pointwise(const struct fw_unit_weights *unit, const float *const rows[2], int width,
                      float *const out[2], size_t block_stride)
{
    for (int y = 0; y < 2; y++) {
        for (int c = 0; c < unit->out_channels; c++) {
            float *to = out[y] + (size_t)(c / FW_BLOCK) * block_stride + c % FW_BLOCK;
            for (int x = 0; x < width; x++) {
                to[x * FW_BLOCK] = pointwise_sum(unit, rows[y], width, x, c);
            }
        }
    }
}

static float depthwise_sum(const float *const rows[3], size_t offset, const float *weights,
                           int channels, float sum)
{
    for (int k = 0; k < 9; k++) {
        sum += weights[k * channels] * rows[k / 3][offset + (size_t)(k % 3) * FW_BLOCK];
    }
    return sum;
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static void depthwise(const struct fw_unit_weights *unit, const float *const rows[4],
                      size_t block_stride, int width, float *const out[2], float *pooled)
{
    int channels = unit->out_channels;
    for (int c = 0; c < channels; c++) {
        size_t block = (size_t)(c / FW_BLOCK) * block_stride + (size_t)(c % FW_BLOCK);
        for (int x = 0; x < width; x++) {
            size_t offset = block + (size_t)x * FW_BLOCK;
            for (int i = 0; i < 2; i++) {
                float sum = depthwise_sum(rows + i, offset, unit->depthwise + c, channels,
                                          unit->depthwise_bias[c]);
                sum = unit->relu ? relu_of(sum) : sum;
                if (out[i] != NULL) {
                    out[i][at(width, x, c)] = sum;
                }
                if (pooled != NULL) {
                    float *to = pooled + at(width / 2, x / 2, c);
                    *to = x % 2 == 0 && i == 0 ? sum : larger(*to, sum);
                }
            }
        }
    }
}

static void pool(const float *row0, const float *row1, int channels, int width, float *out)
{
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            size_t left = at(2 * width, 2 * x, c), right = left + FW_BLOCK;
            out[at(width, x, c)] =
                larger(larger(row0[left], row0[right]), larger(row1[left], row1[right]));
        }
    }
}

static void add_doubled(const float *row, const float *half, int channels, int width, float *out)
{
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            size_t i = at(width, x, c);
            out[i] = row[i] + half[at((width + 1) / 2, x / 2, c)];
        }
    }
}

static float sigmoid(float value)
{
    return 1.0f / (1.0f + expf(-value));
}

static void probabilities(float *rows, size_t cells)
{
    for (size_t i = 0; i < cells; i++) {
        rows[i * FW_BLOCK] = sigmoid(rows[i * FW_BLOCK]);
        rows[i * FW_BLOCK + 1] = sigmoid(rows[i * FW_BLOCK + 1]);
    }
}

static void accumulate(const struct fw_span *span, const struct fw_span *next, const uint8_t *plane,
                       ptrdiff_t stride, size_t count, float *sums)
{
    (void)next;
    accumulate_columns(span, plane, stride, 0, count, sums);
}

const struct fw_kernels fw_kernels_scalar = {
    .stem = stem,
    .pointwise = pointwise,
    .depthwise = depthwise,
    .pool = pool,
    .add_doubled = add_doubled,
    .probabilities = probabilities,
    .accumulate = accumulate,
    .average = average,
    .convert = convert,
};
