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

// SUMS of a block, whose channels compilers take together where they can: everything below goes
// through one block of one pixel at a time.
static void add_product(float *restrict sums, const float *restrict weights, float input)
{
    for (int c = 0; c < FW_BLOCK; c++) {
        sums[c] += weights[c] * input;
    }
}

static void add_products(float *restrict sums, const float *restrict weights,
                         const float *restrict inputs)
{
    for (int c = 0; c < FW_BLOCK; c++) {
        sums[c] += weights[c] * inputs[c];
    }
}

static void rectify(float *sums)
{
    for (int c = 0; c < FW_BLOCK; c++) {
        sums[c] = relu_of(sums[c]);
    }
}

static void stem(const float *const rows[5], const float *weights, const float *bias, int channels,
                 int width, float *out)
{
    for (int c = 0; c < channels; c += FW_BLOCK) {
        for (int x = 0; x < width; x++) {
            float *sums = out + at(width, x, c);
            memcpy(sums, bias + c, FW_BLOCK * sizeof(float));
            for (int k = 0; k < 27; k++) {
                add_product(sums, weights + k * channels + c, rows[k / 9][2 * x * PIXEL + k % 9]);
            }
            rectify(sums);
        }
    }
}

static void pointwise(const struct fw_unit_weights *unit, const float *const rows[2], int width,
                      float *const out[2], size_t block_stride)
{
    for (int c = 0; c < unit->out_channels; c += FW_BLOCK) {
        const float *weights = unit->pointwise + (size_t)c * (size_t)unit->in_channels;
        for (int i = 0; i < 2 * width; i++) {
            int y = i / width, x = i % width;
            float *sums = out[y] + (size_t)(c / FW_BLOCK) * block_stride + x * FW_BLOCK;
            memcpy(sums, unit->pointwise_bias + c, FW_BLOCK * sizeof(float));
            for (int k = 0; k < unit->in_channels; k++) {
                add_product(sums, weights + k * FW_BLOCK, rows[y][at(width, x, k)]);
            }
        }
    }
}

// Channels C to C + 15 of one output pixel, of which ROWS and X are the upper left corner.
static void depthwise_pixel(const struct fw_unit_weights *unit, const float *const rows[3],
                            size_t block_stride, int x, int c, float *sums)
{
    size_t corner = (size_t)(c / FW_BLOCK) * block_stride + (size_t)x * FW_BLOCK;
    memcpy(sums, unit->depthwise_bias + c, FW_BLOCK * sizeof(float));
    for (int k = 0; k < 9; k++) {
        add_products(sums, unit->depthwise + k * unit->out_channels + c,
                     rows[k / 3] + corner + (size_t)(k % 3) * FW_BLOCK);
    }
    if (unit->relu) {
        rectify(sums);
    }
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

static void depthwise(const struct fw_unit_weights *unit, const float *const rows[4],
                      size_t block_stride, int width, float *const out[2], float *pooled)
{
    for (int c = 0; c < unit->out_channels; c += FW_BLOCK) {
        for (int i = 0; i < 2 * width; i++) {
            int y = i % 2, x = i / 2;
            float sums[FW_BLOCK];
            depthwise_pixel(unit, rows + y, block_stride, x, c, sums);
            if (out[y] != NULL) {
                memcpy(out[y] + at(width, x, c), sums, sizeof(sums));
            }
            float *best = pooled == NULL ? NULL : pooled + at(width / 2, x / 2, c);
            for (int k = 0; best != NULL && k < FW_BLOCK; k++) {
                best[k] = i % 4 == 0 ? sums[k] : larger(best[k], sums[k]);
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
