// The inner loops on vector registers. Compiled once for each instruction set (see meson.build),
// which is why this is written with the vector types of gcc and clang and not with intrinsics: the
// same source becomes 16, 8 or 4 floats wide, and the compilers fuse multiply and add by
// themselves. Standard C has no such types, so this file and no other uses them.
//
// What the shapes below are for: the processor can start two fused multiply-adds in a cycle, and
// all that is left to do is to keep them coming. That takes ten or more sums under way (each needs
// its predecessor, four cycles ago), few loads for each of them, no long burst of stores at the end
// of a tile, and little code: unrolling the loops over inputs makes them slower. docs/detection.md
// has the measurements.
#include "nn/kernels.h"
#include "nn/picture_rows.h"
#include "nn/vector.h"

// Register tiles: vectors of outputs by pixels. Sums, weights and an input fit into the registers
// (32 of AVX-512 and NEON, 16 of AVX2). STEM_PIXELS divides 16, the granularity of its maps.
#if defined(__AVX512F__)
#define KERNELS fw_kernels_avx512
enum { TILE_VECTORS = 2, STEM_PIXELS = 16 };
#elif defined(__AVX2__)
#define KERNELS fw_kernels_avx2
enum { TILE_VECTORS = 2, STEM_PIXELS = 4 };
#else
#define KERNELS fw_kernels_neon
enum { TILE_VECTORS = 4, STEM_PIXELS = 4 };
#endif

enum {
    BLOCK_VECTORS = FW_BLOCK / LANES, // vectors in a block of channels
    TILE_BLOCKS = TILE_VECTORS / BLOCK_VECTORS,
    TILE_PIXELS = 6,
    NARROW_PIXELS = 12, // where a block is a single vector, and the only one of its tile
    MAX_PIXELS = 16,
    ACCUMULATE_VECTORS = 4,
    PIXEL = 3
};

typedef vector tile[MAX_PIXELS][TILE_VECTORS];

// Where vector N of a tile lies in blocks that are BLOCK_STRIDE floats apart.
INLINE size_t vector_at(int n, size_t block_stride)
{
    return (size_t)(n / BLOCK_VECTORS) * block_stride + (size_t)(n % BLOCK_VECTORS) * LANES;
}

// The same VALUES for all pixels.
INLINE void fill(tile sums, const float *values, const int pixels, const int vectors)
{
    UNROLL for (int i = 0; i < pixels; i++)
    {
        UNROLL for (int n = 0; n < vectors; n++)
        {
            sums[i][n] = load(values + n * LANES);
        }
    }
}

INLINE void add(tile sums, const tile more, const int pixels, const int vectors)
{
    UNROLL for (int i = 0; i < pixels; i++)
    {
        UNROLL for (int n = 0; n < vectors; n++)
        {
            sums[i][n] += more[i][n];
        }
    }
}

INLINE void store_tile(float *out, size_t block_stride, const tile sums, const int pixels,
                       const int vectors)
{
    UNROLL for (int n = 0; n < vectors; n++)
    {
        UNROLL for (int i = 0; i < pixels; i++)
        {
            store(out + vector_at(n, block_stride) + i * FW_BLOCK, sums[i][n]);
        }
    }
}

// A tile's pixels in BLOCKS blocks of input channels.
struct inputs {
    const float *first;
    size_t block_stride;
    int blocks;
};

// SUMS += WEIGHTS x inputs. Each vector of weights is used for all pixels while it is in a
// register, and each input for all vectors. The weights of one block of outputs are WEIGHT_STRIDE
// floats from those of the next.
INLINE void multiply(tile sums, struct inputs inputs, const float *weights, size_t weight_stride,
                     const int pixels, const int vectors)
{
    for (int b = 0; b < inputs.blocks; b++) {
        const float *block = inputs.first + (size_t)b * inputs.block_stride;
        for (int k = 0; k < FW_BLOCK; k++) {
            vector w[TILE_VECTORS];
            UNROLL for (int n = 0; n < vectors; n++)
            {
                w[n] = load(weights + vector_at(n, weight_stride));
            }
            UNROLL for (int i = 0; i < pixels; i++)
            {
                float input = block[i * FW_BLOCK + k];
                UNROLL for (int n = 0; n < vectors; n++)
                {
                    sums[i][n] += w[n] * input;
                }
            }
            weights += FW_BLOCK;
        }
    }
}

