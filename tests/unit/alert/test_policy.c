// Which faces become alerts: tables of what happens at a camera, and random days.
#include "alert/policy.h"
#include "policy_tests.h"
#include "util/clock.h"
#include <stdlib.h>
#include <string.h>

#define S(seconds) ((int64_t)((seconds)*FW_US_PER_S))
#define WIDTH      1280
#define HEIGHT     720

// A track from BEGIN_S to END_S.
struct visit {
    double begin_s, end_s;
    struct fw_box box;
    double still_s; // below 0: all the time
    double moved_s; // when it was reported to have moved; 0: never
    int zone;
    const char *expected; // "passed" or a reason; after "static": "static, passed when moved"
};

static struct fw_policy *policy_of(const struct fw_policy_camera *camera, double worker_rate)
{
    const struct fw_policy_options options = {camera, 1, worker_rate};
    struct fw_policy *policy = fw_policy_create(&options);

    assert_non_null(policy);
    return policy;
}

static struct fw_policy_face face_of(const struct visit *visit, uint64_t track, double now_s)
{
    double stayed_s = visit->still_s < 0 ? now_s - visit->begin_s : visit->still_s;
    struct fw_policy_face face = {
        .track = track,
        .zone = visit->zone,
        .first_box = visit->box,
        .box = visit->box,
        .still_us = S(stayed_s),
        .width = WIDTH,
        .height = HEIGHT,
        .first_seen_us = S(visit->begin_s),
        .now_us = S(now_s),
        .now_utc_us = S(now_s),
    };

    if (visit->moved_s > 0 && now_s >= visit->moved_s)
        face.box.x += visit->box.w;
    return face;
}

// What VISITS come to, by the clock. Appearances are told 0.3 s after the beginning.
static void play(const struct fw_policy_camera *camera, const struct visit *visits, size_t count)
{
    struct fw_policy *policy = policy_of(camera, 0);
    char told[64][64] = {{0}};
    double last_s = 0;

    assert_in_range(count, 1, 64);
    for (size_t i = 0; i < count; i++)
        last_s = visits[i].end_s > last_s ? visits[i].end_s : last_s;
    for (int64_t tick = 0; tick <= (int64_t)(last_s * 10) + 1; tick++) {
        double now_s = (double)tick / 10;
        for (size_t i = 0; i < count; i++) {
            struct fw_policy_face face = face_of(&visits[i], i + 1, now_s);
            if (tick == (int64_t)((visits[i].begin_s + 0.3) * 10 + 0.5))
                strcpy(told[i], fw_suppression_name(fw_policy_appeared(policy, &face)));
            if (visits[i].moved_s > 0 && tick == (int64_t)(visits[i].moved_s * 10 + 0.5) &&
                fw_policy_moved(policy, &face))
                strcat(told[i], ", passed when moved");
            if (tick == (int64_t)(visits[i].end_s * 10 + 0.5))
                fw_policy_left(policy, &face);
        }
    }
    for (size_t i = 0; i < count; i++)
        if (strcmp(told[i], visits[i].expected) != 0)
            fail_msg("visit %zu: %s, not %s", i, told[i], visits[i].expected);
    fw_policy_destroy(policy);
}

#define PLAY(camera, visits) play(camera, visits, sizeof(visits) / sizeof((visits)[0]))

static const struct fw_box poster = {600, 200, 60, 80};
static const struct fw_box door = {100, 300, 80, 100};
#define POSTER                                                                                     \
    {                                                                                              \
        600, 200, 60, 80                                                                           \
    }
#define DOOR                                                                                       \
    {                                                                                              \
        100, 300, 80, 100                                                                          \
    }

static const struct fw_policy_camera static_only = {.id = "c", .static_after_us = S(300)};

static void a_poster_is_told_once_however_it_flickers(void **state)
{
    // Seen for a minute, gone for two, and so on; its boxes jitter.
    struct visit visits[40];
    (void)state;

    for (int i = 0; i < 40; i++)
        visits[i] = (struct visit){
            i * 180.0, i * 180.0 + 60, poster, -1, 0, -1, i < 5 ? "passed" : "static"};
    for (int i = 0; i < 40; i++) {
        visits[i].box.x += (float)(i * 7 % 5) - 2;
        visits[i].box.w += (float)(i * 3 % 7) - 3;
    }
    PLAY(&static_only, visits);
}

