// `faceworker bench`: how fast this machine is.
#include "app/bench_run.h"
#include "app/bench_table.h"
#include "app/command_util.h"
#include "app/commands.h"
#include "app/signals.h"
#include "camera/camera.h"
#include "detect/model_store.h"
#include "media/frame.h"
#include "media/image_file.h"
#include "nn/yunet_net.h"
#include "util/cancel.h"
#include "util/text.h"
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: faceworker bench detect [OPTION]...\n"
    "\n"
    "Measures how many pictures a second faces are looked for in, and how long one takes, for "
    "each\n"
    "input size, precision, instruction set and number of threads (each on a picture of its own).\n"
    "Everything takes its turn in every round, so that the machine's other work disturbs all\n"
    "alike; printed are the median of the rounds and their range. What counts is the whole\n"
    "detector: scaling the picture down, the network, and the faces from its numbers.\n"
    "\n"
    "      --model NAME|FILE    a name of `faceworker models list`, or a file (default yunet)\n"
    "      --input-size LIST    longer sides to scale to (default 320,640)\n"
    "      --precision LIST     fp32, int8 (default: those that the model can)\n"
    "      --isa LIST           instruction sets (default: those of this processor)\n"
    "      --threads LIST       how many at once (default: 1, 2, 4 and so on to all cores)\n"
    "      --rounds N           how often all take their turn (default 5)\n"
    "      --seconds S          how long each turn is (default 0.2)\n"
    "      --image FILE         the picture (default: one of 640x640 px, made for this)\n"
    "      --layers             how long each part of the work takes on one thread, too\n"
    "      --json               one JSON object instead of a table\n"
    "      --models-dir DIR     where model files lie (default: faceworker's cache folder)\n"
    "  -h, --help               this text\n"
    "\n"
    "Exit status: 0 done, 1 failed or interrupted, 2 wrong usage.\n"
    "\n"
    "Example:\n"
    "  faceworker bench detect --input-size 320 --threads 1,2\n";

#define MAX_ITEMS   16
#define PICTURE_PX  640
#define MAX_THREADS 256

// Words between commas.
struct list {
    char *text; // cut into the words
    const char *words[MAX_ITEMS];
    int count;
};

struct bench_command {
    const char *model, *image, *models_dir;
    struct list sizes, precisions, isas, threads;
    bool is_precision_given, is_isa_given;
    int rounds;
    double seconds;
    bool layers, json;
};

// All that is measured.
struct bench {
    const struct bench_command *command;
    const struct fw_log *log;
    struct fw_cancel *cancel;
    struct fw_model_files files;
    struct fw_frame *frame;
    struct fw_bench_row *rows;
    int count;
    struct fw_bench_layers *layers; // one for each row, at most
    int layers_count;
};

// --- what was asked for ---

// False, with a message on standard error, when there are too many words or memory is out.
static bool split(struct list *list, const char *name, const char *text)
{
    *list = (struct list){.text = fw_strdup(text)};
    char *rest = NULL;
    char *word = list->text == NULL ? NULL : strtok_r(list->text, ",", &rest);
    for (; word != NULL && list->count < MAX_ITEMS; word = strtok_r(NULL, ",", &rest))
        list->words[list->count++] = word;
    if (list->count > 0 && word == NULL)
        return true;
    fprintf(stderr, "faceworker bench: --%s takes 1 to %d values with commas between\n", name,
            MAX_ITEMS);
    return false;
}

// Whether all of LIST are whole numbers in the range; says so if not.
static bool are_numbers(const struct list *list, const char *name, int minimum, int maximum)
{
    for (int i = 0; i < list->count; i++) {
        char *end;
        long number = strtol(list->words[i], &end, 10);
        if (end == list->words[i] || *end != '\0' || number < minimum || number > maximum) {
            fprintf(stderr, "faceworker bench: --%s takes whole numbers from %d to %d\n", name,
                    minimum, maximum);
            return false;
        }
    }
    return true;
}

static bool are_among(const struct list *list, const char *name, const char *choices)
{
    for (int i = 0; i < list->count; i++) {
        char word[32];
        snprintf(word, sizeof(word), " %.20s ", list->words[i]);
        if (strstr(choices, word) == NULL) {
            fprintf(stderr, "faceworker bench: --%s '%s' is none of%s\n", name, list->words[i],
                    choices);
            return false;
        }
    }
    return true;
}

