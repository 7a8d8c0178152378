#include "app/reporter.h"
#include "alert/event.h"
#include "alert/presence.h"
#include "app/report.h"
#include "app/told.h"
#include "media/frame.h"
#include "storage/spool.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/queue.h"
#include "util/text.h"
#include "util/thread.h"
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_WAITING_REPORTS = 4096,
    // Beside them, for what nobody tells again: faces that leave, and cameras' states.
    MAX_WAITING_ENDS = 4096,
    // A 1080p picture is 3 MB; so many may wait for a slow disk.
    MAX_WAITING_PICTURES = 16,
    TICK_MS = 250, // how exactly debounced states and heartbeats are told
    SWEEP_INTERVAL_US = 60000000,
    // A picture that is being rendered or written when the time is over ends within it.
    GIVE_UP_MS = 200,
};

// What a camera's state was told to be. For the reporter's thread alone, but for `suppressed`.
struct watched_camera {
    struct fw_presence_filter presence;
    char reason[256]; // of the latest state
    int64_t since_utc_us;
    struct fw_schedule *schedule;
    int64_t *zone_cooldown_us;
    _Atomic uint64_t suppressed[FW_SUPPRESSIONS];
};

// What goes through the queue: a face, or a camera's state.
struct item {
    struct fw_reporter *reporter;
    struct fw_report *face;                // or NULL:
    const struct fw_camera_config *camera; // is in
    enum fw_presence presence;
    char reason[256];
    int64_t utc_us;
};

// Owner: the daemon. What is not atomic belongs to the reporter's thread from the start to the end.
struct fw_reporter {
    struct fw_reporter_options options;
    struct fw_queue *queue;
    struct fw_cancel *cancel; // gives up pictures
    struct fw_cancel *done;   // triggered by the thread when all is worked off
    struct fw_thread *thread;
    struct watched_camera *cameras; // one a camera of the configuration
    struct fw_policy_camera *policies;
    struct fw_policy *policy;
    struct fw_told told;
    int64_t started_utc_us, heartbeat_us, swept_us;
    atomic_int waiting_pictures;
    _Atomic uint64_t events, snapshots_made, snapshots_failed, snapshots_skipped, lost;
};

static void free_item(void *opaque)
{
    struct item *item = opaque;
    if (item->face && item->face->picture) {
        atomic_fetch_sub(&item->reporter->waiting_pictures, 1);
        fw_frame_unref(item->face->picture);
    }
    free(item->face);
    free(item);
}

static size_t index_of(const struct fw_reporter *reporter, const struct fw_camera_config *camera)
{
    return (size_t)(camera - reporter->options.config->cameras);
}

static struct fw_log log_of(const struct fw_reporter *reporter,
                            const struct fw_camera_config *camera)
{
    return (struct fw_log){reporter->options.log->logger, camera->id};
}

// Takes EVENT over; NULL: it could not be made.
static bool post(struct fw_reporter *reporter, struct fw_event *event)
{
    bool is_posted = event && fw_outbox_post(reporter->options.outbox, event) == FW_OK;
    atomic_fetch_add(is_posted ? &reporter->events : &reporter->lost, 1);
    if (!is_posted)
        fw_log_error(reporter->options.log, "an event was lost: %s",
                     event ? "the outbox is closed" : "out of memory");
    fw_event_unref(event);
    return is_posted;
}

static struct fw_event_camera speaker(const struct fw_reporter *reporter,
                                      const struct fw_camera_config *camera)
{
    return (struct fw_event_camera){.worker_id = reporter->options.config->worker.id,
                                    .camera_id = camera->id,
                                    .name = camera->name,
                                    .location = camera->location};
}

// --- faces ---

static struct fw_event *face_event(const struct fw_reporter *reporter,
                                   const struct fw_report *report, const char *appeared_id,
                                   const struct fw_event_snapshot *snapshot)
{
    struct fw_event_face faces[FW_REPORT_FACES];
    for (int i = 0; i < report->face_count; i++)
        faces[i] = (struct fw_event_face){.track = report->faces[i].track,
                                          .face = report->faces[i].face,
                                          .quality = i == 0 ? report->quality : -1};
    const struct fw_event_input input = {
        .type = report->kind == FW_REPORT_LEFT ? FW_EVENT_FACE_LEFT : FW_EVENT_FACE_APPEARED,
        .camera = speaker(reporter, report->camera),
        .time_utc_us = report->capture_utc_us,
        .frame_width = report->frame_width,
        .frame_height = report->frame_height,
        .faces = faces,
        .face_count = (size_t)report->face_count,
        .track = report->track,
        .appeared_id = appeared_id,
        .zone = report->zone >= 0 ? report->camera->zones[report->zone].name : NULL,
        .first_seen_utc_us = report->first_seen_utc_us,
        .last_seen_utc_us = report->last_seen_utc_us,
        .reason = report->reason,
        .snapshot = snapshot,
    };
    return fw_event_create(&input);
}

