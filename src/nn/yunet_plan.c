#include "nn/yunet_plan.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Deeper than any path through a network that still fits FW_YUNET_MAX_UNITS.
enum { MAX_DEPTH = 256 };

// Trained weights stay below 100; far larger ones are noise, and would overflow the sums.
#define MAX_WEIGHT 1e6f

struct matcher {
    const struct fw_onnx_graph *graph;
    struct fw_yunet_plan *plan;
    // The depthwise node of each unit that was matched, so that a shared one is matched once.
    const struct fw_onnx_node *unit_nodes[FW_YUNET_MAX_UNITS];
    struct fw_error *error;
};

// What a unit reads.
struct feature {
    int source;
    bool pooled;
    int upsampled;
    int channels, shift;
};

// A convolution with its settings.
struct layer {
    struct fw_conv conv;
    int kernel, stride, pad, group;
};

// A name from the file, fit for a message.
struct label {
    char text[48];
};

static struct label label(const struct fw_onnx_name *name)
{
    struct label result;
    size_t length = name->length < sizeof(result.text) - 1 ? name->length : sizeof(result.text) - 1;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)name->text[i];
        result.text[i] = byte >= 0x20 && byte < 0x7f ? (char)byte : '?';
    }
    result.text[length] = '\0';
    return result;
}

__attribute__((format(printf, 2, 3))) static int refuse(const struct matcher *matcher,
                                                        const char *format, ...)
{
    char reason[256];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(reason, sizeof(reason), format, list);
    va_end(list);
    (void)fw_fail(matcher->error, FW_ENOTSUP,
                  "the ONNX model is not a YuNet network that we can run: %s; use a YuNet model "
                  "in float32, such as face_detection_yunet_2023mar.onnx",
                  reason);
    return FW_ENOTSUP;
}

__attribute__((format(printf, 2, 3))) static int damaged(const struct matcher *matcher,
                                                         const char *format, ...)
{
    char reason[256];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(reason, sizeof(reason), format, list);
    va_end(list);
    (void)fw_fail(matcher->error, FW_EFORMAT, "the ONNX model is damaged: %s; fetch the file again",
                  reason);
    return FW_EFORMAT;
}

static bool is_op(const struct fw_onnx_node *node, const char *op)
{
    return node != NULL && fw_onnx_name_equals(&node->op, op);
}

// The node that makes NAME, looking through those that pass their input on.
static const struct fw_onnx_node *producer(const struct matcher *matcher,
                                           const struct fw_onnx_name *name)
{
    const struct fw_onnx_node *node = fw_onnx_find_producer(matcher->graph, name);
    for (int i = 0; i < MAX_DEPTH && node != NULL && node->input_count > 0; i++) {
        if (!is_op(node, "Identity") && !is_op(node, "Dropout")) {
            return node;
        }
        node = fw_onnx_find_producer(matcher->graph, &node->inputs[0]);
    }
    return NULL;
}

// True when the list attribute NAME has COUNT times VALUE; when it is absent, ABSENT.
static bool all_are(const struct fw_onnx_node *node, const char *name, int count, int64_t value,
                    bool absent)
{
    const struct fw_onnx_attribute *attribute = fw_onnx_find_attribute(node, name);
    if (attribute == NULL || attribute->integer_count == 0) {
        return absent;
    }
    bool same = attribute->integer_count == count;
    for (int i = 0; same && i < count; i++) {
        same = attribute->integers[i] == value;
    }
    return same;
}

static bool string_is(const struct fw_onnx_node *node, const char *name, const char *value,
                      bool absent)
{
    const struct fw_onnx_attribute *attribute = fw_onnx_find_attribute(node, name);
    return attribute == NULL ? absent : fw_onnx_name_equals(&attribute->string, value);
}

