#include "camera/best_shot.h"

#include "media/image.h"
#include "track/quality.h"
#include <stdlib.h>
#include <string.h>

#define BETTER       1.15f // a copy of the picture has to be worth it
#define MAX_PICTURES 8
#define MAX_SHOTS    256

struct fw_shot *fw_shots_find(struct fw_shots *shots, uint64_t track)
{
    for (int i = 0; i < shots->count; i++) {
        if (shots->items[i].track == track)
            return &shots->items[i];
    }
    return NULL;
}

static void remove_at(struct fw_shots *shots, int index)
{
    fw_frame_unref(shots->items[index].picture);
    shots->items[index] = shots->items[--shots->count];
}

void fw_shots_remove(struct fw_shots *shots, uint64_t track)
{
    struct fw_shot *shot = fw_shots_find(shots, track);

    if (shot)
        remove_at(shots, (int)(shot - shots->items));
}

void fw_shots_keep_only(struct fw_shots *shots, const struct fw_track *tracks, size_t track_count)
{
    for (int i = shots->count - 1; i >= 0; i--) {
        bool is_there = false;

        for (size_t j = 0; j < track_count && !is_there; j++)
            is_there = tracks[j].id == shots->items[i].track && tracks[j].state != FW_TRACK_ENDED;
        if (!is_there)
            remove_at(shots, i);
    }
}

void fw_shots_free(struct fw_shots *shots)
{
    while (shots->count > 0)
        remove_at(shots, shots->count - 1);
    free(shots->items);
    fw_frame_pool_unref(shots->pool);
    *shots = (struct fw_shots){0};
}

static struct fw_shot *add(struct fw_shots *shots, uint64_t track)
{
    if (shots->count == shots->capacity) {
        int capacity = shots->capacity ? shots->capacity * 2 : 4;
        struct fw_shot *items;

        if (capacity > MAX_SHOTS)
            return NULL;
        items = realloc(shots->items, (size_t)capacity * sizeof(*items));
        if (!items)
            return NULL;
        shots->items = items;
        shots->capacity = capacity;
    }
    shots->items[shots->count] =
        (struct fw_shot){.track = track, .quality = -1, .best_quality = -1};
    return &shots->items[shots->count++];
}

static int pictures_kept(const struct fw_shots *shots)
{
    int kept = 0;

    for (int i = 0; i < shots->count; i++)
        kept += shots->items[i].picture != NULL;
    return kept;
}

// Whether one picture more may be kept for SHOT; a confirmed track takes the place of one that is
// not.
static bool make_room(struct fw_shots *shots, const struct fw_shot *shot, bool is_confirmed)
{
    if (!shots->keeps_pictures)
        return false;
    if (shot->picture || pictures_kept(shots) < MAX_PICTURES)
        return true;
    for (int i = 0; is_confirmed && i < shots->count; i++) {
        struct fw_shot *other = &shots->items[i];

        if (other->picture && !other->is_reported && other != shot) {
            fw_frame_unref(other->picture);
            other->picture = NULL;
            return true;
        }
    }
    return false;
}

static bool is_seen(const struct fw_track *track, const struct fw_frame *frame)
{
    return track->state != FW_TRACK_ENDED && track->state != FW_TRACK_COASTED &&
           track->last_seen_us == frame->capture_mono_us;
}

static float quality_of(const struct fw_frame *frame, const struct fw_face *face)
{
    struct fw_quality_input input = {
        .face = face,
        .frame_width = frame->width,
        .frame_height = frame->height,
        .sharpness = fw_image_sharpness(frame, face->box),
        .brightness = fw_image_brightness(frame, face->box),
    };

    return fw_face_quality(&input).total;
}

static void describe(struct fw_shot *shot, const struct fw_frame *frame,
                     const struct fw_track *tracks, size_t track_count, const struct fw_track *own)
{
    shot->face = own->face;
    shot->capture_utc_us = frame->capture_utc_us;
    shot->frame_width = frame->width;
    shot->frame_height = frame->height;
    shot->other_count = 0;
    for (size_t i = 0; i < track_count && shot->other_count < FW_SHOT_OTHERS; i++) {
        if (&tracks[i] == own || !is_seen(&tracks[i], frame))
            continue;
        shot->others[shot->other_count] = tracks[i].face;
        shot->other_tracks[shot->other_count++] = tracks[i].id;
    }
}

static struct fw_frame_pool *pool_for(struct fw_shots *shots, const struct fw_frame *frame)
{
    if (shots->pool && shots->pool_format == frame->format && shots->pool_width == frame->width &&
        shots->pool_height == frame->height)
        return shots->pool;
    fw_frame_pool_unref(shots->pool);
    shots->pool = fw_frame_pool_create(frame->format, frame->width, frame->height);
    shots->pool_format = frame->format;
    shots->pool_width = frame->width;
    shots->pool_height = frame->height;
    return shots->pool;
}

static struct fw_frame *copy_of(struct fw_shots *shots, const struct fw_frame *frame)
{
    struct fw_frame_pool *pool = pool_for(shots, frame);
    struct fw_frame *copy = pool ? fw_frame_pool_get(pool) : NULL;

    if (copy && fw_frame_copy(copy, frame) != FW_OK) {
        fw_frame_unref(copy);
        copy = NULL;
    }
    return copy;
}

// Whether a picture of QUALITY is worth a copy.
static bool is_better(const struct fw_shots *shots, const struct fw_shot *shot, float quality)
{
    if (shot->quality < shots->min_quality && quality >= shots->min_quality)
        return true;
    return quality > shot->quality * (shot->quality > 0 ? BETTER : 1);
}

// COPY is made once a frame, by the first track that wants it.
static void consider(struct fw_shots *shots, struct fw_frame *frame, const struct fw_track *tracks,
                     size_t track_count, const struct fw_track *track, struct fw_frame **copy)
{
    struct fw_shot *shot = fw_shots_find(shots, track->id);
    bool is_confirmed = track->state == FW_TRACK_ACTIVE;
    float quality = quality_of(frame, &track->face);

    if (!shot)
        shot = add(shots, track->id);
    if (!shot)
        return;
    shot->latest_quality = quality;
    if (quality > shot->best_quality)
        shot->best_quality = quality;
    if (!is_better(shots, shot, quality))
        return;
    if (shots->keeps_pictures) {
        if (!make_room(shots, shot, is_confirmed))
            return;
        if (!*copy)
            *copy = copy_of(shots, frame);
        if (!*copy)
            return;
        fw_frame_unref(shot->picture);
        shot->picture = fw_frame_ref(*copy);
    }
    shot->quality = quality;
    describe(shot, frame, tracks, track_count, track);
}

void fw_shots_update(struct fw_shots *shots, struct fw_frame *frame, const struct fw_track *tracks,
                     size_t track_count)
{
    struct fw_frame *copy = NULL;

    for (size_t i = 0; i < track_count; i++) {
        if (is_seen(&tracks[i], frame))
            consider(shots, frame, tracks, track_count, &tracks[i], &copy);
    }
    fw_frame_unref(copy);
}
