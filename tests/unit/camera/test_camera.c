// Whole cameras and what they publish, on clips that the test makes itself.
#include "camera/camera.h"
#include "clip.h"
#include "detect/pool.h"
#include "media/jpeg.h"
#include "peer.h"
#include "util/clock.h"
#include "util/queue.h"
#include "util/text.h"
#include "util/url.h"
#include <dirent.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// ---- published files

static void check_file(const char *name)
{
    char *path = clip_path(name);
    struct clip_info info;

    clip_make(path, CLIP_WIDTH, CLIP_HEIGHT, CLIP_FRAMES * 2, CLIP_FPS);
    clip_inspect(path, &info);
    assert_int_equal(info.packets, CLIP_FRAMES * 2);
    assert_int_equal(info.falling_dts, 0);
    assert_int_equal(info.reordered, 0);
    assert_int_equal(info.width, CLIP_WIDTH);
    assert_int_equal(info.height, CLIP_HEIGHT);
    assert_in_range(info.keyframes, 3, 4);
    assert_in_range(info.longest_keyframe_interval_ms, 950, 1050);
    assert_in_range(info.duration_ms, 2300, 2400);
    unlink(path);
    free(path);
}

static void files_have_rising_times(void **state)
{
    (void)state;
    check_file("a.mp4");
    check_file("a.ts");
    check_file("a.mkv");
    check_file("a.flv");
}

// ---- whole cameras

struct heard {
    _Atomic int states[FW_CAMERA_STOPPED + 1];
    _Atomic int appeared, left, without_picture;
};

static void on_state(void *opaque, const char *camera_id, enum fw_camera_state state,
                     const char *reason, int64_t utc_us)
{
    struct heard *heard = opaque;

    (void)camera_id;
    (void)reason;
    (void)utc_us;
    atomic_fetch_add(&heard->states[state], 1);
}

static void on_face(void *opaque, const char *camera_id, const struct fw_face_report *report)
{
    struct heard *heard = opaque;

    (void)camera_id;
    if (report->kind == FW_REPORT_APPEARED)
        atomic_fetch_add(&heard->appeared, 1);
    if (report->kind == FW_REPORT_LEFT)
        atomic_fetch_add(&heard->left, 1);
    atomic_fetch_add(&heard->without_picture, report->picture == NULL);
    assert_true(report->first_seen_utc_us <= report->last_seen_utc_us);
    assert_true(report->quality >= 0 && report->quality <= 1);
}

struct camera_fixture {
    struct fw_url *url;
    struct fw_url *outputs[2];
    struct fw_output_options output_options[2];
    struct fw_camera_options options;
    struct fw_camera_services services;
    struct fw_camera_listener listener;
    struct heard heard;
    struct fw_camera *camera;
};

static void prepare_camera(struct camera_fixture *fixture, const char *url, const char *output)
{
    struct fw_error error;

    *fixture = (struct camera_fixture){0};
    assert_int_equal(fw_url_parse(&fixture->url, url, NULL, NULL, NULL, &error), FW_OK);
    fixture->options = (struct fw_camera_options){
        .id = "test",
        .url = fixture->url,
        .is_test_video = true,
        .tls_verify = true,
        .analyze_fps = 10,
        .max_frame_age_ms = 500,
        .model = "yunet",
        .precision = "auto",
        .isa = "auto",
        .input_size = 320,
        .detect = {.min_score = 0.7f, .nms_iou = 0.45f},
        .track = {0.7f, 0.3f, 2, 3, 1500000},
        .overlay_enabled = true,
        .encoder = "libx264",
        .preset = "ultrafast",
        .bitrate_kbps = 1000,
        .gop_s = 1,
        .connect_timeout_ms = 2000,
        .packet_timeout_ms = 2000,
        .keyframe_timeout_ms = 2000,
    };
    fixture->listener = (struct fw_camera_listener){&fixture->heard, on_face, on_state};
    if (!output)
        return;
    assert_int_equal(fw_url_parse(&fixture->outputs[0], output, NULL, NULL, NULL, &error), FW_OK);
    fixture->output_options[0].url = fixture->outputs[0];
    fixture->options.outputs = fixture->output_options;
    fixture->options.output_count = 1;
}

