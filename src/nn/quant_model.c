// From float weights and measured ranges to whole numbers.
//
// A pointwise sum counts in steps of its own for each output channel, chosen so that the weights
// use their bytes; a shift then makes it fit 16 bits whatever the inputs are. The depthwise weights
// undo the step and the shift, and divide by the step of the result, times 2^16, so that what
// remains to do is to take the upper half of the sum.
#include "nn/quant_model.h"

#include "nn/aligned.h"
#include "nn/isa.h"
#include "nn/onnx.h"
#include <math.h>
#include <stdlib.h>

// 255 times two weights of at most this together fits 16 signed bits.
#define MAX_WEIGHT_PAIR 127.0
#define MAX_SUM         2147483647.0
#define MAX_WORD        32767.0

// What is packed at the moment.
struct packer {
    struct fw_quant_model *model;
    const struct fw_yunet_plan *plan;
    struct fw_error *error;
};

static int padded(int channels)
{
    return (channels + FW_INT8_BLOCK - 1) / FW_INT8_BLOCK * FW_INT8_BLOCK;
}

static int refuse(const struct packer *packer, const char *what)
{
    return fw_fail(packer->error, FW_ENOTSUP,
                   "the model's weights cannot be turned into 8 bits: %s; use precision \"fp32\"",
                   what);
}

// What one step of a byte is worth.
static double byte_step(const struct fw_quant_range *layer, int channel)
{
    return (double)fw_quant_range_of(layer, channel) / 255;
}

static double bias_of(const struct fw_conv *conv, int channel)
{
    return conv->bias == NULL ? 0 : (double)conv->bias[channel];
}

static int alloc_stem(struct fw_int8_stem *stem, int channels)
{
    stem->channels = padded(channels);
    size_t count = (size_t)stem->channels;
    stem->weights = fw_aligned_create(count * 3 * FW_INT8_STEM_PAIRS * 2, sizeof(int16_t));
    stem->bias = fw_aligned_create(count, sizeof(int32_t));
    return stem->weights != NULL && stem->bias != NULL ? FW_OK : FW_ENOMEM;
}

// Weight K (row, column, colour) of channel OUT.
static int16_t *stem_slot(const struct fw_int8_stem *stem, int out, int k)
{
    int pair = k / 9 * FW_INT8_STEM_PAIRS + k % 9 / 2;
    int block = out / FW_INT8_BLOCK * 3 * FW_INT8_STEM_PAIRS + pair;
    return stem->weights + (block * FW_INT8_BLOCK + out % FW_INT8_BLOCK) * 2 + k % 9 % 2;
}

static int pack_stem_channel(const struct packer *packer, int out)
{
    const struct fw_conv *conv = &packer->plan->stem;
    const struct fw_int8_stem *stem = &packer->model->stem;
    double step = byte_step(&packer->model->ranges->layers[0], out);
    double factor = (1 << (FW_INT8_OUTPUT_SHIFT - FW_INT8_STEM_SHIFT)) / step;
    double worst = 0;
    for (int k = 0; k < 27; k++) {
        double weight = rint((double)conv->weights[(out * 3 + k % 3) * 9 + k / 3] * factor);
        if (!(fabs(weight) <= MAX_WORD)) {
            return refuse(packer, "the first layer's are too large");
        }
        worst += fabs(weight) * (255 << FW_INT8_STEM_SHIFT);
        *stem_slot(stem, out, k) = (int16_t)weight;
    }
    double bias = rint(bias_of(conv, out) / step * (1 << FW_INT8_OUTPUT_SHIFT)) +
                  (1 << (FW_INT8_OUTPUT_SHIFT - 1));
    if (!(worst + fabs(bias) <= MAX_SUM)) {
        return refuse(packer, "the first layer's sums are too large");
    }
    stem->bias[out] = (int32_t)bias;
    return FW_OK;
}

static int pack_stem(const struct packer *packer)
{
    const struct fw_conv *conv = &packer->plan->stem;
    int status = alloc_stem(&packer->model->stem, conv->out_channels);
    for (int out = 0; status == FW_OK && out < conv->out_channels; out++) {
        status = pack_stem_channel(packer, out);
    }
    return status;
}

