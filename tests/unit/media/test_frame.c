// The picture, its pool, and the border to libav.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "media/frame.h"
#include "media/frame_av.h"
#include "util/error.h"
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void count_release(void *opaque)
{
    *(int *)opaque += 1;
}

static void test_create_aligns_planes_and_rounds_chroma_up(void **state)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, 101, 51);

    (void)state;
    assert_non_null(frame);
    assert_int_equal(fw_frame_row_bytes(frame, 1), 51);
    assert_int_equal(fw_frame_row_count(frame, 2), 26);
    for (int plane = 0; plane < 3; plane++) {
        assert_int_equal((uintptr_t)frame->planes[plane] % 64, 0);
        assert_true(frame->strides[plane] >= fw_frame_row_bytes(frame, plane));
        memset(frame->planes[plane], 7,
               (size_t)frame->strides[plane] * (size_t)fw_frame_row_count(frame, plane));
    }
    fw_frame_unref(frame);
}

static void test_create_refuses_impossible_sizes(void **state)
{
    (void)state;
    assert_null(fw_frame_create(FW_PIXEL_NV12, 0, 10));
    assert_null(fw_frame_create(FW_PIXEL_NV12, 10, -1));
    assert_null(fw_frame_create(FW_PIXEL_NV12, 16385, 10));
    assert_null(fw_frame_pool_create(FW_PIXEL_NV12, 10, 16385));
}

static void test_only_the_sole_holder_may_write(void **state)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_BGR24, 4, 4);
    struct fw_frame *other;

    (void)state;
    assert_non_null(frame);
    assert_true(fw_frame_is_writable(frame));
    other = fw_frame_ref(frame);
    assert_ptr_equal(other, frame);
    assert_false(fw_frame_is_writable(frame));
    fw_frame_unref(other);
    assert_true(fw_frame_is_writable(frame));
    fw_frame_unref(frame);
    fw_frame_unref(NULL);
}

static void test_wrapped_planes_are_released_once_by_the_last(void **state)
{
    int releases = 0;
    struct fw_frame *frame = fw_frame_wrap(count_release, &releases);

    (void)state;
    assert_non_null(frame);
    assert_false(fw_frame_is_writable(frame));
    fw_frame_unref(fw_frame_ref(frame));
    assert_int_equal(releases, 0);
    fw_frame_unref(frame);
    assert_int_equal(releases, 1);
}

static void test_pool_gives_the_same_memory_again_and_blank_fields(void **state)
{
    struct fw_frame_pool *pool = fw_frame_pool_create(FW_PIXEL_NV12, 64, 48);
    struct fw_frame *first, *second;
    const uint8_t *memory;

    (void)state;
    assert_non_null(pool);
    first = fw_frame_pool_get(pool);
    second = fw_frame_pool_get(pool);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first->planes[0], second->planes[0]);
    memory = first->planes[0];
    first->sequence = 9;
    first->capture_utc_us = 9;
    first->full_range = true;
    first->matrix = FW_MATRIX_BT709;
    fw_frame_unref(first);
    first = fw_frame_pool_get(pool);
    assert_ptr_equal(first->planes[0], memory);
    assert_true(fw_frame_is_writable(first));
    assert_int_equal(first->sequence, 0);
    assert_int_equal(first->capture_utc_us, 0);
    assert_false(first->full_range);
    assert_int_equal(first->matrix, FW_MATRIX_BT601);
    // The pool may go before its pictures do.
    fw_frame_pool_unref(pool);
    memset(second->planes[0], 1, 64);
    fw_frame_unref(second);
    fw_frame_unref(first);
    fw_frame_pool_unref(NULL);
}

static void *use_pool(void *opaque)
{
    struct fw_frame_pool *pool = opaque;

    for (int i = 0; i < 2000; i++) {
        struct fw_frame *frame = fw_frame_pool_get(pool);
        struct fw_frame *other;

        if (!frame)
            return frame;
        frame->planes[0][0] = (uint8_t)i;
        other = fw_frame_ref(frame);
        fw_frame_unref(frame);
        fw_frame_unref(other);
    }
    return pool;
}

static void test_pool_serves_many_threads(void **state)
{
    struct fw_frame_pool *pool = fw_frame_pool_create(FW_PIXEL_I420, 16, 16);
    pthread_t threads[4];

    (void)state;
    assert_non_null(pool);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_pool, pool), 0);
    for (int i = 0; i < 4; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_non_null(result);
    }
    fw_frame_pool_unref(pool);
}

