// Still pictures: crops, shrinking, conversion, sharpness and brightness.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "media/image.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void assert_near(double value, double expected, double tolerance)
{
    if (fabs(value - expected) > tolerance)
        fail_msg("%f is not within %f of %f", value, tolerance, expected);
}

// Every sample tells its plane and place: x + 3 y, chroma 100 higher, V another 50.
static struct fw_frame *make_ramp(enum fw_pixel_format format, int width, int height)
{
    struct fw_frame *frame = fw_frame_create(format, width, height);

    assert_non_null(frame);
    for (int plane = 0; plane < fw_frame_plane_count(format); plane++) {
        for (int y = 0; y < fw_frame_row_count(frame, plane); y++) {
            for (int x = 0; x < fw_frame_row_bytes(frame, plane); x++)
                frame->planes[plane][y * frame->strides[plane] + x] =
                    (uint8_t)(x + 3 * y + 50 * plane);
        }
    }
    frame->sequence = 5;
    frame->matrix = FW_MATRIX_BT709;
    return frame;
}

static void test_crop_grows_to_even_pixels(void **state)
{
    static const enum fw_pixel_format formats[] = {FW_PIXEL_I420, FW_PIXEL_NV12};

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fw_frame *frame = make_ramp(formats[i], 40, 30);
        struct fw_frame *crop = fw_image_crop(frame, (struct fw_box){5.2F, 7.0F, 9.5F, 4.0F});

        assert_non_null(crop);
        assert_int_equal(crop->width, 12); // 4 to 16
        assert_int_equal(crop->height, 6); // 6 to 12
        assert_int_equal(crop->planes[0][0], 4 + 3 * 6);
        assert_int_equal(crop->planes[0][5 * crop->strides[0] + 11], 15 + 3 * 11);
        if (formats[i] == FW_PIXEL_I420) {
            assert_int_equal(crop->planes[2][crop->strides[2]], 100 + 2 + 3 * 4);
        } else {
            assert_int_equal(crop->planes[1][0], 50 + 4 + 3 * 3);
            assert_int_equal(crop->planes[1][1], 50 + 5 + 3 * 3);
        }
        assert_int_equal(crop->sequence, 5);
        assert_int_equal(crop->matrix, FW_MATRIX_BT709);
        assert_true(fw_frame_is_writable(crop));
        fw_frame_unref(crop);
        fw_frame_unref(frame);
    }
}

static void test_crop_is_cut_at_the_edges(void **state)
{
    struct fw_frame *frame = make_ramp(FW_PIXEL_I420, 41, 31);
    struct fw_frame *crop = fw_image_crop(frame, (struct fw_box){-10.0F, 25.0F, 500.0F, 500.0F});

    (void)state;
    assert_non_null(crop);
    assert_int_equal(crop->width, 41);
    assert_int_equal(crop->height, 7);
    fw_frame_unref(crop);
    assert_null(fw_image_crop(frame, (struct fw_box){41.0F, 0.0F, 5.0F, 5.0F}));
    assert_null(fw_image_crop(frame, (struct fw_box){-9.0F, 0.0F, 5.0F, 5.0F}));
    assert_null(fw_image_crop(frame, (struct fw_box){1.0F, 1.0F, 0.0F, 5.0F}));
    assert_null(fw_image_crop(frame, (struct fw_box){NAN, 1.0F, NAN, 5.0F}));
    fw_frame_unref(frame);
    frame = make_ramp(FW_PIXEL_BGR24, 11, 9);
    crop = fw_image_crop(frame, (struct fw_box){3.0F, 1.0F, 3.0F, 3.0F});
    assert_non_null(crop);
    assert_int_equal(crop->width, 3);
    assert_int_equal(crop->planes[0][0], 9 + 3);
    fw_frame_unref(crop);
    fw_frame_unref(frame);
}

static double mean_of(const struct fw_frame *frame, int plane, int step, int offset)
{
    double sum = 0.0;
    int count = 0;

    for (int y = 0; y < fw_frame_row_count(frame, plane); y++) {
        for (int x = offset; x < fw_frame_row_bytes(frame, plane); x += step, count++)
            sum += frame->planes[plane][y * frame->strides[plane] + x];
    }
    return sum / count;
}

