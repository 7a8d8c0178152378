// The quantised network: the same bits on every instruction set that this machine has.
#include "nn_tests.h"

#include "nn/onnx.h"
#include "nn/quant_model.h"
#include "nn/quant_net.h"
#include <math.h>

static const char *const names[] = {"yunet_n_640_640.onnx", "yunet_s_640_640.onnx"};
static const int sizes[][2] = {{32, 32}, {96, 32}, {32, 160}, {352, 96}, {96, 224}, {288, 64}};
static const enum fw_isa isas[] = {FW_ISA_AVX2, FW_ISA_AVXVNNI, FW_ISA_AVX512, FW_ISA_NEON,
                                   FW_ISA_NEONDOT};

enum pattern { SMOOTH, NOISE, WHITE, CHECKS, PATTERNS };

static struct fw_quant_model *load(const char *name, enum fw_isa isa)
{
    struct file_bytes bytes = read_model(name);
    struct fw_quant_model *model;
    struct fw_error error = {0};
    int status = fw_quant_model_load(&model, bytes.data, bytes.length, isa, &error);
    free(bytes.data);
    if (status != FW_OK) {
        fail_msg("%s", error.message);
    }
    return model;
}

static uint8_t pixel_of(enum pattern pattern, int x, int y, uint32_t *random)
{
    float wave = 120 + 50 * sinf((float)x * 0.05f) + 50 * cosf((float)y * 0.11f);
    switch (pattern) {
    case SMOOTH:
        return (uint8_t)(wave + (float)(next_random(random) % 32));
    case NOISE:
        return (uint8_t)(next_random(random) % 256);
    case WHITE:
        return 255;
    case CHECKS:
        return (x / 3 + y) % 2 == 0 ? 0 : 255;
    case PATTERNS:
        break;
    }
    return 0;
}

static void fill(struct fw_quant *net, int width, int height, enum pattern pattern)
{
    size_t stride;
    uint32_t random = 88172645u;
    uint8_t *input = fw_quant_input(net, &stride);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width * 3; x++) {
            input[(size_t)y * stride + (size_t)x] = pixel_of(pattern, x, y, &random);
        }
    }
}

static struct fw_quant *make_net(struct fw_quant_model *model, int width, int height)
{
    struct fw_quant *net;
    struct fw_error error = {0};
    assert_int_equal(fw_quant_create(&net, model, width, height, &error), FW_OK);
    return net;
}

static void assert_same(const struct fw_yunet_level a[3], const struct fw_yunet_level b[3])
{
    for (int i = 0; i < 3; i++) {
        assert_int_equal(a[i].stride_px, 8 << i);
        assert_int_equal(a[i].width, b[i].width);
        assert_int_equal(a[i].height, b[i].height);
        assert_memory_equal(a[i].rows, b[i].rows,
                            (size_t)(a[i].width * a[i].height) * 16 * sizeof(float));
    }
}

// Runs the plain network once, and each of the others on the same picture.
static void compare(struct fw_quant_model *plain, struct fw_quant_model *const fast[], int count,
                    const int size[2])
{
    struct fw_quant *reference = make_net(plain, size[0], size[1]);
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        struct fw_yunet_level expected[3], levels[3];
        fill(reference, size[0], size[1], (enum pattern)pattern);
        fw_quant_run(reference, expected);
        assert_int_equal(expected[0].width, size[0] / 8);
        for (int i = 0; i < count; i++) {
            struct fw_quant *net = make_net(fast[i], size[0], size[1]);
            fill(net, size[0], size[1], (enum pattern)pattern);
            fw_quant_run(net, levels);
            assert_same(expected, levels);
            fw_quant_destroy(net);
        }
    }
    fw_quant_destroy(reference);
}

static void instruction_sets_give_the_same_bits(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        struct fw_quant_model *plain = load(names[n], FW_ISA_SCALAR);
        struct fw_quant_model *fast[sizeof(isas) / sizeof(isas[0])];
        int count = 0;
        for (size_t i = 0; i < sizeof(isas) / sizeof(isas[0]); i++) {
            if (fw_isa_is_available(isas[i])) {
                fast[count++] = load(names[n], isas[i]);
                print_message("%s: %s\n", fw_isa_name(isas[i]),
                              fw_quant_model_kernels(fast[count - 1]));
            }
        }
        assert_string_equal(fw_quant_model_kernels(plain), "scalar");
        for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
            compare(plain, fast, count, sizes[s]);
        }
        for (int i = 0; i < count; i++) {
            fw_quant_model_unref(fast[i]);
        }
        fw_quant_model_unref(plain);
    }
}

