// The quantised network's inner loops for 64-bit Arm, compiled twice (see meson.build): with the
// dot products of Armv8.2, and without.
#include "nn/int8_rows.h"
#include "nn/kernels_int8.h"

#include <arm_neon.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(__ARM_FEATURE_DOTPROD)
#define KERNELS fw_int8_neondot
#define NAME    "neondot"
#else
#define KERNELS fw_int8_neon
#define NAME    "neon"
#endif

enum {
    LANES = 4,
    HALF = 8, // channels that the 16-bit steps work on at a time
    HALVES = FW_INT8_BLOCK / HALF,
    BLOCK_VECTORS = FW_INT8_BLOCK / LANES,
    PAIR = 2 * FW_INT8_BLOCK, // words of one pixel of one block of a pair
};

// The sums of half a block.
struct half {
    int32x4_t low, high;
};

INLINE struct half load_bias(const int32_t *bias)
{
    return (struct half){vld1q_s32(bias), vld1q_s32(bias + LANES)};
}

INLINE struct half add_words(struct half sum, int16x8_t words, int16x8_t weights)
{
    return (struct half){vmlal_s16(sum.low, vget_low_s16(words), vget_low_s16(weights)),
                         vmlal_high_s16(sum.high, words, weights)};
}

INLINE struct half larger(struct half a, struct half b)
{
    return (struct half){vmaxq_s32(a.low, b.low), vmaxq_s32(a.high, b.high)};
}

INLINE void store_bytes(uint8_t *to, struct half sum)
{
    int16x8_t words = vcombine_s16(vshrn_n_s32(sum.low, FW_INT8_OUTPUT_SHIFT),
                                   vshrn_n_s32(sum.high, FW_INT8_OUTPUT_SHIFT));
    vst1_u8(to, vqmovun_s16(words));
}

// ---- the first layer

INLINE void stem_pixels(const int16_t *const rows[3], int x, const int16_t *weights,
                        const int32_t *bias, uint8_t *out)
{
    struct half sums[FW_INT8_PIXELS];
    UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
    {
        sums[i] = load_bias(bias);
    }
    for (int k = 0; k < 3 * FW_INT8_STEM_PAIRS; k++) {
        const int16_t *words = rows[k / FW_INT8_STEM_PAIRS] + 6 * x + k % FW_INT8_STEM_PAIRS * 2;
        int16x8x2_t w = vld2q_s16(weights + k * PAIR);
        UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
        {
            sums[i] = add_words(sums[i], vdupq_n_s16(words[6 * i]), w.val[0]);
            sums[i] = add_words(sums[i], vdupq_n_s16(words[6 * i + 1]), w.val[1]);
        }
    }
    UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
    {
        store_bytes(out + i * FW_INT8_BLOCK, sums[i]);
    }
}

static void stem(const struct fw_int8_stem *stem, const int16_t *const rows[3], int width,
                 uint8_t *out)
{
    const int16_t *weights = stem->weights;
    for (int c = 0; c < stem->channels; c += FW_INT8_BLOCK) {
        for (int x = 0; x < width; x += FW_INT8_PIXELS) {
            for (int half = 0; half < HALVES; half++) {
                stem_pixels(rows, x, weights + (ptrdiff_t)half * HALF * 2,
                            stem->bias + c + half * HALF, out + half * HALF);
            }
            out += FW_INT8_PIXELS * FW_INT8_BLOCK;
        }
        weights += 3 * FW_INT8_STEM_PAIRS * PAIR;
    }
}

// ---- the pointwise step

// 16 inputs of a pixel as signed bytes: there is no product of an unsigned and a signed byte, so
// 128 is taken off here and given back by `signed_bias`.
INLINE int8x16_t load_signed(const uint8_t *from)
{
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from), vdupq_n_u8(128)));
}

#if defined(__ARM_FEATURE_DOTPROD)

// The sums of four output channels of one pixel.
struct sum {
    int32x4_t all;
};

INLINE struct sum start(const int32_t *bias)
{
    return (struct sum){vld1q_s32(bias)};
}

