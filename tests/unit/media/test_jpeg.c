// JPEG: colours survive, decoding is OpenCV's, damage is told.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "media/exif.h"
#include "media/image_file.h"
#include "media/jpeg.h"
#include "util/queue.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_near(double value, double expected, double tolerance)
{
    if (fabs(value - expected) > tolerance)
        fail_msg("%f is not within %f of %f", value, tolerance, expected);
}

// RGB of one YUV colour by the standards' formulas, the inverse of what a camera does.
static void to_rgb(const struct fw_frame *frame, const int yuv[3], double rgb[3])
{
    double kr = frame->matrix == FW_MATRIX_BT709 ? 0.2126 : 0.299;
    double kb = frame->matrix == FW_MATRIX_BT709 ? 0.0722 : 0.114;
    double luma = frame->full_range ? yuv[0] : (yuv[0] - 16) * 255.0 / 219.0;
    double gain = frame->full_range ? 1.0 : 255.0 / 224.0;
    double cb = (yuv[1] - 128) * gain;
    double cr = (yuv[2] - 128) * gain;

    rgb[0] = luma + 2 * (1 - kr) * cr;
    rgb[2] = luma + 2 * (1 - kb) * cb;
    rgb[1] = (luma - kr * rgb[0] - kb * rgb[2]) / (1 - kr - kb);
}

// Patches of 32x32 px, whole coding units, each in one colour.
static const int patches[][3] = {
    {120, 128, 128}, {90, 110, 160},  {150, 150, 110},
    {60, 120, 135},  {200, 120, 140}, {100, 100, 128},
};

#define PATCH_PX    32
#define PATCH_COUNT ((int)(sizeof(patches) / sizeof(patches[0])))

static struct fw_frame *make_patches(enum fw_pixel_format format, int width, int height)
{
    struct fw_frame *frame = fw_frame_create(format, width, height);

    assert_non_null(frame);
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            const int *patch = patches[x / PATCH_PX % PATCH_COUNT];
            frame->planes[0][y * frame->strides[0] + x] = (uint8_t)patch[0];
            for (int i = 0; i < 2 && x % 2 == 0 && y % 2 == 0; i++) {
                if (format == FW_PIXEL_NV12)
                    frame->planes[1][y / 2 * frame->strides[1] + x + i] = (uint8_t)patch[1 + i];
                else
                    frame->planes[1 + i][y / 2 * frame->strides[1 + i] + x / 2] =
                        (uint8_t)patch[1 + i];
            }
        }
    }
    return frame;
}

static struct fw_frame *round_trip(const struct fw_frame *frame, int quality)
{
    struct fw_bytes *bytes = NULL;
    struct fw_frame *back = NULL;
    struct fw_error error = {0};

    if (fw_jpeg_encode(frame, quality, &bytes, &error))
        fail_msg("%s", error.message);
    if (fw_jpeg_decode(bytes->data, bytes->length, &back, &error))
        fail_msg("%s", error.message);
    fw_bytes_unref(bytes);
    assert_int_equal(back->format, FW_PIXEL_BGR24);
    assert_int_equal(back->width, frame->width);
    assert_int_equal(back->height, frame->height);
    return back;
}

static void test_colours_survive_whatever_their_description(void **state)
{
    static const int widths[] = {PATCH_PX * PATCH_COUNT, PATCH_PX * PATCH_COUNT - 9};

    (void)state;
    for (int i = 0; i < 16; i++) {
        struct fw_frame *frame =
            make_patches(i & 1 ? FW_PIXEL_NV12 : FW_PIXEL_I420, widths[i >> 3], 37);
        struct fw_frame *back;

        frame->matrix = i & 2 ? FW_MATRIX_BT709 : FW_MATRIX_BT601;
        frame->full_range = i & 4;
        back = round_trip(frame, 100);
        for (int patch = 0; patch < PATCH_COUNT; patch++) {
            static const int rows[] = {4, 36};
            double rgb[3];

            to_rgb(frame, patches[patch], rgb);
            for (int j = 0; j < 2; j++) {
                const uint8_t *pixel = back->planes[0] + (ptrdiff_t)rows[j] * back->strides[0] +
                                       (ptrdiff_t)3 * (patch * PATCH_PX + PATCH_PX / 2);
                for (int c = 0; c < 3; c++)
                    assert_near(pixel[2 - c], rgb[c], 2.6);
            }
        }
        fw_frame_unref(back);
        fw_frame_unref(frame);
    }
}

