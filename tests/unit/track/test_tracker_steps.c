// The tracker's rules, one by one.
#include "track/tracker.h"
#include "track_tests.h"
#include "util/error.h"
#include <math.h>
#include <string.h>

static const int64_t STEP_US = 100000;

static const struct fw_tracker_options defaults = {.high_score = 0.7F,
                                                   .low_score = 0.3F,
                                                   .confirm_hits = 2,
                                                   .confirm_window = 3,
                                                   .lost_us = 1500000};

// A tracker and the report of its latest call.
struct fixture {
    struct fw_tracker *tracker;
    int64_t now_us;
    const struct fw_track *tracks;
    size_t count;
};

static struct fixture make(const struct fw_tracker_options *options)
{
    struct fixture fixture = {.tracker = fw_tracker_create(options)};

    assert_non_null(fixture.tracker);
    return fixture;
}

static struct fw_face face_at(float x, float score)
{
    struct fw_face face = {.box = {x, 100, 40, 50}, .score = score, .has_landmarks = 1};

    for (int i = 0; i < FW_LANDMARKS; i++)
        face.landmarks[i] = (struct fw_point){x + 20, 125};
    return face;
}

static void step(struct fixture *f, const struct fw_face *faces, size_t count)
{
    f->now_us += STEP_US;
    assert_int_equal(fw_tracker_update(f->tracker, f->now_us, faces, count, &f->tracks, &f->count),
                     FW_OK);
}

static void see_at(struct fixture *f, float x, float score)
{
    struct fw_face face = face_at(x, score);

    step(f, &face, 1);
}

static void advance(struct fixture *f, int64_t by_us)
{
    f->now_us += by_us;
    assert_int_equal(fw_tracker_advance(f->tracker, f->now_us, &f->tracks, &f->count), FW_OK);
}

static void confirms_two_of_three(void **state)
{
    struct fixture f = make(&defaults);
    (void)state;

    see_at(&f, 100, 0.9F);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.tracks[0].state, FW_TRACK_TENTATIVE);
    assert_false(f.tracks[0].is_new);
    step(&f, NULL, 0);
    assert_int_equal(f.tracks[0].state, FW_TRACK_TENTATIVE);
    see_at(&f, 100, 0.8F);
    assert_int_equal(f.tracks[0].state, FW_TRACK_ACTIVE);
    assert_true(f.tracks[0].is_new);
    assert_int_equal(f.tracks[0].id, 1);
    assert_int_equal(f.tracks[0].hits, 2);
    assert_true(f.tracks[0].best_score == 0.9F);
    assert_int_equal(f.tracks[0].first_seen_us, STEP_US);
    assert_int_equal(f.tracks[0].confirmed_us, 3 * STEP_US);
    see_at(&f, 100, 0.8F);
    assert_false(f.tracks[0].is_new);
    fw_tracker_destroy(f.tracker);
}

static void drops_a_tentative_track_that_cannot_be_confirmed_any_more(void **state)
{
    struct fixture f = make(&defaults);
    (void)state;

    see_at(&f, 100, 0.9F);
    step(&f, NULL, 0);
    assert_int_equal(f.count, 1);
    step(&f, NULL, 0);
    assert_int_equal(f.count, 0);
    see_at(&f, 100, 0.9F);
    assert_int_equal(f.tracks[0].id, 2);
    fw_tracker_destroy(f.tracker);
}

static void one_of_one_confirms_at_once(void **state)
{
    struct fw_tracker_options options = defaults;
    struct fixture f;
    (void)state;

    options.confirm_hits = options.confirm_window = 1;
    f = make(&options);
    see_at(&f, 100, 0.9F);
    assert_int_equal(f.tracks[0].state, FW_TRACK_ACTIVE);
    assert_true(f.tracks[0].is_new);
    fw_tracker_destroy(f.tracker);
}

static void coasts_and_comes_back_under_the_same_number(void **state)
{
    struct fixture f = make(&defaults);
    (void)state;

    for (int i = 0; i < 10; i++)
        see_at(&f, (float)(100 + 10 * i), 0.9F);
    for (int i = 10; i < 18; i++) {
        step(&f, NULL, 0);
        assert_int_equal(f.tracks[0].state, FW_TRACK_COASTED);
        assert_true(f.tracks[0].face.box.x > (float)(100 + 7 * i));
        assert_true(f.tracks[0].face.box.w > 30 && f.tracks[0].face.box.w < 50);
        assert_true(fabsf(f.tracks[0].face.landmarks[0].x - f.tracks[0].face.box.x - 20) < 3);
    }
    see_at(&f, 280, 0.9F);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.tracks[0].id, 1);
    assert_int_equal(f.tracks[0].state, FW_TRACK_ACTIVE);
    assert_false(f.tracks[0].is_new);
    fw_tracker_destroy(f.tracker);
}