// Adds 16 inputs, a group of four after the other; weights of groups are STRIDE apart.
INLINE struct sum add_inputs(struct sum sum, int8x16_t inputs, const int8_t *weights,
                             ptrdiff_t stride)
{
    sum.all = vdotq_laneq_s32(sum.all, vld1q_s8(weights), inputs, 0);
    sum.all = vdotq_laneq_s32(sum.all, vld1q_s8(weights + stride), inputs, 1);
    sum.all = vdotq_laneq_s32(sum.all, vld1q_s8(weights + 2 * stride), inputs, 2);
    sum.all = vdotq_laneq_s32(sum.all, vld1q_s8(weights + 3 * stride), inputs, 3);
    return sum;
}

INLINE int32x4_t finish(struct sum sum)
{
    return sum.all;
}

#else

// The sums of four output channels of one pixel, each of them in two parts next to each other.
struct sum {
    int32x4_t low, high;
};

INLINE struct sum start(const int32_t *bias)
{
    int32x4_t all = vld1q_s32(bias), zero = vdupq_n_s32(0);
    return (struct sum){vzip1q_s32(all, zero), vzip2q_s32(all, zero)};
}

// Two groups of four inputs. Two products of signed bytes fit 16 bits.
INLINE struct sum add_groups(struct sum sum, int8x16_t first, int8x16_t second,
                             const int8_t *weights, ptrdiff_t stride)
{
    int8x16_t w0 = vld1q_s8(weights), w1 = vld1q_s8(weights + stride);
    int16x8_t low = vmull_s8(vget_low_s8(first), vget_low_s8(w0));
    int16x8_t high = vmull_high_s8(first, w0);
    low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(w1));
    high = vmlal_high_s8(high, second, w1);
    return (struct sum){vpadalq_s16(sum.low, low), vpadalq_s16(sum.high, high)};
}

// Adds 16 inputs, a group of four after the other; weights of groups are STRIDE apart.
INLINE struct sum add_inputs(struct sum sum, int8x16_t inputs, const int8_t *weights,
                             ptrdiff_t stride)
{
    int32x4_t groups = vreinterpretq_s32_s8(inputs);
    sum = add_groups(sum, vreinterpretq_s8_s32(vdupq_laneq_s32(groups, 0)),
                     vreinterpretq_s8_s32(vdupq_laneq_s32(groups, 1)), weights, stride);
    return add_groups(sum, vreinterpretq_s8_s32(vdupq_laneq_s32(groups, 2)),
                      vreinterpretq_s8_s32(vdupq_laneq_s32(groups, 3)), weights + 2 * stride,
                      stride);
}

INLINE int32x4_t finish(struct sum sum)
{
    return vpaddq_s32(sum.low, sum.high);
}

#endif

// Two rows of inputs, and where in the output's channels a pass stands.
struct pointwise_pass {
    const struct fw_int8_unit *unit;
    const uint8_t *rows[2];
    int width, channel;
    int32x4_t complement_limit; // makes the second row vanish where there is none
    int16_t *out;
};

// PIXELS pixels of both rows, one block of outputs.
INLINE void pointwise_pixels(const struct pointwise_pass *pass, int x, const int pixels)
{
    const struct fw_int8_unit *unit = pass->unit;
    struct sum upper[2][BLOCK_VECTORS], lower[2][BLOCK_VECTORS];
    UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
    {
        UNROLL for (int i = 0; i < pixels; i++)
        {
            upper[i][n] = start(unit->signed_bias + pass->channel + n * LANES);
            lower[i][n] = upper[i][n];
        }
    }
    const int8_t *weights = unit->pointwise + (ptrdiff_t)pass->channel * FW_INT8_GROUP;
    ptrdiff_t stride = (ptrdiff_t)unit->out_channels * FW_INT8_GROUP;
    ptrdiff_t offset = (ptrdiff_t)x * FW_INT8_BLOCK, step = (ptrdiff_t)pass->width * FW_INT8_BLOCK;
    for (int block = unit->in_channels / FW_INT8_BLOCK; block > 0; block--) {
        UNROLL for (int i = 0; i < pixels; i++)
        {
            int8x16_t a = load_signed(pass->rows[0] + offset + i * FW_INT8_BLOCK);
            int8x16_t b = load_signed(pass->rows[1] + offset + i * FW_INT8_BLOCK);
            UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
            {
                const int8_t *from = weights + n * LANES * FW_INT8_GROUP;
                upper[i][n] = add_inputs(upper[i][n], a, from, stride);
                lower[i][n] = add_inputs(lower[i][n], b, from, stride);
            }
        }
        weights += 4 * stride;
        offset += step;
    }
    const uint16x8_t is_upper = vreinterpretq_u16_u32(vdupq_n_u32(0xffff));
    UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
    {
        int32x4_t shift = vnegq_s32(vld1q_s32(unit->shift + pass->channel + n * LANES));
        int32x4_t complement = vld1q_s32(unit->complement + pass->channel + n * LANES);
        complement = vmaxq_s32(complement, pass->complement_limit);
        UNROLL for (int i = 0; i < pixels; i++)
        {
            int16x8_t low = vreinterpretq_s16_s32(vshlq_s32(finish(upper[i][n]), shift));
            int16x8_t high = vreinterpretq_s16_s32(vshlq_s32(finish(lower[i][n]), complement));
            vst1q_s16(pass->out + (x + 1 + i) * PAIR + n * LANES * 2,
                      vbslq_s16(is_upper, low, high));
        }
    }
}

