// media/, the overlay and the snapshots when memory runs out.
#include "fault.h"

#include "camera/overlay.h"
#include "camera/snapshot.h"
#include "media/draw.h"
#include "media/font.h"
#include "media/frame.h"
#include "media/frame_av.h"
#include "media/image.h"
#include "media/image_file.h"
#include "media/jpeg.h"
#include "util/error.h"
#include "util/queue.h"
#include <libavutil/frame.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WIDTH  161
#define HEIGHT 121

static struct fw_frame *grey(enum fw_pixel_format format)
{
    struct fw_frame *frame = fw_frame_create(format, WIDTH, HEIGHT);

    for (int plane = 0; frame && plane < fw_frame_plane_count(format); plane++)
        memset(frame->planes[plane], 128,
               (size_t)frame->strides[plane] * (size_t)fw_frame_row_count(frame, plane));
    return frame;
}

static int frames(void *opaque)
{
    struct fw_frame *frame = grey(FW_PIXEL_NV12);
    struct fw_frame_pool *pool = fw_frame_pool_create(FW_PIXEL_NV12, WIDTH, HEIGHT);
    struct fw_frame *pooled[3] = {NULL};
    int status = frame && pool ? FW_OK : FW_ENOMEM;

    (void)opaque;
    for (int i = 0; i < 3 && status == FW_OK; i++) {
        pooled[i] = fw_frame_pool_get(pool);
        status = pooled[i] ? fw_frame_copy(pooled[i], frame) : FW_ENOMEM;
    }
    fw_frame_pool_unref(pool);
    for (int i = 0; i < 3; i++)
        fw_frame_unref(pooled[i]);
    fw_frame_unref(frame);
    return status;
}

static int jpeg(void *opaque)
{
    struct fw_frame *frame = grey(*(enum fw_pixel_format *)opaque), *decoded = NULL;
    struct fw_bytes *bytes = NULL;
    struct fw_error error = {0};
    int status = fault_status_of(frame);

    if (status == FW_OK)
        status = fw_jpeg_encode(frame, 90, &bytes, &error);
    if (status == FW_OK)
        status = fw_jpeg_decode(bytes->data, bytes->length, &decoded, &error);
    fw_frame_unref(decoded);
    fw_bytes_unref(bytes);
    fw_frame_unref(frame);
    return status;
}

static int images(void *opaque)
{
    struct fw_frame *frame = grey(*(enum fw_pixel_format *)opaque);
    struct fw_frame *crop = NULL, *small = NULL, *converted = NULL, *turned = NULL;
    int status = FW_ENOMEM;

    if (frame && (crop = fw_image_crop(frame, (struct fw_box){10, 10, 99, 77})) &&
        (small = fw_image_shrink(crop, 40, 40)))
        status = FW_OK;
    if (status == FW_OK && frame->format == FW_PIXEL_BGR24) {
        converted = fw_image_convert_i420(frame);
        turned = converted ? fw_image_orient(frame, 6) : NULL;
        status = fault_status_of(turned);
    }
    fw_frame_unref(turned);
    fw_frame_unref(converted);
    fw_frame_unref(small);
    fw_frame_unref(crop);
    fw_frame_unref(frame);
    return status;
}

// By reference, converted (twice, of two sizes), and out again.
static int libav_frames(void *opaque)
{
    static const struct {
        enum AVPixelFormat format;
        int width;
    } inputs[] = {{AV_PIX_FMT_YUV420P, WIDTH}, {AV_PIX_FMT_RGB24, WIDTH}, {AV_PIX_FMT_RGB24, 32}};
    struct fw_frame_importer *importer = fw_frame_importer_create();
    int status = fault_status_of(importer);

    (void)opaque;
    for (size_t i = 0; i < sizeof(inputs) / sizeof(inputs[0]) && status == FW_OK; i++) {
        struct fw_frame *frame = NULL;
        AVFrame *in = av_frame_alloc(), *out = av_frame_alloc();

        status = in && out ? FW_OK : FW_ENOMEM;
        if (status == FW_OK) {
            in->format = inputs[i].format;
            in->width = inputs[i].width;
            in->height = HEIGHT;
            assert_int_equal(av_frame_get_buffer(in, 0), 0);
            memset(in->buf[0]->data, 128, in->buf[0]->size);
            status = fw_frame_import(importer, in, &frame);
        }
        if (status == FW_OK)
            status = fw_frame_export(frame, out);
        av_frame_free(&in);
        av_frame_free(&out);
        fw_frame_unref(frame);
    }
    fw_frame_importer_destroy(importer);
    return status;
}

