// Sources, published files and whole cameras, on clips that the test makes itself.
#include "camera/camera.h"
#include "camera/probe.h"
#include "camera/source.h"
#include "clip.h"
#include "detect/pool.h"
#include "media/frame.h"
#include "media/jpeg.h"
#include "util/backoff.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/queue.h"
#include "util/text.h"
#include "util/thread.h"
#include "util/url.h"
#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WIDTH  320
#define HEIGHT 240
#define FRAMES 30
#define FPS    25

static char *clip; // made once, by make_clip()

static int make_clip(void **state)
{
    (void)state;
    fw_camera_library_init();
    clip = clip_path("clip.mp4");
    clip_make(clip, WIDTH, HEIGHT, FRAMES, FPS);
    return 0;
}

static int remove_clip(void **state)
{
    (void)state;
    unlink(clip);
    free(clip);
    return 0;
}

// ---- published files

static void check_file(const char *name)
{
    char *path = clip_path(name);
    struct clip_info info;

    clip_make(path, WIDTH, HEIGHT, FRAMES * 2, FPS);
    clip_inspect(path, &info);
    assert_int_equal(info.packets, FRAMES * 2);
    assert_int_equal(info.falling_dts, 0);
    assert_int_equal(info.reordered, 0);
    assert_int_equal(info.width, WIDTH);
    assert_int_equal(info.height, HEIGHT);
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

// ---- sources

struct fixture {
    struct fw_url *url;
    struct fw_cancel *cancel;
    struct fw_source_options options;
};

static void begin(struct fixture *fixture, const char *text)
{
    struct fw_error error;

    *fixture = (struct fixture){0};
    assert_int_equal(fw_url_parse(&fixture->url, text, NULL, NULL, NULL, &error), FW_OK);
    fixture->cancel = fw_cancel_create();
    assert_non_null(fixture->cancel);
    fixture->options = (struct fw_source_options){
        .url = fixture->url,
        .tls_verify = true,
        .connect_timeout_ms = 3000,
        .packet_timeout_ms = 2000,
        .keyframe_timeout_ms = 3000,
        .cancel = fixture->cancel,
    };
}

static void end(struct fixture *fixture)
{
    fw_cancel_destroy(fixture->cancel);
    fw_url_destroy(fixture->url);
}

static void file_is_read_once(void **state)
{
    struct fixture fixture;
    struct fw_source *source = NULL;
    struct fw_source_info info;
    struct fw_frame *frame = NULL;
    struct fw_error error;
    int64_t last_us = -1;
    int status, count = 0;

    (void)state;
    begin(&fixture, clip);
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_OK);
    while ((status = fw_source_read(source, &frame, &error)) == FW_OK) {
        assert_int_equal(frame->width, WIDTH);
        assert_int_equal(frame->sequence, count);
        assert_true(frame->capture_mono_us > last_us);
        last_us = frame->capture_mono_us;
        count++;
        fw_frame_unref(frame);
    }
    assert_int_equal(status, FW_EEND);
    assert_int_equal(count, FRAMES);
    fw_source_get_info(source, &info);
    assert_string_equal(info.codec, "h264");
    assert_true(info.fps > 24.5 && info.fps < 25.5);
    assert_int_equal(fw_source_corrupt_frames(source), 0);
    fw_source_close(source);
    end(&fixture);
}

static void loop_goes_on_in_time(void **state)
{
    struct fixture fixture;
    struct fw_source *source = NULL;
    struct fw_error error;
    int64_t first_us = 0, last_us = 0;

    (void)state;
    begin(&fixture, clip);
    fixture.options.loop = true;
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_OK);
    for (int i = 0; i < 3 * FRAMES + 5; i++) {
        struct fw_frame *frame = NULL;

        assert_int_equal(fw_source_read(source, &frame, &error), FW_OK);
        if (i == 0)
            first_us = frame->capture_mono_us;
        else
            assert_in_range(frame->capture_mono_us - last_us, 38000, 42000);
        last_us = frame->capture_mono_us;
        fw_frame_unref(frame);
    }
    assert_in_range(last_us - first_us, (3 * FRAMES + 4) * 39900, (3 * FRAMES + 4) * 40100);
    fw_source_close(source);
    end(&fixture);
}

