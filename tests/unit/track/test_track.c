// The tracker's parts: assignment, filter, quality; and the program's main.
#include "track/assignment.h"
#include "track/kalman.h"
#include "track/quality.h"
#include "track_tests.h"
#include "util/error.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static double paid(const double *cost, size_t rows, size_t columns, double limit,
                   const ptrdiff_t *result)
{
    double sum = 0;

    for (size_t i = 0; i < rows; i++)
        sum += result[i] < 0 ? limit : cost[i * columns + (size_t)result[i]];
    return sum;
}

static double cheapest(const double *cost, size_t row, size_t rows, size_t columns, double limit,
                       unsigned taken)
{
    double best;

    if (row == rows)
        return 0;
    best = limit + cheapest(cost, row + 1, rows, columns, limit, taken);
    for (size_t j = 0; j < columns; j++) {
        double sum;
        if ((taken >> j & 1) != 0 || cost[row * columns + j] >= limit)
            continue;
        sum = cost[row * columns + j] +
              cheapest(cost, row + 1, rows, columns, limit, taken | 1u << j);
        best = fmin(best, sum);
    }
    return best;
}

static void assignment_is_as_cheap_as_trying_everything(void **state)
{
    struct fw_assignment assignment = {0};
    uint32_t random = 7;
    (void)state;

    for (int round = 0; round < 3000; round++) {
        double cost[36];
        ptrdiff_t result[6];
        size_t rows = 1 + next_random(&random) % 6, columns = next_random(&random) % 7;
        unsigned taken = 0;
        for (size_t i = 0; i < rows * columns; i++)
            cost[i] = next_random(&random) % 3 == 0 ? 1e9 : next_random(&random) % 300 / 100.0;
        assert_int_equal(fw_assignment_reserve(&assignment, rows, columns), FW_OK);
        fw_assignment_solve(&assignment, cost, rows, columns, 2.5, result);
        for (size_t i = 0; i < rows; i++) {
            if (result[i] < 0)
                continue;
            assert_true(cost[i * columns + (size_t)result[i]] < 2.5);
            assert_int_equal(taken >> result[i] & 1, 0);
            taken |= 1u << result[i];
        }
        assert_true(fabs(paid(cost, rows, columns, 2.5, result) -
                         cheapest(cost, 0, rows, columns, 2.5, 0)) < 1e-9);
    }
    fw_assignment_free(&assignment);
}

static void filter_learns_the_velocity_at_irregular_intervals(void **state)
{
    static const double steps_s[] = {0.1, 0.2, 0.1, 0.05, 0.3, 0.1, 0.15, 0.1, 0.1, 0.2};
    struct fw_kalman kalman;
    struct fw_box box = {100, 100, 40, 50};
    double time_s = 0;
    (void)state;

    fw_kalman_init(&kalman, &box);
    for (size_t i = 0; i < 10; i++) {
        time_s += steps_s[i];
        box.x = (float)(100 + 80 * time_s);
        fw_kalman_predict(&kalman, steps_s[i]);
        fw_kalman_update(&kalman, &box);
    }
    assert_true(fabs(kalman.cx.v - 80) < 8);
    assert_true(fabs(kalman.cy.v) < 1);
    assert_true(kalman.cx.p_xx > 0 && kalman.cx.p_vv > 0);
}

static void filter_gives_the_same_for_one_long_step_and_many_short_ones(void **state)
{
    struct fw_box box = {10, 10, 40, 40};
    struct fw_kalman one, many;
    (void)state;

    fw_kalman_init(&one, &box);
    one.cx.v = 100;
    many = one;
    fw_kalman_predict(&one, 1.0);
    for (int i = 0; i < 100; i++)
        fw_kalman_predict(&many, 0.01);
    assert_true(fabs(one.cx.x - many.cx.x) < 1e-6);
    assert_true(fabs(one.cx.v - many.cx.v) < 1e-6);
    assert_true(one.cx.p_xx / many.cx.p_xx < 1.5 && many.cx.p_xx / one.cx.p_xx < 1.5);
}

