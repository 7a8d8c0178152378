// Still pictures from files.
#ifndef FW_MEDIA_IMAGE_FILE_H
#define FW_MEDIA_IMAGE_FILE_H

#include "media/frame.h"
#include "util/error.h"

// Reads PATH (JPEG, PNG, WebP or BMP, told by its first bytes, not its name) as a BGR24 picture, as
// OpenCV's imread gives it (to the bit, but for the rounding of lossy WebP and of 16-bit PNG):
// transparency ignored, grey spread to three components, a JPEG turned as its Exif data says. *OUT
// is a new reference, times zero. FW_OK, FW_ENOENT, FW_EIO, FW_EFORMAT (none of these formats, or
// damaged), FW_ENOTSUP (libav lacks the decoder), FW_EFULL (a file above 256 MiB or more than 16384
// px a side), FW_ENOMEM. Any thread.
int fw_image_load(const char *path, struct fw_frame **out, struct fw_error *error);

#endif
