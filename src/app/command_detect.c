// `faceworker detect`: faces in pictures, folders or a video, as JSON lines.
#include "app/command_util.h"
#include "app/commands.h"
#include "app/detect_run.h"
#include "app/detect_targets.h"
#include "app/signals.h"
#include "camera/camera.h"
#include "detect/model_store.h"
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: faceworker detect [OPTION]... PATH...\n"
    "\n"
    "Finds faces in pictures (JPEG, PNG, WebP, BMP), in folders of them (sorted, folders in them\n"
    "too) or in a video, and prints one JSON object a line, in the order of the inputs:\n"
    "\n"
    "  {\"image\": PATH, \"width\": W, \"height\": H, \"faces\": [{\"box\": [x, y, w, h],\n"
    "   \"score\": S, \"landmarks\": [[x, y], ...]}, ...]}\n"
    "\n"
    "in pixels of the picture, which is turned first if it is a photograph whose Exif data says\n"
    "so; a video's pictures are PATH#NUMBER, from 0. What can't be read is told on standard\n"
    "error, and the rest is done all the same. Each line is written as soon as it is there, so\n"
    "that a run which is interrupted (Ctrl-C) leaves what it has found. On a terminal, standard\n"
    "error shows how far it is and how long it will take.\n"
    "\n"
    "      --model NAME|FILE  a name of `faceworker models list`, or a file (default yunet)\n"
    "      --min-score S      leave faces with a lower score out (0 to 1, default 0.7)\n"
    "      --min-face-px N    leave faces out whose longer side is smaller (default 0)\n"
    "      --nms-iou F        boxes that overlap more are one face (0 to 1, default 0.45)\n"
    "      --input-size N     shrink pictures to this longer side first (default 640 as the "
    "daemon\n"
    "                         does; 0: don't)\n"
    "      --roi X,Y,W,H      look at this part only, in fractions of width and height\n"
    "      --tiles CxR        look at C times R overlapping parts too (1 to 8 each), for small\n"
    "                         and distant faces (default 1x1: at the whole only)\n"
    "      --precision P      fp32; int8, over twice as fast, for models that were calibrated;\n"
    "                         auto (the default): int8 where it loses nearly nothing\n"
    "      --isa NAME         auto, scalar, avx2, avxvnni, avx512, neon or neondot (default:\n"
    "                         $FACEWORKER_ISA, else auto)\n"
    "      --jobs N           threads (default 0: one a processor core)\n"
    "      --annotate DIR     write copies of the pictures with the faces drawn into DIR, in\n"
    "                         folders as the pictures' own\n"
    "      --crop DIR         write each face with some margin into DIR, as PATH-N.jpg, and its\n"
    "                         file's name as \"crop\" into the line; none of what is written\n"
    "                         goes over an input\n"
    "      --output FILE      write the lines there, not to standard output\n"
    "      --models-dir DIR   where model files lie (default: faceworker's cache folder)\n"
    "  -h, --help             this text\n"
    "\n"
    "Exit status: 0 done, 1 something could not be read or written, or it was interrupted, 2 "
    "wrong\n"
    "usage.\n"
    "\n"
    "Example:\n"
    "  faceworker detect --crop /tmp/faces photos/ > faces.jsonl\n";

struct detect_command {
    const char *model, *precision, *isa, *annotate, *crop, *output, *models_dir;
    double min_score, nms_iou;
    int min_face_px, input_size, jobs, tile_columns, tile_rows;
    struct fw_box roi;
    char **paths;
    int path_count;
};

// The inputs; *FAILED when some path can't be read.
static int collect(const struct detect_command *command, struct fw_detect_inputs *inputs,
                   const struct fw_cancel *cancel, bool *failed)
{
    for (int i = 0; i < command->path_count; i++) {
        struct fw_error error = {0};
        int status = fw_detect_inputs_add(inputs, command->paths[i], cancel, &error);
        if (status == FW_ENOMEM || status == FW_ECANCELED) {
            fprintf(stderr, "faceworker detect: %s\n",
                    status == FW_ENOMEM ? "out of memory" : "interrupted with no input done");
            return status;
        }
        if (status != FW_OK) {
            fprintf(stderr, "faceworker detect: %s\n", error.message);
            *failed = true;
        }
    }
    return FW_OK;
}

