// Pictures of one constant size and format to draw on and to encode, whatever the camera sends.
// One thread; for picture.c alone.
#ifndef FW_CAMERA_CANVAS_H
#define FW_CAMERA_CANVAS_H

#include "media/frame.h"

struct fw_canvas;

// Canvases like MODEL: its size, its format, its colours. NULL when memory is out.
struct fw_canvas *fw_canvas_create(const struct fw_frame *model);
void fw_canvas_destroy(struct fw_canvas *canvas);
// Whether FRAME may be encoded as it is.
bool fw_canvas_fits(const struct fw_canvas *canvas, const struct fw_frame *frame);
// A writable picture with FRAME's contents, scaled and converted where it does not fit; NULL when
// memory is out or the conversion is not possible.
struct fw_frame *fw_canvas_paint(struct fw_canvas *canvas, const struct fw_frame *frame);
// A writable picture with undefined contents; NULL when memory is out.
struct fw_frame *fw_canvas_blank(struct fw_canvas *canvas);
int fw_canvas_height(const struct fw_canvas *canvas);

#endif
