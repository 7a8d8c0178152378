// The quantised network's inner loops for x86, compiled three times (see meson.build): AVX-512 with
// VNNI, AVX2 with AVX-VNNI, and AVX2 alone. Intrinsics, because neither C nor the compilers' vector
// types have a word for the dot products that all this is about.
#include "nn/int8_rows.h"
#include "nn/kernels_int8.h"

#include <immintrin.h>
#include <string.h>

// The loops over register tiles must vanish: only then does the compiler keep a tile's array in
// registers.
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(__AVX512VNNI__)
#define KERNELS fw_int8_avx512vnni
#define NAME    "avx512vnni"
enum { LANES = 16 };
typedef __m512i ints;
#else
enum { LANES = 8 };
typedef __m256i ints;
#if defined(__AVXVNNI__)
#define KERNELS fw_int8_avxvnni
#define NAME    "avxvnni"
#else
#define KERNELS fw_int8_avx2
#define NAME    "avx2"
#endif
#endif

enum {
    BLOCK_VECTORS = FW_INT8_BLOCK / LANES,
    PAIR = 2 * FW_INT8_BLOCK, // words of one pixel of one block of a pair
};

INLINE int32_t read_group(const void *from)
{
    int32_t group;
    memcpy(&group, from, sizeof(group));
    return group;
}

// ---- what the instruction sets call differently

#if defined(__AVX512VNNI__)

INLINE ints load(const void *from)
{
    return _mm512_load_si512(from);
}

INLINE void store(void *to, ints value)
{
    _mm512_store_si512(to, value);
}

INLINE ints repeat(const void *from)
{
    return _mm512_set1_epi32(read_group(from));
}

INLINE ints larger(ints a, ints b)
{
    return _mm512_max_epi32(a, b);
}

// SUM + four products of an unsigned and a signed byte.
INLINE ints add_bytes(ints sum, ints bytes, ints weights)
{
    return _mm512_dpbusd_epi32(sum, bytes, weights);
}

// SUM + two products of words.
INLINE ints add_words(ints sum, ints words, ints weights)
{
    return _mm512_dpwssd_epi32(sum, words, weights);
}

// The lower halves of LOW >> SHIFT and, above them, of HIGH >> SHIFT; COMPLEMENT is 16 - SHIFT.
INLINE ints join(ints low, ints high, ints shift, ints complement)
{
    return _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srav_epi32(low, shift),
                                   _mm512_sllv_epi32(high, complement));
}

// The upper halves of A and B.
INLINE ints upper_halves(ints a, ints b)
{
    return _mm512_mask_blend_epi16(0xAAAAAAAA, _mm512_srli_epi32(a, 16), b);
}

// Four pixels of a block to bytes.
INLINE void store_bytes(uint8_t *to, const ints sums[FW_INT8_PIXELS][BLOCK_VECTORS])
{
    // In each 128 bits: the words 0 0' 1 1' 2 2' 3 3' of two pixels.
    ints bytes = _mm512_packus_epi16(upper_halves(sums[0][0], sums[1][0]),
                                     upper_halves(sums[2][0], sums[3][0]));
    const ints sorted =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    const ints order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    bytes = _mm512_shuffle_epi8(bytes, sorted);
    store(to, _mm512_permutexvar_epi32(order, bytes));
}

INLINE void store_scaled(float *to, ints sums, const float *scale)
{
    _mm512_store_ps(to, _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_load_ps(scale)));
}

#else

INLINE ints load(const void *from)
{
    return _mm256_load_si256(from);
}

INLINE void store(void *to, ints value)
{
    _mm256_store_si256(to, value);
}

INLINE ints repeat(const void *from)
{
    return _mm256_set1_epi32(read_group(from));
}

INLINE ints larger(ints a, ints b)
{
    return _mm256_max_epi32(a, b);
}

#if defined(__AVXVNNI__)

INLINE ints add_bytes(ints sum, ints bytes, ints weights)
{
    return _mm256_dpbusd_avx_epi32(sum, bytes, weights);
}

INLINE ints add_words(ints sum, ints words, ints weights)
{
    return _mm256_dpwssd_avx_epi32(sum, words, weights);
}

#else

// The first step adds two products and would saturate at 16 bits, if weights were not limited so
// that it can't (struct fw_int8_unit).
INLINE ints add_bytes(ints sum, ints bytes, ints weights)
{
    ints products = _mm256_maddubs_epi16(bytes, weights);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(products, _mm256_set1_epi16(1)));
}

INLINE ints add_words(ints sum, ints words, ints weights)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(words, weights));
}

#endif