static void start_camera(struct camera_fixture *fixture)
{
    struct fw_error error;

    assert_int_equal(fw_camera_start(&fixture->camera, &fixture->options, &fixture->services,
                                     &fixture->listener, &error),
                     FW_OK);
}

static void end_camera(struct camera_fixture *fixture)
{
    int64_t began_us = fw_monotonic_us();
    int lost = -1;

    assert_int_equal(fw_camera_destroy(fixture->camera, 1900, &lost), FW_OK);
    assert_int_equal(lost, 0);
    assert_true(fw_monotonic_us() - began_us < 2000000);
    fw_url_destroy(fixture->outputs[0]);
    fw_url_destroy(fixture->url);
}

static void wait_for_end(struct fw_camera *camera, int seconds)
{
    for (int i = 0; i < seconds * 50 && !fw_camera_has_ended(camera); i++)
        poll(NULL, 0, 20);
    assert_true(fw_camera_has_ended(camera));
}

static void max_frames_loses_nothing(void **state)
{
    char *path = clip_path("out.mp4");
    struct camera_fixture fixture;
    struct fw_camera_status status;
    struct clip_info info;

    prepare_camera(&fixture, *state, path);
    fixture.options.max_frames = CLIP_FRAMES * 2 + 10; // more than the clip has: it is looped
    start_camera(&fixture);
    wait_for_end(fixture.camera, 30);
    fw_camera_get_status(fixture.camera, &status);
    assert_int_equal(status.state, FW_CAMERA_STOPPED);
    assert_string_equal(status.reason, "max_frames reached");
    assert_int_equal(status.frames_decoded, CLIP_FRAMES * 2 + 10);
    assert_int_equal(status.frames_encoded, CLIP_FRAMES * 2 + 10);
    assert_int_equal(status.frames_dropped_newer, 0);
    assert_int_equal(status.outputs[0].packets, CLIP_FRAMES * 2 + 10);
    assert_int_equal(atomic_load(&fixture.heard.states[FW_CAMERA_LIVE]), 1);
    assert_int_equal(atomic_load(&fixture.heard.states[FW_CAMERA_STOPPED]), 1);
    end_camera(&fixture);
    clip_inspect(path, &info);
    assert_int_equal(info.packets, CLIP_FRAMES * 2 + 10);
    assert_int_equal(info.falling_dts, 0);
    assert_int_equal(info.reordered, 0);
    assert_int_equal(info.width, CLIP_WIDTH);
    assert_in_range(info.duration_ms, (CLIP_FRAMES * 2 + 9) * 40 - 5,
                    (CLIP_FRAMES * 2 + 9) * 40 + 5);
    unlink(path);
    free(path);
}

static void file_without_loop_ends(void **state)
{
    struct camera_fixture fixture;
    struct fw_camera_status status;

    prepare_camera(&fixture, *state, NULL);
    fixture.options.is_test_video = false; // a plain file: at its own speed, once
    start_camera(&fixture);
    wait_for_end(fixture.camera, 30);
    fw_camera_get_status(fixture.camera, &status);
    assert_int_equal(status.state, FW_CAMERA_STOPPED);
    assert_string_equal(status.reason, "end of file");
    assert_int_equal(status.frames_decoded, CLIP_FRAMES);
    end_camera(&fixture);
}

