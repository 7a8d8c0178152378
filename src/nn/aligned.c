#include "nn/aligned.h"

#include "nn/kernels.h"
#include <stdlib.h>
#include <string.h>

void *fw_aligned_create(size_t count, size_t element_bytes)
{
    if (count == 0 || element_bytes == 0 ||
        count > (SIZE_MAX - FW_ALIGNMENT_BYTES) / element_bytes) {
        return NULL;
    }
    size_t bytes = count * element_bytes;
    bytes = (bytes + FW_ALIGNMENT_BYTES - 1) / FW_ALIGNMENT_BYTES * FW_ALIGNMENT_BYTES;
    void *memory = aligned_alloc(FW_ALIGNMENT_BYTES, bytes);
    if (memory != NULL) {
        memset(memory, 0, bytes);
    }
    return memory;
}

float *fw_floats_create(size_t rows, size_t columns)
{
    return columns == 0 || rows > SIZE_MAX / columns
               ? NULL
               : fw_aligned_create(rows * columns, sizeof(float));
}
