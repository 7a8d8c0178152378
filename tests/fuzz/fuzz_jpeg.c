// Any bytes at all must decode, or fail cleanly: cameras and folders are not to be trusted.
#include "media/exif.h"
#include "media/frame.h"
#include "media/jpeg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fw_frame *frame = NULL;
    struct fw_error error;
    int status = fw_jpeg_decode(data, size, &frame, &error);
    int orientation = fw_exif_orientation(data, size);

    if ((status == FW_OK) != (frame != NULL) || orientation < 1 || orientation > 8)
        __builtin_trap();
    fw_frame_unref(frame);
    return 0;
}
