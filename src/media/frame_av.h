// The border to FFmpeg's pictures; the one header of this room that speaks of libav types.
#ifndef FW_MEDIA_FRAME_AV_H
#define FW_MEDIA_FRAME_AV_H

#include "media/frame.h"

struct AVFrame;

// Turns decoded pictures into fw_frames: yuv420p, yuvj420p and nv12 by reference, all else
// (4:2:2, 4:4:4, 10 bit, RGB, odd formats) through libswscale into I420. Colour description is
// carried over; where the stream says nothing: BT.709 from 720 lines up, else BT.601; limited
// range. One thread.
struct fw_frame_importer;
struct fw_frame_importer *fw_frame_importer_create(void);
void fw_frame_importer_destroy(struct fw_frame_importer *importer);

// *OUT is a new reference; AVF stays the caller's and may be unreferenced at once. Times and
// sequence are zero for the caller to fill. FW_OK, FW_ENOMEM, FW_EFORMAT (no size, no data),
// FW_ENOTSUP (a format that libswscale can't read, a side beyond FW_FRAME_MAX_SIDE_PX).
int fw_frame_import(struct fw_frame_importer *importer, const struct AVFrame *avf,
                    struct fw_frame **out);

// Fills AVF (blank, allocated by the caller) with a reference to FRAME's planes, which are returned
// when AVF is unreferenced. Colour description set, pts not. FW_OK or FW_ENOMEM.
int fw_frame_export(struct fw_frame *frame, struct AVFrame *avf);

#endif
