// `faceworker models`: the detector's model files.
#include "app/command_util.h"
#include "app/commands.h"
#include "detect/model_store.h"
#include "util/text.h"
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: faceworker models list [OPTION]...\n"
    "       faceworker models fetch [OPTION]... [NAME]...\n"
    "       faceworker models verify [OPTION]... [NAME]...\n"
    "\n"
    "list shows the known models, their addresses and SHA-256 sums, and which are there. fetch\n"
    "downloads the named ones (yunet if none is named) unless they are there, from base_url if\n"
    "that is set, else from their official addresses. verify checks the sums of the named ones\n"
    "(of all that are there if none is named) and downloads nothing.\n"
    "\n"
    "      --dir DIR       where the files lie (default: models.dir of the configuration)\n"
    "      --base-url URL  your own mirror, asked first (default: models.base_url)\n"
    "  -c, --config FILE   the configuration; without it the usual places are looked at, unless\n"
    "                      --dir is given, and having none is no error\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0 done, 1 a model can't be had or is wrong, 2 wrong usage, 78 wrong\n"
    "configuration.\n"
    "\n"
    "Example:\n"
    "  faceworker models fetch yunet --dir /var/cache/faceworker/models\n";

struct models_command {
    const char *config_path, *dir, *base_url;
    struct fw_command_context context;
    struct fw_config *config;
    char *default_dir;
    struct fw_model_store_options store;
};

static int open_command(struct models_command *command)
{
    if (!fw_command_open(&command->context))
        return FW_EXIT_FAILED;
    if (command->config_path != NULL || command->dir == NULL) {
        int exit_code = fw_command_load_config(&command->context, command->config_path,
                                               command->config_path == NULL, &command->config);
        if (exit_code != FW_EXIT_OK)
            return exit_code;
    }
    if (command->config != NULL)
        fw_config_model_options(command->config, &command->context.log, &command->store);
    command->store.log = &command->context.log;
    if (command->dir != NULL)
        command->store.dir = command->dir;
    if (command->base_url != NULL)
        command->store.base_url = command->base_url;
    if (command->store.dir == NULL) {
        command->default_dir = fw_config_default_models_dir();
        command->store.dir = command->default_dir;
    }
    if (command->store.dir != NULL)
        return FW_EXIT_OK;
    fputs("faceworker models: out of memory\n", stderr);
    return FW_EXIT_FAILED;
}

static void close_command(struct models_command *command)
{
    fw_config_destroy(command->config);
    free(command->default_dir);
    fw_command_close(&command->context);
}

static bool is_there(const struct models_command *command, const char *file)
{
    char *path = fw_strdup_printf("%s/%s", command->store.dir, file);
    bool there = path != NULL && access(path, R_OK) == 0;
    free(path);
    return there;
}

static void print_file(const struct models_command *command, const char *file, const char *sha256,
                       const char *const *addresses)
{
    printf("  file     %s (%s in %s)\n", file, is_there(command, file) ? "there" : "not there",
           command->store.dir);
    if (sha256 != NULL)
        printf("  sha256   %s\n", sha256);
    for (size_t i = 0; addresses != NULL && addresses[i] != NULL; i++)
        printf("  address  %s\n", addresses[i]);
}

static int list(struct models_command *command)
{
    for (const struct fw_model_info *const *model = fw_model_table(); *model != NULL; model++) {
        const struct fw_model_info *info = *model;
        printf("%s: %s\n", info->name, info->description);
        if (info->size_bytes > 0)
            printf("  size     %.1f MB\n", (double)info->size_bytes / 1e6);
        printf("  licence  %s\n", info->licence);
        print_file(command, info->file, info->sha256, info->addresses);
        if (info->config_file != NULL)
            print_file(command, info->config_file, info->config_sha256, info->config_addresses);
    }
    return FW_EXIT_OK;
}

// Finds the model NAME, downloading it where the store may. True if it is right.
static bool locate(const struct models_command *command, const char *name)
{
    struct fw_error error = {0};
    struct fw_model_files files = {0};
    int status = fw_model_locate(&command->store, name, NULL, &files, &error);
    if (status == FW_OK) {
        printf("%s: %s%s%s\n", name, files.path, files.config_path != NULL ? ", " : "",
               files.config_path != NULL ? files.config_path : "");
    } else {
        char *message = fw_strdup_printf("faceworker models: %s\n", error.message);
        if (message != NULL)
            fw_command_print(&command->context, stderr, message);
        free(message);
    }
    fw_model_files_free(&files);
    return status == FW_OK;
}

static int locate_all(struct models_command *command, char **names, int count)
{
    bool is_right = true;
    for (int i = 0; i < count; i++)
        is_right = locate(command, names[i]) && is_right;
    return is_right ? FW_EXIT_OK : FW_EXIT_FAILED;
}

static int fetch(struct models_command *command, char **names, int count)
{
    char standard[] = "yunet";
    char *defaults[] = {standard};
    return count > 0 ? locate_all(command, names, count) : locate_all(command, defaults, 1);
}

static int verify(struct models_command *command, char **names, int count)
{
    command->store.offline = true;
    command->store.base_url = NULL;
    if (count > 0)
        return locate_all(command, names, count);
    bool is_right = true;
    int found = 0;
    for (const struct fw_model_info *const *model = fw_model_table(); *model != NULL; model++) {
        if ((*model)->sha256 != NULL && is_there(command, (*model)->file)) {
            found++;
            is_right = locate(command, (*model)->name) && is_right;
        }
    }
    if (found == 0)
        printf("no known model is in %s; faceworker models fetch gets one\n", command->store.dir);
    return is_right ? FW_EXIT_OK : FW_EXIT_FAILED;
}

static int perform(struct models_command *command, const char *verb, char **names, int count)
{
    bool is_list = strcmp(verb, "list") == 0;
    if (!is_list && strcmp(verb, "fetch") != 0 && strcmp(verb, "verify") != 0) {
        fprintf(stderr, "faceworker models: '%s' is none of list, fetch, verify\n", verb);
        return FW_EXIT_USAGE;
    }
    if (is_list && count > 0) {
        fprintf(stderr, "faceworker models: list takes no names\n");
        return FW_EXIT_USAGE;
    }
    int exit_code = open_command(command);
    if (exit_code == FW_EXIT_OK) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        exit_code = is_list                      ? list(command)
                    : strcmp(verb, "fetch") == 0 ? fetch(command, names, count)
                                                 : verify(command, names, count);
        curl_global_cleanup();
    }
    close_command(command);
    return exit_code;
}

int fw_command_models(int argc, char **argv)
{
    enum { DIR_OPTION = 256, BASE_URL };
    static const struct option long_options[] = {
        {"dir", required_argument, NULL, DIR_OPTION},
        {"base-url", required_argument, NULL, BASE_URL},
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct models_command command = {0};
    int option;
    while ((option = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
        switch (option) {
        case DIR_OPTION:
            command.dir = optarg;
            break;
        case BASE_URL:
            command.base_url = optarg;
            break;
        case 'c':
            command.config_path = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return FW_EXIT_OK;
        default:
            return FW_EXIT_USAGE;
        }
    }
    if (optind >= argc) {
        fputs("faceworker models: what to do is missing: list, fetch or verify\n", stderr);
        return FW_EXIT_USAGE;
    }
    return perform(&command, argv[optind], argv + optind + 1, argc - optind - 1);
}
