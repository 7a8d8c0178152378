// The inner loops on vector registers. Compiled once for each instruction set (see meson.build),
// which is why this is written with the vector types of gcc and clang and not with intrinsics: the
// same source becomes 16, 8 or 4 floats wide, and the compilers fuse multiply and add by
// themselves. Standard C has no such types, so this file and no other uses them.
#include "nn/kernels.h"
#include "nn/picture_rows.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#define KERNELS fw_kernels_avx512
enum { LANES = 16, WIDE_PIXELS = 10 };
#elif defined(__AVX2__)
#include <immintrin.h>
#define KERNELS fw_kernels_avx2
enum { LANES = 8, WIDE_PIXELS = 5 };
#else
#define KERNELS fw_kernels_neon
enum { LANES = 4, WIDE_PIXELS = 5 };
#endif

// Vectors in a block of channels.
enum { BLOCK_VECTORS = FW_BLOCK / LANES, PIXEL = 3 };

// The loops over register tiles must vanish: only then does the compiler keep a tile's array in
// registers.
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

typedef float vector __attribute__((vector_size(LANES * sizeof(float)), may_alias));

INLINE vector load(const float *from)
{
    return *(const vector *)from;
}

INLINE void store(float *to, vector value)
{
    *(vector *)to = value;
}

INLINE vector larger(vector a, vector b)
{
#if defined(__AVX512F__)
    return (vector)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vector)_mm256_max_ps((__m256)a, (__m256)b);
#else
    typedef int mask __attribute__((vector_size(LANES * sizeof(int))));
    mask is_larger = (mask)(a > b);
    return (vector)((is_larger & (mask)a) | (~is_larger & (mask)b));
#endif
}

// Sums of a register tile of PIXELS x VECTORS: over the LENGTH inputs of each pixel, inputs of
// neighbouring pixels being PIXEL_STRIDE apart. Each weight vector is used for all pixels while it
// is in a register, and each input for all vectors.
INLINE void multiply(vector sums[][4], const float *inputs, int pixel_stride, int length,
                     const float *weights, int weight_stride, const int pixels, const int vectors)
{
    for (int k = 0; k < length; k++) {
        vector w[4];
        UNROLL for (int n = 0; n < vectors; n++)
        {
            w[n] = load(weights + k * weight_stride + n * LANES);
        }
        UNROLL for (int i = 0; i < pixels; i++)
        {
            float input = inputs[i * pixel_stride + k];
            UNROLL for (int n = 0; n < vectors; n++)
            {
                sums[i][n] += w[n] * input;
            }
        }
    }
}

INLINE void set_bias(vector sums[][4], const float *bias, const int pixels, const int vectors)
{
    UNROLL for (int i = 0; i < pixels; i++)
    {
        UNROLL for (int n = 0; n < vectors; n++)
        {
            sums[i][n] = load(bias + n * LANES);
        }
    }
}

// Where a pointwise pass reads and writes; the same for all pixels of a row.
struct pointwise_pass {
    const float *weights, *bias;
    int in_channels, weight_stride;
    size_t block_stride;
};

INLINE void pointwise_pixels(const struct pointwise_pass *pass, const float *row, float *out,
                             const int pixels, const int vectors)
{
    vector sums[10][4];
    set_bias(sums, pass->bias, pixels, vectors);
    multiply(sums, row, pass->in_channels, pass->in_channels, pass->weights, pass->weight_stride,
             pixels, vectors);
    UNROLL for (int n = 0; n < vectors; n++)
    {
        float *block =
            out + (size_t)(n / BLOCK_VECTORS) * pass->block_stride + (n % BLOCK_VECTORS) * LANES;
        UNROLL for (int i = 0; i < pixels; i++)
        {
            store(block + i * FW_BLOCK, sums[i][n]);
        }
    }
}

