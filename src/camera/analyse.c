#include "camera/analyse.h"

#include "camera/best_shot.h"
#include "camera/follow.h"
#include "camera/gate.h"
#include "camera/overlay.h"
#include "camera/rate.h"
#include "detect/pool.h"
#include "media/frame.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/condition.h"
#include "util/log.h"
#include <stdatomic.h>
#include <stdlib.h>

#define LOOK_MS     20 // how long a wait goes without a look at the cancel object
#define LOSSLESS_MS 10000
#define MARGIN_US   FW_US_PER_S

// A report with what it borrows, told after the lock was given back.
struct pending {
    struct fw_face_report report;
    struct fw_shot shot; // its picture is a reference of our own
};

struct pending_list {
    struct pending *items;
    size_t count, capacity;
};

// GATE is the source thread's. LOCK guards the rest: the pool's threads, the picture thread and
// readers of the status come in.
struct fw_analyse {
    struct fw_analyse_options options;
    struct fw_gate gate;

    struct fw_condition lock;      // signalled when an analysis has ended
    struct fw_pool_client *client; // NULL after the end
    struct fw_pool_stats stats;    // the client's last, once it is gone
    bool in_flight;                // a picture was submitted and is not done
    struct fw_tracker *tracker;
    const struct fw_track *tracks; // the tracker's, valid until it is called again
    size_t track_count;
    struct fw_follows follows; // one a track
    struct fw_shots shots;
    struct fw_faces allowed; // those of a picture that no zone excludes
    struct fw_rate rate;
    int width, height; // of the latest picture
    int64_t utc_minus_mono_us;
    int64_t lag_us, updated_us;
    uint64_t tracks_confirmed;
};

static void on_done(void *opaque, struct fw_frame *frame, const struct fw_faces *faces, int status,
                    const struct fw_error *error);

static int add_client(struct fw_analyse *analyse)
{
    const struct fw_camera_options *camera = analyse->options.camera;
    struct fw_pool_client_options options = {
        .model = camera->model,
        .precision = camera->precision,
        .isa = camera->isa,
        .input_size = camera->input_size,
        .parameters = camera->detect,
        .max_age_us = analyse->options.is_lossless ? 0 : camera->max_frame_age_ms * FW_US_PER_MS,
        .done = on_done,
        .opaque = analyse,
    };

    // Weak detections keep tracks alive; the tracker decides by them what begins one.
    if (camera->track.low_score > 0 && camera->track.low_score < options.parameters.min_score)
        options.parameters.min_score = camera->track.low_score;
    if (!analyse->options.pool)
        return FW_OK;
    analyse->client = fw_pool_client_add(analyse->options.pool, &options);
    return analyse->client ? FW_OK : FW_ENOMEM;
}

int fw_analyse_create(struct fw_analyse **analyse_out, const struct fw_analyse_options *options)
{
    const struct fw_camera_options *camera = options->camera;
    struct fw_analyse *analyse = calloc(1, sizeof(*analyse));

    *analyse_out = NULL;
    if (!analyse)
        return FW_ENOMEM;
    if (fw_condition_init(&analyse->lock)) {
        free(analyse);
        return FW_ENOMEM;
    }
    analyse->options = *options;
    analyse->shots.keeps_pictures = camera->wants_snapshots;
    analyse->shots.min_quality = camera->min_quality;
    fw_gate_init(&analyse->gate, camera->frame_skip, camera->analyze_fps);
    analyse->tracker = fw_tracker_create(&camera->track);
    if (!analyse->tracker || add_client(analyse)) {
        fw_analyse_destroy(analyse);
        return FW_ENOMEM;
    }
    *analyse_out = analyse;
    return FW_OK;
}

static void remove_client(struct fw_analyse *analyse)
{
    struct fw_pool_client *client;

    pthread_mutex_lock(&analyse->lock.mutex);
    client = analyse->client;
    if (client)
        analyse->stats = fw_pool_client_get_stats(client);
    analyse->client = NULL;
    pthread_mutex_unlock(&analyse->lock.mutex);
    fw_pool_client_remove(client); // not under the lock, which `done` takes
}