// 1, 2, 4 and so on, and all cores.
static void append_threads(struct fw_text *text)
{
    int cores = fw_command_core_count();
    if (cores > MAX_THREADS)
        cores = MAX_THREADS;
    for (int threads = 1; threads < cores; threads *= 2)
        fw_text_appendf(text, "%d,", threads);
    fw_text_appendf(text, "%d", cores);
}

// Those of this processor, the fastest first.
static void append_isas(struct fw_text *text)
{
    static const char *const names[] = {"avx512", "avxvnni", "avx2", "neondot", "neon", "scalar"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (fw_isa_is_available((enum fw_isa)fw_isa_parse(names[i])))
            fw_text_appendf(text, "%s%s", text->length > 0 ? "," : "", names[i]);
    }
}

static void append_precisions(struct fw_text *text)
{
    fw_text_append(text, "fp32,int8");
}

// TEXT, or what APPEND makes where nothing was given, as a list.
static bool split_or(struct list *list, const char *name, const char *text,
                     void (*append)(struct fw_text *text))
{
    struct fw_text standard = FW_TEXT_INIT;
    if (text == NULL)
        append(&standard);
    bool is_right = split(list, name, text != NULL ? text : fw_text_get(&standard));
    fw_text_free(&standard);
    return is_right;
}

// --- the rows ---

static struct fw_detector_options detector_options(const struct bench *bench,
                                                   const struct fw_bench_row *row)
{
    return (struct fw_detector_options){.backend = bench->files.backend,
                                        .model_path = bench->files.path,
                                        .config_path = bench->files.config_path,
                                        .precision = row->precision,
                                        .isa = row->isa,
                                        .input_size = row->input_size,
                                        .log = bench->log};
}

// Whether the model can do what ROW says. int8 is left out where it was left to us and is not
// possible.
static int check_row(const struct bench *bench, const struct fw_bench_row *row, bool *can,
                     struct fw_error *error)
{
    const struct fw_detector_options options = detector_options(bench, row);
    struct fw_detector *detector = NULL;
    bool is_wish = bench->command->is_precision_given || strcmp(row->precision, "int8") != 0;
    int status = fw_detector_open(&detector, &options, error);
    fw_detector_close(detector);
    *can = status == FW_OK;
    return (status == FW_ENOTSUP || status == FW_EINVAL) && !is_wish ? FW_OK : status;
}

// For fp32 these are other names for the kernels of AVX2 and NEON.
static bool is_repetition(const struct bench_command *command, const char *precision,
                          const char *isa)
{
    return !command->is_isa_given && strcmp(precision, "fp32") == 0 &&
           (strcmp(isa, "avxvnni") == 0 || strcmp(isa, "neondot") == 0);
}

// The rows for all numbers of threads.
static int add_rows(struct bench *bench, const struct fw_bench_row *like)
{
    const struct bench_command *command = bench->command;
    struct fw_bench_row *const first = &bench->rows[bench->count], *single = NULL;
    for (int i = 0; i < command->threads.count; i++) {
        struct fw_bench_row *row = &bench->rows[bench->count];
        *row = *like;
        row->threads = atoi(command->threads.words[i]);
        row->samples = calloc((size_t)command->rounds, sizeof(*row->samples));
        if (row->samples == NULL)
            return FW_ENOMEM;
        single = row->threads == 1 ? row : single;
        bench->count++;
    }
    for (int i = 0; i < command->threads.count; i++)
        first[i].single = single;
    return FW_OK;
}

static int make_rows(struct bench *bench, struct fw_error *error)
{
    const struct bench_command *command = bench->command;
    const struct list *sizes = &command->sizes, *precisions = &command->precisions;
    const struct list *isas = &command->isas;
    int kinds = sizes->count * precisions->count * isas->count;
    bench->rows = calloc((size_t)kinds, (size_t)command->threads.count * sizeof(*bench->rows));
    int status = bench->rows == NULL ? FW_ENOMEM : FW_OK;
    for (int i = 0; i < kinds && status == FW_OK; i++) {
        const struct fw_bench_row row = {
            .input_size = atoi(sizes->words[i / isas->count / precisions->count]),
            .precision = precisions->words[i / isas->count % precisions->count],
            .isa = isas->words[i % isas->count],
        };
        bool can = !is_repetition(command, row.precision, row.isa);
        if (can)
            status = check_row(bench, &row, &can, error);
        if (can && status == FW_OK)
            status = add_rows(bench, &row);
    }
    if (status == FW_OK && bench->count == 0)
        return fw_fail(error, FW_ENOTSUP, "the model can do none of these precisions");
    return status == FW_ENOMEM ? fw_fail(error, status, "out of memory") : status;
}

