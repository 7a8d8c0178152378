#include "track/tracker.h"
#include "track/assignment.h"
#include "track/kalman.h"
#include "util/clock.h"
#include "util/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WINDOW = 64 };

static const double MAX_COORDINATE_PX = 1e6;
// Two boxes that overlap less than this have only their distance to say that they are one face.
static const double MIN_IOU = 0.1;
// Weak detections are trusted less: they must lie where the track is expected.
static const double MIN_IOU_WEAK = 0.3;
// A face further than this from where it was expected, in its own widths, is another one. A track
// seen once has no velocity yet and may have come far since: somebody who walks by makes nine
// widths a second, somebody who runs twenty.
static const double MAX_DISTANCE = 1.0;
static const double FAST_WIDTHS_PER_S = 15.0;
static const double MAX_DISTANCE_UNKNOWN = 2.5;
// The distance counts only for faces of like size (the ratio of their areas' roots).
static const double MIN_SIZE_RATIO = 0.6;
// Costs: an overlap costs 1 - IoU, a distance 1 to 2, so overlaps are preferred.
static const double COST_LIMIT = 2.5;
static const double COST_NEVER = 1e9;
static const int64_t MAX_DRAW_AHEAD_US = 500 * FW_US_PER_MS;

// What a track needs beside what is told; same index as in `tracks`.
struct motion {
    struct fw_kalman kalman;
    int64_t time_us;     // of the filter's state and of the track's box
    uint64_t hits;       // one bit an analysis, the latest lowest
    int analyses;        // since the first detection, that one included, at most MAX_WINDOW
    struct fw_face seen; // the latest detection
    ptrdiff_t detection; // in the analysis under way; -1: none
};

struct fw_tracker {
    struct fw_tracker_options options;
    struct fw_track *tracks;
    struct motion *motions;
    size_t count, capacity;
    uint64_t next_id;
    int64_t now_us; // of the latest call; -1 before the first

    // The analysis under way.
    struct fw_face *faces; // the valid ones
    bool *is_taken;        // per face
    size_t face_count, face_capacity;
    size_t *rows, *columns; // tracks and faces of one association
    double *cost;
    size_t cost_capacity;
    ptrdiff_t *result;
    struct fw_assignment assignment;
};

static bool are_valid(const struct fw_tracker_options *options)
{
    return isfinite(options->high_score) && isfinite(options->low_score) &&
           options->low_score <= options->high_score && options->confirm_hits >= 1 &&
           options->confirm_hits <= options->confirm_window &&
           options->confirm_window <= MAX_WINDOW && options->lost_us > 0;
}

struct fw_tracker *fw_tracker_create(const struct fw_tracker_options *options)
{
    struct fw_tracker *tracker;

    if (!are_valid(options))
        return NULL;
    tracker = calloc(1, sizeof(*tracker));
    if (tracker == NULL)
        return NULL;
    tracker->options = *options;
    tracker->next_id = 1;
    tracker->now_us = -1;
    return tracker;
}

void fw_tracker_destroy(struct fw_tracker *tracker)
{
    if (tracker == NULL)
        return;
    free(tracker->tracks);
    free(tracker->motions);
    free(tracker->faces);
    free(tracker->is_taken);
    free(tracker->rows);
    free(tracker->columns);
    free(tracker->cost);
    free(tracker->result);
    fw_assignment_free(&tracker->assignment);
    free(tracker);
}

// Room, made before anything changes

static int reserve_tracks(struct fw_tracker *tracker, size_t count)
{
    struct fw_track *tracks;
    struct motion *motions;
    size_t *rows;
    ptrdiff_t *result;

    if (count <= tracker->capacity)
        return FW_OK;
    count += count / 2;
    tracks = realloc(tracker->tracks, count * sizeof(*tracks));
    if (tracks == NULL)
        return FW_ENOMEM;
    tracker->tracks = tracks;
    motions = realloc(tracker->motions, count * sizeof(*motions));
    if (motions == NULL)
        return FW_ENOMEM;
    tracker->motions = motions;
    rows = realloc(tracker->rows, count * sizeof(*rows));
    if (rows == NULL)
        return FW_ENOMEM;
    tracker->rows = rows;
    result = realloc(tracker->result, count * sizeof(*result));
    if (result == NULL)
        return FW_ENOMEM;
    tracker->result = result;
    tracker->capacity = count;
    return FW_OK;
}

