// Drawing and letters: the right pixels, the right colours, nothing outside.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "media/draw.h"
#include "media/font.h"
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct fw_color red = {255, 0, 0, 255};
static const struct fw_color white = {255, 255, 255, 255};

static const enum fw_pixel_format yuv_formats[] = {FW_PIXEL_I420, FW_PIXEL_NV12};

// A picture in black (limited range), its padding filled with a guard value.
static struct fw_frame *make_picture(enum fw_pixel_format format, int width, int height)
{
    struct fw_frame *frame = fw_frame_create(format, width, height);

    assert_non_null(frame);
    for (int plane = 0; plane < fw_frame_plane_count(format); plane++) {
        memset(frame->planes[plane], 99,
               (size_t)frame->strides[plane] * (size_t)fw_frame_row_count(frame, plane));
        for (int y = 0; y < fw_frame_row_count(frame, plane); y++)
            memset(frame->planes[plane] + (ptrdiff_t)y * frame->strides[plane],
                   plane == 0 ? 16 : 128, (size_t)fw_frame_row_bytes(frame, plane));
    }
    return frame;
}

static void assert_padding_is_untouched(const struct fw_frame *frame)
{
    for (int plane = 0; plane < fw_frame_plane_count(frame->format); plane++) {
        for (int y = 0; y < fw_frame_row_count(frame, plane); y++) {
            for (int x = fw_frame_row_bytes(frame, plane); x < frame->strides[plane]; x++)
                assert_int_equal(frame->planes[plane][y * frame->strides[plane] + x], 99);
        }
    }
}

static int luma_at(const struct fw_frame *frame, int x, int y)
{
    return frame->planes[0][y * frame->strides[0] + x];
}

// INDEX 0: U, 1: V, of the chroma sample COLUMN, ROW.
static int chroma_at(const struct fw_frame *frame, int index, int column, int row)
{
    if (frame->format == FW_PIXEL_NV12)
        return frame->planes[1][row * frame->strides[1] + 2 * column + index];
    return frame->planes[1 + index][row * frame->strides[1 + index] + column];
}

static void assert_near(double value, double expected, double tolerance)
{
    if (fabs(value - expected) > tolerance)
        fail_msg("%f is not within %f of %f", value, tolerance, expected);
}

static void test_colours_follow_matrix_and_range(void **state)
{
    static const struct fw_color colors[] = {
        {255, 0, 0, 255},     {0, 255, 0, 255},   {0, 0, 255, 255},
        {255, 255, 255, 255}, {13, 200, 90, 255},
    };

    (void)state;
    for (int i = 0; i < 5 * 4; i++) {
        struct fw_color color = colors[i / 4];
        struct fw_frame *frame = make_picture(yuv_formats[i / 4 % 2], 8, 8);
        double kr, kb, luma, gain, span;

        frame->matrix = i & 1 ? FW_MATRIX_BT709 : FW_MATRIX_BT601;
        frame->full_range = i & 2;
        kr = frame->matrix == FW_MATRIX_BT709 ? 0.2126 : 0.299;
        kb = frame->matrix == FW_MATRIX_BT709 ? 0.0722 : 0.114;
        gain = frame->full_range ? 1.0 : 219.0 / 255.0;
        span = frame->full_range ? 1.0 : 224.0 / 255.0;
        luma = kr * color.r + (1 - kr - kb) * color.g + kb * color.b;
        fw_draw_clear(frame, color);
        assert_near(luma_at(frame, 7, 7), luma * gain + (frame->full_range ? 0 : 16), 0.6);
        assert_near(chroma_at(frame, 0, 3, 3),
                    fmin(255.0, 128 + span * (color.b - luma) / (2 - 2 * kb)), 0.6);
        assert_near(chroma_at(frame, 1, 0, 0),
                    fmin(255.0, 128 + span * (color.r - luma) / (2 - 2 * kr)), 0.6);
        fw_frame_unref(frame);
    }
}

static void test_box_is_drawn_at_its_pixels(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fw_frame *frame = make_picture(yuv_formats[i], 64, 48);

        fw_draw_box(frame, 10, 8, 20, 16, 2, red);
        for (int y = 0; y < 48; y++) {
            for (int x = 0; x < 64; x++) {
                bool is_in = x >= 10 && x < 30 && y >= 8 && y < 24;
                bool is_inner = x >= 12 && x < 28 && y >= 10 && y < 22;
                bool is_red = is_in && !is_inner;

                assert_int_equal(luma_at(frame, x, y), is_red ? 81 : 16);
                assert_int_equal(chroma_at(frame, 1, x / 2, y / 2), is_red ? 240 : 128);
            }
        }
        assert_padding_is_untouched(frame);
        fw_frame_unref(frame);
    }
}