static void missing_camera_backs_off_and_stops(void **state)
{
    struct camera_fixture fixture;
    struct fw_camera_status status;

    (void)state;
    prepare_camera(&fixture, "rtsp://john:geheim99@127.0.0.1:1/a", NULL);
    fixture.options.is_test_video = false;
    start_camera(&fixture);
    poll(NULL, 0, 700);
    fw_camera_get_status(fixture.camera, &status);
    assert_true(status.state == FW_CAMERA_BACKOFF || status.state == FW_CAMERA_CONNECTING);
    assert_null(strstr(status.reason, "geheim99"));
    assert_true(atomic_load(&fixture.heard.states[FW_CAMERA_BACKOFF]) >= 1);
    assert_int_equal(atomic_load(&fixture.heard.states[FW_CAMERA_LIVE]), 0);
    assert_false(fw_camera_has_ended(fixture.camera));
    end_camera(&fixture);
}

static void silent_camera_stops_in_time(void **state)
{
    struct camera_fixture fixture;
    struct peer peer;
    char text[64];

    (void)state;
    peer_start(&peer, PEER_SILENT);
    snprintf(text, sizeof(text), "rtsp://127.0.0.1:%d/a", peer.port);
    prepare_camera(&fixture, text, NULL);
    fixture.options.is_test_video = false;
    fixture.options.connect_timeout_ms = 20000;
    start_camera(&fixture);
    poll(NULL, 0, 300);
    end_camera(&fixture);
    peer_stop(&peer);
}

// An output that takes the connection and then nothing: the camera goes on, and stops in time.
static void blocked_output_delays_nothing(void **state)
{
    struct camera_fixture fixture;
    struct fw_camera_status status;
    struct peer peer;
    char text[64];

    peer_start(&peer, PEER_SILENT);
    snprintf(text, sizeof(text), "rtmp://127.0.0.1:%d/live/a", peer.port);
    prepare_camera(&fixture, *state, text);
    fixture.options.test_video_realtime = true;
    start_camera(&fixture);
    poll(NULL, 0, 2000);
    fw_camera_get_status(fixture.camera, &status);
    assert_int_equal(status.state, FW_CAMERA_LIVE);
    assert_true(status.frames_decoded > 30);
    assert_true(status.frames_encoded > 20);
    assert_false(status.outputs[0].is_open);
    end_camera(&fixture);
    peer_stop(&peer);
}

static int open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

// A server that restarts again and again costs nothing that stays.
static void lost_output_leaves_no_socket(void **state)
{
    struct camera_fixture fixture;
    struct fw_camera_status status = {0};
    struct peer peer;
    char text[64];
    int before;

    peer_start(&peer, PEER_DROPS_PUBLISHER);
    snprintf(text, sizeof(text), "rtsp://127.0.0.1:%d/live", peer.port);
    before = open_files();
    prepare_camera(&fixture, *state, text);
    fixture.options.test_video_realtime = true;
    start_camera(&fixture);
    for (int i = 0; i < 1500 && status.outputs[0].reconnects < 3; i++) {
        poll(NULL, 0, 20);
        fw_camera_get_status(fixture.camera, &status);
    }
    assert_true(status.outputs[0].reconnects >= 3);
    end_camera(&fixture);
    assert_int_equal(open_files(), before);
    peer_stop(&peer);
}

static void missing_folder_is_said_and_retried(void **state)
{
    struct camera_fixture fixture;
    struct fw_camera_status status;

    prepare_camera(&fixture, *state, "/nowhere/at/all/out.mp4");
    fixture.options.test_video_realtime = true;
    start_camera(&fixture);
    poll(NULL, 0, 1000);
    fw_camera_get_status(fixture.camera, &status);
    assert_int_equal(status.state, FW_CAMERA_LIVE);
    assert_false(status.outputs[0].is_open);
    assert_non_null(strstr(status.outputs[0].reason, "/nowhere/at/all/out.mp4 does not exist"));
    end_camera(&fixture);
}

