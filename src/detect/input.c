#include "detect/input.h"

#include "util/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIDE = 8192, PIXEL = 3 };

static int scaled(int side, double scale)
{
    long result = lround(side * scale);
    return result < 1 ? 1 : (int)result;
}

static int round_up(int side)
{
    return (side + 31) / 32 * 32;
}

struct fw_input_size fw_input_size_for(int width, int height, int input_size)
{
    int limit = input_size > 0 && input_size < MAX_SIDE ? input_size : MAX_SIDE;
    int longer = width > height ? width : height;
    double scale = longer > limit ? (double)limit / longer : 1;
    struct fw_input_size size = {.width = scaled(width, scale), .height = scaled(height, scale)};
    size.padded_width = round_up(size.width);
    size.padded_height = round_up(size.height);
    return size;
}

static int init_plane(struct fw_input *input, int plane, const struct fw_kernels *kernels,
                      const struct fw_area_source *source)
{
    size_t row_floats = (size_t)input->size.width * (size_t)source->channels;
    input->rows[plane] = calloc(row_floats, sizeof(float));
    int status =
        fw_area_init(&input->areas[plane], kernels, source, input->size.width, input->size.height);
    return input->rows[plane] == NULL ? FW_ENOMEM : status;
}

int fw_input_init(struct fw_input *input, const struct fw_kernels *kernels,
                  const struct fw_frame *frame, int input_size)
{
    *input = (struct fw_input){
        .format = frame->format,
        .source_width = frame->width,
        .source_height = frame->height,
        .size = fw_input_size_for(frame->width, frame->height, input_size),
    };
    bool is_yuv = frame->format != FW_PIXEL_BGR24;
    struct fw_area_source first = {frame->width, frame->height, is_yuv ? 1 : PIXEL, frame->width,
                                   frame->height};
    struct fw_area_source chroma = {(frame->width + 1) / 2, (frame->height + 1) / 2, 1,
                                    frame->width / 2.0, frame->height / 2.0};
    int status = init_plane(input, 0, kernels, &first);
    if (is_yuv && status == FW_OK) {
        chroma.channels = frame->format == FW_PIXEL_NV12 ? 2 : 1;
        status = init_plane(input, 1, kernels, &chroma);
    }
    if (frame->format == FW_PIXEL_I420 && status == FW_OK) {
        status = init_plane(input, 2, kernels, &chroma);
    }
    return status;
}

void fw_input_free(struct fw_input *input)
{
    for (int i = 0; i < 3; i++) {
        fw_area_free(&input->areas[i]);
        free(input->rows[i]);
        input->rows[i] = NULL;
    }
}

bool fw_input_fits(const struct fw_input *input, const struct fw_frame *frame)
{
    return input->rows[0] != NULL && input->format == frame->format &&
           input->source_width == frame->width && input->source_height == frame->height;
}

struct fw_color_rule fw_input_color_rule(const struct fw_frame *frame)
{
    struct fw_color_rule rule = {0, 1, 1.402f, 0.344136f, 0.714136f, 1.772f};
    if (frame->matrix == FW_MATRIX_BT709) {
        rule = (struct fw_color_rule){0, 1, 1.5748f, 0.187324f, 0.468124f, 1.8556f};
    }
    if (!frame->full_range) {
        float chroma_gain = 255.0f / 224;
        rule.luma_offset = 16;
        rule.luma_gain = 255.0f / 219;
        rule.red_v *= chroma_gain;
        rule.green_u *= chroma_gain;
        rule.green_v *= chroma_gain;
        rule.blue_u *= chroma_gain;
    }
    return rule;
}

static void scale_row(struct fw_input *input, const struct fw_frame *frame, int plane, int y)
{
    fw_area_row(&input->areas[plane], frame->planes[plane], frame->strides[plane], y,
                input->rows[plane]);
}

static void fill_yuv_row(struct fw_input *input, const struct fw_frame *frame,
                         const struct fw_color_rule *rule, int y, float *pixels)
{
    float *const *rows = input->rows;
    bool interleaved = frame->format == FW_PIXEL_NV12;
    scale_row(input, frame, 0, y);
    scale_row(input, frame, 1, y);
    if (!interleaved) {
        scale_row(input, frame, 2, y);
    }
    input->areas[0].kernels->convert(rule, rows[0], rows[1], interleaved ? rows[1] + 1 : rows[2],
                                     interleaved ? 2 : 1, input->size.width, pixels);
}

// Whole numbers, as OpenCV's resized pictures have: the reference figures were measured on those.
static void fill_bgr_row(struct fw_input *input, const struct fw_frame *frame, int y, float *pixels)
{
    scale_row(input, frame, 0, y);
    for (int i = 0; i < input->size.width * PIXEL; i++) {
        pixels[i] = (float)(int)(input->rows[0][i] + 0.5f);
    }
}

void fw_input_row(struct fw_input *input, const struct fw_frame *frame,
                  const struct fw_color_rule *rule, int y, float *pixels)
{
    if (frame->format == FW_PIXEL_BGR24) {
        fill_bgr_row(input, frame, y, pixels);
    } else {
        fill_yuv_row(input, frame, rule, y, pixels);
    }
}

void fw_input_fill(struct fw_input *input, const struct fw_frame *frame, float *pixels,
                   size_t stride_floats)
{
    const struct fw_input_size *size = &input->size;
    struct fw_color_rule rule = fw_input_color_rule(frame);
    size_t used = (size_t)size->width * PIXEL, whole = (size_t)size->padded_width * PIXEL;
    for (int y = 0; y < size->height; y++) {
        float *row = pixels + (size_t)y * stride_floats;
        fw_input_row(input, frame, &rule, y, row);
        memset(row + used, 0, (whole - used) * sizeof(float));
    }
    for (int y = size->height; y < size->padded_height; y++) {
        memset(pixels + (size_t)y * stride_floats, 0, whole * sizeof(float));
    }
}
