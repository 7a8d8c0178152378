// The vector kernels against the plain ones, step by step, on every instruction set that this
// machine has: every width up to some tiles, and channels that make every kind of tile.
#include "nn_tests.h"

#include "nn/aligned.h"
#include "nn/isa.h"
#include "nn/kernels.h"
#include "nn/unit_weights.h"
#include "util/error.h"
#include <math.h>

enum { WIDEST = 29, MOST = 160 };

// What is written, and what must not be, beyond rows that are full.
#define UNTOUCHED 77.0f

static const int shapes[][2] = {{16, 16}, {16, 64},  {64, 16},  {64, 64}, {32, 32},
                                {48, 48}, {32, 160}, {160, 96}, {96, 48}, {320, 64}};
enum { SHAPES = sizeof(shapes) / sizeof(shapes[0]) };

static void randomise(float *floats, size_t count, uint32_t *random)
{
    for (size_t i = 0; i < count; i++) {
        floats[i] = (float)(next_random(random) % 2001) / 1000 - 1;
    }
}

static float *make_floats(size_t count, uint32_t *random)
{
    float *floats = fw_floats_create(1, count);
    assert_non_null(floats);
    randomise(floats, count, random);
    return floats;
}

static float *make_untouched(size_t count)
{
    float *floats = fw_floats_create(1, count);
    assert_non_null(floats);
    for (size_t i = 0; i < count; i++) {
        floats[i] = UNTOUCHED;
    }
    return floats;
}

static void assert_close(const char *what, const float *expected, const float *values, size_t count,
                         float tolerance)
{
    for (size_t i = 0; i < count; i++) {
        // Written so that NaN counts as a difference.
        if (!(fabsf(expected[i] - values[i]) <= tolerance)) {
            fail_msg("%s: %zu of %zu: %g instead of %g", what, i, count, (double)values[i],
                     (double)expected[i]);
        }
    }
}

static struct fw_unit_weights make_weights(int in, int out, bool relu, uint32_t *random)
{
    struct fw_unit_weights weights = {.relu = relu};
    assert_int_equal(fw_unit_weights_alloc(&weights, in, out), FW_OK);
    randomise(weights.pointwise, (size_t)in * (size_t)out, random);
    randomise(weights.pointwise_bias, (size_t)out, random);
    randomise(weights.depthwise, 9 * (size_t)out, random);
    randomise(weights.depthwise_bias, (size_t)out, random);
    fw_unit_weights_derive(&weights);
    return weights;
}

static void compare_pointwise(const struct fw_kernels *kernels,
                              const struct fw_unit_weights *weights, int width, uint32_t *random)
{
    size_t in = (size_t)(width * weights->in_channels);
    size_t stride = (size_t)(width + 2) * FW_BLOCK;
    size_t out = stride * (size_t)weights->out_channels / FW_BLOCK;
    float *input = make_floats(2 * in, random);
    float *expected = make_untouched(2 * out), *values = make_untouched(2 * out);
    const float *rows[2] = {input, input + in};
    float *to[2] = {expected + FW_BLOCK, expected + out + FW_BLOCK};
    fw_kernels_scalar.pointwise(weights, rows, width, to, stride);
    to[0] = values + FW_BLOCK;
    to[1] = values + out + FW_BLOCK;
    kernels->pointwise(weights, rows, width, to, stride);
    // Sums of up to 320 products of numbers up to 1; the seven products add some more before.
    assert_close("pointwise", expected, values, 2 * out, 1e-4f);
    free(input);
    free(expected);
    free(values);
}

static void compare_depthwise(const struct fw_kernels *kernels,
                              const struct fw_unit_weights *weights, int width, bool whole,
                              bool pooled, uint32_t *random)
{
    size_t stride = (size_t)(width + 2) * FW_BLOCK;
    size_t in = stride * (size_t)weights->out_channels / FW_BLOCK;
    size_t out = (size_t)(width * weights->out_channels), all = 2 * out + out / 2;
    float *input = make_floats(4 * in, random);
    float *expected = make_untouched(all), *values = make_untouched(all);
    const float *rows[4] = {input, input + in, input + 2 * in, input + 3 * in};
    float *to[2] = {whole ? expected : NULL, whole ? expected + out : NULL};
    fw_kernels_scalar.depthwise(weights, rows, stride, width, to,
                                pooled ? expected + 2 * out : NULL);
    to[0] = whole ? values : NULL;
    to[1] = whole ? values + out : NULL;
    kernels->depthwise(weights, rows, stride, width, to, pooled ? values + 2 * out : NULL);
    assert_close("depthwise", expected, values, all, 1e-5f);
    free(input);
    free(expected);
    free(values);
}