// Colour bars of 100 % and 75 % (ITU-R BT.471), and greys down to black: the ends of every scale,
// where a wrong matrix or range shows most.
static const int bars[][3] = {
    {255, 255, 255}, {255, 255, 0}, {0, 255, 255},   {0, 255, 0},   {255, 0, 255}, {255, 0, 0},
    {0, 0, 255},     {0, 0, 0},     {191, 191, 191}, {191, 191, 0}, {0, 191, 191}, {0, 191, 0},
    {191, 0, 191},   {191, 0, 0},   {0, 0, 191},     {64, 64, 64},
};

#define BAR_COUNT ((int)(sizeof(bars) / sizeof(bars[0])))

static uint8_t to_byte(double value)
{
    return (uint8_t)fmin(fmax(floor(value + 0.5), 0), 255);
}

// What a camera makes of a colour (ITU-R BT.601-7 §2.5, BT.709-6 §3).
static void to_yuv(const struct fw_frame *frame, const int rgb[3], uint8_t yuv[3])
{
    double kr = frame->matrix == FW_MATRIX_BT709 ? 0.2126 : 0.299;
    double kb = frame->matrix == FW_MATRIX_BT709 ? 0.0722 : 0.114;
    double luma = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2];
    double gain = frame->full_range ? 1.0 : 224.0 / 255.0;

    yuv[0] = to_byte(frame->full_range ? luma : 16 + luma * 219.0 / 255.0);
    yuv[1] = to_byte(128 + gain * (rgb[2] - luma) / (2 * (1 - kb)));
    yuv[2] = to_byte(128 + gain * (rgb[0] - luma) / (2 * (1 - kr)));
}

static void paint_bars(struct fw_frame *frame)
{
    for (int y = 0; y < frame->height; y++) {
        for (int x = 0; x < frame->width; x++) {
            uint8_t yuv[3];
            to_yuv(frame, bars[x / PATCH_PX], yuv);
            frame->planes[0][y * frame->strides[0] + x] = yuv[0];
            for (int i = 0; i < 2 && x % 2 == 0 && y % 2 == 0; i++) {
                int at = frame->format == FW_PIXEL_NV12 ? x + i : x / 2;
                int plane = frame->format == FW_PIXEL_NV12 ? 1 : 1 + i;
                frame->planes[plane][y / 2 * frame->strides[plane] + at] = yuv[1 + i];
            }
        }
    }
}

// The decoder knows nothing of where the picture came from: what it shows is the true colour.
static void test_colour_bars_come_out_as_the_colours_they_are(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct fw_frame *frame =
            fw_frame_create(i & 1 ? FW_PIXEL_NV12 : FW_PIXEL_I420, PATCH_PX * BAR_COUNT, PATCH_PX);
        struct fw_frame *back;

        assert_non_null(frame);
        frame->matrix = i & 2 ? FW_MATRIX_BT709 : FW_MATRIX_BT601;
        frame->full_range = i & 4;
        paint_bars(frame);
        back = round_trip(frame, 95);
        for (int bar = 0; bar < BAR_COUNT; bar++) {
            const uint8_t *pixel = back->planes[0] + (ptrdiff_t)(PATCH_PX / 2) * back->strides[0] +
                                   (ptrdiff_t)3 * (bar * PATCH_PX + PATCH_PX / 2);
            for (int c = 0; c < 3; c++)
                assert_near(pixel[2 - c], bars[bar][c], 3);
        }
        fw_frame_unref(back);
        fw_frame_unref(frame);
    }
}

