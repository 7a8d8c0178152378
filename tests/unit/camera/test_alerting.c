// From recorded detections to alerts: analysis and policy together, as the reporter joins them.
#include "alert/policy.h"
#include "camera/analyse.h"
#include "media/frame.h"
#include "played_pool.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WIDTH = 768, HEIGHT = 432, FPS = 10, MAX_ROWS = 1000, MAX_TRACKS = 400 };

struct recording {
    int count, length; // rows, pictures
    int per_second;
    int pictures[MAX_ROWS];
    struct fw_face faces[MAX_ROWS];
};

// A recording somewhere in the picture, over and over.
struct layer {
    const struct recording *recording; // NULL: none
    float scale, dx, dy;
    int hidden_of_s, hidden_s; // from every so many seconds on, for so long
};

struct scene {
    const char *name;
    struct layer layers[2];
    int seconds;
    const struct fw_zone *zones;
    size_t zone_count;
    struct fw_policy_camera policy;
    // What is expected: tracks that appeared, those held back then, and alerts in all, of which so
    // many came late, when a face that had been held back moved.
    int appeared, held, told, late;
};

struct state {
    struct fw_policy *policy;
    const struct fw_log *log;
    bool is_told[MAX_TRACKS], has_left[MAX_TRACKS];
    int appeared, told, late, left;
    int64_t start_utc_us;
};

static void load(struct recording *recording, const char *name, int per_second)
{
    const char *source = getenv("FACEWORKER_SOURCE");
    char path[4096], line[256];
    FILE *file;

    assert_non_null(source);
    (void)snprintf(path, sizeof(path), "%s/tests/unit/camera/recorded/%s.txt", source, name);
    file = fopen(path, "r");
    assert_non_null(file);
    *recording = (struct recording){.per_second = per_second};
    while (fgets(line, sizeof(line), file)) {
        struct fw_face face = {0};
        int picture;

        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%d %f %f %f %f %f", &picture, &face.box.x, &face.box.y,
                                &face.box.w, &face.box.h, &face.score),
                         6);
        assert_in_range(recording->count, 0, MAX_ROWS - 1);
        recording->pictures[recording->count] = picture;
        recording->faces[recording->count++] = face;
        recording->length = picture + 1;
    }
    assert_int_equal(fclose(file), 0);
    assert_true(recording->count > 100);
}

static void show_layer(struct fw_pool *pool, const struct layer *layer, int tick)
{
    const struct recording *recording = layer->recording;
    int picture;

    if (!recording || tick * recording->per_second % FPS != 0)
        return;
    if (layer->hidden_of_s > 0 && tick / FPS % layer->hidden_of_s < layer->hidden_s)
        return;
    picture = tick * recording->per_second / FPS % recording->length;
    for (int i = 0; i < recording->count; i++) {
        struct fw_face face = recording->faces[i];

        if (recording->pictures[i] != picture)
            continue;
        face.box.x = face.box.x * layer->scale + layer->dx;
        face.box.y = face.box.y * layer->scale + layer->dy;
        face.box.w *= layer->scale;
        face.box.h *= layer->scale;
        assert_int_equal(fw_faces_add(&pool->faces, &face), FW_OK);
    }
}

static struct fw_policy_face policy_face(const struct state *state,
                                         const struct fw_face_report *report, int64_t now_utc_us)
{
    return (struct fw_policy_face){
        .track = report->track,
        .zone = report->zone,
        .first_box = report->first_box,
        .box = report->last_box,
        .still_us = report->still_us,
        .width = report->frame_width,
        .height = report->frame_height,
        .first_seen_us = report->first_seen_utc_us - state->start_utc_us,
        .now_us = now_utc_us - state->start_utc_us,
        .now_utc_us = now_utc_us,
    };
}

