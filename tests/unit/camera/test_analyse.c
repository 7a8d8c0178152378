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
    int stopped, without_picture;
};

static void on_face(void *opaque, const char *camera_id, const struct fw_face_report *report)
{
    struct fixture *fixture = opaque;

    (void)camera_id;
    assert_in_range(report->track, 1, FACES);
    if (report->kind == FW_REPORT_APPEARED) {
        fixture->appeared[report->track]++;
        fixture->without_picture += report->picture == NULL;
        return;
    }
    fixture->left[report->track]++;
    fixture->stopped += report->reason[0] == 'c';
}

static void begin(struct fixture *fixture)
{
    struct fw_analyse_options options = {.pool = &fixture->pool, .log = &fixture->log};

    *fixture = (struct fixture){0};
    fixture->camera = (struct fw_camera_options){
        .id = "test",
        .model = "yunet",
        .wants_snapshots = true,
        .track = {0.7f, 0.3f, 2, 3, 1500000},
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

static void end(struct fixture *fixture)
{
    fw_analyse_destroy(fixture->analyse);
    fw_cancel_destroy(fixture->cancel);
    fw_faces_free(&fixture->pool.faces);
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
    for (int i = 0; i < count; i++) {
        struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, 640, 400);
        assert_non_null(frame);
        for (int plane = 0; plane < 3; plane++) {
            for (int at = 0; at < frame->strides[plane] * fw_frame_row_count(frame, plane); at++)
                frame->planes[plane][at] = 128;
        }
        fixture->time_us += 100000;
        frame->capture_mono_us = fixture->time_us;
        frame->capture_utc_us = fw_utc_us();
        fw_analyse_frame(fixture->analyse, frame);
        fw_frame_unref(frame);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crowd_is_told_whole),
        cmocka_unit_test(open_tracks_leave_at_the_end),
        cmocka_unit_test(what_was_seen_once_is_not_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
