#include "nn/aligned.h"

#include "nn/kernels.h"
#include <stdlib.h>
#include <string.h>

float *fw_floats_create(size_t rows, size_t columns)
{
    size_t limit = (SIZE_MAX - FW_ALIGNMENT_BYTES) / sizeof(float);
    if (rows == 0 || columns == 0 || columns > limit / rows) {
        return NULL;
    }
    size_t bytes = rows * columns * sizeof(float);
    bytes = (bytes + FW_ALIGNMENT_BYTES - 1) / FW_ALIGNMENT_BYTES * FW_ALIGNMENT_BYTES;
    float *floats = aligned_alloc(FW_ALIGNMENT_BYTES, bytes);
    if (floats != NULL) {
        memset(floats, 0, bytes);
    }
    return floats;
}