static void one_long_look_is_enough(void **state)
{
    static const struct visit visits[] = {
        {0, 400, POSTER, -1, 0, -1, "passed"},
        {401, 402, POSTER, -1, 0, -1, "static"},
        {403, 404, DOOR, -1, 0, -1, "passed"},                 // elsewhere
        {405, 406, {600, 200, 120, 160}, -1, 0, -1, "passed"}, // a head before the poster
        {407, 408, {650, 200, 60, 80}, -1, 0, -1, "passed"},   // and one beside it
        {409, 500, POSTER, -1, 0, -1, "static"},
    };
    (void)state;

    PLAY(&static_only, visits);
}

static void whoever_moves_is_no_poster(void **state)
{
    static const struct visit visits[] = {
        {0, 400, POSTER, -1, 0, -1, "passed"},
        {410, 460, POSTER, 2, 413, -1, "static, passed when moved"}, // stood where it hangs
        {420, 500, POSTER, -1, 0, -1, "static"},                     // and there it hangs still
        {510, 520, DOOR, 1, 512, -1, "passed"},                      // moving changes nothing more
    };
    (void)state;

    PLAY(&static_only, visits);
}

// A passer-by takes the poster's track with him: what is found in the old place is the poster.
static void a_stolen_track_leaves_a_poster_behind(void **state)
{
    static const struct visit visits[] = {
        {0, 1010, POSTER, 1000, 1001.5, -1, "passed"},
        {1000.5, 1500, POSTER, -1, 0, -1, "static"}, // before the first was told to move
        {1502, 1600, POSTER, -1, 0, -1, "static"},
    };
    (void)state;

    PLAY(&static_only, visits);
}

static void what_moves_off_is_no_sign_of_a_poster(void **state)
{
    static const struct visit visits[] = {
        {0, 300, POSTER, 290, 291, -1, "passed"},
        {310, 610, POSTER, 290, 601, -1, "passed"},
        {620, 640, POSTER, -1, 0, -1, "passed"},
        {650, 660, POSTER, 0.1, 650.2, -1, "passed"},
    };
    // The place was occupied until then, and so remembered.
    static const struct visit held[] = {
        {0, 400, POSTER, -1, 0, -1, "passed"},
        {990, 1020, POSTER, 20, 1012, -1, "static, passed when moved"},
        {1100, 1101, POSTER, -1, 0, -1, "static"},
    };
    // A passer-by took the track with him: 600 s are no person's. They count once.
    static const struct visit stolen[] = {
        {0, 700, POSTER, 600, 601, -1, "passed"},     {800, 810, POSTER, -1, 0, -1, "static"},
        {820, 830, POSTER, 0.1, 820.2, -1, "passed"}, // there, but away before he was confirmed
        {1411, 1412, POSTER, -1, 0, -1, "static"},    {2030, 2031, POSTER, -1, 0, -1, "passed"},
    };
    (void)state;

    PLAY(&static_only, visits);
    PLAY(&static_only, stolen);
    PLAY(&static_only, held);
}

static void short_looks_keep_a_place(void **state)
{
    static const struct visit visits[] = {
        {0, 400, POSTER, -1, 0, -1, "passed"},
        {900, 900.8, POSTER, -1, 0, -1, "static"},
        {1400, 1400.8, POSTER, -1, 0, -1, "static"},
        {1900, 1900.8, POSTER, -1, 0, -1, "static"},
    };
    static const struct visit looked_at[] = {
        {0, 400, POSTER, -1, 0, -1, "passed"},
        {990, 1200, POSTER, -1, 0, -1, "static"},
        {1010, 1015, POSTER, -1, 0, -1, "static"}, // the place is not empty
        {1250, 1255, POSTER, -1, 0, -1, "static"}, // nor was it
    };
    (void)state;

    PLAY(&static_only, visits);
    PLAY(&static_only, looked_at);
}

