#include "media/draw.h"

#include "media/font.h"
#include <math.h>

#define BLOCK_PX      16
#define OPAQUE_WEIGHT 256
#define DISC_BLOCK_PX 256

// One colour component of a picture: samples STEP bytes apart, each standing for a square of
// 1 << SHIFT pixels a side. All formats are such components, so that there is one way to draw.
struct channel {
    uint8_t *data;
    int stride, step, shift;
    int width, height; // pixels of the picture
    uint8_t value;     // what is drawn
};

struct canvas {
    struct channel channels[3];
    int width, height;
    int weight; // of the colour, 0 to OPAQUE_WEIGHT
};

// A rectangle inside the picture, right and bottom edges exclusive.
struct area {
    int left, top, right, bottom;
};

// A bitmap of coverage 0..255 at a place of the picture.
struct stamp {
    const uint8_t *coverage;
    int left, top, width, height;
};

static uint8_t to_byte(float value)
{
    if (value <= 0.0F)
        return 0;
    return value >= 255.0F ? 255 : (uint8_t)lroundf(value);
}

// ITU-R BT.601-7 §2.5 and BT.709-6 §3: luma, and the differences scaled to ±0.5.
static void convert_color(const struct fw_frame *frame, struct fw_color color, uint8_t yuv[3])
{
    bool is_hd = frame->matrix == FW_MATRIX_BT709;
    float kr = is_hd ? 0.2126F : 0.299F;
    float kb = is_hd ? 0.0722F : 0.114F;
    float luma = kr * (float)color.r + (1.0F - kr - kb) * (float)color.g + kb * (float)color.b;
    float cb = ((float)color.b - luma) / (2.0F * (1.0F - kb));
    float cr = ((float)color.r - luma) / (2.0F * (1.0F - kr));
    float luma_gain = frame->full_range ? 1.0F : 219.0F / 255.0F;
    float chroma_gain = frame->full_range ? 1.0F : 224.0F / 255.0F;

    yuv[0] = to_byte(luma * luma_gain + (frame->full_range ? 0.0F : 16.0F));
    yuv[1] = to_byte(cb * chroma_gain + 128.0F);
    yuv[2] = to_byte(cr * chroma_gain + 128.0F);
}

static struct canvas open_canvas(struct fw_frame *frame, struct fw_color color)
{
    struct canvas canvas = {.width = frame->width, .height = frame->height};
    uint8_t values[3] = {color.b, color.g, color.r};

    canvas.weight = color.a + (color.a >> 7);
    if (frame->format != FW_PIXEL_BGR24)
        convert_color(frame, color, values);
    for (int i = 0; i < 3; i++) {
        struct channel *channel = &canvas.channels[i];
        bool is_chroma = i > 0 && frame->format != FW_PIXEL_BGR24;
        int plane = i;
        int offset = 0;

        channel->step = 1;
        if (frame->format == FW_PIXEL_BGR24) {
            plane = 0;
            offset = i;
            channel->step = 3;
        } else if (frame->format == FW_PIXEL_NV12 && is_chroma) {
            plane = 1;
            offset = i - 1;
            channel->step = 2;
        }
        channel->data = frame->planes[plane] + offset;
        channel->stride = frame->strides[plane];
        channel->shift = is_chroma ? 1 : 0;
        channel->width = frame->width;
        channel->height = frame->height;
        channel->value = values[i];
    }
    return canvas;
}

static int clamp_to(int64_t value, int limit)
{
    if (value < 0)
        return 0;
    return value > limit ? limit : (int)value;
}

// The part inside the picture; false when there is none.
static bool clip(const struct canvas *canvas, int x, int y, int w, int h, struct area *area)
{
    if (w <= 0 || h <= 0)
        return false;
    area->left = clamp_to(x, canvas->width);
    area->top = clamp_to(y, canvas->height);
    area->right = clamp_to((int64_t)x + w, canvas->width);
    area->bottom = clamp_to((int64_t)y + h, canvas->height);
    return area->left < area->right && area->top < area->bottom;
}

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

// Far outside any picture, and far enough from the ends of int to be added up.
static int limit_coordinate(int value)
{
    const int limit = 1 << 24;

    return max_int(-limit, min_int(value, limit));
}

static uint8_t mix(unsigned int old, unsigned int value, unsigned int weight)
{
    return (uint8_t)((old * (OPAQUE_WEIGHT - weight) + value * weight + 128) >> 8);
}

