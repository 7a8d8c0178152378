// A detector that finds nothing: for cameras that are only republished, and for tests.
#include "detect/backends.h"

static int open_null(void **state, const struct fw_detector_options *options,
                     struct fw_error *error)
{
    (void)options;
    (void)error;
    *state = NULL;
    return FW_OK;
}

static int detect_null(void *state, const struct fw_frame *frame,
                       const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                       struct fw_error *error)
{
    (void)state;
    (void)frame;
    (void)parameters;
    (void)faces;
    (void)error;
    return FW_OK;
}

static void close_null(void *state)
{
    (void)state;
}

const struct fw_detector_backend fw_null_backend = {
    .name = "null",
    .needs = "nothing",
    .needs_model = false,
    .open = open_null,
    .detect = detect_null,
    .close = close_null,
};