static void test_odd_edges_share_chroma(void **state)
{
    struct fw_frame *frame = make_picture(FW_PIXEL_I420, 16, 16);

    (void)state;
    fw_draw_fill(frame, 3, 3, 4, 1, red);
    assert_int_equal(luma_at(frame, 2, 3), 16);
    assert_int_equal(luma_at(frame, 3, 3), 81);
    assert_int_equal(luma_at(frame, 6, 3), 81);
    assert_int_equal(luma_at(frame, 7, 3), 16);
    // A quarter of the first sample's pixels, a half of the second's.
    assert_near(chroma_at(frame, 1, 1, 1), 128 + 112 / 4.0, 1);
    assert_near(chroma_at(frame, 1, 2, 1), 128 + 112 / 2.0, 1);
    fw_frame_unref(frame);
}

static void test_odd_pictures_are_filled_to_the_last_sample(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fw_frame *frame = make_picture(yuv_formats[i], 37, 21);

        fw_draw_clear(frame, red);
        assert_int_equal(luma_at(frame, 36, 20), 81);
        assert_int_equal(chroma_at(frame, 0, 18, 10), 90);
        assert_int_equal(chroma_at(frame, 1, 18, 10), 240);
        assert_padding_is_untouched(frame);
        fw_frame_unref(frame);
    }
}

static void test_alpha_mixes(void **state)
{
    struct fw_frame *frame = make_picture(FW_PIXEL_NV12, 70, 8);

    (void)state;
    fw_draw_fill(frame, 0, 0, 70, 8, (struct fw_color){255, 255, 255, 128});
    for (int x = 0; x < 70; x++)
        assert_near(luma_at(frame, x, 4), 16 + 219 * 128.0 / 255.0, 1);
    fw_draw_fill(frame, 0, 0, 70, 8, (struct fw_color){255, 0, 0, 0});
    assert_int_equal(chroma_at(frame, 1, 9, 1), 128);
    fw_frame_unref(frame);
}

static void test_everything_is_clipped(void **state)
{
    static const int places[] = {INT_MIN, -70000, -9, -1, 0, 5, 30, 36, 37, 70000, INT_MAX};
    const int count = (int)(sizeof(places) / sizeof(places[0]));
    struct fw_font *font = NULL;
    struct fw_error error;

    (void)state;
    assert_int_equal(fw_font_open(&font, NULL, 20, &error), FW_OK);
    for (int i = 0; i < 2 * count * count; i++) {
        struct fw_frame *frame = make_picture(yuv_formats[i % 2], 37, 21);
        int x = places[i / 2 % count];
        int y = places[i / 2 / count];

        fw_draw_box(frame, x, y, 30, 30, 3, red);
        fw_draw_box(frame, x, y, INT_MAX, INT_MAX, INT_MAX, red);
        fw_draw_fill(frame, x, y, INT_MAX, 2, red);
        fw_draw_disc(frame, x, y, 12, white);
        (void)fw_draw_text(frame, font, x, y, "Ågy§", white);
        assert_padding_is_untouched(frame);
        fw_frame_unref(frame);
    }
    fw_font_close(font);
}

static void test_empty_shapes_draw_nothing(void **state)
{
    struct fw_frame *frame = make_picture(FW_PIXEL_I420, 16, 16);

    (void)state;
    fw_draw_box(frame, 4, 4, 0, 8, 1, red);
    fw_draw_box(frame, 4, 4, 8, 8, 0, red);
    fw_draw_fill(frame, 4, 4, -3, 8, red);
    fw_draw_disc(frame, 8, 8, 0, red);
    fw_draw_fill(frame, 16, 0, 8, 8, red);
    for (int y = 0; y < 16; y++) {
        for (int x = 0; x < 16; x++)
            assert_int_equal(luma_at(frame, x, y), 16);
    }
    fw_frame_unref(frame);
}

static void test_disc_has_its_area(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct fw_frame *frame = make_picture(yuv_formats[i], 601, 601);
        double area = 0.0;

        fw_draw_disc(frame, 301, 300, 280, white);
        for (int y = 0; y < 601; y++) {
            for (int x = 0; x < 601; x++)
                area += (luma_at(frame, x, y) - 16) / 219.0;
        }
        assert_near(area / (3.14159265 * 280 * 280), 1.0, 0.005);
        assert_int_equal(luma_at(frame, 301, 300), 235);
        assert_int_equal(luma_at(frame, 301 + 283, 300), 16);
        fw_frame_unref(frame);
    }
}

static void test_bgr_is_drawn_in_its_own_colours(void **state)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_BGR24, 9, 9);

    (void)state;
    memset(frame->planes[0], 0, (size_t)frame->strides[0] * 9);
    fw_draw_fill(frame, 1, 1, 2, 2, (struct fw_color){10, 20, 30, 255});
    assert_int_equal(frame->planes[0][frame->strides[0] + 3], 30);
    assert_int_equal(frame->planes[0][frame->strides[0] + 4], 20);
    assert_int_equal(frame->planes[0][frame->strides[0] + 5], 10);
    assert_int_equal(frame->planes[0][frame->strides[0] + 9], 0);
    fw_frame_unref(frame);
}