// Blocks of a fixed length: what compilers turn into vector code at any level of optimisation.
static void mix_run(uint8_t *samples, int count, int step, uint8_t value, int weight)
{
    uint16_t keep = (uint16_t)(OPAQUE_WEIGHT - weight);
    uint16_t add = (uint16_t)(value * weight + 128);
    int i = 0;

    if (step == 1) {
        for (; i + BLOCK_PX <= count; i += BLOCK_PX) {
            for (int j = 0; j < BLOCK_PX; j++)
                samples[i + j] = (uint8_t)((uint16_t)(samples[i + j] * keep + add) >> 8);
        }
    }
    for (; i < count; i++)
        samples[i * step] = (uint8_t)((samples[i * step] * keep + add) >> 8);
}

// How much of sample INDEX lies between LOW and HIGH: 0 to 256. LIMIT is the picture's end, which
// cuts the last sample of odd sizes.
static int covered(const struct channel *channel, int index, int low, int high, int limit)
{
    int first = index << channel->shift;
    int end = min_int(first + (1 << channel->shift), limit);

    int size = end - first;

    if (size <= 0)
        return 0;
    return 256 * (min_int(end, high) - max_int(first, low)) / size;
}

static void fill_channel(const struct channel *channel, const struct area *area, int weight)
{
    int first = area->left >> channel->shift;
    int last = (area->right - 1) >> channel->shift;
    int first_share = covered(channel, first, area->left, area->right, channel->width);
    int last_share = covered(channel, last, area->left, area->right, channel->width);

    for (int row = area->top >> channel->shift; row <= (area->bottom - 1) >> channel->shift;
         row++) {
        uint8_t *samples = channel->data + (ptrdiff_t)row * channel->stride;
        int share = covered(channel, row, area->top, area->bottom, channel->height);
        int row_weight = weight * share >> 8;
        int run = first;
        int run_end = last + 1;

        if (first_share < 256) {
            mix_run(samples + (ptrdiff_t)first * channel->step, 1, 1, channel->value,
                    row_weight * first_share >> 8);
            run++;
        }
        if (last_share < 256 && last > first) {
            mix_run(samples + (ptrdiff_t)last * channel->step, 1, 1, channel->value,
                    row_weight * last_share >> 8);
            run_end--;
        }
        if (run < run_end)
            mix_run(samples + (ptrdiff_t)run * channel->step, run_end - run, channel->step,
                    channel->value, row_weight);
    }
}

static void fill(const struct canvas *canvas, int x, int y, int w, int h)
{
    struct area area;

    if (!clip(canvas, x, y, w, h, &area))
        return;
    for (int i = 0; i < 3; i++)
        fill_channel(&canvas->channels[i], &area, canvas->weight);
}

void fw_draw_fill(struct fw_frame *frame, int x, int y, int w, int h, struct fw_color color)
{
    struct canvas canvas = open_canvas(frame, color);

    fill(&canvas, x, y, w, h);
}

void fw_draw_clear(struct fw_frame *frame, struct fw_color color)
{
    fw_draw_fill(frame, 0, 0, frame->width, frame->height, color);
}

void fw_draw_box(struct fw_frame *frame, int x, int y, int w, int h, int thickness,
                 struct fw_color color)
{
    struct canvas canvas = open_canvas(frame, color);
    int inner_height;

    if (w <= 0 || h <= 0 || thickness <= 0)
        return;
    x = limit_coordinate(x);
    y = limit_coordinate(y);
    w = limit_coordinate(w);
    h = limit_coordinate(h);
    if (thickness >= min_int(w, h) - min_int(w, h) / 2) {
        fill(&canvas, x, y, w, h);
        return;
    }
    inner_height = h - 2 * thickness;
    fill(&canvas, x, y, w, thickness);
    fill(&canvas, x, y + h - thickness, w, thickness);
    fill(&canvas, x, y + thickness, thickness, inner_height);
    fill(&canvas, x + w - thickness, y + thickness, thickness, inner_height);
}

// Full resolution: a pixel is a sample.
static void stamp_fine(const struct channel *channel, const struct stamp *stamp,
                       const struct area *area, int weight)
{
    for (int y = area->top; y < area->bottom; y++) {
        uint8_t *samples = channel->data + (ptrdiff_t)y * channel->stride;
        const uint8_t *coverage = stamp->coverage + (ptrdiff_t)(y - stamp->top) * stamp->width;

        for (int x = area->left; x < area->right; x++) {
            unsigned int share = coverage[x - stamp->left];
            uint8_t *sample = samples + (ptrdiff_t)x * channel->step;

            if (share)
                *sample = mix(*sample, channel->value,
                              (share + (share >> 7)) * (unsigned int)weight >> 8);
        }
    }
}

