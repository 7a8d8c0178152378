// `faceworker check`: what is wrong with a configuration, else what it would do.
#include "app/command_util.h"
#include "app/commands.h"
#include "app/options.h"
#include "app/summary.h"
#include "util/text.h"
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: faceworker check [-c FILE]\n"
    "\n"
    "Reads a configuration and prints what is wrong with it on standard error, each finding as\n"
    "file:line:column: what is wrong; what to do. When it can be used, tells in words what would\n"
    "run. The configuration is FILE, else $WORKER_CONFIG, else faceworker.json in the working\n"
    "directory, else /etc/faceworker/faceworker.json.\n"
    "\n"
    "  -c, --config FILE     the configuration\n"
    "      --print-defaults  print a configuration with every option and its default\n"
    "      --print-schema    print the JSON Schema of the configuration, for editors\n"
    "      --print-docs      print the description of every option (docs/config.md)\n"
    "  -h, --help            this text\n"
    "\n"
    "Exit status: 0 it can be used, 2 wrong usage, 78 it can't.\n"
    "\n"
    "Example:\n"
    "  faceworker check -c config.sample.json\n";

static int check(const char *option)
{
    struct fw_command_context context;
    struct fw_config *config = NULL;
    struct fw_text text = FW_TEXT_INIT;
    int exit_code = FW_EXIT_FAILED;
    if (!fw_command_open(&context))
        goto done;
    exit_code = fw_command_load_config(&context, option, false, &config);
    if (exit_code != FW_EXIT_OK)
        goto done;
    fw_config_summary(&text, config);
    fw_command_print(&context, stdout, fw_text_get(&text));
    if (text.failed)
        exit_code = FW_EXIT_FAILED;
done:
    fw_text_free(&text);
    fw_config_destroy(config);
    fw_command_close(&context);
    return exit_code;
}

static int print(char *text)
{
    bool is_whole = text != NULL && fputs(text, stdout) >= 0 &&
                    (fw_ends_with(text, "\n") || putchar('\n') >= 0) && fflush(stdout) == 0;
    if (!is_whole)
        fputs("faceworker check: can't print; is the disk full?\n", stderr);
    free(text);
    return is_whole ? FW_EXIT_OK : FW_EXIT_FAILED;
}

int fw_command_check(int argc, char **argv)
{
    enum { PRINT_DEFAULTS = 256, PRINT_SCHEMA, PRINT_DOCS };
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {"print-defaults", no_argument, NULL, PRINT_DEFAULTS},
        {"print-schema", no_argument, NULL, PRINT_SCHEMA},
        {"print-docs", no_argument, NULL, PRINT_DOCS},
        {0},
    };
    const char *config = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
        switch (option) {
        case 'c':
            config = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return FW_EXIT_OK;
        case PRINT_DEFAULTS:
            return print(fw_options_defaults());
        case PRINT_SCHEMA:
            return print(fw_options_schema());
        case PRINT_DOCS:
            return print(fw_options_docs());
        default:
            return FW_EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "faceworker check: unexpected argument '%s'; write -c %s\n", argv[optind],
                argv[optind]);
        return FW_EXIT_USAGE;
    }
    return check(config);
}
