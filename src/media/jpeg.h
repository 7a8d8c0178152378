// JPEG from and to pictures, by libjpeg-turbo.
#ifndef FW_MEDIA_JPEG_H
#define FW_MEDIA_JPEG_H

#include "media/frame.h"
#include "util/error.h"

struct fw_bytes;

// Compresses FRAME (any format, any colour description) as a baseline JFIF picture. JFIF means
// full-range BT.601 (ITU-T T.871), so range and matrix are converted on the way; I420 that already
// is so goes in without a copy. QUALITY 1..100. *OUT is a new reference. FW_OK, FW_EINVAL,
// FW_ENOMEM, FW_EIO (libjpeg's own message in ERROR). Any thread.
int fw_jpeg_encode(const struct fw_frame *frame, int quality, struct fw_bytes **out,
                   struct fw_error *error);

// Decompresses into a BGR24 picture exactly as OpenCV's imread does (libjpeg-turbo's accurate IDCT
// and fancy upsampling; grey and CMYK converted). Exif orientation is not applied. FW_OK,
// FW_EFORMAT, FW_ENOMEM, FW_EFULL (more than 16384 px a side).
int fw_jpeg_decode(const uint8_t *data, size_t length, struct fw_frame **out,
                   struct fw_error *error);

#endif
