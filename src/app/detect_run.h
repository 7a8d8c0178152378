// The work of `faceworker detect`: many pictures through some threads, answers in order.
#ifndef FW_APP_DETECT_RUN_H
#define FW_APP_DETECT_RUN_H

#include "app/detect_inputs.h"
#include "detect/detector.h"
#include <stdio.h>

struct fw_secrets;

// Borrowed for the call.
struct fw_detect_run_options {
    const struct fw_detect_inputs *inputs;
    struct fw_detector_options detector;
    struct fw_detect_parameters parameters;
    int jobs;             // threads, at least 1
    const char *annotate; // folder for copies with the faces drawn; NULL: none
    FILE *out;            // one JSON object a line, in the order of the inputs
    bool progress;        // on standard error
    struct fw_secrets *secrets;
};

// FW_OK when everything was read, else FW_EIO: each failure was told on standard error and the
// other inputs were done all the same. Other codes: nothing could be done at all, ERROR says why.
int fw_detect_run(const struct fw_detect_run_options *options, struct fw_error *error);

#endif