static void compare_units(const struct fw_kernels *kernels)
{
    uint32_t random = 2463534242u;
    for (int i = 0; i < SHAPES; i++) {
        struct fw_unit_weights weights =
            make_weights(shapes[i][0], shapes[i][1], i % 2 == 0, &random);
        for (int width = 1; width <= WIDEST; width++) {
            compare_pointwise(kernels, &weights, width, &random);
            compare_depthwise(kernels, &weights, width, true, false, &random);
            if (width % 2 == 0) {
                compare_depthwise(kernels, &weights, width, true, true, &random);
                compare_depthwise(kernels, &weights, width, false, true, &random);
            }
        }
        fw_unit_weights_free(&weights);
    }
}

static void compare_stem(const struct fw_kernels *kernels, int channels, int width)
{
    uint32_t random = 1234567u;
    size_t stride = (size_t)(2 * width + 1) * 3, out = (size_t)(width * channels);
    float *picture = make_floats(5 * stride, &random);
    float *weights = make_floats(27 * (size_t)channels, &random);
    float *bias = make_floats((size_t)channels, &random);
    float *expected = make_untouched(out), *values = make_untouched(out);
    const float *rows[5];
    for (size_t y = 0; y < 5; y++) {
        rows[y] = picture + y * stride;
    }
    fw_kernels_scalar.stem(rows, weights, bias, channels, width, expected);
    kernels->stem(rows, weights, bias, channels, width, values);
    assert_close("stem", expected, values, out, 1e-5f);
    free(picture);
    free(weights);
    free(bias);
    free(expected);
    free(values);
}

static void compare_small_steps(const struct fw_kernels *kernels, int channels, int width)
{
    uint32_t random = 7654321u;
    size_t row = (size_t)(width * channels);
    float *rows = make_floats(4 * row, &random), *half = make_floats(row + MOST, &random);
    float *expected = make_untouched(row), *values = make_untouched(row);
    fw_kernels_scalar.pool(rows, rows + 2 * row, channels, width, expected);
    kernels->pool(rows, rows + 2 * row, channels, width, values);
    assert_close("pool", expected, values, row, 0);
    fw_kernels_scalar.add_doubled(rows, half, channels, width, expected);
    kernels->add_doubled(rows, half, channels, width, values);
    assert_close("add_doubled", expected, values, row, 0);
    free(rows);
    free(half);
    free(expected);
    free(values);
}

// From where the probability is 0 to where it is 1, and both infinities.
static void compare_probabilities(const struct fw_kernels *kernels, size_t cells)
{
    uint32_t random = 99u;
    float *expected = make_floats(cells * FW_BLOCK, &random), *values = make_untouched(cells * 16);
    for (size_t i = 0; i < cells; i++) {
        expected[i * FW_BLOCK] = -120 + (float)i * 240 / (float)cells;
        expected[i * FW_BLOCK + 1] *= 8;
    }
    expected[0] = -INFINITY;
    expected[1] = INFINITY;
    memcpy(values, expected, cells * FW_BLOCK * sizeof(float));
    fw_kernels_scalar.probabilities(expected, cells);
    kernels->probabilities(values, cells);
    assert_close("probabilities", expected, values, cells * FW_BLOCK, 3e-7f);
    free(expected);
    free(values);
}

static void kernels_agree_with_the_plain_ones(void **state)
{
    int compared = 0;
    (void)state;
    for (int isa = FW_ISA_AVX2; isa <= FW_ISA_NEON; isa++) {
        const struct fw_kernels *kernels = fw_kernels_for((enum fw_isa)isa);
        if (kernels == NULL) {
            continue;
        }
        compared++;
        compare_units(kernels);
        compare_probabilities(kernels, 1);
        compare_probabilities(kernels, 1001);
        for (int channels = FW_BLOCK; channels <= 3 * FW_BLOCK; channels += FW_BLOCK) {
            compare_stem(kernels, channels, 16);
            compare_stem(kernels, channels, 80);
            for (int width = 1; width <= 5; width++) {
                compare_small_steps(kernels, channels, width);
            }
        }
    }
    if (compared == 0) {
        skip();
    }
}

// The seven products need halves of whole blocks.
static void knows_when_seven_products_do(void **state)
{
    uint32_t random = 5u;
    (void)state;
    for (int i = 0; i < SHAPES; i++) {
        struct fw_unit_weights weights = make_weights(shapes[i][0], shapes[i][1], true, &random);
        bool halves =
            shapes[i][0] % 32 == 0 && shapes[i][1] % 32 == 0 && shapes[i][0] <= FW_PRODUCT_INPUTS;
        assert_int_equal(weights.products != NULL, halves);
        fw_unit_weights_free(&weights);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_agree_with_the_plain_ones),
        cmocka_unit_test(knows_when_seven_products_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
