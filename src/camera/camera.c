// A camera's life: connecting, pictures, failures, waiting, the end. The source's thread runs here.
#include "camera/camera.h"

#include "camera/address.h"
#include "camera/analyse.h"
#include "camera/encode.h"
#include "camera/overlay.h"
#include "camera/picture.h"
#include "camera/publish.h"
#include "camera/source.h"
#include "media/frame.h"
#include "util/backoff.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/queue.h"
#include "util/thread.h"
#include "util/url.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BACK_US              (2 * FW_US_PER_S)
#define HEALTHY_US           (10 * FW_US_PER_S)
#define RECONNECT_TIMEOUT_MS 3000
#define ANALYSE_WAIT_MS      10000
#define PICTURE_END_MS       6000
#define PUBLISH_END_MS       3000
#define STOP_MS              600 // for each of two, so that all of a stop takes less than 2 s
#define CHECK_HEIGHT         360

// MUTEX guards STATUS, of which the fields about source and state are used; the parts keep theirs.
// What stands before THREAD is const after the start, from HAS_CONNECTED on it is the source
// thread's.
struct fw_camera {
    struct fw_camera_options options;
    struct fw_camera_services services;
    struct fw_camera_listener listener;
    struct fw_log log;
    bool is_lossless;
    struct fw_cancel *cancel;
    struct fw_slot *live;
    struct fw_analyse *analyse;
    struct fw_publish *publish;
    struct fw_picture *picture;
    struct fw_thread *thread;
    _Atomic bool has_ended;
    _Atomic int lost; // threads that did not end

    pthread_mutex_t mutex;
    struct fw_camera_status status;

    bool has_connected;         // ever
    bool is_stalled;            // silence ended the connection, and nothing else was seen since
    bool is_over;               // max_frames, or the end of a file
    char end_reason[64];        // why
    int64_t slowest_connect_ms; // of the latest success
    int64_t healthy_since_us;   // of this connection's pictures
    char logged_reason[512];    // of the latest line about the state
    struct fw_backoff usual, refused;
    uint64_t corrupt_before; // by sources already closed
};

const char *fw_camera_state_name(enum fw_camera_state state)
{
    static const char *const names[] = {
        [FW_CAMERA_CONNECTING] = "connecting", [FW_CAMERA_LIVE] = "live",
        [FW_CAMERA_STALLED] = "stalled",       [FW_CAMERA_BACKOFF] = "backoff",
        [FW_CAMERA_STOPPED] = "stopped",
    };

    return (size_t)state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}

// ---- state

// A long outage is one line, not one a try.
static void log_state(struct fw_camera *camera, enum fw_camera_state state, const char *reason)
{
    bool is_bad = state == FW_CAMERA_STALLED || state == FW_CAMERA_BACKOFF;
    bool is_known = is_bad && strcmp(camera->logged_reason, reason) == 0;
    enum fw_log_level level = is_bad ? FW_LOG_WARNING : FW_LOG_INFO;

    if (is_known || (state == FW_CAMERA_CONNECTING && camera->logged_reason[0]))
        level = FW_LOG_DEBUG;
    // The reason for connecting is a sentence of its own.
    if (state == FW_CAMERA_CONNECTING)
        fw_log(&camera->log, level, "%s", reason);
    else
        fw_log(&camera->log, level, "%s%s%s", fw_camera_state_name(state), reason[0] ? ": " : "",
               reason);
    if (state != FW_CAMERA_CONNECTING)
        snprintf(camera->logged_reason, sizeof(camera->logged_reason), "%s", reason);
}

static void set_state(struct fw_camera *camera, enum fw_camera_state state, const char *reason)
{
    struct fw_camera_status *status = &camera->status;
    int64_t now_us = fw_utc_us();
    bool is_new, is_other_reason;

    pthread_mutex_lock(&camera->mutex);
    is_new = status->state != state;
    is_other_reason = strncmp(status->reason, reason, sizeof(status->reason) - 1) != 0;
    status->state = state;
    snprintf(status->reason, sizeof(status->reason), "%s", reason);
    if (is_new)
        status->state_since_utc_us = now_us;
    if (state == FW_CAMERA_LIVE)
        status->away_since_utc_us = 0;
    else if (status->away_since_utc_us == 0)
        status->away_since_utc_us = now_us;
    pthread_mutex_unlock(&camera->mutex);
    if (!is_new && !is_other_reason)
        return;
    log_state(camera, state, reason);
    if (camera->picture && state != FW_CAMERA_CONNECTING)
        fw_picture_set_reason(camera->picture, reason);
    if (is_new && camera->listener.state)
        camera->listener.state(camera->listener.opaque, camera->options.id, state, reason, now_us);
}

