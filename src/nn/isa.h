// Which kernels this processor can run.
#ifndef FW_NN_ISA_H
#define FW_NN_ISA_H

#include "nn/kernels.h"
#include "nn/kernels_int8.h"
#include "nn/yunet_net.h"

// The kernels for ISA (FW_ISA_AUTO: the best); NULL when processor or build has none. Any thread.
const struct fw_kernels *fw_kernels_for(enum fw_isa isa);
// The same for quantised networks. On a processor with AVX-512 but without its dot products
// FW_ISA_AVX512 means the kernels of FW_ISA_AVX2.
const struct fw_int8_kernels *fw_int8_kernels_for(enum fw_isa isa);
// True when these are faster than the fp32 kernels for the same ISA.
bool fw_int8_is_faster(enum fw_isa isa);

#endif
