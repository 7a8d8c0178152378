// The inside of a source, shared by open.c and source.c alone.
#ifndef FW_CAMERA_SOURCE_INTERNAL_H
#define FW_CAMERA_SOURCE_INTERNAL_H

#include "camera/capture_clock.h"
#include "camera/library.h"
#include "camera/liveness.h"
#include "camera/source.h"
#include "util/cancel.h"
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>

#define FW_PACKET_TIMES 64 // more than any decoder reorders

// When the packet with PTS was taken by the camera.
struct fw_packet_time {
    int64_t pts, utc_us, mono_us;
};

// Owned and used by the source's one thread.
struct fw_source {
    struct fw_source_options options;
    struct fw_deadline deadline; // of the libav call under way
    struct fw_loss loss;         // counted by libav's log callback on this thread
    unsigned seen_transport_lines, seen_decoder_lines;

    AVFormatContext *format;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *picture;
    struct fw_frame_importer *importer;
    int video_index;
    bool has_packet; // PACKET was read while opening and waits for the decoder
    bool is_file;    // has an end: paced, looped, not judged by clocks
    bool is_draining;
    const char *transport;

    struct fw_liveness liveness;
    struct fw_capture_clock clock;
    struct fw_packet_time times[FW_PACKET_TIMES];
    unsigned time_count;

    bool awaits_keyframe;  // nothing goes to the decoder until one comes
    bool lost_since_clean; // what is waited for was lost, not just not begun
    bool skips_leading;    // packets shown before SYNC_PTS refer to what was not decoded
    int64_t sync_pts;      // of the keyframe that the decoder began with
    int64_t last_dts;      // of the video, AV_NOPTS_VALUE at first
    int64_t highest_pts;   // of the packets so far
    int64_t keyframe_time; // of the latest keyframe, AV_NOPTS_VALUE at first
    int spoilt_by_lines;   // keyframes in a row that only log lines called damaged
    bool is_deaf_to_lines; // log lines of this decoder have proved worthless

    int64_t opened_us;                 // monotonic: when opening began
    int64_t file_base_us;              // monotonic time of the file's time 0
    int64_t file_offset_us;            // length of all rounds before this one
    int64_t file_start_us;             // stream time of this round's first picture
    int64_t file_last_us;              // file time of the latest picture, -1 at first
    bool file_round_began;             // FILE_START_US is known
    bool file_was_sought;              // this round began with a seek
    uint64_t sequence, round_pictures; // round_pictures: since the file's (re)start
    struct fw_source_stats stats;
};

// Opens input and decoder; for live sources the first packet of the video waits in PACKET after.
// As fw_source_open().
int fw_source_open_input(struct fw_source *source, struct fw_error *error);
void fw_source_close_input(struct fw_source *source);
// One av_read_frame() within TIMEOUT_MS; libav's code.
int fw_source_read_packet(struct fw_source *source, int64_t timeout_ms);

#endif
