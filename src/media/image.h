// Still pictures: crops, resizing, sharpness.
#ifndef FW_MEDIA_IMAGE_H
#define FW_MEDIA_IMAGE_H

#include "media/frame.h"
#include "util/face.h"

// A writable copy of the part of FRAME inside BOX, clipped, grown to even positions and sizes for
// YUV (an odd picture's last column and row end the growth). Format, colour description and times
// are kept. NULL when memory is out or nothing is left.
struct fw_frame *fw_image_crop(const struct fw_frame *frame, struct fw_box box);

// Scales TO FIT inside max_width x max_height keeping the aspect, by area averaging (never larger).
// NULL when memory is out. A new reference to FRAME itself when it already fits.
struct fw_frame *fw_image_shrink(struct fw_frame *frame, int max_width, int max_height);

// A BGR24 picture as ORIENTATION, 1 to 8 as Exif counts them, says that it is to be seen: mirrored
// and turned by quarters. A new reference to BGR itself where nothing is to be done. NULL when
// memory is out.
struct fw_frame *fw_image_orient(struct fw_frame *bgr, int orientation);

// BGR as I420, full-range BT.601 as JFIF has it, so that a still picture can be drawn on and
// compressed without further loss. Times are kept. NULL when memory is out or BGR is not BGR24.
struct fw_frame *fw_image_convert_i420(const struct fw_frame *bgr);

// Variance of the 3x3 Laplacian of luma over BOX, after shrinking BOX to 64 px at the longer side
// so that sizes compare (J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield
// microscopy", ICPR 2000). Larger is sharper; 0 for an empty box.
float fw_image_sharpness(const struct fw_frame *frame, struct fw_box box);
// Mean luma over BOX on the full-range scale 0..255; 0 for an empty box.
float fw_image_brightness(const struct fw_frame *frame, struct fw_box box);

#endif