static void people_at_a_door_are_no_posters(void **state)
{
    // Everybody stops at the same place, most of them turn round there, and the others go on.
    struct visit visits[60];
    (void)state;

    for (int i = 0; i < 60; i++)
        visits[i] =
            i % 3 ? (struct visit){i * 30.0, i * 30.0 + 9, door, -1, 0, -1, "passed"}
                  : (struct visit){i * 30.0, i * 30.0 + 29, door, 25, i * 30.0 + 26, -1, "passed"};
    PLAY(&static_only, visits);
}

static void empty_places_are_forgotten(void **state)
{
    static const struct visit visits[] = {
        {0, 400, POSTER, -1, 0, -1, "passed"},       // 400 s: ten minutes of memory
        {990, 995, POSTER, -1, 0, -1, "static"},     // and ten more
        {1620, 1621, POSTER, -1, 0, -1, "passed"},   // too late
        {1700, 6000, POSTER, -1, 0, -1, "passed"},   // 4300 s
        {10200, 10210, POSTER, -1, 0, -1, "static"}, // remembered for as long
        {14530, 14531, POSTER, -1, 0, -1, "passed"},
    };
    (void)state;

    PLAY(&static_only, visits);
}

static void a_poster_in_front_of_the_camera_all_day_stays_known(void **state)
{
    static const struct visit visits[] = {
        {0, 20000, POSTER, -1, 0, -1, "passed"},
        {30, 19000, {602, 201, 61, 79}, -1, 0, -1, "passed"}, // not known yet
        {10000, 10010, POSTER, -1, 0, -1, "static"},          // found twice for a moment
    };
    (void)state;

    PLAY(&static_only, visits);
}

static void nothing_is_static_when_it_is_off(void **state)
{
    static const struct fw_policy_camera camera = {.id = "c"};
    static const struct visit visits[] = {
        {0, 4000, POSTER, -1, 0, -1, "passed"},
        {4001, 4400, POSTER, -1, 4010, -1, "passed"},
    };
    (void)state;

    PLAY(&camera, visits);
}

static void a_busy_scene_does_not_drive_a_poster_out(void **state)
{
    struct visit visits[64] = {{0, 400, poster, -1, 0, -1, "passed"}};
    (void)state;

    for (int i = 1; i < 63; i++) // twelve seconds each, all over the picture
        visits[i] = (struct visit){
            400.0 + i, 412.0 + i, {(float)(i % 8) * 150, (float)(i / 8) * 85 + 400, 30, 40}, -1, 0,
            -1,        "passed"};
    visits[63] = (struct visit){480, 481, poster, -1, 0, -1, "static"};
    PLAY(&static_only, visits);
}

static void cooldown_is_of_camera_and_zone(void **state)
{
    static const int64_t zones[] = {-1, 0, S(100)};
    static const struct fw_policy_camera camera = {
        .id = "c", .cooldown_us = S(30), .zone_cooldown_us = zones, .zone_count = 3};
    static const struct visit visits[] = {
        {0, 1, DOOR, 0, 0, 0, "passed"},     {1, 2, DOOR, 0, 0, 1, "passed"},
        {2, 3, DOOR, 0, 0, 2, "passed"},     {3, 4, DOOR, 0, 0, -1, "passed"},
        {10, 11, DOOR, 0, 0, 0, "cooldown"}, {11, 12, DOOR, 0, 0, 1, "passed"},
        {12, 13, DOOR, 0, 0, 2, "cooldown"}, {13, 14, DOOR, 0, 0, -1, "cooldown"},
        {29, 31, DOOR, 0, 0, 0, "cooldown"}, {30, 31, DOOR, 0, 0, 0, "passed"}, // not from 29 on
        {40, 41, DOOR, 0, 0, 2, "cooldown"}, {102, 103, DOOR, 0, 0, 2, "passed"},
    };
    (void)state;

    PLAY(&camera, visits);
}

