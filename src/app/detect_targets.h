// Where `faceworker detect` may write: never over one of its own inputs, and no name twice.
#ifndef FW_APP_DETECT_TARGETS_H
#define FW_APP_DETECT_TARGETS_H

#include "app/detect_inputs.h"
#include "util/error.h"

// Thread-safe.
struct fw_detect_targets;

// INPUTS are borrowed. NULL when memory is out.
struct fw_detect_targets *fw_detect_targets_create(const struct fw_detect_inputs *inputs);
void fw_detect_targets_destroy(struct fw_detect_targets *targets);

// Takes PATH for its caller, who is about to write it. FW_OK; FW_EINVAL when it is one of the
// inputs, by whatever name or link, or was taken before; FW_ENOMEM.
int fw_detect_targets_take(struct fw_detect_targets *targets, const char *path,
                           struct fw_error *error);

#endif
