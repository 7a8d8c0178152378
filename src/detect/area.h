// Scales one plane of a picture by area averaging: every target pixel is the mean of the source
// area that it covers, with fractional weights at the edges. Where the target is finer than the
// source (chroma, as a rule) the same sum makes it a box filter of repeated pixels.
#ifndef FW_DETECT_AREA_H
#define FW_DETECT_AREA_H

#include "nn/kernels.h"

struct fw_area {
    const struct fw_kernels *kernels;
    int source_width, height;
    struct fw_columns columns;
    struct fw_span *rows; // HEIGHT of them
    float *sums;          // one source row after the vertical step
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