static int find_constants(const struct matcher *matcher, const struct fw_onnx_name *name,
                          const struct fw_onnx_tensor **tensor)
{
    *tensor = fw_onnx_find_tensor(matcher->graph, name);
    if (*tensor == NULL && fw_onnx_find_producer(matcher->graph, name) != NULL) {
        return refuse(matcher, "weights \"%s\" are computed, as in quantised models",
                      label(name).text);
    }
    if (*tensor == NULL) {
        return damaged(matcher, "weights \"%s\" are missing", label(name).text);
    }
    if ((*tensor)->external) {
        return refuse(matcher, "weights \"%s\" lie in another file", label(name).text);
    }
    if ((*tensor)->type != FW_ONNX_FLOAT) {
        return refuse(matcher, "weights \"%s\" are not float32 (type %lld)", label(name).text,
                      (long long)(*tensor)->type);
    }
    for (size_t i = 0; i < (*tensor)->value_count; i++) {
        // Written so that NaN fails too.
        if (!(fabsf((*tensor)->values[i]) <= MAX_WEIGHT)) {
            return damaged(matcher, "weights \"%s\" hold NaN, infinity or absurd values",
                           label(name).text);
        }
    }
    return FW_OK;
}

static int read_shape(const struct matcher *matcher, const struct fw_onnx_name *name,
                      const struct fw_onnx_tensor *weights, struct layer *layer)
{
    const int64_t *dims = weights->dims;
    if (weights->dim_count != 4 || weights->value_count == 0 || dims[0] > FW_YUNET_MAX_CHANNELS ||
        dims[1] > FW_YUNET_MAX_CHANNELS || dims[2] > 3 || dims[2] != dims[3]) {
        return refuse(matcher, "the shape of weights \"%s\" fits no layer of it", label(name).text);
    }
    layer->conv = (struct fw_conv){weights->values, NULL, (int)dims[0], (int)dims[1]};
    layer->kernel = (int)dims[2];
    return FW_OK;
}

static int read_bias(const struct matcher *matcher, const struct fw_onnx_node *node,
                     struct layer *layer)
{
    const struct fw_onnx_tensor *bias = NULL;
    if (node->input_count < 3 || node->inputs[2].length == 0) {
        return FW_OK;
    }
    int status = find_constants(matcher, &node->inputs[2], &bias);
    if (status != FW_OK) {
        return status;
    }
    if (bias->value_count != (size_t)layer->conv.out_channels) {
        return damaged(matcher, "bias \"%s\" has %zu values, not %d", label(&node->inputs[2]).text,
                       bias->value_count, layer->conv.out_channels);
    }
    layer->conv.bias = bias->values;
    return FW_OK;
}

static int read_layer(const struct matcher *matcher, const struct fw_onnx_node *node,
                      struct layer *layer)
{
    const struct fw_onnx_tensor *weights = NULL;
    *layer = (struct layer){.stride = 1, .group = 1};
    if (!is_op(node, "Conv") || node->input_count < 2) {
        return refuse(matcher, "a convolution was expected in place of \"%s\"",
                      node == NULL ? "an input" : label(&node->op).text);
    }
    int status = find_constants(matcher, &node->inputs[1], &weights);
    if (status == FW_OK) {
        status = read_shape(matcher, &node->inputs[1], weights, layer);
    }
    if (status == FW_OK) {
        status = read_bias(matcher, node, layer);
    }
    if (status != FW_OK) {
        return status;
    }
    layer->stride = all_are(node, "strides", 2, 2, false) ? 2 : 1;
    layer->pad = all_are(node, "pads", 4, 1, false) ? 1 : 0;
    const struct fw_onnx_attribute *group = fw_onnx_find_attribute(node, "group");
    if (group != NULL && (group->integer < 1 || group->integer > FW_YUNET_MAX_CHANNELS)) {
        return refuse(matcher, "a convolution has %lld groups", (long long)group->integer);
    }
    layer->group = group == NULL ? 1 : (int)group->integer;
    if (!all_are(node, "strides", 2, layer->stride, layer->stride == 1) ||
        !all_are(node, "pads", 4, layer->pad, layer->pad == 0) ||
        !all_are(node, "dilations", 2, 1, true) || !string_is(node, "auto_pad", "NOTSET", true)) {
        return refuse(matcher, "the convolution with weights \"%s\" has unusual settings",
                      label(&node->inputs[1]).text);
    }
    return FW_OK;
}

