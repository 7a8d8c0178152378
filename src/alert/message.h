// What a sink sends: one event in the form that its readers asked for.
#ifndef FW_ALERT_MESSAGE_H
#define FW_ALERT_MESSAGE_H

#include "alert/event.h"
#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fw_message_format {
    FW_FORMAT_CLOUDEVENTS, // CloudEvents 1.0, structured JSON mode
    // {"camera_id", "timestamp", "faces": [{"box", "score"}], "snapshot_url" or "snapshot"}: what
    // backends of the older worker read; docs/plain.schema.json. They know detections only, so
    // FW_EVENT_FACE_APPEARED is all that has this form.
    FW_FORMAT_PLAIN,
};

struct fw_message {
    char id[37];           // the event's; the same in every delivery of it
    const char *type;      // FW_EVENT_*
    const char *camera_id; // "" for events of the worker
    const char *content_type;
    int64_t time_utc_us;
    char *body; // one line of JSON, terminated
    size_t length;
};

enum fw_picture_state { FW_PICTURE_STORED, FW_PICTURE_PENDING, FW_PICTURE_FAILED };

// Where the dispatcher learns about stored pictures. All functions may be called on any thread.
struct fw_picture_source {
    void *opaque;
    enum fw_picture_state (*state)(void *opaque, const char *key);
    // The URL to send now (a presigned one gets its time of life here). malloc'd; NULL: memory.
    char *(*url)(void *opaque, const char *key);
    // The picture itself, malloc'd. FW_OK, FW_ENOENT, FW_EIO, FW_ENOMEM.
    int (*read)(void *opaque, const char *key, uint8_t **data, size_t *length);
};

struct fw_message_options {
    enum fw_message_format format;
    bool embed_snapshot;                      // base64 in place of URLs
    const struct fw_picture_source *pictures; // NULL: the event's snapshot goes as it is
};

// Makes the message for EVENT: its pictures' state and URLs become what they are now, and those
// that failed are left out. A picture that is embedded counts as stored, wherever it is on its way
// to. MESSAGE borrows from EVENT. FW_OK, FW_ENOTSUP (the format has no form for EVENT: there is
// nothing to send), FW_EFORMAT (EVENT's JSON is damaged), FW_ENOMEM; free with fw_message_free() in
// any case.
int fw_message_make(struct fw_message *message, const struct fw_event *event,
                    const struct fw_message_options *options, struct fw_error *error);
void fw_message_free(struct fw_message *message);

// FW_PICTURE_PENDING while one of EVENT's pictures is; FAILED when none is and one failed; STORED
// otherwise, also for an event without pictures, without PICTURES, and when memory is out (then
// fw_message_make() says so).
enum fw_picture_state fw_event_pictures_state(const struct fw_event *event,
                                              const struct fw_picture_source *pictures);

#endif
