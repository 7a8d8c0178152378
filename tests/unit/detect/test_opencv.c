// The detectors behind OpenCV, on pictures whose faces were marked by hand (to a few pixels).
#include "detect/detector.h"

#include "media/frame.h"
#include "media/image_file.h"
#include "util/error.h"
#include "util/face.h"
#include "util/text.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define CASCADE "/usr/share/opencv4/haarcascades/haarcascade_frontalface_default.xml"

static const struct fw_box astronaut = {181, 58, 88, 121};
static const struct fw_box hopper = {174, 110, 182, 220};

static const struct fw_detect_parameters defaults = {.min_score = 0.7F, .nms_iou = 0.45F};

static const char *shared_folder(void)
{
    const char *shared = getenv("FACEWORKER_SHARED");
    if (shared && *shared)
        return shared;
    assert_null(getenv("CI"));
    skip();
    return NULL;
}

static struct fw_frame *load(const char *name)
{
    struct fw_frame *frame = NULL;
    struct fw_error error = {0};
    char *path = fw_strdup_printf("%s/data/images/%s", shared_folder(), name);
    assert_non_null(path);
    if (fw_image_load(path, &frame, &error) != FW_OK)
        fail_msg("%s", error.message);
    free(path);
    return frame;
}

// CenterFace is 7 MB and lies in no Debian package: whoever has it names it.
static const char *centerface_path(void)
{
    const char *path = getenv("FACEWORKER_CENTERFACE");
    if (!path || !*path)
        skip();
    return path;
}

static struct fw_detector *open_detector(const char *backend, const char *model, int input_size)
{
    struct fw_detector *detector = NULL;
    struct fw_error error = {0};
    const struct fw_detector_options options = {
        .backend = backend, .model_path = model, .precision = "auto", .input_size = input_size};
    if (fw_detector_open(&detector, &options, &error) != FW_OK)
        fail_msg("%s", error.message);
    return detector;
}

static struct fw_faces detect(struct fw_detector *detector, const struct fw_frame *frame,
                              const struct fw_detect_parameters *parameters)
{
    struct fw_faces faces = {0};
    struct fw_error error = {0};
    if (fw_detector_detect(detector, frame, parameters, &faces, &error) != FW_OK)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < faces.count; i++) {
        assert_true(faces.items[i].score >= parameters->min_score && faces.items[i].score <= 1);
        assert_true(i == 0 || faces.items[i - 1].score >= faces.items[i].score);
    }
    return faces;
}

static void assert_best_at(const struct fw_faces *faces, const struct fw_box *box, float iou)
{
    assert_true(faces->count > 0);
    if (!(fw_box_iou(&faces->items[0].box, box) > iou))
        fail_msg("a face at %.0f %.0f %.0f %.0f", (double)faces->items[0].box.x,
                 (double)faces->items[0].box.y, (double)faces->items[0].box.w,
                 (double)faces->items[0].box.h);
}

static void assert_one_face_at(const struct fw_faces *faces, const struct fw_box *box, float iou)
{
    assert_int_equal(1, faces->count);
    assert_best_at(faces, box, iou);
}

static void assert_landmarks_inside(const struct fw_face *face)
{
    assert_true(face->has_landmarks);
    for (int i = 0; i < FW_LANDMARKS; i++) {
        assert_in_range((int)face->landmarks[i].x, (int)face->box.x,
                        (int)(face->box.x + face->box.w));
        assert_in_range((int)face->landmarks[i].y, (int)face->box.y,
                        (int)(face->box.y + face->box.h));
    }
    assert_true(face->landmarks[0].x < face->landmarks[1].x); // the person's right is our left
    assert_true(face->landmarks[0].y < face->landmarks[2].y);
    assert_true(face->landmarks[2].y < face->landmarks[3].y);
    assert_true(face->landmarks[3].x < face->landmarks[4].x);
}

static uint8_t clamp(double value)
{
    return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)(value + 0.5);
}

