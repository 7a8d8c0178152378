// The constants of one unit, from four arrays to the seven that the kernels read.
#ifndef FW_NN_UNIT_WEIGHTS_H
#define FW_NN_UNIT_WEIGHTS_H

#include "nn/kernels.h"

// Zeroed arrays for IN_CHANNELS and OUT_CHANNELS, multiples of FW_BLOCK. FW_OK or FW_ENOMEM (free
// WEIGHTS all the same).
int fw_unit_weights_alloc(struct fw_unit_weights *weights, int in_channels, int out_channels);
void fw_unit_weights_free(struct fw_unit_weights *weights);
// Where the weight of input IN for output OUT lies in MATRIX, which has IN_CHANNELS inputs.
float *fw_pointwise_slot(float *matrix, int in_channels, int in, int out);
// Fills `products`, `products_bias` and `taps` from the others. kernels_vector.c has the formulas.
void fw_unit_weights_derive(struct fw_unit_weights *weights);

#endif