static void realtime_is_paced(void **state)
{
    struct fixture fixture;
    struct fw_source *source = NULL;
    struct fw_error error;
    int64_t began_us;

    (void)state;
    begin(&fixture, clip);
    fixture.options.realtime = true;
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_OK);
    began_us = fw_monotonic_us();
    for (int i = 0; i < 26; i++) {
        struct fw_frame *frame = NULL;

        assert_int_equal(fw_source_read(source, &frame, &error), FW_OK);
        assert_true(frame->capture_mono_us <= fw_monotonic_us());
        fw_frame_unref(frame);
    }
    assert_true(fw_monotonic_us() - began_us > 950000);
    fw_source_close(source);
    end(&fixture);
}

// An image as a camera: its demuxer can't go back, though it says so.
static void image_is_looped(void **state)
{
    char *path = clip_path("picture.jpg");
    struct fw_frame *picture = fw_frame_create(FW_PIXEL_I420, 64, 48);
    struct fw_bytes *jpeg = NULL;
    FILE *file;
    struct fixture fixture;
    struct fw_source *source = NULL;
    struct fw_error error;
    int64_t last_us = 0;

    (void)state;
    assert_non_null(picture);
    for (int plane = 0; plane < 3; plane++)
        memset(picture->planes[plane], 128,
               (size_t)picture->strides[plane] * (size_t)fw_frame_row_count(picture, plane));
    assert_int_equal(fw_jpeg_encode(picture, 90, &jpeg, &error), FW_OK);
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(jpeg->data, 1, jpeg->length, file), jpeg->length);
    assert_int_equal(fclose(file), 0);
    fw_bytes_unref(jpeg);
    begin(&fixture, path);
    fixture.options.loop = true;
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_OK);
    for (int i = 0; i < 5; i++) {
        struct fw_frame *frame = NULL;

        assert_int_equal(fw_source_read(source, &frame, &error), FW_OK);
        assert_int_equal(frame->width, 64);
        assert_true(frame->capture_mono_us > last_us);
        last_us = frame->capture_mono_us;
        fw_frame_unref(frame);
    }
    fw_source_close(source);
    end(&fixture);
    fw_frame_unref(picture);
    unlink(path);
    free(path);
}

// Recordings that were cut together: an hour later, then an hour back.
static void jumps_of_time_are_closed(void **state)
{
    static const int64_t shifts_ms[] = {3600000, 0};
    char *from = clip_path("jump.ts");
    struct fixture fixture;
    struct fw_source *source = NULL;
    struct fw_frame *frame = NULL;
    struct fw_error error;
    int64_t first_us = 0, last_us = 0;
    int count = 0;
    char *to = clip_path("jumps.ts");

    (void)state;
    clip_make(from, WIDTH, HEIGHT, FRAMES, FPS);
    clip_make(to, WIDTH, HEIGHT, FRAMES, FPS);
    for (int i = 0; i < 2; i++)
        clip_append(from, to, shifts_ms[i]);
    begin(&fixture, to);
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_OK);
    while (fw_source_read(source, &frame, &error) == FW_OK) {
        if (count++ == 0)
            first_us = frame->capture_mono_us;
        else
            assert_in_range(frame->capture_mono_us - last_us, 1000, 1300000);
        last_us = frame->capture_mono_us;
        fw_frame_unref(frame);
    }
    assert_true(count > 2 * FRAMES);
    assert_in_range(last_us - first_us, 2500000, 4500000);
    fw_source_close(source);
    end(&fixture);
    unlink(from);
    unlink(to);
    free(from);
    free(to);
}

