// One camera: from its address to published pictures and reports of faces.
//
// Threads of a camera: source (demux, decode), picture (overlay, encode), and a writer for each
// output. Detections come in on the pool's threads. Others never reach in: they hand over a
// configuration, read copies of the status, and get reports.
#ifndef FW_CAMERA_CAMERA_H
#define FW_CAMERA_CAMERA_H

#include "detect/detector.h"
#include "track/tracker.h"
#include "track/zones.h"
#include "util/error.h"
#include "util/face.h"
#include <stdbool.h>
#include <stdint.h>

struct fw_frame;
struct fw_limiter;
struct fw_log;
struct fw_logger;
struct fw_pool;
struct fw_resolver;
struct fw_secrets;
struct fw_slot;
struct fw_url;

enum fw_camera_state {
    FW_CAMERA_CONNECTING,
    FW_CAMERA_LIVE,    // clean pictures come in
    FW_CAMERA_STALLED, // connected, but no packet, keyframe or picture for too long
    FW_CAMERA_BACKOFF, // waiting before the next try
    FW_CAMERA_STOPPED, // by us, or max_frames reached; the only terminal state
};
const char *fw_camera_state_name(enum fw_camera_state state);

enum fw_transport { FW_TRANSPORT_AUTO, FW_TRANSPORT_TCP, FW_TRANSPORT_UDP };

struct fw_output_options {
    const struct fw_url *url; // rtmp://, rtsp:// or a file path
};

// Immutable and borrowed: outlives the camera.
struct fw_camera_options {
    const char *id, *name, *location; // name NULL: the id; location may be NULL
    const struct fw_url *url;         // what to open: rtsp://, rtmp://, http://, path, /dev/video0
    bool is_test_video;               // url is a file that plays as if it were a camera
    bool test_video_realtime;         // paced at its own speed, else as fast as it goes
    int64_t max_frames;               // stop after so many decoded pictures; 0: never
    enum fw_transport transport;      // of RTSP
    bool tls_verify;
    int frame_skip;     // pictures left out between two analyses
    double analyze_fps; // analyses a second at most; 0: no limit
    int64_t max_frame_age_ms;

    const char *model; // as fw_pool_prepare() chose it
    const char *precision, *isa;
    int input_size;
    struct fw_detect_parameters detect;
    struct fw_tracker_options track;
    const struct fw_zone *zones;
    size_t zone_count; // FW_ZONES_MAX at most
    float min_quality; // a face appears once its best picture has reached this; 0: at once

    bool overlay_enabled;
    const struct fw_output_options *outputs;
    int output_count;
    const char *encoder; // "libx264"
    const char *preset;
    int bitrate_kbps;
    double fps; // 0: the source's
    double gop_s;
    bool wants_snapshots; // reports carry the best picture

    int64_t connect_timeout_ms, packet_timeout_ms, keyframe_timeout_ms;
};

// Copies for others to read.
struct fw_camera_status {
    enum fw_camera_state state;
    char reason[256]; // why it is not live; "" when it is; never a secret
    int64_t state_since_utc_us;
    int64_t away_since_utc_us; // the end of the last `live`, or the start; 0 while live
    int width, height;
    double fps; // decoded, over the last seconds
    double analyses_fps;
    int faces; // tracks now visible
    uint64_t frames_decoded, frames_corrupt, frames_analysed, frames_dropped_age,
        frames_dropped_newer, frames_encoded, reconnects, tracks_confirmed;
    int64_t analysis_lag_us; // from capture to the tracks of the latest analysis
    struct {
        bool is_open;
        uint64_t packets, bytes, dropped, reconnects;
        char reason[256];
    } outputs[8];
    int output_count;
};

enum fw_report_kind {
    // Confirmed, n times in the same including zone (where there are such), and of min_quality.
    FW_REPORT_APPEARED,
    // Once, some time after it appeared: it has left the place where it was first seen by more than
    // half of its width, so it is no poster.
    FW_REPORT_MOVED,
    FW_REPORT_LEFT, // only of what appeared
};

// A face came or went. Borrowed for the call, PICTURE included (take a reference to keep it).
struct fw_face_report {
    enum fw_report_kind kind;
    uint64_t track;
    int zone; // where it appeared: an index into the camera's zones; -1: it has no including ones
    struct fw_box first_box, last_box; // where it was seen first and last
    int64_t still_us;                  // how long it stayed where it was first seen, but for jitter
    int64_t capture_utc_us;            // of the picture that the report is about (PICTURE's)
    int64_t first_seen_utc_us, last_seen_utc_us;
    const char *reason;       // left: "lost", "camera_stopped"
    struct fw_frame *picture; // the track's best so far, clean; NULL unless wants_snapshots
    int frame_width, frame_height;
    struct fw_face face; // in that picture
    float quality;
    const struct fw_face *others; // further faces of that picture, for the annotated copy
    const uint64_t *other_tracks;
    int other_count;
};

// Called on the camera's or the pool's threads; must return at once (hand over to a queue).
struct fw_camera_listener {
    void *opaque;
    void (*face)(void *opaque, const char *camera_id, const struct fw_face_report *report);
    void (*state)(void *opaque, const char *camera_id, enum fw_camera_state state,
                  const char *reason, int64_t utc_us);
};

// What cameras share; borrowed, outlives them.
struct fw_camera_services {
    struct fw_pool *pool;
    struct fw_limiter *connect_limiter;
    struct fw_resolver *resolver;
    struct fw_logger *logger;
    struct fw_secrets *secrets;
};

struct fw_camera;

// Makes a camera and starts its threads. FW_OK, FW_ENOMEM, FW_EAGAIN, FW_EINVAL, FW_ENOTSUP (an
// output scheme or encoder that this build lacks), with *CAMERA NULL on failure.
int fw_camera_start(struct fw_camera **camera, const struct fw_camera_options *options,
                    const struct fw_camera_services *services,
                    const struct fw_camera_listener *listener, struct fw_error *error);
// Tells every thread of it to end; returns at once. Any thread.
void fw_camera_stop(struct fw_camera *camera);
// Waits for its threads, TIMEOUT_MS at most, and frees it. FW_OK, or FW_ETIMEDOUT: what did not end
// is left behind, and the count of lost threads is returned in *LOST.
int fw_camera_destroy(struct fw_camera *camera, int64_t timeout_ms, int *lost);
bool fw_camera_has_ended(struct fw_camera *camera);
void fw_camera_get_status(struct fw_camera *camera, struct fw_camera_status *status);
// A new reference to the slot of live JPEGs (what is published, encoded only while watched).
struct fw_slot *fw_camera_live_slot(struct fw_camera *camera);

// Once a process, before the first camera: libav's network and log set-up. Log lines of libav go to
// the calling thread's handle (util/log.h) and through the secrets' filter.
void fw_camera_library_init(void);

#endif