static bool is_stem(const struct layer *layer)
{
    return layer->kernel == 3 && layer->stride == 2 && layer->pad == 1 && layer->group == 1 &&
           layer->conv.in_channels == 3;
}

static bool is_pointwise(const struct layer *layer)
{
    return layer->kernel == 1 && layer->stride == 1 && layer->pad == 0 && layer->group == 1;
}

static bool is_depthwise(const struct layer *layer)
{
    return layer->kernel == 3 && layer->stride == 1 && layer->pad == 1 &&
           layer->conv.in_channels == 1 && layer->group == layer->conv.out_channels;
}

static bool is_graph_input(const struct matcher *matcher, const struct fw_onnx_name *name)
{
    for (int i = 0; i < matcher->graph->input_count; i++) {
        if (fw_onnx_names_equal(&matcher->graph->inputs[i], name)) {
            return fw_onnx_find_tensor(matcher->graph, name) == NULL;
        }
    }
    return false;
}

// Reads the depthwise layer NODE and the pointwise one before it. INPUT is what the pair reads.
static int read_pair(const struct matcher *matcher, const struct fw_onnx_node *node,
                     struct fw_conv *pointwise, struct fw_conv *depthwise,
                     const struct fw_onnx_name **input)
{
    struct layer first = {0}, second = {0};
    int status = read_layer(matcher, node, &second);
    if (status != FW_OK) {
        return status;
    }
    const struct fw_onnx_node *before = producer(matcher, &node->inputs[0]);
    status = read_layer(matcher, before, &first);
    if (status != FW_OK) {
        return status;
    }
    if (!is_depthwise(&second) || !is_pointwise(&first) ||
        first.conv.out_channels != second.conv.out_channels) {
        return refuse(matcher, "no 1x1 convolution and depthwise 3x3 one after it at \"%s\"",
                      label(&node->inputs[1]).text);
    }
    *pointwise = first.conv;
    *depthwise = second.conv;
    *input = &before->inputs[0];
    return FW_OK;
}

static int match_feature(struct matcher *matcher, const struct fw_onnx_name *name, int depth,
                         struct feature *feature);

static int add_unit(struct matcher *matcher, const struct fw_onnx_node *node,
                    const struct fw_unit_plan *unit, int *index)
{
    struct fw_yunet_plan *plan = matcher->plan;
    if (plan->unit_count == FW_YUNET_MAX_UNITS) {
        return refuse(matcher, "it has more than %d units", FW_YUNET_MAX_UNITS);
    }
    if (unit->shift > 5) {
        return refuse(matcher, "a layer works at less than 1/32 of the input's size");
    }
    *index = plan->unit_count++;
    plan->units[*index] = *unit;
    matcher->unit_nodes[*index] = node;
    return FW_OK;
}

static void connect_unit(struct fw_unit_plan *unit, const struct feature *feature)
{
    unit->in_channels = feature->channels;
    unit->source = feature->source;
    unit->pooled = feature->pooled;
    unit->upsampled = feature->upsampled;
    unit->shift = feature->shift;
}

// The unit whose depthwise convolution is NODE.
static int match_unit(struct matcher *matcher, const struct fw_onnx_node *node, bool relu,
                      int depth, int *index)
{
    for (int i = 0; i < matcher->plan->unit_count; i++) {
        if (matcher->unit_nodes[i] == node && matcher->plan->units[i].relu == relu) {
            *index = i;
            return FW_OK;
        }
    }
    struct fw_unit_plan unit = {.part_count = 1, .relu = relu};
    const struct fw_onnx_name *input = NULL;
    struct feature feature = {0};
    int status = read_pair(matcher, node, &unit.pointwise[0], &unit.depthwise[0], &input);
    if (status == FW_OK) {
        status = match_feature(matcher, input, depth + 1, &feature);
    }
    if (status != FW_OK) {
        return status;
    }
    connect_unit(&unit, &feature);
    unit.out_channels = unit.depthwise[0].out_channels;
    if (unit.pointwise[0].in_channels != unit.in_channels) {
        return refuse(matcher, "a layer of %d inputs reads %d channels",
                      unit.pointwise[0].in_channels, unit.in_channels);
    }
    return add_unit(matcher, node, &unit, index);
}

