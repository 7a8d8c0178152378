// The pure parts of a camera: gating, rates, clocks, addresses, muxers, errors.
#include "camera/address.h"
#include "camera/av_error.h"
#include "camera/capture_clock.h"
#include "camera/gate.h"
#include "camera/liveness.h"
#include "camera/muxer.h"
#include "camera/rate.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/secret.h"
#include "util/url.h"
#include <errno.h>
#include <libavutil/dict.h>
#include <libavutil/error.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int count_passes(struct fw_gate *gate, int pictures, int64_t step_us, int64_t jitter_us)
{
    int passes = 0;

    for (int i = 0; i < pictures; i++)
        passes += fw_gate_passes(gate, 1000000 + i * step_us + (i % 2 ? jitter_us : -jitter_us));
    return passes;
}

static void gate_keeps_average(void **state)
{
    struct fw_gate gate;

    (void)state;
    fw_gate_init(&gate, 0, 10);
    assert_in_range(count_passes(&gate, 250, 40000, 0), 99, 101);
    fw_gate_init(&gate, 0, 10);
    assert_in_range(count_passes(&gate, 100, 100000, 8000), 99, 100);
    fw_gate_init(&gate, 0, 10);
    assert_in_range(count_passes(&gate, 50, 200000, 0), 50, 50);
    fw_gate_init(&gate, 0, 0);
    assert_int_equal(count_passes(&gate, 77, 40000, 0), 77);
}

static void gate_skips_frames(void **state)
{
    struct fw_gate gate;

    (void)state;
    fw_gate_init(&gate, 1, 0);
    assert_true(fw_gate_passes(&gate, 0));
    assert_false(fw_gate_passes(&gate, 40000));
    assert_true(fw_gate_passes(&gate, 80000));
    fw_gate_init(&gate, 4, 0);
    assert_int_equal(count_passes(&gate, 50, 40000, 0), 10);
    fw_gate_init(&gate, 1, 5);
    assert_in_range(count_passes(&gate, 250, 40000, 0), 45, 51);
}

static void gate_survives_jumps(void **state)
{
    struct fw_gate gate;

    (void)state;
    fw_gate_init(&gate, 0, 10);
    assert_true(fw_gate_passes(&gate, 5000000));
    assert_true(fw_gate_passes(&gate, 60000000)); // a long pause is not made up for
    assert_false(fw_gate_passes(&gate, 60010000));
    assert_true(fw_gate_passes(&gate, 1000000)); // nor does a clock that went back block it
    assert_false(fw_gate_passes(&gate, 1010000));
}

static void rate_measures(void **state)
{
    struct fw_rate rate = {0};

    (void)state;
    assert_true(fw_rate_get(&rate, 0) <= 0);
    for (int i = 0; i < 100; i++)
        fw_rate_count(&rate, i * 40000);
    assert_true(fw_rate_get(&rate, 99 * 40000) > 24.9 && fw_rate_get(&rate, 99 * 40000) < 25.1);
    assert_true(fw_rate_get(&rate, 99 * 40000 + 3100000) <= 0);
}

static struct fw_liveness started(int64_t now_us)
{
    struct fw_liveness liveness = {.packet_timeout_us = 5 * FW_US_PER_S,
                                   .keyframe_timeout_us = 10 * FW_US_PER_S};

    fw_liveness_start(&liveness, now_us);
    return liveness;
}

