#include "media/image.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PATCH_PX 64

// A rectangle of whole pixels inside a picture, right and bottom edges exclusive.
struct area {
    int left, top, right, bottom;
};

// Samples of one component: STEP bytes apart.
struct samples {
    const uint8_t *data;
    int stride, step;
    int width, height;
};

static int floor_to(float value, int limit)
{
    if (!(value > 0.0F))
        return 0;
    return value >= (float)limit ? limit : (int)value;
}

static int ceil_to(float value, int limit)
{
    if (!(value > 0.0F))
        return 0;
    return value >= (float)limit ? limit : (int)ceilf(value);
}

// The pixels that BOX touches; false when there are none.
static bool find_area(const struct fw_frame *frame, struct fw_box box, struct area *area)
{
    if (!(box.w > 0.0F) || !(box.h > 0.0F))
        return false;
    area->left = floor_to(box.x, frame->width);
    area->top = floor_to(box.y, frame->height);
    area->right = ceil_to(box.x + box.w, frame->width);
    area->bottom = ceil_to(box.y + box.h, frame->height);
    return area->left < area->right && area->top < area->bottom;
}

static int even_above(int value, int limit)
{
    int even = (value + 1) & ~1;

    return even > limit ? limit : even;
}

struct fw_frame *fw_image_crop(const struct fw_frame *frame, struct fw_box box)
{
    struct area area;
    struct fw_frame view, *crop;

    if (!find_area(frame, box, &area))
        return NULL;
    if (frame->format != FW_PIXEL_BGR24) {
        area.left &= ~1;
        area.top &= ~1;
        area.right = even_above(area.right, frame->width);
        area.bottom = even_above(area.bottom, frame->height);
    }
    view =
        fw_frame_view(frame, area.left, area.top, area.right - area.left, area.bottom - area.top);
    crop = fw_frame_create(frame->format, view.width, view.height);
    if (crop)
        (void)fw_frame_copy(crop, &view);
    return crop;
}

struct fw_frame *fw_image_orient(struct fw_frame *bgr, int orientation)
{
    // Of each orientation: whether rows become columns, and which sides the new picture's columns
    // and rows are counted from in the stored one.
    static const struct {
        bool is_turned, from_right, from_bottom;
    } ways[] = {
        [2] = {false, true, false}, [3] = {false, true, true}, [4] = {false, false, true},
        [5] = {true, false, false}, [6] = {true, false, true}, [7] = {true, true, true},
        [8] = {true, true, false},
    };
    struct fw_frame *turned;

    if (orientation < 2 || orientation > 8)
        return fw_frame_ref(bgr);
    turned = fw_frame_create(FW_PIXEL_BGR24, ways[orientation].is_turned ? bgr->height : bgr->width,
                             ways[orientation].is_turned ? bgr->width : bgr->height);
    if (!turned)
        return NULL;
    for (int y = 0; y < turned->height; y++) {
        uint8_t *to = turned->planes[0] + (ptrdiff_t)y * turned->strides[0];

        for (int x = 0; x < turned->width; x++) {
            int column = ways[orientation].is_turned ? y : x;
            int row = ways[orientation].is_turned ? x : y;

            if (ways[orientation].from_right)
                column = bgr->width - 1 - column;
            if (ways[orientation].from_bottom)
                row = bgr->height - 1 - row;
            memcpy(to + 3 * (ptrdiff_t)x,
                   bgr->planes[0] + (ptrdiff_t)row * bgr->strides[0] + 3 * (ptrdiff_t)column, 3);
        }
    }
    fw_frame_copy_description(turned, bgr);
    return turned;
}

// Means over COUNT / OUT_COUNT samples each, the fractions at both ends weighed.
static void average_row(const uint8_t *row, int step, int count, float *out, int out_count)
{
    float ratio = (float)count / (float)out_count;

    for (int i = 0; i < out_count; i++) {
        float low = (float)i * ratio;
        float high = (float)(i + 1) * ratio;
        int first = (int)low;
        int last = (int)ceilf(high) - 1;
        int inner = 0;

        if (last >= count)
            last = count - 1;
        if (first >= last) {
            out[i] = row[(ptrdiff_t)last * step];
            continue;
        }
        for (int j = first + 1; j < last; j++)
            inner += row[(ptrdiff_t)j * step];
        out[i] = ((float)inner + (float)row[(ptrdiff_t)first * step] * ((float)(first + 1) - low) +
                  (float)row[(ptrdiff_t)last * step] * (high - (float)last)) /
                 ratio;
    }
}

