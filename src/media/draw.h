// Drawing on YUV pictures, I420 and NV12, clipped to the picture.
#ifndef FW_MEDIA_DRAW_H
#define FW_MEDIA_DRAW_H

#include "media/frame.h"

// sRGB, 0..255; alpha 255 is opaque. Converted by the picture's own matrix and range.
struct fw_color {
    uint8_t r, g, b, a;
};

struct fw_font;

// All of these: FRAME must be writable; coordinates are pixels and may lie outside.
void fw_draw_fill(struct fw_frame *frame, int x, int y, int w, int h, struct fw_color color);
// An outline THICKNESS px wide, growing inwards.
void fw_draw_box(struct fw_frame *frame, int x, int y, int w, int h, int thickness,
                 struct fw_color color);
void fw_draw_disc(struct fw_frame *frame, int center_x, int center_y, int radius,
                  struct fw_color color);
// UTF-8 TEXT with the left end of its base line at X, BASELINE_Y. Returns the advance in px.
int fw_draw_text(struct fw_frame *frame, struct fw_font *font, int x, int baseline_y,
                 const char *text, struct fw_color color);
// Makes the whole picture one colour.
void fw_draw_clear(struct fw_frame *frame, struct fw_color color);

#endif
