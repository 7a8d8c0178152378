// Any bytes at all must load as a model, or fail cleanly.
#include "nn/yunet_net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fw_yunet_model *model = NULL;
    struct fw_error error;
    int status = fw_yunet_model_load(&model, data, size, FW_ISA_SCALAR, &error);

    if ((status == FW_OK) != (model != NULL))
        __builtin_trap();
    fw_yunet_model_unref(model);
    return 0;
}