// Row INDEX of OUT_HEIGHT averaged rows, OUT_WIDTH values; SCRATCH is as long.
static void average_rows(const struct samples *from, int index, int out_height, float *out,
                         float *scratch, int out_width)
{
    float ratio = (float)from->height / (float)out_height;
    float low = (float)index * ratio;
    float high = (float)(index + 1) * ratio;
    int last = (int)ceilf(high) - 1;

    if (last >= from->height)
        last = from->height - 1;
    for (int x = 0; x < out_width; x++)
        out[x] = 0.0F;
    for (int y = (int)low; y <= last; y++) {
        float end = high < (float)(y + 1) ? high : (float)(y + 1);
        float share = (end - (low > (float)y ? low : (float)y)) / ratio;

        average_row(from->data + (ptrdiff_t)y * from->stride, from->step, from->width, scratch,
                    out_width);
        for (int x = 0; x < out_width; x++)
            out[x] += share * scratch[x];
    }
}

static uint8_t round_to_byte(float value)
{
    if (value <= 0.0F)
        return 0;
    // NOLINTNEXTLINE(bugprone-incorrect-roundings): exact for 0 to 255, and far faster than lroundf
    return value >= 255.0F ? 255 : (uint8_t)(value + 0.5F);
}

static int shrink_component(const struct samples *from, uint8_t *to, int to_stride, int to_width,
                            int to_height)
{
    float *row = malloc((size_t)to_width * 2 * sizeof(*row));

    if (!row)
        return -1;
    for (int y = 0; y < to_height; y++) {
        average_rows(from, y, to_height, row, row + to_width, to_width);
        for (int x = 0; x < to_width; x++)
            to[(ptrdiff_t)y * to_stride + (ptrdiff_t)x * from->step] = round_to_byte(row[x]);
    }
    free(row);
    return 0;
}

static int shrink_plane(struct fw_frame *to, const struct fw_frame *from, int plane)
{
    int step = 1;
    int status = 0;

    if (from->format == FW_PIXEL_BGR24)
        step = 3;
    else if (from->format == FW_PIXEL_NV12 && plane == 1)
        step = 2;
    for (int i = 0; i < step && !status; i++) {
        struct samples samples = {from->planes[plane] + i, from->strides[plane], step,
                                  fw_frame_row_bytes(from, plane) / step,
                                  fw_frame_row_count(from, plane)};
        status =
            shrink_component(&samples, to->planes[plane] + i, to->strides[plane],
                             fw_frame_row_bytes(to, plane) / step, fw_frame_row_count(to, plane));
    }
    return status;
}

struct fw_frame *fw_image_shrink(struct fw_frame *frame, int max_width, int max_height)
{
    double scale = fmin((double)max_width / frame->width, (double)max_height / frame->height);
    struct fw_frame *small;

    if (scale >= 1.0)
        return fw_frame_ref(frame);
    small = fw_frame_create(frame->format, (int)fmax(1.0, round(frame->width * scale)),
                            (int)fmax(1.0, round(frame->height * scale)));
    if (!small)
        return NULL;
    for (int plane = 0; plane < fw_frame_plane_count(frame->format); plane++) {
        if (shrink_plane(small, frame, plane)) {
            fw_frame_unref(small);
            return NULL;
        }
    }
    fw_frame_copy_description(small, frame);
    return small;
}

// ITU-R BT.601-7 §2.5 with sums of 65536, full range as JFIF has it.
static uint8_t luma_of(int b, int g, int r)
{
    return (uint8_t)((19595 * r + 38470 * g + 7471 * b + 32768) >> 16);
}

static uint8_t chroma_byte(int value)
{
    int rounded = (value + (128 << 16) + 32768) >> 16;

    return (uint8_t)(rounded > 255 ? 255 : rounded);
}

// Luma of one row, and where it begins a pair of rows, chroma of the pair's mean colours.
static void convert_row(const struct fw_frame *bgr, struct fw_frame *yuv, int y)
{
    const uint8_t *row = bgr->planes[0] + (ptrdiff_t)y * bgr->strides[0];
    const uint8_t *next = y + 1 < bgr->height ? row + bgr->strides[0] : row;
    uint8_t *luma = yuv->planes[0] + (ptrdiff_t)y * yuv->strides[0];
    uint8_t *u = yuv->planes[1] + (ptrdiff_t)(y / 2) * yuv->strides[1];
    uint8_t *v = yuv->planes[2] + (ptrdiff_t)(y / 2) * yuv->strides[2];

    for (int x = 0; x < bgr->width; x++)
        luma[x] = luma_of(row[3 * x], row[3 * x + 1], row[3 * x + 2]);
    if (y % 2)
        return;
    for (int x = 0; x < bgr->width; x += 2) {
        int right = x + 1 < bgr->width ? x + 1 : x;
        int mean[3];

        for (int i = 0; i < 3; i++)
            mean[i] =
                (row[3 * x + i] + row[3 * right + i] + next[3 * x + i] + next[3 * right + i] + 2) >>
                2;
        u[x / 2] = chroma_byte(32768 * mean[0] - 21709 * mean[1] - 11059 * mean[2]);
        v[x / 2] = chroma_byte(32768 * mean[2] - 27439 * mean[1] - 5329 * mean[0]);
    }
}

