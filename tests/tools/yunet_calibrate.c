// Measures how large the activations of a YuNet model become, and prints a row for
// src/nn/quant_ranges.c.
//
//     yunet_calibrate MODEL.onnx PICTURE... > row
//
// The network is computed in plain floats, layer by layer, on each picture at the sizes below. Take
// pictures with faces near and far, and some without; never those that accuracy is measured on.
// tests/tools/calibrate.sh says which ones the committed rows were made from.
#include "detect/input.h"
#include "media/image_file.h"
#include "nn/aligned.h"
#include "nn/isa.h"
#include "nn/onnx.h"
#include "nn/quant_ranges.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const int input_sizes[] = {1024, 640, 320};
// The smallest part of a layer's range that a channel can have: 36 digits of an eighth of a power
// of two each.
enum { DIGITS = 36, DIGITS_PER_HALVING = 8 };

// A map of [channels][height][width].
struct map {
    int channels, width, height;
    float *values;
};

struct calibration {
    struct fw_onnx_graph graph;
    struct fw_yunet_plan plan;
    float *largest[FW_YUNET_MAX_UNITS + 1]; // of each channel of each layer, the first one first
    struct map maps[FW_YUNET_MAX_UNITS + 1];
};

static void *need(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

static struct map make_map(int channels, int width, int height)
{
    size_t count = (size_t)width * (size_t)height;
    struct map map = {channels, width, height, need(fw_floats_create((size_t)channels, count))};
    return map;
}

static float *plane(const struct map *map, int channel)
{
    return map->values + (size_t)channel * (size_t)map->width * (size_t)map->height;
}

static float bias_of(const struct fw_conv *conv, int channel)
{
    return conv->bias == NULL ? 0 : conv->bias[channel];
}

static float larger(float a, float b)
{
    return a > b ? a : b;
}

// TO += the 3x3 convolution of FROM with one pixel of zeros around it.
static void add_convolved(const struct map *from, const float *source, const float *weights,
                          int stride, int width, int height, float *to)
{
    for (int y = 0; y < height; y++) {
        for (int k = 0; k < 9; k++) {
            int row = y * stride + k / 3 - 1;
            if (row < 0 || row >= from->height) {
                continue;
            }
            for (int x = 0; x < width; x++) {
                int column = x * stride + k % 3 - 1;
                if (column >= 0 && column < from->width) {
                    to[y * width + x] += weights[k] * source[row * from->width + column];
                }
            }
        }
    }
}

static void fill(float *values, int count, float value)
{
    for (int i = 0; i < count; i++) {
        values[i] = value;
    }
}

// ReLU, and the largest value.
static float rectify(float *values, int count)
{
    float largest = 0;
    for (int i = 0; i < count; i++) {
        values[i] = larger(values[i], 0);
        largest = larger(largest, values[i]);
    }
    return largest;
}

static struct map run_stem(const struct calibration *job, const struct map *picture)
{
    const struct fw_conv *conv = &job->plan.stem;
    struct map out = make_map(conv->out_channels, picture->width / 2, picture->height / 2);
    int count = out.width * out.height;
    for (int c = 0; c < out.channels; c++) {
        fill(plane(&out, c), count, bias_of(conv, c));
        for (int color = 0; color < 3; color++) {
            add_convolved(picture, plane(picture, color), conv->weights + (c * 3 + color) * 9, 2,
                          out.width, out.height, plane(&out, c));
        }
        job->largest[0][c] = larger(job->largest[0][c], rectify(plane(&out, c), count));
    }
    return out;
}

static struct map halve(const struct map *from)
{
    struct map out = make_map(from->channels, from->width / 2, from->height / 2);
    for (int c = 0; c < out.channels; c++) {
        float *to = plane(&out, c);
        for (int i = 0; i < out.width * out.height; i++) {
            const float *at =
                plane(from, c) + (ptrdiff_t)(i / out.width * 2) * from->width + i % out.width * 2;
            to[i] = larger(larger(at[0], at[1]), larger(at[from->width], at[from->width + 1]));
        }
    }
    return out;
}

// The sum of a map and one of half its size. Both are stored in the sum's steps, so its size counts
// for both.
static struct map add_maps(const struct calibration *job, int source, int upsampled)
{
    const struct map *fine = &job->maps[source], *coarse = &job->maps[upsampled];
    struct map out = make_map(fine->channels, fine->width, fine->height);
    for (int c = 0; c < out.channels; c++) {
        float *to = plane(&out, c), largest = 0;
        for (int i = 0; i < out.width * out.height; i++) {
            int half = i / out.width / 2 * coarse->width + i % out.width / 2;
            to[i] = plane(fine, c)[i] + plane(coarse, c)[half];
            largest = larger(largest, to[i]);
        }
        job->largest[source][c] = larger(job->largest[source][c], largest);
        job->largest[upsampled][c] = larger(job->largest[upsampled][c], largest);
    }
    return out;
}

static struct map run_pointwise(const struct fw_conv *conv, const struct map *in)
{
    struct map out = make_map(conv->out_channels, in->width, in->height);
    int count = out.width * out.height;
    for (int c = 0; c < out.channels; c++) {
        float *to = plane(&out, c);
        fill(to, count, bias_of(conv, c));
        for (int k = 0; k < in->channels; k++) {
            const float *from = plane(in, k);
            float weight = conv->weights[c * in->channels + k];
            for (int i = 0; i < count; i++) {
                to[i] += weight * from[i];
            }
        }
    }
    return out;
}

static void run_unit(struct calibration *job, int index)
{
    const struct fw_unit_plan *unit = &job->plan.units[index];
    const struct fw_conv *conv = &unit->depthwise[0];
    struct map in = job->maps[unit->source + 1];
    if (unit->pooled) {
        in = halve(&in);
    } else if (unit->upsampled != FW_YUNET_NONE) {
        in = add_maps(job, unit->source + 1, unit->upsampled + 1);
    }
    struct map words = run_pointwise(&unit->pointwise[0], &in);
    struct map out = make_map(words.channels, words.width, words.height);
    int count = out.width * out.height;
    for (int c = 0; c < out.channels; c++) {
        float *to = plane(&out, c);
        fill(to, count, bias_of(conv, c));
        add_convolved(&words, plane(&words, c), conv->weights + c * 9, 1, out.width, out.height,
                      to);
        job->largest[index + 1][c] = larger(job->largest[index + 1][c], rectify(to, count));
    }
    job->maps[index + 1] = out;
    free(words.values);
    if (unit->pooled || unit->upsampled != FW_YUNET_NONE) {
        free(in.values);
    }
}

static struct map read_input(const struct fw_frame *frame, int input_size)
{
    struct fw_input input;
    const struct fw_kernels *kernels = fw_kernels_for(FW_ISA_AUTO);
    if (fw_input_init(&input, kernels, frame, input_size) != FW_OK) {
        need(NULL);
    }
    int width = input.size.padded_width, height = input.size.padded_height;
    float *pixels = need(fw_floats_create((size_t)height, (size_t)width * 3));
    fw_input_fill(&input, frame, pixels, (size_t)width * 3);
    struct map picture = make_map(3, width, height);
    for (int i = 0; i < width * height * 3; i++) {
        plane(&picture, i % 3)[i / 3] = pixels[i];
    }
    free(pixels);
    fw_input_free(&input);
    return picture;
}

static void measure(struct calibration *job, const struct fw_frame *frame, int input_size)
{
    struct map picture = read_input(frame, input_size);
    job->maps[0] = run_stem(job, &picture);
    for (int i = 0; i < job->plan.unit_count; i++) {
        if (job->plan.units[i].relu) {
            run_unit(job, i);
        }
    }
    for (int i = 0; i <= job->plan.unit_count; i++) {
        free(job->maps[i].values);
        job->maps[i].values = NULL;
    }
    free(picture.values);
}

static int measure_file(struct calibration *job, const char *path)
{
    struct fw_frame *frame;
    struct fw_error error = {0};
    if (fw_image_load(path, &frame, &error) != FW_OK) {
        fprintf(stderr, "%s: %s\n", path, error.message);
        return 1;
    }
    int longer = frame->width > frame->height ? frame->width : frame->height;
    for (size_t i = 0; i < sizeof(input_sizes) / sizeof(input_sizes[0]); i++) {
        if (i == 0 || longer > input_sizes[i]) {
            measure(job, frame, input_sizes[i]);
        }
    }
    fw_frame_unref(frame);
    return 0;
}

// Maps that are added must have the same steps.
static void unite(struct calibration *job)
{
    for (int round = 0; round < job->plan.unit_count; round++) {
        const struct fw_unit_plan *unit = &job->plan.units[round];
        for (int i = 0; i < job->plan.unit_count; i++) {
            unit = &job->plan.units[i];
            for (int c = 0; unit->upsampled != FW_YUNET_NONE && c < unit->in_channels; c++) {
                float *a = &job->largest[unit->source + 1][c];
                float *b = &job->largest[unit->upsampled + 1][c];
                *a = *b = larger(*a, *b);
            }
        }
    }
}

static void print_layer(const float *largest, int channels)
{
    float max = 0;
    for (int c = 0; c < channels; c++) {
        max = larger(max, largest[c]);
    }
    printf("    {%.4ff, \"", (double)max);
    for (int c = 0; c < channels; c++) {
        float halvings = largest[c] > 0 ? log2f(max / largest[c]) : DIGITS;
        int digit = (int)(halvings * DIGITS_PER_HALVING);
        digit = digit < DIGITS ? digit : DIGITS - 1;
        putchar("0123456789abcdefghijklmnopqrstuvwxyz"[digit]);
    }
    printf("\"},\n");
}

static void print_row(const struct calibration *job)
{
    printf("// Fingerprint 0x%016" PRIx64 "\n", fw_quant_fingerprint(&job->plan));
    print_layer(job->largest[0], job->plan.stem.out_channels);
    for (int i = 0; i < job->plan.unit_count; i++) {
        const struct fw_unit_plan *unit = &job->plan.units[i];
        if (unit->relu) {
            print_layer(job->largest[i + 1], unit->out_channels);
        } else {
            printf("    {0, \"\"}, // a head\n");
        }
    }
}

static uint8_t *read_file(const char *path, size_t *length)
{
    enum { MAX_BYTES = 64 << 20 };
    FILE *file = fopen(path, "rb");
    uint8_t *data = need(malloc(MAX_BYTES));
    *length = file == NULL ? 0 : fread(data, 1, MAX_BYTES, file);
    if (*length == 0) {
        perror(path);
        exit(1);
    }
    (void)fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    struct calibration *job = need(calloc(1, sizeof(*job)));
    struct fw_error error = {0};
    size_t length;
    int failed = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: %s MODEL.onnx PICTURE...\n", argv[0]);
        return 2;
    }
    uint8_t *data = read_file(argv[1], &length);
    if (fw_onnx_read(&job->graph, data, length, &error) != FW_OK ||
        fw_yunet_match(&job->graph, &job->plan, &error) != FW_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    for (int i = 0; i <= job->plan.unit_count; i++) {
        job->largest[i] = need(calloc(FW_YUNET_MAX_CHANNELS, sizeof(float)));
    }
    for (int i = 2; i < argc; i++) {
        failed += measure_file(job, argv[i]);
    }
    unite(job);
    print_row(job);
    for (int i = 0; i <= job->plan.unit_count; i++) {
        free(job->largest[i]);
    }
    fw_onnx_free(&job->graph);
    free(data);
    free(job);
    return failed > 0;
}
