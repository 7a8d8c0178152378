// Sources and the probe, on clips that the test makes itself and on peers that misbehave.
#include "camera/probe.h"
#include "camera/source.h"
#include "clip.h"
#include "media/frame.h"
#include "media/jpeg.h"
#include "peer.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/queue.h"
#include "util/text.h"
#include "util/thread.h"
#include "util/url.h"
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

    begin(&fixture, *state);
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_OK);
    while ((status = fw_source_read(source, &frame, &error)) == FW_OK) {
        assert_int_equal(frame->width, CLIP_WIDTH);
        assert_int_equal(frame->sequence, count);
        assert_true(frame->capture_mono_us > last_us);
        last_us = frame->capture_mono_us;
        count++;
        fw_frame_unref(frame);
    }
    assert_int_equal(status, FW_EEND);
    assert_int_equal(count, CLIP_FRAMES);
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

    begin(&fixture, *state);
    fixture.options.loop = true;
    assert_int_equal(fw_source_open(&source, &fixture.options, &error), FW_OK);
    for (int i = 0; i < 3 * CLIP_FRAMES + 5; i++) {
        struct fw_frame *frame = NULL;

        assert_int_equal(fw_source_read(source, &frame, &error), FW_OK);
        if (i == 0)
            first_us = frame->capture_mono_us;
        else
            assert_in_range(frame->capture_mono_us - last_us, 38000, 42000);
        last_us = frame->capture_mono_us;
        fw_frame_unref(frame);
    }
    assert_in_range(last_us - first_us, (3 * CLIP_FRAMES + 4) * 39900,
                    (3 * CLIP_FRAMES + 4) * 40100);
    fw_source_close(source);
    end(&fixture);
}

static void realtime_is_paced(void **state)
{
    struct fixture fixture;
    struct fw_source *source = NULL;
    struct fw_error error;
    int64_t began_us;

    begin(&fixture, *state);
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
    clip_make(from, CLIP_WIDTH, CLIP_HEIGHT, CLIP_FRAMES, CLIP_FPS);
    clip_make(to, CLIP_WIDTH, CLIP_HEIGHT, CLIP_FRAMES, CLIP_FPS);
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
    assert_true(count > 2 * CLIP_FRAMES);
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
    clip_make(path, CLIP_WIDTH, CLIP_HEIGHT, CLIP_FRAMES * 3, CLIP_FPS);
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
    assert_true(count < CLIP_FRAMES * 3 - 2);
    assert_true(count > CLIP_FRAMES);
    assert_true(fw_source_corrupt_frames(source) > 0);
    fw_source_close(source);
    end(&fixture);
    unlink(path);
    free(path);
}

// ---- peers that misbehave

// Opens SCHEME on a peer of that MANNER and returns what came of it, and how long it took.
static int try_open(enum peer_manner manner, const char *scheme, struct fw_error *error,
                    int64_t *took_us)
{
    struct peer peer;
    struct fixture fixture;
    struct fw_source *source = NULL;
    int64_t began_us;
    char text[128];
    int status;

    peer_start(&peer, manner);
    snprintf(text, sizeof(text), "%s://user:geheim99@127.0.0.1:%d/live", scheme, peer.port);
    begin(&fixture, text);
    fixture.options.connect_timeout_ms = 700;
    fixture.options.packet_timeout_ms = 700;
    began_us = fw_monotonic_us();
    status = fw_source_open(&source, &fixture.options, error);
    *took_us = fw_monotonic_us() - began_us;
    assert_null(source);
    assert_null(strstr(error->message, "geheim99"));
    end(&fixture);
    peer_stop(&peer);
    return status;
}

static void refusals_have_codes(void **state)
{
    struct fw_error error;
    int64_t took_us;

    (void)state;
    assert_int_equal(try_open(PEER_UNAUTHORIZED, "rtsp", &error, &took_us), FW_EAUTH);
    assert_non_null(strstr(error.message, "username"));
    assert_int_equal(try_open(PEER_NOT_FOUND, "rtsp", &error, &took_us), FW_ENOENT);
    assert_int_equal(try_open(PEER_SILENT, "rtsp", &error, &took_us), FW_ETIMEDOUT);
    assert_in_range(took_us, 600000, 1500000);
    assert_int_equal(try_open(PEER_SILENT, "rtmp", &error, &took_us), FW_ETIMEDOUT);
    assert_in_range(took_us, 600000, 1500000);
    assert_int_equal(try_open(PEER_SILENT, "http", &error, &took_us), FW_ETIMEDOUT);
    assert_in_range(took_us, 600000, 1500000);
}

static void garbage_is_no_picture(void **state)
{
    struct fw_error error;
    int64_t took_us;

    (void)state;
    assert_true(try_open(PEER_GARBAGE, "rtsp", &error, &took_us) < 0);
    assert_true(took_us < 3000000);
    assert_true(try_open(PEER_GARBAGE, "rtmp", &error, &took_us) < 0);
    assert_true(try_open(PEER_GARBAGE, "http", &error, &took_us) < 0);
    assert_true(try_open(PEER_HANGS_UP, "rtsp", &error, &took_us) < 0);
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
        struct peer peer;
        struct fixture fixture;
        struct opening opening = {0};
        struct fw_thread *thread = NULL;
        char text[64];
        int64_t canceled_us;

        peer_start(&peer, PEER_SILENT);
        snprintf(text, sizeof(text), "%s://127.0.0.1:%d/live/a", schemes[i], peer.port);
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
        peer_stop(&peer);
    }
}

// ---- probe

static void probe_tells_what_is_there(void **state)
{
    struct fixture fixture;
    struct fw_text out = FW_TEXT_INIT;
    struct fw_error error;

    begin(&fixture, *state);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(file_is_read_once),         cmocka_unit_test(loop_goes_on_in_time),
        cmocka_unit_test(realtime_is_paced),         cmocka_unit_test(jumps_of_time_are_closed),
        cmocka_unit_test(image_is_looped),           cmocka_unit_test(missing_and_empty_files),
        cmocka_unit_test(damage_is_left_out),        cmocka_unit_test(refusals_have_codes),
        cmocka_unit_test(garbage_is_no_picture),     cmocka_unit_test(cancel_ends_a_blocked_open),
        cmocka_unit_test(probe_tells_what_is_there),
    };

    return cmocka_run_group_tests(tests, clip_set_up, clip_tear_down);
}