static void the_order_of_reasons_and_what_they_cost(void **state)
{
    const struct fw_schedule_span span = {1U << 3, 0, 60}; // Thursday 00:00 to 01:00
    struct fw_policy_camera camera = {
        .id = "c", .cooldown_us = S(10), .max_per_minute = 2, .static_after_us = S(300)};
    static const struct visit visits[] = {
        {0, 400, POSTER, -1, 0, -1, "passed"},
        {401, 402, POSTER, -1, 0, -1, "static"},   // starts no cooldown
        {402, 403, DOOR, 0, 0, -1, "passed"},      // one token left
        {404, 405, DOOR, 0, 0, -1, "cooldown"},    // takes none
        {415, 416, DOOR, 0, 0, -1, "passed"},      // the last one, and some
        {427, 428, DOOR, 0, 0, -1, "camera_rate"}, // starts no cooldown
        {433, 434, DOOR, 0, 0, -1, "passed"},      // a minute gives two
        {435, 450, POSTER, 1, 437, -1, "static"},  // has moved, but cools down
        {3700, 3701, DOOR, 0, 0, -1, "schedule"},
        {3702, 3703, POSTER, 0, 0, -1, "schedule"},
    };
    struct fw_schedule *schedule = NULL;
    (void)state;

    assert_int_equal(fw_schedule_create(&schedule, &span, 1, "UTC", NULL), FW_OK);
    camera.schedule = schedule;
    PLAY(&camera, visits);
    fw_schedule_destroy(schedule);
}

static void slow_rates_let_one_through(void **state)
{
    static const struct fw_policy_camera camera = {.id = "c", .max_per_minute = 0.1};
    static const struct visit visits[] = {
        {0, 1, DOOR, 0, 0, -1, "passed"},
        {500, 501, DOOR, 0, 0, -1, "camera_rate"},
        {601, 602, DOOR, 0, 0, -1, "passed"},
    };
    (void)state;

    PLAY(&camera, visits);
}

// Random days

enum { CAMERAS = 3, ZONES = 2, TRACKS = 12 };

struct day {
    struct fw_policy_camera cameras[CAMERAS];
    struct fw_policy *policy;
    struct walk {
        uint64_t track; // 0: nobody
        struct fw_policy_face face;
        bool was_told, has_moved;
        enum fw_suppression verdict;
    } walks[CAMERAS][TRACKS];
    uint64_t next_track[CAMERAS], verdicts[CAMERAS][FW_SUPPRESSIONS], appeared[CAMERAS];
    int64_t told_us[CAMERAS][ZONES + 1]; // the latest one
    int64_t told_times[40000];
    int told_cameras[40000], told_count;
    uint64_t late, left;
};

static int64_t cooldown_of(const struct fw_policy_camera *camera, int zone)
{
    return zone >= 0 && camera->zone_cooldown_us[zone] >= 0 ? camera->zone_cooldown_us[zone]
                                                            : camera->cooldown_us;
}

static void tell(struct day *day, struct walk *walk)
{
    const struct fw_policy_face *face = &walk->face;
    int64_t *told_us = &day->told_us[face->camera][face->zone + 1];

    assert_false(walk->was_told); // never twice
    assert_true(face->now_us - *told_us >= cooldown_of(&day->cameras[face->camera], face->zone));
    *told_us = face->now_us;
    walk->was_told = true;
    assert_in_range(day->told_count, 0, 39999);
    day->told_times[day->told_count] = face->now_us;
    day->told_cameras[day->told_count++] = (int)face->camera;
}

static void come(struct day *day, size_t camera, struct walk *walk, int64_t now_us,
                 uint32_t *random)
{
    float size = (float)(30 + next_random(random) % 4 * 30);
    struct fw_box box = {(float)(next_random(random) % 6) * 200,
                         (float)(next_random(random) % 3) * 200, size, size};

    *walk = (struct walk){.track = ++day->next_track[camera]};
    walk->face = (struct fw_policy_face){
        .camera = camera,
        .track = walk->track,
        .zone = (int)(next_random(random) % (ZONES + 1)) - 1,
        .first_box = box,
        .box = box,
        .still_us = S(0.3),
        .width = WIDTH,
        .height = HEIGHT,
        .first_seen_us = now_us - S(0.3),
        .now_us = now_us,
        .now_utc_us = now_us,
    };
    walk->verdict = fw_policy_appeared(day->policy, &walk->face);
    assert_in_range(walk->verdict, 0, FW_SUPPRESSIONS - 1);
    day->verdicts[camera][walk->verdict]++;
    day->appeared[camera]++;
    if (walk->verdict == FW_PASSED)
        tell(day, walk);
}

