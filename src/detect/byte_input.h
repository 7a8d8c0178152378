// The same as input.h for the quantised network: bytes instead of floats. Where the picture is
// scaled down by a whole number, as camera pictures mostly are, it never leaves whole
// numbers, which takes half the time.
#ifndef FW_DETECT_BYTE_INPUT_H
#define FW_DETECT_BYTE_INPUT_H

#include "detect/input.h"
#include "nn/kernels_int8.h"

// Tables and rows for pictures of one format and size.
struct fw_byte_input {
    struct fw_input base;
    const struct fw_int8_kernels *kernels;
    int halves[3]; // half source pixels a target pixel, one a plane; 0: not in whole numbers
    uint16_t *sums, *words[3];
    float *pixels; // a row, for where it is not in whole numbers
};

// For pictures like FRAME. FLOAT_KERNELS serve where the scale is not whole. FW_OK or FW_ENOMEM
// (free INPUT all the same).
int fw_byte_input_init(struct fw_byte_input *input, const struct fw_int8_kernels *kernels,
                       const struct fw_kernels *float_kernels, const struct fw_frame *frame,
                       int input_size);
void fw_byte_input_free(struct fw_byte_input *input);
// Fills PIXELS, padded_height rows of padded_width BGR byte triples, from FRAME, which fits.
void fw_byte_input_fill(struct fw_byte_input *input, const struct fw_frame *frame, uint8_t *pixels,
                        size_t stride_bytes);

#endif
