// YuNet on the kernels of nn/.
//
// Each detector loads the file for itself: its weights are 300 KB, so that sharing them between
// the few detector threads would save less than it costs to explain.
#include "detect/backends.h"
#include "detect/byte_input.h"
#include "detect/postprocess.h"
#include "nn/isa.h"
#include "nn/profile.h"
#include "nn/quant_net.h"
#include "util/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_MODEL_BYTES = 64 << 20,
    // Cameras of several sizes may share a detector, and tiles have sizes of their own; each keeps
    // its buffers.
    MAX_SESSIONS = 8,
    // What the networks' inputs may have together, unless there is one alone: still pictures at
    // their own size would take gigabytes.
    MAX_PIXELS = 16 << 20,
};

// The network and the scaler for pictures of one format and size. One of the two networks is
// there; neither: the slot is free.
struct session {
    struct fw_byte_input input; // for fp32 its base alone
    struct fw_yunet *net;
    struct fw_quant *quant;
    uint64_t used;
};

struct yunet {
    // One of the two.
    struct fw_yunet_model *model;
    struct fw_quant_model *quant_model;
    const struct fw_kernels *kernels;
    const struct fw_int8_kernels *int8_kernels;
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

static const char *precision_of(const struct fw_detector_options *options)
{
    return options->precision == NULL ? "auto" : options->precision;
}

// Loads the model in 8 bits, when that is asked for or left to us and advised. FW_OK without a
// model means fp32.
static int load_quantised(struct yunet *yunet, const struct fw_detector_options *options,
                          enum fw_isa isa, const uint8_t *data, size_t length,
                          struct fw_error *error)
{
    const char *precision = precision_of(options);
    bool is_wanted = strcmp(precision, "int8") == 0;
    if (!is_wanted && strcmp(precision, "auto") != 0) {
        return FW_OK;
    }
    int status = fw_quant_model_load(&yunet->quant_model, data, length, isa, error);
    if (is_wanted || status == FW_ENOMEM) {
        return status;
    }
    if (status == FW_OK && !fw_quant_model_is_advised(yunet->quant_model)) {
        fw_quant_model_unref(yunet->quant_model);
        yunet->quant_model = NULL;
    }
    return FW_OK;
}

static int load_network(struct yunet *yunet, const struct fw_detector_options *options,
                        enum fw_isa isa, const uint8_t *data, size_t length, struct fw_error *error)
{
    int status = load_quantised(yunet, options, isa, data, length, error);
    if (status == FW_OK && yunet->quant_model == NULL) {
        status = fw_yunet_model_load(&yunet->model, data, length, isa, error);
    }
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
                       "unknown instruction set \"%s\"; use auto, scalar, avx2, avxvnni, avx512, "
                       "neon or neondot",
                       options->isa);
    }
    int status = read_file(options->model_path, &data, &length, error);
    if (status == FW_OK) {
        status = load_network(yunet, options, (enum fw_isa)isa, data, length, error);
    }
    free(data);
    if (status == FW_OK) {
        yunet->kernels = fw_kernels_for((enum fw_isa)isa);
        yunet->int8_kernels = fw_int8_kernels_for((enum fw_isa)isa);
    }
    return status;
}

static void close_session(struct session *session)
{
    fw_byte_input_free(&session->input);
    fw_yunet_destroy(session->net);
    fw_quant_destroy(session->quant);
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
    fw_quant_model_unref(yunet->quant_model);
    free(yunet);
}

static void log_choice(const struct yunet *yunet, const struct fw_log *log)
{
    if (yunet->quant_model != NULL) {
        fw_log_info(log, "detecting in int8 with the %s kernels",
                    fw_quant_model_kernels(yunet->quant_model));
    } else {
        fw_log_info(log, "detecting in fp32 with the %s kernels",
                    fw_isa_name(fw_yunet_model_isa(yunet->model)));
    }
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
    log_choice(yunet, options->log);
    yunet->input_size = options->input_size;
    *state = yunet;
    return FW_OK;
}

static bool is_free(const struct session *session)
{
    return session->net == NULL && session->quant == NULL;
}

static int64_t pixels_of(const struct fw_input_size *size)
{
    return (int64_t)size->padded_width * size->padded_height;
}

// A free slot; when there is none, or too many pixels, the sessions unused for longest make room.
static struct session *make_room(struct yunet *yunet, const struct fw_input_size *size)
{
    for (;;) {
        struct session *unused = NULL, *oldest = NULL;
        int64_t pixels = pixels_of(size);
        for (int i = 0; i < MAX_SESSIONS; i++) {
            struct session *session = &yunet->sessions[i];
            if (is_free(session)) {
                unused = session;
                continue;
            }
            pixels += pixels_of(&session->input.base.size);
            if (oldest == NULL || session->used < oldest->used) {
                oldest = session;
            }
        }
        if (oldest == NULL || (unused != NULL && pixels <= MAX_PIXELS)) {
            return unused;
        }
        close_session(oldest);
    }
}

static int open_session(const struct yunet *yunet, struct session *session,
                        const struct fw_frame *frame, const struct fw_input_size *size,
                        struct fw_error *error)
{
    struct fw_byte_input *input = &session->input;
    bool is_int8 = yunet->quant_model != NULL;
    int status = is_int8 ? fw_byte_input_init(input, yunet->int8_kernels, yunet->kernels, frame,
                                              yunet->input_size)
                         : fw_input_init(&input->base, yunet->kernels, frame, yunet->input_size);
    if (status != FW_OK) {
        return fw_fail(error, status, "out of memory for pictures of %dx%d px", frame->width,
                       frame->height);
    }
    return is_int8 ? fw_quant_create(&session->quant, yunet->quant_model, size->padded_width,
                                     size->padded_height, error)
                   : fw_yunet_create(&session->net, yunet->model, size->padded_width,
                                     size->padded_height, error);
}

