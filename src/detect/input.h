// From a picture to the network's input: scaled down by area averaging so that its longer side is
// at most `input_size`, never up, as BGR, in the upper left corner; black to the right and below
// up to a multiple of 32.
#ifndef FW_DETECT_INPUT_H
#define FW_DETECT_INPUT_H

#include "detect/area.h"
#include "media/frame.h"
#include "nn/yunet_net.h"

// Sizes in px: of the scaled picture, and of the network's input around it.
struct fw_input_size {
    int width, height;
    int padded_width, padded_height;
};

// INPUT_SIZE is the longest side wanted; 0: the picture's own. What the network can't take (above
// 8192) is scaled down in any case.
struct fw_input_size fw_input_size_for(int width, int height, int input_size);

// Tables and rows for pictures of one format and size.
struct fw_input {
    enum fw_pixel_format format;
    int source_width, source_height;
    struct fw_input_size size;
    struct fw_area areas[3]; // one a plane
    float *rows[3];          // one scaled row a plane
};

// For pictures like FRAME. FW_OK or FW_ENOMEM (free INPUT all the same).
int fw_input_init(struct fw_input *input, const struct fw_kernels *kernels,
                  const struct fw_frame *frame, int input_size);
void fw_input_free(struct fw_input *input);
bool fw_input_fits(const struct fw_input *input, const struct fw_frame *frame);
// How FRAME's luma and chroma become colours.
struct fw_color_rule fw_input_color_rule(const struct fw_frame *frame);
// Row Y of the scaled picture, without the black beside it.
void fw_input_row(struct fw_input *input, const struct fw_frame *frame,
                  const struct fw_color_rule *rule, int y, float *pixels);
// Fills PIXELS, padded_height rows of padded_width BGR float triples, from FRAME, which fits.
void fw_input_fill(struct fw_input *input, const struct fw_frame *frame, float *pixels,
                   size_t stride_floats);

#endif
