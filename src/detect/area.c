#include "detect/area.h"

#include "util/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Slivers of a pixel below this are left out, as OpenCV's INTER_AREA does: with its weights the
// accuracy figures of the models hold.
#define SLIVER 1e-3

static struct fw_span make_span(double begin, double end, int source)
{
    double width = fmin(end - begin, source - begin);
    int first = (int)ceil(begin), last = (int)floor(end) - 1;
    if (first - begin > SLIVER) {
        first--;
    }
    if (end - (last + 1) > SLIVER) {
        last++;
    }
    last = last < source - 1 ? last : source - 1;
    first = first < last ? first : last;
    struct fw_span span = {first, last - first + 1, 1, (float)(1 / width), 0};
    if (span.count > 1) {
        span.first_weight = (float)(fmin(1, first + 1 - begin) / width);
        span.last_weight = (float)(fmin(1, end - last) / width);
    }
    return span;
}

static struct fw_span *make_spans(int source, double extent, int target)
{
    struct fw_span *spans = calloc((size_t)target, sizeof(*spans));
    double scale = extent / target;
    for (int i = 0; spans != NULL && i < target; i++) {
        spans[i] = make_span(i * scale, (i + 1) * scale, source);
    }
    return spans;
}

static int whole_factor(double extent, int target)
{
    int factor = (int)lround(extent / target);
    return (double)factor * target == extent ? factor : 0;
}

int fw_area_init(struct fw_area *area, const struct fw_kernels *kernels,
                 const struct fw_area_source *source, int width, int height)
{
    *area = (struct fw_area){
        .kernels = kernels,
        .source_width = source->width,
        .channels = source->channels,
        .width = width,
        .height = height,
        .factor = whole_factor(source->extent_x, width),
        .columns = make_spans(source->width, source->extent_x, width),
        .rows = make_spans(source->height, source->extent_y, height),
        .sums = calloc((size_t)source->width * (size_t)source->channels, sizeof(float)),
    };
    return area->columns != NULL && area->rows != NULL && area->sums != NULL ? FW_OK : FW_ENOMEM;
}

void fw_area_free(struct fw_area *area)
{
    free(area->columns);
    free(area->rows);
    free(area->sums);
    *area = (struct fw_area){0};
}

static void sum_rows(struct fw_area *area, const uint8_t *plane, int stride,
                     const struct fw_span *span)
{
    size_t count = (size_t)area->source_width * (size_t)area->channels;
    memset(area->sums, 0, count * sizeof(float));
    for (int i = 0; i < span->count; i++) {
        float weight = span->inner_weight;
        if (i == 0) {
            weight = span->first_weight;
        } else if (i == span->count - 1) {
            weight = span->last_weight;
        }
        area->kernels->accumulate(area->sums, plane + (ptrdiff_t)(span->first + i) * stride, weight,
                                  count);
    }
}

// FACTOR and CHANNELS are constants where this is called, so that the loops unroll.
static inline void average(const float *sums, int width, const int factor, const int channels,
                           float *row)
{
    float weight = 1.0f / (float)factor;
    for (int x = 0; x < width; x++) {
        for (int c = 0; c < channels; c++) {
            float sum = 0;
            for (int i = 0; i < factor; i++) {
                sum += sums[i * channels + c];
            }
            row[x * channels + c] = sum * weight;
        }
        sums += factor * channels;
    }
}

static inline void average_spans(const struct fw_area *area, const int channels, float *row)
{
    for (int x = 0; x < area->width; x++) {
        const struct fw_span *span = &area->columns[x];
        const float *sums = area->sums + (size_t)span->first * (size_t)channels;
        for (int c = 0; c < channels; c++) {
            float sum = 0;
            for (int i = 1; i < span->count - 1; i++) {
                sum += sums[i * channels + c];
            }
            row[x * channels + c] = sum * span->inner_weight + sums[c] * span->first_weight +
                                    sums[(span->count - 1) * channels + c] * span->last_weight;
        }
    }
}

static inline void average_row(const struct fw_area *area, const int channels, float *row)
{
    switch (area->factor) {
    case 1:
        memcpy(row, area->sums, (size_t)area->width * (size_t)channels * sizeof(float));
        break;
    case 2:
        average(area->sums, area->width, 2, channels, row);
        break;
    case 3:
        average(area->sums, area->width, 3, channels, row);
        break;
    case 4:
        average(area->sums, area->width, 4, channels, row);
        break;
    case 6:
        average(area->sums, area->width, 6, channels, row);
        break;
    default:
        average_spans(area, channels, row);
        break;
    }
}

void fw_area_row(struct fw_area *area, const uint8_t *plane, int stride, int y, float *row)
{
    // The vertical step first: it runs over long rows and is the one that vector registers speed
    // up, and it leaves little for the other.
    sum_rows(area, plane, stride, &area->rows[y]);
    switch (area->channels) {
    case 1:
        average_row(area, 1, row);
        break;
    case 2:
        average_row(area, 2, row);
        break;
    default:
        average_row(area, 3, row);
        break;
    }
}
