#include "camera/picture.h"

#include "camera/analyse.h"
#include "camera/canvas.h"
#include "camera/encode.h"
#include "camera/gate.h"
#include "camera/overlay.h"
#include "camera/publish.h"
#include "camera/rate.h"
#include "media/image.h"
#include "media/jpeg.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/condition.h"
#include "util/log.h"
#include "util/queue.h"
#include "util/thread.h"
#include <libavcodec/avcodec.h>
#include <stdio.h>
#include <stdlib.h>

#define TICK_MS                 500 // tracks end and placeholders begin within this
#define LOOK_MS                 50
#define AWAY_US                 (1500 * FW_US_PER_MS) // no picture for so long: the placeholder
#define PLACEHOLDER_INTERVAL_US (200 * FW_US_PER_MS)
#define LIVE_INTERVAL_US        (95 * FW_US_PER_MS)
#define LIVE_WIDTH              1280
#define LIVE_QUALITY            75
#define MAX_FACES               64
#define MAILBOX                 2 // one waits while the next comes early, which networks make them do
#define REFUSED_RETRY_US        (10 * FW_US_PER_S)

// LOCK guards the mailbox, the reason and the counters; the rest is the thread's.
struct fw_picture {
    struct fw_picture_options options;
    struct fw_thread *thread;

    struct fw_condition lock;          // signalled when a picture comes, is taken, or all ends
    struct fw_frame *waiting[MAILBOX]; // oldest first
    int waiting_count;
    bool is_finishing;
    char reason[256];
    bool had_outage; // since the last picture
    double source_fps;
    struct fw_rate rate; // of pictures that came
    uint64_t dropped, encoded;

    struct fw_canvas *canvas;
    struct fw_overlay *overlay;
    struct fw_encoder *encoder;
    AVPacket *packet;
    int64_t last_shown_us;   // when the last real picture was shown
    int64_t last_capture_us; // its capture time
    int64_t interval_us;     // between real pictures, smoothed
    int64_t placeholder_us;  // when the last placeholder was shown
    int64_t live_us;         // when the last live JPEG was made
    struct fw_gate gate;     // the option fps
    int64_t refused_us;      // when the encoder last refused to open; 0: it did not
};

// ---- the mailbox

static void wait_for_room(struct fw_picture *picture)
{
    while (picture->waiting_count == MAILBOX && !picture->is_finishing &&
           !fw_cancel_is_set(picture->options.cancel))
        fw_condition_wait(&picture->lock, fw_condition_until_us(LOOK_MS));
}

// The oldest that waits, NULL if none does. The lock is held.
static struct fw_frame *pop(struct fw_picture *picture)
{
    struct fw_frame *frame = picture->waiting_count > 0 ? picture->waiting[0] : NULL;

    if (!frame)
        return NULL;
    picture->waiting_count--;
    for (int i = 0; i < picture->waiting_count; i++)
        picture->waiting[i] = picture->waiting[i + 1];
    return frame;
}

void fw_picture_submit(struct fw_picture *picture, struct fw_frame *frame, double source_fps)
{
    struct fw_frame *oldest = NULL;

    pthread_mutex_lock(&picture->lock.mutex);
    if (picture->options.is_lossless)
        wait_for_room(picture);
    if (picture->waiting_count == MAILBOX) {
        oldest = pop(picture);
        picture->dropped++;
    }
    picture->waiting[picture->waiting_count++] = fw_frame_ref(frame);
    picture->source_fps = source_fps;
    fw_rate_count(&picture->rate, fw_monotonic_us());
    pthread_cond_broadcast(&picture->lock.changed);
    pthread_mutex_unlock(&picture->lock.mutex);
    fw_frame_unref(oldest);
}

void fw_picture_set_reason(struct fw_picture *picture, const char *reason)
{
    pthread_mutex_lock(&picture->lock.mutex);
    snprintf(picture->reason, sizeof(picture->reason), "%s", reason);
    picture->had_outage |= reason[0] != '\0';
    pthread_mutex_unlock(&picture->lock.mutex);
}