static void on_face(void *opaque, const char *camera_id, const struct fw_face_report *report)
{
    struct state *state = opaque;
    struct fw_policy_face face = policy_face(state, report, report->last_seen_utc_us);
    bool is_now = false;

    (void)camera_id;
    assert_in_range(report->track, 1, MAX_TRACKS - 1);
    assert_false(state->has_left[report->track]);
    assert_true(report->frame_width == WIDTH && report->frame_height == HEIGHT);
    assert_true(report->still_us >= 0);
    if (report->kind == FW_REPORT_APPEARED) {
        state->appeared++;
        is_now = fw_policy_appeared(state->policy, &face) == FW_PASSED;
    } else if (report->kind == FW_REPORT_MOVED) {
        is_now = fw_policy_moved(state->policy, &face);
        state->late += is_now;
    } else {
        fw_policy_left(state->policy, &face);
        state->has_left[report->track] = true;
        state->left += state->is_told[report->track];
    }
    if (is_now) {
        assert_false(state->is_told[report->track]);
        state->is_told[report->track] = true;
        state->told++;
    }
}

// Pictures are not kept, so that one of them does for all.
static void show(const struct scene *scene, struct fw_analyse *analyse, struct fw_pool *pool,
                 int64_t start_us)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, WIDTH, HEIGHT);

    assert_non_null(frame);
    for (int plane = 0; plane < 3; plane++)
        memset(frame->planes[plane], 128,
               (size_t)frame->strides[plane] * (size_t)fw_frame_row_count(frame, plane));
    for (int tick = 0; tick < scene->seconds * FPS; tick++) {
        fw_faces_clear(&pool->faces);
        for (int i = 0; i < 2; i++)
            show_layer(pool, &scene->layers[i], tick);
        frame->capture_mono_us = start_us + tick * (FW_US_PER_S / FPS);
        frame->capture_utc_us = frame->capture_mono_us;
        fw_analyse_frame(analyse, frame);
    }
    fw_frame_unref(frame);
}

static void play(const struct scene *scene)
{
    struct fw_pool pool = {0};
    const struct fw_log log = {0};
    struct state state = {.start_utc_us = fw_monotonic_us()};
    const struct fw_policy_options policy = {&scene->policy, 1, 0};
    const struct fw_camera_options camera = {
        .id = "c",
        .model = "yunet",
        .track = {0.7f, 0.3f, 2, 3, 1500000},
        .zones = scene->zones,
        .zone_count = scene->zone_count,
    };
    const struct fw_camera_listener listener = {.opaque = &state, .face = on_face};
    struct fw_analyse_options options = {
        .camera = &camera, .pool = &pool, .listener = &listener, .log = &log};
    struct fw_analyse *analyse = NULL;
    int held;

    options.cancel = fw_cancel_create();
    state.policy = fw_policy_create(&policy);
    assert_true(options.cancel && state.policy);
    assert_int_equal(fw_analyse_create(&analyse, &options), FW_OK);
    show(scene, analyse, &pool, state.start_utc_us);
    fw_analyse_end(analyse);
    fw_analyse_destroy(analyse);
    held = state.appeared - (state.told - state.late);
    if (state.told != scene->told || state.late != scene->late ||
        state.appeared != scene->appeared || held != scene->held)
        fail_msg("%s: %d appeared, %d held back, %d told (%d late)", scene->name, state.appeared,
                 held, state.told, state.late);
    assert_int_equal(state.left, state.told); // each alert has its end
    fw_policy_destroy(state.policy);
    fw_cancel_destroy(options.cancel);
    fw_faces_free(&pool.faces);
}

#define S(seconds) ((int64_t)(seconds)*FW_US_PER_S)

static struct recording people, poster, walker;

// Somebody who comes in front of the poster while it is not seen, stands there for a while, and
// goes away to the left.
static void make_walker(struct recording *recording)
{
    *recording = (struct recording){.per_second = FPS, .length = 1000};
    for (int picture = 825; picture < 865; picture++) {
        struct fw_face face = {.box = {540, 188, 44, 52}, .score = 0.9F};

        if (picture > 840)
            face.box.x -= (float)(picture - 840) * 12;
        recording->pictures[recording->count] = picture;
        recording->faces[recording->count++] = face;
    }
}

