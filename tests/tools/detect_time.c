// Times what a camera's picture costs: the whole step from a 1920x1080 I420 frame to faces, and the
// network alone, one after the other.
//
//     detect_time MODEL.onnx PICTURE INPUT_SIZE int8|fp32 RUNS
//
// PICTURE (a still, scaled up or down to lie in the frame) should show a face. Standard output gets
// one line a run: the step's and the network's time in microseconds. At the end standard error
// says how many faces the last step found.
#include "detect/detector.h"
#include "media/frame.h"
#include "media/image.h"
#include "media/image_file.h"
#include "nn/quant_net.h"
#include "nn/yunet_net.h"
#include "util/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME_WIDTH = 1920, FRAME_HEIGHT = 1080 };

// Either network.
struct network {
    struct fw_yunet_model *model;
    struct fw_yunet *net;
    struct fw_quant_model *quant_model;
    struct fw_quant *quant;
};

static int round_up(int side)
{
    return (side + 31) / 32 * 32;
}

static int open_network(struct network *network, const char *path, int input_size, bool is_int8,
                        struct fw_error *error)
{
    enum { MAX_BYTES = 1 << 20 };
    int height = round_up(input_size * FRAME_HEIGHT / FRAME_WIDTH), width = round_up(input_size);
    uint8_t *data = malloc(MAX_BYTES);
    FILE *file = fopen(path, "rb");
    size_t length = data == NULL || file == NULL ? 0 : fread(data, 1, MAX_BYTES, file);
    int status;
    if (is_int8) {
        status = fw_quant_model_load(&network->quant_model, data, length, FW_ISA_AUTO, error);
        status = status != FW_OK
                     ? status
                     : fw_quant_create(&network->quant, network->quant_model, width, height, error);
    } else {
        status = fw_yunet_model_load(&network->model, data, length, FW_ISA_AUTO, error);
        status = status != FW_OK
                     ? status
                     : fw_yunet_create(&network->net, network->model, width, height, error);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    free(data);
    return status;
}

static void close_network(struct network *network)
{
    fw_yunet_destroy(network->net);
    fw_yunet_model_unref(network->model);
    fw_quant_destroy(network->quant);
    fw_quant_model_unref(network->quant_model);
}

static void run_network(struct network *network)
{
    struct fw_yunet_level levels[3];
    if (network->quant != NULL) {
        fw_quant_run(network->quant, levels);
    } else {
        fw_yunet_run(network->net, levels);
    }
}

static struct fw_frame *make_frame(const char *path, struct fw_error *error)
{
    struct fw_frame *still = NULL, *small = NULL, *yuv = NULL;
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, FRAME_WIDTH, FRAME_HEIGHT);
    if (frame == NULL || fw_image_load(path, &still, error) != FW_OK ||
        (small = fw_image_shrink(still, FRAME_WIDTH, FRAME_HEIGHT)) == NULL ||
        (yuv = fw_image_convert_i420(small)) == NULL) {
        fw_frame_unref(frame);
        frame = NULL;
        goto done;
    }
    for (int plane = 0; plane < 3; plane++) {
        int shift = plane > 0;
        memset(frame->planes[plane], 128, (size_t)frame->strides[plane] * (FRAME_HEIGHT >> shift));
        for (int y = 0; y < (yuv->height + shift) >> shift; y++) {
            memcpy(frame->planes[plane] + (ptrdiff_t)y * frame->strides[plane],
                   yuv->planes[plane] + (ptrdiff_t)y * yuv->strides[plane],
                   (size_t)((yuv->width + shift) >> shift));
        }
    }
    frame->full_range = true;
done:
    fw_frame_unref(yuv);
    fw_frame_unref(small);
    fw_frame_unref(still);
    return frame;
}

int main(int argc, char **argv)
{
    struct fw_error error = {0};
    struct network network = {0};
    struct fw_detector *detector = NULL;
    struct fw_faces faces = {0};
    const struct fw_detect_parameters parameters = {.min_score = 0.7f, .nms_iou = 0.45f};
    int status = 1;
    if (argc != 6) {
        fprintf(stderr, "usage: %s MODEL.onnx PICTURE INPUT_SIZE int8|fp32 RUNS\n", argv[0]);
        return 2;
    }
    const struct fw_detector_options options = {.backend = "yunet",
                                                .model_path = argv[1],
                                                .precision = argv[4],
                                                .input_size = atoi(argv[3])};
    struct fw_frame *frame = make_frame(argv[2], &error);
    if (frame == NULL || fw_detector_open(&detector, &options, &error) != FW_OK ||
        open_network(&network, argv[1], options.input_size, strcmp(argv[4], "int8") == 0, &error) !=
            FW_OK) {
        fprintf(stderr, "%s\n", error.message);
        goto done;
    }
    status = 0;
    for (int i = 0; i < atoi(argv[5]) && status == 0; i++) {
        int64_t start_us = fw_monotonic_us();
        status = fw_detector_detect(detector, frame, &parameters, &faces, &error) != FW_OK;
        int64_t middle_us = fw_monotonic_us();
        run_network(&network);
        printf("%lld %lld\n", (long long)(middle_us - start_us),
               (long long)(fw_monotonic_us() - middle_us));
    }
    fprintf(stderr, "%zu faces\n", faces.count);
done:
    fw_faces_free(&faces);
    fw_detector_close(detector);
    close_network(&network);
    fw_frame_unref(frame);
    return status;
}