static void missing_and_empty_files(void **state)
{
    char *path = clip_path("empty.mp4");
    FILE *file = fopen(path, "wb");
    struct fixture fixture;
    struct fw_source *source = NULL;
    struct fw_error error;

    (void)state;
    begin(&fixture, "/nowhere/clip.mp4");
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_ENOENT);
    assert_null(source);
    assert_non_null(strstr(error.message, "/nowhere/clip.mp4"));
    end(&fixture);
    assert_non_null(file);
    assert_true(fputs("this is no video", file) >= 0);
    assert_int_equal(fclose(file), 0);
    begin(&fixture, path);
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_EFORMAT);
    end(&fixture);
    unlink(path);
    free(path);
}

// Damage in the middle of a file: what follows it is left out up to the next keyframe.
static void damage_is_left_out(void **state)
{
    char *path = clip_path("damaged.ts");
    struct fixture fixture;
    struct fw_source *source = NULL;
    struct fw_frame *frame = NULL;
    struct fw_error error;
    uint8_t garbage[188 * 40];
    FILE *file;
    int count = 0;

    (void)state;
    clip_make(path, WIDTH, HEIGHT, FRAMES * 3, FPS);
    file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    assert_int_equal(fseek(file, ftell(file) / 2 / 188 * 188, SEEK_SET), 0);
    memset(garbage, 0x5a, sizeof(garbage));
    assert_int_equal(fwrite(garbage, 1, sizeof(garbage), file), sizeof(garbage));
    assert_int_equal(fclose(file), 0);
    begin(&fixture, path);
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_OK);
    while (fw_source_read(source, &frame, &error) == FW_OK) {
        count++;
        fw_frame_unref(frame);
    }
    assert_true(count < FRAMES * 3 - 2);
    assert_true(count > FRAMES);
    assert_true(fw_source_corrupt_frames(source) > 0);
    fw_source_close(source);
    end(&fixture);
    unlink(path);
    free(path);
}

// ---- peers that misbehave

// A server on a port of its own. HOW decides what it does with each connection.
enum manner { SILENT, GARBAGE, UNAUTHORIZED, NOT_FOUND, HANGS_UP, DROPS_PUBLISHER };
struct server {
    int fd, port;
    enum manner manner;
    _Atomic bool ends;
    struct fw_thread *thread;
};

static void answer(int fd, enum manner manner, char *request)
{
    static const char *const lines[][2] = {
        [UNAUTHORIZED] = {"401 Unauthorized", "WWW-Authenticate: Basic realm=\"camera\"\r\n"},
        [NOT_FOUND] = {"404 Not Found", ""},
        [DROPS_PUBLISHER] = {"200 OK", "Session: 1\r\n"
                                       "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"},
    };
    const char *cseq = strstr(request, "CSeq: ");
    char reply[256];
    int length;

    if (manner == GARBAGE) {
        memset(reply, 'x', sizeof(reply));
        send(fd, reply, sizeof(reply), MSG_NOSIGNAL);
        return;
    }
    length = snprintf(reply, sizeof(reply), "RTSP/1.0 %s\r\nCSeq: %d\r\n%s\r\n", lines[manner][0],
                      cseq ? atoi(cseq + 6) : 1, lines[manner][1]);
    send(fd, reply, (size_t)length, MSG_NOSIGNAL);
}

static void serve(struct server *server, int fd)
{
    char request[4096];

    while (!atomic_load(&server->ends) && server->manner != HANGS_UP) {
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        ssize_t length;

        if (poll(&entry, 1, 20) <= 0)
            continue;
        length = recv(fd, request, sizeof(request) - 1, 0);
        if (length <= 0)
            break;
        request[length] = '\0';
        if (server->manner != SILENT)
            answer(fd, server->manner, request);
        if (server->manner == DROPS_PUBLISHER && strncmp(request, "RECORD", 6) == 0)
            break;
    }
    close(fd);
}

