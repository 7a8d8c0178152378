// Whole cameras, sources and encoders when memory or threads run out.
#include "fault.h"

#include "../unit/camera/clip.h"
#include "camera/camera.h"
#include "camera/probe.h"
#include "camera/source.h"
#include "detect/pool.h"
#include "media/frame.h"
#include "util/backoff.h"
#include "util/cancel.h"
#include "util/queue.h"
#include "util/resolve.h"
#include "util/text.h"
#include "util/url.h"
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { FRAMES = 6 };

static char *clip, *published;
static char model[4096];

static struct fw_source_options source_options(const struct fw_url *url, struct fw_cancel *cancel)
{
    return (struct fw_source_options){.url = url,
                                      .tls_verify = true,
                                      .connect_timeout_ms = 3000,
                                      .packet_timeout_ms = 3000,
                                      .keyframe_timeout_ms = 3000,
                                      .cancel = cancel};
}

static int source(void *opaque)
{
    struct fw_url *url = NULL;
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_source *opened = NULL;
    struct fw_error error = {0};
    int status = fw_url_parse(&url, clip, NULL, NULL, NULL, &error);

    (void)opaque;
    if (status == FW_OK && !cancel)
        status = FW_ENOMEM;
    if (status == FW_OK) {
        const struct fw_source_options options = source_options(url, cancel);
        status = fw_source_open(&opened, &options, &error);
    }
    while (status == FW_OK) {
        struct fw_frame *frame = NULL;
        status = fw_source_read(opened, &frame, &error);
        fw_frame_unref(frame);
    }
    fw_source_close(opened);
    fw_cancel_destroy(cancel);
    fw_url_destroy(url);
    return status == FW_EEND ? FW_OK : status;
}

static int probe(void *opaque)
{
    struct fw_url *url = NULL;
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_text report = FW_TEXT_INIT;
    struct fw_error error = {0};
    int status = fw_url_parse(&url, clip, NULL, NULL, NULL, &error);

    (void)opaque;
    if (status == FW_OK && !cancel)
        status = FW_ENOMEM;
    if (status == FW_OK) {
        const struct fw_source_options options = source_options(url, cancel);
        status = fw_probe(&options, 300, &report, &error);
    }
    if (status == FW_OK && report.failed)
        status = FW_ENOMEM;
    fw_text_free(&report);
    fw_cancel_destroy(cancel);
    fw_url_destroy(url);
    return status;
}

static int start(struct fw_camera **camera, const struct fw_url *url,
                 const struct fw_output_options *output, const struct fw_camera_services *services)
{
    static const struct fw_camera_listener listener = {0};
    const struct fw_camera_options options = {
        .id = "test",
        .url = url,
        .is_test_video = true,
        .max_frames = FRAMES,
        .analyze_fps = 0,
        .max_frame_age_ms = 500,
        .model = model,
        .precision = "auto",
        .isa = "auto",
        .input_size = 64,
        .detect = {.min_score = 0.7F, .nms_iou = 0.45F},
        .track = {0.7F, 0.3F, 2, 3, 1500000},
        .overlay_enabled = true,
        .outputs = output,
        .output_count = 1,
        .encoder = "libx264",
        .preset = "ultrafast",
        .bitrate_kbps = 500,
        .gop_s = 1,
        .wants_snapshots = true,
        .connect_timeout_ms = 2000,
        .packet_timeout_ms = 2000,
        .keyframe_timeout_ms = 2000,
    };
    struct fw_error error = {0};
    int status = fw_camera_start(camera, &options, services, &listener, &error);

    assert_int_equal(status == FW_OK, *camera != NULL);
    return status;
}

// However it fares, it stops in time and leaves no thread behind.
static int stop(struct fw_camera *camera)
{
    struct fw_camera_status status;
    int lost = -1;

    for (int i = 0; !fw_camera_has_ended(camera) && (i < 40 || !fault_has_struck()); i++)
        poll(NULL, 0, 5);
    fw_camera_get_status(camera, &status);
    if (!fault_has_struck()) {
        assert_int_equal(status.frames_encoded, FRAMES);
        assert_int_equal(status.outputs[0].packets, FRAMES);
    }
    fw_camera_stop(camera);
    assert_int_equal(fw_camera_destroy(camera, 5000, &lost), FW_OK);
    assert_int_equal(lost, 0);
    return FW_OK;
}

static int camera(void *opaque)
{
    const struct fw_model_store_options models = {.dir = "/nonexistent", .offline = true};
    bool has_pool = opaque != NULL;
    struct fw_url *url = NULL, *output_url = NULL;
    struct fw_camera *made = NULL;
    struct fw_error error = {0};
    struct fw_camera_services services = {.pool =
                                              has_pool ? fw_pool_create(1, &models, NULL) : NULL,
                                          .connect_limiter = fw_limiter_create(2),
                                          .resolver = fw_resolver_create(NULL)};
    int status = (services.pool || !has_pool) && services.connect_limiter && services.resolver
                     ? FW_OK
                     : FW_ENOMEM;

    if (status == FW_OK)
        status = fw_url_parse(&url, clip, NULL, NULL, NULL, &error);
    if (status == FW_OK)
        status = fw_url_parse(&output_url, published, NULL, NULL, NULL, &error);
    if (status == FW_OK) {
        const struct fw_output_options output = {output_url};
        status = start(&made, url, &output, &services);
        if (status == FW_OK) {
            struct fw_slot *slot = fw_camera_live_slot(made);
            fw_slot_watch(slot, 1);
            status = stop(made);
            fw_slot_unref(slot);
        }
    }
    fw_url_destroy(output_url);
    fw_url_destroy(url);
    assert_int_equal(fw_pool_destroy(services.pool, 5000), FW_OK);
    fw_resolver_destroy(services.resolver);
    fw_limiter_destroy(services.connect_limiter);
    return status;
}

static void try_source(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "source", .run = source, .may_survive = true});
}

static void try_probe(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){
        .name = "probe", .run = probe, .may_survive = true, .most_tries = 20});
}

// Once it runs a camera tries again by itself.
static void try_camera(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){
        .name = "camera", .run = camera, .may_survive = true, .most_tries = 30});
}

static void try_analysing_camera(void **state)
{
    const char *shared = getenv("FACEWORKER_SHARED");

    (void)state;
    snprintf(model, sizeof(model), "%s/models/yunet_n_640_640.onnx", shared ? shared : "");
    if (access(model, R_OK) != 0 && getenv("CI"))
        fail_msg("no %s; set FACEWORKER_SHARED", model);
    if (access(model, R_OK) != 0)
        skip();
    fault_try(&(struct fault_scenario){.name = "analysing_camera",
                                       .run = camera,
                                       .opaque = model,
                                       .may_survive = true,
                                       .most_tries = 20});
}

static int prepare(void **state)
{
    (void)state;
    fw_camera_library_init();
    clip = clip_path("fault.mp4");
    published = clip_path("fault-out.mp4");
    clip_make(clip, 160, 120, 10, 25);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    unlink(clip);
    unlink(published);
    free(clip);
    free(published);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(try_source),
        cmocka_unit_test(try_probe),
        cmocka_unit_test(try_camera),
        cmocka_unit_test(try_analysing_camera),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
