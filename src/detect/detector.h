// A face detector, whatever its network: pictures in, faces out.
#ifndef FW_DETECT_DETECTOR_H
#define FW_DETECT_DETECTOR_H

#include "util/error.h"
#include "util/face.h"
#include <stdbool.h>
#include <stdint.h>

struct fw_frame;
struct fw_log;

// What to open. Strings are borrowed for the call only.
struct fw_detector_options {
    const char *backend;     // "yunet", "centerface", "res10", "haar", "null"
    const char *model_path;  // the (already verified) file; NULL where the backend needs none
    const char *config_path; // res10's prototxt; else NULL
    const char *precision;   // "auto", "fp32", "int8"
    const char *isa;         // "auto" or a name of nn/; NULL means "auto"
    int input_size;          // longer side in px, 0: the picture's own
    const struct fw_log *log;
};

#define FW_TILES_MAX 8

// What a call asks for; may differ from call to call.
struct fw_detect_parameters {
    float min_score; // faces below are left out
    float nms_iou;   // boxes that overlap more are one face
    int min_face_px; // faces whose longer side is smaller are left out; 0: none
    // What is looked at, as fractions of the picture's sides; without width or height: all of it.
    struct fw_box roi;
    // It is looked at in so many overlapping tiles (1 to FW_TILES_MAX each way) besides as a whole,
    // each scaled down for itself, which finds smaller faces; 0 or 1: as a whole only.
    int tile_columns, tile_rows;
};

// Whether ROI lies within the picture and is not empty.
bool fw_detect_roi_is_valid(const struct fw_box *roi);
// Reads "COLUMNSxROWS", each 1 to FW_TILES_MAX. False, the numbers untouched, if TEXT is no such
// thing.
bool fw_tiles_parse(const char *text, int *columns, int *rows);

// One detector for one thread at a time; threads that detect in parallel open one each (weights are
// shared behind the scenes where the backend can).
struct fw_detector;

// A part of a detector's work, and how long it took in all.
struct fw_detector_part {
    char name[48];
    int64_t ns;
};

#define FW_DETECTOR_MAX_PARTS 80

// A backend, one row of the table in registry.c. DETECT appends to FACES, in pixels of FRAME, which
// is borrowed for the call (it may be a part of another picture); it knows nothing of ROI and
// tiles.
struct fw_detector_backend {
    const char *name;
    const char *needs; // what the build or the machine must have, for error messages
    bool needs_model;
    bool has_int8; // knows the precision "int8"
    int (*open)(void **state, const struct fw_detector_options *options, struct fw_error *error);
    int (*detect)(void *state, const struct fw_frame *frame,
                  const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                  struct fw_error *error);
    void (*close)(void *state); // NULL and half-built states allowed
    int fixed_input_px; // the side that it scales every picture to; 0: it heeds `input_size`
    // Detects once, names the parts of the work and adds to their times; their number, or a
    // failure. NULL: it can't tell.
    int (*profile)(void *state, const struct fw_frame *frame,
                   const struct fw_detect_parameters *parameters,
                   struct fw_detector_part parts[FW_DETECTOR_MAX_PARTS], struct fw_error *error);
};

// FW_OK with *DETECTOR set; FW_ENOTSUP (unknown backend, or one that was not built in: ERROR names
// those that were), FW_ENOENT, FW_EFORMAT, FW_ENOMEM with *DETECTOR NULL.
int fw_detector_open(struct fw_detector **detector, const struct fw_detector_options *options,
                     struct fw_error *error);
void fw_detector_close(struct fw_detector *detector);

// Replaces the contents of FACES by those found in FRAME (I420, NV12 or BGR24 of any size from
// 1x1), best score first, after non-maximum suppression, in pixels of FRAME whatever the ROI, boxes
// as the network gives them (they may reach beyond the picture). FW_OK, FW_ENOMEM, FW_EINVAL, or a
// failure of the backend's library with its message.
int fw_detector_detect(struct fw_detector *detector, const struct fw_frame *frame,
                       const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                       struct fw_error *error);

// Detects in the whole of FRAME once and adds the time of each part of the work to PARTS, which the
// first call gets zeroed. The number of parts, or FW_ENOTSUP (the backend can't tell), FW_ENOMEM,
// FW_EINVAL.
int fw_detector_profile(struct fw_detector *detector, const struct fw_frame *frame,
                        const struct fw_detect_parameters *parameters,
                        struct fw_detector_part parts[FW_DETECTOR_MAX_PARTS],
                        struct fw_error *error);

const char *fw_detector_backend_name(const struct fw_detector *detector);
// NULL-terminated array of the backends in this build.
const struct fw_detector_backend *const *fw_detector_backends(void);

#endif