struct fw_frame *fw_image_convert_i420(const struct fw_frame *bgr)
{
    struct fw_frame *yuv;

    if (bgr->format != FW_PIXEL_BGR24)
        return NULL;
    yuv = fw_frame_create(FW_PIXEL_I420, bgr->width, bgr->height);
    if (!yuv)
        return NULL;
    for (int y = 0; y < bgr->height; y++)
        convert_row(bgr, yuv, y);
    fw_frame_copy_description(yuv, bgr);
    yuv->matrix = FW_MATRIX_BT601;
    yuv->full_range = true;
    return yuv;
}

// A patch of luma on the full-range scale.
struct patch {
    float pixels[PATCH_PX][PATCH_PX];
    int width, height;
};

// Averages one component of AREA into PATCH, WEIGHT times on top of what is there.
static void add_component(struct patch *patch, const struct fw_frame *frame,
                          const struct area *area, int step, int offset, float weight)
{
    float row[2 * PATCH_PX];
    struct samples samples = {
        .data = frame->planes[0] + (ptrdiff_t)area->top * frame->strides[0] +
                (ptrdiff_t)area->left * step + offset,
        .stride = frame->strides[0],
        .step = step,
        .width = area->right - area->left,
        .height = area->bottom - area->top,
    };

    for (int y = 0; y < patch->height; y++) {
        average_rows(&samples, y, patch->height, row, row + PATCH_PX, patch->width);
        for (int x = 0; x < patch->width; x++)
            patch->pixels[y][x] += weight * row[x];
    }
}

static bool take_patch(const struct fw_frame *frame, struct fw_box box, struct patch *patch)
{
    struct area area;
    int width, height, longer;

    if (!find_area(frame, box, &area))
        return false;
    width = area.right - area.left;
    height = area.bottom - area.top;
    longer = width > height ? width : height;
    memset(patch, 0, sizeof(*patch));
    patch->width = longer <= PATCH_PX ? width : (int)fmax(1.0, width * (double)PATCH_PX / longer);
    patch->height =
        longer <= PATCH_PX ? height : (int)fmax(1.0, height * (double)PATCH_PX / longer);
    if (frame->format == FW_PIXEL_BGR24) {
        add_component(patch, frame, &area, 3, 0, 0.114F);
        add_component(patch, frame, &area, 3, 1, 0.587F);
        add_component(patch, frame, &area, 3, 2, 0.299F);
        return true;
    }
    add_component(patch, frame, &area, 1, 0, frame->full_range ? 1.0F : 255.0F / 219.0F);
    return true;
}

float fw_image_sharpness(const struct fw_frame *frame, struct fw_box box)
{
    struct patch patch;
    double sum = 0.0;
    double squares = 0.0;
    int count;

    if (!take_patch(frame, box, &patch) || patch.width < 3 || patch.height < 3)
        return 0.0F;
    for (int y = 1; y + 1 < patch.height; y++) {
        for (int x = 1; x + 1 < patch.width; x++) {
            double laplacian = (double)patch.pixels[y - 1][x] + (double)patch.pixels[y + 1][x] +
                               (double)patch.pixels[y][x - 1] + (double)patch.pixels[y][x + 1] -
                               4.0 * (double)patch.pixels[y][x];
            sum += laplacian;
            squares += laplacian * laplacian;
        }
    }
    count = (patch.width - 2) * (patch.height - 2);
    sum /= count;
    return (float)fmax(0.0, squares / count - sum * sum);
}

float fw_image_brightness(const struct fw_frame *frame, struct fw_box box)
{
    struct patch patch;
    float sum = 0.0F;
    float mean;

    if (!take_patch(frame, box, &patch))
        return 0.0F;
    for (int y = 0; y < patch.height; y++) {
        for (int x = 0; x < patch.width; x++)
            sum += patch.pixels[y][x];
    }
    mean = sum / (float)(patch.width * patch.height);
    if (frame->format != FW_PIXEL_BGR24 && !frame->full_range)
        mean -= 16.0F * 255.0F / 219.0F;
    return fmaxf(0.0F, fminf(mean, 255.0F));
}
