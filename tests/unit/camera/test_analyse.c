// From detections to reports: one appearance and one end a track, whatever happens in between.
#include "camera/analyse.h"
#include "camera/overlay.h"
#include "media/frame.h"
#include "played_pool.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define FACES   60
#define COLUMNS 10

// ---- the camera

struct fixture {
    struct fw_pool pool;
    struct fw_camera_options camera;
    struct fw_camera_listener listener;
    struct fw_log log;
    struct fw_cancel *cancel;
    struct fw_analyse *analyse;
    int64_t time_us;
    int appeared[FACES + 1], left[FACES + 1]; // per track
    int moved[FACES + 1], zone[FACES + 1];
    int stopped, without_picture;
    struct fw_face_report last; // without what it borrows
};

static void on_face(void *opaque, const char *camera_id, const struct fw_face_report *report)
{
    struct fixture *fixture = opaque;

    (void)camera_id;
    assert_in_range(report->track, 1, FACES);
    assert_int_equal(report->frame_width, 640); // or no event could be made of it
    assert_int_equal(report->frame_height, 400);
    fixture->last = *report;
    fixture->zone[report->track] = report->zone;
    if (report->kind == FW_REPORT_APPEARED) {
        fixture->appeared[report->track]++;
        fixture->without_picture += report->picture == NULL;
        return;
    }
    if (report->kind == FW_REPORT_MOVED) {
        assert_int_equal(fixture->appeared[report->track], 1);
        assert_int_equal(fixture->left[report->track], 0);
        assert_non_null(report->picture);
        fixture->moved[report->track]++;
        return;
    }
    fixture->left[report->track]++;
    fixture->stopped += report->reason[0] == 'c';
}

static void begin_with(struct fixture *fixture, const struct fw_zone *zones, size_t zone_count,
                       float min_quality)
{
    struct fw_analyse_options options = {.pool = &fixture->pool, .log = &fixture->log};

    *fixture = (struct fixture){0};
    fixture->camera = (struct fw_camera_options){
        .id = "test",
        .model = "yunet",
        .wants_snapshots = true,
        .track = {0.7f, 0.3f, 2, 3, 1500000},
        .zones = zones,
        .zone_count = zone_count,
        .min_quality = min_quality,
    };
    fixture->listener = (struct fw_camera_listener){.opaque = fixture, .face = on_face};
    fixture->cancel = fw_cancel_create();
    assert_non_null(fixture->cancel);
    fixture->time_us = fw_monotonic_us();
    options.camera = &fixture->camera;
    options.listener = &fixture->listener;
    options.cancel = fixture->cancel;
    assert_int_equal(fw_analyse_create(&fixture->analyse, &options), FW_OK);
}

static void begin(struct fixture *fixture)
{
    begin_with(fixture, NULL, 0, 0);
}

static void end(struct fixture *fixture)
{
    fw_analyse_destroy(fixture->analyse);
    fw_cancel_destroy(fixture->cancel);
    fw_faces_free(&fixture->pool.faces);
}

// One picture with the pool's faces, and stripes of LIGHT (100: plain grey) for sharpness.
static void show_picture(struct fixture *fixture, int light)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, 640, 400);

    assert_non_null(frame);
    for (int plane = 0; plane < 3; plane++) {
        for (int at = 0; at < frame->strides[plane] * fw_frame_row_count(frame, plane); at++)
            frame->planes[plane][at] = (uint8_t)(plane == 0 && at / 3 % 2 ? light : 100);
    }
    fixture->time_us += 100000;
    frame->capture_mono_us = fixture->time_us;
    frame->capture_utc_us = fw_utc_us();
    fw_analyse_frame(fixture->analyse, frame);
    fw_frame_unref(frame);
}

// The next COUNT pictures hold the first FACES of a crowd.
static void show(struct fixture *fixture, int faces, int count)
{
    fw_faces_clear(&fixture->pool.faces);
    for (int i = 0; i < faces; i++) {
        struct fw_face face = {.score = 0.9f};
        face.box =
            (struct fw_box){(float)(i % COLUMNS) * 60 + 5, (float)(i / COLUMNS) * 60 + 5, 40, 50};
        assert_int_equal(fw_faces_add(&fixture->pool.faces, &face), FW_OK);
    }
    for (int i = 0; i < count; i++)
        show_picture(fixture, 100);
}

// The next COUNT pictures hold one face, its centre first at X and STEP px further in each.
static void walk(struct fixture *fixture, float x, float step, int count)
{
    for (int i = 0; i < count; i++, x += step) {
        struct fw_face face = {.box = {x - 20, 100, 40, 50}, .score = 0.9f};

        fw_faces_clear(&fixture->pool.faces);
        assert_int_equal(fw_faces_add(&fixture->pool.faces, &face), FW_OK);
        show_picture(fixture, 100);
    }
}

static void assert_each_told(const int *told, int faces, int times)
{
    for (int track = 1; track <= faces; track++)
        assert_int_equal(told[track], times);
}

