// From the network's numbers to faces.
#include "detect/postprocess.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SIDE = 8, ROW = 16 };

// Outputs as for an input of 64x64 px, all scores zero.
struct outputs {
    float rows[3][SIDE * SIDE * ROW];
    struct fw_yunet_level levels[3];
};

static void clear(struct outputs *outputs)
{
    memset(outputs, 0, sizeof(*outputs));
    for (int i = 0; i < 3; i++) {
        outputs->levels[i] =
            (struct fw_yunet_level){8 << i, SIDE >> i, SIDE >> i, outputs->rows[i]};
    }
}

// A face of SIZE px with its centre in the middle of a cell.
static float *put(struct outputs *outputs, int level, int x, int y, float score, float size)
{
    float *row = outputs->rows[level] + (y * outputs->levels[level].width + x) * ROW;
    row[0] = row[1] = score;
    row[2] = row[3] = 0.5f;
    row[4] = row[5] = logf(size / (float)outputs->levels[level].stride_px);
    return row;
}

static const struct fw_detect_parameters defaults = {.min_score = 0.5f, .nms_iou = 0.45f};

static struct fw_faces run(const struct outputs *outputs,
                           const struct fw_detect_parameters *parameters)
{
    struct fw_postprocess post = {0};
    struct fw_faces faces = {0};
    assert_int_equal(fw_postprocess_run(&post, outputs->levels, 1, 1, parameters, &faces), FW_OK);
    fw_postprocess_free(&post);
    return faces;
}

static size_t count(const struct outputs *outputs, const struct fw_detect_parameters *parameters)
{
    struct fw_faces faces = run(outputs, parameters);
    size_t result = faces.count;
    fw_faces_free(&faces);
    return result;
}

static void decodes_a_face(void **state)
{
    struct outputs outputs;
    struct fw_postprocess post = {0};
    struct fw_faces faces = {0};
    (void)state;
    clear(&outputs);
    float *row = put(&outputs, 1, 2, 1, 0, 24);
    row[0] = 0.81f;
    row[1] = 1;
    row[6] = -0.25f; // the right eye
    row[15] = 1.5f;  // the left corner of the mouth, y
    assert_int_equal(fw_postprocess_run(&post, outputs.levels, 2, 3, &defaults, &faces), FW_OK);
    assert_int_equal(faces.count, 1);
    const struct fw_face *face = &faces.items[0];
    assert_float_equal(face->score, 0.9f, 1e-5f);
    assert_float_equal(face->box.x, 2 * (40 - 12), 1e-3f);
    assert_float_equal(face->box.y, 3 * (24 - 12), 1e-3f);
    assert_float_equal(face->box.w, 2 * 24, 1e-3f);
    assert_float_equal(face->box.h, 3 * 24, 1e-3f);
    assert_int_equal(face->has_landmarks, 1);
    assert_float_equal(face->landmarks[0].x, 2 * 16 * 1.75f, 1e-3f);
    assert_float_equal(face->landmarks[0].y, 3 * 16, 1e-3f);
    assert_float_equal(face->landmarks[4].y, 3 * 16 * 2.5f, 1e-3f);
    fw_faces_free(&faces);
    fw_postprocess_free(&post);
}

static void leaves_out_low_scores(void **state)
{
    struct outputs outputs;
    (void)state;
    clear(&outputs);
    put(&outputs, 0, 1, 1, 0.49f, 8);
    put(&outputs, 0, 6, 6, 0.51f, 8);
    assert_int_equal(count(&outputs, &defaults), 1);
}

static void keeps_the_best_of_overlapping_faces(void **state)
{
    struct outputs outputs;
    (void)state;
    clear(&outputs);
    put(&outputs, 0, 2, 2, 0.7f, 32);
    put(&outputs, 0, 3, 2, 0.9f, 32); // overlaps the first: 24 / 40 = 0.6
    put(&outputs, 0, 5, 2, 0.8f, 32); // overlaps the second: 16 / 48 = 0.33
    struct fw_faces faces = run(&outputs, &defaults);
    assert_int_equal(faces.count, 2);
    assert_float_equal(faces.items[0].score, 0.9f, 1e-6f);
    assert_float_equal(faces.items[1].score, 0.8f, 1e-6f);
    fw_faces_free(&faces);
    assert_int_equal(
        count(&outputs, &(struct fw_detect_parameters){.min_score = 0.5f, .nms_iou = 0.65f}), 3);
    assert_int_equal(
        count(&outputs, &(struct fw_detect_parameters){.min_score = 0.5f, .nms_iou = 0.3f}), 1);
}