// FRAME (BGR) as YUV, BT.709 and limited range, chroma taken from one pixel of four.
static struct fw_frame *to_yuv(const struct fw_frame *frame, enum fw_pixel_format format)
{
    struct fw_frame *yuv = fw_frame_create(format, frame->width, frame->height);
    assert_non_null(yuv);
    yuv->matrix = FW_MATRIX_BT709;
    yuv->full_range = false;
    for (int y = 0; y < frame->height; y++) {
        for (int x = 0; x < frame->width; x++) {
            const uint8_t *bgr = frame->planes[0] + (ptrdiff_t)y * frame->strides[0] + 3 * x;
            double luma = 0.2126 * bgr[2] + 0.7152 * bgr[1] + 0.0722 * bgr[0];
            yuv->planes[0][(ptrdiff_t)y * yuv->strides[0] + x] = clamp(16 + luma * 219 / 255);
            if (x % 2 || y % 2)
                continue;
            uint8_t u = clamp(128 + (bgr[0] - luma) / 1.8556 * 224 / 255);
            uint8_t v = clamp(128 + (bgr[2] - luma) / 1.5748 * 224 / 255);
            ptrdiff_t row = y / 2;
            if (format == FW_PIXEL_NV12) {
                yuv->planes[1][row * yuv->strides[1] + x] = u;
                yuv->planes[1][row * yuv->strides[1] + x + 1] = v;
            } else {
                yuv->planes[1][row * yuv->strides[1] + x / 2] = u;
                yuv->planes[2][row * yuv->strides[2] + x / 2] = v;
            }
        }
    }
    return yuv;
}

// Every format and odd sizes: the best face must lie at BOX. (The cascade sees another one in
// some.)
static void check_formats(struct fw_detector *detector, const struct fw_box *box, float iou)
{
    struct fw_frame *bgr = load("astronaut.png");
    const enum fw_pixel_format formats[] = {FW_PIXEL_I420, FW_PIXEL_NV12};
    for (int i = 0; i < 2; i++) {
        for (int odd = 0; odd < 2; odd++) {
            bgr->width -= odd;
            bgr->height -= odd;
            struct fw_frame *yuv = to_yuv(bgr, formats[i]);
            struct fw_faces faces = detect(detector, yuv, &defaults);
            assert_best_at(&faces, box, iou);
            fw_faces_free(&faces);
            fw_frame_unref(yuv);
            bgr->width += odd;
            bgr->height += odd;
        }
    }
    fw_frame_unref(bgr);
    for (int i = 0; i < 3; i++) {
        const enum fw_pixel_format all[] = {FW_PIXEL_I420, FW_PIXEL_NV12, FW_PIXEL_BGR24};
        struct fw_frame *dot = fw_frame_create(all[i], 1, 1);
        assert_non_null(dot);
        for (int k = 0; k < 3 && dot->planes[k]; k++)
            memset(dot->planes[k], 128, all[i] == FW_PIXEL_BGR24 ? 3 : k ? 2 : 1);
        struct fw_faces faces = detect(detector, dot, &defaults);
        assert_int_equal(0, faces.count);
        fw_faces_free(&faces);
        fw_frame_unref(dot);
    }
}

static void centerface_finds_faces(void **state)
{
    (void)state;
    struct fw_detector *detector = open_detector("centerface", centerface_path(), 640);
    // Back to the first after another size: the network must not remember.
    const char *names[] = {"astronaut.png", "grace_hopper.jpg", "astronaut.png"};
    const struct fw_box *boxes[] = {&astronaut, &hopper, &astronaut};
    float first = 0;
    for (int i = 0; i < 3; i++) {
        struct fw_frame *frame = load(names[i]);
        struct fw_faces faces = detect(detector, frame, &defaults);
        assert_one_face_at(&faces, boxes[i], 0.75F);
        assert_landmarks_inside(&faces.items[0]);
        if (i == 0)
            first = faces.items[0].score;
        if (i == 2)
            assert_true(faces.items[0].score == first);
        fw_faces_free(&faces);
        fw_frame_unref(frame);
    }
    // As ONNX Runtime gives it for this file and picture.
    assert_true(first > 0.928F && first < 0.931F);
    fw_detector_close(detector);
}

