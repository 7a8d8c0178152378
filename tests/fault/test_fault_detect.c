// nn/, detect/ and track/ when memory or threads run out.
#include "fault.h"

#include "detect/detector.h"
#include "detect/model_store.h"
#include "detect/pool.h"
#include "media/frame.h"
#include "nn/onnx.h"
#include "nn/quant_net.h"
#include "nn/yunet_net.h"
#include "track/tracker.h"
#include "util/error.h"
#include "util/face.h"
#include <curl/curl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
    char path[4096];
    uint8_t *data;
    size_t length;
} model;

// Skips the test where the test data is missing; in CI that is a failure.
static void need_model(void)
{
    if (!model.data && getenv("CI"))
        fail_msg("no %s; set FACEWORKER_SHARED", model.path);
    if (!model.data)
        skip();
}

static int read_model(void **state)
{
    const char *shared = getenv("FACEWORKER_SHARED");

    (void)state;
    assert_int_equal(curl_global_init(CURL_GLOBAL_DEFAULT), 0);
    snprintf(model.path, sizeof(model.path), "%s/models/yunet_n_640_640.onnx",
             shared ? shared : "");
    FILE *file = fopen(model.path, "rb");
    if (!file)
        return 0;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    model.length = (size_t)ftell(file);
    rewind(file);
    model.data = malloc(model.length);
    assert_non_null(model.data);
    assert_int_equal(fread(model.data, 1, model.length, file), model.length);
    fclose(file);
    return 0;
}

static int free_model(void **state)
{
    (void)state;
    free(model.data);
    curl_global_cleanup();
    return 0;
}

static struct fw_frame *picture_of_size(enum fw_pixel_format format, int width, int height)
{
    struct fw_frame *frame = fw_frame_create(format, width, height);

    for (int plane = 0; frame && plane < fw_frame_plane_count(format); plane++)
        memset(frame->planes[plane], 90,
               (size_t)frame->strides[plane] * (size_t)fw_frame_row_count(frame, plane));
    return frame;
}

static struct fw_frame *picture(enum fw_pixel_format format)
{
    return picture_of_size(format, 163, 121);
}

static int onnx(void *opaque)
{
    struct fw_onnx_graph graph = {0};
    struct fw_error error = {0};
    int status = fw_onnx_read(&graph, model.data, model.length, &error);

    (void)opaque;
    if (status != FW_OK)
        assert_int_equal(graph.node_count, 0);
    fw_onnx_free(&graph);
    return status;
}

static int network(void *opaque)
{
    struct fw_yunet_model *loaded = NULL;
    struct fw_yunet *net = NULL;
    struct fw_error error = {0};
    int status =
        fw_yunet_model_load(&loaded, model.data, model.length, *(enum fw_isa *)opaque, &error);

    if (status == FW_OK)
        status = fw_yunet_create(&net, loaded, 64, 32, &error);
    fw_yunet_destroy(net);
    fw_yunet_model_unref(loaded);
    return status;
}

static int quantised_network(void *opaque)
{
    struct fw_quant_model *loaded = NULL;
    struct fw_quant *net = NULL;
    struct fw_error error = {0};
    int status =
        fw_quant_model_load(&loaded, model.data, model.length, *(enum fw_isa *)opaque, &error);

    if (status == FW_OK)
        status = fw_quant_create(&net, loaded, 64, 32, &error);
    fw_quant_destroy(net);
    fw_quant_model_unref(loaded);
    return status;
}

// Every cell is a face, so that the lists grow.
static const struct fw_detect_parameters all_cells = {.min_score = 0.0F, .nms_iou = 0.99F};

struct kind {
    const char *backend, *precision;
};

// The same in tiles.
static const struct fw_detect_parameters tiles = {
    .min_score = 0.0F, .nms_iou = 0.99F, .tile_columns = 2, .tile_rows = 2};