INLINE ints join(ints low, ints high, ints shift, ints complement)
{
    return _mm256_blend_epi16(_mm256_srav_epi32(low, shift), _mm256_sllv_epi32(high, complement),
                              0xAA);
}

INLINE ints upper_halves(ints a, ints b)
{
    return _mm256_blend_epi16(_mm256_srli_epi32(a, 16), b, 0xAA);
}

// Half a block of four pixels, eight bytes a pixel.
INLINE ints half_bytes(ints a, ints b, ints c, ints d)
{
    ints bytes = _mm256_packus_epi16(upper_halves(a, b), upper_halves(c, d));
    const ints sorted = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
    const ints order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    return _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(bytes, sorted), order);
}

INLINE void store_bytes(uint8_t *to, const ints sums[FW_INT8_PIXELS][BLOCK_VECTORS])
{
    ints first = half_bytes(sums[0][0], sums[1][0], sums[2][0], sums[3][0]);
    ints second = half_bytes(sums[0][1], sums[1][1], sums[2][1], sums[3][1]);
    ints even = _mm256_unpacklo_epi64(first, second), odd = _mm256_unpackhi_epi64(first, second);
    store(to, _mm256_permute2x128_si256(even, odd, 0x20));
    store(to + 32, _mm256_permute2x128_si256(even, odd, 0x31));
}

INLINE void store_scaled(float *to, ints sums, const float *scale)
{
    _mm256_store_ps(to, _mm256_mul_ps(_mm256_cvtepi32_ps(sums), _mm256_load_ps(scale)));
}

#endif

// ---- the first layer

INLINE void stem_pixels(const int16_t *const rows[3], int x, const int16_t *weights,
                        const int32_t *bias, uint8_t *out)
{
    ints sums[FW_INT8_PIXELS][BLOCK_VECTORS];
    UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
    {
        UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
        {
            sums[i][n] = load(bias + n * LANES);
        }
    }
    UNROLL for (int k = 0; k < 3 * FW_INT8_STEM_PAIRS; k++)
    {
        const int16_t *words = rows[k / FW_INT8_STEM_PAIRS] + 6 * x + k % FW_INT8_STEM_PAIRS * 2;
        ints w[BLOCK_VECTORS];
        UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
        {
            w[n] = load(weights + (k * FW_INT8_BLOCK + n * LANES) * 2);
        }
        UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
        {
            ints input = repeat(words + 6 * i);
            UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
            {
                sums[i][n] = add_words(sums[i][n], input, w[n]);
            }
        }
    }
    store_bytes(out, sums);
}

static void stem(const struct fw_int8_stem *stem, const int16_t *const rows[3], int width,
                 uint8_t *out)
{
    const int16_t *weights = stem->weights;
    for (int c = 0; c < stem->channels; c += FW_INT8_BLOCK) {
        for (int x = 0; x < width; x += FW_INT8_PIXELS) {
            stem_pixels(rows, x, weights, stem->bias + c, out);
            out += FW_INT8_PIXELS * FW_INT8_BLOCK;
        }
        weights += 3 * FW_INT8_STEM_PAIRS * FW_INT8_BLOCK * 2;
    }
}

// ---- the pointwise step

// Two rows of inputs, and where in the output's channels a pass stands.
struct pointwise_pass {
    const struct fw_int8_unit *unit;
    const uint8_t *rows[2];
    int width, channel;
    ints complement_limit; // makes the second row vanish where there is none
    int16_t *out;
};

INLINE void set_bias(ints sums[][4], const int32_t *bias, const int pixels, const int vectors)
{
    UNROLL for (int i = 0; i < pixels; i++)
    {
        UNROLL for (int n = 0; n < vectors; n++)
        {
            sums[i][n] = load(bias + n * LANES);
        }
    }
}

// Adds four inputs of PIXELS pixels of each row.
INLINE void multiply(ints upper[][4], ints lower[][4], const uint8_t *row0, const uint8_t *row1,
                     const int8_t *weights, const int pixels, const int vectors)
{
    ints w[4];
    UNROLL for (int n = 0; n < vectors; n++)
    {
        w[n] = load(weights + n * LANES * FW_INT8_GROUP);
    }
    UNROLL for (int i = 0; i < pixels; i++)
    {
        ints a = repeat(row0 + i * FW_INT8_BLOCK), b = repeat(row1 + i * FW_INT8_BLOCK);
        UNROLL for (int n = 0; n < vectors; n++)
        {
            upper[i][n] = add_bytes(upper[i][n], a, w[n]);
            lower[i][n] = add_bytes(lower[i][n], b, w[n]);
        }
    }
}