static int locate_model(const struct detect_command *command,
                        const struct fw_command_context *context, struct fw_cancel *cancel,
                        struct fw_model_files *files, struct fw_error *error)
{
    char *standard = fw_config_default_models_dir();
    const struct fw_model_store_options store = {
        .dir = command->models_dir != NULL ? command->models_dir : standard,
        .log = &context->log,
    };
    int status = standard == NULL ? fw_fail(error, FW_ENOMEM, "out of memory")
                                  : fw_model_locate(&store, command->model, cancel, files, error);
    free(standard);
    return status;
}

static int run(const struct detect_command *command, const struct fw_command_context *context,
               const struct fw_detect_inputs *inputs, struct fw_detect_targets *targets, FILE *out,
               struct fw_cancel *cancel, struct fw_error *error)
{
    struct fw_model_files files = {0};
    int status = locate_model(command, context, cancel, &files, error);
    if (status != FW_OK)
        return status;
    const struct fw_detect_run_options options = {
        .inputs = inputs,
        .detector = {.backend = files.backend,
                     .model_path = files.path,
                     .config_path = files.config_path,
                     .precision = command->precision,
                     .isa = command->isa,
                     .input_size = command->input_size,
                     .log = &context->log},
        .parameters = {.min_score = (float)command->min_score,
                       .nms_iou = (float)command->nms_iou,
                       .min_face_px = command->min_face_px,
                       .roi = command->roi,
                       .tile_columns = command->tile_columns,
                       .tile_rows = command->tile_rows},
        .jobs = command->jobs > 0 ? command->jobs : fw_command_core_count(),
        .annotate = command->annotate,
        .crop = command->crop,
        .targets = targets,
        .out = out,
        .progress = isatty(STDERR_FILENO) != 0,
        .cancel = cancel,
        .secrets = context->secrets,
    };
    status = fw_detect_run(&options, error);
    fw_model_files_free(&files);
    return status;
}

// Opens what --output names; standard output without it.
static FILE *open_output(struct fw_detect_targets *targets, const char *path)
{
    struct fw_error error = {0};
    if (path == NULL || strcmp(path, "-") == 0)
        return stdout;
    if (fw_detect_targets_take(targets, path, &error) != FW_OK) {
        fprintf(stderr, "faceworker detect: %s\n", error.message);
        return NULL;
    }
    FILE *out = fopen(path, "w");
    if (out == NULL)
        fprintf(stderr, "faceworker detect: can't write '%s' (%s); choose another --output\n", path,
                strerror(errno));
    return out;
}

static bool close_output(FILE *out)
{
    bool is_whole = ferror(out) == 0 && fflush(out) == 0;
    if (out != stdout)
        is_whole = fclose(out) == 0 && is_whole;
    if (!is_whole)
        fputs("faceworker detect: not every line could be written; is the disk full?\n", stderr);
    return is_whole;
}

