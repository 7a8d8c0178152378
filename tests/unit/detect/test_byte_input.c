// The quantised network's input against the float one's, of which test_input.c says that it is
// right.
#include "detect/byte_input.h"

#include "nn/isa.h"
#include "util/error.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct scale {
    int width, height, input_size;
    bool is_whole; // in whole numbers for YUV
} scales[] = {
    {96, 64, 0, true},     // luma as it is, chroma doubled
    {96, 64, 48, true},    // 2, chroma as it is
    {192, 108, 64, true},  // 3, chroma 1.5
    {192, 108, 32, true},  // 6, chroma 3
    {720, 180, 120, true}, // 6, chroma 3: wide enough for vectors, with a remainder
    {336, 144, 112, true}, // 3, chroma 1.5, likewise
    {320, 200, 64, true},  // 5, chroma 2.5
    {512, 256, 64, true},  // 8, the most
    {576, 288, 64, false}, // 9
    {100, 70, 37, false},  // no whole number
    {96, 62, 32, false},   // whole in one direction only
    {101, 67, 0, false},   // odd
    {1, 1, 0, false},
};

static struct fw_frame *make_frame(enum fw_pixel_format format, int width, int height)
{
    struct fw_frame *frame = fw_frame_create(format, width, height);
    uint32_t random = 12345;
    assert_non_null(frame);
    for (int plane = 0; plane < 3 && frame->planes[plane] != NULL; plane++) {
        int rows = plane == 0 ? height : (height + 1) / 2;
        for (int i = 0; i < rows * frame->strides[plane]; i++) {
            random = random * 1664525u + 1013904223u;
            // Runs of equal pixels too, so that means reach both ends.
            uint8_t byte = (uint8_t)(random >> 24);
            frame->planes[plane][i] = i / 48 % 3 == 0 ? byte : (uint8_t)(i / 48 % 3 == 1 ? 0 : 255);
        }
    }
    return frame;
}

static uint8_t *fill_bytes(const struct fw_frame *frame, const struct scale *scale, enum fw_isa isa,
                           size_t *count)
{
    struct fw_byte_input input;
    assert_int_equal(fw_byte_input_init(&input, fw_int8_kernels_for(isa),
                                        fw_kernels_for(FW_ISA_SCALAR), frame, scale->input_size),
                     FW_OK);
    bool is_whole = frame->format != FW_PIXEL_BGR24 && scale->is_whole;
    assert_int_equal(input.halves[0] > 0, is_whole);
    size_t stride = (size_t)input.base.size.padded_width * 3;
    *count = stride * (size_t)input.base.size.padded_height;
    uint8_t *bytes = malloc(*count);
    assert_non_null(bytes);
    memset(bytes, 77, *count);
    fw_byte_input_fill(&input, frame, bytes, stride);
    fw_byte_input_free(&input);
    return bytes;
}

static void compare_with_floats(const struct fw_frame *frame, const struct scale *scale,
                                const uint8_t *bytes, size_t count)
{
    struct fw_input input;
    float *floats = malloc(count * sizeof(float));
    assert_non_null(floats);
    assert_int_equal(fw_input_init(&input, fw_kernels_for(FW_ISA_SCALAR), frame, scale->input_size),
                     FW_OK);
    fw_input_fill(&input, frame, floats, (size_t)input.size.padded_width * 3);
    // Half a step of rounding, and a little for the steps of the means and the factors.
    float limit = frame->format == FW_PIXEL_BGR24 ? 0 : 0.55f;
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(floats[i] - (float)bytes[i]) <= limit)) {
            fail_msg("%dx%d to %d: byte %zu is %d, not %g", scale->width, scale->height,
                     scale->input_size, i, bytes[i], (double)floats[i]);
        }
    }
    free(floats);
    fw_input_free(&input);
}

static void compare_isas(const struct fw_frame *frame, const struct scale *scale,
                         const uint8_t *expected, size_t count)
{
    for (int isa = FW_ISA_SCALAR; isa <= FW_ISA_NEONDOT; isa++) {
        if (fw_isa_is_available((enum fw_isa)isa)) {
            size_t same;
            uint8_t *bytes = fill_bytes(frame, scale, (enum fw_isa)isa, &same);
            assert_int_equal(same, count);
            assert_memory_equal(bytes, expected, count);
            free(bytes);
        }
    }
}

static void bytes_are_the_rounded_floats(void **state)
{
    static const enum fw_pixel_format formats[] = {FW_PIXEL_I420, FW_PIXEL_NV12, FW_PIXEL_BGR24};
    (void)state;
    for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
        for (int kind = 0; kind < 12; kind++) {
            struct fw_frame *frame =
                make_frame(formats[kind / 4], scales[i].width, scales[i].height);
            size_t count;
            frame->matrix = kind % 2 == 0 ? FW_MATRIX_BT601 : FW_MATRIX_BT709;
            frame->full_range = kind % 4 < 2;
            uint8_t *bytes = fill_bytes(frame, &scales[i], FW_ISA_SCALAR, &count);
            compare_with_floats(frame, &scales[i], bytes, count);
            compare_isas(frame, &scales[i], bytes, count);
            free(bytes);
            fw_frame_unref(frame);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_the_rounded_floats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
