// Tiles, over a detector of our own that sees a known picture as a network would: only what is
// large enough in its input, only what lies in the view for the greater part, and what is cut with
// a box that is cut too.
#include "detect/tiles.h"

#include "media/frame.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT_PX = 640, SMALLEST_INPUT_PX = 12, MAX_TRUTH = 64 };

// The picture's true faces, and what the detector saw.
struct scene {
    struct fw_frame *frame;
    struct fw_box truth[MAX_TRUTH];
    int count;
    float jitter; // of each box's place and size, as a part of its size
    float shift;  // of boxes seen in the whole picture, likewise
    unsigned random;
    int looks;
    bool fails;
};

static float noise(struct scene *scene)
{
    scene->random = scene->random * 1664525U + 1013904223U;
    return ((float)(scene->random >> 8) / (float)(1U << 24) - 0.5F) * 2 * scene->jitter;
}

static float area(const struct fw_box *box)
{
    return box->w * box->h;
}

static int see(void *state, const struct fw_frame *view,
               const struct fw_detect_parameters *parameters, struct fw_faces *faces,
               struct fw_error *error)
{
    struct scene *scene = state;
    ptrdiff_t offset = view->planes[0] - scene->frame->planes[0];
    float left = (float)(offset % scene->frame->strides[0]);
    float top = (float)(offset / scene->frame->strides[0]);
    float longer = (float)(view->width > view->height ? view->width : view->height);
    float scale = longer > LIMIT_PX ? LIMIT_PX / longer : 1;
    scene->looks++;
    if (scene->fails)
        return fw_fail(error, FW_EIO, "it fails");
    for (int i = 0; i < scene->count; i++) {
        struct fw_box box = scene->truth[i];
        box.x -= left;
        box.y -= top;
        struct fw_box seen = fw_box_clip(box, view->width, view->height);
        if (area(&seen) < 0.3F * area(&box) || box.w * scale < SMALLEST_INPUT_PX ||
            box.w < (float)parameters->min_face_px)
            continue;
        float side = seen.w;
        // Half of the cut faces get a box that goes on beyond the border, as networks guess it.
        struct fw_face face = {.box = i % 2 == 0 ? seen : box, .has_landmarks = 1};
        face.box.x += noise(scene) * side;
        face.box.y += noise(scene) * side;
        face.box.w *= 1 + noise(scene);
        if (view->width == scene->frame->width)
            face.box.x += scene->shift * side;
        // A cut face may well have the better score.
        face.score = (area(&seen) < area(&box) ? 0.95F : 0.9F) - 0.001F * (float)i + noise(scene);
        face.landmarks[0] = (struct fw_point){box.x, box.y};
        assert_int_equal(fw_faces_add(faces, &face), FW_OK);
    }
    return FW_OK;
}

static int detect(struct scene *scene, const struct fw_detect_parameters *parameters,
                  struct fw_faces *faces)
{
    static struct fw_tiler tiler;
    struct fw_error error = {0};
    const struct fw_tile_look look = {see, scene};
    const struct fw_tile_grid grid =
        fw_tile_grid_for(scene->frame->width, scene->frame->height, LIMIT_PX, parameters);
    fw_faces_clear(faces);
    int status = fw_tiler_detect(&tiler, &grid, &look, scene->frame, parameters, faces, &error);
    fw_tiler_free(&tiler);
    return status;
}

// ---- The geometry