static void test_the_last_column_and_row_keep_their_colour(void **state)
{
    struct fw_frame *frame = make_patches(FW_PIXEL_NV12, 33, 17);
    struct fw_frame *back;
    double rgb[3];

    (void)state;
    back = round_trip(frame, 100);
    to_rgb(frame, patches[0], rgb);
    assert_near(back->planes[0][16 * back->strides[0] + 3 * 20], rgb[2], 3);
    to_rgb(frame, patches[1], rgb);
    // The neighbouring patch's chroma shines in by the decoder's upsampling: luma alone is
    // compared.
    assert_near(back->planes[0][16 * back->strides[0] + 3 * 32 + 1], rgb[1], 12);
    fw_frame_unref(back);
    fw_frame_unref(frame);
}

static void test_bgr_goes_in_and_out(void **state)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_BGR24, 45, 31);
    struct fw_frame *back;

    (void)state;
    for (int y = 0; y < 31; y++) {
        for (int x = 0; x < 45; x++) {
            uint8_t *pixel = frame->planes[0] + (ptrdiff_t)y * frame->strides[0] + (ptrdiff_t)3 * x;
            pixel[0] = 200;
            pixel[1] = (uint8_t)(40 + 2 * y);
            pixel[2] = 90;
        }
    }
    back = round_trip(frame, 100);
    assert_near(back->planes[0][15 * back->strides[0] + 60], 200, 3);
    assert_near(back->planes[0][15 * back->strides[0] + 61], 70, 3);
    assert_near(back->planes[0][15 * back->strides[0] + 62], 90, 3);
    fw_frame_unref(back);
    fw_frame_unref(frame);
}

static void test_better_quality_takes_more_bytes(void **state)
{
    struct fw_frame *frame = fw_frame_create(FW_PIXEL_I420, 640, 480);
    struct fw_bytes *coarse = NULL;
    struct fw_bytes *fine = NULL;
    struct fw_error error;

    (void)state;
    // Noise, so that the output outgrows its first buffer.
    srand(1);
    for (int plane = 0; plane < 3; plane++) {
        for (int i = 0; i < frame->strides[plane] * fw_frame_row_count(frame, plane); i++)
            frame->planes[plane][i] = (uint8_t)rand();
    }
    assert_int_equal(fw_jpeg_encode(frame, 20, &coarse, &error), FW_OK);
    assert_int_equal(fw_jpeg_encode(frame, 100, &fine, &error), FW_OK);
    assert_true(fine->length > 2 * coarse->length && fine->length > 200000);
    fw_bytes_unref(coarse);
    fw_bytes_unref(fine);
    assert_int_equal(fw_jpeg_encode(frame, 0, &fine, &error), FW_EINVAL);
    assert_int_equal(fw_jpeg_encode(frame, 101, &fine, &error), FW_EINVAL);
    assert_null(fine);
    fw_frame_unref(frame);
}

static void test_damage_is_told(void **state)
{
    static const uint8_t noise[] = "this is no picture at all, not even nearly";
    struct fw_frame *frame = make_patches(FW_PIXEL_I420, 96, 64);
    struct fw_frame *out = NULL;
    struct fw_bytes *bytes = NULL;
    struct fw_error error;

    (void)state;
    assert_int_equal(fw_jpeg_encode(frame, 90, &bytes, &error), FW_OK);
    assert_int_equal(fw_jpeg_decode(noise, sizeof(noise), &out, &error), FW_EFORMAT);
    assert_int_equal(fw_jpeg_decode(noise, 0, &out, &error), FW_EFORMAT);
    // Wherever it is cut, but for the end marker alone, the picture is not whole.
    for (size_t length = 1; length + 4 < bytes->length; length += 7) {
        assert_int_equal(fw_jpeg_decode(bytes->data, length, &out, &error), FW_EFORMAT);
        assert_null(out);
        assert_true(strlen(error.message) > 10);
    }
    assert_int_equal(fw_jpeg_decode(bytes->data, bytes->length - 2, &out, &error), FW_OK);
    fw_frame_unref(out);
    fw_bytes_unref(bytes);
    fw_frame_unref(frame);
}

