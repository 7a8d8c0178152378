// Boxes and faces: what detectors give and trackers, overlays and alerts take.
//
// Coordinates are pixels of the full-size picture, x to the right and y down, from the upper left
// corner of the upper left pixel. A box is its upper left corner and its size.
#ifndef FW_UTIL_FACE_H
#define FW_UTIL_FACE_H

#include <stddef.h>

struct fw_point {
    float x, y;
};

struct fw_box {
    float x, y, w, h;
};

#define FW_LANDMARKS 5

struct fw_face {
    struct fw_box box;
    float score; // 0 to 1
    // Right eye, left eye, nose, right and left corner of the mouth (the person's right).
    struct fw_point landmarks[FW_LANDMARKS];
    int has_landmarks; // 0 for detectors that give none
};

// A growing list of faces. Zero-initialise; fw_faces_free() at the end. One thread at a time.
struct fw_faces {
    struct fw_face *items;
    size_t count, capacity;
};

// FW_OK or FW_ENOMEM.
int fw_faces_add(struct fw_faces *faces, const struct fw_face *face);
void fw_faces_clear(struct fw_faces *faces);
void fw_faces_free(struct fw_faces *faces);
// Replaces the contents of TO. FW_OK or FW_ENOMEM (TO is empty then).
int fw_faces_copy(struct fw_faces *to, const struct fw_faces *from);

// Intersection over union, 0 to 1.
float fw_box_iou(const struct fw_box *a, const struct fw_box *b);
// BOX cut to a picture of WIDTH x HEIGHT pixels; may end with no area.
struct fw_box fw_box_clip(struct fw_box box, int width, int height);

#endif
