// Pictures from packets: losses, timestamps, pacing. Opening is in open.c.
#include "camera/source_internal.h"

#include "camera/av_error.h"
#include "media/frame_av.h"
#include "util/clock.h"
#include "util/url.h"
#include <libavutil/pixdesc.h>
#include <stdio.h>
#include <stdlib.h>

#define DEFAULT_CONNECT_TIMEOUT_MS  10000
#define DEFAULT_PACKET_TIMEOUT_MS   5000
#define DEFAULT_KEYFRAME_TIMEOUT_MS 20000
#define LATE_US                     (500 * FW_US_PER_MS) // a paced file that late starts anew
#define GAP_US                      FW_US_PER_S
#define JUMP_US                     (10 * FW_US_PER_S)
#define SPOILT_KEYFRAMES            5

static const AVRational microseconds = {1, 1000000};

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

static void reset_decoding(struct fw_source *source)
{
    source->awaits_keyframe = true;
    source->lost_since_clean = false;
    source->skips_leading = false;
    source->is_draining = false;
    source->last_dts = AV_NOPTS_VALUE;
    source->highest_pts = AV_NOPTS_VALUE;
    source->keyframe_time = AV_NOPTS_VALUE;
    source->file_round_began = false;
    source->round_pictures = 0;
}

int fw_source_open(struct fw_source **source_out, const struct fw_source_options *options,
                   struct fw_error *error)
{
    struct fw_source *source = calloc(1, sizeof(*source));
    int status = FW_ENOMEM;

    *source_out = NULL;
    if (!source)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    source->options = *options;
    source->options.connect_timeout_ms =
        or_default(options->connect_timeout_ms, DEFAULT_CONNECT_TIMEOUT_MS);
    source->options.packet_timeout_ms =
        or_default(options->packet_timeout_ms, DEFAULT_PACKET_TIMEOUT_MS);
    source->options.keyframe_timeout_ms =
        or_default(options->keyframe_timeout_ms, DEFAULT_KEYFRAME_TIMEOUT_MS);
    source->deadline.cancel = options->cancel;
    source->liveness.packet_timeout_us = source->options.packet_timeout_ms * FW_US_PER_MS;
    source->liveness.keyframe_timeout_us = source->options.keyframe_timeout_ms * FW_US_PER_MS;
    source->opened_us = fw_monotonic_us();
    source->file_last_us = -1;
    source->transport = "";
    reset_decoding(source);
    source->packet = av_packet_alloc();
    source->picture = av_frame_alloc();
    source->importer = fw_frame_importer_create();
    if (!source->packet || !source->picture || !source->importer)
        fw_fail(error, FW_ENOMEM, "out of memory");
    else
        status = fw_source_open_input(source, error);
    if (status) {
        fw_source_close(source);
        return status;
    }
    source->file_base_us = fw_monotonic_us();
    fw_liveness_start(&source->liveness, source->file_base_us);
    *source_out = source;
    return FW_OK;
}

void fw_source_close(struct fw_source *source)
{
    if (!source)
        return;
    if (source->packet)
        fw_source_close_input(source);
    av_packet_free(&source->packet);
    av_frame_free(&source->picture);
    fw_frame_importer_destroy(source->importer);
    free(source);
}

// ---- losses

// Forgets what log lines have told so far, because it was acted upon.
static void take_lines(struct fw_source *source)
{
    source->seen_transport_lines = atomic_load(&source->loss.transport_lines);
    source->seen_decoder_lines = atomic_load(&source->loss.decoder_lines);
}

static bool transport_told_loss(const struct fw_source *source)
{
    return atomic_load(&source->loss.transport_lines) != source->seen_transport_lines;
}

// Pictures that don't build on each other need no words from the decoder: their flags do.
static bool decoder_told_loss(const struct fw_source *source)
{
    const AVCodecDescriptor *descriptor = source->decoder->codec_descriptor;

    if (source->is_deaf_to_lines || (descriptor && descriptor->props & AV_CODEC_PROP_INTRA_ONLY))
        return false;
    return atomic_load(&source->loss.decoder_lines) != source->seen_decoder_lines;
}

// Nothing comes out until the next clean keyframe.
static void note_loss(struct fw_source *source, uint64_t *counter)
{
    ++*counter;
    take_lines(source);
    source->awaits_keyframe = true;
    source->lost_since_clean = true;
    fw_liveness_await_keyframe(&source->liveness, fw_monotonic_us());
}

