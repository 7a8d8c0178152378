#include "camera/canvas.h"

#include "util/error.h"
#include <libavutil/pixfmt.h>
#include <libswscale/swscale.h>
#include <stdlib.h>

struct fw_canvas {
    struct fw_frame_pool *pool;
    struct SwsContext *sws;
    enum fw_pixel_format format;
    enum fw_color_matrix matrix;
    bool full_range;
    int width, height;
};

struct fw_canvas *fw_canvas_create(const struct fw_frame *model)
{
    struct fw_canvas *canvas = calloc(1, sizeof(*canvas));

    if (!canvas)
        return NULL;
    canvas->format = model->format;
    canvas->matrix = model->matrix;
    canvas->full_range = model->full_range;
    canvas->width = model->width;
    canvas->height = model->height;
    canvas->pool = fw_frame_pool_create(model->format, model->width, model->height);
    if (!canvas->pool) {
        free(canvas);
        return NULL;
    }
    return canvas;
}

void fw_canvas_destroy(struct fw_canvas *canvas)
{
    if (!canvas)
        return;
    sws_freeContext(canvas->sws);
    fw_frame_pool_unref(canvas->pool);
    free(canvas);
}

bool fw_canvas_fits(const struct fw_canvas *canvas, const struct fw_frame *frame)
{
    return frame->width == canvas->width && frame->height == canvas->height &&
           frame->format == canvas->format && frame->matrix == canvas->matrix &&
           frame->full_range == canvas->full_range;
}

struct fw_frame *fw_canvas_blank(struct fw_canvas *canvas)
{
    struct fw_frame *frame = fw_frame_pool_get(canvas->pool);

    if (!frame)
        return NULL;
    frame->matrix = canvas->matrix;
    frame->full_range = canvas->full_range;
    return frame;
}

static enum AVPixelFormat libav_format(enum fw_pixel_format format)
{
    return format == FW_PIXEL_NV12    ? AV_PIX_FMT_NV12
           : format == FW_PIXEL_BGR24 ? AV_PIX_FMT_BGR24
                                      : AV_PIX_FMT_YUV420P;
}

static const int *coefficients(enum fw_color_matrix matrix)
{
    return sws_getCoefficients(matrix == FW_MATRIX_BT709 ? SWS_CS_ITU709 : SWS_CS_ITU601);
}

static bool convert(struct fw_canvas *canvas, const struct fw_frame *from, struct fw_frame *to)
{
    const uint8_t *const planes[4] = {from->planes[0], from->planes[1], from->planes[2], NULL};
    const int strides[4] = {from->strides[0], from->strides[1], from->strides[2], 0};
    uint8_t *const to_planes[4] = {to->planes[0], to->planes[1], to->planes[2], NULL};
    const int to_strides[4] = {to->strides[0], to->strides[1], to->strides[2], 0};

    canvas->sws = sws_getCachedContext(canvas->sws, from->width, from->height,
                                       libav_format(from->format), to->width, to->height,
                                       libav_format(to->format), SWS_BILINEAR, NULL, NULL, NULL);
    if (!canvas->sws ||
        sws_setColorspaceDetails(canvas->sws, coefficients(from->matrix), from->full_range,
                                 coefficients(to->matrix), to->full_range, 0, 1 << 16, 1 << 16) < 0)
        return false;
    return sws_scale(canvas->sws, planes, strides, 0, from->height, to_planes, to_strides) ==
           to->height;
}

struct fw_frame *fw_canvas_paint(struct fw_canvas *canvas, const struct fw_frame *frame)
{
    struct fw_frame *painted = fw_canvas_blank(canvas);
    bool is_done;

    if (!painted)
        return NULL;
    is_done = fw_canvas_fits(canvas, frame) ? fw_frame_copy(painted, frame) == FW_OK
                                            : convert(canvas, frame, painted);
    if (!is_done) {
        fw_frame_unref(painted);
        return NULL;
    }
    painted->capture_utc_us = frame->capture_utc_us;
    painted->capture_mono_us = frame->capture_mono_us;
    painted->sequence = frame->sequence;
    return painted;
}

int fw_canvas_height(const struct fw_canvas *canvas)
{
    return canvas->height;
}
