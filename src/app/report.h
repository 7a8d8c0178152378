// What waits for the reporter's thread, and the pictures it makes of it. reporter.c's alone.
#ifndef FW_APP_REPORT_H
#define FW_APP_REPORT_H

#include "alert/event.h"
#include "app/reporter.h"
#include "camera/overlay.h"

#define FW_REPORT_FACES 32 // of one event; further ones are left out

// A face that came or went. Owns a reference to the picture.
struct fw_report {
    const struct fw_camera_config *camera;
    enum fw_report_kind kind;
    uint64_t track;
    int64_t reported_us, capture_utc_us, first_seen_utc_us, last_seen_utc_us;
    const char *reason;
    int zone;
    struct fw_box first_box, last_box;
    int64_t still_us;
    struct fw_frame *picture;
    bool picture_skipped; // too many waited
    int frame_width, frame_height;
    float quality;
    int face_count; // the track's own first
    struct fw_overlay_face faces[FW_REPORT_FACES];
};

// NULL when memory is out.
struct fw_report *fw_report_create(const struct fw_camera_config *camera,
                                   const struct fw_face_report *face);
// "appeared" (one that moved and so appears late, too) or "left".
const char *fw_report_kind_name(enum fw_report_kind kind);

// The keys, URLs and sums of one event's pictures, which EVENT's fields point into.
struct fw_report_snapshot {
    char *keys[4], *urls[4];
    char sha256[4][65];
    struct fw_event_snapshot event;
};

// Where pictures go. Borrowed.
struct fw_report_place {
    struct fw_spool *spool;
    const char *key_prefix; // of every key: "" or "gate-1/"
};

// Renders REPORT's four pictures and puts them into PLACE. FW_OK, or what went wrong (SNAPSHOT
// names those that are there). fw_report_snapshot_free() it in any case.
int fw_report_snapshot_make(struct fw_report_snapshot *snapshot, const struct fw_report *report,
                            const struct fw_report_place *place, struct fw_error *error);
void fw_report_snapshot_free(struct fw_report_snapshot *snapshot);

#endif