// Some streams make the decoder complain at every keyframe and are fine all the same: when nothing
// but lines spoilt several keyframes in a row, lines are no longer believed.
static void note_decoder_line(struct fw_source *source)
{
    note_loss(source, &source->stats.lost_decoder);
    if (++source->spoilt_by_lines < SPOILT_KEYFRAMES)
        return;
    source->is_deaf_to_lines = true;
    fw_log_warning(source->options.log,
                   "the decoder complains about every keyframe but damages none; its words are no"
                   " longer taken as losses");
}

// ---- packets

static bool went_through_a_gap(const struct fw_source *source, const AVPacket *packet)
{
    AVRational time_base = source->format->streams[source->video_index]->time_base;
    int64_t step_us;

    if (source->is_file || source->last_dts == AV_NOPTS_VALUE || packet->dts == AV_NOPTS_VALUE)
        return false;
    step_us = av_rescale_q(packet->dts - source->last_dts, time_base, microseconds);
    // A packet that just lasts long (a slow camera) says so, or comes as late as it says.
    return step_us < -GAP_US || step_us > 5 * GAP_US ||
           (step_us > GAP_US && fw_monotonic_us() - source->liveness.packet_us < step_us / 2);
}

static void note_timestamps(struct fw_source *source, const AVPacket *packet)
{
    AVRational time_base = source->format->streams[source->video_index]->time_base;
    struct fw_source_stats *stats = &source->stats;
    int64_t interval_us;

    stats->packets++;
    stats->bytes += (uint64_t)packet->size;
    // RTSP's first packets may come before their time is known; that harms nobody.
    if (source->last_dts != AV_NOPTS_VALUE &&
        (packet->pts == AV_NOPTS_VALUE ||
         (packet->dts != AV_NOPTS_VALUE && packet->dts <= source->last_dts)))
        stats->bad_timestamps++;
    if (packet->pts != AV_NOPTS_VALUE) {
        if (source->highest_pts != AV_NOPTS_VALUE && packet->pts < source->highest_pts)
            stats->reordered++;
        else
            source->highest_pts = packet->pts;
    }
    if (packet->dts != AV_NOPTS_VALUE)
        source->last_dts = packet->dts;
    if (!(packet->flags & AV_PKT_FLAG_KEY))
        return;
    stats->keyframes++;
    if (source->keyframe_time != AV_NOPTS_VALUE && packet->pts != AV_NOPTS_VALUE) {
        interval_us = av_rescale_q(packet->pts - source->keyframe_time, time_base, microseconds);
        if (interval_us > stats->longest_keyframe_interval_us)
            stats->longest_keyframe_interval_us = interval_us;
    }
    source->keyframe_time = packet->pts;
}

static void note_capture_time(struct fw_source *source, const AVPacket *packet)
{
    struct fw_packet_time *time = &source->times[source->time_count++ % FW_PACKET_TIMES];
    int64_t utc_us = fw_utc_us();
    int64_t mono_us = fw_monotonic_us();
    int64_t sender_us = 0;
    size_t size = 0;
    const uint8_t *data = av_packet_get_side_data(packet, AV_PKT_DATA_PRFT, &size);

    if (data && size >= sizeof(AVProducerReferenceTime)) {
        sender_us = ((const AVProducerReferenceTime *)(const void *)data)->wallclock;
        source->stats.has_sender_time = true;
    }
    time->pts = packet->pts;
    time->utc_us = fw_capture_clock_map(&source->clock, sender_us, utc_us);
    time->mono_us = mono_us - (utc_us - time->utc_us);
}

// Whether PACKET is for the decoder: not while a keyframe is awaited, and not when it shows a
// picture before the keyframe just begun with, which refers to what was never decoded.
static bool is_for_decoder(struct fw_source *source, const AVPacket *packet)
{
    bool is_key = packet->flags & AV_PKT_FLAG_KEY;

    if (source->awaits_keyframe) {
        if (!is_key) {
            source->stats.corrupt += source->lost_since_clean;
            return false;
        }
        if (source->lost_since_clean)
            avcodec_flush_buffers(source->decoder);
        source->awaits_keyframe = false;
        source->lost_since_clean = false;
        source->sync_pts = packet->pts;
        source->skips_leading = packet->pts != AV_NOPTS_VALUE;
        take_lines(source);
        return true;
    }
    if (!source->skips_leading || packet->pts == AV_NOPTS_VALUE)
        return true;
    if (packet->pts < source->sync_pts)
        return false;
    source->skips_leading = false;
    return true;
}