static void run_server(void *opaque)
{
    struct server *server = opaque;

    while (!atomic_load(&server->ends)) {
        struct pollfd entry = {.fd = server->fd, .events = POLLIN};
        int fd;

        if (poll(&entry, 1, 20) <= 0)
            continue;
        fd = accept(server->fd, NULL, NULL);
        if (fd >= 0)
            serve(server, fd);
    }
}

static void start_server(struct server *server, enum manner manner)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    *server = (struct server){.manner = manner};
    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(server->fd >= 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(server->fd, 8), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &length), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(fw_thread_start(&server->thread, "server", NULL, run_server, server), FW_OK);
}

static void stop_server(struct server *server)
{
    atomic_store(&server->ends, true);
    assert_int_equal(fw_thread_join(server->thread, 5000), FW_OK);
    close(server->fd);
}

// Opens SCHEME on a server of that MANNER and returns what came of it, and how long it took.
static int try_open(enum manner manner, const char *scheme, struct fw_error *error,
                    int64_t *took_us)
{
    struct server server;
    struct fixture fixture;
    struct fw_source *source = NULL;
    int64_t began_us;
    char text[128];
    int status;

    start_server(&server, manner);
    snprintf(text, sizeof(text), "%s://user:geheim99@127.0.0.1:%d/live", scheme, server.port);
    begin(&fixture, text);
    fixture.options.connect_timeout_ms = 700;
    fixture.options.packet_timeout_ms = 700;
    began_us = fw_monotonic_us();
    status = fw_source_open(&source, &fixture.options, error);
    *took_us = fw_monotonic_us() - began_us;
    assert_null(source);
    assert_null(strstr(error->message, "geheim99"));
    end(&fixture);
    stop_server(&server);
    return status;
}

static void refusals_have_codes(void **state)
{
    struct fw_error error;
    int64_t took_us;

    (void)state;
    assert_int_equal(try_open(UNAUTHORIZED, "rtsp", &error, &took_us), FW_EAUTH);
    assert_non_null(strstr(error.message, "username"));
    assert_int_equal(try_open(NOT_FOUND, "rtsp", &error, &took_us), FW_ENOENT);
    assert_int_equal(try_open(SILENT, "rtsp", &error, &took_us), FW_ETIMEDOUT);
    assert_in_range(took_us, 600000, 1500000);
    assert_int_equal(try_open(SILENT, "rtmp", &error, &took_us), FW_ETIMEDOUT);
    assert_in_range(took_us, 600000, 1500000);
    assert_int_equal(try_open(SILENT, "http", &error, &took_us), FW_ETIMEDOUT);
    assert_in_range(took_us, 600000, 1500000);
}

static void garbage_is_no_picture(void **state)
{
    struct fw_error error;
    int64_t took_us;

    (void)state;
    assert_true(try_open(GARBAGE, "rtsp", &error, &took_us) < 0);
    assert_true(took_us < 3000000);
    assert_true(try_open(GARBAGE, "rtmp", &error, &took_us) < 0);
    assert_true(try_open(GARBAGE, "http", &error, &took_us) < 0);
    assert_true(try_open(HANGS_UP, "rtsp", &error, &took_us) < 0);
    assert_true(took_us < 1000000);
}

struct opening {
    struct fw_source_options *options;
    _Atomic int64_t returned_us;
    int status;
};

static void open_in_thread(void *opaque)
{
    struct opening *opening = opaque;
    struct fw_source *source = NULL;
    struct fw_error error;

    opening->status = fw_source_open(&source, opening->options, &error);
    atomic_store(&opening->returned_us, fw_monotonic_us());
    fw_source_close(source);
}

