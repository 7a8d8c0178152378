// Which faces become alerts. Pure: time comes in with every call, no I/O, no threads.
//
// A track makes one `appeared` and one `left`, or neither: what was suppressed when it appeared stays
// suppressed. In this order: schedule, static face, cooldown (of camera and zone; it starts when an
// alert is let through), the camera's bucket, the worker's bucket. Only an alert that passes all of
// them uses up tokens and starts the cooldown.
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
    int64_t cooldown_us;            // 0: none
    const int64_t *zone_cooldown_us; // one a zone, -1: the camera's; NULL without zones
    size_t zone_count;
    const struct fw_schedule *schedule; // NULL: always
    double max_per_minute;          // bucket of the camera, as many at once; 0: no limit
    int64_t static_after_us;        // a face that has not moved for so long is a poster; 0: off
};

struct fw_policy_options {
    const struct fw_policy_camera *cameras;
    size_t camera_count;
    double max_per_minute; // bucket of the worker; 0: no limit
};

struct fw_policy;

struct fw_policy *fw_policy_create(const struct fw_policy_options *options); // NULL: memory
void fw_policy_destroy(struct fw_policy *policy);

// A track of CAMERA (its index) appeared: ZONE is an index or -1, BOX in px of a picture of WIDTH x
// HEIGHT, NOW_UTC_US for the schedule, NOW_US monotonic for everything else.
struct fw_policy_face {
    size_t camera;
    int zone;
    struct fw_box box;
    int width, height;
    int64_t now_us, now_utc_us;
};
enum fw_suppression fw_policy_appeared(struct fw_policy *policy, const struct fw_policy_face *face);
// A track of CAMERA ended (suppressed or not): where it was when it began and when it ended, for the
// memory of static faces, which posters and screens are found by.
void fw_policy_left(struct fw_policy *policy, const struct fw_policy_face *last,
                    const struct fw_box *first_box, int64_t first_seen_us);
// How many were suppressed for REASON (CAMERA: index).
uint64_t fw_policy_suppressed(const struct fw_policy *policy, size_t camera,
                              enum fw_suppression reason);

#endif
