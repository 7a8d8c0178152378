// Packets to all outputs of a camera, a writer thread and a bounded queue for each, so that one
// that is blocked or gone delays nothing else. For this room alone.
#ifndef FW_CAMERA_PUBLISH_H
#define FW_CAMERA_PUBLISH_H

#include "camera/camera.h"

struct AVCodecContext;
struct AVPacket;

struct fw_publish_options {
    const struct fw_output_options *outputs;
    int output_count;
    bool tls_verify;
    bool is_lossless; // files: fw_publish_packet() waits for the writer rather than drop
    struct fw_resolver *resolver;
    struct fw_secrets *secrets;
    const struct fw_log *log;
};

struct fw_publish;

// Options are copied, what they point to is borrowed. FW_OK, FW_ENOTSUP (an output's scheme),
// FW_EINVAL (too many outputs), FW_ENOMEM.
int fw_publish_create(struct fw_publish **publish, const struct fw_publish_options *options,
                      struct fw_error *error);
// Starts the writers for the stream that ENCODER makes; after a failure those that are missing.
// FW_OK, FW_ENOMEM, FW_EAGAIN.
int fw_publish_begin(struct fw_publish *publish, const struct AVCodecContext *encoder,
                     struct fw_error *error);
// Gives PACKET (stays the caller's, a reference is taken) to every output. Does not block but for
// is_lossless. The thread that called fw_publish_begin().
void fw_publish_packet(struct fw_publish *publish, const struct AVPacket *packet);
// True once after an output has come that waits for a keyframe.
bool fw_publish_wants_keyframe(struct fw_publish *publish);
// Fills the outputs of STATUS. Any thread.
void fw_publish_get_status(struct fw_publish *publish, struct fw_camera_status *status);
// Ends the writers: what is queued is written and the trailer, for TIMEOUT_MS at most; NOW gives
// connections up that do not stand yet. Returns how many threads did not end; when it is not 0,
// PUBLISH must not be destroyed.
int fw_publish_finish(struct fw_publish *publish, bool now, int64_t timeout_ms);
void fw_publish_destroy(struct fw_publish *publish);

#endif
