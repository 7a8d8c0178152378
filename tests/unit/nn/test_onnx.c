// Model files that are cut, damaged, hostile or of another network: an error, and never worse.
#include "nn_tests.h"

#include "nn/onnx.h"
#include "nn/yunet_net.h"

static int try_load(const uint8_t *data, size_t length, struct fw_error *error)
{
    struct fw_yunet_model *model;
    *error = (struct fw_error){0};
    int status = fw_yunet_model_load(&model, data, length, FW_ISA_SCALAR, error);
    if (status == FW_OK) {
        assert_non_null(model);
    } else {
        assert_null(model);
        assert_int_equal(error->code, status);
        assert_true(strlen(error->message) > 20);
    }
    fw_yunet_model_unref(model);
    return status;
}

static void loads_both_networks(void **state)
{
    static const char *const names[] = {"yunet_n_640_640.onnx", "yunet_s_640_640.onnx"};
    struct fw_error error;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct file_bytes bytes = read_model(names[i]);
        assert_int_equal(try_load(bytes.data, bytes.length, &error), FW_OK);
        free(bytes.data);
    }
}

// A copy of its own for each length, so that a sanitizer sees a read behind the end.
static void refuses_every_cut(void **state)
{
    struct file_bytes bytes = read_model("yunet_s_640_640.onnx");
    struct fw_error error;
    (void)state;
    for (size_t length = 0; length < bytes.length; length += length < 4000 ? 1 : 251) {
        uint8_t *part = malloc(length + (length == 0));
        assert_non_null(part);
        memcpy(part, bytes.data, length);
        int status = try_load(part, length, &error);
        free(part);
        // Without its last field (the operator set) the file is still whole to us.
        if (status != FW_OK) {
            assert_true(status == FW_EFORMAT || status == FW_ENOTSUP);
        } else {
            assert_true(length + 64 > bytes.length);
        }
    }
    free(bytes.data);
}

static void survives_flipped_bits(void **state)
{
    struct file_bytes bytes = read_model("yunet_s_640_640.onnx");
    struct fw_error error;
    uint32_t random = 2463534242u;
    int failed = 0;
    (void)state;
    for (int i = 0; i < 4000; i++) {
        // The nodes come first in the file; most of the rest is weights.
        size_t range = i % 2 == 0 ? 20000 : bytes.length;
        size_t position = next_random(&random) % range;
        uint8_t mask = (uint8_t)(1u << next_random(&random) % 8);
        bytes.data[position] ^= mask;
        failed += try_load(bytes.data, bytes.length, &error) != FW_OK;
        bytes.data[position] ^= mask;
    }
    assert_true(failed > 100);
    assert_int_equal(try_load(bytes.data, bytes.length, &error), FW_OK);
    free(bytes.data);
}

static void refuses_what_is_not_onnx(void **state)
{
    static const char page[] = "<!DOCTYPE html><html><body>404 Not Found</body></html>";
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:25a6\n";
    struct fw_error error;
    (void)state;
    assert_int_equal(try_load((const uint8_t *)"", 0, &error), FW_EFORMAT);
    assert_int_equal(try_load((const uint8_t *)page, sizeof(page) - 1, &error), FW_EFORMAT);
    assert_int_equal(try_load((const uint8_t *)pointer, sizeof(pointer) - 1, &error), FW_EFORMAT);
}

// Loads the network with FROM replaced by TO, of the same length.
static int load_with(const char *from, const char *to, struct fw_error *error)
{
    struct file_bytes bytes = read_model("yunet_n_640_640.onnx");
    memcpy(find_bytes(&bytes, from, strlen(from)), to, strlen(from));
    int status = try_load(bytes.data, bytes.length, error);
    free(bytes.data);
    return status;
}

static void refuses_other_networks(void **state)
{
    struct fw_error error;
    (void)state;
    // With the length before it, the text is the operator and not the node's name.
    assert_int_equal(load_with("\x07MaxPool",
                               "\x07"
                               "AvgPool",
                               &error),
                     FW_ENOTSUP);
    assert_non_null(strstr(error.message, "AvgPool"));
    assert_int_equal(load_with("\x04Relu", "\x04Tanh", &error), FW_ENOTSUP);
    assert_int_equal(load_with("\x06Resize", "\x06Rotate", &error), FW_ENOTSUP);
    assert_int_equal(load_with("\x07Sigmoid", "\x07Softmax", &error), FW_ENOTSUP);
    assert_int_equal(load_with("\x07nearest", "\x07linear_", &error), FW_ENOTSUP);
    assert_int_equal(load_with("\x07strides", "\x07stripes", &error), FW_ENOTSUP);
    assert_int_equal(load_with("\x06"
                               "bbox_8",
                               "\x06"
                               "bbox_9",
                               &error),
                     FW_ENOTSUP);
}

static void names_weights_that_are_missing(void **state)
{
    struct fw_error error;
    (void)state;
    assert_int_equal(
        load_with("neck.lateral_convs.1.conv1.bias", "neck.lateral_convs.9.conv1.bias", &error),
        FW_EFORMAT);
    assert_non_null(strstr(error.message, "neck.lateral_convs.9.conv1.bias"));
}

