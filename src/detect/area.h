// Scales one plane of a picture by area averaging: every target pixel is the mean of the source
// area that it covers, with fractional weights at the edges. Where the target is finer than the
// source (chroma, as a rule) the same sum makes it a box filter of repeated pixels.
#ifndef FW_DETECT_AREA_H
#define FW_DETECT_AREA_H

#include "nn/kernels.h"

// The source pixels of one target pixel: FIRST up to FIRST + COUNT - 1.
struct fw_span {
    int first, count;
    float first_weight, inner_weight, last_weight; // add up to 1
};

struct fw_area {
    const struct fw_kernels *kernels;
    int source_width, channels, width, height;
    int factor; // source pixels a target pixel when that is a whole number for all, else 0
    struct fw_span *columns, *rows;
    float *sums; // one source row after the vertical step
};

// What is scaled: a plane of WIDTH x HEIGHT pixels with CHANNELS interleaved bytes each, of which
// the picture covers EXTENT_X x EXTENT_Y (half pixels at the end of chroma planes).
struct fw_area_source {
    int width, height, channels;
    double extent_x, extent_y;
};

// Makes the tables for a target of WIDTH x HEIGHT. FW_OK or FW_ENOMEM (free AREA all the same).
int fw_area_init(struct fw_area *area, const struct fw_kernels *kernels,
                 const struct fw_area_source *source, int width, int height);
void fw_area_free(struct fw_area *area);
// Writes row Y of the target, `channels` interleaved floats a pixel, 0 to 255.
void fw_area_row(struct fw_area *area, const uint8_t *plane, int stride, int y, float *row);

#endif
