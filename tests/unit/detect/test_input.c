// From pictures to the network's input, against sums written down straightforwardly.
#include "detect/input.h"

#include "nn/isa.h"
#include "util/error.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// An input of one picture and its buffer.
struct scaled {
    struct fw_input input;
    float *pixels;
    size_t stride;
};

static struct scaled scale(const struct fw_frame *frame, int input_size, enum fw_isa isa)
{
    struct scaled result;
    assert_int_equal(fw_input_init(&result.input, fw_kernels_for(isa), frame, input_size), FW_OK);
    assert_true(fw_input_fits(&result.input, frame));
    result.stride = (size_t)result.input.size.padded_width * 3 + 5;
    size_t count = result.stride * (size_t)result.input.size.padded_height;
    result.pixels = malloc(count * sizeof(float));
    assert_non_null(result.pixels);
    for (size_t i = 0; i < count; i++) {
        result.pixels[i] = -1;
    }
    fw_input_fill(&result.input, frame, result.pixels, result.stride);
    return result;
}

static void free_scaled(struct scaled *scaled)
{
    fw_input_free(&scaled->input);
    free(scaled->pixels);
}

static struct fw_frame *make_frame(enum fw_pixel_format format, int width, int height)
{
    struct fw_frame *frame = fw_frame_create(format, width, height);
    uint32_t random = 12345;
    assert_non_null(frame);
    for (int plane = 0; plane < 3 && frame->planes[plane] != NULL; plane++) {
        int rows = plane == 0 ? height : (height + 1) / 2;
        for (int i = 0; i < rows * frame->strides[plane]; i++) {
            random = random * 1664525u + 1013904223u;
            frame->planes[plane][i] = (uint8_t)(random >> 24);
        }
    }
    return frame;
}

// How much of the pixel at I lies between BEGIN and END.
static double covered(int i, double begin, double end)
{
    return fmax(0, fmin(end, i + 1) - fmax(begin, i));
}

// The mean of a plane of SIZE[0] x SIZE[1] pixels over a rectangle: every pixel by its area.
static double mean(const uint8_t *plane, int stride, int step, const int size[2],
                   const double box[4])
{
    double sum = 0, area = 0;
    for (int y = (int)box[1]; y < size[1] && y < box[3]; y++) {
        for (int x = (int)box[0]; x < size[0] && x < box[2]; x++) {
            double weight = covered(x, box[0], box[2]) * covered(y, box[1], box[3]);
            sum += weight * plane[y * stride + x * step];
            area += weight;
        }
    }
    return sum / area;
}

static double sample(const struct fw_frame *frame, int channel, double left, double top,
                     double right, double bottom)
{
    int size[2] = {frame->width, frame->height};
    double box[4] = {left, top, right, bottom};
    double half[4] = {left / 2, top / 2, right / 2, bottom / 2};
    if (frame->format == FW_PIXEL_BGR24) {
        return mean(frame->planes[0] + channel, frame->strides[0], 3, size, box);
    }
    if (channel == 0) {
        return mean(frame->planes[0], frame->strides[0], 1, size, box);
    }
    size[0] = (size[0] + 1) / 2;
    size[1] = (size[1] + 1) / 2;
    if (frame->format == FW_PIXEL_NV12) {
        return mean(frame->planes[1] + channel - 1, frame->strides[1], 2, size, half);
    }
    return mean(frame->planes[channel], frame->strides[channel], 1, size, half);
}

static double clamp(double value)
{
    return fmin(255, fmax(0, value));
}

// ITU-R BT.601 and BT.709 from their luma coefficients, not from rounded factors.
static void to_bgr(const struct fw_frame *frame, double bgr[3])
{
    double kr = frame->matrix == FW_MATRIX_BT709 ? 0.2126 : 0.299;
    double kb = frame->matrix == FW_MATRIX_BT709 ? 0.0722 : 0.114;
    double y = frame->full_range ? bgr[0] : (bgr[0] - 16) * 255 / 219;
    double gain = frame->full_range ? 1 : 255.0 / 224;
    double b = y + 2 * (1 - kb) * (bgr[1] - 128) * gain;
    double r = y + 2 * (1 - kr) * (bgr[2] - 128) * gain;
    bgr[1] = clamp((y - kr * r - kb * b) / (1 - kr - kb));
    bgr[0] = clamp(b);
    bgr[2] = clamp(r);
}