static void test_copy_takes_pixels_and_description(void **state)
{
    struct fw_frame *from = fw_frame_create(FW_PIXEL_NV12, 5, 3);
    struct fw_frame *to = fw_frame_create(FW_PIXEL_NV12, 5, 3);
    struct fw_frame *larger = fw_frame_create(FW_PIXEL_NV12, 6, 3);

    (void)state;
    assert_true(from && to && larger);
    for (int plane = 0; plane < 2; plane++)
        memset(from->planes[plane], 40 + plane, (size_t)from->strides[plane] * 2);
    memset(from->planes[0] + 2 * (ptrdiff_t)from->strides[0], 77, 5);
    from->matrix = FW_MATRIX_BT709;
    from->sequence = 12;
    assert_int_equal(fw_frame_copy(to, from), FW_OK);
    assert_int_equal(to->planes[0][2 * to->strides[0] + 4], 77);
    assert_int_equal(to->planes[1][to->strides[1] + 5], 41);
    assert_int_equal(to->matrix, FW_MATRIX_BT709);
    assert_int_equal(to->sequence, 12);
    assert_int_equal(fw_frame_copy(larger, from), FW_EINVAL);
    (void)fw_frame_ref(to);
    assert_int_equal(fw_frame_copy(to, from), FW_EINVAL);
    fw_frame_unref(to);
    fw_frame_unref(to);
    fw_frame_unref(from);
    fw_frame_unref(larger);
}

static AVFrame *make_avframe(enum AVPixelFormat format, int width, int height)
{
    AVFrame *avf = av_frame_alloc();

    assert_non_null(avf);
    avf->format = format;
    avf->width = width;
    avf->height = height;
    assert_int_equal(av_frame_get_buffer(avf, 0), 0);
    return avf;
}

// Every sample of component I becomes VALUES[I], in the format's own depth.
static void paint(AVFrame *avf, const int values[3])
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get((enum AVPixelFormat)avf->format);

    for (int i = 0; i < format->nb_components && i < 3; i++) {
        const AVComponentDescriptor *part = &format->comp[i];
        bool is_chroma = i > 0 && !(format->flags & AV_PIX_FMT_FLAG_RGB);
        int width = is_chroma ? AV_CEIL_RSHIFT(avf->width, format->log2_chroma_w) : avf->width;
        int height = is_chroma ? AV_CEIL_RSHIFT(avf->height, format->log2_chroma_h) : avf->height;

        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                uint8_t *at = avf->data[part->plane] + y * avf->linesize[part->plane] +
                              x * part->step + part->offset;
                if (part->depth > 8) {
                    at[0] = (uint8_t)(values[i] << 2);
                    at[1] = (uint8_t)(values[i] >> 6);
                } else {
                    *at = (uint8_t)values[i];
                }
            }
        }
    }
}

static void assert_near(int value, int expected, int tolerance)
{
    if (abs(value - expected) > tolerance)
        fail_msg("%d is not within %d of %d", value, tolerance, expected);
}

static void test_import_takes_420_by_reference(void **state)
{
    static const enum AVPixelFormat formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUVJ420P,
                                                 AV_PIX_FMT_NV12};
    struct fw_frame_importer *importer = fw_frame_importer_create();

    (void)state;
    assert_non_null(importer);
    for (int i = 0; i < 3; i++) {
        AVFrame *avf = make_avframe(formats[i], 33, 17);
        struct fw_frame *frame = NULL;
        const uint8_t *luma = avf->data[0];

        assert_int_equal(fw_frame_import(importer, avf, &frame), FW_OK);
        av_frame_free(&avf);
        assert_ptr_equal(frame->planes[0], luma);
        assert_int_equal(frame->width, 33);
        assert_int_equal(frame->format, i == 2 ? FW_PIXEL_NV12 : FW_PIXEL_I420);
        assert_int_equal(frame->full_range, i == 1);
        assert_int_equal(frame->matrix, FW_MATRIX_BT601);
        assert_false(fw_frame_is_writable(frame));
        assert_int_equal(frame->planes[0][16 * frame->strides[0] + 32],
                         luma[16 * frame->strides[0] + 32]);
        fw_frame_unref(frame);
    }
    fw_frame_importer_destroy(importer);
}

