// Memory for the kernels.
#ifndef FW_NN_ALIGNED_H
#define FW_NN_ALIGNED_H

#include <stddef.h>

// ROWS * COLUMNS zeroed floats, aligned for the widest vectors; free() them. NULL when memory is
// out or the product is too large.
float *fw_floats_create(size_t rows, size_t columns);

#endif