static void check_grid(int width, int height, const struct fw_detect_parameters *parameters)
{
    struct fw_tile_grid grid = fw_tile_grid_for(width, height, LIMIT_PX, parameters);
    const struct fw_tile *region = &grid.region;
    int right = region->x + region->width, bottom = region->y + region->height;
    assert_true(region->x >= 0 && region->y >= 0 && region->x % 2 == 0 && region->y % 2 == 0);
    assert_true(region->width > 0 && region->height > 0 && right <= width && bottom <= height);
    for (int i = 0; i < grid.columns * grid.rows; i++) {
        int column = i % grid.columns, row = i / grid.columns;
        struct fw_tile tile = fw_tile_at(&grid, column, row);
        assert_true(tile.x % 2 == 0 && tile.y % 2 == 0);
        assert_int_equal(tile.width, grid.tile_width);
        assert_int_equal(tile.height, grid.tile_height);
        assert_true(tile.x >= region->x && tile.x + tile.width <= right);
        assert_true(tile.y >= region->y && tile.y + tile.height <= bottom);
        // The outermost ones reach the region's borders.
        assert_true(column > 0 || tile.x == region->x);
        assert_true(column < grid.columns - 1 || tile.x + tile.width == right);
        assert_true(row > 0 || tile.y == region->y);
        assert_true(row < grid.rows - 1 || tile.y + tile.height == bottom);
        if (column == 0 || grid.tile_width == region->width)
            continue;
        struct fw_tile left = fw_tile_at(&grid, column - 1, row);
        // What neighbours share: a fifth of a tile, and what is too small for the whole with a
        // tenth on both sides (places are even, which may take a pixel or two).
        int longer = region->width > region->height ? region->width : region->height;
        int shared = left.x + left.width - tile.x;
        assert_true((float)shared >= 0.2F * (float)tile.width);
        assert_true((float)shared >= 1.2F * 30 * (float)longer / LIMIT_PX - 2);
    }
}

static void test_tiles_cover_the_region_and_overlap(void **state)
{
    static const int sizes[][2] = {{1920, 1080}, {3840, 2160}, {1279, 721}, {1080, 1920},
                                   {641, 33},    {16384, 640}, {8191, 8191}};
    static const struct fw_box rois[] = {
        {0, 0, 0, 0}, {0, 0, 1, 1}, {0.1F, 0.33F, 0.77F, 0.5F}, {0.999F, 0.999F, 0.001F, 0.001F}};

    (void)state;
    for (size_t size = 0; size < sizeof(sizes) / sizeof(sizes[0]); size++)
        for (size_t roi = 0; roi < sizeof(rois) / sizeof(rois[0]); roi++)
            for (int cut = 0; cut < FW_TILES_MAX * FW_TILES_MAX; cut++)
                check_grid(sizes[size][0], sizes[size][1],
                           &(struct fw_detect_parameters){.roi = rois[roi],
                                                          .tile_columns = cut % FW_TILES_MAX + 1,
                                                          .tile_rows = cut / FW_TILES_MAX + 1});
}

static void test_a_region_that_needs_no_shrinking_is_not_cut(void **state)
{
    struct fw_detect_parameters parameters = {.tile_columns = 3, .tile_rows = 2};
    struct fw_tile_grid grid = fw_tile_grid_for(640, 480, LIMIT_PX, &parameters);

    (void)state;
    assert_int_equal(grid.columns * grid.rows, 1);
    parameters.roi = (struct fw_box){0.5F, 0, 0.25F, 0.25F};
    grid = fw_tile_grid_for(1920, 1080, LIMIT_PX, &parameters);
    assert_int_equal(grid.columns * grid.rows, 1);
    assert_int_equal(grid.region.x, 960);
    assert_int_equal(grid.region.width, 480);
    assert_int_equal(grid.region.height, 270);
    grid = fw_tile_grid_for(1, 1, LIMIT_PX, &parameters);
    assert_true(grid.region.x == 0 && grid.region.width == 1 && grid.region.height == 1);
}

// ---- Each face once

static void check_once(struct scene *scene, const struct fw_faces *faces)
{
    for (int i = 0; i < scene->count; i++) {
        int hits = 0;
        for (size_t k = 0; k < faces->count; k++)
            hits += fw_box_iou(&faces->items[k].box, &scene->truth[i]) > 0.6F;
        if (hits != 1 || faces->count != (size_t)scene->count)
            fail_msg("face %d (%g, %g, %g px): %d hits, %zu faces in all", i,
                     (double)scene->truth[i].x, (double)scene->truth[i].y,
                     (double)scene->truth[i].w, hits, faces->count);
    }
    for (size_t k = 1; k < faces->count; k++)
        assert_true(faces->items[k - 1].score >= faces->items[k].score);
}

