// Which faces become alerts. Pure: time comes in with every call, no I/O. One thread at a time.
//
// A track makes one `appeared` and one `left`, or neither. In this order: schedule, static face,
// cooldown (of camera and zone; it starts when an alert is let through), the camera's bucket, the
// worker's bucket. Only an alert that passes all of them uses up tokens and starts the cooldown.
// What was suppressed stays so, with one exception: a track held back as static that then moves.
//
// Static faces (posters, screens). A place (centre and size of a box) where faces stayed for
// static_after_us in all, but for jitter, is remembered, and tracks that begin there are held back.
// Stays count from a thirtieth of static_after_us up; one that ended with the face moving away has
// to be as long as static_after_us by itself (a passer-by took the poster's track with him). A
// place where nothing was seen for as long as faces stayed there, at least ten minutes and at most
// a day, is forgotten. Whoever walks past begins elsewhere, and whoever begins there and is no
// poster moves: then fw_policy_moved() lets the track through.
#ifndef FW_ALERT_POLICY_H
#define FW_ALERT_POLICY_H

#include "alert/schedule.h"
#include "util/face.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fw_suppression {
    FW_PASSED,
    FW_SUPPRESSED_SCHEDULE,
    FW_SUPPRESSED_STATIC,
    FW_SUPPRESSED_COOLDOWN,
    FW_SUPPRESSED_CAMERA_RATE,
    FW_SUPPRESSED_WORKER_RATE,
    FW_SUPPRESSIONS, // how many
};
const char *fw_suppression_name(enum fw_suppression suppression); // "cooldown", for metrics

// Borrowed, outlives the policy.
struct fw_policy_camera {
    const char *id;
    int64_t cooldown_us;             // 0: none
    const int64_t *zone_cooldown_us; // one a zone, -1: the camera's; NULL without zones
    size_t zone_count;
    const struct fw_schedule *schedule; // NULL: always
    double max_per_minute;              // bucket of the camera, as many at once; 0: no limit
    int64_t static_after_us;            // a face that has not moved for so long is a poster; 0: off
};

struct fw_policy_options {
    const struct fw_policy_camera *cameras;
    size_t camera_count;
    double max_per_minute; // bucket of the worker; 0: no limit
};

struct fw_policy;

struct fw_policy *fw_policy_create(const struct fw_policy_options *options); // NULL: memory
void fw_policy_destroy(struct fw_policy *policy);

// A track, as told by the camera's report.
struct fw_policy_face {
    size_t camera; // index
    uint64_t track;
    int zone;                      // index or -1
    struct fw_box first_box, box;  // where it was seen first, and last
    int64_t still_us;              // how long it stayed where it was first seen
    int width, height;             // of the picture
    int64_t first_seen_us, now_us; // monotonic
    int64_t now_utc_us;            // for the schedule
};

// The track appeared. Memory that is out costs nothing but the memory of static faces.
enum fw_suppression fw_policy_appeared(struct fw_policy *policy, const struct fw_policy_face *face);
// The track has moved away from where it was first seen. True: it had been held back as static and
// passes everything else now, so it is to be told to appear.
bool fw_policy_moved(struct fw_policy *policy, const struct fw_policy_face *face);
// The track ended, let through or not.
void fw_policy_left(struct fw_policy *policy, const struct fw_policy_face *face);
// How many tracks of CAMERA (index) were suppressed for REASON when they appeared; for FW_PASSED
// how many were let through, then or when they moved.
uint64_t fw_policy_suppressed(const struct fw_policy *policy, size_t camera,
                              enum fw_suppression reason);

#endif