static void check_pixels(const struct fw_frame *frame, const struct scaled *scaled)
{
    const struct fw_input_size *size = &scaled->input.size;
    double step_x = (double)frame->width / size->width;
    double step_y = (double)frame->height / size->height;
    // Slivers of pixels are left out, and pictures in BGR are rounded.
    double tolerance = frame->format == FW_PIXEL_BGR24 ? 1.01 : 0.8;
    for (int y = 0; y < size->height; y++) {
        for (int x = 0; x < size->width; x++) {
            double expected[3];
            const float *pixel = scaled->pixels + (size_t)y * scaled->stride + (size_t)x * 3;
            for (int c = 0; c < 3; c++) {
                expected[c] =
                    sample(frame, c, x * step_x, y * step_y, (x + 1) * step_x, (y + 1) * step_y);
            }
            if (frame->format != FW_PIXEL_BGR24) {
                to_bgr(frame, expected);
            }
            for (int c = 0; c < 3; c++) {
                assert_true(fabs((double)pixel[c] - expected[c]) < tolerance);
            }
        }
    }
}

static void check_padding(const struct scaled *scaled)
{
    const struct fw_input_size *size = &scaled->input.size;
    for (int y = 0; y < size->padded_height; y++) {
        const float *row = scaled->pixels + (size_t)y * scaled->stride;
        for (int x = y < size->height ? size->width : 0; x < size->padded_width; x++) {
            assert_true(row[x * 3] == 0 && row[x * 3 + 1] == 0 && row[x * 3 + 2] == 0);
        }
        // What lies between the rows is not the input's to write.
        assert_true(row[size->padded_width * 3] == -1);
    }
}

static void check(struct fw_frame *frame, int input_size)
{
    for (int isa = FW_ISA_SCALAR; isa <= FW_ISA_NEON; isa++) {
        if (fw_isa_is_available((enum fw_isa)isa)) {
            struct scaled scaled = scale(frame, input_size, (enum fw_isa)isa);
            check_pixels(frame, &scaled);
            check_padding(&scaled);
            free_scaled(&scaled);
        }
    }
}

static const struct {
    int width, height, input_size;
} cases[] = {
    {1, 1, 640},     {3, 5, 0},      {640, 360, 640}, {192, 108, 64}, {192, 108, 96},
    {200, 150, 50},  {864, 48, 144}, {192, 108, 128}, {256, 64, 64},  {190, 107, 47},
    {191, 107, 150}, {107, 333, 41}, {384, 10, 32},   {33, 17, 32},
};

static void scales_bgr(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fw_frame *frame = make_frame(FW_PIXEL_BGR24, cases[i].width, cases[i].height);
        check(frame, cases[i].input_size);
        fw_frame_unref(frame);
    }
}

static void scales_yuv(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]) * 8; i++) {
        size_t n = i / 8;
        struct fw_frame *frame =
            make_frame(i % 2 == 0 ? FW_PIXEL_I420 : FW_PIXEL_NV12, cases[n].width, cases[n].height);
        frame->full_range = i % 4 / 2 == 1;
        frame->matrix = i % 8 / 4 == 1 ? FW_MATRIX_BT709 : FW_MATRIX_BT601;
        check(frame, cases[n].input_size);
        fw_frame_unref(frame);
    }
}

static void assert_size(int width, int height, int input_size, struct fw_input_size expected)
{
    struct fw_input_size size = fw_input_size_for(width, height, input_size);
    assert_memory_equal(&size, &expected, sizeof(size));
}

static void follows_the_size_rule(void **state)
{
    (void)state;
    assert_size(1920, 1080, 640, (struct fw_input_size){640, 360, 640, 384});
    assert_size(1080, 1920, 320, (struct fw_input_size){180, 320, 192, 320});
    assert_size(320, 240, 640, (struct fw_input_size){320, 240, 320, 256}); // never up
    assert_size(1000, 700, 0, (struct fw_input_size){1000, 700, 1024, 704});
    assert_size(1, 1, 0, (struct fw_input_size){1, 1, 32, 32});
    assert_size(16384, 1, 640, (struct fw_input_size){640, 1, 640, 32});
    assert_size(16384, 8192, 0, (struct fw_input_size){8192, 4096, 8192, 4096});
}

static void knows_which_pictures_fit(void **state)
{
    struct fw_frame *frame = make_frame(FW_PIXEL_I420, 64, 48);
    struct fw_frame *other = make_frame(FW_PIXEL_I420, 64, 50);
    struct fw_frame *nv12 = make_frame(FW_PIXEL_NV12, 64, 48);
    struct scaled scaled = scale(frame, 32, FW_ISA_SCALAR);
    (void)state;
    assert_false(fw_input_fits(&scaled.input, other));
    assert_false(fw_input_fits(&scaled.input, nv12));
    free_scaled(&scaled);
    fw_frame_unref(frame);
    fw_frame_unref(other);
    fw_frame_unref(nv12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scales_bgr),
        cmocka_unit_test(scales_yuv),
        cmocka_unit_test(follows_the_size_rule),
        cmocka_unit_test(knows_which_pictures_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
