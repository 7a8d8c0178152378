#include "nn/onnx.h"

#include <stdlib.h>
#include <string.h>

// YuNet has about 100 nodes and 110 constants; a file with far more is something else, and the
// bounds keep hostile ones from costing time and memory.
enum { MAX_NODES = 4096, MAX_TENSORS = 4096, MAX_NAMES = 4096 };

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

// A part of the file that is being read.
struct cursor {
    const uint8_t *at, *end;
};

// One field of a message: its number and, by its wire type, a number or a run of bytes.
struct field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;
    struct cursor bytes;
};

static size_t left(const struct cursor *cursor)
{
    return (size_t)(cursor->end - cursor->at);
}

static bool read_varint(struct cursor *cursor, uint64_t *value)
{
    uint64_t result = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (cursor->at == cursor->end) {
            return false;
        }
        uint8_t byte = *cursor->at++;
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = result;
            return true;
        }
    }
    return false;
}

static bool read_fixed(struct cursor *cursor, size_t size, uint64_t *value)
{
    if (left(cursor) < size) {
        return false;
    }
    *value = 0;
    for (size_t i = 0; i < size; i++) {
        *value |= (uint64_t)cursor->at[i] << (8 * i);
    }
    cursor->at += size;
    return true;
}

static bool read_bytes(struct cursor *cursor, struct cursor *bytes)
{
    uint64_t length;
    if (!read_varint(cursor, &length) || length > left(cursor)) {
        return false;
    }
    bytes->at = cursor->at;
    bytes->end = cursor->at + length;
    cursor->at = bytes->end;
    return true;
}

// FW_OK, FW_EEND at the regular end of the message, or FW_EFORMAT.
static int next_field(struct cursor *cursor, struct field *field)
{
    uint64_t key;
    if (cursor->at == cursor->end) {
        return FW_EEND;
    }
    *field = (struct field){0};
    if (!read_varint(cursor, &key) || key >> 3 == 0 || key >> 3 > 0x1fffffff) {
        return FW_EFORMAT;
    }
    field->number = (uint32_t)(key >> 3);
    bool ok = false;
    switch (key & 7) {
    case WIRE_VARINT:
        field->type = WIRE_VARINT;
        ok = read_varint(cursor, &field->value);
        break;
    case WIRE_FIXED64:
        field->type = WIRE_FIXED64;
        ok = read_fixed(cursor, 8, &field->value);
        break;
    case WIRE_BYTES:
        field->type = WIRE_BYTES;
        ok = read_bytes(cursor, &field->bytes);
        break;
    case WIRE_FIXED32:
        field->type = WIRE_FIXED32;
        ok = read_fixed(cursor, 4, &field->value);
        break;
    default: // groups, which ONNX never had
        break;
    }
    return ok ? FW_OK : FW_EFORMAT;
}

static bool is_bytes(const struct field *field, uint32_t number)
{
    return field->number == number && field->type == WIRE_BYTES;
}

static bool is_varint(const struct field *field, uint32_t number)
{
    return field->number == number && field->type == WIRE_VARINT;
}

static struct fw_onnx_name name_of(const struct field *field)
{
    return (struct fw_onnx_name){(const char *)field->bytes.at, left(&field->bytes)};
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

// Makes room for one item more in a growing array whose new items are zeroed.
static void *grow(void *items, int count, int *capacity, int limit, size_t size, int *status)
{
    if (count < *capacity) {
        return items;
    }
    if (count >= limit) {
        *status = FW_ENOTSUP;
        return NULL;
    }
    int wanted = *capacity == 0 ? 8 : *capacity * 2;
    char *grown = realloc(items, (size_t)wanted * size);
    if (grown == NULL) {
        *status = FW_ENOMEM;
        return NULL;
    }
    memset(grown + (size_t)count * size, 0, (size_t)(wanted - count) * size);
    *capacity = wanted;
    return grown;
}

static int add_name(struct fw_onnx_name **names, int *count, int *capacity,
                    struct fw_onnx_name name)
{
    int status = FW_OK;
    struct fw_onnx_name *grown =
        grow(*names, *count, capacity, MAX_NAMES, sizeof(**names), &status);
    if (grown == NULL) {
        return status;
    }
    *names = grown;
    grown[(*count)++] = name;
    return FW_OK;
}

// Appends little-endian floats: `raw_data`, or the packed form of `float_data`.
static int add_packed_floats(struct fw_onnx_tensor *tensor, const struct cursor *bytes)
{
    size_t count = left(bytes) / 4;
    if (left(bytes) % 4 != 0) {
        return FW_EFORMAT;
    }
    if (count == 0) {
        return FW_OK;
    }
    float *grown = realloc(tensor->values, (tensor->value_count + count) * sizeof(float));
    if (grown == NULL) {
        return FW_ENOMEM;
    }
    tensor->values = grown;
    struct cursor cursor = *bytes;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = 0;
        (void)read_fixed(&cursor, 4, &bits);
        grown[tensor->value_count++] = float_of_bits((uint32_t)bits);
    }
    return FW_OK;
}