// One face, at every place of a grid over the picture that is not a multiple of anything in it.
static void check_places(int columns, int rows, float size, float jitter)
{
    const struct fw_detect_parameters parameters = {
        .nms_iou = 0.45F, .tile_columns = columns, .tile_rows = rows};
    struct scene scene = {.count = 1, .jitter = jitter, .random = 7};
    struct fw_faces faces = {0};
    scene.frame = fw_frame_create(FW_PIXEL_I420, 1920, 1080);
    assert_non_null(scene.frame);
    for (float y = 0; y + size <= 1080; y += 37)
        for (float x = 0; x + size <= 1920; x += 41) {
            scene.truth[0] = (struct fw_box){x, y, size, size};
            assert_int_equal(detect(&scene, &parameters, &faces), FW_OK);
            check_once(&scene, &faces);
        }
    fw_faces_free(&faces);
    fw_frame_unref(scene.frame);
}

static void test_a_face_is_found_once_wherever_it_is(void **state)
{
    static const int grids[][2] = {{1, 1}, {2, 1}, {3, 2}, {4, 3}, {8, 8}};
    // From the smallest that the tiles see to one that fills the picture.
    static const float sizes[] = {40, 55, 75, 100, 140, 200, 300, 450, 700, 1000};

    (void)state;
    for (size_t grid = 0; grid < sizeof(grids) / sizeof(grids[0]); grid++)
        for (size_t size = 0; size < sizeof(sizes) / sizeof(sizes[0]); size++) {
            check_places(grids[grid][0], grids[grid][1], sizes[size], 0);
            check_places(grids[grid][0], grids[grid][1], sizes[size], 0.05F);
        }
    // Only tiles see these.
    check_places(3, 2, 16, 0);
    check_places(4, 3, 20, 0.03F);
}

static void test_a_crowd_is_found_once(void **state)
{
    const struct fw_detect_parameters parameters = {
        .nms_iou = 0.45F, .tile_columns = 3, .tile_rows = 2};
    struct scene scene = {.count = MAX_TRUTH, .jitter = 0.02F, .random = 3};
    struct fw_faces faces = {0};

    (void)state;
    scene.frame = fw_frame_create(FW_PIXEL_I420, 1920, 1080);
    assert_non_null(scene.frame);
    for (int i = 0; i < MAX_TRUTH; i++)
        scene.truth[i] = (struct fw_box){(float)(i % 16) * 119 + 3, (float)(i / 16) * 260 + 5,
                                         (float)(18 + i % 7 * 15), (float)(18 + i % 7 * 15)};
    assert_int_equal(detect(&scene, &parameters, &faces), FW_OK);
    assert_int_equal(scene.looks, 7);
    check_once(&scene, &faces);
    fw_faces_free(&faces);
    fw_frame_unref(scene.frame);
}

// What the whole and a tile see of one face need not lie well upon each other.
static void test_two_views_of_a_face_are_one(void **state)
{
    const struct fw_detect_parameters parameters = {
        .nms_iou = 0.45F, .tile_columns = 3, .tile_rows = 2};
    struct scene scene = {.count = 1, .truth = {{100, 100, 50, 50}}, .shift = 0.45F};
    struct fw_faces faces = {0};

    (void)state;
    scene.frame = fw_frame_create(FW_PIXEL_I420, 1920, 1080);
    assert_non_null(scene.frame);
    assert_int_equal(detect(&scene, &parameters, &faces), FW_OK);
    assert_int_equal(faces.count, 1);
    fw_faces_free(&faces);
    fw_frame_unref(scene.frame);
}

static void test_a_small_face_on_a_large_one_stays(void **state)
{
    const struct fw_detect_parameters parameters = {
        .nms_iou = 0.45F, .tile_columns = 2, .tile_rows = 2};
    struct scene scene = {.count = 2, .truth = {{300, 200, 600, 600}, {320, 640, 30, 30}}};
    struct fw_faces faces = {0};

    (void)state;
    scene.frame = fw_frame_create(FW_PIXEL_I420, 1920, 1080);
    assert_non_null(scene.frame);
    assert_int_equal(detect(&scene, &parameters, &faces), FW_OK);
    check_once(&scene, &faces);
    fw_faces_free(&faces);
    fw_frame_unref(scene.frame);
}