static void make_snapshot(struct fw_reporter *reporter, const struct fw_report *report,
                          struct fw_report_snapshot *snapshot)
{
    const struct fw_log log = log_of(reporter, report->camera);
    struct fw_error error = {0};
    if (fw_cancel_is_set(reporter->cancel)) {
        atomic_fetch_add(&reporter->snapshots_skipped, 1);
        return;
    }
    const char *prefix = reporter->options.config->s3.prefix;
    const struct fw_report_place place = {.spool = reporter->options.spool,
                                          .key_prefix = prefix ? prefix : ""};
    if (fw_report_snapshot_make(snapshot, report, &place, &error) == FW_OK) {
        atomic_fetch_add(&reporter->snapshots_made, 1);
        return;
    }
    atomic_fetch_add(&reporter->snapshots_failed, 1);
    fw_log_error(&log, "snapshot of track %llu not stored: %s", (unsigned long long)report->track,
                 error.message);
}

// APPEARED_ID: as in struct fw_event_input.
static void tell_face(struct fw_reporter *reporter, const struct fw_report *report,
                      const char *appeared_id)
{
    struct fw_report_snapshot snapshot = {.event.state = "failed"};
    if (report->picture)
        make_snapshot(reporter, report, &snapshot);
    bool has_snapshot = report->picture || report->picture_skipped;
    struct fw_event *event =
        face_event(reporter, report, appeared_id, has_snapshot ? &snapshot.event : NULL);
    fw_report_snapshot_free(&snapshot);
    char id[sizeof event->id] = "";
    if (event)
        memcpy(id, event->id, sizeof id);
    if (!post(reporter, event))
        return;
    const struct fw_log log = log_of(reporter, report->camera);
    fw_log_info(&log, "face %s: track %llu, score %.2f", fw_report_kind_name(report->kind),
                (unsigned long long)report->track, (double)report->faces[0].face.score);
    // Without memory for it the track's end is told at the next start of the worker.
    if (!appeared_id && fw_told_add(&reporter->told, report->camera, report->track, id) < 0)
        fw_log_error(&log, "track %llu will not be told to leave: out of memory",
                     (unsigned long long)report->track);
}

static struct fw_policy_face policy_face(const struct fw_reporter *reporter,
                                         const struct fw_report *report)
{
    return (struct fw_policy_face){
        .camera = index_of(reporter, report->camera),
        .track = report->track,
        .zone = report->zone,
        .first_box = report->first_box,
        .box = report->last_box,
        .still_us = report->still_us,
        .width = report->frame_width,
        .height = report->frame_height,
        .first_seen_us =
            report->reported_us - (report->last_seen_utc_us - report->first_seen_utc_us),
        .now_us = report->reported_us,
        .now_utc_us = report->capture_utc_us,
    };
}

static void handle_appeared(struct fw_reporter *reporter, const struct fw_report *report)
{
    const struct fw_policy_face face = policy_face(reporter, report);
    enum fw_suppression verdict = fw_policy_appeared(reporter->policy, &face);
    if (verdict == FW_PASSED) {
        tell_face(reporter, report, NULL);
        return;
    }
    const struct fw_log log = log_of(reporter, report->camera);
    atomic_fetch_add(&reporter->cameras[face.camera].suppressed[verdict], 1);
    fw_log_debug(&log, "track %llu is not told: %s", (unsigned long long)report->track,
                 fw_suppression_name(verdict));
}

// No poster after all.
static void handle_moved(struct fw_reporter *reporter, const struct fw_report *report)
{
    const struct fw_policy_face face = policy_face(reporter, report);
    if (fw_policy_moved(reporter->policy, &face))
        tell_face(reporter, report, NULL);
}