static int reserve_faces(struct fw_tracker *tracker, size_t count)
{
    struct fw_face *faces;
    bool *is_taken;
    size_t *columns;

    if (count <= tracker->face_capacity)
        return FW_OK;
    faces = realloc(tracker->faces, count * sizeof(*faces));
    if (faces == NULL)
        return FW_ENOMEM;
    tracker->faces = faces;
    is_taken = realloc(tracker->is_taken, count * sizeof(*is_taken));
    if (is_taken == NULL)
        return FW_ENOMEM;
    tracker->is_taken = is_taken;
    columns = realloc(tracker->columns, count * sizeof(*columns));
    if (columns == NULL)
        return FW_ENOMEM;
    tracker->columns = columns;
    tracker->face_capacity = count;
    return FW_OK;
}

static int reserve(struct fw_tracker *tracker, size_t faces)
{
    size_t cells = tracker->count * faces;

    if (reserve_tracks(tracker, tracker->count + faces) != FW_OK ||
        reserve_faces(tracker, faces) != FW_OK)
        return FW_ENOMEM;
    if (cells > tracker->cost_capacity) {
        double *cost = realloc(tracker->cost, cells * sizeof(*cost));
        if (cost == NULL)
            return FW_ENOMEM;
        tracker->cost = cost;
        tracker->cost_capacity = cells;
    }
    return fw_assignment_reserve(&tracker->assignment, tracker->count, faces);
}

// Detections

static bool is_sane(const struct fw_face *face)
{
    const struct fw_box *box = &face->box;

    return isfinite(face->score) && fabs((double)box->x) <= MAX_COORDINATE_PX &&
           fabs((double)box->y) <= MAX_COORDINATE_PX && box->w > 0.0F && box->h > 0.0F &&
           (double)box->w <= MAX_COORDINATE_PX && (double)box->h <= MAX_COORDINATE_PX;
}

static bool has_finite_landmarks(const struct fw_face *face)
{
    if (!face->has_landmarks)
        return false;
    for (int i = 0; i < FW_LANDMARKS; i++)
        if (!isfinite(face->landmarks[i].x) || !isfinite(face->landmarks[i].y))
            return false;
    return true;
}

static void take_faces(struct fw_tracker *tracker, const struct fw_face *faces, size_t count)
{
    tracker->face_count = 0;
    for (size_t i = 0; i < count; i++) {
        struct fw_face *face = &tracker->faces[tracker->face_count];
        if (!is_sane(&faces[i]) || faces[i].score < tracker->options.low_score)
            continue;
        *face = faces[i];
        if (!has_finite_landmarks(face)) {
            face->has_landmarks = 0;
            memset(face->landmarks, 0, sizeof(face->landmarks));
        }
        tracker->is_taken[tracker->face_count++] = false;
    }
}

// Association

static double distance_limit(const struct fw_track *track, double unseen_s)
{
    if (track->hits > 1)
        return MAX_DISTANCE;
    return fmin(fmax(MAX_DISTANCE, FAST_WIDTHS_PER_S * unseen_s), MAX_DISTANCE_UNKNOWN);
}

static double distance_cost(const struct fw_box *a, const struct fw_box *b, double limit)
{
    double dx = (double)(b->x + b->w / 2) - (double)(a->x + a->w / 2);
    double dy = (double)(b->y + b->h / 2) - (double)(a->y + a->h / 2);
    double size_a = sqrt((double)a->w * (double)a->h);
    double size_b = sqrt((double)b->w * (double)b->h);
    double distance = hypot(dx, dy) / (0.5 * (double)(a->w + b->w));

    if (distance > limit || fmin(size_a, size_b) < MIN_SIZE_RATIO * fmax(size_a, size_b))
        return COST_NEVER;
    return 1.0 + distance / limit;
}

static double pair_cost(const struct fw_tracker *tracker, size_t row, size_t column, bool is_weak)
{
    const struct fw_track *track = &tracker->tracks[row];
    struct fw_box expected = fw_kalman_box(&tracker->motions[row].kalman);
    const struct fw_box *box = &tracker->faces[column].box;
    double iou = (double)fw_box_iou(&expected, box);
    double unseen_s = (double)(tracker->now_us - track->last_seen_us) / FW_US_PER_S;

    if (is_weak)
        return iou >= MIN_IOU_WEAK ? 1.0 - iou : COST_NEVER;
    if (iou >= MIN_IOU)
        return 1.0 - iou;
    return distance_cost(&expected, box, distance_limit(track, unseen_s));
}