void fw_picture_get_status(struct fw_picture *picture, struct fw_camera_status *status)
{
    pthread_mutex_lock(&picture->lock.mutex);
    status->fps = fw_rate_get(&picture->rate, fw_monotonic_us());
    status->frames_dropped_newer += picture->dropped;
    status->frames_encoded = picture->encoded;
    pthread_mutex_unlock(&picture->lock.mutex);
}

// The newest picture, now the caller's, or NULL after UNTIL_US. False when all has ended.
static bool take(struct fw_picture *picture, int64_t until_us, struct fw_frame **frame)
{
    bool goes_on;

    pthread_mutex_lock(&picture->lock.mutex);
    while (picture->waiting_count == 0 && !picture->is_finishing) {
        if (fw_condition_wait(&picture->lock, until_us))
            break;
    }
    *frame = pop(picture);
    goes_on = *frame || !picture->is_finishing;
    pthread_cond_broadcast(&picture->lock.changed);
    pthread_mutex_unlock(&picture->lock.mutex);
    return goes_on;
}

// ---- encoding

static void hand_over(struct fw_picture *picture)
{
    fw_publish_packet(picture->options.publish, picture->packet);
    av_packet_unref(picture->packet);
    pthread_mutex_lock(&picture->lock.mutex);
    picture->encoded++;
    pthread_mutex_unlock(&picture->lock.mutex);
}

static void open_encoder(struct fw_picture *picture, const struct fw_frame *frame)
{
    const struct fw_camera_options *camera = picture->options.camera;
    struct fw_encoder_options options = {
        .name = camera->encoder,
        .preset = camera->preset,
        .bitrate_kbps = camera->bitrate_kbps,
        .fps = camera->fps,
        .gop_s = camera->gop_s,
    };
    struct fw_error error;
    int64_t now_us = fw_monotonic_us();
    int status;

    if (picture->refused_us && now_us - picture->refused_us < REFUSED_RETRY_US)
        return;
    if (options.fps <= 0) {
        pthread_mutex_lock(&picture->lock.mutex);
        options.fps = picture->source_fps;
        pthread_mutex_unlock(&picture->lock.mutex);
    }
    status = fw_encoder_open(&picture->encoder, &options, frame, &error);
    if (status == FW_OK)
        status = fw_publish_begin(picture->options.publish, fw_encoder_context(picture->encoder),
                                  &error);
    if (status) {
        fw_log_error(picture->options.log, "nothing is published: %s", error.message);
        picture->refused_us = now_us;
        fw_encoder_close(picture->encoder);
        picture->encoder = NULL;
    }
}

static void encode(struct fw_picture *picture, struct fw_frame *frame, int64_t time_us)
{
    bool wants_keyframe;
    struct fw_error error;
    int status;

    if (picture->options.camera->output_count == 0)
        return;
    if (!picture->encoder)
        open_encoder(picture, frame);
    if (!picture->encoder)
        return;
    wants_keyframe = fw_publish_wants_keyframe(picture->options.publish);
    status = fw_encoder_encode(picture->encoder, frame, time_us, wants_keyframe, picture->packet,
                               &error);
    if (status == FW_OK)
        hand_over(picture);
    else if (status != FW_EAGAIN)
        fw_log_warning(picture->options.log, "a picture was not published: %s", error.message);
}

static void flush(struct fw_picture *picture)
{
    while (picture->encoder && fw_encoder_flush(picture->encoder, picture->packet) == FW_OK)
        hand_over(picture);
}

// ---- the live picture

static bool live_is_due(const struct fw_picture *picture)
{
    return fw_slot_is_watched(picture->options.live) &&
           fw_monotonic_us() - picture->live_us >= LIVE_INTERVAL_US;
}

static void show_live(struct fw_picture *picture, struct fw_frame *frame)
{
    struct fw_frame *small;
    struct fw_bytes *jpeg = NULL;
    struct fw_error error;

    if (!live_is_due(picture))
        return;
    picture->live_us = fw_monotonic_us();
    small = fw_image_shrink(frame, LIVE_WIDTH, frame->height);
    if (!small)
        return;
    if (fw_jpeg_encode(small, LIVE_QUALITY, &jpeg, &error) == FW_OK)
        fw_slot_publish(picture->options.live, jpeg);
    else
        fw_log_warning(picture->options.log, "no live picture: %s", error.message);
    fw_bytes_unref(jpeg);
    fw_frame_unref(small);
}

