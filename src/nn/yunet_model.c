#include "nn/yunet_model.h"

#include "nn/aligned.h"
#include "nn/isa.h"
#include "nn/unit_weights.h"
#include <stdlib.h>

static int padded(int channels)
{
    return (channels + FW_BLOCK - 1) / FW_BLOCK * FW_BLOCK;
}

static int pack_stem(struct fw_yunet_model *model, const struct fw_conv *conv)
{
    int channels = padded(conv->out_channels);
    model->stem_channels = channels;
    model->stem = fw_floats_create(27, (size_t)channels);
    model->stem_bias = fw_floats_create(1, (size_t)channels);
    if (model->stem == NULL || model->stem_bias == NULL) {
        return FW_ENOMEM;
    }
    for (int out = 0; out < conv->out_channels; out++) {
        for (int color = 0; color < 3; color++) {
            for (int k = 0; k < 9; k++) {
                model->stem[(k * 3 + color) * channels + out] =
                    conv->weights[(out * 3 + color) * 9 + k];
            }
        }
        model->stem_bias[out] = conv->bias == NULL ? 0 : conv->bias[out];
    }
    return FW_OK;
}

static int alloc_unit(struct fw_unit_weights *weights, const struct fw_unit_plan *plan)
{
    weights->relu = plan->relu;
    return fw_unit_weights_alloc(weights, padded(plan->in_channels), padded(plan->out_channels));
}

// One output channel of a unit, from channel FROM of a pair of convolutions.
static void pack_channel(struct fw_unit_weights *weights, int out, const struct fw_conv *pointwise,
                         const struct fw_conv *depthwise, int from)
{
    for (int in = 0; in < pointwise->in_channels; in++) {
        *fw_pointwise_slot(weights->pointwise, weights->in_channels, in, out) =
            pointwise->weights[from * pointwise->in_channels + in];
    }
    for (int k = 0; k < 9; k++) {
        weights->depthwise[k * weights->out_channels + out] = depthwise->weights[from * 9 + k];
    }
    weights->pointwise_bias[out] = pointwise->bias == NULL ? 0 : pointwise->bias[from];
    weights->depthwise_bias[out] = depthwise->bias == NULL ? 0 : depthwise->bias[from];
}

static int pack_unit(struct fw_yunet_unit *unit, const struct fw_unit_plan *plan)
{
    unit->source = plan->source;
    unit->pooled = plan->pooled;
    unit->upsampled = plan->upsampled;
    unit->shift = plan->shift;
    if (alloc_unit(&unit->weights, plan) != FW_OK) {
        return FW_ENOMEM;
    }
    int out = 0;
    for (int part = 0; part < plan->part_count; part++) {
        for (int from = 0; from < plan->depthwise[part].out_channels; from++) {
            pack_channel(&unit->weights, out++, &plan->pointwise[part], &plan->depthwise[part],
                         from);
        }
    }
    fw_unit_weights_derive(&unit->weights);
    return FW_OK;
}

static int pack(struct fw_yunet_model *model, const struct fw_yunet_plan *plan,
                struct fw_error *error)
{
    int status = pack_stem(model, &plan->stem);
    for (int i = 0; status == FW_OK && i < plan->unit_count; i++) {
        model->unit_count = i + 1;
        status = pack_unit(&model->units[i], &plan->units[i]);
    }
    for (int level = 0; level < FW_YUNET_LEVELS; level++) {
        model->heads[level] = plan->heads[level];
    }
    return status == FW_OK
               ? FW_OK
               : fw_fail(error, status, "out of memory while packing the network's weights");
}

// Reads, matches and packs into MODEL; the graph is needed no longer than that.
static int load(struct fw_yunet_model *model, const uint8_t *data, size_t length,
                struct fw_error *error)
{
    struct fw_onnx_graph graph;
    int status = fw_onnx_read(&graph, data, length, error);
    if (status != FW_OK) {
        return status;
    }
    struct fw_yunet_plan *plan = malloc(sizeof(*plan));
    if (plan == NULL) {
        status = fw_fail(error, FW_ENOMEM, "out of memory while loading the model");
        goto done;
    }
    status = fw_yunet_match(&graph, plan, error);
    if (status == FW_OK) {
        status = pack(model, plan, error);
    }
done:
    free(plan);
    fw_onnx_free(&graph);
    return status;
}

int fw_yunet_model_load(struct fw_yunet_model **model, const uint8_t *data, size_t length,
                        enum fw_isa isa, struct fw_error *error)
{
    *model = NULL;
    const struct fw_kernels *kernels = fw_kernels_for(isa);
    if (kernels == NULL) {
        return fw_fail(error, FW_ENOTSUP,
                       "this processor or build has no \"%s\" kernels; use \"auto\"",
                       fw_isa_name(isa));
    }
    struct fw_yunet_model *loaded = calloc(1, sizeof(*loaded));
    if (loaded == NULL) {
        return fw_fail(error, FW_ENOMEM, "out of memory while loading the model");
    }
    atomic_init(&loaded->references, 1);
    loaded->isa = isa == FW_ISA_AUTO ? fw_isa_best() : isa;
    loaded->kernels = kernels;
    int status = load(loaded, data, length, error);
    if (status != FW_OK) {
        fw_yunet_model_unref(loaded);
        return status;
    }
    *model = loaded;
    return FW_OK;
}

struct fw_yunet_model *fw_yunet_model_ref(struct fw_yunet_model *model)
{
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return model;
}

void fw_yunet_model_unref(struct fw_yunet_model *model)
{
    if (model == NULL ||
        atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (int i = 0; i < model->unit_count; i++) {
        fw_unit_weights_free(&model->units[i].weights);
    }
    free(model->stem);
    free(model->stem_bias);
    free(model);
}

enum fw_isa fw_yunet_model_isa(const struct fw_yunet_model *model)
{
    return model->isa;
}
