#include "app/reporter.h"
#include "alert/event.h"
#include "camera/snapshot.h"
#include "media/frame.h"
#include "storage/store.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/queue.h"
#include "util/text.h"
#include "util/thread.h"
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_WAITING_REPORTS = 4096,
    // A 1080p picture is 3 MB; so many may wait for a slow disk.
    MAX_WAITING_PICTURES = 16,
    MAX_FACES = 32, // of one event; more are counted in no one's interest
    RECENT_EVENTS = 200,
    JPEG_QUALITY = 88,
    SWEEP_INTERVAL_MS = 60000,
    // A picture that is being rendered or written when the time is over ends within it.
    GIVE_UP_MS = 200,
};

// A report on its way through the queue. Owns a reference to the picture.
struct report {
    struct fw_reporter *reporter;
    const struct fw_camera_config *camera;
    enum fw_report_kind kind;
    uint64_t track;
    int64_t capture_utc_us, first_seen_utc_us, last_seen_utc_us;
    const char *reason;
    struct fw_frame *picture;
    bool picture_skipped;
    int frame_width, frame_height;
    float quality;
    int face_count; // the track's own first
    struct fw_overlay_face faces[MAX_FACES];
};

// Owner: the daemon. `lock` guards `recent`, `recent_next` and `recent_count`; the rest is set at
// start or atomic.
struct fw_reporter {
    struct fw_reporter_options options;
    struct fw_queue *queue;
    struct fw_cancel *cancel; // gives up pictures
    struct fw_cancel *done;   // triggered by the thread when all is worked off
    struct fw_thread *thread;
    atomic_int waiting_pictures;
    _Atomic uint64_t events, snapshots_stored, snapshots_failed, snapshots_skipped, lost;
    pthread_mutex_t lock;
    struct fw_event *recent[RECENT_EVENTS]; // a ring
    size_t recent_next, recent_count;
};

// The keys, URLs and sums of one event's pictures; owns them while the event is built.
struct stored_snapshot {
    char *keys[4], *urls[4];
    char sha256[4][65];
};

static void free_report(void *item)
{
    struct report *report = item;
    if (report->picture)
        atomic_fetch_sub(&report->reporter->waiting_pictures, 1);
    fw_frame_unref(report->picture);
    free(report);
}

static const char *kind_name(enum fw_report_kind kind)
{
    return kind == FW_REPORT_APPEARED ? "appeared" : "left";
}

