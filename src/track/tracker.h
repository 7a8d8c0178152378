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
    int confirm_hits, confirm_window; // n of m analyses: "2/3"; 1 <= n <= m <= 64
    int64_t lost_us;                  // a confirmed track unseen for so long has ended; above 0
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

// OPTIONS are copied. NULL when memory is out or the options break a bound above.
struct fw_tracker *fw_tracker_create(const struct fw_tracker_options *options);
void fw_tracker_destroy(struct fw_tracker *tracker);

// Faces that one analysis may have.
#define FW_TRACKER_MAX_FACES 2048

// One analysis at TIME_US (not negative, rising; a time earlier than the last is refused) with all
// detections from low_score up. Faces without an area, beyond a million pixels or with a score or
// box that is no number are left out; landmarks that are no numbers are taken off. *TRACKS are all
// tracks, tentative and just ended ones included, *TRACK_COUNT of them. FW_OK, FW_EINVAL (time,
// more than FW_TRACKER_MAX_FACES), FW_ENOMEM (then nothing changed).
//
// A track that an analysis finds again goes on even where more than lost_us lie between the two
// analyses, so that slow ones (analyze_fps below 1) can confirm a face at all. Whoever has a pause
// in which people may have come and gone calls fw_tracker_advance().
int fw_tracker_update(struct fw_tracker *tracker, int64_t time_us, const struct fw_face *faces,
                      size_t count, const struct fw_track **tracks, size_t *track_count);

// Moves time on without an analysis, so that tracks end while a camera is away: confirmed ones are
// reported as ended, tentative ones vanish. No other box or state changes. As above.
int fw_tracker_advance(struct fw_tracker *tracker, int64_t time_us, const struct fw_track **tracks,
                       size_t *track_count);

// Where TRACK's box is at TIME_US, for drawing between analyses; at most 0.5 s before or after the
// analysis that its box is from. TRACK may be a copy.
struct fw_box fw_track_box_at(const struct fw_tracker *tracker, const struct fw_track *track,
                              int64_t time_us);

#endif