static int add_dim(struct fw_onnx_tensor *tensor, uint64_t dim)
{
    if (tensor->dim_count == FW_ONNX_MAX_DIMS || dim > INT32_MAX) {
        return FW_EFORMAT;
    }
    tensor->dims[tensor->dim_count++] = (int64_t)dim;
    return FW_OK;
}

static int add_packed_dims(struct fw_onnx_tensor *tensor, struct cursor bytes)
{
    int status = FW_OK;
    while (status == FW_OK && bytes.at < bytes.end) {
        uint64_t dim;
        status = read_varint(&bytes, &dim) ? add_dim(tensor, dim) : FW_EFORMAT;
    }
    return status;
}

static int tensor_field(struct fw_onnx_tensor *tensor, const struct field *field,
                        struct cursor *raw)
{
    if (is_varint(field, 1)) {
        return add_dim(tensor, field->value);
    }
    if (is_bytes(field, 1)) {
        return add_packed_dims(tensor, field->bytes);
    }
    if (is_varint(field, 2)) {
        tensor->type = (int64_t)field->value;
    } else if (is_bytes(field, 4)) {
        return add_packed_floats(tensor, &field->bytes);
    } else if (field->number == 4) {
        return FW_EFORMAT; // one float a field: no exporter writes weights so
    } else if (is_bytes(field, 8)) {
        tensor->name = name_of(field);
    } else if (is_bytes(field, 9)) {
        *raw = field->bytes;
    } else if (is_varint(field, 14)) {
        tensor->external = field->value != 0;
    }
    return FW_OK;
}

static int check_tensor(const struct fw_onnx_tensor *tensor)
{
    uint64_t product = 1;
    for (int i = 0; i < tensor->dim_count; i++) {
        product *= (uint64_t)tensor->dims[i];
        if (product > SIZE_MAX / 8 || product > INT32_MAX) {
            return FW_EFORMAT;
        }
    }
    return product == tensor->value_count ? FW_OK : FW_EFORMAT;
}

// On failure TENSOR may hold values; the graph's owner frees them.
static int read_tensor(struct fw_onnx_tensor *tensor, struct cursor bytes)
{
    struct field field;
    struct cursor raw = {NULL, NULL};
    int status;
    while ((status = next_field(&bytes, &field)) == FW_OK) {
        status = tensor_field(tensor, &field, &raw);
        if (status != FW_OK) {
            return status;
        }
    }
    if (status != FW_EEND) {
        return status;
    }
    if (tensor->type != FW_ONNX_FLOAT) {
        free(tensor->values);
        tensor->values = NULL;
        tensor->value_count = 0;
        return FW_OK;
    }
    if (tensor->external) {
        return FW_OK;
    }
    status = raw.at == NULL ? FW_OK : add_packed_floats(tensor, &raw);
    return status == FW_OK ? check_tensor(tensor) : status;
}

static int add_integer(struct fw_onnx_attribute *attribute, uint64_t value)
{
    // Longer lists belong to operators that the matcher refuses anyway.
    if (attribute->integer_count < FW_ONNX_MAX_INTS) {
        attribute->integers[attribute->integer_count++] = (int64_t)value;
    }
    return FW_OK;
}

static void add_float(struct fw_onnx_attribute *attribute, uint32_t bits)
{
    if (attribute->float_count < FW_ONNX_MAX_INTS) {
        attribute->floats[attribute->float_count++] = float_of_bits(bits);
    }
}

static int attribute_list(struct fw_onnx_attribute *attribute, const struct field *field)
{
    struct cursor bytes = field->bytes;
    if (field->type == WIRE_VARINT || field->type == WIRE_FIXED32) {
        if (field->number == 7) {
            add_float(attribute, (uint32_t)field->value);
        } else {
            add_integer(attribute, field->value);
        }
        return FW_OK;
    }
    while (bytes.at < bytes.end) {
        uint64_t value;
        if (field->number == 7) {
            if (!read_fixed(&bytes, 4, &value)) {
                return FW_EFORMAT;
            }
            add_float(attribute, (uint32_t)value);
        } else if (read_varint(&bytes, &value)) {
            add_integer(attribute, value);
        } else {
            return FW_EFORMAT;
        }
    }
    return FW_OK;
}

