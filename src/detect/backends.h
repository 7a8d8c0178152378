// The backends of this build; the table that names them is in registry.c.
#ifndef FW_DETECT_BACKENDS_H
#define FW_DETECT_BACKENDS_H

#include "detect/detector.h"

extern const struct fw_detector_backend fw_yunet_backend;
extern const struct fw_detector_backend fw_null_backend;
// Only in builds with OpenCV.
extern const struct fw_detector_backend fw_centerface_backend;
extern const struct fw_detector_backend fw_res10_backend;
extern const struct fw_detector_backend fw_haar_backend;

#endif
