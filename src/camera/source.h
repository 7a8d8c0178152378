// Opens whatever libavformat opens and gives pictures, with a deadline on every blocking call.
#ifndef FW_CAMERA_SOURCE_H
#define FW_CAMERA_SOURCE_H

#include "camera/camera.h"
#include "util/log.h"

struct fw_cancel;

// What was found behind the address.
struct fw_source_info {
    char format[32], codec[32], profile[32], pixel_format[32];
    int width, height;
    double fps;        // as the stream says, 0 if it does not
    double duration_s; // 0 for live streams
    bool has_audio;
    char audio_codec[32];
    char transport[8]; // "tcp", "udp" or ""
};

struct fw_source_options {
    const struct fw_url *url;
    enum fw_transport transport;
    bool tls_verify;
    bool realtime; // a file is paced at its own speed
    bool loop;     // a file starts again at its end, timestamps going on
    int64_t connect_timeout_ms, packet_timeout_ms, keyframe_timeout_ms;
    struct fw_resolver *resolver;
    struct fw_secrets *secrets;
    struct fw_cancel *cancel;
    const struct fw_log *log;
};

// What the stream did so far, for `probe`. Times are of the stream unless they say otherwise.
struct fw_source_stats {
    uint64_t packets, bytes, keyframes, pictures, corrupt;
    uint64_t lost_transport, lost_decoder; // times that a loss was noticed there
    uint64_t reordered;                    // packets shown earlier than one sent before: B-frames
    uint64_t bad_timestamps;               // packets without a time, or with one that went back
    int64_t longest_keyframe_interval_us;  // 0 until two keyframes came
    int64_t first_picture_us;              // from the call of open to the first picture; 0: none
    int64_t first_pts_us, last_pts_us;     // of pictures
    bool has_sender_time;                  // RTCP sender reports, or what else carries the clock
};

// One thread. Closing a half-built or NULL source is allowed.
struct fw_source;

// FW_OK; FW_ECONNECT, FW_ETIMEDOUT, FW_EAUTH, FW_ENOENT (404, no such file), FW_EFORMAT (no video
// in it), FW_ECANCELED, FW_ENOMEM; ERROR says it in words, without credentials.
int fw_source_open(struct fw_source **source, const struct fw_source_options *options,
                   struct fw_error *error);
// The next clean picture (nothing until the first keyframe, nothing corrupt): a new reference,
// capture times and sequence set. FW_OK, FW_EEND (end of a file that does not loop), FW_ETIMEDOUT
// (stalled: ERROR says which clock), FW_ECONNECT, FW_EIO, FW_ECANCELED.
int fw_source_read(struct fw_source *source, struct fw_frame **frame, struct fw_error *error);
void fw_source_get_info(const struct fw_source *source, struct fw_source_info *info);
uint64_t fw_source_corrupt_frames(const struct fw_source *source);
void fw_source_get_stats(const struct fw_source *source, struct fw_source_stats *stats);
void fw_source_close(struct fw_source *source);

#endif
