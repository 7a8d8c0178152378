// Any bytes at all must decode, or fail cleanly: cameras and folders are not to be trusted.
#include "media/frame.h"
#include "media/jpeg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fw_frame *frame = NULL;
    struct fw_error error;
    int status = fw_jpeg_decode(data, size, &frame, &error);

    if ((status == FW_OK) != (frame != NULL))
        __builtin_trap();
    fw_frame_unref(frame);
    return 0;
}
