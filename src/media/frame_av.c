#include "media/frame_av.h"

#include "util/error.h"
#include <libavutil/buffer.h>
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdlib.h>

#define HD_LINES 720

struct fw_frame_importer {
    struct SwsContext *sws;
    struct fw_frame_pool *pool; // of converted pictures, POOL_WIDTH x POOL_HEIGHT
    int pool_width, pool_height;
};

struct fw_frame_importer *fw_frame_importer_create(void)
{
    return calloc(1, sizeof(struct fw_frame_importer));
}

void fw_frame_importer_destroy(struct fw_frame_importer *importer)
{
    if (!importer)
        return;
    sws_freeContext(importer->sws);
    fw_frame_pool_unref(importer->pool);
    free(importer);
}

// The "j" formats say full range in their name, which libswscale wants told apart.
static enum AVPixelFormat without_range(enum AVPixelFormat format)
{
    static const struct {
        enum AVPixelFormat full, plain;
    } names[] = {
        {AV_PIX_FMT_YUVJ420P, AV_PIX_FMT_YUV420P}, {AV_PIX_FMT_YUVJ422P, AV_PIX_FMT_YUV422P},
        {AV_PIX_FMT_YUVJ444P, AV_PIX_FMT_YUV444P}, {AV_PIX_FMT_YUVJ440P, AV_PIX_FMT_YUV440P},
        {AV_PIX_FMT_YUVJ411P, AV_PIX_FMT_YUV411P},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (names[i].full == format)
            return names[i].plain;
    }
    return format;
}

static bool is_rgb(enum AVPixelFormat format)
{
    const AVPixFmtDescriptor *descriptor = av_pix_fmt_desc_get(format);

    return descriptor && descriptor->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL);
}

// BT.2020's coefficients lie nearer to BT.709's than to BT.601's.
static enum fw_color_matrix matrix_of(const AVFrame *avf)
{
    int colorspace = avf->colorspace;

    if (colorspace == AVCOL_SPC_SMPTE170M || colorspace == AVCOL_SPC_BT470BG ||
        colorspace == AVCOL_SPC_FCC)
        return FW_MATRIX_BT601;
    if (colorspace == AVCOL_SPC_UNSPECIFIED || colorspace == AVCOL_SPC_RGB ||
        colorspace == AVCOL_SPC_RESERVED)
        return avf->height >= HD_LINES ? FW_MATRIX_BT709 : FW_MATRIX_BT601;
    return FW_MATRIX_BT709;
}

static bool range_of(const AVFrame *avf)
{
    enum AVPixelFormat format = (enum AVPixelFormat)avf->format;

    if (is_rgb(format))
        return false;
    return avf->color_range == AVCOL_RANGE_JPEG || without_range(format) != format;
}

static void release_avframe(void *opaque)
{
    AVFrame *avf = opaque;

    av_frame_free(&avf);
}

static bool is_taken_as_is(const AVFrame *avf)
{
    enum AVPixelFormat format = without_range((enum AVPixelFormat)avf->format);

    if (format != AV_PIX_FMT_YUV420P && format != AV_PIX_FMT_NV12)
        return false;
    // Pictures that are stored bottom up take the way through libswscale.
    for (int plane = 0; plane < (format == AV_PIX_FMT_NV12 ? 2 : 3); plane++) {
        if (avf->linesize[plane] <= 0)
            return false;
    }
    return true;
}

// Takes AVF over when it succeeds.
static struct fw_frame *wrap(AVFrame *avf)
{
    struct fw_frame *frame = fw_frame_wrap(release_avframe, avf);

    if (!frame)
        return NULL;
    frame->format = avf->format == AV_PIX_FMT_NV12 ? FW_PIXEL_NV12 : FW_PIXEL_I420;
    frame->width = avf->width;
    frame->height = avf->height;
    for (int plane = 0; plane < fw_frame_plane_count(frame->format); plane++) {
        frame->planes[plane] = avf->data[plane];
        frame->strides[plane] = avf->linesize[plane];
    }
    return frame;
}

static struct fw_frame *get_from_pool(struct fw_frame_importer *importer, int width, int height)
{
    if (!importer->pool || importer->pool_width != width || importer->pool_height != height) {
        fw_frame_pool_unref(importer->pool);
        importer->pool = fw_frame_pool_create(FW_PIXEL_I420, width, height);
        importer->pool_width = width;
        importer->pool_height = height;
    }
    return importer->pool ? fw_frame_pool_get(importer->pool) : NULL;
}