// Mean coverage, 0..256, of the pixels under sample COLUMN, ROW.
static unsigned int mean_coverage(const struct channel *channel, const struct stamp *stamp,
                                  const struct area *area, int column, int row)
{
    int right = min_int(2 * column + 2, channel->width);
    int bottom = min_int(2 * row + 2, channel->height);
    int pixels = (right - 2 * column) * (bottom - 2 * row);
    int sum = 0;

    for (int y = max_int(2 * row, area->top); y < min_int(bottom, area->bottom); y++) {
        for (int x = max_int(2 * column, area->left); x < min_int(right, area->right); x++)
            sum += stamp->coverage[(ptrdiff_t)(y - stamp->top) * stamp->width + x - stamp->left];
    }
    return (unsigned int)(pixels == 4 ? (sum + (sum >> 7)) >> 2 : (sum + (sum >> 7)) / pixels);
}

static void stamp_coarse(const struct channel channels[2], const struct stamp *stamp,
                         const struct area *area, int weight)
{
    for (int row = area->top >> 1; row <= (area->bottom - 1) >> 1; row++) {
        for (int column = area->left >> 1; column <= (area->right - 1) >> 1; column++) {
            unsigned int share = mean_coverage(&channels[0], stamp, area, column, row);

            for (int i = 0; share && i < 2; i++) {
                uint8_t *sample = channels[i].data + (ptrdiff_t)row * channels[i].stride +
                                  (ptrdiff_t)column * channels[i].step;
                *sample = mix(*sample, channels[i].value, share * (unsigned int)weight >> 8);
            }
        }
    }
}

static void draw_stamp(const struct canvas *canvas, const struct stamp *stamp)
{
    struct area area;

    if (!clip(canvas, stamp->left, stamp->top, stamp->width, stamp->height, &area))
        return;
    stamp_fine(&canvas->channels[0], stamp, &area, canvas->weight);
    if (canvas->channels[1].shift) {
        stamp_coarse(&canvas->channels[1], stamp, &area, canvas->weight);
    } else {
        stamp_fine(&canvas->channels[1], stamp, &area, canvas->weight);
        stamp_fine(&canvas->channels[2], stamp, &area, canvas->weight);
    }
}

// Coverage of the pixel whose middle is DX, DY away from the disc's, softened over one pixel.
static uint8_t disc_coverage(float dx, float dy, float radius)
{
    float inner = radius - 0.5F;
    float outer = radius + 0.5F;
    float square = dx * dx + dy * dy;

    if (inner > 0.0F && square <= inner * inner)
        return 255;
    if (square >= outer * outer)
        return 0;
    // (outer² - d²) / (outer² - inner²) is within a few levels of outer - d and needs no root.
    return to_byte(255.0F * (outer * outer - square) / (outer * outer - inner * inner));
}

// Two rows of the disc, from an even one on so that chroma is drawn once.
static void draw_disc_rows(const struct canvas *canvas, const struct area *area, int top,
                           int center_x, int center_y, int radius)
{
    uint8_t coverage[2 * DISC_BLOCK_PX];

    for (int left = area->left & ~1; left < area->right; left += DISC_BLOCK_PX) {
        struct stamp stamp = {coverage, left, top, min_int(DISC_BLOCK_PX, area->right - left), 2};

        for (int i = 0; i < 2 * stamp.width; i++) {
            int x = left + i % stamp.width;
            int y = top + i / stamp.width;
            coverage[i] =
                disc_coverage((float)(x - center_x), (float)(y - center_y), (float)radius);
        }
        draw_stamp(canvas, &stamp);
    }
}

void fw_draw_disc(struct fw_frame *frame, int center_x, int center_y, int radius,
                  struct fw_color color)
{
    struct canvas canvas = open_canvas(frame, color);
    int64_t reach = (int64_t)radius + 1;
    struct area area = {
        .left = clamp_to(center_x - reach, canvas.width),
        .top = clamp_to(center_y - reach, canvas.height),
        .right = clamp_to(center_x + reach + 1, canvas.width),
        .bottom = clamp_to(center_y + reach + 1, canvas.height),
    };

    if (radius < 1)
        return;
    for (int top = area.top & ~1; top < area.bottom; top += 2)
        draw_disc_rows(&canvas, &area, top, center_x, center_y, radius);
}

int fw_draw_text(struct fw_frame *frame, struct fw_font *font, int x, int baseline_y,
                 const char *text, struct fw_color color)
{
    struct canvas canvas = open_canvas(frame, color);
    uint32_t code_point;
    int advance = 0;

    x = limit_coordinate(x);
    baseline_y = limit_coordinate(baseline_y);
    while ((code_point = fw_utf8_next(&text))) {
        const struct fw_glyph *glyph = fw_font_glyph(font, code_point);
        struct stamp stamp;

        if (!glyph)
            continue;
        stamp = (struct stamp){glyph->coverage, x + advance + glyph->left, baseline_y - glyph->top,
                               glyph->width, glyph->height};
        draw_stamp(&canvas, &stamp);
        advance += glyph->advance;
    }
    return advance;
}