// Joins tracks (confirmed or tentative ones) with detections (weak or high ones), each as yet
// without a partner.
static void associate(struct fw_tracker *tracker, bool is_tentative, bool is_weak)
{
    size_t rows = 0, columns = 0;

    for (size_t i = 0; i < tracker->count; i++)
        if (tracker->motions[i].detection < 0 && tracker->tracks[i].state != FW_TRACK_ENDED &&
            (tracker->tracks[i].state == FW_TRACK_TENTATIVE) == is_tentative)
            tracker->rows[rows++] = i;
    for (size_t j = 0; j < tracker->face_count; j++)
        if (!tracker->is_taken[j] &&
            (tracker->faces[j].score < tracker->options.high_score) == is_weak)
            tracker->columns[columns++] = j;
    if (rows == 0 || columns == 0)
        return;
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            tracker->cost[i * columns + j] =
                pair_cost(tracker, tracker->rows[i], tracker->columns[j], is_weak);
    fw_assignment_solve(&tracker->assignment, tracker->cost, rows, columns, COST_LIMIT,
                        tracker->result);
    for (size_t i = 0; i < rows; i++) {
        if (tracker->result[i] < 0)
            continue;
        tracker->motions[tracker->rows[i]].detection =
            (ptrdiff_t)tracker->columns[tracker->result[i]];
        tracker->is_taken[tracker->columns[tracker->result[i]]] = true;
    }
}

// Tracks

static void remove_track(struct fw_tracker *tracker, size_t i)
{
    size_t after = tracker->count - i - 1;

    memmove(&tracker->tracks[i], &tracker->tracks[i + 1], after * sizeof(*tracker->tracks));
    memmove(&tracker->motions[i], &tracker->motions[i + 1], after * sizeof(*tracker->motions));
    tracker->count--;
}

// Forgets what the previous call reported as ended, and begins a new report.
static void begin_call(struct fw_tracker *tracker, int64_t time_us)
{
    tracker->now_us = time_us;
    for (size_t i = tracker->count; i-- > 0;) {
        if (tracker->tracks[i].state == FW_TRACK_ENDED) {
            remove_track(tracker, i);
        } else {
            tracker->tracks[i].is_new = false;
            tracker->motions[i].detection = -1;
        }
    }
}

static bool is_lost(const struct fw_tracker *tracker, const struct fw_track *track)
{
    return tracker->now_us - track->last_seen_us >= tracker->options.lost_us;
}

static void end_track(struct fw_tracker *tracker, size_t i)
{
    if (tracker->tracks[i].state == FW_TRACK_TENTATIVE)
        remove_track(tracker, i);
    else
        tracker->tracks[i].state = FW_TRACK_ENDED;
}

// Ends what has been lost for too long. Those that the latest analysis still saw are spared when
// another analysis is about to look for them.
static void end_lost(struct fw_tracker *tracker, bool is_before_analysis)
{
    for (size_t i = tracker->count; i-- > 0;) {
        if (is_before_analysis && (tracker->motions[i].hits & 1) != 0)
            continue;
        if (is_lost(tracker, &tracker->tracks[i]))
            end_track(tracker, i);
    }
}

static void predict_all(struct fw_tracker *tracker)
{
    for (size_t i = 0; i < tracker->count; i++) {
        struct motion *motion = &tracker->motions[i];
        if (tracker->tracks[i].state == FW_TRACK_ENDED)
            continue;
        fw_kalman_predict(&motion->kalman,
                          (double)(tracker->now_us - motion->time_us) / FW_US_PER_S);
        motion->time_us = tracker->now_us;
    }
}

static int count_hits(const struct fw_tracker *tracker, const struct motion *motion)
{
    uint64_t bits = motion->hits;
    int hits = 0;

    if (tracker->options.confirm_window < MAX_WINDOW)
        bits &= (UINT64_C(1) << tracker->options.confirm_window) - 1;
    for (; bits != 0; bits &= bits - 1)
        hits++;
    return hits;
}

static void confirm_if_due(struct fw_tracker *tracker, size_t i)
{
    struct fw_track *track = &tracker->tracks[i];

    if (track->state != FW_TRACK_TENTATIVE ||
        count_hits(tracker, &tracker->motions[i]) < tracker->options.confirm_hits)
        return;
    track->state = FW_TRACK_ACTIVE;
    track->confirmed_us = tracker->now_us;
    track->is_new = true;
}

// True when a tentative track can no longer reach n hits within its first m analyses.
static bool is_hopeless(const struct fw_tracker *tracker, const struct motion *motion)
{
    int left = tracker->options.confirm_window - motion->analyses;

    return count_hits(tracker, motion) + left < tracker->options.confirm_hits;
}

static void note_analysis(struct motion *motion, bool was_seen)
{
    motion->hits = motion->hits << 1 | (was_seen ? 1 : 0);
    if (motion->analyses < MAX_WINDOW)
        motion->analyses++;
}

static void see(struct fw_tracker *tracker, size_t i)
{
    struct fw_track *track = &tracker->tracks[i];
    struct motion *motion = &tracker->motions[i];

    motion->seen = tracker->faces[motion->detection];
    fw_kalman_update(&motion->kalman, &motion->seen.box);
    track->face = motion->seen;
    track->best_score = fmaxf(track->best_score, track->face.score);
    track->last_seen_us = tracker->now_us;
    track->hits++;
    if (track->state == FW_TRACK_COASTED)
        track->state = FW_TRACK_ACTIVE;
    note_analysis(motion, true);
    confirm_if_due(tracker, i);
}