static bool sha256_hex(const struct fw_bytes *bytes, char hex[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    if (EVP_Digest(bytes->data, bytes->length, digest, &length, EVP_sha256(), NULL) != 1)
        return false;
    static const char digits[] = "0123456789abcdef";
    for (unsigned int i = 0; i < length && i < 32; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[64] = '\0';
    return true;
}

// "front-door/2026/01/31/235959.123-t12-left-face.jpg": by camera and date, sortable, and unique
// across restarts, because the time of the picture is in it.
static char *snapshot_key(const struct report *report, const char *what)
{
    time_t seconds = (time_t)(report->capture_utc_us / FW_US_PER_S);
    int ms = (int)(report->capture_utc_us % FW_US_PER_S / FW_US_PER_MS);
    struct tm utc;
    if (!gmtime_r(&seconds, &utc))
        return NULL;
    char when[32];
    strftime(when, sizeof when, "%Y/%m/%d/%H%M%S", &utc);
    return fw_strdup_printf("%s/%s.%03d-t%llu-%s-%s.jpg", report->camera->id, when, ms,
                            (unsigned long long)report->track, kind_name(report->kind), what);
}

static int store_picture(struct fw_reporter *reporter, const struct report *report,
                         const struct fw_snapshot_picture *picture, const char *what, int index,
                         struct stored_snapshot *stored, struct fw_event_picture *out,
                         struct fw_error *error)
{
    struct fw_store *store = reporter->options.store;
    char *key = stored->keys[index] = snapshot_key(report, what);
    if (!key || !(stored->urls[index] = fw_store_url(store, key)))
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (!sha256_hex(picture->jpeg, stored->sha256[index]))
        return fw_fail(error, FW_EIO, "libcrypto refuses SHA-256; check the installation");
    int status = fw_store_put(store, key, picture->jpeg->data, picture->jpeg->length, "image/jpeg",
                              reporter->cancel, error);
    if (status < 0)
        return status;
    *out = (struct fw_event_picture){.key = key,
                                     .url = stored->urls[index],
                                     .sha256 = stored->sha256[index],
                                     .width = picture->width,
                                     .height = picture->height,
                                     .length = picture->jpeg->length};
    return FW_OK;
}

// Renders and stores the four pictures. EVENT's fields point into STORED.
static int store_snapshot(struct fw_reporter *reporter, const struct report *report,
                          struct stored_snapshot *stored, struct fw_event_snapshot *event,
                          struct fw_error *error)
{
    struct fw_snapshot rendered;
    int status = fw_snapshot_render(report->picture, report->faces, report->face_count,
                                    JPEG_QUALITY, &rendered, error);
    if (status < 0)
        return status;
    const struct {
        const char *what;
        const struct fw_snapshot_picture *picture;
        struct fw_event_picture *out;
    } parts[] = {
        {"full", &rendered.full, &event->full},
        {"full-annotated", &rendered.full_annotated, &event->full_annotated},
        {"face", &rendered.face, &event->face},
        {"face-annotated", &rendered.face_annotated, &event->face_annotated},
    };
    for (int i = 0; i < 4 && status == FW_OK; i++)
        status = store_picture(reporter, report, parts[i].picture, parts[i].what, i, stored,
                               parts[i].out, error);
    fw_snapshot_free(&rendered);
    return status;
}

static void free_stored(struct stored_snapshot *stored)
{
    for (int i = 0; i < 4; i++) {
        free(stored->keys[i]);
        free(stored->urls[i]);
    }
}

static void remember(struct fw_reporter *reporter, struct fw_event *event)
{
    pthread_mutex_lock(&reporter->lock);
    fw_event_unref(reporter->recent[reporter->recent_next]);
    reporter->recent[reporter->recent_next] = fw_event_ref(event);
    reporter->recent_next = (reporter->recent_next + 1) % RECENT_EVENTS;
    if (reporter->recent_count < RECENT_EVENTS)
        reporter->recent_count++;
    pthread_mutex_unlock(&reporter->lock);
}

static struct fw_event *build_event(const struct fw_reporter *reporter, const struct report *report,
                                    const struct fw_event_snapshot *snapshot)
{
    struct fw_event_face faces[MAX_FACES];
    for (int i = 0; i < report->face_count; i++)
        faces[i] = (struct fw_event_face){.track = report->faces[i].track,
                                          .face = report->faces[i].face,
                                          .quality = i == 0 ? report->quality : -1};
    const struct fw_event_input input = {
        .type = report->kind == FW_REPORT_APPEARED ? FW_EVENT_FACE_APPEARED : FW_EVENT_FACE_LEFT,
        .worker_id = reporter->options.config->worker.id,
        .camera_id = report->camera->id,
        .camera_name = report->camera->name,
        .camera_location = report->camera->location,
        .time_utc_us = report->capture_utc_us,
        .frame_width = report->frame_width,
        .frame_height = report->frame_height,
        .faces = faces,
        .face_count = (size_t)report->face_count,
        .track = report->track,
        .first_seen_utc_us = report->first_seen_utc_us,
        .last_seen_utc_us = report->last_seen_utc_us,
        .reason = report->reason,
        .snapshot = snapshot,
    };
    return fw_event_create(&input);
}

static void count_snapshot(struct fw_reporter *reporter, const struct report *report, int status,
                           const struct fw_error *error)
{
    const struct fw_log log = {reporter->options.log->logger, report->camera->id};
    if (status == FW_OK) {
        atomic_fetch_add(&reporter->snapshots_stored, 1);
        return;
    }
    atomic_fetch_add(&reporter->snapshots_failed, 1);
    fw_log_error(&log, "snapshot of track %llu not stored: %s", (unsigned long long)report->track,
                 error->message);
}

static void handle_report(struct fw_reporter *reporter, const struct report *report)
{
    struct stored_snapshot stored = {0};
    struct fw_event_snapshot snapshot = {.state = "failed"};
    if (report->picture && fw_cancel_is_set(reporter->cancel)) {
        atomic_fetch_add(&reporter->snapshots_skipped, 1);
    } else if (report->picture) {
        struct fw_error error = {0};
        int status = store_snapshot(reporter, report, &stored, &snapshot, &error);
        if (status == FW_OK)
            snapshot.state = "stored";
        count_snapshot(reporter, report, status, &error);
    }
    bool has_snapshot = report->picture || report->picture_skipped;
    struct fw_event *event = build_event(reporter, report, has_snapshot ? &snapshot : NULL);
    free_stored(&stored);
    const struct fw_log log = {reporter->options.log->logger, report->camera->id};
    if (!event || fw_dispatcher_post(reporter->options.dispatcher, event) < 0) {
        atomic_fetch_add(&reporter->lost, 1);
        fw_log_error(&log, "alert of track %llu lost: out of memory",
                     (unsigned long long)report->track);
        fw_event_unref(event);
        return;
    }
    atomic_fetch_add(&reporter->events, 1);
    fw_log_info(&log, "face %s: track %llu, score %.2f", kind_name(report->kind),
                (unsigned long long)report->track, (double)report->faces[0].face.score);
    remember(reporter, event);
    fw_event_unref(event);
}

static void run_reporter(void *opaque)
{
    struct fw_reporter *reporter = opaque;
    void *item = NULL;
    for (;;) {
        int status = fw_queue_take(reporter->queue, &item, SWEEP_INTERVAL_MS);
        if (status == FW_ECANCELED)
            break;
        if (status < 0) {
            // Nothing comes, so nothing is put: files age out all the same.
            if (reporter->options.store)
                fw_store_sweep(reporter->options.store);
            continue;
        }
        handle_report(reporter, item);
        free_report(item);
    }
    fw_cancel_trigger(reporter->done);
}

static void free_reporter(struct fw_reporter *reporter)
{
    fw_queue_destroy(reporter->queue);
    fw_cancel_destroy(reporter->cancel);
    fw_cancel_destroy(reporter->done);
    for (size_t i = 0; i < RECENT_EVENTS; i++)
        fw_event_unref(reporter->recent[i]);
    pthread_mutex_destroy(&reporter->lock);
    free(reporter);
}

int fw_reporter_start(struct fw_reporter **out, const struct fw_reporter_options *options,
                      struct fw_error *error)
{
    *out = NULL;
    struct fw_reporter *reporter = calloc(1, sizeof *reporter);
    if (!reporter)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (pthread_mutex_init(&reporter->lock, NULL)) {
        free(reporter);
        return fw_fail(error, FW_ENOMEM, "out of memory");
    }
    reporter->options = *options;
    const struct fw_queue_options queue = {
        .max_items = MAX_WAITING_REPORTS, .overflow = FW_QUEUE_REFUSE, .free_item = free_report};
    int status = FW_ENOMEM;
    reporter->queue = fw_queue_create(&queue);
    reporter->cancel = fw_cancel_create();
    reporter->done = fw_cancel_create();
    if (reporter->queue && reporter->cancel && reporter->done)
        status =
            fw_thread_start(&reporter->thread, "reporter", options->log, run_reporter, reporter);
    if (status < 0) {
        free_reporter(reporter);
        return fw_fail(error, status, "cannot start the reporter: %s", fw_status_text(status));
    }
    *out = reporter;
    return FW_OK;
}

static void copy_faces(struct report *copy, const struct fw_face_report *report)
{
    copy->faces[0] = (struct fw_overlay_face){.track = report->track, .face = report->face};
    copy->face_count = 1;
    for (int i = 0; i < report->other_count && copy->face_count < MAX_FACES; i++)
        copy->faces[copy->face_count++] =
            (struct fw_overlay_face){.track = report->other_tracks[i], .face = report->others[i]};
}

static void take_picture(struct fw_reporter *reporter, struct report *copy,
                         struct fw_frame *picture)
{
    if (!picture || !reporter->options.store)
        return;
    if (atomic_fetch_add(&reporter->waiting_pictures, 1) < MAX_WAITING_PICTURES) {
        copy->picture = fw_frame_ref(picture);
        return;
    }
    atomic_fetch_sub(&reporter->waiting_pictures, 1);
    atomic_fetch_add(&reporter->snapshots_skipped, 1);
    copy->picture_skipped = true;
}

void fw_reporter_face(struct fw_reporter *reporter, const struct fw_camera_config *camera,
                      const struct fw_face_report *report)
{
    struct report *copy = calloc(1, sizeof *copy);
    if (!copy) {
        atomic_fetch_add(&reporter->lost, 1);
        return;
    }
    copy->reporter = reporter;
    copy->camera = camera;
    copy->kind = report->kind;
    copy->track = report->track;
    copy->capture_utc_us = report->capture_utc_us;
    copy->first_seen_utc_us = report->first_seen_utc_us;
    copy->last_seen_utc_us = report->last_seen_utc_us;
    copy->reason = report->reason;
    copy->frame_width = report->frame_width;
    copy->frame_height = report->frame_height;
    copy->quality = report->quality;
    copy_faces(copy, report);
    take_picture(reporter, copy, report->picture);
    if (fw_queue_put(reporter->queue, copy, sizeof *copy) < 0) {
        atomic_fetch_add(&reporter->lost, 1);
        free_report(copy);
    }
}

char *fw_reporter_events_json(struct fw_reporter *reporter, int limit)
{
    struct fw_text text = FW_TEXT_INIT;
    fw_text_append(&text, "{\"events\":[");
    pthread_mutex_lock(&reporter->lock);
    for (size_t i = 0; i < reporter->recent_count && (int)i < limit; i++) {
        size_t index = (reporter->recent_next + RECENT_EVENTS - 1 - i) % RECENT_EVENTS;
        const struct fw_event *event = reporter->recent[index];
        fw_text_append(&text, i ? "," : "");
        fw_text_append_n(&text, event->json, event->json_length);
    }
    pthread_mutex_unlock(&reporter->lock);
    fw_text_append(&text, "]}");
    return fw_text_steal(&text);
}

struct fw_reporter_stats fw_reporter_get_stats(struct fw_reporter *reporter)
{
    return (struct fw_reporter_stats){
        .events = atomic_load(&reporter->events),
        .snapshots_stored = atomic_load(&reporter->snapshots_stored),
        .snapshots_failed = atomic_load(&reporter->snapshots_failed),
        .snapshots_skipped = atomic_load(&reporter->snapshots_skipped),
        .lost = atomic_load(&reporter->lost),
    };
}

// Until all is worked off, TIMEOUT_MS have passed or HURRY (may be NULL) was triggered.
static void wait_until_done(const struct fw_reporter *reporter, int64_t timeout_ms,
                            const struct fw_cancel *hurry)
{
    struct fw_deadline deadline = {.cancel = hurry};
    fw_deadline_set(&deadline, timeout_ms);
    (void)fw_deadline_poll(&deadline, fw_cancel_fd(reporter->done), POLLIN);
}

int fw_reporter_finish(struct fw_reporter *reporter, int64_t timeout_ms,
                       const struct fw_cancel *hurry)
{
    if (!reporter)
        return FW_OK;
    fw_queue_close(reporter->queue);
    wait_until_done(reporter, timeout_ms, hurry);
    fw_cancel_trigger(reporter->cancel);
    if (fw_cancel_wait(reporter->done, GIVE_UP_MS))
        return FW_OK;
    fw_log_error(reporter->options.log, "the reporter does not end: its disk hangs; left behind");
    return FW_ETIMEDOUT;
}

int fw_reporter_destroy(struct fw_reporter *reporter, int64_t timeout_ms)
{
    if (!reporter)
        return FW_OK;
    if (fw_reporter_finish(reporter, timeout_ms, NULL) < 0)
        return FW_ETIMEDOUT;
    fw_thread_join(reporter->thread, -1); // it has nothing left to do
    uint64_t lost = atomic_load(&reporter->lost);
    if (lost)
        fw_log_error(reporter->options.log, "%llu alerts were lost", (unsigned long long)lost);
    free_reporter(reporter);
    return FW_OK;
}