static void crowd_is_told_whole(void **state)
{
    struct fixture fixture;
    struct fw_camera_status status = {0};

    (void)state;
    begin(&fixture);
    show(&fixture, FACES, 3);
    assert_each_told(fixture.appeared, FACES, 1);
    assert_int_equal(fixture.without_picture, 0);
    fw_analyse_get_status(fixture.analyse, &status);
    assert_int_equal(status.tracks_confirmed, FACES);
    assert_int_equal(status.faces, FACES);
    // The camera is away.
    fw_analyse_advance(fixture.analyse, fixture.time_us + 20 * FW_US_PER_S);
    assert_each_told(fixture.left, FACES, 1);
    fw_analyse_advance(fixture.analyse, fixture.time_us + 21 * FW_US_PER_S);
    fw_analyse_end(fixture.analyse);
    assert_each_told(fixture.appeared, FACES, 1);
    assert_each_told(fixture.left, FACES, 1);
    assert_int_equal(fixture.stopped, 0);
    end(&fixture);
}

static void open_tracks_leave_at_the_end(void **state)
{
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    show(&fixture, FACES, 2);
    show(&fixture, 0, 3); // all are coasted
    fw_analyse_end(fixture.analyse);
    assert_each_told(fixture.appeared, FACES, 1);
    assert_each_told(fixture.left, FACES, 1);
    assert_int_equal(fixture.stopped, FACES);
    end(&fixture);
}

static void what_was_seen_once_is_not_told(void **state)
{
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    show(&fixture, 3, 1);
    fw_analyse_advance(fixture.analyse, fixture.time_us + 20 * FW_US_PER_S);
    fw_analyse_end(fixture.analyse);
    assert_each_told(fixture.appeared, FACES, 0);
    assert_each_told(fixture.left, FACES, 0);
    end(&fixture);
}

// The left half, the right half, and a strip at the top.
static const struct fw_point left[] = {{0, 0}, {0.5f, 0}, {0.5f, 1}, {0, 1}};
static const struct fw_point right[] = {{0.5f, 0}, {1, 0}, {1, 1}, {0.5f, 1}};
static const struct fw_point top[] = {{0, 0}, {1, 0}, {1, 0.2f}, {0, 0.2f}};

static void excluded_faces_are_not_followed(void **state)
{
    static const struct fw_zone zones[] = {{"top", true, top, 4, 0, 0}};
    struct fixture fixture;
    struct fw_camera_status status = {0};

    (void)state;
    begin_with(&fixture, zones, 1, 0);
    show(&fixture, FACES, 3);
    fw_analyse_get_status(fixture.analyse, &status);
    assert_int_equal(status.faces, FACES - COLUMNS); // the upper row is not even drawn
    assert_each_told(fixture.appeared, FACES - COLUMNS, 1);
    assert_int_equal(fixture.zone[1], -1);
    fw_analyse_end(fixture.analyse);
    assert_each_told(fixture.left, FACES - COLUMNS, 1);
    end(&fixture);
}

static void faces_appear_in_their_zone(void **state)
{
    static const struct fw_zone zones[] = {{"top", true, top, 4, 0, 0},
                                           {"right", false, right, 4, 0, 0}};
    struct fixture fixture;
    struct fw_camera_status status = {0};

    (void)state;
    begin_with(&fixture, zones, 2, 0);
    walk(&fixture, 250, 10, 8); // to 320, once in the zone
    assert_int_equal(fixture.appeared[1], 0);
    fw_analyse_get_status(fixture.analyse, &status);
    assert_int_equal(status.faces, 1); // drawn all the same
    assert_int_equal(status.tracks_confirmed, 1);
    walk(&fixture, 330, 10, 1); // twice: confirm is "2/3"
    assert_int_equal(fixture.appeared[1], 1);
    assert_int_equal(fixture.zone[1], 1);
    assert_int_equal(fixture.last.first_box.x, 230);
    assert_int_equal(fixture.last.last_box.x, 310);
    walk(&fixture, 320, -10, 10); // out again
    fw_analyse_end(fixture.analyse);
    assert_int_equal(fixture.appeared[1], 1);
    assert_int_equal(fixture.left[1], 1);
    assert_int_equal(fixture.zone[1], 1);  // where it appeared
    assert_int_equal(fixture.moved[1], 0); // it had before
    end(&fixture);
}

static void a_zone_counts_what_is_strong_enough_for_it(void **state)
{
    static const struct fw_zone zones[] = {{"strict", false, left, 4, 0.95f, 0},
                                           {"large", false, left, 4, 0, 51},
                                           {"right", false, right, 4, 0.9f, 50}};
    struct fixture fixture;

    (void)state;
    begin_with(&fixture, zones, 3, 0);
    walk(&fixture, 200, 5, 20);
    assert_int_equal(fixture.appeared[1], 0);
    walk(&fixture, 305, 10, 4);
    assert_int_equal(fixture.appeared[1], 1);
    assert_int_equal(fixture.zone[1], 2);
    fw_analyse_end(fixture.analyse);
    end(&fixture);
}

