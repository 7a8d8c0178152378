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

// What all rows have in common. Strings are borrowed.
struct fw_bench_setting {
    const char *model, *picture; // "yunet"; "640x640 px, made for this"
    int cores, rounds;
    double seconds;
};

// Appends a table for people. ROWS have a sample each at least.
void fw_bench_append_table(struct fw_text *text, const struct fw_bench_setting *setting,
                           const struct fw_bench_row *rows, int count);
// Appends one JSON object and a newline, with every sample.
void fw_bench_append_json(struct fw_text *text, const struct fw_bench_setting *setting,
                          const struct fw_bench_row *rows, int count);

#endif