static void liveness_names_the_clock(void **state)
{
    struct fw_liveness liveness = started(0);
    struct fw_error error;

    (void)state;
    assert_int_equal(fw_liveness_check(&liveness, 4999999, &error), FW_OK);
    assert_int_equal(fw_liveness_left_ms(&liveness, 4999999), 1);
    assert_int_equal(fw_liveness_check(&liveness, 5000000, &error), FW_ETIMEDOUT);
    assert_non_null(strstr(error.message, "no video came"));
    assert_int_equal(fw_liveness_left_ms(&liveness, 6000000), 0);

    // Packets come, but no keyframe among them.
    fw_liveness_packet(&liveness, 9900000);
    assert_int_equal(fw_liveness_check(&liveness, 9999999, &error), FW_OK);
    assert_int_equal(fw_liveness_check(&liveness, 10000000, &error), FW_ETIMEDOUT);
    assert_non_null(strstr(error.message, "keyframe"));

    // A picture stops the wait for a keyframe; packets without pictures are noticed too.
    fw_liveness_picture(&liveness, 9900000);
    fw_liveness_packet(&liveness, 24800000);
    assert_int_equal(fw_liveness_check(&liveness, 24800000, &error), FW_OK);
    assert_int_equal(fw_liveness_check(&liveness, 24900000, &error), FW_ETIMEDOUT);
    assert_non_null(strstr(error.message, "decoded"));
}

static void liveness_wait_is_not_renewed(void **state)
{
    struct fw_liveness liveness = started(0);
    struct fw_error error;

    (void)state;
    fw_liveness_picture(&liveness, 1000000);
    for (int64_t now = 2000000; now < 12000000; now += 500000) {
        fw_liveness_packet(&liveness, now);
        fw_liveness_await_keyframe(&liveness, now);
        assert_int_equal(fw_liveness_check(&liveness, now, &error), FW_OK);
    }
    fw_liveness_packet(&liveness, 12000000);
    assert_int_equal(fw_liveness_check(&liveness, 12000000, &error), FW_ETIMEDOUT);
}

#define UTC 1700000000000000LL

static void capture_clock_trusts_sane_times(void **state)
{
    struct fw_capture_clock clock = {0};

    (void)state;
    assert_int_equal(fw_capture_clock_map(&clock, UTC - 80000, UTC), UTC - 80000);
    assert_int_equal(fw_capture_clock_map(&clock, UTC + 40000 - 700000, UTC + 40000),
                     UTC + 40000 - 700000); // late on the way: it shows
    assert_int_equal(fw_capture_clock_map(&clock, 0, UTC), UTC);
    assert_int_equal(fw_capture_clock_map(&clock, UTC - 11000000, UTC), UTC);
    assert_int_equal(fw_capture_clock_map(&clock, UTC + 11000000, UTC), UTC);
}

static void capture_clock_corrects_wrong_clocks(void **state)
{
    struct fw_capture_clock slow = {0}, fast = {0};

    (void)state;
    // Four seconds behind: pictures are not four seconds old, but a late one is late all the same.
    assert_int_equal(fw_capture_clock_map(&slow, UTC - 4000000, UTC), UTC);
    assert_int_equal(fw_capture_clock_map(&slow, UTC - 4000000 + 40000, UTC + 340000), UTC + 40000);
    // Ahead: never later than the arrival.
    for (int i = 0; i < 10; i++) {
        int64_t arrival = UTC + i * 40000 + (i % 3) * 5000;
        assert_true(fw_capture_clock_map(&fast, UTC + 3000000 + i * 40000, arrival) <= arrival);
    }
}

static const char *muxer_of(const char *text)
{
    const struct fw_muxer *muxer;
    struct fw_url *url = NULL;
    struct fw_error error;
    const char *format;

    assert_int_equal(fw_url_parse(&url, text, NULL, NULL, NULL, &error), FW_OK);
    muxer = fw_muxer_find(url, &error);
    format = muxer ? muxer->format : NULL;
    if (!muxer)
        assert_non_null(strstr(error.message, "rtmp://"));
    fw_url_destroy(url);
    return format;
}

static void muxers_by_scheme_and_extension(void **state)
{
    (void)state;
    assert_string_equal(muxer_of("rtmp://localhost/a"), "flv");
    assert_string_equal(muxer_of("rtsp://localhost/a"), "rtsp");
    assert_string_equal(muxer_of("/tmp/a.mp4"), "mp4");
    assert_string_equal(muxer_of("/tmp/a.mkv"), "matroska");
    assert_string_equal(muxer_of("/tmp/a.flv"), "flv");
    assert_string_equal(muxer_of("/tmp/a.ts"), "mpegts");
    assert_string_equal(muxer_of("out"), "mpegts");
    assert_null(muxer_of("gopher://localhost/a"));
}

