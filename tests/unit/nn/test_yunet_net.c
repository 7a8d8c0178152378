// The network on every instruction set that this machine has.
#include "nn_tests.h"

#include "nn/yunet_net.h"
#include <math.h>

static struct fw_yunet_model *load(const char *name, enum fw_isa isa)
{
    struct file_bytes bytes = read_model(name);
    struct fw_yunet_model *model;
    struct fw_error error = {0};
    int status = fw_yunet_model_load(&model, bytes.data, bytes.length, isa, &error);
    free(bytes.data);
    if (status != FW_OK) {
        fail_msg("%s", error.message);
    }
    return model;
}

// Smooth blobs and noise: every layer gets something to do.
static void fill(struct fw_yunet *net, int width, int height)
{
    size_t stride;
    uint32_t random = 88172645u;
    float *input = fw_yunet_input(net, &stride);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width * 3; x++) {
            float wave = 100 + 60 * sinf((float)x * 0.05f) + 60 * cosf((float)y * 0.11f);
            input[(size_t)y * stride + (size_t)x] =
                floorf(wave + (float)(next_random(&random) % 32));
        }
    }
}

static struct fw_yunet *make_net(struct fw_yunet_model *model, int width, int height)
{
    struct fw_yunet *net;
    struct fw_error error = {0};
    assert_int_equal(fw_yunet_create(&net, model, width, height, &error), FW_OK);
    fill(net, width, height);
    return net;
}

static float largest_difference(const struct fw_yunet_level *a, const struct fw_yunet_level *b)
{
    float largest = 0;
    assert_int_equal(a->stride_px, b->stride_px);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->height, b->height);
    for (int i = 0; i < a->width * a->height * 16; i++) {
        // Written so that NaN counts as a difference.
        float difference = fabsf(a->rows[i] - b->rows[i]);
        largest = difference <= largest ? largest : difference;
    }
    return largest;
}

static void compare_isas(const char *name, enum fw_isa isa, int width, int height)
{
    struct fw_yunet_model *plain = load(name, FW_ISA_SCALAR), *fast = load(name, isa);
    struct fw_yunet *a = make_net(plain, width, height), *b = make_net(fast, width, height);
    struct fw_yunet_level expected[3], levels[3];
    fw_yunet_run(a, expected);
    fw_yunet_run(b, levels);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(levels[i].stride_px, 8 << i);
        assert_int_equal(levels[i].width, width / (8 << i));
        assert_true(largest_difference(&expected[i], &levels[i]) < 1e-4f);
    }
    fw_yunet_destroy(a);
    fw_yunet_destroy(b);
    fw_yunet_model_unref(plain);
    fw_yunet_model_unref(fast);
}

static void instruction_sets_agree(void **state)
{
    static const int sizes[][2] = {{32, 32}, {96, 32}, {32, 160}, {352, 288}, {416, 96}};
    int compared = 0;
    (void)state;
    for (int isa = FW_ISA_AVX2; isa <= FW_ISA_NEON; isa++) {
        for (size_t i = 0; fw_isa_is_available((enum fw_isa)isa) && i < 5; i++) {
            compare_isas("yunet_n_640_640.onnx", (enum fw_isa)isa, sizes[i][0], sizes[i][1]);
            compare_isas("yunet_s_640_640.onnx", (enum fw_isa)isa, sizes[i][0], sizes[i][1]);
            compared++;
        }
    }
    if (compared == 0) {
        skip();
    }
}

// What an earlier picture left in the rings must not show in a later one.
static void runs_do_not_depend_on_earlier_ones(void **state)
{
    struct fw_yunet_model *model = load("yunet_n_640_640.onnx", FW_ISA_AUTO);
    struct fw_yunet *used = make_net(model, 160, 96), *fresh = make_net(model, 160, 96);
    struct fw_yunet_level before[3], after[3], expected[3];
    size_t stride;
    (void)state;
    float *input = fw_yunet_input(used, &stride);
    for (size_t i = 0; i < 96 * stride - 3; i++) {
        input[i] = (i + 3) % stride < 3 ? 0 : 255; // the zero pixel before each row stays
    }
    fw_yunet_run(used, before);
    fill(used, 160, 96);
    fw_yunet_run(used, after);
    fw_yunet_run(fresh, expected);
    for (int i = 0; i < 3; i++) {
        size_t bytes = (size_t)(after[i].width * after[i].height) * 16 * sizeof(float);
        assert_memory_equal(after[i].rows, expected[i].rows, bytes);
    }
    fw_yunet_destroy(used);
    fw_yunet_destroy(fresh);
    fw_yunet_model_unref(model);
}

static void gives_probabilities(void **state)
{
    struct fw_yunet_model *model = load("yunet_n_640_640.onnx", FW_ISA_AUTO);
    struct fw_yunet *net = make_net(model, 320, 192);
    struct fw_yunet_level levels[3];
    (void)state;
    fw_yunet_run(net, levels);
    for (int level = 0; level < 3; level++) {
        for (int i = 0; i < levels[level].width * levels[level].height; i++) {
            const float *row = levels[level].rows + (size_t)i * 16;
            assert_true(row[0] >= 0 && row[0] <= 1 && row[1] >= 0 && row[1] <= 1);
        }
    }
    fw_yunet_destroy(net);
    fw_yunet_model_unref(model);
}

static void refuses_impossible_sizes(void **state)
{
    static const int sizes[][2] = {{0, 32}, {32, 31}, {-32, 32}, {48, 64}, {8224, 32}};
    struct fw_yunet_model *model = load("yunet_s_640_640.onnx", FW_ISA_AUTO);
    struct fw_error error;
    struct fw_yunet *net;
    (void)state;
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(fw_yunet_create(&net, model, sizes[i][0], sizes[i][1], &error), FW_EINVAL);
        assert_null(net);
    }
    fw_yunet_model_unref(model);
}

static void knows_its_instruction_sets(void **state)
{
    (void)state;
    assert_int_equal(fw_isa_parse("auto"), FW_ISA_AUTO);
    assert_int_equal(fw_isa_parse("avx512"), FW_ISA_AVX512);
    assert_int_equal(fw_isa_parse("sse9"), -1);
    assert_string_equal(fw_isa_name(FW_ISA_NEON), "neon");
    assert_true(fw_isa_is_available(FW_ISA_SCALAR));
    assert_true(fw_isa_is_available(fw_isa_best()));
    assert_int_not_equal(fw_isa_best(), FW_ISA_AUTO);
    // No processor has both.
    assert_false(fw_isa_is_available(FW_ISA_NEON) && fw_isa_is_available(FW_ISA_AVX2));
}

static void refuses_missing_instruction_sets(void **state)
{
    enum fw_isa missing = fw_isa_is_available(FW_ISA_NEON) ? FW_ISA_AVX2 : FW_ISA_NEON;
    struct file_bytes bytes = read_model("yunet_s_640_640.onnx");
    struct fw_error error;
    struct fw_yunet_model *model;
    (void)state;
    assert_int_equal(fw_yunet_model_load(&model, bytes.data, bytes.length, missing, &error),
                     FW_ENOTSUP);
    assert_null(model);
    free(bytes.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instruction_sets_agree),
        cmocka_unit_test(runs_do_not_depend_on_earlier_ones),
        cmocka_unit_test(gives_probabilities),
        cmocka_unit_test(refuses_impossible_sizes),
        cmocka_unit_test(knows_its_instruction_sets),
        cmocka_unit_test(refuses_missing_instruction_sets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