// What an earlier picture left in the rings must not show in a later one.
static void runs_do_not_depend_on_earlier_ones(void **state)
{
    struct fw_quant_model *model = load(names[0], FW_ISA_AUTO);
    struct fw_quant *used = make_net(model, 160, 96), *fresh = make_net(model, 160, 96);
    struct fw_yunet_level before[3], after[3], expected[3];
    (void)state;
    fill(used, 160, 96, WHITE);
    fw_quant_run(used, before);
    fill(used, 160, 96, SMOOTH);
    fill(fresh, 160, 96, SMOOTH);
    fw_quant_run(used, after);
    fw_quant_run(fresh, expected);
    assert_same(after, expected);
    fw_quant_destroy(used);
    fw_quant_destroy(fresh);
    fw_quant_model_unref(model);
}

static float mean_difference(const struct fw_yunet_level a[3], const struct fw_yunet_level b[3])
{
    float sum = 0;
    int count = 0;
    for (int level = 0; level < 3; level++) {
        int cells = a[level].width * a[level].height;
        for (int i = 0; i < cells * 16; i++) {
            sum += fabsf(a[level].rows[i] - b[level].rows[i]);
        }
        count += cells * 16;
    }
    return sum / (float)count;
}

static void is_close_to_fp32(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        struct file_bytes bytes = read_model(names[n]);
        struct fw_quant_model *model = load(names[n], FW_ISA_AUTO);
        struct fw_yunet_model *reference;
        struct fw_yunet_level levels[3], expected[3];
        struct fw_error error;
        struct fw_yunet *net;
        size_t stride, floats;
        assert_int_equal(
            fw_yunet_model_load(&reference, bytes.data, bytes.length, FW_ISA_AUTO, &error), FW_OK);
        assert_int_equal(fw_yunet_create(&net, reference, 320, 192, &error), FW_OK);
        struct fw_quant *quant = make_net(model, 320, 192);
        fill(quant, 320, 192, SMOOTH);
        const uint8_t *from = fw_quant_input(quant, &stride);
        float *to = fw_yunet_input(net, &floats);
        for (size_t y = 0; y < 192; y++) {
            for (size_t x = 0; x < 320 * 3; x++) {
                to[y * floats + x] = from[y * stride + x];
            }
        }
        fw_quant_run(quant, levels);
        fw_yunet_run(net, expected);
        float difference = mean_difference(levels, expected);
        print_message("%s: mean difference %g\n", names[n], (double)difference);
        assert_true(difference > 0 && difference < 0.05f);
        fw_quant_destroy(quant);
        fw_yunet_destroy(net);
        fw_quant_model_unref(model);
        fw_yunet_model_unref(reference);
        free(bytes.data);
    }
}

static void refuses_impossible_sizes(void **state)
{
    static const int wrong[][2] = {{0, 32}, {32, 31}, {-32, 32}, {48, 64}, {8224, 32}};
    struct fw_quant_model *model = load(names[1], FW_ISA_AUTO);
    struct fw_error error;
    struct fw_quant *net;
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(fw_quant_create(&net, model, wrong[i][0], wrong[i][1], &error), FW_EINVAL);
        assert_null(net);
    }
    fw_quant_model_unref(model);
}

static int try_load(const struct file_bytes *bytes, enum fw_isa isa, struct fw_error *error)
{
    struct fw_quant_model *model;
    *error = (struct fw_error){0};
    int status = fw_quant_model_load(&model, bytes->data, bytes->length, isa, error);
    assert_true(status == FW_OK ? model != NULL : model == NULL && error->code == status);
    fw_quant_model_unref(model);
    return status;
}

// One weight differs: another training, of which nobody knows how large its activations become.
static void refuses_models_that_were_never_calibrated(void **state)
{
    struct file_bytes bytes = read_model(names[0]);
    struct fw_onnx_graph graph;
    struct fw_error error;
    (void)state;
    assert_int_equal(fw_onnx_read(&graph, bytes.data, bytes.length, &error), FW_OK);
    uint8_t *weight = find_bytes(&bytes, graph.tensors[0].values, 16);
    fw_onnx_free(&graph);
    assert_int_equal(try_load(&bytes, FW_ISA_AUTO, &error), FW_OK);
    *weight ^= 1;
    assert_int_equal(try_load(&bytes, FW_ISA_AUTO, &error), FW_ENOTSUP);
    assert_non_null(strstr(error.message, "never calibrated"));
    free(bytes.data);
}

