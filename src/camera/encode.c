#include "camera/encode.h"

#include "camera/av_error.h"
#include "media/frame_av.h"
#include "util/clock.h"
#include <libavcodec/avcodec.h>
#include <libavutil/opt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_FPS          25.0
#define DEFAULT_GOP_S        2.0
#define DEFAULT_BITRATE_KBPS 3000

struct fw_encoder {
    AVCodecContext *context;
    AVFrame *picture;
    int64_t first_us; // time of the first picture, INT64_MIN before
    int64_t last_pts;
    int64_t gop_ticks, half_interval_ticks;
    int64_t keyframe_pts;
    bool is_flushing;
};

// One row an encoder: what it needs and its own options, "key=value" pairs that end with NULL.
struct encoder_kind {
    const char *name, *needs;
    const char *const *options;
};

static const char *const x264_options[] = {
    "tune", "zerolatency", "forced-idr", "1", "x264-params", "scenecut=0", NULL,
};

static const struct encoder_kind kinds[] = {
    {"libx264", "a libavcodec built with libx264 (Debian's libavcodec-extra or libavcodec59)",
     x264_options},
};

static const struct encoder_kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    return NULL;
}

int fw_encoder_check(const char *name, struct fw_error *error)
{
    const struct encoder_kind *kind = find_kind(name);

    if (!kind)
        return fw_fail(error, FW_ENOTSUP, "there is no encoder \"%s\"; use libx264", name);
    if (!avcodec_find_encoder_by_name(name))
        return fw_fail(error, FW_ENOTSUP, "the encoder %s is not there; it needs %s", name,
                       kind->needs);
    return FW_OK;
}

static void set_rate(AVCodecContext *context, const struct fw_encoder_options *options)
{
    double fps = options->fps >= 1 && options->fps <= 120 ? options->fps : DEFAULT_FPS;
    double gop_s = options->gop_s > 0 ? options->gop_s : DEFAULT_GOP_S;
    int64_t bits =
        1000LL * (options->bitrate_kbps > 0 ? options->bitrate_kbps : DEFAULT_BITRATE_KBPS);

    context->time_base = (AVRational){1, FW_ENCODE_TICKS_PER_S};
    context->framerate = av_d2q(fps, 100000);
    context->gop_size = (int)lround(fps * gop_s);
    if (context->gop_size < 1)
        context->gop_size = 1;
    context->keyint_min = 1;
    context->bit_rate = bits;
    context->rc_max_rate = bits;
    context->rc_buffer_size = bits > INT32_MAX ? INT32_MAX : (int)bits; // one second
    context->max_b_frames = 0;
    context->thread_count = 1;
    // Parameter sets stand in the stream's header, as FLV, MP4 and RTSP's SDP want them.
    context->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
}

static void set_picture(AVCodecContext *context, const struct fw_frame *model)
{
    bool is_hd = model->matrix == FW_MATRIX_BT709;

    context->width = model->width & ~1;
    context->height = model->height & ~1;
    context->pix_fmt = model->format == FW_PIXEL_NV12 ? AV_PIX_FMT_NV12 : AV_PIX_FMT_YUV420P;
    context->sample_aspect_ratio = (AVRational){1, 1};
    context->color_range = model->full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    context->colorspace = is_hd ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    context->color_primaries = is_hd ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M;
    context->color_trc = is_hd ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M;
}

static int open_context(struct fw_encoder *encoder, const struct fw_encoder_options *options,
                        const struct encoder_kind *kind, struct fw_error *error)
{
    const char *const *pair = kind->options;
    AVDictionary *own = NULL;
    int averror = 0;

    if (options->preset && options->preset[0])
        averror = av_dict_set(&own, "preset", options->preset, 0);
    for (; averror >= 0 && *pair; pair += 2)
        averror = av_dict_set(&own, pair[0], pair[1], 0);
    if (averror >= 0)
        averror = avcodec_open2(encoder->context, NULL, &own);
    av_dict_free(&own);
    if (averror == AVERROR(ENOMEM))
        return fw_fail(error, FW_ENOMEM, "out of memory");
    if (averror < 0)
        return fw_fail(error, FW_EINVAL,
                       "%s refuses its settings (preset \"%s\", %d kbit/s, %dx%d); check preset and"
                       " bitrate_kbps",
                       options->name, options->preset ? options->preset : "", options->bitrate_kbps,
                       encoder->context->width, encoder->context->height);
    return FW_OK;
}