static int decode(struct fw_source *source, struct fw_error *error)
{
    int averror;

    note_capture_time(source, source->packet);
    averror = avcodec_send_packet(source->decoder, source->packet);
    av_packet_unref(source->packet);
    if (averror == AVERROR(ENOMEM))
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (averror < 0)
        note_loss(source, &source->stats.lost_decoder);
    return FW_OK;
}

static int consider_packet(struct fw_source *source, struct fw_error *error)
{
    AVPacket *packet = source->packet;
    bool has_gap = went_through_a_gap(source, packet);

    note_timestamps(source, packet);
    fw_liveness_packet(&source->liveness, fw_monotonic_us());
    if (transport_told_loss(source) || has_gap || packet->flags & AV_PKT_FLAG_CORRUPT)
        note_loss(source, &source->stats.lost_transport);
    if (packet->flags & AV_PKT_FLAG_CORRUPT || !is_for_decoder(source, packet)) {
        av_packet_unref(packet);
        return FW_OK;
    }
    return decode(source, error);
}

// The end of a file: the decoder gives what it holds, then its own end.
static int begin_draining(struct fw_source *source)
{
    source->is_draining = true;
    avcodec_send_packet(source->decoder, NULL);
    return FW_OK;
}

static int read_failed(struct fw_source *source, int averror, struct fw_error *error)
{
    const char *display = source->options.url->display;

    if (source->is_file && source->deadline.interrupted == FW_OK &&
        (averror == AVERROR_EOF || source->round_pictures > 0 || source->file_was_sought))
        return begin_draining(source);
    if (source->deadline.interrupted == FW_ETIMEDOUT || averror == AVERROR(ETIMEDOUT)) {
        if (source->is_file || fw_liveness_check(&source->liveness, fw_monotonic_us(), error) == 0)
            fw_fail(error, FW_ETIMEDOUT, "connected, but no data came in time from %s", display);
        return FW_ETIMEDOUT;
    }
    return fw_av_fail(error, averror, &source->deadline, display);
}

// Gives the decoder the next packet, or starts draining it.
static int feed(struct fw_source *source, struct fw_error *error)
{
    int64_t timeout_ms = source->options.packet_timeout_ms;
    int averror = 0;

    if (fw_cancel_is_set(source->options.cancel))
        return fw_fail(error, FW_ECANCELED, "canceled");
    if (!source->is_file) {
        int status = fw_liveness_check(&source->liveness, fw_monotonic_us(), error);
        if (status)
            return status;
        timeout_ms = fw_liveness_left_ms(&source->liveness, fw_monotonic_us());
    }
    if (!source->has_packet)
        averror = fw_source_read_packet(source, timeout_ms);
    source->has_packet = false;
    if (averror == AVERROR(EAGAIN))
        return FW_OK;
    if (averror < 0)
        return read_failed(source, averror, error);
    if (source->packet->stream_index != source->video_index) {
        av_packet_unref(source->packet);
        return FW_OK;
    }
    return consider_packet(source, error);
}

// ---- pictures

static const struct fw_packet_time *time_of(const struct fw_source *source, const AVFrame *picture)
{
    unsigned known = source->time_count < FW_PACKET_TIMES ? source->time_count : FW_PACKET_TIMES;
    const struct fw_packet_time *newest =
        &source->times[(source->time_count - 1) % FW_PACKET_TIMES];

    for (unsigned i = 1; i <= known && picture->pts != AV_NOPTS_VALUE; i++) {
        const struct fw_packet_time *time =
            &source->times[(source->time_count - i) % FW_PACKET_TIMES];
        if (time->pts == picture->pts)
            return time;
    }
    return newest;
}

static double told_fps(const struct fw_source *source)
{
    const AVStream *stream = source->format->streams[source->video_index];
    AVRational rate = stream->avg_frame_rate;

    if (rate.num <= 0 || rate.den <= 0)
        rate = stream->r_frame_rate;
    if (rate.num <= 0 || rate.den <= 0 || av_q2d(rate) > 240)
        return 0;
    return av_q2d(rate);
}

static int64_t picture_interval_us(const struct fw_source *source)
{
    double fps = told_fps(source);

    return fps > 0 ? (int64_t)((double)FW_US_PER_S / fps) : 40 * FW_US_PER_MS;
}

