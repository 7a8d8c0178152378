// YuNet in whole numbers: weights of 8 and 16 bits, activations of 8. Less than half the time of
// fp32, for models whose activations were measured before (quant_ranges.c).
//
// The same contract as yunet_net.h but for the input, which is bytes. Every instruction set gives
// the same bits.
#ifndef FW_NN_QUANT_NET_H
#define FW_NN_QUANT_NET_H

#include "nn/yunet_net.h"

// Quantised weights of one ONNX file. Immutable and refcounted, as struct fw_yunet_model.
struct fw_quant_model;

// Reads the ONNX bytes as fw_yunet_model_load() does, quantises and packs the weights for ISA:
// "avx512" has kernels of its own where the processor has VNNI and takes those of "avx2" elsewhere.
// FW_OK with *MODEL at one reference; FW_EFORMAT, FW_ENOMEM as there; FW_ENOTSUP also when the
// model was never calibrated.
int fw_quant_model_load(struct fw_quant_model **model, const uint8_t *data, size_t length,
                        enum fw_isa isa, struct fw_error *error);
struct fw_quant_model *fw_quant_model_ref(struct fw_quant_model *model);
void fw_quant_model_unref(struct fw_quant_model *model);
// The name of the kernels that it runs on: "scalar", "avx2", "avxvnni", "avx512vnni", "neon" or
// "neondot".
const char *fw_quant_model_kernels(const struct fw_quant_model *model);
// Those that ISA would give; NULL when processor or build has none.
const char *fw_quant_kernels_name(enum fw_isa isa);
// True when int8 should be chosen by itself: measured to lose at most FW_QUANT_MAX_LOSS, and run by
// kernels that are faster than those of fp32.
bool fw_quant_model_is_advised(const struct fw_quant_model *model);

// The working memory for one input size. One thread at a time. Holds a reference to MODEL.
struct fw_quant;

// As fw_yunet_create().
int fw_quant_create(struct fw_quant **net, struct fw_quant_model *model, int width, int height,
                    struct fw_error *error);
void fw_quant_destroy(struct fw_quant *net);
// Where to write the input: HEIGHT rows of WIDTH BGR byte triples. The caller fills all of it
// before each run. Owned by NET.
uint8_t *fw_quant_input(struct fw_quant *net, size_t *stride_bytes);
// As fw_yunet_run().
void fw_quant_run(struct fw_quant *net, struct fw_yunet_level levels[3]);

// The parts that a run's time is made of: the first layer, each unit with the making of its input,
// and what is left to do with the results.
int fw_quant_part_count(const struct fw_quant *net);
// "unit 3: 16 to 64 channels, 80x80".
void fw_quant_part_name(const struct fw_quant *net, int part, char name[48]);
// Every run from now on adds the nanoseconds of each part to PART_NS, which is borrowed. NULL: none
// does any more.
void fw_quant_profile(struct fw_quant *net, int64_t *part_ns);

#endif
