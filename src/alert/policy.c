#include "alert/policy.h"
#include "util/clock.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_PLACES = 32,    // a camera; the one with the least time makes room
    SHORTEST_STAY = 30, // a part of static_after_us
    MAX_OPEN = 2048,    // tracks of a camera, as many as the tracker takes faces
};

static const int64_t MIN_MEMORY_US = 600 * FW_US_PER_S;
static const int64_t MAX_MEMORY_US = 86400 * FW_US_PER_S;
static const int64_t NEVER = INT64_MIN;

// Boxes are one place when their centres are nearer than this share of their width...
static const float NEAR = 0.35F;
// ...and neither is larger than the other by more than this factor. A detector's boxes of a still
// face differ by a few hundredths; heads at one door by more than both.
static const float ALIKE = 1.4F;

// Where a face was, as shares of the picture, so that it survives a change of resolution.
struct spot {
    float x, y; // the centre
    float w, h;
};

struct place {
    struct spot spot;
    int64_t still_us; // in all
    int64_t last_seen_us;
};

// A track that has appeared and not left.
struct open_track {
    uint64_t track;
    struct spot first;
    int64_t first_seen_us;
    bool is_held; // as static
    bool has_moved;
};

struct bucket {
    double per_minute; // 0: no limit
    double tokens;
    int64_t filled_us; // NEVER: full
};

struct camera {
    const struct fw_policy_camera *options;
    struct bucket bucket;
    int64_t *passed_us; // the latest alert let through: of no zone, then of each zone
    struct place places[MAX_PLACES];
    size_t place_count;
    struct open_track *open;
    size_t open_count, open_capacity;
    uint64_t totals[FW_SUPPRESSIONS];
};

struct fw_policy {
    struct bucket bucket;
    size_t count;
    struct camera *cameras;
};

const char *fw_suppression_name(enum fw_suppression suppression)
{
    switch (suppression) {
    case FW_PASSED:
        return "passed";
    case FW_SUPPRESSED_SCHEDULE:
        return "schedule";
    case FW_SUPPRESSED_STATIC:
        return "static";
    case FW_SUPPRESSED_COOLDOWN:
        return "cooldown";
    case FW_SUPPRESSED_CAMERA_RATE:
        return "camera_rate";
    case FW_SUPPRESSED_WORKER_RATE:
        return "worker_rate";
    case FW_SUPPRESSIONS:
        break;
    }
    return "unknown";
}

// Buckets

static void fill(struct bucket *bucket, int64_t now_us)
{
    // As many at once as come in a minute, but one at least, or slow rates would let none through.
    double full = fmax(bucket->per_minute, 1.0);

    if (bucket->filled_us == NEVER)
        bucket->tokens = full;
    else if (now_us > bucket->filled_us)
        bucket->tokens +=
            (double)(now_us - bucket->filled_us) / (60.0 * FW_US_PER_S) * bucket->per_minute;
    bucket->tokens = fmin(bucket->tokens, full);
    if (bucket->filled_us == NEVER || now_us > bucket->filled_us)
        bucket->filled_us = now_us;
}

static bool has_token(struct bucket *bucket, int64_t now_us)
{
    if (bucket->per_minute <= 0)
        return true;
    fill(bucket, now_us);
    return bucket->tokens >= 1;
}

static void take_token(struct bucket *bucket)
{
    if (bucket->per_minute > 0)
        bucket->tokens -= 1;
}

// Places

static struct spot spot_of(const struct fw_box *box, const struct fw_policy_face *face)
{
    float width = (float)face->width, height = (float)face->height;

    return (struct spot){.x = (box->x + box->w / 2) / width,
                         .y = (box->y + box->h / 2) / height,
                         .w = box->w / width,
                         .h = box->h / height};
}

static bool is_alike(float a, float b)
{
    return a <= b * ALIKE && b <= a * ALIKE;
}

static bool is_same(const struct spot *a, const struct spot *b)
{
    return fabsf(a->x - b->x) <= NEAR * fmaxf(a->w, b->w) &&
           fabsf(a->y - b->y) <= NEAR * fmaxf(a->h, b->h) && is_alike(a->w, b->w) &&
           is_alike(a->h, b->h);
}

static bool is_static(const struct camera *camera, const struct place *place)
{
    return place->still_us >= camera->options->static_after_us;
}

static int64_t memory_us(const struct camera *camera, const struct place *place)
{
    int64_t memory = place->still_us;

    if (!is_static(camera, place) || memory < MIN_MEMORY_US)
        return MIN_MEMORY_US;
    return memory < MAX_MEMORY_US ? memory : MAX_MEMORY_US;
}