static void go_on(struct day *day, struct walk *walk, int64_t now_us, uint32_t *random)
{
    struct fw_policy_face *face = &walk->face;

    if (!walk->has_moved)
        face->still_us = now_us - face->first_seen_us;
    face->now_us = face->now_utc_us = now_us;
    if (next_random(random) % 8 == 0) {
        face->box.x += face->box.w;
        // Only what was held as static, and once.
        if (fw_policy_moved(day->policy, face)) {
            assert_int_equal(walk->verdict, FW_SUPPRESSED_STATIC);
            assert_false(walk->has_moved);
            tell(day, walk);
            day->late++;
        }
        walk->has_moved = true;
    } else if (next_random(random) % 8 == 0) {
        fw_policy_left(day->policy, face);
        day->left += walk->was_told;
        walk->track = 0;
    }
}

// In any window a bucket gives its burst and what flowed in, at most.
static void assert_rates(const struct day *day, int camera, double per_minute)
{
    for (int first = 0; first < day->told_count; first++) {
        int count = 0;
        for (int i = first; i < day->told_count && i < first + 400; i++) {
            double minutes = (double)(day->told_times[i] - day->told_times[first]) / S(60);
            count += camera < 0 || day->told_cameras[i] == camera;
            assert_true(count <= (per_minute > 1 ? per_minute : 1) + minutes * per_minute + 1e-6);
        }
    }
}

static void random_days_keep_the_rules(void **state)
{
    static struct day day;
    uint64_t all[FW_SUPPRESSIONS] = {0}, late = 0;
    uint32_t random = 99;
    (void)state;

    for (int round = 0; round < 20; round++) {
        static const int64_t zones[ZONES] = {S(7), -1};
        static const double rates[CAMERAS] = {0, 6, 0.5};
        const struct fw_schedule_span span = {0x7f, 60, 23 * 60};
        struct fw_schedule *schedule = NULL;
        int64_t now_us = 0;
        assert_int_equal(fw_schedule_create(&schedule, &span, 1, "UTC", NULL), FW_OK);
        memset(&day, 0, sizeof(day));
        for (int i = 0; i < CAMERAS; i++) {
            day.cameras[i] = (struct fw_policy_camera){
                .cooldown_us = S(next_random(&random) % 30),
                .zone_cooldown_us = zones,
                .zone_count = ZONES,
                .schedule = i == 1 ? schedule : NULL,
                .max_per_minute = rates[i],
                .static_after_us = i == 2 && round % 2 ? 0 : S(120),
            };
            for (int zone = 0; zone <= ZONES; zone++)
                day.told_us[i][zone] = -S(100);
        }
        const struct fw_policy_options options = {day.cameras, CAMERAS, 2};
        day.policy = fw_policy_create(&options);
        assert_non_null(day.policy);
        for (int step = 0; step < 6000; step++) {
            now_us += (int64_t)(next_random(&random) % (uint32_t)S(8));
            size_t camera = next_random(&random) % CAMERAS;
            struct walk *walk = &day.walks[camera][next_random(&random) % TRACKS];
            if (walk->track == 0)
                come(&day, camera, walk, now_us, &random);
            else
                go_on(&day, walk, now_us, &random);
        }
        for (size_t i = 0; i < CAMERAS; i++) {
            uint64_t sum = 0;
            assert_rates(&day, (int)i, rates[i] > 0 ? rates[i] : 1e9);
            for (int reason = 0; reason < FW_SUPPRESSIONS; reason++) {
                sum += day.verdicts[i][reason];
                all[reason] += day.verdicts[i][reason];
                if (reason != FW_PASSED)
                    assert_true(fw_policy_suppressed(day.policy, i, (enum fw_suppression)reason) ==
                                day.verdicts[i][reason]);
            }
            assert_true(sum == day.appeared[i]);
        }
        assert_rates(&day, -1, 2);
        late += day.late;
        fw_policy_destroy(day.policy);
        fw_schedule_destroy(schedule);
    }
    for (int reason = 0; reason < FW_SUPPRESSIONS; reason++)
        assert_true(all[reason] > 50); // all of it happened
    assert_true(late > 50);
}

