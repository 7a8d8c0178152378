// How good a picture of a face is, as one number, to choose a track's best shot by.
#ifndef FW_TRACK_QUALITY_H
#define FW_TRACK_QUALITY_H

#include "util/face.h"

// Measured by the caller on the pixels (media/image.h).
struct fw_quality_input {
    const struct fw_face *face;
    int frame_width, frame_height;
    float sharpness;  // fw_image_sharpness()
    float brightness; // fw_image_brightness()
};

// Each part and the whole are 0 (useless) to 1 (as good as it gets); the whole is the product of
// the parts' powers given in quality.c, so that one bad part is not outvoted.
struct fw_quality {
    float total;
    float size;    // 1 from 160 px up
    float frontal; // symmetry of the eyes and mouth about the nose; 0.5 without landmarks
    float sharp;
    float exposed;
    float inside; // share of the box, grown by a tenth, that lies in the picture
};

struct fw_quality fw_face_quality(const struct fw_quality_input *input);

#endif
