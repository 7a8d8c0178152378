// The work of `faceworker detect`: many pictures through some threads, answers in order.
#ifndef FW_APP_DETECT_RUN_H
#define FW_APP_DETECT_RUN_H

#include "app/detect_inputs.h"
#include "detect/detector.h"
#include <stdio.h>

struct fw_cancel;
struct fw_detect_targets;
struct fw_secrets;

// Borrowed for the call.
struct fw_detect_run_options {
    const struct fw_detect_inputs *inputs;
    struct fw_detector_options detector;
    struct fw_detect_parameters parameters;
    int jobs;             // threads, at least 1; those without an input help with videos
    const char *annotate; // folder for copies with the faces drawn; NULL: none
    const char *crop;     // folder for the faces cut out; NULL: none
    struct fw_detect_targets *targets;
    FILE *out;                // one JSON object a line, in the order of the inputs
    bool progress;            // on standard error
    struct fw_cancel *cancel; // stops it: pictures under way are finished and written
    struct fw_secrets *secrets;
};

// FW_OK when everything was read and written, else FW_EIO: each failure was told on standard error
// and the other inputs were done all the same (unless OUT takes no more: that ends it).
// FW_ECANCELED: stopped, ERROR says how far it came. Other codes: nothing could be done at all,
// ERROR says why.
int fw_detect_run(const struct fw_detect_run_options *options, struct fw_error *error);

#endif
