// The configuration: one JSON file, read through the table in options.c into plain structs.
#ifndef FW_APP_CONFIG_H
#define FW_APP_CONFIG_H

#include "alert/outbox.h"
#include "alert/schedule.h"
#include "alert/sink.h"
#include "camera/camera.h"
#include "util/error.h"
#include "util/log.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define FW_MAX_SINKS 16

struct fw_secret;
struct fw_secrets;
struct fw_url;

// All strings, secrets and URLs below belong to the struct fw_config that they were loaded with.
// It is immutable once fw_config_load() has returned, so any thread may read it.

struct fw_worker_config {
    char *id;        // never NULL
    char *state_dir; // never NULL; made by whoever needs it
    int detector_threads;
    int max_connects;
    int heartbeat_s; // 0: none
};

struct fw_web_config {
    char *listen; // "127.0.0.1:8080"; loopback only
};

struct fw_log_config {
    enum fw_log_level level;
    enum fw_log_format format;
};

struct fw_detector_config {
    char *model; // a name of the model table or a path
    char *precision;
    int input_size_px; // longer side; 0: the picture's own
    double min_score, nms_iou;
    int min_face_px;
    int tile_columns, tile_rows; // "3x2"
    struct fw_box roi;           // as fractions of the picture
};

// Strings are NULL where nothing was given, but for `dir`.
struct fw_models_config {
    char *dir;
    char *base_url;
    char *onnx, *onnx_sha256;
    char *prototxt, *prototxt_sha256;
    char *caffemodel, *caffemodel_sha256;
    char *cascade;
};

struct fw_alerts_config {
    enum fw_message_format format;
    enum fw_delivery delivery;
    int fallback_after_ms;
    double snapshot_wait_s;
    double cooldown_s;
    struct fw_schedule_span *spans; // of `schedule`; none: always
    size_t span_count;
    char *time_zone;                              // IANA; NULL: the machine's
    double max_per_minute, worker_max_per_minute; // 0: no limit
    double static_after_s;                        // 0: off
    double min_quality;
    bool camera_events;
    double camera_debounce_s;
    int confirm_hits, confirm_window; // "2/3"
    int lost_ms;
    double max_age_days; // of events and of pictures on this disk
    int max_mb;          // of the outbox, and of the pictures
};

enum fw_zone_type { FW_ZONE_INCLUDE, FW_ZONE_EXCLUDE };

struct fw_zone_config {
    char *name;
    enum fw_zone_type type;
    struct fw_point *points; // shares of the picture
    size_t point_count;
    double min_score;  // 0: the camera's
    int min_face_px;   // 0: the camera's
    double cooldown_s; // negative: the camera's
};

struct fw_publish_config {
    char *encoder, *preset;
    int bitrate_kbps;
    double fps; // 0: the source's
    double gop_s;
    struct fw_url **outputs; // `ffmpeg_output` first, then `publish.outputs`
    size_t output_count;
};

struct fw_camera_config {
    char *id;       // [A-Za-z0-9._-]+, unique
    char *name;     // NULL: the id
    char *location; // or NULL
    bool enabled;
    struct fw_url *url; // of `test_video` when that is set, else of `rtsp`; never NULL
    bool is_test_video;
    bool test_video_realtime;
    int64_t max_frames; // 0: for ever
    enum fw_transport transport;
    bool tls_verify;
    int frame_skip;
    double analyze_fps; // 0: no limit
    int max_frame_age_ms;
    bool save_snapshots;
    int connect_timeout_ms, packet_timeout_ms, keyframe_timeout_ms;
    struct fw_publish_config publish;
    struct fw_detector_config detector; // the common one with the camera's own laid over it
    struct fw_alerts_config alerts;     // likewise
    bool overlay_enabled;
    struct fw_zone_config *zones;
    size_t zone_count;
    // As read; all of it has gone into `url` and `publish.outputs`.
    char *username;
    struct fw_secret *password;
    struct fw_url *test_video, *ffmpeg_output;
};

// A sink of any origin: the message queue or its mock, the backend, or one of `sinks`. NULL where
// nothing is given or the type has no use for it.
struct fw_sink_config {
    char *name; // unique: "mq", "backend", or its own
    char *type; // "file", "http", "rabbitmq", "redis" or "mqtt"
    char *path;
    struct fw_url *url; // with the login that stands apart from it
    char *username;
    struct fw_secret *password;
    int timeout_ms;
    struct fw_secret *token, *hmac_secret;
    bool embed_snapshot;
    char *exchange, *routing_key, *queue;
    bool declare;
    int64_t max_length;
    bool retain_state, home_assistant;
    char *discovery_prefix;
    char *ca_file, *certificate_file, *key_file;
    bool tls_verify;
};