static void test_import_refuses_what_is_too_large(void **state)
{
    static const enum AVPixelFormat formats[] = {AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV444P};
    struct fw_frame_importer *importer = fw_frame_importer_create();

    (void)state;
    assert_non_null(importer);
    for (int i = 0; i < 2; i++) {
        AVFrame *avf = make_avframe(formats[i], FW_FRAME_MAX_SIDE_PX + 2, 16);
        struct fw_frame *frame = NULL;

        assert_int_equal(fw_frame_import(importer, avf, &frame), FW_ENOTSUP);
        assert_null(frame);
        av_frame_free(&avf);
    }
    fw_frame_importer_destroy(importer);
}

static void test_import_guesses_the_matrix_by_height_alone_when_untold(void **state)
{
    struct fw_frame_importer *importer = fw_frame_importer_create();
    static const struct {
        int height, colorspace;
        enum fw_color_matrix expected;
    } cases[] = {
        {719, AVCOL_SPC_UNSPECIFIED, FW_MATRIX_BT601},
        {720, AVCOL_SPC_UNSPECIFIED, FW_MATRIX_BT709},
        {480, AVCOL_SPC_BT709, FW_MATRIX_BT709},
        {1080, AVCOL_SPC_SMPTE170M, FW_MATRIX_BT601},
        {1080, AVCOL_SPC_BT470BG, FW_MATRIX_BT601},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        AVFrame *avf = make_avframe(AV_PIX_FMT_YUV420P, 16, cases[i].height);
        struct fw_frame *frame = NULL;

        avf->colorspace = (enum AVColorSpace)cases[i].colorspace;
        avf->color_range = i == 0 ? AVCOL_RANGE_JPEG : AVCOL_RANGE_UNSPECIFIED;
        assert_int_equal(fw_frame_import(importer, avf, &frame), FW_OK);
        assert_int_equal(frame->matrix, cases[i].expected);
        assert_int_equal(frame->full_range, i == 0);
        fw_frame_unref(frame);
        av_frame_free(&avf);
    }
    fw_frame_importer_destroy(importer);
}

static void test_import_converts_other_yuv_without_changing_colours(void **state)
{
    static const enum AVPixelFormat formats[] = {
        AV_PIX_FMT_YUV422P,     AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUV444P,
        AV_PIX_FMT_YUV420P10LE, AV_PIX_FMT_YUYV422,  AV_PIX_FMT_YUVJ444P,
    };
    static const int values[3] = {81, 90, 240};
    struct fw_frame_importer *importer = fw_frame_importer_create();

    (void)state;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        AVFrame *avf = make_avframe(formats[i], 38, 21);
        struct fw_frame *frame = NULL;

        paint(avf, values);
        assert_int_equal(fw_frame_import(importer, avf, &frame), FW_OK);
        assert_int_equal(frame->format, FW_PIXEL_I420);
        assert_int_equal(frame->width, 38);
        assert_int_equal(frame->height, 21);
        for (int plane = 0; plane < 3; plane++) {
            int last_row = fw_frame_row_count(frame, plane) - 1;
            int last_column = fw_frame_row_bytes(frame, plane) - 1;
            assert_near(frame->planes[plane][0], values[plane], 1);
            assert_near(frame->planes[plane][last_row * frame->strides[plane] + last_column],
                        values[plane], 1);
        }
        fw_frame_unref(frame);
        av_frame_free(&avf);
    }
    fw_frame_importer_destroy(importer);
}

static void test_import_converts_rgb_and_grey_by_the_standards(void **state)
{
    static const int red[3] = {255, 0, 0};
    static const int grey[3] = {100, 0, 0};
    struct fw_frame_importer *importer = fw_frame_importer_create();
    AVFrame *avf = make_avframe(AV_PIX_FMT_RGB24, 32, 16);
    struct fw_frame *frame = NULL;

    (void)state;
    paint(avf, red);
    assert_int_equal(fw_frame_import(importer, avf, &frame), FW_OK);
    // BT.601, limited: Y = 16 + 219 * 0.299, Cb = 128 - 224 * 0.1687, Cr = 128 + 112.
    assert_near(frame->planes[0][0], 81, 1);
    assert_near(frame->planes[1][0], 90, 1);
    assert_near(frame->planes[2][0], 240, 1);
    assert_false(frame->full_range);
    fw_frame_unref(frame);
    av_frame_free(&avf);
    avf = make_avframe(AV_PIX_FMT_GRAY8, 32, 16);
    paint(avf, grey);
    assert_int_equal(fw_frame_import(importer, avf, &frame), FW_OK);
    assert_near(frame->planes[0][5], 100, 1);
    assert_near(frame->planes[1][5], 128, 0);
    fw_frame_unref(frame);
    av_frame_free(&avf);
    fw_frame_importer_destroy(importer);
}