static int match_stem(struct matcher *matcher, const struct fw_onnx_node *node,
                      const struct layer *layer, bool relu, struct feature *feature)
{
    if (!relu || !is_graph_input(matcher, &node->inputs[0])) {
        return refuse(matcher, "the first layer is not a 3x3 convolution with ReLU of the input");
    }
    matcher->plan->stem = layer->conv;
    *feature = (struct feature){.source = FW_YUNET_STEM,
                                .upsampled = FW_YUNET_NONE,
                                .channels = layer->conv.out_channels,
                                .shift = 1};
    return FW_OK;
}

// What one convolution makes, with its ReLU if it has one. Pools and sums read only such maps; that
// they don't nest also keeps the search linear.
static int match_map(struct matcher *matcher, const struct fw_onnx_name *name, int depth,
                     struct feature *feature)
{
    struct layer layer;
    int unit = 0;
    const struct fw_onnx_node *node = producer(matcher, name);
    bool relu = is_op(node, "Relu") && node->input_count > 0;
    if (relu) {
        node = producer(matcher, &node->inputs[0]);
    }
    int status = read_layer(matcher, node, &layer);
    if (status != FW_OK) {
        return status;
    }
    if (is_stem(&layer)) {
        return match_stem(matcher, node, &layer, relu, feature);
    }
    status = match_unit(matcher, node, relu, depth, &unit);
    if (status == FW_OK) {
        *feature = (struct feature){.source = unit,
                                    .upsampled = FW_YUNET_NONE,
                                    .channels = matcher->plan->units[unit].out_channels,
                                    .shift = matcher->plan->units[unit].shift};
    }
    return status;
}

static int match_pool(struct matcher *matcher, const struct fw_onnx_node *node, int depth,
                      struct feature *feature)
{
    const struct fw_onnx_attribute *ceil_mode = fw_onnx_find_attribute(node, "ceil_mode");
    if (!all_are(node, "kernel_shape", 2, 2, false) || !all_are(node, "strides", 2, 2, false) ||
        !all_are(node, "pads", 4, 0, true) || !all_are(node, "dilations", 2, 1, true) ||
        (ceil_mode != NULL && ceil_mode->integer != 0) ||
        !string_is(node, "auto_pad", "NOTSET", true)) {
        return refuse(matcher, "a pooling layer is not 2x2");
    }
    int status = match_map(matcher, &node->inputs[0], depth, feature);
    if (status != FW_OK) {
        return status;
    }
    if (feature->source == FW_YUNET_STEM) {
        return refuse(matcher, "a pooling layer follows the first layer at once");
    }
    feature->pooled = true;
    feature->shift++;
    return FW_OK;
}

// The modes that, at a factor of two, repeat each pixel twice.
static bool repeats_pixels(const struct fw_onnx_node *node)
{
    bool floors = string_is(node, "nearest_mode", "floor", false);
    bool rounds = string_is(node, "nearest_mode", "round_prefer_floor", true);
    const char *mode = "coordinate_transformation_mode";
    if (!string_is(node, "mode", "nearest", true)) {
        return false;
    }
    if (is_op(node, "Upsample")) {
        return true;
    }
    if (string_is(node, mode, "asymmetric", false)) {
        return floors || rounds;
    }
    return rounds && (string_is(node, mode, "half_pixel", true) ||
                      string_is(node, mode, "pytorch_half_pixel", false));
}

static bool is_scale_of_two(const float *scales, size_t count)
{
    static const float wanted[4] = {1, 1, 2, 2};
    bool same = count == 4;
    for (size_t i = 0; same && i < 4; i++) {
        same = fabsf(scales[i] - wanted[i]) < 1e-6f;
    }
    return same;
}