static int detector(void *opaque)
{
    const struct kind *kind = opaque;
    const struct fw_detector_options options = {.backend = kind->backend,
                                                .model_path = model.path,
                                                .precision = kind->precision,
                                                .isa = "auto",
                                                .input_size = 64};
    struct fw_detector *opened = NULL;
    struct fw_faces faces = {0};
    struct fw_error error = {0};
    int status = fw_detector_open(&opened, &options, &error);

    for (int format = 0; format < 3 && status == FW_OK; format++) {
        struct fw_frame *frame = picture((enum fw_pixel_format)format);
        status = frame ? fw_detector_detect(opened, frame, &all_cells, &faces, &error) : FW_ENOMEM;
        if (status == FW_OK)
            status = fw_detector_detect(opened, frame, &tiles, &faces, &error);
        fw_frame_unref(frame);
    }
    fw_faces_free(&faces);
    fw_detector_close(opened);
    return status;
}

struct answer {
    atomic_int count, status;
};

static void on_done(void *opaque, struct fw_frame *frame, const struct fw_faces *faces, int status,
                    const struct fw_error *error)
{
    struct answer *answer = opaque;

    (void)frame;
    (void)error;
    if (status != FW_OK)
        assert_int_equal(faces->count, 0);
    atomic_store(&answer->status, status);
    atomic_fetch_add(&answer->count, 1);
}

// Every picture must get an answer, whatever fails.
static int ask(struct fw_pool_client *client, struct answer *answer)
{
    struct fw_frame *frame = picture(FW_PIXEL_I420);

    if (!frame)
        return FW_ENOMEM;
    fw_pool_submit(client, frame);
    fw_frame_unref(frame);
    for (int i = 0; fw_pool_client_is_busy(client); i++) {
        const struct timespec moment = {.tv_nsec = 200000};
        assert_true(i < 50000);
        nanosleep(&moment, NULL);
    }
    assert_int_equal(atomic_load(&answer->count), 1);
    return atomic_load(&answer->status);
}

static int pool(void *opaque)
{
    const struct fw_model_store_options models = {.dir = opaque, .offline = true};
    struct answer answer = {0};
    const struct fw_pool_client_options options = {
        .model = model.path,
        .precision = "auto",
        .isa = "auto",
        .input_size = 64,
        .parameters = {.min_score = 0.7F, .nms_iou = 0.45F},
        .done = on_done,
        .opaque = &answer};
    struct fw_pool *made = fw_pool_create(2, &models, NULL);
    struct fw_pool_client *client = NULL;
    struct fw_error error = {0};
    const char *used = NULL;
    int status = fault_status_of(made);

    if (status == FW_OK)
        status = fw_pool_prepare(made, &options, NULL, &used, &error);
    if (status == FW_OK) {
        client = fw_pool_client_add(made, &options);
        status = fault_status_of(client);
    }
    if (status == FW_OK)
        status = ask(client, &answer);
    if (client)
        fw_pool_client_remove(client);
    assert_int_equal(fw_pool_destroy(made, 10000), FW_OK);
    return status;
}

// Fetched from a folder that stands in for a server, every time anew.
static int model_store(void *opaque)
{
    char dir[64], base_url[4200], file[128];
    struct fw_model_files files = {0};
    struct fw_error error = {0};

    snprintf(dir, sizeof(dir), "%s/models", (const char *)opaque);
    snprintf(base_url, sizeof(base_url), "file://%.*s",
             (int)(strrchr(model.path, '/') - model.path), model.path);
    snprintf(file, sizeof(file), "%s/%s", dir, fw_model_find("yunet")->file);
    const struct fw_model_store_options options = {.dir = dir, .base_url = base_url};
    int status = fw_model_locate(&options, "yunet", NULL, &files, &error);
    if (status == FW_OK) {
        assert_string_equal(files.path, file);
        fw_model_files_free(&files);
    }
    unlink(file);
    return status;
}

static int tracker(void *opaque)
{
    const struct fw_tracker_options options = {0.7F, 0.3F, 2, 3, 100000};
    struct fw_tracker *made = fw_tracker_create(&options);
    const struct fw_track *tracks;
    size_t count;
    struct fw_face faces[40] = {0};
    int status = fault_status_of(made);

    (void)opaque;
    for (int i = 0; i < 8 && status == FW_OK; i++) {
        for (int j = 0; j < 5 * i; j++)
            faces[j] = (struct fw_face){.box = {(float)(90 * j), 10, 60, 80}, .score = 0.9F};
        status = fw_tracker_update(made, 40000LL * i, faces, (size_t)(5 * i), &tracks, &count);
    }
    if (status == FW_OK)
        status = fw_tracker_advance(made, 1000000, &tracks, &count);
    fw_tracker_destroy(made);
    return status;
}

