#include "camera/publish.h"

#include "camera/output.h"
#include "util/clock.h"
#include <libavcodec/avcodec.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OUTPUTS 8 // as struct fw_camera_status has them
#define GRACE_MS    300

struct fw_publish {
    struct fw_publish_options options;
    struct fw_output *outputs[MAX_OUTPUTS];
    int count;
};

int fw_publish_create(struct fw_publish **publish_out, const struct fw_publish_options *options,
                      struct fw_error *error)
{
    struct fw_publish *publish;
    int status = FW_OK;

    *publish_out = NULL;
    if (options->output_count > MAX_OUTPUTS)
        return fw_fail(error, FW_EINVAL, "a camera has %d outputs at most, not %d", MAX_OUTPUTS,
                       options->output_count);
    publish = calloc(1, sizeof(*publish));
    if (!publish)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    publish->options = *options;
    for (int i = 0; i < options->output_count && status == FW_OK; i++) {
        status = fw_output_create(&publish->outputs[i], options, options->outputs[i].url, error);
        publish->count += status == FW_OK;
    }
    if (status) {
        fw_publish_destroy(publish);
        return status;
    }
    *publish_out = publish;
    return FW_OK;
}

int fw_publish_begin(struct fw_publish *publish, const AVCodecContext *encoder,
                     struct fw_error *error)
{
    for (int i = 0; i < publish->count; i++) {
        int status = fw_output_begin(publish->outputs[i], encoder, error);
        if (status)
            return status;
    }
    return FW_OK;
}

void fw_publish_packet(struct fw_publish *publish, const AVPacket *packet)
{
    for (int i = 0; i < publish->count; i++)
        fw_output_put(publish->outputs[i], packet);
}

bool fw_publish_wants_keyframe(struct fw_publish *publish)
{
    bool wants = false;

    for (int i = 0; i < publish->count; i++)
        wants |= fw_output_wants_keyframe(publish->outputs[i]);
    return wants;
}

void fw_publish_get_status(struct fw_publish *publish, struct fw_camera_status *status)
{
    status->output_count = publish->count;
    for (int i = 0; i < publish->count; i++) {
        struct fw_output_status one;

        fw_output_get_status(publish->outputs[i], &one);
        status->outputs[i].is_open = one.is_open;
        status->outputs[i].packets = one.packets;
        status->outputs[i].bytes = one.bytes;
        status->outputs[i].dropped = one.dropped;
        status->outputs[i].reconnects = one.reconnects;
        memcpy(status->outputs[i].reason, one.reason, sizeof(one.reason));
    }
}

int fw_publish_finish(struct fw_publish *publish, bool now, int64_t timeout_ms)
{
    int64_t until_us = fw_monotonic_us() + (timeout_ms + GRACE_MS) * FW_US_PER_MS;
    int lost = 0;

    for (int i = 0; i < publish->count; i++)
        fw_output_close(publish->outputs[i], now, timeout_ms);
    for (int i = 0; i < publish->count; i++) {
        int64_t left_ms = (until_us - fw_monotonic_us()) / FW_US_PER_MS;
        lost += fw_output_join(publish->outputs[i], left_ms > 0 ? left_ms : 0) != FW_OK;
    }
    return lost;
}

void fw_publish_destroy(struct fw_publish *publish)
{
    if (!publish)
        return;
    for (int i = 0; i < MAX_OUTPUTS; i++)
        fw_output_destroy(publish->outputs[i]);
    free(publish);
}
