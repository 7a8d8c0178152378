// `faceworker detect`: faces in pictures, folders or a video, as JSON lines.
#include "app/command_util.h"
#include "app/commands.h"
#include "app/detect_run.h"
#include "camera/camera.h"
#include "detect/model_store.h"
#include "util/text.h"
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
    "in pixels of the picture; a video's pictures are PATH#NUMBER, from 0. What can't be read is\n"
    "told on standard error, and the rest is done all the same.\n"
    "\n"
    "      --model NAME|FILE  a name of `faceworker models list`, or a file (default yunet)\n"
    "      --min-score S      leave faces with a lower score out (0 to 1, default 0.7)\n"
    "      --input-size N     shrink pictures to this longer side first (default 640 as the "
    "daemon\n"
    "                         does; 0: don't)\n"
    "      --precision P      auto (the default) or fp32\n"
    "      --isa NAME         auto, scalar, avx2, avx512 or neon (default: $FACEWORKER_ISA, else\n"
    "                         auto)\n"
    "      --jobs N           threads (default 1; 0: one a processor core)\n"
    "      --annotate DIR     write copies of the pictures with the faces drawn into DIR\n"
    "      --output FILE      write the lines there, not to standard output\n"
    "      --models-dir DIR   where model files lie (default: faceworker's cache folder)\n"
    "  -h, --help             this text\n"
    "\n"
    "Exit status: 0 done, 1 something could not be read or written, 2 wrong usage.\n"
    "\n"
    "Example:\n"
    "  faceworker detect --annotate /tmp/faces --jobs 0 photos/ > faces.jsonl\n";

struct detect_command {
    const char *model, *precision, *isa, *annotate, *output, *models_dir;
    double min_score, input_size, jobs;
    char **paths;
    int path_count;
};

// The inputs; *FAILED when some path can't be read.
static int collect(const struct detect_command *command, struct fw_detect_inputs *inputs,
                   bool *failed)
{
    for (int i = 0; i < command->path_count; i++) {
        int status = fw_detect_inputs_add(inputs, command->paths[i]);
        if (status == FW_ENOMEM)
            return status;
        if (status != FW_OK) {
            fprintf(stderr, "faceworker detect: can't read '%s' (%s)\n", command->paths[i],
                    strerror(errno));
            *failed = true;
        }
    }
    return FW_OK;
}

static int locate_model(const struct detect_command *command,
                        const struct fw_command_context *context, struct fw_model_files *files,
                        struct fw_error *error)
{
    char *standard = fw_config_default_models_dir();
    const struct fw_model_store_options store = {
        .dir = command->models_dir != NULL ? command->models_dir : standard,
        .log = &context->log,
    };
    int status = standard == NULL ? fw_fail(error, FW_ENOMEM, "out of memory")
                                  : fw_model_locate(&store, command->model, NULL, files, error);
    free(standard);
    return status;
}

static int run(const struct detect_command *command, const struct fw_command_context *context,
               const struct fw_detect_inputs *inputs, FILE *out, struct fw_error *error)
{
    struct fw_model_files files = {0};
    int status = locate_model(command, context, &files, error);
    if (status != FW_OK)
        return status;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int jobs = command->jobs > 0 ? (int)command->jobs : cores > 0 ? (int)cores : 1;
    const struct fw_detect_run_options options = {
        .inputs = inputs,
        .detector = {.backend = files.backend,
                     .model_path = files.path,
                     .config_path = files.config_path,
                     .precision = command->precision,
                     .isa = command->isa,
                     .input_size = (int)command->input_size,
                     .log = &context->log},
        .parameters = {.min_score = (float)command->min_score, .nms_iou = 0.45F},
        .jobs = jobs,
        .annotate = command->annotate,
        .out = out,
        .progress = isatty(STDERR_FILENO) != 0,
        .secrets = context->secrets,
    };
    status = fw_detect_run(&options, error);
    fw_model_files_free(&files);
    return status;
}

// Opens what --output names; standard output without it.
static FILE *open_output(const char *path)
{
    if (path == NULL || strcmp(path, "-") == 0)
        return stdout;
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

static int detect(const struct detect_command *command)
{
    struct fw_command_context context = {0};
    struct fw_detect_inputs inputs = {0};
    struct fw_error error = {0};
    bool failed = false;
    FILE *out = NULL;
    int status = FW_ENOMEM;
    if (!fw_command_open(&context) || collect(command, &inputs, &failed) != FW_OK)
        goto done;
    if (inputs.count == 0) {
        if (!failed)
            fputs(
                "faceworker detect: there is no picture in the folder; its pictures must be named "
                "*.jpg, *.jpeg, *.png, *.webp or *.bmp\n",
                stderr);
        goto done;
    }
    out = open_output(command->output);
    if (out == NULL)
        goto done;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    fw_camera_library_init();
    status = run(command, &context, &inputs, out, &error);
    if (status != FW_OK && error.message[0] != '\0')
        fprintf(stderr, "faceworker detect: %s\n", error.message);
    failed = !close_output(out) || failed;
    curl_global_cleanup();
done:
    fw_detect_inputs_free(&inputs);
    fw_command_close(&context);
    return status == FW_OK && !failed ? FW_EXIT_OK : FW_EXIT_FAILED;
}

// False, with a message on standard error, when the option is wrong.
static bool parse_option(int option, struct detect_command *command)
{
    switch (option) {
    case 'm':
        command->model = optarg;
        return true;
    case 's':
        return fw_command_number("detect", "--min-score", optarg, 0, 1, &command->min_score);
    case 'i':
        return fw_command_number("detect", "--input-size", optarg, 0, 8192, &command->input_size);
    case 'p':
        command->precision = optarg;
        return true;
    case 'a':
        command->isa = optarg;
        return true;
    case 'j':
        return fw_command_number("detect", "--jobs", optarg, 0, 256, &command->jobs);
    case 'n':
        command->annotate = optarg;
        return true;
    case 'o':
        command->output = optarg;
        return true;
    case 'd':
        command->models_dir = optarg;
        return true;
    default:
        return false;
    }
}

int fw_command_detect(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"model", required_argument, NULL, 'm'},
        {"min-score", required_argument, NULL, 's'},
        {"input-size", required_argument, NULL, 'i'},
        {"precision", required_argument, NULL, 'p'},
        {"isa", required_argument, NULL, 'a'},
        {"jobs", required_argument, NULL, 'j'},
        {"annotate", required_argument, NULL, 'n'},
        {"output", required_argument, NULL, 'o'},
        {"models-dir", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *isa = getenv("FACEWORKER_ISA");
    struct detect_command command = {.model = "yunet",
                                     .precision = "auto",
                                     .isa = isa != NULL && *isa != '\0' ? isa : "auto",
                                     .min_score = 0.7,
                                     .input_size = 640,
                                     .jobs = 1};
    int option;
    while ((option = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return FW_EXIT_OK;
        }
        if (!parse_option(option, &command))
            return FW_EXIT_USAGE;
    }
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