static bool is_occupied(const struct camera *camera, const struct spot *spot)
{
    for (size_t i = 0; i < camera->open_count; i++)
        if (!camera->open[i].has_moved && is_same(&camera->open[i].first, spot))
            return true;
    return false;
}

static void forget_empty_places(struct camera *camera, int64_t now_us)
{
    for (size_t i = camera->place_count; i-- > 0;) {
        struct place *place = &camera->places[i];
        if (now_us - place->last_seen_us > memory_us(camera, place) &&
            !is_occupied(camera, &place->spot))
            *place = camera->places[--camera->place_count];
    }
}

static struct place *find_place(struct camera *camera, const struct spot *spot)
{
    for (size_t i = 0; i < camera->place_count; i++)
        if (is_same(&camera->places[i].spot, spot))
            return &camera->places[i];
    return NULL;
}

static struct place *add_place(struct camera *camera, const struct spot *spot)
{
    struct place *place = &camera->places[0];

    if (camera->place_count < MAX_PLACES)
        place = &camera->places[camera->place_count++];
    else
        for (size_t i = 1; i < camera->place_count; i++)
            if (camera->places[i].still_us < place->still_us)
                place = &camera->places[i];
    *place = (struct place){.spot = *spot, .last_seen_us = NEVER};
    return place;
}

// How long a stay has to be to count. People stand still for seconds, at a door many do it one
// after the other, and they go; a poster that loses its track to a passer-by has hung there for
// long.
static int64_t least_stay_us(const struct camera *camera, bool has_moved)
{
    return camera->options->static_after_us / (has_moved ? 1 : SHORTEST_STAY);
}

// FACE was still where it began for still_us, which has come to an end; its track is still open.
static void learn(struct camera *camera, const struct fw_policy_face *face, bool has_moved)
{
    struct spot first = spot_of(&face->first_box, face);
    int64_t seen_us = face->first_seen_us + face->still_us;
    struct place *place;

    if (camera->options->static_after_us <= 0)
        return;
    forget_empty_places(camera, face->now_us);
    place = find_place(camera, &first);
    if (face->still_us >= least_stay_us(camera, has_moved)) {
        if (place == NULL)
            place = add_place(camera, &first);
        place->still_us += face->still_us;
    }
    if (place != NULL && seen_us > place->last_seen_us)
        place->last_seen_us = seen_us;
}

// Whether a track has been where FIRST is for long enough to make a place of it, and still is.
static bool is_held_by_another(const struct camera *camera, const struct spot *first,
                               int64_t now_us)
{
    for (size_t i = 0; i < camera->open_count; i++) {
        const struct open_track *open = &camera->open[i];
        if (!open->has_moved && is_same(&open->first, first) &&
            now_us - open->first_seen_us >= camera->options->static_after_us)
            return true;
    }
    return false;
}

static bool is_poster(struct camera *camera, const struct fw_policy_face *face)
{
    struct spot first = spot_of(&face->first_box, face), last = spot_of(&face->box, face);
    struct place *place;

    if (camera->options->static_after_us <= 0)
        return false;
    forget_empty_places(camera, face->now_us);
    if (!is_same(&first, &last))
        return false;
    place = find_place(camera, &first);
    return (place != NULL && is_static(camera, place)) ||
           is_held_by_another(camera, &first, face->now_us);
}

// Open tracks

static struct open_track *find_open(struct camera *camera, uint64_t track)
{
    for (size_t i = 0; i < camera->open_count; i++)
        if (camera->open[i].track == track)
            return &camera->open[i];
    return NULL;
}

static void remove_open(struct camera *camera, struct open_track *open)
{
    size_t after = camera->open_count - (size_t)(open - camera->open) - 1;

    memmove(open, open + 1, after * sizeof(*open)); // the oldest stays first
    camera->open_count--;
}

static bool make_room(struct camera *camera)
{
    size_t capacity = camera->open_capacity == 0 ? 16 : 2 * camera->open_capacity;
    struct open_track *open;

    if (camera->open_count < camera->open_capacity)
        return true;
    if (camera->open_count == MAX_OPEN) { // reports got lost
        remove_open(camera, camera->open);
        return true;
    }
    open = realloc(camera->open, capacity * sizeof(*open));
    if (open == NULL)
        return false;
    camera->open = open;
    camera->open_capacity = capacity;
    return true;
}

static void remember(struct camera *camera, const struct fw_policy_face *face, bool is_held)
{
    struct open_track *known = find_open(camera, face->track);

    if (known != NULL) // of a camera that was started anew
        remove_open(camera, known);
    if (make_room(camera))
        camera->open[camera->open_count++] = (struct open_track){
            .track = face->track,
            .first = spot_of(&face->first_box, face),
            .first_seen_us = face->first_seen_us,
            .is_held = is_held,
        };
}

// Verdicts