static void what_cannot_work_is_refused(void **state)
{
    struct camera_fixture fixture;
    struct fw_error error;

    prepare_camera(&fixture, *state, "gopher://localhost/x");
    assert_int_equal(fw_camera_start(&fixture.camera, &fixture.options, &fixture.services,
                                     &fixture.listener, &error),
                     FW_ENOTSUP);
    assert_non_null(strstr(error.message, "rtmp://"));
    end_camera(&fixture);
    prepare_camera(&fixture, *state, "/tmp/x.ts");
    fixture.options.encoder = "libmagic";
    assert_int_equal(fw_camera_start(&fixture.camera, &fixture.options, &fixture.services,
                                     &fixture.listener, &error),
                     FW_ENOTSUP);
    assert_non_null(strstr(error.message, "libx264"));
    end_camera(&fixture);
}

static void live_slot_is_filled_while_watched(void **state)
{
    struct camera_fixture fixture;
    struct fw_slot *slot;
    struct fw_bytes *jpeg;
    uint64_t sequence = 0;

    prepare_camera(&fixture, *state, NULL);
    fixture.options.test_video_realtime = true;
    start_camera(&fixture);
    slot = fw_camera_live_slot(fixture.camera);
    assert_null(fw_slot_wait(slot, &sequence, 500));
    fw_slot_watch(slot, 1);
    jpeg = fw_slot_wait(slot, &sequence, 3000);
    assert_non_null(jpeg);
    assert_true(jpeg->length > 1000 && jpeg->data[0] == 0xff && jpeg->data[1] == 0xd8);
    fw_bytes_unref(jpeg);
    fw_slot_watch(slot, -1);
    end_camera(&fixture);
    assert_true(fw_slot_is_closed(slot));
    fw_slot_unref(slot);
}

// Real faces and the real detector: every face that appears also leaves, each with a picture.
static void faces_appear_and_leave(void **state)
{
    const char *shared = getenv("FACEWORKER_SHARED");
    char *models, *video;
    struct fw_model_store_options store = {.offline = true};
    struct camera_fixture fixture;
    struct fw_camera_status status;

    (void)state;
    if (!shared || !shared[0] || access(shared, R_OK) != 0) {
        assert_null(getenv("CI"));
        skip();
    }
    models = fw_strdup_printf("%s/models", shared);
    video = fw_strdup_printf("%s/data/videos/head-pose-face-detection-female.mp4", shared);
    store.dir = models;
    prepare_camera(&fixture, video, NULL);
    fixture.services.pool = fw_pool_create(1, &store, NULL);
    assert_non_null(fixture.services.pool);
    fixture.options.max_frames = 60;
    fixture.options.wants_snapshots = true;
    start_camera(&fixture);
    wait_for_end(fixture.camera, 100);
    fw_camera_get_status(fixture.camera, &status);
    assert_int_equal(status.frames_decoded, 60);
    assert_true(status.frames_analysed >= 30);
    assert_int_equal(status.frames_dropped_newer, 0);
    assert_true(atomic_load(&fixture.heard.appeared) >= 1);
    assert_int_equal(atomic_load(&fixture.heard.appeared), atomic_load(&fixture.heard.left));
    assert_int_equal(atomic_load(&fixture.heard.appeared), status.tracks_confirmed);
    assert_int_equal(atomic_load(&fixture.heard.without_picture), 0);
    end_camera(&fixture);
    assert_int_equal(fw_pool_destroy(fixture.services.pool, 5000), FW_OK);
    free(models);
    free(video);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_have_rising_times),
        cmocka_unit_test(max_frames_loses_nothing),
        cmocka_unit_test(file_without_loop_ends),
        cmocka_unit_test(missing_camera_backs_off_and_stops),
        cmocka_unit_test(silent_camera_stops_in_time),
        cmocka_unit_test(blocked_output_delays_nothing),
        cmocka_unit_test(lost_output_leaves_no_socket),
        cmocka_unit_test(missing_folder_is_said_and_retried),
        cmocka_unit_test(what_cannot_work_is_refused),
        cmocka_unit_test(live_slot_is_filled_while_watched),
        cmocka_unit_test(faces_appear_and_leave),
    };

    return cmocka_run_group_tests(tests, clip_set_up, clip_tear_down);
}