// ---- connecting

static struct fw_source_options source_options(const struct fw_camera *camera)
{
    const struct fw_camera_options *options = &camera->options;
    struct fw_source_options source = {
        .url = options->url,
        .transport = options->transport,
        .tls_verify = options->tls_verify,
        .realtime = !camera->is_lossless,
        .loop = options->is_test_video,
        .connect_timeout_ms = options->connect_timeout_ms,
        .packet_timeout_ms = options->packet_timeout_ms,
        .keyframe_timeout_ms = options->keyframe_timeout_ms,
        .resolver = camera->services.resolver,
        .secrets = camera->services.secrets,
        .cancel = camera->cancel,
        .log = &camera->log,
    };
    int64_t usual_ms = camera->slowest_connect_ms * 2;

    // A camera that is known answers as fast as it did, so silence need not be waited for long, and
    // the next try is there sooner after it came back.
    if (camera->has_connected) {
        if (usual_ms < RECONNECT_TIMEOUT_MS)
            usual_ms = RECONNECT_TIMEOUT_MS;
        if (source.connect_timeout_ms <= 0 || usual_ms < source.connect_timeout_ms)
            source.connect_timeout_ms = usual_ms;
    }
    return source;
}

static int connect_source(struct fw_camera *camera, struct fw_source **source,
                          struct fw_error *error)
{
    struct fw_source_options options = source_options(camera);
    struct fw_limiter *limiter = camera->services.connect_limiter;
    bool is_limited = limiter && !fw_address_is_path(options.url);
    int64_t began_us;
    int status;

    if (is_limited && fw_limiter_acquire(limiter, camera->cancel))
        return fw_fail(error, FW_ECANCELED, "canceled");
    began_us = fw_monotonic_us();
    status = fw_source_open(source, &options, error);
    if (is_limited)
        fw_limiter_release(limiter);
    if (status)
        return status;
    camera->slowest_connect_ms = (fw_monotonic_us() - began_us) / FW_US_PER_MS;
    pthread_mutex_lock(&camera->mutex);
    camera->status.reconnects += camera->has_connected;
    pthread_mutex_unlock(&camera->mutex);
    camera->has_connected = true;
    return FW_OK;
}

// ---- pictures

static void note_frame(struct fw_camera *camera, const struct fw_source *source,
                       struct fw_frame *frame)
{
    int64_t now_us = fw_monotonic_us();
    bool is_first = camera->healthy_since_us == 0;

    if (is_first) {
        camera->healthy_since_us = now_us;
        camera->is_stalled = false;
    } else if (now_us - camera->healthy_since_us >= HEALTHY_US) {
        fw_backoff_reset(&camera->usual);
        fw_backoff_reset(&camera->refused);
    } else if (now_us - camera->healthy_since_us >= BACK_US) {
        fw_backoff_outage_over(&camera->usual);
    }
    pthread_mutex_lock(&camera->mutex);
    frame->sequence = camera->status.frames_decoded++;
    camera->status.frames_corrupt = camera->corrupt_before + fw_source_corrupt_frames(source);
    camera->status.width = frame->width;
    camera->status.height = frame->height;
    pthread_mutex_unlock(&camera->mutex);
    if (is_first)
        set_state(camera, FW_CAMERA_LIVE, "");
}

static void end_camera(struct fw_camera *camera, const char *reason)
{
    camera->is_over = true;
    snprintf(camera->end_reason, sizeof(camera->end_reason), "%s", reason);
}

// Reads pictures until something fails; the failure is returned, FW_OK when the camera is over.
static int play(struct fw_camera *camera, struct fw_source *source, struct fw_error *error)
{
    int64_t max_frames = camera->options.max_frames;
    struct fw_source_info info;

    fw_source_get_info(source, &info);
    fw_log_info(&camera->log, "%s %dx%d%s%s", info.codec, info.width, info.height,
                info.transport[0] ? " over " : "", info.transport);
    camera->healthy_since_us = 0;
    while (!camera->is_over) {
        struct fw_frame *frame = NULL;
        bool is_last;
        int status = fw_source_read(source, &frame, error);

        if (status)
            return status;
        note_frame(camera, source, frame);
        is_last = max_frames > 0 && frame->sequence + 1 >= (uint64_t)max_frames;
        fw_analyse_frame(camera->analyse, frame);
        fw_picture_submit(camera->picture, frame, info.fps);
        fw_frame_unref(frame);
        if (is_last)
            end_camera(camera, "max_frames reached");
    }
    return FW_OK;
}

