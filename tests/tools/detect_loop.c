// Detects in picture after picture of ever changing size and format, with and without tiles, and
// prints how much memory the process holds: after the first third of PICTURES, and at the end.
//
//     detect_loop MODEL.onnx PRECISION PICTURES
//
// Prints "RESIDENT_KB HEAP_KB" twice: what the kernel counts, and what is allocated.
#include "detect/detector.h"
#include "media/frame.h"

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SETTLING = 20 };

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

static long resident_kb(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%*s %ld", &pages) != 1)
        pages = 0;
    if (file != NULL)
        (void)fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int print_memory(void)
{
    struct mallinfo2 info = mallinfo2();
    // What is free goes back to the system, so that fragments of the heap are not taken for leaks.
    (void)malloc_trim(0);
    return printf("%ld %zu\n", resident_kb(), (info.uordblks + info.hblkhd) / 1024) > 0 ? FW_OK
                                                                                        : FW_EIO;
}

// A picture of noise: many candidates for faces, no faces.
static struct fw_frame *make_picture(uint32_t *state)
{
    int width = 16 + (int)(next_random(state) % 900), height = 16 + (int)(next_random(state) % 700);
    struct fw_frame *frame =
        fw_frame_create((enum fw_pixel_format)(next_random(state) % 3), width, height);
    for (int plane = 0; frame != NULL && plane < fw_frame_plane_count(frame->format); plane++) {
        size_t bytes = (size_t)frame->strides[plane] * (size_t)fw_frame_row_count(frame, plane);
        for (size_t i = 0; i < bytes; i++)
            frame->planes[plane][i] = (uint8_t)next_random(state);
    }
    return frame;
}

static int detect_once(struct fw_detector *detector, uint32_t *state, struct fw_faces *faces,
                       struct fw_error *error)
{
    int tiles = 1 + (int)(next_random(state) % 3);
    const struct fw_detect_parameters parameters = {
        .min_score = 0.3F, .nms_iou = 0.45F, .tile_columns = tiles, .tile_rows = tiles};
    struct fw_frame *frame = make_picture(state);
    int status = frame == NULL ? fw_fail(error, FW_ENOMEM, "out of memory")
                               : fw_detector_detect(detector, frame, &parameters, faces, error);
    fw_frame_unref(frame);
    return status;
}

// The last pictures before a measurement are always the same ones, because a detector keeps buffers
// for the latest sizes.
static int settle(struct fw_detector *detector, struct fw_faces *faces, struct fw_error *error)
{
    uint32_t state = 99;
    int status = FW_OK;
    for (int i = 0; i < SETTLING && status == FW_OK; i++)
        status = detect_once(detector, &state, faces, error);
    return status == FW_OK ? print_memory() : status;
}

static int loop(struct fw_detector *detector, long pictures, struct fw_error *error)
{
    struct fw_faces faces = {0};
    uint32_t state = 1;
    int status = FW_OK;
    for (long i = 0; i < pictures && status == FW_OK; i++) {
        status = detect_once(detector, &state, &faces, error);
        if (status == FW_OK && (i + 1 == pictures / 3 || i + 1 == pictures))
            status = settle(detector, &faces, error);
    }
    fw_faces_free(&faces);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: detect_loop MODEL.onnx PRECISION PICTURES\n", stderr);
        return 2;
    }
    const struct fw_detector_options options = {
        .backend = "yunet", .model_path = argv[1], .precision = argv[2], .input_size = 320};
    struct fw_detector *detector = NULL;
    struct fw_error error = {0};
    int status = fw_detector_open(&detector, &options, &error);
    if (status == FW_OK)
        status = loop(detector, strtol(argv[3], NULL, 10), &error);
    if (status != FW_OK)
        fprintf(stderr, "detect_loop: %s\n", error.message);
    fw_detector_close(detector);
    return status == FW_OK ? 0 : 1;
}