static void clear_border(int channels, int width, int valid_width, int16_t *out)
{
    for (int block = 0; block < channels / FW_INT8_BLOCK; block++) {
        memset(out + (ptrdiff_t)(valid_width + 1) * PAIR, 0, PAIR * sizeof(*out));
        out += (ptrdiff_t)(width + 2) * PAIR;
    }
}

static void pointwise(const struct fw_int8_unit *unit, const uint8_t *row0, const uint8_t *row1,
                      bool has_second, int width, int valid_width, int16_t *out)
{
    struct pointwise_pass pass = {.unit = unit,
                                  .rows = {row0, has_second ? row1 : row0},
                                  .width = width,
                                  .complement_limit = vdupq_n_s32(has_second ? 0 : 32),
                                  .out = out};
    for (; pass.channel < unit->out_channels; pass.channel += FW_INT8_BLOCK) {
#if defined(__ARM_FEATURE_DOTPROD)
        for (int x = 0; x < width; x += 2) {
            pointwise_pixels(&pass, x, 2);
        }
#else
        for (int x = 0; x < width; x++) {
            pointwise_pixels(&pass, x, 1);
        }
#endif
        pass.out += (ptrdiff_t)(width + 2) * PAIR;
    }
    clear_border(unit->out_channels, width, valid_width, out);
}

// ---- the depthwise step

// Half a block of channels: where its pixels begin in the three pairs, and its constants.
struct depthwise_lane {
    const int16_t *pairs[3];
    int16x8_t weights[3][3]; // row, column
    struct half bias;
};

INLINE struct depthwise_lane lane_of(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                                     int width, int block, int half)
{
    struct depthwise_lane lane;
    const int16_t *weights = unit->depthwise + (ptrdiff_t)block * FW_INT8_KINDS * 3 * PAIR;
    for (int k = 0; k < 3; k++) {
        ptrdiff_t from = (ptrdiff_t)half * HALF * 2 + k * PAIR;
        lane.weights[0][k] = vld2q_s16(weights + FW_INT8_ABOVE * 3 * PAIR + from).val[1];
        int16x8x2_t own = vld2q_s16(weights + FW_INT8_UPPER * 3 * PAIR + from);
        lane.weights[1][k] = own.val[0];
        lane.weights[2][k] = own.val[1];
        lane.pairs[k] =
            pairs[k] + (ptrdiff_t)block * (width + 2) * PAIR + (ptrdiff_t)half * HALF * 2;
    }
    lane.bias = load_bias(unit->depthwise_bias + (ptrdiff_t)block * FW_INT8_BLOCK + half * HALF);
    return lane;
}