static void test_giants_are_refused(void **state)
{
    struct fw_frame *frame = make_patches(FW_PIXEL_I420, 32, 32);
    struct fw_frame *out = NULL;
    struct fw_bytes *bytes = NULL;
    struct fw_error error;
    uint8_t *copy;
    size_t at = 0;

    (void)state;
    assert_int_equal(fw_jpeg_encode(frame, 90, &bytes, &error), FW_OK);
    copy = malloc(bytes->length);
    assert_non_null(copy);
    memcpy(copy, bytes->data, bytes->length);
    while (copy[at] != 0xFF || copy[at + 1] != 0xC0)
        at++;
    copy[at + 7] = 0x40; // the width's upper byte: 16384 + 32
    assert_int_equal(fw_jpeg_decode(copy, bytes->length, &out, &error), FW_EFULL);
    assert_non_null(strstr(error.message, "16416"));
    free(copy);
    fw_bytes_unref(bytes);
    fw_frame_unref(frame);
}

// FNV-1a over the pixels.
static uint64_t hash_of(const struct fw_frame *frame)
{
    uint64_t hash = 1469598103934665603ULL;

    for (int y = 0; y < frame->height; y++) {
        for (int x = 0; x < 3 * frame->width; x++) {
            hash ^= frame->planes[0][(ptrdiff_t)y * frame->strides[0] + x];
            hash *= 1099511628211ULL;
        }
    }
    return hash;
}

static const char *shared_dir(void)
{
    const char *dir = getenv("FACEWORKER_SHARED");

    if (dir && *dir)
        return dir;
    if (getenv("CI"))
        fail_msg("FACEWORKER_SHARED is not set");
    skip();
    return NULL;
}

// The hashes were made with OpenCV 4.6's imread (IMREAD_COLOR | IMREAD_IGNORE_ORIENTATION).
static void test_files_decode_as_with_opencv(void **state)
{
    static const struct {
        const char *name;
        int width, height;
        uint64_t hash;
    } files[] = {
        {"images/astronaut.png", 512, 512, 0xbccc3f2cadee33a1ULL},
        {"images/camera.png", 512, 512, 0xb039c4f3a626c804ULL},
        {"images/detection1.jpg", 1000, 664, 0x55335e69269d1d26ULL},
        {"images/grace_hopper.jpg", 512, 600, 0x6f5c14cb9fed6bbcULL},
        {"negatives/azure_dog.jpg", 600, 450, 0x43deebe92fcdfde9ULL},
        {"negatives/skimage_chelsea.png", 451, 300, 0xefd50268942c9392ULL},
    };
    const char *dir = shared_dir();

    (void)state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct fw_frame *frame = NULL;
        struct fw_error error = {0};
        char path[1024];

        (void)snprintf(path, sizeof(path), "%s/data/%s", dir, files[i].name);
        if (fw_image_load(path, &frame, &error))
            fail_msg("%s", error.message);
        assert_int_equal(frame->width, files[i].width);
        assert_int_equal(frame->height, files[i].height);
        if (hash_of(frame) != files[i].hash)
            fail_msg("%s is not what OpenCV reads", files[i].name);
        fw_frame_unref(frame);
    }
}

static void write_file(const char *path, const void *data, size_t length)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

// Two pixels side by side, red and blue, in 24 bits, bottom up as BMP is.
static const uint8_t bmp[] = {
    'B', 'M', 62, 0, 0, 0, 0, 0,  0, 0, 54, 0, 0, 0, 40,  0,   0, 0, 2, 0, 0,
    0,   1,   0,  0, 0, 1, 0, 24, 0, 0, 0,  0, 0, 8, 0,   0,   0, 0, 0, 0, 0,
    0,   0,   0,  0, 0, 0, 0, 0,  0, 0, 0,  0, 0, 0, 255, 255, 0, 0, 0, 0,
};

