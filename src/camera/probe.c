#include "camera/probe.h"

#include "media/frame.h"
#include "util/clock.h"
#include "util/text.h"
#include "util/url.h"
#include <string.h>

#define LONG_KEYFRAME_S    4.0
#define SLOW_PICTURE_S     3.0
#define FULL_HD_LINES      1080
#define FPS_DIFFERENCE     0.2
#define MANY_FPS           31.0
#define MIN_TIMED_PICTURES 5

// What was seen while reading.
struct observation {
    struct fw_source_info info;
    struct fw_source_stats stats;
    int width, height;
    double read_s;       // how long pictures came
    double measured_fps; // pictures by their times
};

static void say(struct fw_text *out, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void say(struct fw_text *out, const char *name, const char *format, ...)
{
    va_list list;

    fw_text_appendf(out, "  %-20s", name);
    va_start(list, format);
    fw_text_vappendf(out, format, list);
    va_end(list);
    fw_text_append(out, "\n");
}

// Reads for READ_MS. FW_OK when at least one picture came.
static int observe(struct fw_source *source, int64_t read_ms, struct observation *seen,
                   struct fw_error *error)
{
    int64_t end_us = fw_monotonic_us() + read_ms * FW_US_PER_MS;
    int64_t first_us = 0, last_us = 0;
    uint64_t pictures = 0;
    int status = FW_OK;

    while (fw_monotonic_us() < end_us) {
        struct fw_frame *frame = NULL;

        status = fw_source_read(source, &frame, error);
        if (status)
            break;
        last_us = fw_monotonic_us();
        if (pictures++ == 0)
            first_us = last_us;
        seen->width = frame->width;
        seen->height = frame->height;
        fw_frame_unref(frame);
    }
    fw_source_get_info(source, &seen->info);
    fw_source_get_stats(source, &seen->stats);
    seen->read_s = (double)(last_us - first_us) / 1e6;
    // By the stream's own times, because the first pictures come in a burst.
    if (pictures >= MIN_TIMED_PICTURES && seen->stats.last_pts_us > seen->stats.first_pts_us)
        seen->measured_fps = (double)(seen->stats.pictures - 1) * 1e6 /
                             (double)(seen->stats.last_pts_us - seen->stats.first_pts_us);
    return pictures > 0 && (status == FW_EEND || status == FW_OK) ? FW_OK : status;
}

static void describe_stream(const struct observation *seen, struct fw_text *out)
{
    const struct fw_source_info *info = &seen->info;

    say(out, "format", "%s%s%s", info->format, info->transport[0] ? " over " : "", info->transport);
    say(out, "video", "%s%s%s, %dx%d, %s", info->codec, info->profile[0] ? " " : "", info->profile,
        seen->width ? seen->width : info->width, seen->height ? seen->height : info->height,
        info->pixel_format);
    say(out, "audio", "%s", info->has_audio ? info->audio_codec : "none");
    if (info->duration_s > 0)
        say(out, "duration", "%.1f s", info->duration_s);
}

static void describe_pictures(const struct observation *seen, struct fw_text *out)
{
    const struct fw_source_stats *stats = &seen->stats;
    double keyframe_s = (double)stats->longest_keyframe_interval_us / 1e6;

    if (seen->info.fps > 0)
        say(out, "fps, told", "%.2f", seen->info.fps);
    if (seen->measured_fps > 0)
        say(out, "fps, measured", "%.2f", seen->measured_fps);
    if (keyframe_s > 0)
        say(out, "keyframe interval", "%.2f s", keyframe_s);
    else
        say(out, "keyframe interval", "longer than the probe");
    say(out, "B-frames", "%s", stats->reordered ? "yes" : "no");
    say(out, "timestamps", "%s", stats->bad_timestamps ? "some are missing or go back" : "rising");
    say(out, "camera's clock", "%s", stats->has_sender_time ? "sent along" : "not sent");
    say(out, "first picture after", "%.2f s", (double)stats->first_picture_us / 1e6);
    if (seen->read_s > 0)
        say(out, "bit rate", "%.0f kbit/s", (double)stats->bytes * 8e-3 / seen->read_s);
    say(out, "pictures", "%llu, and %llu left out after losses",
        (unsigned long long)stats->pictures, (unsigned long long)stats->corrupt);
}

static void advise(struct fw_text *out, int *count, const char *sentence)
{
    fw_text_appendf(out, "%s  - %s\n", (*count)++ ? "" : "what to improve:\n", sentence);
}

static void advise_codec(const struct observation *seen, struct fw_text *out, int *count)
{
    if (seen->stats.reordered)
        advise(out, count,
               "B-frames are on: they add delay and browsers can't show them over WebRTC; switch"
               " them off in the camera (profile Baseline, or \"B-frames 0\")");
    if (strcmp(seen->info.codec, "hevc") == 0)
        advise(out, count,
               "H.265 costs more to decode and few browsers show it; choose H.264 if the camera"
               " offers it");
    if (strcmp(seen->info.codec, "mjpeg") == 0)
        advise(out, count,
               "MJPEG takes several times the network of H.264; choose H.264 if the camera"
               " offers it");
    if (seen->height > FULL_HD_LINES)
        advise(out, count,
               "the picture is larger than 1080p: decoding and encoding cost grows with it; use"
               " the camera's substream unless faces are far away");
    if (seen->info.fps > MANY_FPS || seen->measured_fps > MANY_FPS)
        advise(out, count, "more than 30 fps bring nothing for faces; set the camera to 10 to 25");
}

static void advise_stream(const struct observation *seen, struct fw_text *out, int *count)
{
    const struct fw_source_stats *stats = &seen->stats;
    double keyframe_s = (double)stats->longest_keyframe_interval_us / 1e6;
    double difference = seen->measured_fps - seen->info.fps;

    if (keyframe_s > LONG_KEYFRAME_S || (keyframe_s <= 0 && seen->read_s > LONG_KEYFRAME_S))
        advise(out, count,
               "the keyframe interval is long: pictures come back late after every loss or"
               " reconnect; set it to 1 or 2 s");
    if (stats->bad_timestamps)
        advise(out, count,
               "timestamps are missing or go back: recordings and viewers may stutter; look for a"
               " firmware update");
    if (stats->lost_transport && strcmp(seen->info.transport, "udp") == 0)
        advise(out, count, "packets were lost on the way; set transport to tcp");
    else if (stats->lost_transport)
        advise(out, count, "data was lost on the way; check the network and the camera's bit rate");
    if (stats->lost_decoder)
        advise(out, count, "the decoder met damaged data; check the network and the camera");
    if ((double)stats->first_picture_us / 1e6 > SLOW_PICTURE_S)
        advise(out, count,
               "the first picture took long; a shorter keyframe interval makes it come sooner");
    if (!seen->info.duration_s && seen->info.fps > 0 && seen->measured_fps > 0 &&
        (difference > seen->info.fps * FPS_DIFFERENCE ||
         -difference > seen->info.fps * FPS_DIFFERENCE))
        advise(out, count,
               "the measured rate is not the one that the stream tells; the camera may slow down"
               " in the dark, or the network can't carry it");
}

static void advise_failure(int status, struct fw_text *out)
{
    const char *sentence = NULL;

    if (status == FW_EAUTH)
        sentence = "too many tries lock some cameras; try the login in the camera's own page first";
    else if (status == FW_ENOENT)
        sentence = "the camera's manual or its ONVIF page names the path of its streams";
    else if (status == FW_ETIMEDOUT)
        sentence = "a wrong address, a firewall or a camera that is off look like this";
    else if (status == FW_ECONNECT)
        sentence = "RTSP's usual port is 554 (MediaMTX: 8554), RTMP's 1935";
    else if (status == FW_EFORMAT)
        sentence = "is this the address of a stream, not of the camera's page?";
    if (sentence)
        fw_text_appendf(out, "hint: %s\n", sentence);
}

static int report_failure(int status, struct fw_text *out, const struct fw_error *error)
{
    fw_text_appendf(out, "failed: %s\n", error->message);
    advise_failure(status, out);
    return status;
}

int fw_probe(const struct fw_source_options *options, int64_t read_ms, struct fw_text *out,
             struct fw_error *error)
{
    struct observation seen = {0};
    struct fw_source *source = NULL;
    struct fw_error local = {0};
    int advice = 0;
    int status;

    if (!error)
        error = &local;
    fw_text_appendf(out, "%s\n", options->url->display);
    status = fw_source_open(&source, options, error);
    if (status)
        return report_failure(status, out, error);
    status = observe(source, read_ms, &seen, error);
    fw_source_close(source);
    describe_stream(&seen, out);
    if (seen.stats.pictures > 0) {
        describe_pictures(&seen, out);
        advise_codec(&seen, out, &advice);
        advise_stream(&seen, out, &advice);
        if (advice == 0 && status == FW_OK)
            fw_text_append(out, "nothing is wrong with this stream\n");
    }
    return status ? report_failure(status, out, error) : FW_OK;
}
