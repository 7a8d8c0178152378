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

// ---- scaling

#if defined(__AVX512VNNI__)

// Compilers make little of sums over three neighbours, and 3 and 6 are what 1080p comes down by.
// Every third element from three vectors: the upper bits of the index say which of the first two
// it lies in, and the mask says for which ones it is the third.
INLINE ints third_words(const ints v[3], ints index)
{
    ints found = _mm512_permutex2var_epi16(v[0], index, v[1]);
    __mmask32 in_last = _mm512_cmpge_epu16_mask(index, _mm512_set1_epi16(64));
    return _mm512_mask_permutexvar_epi16(found, in_last, index, v[2]);
}

INLINE ints third_ints(const ints v[3], ints index)
{
    ints found = _mm512_permutex2var_epi32(v[0], index, v[1]);
    __mmask16 in_last = _mm512_cmpge_epu32_mask(index, _mm512_set1_epi32(32));
    return _mm512_mask_permutexvar_epi32(found, in_last, index, v[2]);
}

// The first, second and third of each three words, 32 of each.
INLINE void split_threes(const uint16_t *from, ints parts[3])
{
    int16_t indices[32];
    UNROLL for (int i = 0; i < 32; i++)
    {
        indices[i] = (int16_t)(3 * i);
    }
    ints index = _mm512_loadu_si512(indices);
    const ints v[3] = {_mm512_loadu_si512(from), _mm512_loadu_si512(from + 32),
                       _mm512_loadu_si512(from + 64)};
    UNROLL for (int i = 0; i < 3; i++)
    {
        parts[i] = third_words(v, index);
        index = _mm512_add_epi16(index, _mm512_set1_epi16(1));
    }
}

// 16 sums of six words, as ints.
INLINE ints sextuples_of_words(const uint16_t *from)
{
    const ints first =
        _mm512_setr_epi32(0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, 33, 36, 39, 42, 45);
    const ints one = _mm512_set1_epi32(1);
    ints v[3];
    UNROLL for (int i = 0; i < 3; i++)
    {
        ints words = _mm512_loadu_si512(from + 32 * i);
        v[i] = _mm512_add_epi32(_mm512_and_si512(words, _mm512_set1_epi32(0xffff)),
                                _mm512_srli_epi32(words, 16));
    }
    ints second = _mm512_add_epi32(first, one);
    return _mm512_add_epi32(_mm512_add_epi32(third_ints(v, first), third_ints(v, second)),
                            third_ints(v, _mm512_add_epi32(second, one)));
}

// mean_of() of 16 sums.
INLINE __m256i means_of(ints sums, uint32_t reciprocal)
{
    ints products = _mm512_mullo_epi32(sums, _mm512_set1_epi32((int32_t)reciprocal));
    products = _mm512_add_epi32(products, _mm512_set1_epi32(1 << 15));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(products, 16));
}

// The same of 32 sums.
INLINE ints means_of_words(ints sums, uint32_t reciprocal)
{
    ints low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(sums));
    ints high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(sums, 1));
    return _mm512_inserti64x4(_mm512_castsi256_si512(means_of(low, reciprocal)),
                              means_of(high, reciprocal), 1);
}

// 32 means of threes.
INLINE void average_threes(const uint16_t *sums, uint16_t *means)
{
    ints parts[3];
    split_threes(sums, parts);
    ints triples = _mm512_add_epi16(_mm512_add_epi16(parts[0], parts[1]), parts[2]);
    _mm512_storeu_si512(means, means_of_words(triples, reciprocal_of(3 * 3)));
}

// 64 means of one and a half.
INLINE void average_halves(const uint16_t *sums, uint16_t *means)
{
    ints parts[3], sides[2];
    split_threes(sums, parts);
    for (int i = 0; i < 2; i++) {
        ints doubled = _mm512_add_epi16(parts[2 * i], parts[2 * i]);
        sides[i] = means_of_words(_mm512_add_epi16(doubled, parts[1]), reciprocal_of(3 * 3));
    }
    // Left and right one after the other, within each 128 bits and then across them.
    ints first = _mm512_unpacklo_epi16(sides[0], sides[1]);
    ints second = _mm512_unpackhi_epi16(sides[0], sides[1]);
    const ints low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const ints high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    _mm512_storeu_si512(means, _mm512_permutex2var_epi64(first, low, second));
    _mm512_storeu_si512(means + 32, _mm512_permutex2var_epi64(first, high, second));
}

static void average_wide(const uint16_t *sums, int halves, int channels, int width, uint16_t *means)
{
    int x = 0;
    switch (channels == 1 ? halves : 0) {
    case 3:
        for (; x + 64 <= width; x += 64) {
            average_halves(sums + x / 2 * 3, means + x);
        }
        break;
    case 6:
        for (; x + 32 <= width; x += 32) {
            average_threes(sums + 3 * x, means + x);
        }
        break;
    case 12:
        for (; x + 16 <= width; x += 16) {
            _mm256_storeu_si256((void *)(means + x),
                                means_of(sextuples_of_words(sums + 6 * x), reciprocal_of(6 * 6)));
        }
        break;
    default:
        break;
    }
    average(sums + x * halves / 2 * channels, halves, channels, width - x, means + x * channels);
}

#else

static void average_wide(const uint16_t *sums, int halves, int channels, int width, uint16_t *means)
{
    average(sums, halves, channels, width, means);
}

#endif

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
    .average = average_wide,
    .convert = convert,
};