static void cancel_ends_a_blocked_open(void **state)
{
    static const char *const schemes[] = {"rtsp", "rtmp", "http"};

    (void)state;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        struct server server;
        struct fixture fixture;
        struct opening opening = {0};
        struct fw_thread *thread = NULL;
        char text[64];
        int64_t canceled_us;

        start_server(&server, SILENT);
        snprintf(text, sizeof(text), "%s://127.0.0.1:%d/live/a", schemes[i], server.port);
        begin(&fixture, text);
        fixture.options.connect_timeout_ms = 20000;
        opening.options = &fixture.options;
        assert_int_equal(fw_thread_start(&thread, "open", NULL, open_in_thread, &opening), FW_OK);
        poll(NULL, 0, 300);
        assert_int_equal(atomic_load(&opening.returned_us), 0);
        canceled_us = fw_monotonic_us();
        fw_cancel_trigger(fixture.cancel);
        assert_int_equal(fw_thread_join(thread, 5000), FW_OK);
        assert_int_equal(opening.status, FW_ECANCELED);
        assert_true(atomic_load(&opening.returned_us) - canceled_us < 500000);
        end(&fixture);
        stop_server(&server);
    }
}

// ---- probe

static void probe_tells_what_is_there(void **state)
{
    struct fixture fixture;
    struct fw_text out = FW_TEXT_INIT;
    struct fw_error error;

    (void)state;
    begin(&fixture, clip);
    assert_int_equal(fw_probe(&fixture.options, 5000, &out, &error), FW_OK);
    assert_non_null(strstr(fw_text_get(&out), "h264"));
    assert_non_null(strstr(fw_text_get(&out), "320x240"));
    assert_non_null(strstr(fw_text_get(&out), "B-frames            no"));
    assert_non_null(strstr(fw_text_get(&out), "25.00"));
    fw_text_clear(&out);
    end(&fixture);
    begin(&fixture, "/nowhere/x.mp4");
    assert_int_equal(fw_probe(&fixture.options, 1000, &out, &error), FW_ENOENT);
    assert_non_null(strstr(fw_text_get(&out), "failed: /nowhere/x.mp4 does not exist"));
    fw_text_free(&out);
    end(&fixture);
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
    atomic_fetch_add(report->kind == FW_REPORT_APPEARED ? &heard->appeared : &heard->left, 1);
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
        .detect = {0.7f, 0.45f, 0},
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

    (void)state;
    prepare_camera(&fixture, clip, path);
    fixture.options.max_frames = FRAMES * 2 + 10; // more than the clip has: it is looped
    start_camera(&fixture);
    wait_for_end(fixture.camera, 30);
    fw_camera_get_status(fixture.camera, &status);
    assert_int_equal(status.state, FW_CAMERA_STOPPED);
    assert_string_equal(status.reason, "max_frames reached");
    assert_int_equal(status.frames_decoded, FRAMES * 2 + 10);
    assert_int_equal(status.frames_encoded, FRAMES * 2 + 10);
    assert_int_equal(status.frames_dropped_newer, 0);
    assert_int_equal(status.outputs[0].packets, FRAMES * 2 + 10);
    assert_int_equal(atomic_load(&fixture.heard.states[FW_CAMERA_LIVE]), 1);
    assert_int_equal(atomic_load(&fixture.heard.states[FW_CAMERA_STOPPED]), 1);
    end_camera(&fixture);
    clip_inspect(path, &info);
    assert_int_equal(info.packets, FRAMES * 2 + 10);
    assert_int_equal(info.falling_dts, 0);
    assert_int_equal(info.reordered, 0);
    assert_int_equal(info.width, WIDTH);
    assert_in_range(info.duration_ms, (FRAMES * 2 + 9) * 40 - 5, (FRAMES * 2 + 9) * 40 + 5);
    unlink(path);
    free(path);
}