INLINE void pointwise_row(const struct pointwise_pass *pass, const float *row, int width,
                          float *out, const int pixels, const int vectors)
{
    int x = 0;
    for (; x + pixels <= width; x += pixels) {
        pointwise_pixels(pass, row + x * pass->in_channels, out + x * FW_BLOCK, pixels, vectors);
    }
    if (pixels > 5 && x + 5 <= width) {
        pointwise_pixels(pass, row + x * pass->in_channels, out + x * FW_BLOCK, 5, vectors);
        x += 5;
    }
    row += x * pass->in_channels;
    out += x * FW_BLOCK;
    switch (width - x) {
    case 4:
        pointwise_pixels(pass, row, out, 4, vectors);
        break;
    case 3:
        pointwise_pixels(pass, row, out, 3, vectors);
        break;
    case 2:
        pointwise_pixels(pass, row, out, 2, vectors);
        break;
    case 1:
        pointwise_pixels(pass, row, out, 1, vectors);
        break;
    default:
        break;
    }
}

#if defined(__AVX512F__)
// 32 registers of a whole block each: a tile of 64 channels takes 4 for weights and 20 for sums.
static void pointwise_tile(struct pointwise_pass *pass, const float *row, int width, float *out)
{
    switch (pass->weight_stride) {
    case 64:
        pointwise_row(pass, row, width, out, 5, 4);
        break;
    case 32:
        pointwise_row(pass, row, width, out, WIDE_PIXELS, 2);
        break;
    default:
        pointwise_row(pass, row, width, out, WIDE_PIXELS, 1);
        break;
    }
}
#else
// Fewer or narrower registers: 16 channels at a time.
static void pointwise_tile(struct pointwise_pass *pass, const float *row, int width, float *out)
{
    for (int c = 0; c < pass->weight_stride; c += FW_BLOCK) {
        pointwise_row(pass, row, width, out, WIDE_PIXELS, BLOCK_VECTORS);
        pass->weights += FW_BLOCK;
        pass->bias += FW_BLOCK;
        out += pass->block_stride;
    }
}
#endif

static void pointwise(const struct fw_unit_weights *unit, const float *row, int width, float *out,
                      size_t block_stride)
{
    const float *weights = unit->pointwise;
    int outputs;
    for (int first = 0; first < unit->out_channels; first += outputs) {
        outputs = FW_TILE_CHANNELS(unit->out_channels - first);
        struct pointwise_pass pass = {weights, unit->pointwise_bias + first, unit->in_channels,
                                      outputs, block_stride};
        pointwise_tile(&pass, row, width, out + (size_t)(first / FW_BLOCK) * block_stride);
        weights += (size_t)unit->in_channels * (size_t)outputs;
    }
}

// One vector of channels: where its pixels begin in the four ring rows, and its constants.
struct depthwise_lane {
    const float *rows[4];
    float *out0, *out1;
    vector weights[9], bias;
    int channels;
    bool relu;
};

// Both rows at once: the two middle rows are loaded once and used for both.
INLINE void depthwise_pixels(const struct depthwise_lane *lane, int x, const int pixels)
{
    vector upper[4], lower[4];
    const vector zero = {0};
    UNROLL for (int i = 0; i < pixels; i++)
    {
        upper[i] = lane->bias;
        lower[i] = lane->bias;
    }
    UNROLL for (int i = 0; i < pixels + 2; i++)
    {
        vector a = load(lane->rows[0] + (x + i) * FW_BLOCK);
        vector b = load(lane->rows[1] + (x + i) * FW_BLOCK);
        vector c = load(lane->rows[2] + (x + i) * FW_BLOCK);
        vector d = load(lane->rows[3] + (x + i) * FW_BLOCK);
        UNROLL for (int k = 0; k < 3; k++)
        {
            int to = i - k;
            if (to >= 0 && to < pixels) {
                upper[to] += lane->weights[k] * a;
                lower[to] += lane->weights[k] * b;
                upper[to] += lane->weights[3 + k] * b;
                lower[to] += lane->weights[3 + k] * c;
                upper[to] += lane->weights[6 + k] * c;
                lower[to] += lane->weights[6 + k] * d;
            }
        }
    }
    UNROLL for (int i = 0; i < pixels; i++)
    {
        store(lane->out0 + (x + i) * lane->channels,
              lane->relu ? larger(upper[i], zero) : upper[i]);
        store(lane->out1 + (x + i) * lane->channels,
              lane->relu ? larger(lower[i], zero) : lower[i]);
    }
}