// A tile of PIXELS x 2 rows x VECTORS.
INLINE void pointwise_pixels(const struct pointwise_pass *pass, int x, const int pixels,
                             const int vectors)
{
    const struct fw_int8_unit *unit = pass->unit;
    ints upper[4][4], lower[4][4];
    set_bias(upper, unit->pointwise_bias + pass->channel, pixels, vectors);
    set_bias(lower, unit->pointwise_bias + pass->channel, pixels, vectors);
    const int8_t *weights = unit->pointwise + pass->channel * FW_INT8_GROUP;
    size_t offset = (size_t)x * FW_INT8_BLOCK, step = (size_t)pass->width * FW_INT8_BLOCK;
    for (int block = unit->in_channels / FW_INT8_BLOCK; block > 0; block--) {
        UNROLL for (int k = 0; k < FW_INT8_BLOCK; k += FW_INT8_GROUP)
        {
            multiply(upper, lower, pass->rows[0] + offset + k, pass->rows[1] + offset + k, weights,
                     pixels, vectors);
            weights += unit->out_channels * FW_INT8_GROUP;
        }
        offset += step;
    }
    UNROLL for (int n = 0; n < vectors; n++)
    {
        ints shift = load(unit->shift + pass->channel + n * LANES);
        ints complement = load(unit->complement + pass->channel + n * LANES);
        complement = larger(complement, pass->complement_limit);
        int16_t *to = pass->out + (ptrdiff_t)(n / BLOCK_VECTORS) * (pass->width + 2) * PAIR +
                      (x + 1) * PAIR + n % BLOCK_VECTORS * LANES * 2;
        UNROLL for (int i = 0; i < pixels; i++)
        {
            store(to + i * PAIR, join(upper[i][n], lower[i][n], shift, complement));
        }
    }
}

INLINE void pointwise_tile(struct pointwise_pass *pass, const int pixels, const int vectors)
{
    for (int x = 0; x < pass->width; x += pixels) {
        pointwise_pixels(pass, x, pixels, vectors);
    }
    pass->channel += vectors * LANES;
    pass->out += (ptrdiff_t)(vectors / BLOCK_VECTORS) * (pass->width + 2) * PAIR;
}

static void clear_border(int channels, int width, int valid_width, int16_t *out)
{
    for (int block = 0; block < channels / FW_INT8_BLOCK; block++) {
        memset(out + (valid_width + 1) * PAIR, 0, PAIR * sizeof(*out));
        out += (width + 2) * PAIR;
    }
}

static void pointwise(const struct fw_int8_unit *unit, const uint8_t *row0, const uint8_t *row1,
                      bool has_second, int width, int valid_width, int16_t *out)
{
    static const int32_t limits[2] = {32, 0};
    struct pointwise_pass pass = {.unit = unit,
                                  .rows = {row0, has_second ? row1 : row0},
                                  .width = width,
                                  .complement_limit = repeat(&limits[has_second]),
                                  .out = out};
#if defined(__AVX512VNNI__)
    while (unit->out_channels - pass.channel >= 64) {
        pointwise_tile(&pass, 2, 4);
    }
    while (unit->out_channels - pass.channel >= 32) {
        pointwise_tile(&pass, 4, 2);
    }
    while (unit->out_channels - pass.channel > 0) {
        pointwise_tile(&pass, 4, 1);
    }
#else
    while (unit->out_channels - pass.channel > 0) {
        pointwise_tile(&pass, 2, BLOCK_VECTORS);
    }
#endif
    clear_border(unit->out_channels, width, valid_width, out);
}

// ---- the depthwise step

// One block of channels: where its pixels begin in the three pairs, and its constants.
struct depthwise_lane {
    const int16_t *pairs[3];
    const int16_t *weights;
    const int32_t *bias;
};

// Two rows of four pixels of one vector of channels. Each input is loaded once for both rows.
INLINE void depthwise_pixels(const struct depthwise_lane *lane, int x, const int n,
                             ints upper[][BLOCK_VECTORS], ints lower[][BLOCK_VECTORS])
{
    ints w[FW_INT8_KINDS * 3];
    UNROLL for (int k = 0; k < FW_INT8_KINDS * 3; k++)
    {
        w[k] = load(lane->weights + k * PAIR + n * LANES * 2);
    }
    UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
    {
        upper[i][n] = load(lane->bias + n * LANES);
        lower[i][n] = upper[i][n];
    }
    UNROLL for (int i = 0; i < FW_INT8_PIXELS + 2; i++)
    {
        int from = (x + i) * PAIR + n * LANES * 2;
        ints above = load(lane->pairs[0] + from), own = load(lane->pairs[1] + from);
        ints below = load(lane->pairs[2] + from);
        UNROLL for (int k = 0; k < 3; k++)
        {
            int to = i - k;
            if (to >= 0 && to < FW_INT8_PIXELS) {
                upper[to][n] = add_words(upper[to][n], above, w[FW_INT8_ABOVE * 3 + k]);
                upper[to][n] = add_words(upper[to][n], own, w[FW_INT8_UPPER * 3 + k]);
                lower[to][n] = add_words(lower[to][n], own, w[FW_INT8_LOWER * 3 + k]);
                lower[to][n] = add_words(lower[to][n], below, w[FW_INT8_BELOW * 3 + k]);
            }
        }
    }
}

