// The four pictures of an alert.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "camera/snapshot.h"
#include "media/frame.h"
#include "media/jpeg.h"
#include "util/queue.h"
#include <stdlib.h>
#include <string.h>

static struct fw_frame *make_grey(enum fw_pixel_format format, int width, int height)
{
    struct fw_frame *frame = fw_frame_create(format, width, height);

    assert_non_null(frame);
    for (int plane = 0; plane < fw_frame_plane_count(format); plane++)
        memset(frame->planes[plane], 128,
               (size_t)frame->strides[plane] * (size_t)fw_frame_row_count(frame, plane));
    return frame;
}

static struct fw_frame *decode(const struct fw_snapshot_picture *picture)
{
    struct fw_frame *frame = NULL;
    struct fw_error error;

    assert_non_null(picture->jpeg);
    if (fw_jpeg_decode(picture->jpeg->data, picture->jpeg->length, &frame, &error))
        fail_msg("%s", error.message);
    assert_int_equal(frame->width, picture->width);
    assert_int_equal(frame->height, picture->height);
    return frame;
}

// Pixels that are clearly coloured.
static int count_coloured(const struct fw_frame *bgr)
{
    int count = 0;

    for (int y = 0; y < bgr->height; y++) {
        for (int x = 0; x < bgr->width; x++) {
            const uint8_t *pixel =
                bgr->planes[0] + (ptrdiff_t)y * bgr->strides[0] + (ptrdiff_t)3 * x;
            count += abs(pixel[0] - pixel[1]) > 40 || abs(pixel[1] - pixel[2]) > 40;
        }
    }
    return count;
}

static const struct fw_overlay_face faces[] = {
    {.track = 2, .face = {.box = {200.0F, 100.0F, 50.0F, 60.0F}, .score = 0.9F}},
    {.track = 3, .face = {.box = {400.0F, 200.0F, 50.0F, 60.0F}, .score = 0.8F}},
};

static void test_four_pictures_of_the_expected_sizes(void **state)
{
    static const enum fw_pixel_format formats[] = {FW_PIXEL_I420, FW_PIXEL_NV12, FW_PIXEL_BGR24};

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct fw_frame *frame = make_grey(formats[i], 641, 361);
        struct fw_snapshot snapshot;
        struct fw_error error = {0};
        struct fw_frame *full, *full_annotated, *face, *face_annotated;

        if (fw_snapshot_render(frame, faces, 2, 90, &snapshot, &error))
            fail_msg("%s", error.message);
        assert_int_equal(snapshot.full.width, 641);
        assert_int_equal(snapshot.full.height, 361);
        // 50 x 60 grown by 20 and 24 on each side: 180..270, 76..184.
        assert_int_equal(snapshot.face.width, 90);
        assert_int_equal(snapshot.face.height, 108);
        full = decode(&snapshot.full);
        full_annotated = decode(&snapshot.full_annotated);
        face = decode(&snapshot.face);
        face_annotated = decode(&snapshot.face_annotated);
        assert_int_equal(face_annotated->width, 90);
        assert_int_equal(count_coloured(full), 0);
        assert_int_equal(count_coloured(face), 0);
        assert_true(count_coloured(face_annotated) > 200);
        // Both faces are on the whole picture: more than the first one alone has.
        assert_true(count_coloured(full_annotated) > 3 * count_coloured(face_annotated) / 2);
        assert_int_equal(frame->planes[0][130 * frame->strides[0] + 200], 128);
        fw_frame_unref(full);
        fw_frame_unref(full_annotated);
        fw_frame_unref(face);
        fw_frame_unref(face_annotated);
        fw_snapshot_free(&snapshot);
        assert_null(snapshot.full.jpeg);
        fw_frame_unref(frame);
    }
    fw_snapshot_free(NULL);
}

static void test_crop_at_the_corner_is_cut(void **state)
{
    struct fw_frame *frame = make_grey(FW_PIXEL_I420, 320, 240);
    struct fw_overlay_face face = {.track = 1, .face = {.box = {-10.0F, -10.0F, 60.0F, 60.0F}}};
    struct fw_snapshot snapshot;
    struct fw_error error = {0};

    (void)state;
    assert_int_equal(fw_snapshot_render(frame, &face, 1, 80, &snapshot, &error), FW_OK);
    assert_int_equal(snapshot.face.width, 74);
    assert_int_equal(snapshot.face.height, 74);
    fw_snapshot_free(&snapshot);
    fw_frame_unref(frame);
}

static void test_nonsense_is_refused_with_nothing_left(void **state)
{
    struct fw_frame *frame = make_grey(FW_PIXEL_I420, 320, 240);
    struct fw_overlay_face face = {.track = 1, .face = {.box = {900.0F, 10.0F, 60.0F, 60.0F}}};
    struct fw_snapshot snapshot;
    struct fw_error error = {0};

    (void)state;
    assert_int_equal(fw_snapshot_render(frame, &face, 1, 80, &snapshot, &error), FW_EINVAL);
    assert_null(snapshot.full.jpeg);
    assert_null(snapshot.full_annotated.jpeg);
    assert_int_equal(fw_snapshot_render(frame, &face, 0, 80, &snapshot, &error), FW_EINVAL);
    assert_int_equal(fw_snapshot_render(frame, faces, 1, 0, &snapshot, &error), FW_EINVAL);
    assert_null(snapshot.full.jpeg);
    fw_frame_unref(frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_four_pictures_of_the_expected_sizes),
        cmocka_unit_test(test_crop_at_the_corner_is_cut),
        cmocka_unit_test(test_nonsense_is_refused_with_nothing_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