void fw_analyse_destroy(struct fw_analyse *analyse)
{
    if (!analyse)
        return;
    remove_client(analyse);
    fw_shots_free(&analyse->shots);
    fw_follows_free(&analyse->follows);
    fw_faces_free(&analyse->allowed);
    fw_tracker_destroy(analyse->tracker);
    fw_condition_destroy(&analyse->lock);
    free(analyse);
}

// ---- reports

static struct fw_follow_scene scene_of(const struct fw_analyse *analyse, int64_t time_us)
{
    const struct fw_camera_options *camera = analyse->options.camera;

    return (struct fw_follow_scene){
        .zones = camera->zones,
        .zone_count = camera->zone_count,
        .width = analyse->width,
        .height = analyse->height,
        .time_us = time_us,
    };
}

// What is told of a track that no picture was kept of.
static struct fw_shot bare_shot(const struct fw_analyse *analyse, const struct fw_track *track)
{
    return (struct fw_shot){
        .track = track->id,
        .face = track->face,
        .capture_utc_us = track->last_seen_us + analyse->utc_minus_mono_us,
        .frame_width = analyse->width,
        .frame_height = analyse->height,
    };
}

static void fill_report(struct fw_analyse *analyse, const struct fw_track *track,
                        enum fw_report_kind kind, const char *reason, struct pending *pending)
{
    const struct fw_follow *follow = fw_follows_find(&analyse->follows, track->id);
    struct fw_shot *shot = fw_shots_find(&analyse->shots, track->id);

    if (shot)
        shot->is_reported = true;
    if (shot && shot->quality >= 0) {
        pending->shot = *shot;
        if (shot->picture)
            pending->shot.picture = fw_frame_ref(shot->picture);
    } else {
        pending->shot = bare_shot(analyse, track);
    }
    pending->report = (struct fw_face_report){
        .kind = kind,
        .track = track->id,
        .zone = follow->zone,
        .first_box = follow->first_box,
        .last_box = follow->last_box,
        .still_us = follow->still_until_us - track->first_seen_us,
        .capture_utc_us = pending->shot.capture_utc_us,
        .first_seen_utc_us = track->first_seen_us + analyse->utc_minus_mono_us,
        .last_seen_utc_us = track->last_seen_us + analyse->utc_minus_mono_us,
        .reason = reason,
        .picture = pending->shot.picture,
        .frame_width = pending->shot.frame_width,
        .frame_height = pending->shot.frame_height,
        .face = pending->shot.face,
        .quality = pending->shot.quality,
        .other_count = pending->shot.other_count,
    };
}

// A track that found no place among the kept pictures still appears with the one it appears in.
static void lend_picture(struct fw_analyse *analyse, struct fw_frame *frame,
                         const struct fw_track *track, struct pending *pending)
{
    const struct fw_shot *shot = fw_shots_find(&analyse->shots, track->id);

    if (pending->shot.picture || !analyse->shots.keeps_pictures)
        return;
    pending->report.face = track->face;
    pending->report.quality = shot ? shot->latest_quality : 0;
    pending->report.capture_utc_us = frame->capture_utc_us;
    pending->report.frame_width = frame->width;
    pending->report.frame_height = frame->height;
    pending->report.other_count = 0;
    pending->shot.picture = fw_frame_ref(frame);
    pending->report.picture = frame;
}

// Room for all that one call of the tracker can change: every track that is followed ends, every
// face of FACES appears. The lock is held.
static int make_room(struct fw_analyse *analyse, size_t faces, struct pending_list *list)
{
    size_t capacity = analyse->follows.count + faces;

    if (fw_follows_reserve(&analyse->follows, faces))
        return FW_ENOMEM;
    list->items = capacity > 0 ? calloc(capacity, sizeof(*list->items)) : NULL;
    list->capacity = list->items ? capacity : 0;
    return list->capacity == capacity ? FW_OK : FW_ENOMEM;
}

