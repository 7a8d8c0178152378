// YuNet on the kernels of nn/.
//
// Each detector loads the file for itself: its weights are 300 KB, so that sharing them between
// the few detector threads would save less than it costs to explain.
#include "detect/backends.h"
#include "detect/input.h"
#include "detect/postprocess.h"
#include "nn/isa.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_MODEL_BYTES = 64 << 20,
    // Cameras of several sizes may share a detector, and tiles have sizes of their own; each keeps
    // its buffers.
    MAX_SESSIONS = 8,
    // A session for more pixels than this (still pictures at their own size) stands alone, as some
    // of them would take gigabytes.
    MAX_SHARED_PIXELS = 2 << 20,
};

// The network and the scaler for pictures of one format and size.
struct session {
    struct fw_input input;
    struct fw_yunet *net; // NULL: the slot is free
    uint64_t used;
};

struct yunet {
    struct fw_yunet_model *model;
    const struct fw_kernels *kernels;
    int input_size;
    uint64_t calls;
    struct session sessions[MAX_SESSIONS];
    struct fw_postprocess post;
};

static int read_stream(FILE *file, const char *path, uint8_t **data, size_t *length,
                       struct fw_error *error)
{
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (size < 0 || fseek(file, 0, SEEK_SET) != 0) {
        return fw_fail(error, FW_EIO, "cannot read %s: %s", path, strerror(errno));
    }
    if (size > MAX_MODEL_BYTES) {
        return fw_fail(error, FW_EFORMAT, "%s has %ld bytes, far more than a YuNet model", path,
                       size);
    }
    uint8_t *bytes = malloc((size_t)size + 1);
    if (bytes == NULL) {
        return fw_fail(error, FW_ENOMEM, "out of memory while reading %s", path);
    }
    if (fread(bytes, 1, (size_t)size, file) != (size_t)size) {
        free(bytes);
        return fw_fail(error, FW_EIO, "cannot read %s whole; check the disk", path);
    }
    *data = bytes;
    *length = (size_t)size;
    return FW_OK;
}

static int read_file(const char *path, uint8_t **data, size_t *length, struct fw_error *error)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return fw_fail(error, errno == ENOENT ? FW_ENOENT : FW_EIO,
                       "cannot open the model %s: %s; check the path", path, strerror(errno));
    }
    int status = read_stream(file, path, data, length, error);
    (void)fclose(file);
    return status;
}

static int load_model(struct yunet *yunet, const struct fw_detector_options *options,
                      struct fw_error *error)
{
    uint8_t *data = NULL;
    size_t length = 0;
    int isa = fw_isa_parse(options->isa == NULL ? "auto" : options->isa);
    if (isa < 0) {
        return fw_fail(error, FW_EINVAL,
                       "unknown instruction set \"%s\"; use auto, scalar, avx2, avx512 or neon",
                       options->isa);
    }
    int status = read_file(options->model_path, &data, &length, error);
    if (status == FW_OK) {
        status = fw_yunet_model_load(&yunet->model, data, length, (enum fw_isa)isa, error);
    }
    free(data);
    return status;
}

static void close_session(struct session *session)
{
    fw_input_free(&session->input);
    fw_yunet_destroy(session->net);
    *session = (struct session){0};
}

static void close_yunet(void *state)
{
    struct yunet *yunet = state;
    if (yunet == NULL) {
        return;
    }
    for (int i = 0; i < MAX_SESSIONS; i++) {
        close_session(&yunet->sessions[i]);
    }
    fw_postprocess_free(&yunet->post);
    fw_yunet_model_unref(yunet->model);
    free(yunet);
}

static int open_yunet(void **state, const struct fw_detector_options *options,
                      struct fw_error *error)
{
    struct yunet *yunet = calloc(1, sizeof(*yunet));
    if (yunet == NULL) {
        return fw_fail(error, FW_ENOMEM, "out of memory while opening the detector");
    }
    int status = load_model(yunet, options, error);
    if (status != FW_OK) {
        close_yunet(yunet);
        return status;
    }
    yunet->kernels = fw_kernels_for(fw_yunet_model_isa(yunet->model));
    yunet->input_size = options->input_size;
    *state = yunet;
    return FW_OK;
}

static bool is_large(const struct fw_input_size *size)
{
    return (int64_t)size->padded_width * size->padded_height > MAX_SHARED_PIXELS;
}

// A free slot; when there is none, or the pictures are large, older sessions make room.
static struct session *make_room(struct yunet *yunet, const struct fw_input_size *size)
{
    struct session *oldest = &yunet->sessions[0];
    for (int i = 0; i < MAX_SESSIONS; i++) {
        struct session *session = &yunet->sessions[i];
        if (session->net != NULL && (is_large(size) || is_large(&session->input.size))) {
            close_session(session);
        }
        if (session->used < oldest->used) {
            oldest = session;
        }
    }
    close_session(oldest);
    return oldest;
}

static int find_session(struct yunet *yunet, const struct fw_frame *frame, struct session **found,
                        struct fw_error *error)
{
    for (int i = 0; i < MAX_SESSIONS; i++) {
        if (yunet->sessions[i].net != NULL && fw_input_fits(&yunet->sessions[i].input, frame)) {
            *found = &yunet->sessions[i];
            return FW_OK;
        }
    }
    struct fw_input_size size = fw_input_size_for(frame->width, frame->height, yunet->input_size);
    struct session *session = make_room(yunet, &size);
    int status = fw_input_init(&session->input, yunet->kernels, frame, yunet->input_size);
    if (status != FW_OK) {
        (void)fw_fail(error, status, "out of memory for pictures of %dx%d px", frame->width,
                      frame->height);
    } else {
        status = fw_yunet_create(&session->net, yunet->model, size.padded_width, size.padded_height,
                                 error);
    }
    if (status != FW_OK) {
        close_session(session);
        return status;
    }
    *found = session;
    return FW_OK;
}

static int detect_yunet(void *state, const struct fw_frame *frame,
                        const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                        struct fw_error *error)
{
    struct yunet *yunet = state;
    struct session *session;
    struct fw_yunet_level levels[3];
    size_t stride;
    int status = find_session(yunet, frame, &session, error);
    if (status != FW_OK) {
        return status;
    }
    session->used = ++yunet->calls;
    float *pixels = fw_yunet_input(session->net, &stride);
    fw_input_fill(&session->input, frame, pixels, stride);
    fw_yunet_run(session->net, levels);
    status = fw_postprocess_run(
        &yunet->post, levels, (float)frame->width / (float)session->input.size.width,
        (float)frame->height / (float)session->input.size.height, parameters, faces);
    return status == FW_OK ? FW_OK
                           : fw_fail(error, status, "out of memory while collecting the faces");
}

const struct fw_detector_backend fw_yunet_backend = {
    .name = "yunet",
    .needs = "a YuNet model in ONNX form",
    .needs_model = true,
    .open = open_yunet,
    .detect = detect_yunet,
    .close = close_yunet,
};