// ---- drawing

static struct fw_overlay_info overlay_info(struct fw_picture *picture, int64_t utc_us)
{
    const struct fw_camera_options *camera = picture->options.camera;
    struct fw_overlay_info info = {
        .camera_name = camera->name ? camera->name : camera->id,
        .location = camera->location,
        .utc_us = utc_us,
    };

    pthread_mutex_lock(&picture->lock.mutex);
    info.fps = fw_rate_get(&picture->rate, fw_monotonic_us());
    pthread_mutex_unlock(&picture->lock.mutex);
    return info;
}

// Makes what has the picture's size. It stays as it is for the camera's life: outputs can't change
// theirs, so later pictures of another size are scaled. False when something is missing.
static bool prepare(struct fw_picture *picture, const struct fw_frame *frame)
{
    struct fw_error error;

    if (!picture->canvas)
        picture->canvas = fw_canvas_create(frame);
    if (!picture->canvas)
        return false;
    if (picture->overlay)
        return true;
    if (fw_overlay_create(&picture->overlay, fw_canvas_height(picture->canvas), &error) == FW_OK)
        return true;
    fw_log_error(picture->options.log, "no overlay: %s", error.message);
    return false;
}

static void draw(struct fw_picture *picture, struct fw_frame *painted, const struct fw_frame *from)
{
    struct fw_overlay_face faces[MAX_FACES];
    struct fw_overlay_info info = overlay_info(picture, from->capture_utc_us);
    float x = (float)painted->width / (float)from->width;
    float y = (float)painted->height / (float)from->height;

    info.faces = faces;
    info.face_count =
        fw_analyse_faces(picture->options.analyse, from->capture_mono_us, faces, MAX_FACES);
    for (int i = 0; i < info.face_count; i++) {
        struct fw_box *box = &faces[i].face.box;
        *box = (struct fw_box){box->x * x, box->y * y, box->w * x, box->h * y};
    }
    fw_overlay_draw(picture->overlay, painted, &info);
}

// FRAME as it is to be published: a reference to itself where nothing is drawn on it.
static struct fw_frame *compose(struct fw_picture *picture, struct fw_frame *frame)
{
    bool has_overlay = picture->options.camera->overlay_enabled;
    struct fw_frame *painted;

    if (!has_overlay && fw_canvas_fits(picture->canvas, frame))
        return fw_frame_ref(frame);
    painted = fw_canvas_paint(picture->canvas, frame);
    if (painted && has_overlay)
        draw(picture, painted, frame);
    return painted;
}

static bool is_wanted(const struct fw_picture *picture)
{
    return picture->options.camera->output_count > 0 || live_is_due(picture);
}

// The pause of an outage is not the camera's own pace.
static void note_interval(struct fw_picture *picture, const struct fw_frame *frame)
{
    int64_t step_us = frame->capture_mono_us - picture->last_capture_us;
    bool had_outage;

    pthread_mutex_lock(&picture->lock.mutex);
    had_outage = picture->had_outage;
    picture->had_outage = false;
    pthread_mutex_unlock(&picture->lock.mutex);
    if (picture->last_capture_us && step_us > 0 && !had_outage)
        picture->interval_us = picture->interval_us
                                   ? picture->interval_us + (step_us - picture->interval_us) / 8
                                   : step_us;
    picture->last_capture_us = frame->capture_mono_us;
    picture->last_shown_us = fw_monotonic_us();
}

static void show(struct fw_picture *picture, struct fw_frame *frame)
{
    struct fw_frame *composed;

    note_interval(picture, frame);
    if (!is_wanted(picture) || !fw_gate_passes(&picture->gate, frame->capture_mono_us) ||
        !prepare(picture, frame))
        return;
    composed = compose(picture, frame);
    if (!composed)
        return;
    encode(picture, composed, frame->capture_mono_us);
    show_live(picture, composed);
    fw_frame_unref(composed);
}

// ---- the placeholder