static bool is_good_enough(struct fw_analyse *analyse, uint64_t track)
{
    const struct fw_shot *shot = fw_shots_find(&analyse->shots, track);

    // Without memory for the shot there is nothing to wait for.
    return !shot || shot->best_quality >= analyse->options.camera->min_quality;
}

// Whether TRACK, just seen, is to be told to have appeared; FOLLOW says so from then on.
static bool appears(struct fw_analyse *analyse, const struct fw_track *track,
                    struct fw_follow *follow)
{
    const struct fw_camera_options *camera = analyse->options.camera;
    const struct fw_follow_scene scene = scene_of(analyse, track->last_seen_us);

    if (follow->has_appeared ||
        !fw_follow_is_in_zone(follow, &scene, camera->track.confirm_hits, &follow->zone) ||
        !is_good_enough(analyse, track->id))
        return false;
    follow->has_appeared = true;
    follow->is_move_told = follow->has_strayed; // nobody will take it for a poster
    return true;
}

static bool has_just_moved(struct fw_follow *follow)
{
    if (!follow->has_appeared || !follow->has_strayed || follow->is_move_told)
        return false;
    follow->is_move_told = true;
    return true;
}

// What the tracker's latest call changed. FRAME is NULL when no picture was analysed. The lock is
// held.
static void collect(struct fw_analyse *analyse, struct fw_frame *frame, struct pending_list *list)
{
    for (size_t i = 0; i < analyse->track_count && list->count < list->capacity; i++) {
        const struct fw_track *track = &analyse->tracks[i];
        struct fw_follow *follow = fw_follows_find(&analyse->follows, track->id);
        struct pending *pending = &list->items[list->count];

        if (!follow)
            continue;
        if (frame && track->is_new && track->state != FW_TRACK_ENDED)
            analyse->tracks_confirmed++;
        if (track->state == FW_TRACK_ENDED && follow->has_appeared) {
            fill_report(analyse, track, FW_REPORT_LEFT, "lost", pending);
            list->count++;
        } else if (frame && track->state == FW_TRACK_ACTIVE) {
            bool is_new = appears(analyse, track, follow);
            if (!is_new && !has_just_moved(follow))
                continue;
            fill_report(analyse, track, is_new ? FW_REPORT_APPEARED : FW_REPORT_MOVED, NULL,
                        pending);
            lend_picture(analyse, frame, track, pending);
            list->count++;
        }
    }
}

// The lock is not held: listeners may ask for the status.
static void tell(struct fw_analyse *analyse, struct pending *pending)
{
    const struct fw_camera_listener *listener = analyse->options.listener;

    pending->report.others = pending->shot.others;
    pending->report.other_tracks = pending->shot.other_tracks;
    if (listener && listener->face)
        listener->face(listener->opaque, analyse->options.camera->id, &pending->report);
    fw_frame_unref(pending->shot.picture);
}

static void tell_all(struct fw_analyse *analyse, struct pending_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        tell(analyse, &list->items[i]);
    free(list->items);
}

// ---- analyses

static void forget_ended(struct fw_analyse *analyse)
{
    fw_shots_keep_only(&analyse->shots, analyse->tracks, analyse->track_count);
    fw_follows_keep_only(&analyse->follows, analyse->tracks, analyse->track_count);
}

// A refused call changed nothing; after one that ran out of memory the pointers are worth nothing.
static void forget_tracks(struct fw_analyse *analyse, int status)
{
    if (status == FW_EINVAL)
        return;
    analyse->tracks = NULL;
    analyse->track_count = 0;
}

// Leaves out what lies in excluding zones. *ALLOWED is FACES or the copy that ANALYSE keeps.
static int leave_out(struct fw_analyse *analyse, const struct fw_frame *frame,
                     const struct fw_faces *faces, const struct fw_faces **allowed)
{
    const struct fw_camera_options *camera = analyse->options.camera;
    int zone;

    *allowed = faces;
    if (camera->zone_count == 0)
        return FW_OK;
    *allowed = &analyse->allowed;
    fw_faces_clear(&analyse->allowed);
    for (size_t i = 0; i < faces->count; i++) {
        const struct fw_face *face = &faces->items[i];

        if (fw_zones_judge(camera->zones, camera->zone_count, face, frame->width, frame->height,
                           &zone) != FW_ZONE_EXCLUDED &&
            fw_faces_add(&analyse->allowed, face))
            return FW_ENOMEM;
    }
    return FW_OK;
}

