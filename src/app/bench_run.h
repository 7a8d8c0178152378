// How fast detectors are here: the measuring behind `faceworker bench detect`.
#ifndef FW_APP_BENCH_RUN_H
#define FW_APP_BENCH_RUN_H

#include "detect/detector.h"
#include <stdint.h>

struct fw_cancel;
struct fw_frame;

// One measurement. Borrowed for the call.
struct fw_bench_options {
    struct fw_detector_options detector;
    const struct fw_frame *frame; // what is detected in; each thread has a copy of its own
    int threads;                  // each with a detector of its own
    double seconds;
    struct fw_cancel *cancel;
    const struct fw_log *log;
};

struct fw_bench_sample {
    double pictures_per_s; // of all threads together
    double ms;             // one picture on one thread, on average
};

// Opens the detectors, lets each detect some times to warm up, and then all of them together for
// the time given. FW_OK, FW_ECANCELED, or what opening or detecting fails with.
int fw_bench_measure(const struct fw_bench_options *options, struct fw_bench_sample *sample,
                     struct fw_error *error);

// How long each part of the work takes on one thread, over the time given: fills PARTS. Their
// number, or what fw_detector_profile() and opening fail with, or FW_ECANCELED.
int fw_bench_profile(const struct fw_bench_options *options,
                     struct fw_detector_part parts[FW_DETECTOR_MAX_PARTS], int64_t *calls,
                     struct fw_error *error);

// A picture of WIDTH x HEIGHT px without faces, the same one each time: slopes, edges and noise.
// NULL when memory is out or the size is not possible.
struct fw_frame *fw_bench_picture(int width, int height);

#endif