static void test_shrink_averages_areas(void **state)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_BGR24, 5, 2);
    struct fw_frame *small;
    static const uint8_t row[] = {10, 20, 40, 80, 160};

    (void)state;
    memset(frame->planes[0], 0, (size_t)frame->strides[0] * 2);
    for (int x = 0; x < 5; x++) {
        frame->planes[0][3 * x] = row[x];
        frame->planes[0][frame->strides[0] + 3 * x] = row[x];
    }
    small = fw_image_shrink(frame, 2, 2);
    assert_non_null(small);
    assert_int_equal(small->width, 2);
    assert_int_equal(small->height, 1);
    assert_int_equal(small->planes[0][0], 20);  // (10 + 20 + 40 / 2) / 2.5
    assert_int_equal(small->planes[0][3], 104); // (40 / 2 + 80 + 160) / 2.5
    assert_int_equal(small->planes[0][1], 0);
    fw_frame_unref(small);
    fw_frame_unref(frame);
}

static void test_shrink_keeps_means_and_aspect(void **state)
{
    static const enum fw_pixel_format formats[] = {FW_PIXEL_I420, FW_PIXEL_NV12, FW_PIXEL_BGR24};

    (void)state;
    srand(2);
    for (int i = 0; i < 3; i++) {
        struct fw_frame *frame = make_ramp(formats[i], 320, 181);
        struct fw_frame *small;
        int last = fw_frame_plane_count(formats[i]) - 1;
        int step = formats[i] == FW_PIXEL_NV12 ? 2 : formats[i] == FW_PIXEL_BGR24 ? 3 : 1;

        for (int plane = 0; plane <= last; plane++) {
            for (int j = 0; j < frame->strides[plane] * fw_frame_row_count(frame, plane); j++)
                frame->planes[plane][j] = (uint8_t)(rand() % 100 + 40 * (j % step));
        }
        small = fw_image_shrink(frame, 100, 1000);
        assert_non_null(small);
        assert_int_equal(small->width, 100);
        assert_int_equal(small->height, 57);
        assert_near(mean_of(small, 0, 1, 0), mean_of(frame, 0, 1, 0), 1.0);
        for (int j = 0; j < step; j++)
            assert_near(mean_of(small, last, step, j), mean_of(frame, last, step, j), 1.0);
        fw_frame_unref(small);
        fw_frame_unref(frame);
    }
}

static void test_shrink_never_enlarges(void **state)
{
    struct fw_frame *frame = make_ramp(FW_PIXEL_NV12, 20, 10);
    struct fw_frame *same = fw_image_shrink(frame, 20, 10);

    (void)state;
    assert_ptr_equal(same, frame);
    fw_frame_unref(same);
    same = fw_image_shrink(frame, 2000, 1000);
    assert_ptr_equal(same, frame);
    fw_frame_unref(same);
    fw_frame_unref(frame);
}

static void test_bgr_becomes_jfif_yuv(void **state)
{
    static const uint8_t colors[][3] = {{0, 0, 255}, {255, 0, 0},     {0, 255, 0},
                                        {0, 0, 0},   {255, 255, 255}, {12, 130, 240}};

    (void)state;
    for (size_t i = 0; i < sizeof(colors) / sizeof(colors[0]); i++) {
        struct fw_frame *bgr = fw_frame_create(FW_PIXEL_BGR24, 7, 5);
        struct fw_frame *yuv;
        double b = colors[i][0], g = colors[i][1], r = colors[i][2];
        double luma = 0.299 * r + 0.587 * g + 0.114 * b;

        for (int j = 0; j < 35; j++)
            memcpy(bgr->planes[0] + (ptrdiff_t)(j / 7) * bgr->strides[0] + (ptrdiff_t)3 * (j % 7),
                   colors[i], 3);
        yuv = fw_image_convert_i420(bgr);
        assert_non_null(yuv);
        assert_true(yuv->full_range);
        assert_int_equal(yuv->matrix, FW_MATRIX_BT601);
        assert_near(yuv->planes[0][4 * yuv->strides[0] + 6], luma, 0.51);
        assert_near(yuv->planes[1][2 * yuv->strides[1] + 3], fmin(255, 128 + (b - luma) / 1.772),
                    0.6);
        assert_near(yuv->planes[2][2 * yuv->strides[2] + 3], fmin(255, 128 + (r - luma) / 1.402),
                    0.6);
        assert_null(fw_image_convert_i420(yuv));
        fw_frame_unref(yuv);
        fw_frame_unref(bgr);
    }
}

