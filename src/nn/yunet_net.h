// The YuNet network on our own kernels (W. Wu, H. Peng, S. Yu, "YuNet: A Tiny Millisecond-level
// Face Detector", Machine Intelligence Research 20, 2023).
//
// 1x3xHxW BGR 0..255 goes in; for each stride 8, 16, 32 one row of 16 numbers a cell comes out:
// cls, obj, dx, dy, log w, log h, five points (dx, dy). Decoding these into faces is
// detect/yunet.c's.
#ifndef FW_NN_YUNET_NET_H
#define FW_NN_YUNET_NET_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// AVXVNNI is AVX2 with the dot products of AVX-VNNI, NEONDOT is NEON with those of Armv8.2: they
// differ from AVX2 and NEON for quantised networks only.
enum fw_isa {
    FW_ISA_AUTO,
    FW_ISA_SCALAR,
    FW_ISA_AVX2,
    FW_ISA_AVX512,
    FW_ISA_NEON,
    FW_ISA_AVXVNNI,
    FW_ISA_NEONDOT,
};

// "auto", "scalar", "avx2", "avx512", "neon", "avxvnni", "neondot"; -1 if NAME is none of them.
int fw_isa_parse(const char *name);
const char *fw_isa_name(enum fw_isa isa);
// The best that this processor and this build can run. Never FW_ISA_AUTO.
enum fw_isa fw_isa_best(void);
bool fw_isa_is_available(enum fw_isa isa);

// Weights and topology of one ONNX file, repacked for the kernels. Immutable and refcounted: any
// number of fw_yunet contexts on any threads share it.
struct fw_yunet_model;

// Reads the ONNX bytes (ONNX IR 3 to 10; protobuf wire format parsed here, every length checked),
// matches the graph against YuNet's shape (stem, backbone units, neck, three levels of heads;
// channel counts as found) and packs the weights for ISA. DATA need not stay. FW_OK with *MODEL at
// one reference; FW_EFORMAT (cut, damaged, not ONNX, NaN or absurd weights), FW_ENOTSUP (ONNX of
// another network, ISA not available), FW_ENOMEM, with ERROR saying where and why.
int fw_yunet_model_load(struct fw_yunet_model **model, const uint8_t *data, size_t length,
                        enum fw_isa isa, struct fw_error *error);
struct fw_yunet_model *fw_yunet_model_ref(struct fw_yunet_model *model);
void fw_yunet_model_unref(struct fw_yunet_model *model);
enum fw_isa fw_yunet_model_isa(const struct fw_yunet_model *model);

// The working memory for one input size. One thread at a time. Holds a reference to MODEL.
struct fw_yunet;

// WIDTH and HEIGHT in px, multiples of 32, 32..8192. All memory is allocated here, none in run.
int fw_yunet_create(struct fw_yunet **net, struct fw_yunet_model *model, int width, int height,
                    struct fw_error *error);
void fw_yunet_destroy(struct fw_yunet *net);

// Where to write the input: HEIGHT rows of WIDTH BGR float triples (interleaved), 0..255. The
// caller fills all of it before each run. Owned by NET.
float *fw_yunet_input(struct fw_yunet *net, size_t *stride_floats);

// One level of outputs. `rows` has height * width rows of 16 floats in the order named above, cls
// and obj already through the sigmoid.
struct fw_yunet_level {
    int stride_px; // 8, 16, 32
    int width, height;
    const float *rows;
};

// Runs the network. LEVELS point into NET and are valid until the next run.
void fw_yunet_run(struct fw_yunet *net, struct fw_yunet_level levels[3]);

// The parts that a run's time is made of: the first layer, each unit with the making of its input,
// and what is left to do with the results.
int fw_yunet_part_count(const struct fw_yunet *net);
// "unit 3: 16 to 64 channels, 80x80".
void fw_yunet_part_name(const struct fw_yunet *net, int part, char name[48]);
// Every run from now on adds the nanoseconds of each part to PART_NS, which is borrowed. NULL: none
// does any more.
void fw_yunet_profile(struct fw_yunet *net, int64_t *part_ns);

#endif