// A face that is suppressed suppresses nobody.
static void suppression_is_greedy(void **state)
{
    struct outputs outputs;
    (void)state;
    clear(&outputs);
    put(&outputs, 0, 1, 2, 0.9f, 32);
    put(&outputs, 0, 2, 2, 0.8f, 32);
    put(&outputs, 0, 3, 2, 0.7f, 32); // overlaps the second by 0.6, the first by 0.33
    assert_int_equal(count(&outputs, &defaults), 2);
}

static void equal_scores_come_in_the_order_of_cells(void **state)
{
    struct outputs outputs;
    (void)state;
    clear(&outputs);
    for (int i = 0; i < SIDE * SIDE; i++) {
        put(&outputs, 0, i % SIDE, i / SIDE, 0.75f, 4);
    }
    struct fw_faces faces = run(&outputs, &defaults);
    assert_int_equal(faces.count, SIDE * SIDE);
    for (int i = 0; i < SIDE * SIDE; i++) {
        div_t cell = div(i, SIDE);
        assert_float_equal(faces.items[i].box.x, 8 * cell.rem + 2, 1e-3f);
        assert_float_equal(faces.items[i].box.y, 8 * cell.quot + 2, 1e-3f);
    }
    fw_faces_free(&faces);
}

static void leaves_out_small_faces(void **state)
{
    struct outputs outputs;
    struct fw_detect_parameters parameters = defaults;
    (void)state;
    clear(&outputs);
    put(&outputs, 0, 1, 1, 0.9f, 10);
    put(&outputs, 2, 1, 1, 0.9f, 30);
    parameters.min_face_px = 20;
    struct fw_faces faces = run(&outputs, &parameters);
    assert_int_equal(faces.count, 1);
    assert_float_equal(faces.items[0].box.w, 30, 1e-3f);
    fw_faces_free(&faces);
}

static void leaves_out_nonsense(void **state)
{
    struct outputs outputs;
    (void)state;
    for (int i = 0; i < ROW; i++) {
        clear(&outputs);
        put(&outputs, 0, 1, 1, 0.9f, 10)[i] = NAN;
        put(&outputs, 0, 6, 6, 0.9f, 10);
        assert_int_equal(count(&outputs, &defaults), 1);
    }
    for (int i = 2; i < ROW; i++) {
        clear(&outputs);
        put(&outputs, 1, 1, 1, 0.9f, 10)[i] = INFINITY;
        assert_int_equal(count(&outputs, &defaults), 0);
    }
    // Scores are probabilities even if the network's are not.
    clear(&outputs);
    put(&outputs, 0, 1, 1, 3, 10);
    struct fw_faces faces = run(&outputs, &defaults);
    assert_int_equal(faces.count, 1);
    assert_float_equal(faces.items[0].score, 1, 0);
    fw_faces_free(&faces);
}

// A threshold of zero on a large picture is slow work, but not without bounds.
static void bounds_the_candidates(void **state)
{
    enum { WIDE = 512 };
    struct fw_yunet_level levels[3] = {{8, WIDE, WIDE, NULL}, {16, 0, 0, NULL}, {32, 0, 0, NULL}};
    struct fw_detect_parameters parameters = {.nms_iou = 0.45f};
    struct fw_postprocess post = {0};
    struct fw_faces faces = {0};
    float *rows = calloc((size_t)WIDE * WIDE * ROW, sizeof(float));
    (void)state;
    assert_non_null(rows);
    levels[0].rows = rows;
    for (int i = 0; i < WIDE * WIDE; i++) {
        rows[i * ROW + 4] = rows[i * ROW + 5] = -2;
    }
    assert_int_equal(fw_postprocess_run(&post, levels, 1, 1, &parameters, &faces), FW_OK);
    assert_int_equal(faces.count, FW_MAX_CANDIDATES);
    fw_faces_free(&faces);
    fw_postprocess_free(&post);
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_a_face),
        cmocka_unit_test(leaves_out_low_scores),
        cmocka_unit_test(keeps_the_best_of_overlapping_faces),
        cmocka_unit_test(suppression_is_greedy),
        cmocka_unit_test(equal_scores_come_in_the_order_of_cells),
        cmocka_unit_test(leaves_out_small_faces),
        cmocka_unit_test(leaves_out_nonsense),
        cmocka_unit_test(bounds_the_candidates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