static void hang(struct fw_policy *policy, uint64_t track, double begin_s)
{
    const struct visit visit = {begin_s, 0, poster, -1, 0, -1, NULL};
    struct fw_policy_face face = face_of(&visit, track, begin_s + 1);

    assert_int_equal(fw_policy_appeared(policy, &face),
                     begin_s > 300 ? FW_SUPPRESSED_STATIC : FW_PASSED);
}

static bool move(struct fw_policy *policy, uint64_t track, double now_s)
{
    const struct visit visit = {now_s - 2, 0, poster, 1, now_s, -1, NULL};
    struct fw_policy_face face = face_of(&visit, track, now_s);

    return fw_policy_moved(policy, &face);
}

// Their ends got lost.
static void of_many_held_tracks_the_latest_are_known(void **state)
{
    struct fw_policy *policy = policy_of(&static_only, 0);
    const struct visit first = {0, 0, poster, -1, 0, -1, NULL};
    struct fw_policy_face end = face_of(&first, 1, 399);
    (void)state;

    hang(policy, 1, 0);
    fw_policy_left(policy, &end);
    for (uint64_t track = 2; track < 3000; track++)
        hang(policy, track, 400);
    assert_false(move(policy, 2, 500));
    assert_true(move(policy, 2999, 500));
    assert_false(move(policy, 2999, 501));
    fw_policy_destroy(policy);
}

// A camera that is started anew counts its tracks from 1.
static void a_track_of_the_same_number_is_another(void **state)
{
    struct fw_policy *policy = policy_of(&static_only, 0);
    struct visit visit = {410, 0, door, -1, 0, -1, NULL};
    struct fw_policy_face face = face_of(&visit, 2, 410);
    (void)state;

    hang(policy, 1, 0);
    hang(policy, 2, 400);
    assert_int_equal(fw_policy_appeared(policy, &face), FW_PASSED);
    assert_false(move(policy, 2, 420));
    fw_policy_destroy(policy);
}

// Reports that get lost must not pile up.
static void tracks_that_never_leave_are_bounded(void **state)
{
    struct fw_policy *policy = policy_of(&static_only, 0);
    struct visit visit = {0, 1, door, -1, 0, -1, NULL};
    (void)state;

    for (uint64_t track = 1; track < 6000; track++) {
        struct fw_policy_face face;
        visit.box.x = (float)(track % 100) * 12;
        visit.begin_s = (double)track / 100;
        face = face_of(&visit, track, visit.begin_s + 0.1);
        assert_int_equal(fw_policy_appeared(policy, &face), FW_PASSED);
    }
    fw_policy_destroy(policy);
    fw_policy_destroy(NULL);
}

static void reasons_have_names(void **state)
{
    (void)state;
    for (int i = 0; i < FW_SUPPRESSIONS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(fw_suppression_name((enum fw_suppression)i),
                                    fw_suppression_name((enum fw_suppression)j));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_poster_is_told_once_however_it_flickers),
        cmocka_unit_test(one_long_look_is_enough),
        cmocka_unit_test(whoever_moves_is_no_poster),
        cmocka_unit_test(a_stolen_track_leaves_a_poster_behind),
        cmocka_unit_test(what_moves_off_is_no_sign_of_a_poster),
        cmocka_unit_test(short_looks_keep_a_place),
        cmocka_unit_test(people_at_a_door_are_no_posters),
        cmocka_unit_test(empty_places_are_forgotten),
        cmocka_unit_test(a_poster_in_front_of_the_camera_all_day_stays_known),
        cmocka_unit_test(nothing_is_static_when_it_is_off),
        cmocka_unit_test(a_busy_scene_does_not_drive_a_poster_out),
        cmocka_unit_test(cooldown_is_of_camera_and_zone),
        cmocka_unit_test(the_order_of_reasons_and_what_they_cost),
        cmocka_unit_test(slow_rates_let_one_through),
        cmocka_unit_test(random_days_keep_the_rules),
        cmocka_unit_test(of_many_held_tracks_the_latest_are_known),
        cmocka_unit_test(a_track_of_the_same_number_is_another),
        cmocka_unit_test(tracks_that_never_leave_are_bounded),
        cmocka_unit_test(reasons_have_names),
    };
    int failed = cmocka_run_group_tests_name("policy", tests, NULL, NULL);

    failed += run_schedule_tests();
    return failed != 0;
}