static void errors_say_what_to_do(void **state)
{
    struct fw_deadline late = {.interrupted = FW_ETIMEDOUT};
    struct fw_deadline canceled = {.interrupted = FW_ECANCELED};
    struct fw_error error;

    (void)state;
    assert_int_equal(fw_av_fail(&error, AVERROR_HTTP_UNAUTHORIZED, NULL, "rtsp://cam/"), FW_EAUTH);
    assert_non_null(strstr(error.message, "rtsp://cam/ refused"));
    assert_int_equal(fw_av_fail(&error, AVERROR_HTTP_FORBIDDEN, NULL, "x"), FW_EAUTH);
    assert_int_equal(fw_av_fail(&error, AVERROR_HTTP_NOT_FOUND, NULL, "x"), FW_ENOENT);
    assert_int_equal(fw_av_fail(&error, AVERROR(ECONNREFUSED), NULL, "x"), FW_ECONNECT);
    assert_int_equal(fw_av_fail(&error, AVERROR_EXIT, &late, "x"), FW_ETIMEDOUT);
    assert_int_equal(fw_av_fail(&error, AVERROR_EXIT, &canceled, "x"), FW_ECANCELED);
    assert_int_equal(fw_av_fail(&error, AVERROR(ENOSPC), NULL, "x"), FW_EFULL);
    assert_int_equal(fw_av_fail(&error, AVERROR_BUG, NULL, "x"), FW_EIO);
}

static void rtsps_is_verified_or_refused(void **state)
{
    AVDictionary *options = NULL;
    struct fw_url *url = NULL;
    struct fw_error error;

    (void)state;
    assert_int_equal(fw_url_parse(&url, "rtsps://cam/a", NULL, NULL, NULL, &error), FW_OK);
    assert_int_equal(fw_address_tls_options(url, true, NULL, &options, &error), FW_ENOTSUP);
    assert_non_null(strstr(error.message, "tls_verify"));
    assert_int_equal(fw_address_tls_options(url, false, NULL, &options, &error), FW_OK);
    fw_url_destroy(url);
    assert_int_equal(fw_url_parse(&url, "https://cam/a", NULL, NULL, NULL, &error), FW_OK);
    assert_int_equal(fw_address_tls_options(url, true, NULL, &options, &error), FW_OK);
    assert_string_equal(av_dict_get(options, "tls_verify", NULL, 0)->value, "1");
    av_dict_free(&options);
    fw_url_destroy(url);
}

static void paths_are_not_protocols(void **state)
{
    struct fw_deadline deadline = {0};
    struct fw_secret *text = NULL;
    struct fw_url *url = NULL;
    struct fw_error error;

    (void)state;
    fw_deadline_set(&deadline, 1000);
    assert_int_equal(fw_url_parse(&url, "/tmp/12:30 door.mp4", NULL, NULL, NULL, &error), FW_OK);
    assert_int_equal(fw_address_reveal(url, NULL, NULL, &deadline, &text, &error), FW_OK);
    assert_string_equal(fw_secret_reveal(text), "file:/tmp/12:30 door.mp4");
    fw_secret_destroy(text);
    fw_url_destroy(url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gate_keeps_average),
        cmocka_unit_test(gate_skips_frames),
        cmocka_unit_test(gate_survives_jumps),
        cmocka_unit_test(rate_measures),
        cmocka_unit_test(liveness_names_the_clock),
        cmocka_unit_test(liveness_wait_is_not_renewed),
        cmocka_unit_test(capture_clock_trusts_sane_times),
        cmocka_unit_test(capture_clock_corrects_wrong_clocks),
        cmocka_unit_test(muxers_by_scheme_and_extension),
        cmocka_unit_test(errors_say_what_to_do),
        cmocka_unit_test(rtsps_is_verified_or_refused),
        cmocka_unit_test(paths_are_not_protocols),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