static void centerface_takes_every_picture(void **state)
{
    (void)state;
    struct fw_detector *detector = open_detector("centerface", centerface_path(), 320);
    check_formats(detector, &astronaut, 0.7F);
    struct fw_frame *frame = load("astronaut.png");
    struct fw_detect_parameters large = defaults;
    large.min_face_px = 200;
    struct fw_faces faces = detect(detector, frame, &large);
    assert_int_equal(0, faces.count);
    fw_faces_free(&faces);
    fw_frame_unref(frame);
    fw_detector_close(detector);
}

static void haar_finds_faces(void **state)
{
    (void)state;
    if (access(CASCADE, R_OK) != 0) {
        assert_null(getenv("CI"));
        skip();
    }
    struct fw_detector *detector = open_detector("haar", CASCADE, 640);
    struct fw_frame *frame = load("astronaut.png");
    struct fw_faces faces = detect(detector, frame, &defaults);
    assert_one_face_at(&faces, &astronaut, 0.5F);
    assert_false(faces.items[0].has_landmarks);
    fw_faces_free(&faces);
    fw_frame_unref(frame);
    frame = load("camera.png");
    faces = detect(detector, frame, &defaults);
    assert_int_equal(0, faces.count);
    fw_faces_free(&faces);
    fw_frame_unref(frame);
    check_formats(detector, &astronaut, 0.5F);
    fw_detector_close(detector);
}

static void write_part(const char *from, const char *to, long length)
{
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    assert_true(in && out);
    for (long i = 0; i < length; i++) {
        int byte = fgetc(in);
        assert_true(byte != EOF && fputc(byte, out) != EOF);
    }
    fclose(in);
    assert_int_equal(0, fclose(out));
}

static void assert_refused(const char *backend, const char *model, const char *config, int status)
{
    struct fw_detector *detector = NULL;
    struct fw_error error = {0};
    const struct fw_detector_options options = {
        .backend = backend, .model_path = model, .config_path = config, .precision = "auto"};
    assert_int_equal(status, fw_detector_open(&detector, &options, &error));
    assert_int_equal(status, error.code);
    assert_true(strlen(error.message) > 10);
    assert_null(strchr(error.message, '\n'));
    assert_null(detector);
}

static void wrong_files_are_refused(void **state)
{
    (void)state;
    char cut[] = "/tmp/fw-opencv-XXXXXX";
    int fd = mkstemp(cut);
    assert_true(fd >= 0);
    close(fd);
    char *yunet = fw_strdup_printf("%s/models/yunet_n_640_640.onnx", shared_folder());
    char *network = fw_strdup_printf("%s/models/deploy.prototxt", shared_folder());
    assert_true(yunet && network);
    assert_refused("centerface", "/nowhere", NULL, FW_ENOENT);
    assert_refused("centerface", cut, NULL, FW_EFORMAT); // empty
    assert_refused("centerface", yunet, NULL, FW_EFORMAT);
    assert_refused("haar", "/nowhere", NULL, FW_ENOENT);
    assert_refused("haar", cut, NULL, FW_EFORMAT);
    assert_refused("haar", yunet, NULL, FW_EFORMAT);
    assert_refused("res10", yunet, NULL, FW_EINVAL);
    assert_refused("res10", "/nowhere", network, FW_ENOENT);
    assert_refused("res10", yunet, "/nowhere", FW_ENOENT);
    assert_refused("res10", cut, network, FW_EFORMAT);
    assert_refused("res10", yunet, network, FW_EFORMAT);
    assert_refused("res10", yunet, yunet, FW_EFORMAT);
    write_part(yunet, cut, 10000);
    assert_refused("centerface", cut, NULL, FW_EFORMAT);
    if (access(CASCADE, R_OK) == 0) {
        write_part(CASCADE, cut, 100000);
        assert_refused("haar", cut, NULL, FW_EFORMAT);
    }
    unlink(cut);
    free(yunet);
    free(network);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(centerface_finds_faces),
        cmocka_unit_test(centerface_takes_every_picture),
        cmocka_unit_test(haar_finds_faces),
        cmocka_unit_test(wrong_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