int fw_encoder_open(struct fw_encoder **encoder_out, const struct fw_encoder_options *options,
                    const struct fw_frame *model, struct fw_error *error)
{
    const struct encoder_kind *kind = find_kind(options->name);
    const AVCodec *codec = avcodec_find_encoder_by_name(options->name);
    struct fw_encoder *encoder;
    int status;

    *encoder_out = NULL;
    if (!kind || !codec)
        return fw_encoder_check(options->name, error);
    if (model->width < 2 || model->height < 2 || model->format == FW_PIXEL_BGR24)
        return fw_fail(error, FW_EINVAL, "a picture of %dx%d can't be encoded", model->width,
                       model->height);
    encoder = calloc(1, sizeof(*encoder));
    if (!encoder)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    encoder->first_us = INT64_MIN;
    encoder->last_pts = -1;
    encoder->context = avcodec_alloc_context3(codec);
    encoder->picture = av_frame_alloc();
    if (!encoder->context || !encoder->picture) {
        status = fw_fail(error, FW_ENOMEM, "out of memory");
        goto fail;
    }
    set_rate(encoder->context, options);
    set_picture(encoder->context, model);
    encoder->half_interval_ticks =
        (int64_t)(FW_ENCODE_TICKS_PER_S / 2.0 / av_q2d(encoder->context->framerate));
    encoder->gop_ticks =
        (int64_t)((options->gop_s > 0 ? options->gop_s : DEFAULT_GOP_S) * FW_ENCODE_TICKS_PER_S);
    status = open_context(encoder, options, kind, error);
    if (status)
        goto fail;
    *encoder_out = encoder;
    return FW_OK;
fail:
    fw_encoder_close(encoder);
    return status;
}

void fw_encoder_close(struct fw_encoder *encoder)
{
    if (!encoder)
        return;
    avcodec_free_context(&encoder->context);
    av_frame_free(&encoder->picture);
    free(encoder);
}

static int receive(struct fw_encoder *encoder, AVPacket *packet)
{
    int averror = avcodec_receive_packet(encoder->context, packet);

    if (averror == AVERROR(EAGAIN))
        return FW_EAGAIN;
    if (averror == AVERROR_EOF)
        return FW_EEND;
    if (averror < 0)
        return averror == AVERROR(ENOMEM) ? FW_ENOMEM : FW_EIO;
    if (packet->flags & AV_PKT_FLAG_KEY)
        encoder->keyframe_pts = packet->pts;
    packet->duration = encoder->half_interval_ticks * 2;
    return FW_OK;
}

static int64_t next_pts(struct fw_encoder *encoder, int64_t time_us)
{
    int64_t pts;

    if (encoder->first_us == INT64_MIN)
        encoder->first_us = time_us;
    pts = (time_us - encoder->first_us) * FW_ENCODE_TICKS_PER_S / FW_US_PER_S;
    if (pts <= encoder->last_pts)
        pts = encoder->last_pts + 1;
    encoder->last_pts = pts;
    return pts;
}

int fw_encoder_encode(struct fw_encoder *encoder, struct fw_frame *frame, int64_t time_us,
                      bool wants_keyframe, AVPacket *packet, struct fw_error *error)
{
    AVFrame *picture = encoder->picture;
    int64_t pts = next_pts(encoder, time_us);
    int status = fw_frame_export(frame, picture);
    int averror;

    if (status)
        return fw_fail(error, status, "out of memory");
    // Real cameras don't keep the rate they promise, so keyframes go by time, not by number.
    if (pts == 0 ||
        pts + encoder->half_interval_ticks >= encoder->keyframe_pts + encoder->gop_ticks)
        wants_keyframe = true;
    picture->width = encoder->context->width;
    picture->height = encoder->context->height;
    picture->pts = pts;
    picture->pict_type = wants_keyframe ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    averror = avcodec_send_frame(encoder->context, picture);
    av_frame_unref(picture);
    if (averror < 0)
        return fw_av_fail(error, averror, NULL, "the encoder");
    status = receive(encoder, packet);
    if (status < 0 && status != FW_EAGAIN)
        return fw_fail(error, status, "the encoder gave no packet (%s)", fw_status_text(status));
    return status;
}

int fw_encoder_flush(struct fw_encoder *encoder, AVPacket *packet)
{
    int status;

    if (!encoder->is_flushing) {
        encoder->is_flushing = true;
        avcodec_send_frame(encoder->context, NULL);
    }
    status = receive(encoder, packet);
    return status == FW_OK ? FW_OK : FW_EEND;
}

const AVCodecContext *fw_encoder_context(const struct fw_encoder *encoder)
{
    return encoder->context;
}
