#include "app/supervisor.h"
#include "app/alerts.h"
#include "app/supervisor_internal.h"
#include "detect/pool.h"
#include "util/backoff.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/resolve.h"
#include "util/url.h"
#include <stdlib.h>
#include <string.h>

// How long an end may take, and each of its parts.
struct end_times {
    int64_t all_ms, cameras_ms, pool_ms;
    struct fw_alerts_times alerts;
};

// DESIGN: a stop takes less than 2 s. What is not delivered then waits on the disk.
static const struct end_times stop_times = {
    1900, 1100, 400, {.reporter_ms = 300, .drain_ms = 200, .stop_ms = 300}};
// When the cameras have ended by themselves there is time to deliver what they reported.
static const struct end_times by_itself_times = {
    30000, 10000, 10000, {.reporter_ms = 10000, .drain_ms = 10000, .stop_ms = 1000}};

// Detections weaker than the threshold don't start tracks, but keep those alive that are
// (ByteTrack's second step); below this share of it they are noise.
static const double weak_score_share = 0.6;

static void on_face(void *opaque, const char *camera_id, const struct fw_face_report *report)
{
    (void)camera_id;
    struct fw_supervised_camera *camera = opaque;
    fw_reporter_face(fw_alerts_reporter(camera->supervisor->alerts), camera->config, report);
}

// The camera logs its states itself.
static void on_state(void *opaque, const char *camera_id, enum fw_camera_state state,
                     const char *reason, int64_t utc_us)
{
    (void)camera_id;
    const struct fw_supervised_camera *camera = opaque;
    struct fw_supervisor *supervisor = camera->supervisor;
    fw_reporter_camera(fw_alerts_reporter(supervisor->alerts), camera->config, state, reason,
                       utc_us);
    if (state == FW_CAMERA_STOPPED && atomic_fetch_sub(&supervisor->open_cameras, 1) == 1)
        fw_cancel_trigger(supervisor->all_ended);
}

static int start_shared(struct fw_supervisor *supervisor, struct fw_error *error)
{
    const struct fw_config *config = supervisor->options.config;
    struct fw_model_store_options models;
    fw_config_model_options(config, &supervisor->log, &models);
    supervisor->all_ended = fw_cancel_create();
    supervisor->connect_limiter = fw_limiter_create(config->worker.max_connects);
    supervisor->resolver = fw_resolver_create(&supervisor->log);
    supervisor->pool = fw_pool_create(config->worker.detector_threads, &models, &supervisor->log);
    if (!supervisor->all_ended || !supervisor->connect_limiter || !supervisor->resolver ||
        !supervisor->pool)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    return FW_OK;
}

static int start_alerts(struct fw_supervisor *supervisor, struct fw_error *error)
{
    const struct fw_alerts_options options = {.config = supervisor->options.config,
                                              .resolver = supervisor->resolver,
                                              .log = &supervisor->log};
    return fw_alerts_start(&supervisor->alerts, &options, error);
}

static void fill_tracker_options(struct fw_tracker_options *options,
                                 const struct fw_camera_config *config)
{
    options->high_score = (float)config->detector.min_score;
    options->low_score = (float)(config->detector.min_score * weak_score_share);
    options->confirm_hits = config->alerts.confirm_hits;
    options->confirm_window = config->alerts.confirm_window;
    options->lost_us = config->alerts.lost_ms * FW_US_PER_MS;
}

static int make_zones(struct fw_supervised_camera *camera)
{
    const struct fw_camera_config *config = camera->config;
    camera->zones = calloc(config->zone_count + 1, sizeof *camera->zones);
    if (!camera->zones)
        return FW_ENOMEM;
    for (size_t i = 0; i < config->zone_count; i++) {
        const struct fw_zone_config *zone = &config->zones[i];
        camera->zones[i] = (struct fw_zone){.name = zone->name,
                                            .is_exclude = zone->type == FW_ZONE_EXCLUDE,
                                            .points = zone->points,
                                            .point_count = zone->point_count,
                                            .min_score = (float)zone->min_score,
                                            .min_face_px = zone->min_face_px};
    }
    return FW_OK;
}