// Scales that are computed in the graph are left unread: the addition after them fits at a factor
// of two alone.
static bool doubles(const struct matcher *matcher, const struct fw_onnx_node *node)
{
    const struct fw_onnx_attribute *scales = fw_onnx_find_attribute(node, "scales");
    if (scales != NULL) {
        return is_scale_of_two(scales->floats, (size_t)scales->float_count);
    }
    int position = is_op(node, "Upsample") ? 1 : 2;
    if (node->input_count <= position || node->inputs[position].length == 0) {
        return node->input_count > 3;
    }
    const struct fw_onnx_tensor *tensor =
        fw_onnx_find_tensor(matcher->graph, &node->inputs[position]);
    return tensor == NULL || tensor->type != FW_ONNX_FLOAT || tensor->value_count == 0 ||
           is_scale_of_two(tensor->values, tensor->value_count);
}

static bool is_resize(const struct fw_onnx_node *node)
{
    return (is_op(node, "Resize") || is_op(node, "Upsample")) && node->input_count > 0;
}

static int match_sum(struct matcher *matcher, const struct fw_onnx_node *node, int depth,
                     struct feature *feature)
{
    struct feature coarse = {0};
    if (node->input_count != 2) {
        return refuse(matcher, "an addition of %d inputs", node->input_count);
    }
    const struct fw_onnx_node *first = producer(matcher, &node->inputs[0]);
    int resized = is_resize(first) ? 0 : 1;
    const struct fw_onnx_node *resize = producer(matcher, &node->inputs[resized]);
    if (!is_resize(resize) || !repeats_pixels(resize) || !doubles(matcher, resize)) {
        return refuse(matcher, "an addition without nearest-neighbour doubling before it");
    }
    int status = match_map(matcher, &node->inputs[1 - resized], depth, feature);
    if (status == FW_OK) {
        status = match_map(matcher, &resize->inputs[0], depth, &coarse);
    }
    if (status != FW_OK) {
        return status;
    }
    if (feature->source == FW_YUNET_STEM || coarse.source == FW_YUNET_STEM ||
        feature->channels != coarse.channels || feature->shift + 1 != coarse.shift) {
        return refuse(matcher, "an addition of maps that do not fit");
    }
    feature->upsampled = coarse.source;
    return FW_OK;
}

static int match_feature(struct matcher *matcher, const struct fw_onnx_name *name, int depth,
                         struct feature *feature)
{
    if (depth > MAX_DEPTH) {
        return refuse(matcher, "it is too deep, or runs in a circle");
    }
    const struct fw_onnx_node *node = producer(matcher, name);
    if (node == NULL || node->input_count == 0) {
        return refuse(matcher, "nothing makes \"%s\"", label(name).text);
    }
    if (is_op(node, "MaxPool")) {
        return match_pool(matcher, node, depth, feature);
    }
    if (is_op(node, "Add")) {
        return match_sum(matcher, node, depth, feature);
    }
    return match_map(matcher, name, depth, feature);
}

// One of the four branches of a head.
struct branch {
    const char *name;
    int channels;
    bool sigmoid;
};

static const struct branch branches[FW_YUNET_PARTS] = {
    {"cls", 1, true},
    {"obj", 1, true},
    {"bbox", 4, false},
    {"kps", 10, false},
};

static const struct fw_onnx_name *find_output(const struct fw_onnx_graph *graph, const char *name)
{
    for (int i = 0; i < graph->output_count; i++) {
        if (fw_onnx_name_equals(&graph->outputs[i], name)) {
            return &graph->outputs[i];
        }
    }
    return NULL;
}

static bool is_channels_last(const struct fw_onnx_node *node)
{
    static const int64_t wanted[4] = {0, 2, 3, 1};
    const struct fw_onnx_attribute *perm = fw_onnx_find_attribute(node, "perm");
    bool same = perm != NULL && perm->integer_count == 4;
    for (int i = 0; same && i < 4; i++) {
        same = perm->integers[i] == wanted[i];
    }
    return same;
}

