#include "detect/area.h"

#include "nn/aligned.h"
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
    struct fw_span span = {first, last - first + 1, {1, 0, 0}};
    if (span.count > 1) {
        float last_weight = (float)(fmin(1, end - last) / width);
        span.weights[0] = (float)(fmin(1, first + 1 - begin) / width);
        span.weights[1] = span.count == 2 ? last_weight : (float)(1 / width);
        span.weights[2] = span.count == 2 ? 0 : last_weight;
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

static int longest_span(const struct fw_span *spans, int count)
{
    int longest = 0;
    for (int i = 0; i < count; i++) {
        longest = spans[i].count > longest ? spans[i].count : longest;
    }
    return longest;
}

// As in struct fw_columns.
static int factor_of(double extent, int target)
{
    int factor = (int)lround(extent / target);
    if (target % 2 == 0 && extent * 2 == target * 3.0) {
        return FW_THREE_HALVES;
    }
    return (double)factor * target == extent ? factor : 0;
}

int fw_area_init(struct fw_area *area, const struct fw_kernels *kernels,
                 const struct fw_area_source *source, int width, int height)
{
    // Two pixels more than the source has: fw_kernels.average reads them.
    size_t floats = (size_t)(source->width + 2) * (size_t)source->channels;
    *area = (struct fw_area){
        .kernels = kernels,
        .source_width = source->width,
        .height = height,
        .columns = {make_spans(source->width, source->extent_x, width), width, source->channels, 0,
                    factor_of(source->extent_x, width)},
        .rows = make_spans(source->height, source->extent_y, height),
        .sums = fw_floats_create(1, floats),
    };
    if (area->columns.spans == NULL || area->rows == NULL || area->sums == NULL) {
        return FW_ENOMEM;
    }
    area->columns.longest = longest_span(area->columns.spans, width);
    return FW_OK;
}

void fw_area_free(struct fw_area *area)
{
    free(area->columns.spans);
    free(area->rows);
    free(area->sums);
    *area = (struct fw_area){0};
}

void fw_area_row(struct fw_area *area, const uint8_t *plane, int stride, int y, float *row)
{
    // The vertical step first: it runs over long rows, where vector registers help most, and it
    // leaves little for the other.
    size_t count = (size_t)area->source_width * (size_t)area->columns.channels;
    const struct fw_span *span = &area->rows[y], *next = y + 1 < area->height ? span + 1 : span;
    area->kernels->accumulate(span, next, plane, stride, count, area->sums);
    area->kernels->average(&area->columns, area->sums, row);
}