static int fill_camera_options(struct fw_supervised_camera *camera)
{
    const struct fw_camera_config *config = camera->config;
    const struct fw_publish_config *publish = &config->publish;
    camera->outputs = calloc(publish->output_count + 1, sizeof *camera->outputs);
    if (!camera->outputs || make_zones(camera) < 0)
        return FW_ENOMEM;
    for (size_t i = 0; i < publish->output_count; i++)
        camera->outputs[i].url = publish->outputs[i];
    camera->options = (struct fw_camera_options){
        .id = config->id,
        .name = config->name,
        .location = config->location,
        .url = config->url,
        .is_test_video = config->is_test_video,
        .test_video_realtime = config->test_video_realtime,
        .max_frames = config->max_frames,
        .transport = config->transport,
        .tls_verify = config->tls_verify,
        .frame_skip = config->frame_skip,
        .analyze_fps = config->analyze_fps,
        .max_frame_age_ms = config->max_frame_age_ms,
        .precision = config->detector.precision,
        .isa = camera->supervisor->options.config->isa,
        .input_size = config->detector.input_size_px,
        .detect = {.min_score = (float)config->detector.min_score,
                   .nms_iou = (float)config->detector.nms_iou,
                   .min_face_px = config->detector.min_face_px,
                   .roi = config->detector.roi,
                   .tile_columns = config->detector.tile_columns,
                   .tile_rows = config->detector.tile_rows},
        .zones = camera->zones,
        .zone_count = config->zone_count,
        .min_quality = (float)config->alerts.min_quality,
        .overlay_enabled = config->overlay_enabled,
        .outputs = camera->outputs,
        .output_count = (int)publish->output_count,
        .encoder = publish->encoder,
        .preset = publish->preset,
        .bitrate_kbps = publish->bitrate_kbps,
        .fps = publish->fps,
        .gop_s = publish->gop_s,
        .wants_snapshots = config->save_snapshots && fw_alerts_spool(camera->supervisor->alerts),
        .connect_timeout_ms = config->connect_timeout_ms,
        .packet_timeout_ms = config->packet_timeout_ms,
        .keyframe_timeout_ms = config->keyframe_timeout_ms,
    };
    fill_tracker_options(&camera->options.track, config);
    return FW_OK;
}

// The camera before CAMERA that wants the very same detector, or NULL.
static const struct fw_supervised_camera *find_alike(const struct fw_supervised_camera *camera)
{
    const struct fw_detector_config *wanted = &camera->config->detector;
    for (const struct fw_supervised_camera *other = camera->supervisor->cameras; other < camera;
         other++) {
        const struct fw_detector_config *has = &other->config->detector;
        if (strcmp(has->model, wanted->model) == 0 &&
            strcmp(has->precision, wanted->precision) == 0 &&
            has->input_size_px == wanted->input_size_px)
            return other;
    }
    return NULL;
}

// Finds the camera's detector before any camera starts, so that a missing model is known at once;
// once for all cameras that want the same.
static int prepare_detector(struct fw_supervised_camera *camera, struct fw_error *error)
{
    struct fw_camera_options *options = &camera->options;
    const struct fw_supervised_camera *alike = find_alike(camera);
    if (alike) {
        options->model = alike->options.model;
        return FW_OK;
    }
    const struct fw_pool_client_options client = {.model = camera->config->detector.model,
                                                  .precision = options->precision,
                                                  .isa = options->isa,
                                                  .input_size = options->input_size,
                                                  .parameters = options->detect};
    return fw_pool_prepare(camera->supervisor->pool, &client, camera->supervisor->options.stop,
                           &options->model, error);
}

static int prepare_cameras(struct fw_supervisor *supervisor, struct fw_error *error)
{
    const struct fw_config *config = supervisor->options.config;
    supervisor->cameras = calloc(config->camera_count, sizeof *supervisor->cameras);
    if (!supervisor->cameras)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    for (size_t i = 0; i < config->camera_count; i++) {
        if (!config->cameras[i].enabled)
            continue;
        struct fw_supervised_camera *camera = &supervisor->cameras[supervisor->camera_count++];
        camera->supervisor = supervisor;
        camera->config = &config->cameras[i];
        if (fill_camera_options(camera) < 0)
            return fw_fail(error, FW_ENOMEM, "out of memory");
        int status = prepare_detector(camera, error);
        if (status < 0)
            return status;
    }
    if (supervisor->camera_count == 0)
        return fw_fail(error, FW_EINVAL,
                       "every camera is disabled; set \"enabled\": true for one of them");
    return FW_OK;
}

static int start_cameras(struct fw_supervisor *supervisor, struct fw_error *error)
{
    const struct fw_camera_services services = {
        .pool = supervisor->pool,
        .connect_limiter = supervisor->connect_limiter,
        .resolver = supervisor->resolver,
        .logger = supervisor->options.logger,
        .secrets = supervisor->options.secrets,
    };
    atomic_store(&supervisor->open_cameras, (int)supervisor->camera_count);
    for (size_t i = 0; i < supervisor->camera_count; i++) {
        struct fw_supervised_camera *camera = &supervisor->cameras[i];
        const struct fw_camera_listener listener = {
            .opaque = camera, .face = on_face, .state = on_state};
        int status =
            fw_camera_start(&camera->camera, &camera->options, &services, &listener, error);
        if (status < 0)
            return status;
    }
    return FW_OK;
}

static int start_web(struct fw_supervisor *supervisor, struct fw_error *error)
{
    fw_status_source(supervisor, &supervisor->web_source);
    const struct fw_web_options options = {.listen = supervisor->options.config->web.listen,
                                           .source = &supervisor->web_source,
                                           .secrets = supervisor->options.secrets,
                                           .log = &supervisor->log};
    int status = fw_web_start(&supervisor->web, &options, error);
    if (status == FW_OK)
        fw_log_info(&supervisor->log, "the page is at http://%s/", options.listen);
    return status;
}