static int64_t *passed_of(const struct camera *camera, int zone)
{
    bool is_known = zone >= 0 && (size_t)zone < camera->options->zone_count;

    return &camera->passed_us[is_known ? (size_t)zone + 1 : 0];
}

static int64_t cooldown_of(const struct camera *camera, int zone)
{
    const struct fw_policy_camera *options = camera->options;

    if (zone < 0 || (size_t)zone >= options->zone_count || options->zone_cooldown_us == NULL ||
        options->zone_cooldown_us[zone] < 0)
        return options->cooldown_us;
    return options->zone_cooldown_us[zone];
}

static bool is_cooling_down(const struct camera *camera, const struct fw_policy_face *face)
{
    int64_t passed_us = *passed_of(camera, face->zone);

    return passed_us != NEVER && face->now_us - passed_us < cooldown_of(camera, face->zone);
}

static enum fw_suppression judge(struct fw_policy *policy, struct camera *camera,
                                 const struct fw_policy_face *face, bool is_static_allowed)
{
    if (camera->options->schedule != NULL &&
        !fw_schedule_is_on(camera->options->schedule, face->now_utc_us))
        return FW_SUPPRESSED_SCHEDULE;
    if (!is_static_allowed && is_poster(camera, face))
        return FW_SUPPRESSED_STATIC;
    if (is_cooling_down(camera, face))
        return FW_SUPPRESSED_COOLDOWN;
    if (!has_token(&camera->bucket, face->now_us))
        return FW_SUPPRESSED_CAMERA_RATE;
    if (!has_token(&policy->bucket, face->now_us))
        return FW_SUPPRESSED_WORKER_RATE;
    take_token(&camera->bucket);
    take_token(&policy->bucket);
    *passed_of(camera, face->zone) = face->now_us;
    return FW_PASSED;
}

enum fw_suppression fw_policy_appeared(struct fw_policy *policy, const struct fw_policy_face *face)
{
    struct camera *camera = &policy->cameras[face->camera];
    enum fw_suppression verdict = judge(policy, camera, face, false);

    camera->totals[verdict]++;
    if (camera->options->static_after_us > 0)
        remember(camera, face, verdict == FW_SUPPRESSED_STATIC);
    return verdict;
}

bool fw_policy_moved(struct fw_policy *policy, const struct fw_policy_face *face)
{
    struct camera *camera = &policy->cameras[face->camera];
    struct open_track *open = find_open(camera, face->track);
    bool was_held = open != NULL && open->is_held;

    if (open == NULL || open->has_moved)
        return false;
    learn(camera, face, true);
    open->has_moved = true;
    if (!was_held || judge(policy, camera, face, true) != FW_PASSED)
        return false;
    camera->totals[FW_PASSED]++;
    return true;
}

void fw_policy_left(struct fw_policy *policy, const struct fw_policy_face *face)
{
    struct camera *camera = &policy->cameras[face->camera];
    struct open_track *open = find_open(camera, face->track);

    if (open == NULL || !open->has_moved)
        learn(camera, face, false);
    if (open != NULL)
        remove_open(camera, open);
}

uint64_t fw_policy_suppressed(const struct fw_policy *policy, size_t camera,
                              enum fw_suppression reason)
{
    return policy->cameras[camera].totals[reason];
}

// Life

static bool init_camera(struct camera *camera, const struct fw_policy_camera *options)
{
    camera->options = options;
    camera->bucket = (struct bucket){.per_minute = options->max_per_minute, .filled_us = NEVER};
    camera->passed_us = malloc((options->zone_count + 1) * sizeof(*camera->passed_us));
    if (camera->passed_us == NULL)
        return false;
    for (size_t i = 0; i <= options->zone_count; i++)
        camera->passed_us[i] = NEVER;
    return true;
}

struct fw_policy *fw_policy_create(const struct fw_policy_options *options)
{
    struct fw_policy *policy = calloc(1, sizeof(*policy));

    if (policy == NULL)
        return NULL;
    policy->bucket = (struct bucket){.per_minute = options->max_per_minute, .filled_us = NEVER};
    policy->cameras = calloc(options->camera_count + 1, sizeof(*policy->cameras));
    if (policy->cameras == NULL) {
        free(policy);
        return NULL;
    }
    policy->count = options->camera_count;
    for (size_t i = 0; i < policy->count; i++)
        if (!init_camera(&policy->cameras[i], &options->cameras[i])) {
            fw_policy_destroy(policy);
            return NULL;
        }
    return policy;
}

void fw_policy_destroy(struct fw_policy *policy)
{
    if (policy == NULL)
        return;
    for (size_t i = 0; i < policy->count; i++) {
        free(policy->cameras[i].passed_us);
        free(policy->cameras[i].open);
    }
    free(policy->cameras);
    free(policy);
}