// Recordings are cut together, and then their times jump: nobody is to wait for an hour, nor to see
// an hour in a moment.
static bool is_jump(const struct fw_source *source, int64_t step_us)
{
    int64_t longest_us = 3 * picture_interval_us(source);

    return step_us < -GAP_US || step_us > (longest_us > JUMP_US ? longest_us : JUMP_US);
}

// The picture's time on a line that goes on over all rounds of a looped file.
static int64_t file_time(struct fw_source *source, const AVFrame *picture)
{
    AVRational time_base = source->format->streams[source->video_index]->time_base;
    int64_t next_us =
        source->file_last_us < 0 ? 0 : source->file_last_us + picture_interval_us(source);
    int64_t time_us = next_us;

    if (picture->best_effort_timestamp != AV_NOPTS_VALUE) {
        int64_t stream_us = av_rescale_q(picture->best_effort_timestamp, time_base, microseconds);
        if (!source->file_round_began) {
            source->file_start_us = stream_us;
            source->file_round_began = true;
        }
        time_us = stream_us - source->file_start_us + source->file_offset_us;
        if (source->file_last_us >= 0 && is_jump(source, time_us - source->file_last_us)) {
            source->file_start_us += time_us - next_us;
            time_us = next_us;
        }
    }
    if (time_us <= source->file_last_us)
        time_us = source->file_last_us + 1;
    source->file_last_us = time_us;
    return time_us;
}

// A file that plays as if it were a camera: waits until the picture's time has come. One that runs
// as fast as it goes keeps the file's own time for the machine, and the present for people.
static int pace(struct fw_source *source, struct fw_frame *frame, struct fw_error *error)
{
    int64_t time_us = file_time(source, source->picture);
    int64_t due_us = source->file_base_us + time_us;
    int64_t now_us = fw_monotonic_us();

    frame->capture_mono_us = due_us;
    frame->capture_utc_us = fw_utc_us();
    if (!source->options.realtime)
        return FW_OK;
    if (due_us > now_us && fw_cancel_wait(source->options.cancel, (due_us - now_us) / FW_US_PER_MS))
        return fw_fail(error, FW_ECANCELED, "canceled");
    now_us = fw_monotonic_us();
    if (now_us - due_us > LATE_US)
        source->file_base_us += now_us - due_us;
    frame->capture_mono_us = now_us;
    frame->capture_utc_us = fw_utc_us();
    return FW_OK;
}

static void note_picture(struct fw_source *source)
{
    AVRational time_base = source->format->streams[source->video_index]->time_base;
    int64_t now_us = fw_monotonic_us();
    int64_t pts = source->picture->best_effort_timestamp;

    source->round_pictures++;
    source->spoilt_by_lines = 0;
    fw_liveness_picture(&source->liveness, now_us);
    if (source->stats.pictures++ == 0)
        source->stats.first_picture_us = now_us - source->opened_us;
    if (pts == AV_NOPTS_VALUE)
        return;
    source->stats.last_pts_us = av_rescale_q(pts, time_base, microseconds);
    if (source->stats.pictures == 1)
        source->stats.first_pts_us = source->stats.last_pts_us;
}

static int give(struct fw_source *source, struct fw_frame **frame, struct fw_error *error)
{
    const struct fw_packet_time *time = time_of(source, source->picture);
    struct fw_frame *out = NULL;
    int status = fw_frame_import(source->importer, source->picture, &out);

    if (status)
        return fw_fail(error, status, "the pictures of %s, %dx%d, can't be used (%s)",
                       source->options.url->display, source->picture->width,
                       source->picture->height, fw_status_text(status));
    note_picture(source);
    out->sequence = source->sequence++;
    if (source->is_file) {
        status = pace(source, out, error);
    } else {
        out->capture_utc_us = time->utc_us;
        out->capture_mono_us = time->mono_us;
    }
    if (status) {
        fw_frame_unref(out);
        return status;
    }
    *frame = out;
    return FW_OK;
}

// Whether the picture just decoded may be shown to anybody; what is not is counted.
static bool is_clean(struct fw_source *source)
{
    if (source->picture->flags & AV_FRAME_FLAG_CORRUPT || source->picture->decode_error_flags) {
        note_loss(source, &source->stats.lost_decoder);
        source->spoilt_by_lines = 0;
    } else if (decoder_told_loss(source)) {
        note_decoder_line(source);
    }
    if (!source->awaits_keyframe)
        return true;
    source->stats.corrupt++;
    return false;
}