// A camera that sends a picture every few seconds is not away in between.
static int64_t away_after_us(const struct fw_picture *picture)
{
    int64_t patience_us = 3 * picture->interval_us;

    return patience_us > AWAY_US ? patience_us : AWAY_US;
}

static bool is_away(const struct fw_picture *picture, int64_t now_us)
{
    return !picture->options.is_lossless && picture->overlay && picture->last_shown_us &&
           now_us - picture->last_shown_us >= away_after_us(picture);
}

static void show_placeholder(struct fw_picture *picture)
{
    int64_t now_us = fw_monotonic_us();
    struct fw_overlay_info info = overlay_info(picture, fw_utc_us());
    struct fw_frame *frame;
    char reason[sizeof(picture->reason)];

    picture->placeholder_us = now_us;
    if (!is_wanted(picture))
        return;
    frame = fw_canvas_blank(picture->canvas);
    if (!frame)
        return;
    pthread_mutex_lock(&picture->lock.mutex);
    snprintf(reason, sizeof(reason), "%s",
             picture->reason[0] ? picture->reason : "no picture from the camera");
    pthread_mutex_unlock(&picture->lock.mutex);
    fw_overlay_draw_placeholder(picture->overlay, frame, &info, reason);
    encode(picture, frame, now_us);
    show_live(picture, frame);
    fw_frame_unref(frame);
}

static void when_nothing_came(struct fw_picture *picture)
{
    int64_t now_us = fw_monotonic_us();

    // Tracks end while the camera is away, not between the pictures of a slow one.
    if (now_us - picture->last_shown_us >= away_after_us(picture))
        fw_analyse_advance(picture->options.analyse, now_us);
    if (is_away(picture, now_us) && now_us - picture->placeholder_us >= PLACEHOLDER_INTERVAL_US)
        show_placeholder(picture);
}

static void run_picture(void *opaque)
{
    struct fw_picture *picture = opaque;
    struct fw_frame *frame = NULL;
    int64_t until_us = fw_condition_until_us(TICK_MS);

    while (take(picture, until_us, &frame)) {
        if (frame)
            show(picture, frame);
        else
            when_nothing_came(picture);
        fw_frame_unref(frame);
        until_us = is_away(picture, fw_monotonic_us()) && picture->placeholder_us
                       ? picture->placeholder_us + PLACEHOLDER_INTERVAL_US
                       : fw_condition_until_us(TICK_MS);
    }
    flush(picture);
}

// ---- life

int fw_picture_start(struct fw_picture **picture_out, const struct fw_picture_options *options)
{
    struct fw_picture *picture = calloc(1, sizeof(*picture));
    int status = FW_ENOMEM;

    *picture_out = NULL;
    if (!picture)
        return FW_ENOMEM;
    if (fw_condition_init(&picture->lock)) {
        free(picture);
        return FW_ENOMEM;
    }
    picture->options = *options;
    fw_gate_init(&picture->gate, 0, options->camera->fps);
    picture->packet = av_packet_alloc();
    if (picture->packet)
        status =
            fw_thread_start(&picture->thread, "fw-picture", options->log, run_picture, picture);
    if (status) {
        fw_picture_destroy(picture);
        return status;
    }
    *picture_out = picture;
    return FW_OK;
}

int fw_picture_finish(struct fw_picture *picture, int64_t timeout_ms)
{
    int status;

    pthread_mutex_lock(&picture->lock.mutex);
    picture->is_finishing = true;
    pthread_cond_broadcast(&picture->lock.changed);
    pthread_mutex_unlock(&picture->lock.mutex);
    status = fw_thread_join(picture->thread, timeout_ms);
    picture->thread = NULL;
    return status;
}

void fw_picture_destroy(struct fw_picture *picture)
{
    if (!picture)
        return;
    for (int i = 0; i < picture->waiting_count; i++)
        fw_frame_unref(picture->waiting[i]);
    fw_encoder_close(picture->encoder);
    fw_overlay_destroy(picture->overlay);
    fw_canvas_destroy(picture->canvas);
    av_packet_free(&picture->packet);
    fw_condition_destroy(&picture->lock);
    free(picture);
}
