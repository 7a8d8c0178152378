// Any bytes at all must load as a model, or fail cleanly; and what loads must run, in floats and,
// with ranges that nobody measured, in bytes.
#include "nn/onnx.h"
#include "nn/quant_model.h"
#include "nn/yunet_net.h"

#include <stdlib.h>
#include <string.h>

#define SIDE_PX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run_floats(struct fw_yunet_model *model)
{
    struct fw_yunet *net = NULL;
    struct fw_yunet_level levels[3];
    struct fw_error error;

    if (fw_yunet_create(&net, model, SIDE_PX, SIDE_PX, &error) == FW_OK)
        fw_yunet_run(net, levels);
    fw_yunet_destroy(net);
}

static void run_bytes(struct fw_quant_model *model, uint8_t value)
{
    struct fw_quant *net = NULL;
    struct fw_yunet_level levels[3];
    struct fw_error error;
    size_t stride;

    if (fw_quant_create(&net, model, SIDE_PX, SIDE_PX, &error) != FW_OK)
        return;
    memset(fw_quant_input(net, &stride), value, (size_t)SIDE_PX * SIDE_PX * 3);
    fw_quant_run(net, levels);
    fw_quant_destroy(net);
}

// Packs PLAN as if each layer's channels all reached up to MAX.
static void pack_bytes(const struct fw_yunet_plan *plan, float max, uint8_t value)
{
    static char digits[FW_YUNET_MAX_CHANNELS + 1];
    struct fw_quant_range layers[FW_YUNET_MAX_UNITS + 1];
    const struct fw_quant_ranges ranges = {
        .model = "fuzzed", .layer_count = plan->unit_count + 1, .layers = layers};
    struct fw_quant_model *model = calloc(1, sizeof(*model));
    struct fw_error error;

    if (model == NULL)
        return;
    memset(digits, '0', FW_YUNET_MAX_CHANNELS);
    for (int i = 0; i <= plan->unit_count; i++)
        layers[i] = (struct fw_quant_range){max, digits};
    atomic_init(&model->references, 1);
    model->kernels = &fw_int8_scalar;
    if (fw_quant_pack(model, plan, &ranges, &error) == FW_OK)
        run_bytes(model, value);
    fw_quant_model_unref(model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fw_yunet_plan plan;
    struct fw_yunet_model *model = NULL;
    struct fw_onnx_graph graph;
    struct fw_error error;
    int status = fw_yunet_model_load(&model, data, size, FW_ISA_SCALAR, &error);

    if ((status == FW_OK) != (model != NULL))
        __builtin_trap();
    if (model == NULL)
        return 0;
    run_floats(model);
    fw_yunet_model_unref(model);
    if (fw_onnx_read(&graph, data, size, &error) != FW_OK)
        return 0;
    if (fw_yunet_match(&graph, &plan, &error) == FW_OK)
        pack_bytes(&plan, (float)(1 << data[size - 1] % 16), data[size / 2]);
    fw_onnx_free(&graph);
    return 0;
}
