#include "cmocka_includes.h"
#include "util/error.h"
#include "util/face.h"

static void list_grows_clears_and_copies(void **state)
{
    (void)state;
    struct fw_faces faces = {0}, copy = {0};
    for (int i = 0; i < 100; i++) {
        struct fw_face face = {.score = (float)i};
        assert_int_equal(fw_faces_add(&faces, &face), FW_OK);
    }
    // The list's own item, while the list moves.
    for (int i = 0; i < 100; i++)
        assert_int_equal(fw_faces_add(&faces, &faces.items[1]), FW_OK);
    assert_int_equal(faces.count, 200);
    assert_float_equal(faces.items[199].score, 1.0f, 0.0f);

    assert_int_equal(fw_faces_copy(&copy, &faces), FW_OK);
    assert_int_equal(copy.count, 200);
    assert_float_equal(copy.items[99].score, 99.0f, 0.0f);
    assert_int_equal(fw_faces_copy(&copy, &copy), FW_OK);
    assert_int_equal(copy.count, 200);

    fw_faces_clear(&faces);
    assert_int_equal(faces.count, 0);
    assert_int_equal(fw_faces_copy(&copy, &faces), FW_OK);
    assert_int_equal(copy.count, 0);
    fw_faces_free(&faces);
    fw_faces_free(&faces);
    fw_faces_free(&copy);
    fw_faces_free(NULL);
}

static void iou(void **state)
{
    (void)state;
    const struct fw_box a = {0, 0, 10, 10}, half = {5, 0, 10, 10}, away = {10, 0, 5, 5};
    const struct fw_box flat = {2, 2, 0, 5}, inner = {0, 0, 5, 5};
    assert_float_equal(fw_box_iou(&a, &a), 1.0f, 1e-6);
    assert_float_equal(fw_box_iou(&a, &half), 50.0f / 150.0f, 1e-6);
    assert_float_equal(fw_box_iou(&half, &a), 50.0f / 150.0f, 1e-6);
    assert_float_equal(fw_box_iou(&a, &away), 0.0f, 0.0f);
    assert_float_equal(fw_box_iou(&a, &flat), 0.0f, 0.0f);
    assert_float_equal(fw_box_iou(&a, &inner), 0.25f, 1e-6);
}

static void check_clip(struct fw_box box, struct fw_box expected)
{
    struct fw_box got = fw_box_clip(box, 100, 50);
    assert_float_equal(got.x, expected.x, 1e-5);
    assert_float_equal(got.y, expected.y, 1e-5);
    assert_float_equal(got.w, expected.w, 1e-5);
    assert_float_equal(got.h, expected.h, 1e-5);
}

static void clip(void **state)
{
    (void)state;
    check_clip((struct fw_box){1, 2, 3, 4}, (struct fw_box){1, 2, 3, 4});
    check_clip((struct fw_box){-5, -5, 10, 10}, (struct fw_box){0, 0, 5, 5});
    check_clip((struct fw_box){95, 45, 10, 10}, (struct fw_box){95, 45, 5, 5});
    check_clip((struct fw_box){200, 200, 10, 10}, (struct fw_box){100, 50, 0, 0});
    check_clip((struct fw_box){-50, -50, 10, 10}, (struct fw_box){0, 0, 0, 0});
    check_clip((struct fw_box){10, 10, -5, -5}, (struct fw_box){10, 10, 0, 0});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(list_grows_clears_and_copies),
        cmocka_unit_test(iou),
        cmocka_unit_test(clip),
    };
    return cmocka_run_group_tests_name("face", tests, NULL, NULL);
}