static void test_image_load_tells_formats_by_content(void **state)
{
    char path[] = "/tmp/fw-test-image-XXXXXX";
    int fd = mkstemp(path);
    struct fw_frame *frame = NULL;
    struct fw_error error = {0};

    (void)state;
    assert_true(fd >= 0);
    write_file(path, bmp, sizeof(bmp));
    if (fw_image_load(path, &frame, &error))
        fail_msg("%s", error.message);
    assert_int_equal(frame->width, 2);
    assert_memory_equal(frame->planes[0], "\x00\x00\xFF\xFF\x00\x00", 6);
    fw_frame_unref(frame);
    write_file(path, bmp, 30);
    assert_int_equal(fw_image_load(path, &frame, &error), FW_EFORMAT);
    assert_non_null(strstr(error.message, "damaged"));
    write_file(path, "\x89PNG\r\n\x1A\n\x00\x00\x00\x0DIHDR", 16);
    assert_int_equal(fw_image_load(path, &frame, &error), FW_EFORMAT);
    write_file(path, "\xFF\xD8\xFF\xE0", 4);
    assert_int_equal(fw_image_load(path, &frame, &error), FW_EFORMAT);
    assert_non_null(strstr(error.message, path));
    write_file(path, "hello", 5);
    assert_int_equal(fw_image_load(path, &frame, &error), FW_EFORMAT);
    assert_non_null(strstr(error.message, "convert"));
    write_file(path, "", 0);
    assert_int_equal(fw_image_load(path, &frame, &error), FW_EFORMAT);
    assert_int_equal(remove(path), 0);
    assert_int_equal(fw_image_load(path, &frame, &error), FW_ENOENT);
    assert_int_equal(fw_image_load("/tmp", &frame, &error), FW_EIO);
    assert_null(frame);
    assert_int_equal(fclose(fdopen(fd, "rb")), 0);
}

// A JPEG's beginning with Exif in it: big-endian, one entry.
#define EXIF                                                                                       \
    0xFF, 0xD8, 0xFF, 0xE1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1,    \
        0x01, 0x12, 0, 3, 0, 0, 0, 1, 0

static void test_exif_tells_the_orientation(void **state)
{
    static const uint8_t upright[] = {EXIF, 1, 0, 0, 0, 0, 0, 0},
                         turned[] = {EXIF, 6, 0, 0, 0, 0, 0, 0};
    static const uint8_t wrong[] = {EXIF, 9, 0, 0, 0, 0, 0, 0};
    uint8_t damaged[sizeof(turned)];

    (void)state;
    assert_int_equal(fw_exif_orientation(upright, sizeof(upright)), 1);
    assert_int_equal(fw_exif_orientation(turned, sizeof(turned)), 6);
    assert_int_equal(fw_exif_orientation(wrong, sizeof(wrong)), 1);
    // Cut anywhere, or with any byte changed, it is an orientation all the same.
    for (size_t length = 0; length < sizeof(turned); length++)
        assert_in_range(fw_exif_orientation(turned, length), 1, 8);
    for (size_t i = 0; i < 255 * sizeof(turned); i++) {
        memcpy(damaged, turned, sizeof(turned));
        damaged[i / 255] ^= (uint8_t)(i % 255 + 1);
        assert_in_range(fw_exif_orientation(damaged, sizeof(damaged)), 1, 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_colours_survive_whatever_their_description),
        cmocka_unit_test(test_colour_bars_come_out_as_the_colours_they_are),
        cmocka_unit_test(test_the_last_column_and_row_keep_their_colour),
        cmocka_unit_test(test_bgr_goes_in_and_out),
        cmocka_unit_test(test_better_quality_takes_more_bytes),
        cmocka_unit_test(test_damage_is_told),
        cmocka_unit_test(test_giants_are_refused),
        cmocka_unit_test(test_files_decode_as_with_opencv),
        cmocka_unit_test(test_image_load_tells_formats_by_content),
        cmocka_unit_test(test_exif_tells_the_orientation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