static void ends_once_after_lost_us(void **state)
{
    struct fixture f = make(&defaults);
    int ended = 0;
    (void)state;

    see_at(&f, 100, 0.9F);
    see_at(&f, 100, 0.9F);
    for (int i = 1; i <= 30; i++) {
        step(&f, NULL, 0);
        if (f.count == 1 && f.tracks[0].state == FW_TRACK_ENDED) {
            assert_int_equal(i, 15);
            assert_int_equal(f.tracks[0].last_seen_us, 2 * STEP_US);
            ended++;
        }
    }
    assert_int_equal(ended, 1);
    assert_int_equal(f.count, 0);
    fw_tracker_destroy(f.tracker);
}

static void a_face_that_comes_after_the_end_is_another_one(void **state)
{
    struct fixture f = make(&defaults);
    (void)state;

    see_at(&f, 100, 0.9F);
    see_at(&f, 100, 0.9F);
    step(&f, NULL, 0);
    f.now_us += 2000000;
    see_at(&f, 100, 0.9F);
    assert_int_equal(f.count, 2);
    assert_int_equal(f.tracks[0].state, FW_TRACK_ENDED);
    assert_int_equal(f.tracks[0].id, 1);
    assert_int_equal(f.tracks[1].state, FW_TRACK_TENTATIVE);
    assert_int_equal(f.tracks[1].id, 2);
    fw_tracker_destroy(f.tracker);
}

static void analyses_slower_than_lost_us_still_confirm(void **state)
{
    struct fixture f = make(&defaults);
    (void)state;

    for (int i = 0; i < 5; i++) {
        f.now_us += 4000000;
        see_at(&f, 100, 0.9F);
        assert_int_equal(f.count, 1);
    }
    assert_int_equal(f.tracks[0].state, FW_TRACK_ACTIVE);
    assert_int_equal(f.tracks[0].id, 1);
    fw_tracker_destroy(f.tracker);
}

static void advance_ends_tracks_without_an_analysis(void **state)
{
    struct fixture f = make(&defaults);
    struct fw_face faces[2] = {face_at(100, 0.9F), face_at(400, 0.9F)};
    (void)state;

    step(&f, faces, 1);
    step(&f, faces, 2);
    assert_int_equal(f.count, 2);
    advance(&f, 1400000);
    assert_int_equal(f.count, 2);
    assert_int_equal(f.tracks[0].state, FW_TRACK_ACTIVE);
    advance(&f, 100000);
    assert_int_equal(f.count, 1); // the tentative one went without a word
    assert_int_equal(f.tracks[0].state, FW_TRACK_ENDED);
    advance(&f, 0);
    assert_int_equal(f.count, 0);
    fw_tracker_destroy(f.tracker);
}

static void weak_detections_keep_tracks_but_start_none(void **state)
{
    struct fixture f = make(&defaults);
    (void)state;

    see_at(&f, 100, 0.5F);
    assert_int_equal(f.count, 0);
    see_at(&f, 100, 0.9F);
    see_at(&f, 100, 0.5F); // a tentative track takes confident ones only
    assert_int_equal(f.tracks[0].state, FW_TRACK_TENTATIVE);
    see_at(&f, 100, 0.9F);
    for (int i = 0; i < 40; i++)
        see_at(&f, 100, 0.4F);
    assert_int_equal(f.count, 1);
    assert_int_equal(f.tracks[0].state, FW_TRACK_ACTIVE);
    see_at(&f, 100, 0.2F); // below low_score: not there
    assert_int_equal(f.tracks[0].state, FW_TRACK_COASTED);
    fw_tracker_destroy(f.tracker);
}

static void confident_detections_come_before_weak_ones(void **state)
{
    struct fixture f = make(&defaults);
    struct fw_face faces[2] = {face_at(100, 0.4F), face_at(106, 0.9F)};
    (void)state;

    see_at(&f, 100, 0.9F);
    see_at(&f, 100, 0.9F);
    step(&f, faces, 2);
    assert_int_equal(f.count, 1);
    assert_true(f.tracks[0].face.score == 0.9F);
    fw_tracker_destroy(f.tracker);
}

static void follows_a_small_fast_face_without_overlap(void **state)
{
    struct fixture f = make(&defaults);
    (void)state;

    for (int i = 0; i < 12; i++) {
        see_at(&f, (float)(100 + 56 * i), 0.9F); // 1.4 widths an analysis
        assert_int_equal(f.count, 1);
        assert_int_equal(f.tracks[0].id, 1);
    }
    fw_tracker_destroy(f.tracker);
}

static void a_face_far_away_or_of_another_size_is_another_one(void **state)
{
    struct fixture f = make(&defaults);
    struct fw_face big = face_at(150, 0.9F);
    (void)state;

    see_at(&f, 100, 0.9F);
    see_at(&f, 100, 0.9F);
    see_at(&f, 300, 0.9F);
    assert_int_equal(f.count, 2);
    big.box = (struct fw_box){150, 0, 100, 120};
    step(&f, &big, 1);
    assert_int_equal(f.tracks[0].state, FW_TRACK_COASTED);
    fw_tracker_destroy(f.tracker);
}

