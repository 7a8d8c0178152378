// The reporter and the whole daemon when memory or threads run out.
#include "fault.h"

#include "../unit/camera/clip.h"
#include "../unit/web/http_client.h"
#include "app/config.h"
#include "app/reporter.h"
#include "app/supervisor.h"
#include "app/supervisor_internal.h"
#include "media/frame.h"
#include "storage/spool.h"
#include "util/cancel.h"
#include "util/error.h"
#include "util/secret.h"
#include <curl/curl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/fw-fault-app-XXXXXX";
static char *clip;

// ---- the reporter

struct reporting {
    struct fw_store *store;
    struct fw_spool *spool;
    struct fw_outbox *outbox;
    struct fw_reporter *reporter;
    struct fw_frame *picture;
};

static int open_spool(struct reporting *reporting, struct fw_error *error)
{
    char dir[64], spool_dir[64];
    const struct fw_store_options store = {.backend = "dir", .dir = dir, .max_bytes = 100000};

    snprintf(dir, sizeof(dir), "%s/snapshots", folder);
    snprintf(spool_dir, sizeof(spool_dir), "%s/spool", folder);
    int status = fw_store_open(&reporting->store, &store, error);
    if (status != FW_OK)
        return status;
    const struct fw_spool_options options = {.dir = spool_dir, .store = reporting->store};
    return fw_spool_open(&reporting->spool, &options, error);
}

static int open_around(struct reporting *reporting, struct fw_error *error)
{
    static const char *const sinks[] = {"mq"};
    char path[64];
    const struct fw_outbox_options outbox = {
        .path = path, .max_ring_events = 10, .sink_names = sinks, .sink_count = 1};

    snprintf(path, sizeof(path), "%s/outbox.db", folder);
    int status = open_spool(reporting, error);
    if (status == FW_OK)
        status = fw_outbox_open(&reporting->outbox, &outbox, error);
    if (status != FW_OK)
        return status;
    reporting->picture = fw_frame_create(FW_PIXEL_I420, 160, 120);
    if (!reporting->picture)
        return FW_ENOMEM;
    memset(reporting->picture->planes[0], 99, (size_t)reporting->picture->strides[0] * 120);
    memset(reporting->picture->planes[1], 128, (size_t)reporting->picture->strides[1] * 60);
    memset(reporting->picture->planes[2], 128, (size_t)reporting->picture->strides[2] * 60);
    return FW_OK;
}

// What was reported comes out as an event or is counted as lost; the second report may find nothing
// to end.
static int report(struct reporting *reporting, struct fw_camera_config *camera)
{
    struct fw_face_report told = {.kind = FW_REPORT_APPEARED,
                                  .track = 1,
                                  .zone = -1,
                                  .first_box = {40, 30, 50, 60},
                                  .last_box = {40, 30, 50, 60},
                                  .capture_utc_us = 1700000000000000,
                                  .first_seen_utc_us = 1700000000000000,
                                  .last_seen_utc_us = 1700000000000000,
                                  .picture = reporting->picture,
                                  .frame_width = 160,
                                  .frame_height = 120,
                                  .face = {.box = {40, 30, 50, 60}, .score = 0.9F},
                                  .quality = 0.5F};
    struct fw_reporter_stats stats;

    fw_reporter_face(reporting->reporter, camera, &told);
    told.kind = FW_REPORT_LEFT;
    told.reason = "lost";
    fw_reporter_face(reporting->reporter, camera, &told);
    fw_reporter_camera(reporting->reporter, camera, FW_CAMERA_LIVE, "", 1700000000000000);
    fw_reporter_finish(reporting->reporter, 10000, NULL);
    stats = fw_reporter_get_stats(reporting->reporter);
    assert_in_range(stats.events + stats.lost, 1, 2);
    return stats.events < 2 || stats.snapshots_failed ? FW_ENOMEM : FW_OK;
}

static int reporter(void *opaque)
{
    struct fw_camera_config camera = {.id = opaque, .enabled = true};
    struct fw_config config = {.worker = {.id = opaque}, .cameras = &camera, .camera_count = 1};
    const struct fw_log log = {0};
    struct reporting reporting = {0};
    struct fw_error error = {0};
    int status = open_around(&reporting, &error);

    if (status == FW_OK) {
        const struct fw_reporter_options options = {
            .config = &config, .spool = reporting.spool, .outbox = reporting.outbox, .log = &log};
        status = fw_reporter_start(&reporting.reporter, &options, &error);
    }
    if (status == FW_OK)
        status = report(&reporting, &camera);
    assert_int_equal(fw_reporter_destroy(reporting.reporter, 5000), FW_OK);
    assert_int_equal(fw_outbox_close(reporting.outbox, 5000), FW_OK);
    assert_int_equal(fw_spool_close(reporting.spool, 5000), FW_OK);
    fw_frame_unref(reporting.picture);
    fw_store_close(reporting.store);
    return status;
}

