// Reads an ONNX file (https://onnx.ai/onnx/intro/, protobuf wire format) into a small graph.
//
// Only what a convolutional network needs is kept: nodes with their names and attributes, and the
// constant tensors. Everything else is skipped. The bytes may come from anywhere: every length is
// checked against what is left, and nothing nests deeper than the format itself does.
#ifndef FW_NN_ONNX_H
#define FW_NN_ONNX_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// A name inside the file's bytes. Borrowed, not terminated.
struct fw_onnx_name {
    const char *text;
    size_t length;
};

#define FW_ONNX_MAX_DIMS 8

// TensorProto.DataType; the ones we read.
enum { FW_ONNX_FLOAT = 1, FW_ONNX_INT64 = 7 };

// A constant. VALUES has the product of DIMS elements when TYPE is FW_ONNX_FLOAT, and is NULL for
// every other type.
struct fw_onnx_tensor {
    struct fw_onnx_name name;
    int64_t type;
    int dim_count;
    int64_t dims[FW_ONNX_MAX_DIMS];
    float *values;
    size_t value_count;
    bool external; // the weights lie in another file
};

#define FW_ONNX_MAX_INTS 8

struct fw_onnx_attribute {
    struct fw_onnx_name name;
    int64_t integer;
    int64_t integers[FW_ONNX_MAX_INTS];
    int integer_count;
    float floats[FW_ONNX_MAX_INTS];
    int float_count;
    struct fw_onnx_name string;
    bool has_tensor;
    struct fw_onnx_tensor tensor;
};

#define FW_ONNX_MAX_EDGES      8
#define FW_ONNX_MAX_ATTRIBUTES 16

struct fw_onnx_node {
    struct fw_onnx_name op;
    struct fw_onnx_name inputs[FW_ONNX_MAX_EDGES];
    struct fw_onnx_name outputs[FW_ONNX_MAX_EDGES];
    int input_count, output_count;
    struct fw_onnx_attribute *attributes;
    int attribute_count, attribute_capacity;
};

// Borrows the bytes that it was read from. Owns the arrays and the values.
struct fw_onnx_graph {
    int64_t ir_version;
    struct fw_onnx_node *nodes;
    struct fw_onnx_tensor *tensors;
    struct fw_onnx_name *inputs, *outputs;
    int node_count, tensor_count, input_count, output_count;
    int node_capacity, tensor_capacity, input_capacity, output_capacity;
};

// Fills GRAPH (whatever was in it) from DATA, which must outlive it. FW_OK; FW_EFORMAT (cut,
// damaged, not ONNX), FW_ENOTSUP (larger than any network of ours), FW_ENOMEM, with ERROR set and
// GRAPH empty.
int fw_onnx_read(struct fw_onnx_graph *graph, const uint8_t *data, size_t length,
                 struct fw_error *error);
void fw_onnx_free(struct fw_onnx_graph *graph);

bool fw_onnx_name_equals(const struct fw_onnx_name *name, const char *text);
bool fw_onnx_names_equal(const struct fw_onnx_name *a, const struct fw_onnx_name *b);
// NULL where there is none.
const struct fw_onnx_tensor *fw_onnx_find_tensor(const struct fw_onnx_graph *graph,
                                                 const struct fw_onnx_name *name);
// The node that has NAME among its outputs; NULL for graph inputs, constants and unknown names.
const struct fw_onnx_node *fw_onnx_find_producer(const struct fw_onnx_graph *graph,
                                                 const struct fw_onnx_name *name);
const struct fw_onnx_attribute *fw_onnx_find_attribute(const struct fw_onnx_node *node,
                                                       const char *name);

#endif
