// What is told to the world: CloudEvents 1.0 in structured JSON mode.
#ifndef FW_ALERT_EVENT_H
#define FW_ALERT_EVENT_H

#include "util/face.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FW_EVENT_FACE_APPEARED "faceworker.face.appeared"
#define FW_EVENT_FACE_LEFT     "faceworker.face.left"

// A stored picture as an event names it. Borrowed strings.
struct fw_event_picture {
    const char *key, *url, *sha256; // sha256: lower-case hex
    int width, height;
    size_t length;
    const char *base64; // instead of the URL when the picture is embedded; else NULL
};

// The pictures of one event; a NULL key means that there is none of that kind.
struct fw_event_snapshot {
    const char *state; // "stored", "pending" or "failed"
    struct fw_event_picture full, full_annotated, face, face_annotated;
};

struct fw_event_face {
    uint64_t track;
    struct fw_face face;
    float quality; // 0 to 1; negative: not judged
};

// Everything an event may say. Borrowed for the call.
struct fw_event_input {
    const char *type;                                                  // one of FW_EVENT_*
    const char *worker_id, *camera_id, *camera_name, *camera_location; // the latter two may be NULL
    int64_t time_utc_us; // capture time of the picture that the event is about
    int frame_width, frame_height;
    const struct fw_event_face *faces; // the track's own first
    size_t face_count;
    uint64_t track;
    int64_t first_seen_utc_us, last_seen_utc_us;
    const char *reason; // face.left: "lost", "camera_stopped", "worker_restarted"; else NULL
    const struct fw_event_snapshot *snapshot; // NULL: none was asked for
};

// A finished event. Immutable, refcounted, any thread.
struct fw_event {
    char id[37];      // UUIDv7; never changes across retries
    const char *type; // the table's own string
    char *camera_id;
    char *json; // the CloudEvent, one line, no newline
    size_t json_length;
    int64_t time_utc_us;
};

// NULL when memory is out, the type is unknown or the frame has no size. Text that is not UTF-8 is
// repaired; numbers that JSON lacks (NaN) become 0. docs/alert.schema.json describes the result.
struct fw_event *fw_event_create(const struct fw_event_input *input);
struct fw_event *fw_event_ref(struct fw_event *event);
void fw_event_unref(struct fw_event *event);

#endif
