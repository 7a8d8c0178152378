// Polygons against a slow reference, and what zones say of faces.
#include "track/zones.h"
#include "track_tests.h"
#include <math.h>
#include <stdlib.h>

#define GRID 16

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static struct fw_face face_at(double x, double y, float size)
{
    struct fw_face face = {.score = 0.9F};

    face.box = (struct fw_box){(float)x - size / 2, (float)y - size / 2, size, size};
    return face;
}

// Whether ZONE alone holds the point, given in pixels of a picture of GRID x GRID.
static bool holds(const struct fw_zone *zone, double x, double y)
{
    const struct fw_face face = face_at(x, y, 2);
    int index = 7;
    enum fw_zone_verdict verdict = fw_zones_judge(zone, 1, &face, GRID, GRID, &index);

    assert_int_equal(index, verdict == FW_ZONE_INSIDE ? 0 : -1);
    return verdict == FW_ZONE_INSIDE;
}

static double side(double ax, double ay, double bx, double by, double x, double y)
{
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax);
}

// The edges that lie across the way from the point to a far one in an odd direction.
static bool is_inside_slowly(const struct fw_point *points, size_t count, double x, double y)
{
    const double far_x = x + 1000 * cos(0.7391), far_y = y + 1000 * sin(0.7391);
    int crossed = 0;

    for (size_t i = 0; i < count; i++) {
        double ax = (double)points[i].x * GRID, ay = (double)points[i].y * GRID;
        double bx = (double)points[(i + 1) % count].x * GRID;
        double by = (double)points[(i + 1) % count].y * GRID;
        bool is_between =
            (side(x, y, far_x, far_y, ax, ay) > 0) != (side(x, y, far_x, far_y, bx, by) > 0);
        crossed += is_between &&
                   (side(ax, ay, bx, by, x, y) > 0) != (side(ax, ay, bx, by, far_x, far_y) > 0);
    }
    return crossed % 2 == 1;
}

static void polygons_hold_what_the_slow_reference_says(void **state)
{
    uint32_t random = 11;
    int inside = 0;
    (void)state;

    for (int round = 0; round < 2000; round++) {
        struct fw_point points[9];
        size_t count = 3 + next_random(&random) % 7;
        struct fw_zone zone = {.name = "z", .points = points, .point_count = count};
        for (size_t i = 0; i < count; i++) // horizontal and vertical edges come often
            points[i] = (struct fw_point){(float)(next_random(&random) % (GRID + 1)) / GRID,
                                          (float)(next_random(&random) % (GRID + 1)) / GRID};
        for (int i = 0; i < 50; i++) { // never on an edge's line
            double x = next_random(&random) % (GRID + 2) - 57087 / 65536.0;
            double y = next_random(&random) % (GRID + 2) - 40193 / 65536.0;
            bool expected = is_inside_slowly(points, count, x, y);
            assert_int_equal(holds(&zone, x, y), expected);
            inside += expected;
        }
    }
    assert_in_range(inside, 10000, 90000);
}

// A square cut in two along a line of several edges: each point of it is in one half.
static void shared_edges_belong_to_one_side(void **state)
{
    uint32_t random = 5;
    (void)state;

    for (int round = 0; round < 500; round++) {
        struct fw_point left[7] = {{0, 0}}, right[7] = {{1, 0}};
        struct fw_zone halves[2] = {{.name = "l", .points = left, .point_count = 7},
                                    {.name = "r", .points = right, .point_count = 7}};
        for (int i = 0; i < 5; i++)
            left[1 + i] = right[1 + i] = (struct fw_point){
                (float)(1 + next_random(&random) % (GRID - 1)) / GRID, (float)(i * 4) / GRID};
        left[6] = (struct fw_point){0, 1};
        right[6] = (struct fw_point){1, 1};
        for (int i = 0; i < GRID * GRID * 9; i++) {
            double x = i % (GRID * 3) / 3.0, y = i / (GRID * 3) / 3.0;
            assert_int_equal(holds(&halves[0], x, y) + holds(&halves[1], x, y), 1);
        }
    }
}

