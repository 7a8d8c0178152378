#include "detect/byte_input.h"

#include "nn/aligned.h"
#include "util/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIXEL = 3, PLANES = 3 };

// How many half source pixels a target pixel takes in both directions; 0 when that is no whole
// number or more than the sums have room for.
static int halves_of(const struct fw_area *area, int source_height)
{
    int halves = 2 * area->source_width / area->columns.width;
    return halves <= FW_INT8_MAX_HALVES && halves * area->columns.width == 2 * area->source_width &&
                   halves * area->height == 2 * source_height
               ? halves
               : 0;
}

// True when all planes are scaled so. An odd picture's chroma ends with half a pixel: not so.
static bool find_halves(struct fw_byte_input *input, const struct fw_frame *frame)
{
    int planes = frame->format == FW_PIXEL_I420 ? 3 : 2;
    bool found = frame->format != FW_PIXEL_BGR24 && frame->width % 2 == 0 && frame->height % 2 == 0;
    for (int i = 0; i < planes && found; i++) {
        input->halves[i] =
            halves_of(&input->base.areas[i], i == 0 ? frame->height : frame->height / 2);
        found = input->halves[i] > 0;
    }
    return found;
}

static int alloc_rows(struct fw_byte_input *input)
{
    const struct fw_input *base = &input->base;
    size_t longest = 0;
    for (int i = 0; i < PLANES && base->rows[i] != NULL; i++) {
        const struct fw_area *area = &base->areas[i];
        size_t source = (size_t)area->source_width * (size_t)area->columns.channels;
        size_t target = (size_t)area->columns.width * (size_t)area->columns.channels;
        longest = source > longest ? source : longest;
        input->words[i] = fw_aligned_create(target, sizeof(uint16_t));
        if (input->words[i] == NULL) {
            return FW_ENOMEM;
        }
    }
    input->sums = fw_aligned_create(longest, sizeof(uint16_t));
    return input->sums == NULL ? FW_ENOMEM : FW_OK;
}

int fw_byte_input_init(struct fw_byte_input *input, const struct fw_int8_kernels *kernels,
                       const struct fw_kernels *float_kernels, const struct fw_frame *frame,
                       int input_size)
{
    *input = (struct fw_byte_input){.kernels = kernels};
    int status = fw_input_init(&input->base, float_kernels, frame, input_size);
    if (status != FW_OK) {
        return status;
    }
    if (find_halves(input, frame)) {
        return alloc_rows(input);
    }
    input->halves[0] = 0;
    input->pixels = calloc((size_t)input->base.size.width * PIXEL, sizeof(float));
    return input->pixels == NULL ? FW_ENOMEM : FW_OK;
}

void fw_byte_input_free(struct fw_byte_input *input)
{
    fw_input_free(&input->base);
    for (int i = 0; i < PLANES; i++) {
        free(input->words[i]);
    }
    free(input->sums);
    free(input->pixels);
    *input = (struct fw_byte_input){0};
}

static int32_t fixed(float value)
{
    return (int32_t)lrintf(value * (1 << FW_INT8_COLOR_SHIFT));
}

static struct fw_int8_colors colors_for(const struct fw_frame *frame)
{
    struct fw_color_rule rule = fw_input_color_rule(frame);
    return (struct fw_int8_colors){
        .luma_offset = (int32_t)rule.luma_offset,
        .luma_gain = fixed(rule.luma_gain),
        .red_v = fixed(rule.red_v),
        .green_u = fixed(rule.green_u),
        .green_v = fixed(rule.green_v),
        .blue_u = fixed(rule.blue_u),
    };
}

static void scale_row(struct fw_byte_input *input, const struct fw_frame *frame, int plane, int y)
{
    const struct fw_area *area = &input->base.areas[plane];
    int halves = input->halves[plane], channels = area->columns.channels;
    size_t count = (size_t)area->source_width * (size_t)channels;
    int first = (y * halves + 1) / 2; // that is taken whole
    const uint8_t *rows = frame->planes[plane] + (ptrdiff_t)first * frame->strides[plane];
    const uint8_t *half_row = NULL;
    if (halves % 2 == 1) {
        half_row = y % 2 == 0 ? rows + (ptrdiff_t)(halves / 2) * frame->strides[plane]
                              : rows - frame->strides[plane];
    }
    input->kernels->sum_rows(rows, frame->strides[plane], halves / 2, half_row, count, input->sums);
    input->kernels->average(input->sums, halves, channels, area->columns.width,
                            input->words[plane]);
}

static void fill_whole_row(struct fw_byte_input *input, const struct fw_frame *frame,
                           const struct fw_int8_colors *colors, int y, uint8_t *pixels)
{
    bool interleaved = frame->format == FW_PIXEL_NV12;
    uint16_t *const *words = input->words;
    for (int plane = 0; plane < (interleaved ? 2 : 3); plane++) {
        scale_row(input, frame, plane, y);
    }
    input->kernels->convert(colors, words[0], words[1], interleaved ? words[1] + 1 : words[2],
                            interleaved ? 2 : 1, input->base.size.width, pixels);
}

static void fill_row(struct fw_byte_input *input, const struct fw_frame *frame,
                     const struct fw_color_rule *rule, int y, uint8_t *pixels)
{
    fw_input_row(&input->base, frame, rule, y, input->pixels);
    for (int i = 0; i < input->base.size.width * PIXEL; i++) {
        pixels[i] = (uint8_t)(input->pixels[i] + 0.5f);
    }
}

void fw_byte_input_fill(struct fw_byte_input *input, const struct fw_frame *frame, uint8_t *pixels,
                        size_t stride_bytes)
{
    const struct fw_input_size *size = &input->base.size;
    struct fw_color_rule rule = fw_input_color_rule(frame);
    struct fw_int8_colors colors = colors_for(frame);
    size_t used = (size_t)size->width * PIXEL, whole = (size_t)size->padded_width * PIXEL;
    for (int y = 0; y < size->height; y++) {
        uint8_t *row = pixels + (size_t)y * stride_bytes;
        if (input->halves[0] > 0) {
            fill_whole_row(input, frame, &colors, y, row);
        } else {
            fill_row(input, frame, &rule, y, row);
        }
        memset(row + used, 0, whole - used);
    }
    for (int y = size->height; y < size->padded_height; y++) {
        memset(pixels + (size_t)y * stride_bytes, 0, whole);
    }
}