static int update_tracks(struct fw_analyse *analyse, const struct fw_frame *frame,
                         const struct fw_faces *faces, struct pending_list *list)
{
    const struct fw_faces *allowed = NULL;
    int status = leave_out(analyse, frame, faces, &allowed);

    if (status == FW_OK)
        status = make_room(analyse, allowed->count, list);
    if (status)
        return status;
    status = fw_tracker_update(analyse->tracker, frame->capture_mono_us, allowed->items,
                               allowed->count, &analyse->tracks, &analyse->track_count);
    if (status)
        forget_tracks(analyse, status);
    return status;
}

static int track_faces(struct fw_analyse *analyse, struct fw_frame *frame,
                       const struct fw_faces *faces, struct pending_list *list)
{
    int64_t now_us = fw_monotonic_us();
    int status = update_tracks(analyse, frame, faces, list);
    struct fw_follow_scene scene;

    if (status)
        return status;
    analyse->updated_us = now_us;
    analyse->width = frame->width;
    analyse->height = frame->height;
    analyse->utc_minus_mono_us = frame->capture_utc_us - frame->capture_mono_us;
    analyse->lag_us = fw_utc_us() - frame->capture_utc_us;
    fw_rate_count(&analyse->rate, now_us);
    scene = scene_of(analyse, frame->capture_mono_us);
    fw_follows_update(&analyse->follows, &scene, analyse->tracks, analyse->track_count);
    fw_shots_update(&analyse->shots, frame, analyse->tracks, analyse->track_count);
    collect(analyse, frame, list);
    forget_ended(analyse);
    return FW_OK;
}

static void on_done(void *opaque, struct fw_frame *frame, const struct fw_faces *faces, int status,
                    const struct fw_error *error)
{
    struct fw_analyse *analyse = opaque;
    struct pending_list list = {0};

    if (status)
        fw_log_warning(analyse->options.log, "a picture could not be analysed: %s", error->message);
    pthread_mutex_lock(&analyse->lock.mutex);
    if (status == FW_OK)
        status = track_faces(analyse, frame, faces, &list);
    pthread_mutex_unlock(&analyse->lock.mutex);
    if (status == FW_ENOMEM)
        fw_log_error(analyse->options.log, "faces were not tracked: out of memory");
    tell_all(analyse, &list);
    pthread_mutex_lock(&analyse->lock.mutex);
    analyse->in_flight = false;
    pthread_cond_broadcast(&analyse->lock.changed);
    pthread_mutex_unlock(&analyse->lock.mutex);
}

void fw_analyse_wait(struct fw_analyse *analyse, int64_t timeout_ms)
{
    int64_t until_us = fw_condition_until_us(timeout_ms);

    pthread_mutex_lock(&analyse->lock.mutex);
    // The pool says nothing of pictures that it drops, so it is asked now and then.
    while (analyse->in_flight && fw_pool_client_is_busy(analyse->client) &&
           fw_monotonic_us() < until_us && !fw_cancel_is_set(analyse->options.cancel))
        fw_condition_wait(&analyse->lock, fw_condition_until_us(LOOK_MS));
    analyse->in_flight = false;
    pthread_mutex_unlock(&analyse->lock.mutex);
}

void fw_analyse_frame(struct fw_analyse *analyse, struct fw_frame *frame)
{
    if (!analyse->client || !fw_gate_passes(&analyse->gate, frame->capture_mono_us))
        return;
    if (analyse->options.is_lossless)
        fw_analyse_wait(analyse, LOSSLESS_MS);
    pthread_mutex_lock(&analyse->lock.mutex);
    analyse->in_flight = true;
    pthread_mutex_unlock(&analyse->lock.mutex);
    fw_pool_submit(analyse->client, frame);
}

