// Runs the network on a raw picture and writes what comes out, for comparison with other engines.
//
//     yunet_dump MODEL.onnx PICTURE.bgr WIDTH HEIGHT OUTPUT [ISA [RUNS]]
//
// PICTURE has HEIGHT rows of WIDTH BGR byte triples. OUTPUT gets, for the strides 8, 16 and 32, one
// row of 16 little-endian floats a cell. With RUNS, each run's time in microseconds goes to
// standard output, one a line.
#include "nn/yunet_net.h"
#include "util/clock.h"

#include <stdio.h>
#include <stdlib.h>

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

static void fill_input(struct fw_yunet *net, const uint8_t *pixels, int width, int height)
{
    size_t stride;
    float *input = fw_yunet_input(net, &stride);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width * 3; x++) {
            input[(size_t)y * stride + (size_t)x] =
                pixels[(size_t)y * (size_t)width * 3 + (size_t)x];
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

static int run(struct fw_yunet *net, int runs, const char *output)
{
    struct fw_yunet_level levels[3];
    fw_yunet_run(net, levels);
    int status = write_levels(output, levels);
    for (int i = 0; i < runs; i++) {
        int64_t start_us = fw_monotonic_us();
        fw_yunet_run(net, levels);
        printf("%lld\n", (long long)(fw_monotonic_us() - start_us));
    }
    return status;
}

static int dump(char **arguments, enum fw_isa isa, int runs)
{
    struct fw_error error = {0};
    struct fw_yunet_model *model = NULL;
    struct fw_yunet *net = NULL;
    int width = atoi(arguments[3]), height = atoi(arguments[4]), status = 1;
    size_t onnx_length = 0, picture_length = 0;
    uint8_t *onnx = read_file(arguments[1], &onnx_length);
    uint8_t *picture = read_file(arguments[2], &picture_length);
    if (onnx == NULL || picture == NULL) {
        goto done;
    }
    if (fw_yunet_model_load(&model, onnx, onnx_length, isa, &error) != FW_OK ||
        fw_yunet_create(&net, model, width, height, &error) != FW_OK) {
        fprintf(stderr, "%s\n", error.message);
        goto done;
    }
    if (picture_length != (size_t)width * (size_t)height * 3) {
        fprintf(stderr, "%s is not of %dx%d px\n", arguments[2], width, height);
        goto done;
    }
    fill_input(net, picture, width, height);
    status = run(net, runs, arguments[5]);
done:
    fw_yunet_destroy(net);
    fw_yunet_model_unref(model);
    free(onnx);
    free(picture);
    return status;
}

int main(int argc, char **argv)
{
    int isa = argc > 6 ? fw_isa_parse(argv[6]) : FW_ISA_AUTO;
    if (argc < 6 || argc > 8 || isa < 0) {
        fprintf(stderr, "usage: %s MODEL.onnx PICTURE.bgr WIDTH HEIGHT OUTPUT [ISA [RUNS]]\n",
                argv[0]);
        return 2;
    }
    return dump(argv, (enum fw_isa)isa, argc > 7 ? atoi(argv[7]) : 0);
}
