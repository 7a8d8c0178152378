// Runs the network on a raw picture and writes what comes out, for comparison with other engines.
//
//     yunet_dump MODEL.onnx PICTURE.bgr WIDTH HEIGHT OUTPUT [ISA [RUNS [int8]]]
//
// PICTURE has HEIGHT rows of WIDTH BGR byte triples. OUTPUT gets, for the strides 8, 16 and 32, one
// row of 16 little-endian floats a cell. With RUNS, each run's time in microseconds goes to
// standard output, one a line.
#include "nn/quant_net.h"
#include "nn/yunet_net.h"
#include "util/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t *read_file(const char *path, size_t *length)
{
    uint8_t *data = NULL;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        goto fail;
    }
    long size = ftell(file);
    if (size <= 0 || fseek(file, 0, SEEK_SET) != 0) {
        goto fail;
    }
    data = malloc((size_t)size);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
        goto fail;
    }
    (void)fclose(file);
    *length = (size_t)size;
    return data;
fail:
    perror(path);
    free(data);
    if (file != NULL) {
        (void)fclose(file);
    }
    return NULL;
}

// Either network.
struct engine {
    bool is_int8;
    struct fw_yunet_model *model;
    struct fw_yunet *net;
    struct fw_quant_model *quant_model;
    struct fw_quant *quant;
};

static int open_engine(struct engine *engine, const uint8_t *onnx, size_t length, enum fw_isa isa,
                       int width, int height, struct fw_error *error)
{
    if (engine->is_int8) {
        int status = fw_quant_model_load(&engine->quant_model, onnx, length, isa, error);
        return status != FW_OK
                   ? status
                   : fw_quant_create(&engine->quant, engine->quant_model, width, height, error);
    }
    int status = fw_yunet_model_load(&engine->model, onnx, length, isa, error);
    return status != FW_OK ? status
                           : fw_yunet_create(&engine->net, engine->model, width, height, error);
}

static void close_engine(struct engine *engine)
{
    fw_yunet_destroy(engine->net);
    fw_yunet_model_unref(engine->model);
    fw_quant_destroy(engine->quant);
    fw_quant_model_unref(engine->quant_model);
}

static void run_engine(struct engine *engine, struct fw_yunet_level levels[3])
{
    if (engine->is_int8) {
        fw_quant_run(engine->quant, levels);
    } else {
        fw_yunet_run(engine->net, levels);
    }
}

static void fill_input(struct engine *engine, const uint8_t *pixels, int width, int height)
{
    size_t stride, count = (size_t)width * 3;
    uint8_t *bytes = engine->is_int8 ? fw_quant_input(engine->quant, &stride) : NULL;
    float *floats = engine->is_int8 ? NULL : fw_yunet_input(engine->net, &stride);
    for (size_t y = 0; y < (size_t)height; y++) {
        for (size_t x = 0; x < count; x++) {
            if (bytes != NULL) {
                bytes[y * stride + x] = pixels[y * count + x];
            } else {
                floats[y * stride + x] = pixels[y * count + x];
            }
        }
    }
}

static int write_levels(const char *path, const struct fw_yunet_level levels[3])
{
    FILE *file = fopen(path, "wb");
    int status = file == NULL;
    for (int i = 0; status == 0 && i < 3; i++) {
        size_t count = (size_t)levels[i].width * (size_t)levels[i].height * 16;
        status = fwrite(levels[i].rows, sizeof(float), count, file) != count;
    }
    if (file != NULL && fclose(file) != 0) {
        status = 1;
    }
    if (status != 0) {
        perror(path);
    }
    return status;
}

static int run(struct engine *engine, int runs, const char *output)
{
    struct fw_yunet_level levels[3];
    run_engine(engine, levels);
    int status = write_levels(output, levels);
    for (int i = 0; i < runs; i++) {
        int64_t start_us = fw_monotonic_us();
        run_engine(engine, levels);
        printf("%lld\n", (long long)(fw_monotonic_us() - start_us));
    }
    return status;
}

static int dump(char **arguments, enum fw_isa isa, int runs, bool is_int8)
{
    struct fw_error error = {0};
    struct engine engine = {.is_int8 = is_int8};
    int width = atoi(arguments[3]), height = atoi(arguments[4]), status = 1;
    size_t onnx_length = 0, picture_length = 0;
    uint8_t *onnx = read_file(arguments[1], &onnx_length);
    uint8_t *picture = read_file(arguments[2], &picture_length);
    if (onnx == NULL || picture == NULL) {
        goto done;
    }
    if (open_engine(&engine, onnx, onnx_length, isa, width, height, &error) != FW_OK) {
        fprintf(stderr, "%s\n", error.message);
        goto done;
    }
    if (picture_length != (size_t)width * (size_t)height * 3) {
        fprintf(stderr, "%s is not of %dx%d px\n", arguments[2], width, height);
        goto done;
    }
    fill_input(&engine, picture, width, height);
    status = run(&engine, runs, arguments[5]);
done:
    close_engine(&engine);
    free(onnx);
    free(picture);
    return status;
}

int main(int argc, char **argv)
{
    int isa = argc > 6 ? fw_isa_parse(argv[6]) : FW_ISA_AUTO;
    bool is_int8 = argc > 8 && strcmp(argv[8], "int8") == 0;
    if (argc < 6 || argc > 9 || isa < 0 || (argc > 8 && !is_int8)) {
        fprintf(stderr,
                "usage: %s MODEL.onnx PICTURE.bgr WIDTH HEIGHT OUTPUT [ISA [RUNS [int8]]]\n",
                argv[0]);
        return 2;
    }
    return dump(argv, (enum fw_isa)isa, argc > 7 ? atoi(argv[7]) : 0, is_int8);
}
