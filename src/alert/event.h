// What is told to the world: CloudEvents 1.0 in structured JSON mode.
#ifndef FW_ALERT_EVENT_H
#define FW_ALERT_EVENT_H

#include "util/error.h"
#include "util/face.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FW_EVENT_FACE_APPEARED    "faceworker.face.appeared"
#define FW_EVENT_FACE_LEFT        "faceworker.face.left"
#define FW_EVENT_CAMERA_ONLINE    "faceworker.camera.online"
#define FW_EVENT_CAMERA_OFFLINE   "faceworker.camera.offline"
#define FW_EVENT_CAMERA_STALLED   "faceworker.camera.stalled"
#define FW_EVENT_CAMERA_TAMPERED  "faceworker.camera.tampered"
#define FW_EVENT_WORKER_STARTED   "faceworker.worker.started"
#define FW_EVENT_WORKER_HEARTBEAT "faceworker.worker.heartbeat"

// A stored picture as an event names it. Borrowed strings.
struct fw_event_picture {
    const char *key, *url, *sha256; // sha256: lower-case hex
    int width, height;
    size_t length;
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

// Who speaks. Borrowed strings.
struct fw_event_camera {
    const char *worker_id, *camera_id;
    const char *name, *location; // may be NULL
};

// Everything that an event about a face may say. Borrowed for the call.
struct fw_event_input {
    const char *type; // FW_EVENT_FACE_*
    struct fw_event_camera camera;
    int64_t time_utc_us; // capture time of the picture that the event is about
    int frame_width, frame_height;
    const struct fw_event_face *faces; // the track's own first
    size_t face_count;
    uint64_t track;
    // The id of the `appeared` event of this track: what consumers pair by. NULL in that event
    // itself, which gets its own id.
    const char *appeared_id;
    const char *zone; // where the face appeared; NULL: the camera has no zones
    int64_t first_seen_utc_us, last_seen_utc_us;
    const char *reason; // face.left: "lost", "camera_stopped", "worker_restarted"; else NULL
    const struct fw_event_snapshot *snapshot; // NULL: none was asked for
};

// An event about a camera's state.
struct fw_event_state_input {
    const char *type; // FW_EVENT_CAMERA_*
    struct fw_event_camera camera;
    int64_t time_utc_us;  // when the state began
    const char *reason;   // "" when there is nothing to say; never a secret
    const char *previous; // the state told before: "online", "offline", "stalled"; NULL: none
};

// An event about the worker.
struct fw_event_worker_input {
    const char *type; // FW_EVENT_WORKER_*
    const char *worker_id, *version;
    int64_t time_utc_us, started_utc_us;
    size_t cameras, cameras_live;
    uint64_t events_waiting; // in the outbox
};

// A finished event. Immutable, refcounted, any thread.
struct fw_event {
    char id[37];      // UUIDv7; never changes across retries
    const char *type; // the table's own string
    char *camera_id;  // "" for events of the worker
    uint64_t track;   // 0: not about a face
    // For events about faces the id of the `appeared` event, else "".
    char appeared_id[37];
    char *json; // the CloudEvent, one line, no newline
    size_t json_length;
    int64_t time_utc_us;
};

// NULL when memory is out, the type is of another kind, the frame has no size, the track is 0, or a
// `left` (and only that) lacks its appeared_id or reason. Text that is not UTF-8 is repaired;
// numbers that JSON lacks (NaN) become 0. docs/alert.schema.json describes the result.
struct fw_event *fw_event_create(const struct fw_event_input *input);
struct fw_event *fw_event_create_state(const struct fw_event_state_input *input);
struct fw_event *fw_event_create_worker(const struct fw_event_worker_input *input);
// The `left` event of APPEARED, whose track nobody follows any more: REASON ("worker_restarted")
// and NOW_UTC_US as its time, everything else (faces, frame, zone, no snapshot) from APPEARED. NULL
// when memory is out or APPEARED is no such event.
struct fw_event *fw_event_create_left(const struct fw_event *appeared, const char *reason,
                                      int64_t now_utc_us);
// An event from the JSON that one of the above made (an outbox kept it); its time comes back to the
// millisecond. FW_OK with *EVENT at one reference; FW_EFORMAT, FW_ENOMEM.
int fw_event_parse(struct fw_event **event, const char *json, size_t length,
                   struct fw_error *error);
struct fw_event *fw_event_ref(struct fw_event *event);
void fw_event_unref(struct fw_event *event);

#endif