static int font(void *opaque)
{
    struct fw_font *opened = NULL;
    struct fw_error error = {0};
    int status = fw_font_open(&opened, NULL, 20, &error);

    (void)opaque;
    for (uint32_t code_point = 'A'; code_point < 'A' + 300 && status == FW_OK; code_point++)
        status = fault_status_of(fw_font_glyph(opened, code_point));
    fw_font_close(opened);
    return status;
}

static const struct fw_overlay_face faces[] = {
    {.track = 2, .face = {.box = {60, 30, 50, 60}, .score = 0.9F}},
    {.track = 3, .face = {.box = {100, 90, 50, 60}, .score = 0.8F}},
};

static int overlay(void *opaque)
{
    const struct fw_overlay_info info = {.camera_name = "Front door",
                                         .location = "Building 2",
                                         .utc_us = 1700000000000000,
                                         .fps = 25,
                                         .faces = faces,
                                         .face_count = 2};
    struct fw_frame *frame = grey(FW_PIXEL_I420);
    struct fw_overlay *made = NULL;
    struct fw_error error = {0};
    int status = fault_status_of(frame);

    (void)opaque;
    if (status == FW_OK)
        status = fw_overlay_create(&made, HEIGHT, &error);
    if (status == FW_OK) {
        fw_overlay_draw(made, frame, &info);
        fw_overlay_draw_placeholder(made, frame, &info, "The camera does not answer.");
        fw_overlay_draw_faces(made, frame, faces, 2);
    }
    fw_overlay_destroy(made);
    fw_frame_unref(frame);
    return status;
}

static int snapshot(void *opaque)
{
    struct fw_frame *frame = grey(*(enum fw_pixel_format *)opaque);
    struct fw_snapshot rendered = {0};
    struct fw_error error = {0};
    int status = fault_status_of(frame);

    if (status == FW_OK)
        status = fw_snapshot_render(frame, faces, 2, 90, &rendered, &error);
    if (status == FW_OK)
        fw_snapshot_free(&rendered);
    else
        assert_null(rendered.full.jpeg);
    fw_frame_unref(frame);
    return status;
}

static int image_file(void *opaque)
{
    struct fw_frame *frame = NULL;
    struct fw_error error = {0};
    int status = fw_image_load(opaque, &frame, &error);

    assert_int_equal(status == FW_OK, frame != NULL);
    fw_frame_unref(frame);
    return status;
}

static void try_in_all_formats(const char *name, int (*run)(void *opaque), bool may_survive)
{
    static enum fw_pixel_format formats[] = {FW_PIXEL_I420, FW_PIXEL_NV12, FW_PIXEL_BGR24};

    for (int i = 0; i < 3; i++)
        fault_try(&(struct fault_scenario){
            .name = name, .run = run, .opaque = &formats[i], .may_survive = may_survive});
}

static void try_frames(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "frames", .run = frames});
    fault_try(&(struct fault_scenario){.name = "libav_frames", .run = libav_frames});
}

static void try_images(void **state)
{
    (void)state;
    try_in_all_formats("jpeg", jpeg, false);
    try_in_all_formats("images", images, false);
}

static void try_image_files(void **state)
{
    static const char *const names[] = {"images/detection1.jpg", "images/camera.png"};
    const char *shared = getenv("FACEWORKER_SHARED");

    (void)state;
    for (int i = 0; i < 2; i++) {
        char path[4096];

        snprintf(path, sizeof(path), "%s/data/%s", shared ? shared : "", names[i]);
        FILE *file = fopen(path, "rb");
        if (!file && getenv("CI"))
            fail_msg("no %s; set FACEWORKER_SHARED", path);
        if (!file)
            skip();
        fclose(file);
        fault_try(&(struct fault_scenario){
            .name = names[i], .run = image_file, .opaque = path, .most_tries = 20});
    }
}

static void try_drawing(void **state)
{
    (void)state;
    fault_try(&(struct fault_scenario){.name = "font", .run = font, .most_tries = 100});
    // A letter that there is no memory for is left out.
    fault_try(&(struct fault_scenario){
        .name = "overlay", .run = overlay, .may_survive = true, .most_tries = 100});
    try_in_all_formats("snapshot", snapshot, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(try_frames),
        cmocka_unit_test(try_images),
        cmocka_unit_test(try_image_files),
        cmocka_unit_test(try_drawing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