static void file_without_loop_ends(void **state)
{
    struct camera_fixture fixture;
    struct fw_camera_status status;

    (void)state;
    prepare_camera(&fixture, clip, NULL);
    fixture.options.is_test_video = false; // a plain file: at its own speed, once
    start_camera(&fixture);
    wait_for_end(fixture.camera, 30);
    fw_camera_get_status(fixture.camera, &status);
    assert_int_equal(status.state, FW_CAMERA_STOPPED);
    assert_string_equal(status.reason, "end of file");
    assert_int_equal(status.frames_decoded, FRAMES);
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
    struct server server;
    char text[64];

    (void)state;
    start_server(&server, SILENT);
    snprintf(text, sizeof(text), "rtsp://127.0.0.1:%d/a", server.port);
    prepare_camera(&fixture, text, NULL);
    fixture.options.is_test_video = false;
    fixture.options.connect_timeout_ms = 20000;
    start_camera(&fixture);
    poll(NULL, 0, 300);
    end_camera(&fixture);
    stop_server(&server);
}

// An output that takes the connection and then nothing: the camera goes on, and stops in time.
static void blocked_output_delays_nothing(void **state)
{
    struct camera_fixture fixture;
    struct fw_camera_status status;
    struct server server;
    char text[64];

    (void)state;
    start_server(&server, SILENT);
    snprintf(text, sizeof(text), "rtmp://127.0.0.1:%d/live/a", server.port);
    prepare_camera(&fixture, clip, text);
    fixture.options.test_video_realtime = true;
    start_camera(&fixture);
    poll(NULL, 0, 2000);
    fw_camera_get_status(fixture.camera, &status);
    assert_int_equal(status.state, FW_CAMERA_LIVE);
    assert_true(status.frames_decoded > 30);
    assert_true(status.frames_encoded > 20);
    assert_false(status.outputs[0].is_open);
    end_camera(&fixture);
    stop_server(&server);
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
    struct server server;
    char text[64];
    int before;

    (void)state;
    start_server(&server, DROPS_PUBLISHER);
    snprintf(text, sizeof(text), "rtsp://127.0.0.1:%d/live", server.port);
    before = open_files();
    prepare_camera(&fixture, clip, text);
    fixture.options.test_video_realtime = true;
    start_camera(&fixture);
    for (int i = 0; i < 1500 && status.outputs[0].reconnects < 3; i++) {
        poll(NULL, 0, 20);
        fw_camera_get_status(fixture.camera, &status);
    }
    assert_true(status.outputs[0].reconnects >= 3);
    end_camera(&fixture);
    assert_int_equal(open_files(), before);
    stop_server(&server);
}

static void missing_folder_is_said_and_retried(void **state)
{
    struct camera_fixture fixture;
    struct fw_camera_status status;

    (void)state;
    prepare_camera(&fixture, clip, "/nowhere/at/all/out.mp4");
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

    (void)state;
    prepare_camera(&fixture, clip, "gopher://localhost/x");
    assert_int_equal(fw_camera_start(&fixture.camera, &fixture.options, &fixture.services,
                                     &fixture.listener, &error),
                     FW_ENOTSUP);
    assert_non_null(strstr(error.message, "rtmp://"));
    end_camera(&fixture);
    prepare_camera(&fixture, clip, "/tmp/x.ts");
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

    (void)state;
    prepare_camera(&fixture, clip, NULL);
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
        cmocka_unit_test(file_is_read_once),
        cmocka_unit_test(loop_goes_on_in_time),
        cmocka_unit_test(realtime_is_paced),
        cmocka_unit_test(jumps_of_time_are_closed),
        cmocka_unit_test(image_is_looped),
        cmocka_unit_test(missing_and_empty_files),
        cmocka_unit_test(damage_is_left_out),
        cmocka_unit_test(refusals_have_codes),
        cmocka_unit_test(garbage_is_no_picture),
        cmocka_unit_test(cancel_ends_a_blocked_open),
        cmocka_unit_test(probe_tells_what_is_there),
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

    return cmocka_run_group_tests(tests, make_clip, remove_clip);
}