struct fw_local_mocks_config {
    bool use_mock_s3, use_mock_mq;
};

struct fw_backend_config {
    struct fw_secret *token, *hmac_secret; // as read; they have gone into `sinks`
    int timeout_s;
    bool embed_snapshot;
    char *ca_file;
    bool tls_verify;
};

struct fw_s3_config {
    bool enabled;
    char *bucket, *prefix, *endpoint_url, *region;
    struct fw_secret *access_key, *secret_key, *session_token; // else AWS's environment variables
    int path_style;                                            // -1: auto
    char *public_base_url;                                     // or NULL
    int presign_s;
    int timeout_ms;
    char *ca_file;
    bool tls_verify;
};

struct fw_config {
    char *path; // of the file
    struct fw_worker_config worker;
    struct fw_web_config web;
    struct fw_log_config log;
    struct fw_detector_config detector;
    struct fw_models_config models;
    struct fw_alerts_config alerts;
    struct fw_sink_config mq;         // as read; it has gone into `sinks`
    struct fw_url *backend_alert_url; // as read; it has gone into `sinks`
    struct fw_backend_config backend;
    struct fw_s3_config s3;
    struct fw_local_mocks_config local_mocks;
    struct fw_camera_config *cameras; // at least one; disabled ones included
    size_t camera_count;
    // What follows from the above, in the order of delivery: "mq" (the broker of `mq`, or a file
    // with use_mock_mq), "backend" (with backend_alert_url), then `sinks`.
    struct fw_sink_config *sinks;
    size_t sink_count;
    char *snapshot_dir;    // with use_mock_s3: <state_dir>/snapshots; else NULL
    bool stores_snapshots; // in `snapshot_dir` or in S3
    char *isa;             // of FACEWORKER_ISA, else "auto"; never NULL
};

enum fw_severity { FW_SEVERITY_WARNING, FW_SEVERITY_ERROR };

// One finding. LINE and COLUMN count from 1; both are 0 when it's about no place in the file.
struct fw_diagnostic {
    int line, column;
    enum fw_severity severity;
    char *message; // "what is wrong; what to do"; never holds a secret
};

// Everything found in one file, in the order of the file. Zero-initialise;
// fw_diagnostics_free() at the end. One thread.
struct fw_diagnostics {
    struct fw_diagnostic *items;
    size_t count, capacity;
    size_t error_count;
};

void fw_diagnostics_free(struct fw_diagnostics *diagnostics);
// Writes "FILE:LINE:COLUMN: message" lines (warnings as "FILE:LINE:COLUMN: warning: message") to
// STREAM through SECRETS' filter.
void fw_diagnostics_print(const struct fw_diagnostics *diagnostics, const char *file,
                          const struct fw_secrets *secrets, FILE *stream);

// Which file to read: OPTION (of -c) if not NULL, else WORKER_CONFIG, else ./faceworker.json, else
// /etc/faceworker/faceworker.json. *PATH is malloc'd. FW_OK, FW_ENOENT (ERROR says where it was
// looked for), FW_ENOMEM.
int fw_config_find(const char *option, char **path, struct fw_error *error);

// Reads and checks PATH. Every secret in it is registered in SECRETS (which must outlive the
// configuration), even when the load fails. FW_OK with *CONFIG set (DIAGNOSTICS may hold warnings);
// FW_EINVAL (DIAGNOSTICS has at least one error), FW_ENOENT or FW_EIO (no such file, unreadable:
// one error in DIAGNOSTICS too), FW_ENOMEM; then *CONFIG is NULL.
int fw_config_load(struct fw_config **config, const char *path, struct fw_secrets *secrets,
                   struct fw_diagnostics *diagnostics);
// As above for TEXT (terminated), which is called PATH in messages.
int fw_config_load_text(struct fw_config **config, const char *path, const char *text,
                        struct fw_secrets *secrets, struct fw_diagnostics *diagnostics);
// NULL is allowed.
void fw_config_destroy(struct fw_config *config);

// Where models lie when `models.dir` is not set. malloc'd; NULL when memory is out.
char *fw_config_default_models_dir(void);

// The `models` section as the store and the pool want it; strings stay CONFIG's.
struct fw_model_store_options;
void fw_config_model_options(const struct fw_config *config, const struct fw_log *log,
                             struct fw_model_store_options *options);

#endif