// Two rows of four pixels. Each input is loaded once for both rows.
INLINE void depthwise_pixels(const struct depthwise_lane *lane, int x, struct half upper[],
                             struct half lower[])
{
    UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
    {
        upper[i] = lane->bias;
        lower[i] = lane->bias;
    }
    UNROLL for (int i = 0; i < FW_INT8_PIXELS + 2; i++)
    {
        ptrdiff_t from = (ptrdiff_t)(x + i) * PAIR;
        int16x8_t above = vld2q_s16(lane->pairs[0] + from).val[1];
        int16x8x2_t own = vld2q_s16(lane->pairs[1] + from);
        int16x8_t below = vld2q_s16(lane->pairs[2] + from).val[0];
        UNROLL for (int k = 0; k < 3; k++)
        {
            int to = i - k;
            if (to >= 0 && to < FW_INT8_PIXELS) {
                upper[to] = add_words(upper[to], above, lane->weights[0][k]);
                upper[to] = add_words(upper[to], own.val[0], lane->weights[1][k]);
                upper[to] = add_words(upper[to], own.val[1], lane->weights[2][k]);
                lower[to] = add_words(lower[to], own.val[0], lane->weights[0][k]);
                lower[to] = add_words(lower[to], own.val[1], lane->weights[1][k]);
                lower[to] = add_words(lower[to], below, lane->weights[2][k]);
            }
        }
    }
}

static void depthwise(const struct fw_int8_unit *unit, const int16_t *const pairs[3], int width,
                      uint8_t *out0, uint8_t *out1)
{
    for (int half = 0; half < unit->out_channels / HALF; half++) {
        int block = half / HALVES;
        struct depthwise_lane lane = lane_of(unit, pairs, width, block, half % HALVES);
        ptrdiff_t to = (ptrdiff_t)block * width * FW_INT8_BLOCK + half % HALVES * HALF;
        for (int x = 0; x < width; x += FW_INT8_PIXELS) {
            struct half upper[FW_INT8_PIXELS], lower[FW_INT8_PIXELS];
            depthwise_pixels(&lane, x, upper, lower);
            UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
            {
                store_bytes(out0 + to, upper[i]);
                store_bytes(out1 + to, lower[i]);
                to += FW_INT8_BLOCK;
            }
        }
    }
}

// The maximum before rounding is the maximum after it.
static void depthwise_pool(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                           int width, int pooled_width, uint8_t *out)
{
    for (int half = 0; half < unit->out_channels / HALF; half++) {
        int block = half / HALVES;
        struct depthwise_lane lane = lane_of(unit, pairs, width, block, half % HALVES);
        ptrdiff_t to = (ptrdiff_t)block * pooled_width * FW_INT8_BLOCK + half % HALVES * HALF;
        for (int x = 0; x < 2 * pooled_width; x += FW_INT8_PIXELS) {
            struct half upper[FW_INT8_PIXELS], lower[FW_INT8_PIXELS];
            depthwise_pixels(&lane, x, upper, lower);
            UNROLL for (int i = 0; i < FW_INT8_PIXELS; i += 2)
            {
                store_bytes(out + to,
                            larger(larger(upper[i], upper[i + 1]), larger(lower[i], lower[i + 1])));
                to += FW_INT8_BLOCK;
            }
        }
    }
}

INLINE void store_scaled(float *to, struct half sum, const float *scale)
{
    vst1q_f32(to, vmulq_f32(vcvtq_f32_s32(sum.low), vld1q_f32(scale)));
    vst1q_f32(to + LANES, vmulq_f32(vcvtq_f32_s32(sum.high), vld1q_f32(scale + LANES)));
}

static void depthwise_head(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                           int width, float *out0, float *out1)
{
    for (int half = 0; half < HALVES; half++) {
        struct depthwise_lane lane = lane_of(unit, pairs, width, 0, half);
        ptrdiff_t to = (ptrdiff_t)half * HALF;
        for (int x = 0; x < width; x += FW_INT8_PIXELS) {
            struct half upper[FW_INT8_PIXELS], lower[FW_INT8_PIXELS];
            depthwise_pixels(&lane, x, upper, lower);
            UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
            {
                store_scaled(out0 + to, upper[i], unit->scale + (ptrdiff_t)half * HALF);
                store_scaled(out1 + to, lower[i], unit->scale + (ptrdiff_t)half * HALF);
                to += FW_INT8_BLOCK;
            }
        }
    }
}

const struct fw_int8_kernels KERNELS = {
    .name = NAME,
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