static void test_text_lies_on_its_base_line(void **state)
{
    struct fw_font *font = NULL;
    struct fw_error error;

    (void)state;
    assert_int_equal(fw_font_open(&font, NULL, 30, &error), FW_OK);
    for (int i = 0; i < 2; i++) {
        struct fw_frame *frame = make_picture(yuv_formats[i], 120, 60);
        int width = fw_draw_text(frame, font, 10, 40, "HHH", white);
        int brightest = 0;

        assert_int_equal(width, fw_font_text_width(font, "HHH"));
        for (int y = 0; y < 60; y++) {
            for (int x = 0; x < 120; x++) {
                if (luma_at(frame, x, y) > brightest)
                    brightest = luma_at(frame, x, y);
                // Capitals stand on the line and are lower than the font's ascent.
                if (y >= 40 || y < 40 - fw_font_ascent_px(font) || x < 10 || x >= 10 + width)
                    assert_int_equal(luma_at(frame, x, y), 16);
            }
        }
        assert_int_equal(brightest, 235);
        assert_padding_is_untouched(frame);
        fw_frame_unref(frame);
    }
    fw_font_close(font);
}

static void test_glyphs_are_cached_and_missing_ones_are_boxes(void **state)
{
    struct fw_font *font = NULL;
    struct fw_error error;
    const struct fw_glyph *glyph;

    (void)state;
    assert_int_equal(fw_font_open_bold(&font, 24, &error), FW_OK);
    glyph = fw_font_glyph(font, 'A');
    assert_non_null(glyph);
    assert_true(glyph->width > 5 && glyph->height > 10 && glyph->advance > 5);
    assert_ptr_equal(fw_font_glyph(font, 'A'), glyph);
    glyph = fw_font_glyph(font, 0x10FFFD);
    assert_non_null(glyph);
    assert_true(glyph->width > 0 && glyph->advance > 0);
    assert_true(fw_font_glyph(font, ' ')->advance > 0);
    assert_true(fw_font_ascent_px(font) > fw_font_descent_px(font));
    assert_true(fw_font_descent_px(font) > 0);
    fw_font_close(font);
    fw_font_close(NULL);
}

static void test_fonts_that_cannot_be_opened_say_why(void **state)
{
    struct fw_font *font = NULL;
    struct fw_error error;

    (void)state;
    assert_int_equal(fw_font_open(&font, "/nonexistent/font.ttf", 20, &error), FW_ENOENT);
    assert_non_null(strstr(error.message, "/nonexistent/font.ttf"));
    assert_null(font);
    assert_int_equal(fw_font_open(&font, "/etc/passwd", 20, &error), FW_EFORMAT);
    assert_int_equal(fw_font_open(&font, NULL, 0, &error), FW_EINVAL);
}

static void test_utf8_is_read_strictly(void **state)
{
    const char *text = "a\xC3\xBC\xE2\x82\xAC\xF0\x9F\x98\x80";
    const char *bad = "\xFF\xC0\x80\xED\xA0\x80x\xE2\x82";

    (void)state;
    assert_int_equal(fw_utf8_next(&text), 'a');
    assert_int_equal(fw_utf8_next(&text), 0xFC);
    assert_int_equal(fw_utf8_next(&text), 0x20AC);
    assert_int_equal(fw_utf8_next(&text), 0x1F600);
    assert_int_equal(fw_utf8_next(&text), 0);
    assert_int_equal(fw_utf8_next(&text), 0);
    for (int i = 0; i < 6; i++)
        assert_int_equal(fw_utf8_next(&bad), 0xFFFD);
    assert_int_equal(fw_utf8_next(&bad), 'x');
    assert_int_equal(fw_utf8_next(&bad), 0xFFFD);
    assert_int_equal(fw_utf8_next(&bad), 0xFFFD);
    assert_int_equal(fw_utf8_next(&bad), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colours_follow_matrix_and_range),
        cmocka_unit_test(test_box_is_drawn_at_its_pixels),
        cmocka_unit_test(test_odd_edges_share_chroma),
        cmocka_unit_test(test_odd_pictures_are_filled_to_the_last_sample),
        cmocka_unit_test(test_alpha_mixes),
        cmocka_unit_test(test_everything_is_clipped),
        cmocka_unit_test(test_empty_shapes_draw_nothing),
        cmocka_unit_test(test_disc_has_its_area),
        cmocka_unit_test(test_bgr_is_drawn_in_its_own_colours),
        cmocka_unit_test(test_text_lies_on_its_base_line),
        cmocka_unit_test(test_glyphs_are_cached_and_missing_ones_are_boxes),
        cmocka_unit_test(test_fonts_that_cannot_be_opened_say_why),
        cmocka_unit_test(test_utf8_is_read_strictly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
