// The quantised network's inner loops in plain C: the reference for the vector versions, and what
// runs on processors that have none of their instruction sets.
#include "nn/int8_rows.h"
#include "nn/kernels_int8.h"

static uint8_t to_byte(int32_t sum)
{
    int32_t value = sum >> FW_INT8_OUTPUT_SHIFT;
    value = value > 0 ? value : 0;
    return (uint8_t)(value < 255 ? value : 255);
}

static int32_t stem_sum(const struct fw_int8_stem *stem, const int16_t *const rows[3], int x, int c)
{
    int block = c / FW_INT8_BLOCK, channel = c % FW_INT8_BLOCK;
    int32_t sum = stem->bias[c];
    for (int k = 0; k < 3 * FW_INT8_STEM_PAIRS; k++) {
        const int16_t *weights =
            stem->weights + ((block * 3 * FW_INT8_STEM_PAIRS + k) * FW_INT8_BLOCK + channel) * 2;
        const int16_t *words = rows[k / FW_INT8_STEM_PAIRS] + 6 * x + k % FW_INT8_STEM_PAIRS * 2;
        sum += weights[0] * words[0] + weights[1] * words[1];
    }
    return sum;
}

static void stem(const struct fw_int8_stem *stem, const int16_t *const rows[3], int width,
                 uint8_t *out)
{
    for (int c = 0; c < stem->channels; c++) {
        uint8_t *block = out + c / FW_INT8_BLOCK * width * FW_INT8_BLOCK + c % FW_INT8_BLOCK;
        for (int x = 0; x < width; x++) {
            block[x * FW_INT8_BLOCK] = to_byte(stem_sum(stem, rows, x, c));
        }
    }
}

static int16_t pointwise_sum(const struct fw_int8_unit *unit, const uint8_t *row, int width, int x,
                             int c)
{
    int32_t sum = unit->pointwise_bias[c];
    const uint8_t *bytes = row + (ptrdiff_t)x * FW_INT8_BLOCK;
    const int8_t *weights = unit->pointwise + (ptrdiff_t)c * FW_INT8_GROUP;
    for (int block = 0; block < unit->in_channels / FW_INT8_BLOCK; block++) {
        for (int k = 0; k < FW_INT8_BLOCK; k += FW_INT8_GROUP) {
            sum += bytes[k] * weights[0] + bytes[k + 1] * weights[1] + bytes[k + 2] * weights[2] +
                   bytes[k + 3] * weights[3];
            weights += (ptrdiff_t)unit->out_channels * FW_INT8_GROUP;
        }
        bytes += (ptrdiff_t)width * FW_INT8_BLOCK;
    }
    return (int16_t)(sum >> unit->shift[c]);
}

static void pointwise(const struct fw_int8_unit *unit, const uint8_t *row0, const uint8_t *row1,
                      bool has_second, int width, int valid_width, int16_t *out)
{
    for (int c = 0; c < unit->out_channels; c++) {
        int16_t *block = out + c / FW_INT8_BLOCK * (width + 2) * FW_INT8_BLOCK * 2;
        int16_t *pair = block + (FW_INT8_BLOCK + c % FW_INT8_BLOCK) * 2;
        for (int x = 0; x < valid_width; x++) {
            pair[0] = pointwise_sum(unit, row0, width, x, c);
            pair[1] = has_second ? pointwise_sum(unit, row1, width, x, c) : (int16_t)0;
            pair += FW_INT8_BLOCK * 2;
        }
        pair[0] = 0;
        pair[1] = 0;
    }
}

// The sums of the upper and the lower target row.
static void depthwise_sums(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                           int width, int x, int c, int32_t sums[2])
{
    int block = c / FW_INT8_BLOCK, channel = c % FW_INT8_BLOCK;
    const int16_t *weights =
        unit->depthwise + (block * FW_INT8_KINDS * 3 * FW_INT8_BLOCK + channel) * 2;
    sums[0] = unit->depthwise_bias[c];
    sums[1] = unit->depthwise_bias[c];
    for (int kind = 0; kind < FW_INT8_KINDS; kind++) {
        const int16_t *row = pairs[(kind + 1) / 2];
        for (int k = 0; k < 3; k++) {
            const int16_t *pair =
                row + ((block * (width + 2) + x + k) * FW_INT8_BLOCK + channel) * 2;
            const int16_t *w = weights + (kind * 3 + k) * FW_INT8_BLOCK * 2;
            sums[kind / 2] += w[0] * pair[0] + w[1] * pair[1];
        }
    }
}

static void depthwise(const struct fw_int8_unit *unit, const int16_t *const pairs[3], int width,
                      uint8_t *out0, uint8_t *out1)
{
    for (int c = 0; c < unit->out_channels; c++) {
        int first = c / FW_INT8_BLOCK * width * FW_INT8_BLOCK + c % FW_INT8_BLOCK;
        for (int x = 0; x < width; x++) {
            int32_t sums[2];
            depthwise_sums(unit, pairs, width, x, c, sums);
            out0[first + x * FW_INT8_BLOCK] = to_byte(sums[0]);
            out1[first + x * FW_INT8_BLOCK] = to_byte(sums[1]);
        }
    }
}

static void depthwise_pool(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                           int width, int pooled_width, uint8_t *out)
{
    for (int c = 0; c < unit->out_channels; c++) {
        int first = c / FW_INT8_BLOCK * pooled_width * FW_INT8_BLOCK + c % FW_INT8_BLOCK;
        for (int x = 0; x < width / 2; x++) {
            int32_t left[2], right[2];
            depthwise_sums(unit, pairs, width, 2 * x, c, left);
            depthwise_sums(unit, pairs, width, 2 * x + 1, c, right);
            out[first + x * FW_INT8_BLOCK] =
                larger_byte(larger_byte(to_byte(left[0]), to_byte(left[1])),
                            larger_byte(to_byte(right[0]), to_byte(right[1])));
        }
    }
}

static void depthwise_head(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                           int width, float *out0, float *out1)
{
    for (int c = 0; c < unit->out_channels; c++) {
        for (int x = 0; x < width; x++) {
            int32_t sums[2];
            depthwise_sums(unit, pairs, width, x, c, sums);
            out0[x * FW_INT8_BLOCK + c] = (float)sums[0] * unit->scale[c];
            out1[x * FW_INT8_BLOCK + c] = (float)sums[1] * unit->scale[c];
        }
    }
}

const struct fw_int8_kernels fw_int8_scalar = {
    .name = "scalar",
    .widen = widen,
    .stem = stem,
    .pointwise = pointwise,
    .depthwise = depthwise,
    .depthwise_pool = depthwise_pool,
    .depthwise_head = depthwise_head,
    .pool = pool,
    .add_doubled = add_doubled,
    .sum_rows = sum_rows,
    .average = average,
    .convert = convert,
};