static void refuses_time_that_goes_back_and_changes_nothing(void **state)
{
    struct fixture f = make(&defaults);
    struct fw_face face = face_at(100, 0.9F);
    (void)state;

    see_at(&f, 100, 0.9F);
    assert_int_equal(fw_tracker_update(f.tracker, f.now_us - 1, &face, 1, &f.tracks, &f.count),
                     FW_EINVAL);
    assert_int_equal(fw_tracker_advance(f.tracker, f.now_us - 1, &f.tracks, &f.count), FW_EINVAL);
    assert_int_equal(fw_tracker_update(f.tracker, -1, &face, 1, &f.tracks, &f.count), FW_EINVAL);
    assert_int_equal(fw_tracker_update(f.tracker, f.now_us, &face, FW_TRACKER_MAX_FACES + 1,
                                       &f.tracks, &f.count),
                     FW_EINVAL);
    see_at(&f, 100, 0.9F);
    assert_int_equal(f.count, 1);
    assert_true(f.tracks[0].is_new);
    fw_tracker_destroy(f.tracker);
}

static void leaves_out_faces_that_are_no_faces(void **state)
{
    struct fixture f = make(&defaults);
    struct fw_face faces[8];
    (void)state;

    for (int i = 0; i < 8; i++)
        faces[i] = face_at((float)(100 * i), 0.9F);
    faces[0].box.x = NAN;
    faces[1].box.w = 0;
    faces[2].box.h = -3;
    faces[3].box.y = INFINITY;
    faces[4].score = NAN;
    faces[5].box.w = 1e30F;
    faces[6].landmarks[2].y = NAN;
    step(&f, faces, 8);
    assert_int_equal(f.count, 2);
    assert_false(f.tracks[0].face.has_landmarks);
    assert_true(f.tracks[0].face.landmarks[2].y == 0);
    assert_true(f.tracks[1].face.has_landmarks);
    fw_tracker_destroy(f.tracker);
}

static void empty_calls_are_fine(void **state)
{
    struct fixture f = make(&defaults);
    (void)state;

    advance(&f, 0);
    step(&f, NULL, 0);
    advance(&f, 1);
    assert_int_equal(f.count, 0);
    fw_tracker_destroy(f.tracker);
    fw_tracker_destroy(NULL);
}

static void refuses_options_out_of_bounds(void **state)
{
    struct fw_tracker_options options = defaults;
    (void)state;

    options.confirm_hits = 4;
    assert_null(fw_tracker_create(&options));
    options = defaults;
    options.confirm_window = 65;
    assert_null(fw_tracker_create(&options));
    options = defaults;
    options.low_score = 0.8F;
    assert_null(fw_tracker_create(&options));
    options = defaults;
    options.lost_us = 0;
    assert_null(fw_tracker_create(&options));
    options = defaults;
    options.high_score = NAN;
    assert_null(fw_tracker_create(&options));
}

static void predicts_boxes_between_analyses(void **state)
{
    struct fixture f = make(&defaults);
    struct fw_track copy;
    struct fw_box box;
    (void)state;

    for (int i = 0; i < 20; i++)
        see_at(&f, (float)(100 + 10 * i), 0.9F);
    copy = f.tracks[0];
    box = fw_track_box_at(f.tracker, &copy, f.now_us);
    assert_true(box.x == 290);
    box = fw_track_box_at(f.tracker, &copy, f.now_us + 50000);
    assert_true(fabsf(box.x - 295) < 1);
    box = fw_track_box_at(f.tracker, &copy, f.now_us - 50000);
    assert_true(fabsf(box.x - 285) < 1);
    box = fw_track_box_at(f.tracker, &copy, f.now_us + 500000);
    assert_true(fw_track_box_at(f.tracker, &copy, f.now_us + 60000000).x == box.x);
    copy.id = 99;
    assert_true(fw_track_box_at(f.tracker, &copy, f.now_us + 500000).x == copy.face.box.x);
    fw_tracker_destroy(f.tracker);
}

int run_tracker_step_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confirms_two_of_three),
        cmocka_unit_test(drops_a_tentative_track_that_cannot_be_confirmed_any_more),
        cmocka_unit_test(one_of_one_confirms_at_once),
        cmocka_unit_test(coasts_and_comes_back_under_the_same_number),
        cmocka_unit_test(ends_once_after_lost_us),
        cmocka_unit_test(a_face_that_comes_after_the_end_is_another_one),
        cmocka_unit_test(analyses_slower_than_lost_us_still_confirm),
        cmocka_unit_test(advance_ends_tracks_without_an_analysis),
        cmocka_unit_test(weak_detections_keep_tracks_but_start_none),
        cmocka_unit_test(confident_detections_come_before_weak_ones),
        cmocka_unit_test(follows_a_small_fast_face_without_overlap),
        cmocka_unit_test(a_face_far_away_or_of_another_size_is_another_one),
        cmocka_unit_test(refuses_time_that_goes_back_and_changes_nothing),
        cmocka_unit_test(leaves_out_faces_that_are_no_faces),
        cmocka_unit_test(empty_calls_are_fine),
        cmocka_unit_test(refuses_options_out_of_bounds),
        cmocka_unit_test(predicts_boxes_between_analyses),
    };

    return cmocka_run_group_tests_name("tracker, rule by rule", tests, NULL, NULL);
}