static void refuses_what_fp32_refuses(void **state)
{
    enum fw_isa missing = fw_isa_is_available(FW_ISA_NEON) ? FW_ISA_AVX2 : FW_ISA_NEON;
    struct file_bytes bytes = read_model(names[1]);
    struct fw_error error;
    (void)state;
    assert_int_equal(try_load(&bytes, missing, &error), FW_ENOTSUP);
    bytes.length /= 2;
    assert_int_equal(try_load(&bytes, FW_ISA_AUTO, &error), FW_EFORMAT);
    bytes.length = 0;
    assert_int_equal(try_load(&bytes, FW_ISA_AUTO, &error), FW_EFORMAT);
    free(bytes.data);
}

// A model with its plan, to be packed with ranges that differ from the true ones.
struct fixture {
    struct file_bytes bytes;
    struct fw_onnx_graph graph;
    struct fw_yunet_plan plan;
    struct fw_quant_ranges ranges;
    struct fw_quant_range layers[FW_YUNET_MAX_UNITS + 1];
};

static struct fixture *make_fixture(void)
{
    struct file_bytes bytes = read_model(names[0]);
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct fw_error error;
    assert_non_null(fixture);
    fixture->bytes = bytes;
    assert_int_equal(
        fw_onnx_read(&fixture->graph, fixture->bytes.data, fixture->bytes.length, &error), FW_OK);
    assert_int_equal(fw_yunet_match(&fixture->graph, &fixture->plan, &error), FW_OK);
    const struct fw_quant_ranges *ranges =
        fw_quant_ranges_find(fw_quant_fingerprint(&fixture->plan));
    assert_non_null(ranges);
    fixture->ranges = *ranges;
    assert_true(ranges->layer_count <= FW_YUNET_MAX_UNITS + 1);
    memcpy(fixture->layers, ranges->layers, (size_t)ranges->layer_count * sizeof(*ranges->layers));
    fixture->ranges.layers = fixture->layers;
    return fixture;
}

static void free_fixture(struct fixture *fixture)
{
    fw_onnx_free(&fixture->graph);
    free(fixture->bytes.data);
    free(fixture);
}

static int try_pack(const struct fixture *fixture, struct fw_error *error)
{
    struct fw_quant_model *model = calloc(1, sizeof(*model));
    assert_non_null(model);
    atomic_init(&model->references, 1);
    *error = (struct fw_error){0};
    int status = fw_quant_pack(model, &fixture->plan, &fixture->ranges, error);
    fw_quant_model_unref(model);
    return status;
}

static void refuses_ranges_that_do_not_fit(void **state)
{
    struct fixture *fixture = make_fixture();
    struct fw_error error;
    (void)state;
    assert_int_equal(try_pack(fixture, &error), FW_OK);
    fixture->ranges.layer_count--;
    assert_int_equal(try_pack(fixture, &error), FW_ENOTSUP);
    fixture->ranges.layer_count++;
    const char *channels = fixture->layers[2].channels;
    fixture->layers[2].channels = channels + 1; // one channel lacks its range
    assert_int_equal(try_pack(fixture, &error), FW_ENOTSUP);
    fixture->layers[2].channels = channels;
    // Far too small: the sums would not fit 32 bits.
    float max = fixture->layers[2].max;
    fixture->layers[2].max = max / 1e6f;
    assert_int_equal(try_pack(fixture, &error), FW_ENOTSUP);
    fixture->layers[2].max = max;
    fixture->layers[0].max /= 1e6f;
    assert_int_equal(try_pack(fixture, &error), FW_ENOTSUP);
    free_fixture(fixture);
}

// A unit that no head is: its result is read by another one.
static struct fw_unit_plan *find_read_unit(struct fixture *fixture)
{
    for (int i = 0; i < fixture->plan.unit_count; i++) {
        int source = fixture->plan.units[i].source;
        if (source != FW_YUNET_STEM) {
            return &fixture->plan.units[source];
        }
    }
    fail_msg("no unit reads another one");
    return &fixture->plan.units[0]; // for the compiler; the test has failed
}

// The same weights in another order of things: what was measured says nothing about it.
static void a_fingerprint_is_of_the_wiring_too(void **state)
{
    struct fixture *fixture = make_fixture();
    struct fw_unit_plan *unit = find_read_unit(fixture);
    uint64_t fingerprint = fw_quant_fingerprint(&fixture->plan);
    const struct fw_unit_plan before = *unit;
    (void)state;
    unit->relu = !unit->relu;
    assert_true(fw_quant_fingerprint(&fixture->plan) != fingerprint);
    *unit = before;
    unit->pooled = !unit->pooled;
    assert_true(fw_quant_fingerprint(&fixture->plan) != fingerprint);
    *unit = before;
    unit->upsampled = 0;
    assert_true(fw_quant_fingerprint(&fixture->plan) != fingerprint);
    *unit = before;
    unit->source++;
    assert_true(fw_quant_fingerprint(&fixture->plan) != fingerprint);
    *unit = before;
    assert_true(fw_quant_fingerprint(&fixture->plan) == fingerprint);
    free_fixture(fixture);
}

