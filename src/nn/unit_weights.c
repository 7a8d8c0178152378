#include "nn/unit_weights.h"

#include "nn/aligned.h"
#include "util/error.h"
#include <stdlib.h>

// Halves of whole blocks, and not too many inputs.
static bool has_products(const struct fw_unit_weights *weights)
{
    return weights->in_channels % (2 * FW_BLOCK) == 0 &&
           weights->out_channels % (2 * FW_BLOCK) == 0 && weights->in_channels <= FW_PRODUCT_INPUTS;
}

int fw_unit_weights_alloc(struct fw_unit_weights *weights, int in_channels, int out_channels)
{
    weights->in_channels = in_channels;
    weights->out_channels = out_channels;
    size_t in = (size_t)in_channels, out = (size_t)out_channels;
    weights->pointwise = fw_floats_create(in, out);
    weights->pointwise_bias = fw_floats_create(1, out);
    weights->depthwise = fw_floats_create(9, out);
    weights->depthwise_bias = fw_floats_create(1, out);
    weights->taps = fw_floats_create(12, out);
    bool failed = weights->pointwise == NULL || weights->pointwise_bias == NULL ||
                  weights->depthwise == NULL || weights->depthwise_bias == NULL ||
                  weights->taps == NULL;
    if (has_products(weights)) {
        weights->products = fw_floats_create(7 * in / 2, out / 2);
        weights->products_bias = fw_floats_create(1, out);
        failed = failed || weights->products == NULL || weights->products_bias == NULL;
    }
    return failed ? FW_ENOMEM : FW_OK;
}

void fw_unit_weights_free(struct fw_unit_weights *weights)
{
    free(weights->pointwise);
    free(weights->pointwise_bias);
    free(weights->depthwise);
    free(weights->depthwise_bias);
    free(weights->taps);
    free(weights->products);
    free(weights->products_bias);
}

float *fw_pointwise_slot(float *matrix, int in_channels, int in, int out)
{
    size_t block = (size_t)(out / FW_BLOCK) * (size_t)in_channels;
    return matrix + (block + (size_t)in) * FW_BLOCK + out % FW_BLOCK;
}

static void pack_products(struct fw_unit_weights *weights)
{
    int half_in = weights->in_channels / 2, half_out = weights->out_channels / 2;
    float *matrix = weights->pointwise, *products = weights->products;
    for (int out = 0; out < half_out; out++) {
        for (int in = 0; in < half_in; in++) {
            float b11 = *fw_pointwise_slot(matrix, 2 * half_in, in, out);
            float b12 = *fw_pointwise_slot(matrix, 2 * half_in, in, out + half_out);
            float b21 = *fw_pointwise_slot(matrix, 2 * half_in, in + half_in, out);
            float b22 = *fw_pointwise_slot(matrix, 2 * half_in, in + half_in, out + half_out);
            float t1 = b12 - b11, t2 = b22 - t1, t3 = b22 - b12, t4 = t2 - b21;
            const float factors[7] = {b11, b21, t2, t3, -t4, t1, b22};
            for (int i = 0; i < 7; i++) {
                *fw_pointwise_slot(products + i * half_in * half_out, half_in, in, out) =
                    factors[i];
            }
        }
        weights->products_bias[out] = weights->pointwise_bias[out];
        weights->products_bias[half_out + out] =
            weights->pointwise_bias[half_out + out] - weights->pointwise_bias[out];
    }
}

static void pack_taps(struct fw_unit_weights *weights)
{
    int channels = weights->out_channels;
    for (int i = 0; i < 3 * channels; i++) { // column and channel
        float g0 = weights->depthwise[i], g1 = weights->depthwise[3 * channels + i];
        float g2 = weights->depthwise[6 * channels + i];
        weights->taps[i] = (g0 + g1 + g2) / 2;
        weights->taps[3 * channels + i] = (g0 - g1 + g2) / 2;
        weights->taps[6 * channels + i] = g0;
        weights->taps[9 * channels + i] = g2;
    }
}

void fw_unit_weights_derive(struct fw_unit_weights *weights)
{
    if (weights->products != NULL) {
        pack_products(weights);
    }
    pack_taps(weights);
}