// ---- The region, and what else the parameters say

static void test_boxes_are_in_pixels_of_the_picture(void **state)
{
    struct fw_detect_parameters parameters = {.nms_iou = 0.45F, .roi = {0.5F, 0.25F, 0.5F, 0.5F}};
    struct scene scene = {.count = 3,
                          .truth = {{1000, 300, 60, 60}, {1800, 700, 60, 60}, {100, 300, 60, 60}}};
    struct fw_faces faces = {0};

    (void)state;
    scene.frame = fw_frame_create(FW_PIXEL_NV12, 1920, 1080);
    assert_non_null(scene.frame);
    for (int tiles = 1; tiles <= 3; tiles++) {
        parameters.tile_columns = parameters.tile_rows = tiles;
        scene.count = 3;
        assert_int_equal(detect(&scene, &parameters, &faces), FW_OK);
        scene.count = 2; // the third lies outside
        check_once(&scene, &faces);
        for (size_t i = 0; i < faces.count; i++) {
            assert_float_equal(faces.items[i].landmarks[0].x, faces.items[i].box.x, 0.01);
            assert_float_equal(faces.items[i].landmarks[0].y, faces.items[i].box.y, 0.01);
        }
    }
    fw_faces_free(&faces);
    fw_frame_unref(scene.frame);
}

static void test_small_faces_are_left_out_in_pixels_of_the_picture(void **state)
{
    struct fw_detect_parameters parameters = {
        .nms_iou = 0.45F, .tile_columns = 3, .tile_rows = 2, .min_face_px = 50};
    struct scene scene = {.count = 2, .truth = {{1000, 300, 60, 60}, {300, 700, 40, 40}}};
    struct fw_faces faces = {0};

    (void)state;
    scene.frame = fw_frame_create(FW_PIXEL_I420, 1920, 1080);
    assert_non_null(scene.frame);
    assert_int_equal(detect(&scene, &parameters, &faces), FW_OK);
    assert_int_equal(faces.count, 1);
    assert_float_equal(faces.items[0].box.w, 60, 0.01);
    scene.fails = true;
    assert_int_equal(detect(&scene, &parameters, &faces), FW_EIO);
    fw_faces_free(&faces);
    fw_frame_unref(scene.frame);
}

// ---- How they are written

static void test_tiles_are_read(void **state)
{
    static const char *const wrong[] = {"",     "3",    "3x",    "x2",
                                        "0x1",  "9x1",  "3x2x1", " 3x2",
                                        "3x+2", "3x2 ", "-1x2",  "99999999999999999999x1"};
    int columns = 0, rows = 0;

    (void)state;
    assert_true(fw_tiles_parse("3x2", &columns, &rows));
    assert_true(columns == 3 && rows == 2);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(fw_tiles_parse(wrong[i], &columns, &rows));
    assert_true(columns == 3 && rows == 2);
    assert_true(fw_detect_roi_is_valid(&(struct fw_box){0.7F, 0, 0.3F, 1}));
    assert_false(fw_detect_roi_is_valid(&(struct fw_box){0.7F, 0, 0.31F, 1}));
    assert_false(fw_detect_roi_is_valid(&(struct fw_box){0, 0, 0, 1}));
    assert_false(fw_detect_roi_is_valid(&(struct fw_box){-0.1F, 0, 0.5F, 1}));
    assert_false(fw_detect_roi_is_valid(&(struct fw_box){0, NAN, 0.5F, 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiles_cover_the_region_and_overlap),
        cmocka_unit_test(test_a_region_that_needs_no_shrinking_is_not_cut),
        cmocka_unit_test(test_a_face_is_found_once_wherever_it_is),
        cmocka_unit_test(test_a_crowd_is_found_once),
        cmocka_unit_test(test_two_views_of_a_face_are_one),
        cmocka_unit_test(test_a_small_face_on_a_large_one_stays),
        cmocka_unit_test(test_boxes_are_in_pixels_of_the_picture),
        cmocka_unit_test(test_small_faces_are_left_out_in_pixels_of_the_picture),
        cmocka_unit_test(test_tiles_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