static int attribute_field(struct fw_onnx_attribute *attribute, const struct field *field)
{
    if (is_bytes(field, 1)) {
        attribute->name = name_of(field);
    } else if (is_varint(field, 3)) {
        attribute->integer = (int64_t)field->value;
    } else if (is_bytes(field, 4)) {
        attribute->string = name_of(field);
    } else if (is_bytes(field, 5) && !attribute->has_tensor) {
        attribute->has_tensor = true;
        return read_tensor(&attribute->tensor, field->bytes);
    } else if (field->number == 7 || field->number == 8) {
        return attribute_list(attribute, field);
    }
    return FW_OK;
}

static int read_attribute(struct fw_onnx_attribute *attribute, struct cursor bytes)
{
    struct field field;
    int status;
    while ((status = next_field(&bytes, &field)) == FW_OK) {
        status = attribute_field(attribute, &field);
        if (status != FW_OK) {
            return status;
        }
    }
    return status == FW_EEND ? FW_OK : status;
}

static int add_attribute(struct fw_onnx_node *node, struct cursor bytes)
{
    int status = FW_OK;
    struct fw_onnx_attribute *grown =
        grow(node->attributes, node->attribute_count, &node->attribute_capacity,
             FW_ONNX_MAX_ATTRIBUTES, sizeof(*grown), &status);
    if (grown == NULL) {
        return status;
    }
    node->attributes = grown;
    return read_attribute(&grown[node->attribute_count++], bytes);
}

static void add_edge(struct fw_onnx_name edges[FW_ONNX_MAX_EDGES], int *count,
                     struct fw_onnx_name name)
{
    // An operator with more (Concat, say) is not one of ours; the matcher refuses it by its name.
    if (*count < FW_ONNX_MAX_EDGES) {
        edges[(*count)++] = name;
    }
}

static int read_node(struct fw_onnx_node *node, struct cursor bytes)
{
    struct field field;
    int status;
    while ((status = next_field(&bytes, &field)) == FW_OK) {
        if (is_bytes(&field, 1)) {
            add_edge(node->inputs, &node->input_count, name_of(&field));
        } else if (is_bytes(&field, 2)) {
            add_edge(node->outputs, &node->output_count, name_of(&field));
        } else if (is_bytes(&field, 4)) {
            node->op = name_of(&field);
        } else if (is_bytes(&field, 5)) {
            status = add_attribute(node, field.bytes);
        }
        if (status != FW_OK) {
            return status;
        }
    }
    return status == FW_EEND ? FW_OK : status;
}

static int add_node(struct fw_onnx_graph *graph, struct cursor bytes)
{
    int status = FW_OK;
    struct fw_onnx_node *grown = grow(graph->nodes, graph->node_count, &graph->node_capacity,
                                      MAX_NODES, sizeof(*grown), &status);
    if (grown == NULL) {
        return status;
    }
    graph->nodes = grown;
    return read_node(&grown[graph->node_count++], bytes);
}

static int add_tensor(struct fw_onnx_graph *graph, struct cursor bytes)
{
    int status = FW_OK;
    struct fw_onnx_tensor *grown =
        grow(graph->tensors, graph->tensor_count, &graph->tensor_capacity, MAX_TENSORS,
             sizeof(*grown), &status);
    if (grown == NULL) {
        return status;
    }
    graph->tensors = grown;
    return read_tensor(&grown[graph->tensor_count++], bytes);
}

// ValueInfoProto: only the name matters, the network is fully convolutional.
static int read_value_info(struct cursor bytes, struct fw_onnx_name *name)
{
    struct field field;
    int status;
    *name = (struct fw_onnx_name){"", 0};
    while ((status = next_field(&bytes, &field)) == FW_OK) {
        if (is_bytes(&field, 1)) {
            *name = name_of(&field);
        }
    }
    return status == FW_EEND ? FW_OK : status;
}

static int graph_field(struct fw_onnx_graph *graph, const struct field *field)
{
    struct fw_onnx_name name;
    if (is_bytes(field, 1)) {
        return add_node(graph, field->bytes);
    }
    if (is_bytes(field, 5)) {
        return add_tensor(graph, field->bytes);
    }
    if (!is_bytes(field, 11) && !is_bytes(field, 12)) {
        return FW_OK;
    }
    int status = read_value_info(field->bytes, &name);
    if (status != FW_OK) {
        return status;
    }
    return field->number == 11
               ? add_name(&graph->inputs, &graph->input_count, &graph->input_capacity, name)
               : add_name(&graph->outputs, &graph->output_count, &graph->output_capacity, name);
}