static int alloc_unit(struct fw_int8_unit *unit, const struct fw_unit_plan *plan)
{
    unit->in_channels = padded(plan->in_channels);
    unit->out_channels = padded(plan->out_channels);
    size_t in = (size_t)unit->in_channels, out = (size_t)unit->out_channels;
    unit->pointwise = fw_aligned_create(in * out, sizeof(int8_t));
    unit->pointwise_bias = fw_aligned_create(out, sizeof(int32_t));
    unit->signed_bias = fw_aligned_create(out, sizeof(int32_t));
    unit->shift = fw_aligned_create(out, sizeof(int32_t));
    unit->complement = fw_aligned_create(out, sizeof(int32_t));
    unit->depthwise = fw_aligned_create(out * FW_INT8_KINDS * 3 * 2, sizeof(int16_t));
    unit->depthwise_bias = fw_aligned_create(out, sizeof(int32_t));
    bool failed = unit->pointwise == NULL || unit->pointwise_bias == NULL ||
                  unit->signed_bias == NULL || unit->shift == NULL || unit->complement == NULL ||
                  unit->depthwise == NULL || unit->depthwise_bias == NULL;
    if (!plan->relu) {
        unit->scale = fw_aligned_create(out, sizeof(float));
        failed = failed || unit->scale == NULL;
    }
    return failed ? FW_ENOMEM : FW_OK;
}

// One output channel on its way through a unit.
struct channel {
    const struct fw_conv *pointwise, *depthwise;
    int from, out;       // in the convolutions and in the unit
    double step;         // of the pointwise sum
    double word_step;    // of the word that is made of it
    double largest_word; // that any input can cause
};

static double input_weight(const struct channel *channel, const struct fw_quant_range *input,
                           int in)
{
    const struct fw_conv *conv = channel->pointwise;
    return in >= conv->in_channels ? 0
                                   : (double)conv->weights[channel->from * conv->in_channels + in] *
                                         byte_step(input, in);
}

static double pointwise_step(const struct channel *channel, const struct fw_quant_range *input)
{
    double largest = 0;
    for (int in = 0; in < channel->pointwise->in_channels; in += 2) {
        largest = fmax(largest, fabs(input_weight(channel, input, in)) +
                                    fabs(input_weight(channel, input, in + 1)));
    }
    return largest > 0 ? largest / MAX_WEIGHT_PAIR : 1;
}

// The smallest shift after which sums from LOWEST to HIGHEST fit 16 bits; 17 when there is none.
static int shift_for(double lowest, double highest)
{
    int shift = 0;
    while (shift <= 16 && (floor(ldexp(highest, -shift) + 0.5) > MAX_WORD ||
                           floor(ldexp(lowest, -shift) + 0.5) < -MAX_WORD - 1)) {
        shift++;
    }
    return shift;
}

static int pack_pointwise(const struct packer *packer, struct fw_int8_unit *unit,
                          struct channel *channel, const struct fw_quant_range *input)
{
    channel->step = pointwise_step(channel, input);
    double bias = rint(bias_of(channel->pointwise, channel->from) / channel->step);
    double lowest = bias, highest = bias, sum = 0;
    for (int in = 0; in < channel->pointwise->in_channels; in++) {
        double weight = rint(input_weight(channel, input, in) / channel->step);
        lowest += weight < 0 ? weight * 255 : 0;
        highest += weight > 0 ? weight * 255 : 0;
        sum += weight;
        int group = in / FW_INT8_GROUP * unit->out_channels + channel->out;
        unit->pointwise[group * FW_INT8_GROUP + in % FW_INT8_GROUP] = (int8_t)weight;
    }
    int shift = shift_for(lowest, highest);
    if (shift > 16) {
        return refuse(packer, "a layer's sums are too large");
    }
    channel->word_step = ldexp(channel->step, shift);
    channel->largest_word = fmax(fabs(ldexp(lowest, -shift)), fabs(ldexp(highest, -shift))) + 1;
    // What rounds is added first: without it the bias alone may just miss 32 bits.
    unit->pointwise_bias[channel->out] = (int32_t)(bias + (shift > 0 ? 1 << (shift - 1) : 0));
    unit->signed_bias[channel->out] = unit->pointwise_bias[channel->out] + 128 * (int32_t)sum;
    unit->shift[channel->out] = shift;
    unit->complement[channel->out] = 16 - shift;
    return FW_OK;
}

// Tap TAP goes to the two kinds of weights that see its row, in the half where its row lies.
static void put_tap(struct fw_int8_unit *unit, int out, int tap, int16_t weight)
{
    static const struct {
        int kind, half;
    } places[3][2] = {
        {{FW_INT8_ABOVE, 1}, {FW_INT8_LOWER, 0}},
        {{FW_INT8_UPPER, 0}, {FW_INT8_LOWER, 1}},
        {{FW_INT8_UPPER, 1}, {FW_INT8_BELOW, 0}},
    };
    for (int i = 0; i < 2; i++) {
        int kind = places[tap / 3][i].kind, half = places[tap / 3][i].half;
        int vector = (out / FW_INT8_BLOCK * FW_INT8_KINDS + kind) * 3 + tap % 3;
        unit->depthwise[(vector * FW_INT8_BLOCK + out % FW_INT8_BLOCK) * 2 + half] = weight;
    }
}