// ---- failures

static void wait_before_retry(struct fw_camera *camera, int status)
{
    struct fw_backoff *backoff = status == FW_EAUTH ? &camera->refused : &camera->usual;
    int64_t delay_ms = fw_backoff_next_ms(backoff, fw_monotonic_us(), fw_random_u32());

    fw_log_debug(&camera->log, "next try in %lld ms", (long long)delay_ms);
    fw_cancel_wait(camera->cancel, delay_ms);
}

// IS_CONNECTED: the failure is one of reading. A peer that fell silent stays `stalled` while it
// gives no answer to connecting either.
static void take_failure(struct fw_camera *camera, int status, bool is_connected,
                         const struct fw_error *error)
{
    if (status == FW_OK || status == FW_ECANCELED)
        return;
    if (status == FW_EEND) {
        end_camera(camera, "end of file");
        return;
    }
    camera->is_stalled = status == FW_ETIMEDOUT && (is_connected || camera->is_stalled);
    set_state(camera, camera->is_stalled ? FW_CAMERA_STALLED : FW_CAMERA_BACKOFF, error->message);
    wait_before_retry(camera, status);
}

static void live_once(struct fw_camera *camera)
{
    struct fw_source *source = NULL;
    struct fw_error error = {0};
    bool is_connected;
    char reason[256];
    int status;

    if (!camera->is_stalled) {
        snprintf(reason, sizeof(reason), "connecting to %s", camera->options.url->display);
        set_state(camera, FW_CAMERA_CONNECTING, reason);
    }
    status = connect_source(camera, &source, &error);
    is_connected = status == FW_OK;
    if (is_connected) {
        status = play(camera, source, &error);
        camera->corrupt_before += fw_source_corrupt_frames(source);
    }
    fw_source_close(source);
    take_failure(camera, status, is_connected, &error);
}

// ---- the end

// What was read is analysed, encoded and written; a camera that was told to stop hurries.
static void finish(struct fw_camera *camera)
{
    bool now = fw_cancel_is_set(camera->cancel);
    int lost = 0;

    if (!now)
        fw_analyse_wait(camera->analyse, ANALYSE_WAIT_MS);
    lost += fw_picture_finish(camera->picture, now ? STOP_MS : PICTURE_END_MS) != FW_OK;
    lost += fw_publish_finish(camera->publish, now, now ? STOP_MS : PUBLISH_END_MS);
    atomic_store(&camera->lost, lost);
    fw_analyse_end(camera->analyse);
    fw_slot_close(camera->live);
    set_state(camera, FW_CAMERA_STOPPED, camera->is_over ? camera->end_reason : "told to");
    atomic_store(&camera->has_ended, true);
}

static void run_camera(void *opaque)
{
    struct fw_camera *camera = opaque;

    while (!camera->is_over && !fw_cancel_is_set(camera->cancel))
        live_once(camera);
    finish(camera);
}

// ---- start, stop, status

// What can be refused before anything starts.
static int check_options(const struct fw_camera_options *options, struct fw_error *error)
{
    struct fw_overlay *overlay = NULL;
    int status = FW_OK;

    if (!options->id || !options->url)
        return fw_fail(error, FW_EINVAL, "a camera needs an id and an address");
    if (options->output_count > 0)
        status = fw_encoder_check(options->encoder ? options->encoder : "", error);
    if (status == FW_OK)
        status = fw_overlay_create(&overlay, CHECK_HEIGHT, error);
    fw_overlay_destroy(overlay);
    return status;
}

static int make_publish(struct fw_camera *camera, struct fw_error *error)
{
    struct fw_publish_options options = {
        .outputs = camera->options.outputs,
        .output_count = camera->options.output_count,
        .tls_verify = camera->options.tls_verify,
        .is_lossless = camera->is_lossless,
        .resolver = camera->services.resolver,
        .secrets = camera->services.secrets,
        .log = &camera->log,
    };

    return fw_publish_create(&camera->publish, &options, error);
}