static int read_graph(struct fw_onnx_graph *graph, struct cursor bytes)
{
    struct field field;
    int status;
    while ((status = next_field(&bytes, &field)) == FW_OK) {
        status = graph_field(graph, &field);
        if (status != FW_OK) {
            return status;
        }
    }
    return status == FW_EEND ? FW_OK : status;
}

static int read_model(struct fw_onnx_graph *graph, struct cursor bytes)
{
    struct field field;
    int status;
    while ((status = next_field(&bytes, &field)) == FW_OK) {
        if (is_varint(&field, 1)) {
            graph->ir_version = (int64_t)field.value;
        } else if (is_bytes(&field, 7)) {
            status = read_graph(graph, field.bytes);
        }
        if (status != FW_OK) {
            return status;
        }
    }
    return status == FW_EEND ? FW_OK : status;
}

static int explain(int status, size_t length, struct fw_error *error)
{
    switch (status) {
    case FW_OK:
        return FW_OK;
    case FW_ENOMEM:
        return fw_fail(error, status, "out of memory while reading the ONNX model");
    case FW_ENOTSUP:
        return fw_fail(error, status,
                       "the ONNX model is far larger than a face detector; use a YuNet file");
    default:
        return fw_fail(error, FW_EFORMAT,
                       "the ONNX model is cut or damaged (%zu bytes); fetch the file again",
                       length);
    }
}

int fw_onnx_read(struct fw_onnx_graph *graph, const uint8_t *data, size_t length,
                 struct fw_error *error)
{
    *graph = (struct fw_onnx_graph){0};
    if (length == 0) {
        return fw_fail(error, FW_EFORMAT, "the ONNX model is empty; fetch the file again");
    }
    int status = read_model(graph, (struct cursor){data, data + length});
    if (status == FW_OK && graph->node_count == 0) {
        status = fw_fail(error, FW_EFORMAT,
                         "no ONNX graph in the model file; check that it is an ONNX file");
    } else if (status != FW_OK) {
        status = explain(status, length, error);
    }
    if (status != FW_OK) {
        fw_onnx_free(graph);
    }
    return status;
}

void fw_onnx_free(struct fw_onnx_graph *graph)
{
    for (int i = 0; i < graph->node_count; i++) {
        struct fw_onnx_node *node = &graph->nodes[i];
        for (int j = 0; j < node->attribute_count; j++) {
            free(node->attributes[j].tensor.values);
        }
        free(node->attributes);
    }
    for (int i = 0; i < graph->tensor_count; i++) {
        free(graph->tensors[i].values);
    }
    free(graph->nodes);
    free(graph->tensors);
    free(graph->inputs);
    free(graph->outputs);
    *graph = (struct fw_onnx_graph){0};
}

bool fw_onnx_name_equals(const struct fw_onnx_name *name, const char *text)
{
    return name->length == strlen(text) && memcmp(name->text, text, name->length) == 0;
}

bool fw_onnx_names_equal(const struct fw_onnx_name *a, const struct fw_onnx_name *b)
{
    return a->length == b->length && (a->length == 0 || memcmp(a->text, b->text, a->length) == 0);
}

const struct fw_onnx_tensor *fw_onnx_find_tensor(const struct fw_onnx_graph *graph,
                                                 const struct fw_onnx_name *name)
{
    for (int i = 0; i < graph->tensor_count; i++) {
        if (fw_onnx_names_equal(&graph->tensors[i].name, name)) {
            return &graph->tensors[i];
        }
    }
    // Exporters also write constants as nodes.
    const struct fw_onnx_node *node = fw_onnx_find_producer(graph, name);
    if (node != NULL && fw_onnx_name_equals(&node->op, "Constant")) {
        const struct fw_onnx_attribute *value = fw_onnx_find_attribute(node, "value");
        return value != NULL && value->has_tensor ? &value->tensor : NULL;
    }
    return NULL;
}

const struct fw_onnx_node *fw_onnx_find_producer(const struct fw_onnx_graph *graph,
                                                 const struct fw_onnx_name *name)
{
    for (int i = 0; name->length > 0 && i < graph->node_count; i++) {
        for (int j = 0; j < graph->nodes[i].output_count; j++) {
            if (fw_onnx_names_equal(&graph->nodes[i].outputs[j], name)) {
                return &graph->nodes[i];
            }
        }
    }
    return NULL;
}

const struct fw_onnx_attribute *fw_onnx_find_attribute(const struct fw_onnx_node *node,
                                                       const char *name)
{
    for (int i = 0; i < node->attribute_count; i++) {
        if (fw_onnx_name_equals(&node->attributes[i].name, name)) {
            return &node->attributes[i];
        }
    }
    return NULL;
}