// All of it, with the signals going to CANCEL.
static int detect_inputs(const struct detect_command *command,
                         const struct fw_command_context *context,
                         const struct fw_detect_inputs *inputs, struct fw_cancel *cancel)
{
    struct fw_error error = {0};
    struct fw_detect_targets *targets = fw_detect_targets_create(inputs);
    if (targets == NULL) {
        fputs("faceworker detect: out of memory\n", stderr);
        return FW_ENOMEM;
    }
    FILE *out = open_output(targets, command->output);
    if (out == NULL) {
        fw_detect_targets_destroy(targets);
        return FW_EIO;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    fw_camera_library_init();
    int status = run(command, context, inputs, targets, out, cancel, &error);
    if (status != FW_OK && error.message[0] != '\0')
        fprintf(stderr, "faceworker detect: %s\n", error.message);
    if (!close_output(out) && status == FW_OK)
        status = FW_EIO;
    curl_global_cleanup();
    fw_detect_targets_destroy(targets);
    return status;
}

static int detect(const struct detect_command *command)
{
    struct fw_command_context context = {0};
    struct fw_detect_inputs inputs = {0};
    struct fw_signals *signals = NULL;
    bool failed = false;
    int status = fw_signals_open(&signals);
    if (status != FW_OK) {
        fprintf(stderr, "faceworker detect: can't set signals up (%s)\n", fw_status_text(status));
        return FW_EXIT_FAILED;
    }
    status = FW_ENOMEM;
    if (!fw_command_open(&context) ||
        collect(command, &inputs, fw_signals_stop(signals), &failed) != FW_OK)
        goto done;
    status = FW_ENOENT;
    if (inputs.count > 0)
        status = detect_inputs(command, &context, &inputs, fw_signals_stop(signals));
    else if (!failed)
        fputs("faceworker detect: there is no picture in the folder; its pictures must be named "
              "*.jpg, *.jpeg, *.png, *.webp or *.bmp\n",
              stderr);
done:
    fw_detect_inputs_free(&inputs);
    fw_command_close(&context);
    fw_signals_close(signals);
    return status == FW_OK && !failed ? FW_EXIT_OK : FW_EXIT_FAILED;
}

// Four fractions, with commas between, of an area inside the picture.
static bool parse_roi(const char *text, struct fw_box *roi)
{
    float *const fields[] = {&roi->x, &roi->y, &roi->w, &roi->h};
    char *end = NULL;
    for (int i = 0; i < 4; i++, text = end + 1) {
        double value = strtod(text, &end);
        if (end == text || *end != (i < 3 ? ',' : '\0') || !(value >= 0 && value <= 1))
            return false;
        *fields[i] = (float)value;
    }
    return fw_detect_roi_is_valid(roi);
}

// False, with a message on standard error, when an option is wrong.
static bool parse_area(const char *roi, const char *tiles, struct detect_command *command)
{
    bool is_right = true;
    if (roi != NULL && !parse_roi(roi, &command->roi)) {
        fputs("faceworker detect: --roi takes X,Y,W,H as fractions of the picture that lie within "
              "it, for example 0,0.25,1,0.5\n",
              stderr);
        is_right = false;
    }
    if (!fw_tiles_parse(tiles, &command->tile_columns, &command->tile_rows)) {
        fprintf(stderr,
                "faceworker detect: --tiles takes columns and rows from 1 to %d, for example 3x2\n",
                FW_TILES_MAX);
        is_right = false;
    }
    return is_right;
}

int fw_command_detect(int argc, char **argv)
{
    const char *roi = NULL, *tiles = "1x1";
    struct detect_command command = {.model = "yunet",
                                     .precision = "auto",
                                     .isa = fw_command_isa(),
                                     .min_score = 0.7,
                                     .nms_iou = 0.45,
                                     .input_size = 640};
    const struct fw_command_option options[] = {
        {.name = "model", .text = &command.model},
        {.name = "min-score", .number = &command.min_score, .maximum = 1},
        {.name = "min-face-px", .whole = &command.min_face_px, .maximum = 16384},
        {.name = "nms-iou", .number = &command.nms_iou, .maximum = 1},
        {.name = "input-size", .whole = &command.input_size, .maximum = 8192},
        {.name = "roi", .text = &roi},
        {.name = "tiles", .text = &tiles},
        {.name = "precision", .text = &command.precision},
        {.name = "isa", .text = &command.isa},
        {.name = "jobs", .whole = &command.jobs, .maximum = 256},
        {.name = "annotate", .text = &command.annotate},
        {.name = "crop", .text = &command.crop},
        {.name = "output", .text = &command.output},
        {.name = "models-dir", .text = &command.models_dir},
        {0},
    };
    int exit_code;
    if (!fw_command_options(options, help, argc, argv, &exit_code))
        return exit_code;
    if (!parse_area(roi, tiles, &command))
        return FW_EXIT_USAGE;
    if (optind >= argc) {
        fputs("faceworker detect: give a picture, a folder or a video; see faceworker detect "
              "--help\n",
              stderr);
        return FW_EXIT_USAGE;
    }
    command.paths = argv + optind;
    command.path_count = argc - optind;
    return detect(&command);
}