// The face as last seen, landmarks included, moved and scaled to BOX.
static struct fw_face moved_to(const struct fw_face *seen, struct fw_box box)
{
    struct fw_face face = *seen;

    face.box = box;
    for (int i = 0; seen->has_landmarks && i < FW_LANDMARKS; i++) {
        face.landmarks[i].x = box.x + (seen->landmarks[i].x - seen->box.x) * box.w / seen->box.w;
        face.landmarks[i].y = box.y + (seen->landmarks[i].y - seen->box.y) * box.h / seen->box.h;
    }
    return face;
}

// False when the track is gone for good.
static bool miss(struct fw_tracker *tracker, size_t i)
{
    struct fw_track *track = &tracker->tracks[i];
    struct motion *motion = &tracker->motions[i];

    note_analysis(motion, false);
    if (track->state == FW_TRACK_TENTATIVE && is_hopeless(tracker, motion))
        return false;
    if (track->state == FW_TRACK_ACTIVE)
        track->state = FW_TRACK_COASTED;
    track->face = moved_to(&motion->seen, fw_kalman_box(&motion->kalman));
    return true;
}

static void settle_all(struct fw_tracker *tracker)
{
    for (size_t i = tracker->count; i-- > 0;) {
        if (tracker->tracks[i].state == FW_TRACK_ENDED)
            continue;
        if (tracker->motions[i].detection >= 0)
            see(tracker, i);
        else if (!miss(tracker, i))
            remove_track(tracker, i);
    }
}

static void start_track(struct fw_tracker *tracker, const struct fw_face *face)
{
    size_t i = tracker->count++;

    tracker->tracks[i] = (struct fw_track){
        .id = tracker->next_id++,
        .state = FW_TRACK_TENTATIVE,
        .face = *face,
        .best_score = face->score,
        .first_seen_us = tracker->now_us,
        .last_seen_us = tracker->now_us,
        .hits = 1,
    };
    tracker->motions[i] =
        (struct motion){.time_us = tracker->now_us, .seen = *face, .detection = -1};
    fw_kalman_init(&tracker->motions[i].kalman, &face->box);
    note_analysis(&tracker->motions[i], true);
    confirm_if_due(tracker, i);
}

static void start_tracks(struct fw_tracker *tracker)
{
    for (size_t j = 0; j < tracker->face_count; j++)
        if (!tracker->is_taken[j] && tracker->faces[j].score >= tracker->options.high_score)
            start_track(tracker, &tracker->faces[j]);
}

int fw_tracker_update(struct fw_tracker *tracker, int64_t time_us, const struct fw_face *faces,
                      size_t count, const struct fw_track **tracks, size_t *track_count)
{
    if (time_us < 0 || time_us < tracker->now_us || count > FW_TRACKER_MAX_FACES)
        return FW_EINVAL;
    if (reserve(tracker, count) != FW_OK)
        return FW_ENOMEM;
    begin_call(tracker, time_us);
    take_faces(tracker, faces, count);
    end_lost(tracker, true);
    predict_all(tracker);
    associate(tracker, false, false);
    associate(tracker, false, true);
    associate(tracker, true, false);
    settle_all(tracker);
    end_lost(tracker, false);
    start_tracks(tracker);
    *tracks = tracker->tracks;
    *track_count = tracker->count;
    return FW_OK;
}

int fw_tracker_advance(struct fw_tracker *tracker, int64_t time_us, const struct fw_track **tracks,
                       size_t *track_count)
{
    if (time_us < 0 || time_us < tracker->now_us)
        return FW_EINVAL;
    begin_call(tracker, time_us);
    end_lost(tracker, false);
    *tracks = tracker->tracks;
    *track_count = tracker->count;
    return FW_OK;
}

struct fw_box fw_track_box_at(const struct fw_tracker *tracker, const struct fw_track *track,
                              int64_t time_us)
{
    for (size_t i = 0; i < tracker->count; i++) {
        const struct motion *motion = &tracker->motions[i];
        int64_t ahead_us = time_us - motion->time_us;
        if (tracker->tracks[i].id != track->id)
            continue;
        if (ahead_us > MAX_DRAW_AHEAD_US)
            ahead_us = MAX_DRAW_AHEAD_US;
        if (ahead_us < -MAX_DRAW_AHEAD_US)
            ahead_us = -MAX_DRAW_AHEAD_US;
        return fw_kalman_shift(&motion->kalman, track->face.box, (double)ahead_us / FW_US_PER_S);
    }
    return track->face.box;
}