static int prepare_scaler(struct fw_frame_importer *importer, const AVFrame *avf)
{
    enum AVPixelFormat source = without_range((enum AVPixelFormat)avf->format);
    int colorspace = matrix_of(avf) == FW_MATRIX_BT709 ? SWS_CS_ITU709 : SWS_CS_ITU601;
    int range = range_of(avf);
    const int *coefficients = sws_getCoefficients(colorspace);

    if (!sws_isSupportedInput(source))
        return FW_ENOTSUP;
    importer->sws = sws_getCachedContext(importer->sws, avf->width, avf->height, source, avf->width,
                                         avf->height, AV_PIX_FMT_YUV420P,
                                         SWS_BILINEAR | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!importer->sws)
        return FW_ENOMEM;
    if (sws_setColorspaceDetails(importer->sws, coefficients, is_rgb(source) ? 1 : range,
                                 coefficients, range, 0, 1 << 16, 1 << 16) < 0)
        return FW_ENOTSUP;
    return FW_OK;
}

static int convert(struct fw_frame_importer *importer, const AVFrame *avf, struct fw_frame **out)
{
    int status = prepare_scaler(importer, avf);
    struct fw_frame *frame;

    if (status)
        return status;
    frame = get_from_pool(importer, avf->width, avf->height);
    if (!frame)
        return FW_ENOMEM;
    status = sws_scale(importer->sws, (const uint8_t *const *)avf->data, avf->linesize, 0,
                       avf->height, frame->planes, frame->strides);
    if (status != avf->height) {
        fw_frame_unref(frame);
        return FW_EFORMAT;
    }
    *out = frame;
    return FW_OK;
}

// A reference of our own, cut to the part that is to be seen. FW_OK, FW_ENOMEM, FW_EFORMAT.
static int reference_visible_part(const AVFrame *avf, AVFrame **out)
{
    AVFrame *own = av_frame_clone(avf);

    if (!own)
        return FW_ENOMEM;
    if (av_frame_apply_cropping(own, AV_FRAME_CROP_UNALIGNED) < 0) {
        av_frame_free(&own);
        return FW_EFORMAT;
    }
    *out = own;
    return FW_OK;
}

int fw_frame_import(struct fw_frame_importer *importer, const struct AVFrame *avf,
                    struct fw_frame **out)
{
    AVFrame *own = NULL;
    struct fw_frame *frame = NULL;
    enum fw_color_matrix matrix;
    bool full_range;
    int status;

    if (avf->width < 1 || avf->height < 1 || avf->format < 0 || !avf->data[0])
        return FW_EFORMAT;
    if (avf->width > FW_FRAME_MAX_SIDE_PX || avf->height > FW_FRAME_MAX_SIDE_PX)
        return FW_ENOTSUP;
    status = reference_visible_part(avf, &own);
    if (status)
        return status;
    matrix = matrix_of(own);
    full_range = range_of(own);
    if (is_taken_as_is(own)) {
        frame = wrap(own);
        if (!frame)
            status = FW_ENOMEM;
        else
            own = NULL;
    } else {
        status = convert(importer, own, &frame);
    }
    av_frame_free(&own);
    if (status)
        return status;
    frame->matrix = matrix;
    frame->full_range = full_range;
    *out = frame;
    return FW_OK;
}

static void release_plane(void *opaque, uint8_t *data)
{
    (void)data;
    fw_frame_unref(opaque);
}

static int export_plane(struct fw_frame *frame, int plane, AVFrame *avf)
{
    size_t size = (size_t)frame->strides[plane] * (size_t)(fw_frame_row_count(frame, plane) - 1) +
                  (size_t)fw_frame_row_bytes(frame, plane);

    avf->buf[plane] = av_buffer_create(frame->planes[plane], size, release_plane,
                                       fw_frame_ref(frame), AV_BUFFER_FLAG_READONLY);
    if (!avf->buf[plane]) {
        fw_frame_unref(frame);
        return FW_ENOMEM;
    }
    avf->data[plane] = frame->planes[plane];
    avf->linesize[plane] = frame->strides[plane];
    return FW_OK;
}

static void export_color(const struct fw_frame *frame, AVFrame *avf)
{
    bool is_hd = frame->matrix == FW_MATRIX_BT709;

    if (frame->format == FW_PIXEL_BGR24) {
        avf->colorspace = AVCOL_SPC_RGB;
        avf->color_range = AVCOL_RANGE_JPEG;
        return;
    }
    avf->color_range = frame->full_range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    avf->colorspace = is_hd ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    avf->color_primaries = is_hd ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M;
    avf->color_trc = is_hd ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M;
}

int fw_frame_export(struct fw_frame *frame, struct AVFrame *avf)
{
    static const enum AVPixelFormat formats[] = {
        [FW_PIXEL_I420] = AV_PIX_FMT_YUV420P,
        [FW_PIXEL_NV12] = AV_PIX_FMT_NV12,
        [FW_PIXEL_BGR24] = AV_PIX_FMT_BGR24,
    };

    for (int plane = 0; plane < fw_frame_plane_count(frame->format); plane++) {
        if (export_plane(frame, plane, avf)) {
            av_frame_unref(avf);
            return FW_ENOMEM;
        }
    }
    avf->format = formats[frame->format];
    avf->width = frame->width;
    avf->height = frame->height;
    export_color(frame, avf);
    return FW_OK;
}