static void handle_left(struct fw_reporter *reporter, const struct fw_report *report)
{
    const struct fw_policy_face face = policy_face(reporter, report);
    char appeared_id[sizeof((struct fw_event *)0)->id];
    fw_policy_left(reporter->policy, &face);
    if (fw_told_take(&reporter->told, report->camera, report->track, appeared_id))
        tell_face(reporter, report, appeared_id);
}

static void handle_face(struct fw_reporter *reporter, const struct fw_report *report)
{
    switch (report->kind) {
    case FW_REPORT_APPEARED:
        handle_appeared(reporter, report);
        break;
    case FW_REPORT_MOVED:
        handle_moved(reporter, report);
        break;
    case FW_REPORT_LEFT:
        handle_left(reporter, report);
        break;
    }
}

// --- cameras and the worker ---

static enum fw_presence presence_of(enum fw_camera_state state)
{
    switch (state) {
    case FW_CAMERA_LIVE:
        return FW_PRESENCE_ONLINE;
    case FW_CAMERA_STALLED:
        return FW_PRESENCE_STALLED;
    case FW_CAMERA_CONNECTING:
    case FW_CAMERA_BACKOFF:
    case FW_CAMERA_STOPPED:
        break;
    }
    return FW_PRESENCE_OFFLINE;
}

static const char *presence_name(enum fw_presence presence)
{
    static const char *const names[] = {NULL, "online", "stalled", "offline"};
    return names[presence];
}

static void handle_state(struct fw_reporter *reporter, const struct item *item)
{
    struct watched_camera *camera = &reporter->cameras[index_of(reporter, item->camera)];
    if (camera->presence.current != item->presence)
        camera->since_utc_us = item->utc_us;
    memcpy(camera->reason, item->reason, sizeof camera->reason);
    fw_presence_set(&camera->presence, item->presence, fw_monotonic_us());
}

static void tell_state(struct fw_reporter *reporter, const struct fw_camera_config *config,
                       const struct watched_camera *camera, enum fw_presence previous)
{
    static const char *const types[] = {NULL, FW_EVENT_CAMERA_ONLINE, FW_EVENT_CAMERA_STALLED,
                                        FW_EVENT_CAMERA_OFFLINE};
    const struct fw_event_state_input input = {
        .type = types[camera->presence.told],
        .camera = speaker(reporter, config),
        .time_utc_us = camera->since_utc_us,
        .reason = camera->presence.told == FW_PRESENCE_ONLINE ? "" : camera->reason,
        .previous = presence_name(previous),
    };
    (void)post(reporter, fw_event_create_state(&input));
}

static void tell_states(struct fw_reporter *reporter)
{
    const struct fw_config *config = reporter->options.config;
    for (size_t i = 0; i < config->camera_count; i++) {
        const struct fw_alerts_config *alerts = &config->cameras[i].alerts;
        struct watched_camera *camera = &reporter->cameras[i];
        enum fw_presence previous;
        int64_t debounce_us = (int64_t)(alerts->camera_debounce_s * (double)FW_US_PER_S);
        if (alerts->camera_events &&
            fw_presence_due(&camera->presence, fw_monotonic_us(), debounce_us, &previous))
            tell_state(reporter, &config->cameras[i], camera, previous);
    }
}

static void tell_worker(struct fw_reporter *reporter, const char *type)
{
    const struct fw_config *config = reporter->options.config;
    struct fw_outbox_stats outbox;
    fw_outbox_get_stats(reporter->options.outbox, &outbox);
    struct fw_event_worker_input input = {
        .type = type,
        .worker_id = config->worker.id,
        .version = FW_VERSION,
        .time_utc_us = fw_utc_us(),
        .started_utc_us = reporter->started_utc_us,
        .events_waiting = outbox.waiting,
    };
    for (size_t i = 0; i < config->camera_count; i++) {
        input.cameras += config->cameras[i].enabled;
        input.cameras_live += reporter->cameras[i].presence.current == FW_PRESENCE_ONLINE;
    }
    (void)post(reporter, fw_event_create_worker(&input));
}