// From the output back over what brings it into rows, to the convolution that made the values. NULL
// when there is none, and the error says why.
static const struct fw_onnx_node *find_head_layer(const struct matcher *matcher, const char *name,
                                                  bool sigmoid)
{
    int sigmoids = 0, transposes = 0;
    const struct fw_onnx_name *output = find_output(matcher->graph, name);
    if (output == NULL) {
        (void)refuse(matcher, "it has no output \"%s\"", name);
        return NULL;
    }
    const struct fw_onnx_node *node = producer(matcher, output);
    for (int i = 0; i < MAX_DEPTH && node != NULL && node->input_count > 0; i++) {
        if (is_op(node, "Sigmoid")) {
            sigmoids++;
        } else if (is_op(node, "Transpose") && is_channels_last(node)) {
            transposes++;
        } else if (!is_op(node, "Reshape")) {
            break;
        }
        node = producer(matcher, &node->inputs[0]);
    }
    if (!is_op(node, "Conv") || transposes != 1 || sigmoids != (sigmoid ? 1 : 0)) {
        (void)refuse(matcher, "output \"%s\" is not made as YuNet makes it", name);
        return NULL;
    }
    return node;
}

static int match_head(struct matcher *matcher, int level)
{
    struct fw_unit_plan unit = {.part_count = FW_YUNET_PARTS};
    const struct fw_onnx_name *input = NULL;
    const struct fw_onnx_node *node = NULL;
    struct feature feature = {0};
    for (int i = 0; i < FW_YUNET_PARTS; i++) {
        char name[16];
        const struct fw_onnx_name *part_input = NULL;
        (void)snprintf(name, sizeof(name), "%s_%d", branches[i].name, 8 << level);
        node = find_head_layer(matcher, name, branches[i].sigmoid);
        if (node == NULL) {
            return FW_ENOTSUP;
        }
        int status = read_pair(matcher, node, &unit.pointwise[i], &unit.depthwise[i], &part_input);
        if (status != FW_OK) {
            return status;
        }
        if (unit.depthwise[i].out_channels != branches[i].channels ||
            unit.pointwise[i].in_channels != unit.pointwise[0].in_channels ||
            (i > 0 && !fw_onnx_names_equal(part_input, input))) {
            return refuse(matcher, "output \"%s\" does not fit the other outputs", name);
        }
        input = part_input;
    }
    int status = match_feature(matcher, input, 0, &feature);
    if (status != FW_OK) {
        return status;
    }
    connect_unit(&unit, &feature);
    unit.out_channels = FW_YUNET_HEAD_CHANNELS;
    if (unit.shift != 3 + level || unit.pointwise[0].in_channels != unit.in_channels) {
        return refuse(matcher, "the outputs for stride %d come from maps that do not fit",
                      8 << level);
    }
    return add_unit(matcher, node, &unit, &matcher->plan->heads[level]);
}

// The first layer's rows are handed to one unit as they come and never stored.
static int check_stem(const struct matcher *matcher)
{
    int readers = 0;
    for (int i = 0; i < matcher->plan->unit_count; i++) {
        readers += matcher->plan->units[i].source == FW_YUNET_STEM;
    }
    return readers == 1 ? FW_OK : refuse(matcher, "%d layers read the first one", readers);
}

int fw_yunet_match(const struct fw_onnx_graph *graph, struct fw_yunet_plan *plan,
                   struct fw_error *error)
{
    struct matcher matcher = {.graph = graph, .plan = plan, .error = error};
    *plan = (struct fw_yunet_plan){0};
    if (graph->ir_version < 3 || graph->ir_version > 10) {
        return refuse(&matcher, "its ONNX IR version is %lld, not 3 to 10",
                      (long long)graph->ir_version);
    }
    for (int level = 0; level < FW_YUNET_LEVELS; level++) {
        int status = match_head(&matcher, level);
        if (status != FW_OK) {
            return status;
        }
    }
    return check_stem(&matcher);
}