INLINE void depthwise_row(const struct depthwise_lane *lane, int width)
{
    int x = 0;
    for (; x + 4 <= width; x += 4) {
        depthwise_pixels(lane, x, 4);
    }
    for (; x + 2 <= width; x += 2) {
        depthwise_pixels(lane, x, 2);
    }
    if (x < width) {
        depthwise_pixels(lane, x, 1);
    }
}

static void depthwise(const struct fw_unit_weights *unit, const float *const rows[4],
                      size_t block_stride, int width, float *out0, float *out1)
{
    for (int c = 0; c < unit->out_channels; c += LANES) {
        size_t offset = (size_t)(c / FW_BLOCK) * block_stride + (size_t)(c % FW_BLOCK);
        struct depthwise_lane lane = {
            .rows = {rows[0] + offset, rows[1] + offset, rows[2] + offset, rows[3] + offset},
            .out0 = out0 + c,
            .out1 = out1 + c,
            .bias = load(unit->depthwise_bias + c),
            .channels = unit->out_channels,
            .relu = unit->relu,
        };
        for (int k = 0; k < 9; k++) {
            lane.weights[k] = load(unit->depthwise + k * unit->out_channels + c);
        }
        depthwise_row(&lane, width);
    }
}

// PIXELS output pixels of one block of channels.
INLINE void stem_pixels(const float *const rows[3], int x, const float *weights, const float *bias,
                        int channels, float *out, const int pixels)
{
    vector sums[10][4];
    const vector zero = {0};
    set_bias(sums, bias, pixels, BLOCK_VECTORS);
    UNROLL for (int y = 0; y < 3; y++)
    {
        multiply(sums, rows[y] + 2 * x * PIXEL, 2 * PIXEL, 3 * PIXEL,
                 weights + y * 3 * PIXEL * channels, channels, pixels, BLOCK_VECTORS);
    }
    UNROLL for (int i = 0; i < pixels; i++)
    {
        UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
        {
            store(out + (x + i) * channels + n * LANES, larger(sums[i][n], zero));
        }
    }
}

static void stem(const float *const rows[3], const float *weights, const float *bias, int channels,
                 int width, float *out)
{
    for (int c = 0; c < channels; c += FW_BLOCK) {
        int x = 0;
        for (; x + WIDE_PIXELS <= width; x += WIDE_PIXELS) {
            stem_pixels(rows, x, weights + c, bias + c, channels, out + c, WIDE_PIXELS);
        }
        for (; x < width; x++) {
            stem_pixels(rows, x, weights + c, bias + c, channels, out + c, 1);
        }
    }
}

static void pool(const float *row0, const float *row1, int channels, int width, float *out)
{
    for (int x = 0; x < width; x++) {
        const float *upper = row0 + 2 * x * channels, *lower = row1 + 2 * x * channels;
        for (int c = 0; c < channels; c += LANES) {
            store(out + x * channels + c,
                  larger(larger(load(upper + c), load(upper + channels + c)),
                         larger(load(lower + c), load(lower + channels + c))));
        }
    }
}

static void add_doubled(const float *row, const float *half, int channels, int width, float *out)
{
    for (int x = 0; x < width; x++) {
        const float *fine = row + x * channels, *coarse = half + (x / 2) * channels;
        for (int c = 0; c < channels; c += LANES) {
            store(out + x * channels + c, load(fine + c) + load(coarse + c));
        }
    }
}

const struct fw_kernels KERNELS = {
    .stem = stem,
    .pointwise = pointwise,
    .depthwise = depthwise,
    .pool = pool,
    .add_doubled = add_doubled,
    .accumulate = accumulate,
    .average = average,
    .convert = convert,
};
