// From what cameras report to committed events: policy, snapshots, events; on a thread of its own,
// so that neither cameras nor detectors wait for JPEG or disk.
#ifndef FW_APP_REPORTER_H
#define FW_APP_REPORTER_H

#include "alert/outbox.h"
#include "alert/policy.h"
#include "app/config.h"
#include "camera/camera.h"

struct fw_cancel;
struct fw_spool;

// Borrowed; all of it outlives the reporter. SPOOL may be NULL: no snapshots.
struct fw_reporter_options {
    const struct fw_config *config;
    struct fw_spool *spool;
    struct fw_outbox *outbox;
    const struct fw_log *log;
};

struct fw_reporter_stats {
    uint64_t events, snapshots_made, snapshots_failed, snapshots_skipped, lost;
};

struct fw_reporter;

// FW_OK, FW_ENOMEM or FW_EAGAIN (threads), FW_EINVAL (a time zone).
int fw_reporter_start(struct fw_reporter **reporter, const struct fw_reporter_options *options,
                      struct fw_error *error);

// Takes a copy of REPORT and a reference to its picture. CAMERA is one of the configuration's. When
// many pictures wait already (a slow disk), the event goes without one and that is counted: an
// alert matters more than its picture. Returns at once. Any thread.
void fw_reporter_face(struct fw_reporter *reporter, const struct fw_camera_config *camera,
                      const struct fw_face_report *report);
// The camera is in STATE since UTC_US, because of REASON. Returns at once. Any thread.
void fw_reporter_camera(struct fw_reporter *reporter, const struct fw_camera_config *camera,
                        enum fw_camera_state state, const char *reason, int64_t utc_us);

struct fw_reporter_stats fw_reporter_get_stats(struct fw_reporter *reporter);
// How many faces of CAMERA were not told for REASON. Any thread.
uint64_t fw_reporter_suppressed(struct fw_reporter *reporter, const struct fw_camera_config *camera,
                                enum fw_suppression reason);

// Takes no more reports and works off what waits. After TIMEOUT_MS, or once HURRY (may be NULL) was
// triggered, pictures are left out, so that the events go out all the same. What comes later is
// counted as lost; callers that still hold REPORTER may go on calling it. FW_OK, or FW_ETIMEDOUT
// (the file system hangs, and the thread with it). May be called again. NULL is allowed.
int fw_reporter_finish(struct fw_reporter *reporter, int64_t timeout_ms,
                       const struct fw_cancel *hurry);
// As above, then frees. What was lost is counted in the log. FW_OK, or FW_ETIMEDOUT: thread and
// reporter are left behind. NULL is allowed.
int fw_reporter_destroy(struct fw_reporter *reporter, int64_t timeout_ms);

#endif