// Its result would be floats, which nobody reads.
static void refuses_units_without_relu_before_others(void **state)
{
    struct fixture *fixture = make_fixture();
    struct fw_error error;
    (void)state;
    find_read_unit(fixture)->relu = false;
    assert_int_equal(try_pack(fixture, &error), FW_ENOTSUP);
    assert_non_null(strstr(error.message, "no ReLU"));
    free_fixture(fixture);
}

static void refuses_sums_of_maps_with_different_steps(void **state)
{
    struct fixture *fixture = make_fixture();
    struct fw_error error;
    int upsampled = FW_YUNET_NONE;
    (void)state;
    for (int i = 0; i < fixture->plan.unit_count && upsampled == FW_YUNET_NONE; i++) {
        upsampled = fixture->plan.units[i].upsampled;
    }
    assert_int_not_equal(upsampled, FW_YUNET_NONE);
    fixture->layers[upsampled + 1].max *= 1.5f;
    assert_int_equal(try_pack(fixture, &error), FW_ENOTSUP);
    assert_non_null(strstr(error.message, "different steps"));
    free_fixture(fixture);
}

static void is_advised_where_it_is_fast_and_right(void **state)
{
    (void)state;
    for (size_t n = 0; n < 2; n++) {
        struct fw_quant_model *model = load(names[n], FW_ISA_AUTO);
        struct fw_quant_ranges worse = *model->ranges;
        if (fw_isa_is_available(FW_ISA_AVXVNNI) || fw_isa_is_available(FW_ISA_NEONDOT)) {
            assert_true(fw_quant_model_is_advised(model));
        }
        model->is_faster = true;
        assert_true(fw_quant_model_is_advised(model));
        const struct fw_quant_ranges *measured = model->ranges;
        worse.losses[FW_QUANT_MEDIUM] = 0.0051f;
        model->ranges = &worse;
        assert_false(fw_quant_model_is_advised(model));
        worse.losses[FW_QUANT_MEDIUM] = NAN;
        assert_false(fw_quant_model_is_advised(model));
        model->ranges = measured;
        model->is_faster = false;
        assert_false(fw_quant_model_is_advised(model));
        fw_quant_model_unref(model);
    }
    struct fw_quant_model *plain = load(names[0], FW_ISA_SCALAR);
    assert_false(fw_quant_model_is_advised(plain));
    fw_quant_model_unref(plain);
}

static void says_where_its_time_goes(void **state)
{
    struct fw_quant_model *model = load(names[0], FW_ISA_AUTO);
    struct fw_quant *net = make_net(model, 96, 64);
    struct fw_yunet_level levels[3];
    int count = fw_quant_part_count(net);
    int64_t *part_ns = calloc((size_t)count, sizeof(*part_ns)), sum = 0;
    char name[48];
    (void)state;
    assert_non_null(part_ns);
    fw_quant_profile(net, part_ns);
    fw_quant_run(net, levels);
    for (int i = 0; i < count; i++) {
        fw_quant_part_name(net, i, name);
        assert_true(part_ns[i] > 0 && strlen(name) > 5);
        sum += part_ns[i];
    }
    fw_quant_part_name(net, 1, name);
    print_message("%s\n", name);
    assert_non_null(strstr(name, "channels"));
    fw_quant_profile(net, NULL);
    fw_quant_run(net, levels);
    for (int i = 0; i < count; i++) {
        sum -= part_ns[i];
    }
    assert_int_equal(sum, 0);
    free(part_ns);
    fw_quant_destroy(net);
    fw_quant_model_unref(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instruction_sets_give_the_same_bits),
        cmocka_unit_test(runs_do_not_depend_on_earlier_ones),
        cmocka_unit_test(is_close_to_fp32),
        cmocka_unit_test(refuses_impossible_sizes),
        cmocka_unit_test(refuses_models_that_were_never_calibrated),
        cmocka_unit_test(refuses_what_fp32_refuses),
        cmocka_unit_test(refuses_ranges_that_do_not_fit),
        cmocka_unit_test(a_fingerprint_is_of_the_wiring_too),
        cmocka_unit_test(refuses_units_without_relu_before_others),
        cmocka_unit_test(refuses_sums_of_maps_with_different_steps),
        cmocka_unit_test(is_advised_where_it_is_fast_and_right),
        cmocka_unit_test(says_where_its_time_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
