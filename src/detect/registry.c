// The table of detectors, and the calls that go through it. A new detector is a file with a
// `const struct fw_detector_backend`, its declaration in backends.h, and a line here.
#include "detect/backends.h"
#include "detect/tiles.h"

#include <stdlib.h>
#include <string.h>

static const struct fw_detector_backend *const backends[] = {
    &fw_yunet_backend,
#ifdef FW_HAVE_OPENCV
    &fw_centerface_backend, &fw_res10_backend,
    &fw_haar_backend,
#endif
    &fw_null_backend,       NULL,
};

// No detector takes pictures larger than this as they are.
#define LARGEST_INPUT_PX 8192

struct fw_detector {
    const struct fw_detector_backend *backend;
    void *state;
    int limit_px; // what pictures are scaled down to
    struct fw_tiler tiler;
};

const struct fw_detector_backend *const *fw_detector_backends(void)
{
    return backends;
}

const char *fw_detector_backend_name(const struct fw_detector *detector)
{
    return detector->backend->name;
}

static const struct fw_detector_backend *find_backend(const char *name)
{
    for (size_t i = 0; name != NULL && backends[i] != NULL; i++) {
        if (strcmp(backends[i]->name, name) == 0) {
            return backends[i];
        }
    }
    return NULL;
}

static int refuse_backend(const char *name, struct fw_error *error)
{
    char known[128] = "";
    for (size_t i = 0; backends[i] != NULL; i++) {
        size_t used = strlen(known), added = strlen(backends[i]->name);
        if (used + added + 3 > sizeof(known)) {
            break;
        }
        if (i > 0) {
            memcpy(known + used, ", ", 3);
            used += 2;
        }
        memcpy(known + used, backends[i]->name, added + 1);
    }
    return fw_fail(error, FW_ENOTSUP,
                   "no detector \"%s\" in this build; it has %s (OpenCV brings centerface, res10 "
                   "and haar)",
                   name == NULL ? "" : name, known);
}

static int check_precision(const struct fw_detector_backend *backend, const char *precision,
                           struct fw_error *error)
{
    if (precision == NULL || strcmp(precision, "auto") == 0 || strcmp(precision, "fp32") == 0) {
        return FW_OK;
    }
    if (strcmp(precision, "int8") != 0) {
        return fw_fail(error, FW_EINVAL,
                       "unknown precision \"%s\"; use \"auto\", \"fp32\" or \"int8\"", precision);
    }
    return backend->has_int8 ? FW_OK
                             : fw_fail(error, FW_ENOTSUP,
                                       "the %s detector has no precision \"int8\"; use \"auto\" "
                                       "or \"fp32\"",
                                       backend->name);
}

static int check_options(const struct fw_detector_backend *backend,
                         const struct fw_detector_options *options, struct fw_error *error)
{
    if (backend->needs_model && options->model_path == NULL) {
        return fw_fail(error, FW_EINVAL, "the %s detector needs %s; name a model file",
                       backend->name, backend->needs);
    }
    if (options->input_size < 0) {
        return fw_fail(error, FW_EINVAL,
                       "input_size %d makes no sense; use 0 (the picture's own) or more",
                       options->input_size);
    }
    return check_precision(backend, options->precision, error);
}

int fw_detector_open(struct fw_detector **detector, const struct fw_detector_options *options,
                     struct fw_error *error)
{
    *detector = NULL;
    const struct fw_detector_backend *backend = find_backend(options->backend);
    if (backend == NULL) {
        return refuse_backend(options->backend, error);
    }
    int status = check_options(backend, options, error);
    if (status != FW_OK) {
        return status;
    }
    struct fw_detector *opened = calloc(1, sizeof(*opened));
    if (opened == NULL) {
        return fw_fail(error, FW_ENOMEM, "out of memory while opening the detector");
    }
    opened->backend = backend;
    opened->limit_px = backend->fixed_input_px;
    if (opened->limit_px == 0) {
        opened->limit_px = options->input_size > 0 ? options->input_size : LARGEST_INPUT_PX;
    }
    status = backend->open(&opened->state, options, error);
    if (status != FW_OK) {
        free(opened);
        return status;
    }
    *detector = opened;
    return FW_OK;
}

void fw_detector_close(struct fw_detector *detector)
{
    if (detector == NULL) {
        return;
    }
    detector->backend->close(detector->state);
    fw_tiler_free(&detector->tiler);
    free(detector);
}

static bool is_whole(const struct fw_frame *frame)
{
    int planes = 1;
    if (frame->format == FW_PIXEL_I420) {
        planes = 3;
    } else if (frame->format == FW_PIXEL_NV12) {
        planes = 2;
    }
    for (int i = 0; i < planes; i++) {
        if (frame->planes[i] == NULL) {
            return false;
        }
    }
    return frame->width > 0 && frame->height > 0;
}

int fw_detector_detect(struct fw_detector *detector, const struct fw_frame *frame,
                       const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                       struct fw_error *error)
{
    fw_faces_clear(faces);
    if (!is_whole(frame)) {
        return fw_fail(error, FW_EINVAL, "a picture of %dx%d px without pixels", frame->width,
                       frame->height);
    }
    const struct fw_tile_grid grid =
        fw_tile_grid_for(frame->width, frame->height, detector->limit_px, parameters);
    const struct fw_tile_look look = {detector->backend->detect, detector->state};
    int status = fw_tiler_detect(&detector->tiler, &grid, &look, frame, parameters, faces, error);
    if (status != FW_OK) {
        fw_faces_clear(faces);
    }
    return status;
}

int fw_detector_profile(struct fw_detector *detector, const struct fw_frame *frame,
                        const struct fw_detect_parameters *parameters,
                        struct fw_detector_part parts[FW_DETECTOR_MAX_PARTS],
                        struct fw_error *error)
{
    if (detector->backend->profile == NULL) {
        return fw_fail(error, FW_ENOTSUP, "the %s detector can't tell how long its parts take",
                       detector->backend->name);
    }
    if (!is_whole(frame)) {
        return fw_fail(error, FW_EINVAL, "a picture of %dx%d px without pixels", frame->width,
                       frame->height);
    }
    return detector->backend->profile(detector->state, frame, parameters, parts, error);
}