static int make_parts(struct fw_camera *camera, struct fw_error *error)
{
    struct fw_analyse_options analyse = {
        .camera = &camera->options,
        .pool = camera->services.pool,
        .listener = &camera->listener,
        .log = &camera->log,
        .cancel = camera->cancel,
        .is_lossless = camera->is_lossless,
    };
    struct fw_picture_options picture = {
        .camera = &camera->options,
        .live = camera->live,
        .log = &camera->log,
        .cancel = camera->cancel,
        .is_lossless = camera->is_lossless,
    };
    int status = make_publish(camera, error);

    if (status)
        return status;
    status = fw_analyse_create(&camera->analyse, &analyse);
    if (status)
        return fw_fail(error, status, "out of memory");
    picture.analyse = camera->analyse;
    picture.publish = camera->publish;
    status = fw_picture_start(&camera->picture, &picture);
    if (status)
        return fw_fail(error, status, "can't start the camera's picture thread (%s)",
                       fw_status_text(status));
    status = fw_thread_start(&camera->thread, "fw-source", &camera->log, run_camera, camera);
    return status ? fw_fail(error, status, "can't start the camera's source thread (%s)",
                            fw_status_text(status))
                  : FW_OK;
}

static void free_camera(struct fw_camera *camera)
{
    fw_picture_destroy(camera->picture);
    fw_analyse_destroy(camera->analyse);
    fw_publish_destroy(camera->publish);
    fw_slot_unref(camera->live);
    fw_cancel_destroy(camera->cancel);
    pthread_mutex_destroy(&camera->mutex);
    free(camera);
}

// A camera whose source thread never ran: the picture thread is all that can be there.
static void abandon_start(struct fw_camera *camera)
{
    if (camera->picture && fw_picture_finish(camera->picture, STOP_MS) != FW_OK)
        return; // left behind with what it uses
    free_camera(camera);
}

int fw_camera_start(struct fw_camera **camera_out, const struct fw_camera_options *options,
                    const struct fw_camera_services *services,
                    const struct fw_camera_listener *listener, struct fw_error *error)
{
    int status = check_options(options, error);
    struct fw_camera *camera;

    *camera_out = NULL;
    if (status)
        return status;
    camera = calloc(1, sizeof(*camera));
    if (!camera)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (pthread_mutex_init(&camera->mutex, NULL)) {
        free(camera);
        return fw_fail(error, FW_ENOMEM, "out of memory");
    }
    camera->options = *options;
    camera->services = *services;
    if (listener)
        camera->listener = *listener;
    camera->log = (struct fw_log){services->logger, options->id};
    camera->is_lossless = options->is_test_video && !options->test_video_realtime;
    camera->status.state_since_utc_us = camera->status.away_since_utc_us = fw_utc_us();
    snprintf(camera->status.reason, sizeof(camera->status.reason), "starting");
    fw_backoff_init(&camera->usual, &fw_backoff_default);
    fw_backoff_init(&camera->refused, &fw_backoff_refused);
    camera->cancel = fw_cancel_create();
    camera->live = fw_slot_create();
    status = camera->cancel && camera->live ? make_parts(camera, error)
                                            : fw_fail(error, FW_ENOMEM, "out of memory");
    if (status) {
        abandon_start(camera);
        return status;
    }
    *camera_out = camera;
    return FW_OK;
}

void fw_camera_stop(struct fw_camera *camera)
{
    fw_cancel_trigger(camera->cancel);
}

int fw_camera_destroy(struct fw_camera *camera, int64_t timeout_ms, int *lost)
{
    if (lost)
        *lost = 0;
    if (!camera)
        return FW_OK;
    fw_camera_stop(camera);
    if (fw_thread_join(camera->thread, timeout_ms)) {
        if (lost)
            *lost = 1;
        return FW_ETIMEDOUT;
    }
    if (atomic_load(&camera->lost)) {
        if (lost)
            *lost = atomic_load(&camera->lost);
        return FW_ETIMEDOUT;
    }
    free_camera(camera);
    return FW_OK;
}

bool fw_camera_has_ended(struct fw_camera *camera)
{
    return atomic_load(&camera->has_ended);
}

void fw_camera_get_status(struct fw_camera *camera, struct fw_camera_status *status)
{
    pthread_mutex_lock(&camera->mutex);
    *status = camera->status;
    pthread_mutex_unlock(&camera->mutex);
    fw_analyse_get_status(camera->analyse, status);
    fw_picture_get_status(camera->picture, status);
    fw_publish_get_status(camera->publish, status);
}

struct fw_slot *fw_camera_live_slot(struct fw_camera *camera)
{
    return fw_slot_ref(camera->live);
}
