// Pictures to H.264 packets that any viewer can take: no B-frames, rising times, regular keyframes.
#ifndef FW_CAMERA_ENCODE_H
#define FW_CAMERA_ENCODE_H

#include "media/frame.h"
#include "util/error.h"

struct AVCodecContext;
struct AVPacket;

// Times of packets are milliseconds: RTMP knows nothing finer.
#define FW_ENCODE_TICKS_PER_S 1000

struct fw_encoder_options {
    const char *name;   // "libx264"
    const char *preset; // of that encoder
    int bitrate_kbps;
    double fps; // about how many pictures a second will come
    double gop_s;
};

// One thread.
struct fw_encoder;

// FW_OK, or FW_ENOTSUP with ERROR naming the encoders that are known, or what is missing.
int fw_encoder_check(const char *name, struct fw_error *error);

// Opens an encoder for pictures like MODEL (format, size rounded down to even, colour description).
// FW_OK, FW_ENOTSUP, FW_EINVAL (settings refused), FW_ENOMEM.
int fw_encoder_open(struct fw_encoder **encoder, const struct fw_encoder_options *options,
                    const struct fw_frame *model, struct fw_error *error);
void fw_encoder_close(struct fw_encoder *encoder);

// Encodes FRAME, of the format and at least the size of the model, shown at TIME_US (any clock; the
// first picture becomes 0, and times that don't rise are moved by a millisecond). PACKET (blank) is
// filled. WANTS_KEYFRAME makes it an IDR; one is made every gop_s anyway. FW_OK, FW_EAGAIN (no
// packet yet), FW_ENOMEM, FW_EIO.
int fw_encoder_encode(struct fw_encoder *encoder, struct fw_frame *frame, int64_t time_us,
                      bool wants_keyframe, struct AVPacket *packet, struct fw_error *error);
// After the last picture: the packets still inside, one a call. FW_OK, FW_EEND.
int fw_encoder_flush(struct fw_encoder *encoder, struct AVPacket *packet);

// For muxers: what the stream is. Borrowed.
const struct AVCodecContext *fw_encoder_context(const struct fw_encoder *encoder);

#endif