static int load_all(void **state)
{
    (void)state;
    load(&people, "people", 10);
    load(&poster, "poster", 5);
    make_walker(&walker);
    return 0;
}

// The gate, and the way off to the right of it.
static const struct fw_point gate[] = {
    {0.52F, 0.05F}, {0.65F, 0.05F}, {0.65F, 0.25F}, {0.52F, 0.25F}};
static const struct fw_point way[] = {{0.66F, 0}, {1, 0}, {1, 0.4F}, {0.66F, 0.4F}};
static const struct fw_zone gate_only[] = {{"gate", false, gate, 4, 0, 0}};
static const struct fw_zone gate_large[] = {{"gate", false, gate, 4, 0, 48}};
static const struct fw_zone gate_strict[] = {{"gate", false, gate, 4, 0.8F, 0}};
static const struct fw_zone no_way[] = {{"way", true, way, 4, 0, 0}};
static const struct fw_zone both[] = {{"way", false, way, 4, 0, 0}, {"gate", false, gate, 4, 0, 0}};

#define PEOPLE                                                                                     \
    {                                                                                              \
        &people, 1, 0, 0, 0, 0                                                                     \
    }
// Hidden for five seconds in every twenty.
#define POSTER                                                                                     \
    {                                                                                              \
        &poster, 1, 100, 100, 20, 5                                                                \
    }
// As large as people's faces, where they wait.
#define POSTER_AT_GATE                                                                             \
    {                                                                                              \
        &poster, 0.7F, 135, -2, 20, 5                                                              \
    }
#define STATIC                                                                                     \
    {                                                                                              \
        .id = "c", .static_after_us = S(30)                                                        \
    }

static void recorded_scenes(void **state)
{
    static const struct scene scenes[] = {
        // One goes by at 4 s, one waits at the gate from 12 s on and goes at 21 s, one at 70 s.
        {"people", {PEOPLE}, 75, NULL, 0, {.id = "c"}, 4, 0, 4, 0},
        {"cooldown", {PEOPLE}, 75, NULL, 0, {.id = "c", .cooldown_us = S(10)}, 4, 1, 3, 0},
        {"at the gate", {PEOPLE}, 75, gate_only, 1, {.id = "c"}, 1, 0, 1, 0},
        {"large ones at the gate", {PEOPLE}, 75, gate_large, 1, {.id = "c"}, 0, 0, 0, 0},
        {"clear ones at the gate", {PEOPLE}, 75, gate_strict, 1, {.id = "c"}, 0, 0, 0, 0},
        {"not on the way", {PEOPLE}, 75, no_way, 1, {.id = "c"}, 1, 0, 1, 0},
        {"two zones",
         {PEOPLE},
         75,
         both,
         2,
         {.id = "c", .cooldown_us = S(600), .zone_count = 2},
         4,
         2,
         2,
         0},
        {"watched for posters", {PEOPLE}, 75, NULL, 0, STATIC, 4, 0, 4, 0},
        // 15 s in every 20, and 30 s to learn: three times.
        {"a poster", {POSTER}, 300, NULL, 0, {.id = "c"}, 15, 0, 15, 0},
        {"a known poster", {POSTER}, 300, NULL, 0, STATIC, 15, 12, 3, 0},
        {"a poster beside people", {POSTER, PEOPLE}, 300, NULL, 0, STATIC, 33, 12, 21, 0},
        // Of the time to learn one went off with a passer-by.
        {"people before a poster", {POSTER_AT_GATE, PEOPLE}, 300, NULL, 0, STATIC, 33, 11, 22, 0},
        {"somebody in a poster's place",
         {POSTER, {&walker, 1, 0, 0, 0, 0}},
         99,
         NULL,
         0,
         STATIC,
         6,
         3,
         4,
         1},
    };
    (void)state;

    for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++)
        play(&scenes[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_scenes),
    };

    return cmocka_run_group_tests_name("alerting", tests, load_all, NULL);
}