// The file from its beginning, timestamps going on.
static int rewind_file(struct fw_source *source, struct fw_error *error)
{
    AVFormatContext *format = source->format;
    int64_t start = format->start_time == AV_NOPTS_VALUE ? 0 : format->start_time;
    bool was_sought = source->file_was_sought;
    bool is_empty = source->round_pictures == 0;
    int status;

    if (is_empty && !was_sought)
        return fw_fail(error, FW_EFORMAT, "no picture could be decoded from %s; check the file",
                       source->options.url->display);
    if (!source->options.loop)
        return fw_fail(error, FW_EEND, "end of file");
    if (!is_empty)
        source->file_offset_us = source->file_last_us + picture_interval_us(source);
    reset_decoding(source);
    // Some demuxers (a single image's) say that they have sought, and then find nothing.
    source->file_was_sought =
        !is_empty && av_seek_frame(format, -1, start, AVSEEK_FLAG_BACKWARD) >= 0;
    if (source->file_was_sought) {
        avcodec_flush_buffers(source->decoder);
        return FW_OK;
    }
    fw_source_close_input(source);
    status = fw_source_open_input(source, error);
    take_lines(source);
    return status;
}

// FW_OK, or FW_EAGAIN when the decoder wants a packet first.
static int take_picture(struct fw_source *source, struct fw_frame **frame, struct fw_error *error)
{
    int averror = avcodec_receive_frame(source->decoder, source->picture);
    int status;

    if (averror == AVERROR(EAGAIN))
        return FW_EAGAIN;
    if (averror == AVERROR_EOF) {
        status = rewind_file(source, error);
        return status ? status : FW_EAGAIN;
    }
    if (averror == AVERROR(ENOMEM))
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (averror < 0) {
        note_loss(source, &source->stats.lost_decoder);
        return FW_EAGAIN;
    }
    status = is_clean(source) ? give(source, frame, error) : FW_EAGAIN;
    av_frame_unref(source->picture);
    return status;
}

int fw_source_read(struct fw_source *source, struct fw_frame **frame, struct fw_error *error)
{
    *frame = NULL;
    if (!source->format)
        return fw_fail(error, FW_EINVAL, "the source is closed");
    for (;;) {
        int status = take_picture(source, frame, error);

        if (status != FW_EAGAIN)
            return status;
        status = source->is_draining ? FW_OK : feed(source, error);
        if (status)
            return status;
    }
}

// ---- what is known

void fw_source_get_info(const struct fw_source *source, struct fw_source_info *info)
{
    const AVFormatContext *format = source->format;
    const AVCodecParameters *video;
    const char *name;
    int audio;

    *info = (struct fw_source_info){0};
    if (!format || !source->decoder)
        return;
    video = format->streams[source->video_index]->codecpar;
    snprintf(info->format, sizeof(info->format), "%s", format->iformat->name);
    snprintf(info->codec, sizeof(info->codec), "%s", avcodec_get_name(video->codec_id));
    name = avcodec_profile_name(video->codec_id, video->profile);
    snprintf(info->profile, sizeof(info->profile), "%s", name ? name : "");
    name = av_get_pix_fmt_name(source->decoder->pix_fmt);
    snprintf(info->pixel_format, sizeof(info->pixel_format), "%s", name ? name : "");
    snprintf(info->transport, sizeof(info->transport), "%s", source->transport);
    info->width = source->decoder->width;
    info->height = source->decoder->height;
    info->fps = told_fps(source);
    info->duration_s =
        source->is_file && format->duration > 0 ? (double)format->duration / AV_TIME_BASE : 0;
    audio = av_find_best_stream(source->format, AVMEDIA_TYPE_AUDIO, -1, -1, NULL, 0);
    info->has_audio = audio >= 0;
    if (info->has_audio)
        snprintf(info->audio_codec, sizeof(info->audio_codec), "%s",
                 avcodec_get_name(format->streams[audio]->codecpar->codec_id));
}

uint64_t fw_source_corrupt_frames(const struct fw_source *source)
{
    return source->stats.corrupt;
}

void fw_source_get_stats(const struct fw_source *source, struct fw_source_stats *stats)
{
    *stats = source->stats;
}
