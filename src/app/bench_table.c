#include "app/bench_table.h"
#include "util/text.h"
#include <stdio.h>
#include <stdlib.h>

// The middle of the rounds and their ends.
struct range {
    double median, minimum, maximum;
};

enum quantity { PICTURES_PER_S, MILLISECONDS, SPEED_UP };

static double value_of(const struct fw_bench_row *row, int round, enum quantity quantity)
{
    const struct fw_bench_sample *sample = &row->samples[round];
    switch (quantity) {
    case PICTURES_PER_S:
        return sample->pictures_per_s;
    case MILLISECONDS:
        return sample->ms;
    case SPEED_UP:
        break;
    }
    return sample->pictures_per_s / row->single->samples[round].pictures_per_s;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

// False when memory is out.
static bool find_range(const struct fw_bench_row *row, enum quantity quantity, struct range *range)
{
    double *values = calloc((size_t)row->count, sizeof(*values));
    if (values == NULL)
        return false;
    for (int i = 0; i < row->count; i++)
        values[i] = value_of(row, i, quantity);
    qsort(values, (size_t)row->count, sizeof(*values), compare);
    double low = values[(row->count - 1) / 2], high = values[row->count / 2];
    *range = (struct range){(low + high) / 2, values[0], values[row->count - 1]};
    free(values);
    return true;
}

static void append_row(struct fw_text *text, const struct fw_bench_row *row)
{
    struct range rate, time, speed_up = {0};
    bool has_single = row->threads > 1 && row->single != NULL;
    if (!find_range(row, PICTURES_PER_S, &rate) || !find_range(row, MILLISECONDS, &time) ||
        (has_single && !find_range(row, SPEED_UP, &speed_up))) {
        text->failed = true;
        return;
    }
    char rates[40], times[40];
    snprintf(rates, sizeof(rates), "(%.1f to %.1f)", rate.minimum, rate.maximum);
    snprintf(times, sizeof(times), "(%.2f to %.2f)", time.minimum, time.maximum);
    fw_text_appendf(text, "%5d  %-9s  %-8s  %7d  %8.1f %-21s  %8.2f ", row->input_size,
                    row->precision, row->isa, row->threads, rate.median, rates, time.median);
    if (has_single)
        fw_text_appendf(text, "%-21s  %8.2f\n", times, speed_up.median);
    else
        fw_text_appendf(text, "%s\n", times);
}

static int64_t total_ns(const struct fw_bench_layers *layers)
{
    int64_t total = 0;
    for (int i = 0; i < layers->count; i++)
        total += layers->parts[i].ns;
    return total > 0 ? total : 1;
}

static double us_a_call(const struct fw_bench_layers *layers, const struct fw_detector_part *part)
{
    return (double)part->ns / 1000 / (double)layers->calls;
}

static void append_layers(struct fw_text *text, const struct fw_bench_layers *layers)
{
    double total = (double)total_ns(layers);
    fw_text_appendf(text, "\nInput %d, %s, %s: the parts of %lld pictures\n\n%9s  %6s  part\n",
                    layers->input_size, layers->precision, layers->isa, (long long)layers->calls,
                    "us", "share");
    for (int i = 0; i < layers->count; i++) {
        const struct fw_detector_part *part = &layers->parts[i];
        fw_text_appendf(text, "%9.1f  %4.1f %%  %s\n", us_a_call(layers, part),
                        100 * (double)part->ns / total, part->name);
    }
}

void fw_bench_append_table(struct fw_text *text, const struct fw_bench_setting *setting,
                           const struct fw_bench_results *results)
{
    fw_text_appendf(text,
                    "Model %s, picture of %s, %d processor cores; the median of %d rounds of %g s "
                    "and their range\n\n",
                    setting->model, setting->picture, setting->cores, setting->rounds,
                    setting->seconds);
    fw_text_appendf(text, "%5s  %-9s  %-8s  %7s  %-30s  %-30s  %s\n", "input", "precision", "isa",
                    "threads", "pictures a second", "ms a picture, each thread", "speed-up");
    for (int i = 0; i < results->row_count; i++)
        append_row(text, &results->rows[i]);
    for (int i = 0; i < results->layers_count; i++)
        append_layers(text, &results->layers[i]);
}

static void append_json_range(struct fw_text *text, const struct fw_bench_row *row,
                              const char *name, enum quantity quantity)
{
    struct range range = {0};
    text->failed = !find_range(row, quantity, &range) || text->failed;
    fw_text_appendf(text, ", \"%s\": {\"median\": %.6g, \"min\": %.6g, \"max\": %.6g", name,
                    range.median, range.minimum, range.maximum);
    fw_text_append(text, ", \"rounds\": [");
    for (int i = 0; i < row->count; i++)
        fw_text_appendf(text, "%s%.6g", i == 0 ? "" : ", ", value_of(row, i, quantity));
    fw_text_append(text, "]}");
}

static void append_json_row(struct fw_text *text, const struct fw_bench_row *row)
{
    fw_text_appendf(text,
                    "{\"input_size\": %d, \"precision\": \"%s\", \"isa\": \"%s\", \"threads\": %d",
                    row->input_size, row->precision, row->isa, row->threads);
    append_json_range(text, row, "pictures_per_s", PICTURES_PER_S);
    append_json_range(text, row, "ms", MILLISECONDS);
    if (row->single != NULL)
        append_json_range(text, row, "speed_up", SPEED_UP);
    fw_text_append(text, "}");
}

static void append_json_layers(struct fw_text *text, const struct fw_bench_layers *layers)
{
    double total = (double)total_ns(layers);
    fw_text_appendf(text,
                    "{\"input_size\": %d, \"precision\": \"%s\", \"isa\": \"%s\", \"pictures\": "
                    "%lld, \"parts\": [",
                    layers->input_size, layers->precision, layers->isa, (long long)layers->calls);
    for (int i = 0; i < layers->count; i++) {
        const struct fw_detector_part *part = &layers->parts[i];
        fw_text_appendf(text, "%s{\"name\": \"%s\", \"us\": %.6g, \"share\": %.6g}",
                        i == 0 ? "" : ", ", part->name, us_a_call(layers, part),
                        (double)part->ns / total);
    }
    fw_text_append(text, "]}");
}

void fw_bench_append_json(struct fw_text *text, const struct fw_bench_setting *setting,
                          const struct fw_bench_results *results)
{
    fw_text_append(text, "{\"model\": \"");
    fw_text_append_json(text, setting->model);
    fw_text_append(text, "\", \"picture\": \"");
    fw_text_append_json(text, setting->picture);
    fw_text_appendf(text, "\", \"cores\": %d, \"rounds\": %d, \"seconds\": %g, \"results\": [",
                    setting->cores, setting->rounds, setting->seconds);
    for (int i = 0; i < results->row_count; i++) {
        fw_text_append(text, i == 0 ? "" : ", ");
        append_json_row(text, &results->rows[i]);
    }
    fw_text_append(text, "]");
    for (int i = 0; i < results->layers_count; i++) {
        fw_text_append(text, i == 0 ? ", \"layers\": [" : ", ");
        append_json_layers(text, &results->layers[i]);
    }
    fw_text_append(text, results->layers_count > 0 ? "]}\n" : "}\n");
}
