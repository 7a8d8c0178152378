// Memory for the kernels.
#ifndef FW_NN_ALIGNED_H
#define FW_NN_ALIGNED_H

#include <stddef.h>

// COUNT * ELEMENT_BYTES zeroed bytes, aligned for the widest vectors; free() them. NULL when memory
// is out or the product is zero or too large.
void *fw_aligned_create(size_t count, size_t element_bytes);

// The same of ROWS * COLUMNS floats.
float *fw_floats_create(size_t rows, size_t columns);

#endif
