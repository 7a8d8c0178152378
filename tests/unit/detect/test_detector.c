// Detectors by name, and YuNet on pictures whose faces were marked by hand (to a few pixels).
#include "detect/detector.h"

#include "media/frame.h"
#include "media/image_file.h"
#include "nn/yunet_net.h"
#include "util/clock.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct fw_box astronaut = {181, 58, 88, 121};
static const struct fw_detect_parameters defaults = {.min_score = 0.7f, .nms_iou = 0.45f};

static void shared_path(char path[4096], const char *name)
{
    const char *shared = getenv("FACEWORKER_SHARED");
    (void)snprintf(path, 4096, "%s/%s", shared == NULL ? "" : shared, name);
    if (access(path, R_OK) != 0 && getenv("CI") != NULL) {
        fail_msg("no %s; set FACEWORKER_SHARED", path);
    } else if (access(path, R_OK) != 0) {
        skip();
    }
}

static struct fw_detector *open_yunet(const char *precision, int input_size)
{
    char path[4096];
    struct fw_error error = {0};
    struct fw_detector *detector;
    shared_path(path, "models/yunet_n_640_640.onnx");
    struct fw_detector_options options = {
        .backend = "yunet", .model_path = path, .precision = precision, .input_size = input_size};
    if (fw_detector_open(&detector, &options, &error) != FW_OK) {
        fail_msg("%s", error.message);
    }
    return detector;
}

static struct fw_frame *load_picture(void)
{
    char path[4096];
    struct fw_frame *frame;
    struct fw_error error = {0};
    shared_path(path, "data/images/astronaut.png");
    assert_int_equal(fw_image_load(path, &frame, &error), FW_OK);
    return frame;
}

// BGR to full-range BT.601, chroma averaged over 2x2. Even sizes.
static struct fw_frame *to_yuv(const struct fw_frame *bgr, enum fw_pixel_format format)
{
    struct fw_frame *yuv = fw_frame_create(format, bgr->width, bgr->height);
    assert_non_null(yuv);
    yuv->matrix = FW_MATRIX_BT601;
    yuv->full_range = true;
    for (int y = 0; y < bgr->height; y++) {
        for (int x = 0; x < bgr->width; x++) {
            const uint8_t *p = bgr->planes[0] + y * bgr->strides[0] + x * 3;
            float luma = 0.114f * (float)p[0] + 0.587f * (float)p[1] + 0.299f * (float)p[2];
            yuv->planes[0][y * yuv->strides[0] + x] = (uint8_t)luma;
            uint8_t u = (uint8_t)(128 + ((float)p[0] - luma) / 1.772f);
            uint8_t v = (uint8_t)(128 + ((float)p[2] - luma) / 1.402f);
            if (format == FW_PIXEL_NV12) {
                yuv->planes[1][y / 2 * yuv->strides[1] + x / 2 * 2] = u;
                yuv->planes[1][y / 2 * yuv->strides[1] + x / 2 * 2 + 1] = v;
            } else {
                yuv->planes[1][y / 2 * yuv->strides[1] + x / 2] = u;
                yuv->planes[2][y / 2 * yuv->strides[2] + x / 2] = v;
            }
        }
    }
    return yuv;
}

static void assert_finds_astronaut(struct fw_detector *detector, const struct fw_frame *frame)
{
    struct fw_error error = {0};
    struct fw_faces faces = {0};
    assert_int_equal(fw_detector_detect(detector, frame, &defaults, &faces, &error), FW_OK);
    assert_int_equal(faces.count, 1);
    const struct fw_face *face = &faces.items[0];
    assert_true(fw_box_iou(&face->box, &astronaut) > 0.6f);
    assert_true(face->has_landmarks);
    // The right eye is on the left of the picture, the mouth below the eyes.
    assert_true(face->landmarks[0].x < face->landmarks[1].x);
    assert_true(face->landmarks[3].y > face->landmarks[0].y);
    fw_faces_free(&faces);
}

static void finds_a_face_in_every_format(void **state)
{
    static const int sizes[] = {0, 640, 320, 192};
    struct fw_frame *bgr = load_picture();
    struct fw_frame *i420 = to_yuv(bgr, FW_PIXEL_I420), *nv12 = to_yuv(bgr, FW_PIXEL_NV12);
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        struct fw_detector *detector = open_yunet(i < 4 ? "fp32" : "int8", sizes[i % 4]);
        assert_string_equal(fw_detector_backend_name(detector), "yunet");
        assert_finds_astronaut(detector, bgr);
        assert_finds_astronaut(detector, i420);
        assert_finds_astronaut(detector, nv12);
        assert_finds_astronaut(detector, bgr);
        fw_detector_close(detector);
    }
    fw_frame_unref(bgr);
    fw_frame_unref(i420);
    fw_frame_unref(nv12);
}