static void filter_stays_in_bounds_however_long_it_coasts(void **state)
{
    struct fw_box box = {10, 10, 40, 40};
    struct fw_kalman kalman;
    (void)state;

    fw_kalman_init(&kalman, &box);
    kalman.cx.v = 500;
    kalman.w.v = -1000;
    for (int i = 0; i < 1000; i++)
        fw_kalman_predict(&kalman, 10.0);
    box = fw_kalman_box(&kalman);
    assert_true(box.w >= 1 && box.h > 0);
    assert_true(box.x < 30 + 500 * 2.1F);
    box = fw_kalman_shift(&kalman, (struct fw_box){0, 0, 5, 5}, -0.5);
    assert_true(isfinite(box.x) && box.w >= 1);
}

static struct fw_face frontal_face(void)
{
    struct fw_face face = {
        .box = {400, 300, 160, 200},
        .score = 0.9F,
        .landmarks = {{440, 370}, {520, 370}, {480, 410}, {450, 450}, {510, 450}},
        .has_landmarks = 1,
    };
    return face;
}

static struct fw_quality quality_of(const struct fw_face *face, float sharpness, float brightness)
{
    struct fw_quality_input input = {face, 1280, 720, sharpness, brightness};
    struct fw_quality quality = fw_face_quality(&input);

    assert_true(quality.total >= 0 && quality.total <= 1);
    return quality;
}

static void quality_is_high_for_a_good_picture_and_falls_with_each_fault(void **state)
{
    struct fw_face face = frontal_face(), other;
    struct fw_quality good = quality_of(&face, 900, 120);
    (void)state;

    assert_true(good.total > 0.9F);
    assert_true(good.size == 1 && good.frontal > 0.99F && good.inside > 0.999F &&
                good.exposed == 1);
    assert_true(quality_of(&face, 20, 120).total < 0.6F * good.total);
    assert_true(quality_of(&face, 900, 15).total < 0.6F * good.total);
    assert_true(quality_of(&face, 900, 250).total < 0.6F * good.total);
    other = face;
    other.box.x = -80;
    assert_true(quality_of(&other, 900, 120).total < 0.5F * good.total);
    other = face;
    other.landmarks[2].x = 515; // the nose under the left eye
    assert_true(quality_of(&other, 900, 120).total < 0.8F * good.total);
    other = face;
    other.box.w = other.box.h = 40;
    other.has_landmarks = 0;
    assert_true(quality_of(&other, 900, 120).total < 0.5F * good.total);
    assert_true(quality_of(&other, 900, 120).frontal == 0.5F);
}

static void quality_is_a_number_for_any_input(void **state)
{
    struct fw_face face = frontal_face();
    (void)state;

    face.landmarks[0].x = NAN;
    assert_true(quality_of(&face, 100, 100).frontal == 0);
    assert_true(quality_of(&face, NAN, NAN).total == 0);
    assert_true(quality_of(&face, INFINITY, INFINITY).total == 0);
    assert_true(quality_of(&face, -1, -1).total == 0);
    face.box = (struct fw_box){NAN, 0, NAN, 0};
    assert_true(quality_of(&face, 100, 100).total == 0);
    face.box = (struct fw_box){5000, 5000, 10, 10};
    assert_true(quality_of(&face, 100, 100).inside == 0);
    memset(face.landmarks, 0, sizeof(face.landmarks));
    assert_true(quality_of(&face, 100, 100).frontal == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assignment_is_as_cheap_as_trying_everything),
        cmocka_unit_test(filter_learns_the_velocity_at_irregular_intervals),
        cmocka_unit_test(filter_gives_the_same_for_one_long_step_and_many_short_ones),
        cmocka_unit_test(filter_stays_in_bounds_however_long_it_coasts),
        cmocka_unit_test(quality_is_high_for_a_good_picture_and_falls_with_each_fault),
        cmocka_unit_test(quality_is_a_number_for_any_input),
    };
    int failed = cmocka_run_group_tests_name("track", tests, NULL, NULL);

    failed += run_tracker_step_tests();
    failed += run_tracker_tests();
    failed += run_zone_tests();
    return failed != 0;
}