// --- the rounds ---

static int measure_row(const struct bench *bench, struct fw_bench_row *row, struct fw_error *error)
{
    const struct fw_bench_options options = {
        .detector = detector_options(bench, row),
        .frame = bench->frame,
        .threads = row->threads,
        .seconds = bench->command->seconds,
        .cancel = bench->cancel,
        .log = bench->log,
    };
    int status = fw_bench_measure(&options, &row->samples[row->count], error);
    row->count += status == FW_OK;
    return status;
}

static int measure(const struct bench *bench, struct fw_error *error)
{
    bool is_terminal = isatty(STDERR_FILENO) != 0;
    int status = FW_OK;
    for (int round = 0; round < bench->command->rounds && status == FW_OK; round++) {
        for (int i = 0; i < bench->count && status == FW_OK; i++) {
            if (is_terminal)
                fprintf(stderr, "\rround %d of %d, %d of %d\x1b[K", round + 1,
                        bench->command->rounds, i + 1, bench->count);
            status = measure_row(bench, &bench->rows[i], error);
        }
    }
    if (is_terminal)
        fputs("\r\x1b[K", stderr);
    return status;
}

// Where the time goes, once for each size, precision and instruction set.
static int profile(struct bench *bench, struct fw_error *error)
{
    const struct fw_bench_row *rows = bench->rows;
    bench->layers = calloc((size_t)bench->count, sizeof(*bench->layers));
    if (bench->layers == NULL)
        return fw_fail(error, FW_ENOMEM, "out of memory");
    for (int i = 0; i < bench->count; i += bench->command->threads.count) {
        struct fw_bench_layers *layers = &bench->layers[bench->layers_count];
        const struct fw_bench_options options = {
            .detector = detector_options(bench, &rows[i]),
            .frame = bench->frame,
            .threads = 1,
            .seconds = bench->command->seconds * bench->command->rounds,
            .cancel = bench->cancel,
            .log = bench->log,
        };
        layers->input_size = rows[i].input_size;
        layers->precision = rows[i].precision;
        layers->isa = rows[i].isa;
        layers->count = fw_bench_profile(&options, layers->parts, &layers->calls, error);
        if (layers->count < 0)
            return layers->count;
        bench->layers_count++;
    }
    return FW_OK;
}

static void report(const struct bench *bench, const struct fw_command_context *context)
{
    const struct bench_command *command = bench->command;
    struct fw_text picture = FW_TEXT_INIT, text = FW_TEXT_INIT;
    fw_text_appendf(&picture, "%dx%d px, %s", bench->frame->width, bench->frame->height,
                    command->image != NULL ? command->image : "made for this");
    const struct fw_bench_setting setting = {.model = command->model,
                                             .picture = fw_text_get(&picture),
                                             .cores = fw_command_core_count(),
                                             .rounds = command->rounds,
                                             .seconds = command->seconds};
    const struct fw_bench_results results = {bench->rows, bench->count, bench->layers,
                                             bench->layers_count};
    if (command->json)
        fw_bench_append_json(&text, &setting, &results);
    else
        fw_bench_append_table(&text, &setting, &results);
    if (text.failed || picture.failed)
        fputs("faceworker bench: out of memory\n", stderr);
    else
        fw_command_print(context, stdout, fw_text_get(&text));
    fw_text_free(&text);
    fw_text_free(&picture);
}

// --- all of it ---

static int locate_model(struct bench *bench, struct fw_error *error)
{
    char *standard = fw_config_default_models_dir();
    const char *dir = bench->command->models_dir;
    const struct fw_model_store_options store = {.dir = dir != NULL ? dir : standard,
                                                 .log = bench->log};
    int status = standard == NULL ? fw_fail(error, FW_ENOMEM, "out of memory")
                                  : fw_model_locate(&store, bench->command->model, bench->cancel,
                                                    &bench->files, error);
    free(standard);
    return status;
}