// The step of a head's sums: the smallest with which weights and sums fit.
static double head_step(const struct channel *channel)
{
    const float *weights = channel->depthwise->weights + channel->from * 9;
    double largest = 0, sum = fabs(bias_of(channel->depthwise, channel->from));
    for (int k = 0; k < 9; k++) {
        double weight = fabs((double)weights[k] * channel->word_step);
        largest = fmax(largest, weight);
        sum += weight * channel->largest_word;
    }
    double step = fmax(largest / MAX_WORD, sum / (MAX_SUM / 2));
    return step > 0 ? step : 1;
}

static int pack_depthwise(const struct packer *packer, struct fw_int8_unit *unit,
                          const struct channel *channel, double step, double rounding)
{
    const float *weights = channel->depthwise->weights + channel->from * 9;
    double bias = rint(bias_of(channel->depthwise, channel->from) / step) + rounding;
    double worst = fabs(bias);
    for (int k = 0; k < 9; k++) {
        double weight = rint((double)weights[k] * channel->word_step / step);
        worst += fabs(weight) * channel->largest_word;
        if (!(fabs(weight) <= MAX_WORD && worst <= MAX_SUM)) {
            return refuse(packer, "a layer's are too large for what it was measured to give");
        }
        put_tap(unit, channel->out, k, (int16_t)weight);
    }
    unit->depthwise_bias[channel->out] = (int32_t)bias;
    return FW_OK;
}

static int pack_channel(const struct packer *packer, struct fw_int8_unit *unit,
                        struct channel *channel, const struct fw_quant_range *input,
                        const struct fw_quant_range *output)
{
    int status = pack_pointwise(packer, unit, channel, input);
    if (status != FW_OK) {
        return status;
    }
    if (unit->scale != NULL) {
        double step = head_step(channel);
        unit->scale[channel->out] = (float)step;
        return pack_depthwise(packer, unit, channel, step, 0);
    }
    double step = ldexp(byte_step(output, channel->out), -FW_INT8_OUTPUT_SHIFT);
    return pack_depthwise(packer, unit, channel, step, 1 << (FW_INT8_OUTPUT_SHIFT - 1));
}

static int pack_unit(const struct packer *packer, int index)
{
    const struct fw_unit_plan *plan = &packer->plan->units[index];
    struct fw_quant_unit *unit = &packer->model->units[index];
    const struct fw_quant_range *layers = packer->model->ranges->layers;
    const struct fw_quant_range *input = &layers[plan->source + 1], *output = &layers[index + 1];
    unit->source = plan->source;
    unit->pooled = plan->pooled;
    unit->upsampled = plan->upsampled;
    unit->shift = plan->shift;
    int status = alloc_unit(&unit->weights, plan);
    if (plan->upsampled != FW_YUNET_NONE &&
        !fw_quant_ranges_are_equal(input, &layers[plan->upsampled + 1])) {
        return refuse(packer, "two maps that are added have different steps");
    }
    int out = 0;
    for (int part = 0; part < plan->part_count; part++) {
        for (int from = 0; status == FW_OK && from < plan->depthwise[part].out_channels; from++) {
            struct channel channel = {
                .pointwise = &plan->pointwise[part],
                .depthwise = &plan->depthwise[part],
                .from = from,
                .out = out,
            };
            status = pack_channel(packer, &unit->weights, &channel, input, output);
            out++;
        }
    }
    return status;
}

// Whether all that is read consists of bytes: a unit without ReLU, as the heads are, makes floats.
static bool reads_bytes_only(const struct fw_yunet_plan *plan)
{
    bool only = true;
    for (int i = 0; i < plan->unit_count; i++) {
        const struct fw_unit_plan *unit = &plan->units[i];
        only = only && (unit->source == FW_YUNET_STEM || plan->units[unit->source].relu) &&
               (unit->upsampled == FW_YUNET_NONE || plan->units[unit->upsampled].relu);
    }
    return only;
}