// What time alone brings.
static void tick(struct fw_reporter *reporter)
{
    int64_t now_us = fw_monotonic_us();
    int64_t heartbeat_us = reporter->options.config->worker.heartbeat_s * FW_US_PER_S;
    tell_states(reporter);
    if (heartbeat_us > 0 && now_us - reporter->heartbeat_us >= heartbeat_us) {
        // By the clock, however late this tick is.
        reporter->heartbeat_us += (now_us - reporter->heartbeat_us) / heartbeat_us * heartbeat_us;
        tell_worker(reporter, FW_EVENT_WORKER_HEARTBEAT);
    }
    // Nothing comes, so nothing is put: files age out all the same.
    if (reporter->options.spool && now_us - reporter->swept_us >= SWEEP_INTERVAL_US) {
        reporter->swept_us = now_us;
        fw_spool_sweep(reporter->options.spool);
    }
}

static void handle(struct fw_reporter *reporter, const struct item *item)
{
    if (item->face)
        handle_face(reporter, item->face);
    else
        handle_state(reporter, item);
}

static void run_reporter(void *opaque)
{
    struct fw_reporter *reporter = opaque;
    void *item = NULL;
    int status;
    if (reporter->options.config->worker.heartbeat_s > 0)
        tell_worker(reporter, FW_EVENT_WORKER_STARTED);
    while ((status = fw_queue_take(reporter->queue, &item, TICK_MS)) != FW_ECANCELED) {
        if (status == FW_OK) {
            handle(reporter, item);
            free_item(item);
        }
        tick(reporter);
    }
    fw_cancel_trigger(reporter->done);
}

// --- start and end ---

static int64_t us_of(double seconds)
{
    return (int64_t)(seconds * (double)FW_US_PER_S);
}

static int make_zone_cooldowns(struct watched_camera *camera, const struct fw_camera_config *config)
{
    camera->zone_cooldown_us = calloc(config->zone_count + 1, sizeof *camera->zone_cooldown_us);
    if (!camera->zone_cooldown_us)
        return FW_ENOMEM;
    for (size_t i = 0; i < config->zone_count; i++)
        camera->zone_cooldown_us[i] =
            config->zones[i].cooldown_s < 0 ? -1 : us_of(config->zones[i].cooldown_s);
    return FW_OK;
}

static int make_camera(struct fw_reporter *reporter, size_t index, struct fw_error *error)
{
    const struct fw_camera_config *config = &reporter->options.config->cameras[index];
    const struct fw_alerts_config *alerts = &config->alerts;
    struct watched_camera *camera = &reporter->cameras[index];
    if (make_zone_cooldowns(camera, config) < 0)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (alerts->span_count > 0) {
        int status = fw_schedule_create(&camera->schedule, alerts->spans, alerts->span_count,
                                        alerts->time_zone, error);
        if (status < 0)
            return status;
    }
    reporter->policies[index] = (struct fw_policy_camera){
        .id = config->id,
        .cooldown_us = us_of(alerts->cooldown_s),
        .zone_cooldown_us = camera->zone_cooldown_us,
        .zone_count = config->zone_count,
        .schedule = camera->schedule,
        .max_per_minute = alerts->max_per_minute,
        .static_after_us = us_of(alerts->static_after_s),
    };
    return FW_OK;
}

static int make_policy(struct fw_reporter *reporter, struct fw_error *error)
{
    const struct fw_config *config = reporter->options.config;
    reporter->cameras = calloc(config->camera_count, sizeof *reporter->cameras);
    reporter->policies = calloc(config->camera_count, sizeof *reporter->policies);
    if (!reporter->cameras || !reporter->policies)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    for (size_t i = 0; i < config->camera_count; i++) {
        int status = make_camera(reporter, i, error);
        if (status < 0)
            return status;
    }
    const struct fw_policy_options options = {.cameras = reporter->policies,
                                              .camera_count = config->camera_count,
                                              .max_per_minute =
                                                  config->alerts.worker_max_per_minute};
    reporter->policy = fw_policy_create(&options);
    return reporter->policy ? FW_OK : fw_fail(error, FW_ENOMEM, "out of memory");
}

static void free_reporter(struct fw_reporter *reporter)
{
    fw_queue_destroy(reporter->queue);
    fw_cancel_destroy(reporter->cancel);
    fw_cancel_destroy(reporter->done);
    fw_policy_destroy(reporter->policy);
    for (size_t i = 0; reporter->cameras && i < reporter->options.config->camera_count; i++) {
        fw_schedule_destroy(reporter->cameras[i].schedule);
        free(reporter->cameras[i].zone_cooldown_us);
    }
    free(reporter->cameras);
    free(reporter->policies);
    free(reporter->told.items);
    free(reporter);
}