static void try_onnx(void **state)
{
    (void)state;
    need_model();
    fault_try(&(struct fault_scenario){.name = "onnx", .run = onnx});
}

static void try_networks(void **state)
{
    static enum fw_isa isas[] = {FW_ISA_SCALAR, FW_ISA_AUTO};

    (void)state;
    need_model();
    for (int i = 0; i < 2; i++) {
        fault_try(&(struct fault_scenario){.name = "network", .run = network, .opaque = &isas[i]});
        fault_try(&(struct fault_scenario){
            .name = "int8 network", .run = quantised_network, .opaque = &isas[i]});
    }
}

static void try_detectors(void **state)
{
    static struct kind kinds[] = {
        {"null", "auto"}, {"yunet", "auto"}, {"yunet", "fp32"}, {"yunet", "int8"}};

    (void)state;
    for (int i = 0; i < 4; i++) {
        if (i > 0)
            need_model();
        fault_try(&(struct fault_scenario){
            .name = kinds[i].precision, .run = detector, .opaque = &kinds[i], .most_tries = 80});
    }
}

// Cameras of two large sizes and a small one that share a detector: once it has seen all of them,
// it needs no more memory.
static int steady_detector(void *opaque)
{
    const struct kind *kind = opaque;
    const struct fw_detector_options options = {
        .backend = kind->backend, .model_path = model.path, .precision = kind->precision};
    static const struct fw_detect_parameters whole = {.min_score = 0.5F, .nms_iou = 0.45F};
    struct fw_frame *frames[3] = {NULL};
    struct fw_detector *opened = NULL;
    struct fw_faces faces = {0};
    struct fw_error error = {0};

    fault_pause();
    frames[0] = picture_of_size(FW_PIXEL_I420, 2112, 1088);
    frames[1] = picture_of_size(FW_PIXEL_I420, 1088, 2112);
    frames[2] = picture(FW_PIXEL_NV12);
    assert_int_equal(fw_detector_open(&opened, &options, &error), FW_OK);
    for (int i = 0; i < 6; i++) {
        if (i == 3)
            fault_resume();
        assert_non_null(frames[i % 3]);
        assert_int_equal(fw_detector_detect(opened, frames[i % 3], &whole, &faces, &error), FW_OK);
    }
    assert_false(fault_has_struck());
    for (int i = 0; i < 3; i++)
        fw_frame_unref(frames[i]);
    fw_faces_free(&faces);
    fw_detector_close(opened);
    // The one call that may fail, and does.
    struct fw_frame *last = picture(FW_PIXEL_I420);
    int status = fault_status_of(last);
    fw_frame_unref(last);
    return status;
}

static void try_steady_detector(void **state)
{
    static struct kind kind = {"yunet", "int8"};

    (void)state;
    need_model();
    fault_try(&(struct fault_scenario){
        .name = "detector in its steady state", .run = steady_detector, .opaque = &kind});
}

static void try_pool(void **state)
{
    static char folder[] = "/nonexistent";

    (void)state;
    need_model();
    fault_try(&(struct fault_scenario){.name = "pool",
                                       .run = pool,
                                       .opaque = folder,
                                       .may_survive = true, // a thread fewer, another try
                                       .most_tries = 80});
}

static void try_model_store(void **state)
{
    static char folder[] = "/tmp/fw-fault-detect-XXXXXX";
    char command[64];

    (void)state;
    need_model();
    assert_non_null(mkdtemp(folder));
    fault_try(&(struct fault_scenario){.name = "model_store",
                                       .run = model_store,
                                       .opaque = folder,
                                       .may_survive = true, // a download is tried again
                                       .most_tries = 40});
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void try_tracker(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "tracker", .run = tracker});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(try_onnx),      cmocka_unit_test(try_networks),
        cmocka_unit_test(try_detectors), cmocka_unit_test(try_steady_detector),
        cmocka_unit_test(try_pool),      cmocka_unit_test(try_model_store),
        cmocka_unit_test(try_tracker),
    };
    return cmocka_run_group_tests(tests, read_model, free_model);
}
