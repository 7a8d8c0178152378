// One output: its queue, its writer thread, its reconnects. For publish.c alone.
#ifndef FW_CAMERA_OUTPUT_H
#define FW_CAMERA_OUTPUT_H

#include "camera/publish.h"

struct fw_output;

struct fw_output_status {
    bool is_open;
    uint64_t packets, bytes, dropped, reconnects;
    char reason[256];
};

// URL is borrowed. FW_OK, FW_ENOTSUP, FW_ENOMEM.
int fw_output_create(struct fw_output **output, const struct fw_publish_options *options,
                     const struct fw_url *url, struct fw_error *error);
// Starts the writer thread for ENCODER's stream.
int fw_output_begin(struct fw_output *output, const struct AVCodecContext *encoder,
                    struct fw_error *error);
void fw_output_put(struct fw_output *output, const struct AVPacket *packet);
bool fw_output_wants_keyframe(struct fw_output *output); // and forgets it
void fw_output_get_status(struct fw_output *output, struct fw_output_status *status);
// No packet after this; what is queued is written within TIMEOUT_MS. NOW: a connection that does
// not stand yet is given up. Returns at once.
void fw_output_close(struct fw_output *output, bool now, int64_t timeout_ms);
// FW_OK, or FW_ETIMEDOUT: then OUTPUT must not be destroyed.
int fw_output_join(struct fw_output *output, int64_t timeout_ms);
void fw_output_destroy(struct fw_output *output);

#endif
