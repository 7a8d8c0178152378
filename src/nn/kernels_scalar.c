// The inner loops in plain C: the reference for the vector versions, and what runs on processors
// that have none of their instruction sets.
#include "nn/kernels.h"
#include "nn/picture_rows.h"

enum { MAX_TILE = 64, PIXEL = 3 };

static float relu_of(float value)
{
    return value > 0 ? value : 0;
}

static void stem(const float *const rows[3], const float *weights, const float *bias, int channels,
                 int width, float *out)
{
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            float sum = bias[c];
            for (int k = 0; k < 27; k++) {
                sum += weights[k * channels + c] * rows[k / 9][2 * x * PIXEL + k % 9];
            }
            out[x * channels + c] = relu_of(sum);
        }
    }
}

static void pointwise_tile(const float *pixel, int in_channels, const float *weights, int outputs,
                           float *sums)
{
    for (int k = 0; k < in_channels; k++) {
        for (int c = 0; c < outputs; c++) {
            sums[c] += weights[k * outputs + c] * pixel[k];
        }
    }
}

static void pointwise(const struct fw_unit_weights *unit, const float *row, int width, float *out,
                      size_t block_stride)
{
    const float *weights = unit->pointwise;
    int outputs;
    for (int first = 0; first < unit->out_channels; first += outputs) {
        outputs = FW_TILE_CHANNELS(unit->out_channels - first);
        for (int x = 0; x < width; x++) {
            float sums[MAX_TILE];
            for (int c = 0; c < outputs; c++) {
                sums[c] = unit->pointwise_bias[first + c];
            }
            pointwise_tile(row + (size_t)x * (size_t)unit->in_channels, unit->in_channels, weights,
                           outputs, sums);
            for (int c = 0; c < outputs; c++) {
                size_t block = (size_t)(first + c) / FW_BLOCK;
                out[block * block_stride + (size_t)x * FW_BLOCK + (size_t)c % FW_BLOCK] = sums[c];
            }
        }
        weights += (size_t)unit->in_channels * (size_t)outputs;
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

static void depthwise(const struct fw_unit_weights *unit, const float *const rows[4],
                      size_t block_stride, int width, float *out0, float *out1)
{
    int channels = unit->out_channels;
    for (int c = 0; c < channels; c++) {
        size_t block = (size_t)(c / FW_BLOCK) * block_stride + (size_t)(c % FW_BLOCK);
        for (int x = 0; x < width; x++) {
            size_t offset = block + (size_t)x * FW_BLOCK;
            for (int i = 0; i < 2; i++) {
                float sum = depthwise_sum(rows + i, offset, unit->depthwise + c, channels,
                                          unit->depthwise_bias[c]);
                (i == 0 ? out0 : out1)[x * channels + c] = unit->relu ? relu_of(sum) : sum;
            }
        }
    }
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static void pool(const float *row0, const float *row1, int channels, int width, float *out)
{
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            int i = 2 * x * channels + c;
            out[x * channels + c] =
                larger(larger(row0[i], row0[i + channels]), larger(row1[i], row1[i + channels]));
        }
    }
}

static void add_doubled(const float *row, const float *half, int channels, int width, float *out)
{
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            out[x * channels + c] = row[x * channels + c] + half[(x / 2) * channels + c];
        }
    }
}

const struct fw_kernels fw_kernels_scalar = {
    .stem = stem,
    .pointwise = pointwise,
    .depthwise = depthwise,
    .pool = pool,
    .add_doubled = add_doubled,
    .accumulate = accumulate,
    .average = average,
    .convert = convert,
};
