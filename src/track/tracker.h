// Which face is whose: detections of successive pictures joined into tracks.
//
// ByteTrack's two-step association (Y. Zhang et al., ECCV 2022): confident detections first, then
// the weak ones for the tracks still unmatched, over a constant-velocity Kalman filter of the box.
// Pure: no clock, no I/O, no threads; time comes in with every call, and the same calls give the
// same tracks.
#ifndef FW_TRACK_TRACKER_H
#define FW_TRACK_TRACKER_H

#include "util/face.h"
#include <stdbool.h>
#include <stdint.h>

struct fw_tracker_options {
    float high_score; // detections from here up start and feed tracks (the user's min_score)
    float low_score;  // detections from here up keep tracks alive that already are
    int confirm_hits, confirm_window; // n of m analyses: "2/3"
    int64_t lost_us;                  // a confirmed track unseen for so long has ended
};

enum fw_track_state {
    FW_TRACK_TENTATIVE, // not yet n of m; may vanish without a word
    FW_TRACK_ACTIVE,    // confirmed, seen in the latest analysis
    FW_TRACK_COASTED,   // confirmed, not seen just now; the box is a prediction
    FW_TRACK_ENDED,     // reported once, then gone
};

// One person seen by one camera. Owned by the tracker, valid until its next call.
struct fw_track {
    uint64_t id; // from 1, rising, never used twice by one tracker
    enum fw_track_state state;
    struct fw_face face; // the latest detection; while coasted its box is predicted
    float best_score;
    int64_t first_seen_us, confirmed_us, last_seen_us; // the caller's time
    int hits;                                          // detections so far
    bool is_new;                                       // confirmed by this very call
};

struct fw_tracker;

struct fw_tracker *fw_tracker_create(const struct fw_tracker_options *options);
void fw_tracker_destroy(struct fw_tracker *tracker);

// One analysis at TIME_US (rising; an earlier time than the last is refused) with all detections
// from low_score up. *TRACKS are all tracks, tentative and just ended ones included, *COUNT of
// them. FW_OK, FW_EINVAL, FW_ENOMEM (then nothing changed).
int fw_tracker_update(struct fw_tracker *tracker, int64_t time_us, const struct fw_face *faces,
                      size_t count, const struct fw_track **tracks, size_t *track_count);

// Moves time on without an analysis, so that tracks end while a camera is away. As above.
int fw_tracker_advance(struct fw_tracker *tracker, int64_t time_us, const struct fw_track **tracks,
                       size_t *track_count);

// Where TRACK's box will be at TIME_US, for drawing between analyses; at most 0.5 s ahead.
struct fw_box fw_track_box_at(const struct fw_tracker *tracker, const struct fw_track *track,
                              int64_t time_us);

#endif
