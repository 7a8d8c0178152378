// What `faceworker bench detect` measured, for people and for programs.
#ifndef FW_APP_BENCH_TABLE_H
#define FW_APP_BENCH_TABLE_H

#include "app/bench_run.h"

struct fw_text;

// One row: what was measured, a sample a round.
struct fw_bench_row {
    int input_size, threads;
    const char *precision, *isa; // borrowed
    struct fw_bench_sample *samples;
    int count;
    const struct fw_bench_row *single; // the same with one thread, if that was measured; or itself
};

// Where the time of a row goes, on one thread.
struct fw_bench_layers {
    int input_size;
    const char *precision, *isa; // borrowed
    struct fw_detector_part parts[FW_DETECTOR_MAX_PARTS];
    int count;
    int64_t calls;
};

// What all rows have in common. Strings are borrowed.
struct fw_bench_setting {
    const char *model, *picture; // "yunet"; "640x640 px, made for this"
    int cores, rounds;
    double seconds;
};

// Both may be empty, with a count of 0. ROWS have a sample each at least.
struct fw_bench_results {
    const struct fw_bench_row *rows;
    int row_count;
    const struct fw_bench_layers *layers;
    int layers_count;
};

// Appends tables for people.
void fw_bench_append_table(struct fw_text *text, const struct fw_bench_setting *setting,
                           const struct fw_bench_results *results);
// Appends one JSON object and a newline, with every sample.
void fw_bench_append_json(struct fw_text *text, const struct fw_bench_setting *setting,
                          const struct fw_bench_results *results);

#endif
