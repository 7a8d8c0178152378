// Which kernels this processor can run.
#ifndef FW_NN_ISA_H
#define FW_NN_ISA_H

#include "nn/kernels.h"
#include "nn/yunet_net.h"

// The kernels for ISA (FW_ISA_AUTO: the best); NULL when processor or build has none. Any thread.
const struct fw_kernels *fw_kernels_for(enum fw_isa isa);

#endif
