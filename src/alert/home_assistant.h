// How cameras are announced to Home Assistant by MQTT discovery
// (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery).
#ifndef FW_ALERT_HOME_ASSISTANT_H
#define FW_ALERT_HOME_ASSISTANT_H

// A camera is a device with these: whether it is online, whether a face is in view, and when a face
// was last told of.
#define FW_HOME_ASSISTANT_ENTITIES 3

// Borrowed for the call.
struct fw_home_assistant_camera {
    const char *discovery_prefix;
    const char *worker_id, *camera_id, *camera_name;
    const char *availability_topic; // "online" or "offline": the worker
    const char *state_topic;        // "online", "stalled" or "offline": the camera
    const char *face_topic;         // {"present": "ON" or "OFF", "last": RFC 3339}
};

// What announces entity INDEX: to be published, retained, to *TOPIC. Both malloc'd; FW_OK, or
// FW_ENOMEM with both NULL. Any thread.
int fw_home_assistant_announce(const struct fw_home_assistant_camera *camera, int index,
                               char **topic, char **payload);

#endif