static int start_thread(struct fw_reporter *reporter, struct fw_error *error)
{
    const struct fw_queue_options queue = {.max_items = MAX_WAITING_REPORTS + MAX_WAITING_ENDS,
                                           .overflow = FW_QUEUE_REFUSE,
                                           .free_item = free_item};
    int status = FW_ENOMEM;
    reporter->queue = fw_queue_create(&queue);
    reporter->cancel = fw_cancel_create();
    reporter->done = fw_cancel_create();
    if (reporter->queue && reporter->cancel && reporter->done)
        status = fw_thread_start(&reporter->thread, "reporter", reporter->options.log, run_reporter,
                                 reporter);
    return status < 0
               ? fw_fail(error, status, "cannot start the reporter: %s", fw_status_text(status))
               : FW_OK;
}

int fw_reporter_start(struct fw_reporter **out, const struct fw_reporter_options *options,
                      struct fw_error *error)
{
    *out = NULL;
    struct fw_reporter *reporter = calloc(1, sizeof *reporter);
    if (!reporter)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    reporter->options = *options;
    reporter->started_utc_us = fw_utc_us();
    reporter->heartbeat_us = reporter->swept_us = fw_monotonic_us();
    int status = make_policy(reporter, error);
    if (status == FW_OK)
        status = start_thread(reporter, error);
    if (status < 0) {
        free_reporter(reporter);
        return status;
    }
    *out = reporter;
    return FW_OK;
}

// --- what others hand over ---

static void take_picture(struct fw_reporter *reporter, struct fw_report *report,
                         struct fw_frame *picture)
{
    if (!picture || !reporter->options.spool)
        return;
    if (atomic_fetch_add(&reporter->waiting_pictures, 1) < MAX_WAITING_PICTURES) {
        report->picture = fw_frame_ref(picture);
        return;
    }
    atomic_fetch_sub(&reporter->waiting_pictures, 1);
    atomic_fetch_add(&reporter->snapshots_skipped, 1);
    report->picture_skipped = true;
}

static bool is_refused(struct fw_reporter *reporter, const struct item *item)
{
    return item->face && item->face->kind != FW_REPORT_LEFT &&
           fw_queue_get_stats(reporter->queue).items >= MAX_WAITING_REPORTS;
}

static void put_item(struct fw_reporter *reporter, struct item *item)
{
    if (!is_refused(reporter, item) && fw_queue_put(reporter->queue, item, sizeof *item) == FW_OK)
        return;
    atomic_fetch_add(&reporter->lost, item->face != NULL);
    free_item(item);
}

void fw_reporter_face(struct fw_reporter *reporter, const struct fw_camera_config *camera,
                      const struct fw_face_report *face)
{
    struct item *item = calloc(1, sizeof *item);
    struct fw_report *report = fw_report_create(camera, face);
    if (!item || !report) {
        atomic_fetch_add(&reporter->lost, 1);
        free(item);
        free(report);
        return;
    }
    *item = (struct item){.reporter = reporter, .face = report, .camera = camera};
    take_picture(reporter, report, face->picture);
    put_item(reporter, item);
}

void fw_reporter_camera(struct fw_reporter *reporter, const struct fw_camera_config *camera,
                        enum fw_camera_state state, const char *reason, int64_t utc_us)
{
    // Stopped is what we told it to be.
    struct item *item = state == FW_CAMERA_STOPPED ? NULL : calloc(1, sizeof *item);
    if (!item)
        return;
    item->reporter = reporter;
    item->camera = camera;
    item->presence = presence_of(state);
    item->utc_us = utc_us;
    snprintf(item->reason, sizeof item->reason, "%s", reason);
    put_item(reporter, item);
}

struct fw_reporter_stats fw_reporter_get_stats(struct fw_reporter *reporter)
{
    return (struct fw_reporter_stats){
        .events = atomic_load(&reporter->events),
        .snapshots_made = atomic_load(&reporter->snapshots_made),
        .snapshots_failed = atomic_load(&reporter->snapshots_failed),
        .snapshots_skipped = atomic_load(&reporter->snapshots_skipped),
        .lost = atomic_load(&reporter->lost),
    };
}

uint64_t fw_reporter_suppressed(struct fw_reporter *reporter, const struct fw_camera_config *camera,
                                enum fw_suppression reason)
{
    return atomic_load(&reporter->cameras[index_of(reporter, camera)].suppressed[reason]);
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
