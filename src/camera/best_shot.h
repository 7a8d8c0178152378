// The best picture of each track so far. Not thread-safe; for analyse.c alone.
#ifndef FW_CAMERA_BEST_SHOT_H
#define FW_CAMERA_BEST_SHOT_H

#include "camera/camera.h"
#include "media/frame.h"

#define FW_SHOT_OTHERS 16

// What a report about TRACK says.
struct fw_shot {
    uint64_t track;
    bool is_reported;         // its appearing was told
    struct fw_frame *picture; // a copy that is ours, shared by the tracks in it; NULL if not kept
    struct fw_face face;      // in that picture
    float quality;            // there; negative: none was kept yet
    float best_quality;       // in any picture, kept or not
    float latest_quality;     // in the latest picture with the face
    int64_t capture_utc_us;
    int frame_width, frame_height;
    struct fw_face others[FW_SHOT_OTHERS];
    uint64_t other_tracks[FW_SHOT_OTHERS];
    int other_count;
};

struct fw_shots {
    struct fw_shot *items;
    int count, capacity;
    bool keeps_pictures;
    float min_quality; // the picture that reaches it first is kept, even if not clearly better
    struct fw_frame_pool *pool; // of the copies, so that memory is not cut to pieces by them
    enum fw_pixel_format pool_format;
    int pool_width, pool_height;
};

// Looks at all TRACKS seen in FRAME (at capture_mono_us), and keeps the picture for those that look
// clearly better in it than before. Pictures are kept for 8 tracks at most, confirmed ones first.
void fw_shots_update(struct fw_shots *shots, struct fw_frame *frame, const struct fw_track *tracks,
                     size_t track_count);
struct fw_shot *fw_shots_find(struct fw_shots *shots, uint64_t track); // NULL if there is none
void fw_shots_remove(struct fw_shots *shots, uint64_t track);
// Removes those of tracks that are no longer in TRACKS.
void fw_shots_keep_only(struct fw_shots *shots, const struct fw_track *tracks, size_t track_count);
void fw_shots_free(struct fw_shots *shots);

#endif