// How many of LEFT pixels the next tile takes, LARGEST at most: 8 are two tiles of 4 rather than
// one of 6 and one of 2, which would wait for its sums most of the time.
INLINE int next_tile(int left, const int largest)
{
    if (largest == NARROW_PIXELS && left >= NARROW_PIXELS) {
        return NARROW_PIXELS;
    }
    return left >= TILE_PIXELS && left != 8 ? TILE_PIXELS : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// ---- the 1x1 convolution, straight through the matrix

// One row; the weights, and where to, of the outputs that a tile has.
struct plain_pass {
    struct inputs inputs;
    const float *weights, *bias;
    size_t weight_stride;
    float *out;
    size_t out_stride;
};

INLINE void plain_pixels(const struct plain_pass *pass, int x, const int blocks, const int pixels,
                         const int vectors)
{
    tile sums;
    struct inputs inputs = {pass->inputs.first + x * FW_BLOCK, pass->inputs.block_stride, blocks};
    fill(sums, pass->bias, pixels, vectors);
    multiply(sums, inputs, pass->weights, pass->weight_stride, pixels, vectors);
    store_tile(pass->out + x * FW_BLOCK, pass->out_stride, sums, pixels, vectors);
}

INLINE void plain_row(const struct plain_pass *pass, int width, const int blocks, const int vectors)
{
    const int largest = vectors == 1 ? NARROW_PIXELS : TILE_PIXELS;
    int pixels;
    for (int x = 0; x < width; x += pixels) {
        pixels = next_tile(width - x, largest);
        switch (pixels) {
        case NARROW_PIXELS:
            plain_pixels(pass, x, blocks, largest, vectors);
            break;
        case TILE_PIXELS:
            plain_pixels(pass, x, blocks, TILE_PIXELS, vectors);
            break;
        case 4:
            plain_pixels(pass, x, blocks, 4, vectors);
            break;
        case 2:
            plain_pixels(pass, x, blocks, 2, vectors);
            break;
        default:
            plain_pixels(pass, x, blocks, 1, vectors);
            break;
        }
    }
}

INLINE void held_pixels(const struct plain_pass *pass, int x, const vector *weights,
                        const int pixels)
{
    vector sums[NARROW_PIXELS];
    const float *in = pass->inputs.first + x * FW_BLOCK;
    UNROLL for (int i = 0; i < pixels; i++)
    {
        sums[i] = load(pass->bias);
    }
    UNROLL for (int k = 0; k < FW_BLOCK; k++)
    {
        UNROLL for (int i = 0; i < pixels; i++)
        {
            sums[i] += weights[k] * in[i * FW_BLOCK + k];
        }
    }
    UNROLL for (int i = 0; i < pixels; i++)
    {
        store(pass->out + (x + i) * FW_BLOCK, sums[i]);
    }
}

// One block of inputs and one vector of outputs: all the weights stay in registers.
static void held_row(const struct plain_pass *pass, int width)
{
    vector weights[FW_BLOCK];
    UNROLL for (int k = 0; k < FW_BLOCK; k++)
    {
        weights[k] = load(pass->weights + k * FW_BLOCK);
    }
    int x = 0;
    for (; x + NARROW_PIXELS <= width; x += NARROW_PIXELS) {
        held_pixels(pass, x, weights, NARROW_PIXELS);
    }
    for (; x + 4 <= width; x += 4) {
        held_pixels(pass, x, weights, 4);
    }
    for (; x < width; x++) {
        held_pixels(pass, x, weights, 1);
    }
}

static void plain_outputs(const struct plain_pass *pass, int width, int out_blocks)
{
    if (pass->inputs.blocks == 1 && BLOCK_VECTORS == 1 && out_blocks == 1) {
        held_row(pass, width);
    } else if (out_blocks < TILE_BLOCKS) {
        plain_row(pass, width, pass->inputs.blocks, BLOCK_VECTORS);
    } else if (pass->inputs.blocks == 1) {
        plain_row(pass, width, 1, TILE_VECTORS);
    } else {
        plain_row(pass, width, pass->inputs.blocks, TILE_VECTORS);
    }
}

static void pointwise_plain(const struct fw_unit_weights *unit, const float *const rows[2],
                            int width, float *const out[2], size_t block_stride)
{
    int blocks = unit->out_channels / FW_BLOCK;
    size_t weight_stride = (size_t)unit->in_channels * FW_BLOCK;
    for (int block = 0; block < blocks; block += TILE_BLOCKS) {
        for (int y = 0; y < 2; y++) {
            struct plain_pass pass = {
                .inputs = {rows[y], (size_t)width * FW_BLOCK, unit->in_channels / FW_BLOCK},
                .weights = unit->pointwise + (size_t)block * weight_stride,
                .bias = unit->pointwise_bias + block * FW_BLOCK,
                .weight_stride = weight_stride,
                .out = out[y] + (size_t)block * block_stride,
                .out_stride = block_stride,
            };
            plain_outputs(&pass, width, blocks - block);
        }
    }
}

// ---- the 1x1 convolution in seven products
//
// Two rows of pixels, upper U and lower L, each with its inputs cut in halves, times the matrix,
// cut in four:
//
//     [U1 U2]   [B11 B12]   [C11 C12]
//     [L1 L2] x [B21 B22] = [C21 C22]
//
// Straight through that is eight products of halves. Strassen's algorithm takes seven, here in
// Winograd's form (S. Winograd, "On multiplication of 2x2 matrices", Linear Algebra and its
// Applications 4, 1971) and for one level only:
//
//     S1 = L1 + L2   S2 = S1 - U1   S3 = U1 - L1   S4 = U2 - S2
//     T1 = B12 - B11   T2 = B22 - T1   T3 = B22 - B12   T4 = T2 - B21
//     C11 = U1 B11 + U2 B21       V = U1 B11 + S2 T2      W = V + S3 T3
//     C12 = V + S1 T1 + S4 B22    C21 = W - L2 T4         C22 = W + S1 T1
//
// The T come ready with the model; the additions for the S run beside the multiplications. The
// bias: B of the first half starts U1 B11, from where it gets into all four; what the second half
// has more starts S1 T1.

enum { SUM_FLOATS = TILE_PIXELS * FW_BLOCK };

// PART: a tile that waits in memory, [TILE_BLOCKS][TILE_PIXELS][16].
INLINE void load_part(tile sums, const float *part, const int pixels, const int vectors)
{
    UNROLL for (int n = 0; n < vectors; n++)
    {
        UNROLL for (int i = 0; i < pixels; i++)
        {
            sums[i][n] = load(part + vector_at(n, SUM_FLOATS) + i * FW_BLOCK);
        }
    }
}

struct product_pass {
    const struct fw_unit_weights *unit;
    struct inputs upper[2], lower[2]; // halves
    float *scratch; // for S1 to S4, each `blocks` times SUM_FLOATS, and for two tiles
    float *out[2];
    size_t out_stride;
};

// A +- B, packed, to TO.
INLINE struct inputs combine(float *to, struct inputs a, struct inputs b, const bool subtract,
                             const int pixels)
{
    for (int block = 0; block < a.blocks; block++) {
        const float *x = a.first + (size_t)block * a.block_stride;
        const float *y = b.first + (size_t)block * b.block_stride;
        UNROLL for (int i = 0; i < pixels * FW_BLOCK; i += LANES)
        {
            vector left = load(x + i), right = load(y + i);
            store(to + block * SUM_FLOATS + i, subtract ? left - right : left + right);
        }
    }
    return (struct inputs){to, SUM_FLOATS, a.blocks};
}

// A tile of outputs of the first half, from BLOCK on, and as many of the second.
INLINE void product_pixels(const struct product_pass *pass, int block, const int pixels,
                           const int vectors)
{
    const struct fw_unit_weights *unit = pass->unit;
    int half_blocks = unit->out_channels / 2 / FW_BLOCK, blocks = pass->upper[0].blocks;
    size_t weight_stride = (size_t)blocks * FW_BLOCK * FW_BLOCK, stride = pass->out_stride;
    size_t product = (size_t)half_blocks * weight_stride;
    const float *weights = unit->products + (size_t)block * weight_stride;
    const float *bias = unit->products_bias + block * FW_BLOCK;
    float *c11 = pass->out[0] + (size_t)block * stride, *c12 = c11 + (size_t)half_blocks * stride;
    float *c21 = pass->out[1] + (size_t)block * stride, *c22 = c21 + (size_t)half_blocks * stride;
    float *sums = pass->scratch;
    size_t sum = (size_t)blocks * SUM_FLOATS;
    float *v = sums + 4 * sum, *w = v + TILE_BLOCKS * SUM_FLOATS;
    tile p, c;

    // Each S is made a product before it is needed: its stores then have time.
    struct inputs s1 = combine(sums, pass->lower[0], pass->lower[1], false, pixels);
    fill(p, bias, pixels, vectors);
    multiply(p, pass->upper[0], weights, weight_stride, pixels, vectors);
    store_tile(v, SUM_FLOATS, p, pixels, vectors);
    struct inputs s2 = combine(sums + sum, s1, pass->upper[0], true, pixels);
    multiply(p, pass->upper[1], weights + product, weight_stride, pixels, vectors);
    store_tile(c11, stride, p, pixels, vectors);

    struct inputs s3 = combine(sums + 2 * sum, pass->upper[0], pass->lower[0], true, pixels);
    load_part(p, v, pixels, vectors);
    multiply(p, s2, weights + 2 * product, weight_stride, pixels, vectors);
    store_tile(v, SUM_FLOATS, p, pixels, vectors);
    struct inputs s4 = combine(sums + 3 * sum, pass->upper[1], s2, true, pixels);
    multiply(p, s3, weights + 3 * product, weight_stride, pixels, vectors);
    store_tile(w, SUM_FLOATS, p, pixels, vectors);
    multiply(p, pass->lower[1], weights + 4 * product, weight_stride, pixels, vectors);
    store_tile(c21, stride, p, pixels, vectors);

    fill(p, bias + half_blocks * FW_BLOCK, pixels, vectors);
    multiply(p, s1, weights + 5 * product, weight_stride, pixels, vectors);
    load_part(c, w, pixels, vectors);
    add(c, p, pixels, vectors);
    store_tile(c22, stride, c, pixels, vectors);
    load_part(c, v, pixels, vectors);
    add(p, c, pixels, vectors);
    multiply(p, s4, weights + 6 * product, weight_stride, pixels, vectors);
    store_tile(c12, stride, p, pixels, vectors);
}

INLINE void product_outputs(const struct product_pass *pass, const int pixels)
{
    int half_blocks = pass->unit->out_channels / 2 / FW_BLOCK;
    int block = 0;
    for (; block + TILE_BLOCKS <= half_blocks; block += TILE_BLOCKS) {
        product_pixels(pass, block, pixels, TILE_VECTORS);
    }
    if (block < half_blocks) {
        product_pixels(pass, block, pixels, BLOCK_VECTORS);
    }
}

static void pointwise_products(const struct fw_unit_weights *unit, const float *const rows[2],
                               int width, float *const out[2], size_t block_stride)
{
    float scratch[(4 * FW_PRODUCT_INPUTS / 2 / FW_BLOCK + 2 * TILE_BLOCKS) * SUM_FLOATS]
        __attribute__((aligned(FW_ALIGNMENT_BYTES)));
    int blocks = unit->in_channels / 2 / FW_BLOCK, pixels;
    size_t stride = (size_t)width * FW_BLOCK, half = (size_t)blocks * stride;
    for (int x = 0; x < width; x += pixels) {
        const float *upper = rows[0] + x * FW_BLOCK, *lower = rows[1] + x * FW_BLOCK;
        struct product_pass pass = {
            .unit = unit,
            .upper = {{upper, stride, blocks}, {upper + half, stride, blocks}},
            .lower = {{lower, stride, blocks}, {lower + half, stride, blocks}},
            .scratch = scratch,
            .out = {out[0] + x * FW_BLOCK, out[1] + x * FW_BLOCK},
            .out_stride = block_stride,
        };
        pixels = next_tile(width - x, TILE_PIXELS);
        switch (pixels) {
        case TILE_PIXELS:
            product_outputs(&pass, TILE_PIXELS);
            break;
        case 4:
            product_outputs(&pass, 4);
            break;
        case 2:
            product_outputs(&pass, 2);
            break;
        default:
            product_outputs(&pass, 1);
            break;
        }
    }
}

static void pointwise(const struct fw_unit_weights *unit, const float *const rows[2], int width,
                      float *const out[2], size_t block_stride)
{
    if (unit->products != NULL) {
        pointwise_products(unit, rows, width, out, block_stride);
    } else {
        pointwise_plain(unit, rows, width, out, block_stride);
    }
}

// ---- the depthwise 3x3 convolution
//
// Two output rows at once need four input rows A, B, C, D, and for each of the three columns six
// multiplications. Four are enough (S. Winograd's minimal filtering F(2,3); A. Lavin, S. Gray,
// "Fast Algorithms for Convolutional Neural Networks", 2016). With the three taps g0, g1, g2 of a
// column
//
//     P = (B + C) (g0 + g1 + g2) / 2    Q = (C - B) (g0 - g1 + g2) / 2
//     upper = P + Q + (A - C) g0        lower = P - Q + (D - B) g2
//
// Additions have units of their own on some processors; where they have not, it costs about the
// same.

// One vector of channels: where its pixels begin in the four ring rows, and its constants.
struct depthwise_lane {
    const float *rows[4];
    float *out[2], *pooled;
    vector taps[4][3], bias;
    bool relu;
};

// What the next two pixels to be completed have got from the columns so far, for each kind of tap:
// the later one from one column, the earlier one from two.
struct depthwise_window {
    vector one[4], two[4];
};

// Takes one COLUMN of the kind KIND; returns the sum that it completes.
INLINE vector take_column(const struct depthwise_lane *lane, struct depthwise_window *window,
                          const int kind, vector column)
{
    const vector *w = lane->taps[kind];
    vector done = window->two[kind] + w[2] * column;
    window->two[kind] = window->one[kind] + w[1] * column;
    window->one[kind] = kind == 0 ? lane->bias + w[0] * column : w[0] * column;
    return done;
}

// Takes column X; RESULT: upper and lower sum of the pixel that this completes. Columns come one by
// one, so that none is loaded twice.
INLINE void depthwise_column(const struct depthwise_lane *lane, int x,
                             struct depthwise_window *window, vector result[2])
{
    vector b = load(lane->rows[1] + x * FW_BLOCK), c = load(lane->rows[2] + x * FW_BLOCK);
    vector p = take_column(lane, window, 0, b + c);
    vector q = take_column(lane, window, 1, c - b);
    vector upper = take_column(lane, window, 2, load(lane->rows[0] + x * FW_BLOCK) - c);
    vector lower = take_column(lane, window, 3, load(lane->rows[3] + x * FW_BLOCK) - b);
    upper += p + q;
    lower += p - q;
    const vector zero = {0};
    result[0] = lane->relu ? larger(upper, zero) : upper;
    result[1] = lane->relu ? larger(lower, zero) : lower;
}

INLINE void store_column(const struct depthwise_lane *lane, int x, const vector values[2])
{
    if (lane->out[0] != NULL) {
        store(lane->out[0] + x * FW_BLOCK, values[0]);
        store(lane->out[1] + x * FW_BLOCK, values[1]);
    }
}

INLINE void depthwise_row(const struct depthwise_lane *lane, int width)
{
    struct depthwise_window window = {0};
    vector even[2], odd[2];
    depthwise_column(lane, 0, &window, even);
    depthwise_column(lane, 1, &window, even);
    for (int x = 0; x + 2 <= width; x += 2) {
        depthwise_column(lane, x + 2, &window, even);
        store_column(lane, x, even);
        depthwise_column(lane, x + 3, &window, odd);
        store_column(lane, x + 1, odd);
        if (lane->pooled != NULL) {
            store(lane->pooled + x / 2 * FW_BLOCK,
                  larger(larger(even[0], even[1]), larger(odd[0], odd[1])));
        }
    }
    if (width % 2 == 1) {
        depthwise_column(lane, width + 1, &window, even);
        store_column(lane, width - 1, even);
    }
}

static void depthwise(const struct fw_unit_weights *unit, const float *const rows[4],
                      size_t block_stride, int width, float *const out[2], float *pooled)
{
    for (int c = 0; c < unit->out_channels; c += LANES) {
        struct depthwise_lane lane = {.bias = load(unit->depthwise_bias + c), .relu = unit->relu};
        size_t block = (size_t)(c / FW_BLOCK), in_block = (size_t)(c % FW_BLOCK);
        size_t row_stride = (size_t)width * FW_BLOCK;
        for (int y = 0; y < 4; y++) {
            lane.rows[y] = rows[y] + block * block_stride + in_block;
        }
        for (int y = 0; y < 2 && out[y] != NULL; y++) {
            lane.out[y] = out[y] + block * row_stride + in_block;
        }
        if (pooled != NULL) {
            lane.pooled = pooled + block * row_stride / 2 + in_block;
        }
        for (int k = 0; k < 12; k++) {
            lane.taps[k / 3][k % 3] = load(unit->taps + k * unit->out_channels + c);
        }
        depthwise_row(&lane, width);
    }
}

// ---- the rest

// The taps of one colour in one row, for STEM_PIXELS pixels of one block of channels. A column
// between two output pixels is loaded once for both.
INLINE void stem_taps(tile sums, const float *column, const float *weights, int channels)
{
    vector w[3][BLOCK_VECTORS];
    UNROLL for (int k = 0; k < 3; k++)
    {
        UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
        {
            w[k][n] = load(weights + k * PIXEL * channels + n * LANES);
        }
    }
    UNROLL for (int i = 0; i < 2 * STEM_PIXELS + 1; i++)
    {
        float input = column[i * PIXEL];
        UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
        {
            if (i % 2 == 1) {
                sums[i / 2][n] += w[1][n] * input;
                continue;
            }
            if (i < 2 * STEM_PIXELS) {
                sums[i / 2][n] += w[0][n] * input;
            }
            if (i >= 2) {
                sums[i / 2 - 1][n] += w[2][n] * input;
            }
        }
    }
}

// Fetches what the next row will read here that this one did not.
INLINE void fetch_ahead(const float *const next[2], int x)
{
    for (int i = 0; i < STEM_PIXELS * 2 * PIXEL; i += FW_ALIGNMENT_BYTES / (int)sizeof(float)) {
        __builtin_prefetch(next[0] + 2 * x * PIXEL + i);
        __builtin_prefetch(next[1] + 2 * x * PIXEL + i);
    }
}

static void stem(const float *const rows[5], const float *weights, const float *bias, int channels,
                 int width, float *out)
{
    const vector zero = {0};
    for (int c = 0; c < channels; c += FW_BLOCK) {
        for (int x = 0; x < width; x += STEM_PIXELS) {
            tile sums;
            fill(sums, bias + c, STEM_PIXELS, BLOCK_VECTORS);
            fetch_ahead(rows + 3, x);
            for (int k = 0; k < 3 * PIXEL; k++) {
                int y = k / PIXEL, color = k % PIXEL;
                stem_taps(sums, rows[y] + 2 * x * PIXEL + color,
                          weights + (y * 3 * PIXEL + color) * channels + c, channels);
            }
            UNROLL for (int i = 0; i < STEM_PIXELS; i++)
            {
                UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
                {
                    store(out + (c / FW_BLOCK * width + x + i) * FW_BLOCK + n * LANES,
                          larger(sums[i][n], zero));
                }
            }
        }
    }
}

static void pool(const float *row0, const float *row1, int channels, int width, float *out)
{
    for (int x = 0; x < channels / FW_BLOCK * width; x++) {
        const float *upper = row0 + 2 * x * FW_BLOCK, *lower = row1 + 2 * x * FW_BLOCK;
        for (int c = 0; c < FW_BLOCK; c += LANES) {
            store(out + x * FW_BLOCK + c,
                  larger(larger(load(upper + c), load(upper + FW_BLOCK + c)),
                         larger(load(lower + c), load(lower + FW_BLOCK + c))));
        }
    }
}

// 1 / (1 + exp(-x)). exp(x) is 2^n exp(r) with |r| <= ln 2 / 2, where a polynomial (the first
// terms of the series, good to 2e-7) will do; n is rounded by adding 1.5 * 2^23, which leaves it in
// the lowest bits, from where a shift takes it to the exponent.
INLINE vector sigmoid(vector x)
{
    const vector limit = (vector){0} + 87.0f, rounder = (vector){0} + 12582912.0f;
    x = larger(-limit, -larger(-limit, -x)); // beyond it is 0 or 1
    vector shifted = rounder - x * 1.442695041f;
    vector n = shifted - rounder;
    vector r = (-x - n * 0.693359375f) + n * 2.12194440e-4f;
    vector p = r * (1.0f / 720) + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    vector power = (vector)(((integers)shifted << 23) + (integers)((vector){0} + 1.0f));
    return 1.0f / (1.0f + p * power);
}

static void probabilities(float *rows, size_t cells)
{
    float pairs[LANES] __attribute__((aligned(FW_ALIGNMENT_BYTES))) = {0};
    for (size_t i = 0; i < cells; i += LANES / 2) {
        size_t count = cells - i < LANES / 2 ? cells - i : LANES / 2;
        for (size_t j = 0; j < count; j++) {
            memcpy(pairs + 2 * j, rows + (i + j) * FW_BLOCK, 2 * sizeof(float));
        }
        store(pairs, sigmoid(load(pairs)));
        for (size_t j = 0; j < count; j++) {
            memcpy(rows + (i + j) * FW_BLOCK, pairs + 2 * j, 2 * sizeof(float));
        }
    }
}

static void add_doubled(const float *row, const float *half, int channels, int width, float *out)
{
    int half_width = (width + 1) / 2;
    for (int b = 0; b < channels / FW_BLOCK; b++) {
        for (int x = 0; x < width; x++) {
            const float *coarse = half + (b * half_width + x / 2) * FW_BLOCK;
            int at = (b * width + x) * FW_BLOCK;
            for (int c = 0; c < FW_BLOCK; c += LANES) {
                store(out + at + c, load(row + at + c) + load(coarse + c));
            }
        }
    }
}

INLINE void add_bytes(vector *sums, const uint8_t *bytes, float weight)
{
    UNROLL for (int n = 0; n < ACCUMULATE_VECTORS; n++)
    {
        sums[n] += weight * widen(bytes + n * LANES);
    }
}

// The rows are short and many, which defeats the processor's own prefetching.
INLINE void fetch_rows(const struct fw_span *span, const uint8_t *column, ptrdiff_t stride)
{
    for (int y = 0; y < span->count; y++) {
        __builtin_prefetch(column + (span->first + y) * stride);
    }
}

static void accumulate(const struct fw_span *span, const struct fw_span *next, const uint8_t *plane,
                       ptrdiff_t stride, size_t count, float *sums)
{
    enum { STEP = ACCUMULATE_VECTORS * LANES };
    size_t x = 0;
    for (; x + STEP <= count; x += STEP) {
        vector total[ACCUMULATE_VECTORS] = {0};
        const uint8_t *bytes = plane + span->first * stride + (ptrdiff_t)x;
        if (x % FW_ALIGNMENT_BYTES == 0) {
            fetch_rows(next, plane + x, stride);
        }
        for (int y = 0; y < span->count; y++) {
            add_bytes(total, bytes + y * stride, span_weight(span, y));
        }
        for (int n = 0; n < ACCUMULATE_VECTORS; n++) {
            store(sums + x + n * LANES, total[n]);
        }
    }
    accumulate_columns(span, plane, stride, x, count, sums);
}

const struct fw_kernels KERNELS = {
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