static void test_import_respects_cropping(void **state)
{
    struct fw_frame_importer *importer = fw_frame_importer_create();
    AVFrame *avf = make_avframe(AV_PIX_FMT_YUV420P, 64, 48);
    struct fw_frame *frame = NULL;

    (void)state;
    avf->crop_left = 4;
    avf->crop_top = 2;
    avf->crop_right = 6;
    avf->crop_bottom = 8;
    assert_int_equal(fw_frame_import(importer, avf, &frame), FW_OK);
    assert_int_equal(frame->width, 54);
    assert_int_equal(frame->height, 38);
    assert_ptr_equal(frame->planes[0], avf->data[0] + 2 * avf->linesize[0] + 4);
    assert_ptr_equal(frame->planes[1], avf->data[1] + avf->linesize[1] + 2);
    fw_frame_unref(frame);
    avf->crop_left = 60;
    assert_int_equal(fw_frame_import(importer, avf, &frame), FW_EFORMAT);
    av_frame_free(&avf);
    fw_frame_importer_destroy(importer);
    fw_frame_importer_destroy(NULL);
}

static void test_import_refuses_pictures_without_pixels(void **state)
{
    struct fw_frame_importer *importer = fw_frame_importer_create();
    AVFrame *avf = av_frame_alloc();
    struct fw_frame *frame = NULL;

    (void)state;
    assert_int_equal(fw_frame_import(importer, avf, &frame), FW_EFORMAT);
    av_frame_free(&avf);
    avf = make_avframe(AV_PIX_FMT_YUV420P, 16, 16);
    avf->format = AV_PIX_FMT_VAAPI;
    assert_int_equal(fw_frame_import(importer, avf, &frame), FW_ENOTSUP);
    assert_null(frame);
    av_frame_free(&avf);
    fw_frame_importer_destroy(importer);
}

static void test_export_and_import_give_the_same_picture(void **state)
{
    struct fw_frame_importer *importer = fw_frame_importer_create();
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_NV12, 46, 30);
    struct fw_frame *back = NULL;
    AVFrame *avf = av_frame_alloc();

    (void)state;
    assert_true(importer && frame && avf);
    frame->matrix = FW_MATRIX_BT709;
    frame->full_range = true;
    assert_int_equal(fw_frame_export(frame, avf), FW_OK);
    assert_int_equal(avf->format, AV_PIX_FMT_NV12);
    assert_int_equal(avf->colorspace, AVCOL_SPC_BT709);
    assert_false(av_frame_is_writable(avf));
    assert_false(fw_frame_is_writable(frame));
    assert_int_equal(fw_frame_import(importer, avf, &back), FW_OK);
    assert_ptr_equal(back->planes[1], frame->planes[1]);
    assert_int_equal(back->matrix, FW_MATRIX_BT709);
    assert_true(back->full_range);
    fw_frame_unref(back);
    av_frame_free(&avf);
    assert_true(fw_frame_is_writable(frame));
    fw_frame_unref(frame);
    fw_frame_importer_destroy(importer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_aligns_planes_and_rounds_chroma_up),
        cmocka_unit_test(test_create_refuses_impossible_sizes),
        cmocka_unit_test(test_only_the_sole_holder_may_write),
        cmocka_unit_test(test_wrapped_planes_are_released_once_by_the_last),
        cmocka_unit_test(test_pool_gives_the_same_memory_again_and_blank_fields),
        cmocka_unit_test(test_pool_serves_many_threads),
        cmocka_unit_test(test_copy_takes_pixels_and_description),
        cmocka_unit_test(test_import_takes_420_by_reference),
        cmocka_unit_test(test_import_refuses_what_is_too_large),
        cmocka_unit_test(test_import_guesses_the_matrix_by_height_alone_when_untold),
        cmocka_unit_test(test_import_converts_other_yuv_without_changing_colours),
        cmocka_unit_test(test_import_converts_rgb_and_grey_by_the_standards),
        cmocka_unit_test(test_import_respects_cropping),
        cmocka_unit_test(test_import_refuses_pictures_without_pixels),
        cmocka_unit_test(test_export_and_import_give_the_same_picture),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