INLINE struct depthwise_lane lane_of(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                                     int width, int block)
{
    ptrdiff_t offset = (ptrdiff_t)block * (width + 2) * PAIR;
    return (struct depthwise_lane){
        .pairs = {pairs[0] + offset, pairs[1] + offset, pairs[2] + offset},
        .weights = unit->depthwise + (ptrdiff_t)block * FW_INT8_KINDS * 3 * PAIR,
        .bias = unit->depthwise_bias + (ptrdiff_t)block * FW_INT8_BLOCK,
    };
}

static void depthwise(const struct fw_int8_unit *unit, const int16_t *const pairs[3], int width,
                      uint8_t *out0, uint8_t *out1)
{
    for (int block = 0; block < unit->out_channels / FW_INT8_BLOCK; block++) {
        struct depthwise_lane lane = lane_of(unit, pairs, width, block);
        for (int x = 0; x < width; x += FW_INT8_PIXELS) {
            ints upper[FW_INT8_PIXELS][BLOCK_VECTORS], lower[FW_INT8_PIXELS][BLOCK_VECTORS];
            UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
            {
                depthwise_pixels(&lane, x, n, upper, lower);
            }
            store_bytes(out0, (const ints(*)[BLOCK_VECTORS])upper);
            store_bytes(out1, (const ints(*)[BLOCK_VECTORS])lower);
            out0 += FW_INT8_PIXELS * FW_INT8_BLOCK;
            out1 += FW_INT8_PIXELS * FW_INT8_BLOCK;
        }
    }
}

// The maximum before rounding is the maximum after it: two pooled pixels from four.
INLINE void pool_pixels(const struct depthwise_lane *lane, int x, ints pooled[][BLOCK_VECTORS])
{
    ints upper[FW_INT8_PIXELS][BLOCK_VECTORS], lower[FW_INT8_PIXELS][BLOCK_VECTORS];
    UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
    {
        depthwise_pixels(lane, x, n, upper, lower);
        UNROLL for (int i = 0; i < 2; i++)
        {
            pooled[i][n] = larger(larger(upper[2 * i][n], upper[2 * i + 1][n]),
                                  larger(lower[2 * i][n], lower[2 * i + 1][n]));
        }
    }
}

static void depthwise_pool(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                           int width, int pooled_width, uint8_t *out)
{
    for (int block = 0; block < unit->out_channels / FW_INT8_BLOCK; block++) {
        struct depthwise_lane lane = lane_of(unit, pairs, width, block);
        for (int x = 0; x < pooled_width; x += FW_INT8_PIXELS) {
            ints pooled[FW_INT8_PIXELS][BLOCK_VECTORS];
            pool_pixels(&lane, 2 * x, pooled);
            pool_pixels(&lane, 2 * x + FW_INT8_PIXELS, pooled + 2);
            store_bytes(out, (const ints(*)[BLOCK_VECTORS])pooled);
            out += FW_INT8_PIXELS * FW_INT8_BLOCK;
        }
    }
}

static void depthwise_head(const struct fw_int8_unit *unit, const int16_t *const pairs[3],
                           int width, float *out0, float *out1)
{
    struct depthwise_lane lane = lane_of(unit, pairs, width, 0);
    for (int x = 0; x < width; x += FW_INT8_PIXELS) {
        ints upper[FW_INT8_PIXELS][BLOCK_VECTORS], lower[FW_INT8_PIXELS][BLOCK_VECTORS];
        UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
        {
            depthwise_pixels(&lane, x, n, upper, lower);
        }
        UNROLL for (int i = 0; i < FW_INT8_PIXELS; i++)
        {
            UNROLL for (int n = 0; n < BLOCK_VECTORS; n++)
            {
                size_t to = (size_t)(x + i) * FW_INT8_BLOCK + (size_t)n * LANES;
                store_scaled(out0 + to, upper[i][n], unit->scale + n * LANES);
                store_scaled(out1 + to, lower[i][n], unit->scale + n * LANES);
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
