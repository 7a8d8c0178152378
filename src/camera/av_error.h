// libav's failures in our codes and words; for this room alone.
#ifndef FW_CAMERA_AV_ERROR_H
#define FW_CAMERA_AV_ERROR_H

#include "util/error.h"

struct fw_deadline;

// Fills ERROR with what AVERROR means for DISPLAY (an address without credentials) and returns the
// code. DEADLINE (may be NULL) tells whether the call was interrupted, and by what.
int fw_av_fail(struct fw_error *error, int averror, const struct fw_deadline *deadline,
               const char *display);

#endif
