#include "nn/quant_ranges.h"

#include <math.h>
#include <string.h>

#define COUNT(array) (int)(sizeof(array) / sizeof((array)[0]))
#define FNV_PRIME    0x100000001b3u

// Written by tests/tools/calibrate.sh, which says on which pictures.
static const struct fw_quant_range yunet_n_layers[] = {
    {6.5297f, "3b47bg3i12u9220c"},
    {7.8408f, "ad22a405cagc5g50"},
    {6.1155f, "806a704887g8e685"},
    {4.6370f, "795c608aa426846715a779fd986564456f9e26c7be34h57456c6493580853541"},
    {4.5799f, "89c6886996fa8ab768a8a57b57a3bb868699bb1584445989a79b958846e90a46"},
    {3.0362f, "454788a5d489579897824489374a89759a7581646756950768847939686a5878"},
    {4.1740f, "876a89425a428e2b699d376b6a87541d1a0798d857697636b3c794cbdd4b3bcd"},
    {5.3041f, "25595ba97387a25d97958f686ba89867a7d32663426963b146bg4c9a0b14a478"},
    {5.6545f, "fa1elg7aaf75eibab97cfa38ecfhddec967dcfb85b9e35hdc053fcf25he59a8b"},
    {4.4272f, "a746d795637460a5f975938a60658ea6b8cc740cb88c9dc693ba997469e2d2a9"},
    {4.0161f, "ldd527ajbccagb7gbfcig9c470dbl6a7i9ajql6i748gfb588d7dbabeg7415i8b"},
    {3.8292f, "hgge86cba5b95cce7ahbbfme9e9aek6nefe4fab6e0ac96be6kgh5c488gfiei7f"},
    {4.4272f, "a746d795637460a5f975938a60658ea6b8cc740cb88c9dc693ba997469e2d2a9"},
    {5.3041f, "25595ba97387a25d97958f686ba89867a7d32663426963b146bg4c9a0b14a478"},
    {3.7085f, "5be586a6cf742f746947bc646b9b85d81a9543g67561596664b772a5befgf60j"},
    {8.2719f, "ja6f7odbhc8ezfhpr9bn63ifbjl30fcgc8eefq1ikh8fcblg8lah2ghnagcbf4ad"},
    {0, ""}, // a head
    {12.5040f, "dlk3ijqjhklrjqn0tjpl36ilknfomjkklmrmunhfknenelhn8nfojplh3g3jinjf"},
    {0, ""}, // a head
    {7.6026f, "dlf5ge0kghdljjdombjdghciilhh9j8k46eedahecfnkd1acem6c6hdkj9ngeaji"},
    {0, ""}, // a head
};

static const struct fw_quant_range yunet_s_layers[] = {
    {6.4109f, "3eaca09d92k52odu"},
    {9.1469f, "6hac26g047d8f410"},
    {7.0988f, "594ae070eb655i67"},
    {6.5446f, "805678hca59dae4cc089f8c6b5h78578"},
    {4.2072f, "38745554403915622211941742827642"},
    {3.0366f, "4555425346294625766077575934755735174556585423144415277310647744"},
    {5.7213f, "ga86aafh69abbgb74a67baaeabgcc58b8cage5d9c9aae0c99e969cbd6bbbcb8b"},
    {7.3572f, "d8347030b7a4586363744c6bab81a473cbb12d9cb766d74628baa68175626175"},
    {5.1261f, "c4986bgdb64c7d949b3975664b5856736a6a01a706h4c6g0f65c78d0749ac92d"},
    {8.3953f, "5eb9a80aba54d96978ddddadgd204f8cda8ccb8ad4a86a4e884617373dc5deha"},
    {4.9807f, "e7c9h0bbz7k8g894leajeckc5ho9jja9pd6c9idajb6e9mdeegfkh4e6d3bdd655"},
    {3.5190f, "bc478cb9fdh7b99ebc999bf478bg6g44ba2ba8d3312bb969985f7dd5a790285d"},
    {8.3953f, "5eb9a80aba54d96978ddddadgd204f8cda8ccb8ad4a86a4e884617373dc5deha"},
    {7.3572f, "d8347030b7a4586363744c6bab81a473cbb12d9cb766d74628baa68175626175"},
    {9.4603f, "9kcahcgfbrkjah7nke9hhnlgmhgcm0d9enihik3ab0cga17dk8ghj88jggcgeod6"},
    {0, ""}, // a head
    {0, ""}, // a head
    {0, ""}, // a head
};

// The losses were measured by tests/system/test_accuracy.py on 202 pictures of WIDER FACE's
// validation set, at their own size, 640 and 320: fp32 less int8, the largest of the three sizes,
// 0 where int8 was better throughout (docs/detection.md has all figures). They are noisy by about
// as much as they are large.
static const struct fw_quant_ranges known[] = {
    {"YuNet-n", 0x32dc9a19aa6db9eb, {0, 0, 0.0020f}, COUNT(yunet_n_layers), yunet_n_layers},
    {"YuNet-s", 0x8f04eac4736fef27, {0.0037f, 0.0046f, 0}, COUNT(yunet_s_layers), yunet_s_layers},
};

static uint64_t hash_floats(uint64_t hash, const float *values, size_t count)
{
    for (size_t i = 0; values != NULL && i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof(bits));
        for (int shift = 0; shift < 32; shift += 8) {
            hash = (hash ^ (bits >> shift & 255)) * FNV_PRIME;
        }
    }
    return hash;
}

static uint64_t hash_conv(uint64_t hash, const struct fw_conv *conv, int kernel)
{
    size_t out = (size_t)conv->out_channels;
    size_t count = out * (size_t)conv->in_channels * (size_t)(kernel * kernel);
    return hash_floats(hash_floats(hash, conv->weights, count), conv->bias, out);
}

// How a unit is wired.
static uint64_t hash_wiring(uint64_t hash, const struct fw_unit_plan *unit)
{
    const int wiring[] = {unit->relu, unit->source, unit->pooled, unit->upsampled};
    for (int i = 0; i < COUNT(wiring); i++) {
        // No index reaches 128: each fits a byte, and so does what is less than zero.
        hash = (hash ^ ((unsigned)wiring[i] & 255)) * FNV_PRIME;
    }
    return hash;
}

uint64_t fw_quant_fingerprint(const struct fw_yunet_plan *plan)
{
    uint64_t hash = hash_conv(0xcbf29ce484222325u, &plan->stem, 3);
    for (int i = 0; i < plan->unit_count; i++) {
        const struct fw_unit_plan *unit = &plan->units[i];
        hash = hash_wiring(hash, unit);
        for (int part = 0; part < unit->part_count; part++) {
            hash = hash_conv(hash, &unit->pointwise[part], 1);
            hash = hash_conv(hash, &unit->depthwise[part], 3);
        }
    }
    return hash;
}

float fw_quant_range_of(const struct fw_quant_range *layer, int channel)
{
    if (channel >= (int)strlen(layer->channels)) {
        return 0;
    }
    char digit = layer->channels[channel];
    int eighths = digit <= '9' ? digit - '0' : digit - 'a' + 10;
    return layer->max * exp2f(-0.125f * (float)eighths);
}

bool fw_quant_ranges_are_equal(const struct fw_quant_range *a, const struct fw_quant_range *b)
{
    return a->max == b->max && strcmp(a->channels, b->channels) == 0;
}

const struct fw_quant_ranges *fw_quant_ranges_find(uint64_t fingerprint)
{
    for (int i = 0; i < COUNT(known); i++) {
        if (known[i].fingerprint == fingerprint) {
            return &known[i];
        }
    }
    return NULL;
}