// More sizes than a detector keeps buffers for, large ones among them, again and again.
// STATE is the precision.
static void takes_pictures_of_any_size(void **state)
{
    static const int sizes[][2] = {{1, 1},     {31, 33}, {2000, 1300}, {64, 64},
                                   {640, 480}, {7, 900}, {1920, 1080}};
    struct fw_frame *picture = load_picture();
    struct fw_detector *detector = open_yunet(*state, 0);
    struct fw_error error = {0};
    struct fw_faces faces = {0};
    size_t rounds = strcmp(*state, "fp32") == 0 ? 14 : 7;
    for (size_t i = 0; i < rounds; i++) {
        struct fw_frame *frame = fw_frame_create(i % 2 == 0 ? FW_PIXEL_I420 : FW_PIXEL_NV12,
                                                 sizes[i % 7][0], sizes[i % 7][1]);
        assert_non_null(frame);
        for (int plane = 0; plane < 3 && frame->planes[plane] != NULL; plane++) {
            int rows = plane == 0 ? frame->height : (frame->height + 1) / 2;
            memset(frame->planes[plane], 128, (size_t)frame->strides[plane] * (size_t)rows);
        }
        assert_int_equal(fw_detector_detect(detector, frame, &defaults, &faces, &error), FW_OK);
        assert_int_equal(faces.count, 0);
        fw_frame_unref(frame);
        assert_finds_astronaut(detector, picture);
    }
    fw_faces_free(&faces);
    fw_detector_close(detector);
    fw_frame_unref(picture);
}

static float score_with(const struct fw_frame *frame, const char *precision, const char *isa)
{
    char path[4096];
    struct fw_error error = {0};
    struct fw_faces faces = {0};
    struct fw_detector *detector;
    shared_path(path, "models/yunet_n_640_640.onnx");
    struct fw_detector_options options = {
        .backend = "yunet", .model_path = path, .precision = precision, .isa = isa};
    assert_int_equal(fw_detector_open(&detector, &options, &error), FW_OK);
    assert_int_equal(fw_detector_detect(detector, frame, &defaults, &faces, &error), FW_OK);
    assert_int_equal(faces.count, 1);
    float score = faces.items[0].score;
    fw_faces_free(&faces);
    fw_detector_close(detector);
    return score;
}

// The score tells which one ran: int8 has the same on every instruction set, and fp32 another.
static void chooses_a_precision(void **state)
{
    struct fw_frame *frame = load_picture();
    float fp32 = score_with(frame, "fp32", "scalar"), int8 = score_with(frame, "int8", "scalar");
    (void)state;
    assert_true(int8 - fp32 > 1e-4f || fp32 - int8 > 1e-4f);
    assert_true(score_with(frame, "auto", "scalar") == fp32);
    assert_true(score_with(frame, NULL, "scalar") == fp32);
    assert_true(score_with(frame, "int8", "auto") == int8);
    if (fw_isa_is_available(FW_ISA_AVXVNNI)) {
        assert_true(score_with(frame, "auto", "avxvnni") == int8);
        assert_true(score_with(frame, "auto", NULL) == int8);
    }
    if (fw_isa_is_available(FW_ISA_NEONDOT)) {
        assert_true(score_with(frame, "auto", NULL) == int8);
        assert_true(score_with(frame, "auto", "neon") != int8);
    }
    fw_frame_unref(frame);
}

static int try_open(const struct fw_detector_options *options, struct fw_error *error)
{
    struct fw_detector *detector;
    *error = (struct fw_error){0};
    int status = fw_detector_open(&detector, options, error);
    assert_true((status == FW_OK) == (detector != NULL));
    fw_detector_close(detector);
    return status;
}