// ---- the daemon

struct daemon {
    struct fw_config *config;
    struct fw_secrets *secrets;
    struct fw_cancel *stop;
};

static void ask(int port, const char *path)
{
    char text[128], answer[4096];

    fault_pause(); // the client is ours
    int fd = http_connect(port);
    fault_resume();
    http_send(fd, text,
              (size_t)snprintf(text, sizeof(text),
                               "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                               path));
    while (http_read(fd, answer, sizeof(answer)) == sizeof(answer))
        continue;
    close(fd);
}

static int run_daemon(void *opaque)
{
    const struct daemon *daemon = opaque;
    const struct fw_supervisor_options options = {
        .config = daemon->config, .secrets = daemon->secrets, .stop = daemon->stop};
    struct fw_supervisor *supervisor = NULL;
    int lost = 0;
    struct fw_error error = {0};
    int status = fw_supervisor_start(&supervisor, &options, &lost, &error);

    assert_int_equal(lost, 0);
    assert_int_equal(status == FW_OK, supervisor != NULL);
    if (status != FW_OK)
        return status;
    fw_cancel_wait(fw_supervisor_all_ended(supervisor), 150);
    ask(fw_web_port(supervisor->web), "/api/v1/cameras");
    ask(fw_web_port(supervisor->web), "/metrics");
    ask(fw_web_port(supervisor->web), "/readyz");
    assert_int_equal(fw_supervisor_destroy(supervisor, false), 0);
    return FW_OK;
}

static void load(struct daemon *daemon, const char *model)
{
    struct fw_diagnostics diagnostics = {0};
    char text[8192];

    snprintf(text, sizeof(text),
             "{\"worker\": {\"id\": \"w\", \"state_dir\": \"%s\", \"detector_threads\": 1},"
             " \"web\": {\"listen\": \"127.0.0.1:0\"},"
             " \"detector\": {\"model\": \"%s\", \"input_size\": 64},"
             " \"cameras\": [{\"id\": \"a\", \"test_video\": \"%s\", \"max_frames\": 4,"
             " \"save_snapshots\": true, \"ffmpeg_output\": \"%s/out.mp4\"}],"
             " \"local_mocks\": {\"use_mock_mq\": true, \"use_mock_s3\": true}}",
             folder, model, clip, folder);
    daemon->secrets = fw_secrets_create();
    daemon->stop = fw_cancel_create();
    assert_non_null(daemon->secrets);
    assert_non_null(daemon->stop);
    if (fw_config_load_text(&daemon->config, "t.json", text, daemon->secrets, &diagnostics) < 0)
        fail_msg("%s", diagnostics.count ? diagnostics.items[0].message : "no configuration");
    fw_diagnostics_free(&diagnostics);
}

static void try_reporter(void **state)
{
    static char id[] = "a";

    (void)state;
    fault_try(&(struct fault_scenario){
        .name = "reporter", .run = reporter, .opaque = id, .may_survive = true});
}

static void try_daemon(void **state)
{
    const char *shared = getenv("FACEWORKER_SHARED");
    char model[4096];
    struct daemon daemon = {0};

    (void)state;
    snprintf(model, sizeof(model), "%s/models/yunet_n_640_640.onnx", shared ? shared : "");
    if (access(model, R_OK) != 0 && getenv("CI"))
        fail_msg("no %s; set FACEWORKER_SHARED", model);
    if (access(model, R_OK) != 0)
        skip();
    load(&daemon, model);
    fault_try(&(struct fault_scenario){.name = "daemon",
                                       .run = run_daemon,
                                       .opaque = &daemon,
                                       .may_survive = true,
                                       .most_tries = 30});
    fw_config_destroy(daemon.config);
    fw_cancel_destroy(daemon.stop);
    fw_secrets_destroy(daemon.secrets);
}

static int prepare(void **state)
{
    (void)state;
    assert_int_equal(curl_global_init(CURL_GLOBAL_DEFAULT), 0);
    fw_camera_library_init();
    assert_non_null(mkdtemp(folder));
    clip = clip_path("fault-app.mp4");
    clip_make(clip, 160, 120, 10, 25);
    return 0;
}

static int clean(void **state)
{
    char command[128];

    (void)state;
    unlink(clip);
    free(clip);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
    curl_global_cleanup();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(try_reporter),
        cmocka_unit_test(try_daemon),
    };
    return cmocka_run_group_tests(tests, prepare, clean);
}