// Overwrites the first weight of the first constant.
static int load_with_weight(uint32_t bits, struct fw_error *error)
{
    struct file_bytes bytes = read_model("yunet_n_640_640.onnx");
    struct fw_onnx_graph graph;
    assert_int_equal(fw_onnx_read(&graph, bytes.data, bytes.length, error), FW_OK);
    uint8_t *weight = find_bytes(&bytes, graph.tensors[0].values, 16);
    fw_onnx_free(&graph);
    memcpy(weight, &bits, sizeof(bits));
    int status = try_load(bytes.data, bytes.length, error);
    free(bytes.data);
    return status;
}

static void refuses_absurd_weights(void **state)
{
    struct fw_error error;
    (void)state;
    assert_int_equal(load_with_weight(0x7fc00000, &error), FW_EFORMAT); // NaN
    assert_non_null(strstr(error.message, "NaN"));
    assert_int_equal(load_with_weight(0xff800000, &error), FW_EFORMAT); // minus infinity
    assert_int_equal(load_with_weight(0x60000000, &error), FW_EFORMAT); // 3.7e19
    assert_int_equal(load_with_weight(0x3f800000, &error), FW_OK);      // 1.0
}

// A protobuf message under construction.
struct message {
    uint8_t bytes[4096];
    size_t length;
};

static void put_bytes(struct message *to, int field, const void *bytes, size_t length)
{
    assert_true(length < 16384 && to->length + length + 3 < sizeof(to->bytes));
    to->bytes[to->length++] = (uint8_t)(field << 3 | 2);
    to->bytes[to->length++] = (uint8_t)(length | 0x80);
    to->bytes[to->length++] = (uint8_t)(length >> 7);
    if (length > 0) {
        memcpy(to->bytes + to->length, bytes, length);
    }
    to->length += length;
}

static void put_text(struct message *to, int field, const char *text)
{
    put_bytes(to, field, text, strlen(text));
}

static void put_message(struct message *to, int field, const struct message *message)
{
    put_bytes(to, field, message->bytes, message->length);
}

static void put_number(struct message *to, int field, uint64_t number)
{
    to->bytes[to->length++] = (uint8_t)(field << 3);
    for (; number >= 0x80; number >>= 7) {
        to->bytes[to->length++] = (uint8_t)(number | 0x80);
    }
    to->bytes[to->length++] = (uint8_t)number;
}

static void put_node(struct message *graph, const char *op, const char *input, const char *output)
{
    struct message node = {.length = 0};
    put_text(&node, 1, input);
    put_text(&node, 2, output);
    put_text(&node, 4, op);
    put_message(graph, 1, &node);
}

static int load_graph(const struct message *graph, struct fw_error *error)
{
    struct message model = {.length = 0};
    put_number(&model, 1, 6);
    put_message(&model, 7, graph);
    return try_load(model.bytes, model.length, error);
}

static void refuses_circles(void **state)
{
    struct message graph = {.length = 0}, output = {.length = 0};
    struct fw_error error;
    (void)state;
    put_text(&output, 1, "cls_8");
    put_message(&graph, 12, &output);
    put_node(&graph, "Reshape", "a", "cls_8");
    put_node(&graph, "Reshape", "cls_8", "a");
    assert_int_equal(load_graph(&graph, &error), FW_ENOTSUP);
    put_node(&graph, "Identity", "b", "b");
    assert_int_equal(load_graph(&graph, &error), FW_ENOTSUP);
}

static void refuses_dimensions_beyond_the_data(void **state)
{
    struct message tensor = {.length = 0}, graph = {.length = 0};
    struct fw_error error;
    (void)state;
    put_number(&tensor, 1, 1u << 30);
    put_number(&tensor, 1, 1u << 30);
    put_number(&tensor, 1, 1u << 30);
    put_number(&tensor, 2, 1);
    put_text(&tensor, 9, "four");
    put_message(&graph, 5, &tensor);
    put_node(&graph, "Conv", "a", "b");
    assert_int_equal(load_graph(&graph, &error), FW_EFORMAT);
}

static void escapes_names_in_messages(void **state)
{
    struct message graph = {.length = 0}, output = {.length = 0};
    struct fw_error error;
    (void)state;
    put_text(&output, 1, "cls_8");
    put_message(&graph, 12, &output);
    put_node(&graph, "Transpose\033[2J", "a", "cls_8");
    assert_int_equal(load_graph(&graph, &error), FW_ENOTSUP);
    assert_null(strchr(error.message, '\033'));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_both_networks),
        cmocka_unit_test(refuses_every_cut),
        cmocka_unit_test(survives_flipped_bits),
        cmocka_unit_test(refuses_what_is_not_onnx),
        cmocka_unit_test(refuses_other_networks),
        cmocka_unit_test(names_weights_that_are_missing),
        cmocka_unit_test(refuses_absurd_weights),
        cmocka_unit_test(refuses_circles),
        cmocka_unit_test(refuses_dimensions_beyond_the_data),
        cmocka_unit_test(escapes_names_in_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