static void refuses_what_it_cannot_open(void **state)
{
    struct fw_error error;
    (void)state;
    struct fw_detector_options options = {.backend = "retina", .model_path = "/no/such/file"};
    assert_int_equal(try_open(&options, &error), FW_ENOTSUP);
    assert_non_null(strstr(error.message, "yunet"));
    options.backend = NULL;
    assert_int_equal(try_open(&options, &error), FW_ENOTSUP);
    options.backend = "yunet";
    assert_int_equal(try_open(&options, &error), FW_ENOENT);
    assert_non_null(strstr(error.message, "/no/such/file"));
    options.model_path = NULL;
    assert_int_equal(try_open(&options, &error), FW_EINVAL);
    options.model_path = "/dev/null";
    assert_int_equal(try_open(&options, &error), FW_EFORMAT);
    options.isa = "sse9";
    assert_int_equal(try_open(&options, &error), FW_EINVAL);
    options.isa = NULL;
    options.precision = "int8";
    assert_int_equal(try_open(&options, &error), FW_EFORMAT);
    options.backend = "null";
    assert_int_equal(try_open(&options, &error), FW_ENOTSUP);
    assert_non_null(strstr(error.message, "int8"));
    options.backend = "yunet";
    options.precision = "int3";
    assert_int_equal(try_open(&options, &error), FW_EINVAL);
    options.precision = "fp32";
    options.input_size = -1;
    assert_int_equal(try_open(&options, &error), FW_EINVAL);
}

// The parts of a detection are named, each takes its time, and together they take that of the
// whole.
static void tells_how_long_its_parts_take(void **state)
{
    static struct fw_detector_part parts[FW_DETECTOR_MAX_PARTS];
    struct fw_error error = {0};
    struct fw_faces faces = {0};
    struct fw_detector *detector = open_yunet(*state, 160);
    struct fw_frame *frame = load_picture();
    memset(parts, 0, sizeof(parts));
    // Buffers are made and caches filled by the first one.
    assert_int_equal(fw_detector_detect(detector, frame, &defaults, &faces, &error), FW_OK);
    int64_t began_us = fw_monotonic_us();
    int count = 0;
    for (int i = 0; i < 20; i++) {
        count = fw_detector_profile(detector, frame, &defaults, parts, &error);
    }
    int64_t took_ns = (fw_monotonic_us() - began_us) * 1000;
    assert_in_range(count, 20, FW_DETECTOR_MAX_PARTS);
    int64_t sum_ns = 0;
    for (int i = 0; i < count; i++) {
        assert_true(parts[i].ns > 0 && parts[i].name[0] != '\0');
        sum_ns += parts[i].ns;
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(parts[i].name, parts[k].name);
        }
    }
    assert_true(sum_ns <= took_ns && (double)sum_ns > 0.5 * (double)took_ns);
    // It is only looking: later detections are as ever, and add nothing.
    int64_t before_ns = parts[2].ns;
    assert_finds_astronaut(detector, frame);
    assert_int_equal(parts[2].ns, before_ns);
    fw_faces_free(&faces);
    fw_frame_unref(frame);
    fw_detector_close(detector);
}

static void null_finds_nothing(void **state)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, 64, 64);
    struct fw_detector_options options = {.backend = "null"};
    struct fw_detector *detector;
    struct fw_error error = {0};
    struct fw_faces faces = {0};
    (void)state;
    assert_non_null(frame);
    assert_int_equal(fw_faces_add(&faces, &(struct fw_face){.score = 1}), FW_OK);
    assert_int_equal(fw_detector_open(&detector, &options, &error), FW_OK);
    assert_int_equal(fw_detector_detect(detector, frame, &defaults, &faces, &error), FW_OK);
    assert_int_equal(faces.count, 0); // what an earlier call left is gone
    assert_int_equal(fw_detector_profile(detector, frame, &defaults, NULL, &error), FW_ENOTSUP);
    fw_detector_close(detector);
    fw_faces_free(&faces);
    fw_frame_unref(frame);
}

static void lists_its_backends(void **state)
{
    bool has_yunet = false, has_null = false;
    (void)state;
    for (const struct fw_detector_backend *const *i = fw_detector_backends(); *i != NULL; i++) {
        has_yunet = has_yunet || strcmp((*i)->name, "yunet") == 0;
        has_null = has_null || strcmp((*i)->name, "null") == 0;
        assert_true((*i)->open != NULL && (*i)->detect != NULL && (*i)->close != NULL);
    }
    assert_true(has_yunet && has_null);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_a_face_in_every_format),
        cmocka_unit_test_prestate(takes_pictures_of_any_size, (void *)(uintptr_t) "fp32"),
        cmocka_unit_test_prestate(takes_pictures_of_any_size, (void *)(uintptr_t) "int8"),
        cmocka_unit_test_prestate(tells_how_long_its_parts_take, (void *)(uintptr_t) "fp32"),
        cmocka_unit_test_prestate(tells_how_long_its_parts_take, (void *)(uintptr_t) "int8"),
        cmocka_unit_test(chooses_a_precision),
        cmocka_unit_test(refuses_what_it_cannot_open),
        cmocka_unit_test(null_finds_nothing),
        cmocka_unit_test(lists_its_backends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
