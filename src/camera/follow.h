// What is known of each track beside what the tracker knows: where it began, whether it stayed
// there, in which zones it was. Not thread-safe; for analyse.c alone.
#ifndef FW_CAMERA_FOLLOW_H
#define FW_CAMERA_FOLLOW_H

#include "track/tracker.h"
#include "track/zones.h"

struct fw_follow {
    uint64_t track;
    bool has_appeared; // and was told so
    int zone;          // where; -1: there are no including zones
    struct fw_box first_box, last_box;
    struct fw_box smooth;       // a running average, so that one bad detection moves nobody
    int64_t still_until_us;     // the face was where it began until then, but for jitter
    bool is_still, has_strayed; // still there; gone from there by more than half a width
    bool is_move_told;
    int zone_hits[FW_ZONES_MAX];
};

// Zero-initialise; fw_follows_free() at the end.
struct fw_follows {
    struct fw_follow *items;
    size_t count, capacity;
};

// A picture and the camera's zones.
struct fw_follow_scene {
    const struct fw_zone *zones;
    size_t zone_count;
    int width, height;
    int64_t time_us; // as given to the tracker
};

// Makes room for MORE further tracks. FW_OK or FW_ENOMEM.
int fw_follows_reserve(struct fw_follows *follows, size_t more);
// Looks at all TRACKS detected in the latest picture. Room for those that are new was reserved.
void fw_follows_update(struct fw_follows *follows, const struct fw_follow_scene *scene,
                       const struct fw_track *tracks, size_t track_count);
struct fw_follow *fw_follows_find(struct fw_follows *follows, uint64_t track); // NULL: unknown
// Whether FOLLOW was detected HITS times in one including zone, or there are none; *ZONE is the
// first such zone or -1.
bool fw_follow_is_in_zone(const struct fw_follow *follow, const struct fw_follow_scene *scene,
                          int hits, int *zone);
// Removes those of tracks that are no longer in TRACKS.
void fw_follows_keep_only(struct fw_follows *follows, const struct fw_track *tracks,
                          size_t track_count);
void fw_follows_free(struct fw_follows *follows);

#endif