void fw_analyse_advance(struct fw_analyse *analyse, int64_t now_us)
{
    struct pending_list list = {0};

    if (analyse->options.is_lossless)
        return;
    pthread_mutex_lock(&analyse->lock.mutex);
    // A margin, because a picture that was taken just before now may still be on its way.
    if (analyse->client && !fw_pool_client_is_busy(analyse->client) && analyse->updated_us &&
        now_us - analyse->updated_us > 2 * MARGIN_US && make_room(analyse, 0, &list) == FW_OK) {
        int status = fw_tracker_advance(analyse->tracker, now_us - MARGIN_US, &analyse->tracks,
                                        &analyse->track_count);
        if (status) {
            forget_tracks(analyse, status);
        } else {
            collect(analyse, NULL, &list);
            forget_ended(analyse);
        }
    }
    pthread_mutex_unlock(&analyse->lock.mutex);
    tell_all(analyse, &list);
}

// ---- what others read

static bool is_shown(const struct fw_track *track)
{
    return track->state == FW_TRACK_ACTIVE || track->state == FW_TRACK_COASTED;
}

int fw_analyse_faces(struct fw_analyse *analyse, int64_t time_us, struct fw_overlay_face *faces,
                     int max)
{
    int count = 0;

    pthread_mutex_lock(&analyse->lock.mutex);
    for (size_t i = 0; i < analyse->track_count && count < max; i++) {
        const struct fw_track *track = &analyse->tracks[i];

        if (!is_shown(track))
            continue;
        faces[count].track = track->id;
        faces[count].face = track->face;
        faces[count].face.box = fw_track_box_at(analyse->tracker, track, time_us);
        faces[count].face.has_landmarks = 0; // they were not moved along
        faces[count].is_coasted = track->state == FW_TRACK_COASTED;
        count++;
    }
    pthread_mutex_unlock(&analyse->lock.mutex);
    return count;
}

void fw_analyse_get_status(struct fw_analyse *analyse, struct fw_camera_status *status)
{
    pthread_mutex_lock(&analyse->lock.mutex);
    if (analyse->client)
        analyse->stats = fw_pool_client_get_stats(analyse->client);
    status->frames_analysed = analyse->stats.analysed;
    status->frames_dropped_age = analyse->stats.dropped_age;
    status->frames_dropped_newer = analyse->stats.dropped_newer;
    status->analyses_fps = fw_rate_get(&analyse->rate, fw_monotonic_us());
    status->analysis_lag_us = analyse->lag_us;
    status->tracks_confirmed = analyse->tracks_confirmed;
    status->faces = 0;
    for (size_t i = 0; i < analyse->track_count; i++)
        status->faces += is_shown(&analyse->tracks[i]);
    pthread_mutex_unlock(&analyse->lock.mutex);
}

void fw_analyse_end(struct fw_analyse *analyse)
{
    fw_analyse_wait(analyse, LOSSLESS_MS);
    remove_client(analyse);
    // No analysis comes any more, so the tracks stay as they are without the lock.
    for (size_t i = 0; i < analyse->track_count; i++) {
        const struct fw_track *track = &analyse->tracks[i];
        const struct fw_follow *follow = fw_follows_find(&analyse->follows, track->id);
        struct pending pending;

        if (!is_shown(track) || !follow || !follow->has_appeared)
            continue;
        pthread_mutex_lock(&analyse->lock.mutex);
        fill_report(analyse, track, FW_REPORT_LEFT, "camera_stopped", &pending);
        pthread_mutex_unlock(&analyse->lock.mutex);
        tell(analyse, &pending);
    }
    pthread_mutex_lock(&analyse->lock.mutex);
    analyse->tracks = NULL;
    analyse->track_count = 0;
    fw_shots_free(&analyse->shots);
    fw_follows_free(&analyse->follows);
    pthread_mutex_unlock(&analyse->lock.mutex);
}
