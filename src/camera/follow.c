#include "camera/follow.h"

#include "util/error.h"
#include <math.h>
#include <stdlib.h>

#define SMOOTHING  0.3f // the share of the latest detection
#define STILL      0.2f // of the width: what detectors' boxes jitter by, and no living head keeps to
#define LEFT_PLACE 0.5f // of the width

int fw_follows_reserve(struct fw_follows *follows, size_t more)
{
    size_t needed = follows->count + more;
    struct fw_follow *items;

    if (needed <= follows->capacity)
        return FW_OK;
    items = realloc(follows->items, needed * sizeof(*items));
    if (!items)
        return FW_ENOMEM;
    follows->items = items;
    follows->capacity = needed;
    return FW_OK;
}

struct fw_follow *fw_follows_find(struct fw_follows *follows, uint64_t track)
{
    for (size_t i = 0; i < follows->count; i++) {
        if (follows->items[i].track == track)
            return &follows->items[i];
    }
    return NULL;
}

static struct fw_follow *add(struct fw_follows *follows, const struct fw_track *track)
{
    struct fw_follow *follow;

    if (follows->count == follows->capacity)
        return NULL;
    follow = &follows->items[follows->count++];
    *follow = (struct fw_follow){
        .track = track->id,
        .zone = -1,
        .first_box = track->face.box,
        .smooth = track->face.box,
        .is_still = true,
    };
    return follow;
}

static float mix(float old, float latest)
{
    return old + SMOOTHING * (latest - old);
}

// How far FOLLOW has come from where it began, or grown or shrunk, in widths.
static float wander(const struct fw_follow *follow)
{
    const struct fw_box *first = &follow->first_box, *now = &follow->smooth;
    float dx = (now->x + now->w / 2) - (first->x + first->w / 2);
    float dy = (now->y + now->h / 2) - (first->y + first->h / 2);

    return fmaxf(hypotf(dx, dy), fabsf(now->w - first->w)) / fmaxf(first->w, 1);
}

static void move(struct fw_follow *follow, const struct fw_box *box, int64_t time_us)
{
    float distance;

    follow->last_box = *box;
    follow->smooth.x = mix(follow->smooth.x, box->x);
    follow->smooth.y = mix(follow->smooth.y, box->y);
    follow->smooth.w = mix(follow->smooth.w, box->w);
    follow->smooth.h = mix(follow->smooth.h, box->h);
    distance = wander(follow);
    follow->is_still = follow->is_still && distance <= STILL;
    follow->has_strayed = follow->has_strayed || distance > LEFT_PLACE;
    if (follow->is_still)
        follow->still_until_us = time_us;
}

static bool is_seen(const struct fw_track *track, int64_t time_us)
{
    return track->state != FW_TRACK_ENDED && track->state != FW_TRACK_COASTED &&
           track->last_seen_us == time_us;
}

void fw_follows_update(struct fw_follows *follows, const struct fw_follow_scene *scene,
                       const struct fw_track *tracks, size_t track_count)
{
    for (size_t i = 0; i < track_count; i++) {
        struct fw_follow *follow = fw_follows_find(follows, tracks[i].id);
        int zone;

        if (!is_seen(&tracks[i], scene->time_us))
            continue;
        if (!follow)
            follow = add(follows, &tracks[i]);
        if (!follow)
            continue;
        move(follow, &tracks[i].face.box, scene->time_us);
        if (fw_zones_judge(scene->zones, scene->zone_count, &tracks[i].face, scene->width,
                           scene->height, &zone) == FW_ZONE_INSIDE)
            follow->zone_hits[zone]++;
    }
}

bool fw_follow_is_in_zone(const struct fw_follow *follow, const struct fw_follow_scene *scene,
                          int hits, int *zone)
{
    bool is_anywhere = true;

    *zone = -1;
    for (size_t i = 0; i < scene->zone_count; i++) {
        if (scene->zones[i].is_exclude)
            continue;
        if (follow->zone_hits[i] >= hits) {
            *zone = (int)i;
            return true;
        }
        is_anywhere = false;
    }
    return is_anywhere;
}

void fw_follows_keep_only(struct fw_follows *follows, const struct fw_track *tracks,
                          size_t track_count)
{
    for (size_t i = follows->count; i-- > 0;) {
        bool is_there = false;

        for (size_t j = 0; j < track_count && !is_there; j++)
            is_there = tracks[j].id == follows->items[i].track && tracks[j].state != FW_TRACK_ENDED;
        if (!is_there)
            follows->items[i] = follows->items[--follows->count];
    }
}

void fw_follows_free(struct fw_follows *follows)
{
    free(follows->items);
    *follows = (struct fw_follows){0};
}