int fw_supervisor_start(struct fw_supervisor **out, const struct fw_supervisor_options *options,
                        int *lost, struct fw_error *error)
{
    *out = NULL;
    *lost = 0;
    struct fw_supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (!supervisor)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    supervisor->options = *options;
    supervisor->log.logger = options->logger;
    supervisor->started_utc_us = fw_utc_us();
    int status = start_shared(supervisor, error);
    if (status == FW_OK)
        status = start_alerts(supervisor, error);
    if (status == FW_OK)
        status = prepare_cameras(supervisor, error);
    if (status == FW_OK)
        status = start_cameras(supervisor, error);
    if (status == FW_OK)
        status = start_web(supervisor, error);
    if (status < 0) {
        *lost = fw_supervisor_destroy(supervisor, false);
        return status;
    }
    *out = supervisor;
    return FW_OK;
}

struct fw_cancel *fw_supervisor_all_ended(struct fw_supervisor *supervisor)
{
    return supervisor->all_ended;
}

// What is left until UNTIL_US, MOST_MS at most.
static int64_t left_ms(int64_t until_us, int64_t most_ms)
{
    int64_t left = (until_us - fw_monotonic_us()) / FW_US_PER_MS;
    if (left > most_ms)
        left = most_ms;
    return left > 0 ? left : 0;
}

// TIMES as far as they fit before UNTIL_US; for the commit there is always some.
static struct fw_alerts_times left_times(const struct fw_alerts_times *times, int64_t until_us)
{
    static const int64_t least_stop_ms = 100;
    int64_t stop_ms = left_ms(until_us, times->stop_ms);
    return (struct fw_alerts_times){
        .reporter_ms = left_ms(until_us, times->reporter_ms),
        .drain_ms = left_ms(until_us, times->drain_ms),
        .stop_ms = stop_ms > least_stop_ms ? stop_ms : least_stop_ms,
    };
}

static int stop_cameras(struct fw_supervisor *supervisor, int64_t timeout_ms)
{
    int all_lost = 0;
    for (size_t i = 0; i < supervisor->camera_count; i++)
        if (supervisor->cameras[i].camera)
            fw_camera_stop(supervisor->cameras[i].camera);
    int64_t until_us = fw_monotonic_us() + timeout_ms * FW_US_PER_MS;
    for (size_t i = 0; i < supervisor->camera_count; i++) {
        struct fw_supervised_camera *camera = &supervisor->cameras[i];
        int lost = 0;
        if (fw_camera_destroy(camera->camera, left_ms(until_us, timeout_ms), &lost) < 0)
            fw_log_error(&supervisor->log, "camera %s: %d threads do not end; left behind",
                         camera->config->id, lost);
        all_lost += lost;
    }
    return all_lost;
}

static void free_supervisor(struct fw_supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->camera_count; i++) {
        free(supervisor->cameras[i].outputs);
        free(supervisor->cameras[i].zones);
    }
    free(supervisor->cameras);
    fw_resolver_destroy(supervisor->resolver);
    fw_limiter_destroy(supervisor->connect_limiter);
    fw_cancel_destroy(supervisor->all_ended);
    free(supervisor);
}

int fw_supervisor_destroy(struct fw_supervisor *supervisor, bool by_itself)
{
    if (!supervisor)
        return 0;
    const struct end_times *times = by_itself ? &by_itself_times : &stop_times;
    const struct fw_cancel *hurry = by_itself ? supervisor->options.stop : NULL;
    int64_t until_us = fw_monotonic_us() + times->all_ms * FW_US_PER_MS;
    // The web server reads the cameras, so it goes first.
    fw_web_stop(supervisor->web);
    int lost = stop_cameras(supervisor, left_ms(until_us, times->cameras_ms));
    // Cameras that are left behind use everything behind them, so nothing of it is freed; what they
    // had reported before still goes out.
    if (!lost && fw_pool_destroy(supervisor->pool, left_ms(until_us, times->pool_ms)) < 0)
        lost++;
    struct fw_alerts_times left = left_times(&times->alerts, until_us);
    if (supervisor->alerts && !fw_alerts_finish(supervisor->alerts, &left, hurry))
        lost++;
    left = left_times(&times->alerts, until_us);
    if (lost) {
        // Threads that are left behind may still report: nothing is freed, but all is committed.
        if (supervisor->alerts)
            (void)fw_outbox_flush(fw_alerts_outbox(supervisor->alerts), left.stop_ms);
        return lost;
    }
    lost = fw_alerts_destroy(supervisor->alerts, &left);
    if (lost)
        return lost;
    free_supervisor(supervisor);
    return 0;
}