// Luma stripes of WIDTH px between LOW and HIGH.
static struct fw_frame *make_stripes(int size, int width, uint8_t low, uint8_t high)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_NV12, size, size);

    assert_non_null(frame);
    memset(frame->planes[1], 128, (size_t)frame->strides[1] * (size_t)((size + 1) / 2));
    for (int y = 0; y < size; y++) {
        for (int x = 0; x < size; x++)
            frame->planes[0][y * frame->strides[0] + x] = x / width % 2 ? high : low;
    }
    return frame;
}

static void test_sharpness_is_the_laplacians_variance(void **state)
{
    struct fw_frame *frame = make_stripes(32, 1, 100, 110);
    struct fw_box whole = {0.0F, 0.0F, 32.0F, 32.0F};

    (void)state;
    frame->full_range = true;
    // Every inner pixel differs from both neighbours in its row by 10: the Laplacian is ±20.
    assert_near((double)fw_image_sharpness(frame, whole), 400.0, 0.01);
    frame->full_range = false;
    assert_near((double)fw_image_sharpness(frame, whole), 400.0 * (255.0 * 255.0) / (219.0 * 219.0),
                0.1);
    assert_near((double)fw_image_sharpness(frame, (struct fw_box){40.0F, 0.0F, 9.0F, 9.0F}), 0.0,
                0.0);
    assert_near((double)fw_image_sharpness(frame, (struct fw_box){0.0F, 0.0F, 2.0F, 2.0F}), 0.0,
                0.0);
    fw_frame_unref(frame);
}

static void test_sharpness_compares_across_sizes(void **state)
{
    struct fw_frame *small = make_stripes(64, 4, 60, 180);
    struct fw_frame *large = make_stripes(256, 16, 60, 180);
    float sharp = fw_image_sharpness(small, (struct fw_box){0.0F, 0.0F, 64.0F, 64.0F});

    (void)state;
    assert_true(sharp > 100.0F);
    assert_near((double)fw_image_sharpness(large, (struct fw_box){0.0F, 0.0F, 256.0F, 256.0F}),
                (double)sharp, 0.01 * (double)sharp);
    fw_frame_unref(small);
    fw_frame_unref(large);
}

static void test_brightness_is_on_the_full_scale(void **state)
{
    struct fw_frame *frame = make_stripes(90, 90, 235, 235);
    struct fw_box box = {-5.0F, 10.0F, 80.0F, 300.0F};

    (void)state;
    assert_near((double)fw_image_brightness(frame, box), 255.0, 0.1);
    frame->full_range = true;
    assert_near((double)fw_image_brightness(frame, box), 235.0, 0.1);
    assert_near((double)fw_image_brightness(frame, (struct fw_box){0.0F, 0.0F, 0.0F, 9.0F}), 0.0,
                0.0);
    fw_frame_unref(frame);
    frame = make_stripes(90, 1, 16, 126);
    assert_near((double)fw_image_brightness(frame, box), 55.0 * 255.0 / 219.0, 1.5);
    fw_frame_unref(frame);
    frame = fw_frame_create(FW_PIXEL_BGR24, 8, 8);
    assert_non_null(frame);
    memset(frame->planes[0], 0, (size_t)frame->strides[0] * 8);
    for (int i = 0; i < 64; i++)
        frame->planes[0][i / 8 * frame->strides[0] + 3 * (i % 8) + 2] = 200;
    assert_near((double)fw_image_brightness(frame, (struct fw_box){0.0F, 0.0F, 8.0F, 8.0F}), 59.8,
                0.1);
    fw_frame_unref(frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crop_grows_to_even_pixels),
        cmocka_unit_test(test_crop_is_cut_at_the_edges),
        cmocka_unit_test(test_shrink_averages_areas),
        cmocka_unit_test(test_shrink_keeps_means_and_aspect),
        cmocka_unit_test(test_shrink_never_enlarges),
        cmocka_unit_test(test_bgr_becomes_jfif_yuv),
        cmocka_unit_test(test_sharpness_is_the_laplacians_variance),
        cmocka_unit_test(test_sharpness_compares_across_sizes),
        cmocka_unit_test(test_brightness_is_on_the_full_scale),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