static void what_never_appeared_never_leaves(void **state)
{
    static const struct fw_zone zones[] = {{"right", false, right, 4, 0, 0}};
    struct fixture fixture;

    (void)state;
    begin_with(&fixture, zones, 1, 0);
    walk(&fixture, 100, 5, 20);
    fixture.time_us += 20 * FW_US_PER_S;
    fw_analyse_advance(fixture.analyse, fixture.time_us);
    walk(&fixture, 100, 5, 20);
    fw_analyse_end(fixture.analyse);
    assert_each_told(fixture.appeared, FACES, 0);
    assert_each_told(fixture.left, FACES, 0);
    end(&fixture);
}

static void poor_faces_wait_for_a_better_picture(void **state)
{
    struct fixture fixture;
    const int many = 12; // more than pictures are kept of

    (void)state;
    begin_with(&fixture, NULL, 0, 0.05f);
    show(&fixture, many, 10); // grey on grey
    assert_each_told(fixture.appeared, many, 0);
    show_picture(&fixture, 200);
    assert_each_told(fixture.appeared, many, 1);
    assert_int_equal(fixture.without_picture, 0);
    assert_true(fixture.last.quality >= 0.05f);
    show(&fixture, many, 3);
    fw_analyse_end(fixture.analyse);
    assert_each_told(fixture.appeared, many, 1);
    assert_each_told(fixture.left, many, 1);
    end(&fixture);
}

// All the pictures that are kept are others'.
static void late_comers_are_told_whole(void **state)
{
    struct fixture fixture;

    (void)state;
    begin_with(&fixture, NULL, 0, 0.05f);
    show(&fixture, 8, 3);
    show_picture(&fixture, 200);
    show(&fixture, 12, 3);
    assert_int_equal(fixture.appeared[9], 0);
    show_picture(&fixture, 200);
    assert_each_told(fixture.appeared, 12, 1);
    assert_in_range(fixture.last.track, 9, 12);
    assert_true(fixture.last.quality >= 0.05f);
    assert_int_equal(fixture.without_picture, 0);
    fw_analyse_end(fixture.analyse);
    assert_each_told(fixture.left, 12, 1);
    end(&fixture);
}

static float quality_told_of(int light, float min_quality, int better_light)
{
    struct fixture fixture;
    float quality;

    begin_with(&fixture, NULL, 0, min_quality);
    show(&fixture, 1, 0);
    for (int i = 0; i < 3; i++)
        show_picture(&fixture, light);
    show_picture(&fixture, better_light);
    assert_int_equal(fixture.appeared[1], 1);
    quality = fixture.last.quality;
    fw_analyse_end(fixture.analyse);
    end(&fixture);
    return quality;
}

// Even when it is not so much better that it would be kept for that.
static void the_picture_that_is_good_enough_is_told(void **state)
{
    float poor = quality_told_of(120, 0, 120), good = quality_told_of(121, 0, 121);

    (void)state;
    assert_true(poor < good && good < poor * 1.15f);
    assert_true(quality_told_of(120, good, 121) == good);
}

static void moving_away_is_told_once(void **state)
{
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    walk(&fixture, 100, 0, 20); // a second and 9 steps
    walk(&fixture, 103, 0, 1);  // jitter
    walk(&fixture, 100, 0, 9);
    assert_int_equal(fixture.moved[1], 0);
    walk(&fixture, 102, 4, 30);
    assert_int_equal(fixture.moved[1], 1);
    fw_analyse_end(fixture.analyse);
    assert_int_equal(fixture.moved[1], 1);
    assert_int_equal(fixture.left[1], 1);
    assert_in_range(fixture.last.still_us, 2900000, 3600000);
    end(&fixture);
}

static void one_bad_box_moves_nobody(void **state)
{
    struct fixture fixture;

    (void)state;
    begin(&fixture);
    for (int i = 0; i < 5; i++) {
        walk(&fixture, 100, 0, 10);
        walk(&fixture, 118, 0, 1);
    }
    fw_analyse_end(fixture.analyse);
    assert_int_equal(fixture.moved[1], 0);
    assert_true(fixture.last.still_us > 5 * FW_US_PER_S);
    end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crowd_is_told_whole),
        cmocka_unit_test(open_tracks_leave_at_the_end),
        cmocka_unit_test(what_was_seen_once_is_not_told),
        cmocka_unit_test(excluded_faces_are_not_followed),
        cmocka_unit_test(faces_appear_in_their_zone),
        cmocka_unit_test(a_zone_counts_what_is_strong_enough_for_it),
        cmocka_unit_test(what_never_appeared_never_leaves),
        cmocka_unit_test(poor_faces_wait_for_a_better_picture),
        cmocka_unit_test(late_comers_are_told_whole),
        cmocka_unit_test(the_picture_that_is_good_enough_is_told),
        cmocka_unit_test(moving_away_is_told_once),
        cmocka_unit_test(one_bad_box_moves_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