static void special_polygons(void **state)
{
    static const struct fw_point bow[] = {{0, 0}, {1, 1}, {1, 0}, {0, 1}};
    static const struct fw_point frame[] = {
        {0, 0},         {1, 0},         {1, 1},         {0, 1},         {0, 0},
        {0.25F, 0.25F}, {0.25F, 0.75F}, {0.75F, 0.75F}, {0.75F, 0.25F}, {0.25F, 0.25F}};
    static const struct fw_point flat[] = {{0, 0.5F}, {1, 0.5F}, {0.5F, 0.5F}};
    struct fw_zone zone = {.name = "z", .points = bow, .point_count = 4};
    struct fw_face nowhere = face_at(8, 8, 2);
    int index = 0;
    (void)state;

    assert_true(holds(&zone, 2, 8) && holds(&zone, 14, 8)); // the two wings
    assert_false(holds(&zone, 8, 2) || holds(&zone, 8, 14));
    zone = (struct fw_zone){.name = "z", .points = frame, .point_count = 10};
    assert_true(holds(&zone, 2, 8) && holds(&zone, 8, 2));
    assert_false(holds(&zone, 8, 8));
    zone = (struct fw_zone){.name = "z", .points = flat, .point_count = 3};
    assert_false(holds(&zone, 8, 8));
    zone = (struct fw_zone){.name = "z", .points = frame, .point_count = 4};
    assert_true(holds(&zone, 0, 0) && !holds(&zone, GRID, GRID));
    assert_false(holds(&zone, -0.001, 8) || holds(&zone, 8, GRID + 0.001));
    nowhere.box.x = NAN;
    assert_int_equal(fw_zones_judge(&zone, 1, &nowhere, GRID, GRID, &index), FW_ZONE_OUTSIDE);
}

static void zones_judge_by_kind_and_threshold(void **state)
{
    static const struct fw_point left[] = {{0, 0}, {0.5F, 0}, {0.5F, 1}, {0, 1}};
    static const struct fw_point all[] = {{0, 0}, {1, 0}, {1, 1}, {0, 1}};
    static const struct fw_point top[] = {{0, 0}, {1, 0}, {1, 0.25F}, {0, 0.25F}};
    const struct fw_zone strict = {"strict", false, left, 4, 0.95F, 0};
    const struct fw_zone large = {"large", false, left, 4, 0, 20};
    const struct fw_zone plain = {"all", false, all, 4, 0, 0};
    const struct fw_zone tree = {"tree", true, top, 4, 0.99F, 999}; // thresholds mean nothing here
    const struct fw_zone half = {"left", false, left, 4, 0, 0};
    const struct {
        struct fw_zone zones[3];
        size_t count;
        double x, y;
        enum fw_zone_verdict verdict;
        int zone;
    } rows[] = {
        {{{0}}, 0, 50, 50, FW_ZONE_NONE, -1},
        {{tree}, 1, 50, 50, FW_ZONE_NONE, -1},
        {{tree}, 1, 50, 10, FW_ZONE_EXCLUDED, -1},
        {{half}, 1, 20, 50, FW_ZONE_INSIDE, 0},
        {{half}, 1, 70, 50, FW_ZONE_OUTSIDE, -1},
        {{half, tree}, 2, 20, 10, FW_ZONE_EXCLUDED, -1},
        {{tree, half}, 2, 20, 50, FW_ZONE_INSIDE, 1},
        {{half, plain}, 2, 20, 50, FW_ZONE_INSIDE, 0},
        {{half, plain}, 2, 70, 50, FW_ZONE_INSIDE, 1},
        {{strict}, 1, 20, 50, FW_ZONE_WEAK, -1},
        {{large}, 1, 20, 50, FW_ZONE_WEAK, -1},
        {{strict}, 1, 70, 50, FW_ZONE_OUTSIDE, -1},
        {{strict, large, plain}, 3, 20, 50, FW_ZONE_INSIDE, 2},
        {{plain, strict}, 2, 20, 50, FW_ZONE_INSIDE, 0},
        {{tree, strict, half}, 3, 70, 50, FW_ZONE_OUTSIDE, -1},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct fw_face face = face_at(rows[i].x, rows[i].y, 10);
        int zone = 5;
        assert_int_equal(fw_zones_judge(rows[i].zones, rows[i].count, &face, 100, 100, &zone),
                         rows[i].verdict);
        assert_int_equal(zone, rows[i].zone);
    }
}

int run_zone_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(polygons_hold_what_the_slow_reference_says),
        cmocka_unit_test(shared_edges_belong_to_one_side),
        cmocka_unit_test(special_polygons),
        cmocka_unit_test(zones_judge_by_kind_and_threshold),
    };

    return cmocka_run_group_tests_name("zones", tests, NULL, NULL);
}