static int find_picture(struct bench *bench, struct fw_error *error)
{
    if (bench->command->image != NULL)
        return fw_image_load(bench->command->image, &bench->frame, error);
    bench->frame = fw_bench_picture(PICTURE_PX, PICTURE_PX);
    return bench->frame == NULL ? fw_fail(error, FW_ENOMEM, "out of memory") : FW_OK;
}

static void free_bench(struct bench *bench)
{
    for (int i = 0; i < bench->count; i++)
        free(bench->rows[i].samples);
    free(bench->rows);
    free(bench->layers);
    fw_frame_unref(bench->frame);
    fw_model_files_free(&bench->files);
}

static int bench_detect(const struct bench_command *command, struct fw_signals *signals)
{
    struct fw_command_context context = {0};
    struct bench bench = {.command = command, .cancel = fw_signals_stop(signals)};
    struct fw_error error = {0};
    bool is_open = fw_command_open(&context);
    int status = FW_ENOMEM;
    if (!is_open)
        goto done;
    bench.log = &context.log;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    fw_camera_library_init();
    status = locate_model(&bench, &error);
    if (status == FW_OK)
        status = find_picture(&bench, &error);
    if (status == FW_OK)
        status = make_rows(&bench, &error);
    // First what some detectors can't tell, so that nobody waits for it in vain.
    if (status == FW_OK && command->layers)
        status = profile(&bench, &error);
    if (status == FW_OK)
        status = measure(&bench, &error);
    if (status == FW_OK)
        report(&bench, &context);
    else
        fprintf(stderr, "faceworker bench: %s\n", error.message);
    free_bench(&bench);
    curl_global_cleanup();
done:
    fw_command_close(&context);
    return status == FW_OK ? FW_EXIT_OK : FW_EXIT_FAILED;
}

// What the lists name must be known; whether the model can do it shows later.
static bool check_lists(const struct bench_command *command)
{
    return are_numbers(&command->sizes, "input-size", 0, 8192) &&
           are_numbers(&command->threads, "threads", 1, MAX_THREADS) &&
           are_among(&command->precisions, "precision", " auto fp32 int8 ") &&
           are_among(&command->isas, "isa", " auto scalar avx2 avxvnni avx512 neon neondot ");
}

static int run_with_signals(const struct bench_command *command)
{
    struct fw_signals *signals = NULL;
    int status = fw_signals_open(&signals);
    if (status != FW_OK) {
        fprintf(stderr, "faceworker bench: can't set signals up (%s)\n", fw_status_text(status));
        return FW_EXIT_FAILED;
    }
    int exit_code = bench_detect(command, signals);
    fw_signals_close(signals);
    return exit_code;
}

int fw_command_bench(int argc, char **argv)
{
    const char *sizes = "320,640", *precisions = NULL, *isas = NULL, *threads = NULL;
    struct bench_command command = {.model = "yunet", .rounds = 5, .seconds = 0.2};
    const struct fw_command_option options[] = {
        {.name = "model", .text = &command.model},
        {.name = "input-size", .text = &sizes},
        {.name = "precision", .text = &precisions},
        {.name = "isa", .text = &isas},
        {.name = "threads", .text = &threads},
        {.name = "rounds", .whole = &command.rounds, .minimum = 1, .maximum = 1000},
        {.name = "seconds", .number = &command.seconds, .minimum = 0.001, .maximum = 600},
        {.name = "image", .text = &command.image},
        {.name = "layers", .flag = &command.layers, .value = true},
        {.name = "json", .flag = &command.json, .value = true},
        {.name = "models-dir", .text = &command.models_dir},
        {0},
    };
    int exit_code;
    if (!fw_command_options(options, help, argc, argv, &exit_code))
        return exit_code;
    if (argc - optind != 1 || strcmp(argv[optind], "detect") != 0) {
        fputs("faceworker bench: say what to measure: detect; see faceworker bench --help\n",
              stderr);
        return FW_EXIT_USAGE;
    }
    command.is_precision_given = precisions != NULL;
    command.is_isa_given = isas != NULL;
    exit_code = FW_EXIT_USAGE;
    if (split(&command.sizes, "input-size", sizes) &&
        split_or(&command.precisions, "precision", precisions, append_precisions) &&
        split_or(&command.isas, "isa", isas, append_isas) &&
        split_or(&command.threads, "threads", threads, append_threads) && check_lists(&command))
        exit_code = run_with_signals(&command);
    free(command.sizes.text);
    free(command.precisions.text);
    free(command.isas.text);
    free(command.threads.text);
    return exit_code;
}
