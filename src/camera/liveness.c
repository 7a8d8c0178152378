#include "camera/liveness.h"

#include "util/clock.h"

void fw_liveness_start(struct fw_liveness *liveness, int64_t now_us)
{
    liveness->packet_us = now_us;
    liveness->picture_us = now_us;
    liveness->keyframe_us = now_us;
    liveness->awaits_keyframe = true;
}

void fw_liveness_packet(struct fw_liveness *liveness, int64_t now_us)
{
    liveness->packet_us = now_us;
}

// A wait that goes on keeps its beginning: losses one after the other must not renew it for ever.
void fw_liveness_await_keyframe(struct fw_liveness *liveness, int64_t now_us)
{
    if (!liveness->awaits_keyframe)
        liveness->keyframe_us = now_us;
    liveness->awaits_keyframe = true;
}

void fw_liveness_picture(struct fw_liveness *liveness, int64_t now_us)
{
    liveness->picture_us = now_us;
    liveness->awaits_keyframe = false;
}

static int64_t packet_end_us(const struct fw_liveness *liveness)
{
    return liveness->packet_us + liveness->packet_timeout_us;
}

static int64_t keyframe_end_us(const struct fw_liveness *liveness)
{
    return liveness->awaits_keyframe ? liveness->keyframe_us + liveness->keyframe_timeout_us
                                     : INT64_MAX;
}

static int64_t picture_end_us(const struct fw_liveness *liveness)
{
    return liveness->picture_us + liveness->packet_timeout_us + liveness->keyframe_timeout_us;
}

int64_t fw_liveness_left_ms(const struct fw_liveness *liveness, int64_t now_us)
{
    int64_t end_us = packet_end_us(liveness);

    if (keyframe_end_us(liveness) < end_us)
        end_us = keyframe_end_us(liveness);
    if (picture_end_us(liveness) < end_us)
        end_us = picture_end_us(liveness);
    if (end_us <= now_us)
        return 0;
    return (end_us - now_us + FW_US_PER_MS - 1) / FW_US_PER_MS;
}

int fw_liveness_check(const struct fw_liveness *liveness, int64_t now_us, struct fw_error *error)
{
    if (now_us >= packet_end_us(liveness))
        return fw_fail(error, FW_ETIMEDOUT,
                       "connected, but no video came for %.1f s; check the camera and the network",
                       (double)(now_us - liveness->packet_us) / (double)FW_US_PER_S);
    if (now_us >= keyframe_end_us(liveness))
        return fw_fail(error, FW_ETIMEDOUT,
                       "video comes, but no clean keyframe for %.1f s; set the camera's keyframe"
                       " interval to 1 or 2 s and check the network for losses",
                       (double)(now_us - liveness->keyframe_us) / (double)FW_US_PER_S);
    if (now_us >= picture_end_us(liveness))
        return fw_fail(error, FW_ETIMEDOUT,
                       "video comes, but no picture could be decoded for %.1f s; check the camera's"
                       " codec settings",
                       (double)(now_us - liveness->picture_us) / (double)FW_US_PER_S);
    return FW_OK;
}