// Every layer that is read must have a range for each of its channels.
static bool ranges_fit(const struct fw_yunet_plan *plan, const struct fw_quant_ranges *ranges)
{
    if (ranges->layer_count != plan->unit_count + 1) {
        return false;
    }
    int stem_last = plan->stem.out_channels - 1;
    bool fit = fw_quant_range_of(&ranges->layers[0], stem_last) > 0;
    for (int i = 0; i < plan->unit_count; i++) {
        const struct fw_unit_plan *unit = &plan->units[i];
        int last = unit->out_channels - 1;
        fit = fit && (!unit->relu || fw_quant_range_of(&ranges->layers[i + 1], last) > 0);
    }
    return fit;
}

int fw_quant_pack(struct fw_quant_model *model, const struct fw_yunet_plan *plan,
                  const struct fw_quant_ranges *ranges, struct fw_error *error)
{
    struct packer packer = {model, plan, error};
    if (!reads_bytes_only(plan)) {
        return refuse(&packer, "a layer reads another one that has no ReLU");
    }
    if (!ranges_fit(plan, ranges)) {
        return refuse(&packer, "the measured ranges are those of another network");
    }
    model->ranges = ranges;
    int status = pack_stem(&packer);
    for (int i = 0; status == FW_OK && i < plan->unit_count; i++) {
        model->unit_count = i + 1;
        status = pack_unit(&packer, i);
    }
    for (int level = 0; level < FW_YUNET_LEVELS; level++) {
        model->heads[level] = plan->heads[level];
    }
    return status == FW_ENOMEM
               ? fw_fail(error, status, "out of memory while packing the network's weights")
               : status;
}

static int quantise(struct fw_quant_model *model, const struct fw_yunet_plan *plan,
                    struct fw_error *error)
{
    const struct fw_quant_ranges *ranges = fw_quant_ranges_find(fw_quant_fingerprint(plan));
    if (ranges == NULL) {
        return fw_fail(error, FW_ENOTSUP,
                       "this YuNet model was never calibrated for precision \"int8\"; use \"fp32\" "
                       "or \"auto\"");
    }
    return fw_quant_pack(model, plan, ranges, error);
}

// Reads, matches and packs into MODEL; the graph is needed no longer than that.
static int load(struct fw_quant_model *model, const uint8_t *data, size_t length,
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
        status = quantise(model, plan, error);
    }
done:
    free(plan);
    fw_onnx_free(&graph);
    return status;
}

int fw_quant_model_load(struct fw_quant_model **model, const uint8_t *data, size_t length,
                        enum fw_isa isa, struct fw_error *error)
{
    *model = NULL;
    const struct fw_int8_kernels *kernels = fw_int8_kernels_for(isa);
    if (kernels == NULL) {
        return fw_fail(error, FW_ENOTSUP,
                       "this processor or build has no \"%s\" kernels; use \"auto\"",
                       fw_isa_name(isa));
    }
    struct fw_quant_model *loaded = calloc(1, sizeof(*loaded));
    if (loaded == NULL) {
        return fw_fail(error, FW_ENOMEM, "out of memory while loading the model");
    }
    atomic_init(&loaded->references, 1);
    loaded->kernels = kernels;
    loaded->is_faster = fw_int8_is_faster(isa);
    int status = load(loaded, data, length, error);
    if (status != FW_OK) {
        fw_quant_model_unref(loaded);
        return status;
    }
    *model = loaded;
    return FW_OK;
}

struct fw_quant_model *fw_quant_model_ref(struct fw_quant_model *model)
{
    atomic_fetch_add_explicit(&model->references, 1, memory_order_relaxed);
    return model;
}

void fw_quant_model_unref(struct fw_quant_model *model)
{
    if (model == NULL ||
        atomic_fetch_sub_explicit(&model->references, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (int i = 0; i < model->unit_count; i++) {
        struct fw_int8_unit *unit = &model->units[i].weights;
        free(unit->pointwise);
        free(unit->pointwise_bias);
        free(unit->signed_bias);
        free(unit->shift);
        free(unit->complement);
        free(unit->depthwise);
        free(unit->depthwise_bias);
        free(unit->scale);
    }
    free(model->stem.weights);
    free(model->stem.bias);
    free(model);
}

const char *fw_quant_model_kernels(const struct fw_quant_model *model)
{
    return model->kernels->name;
}

const char *fw_quant_kernels_name(enum fw_isa isa)
{
    const struct fw_int8_kernels *kernels = fw_int8_kernels_for(isa);
    return kernels == NULL ? NULL : kernels->name;
}

bool fw_quant_model_is_advised(const struct fw_quant_model *model)
{
    for (int i = 0; i < FW_QUANT_DIFFICULTIES; i++) {
        if (!(model->ranges->losses[i] <= FW_QUANT_MAX_LOSS)) {
            return false;
        }
    }
    return model->is_faster;
}