static int find_session(struct yunet *yunet, const struct fw_frame *frame, struct session **found,
                        struct fw_error *error)
{
    for (int i = 0; i < MAX_SESSIONS; i++) {
        struct session *session = &yunet->sessions[i];
        if (!is_free(session) && fw_input_fits(&session->input.base, frame)) {
            *found = session;
            return FW_OK;
        }
    }
    struct fw_input_size size = fw_input_size_for(frame->width, frame->height, yunet->input_size);
    struct session *session = make_room(yunet, &size);
    int status = open_session(yunet, session, frame, &size, error);
    if (status != FW_OK) {
        close_session(session);
        return status;
    }
    *found = session;
    return FW_OK;
}

static void run_network(struct session *session, const struct fw_frame *frame,
                        struct fw_yunet_level levels[3])
{
    size_t stride;
    if (session->quant != NULL) {
        uint8_t *bytes = fw_quant_input(session->quant, &stride);
        fw_byte_input_fill(&session->input, frame, bytes, stride);
        fw_quant_run(session->quant, levels);
    } else {
        float *pixels = fw_yunet_input(session->net, &stride);
        fw_input_fill(&session->input.base, frame, pixels, stride);
        fw_yunet_run(session->net, levels);
    }
}

static int choose_faces(struct yunet *yunet, const struct session *session,
                        const struct fw_frame *frame, const struct fw_yunet_level levels[3],
                        const struct fw_detect_parameters *parameters, struct fw_faces *faces)
{
    const struct fw_input_size *size = &session->input.base.size;
    return fw_postprocess_run(&yunet->post, levels, (float)frame->width / (float)size->width,
                              (float)frame->height / (float)size->height, parameters, faces);
}

static int detect_yunet(void *state, const struct fw_frame *frame,
                        const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                        struct fw_error *error)
{
    struct yunet *yunet = state;
    struct session *session;
    struct fw_yunet_level levels[3];
    int status = find_session(yunet, frame, &session, error);
    if (status != FW_OK) {
        return status;
    }
    session->used = ++yunet->calls;
    run_network(session, frame, levels);
    status = choose_faces(yunet, session, frame, levels, parameters, faces);
    return status == FW_OK ? FW_OK
                           : fw_fail(error, status, "out of memory while collecting the faces");
}

// What the network is given and what it gives take time too.
enum { SCALING_PART, FIRST_NETWORK_PART };

static int name_parts(const struct session *session,
                      struct fw_detector_part parts[FW_DETECTOR_MAX_PARTS])
{
    int count = session->quant != NULL ? fw_quant_part_count(session->quant)
                                       : fw_yunet_part_count(session->net);
    (void)snprintf(parts[SCALING_PART].name, sizeof(parts[0].name), "scaling the picture");
    for (int i = 0; i < count; i++) {
        char *name = parts[FIRST_NETWORK_PART + i].name;
        if (session->quant != NULL) {
            fw_quant_part_name(session->quant, i, name);
        } else {
            fw_yunet_part_name(session->net, i, name);
        }
    }
    (void)snprintf(parts[FIRST_NETWORK_PART + count].name, sizeof(parts[0].name),
                   "choosing the faces");
    return FIRST_NETWORK_PART + count + 1;
}

static void set_profile(struct session *session, int64_t *part_ns)
{
    if (session->quant != NULL) {
        fw_quant_profile(session->quant, part_ns);
    } else {
        fw_yunet_profile(session->net, part_ns);
    }
}

static int64_t sum_of(const int64_t *part_ns, int first, int last)
{
    int64_t sum = 0;
    for (int i = first; i < last; i++) {
        sum += part_ns[i];
    }
    return sum;
}

static int profile_yunet(void *state, const struct fw_frame *frame,
                         const struct fw_detect_parameters *parameters,
                         struct fw_detector_part parts[FW_DETECTOR_MAX_PARTS],
                         struct fw_error *error)
{
    struct yunet *yunet = state;
    struct session *session;
    struct fw_yunet_level levels[3];
    struct fw_faces faces = {0};
    int64_t part_ns[FW_DETECTOR_MAX_PARTS] = {0};
    int status = find_session(yunet, frame, &session, error);
    if (status != FW_OK) {
        return status;
    }
    int count = name_parts(session, parts), last = count - 1;
    set_profile(session, part_ns + FIRST_NETWORK_PART);
    int64_t began_ns = fw_profile_now_ns();
    run_network(session, frame, levels);
    int64_t done_ns = fw_profile_now_ns();
    set_profile(session, NULL);
    part_ns[SCALING_PART] = done_ns - began_ns - sum_of(part_ns, FIRST_NETWORK_PART, last);
    status = choose_faces(yunet, session, frame, levels, parameters, &faces);
    part_ns[last] = fw_profile_now_ns() - done_ns;
    fw_faces_free(&faces);
    for (int i = 0; i < count; i++) {
        parts[i].ns += part_ns[i];
    }
    return status == FW_OK ? count : fw_fail(error, status, "out of memory");
}

const struct fw_detector_backend fw_yunet_backend = {
    .name = "yunet",
    .needs = "a YuNet model in ONNX form",
    .needs_model = true,
    .has_int8 = true,
    .open = open_yunet,
    .detect = detect_yunet,
    .close = close_yunet,
    .profile = profile_yunet,
};
