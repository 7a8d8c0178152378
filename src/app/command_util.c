#include "app/command_util.h"
#include "app/commands.h"
#include "util/secret.h"
#include "util/text.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool fw_command_open(struct fw_command_context *context)
{
    *context = (struct fw_command_context){.secrets = fw_secrets_create()};
    if (context->secrets != NULL)
        context->logger =
            fw_logger_create(STDERR_FILENO, FW_LOG_WARNING, FW_LOG_TEXT, context->secrets);
    context->log.logger = context->logger;
    if (context->logger == NULL)
        fputs("faceworker: out of memory\n", stderr);
    return context->logger != NULL;
}

void fw_command_close(struct fw_command_context *context)
{
    fw_logger_destroy(context->logger);
    fw_secrets_destroy(context->secrets);
    *context = (struct fw_command_context){0};
}

int fw_command_load_config(struct fw_command_context *context, const char *option, bool is_optional,
                           struct fw_config **config)
{
    struct fw_error error = {0};
    char *path = NULL;
    *config = NULL;
    int status = fw_config_find(option, &path, &error);
    if (status == FW_ENOENT && is_optional)
        return FW_EXIT_OK;
    if (status != FW_OK) {
        fprintf(stderr, "faceworker: %s\n", error.message);
        return FW_EXIT_CONFIG;
    }
    struct fw_diagnostics diagnostics = {0};
    status = fw_config_load(config, path, context->secrets, &diagnostics);
    fw_diagnostics_print(&diagnostics, path, context->secrets, stderr);
    if (status == FW_ENOMEM)
        fputs("faceworker: out of memory\n", stderr);
    fw_diagnostics_free(&diagnostics);
    free(path);
    return status == FW_OK ? FW_EXIT_OK : FW_EXIT_CONFIG;
}

void fw_command_print(const struct fw_command_context *context, FILE *stream, const char *text)
{
    struct fw_text clean = FW_TEXT_INIT;
    fw_secrets_redact(context->secrets, text, &clean);
    if (!clean.failed)
        fputs(fw_text_get(&clean), stream);
    fw_text_free(&clean);
}

const char *fw_command_isa(void)
{
    const char *isa = getenv("FACEWORKER_ISA");
    return isa != NULL && *isa != '\0' ? isa : "auto";
}

int fw_command_core_count(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 1 ? (int)count : 1;
}

// What getopt_long() returns for the first row; below are its own characters.
#define FIRST_OPTION 256
#define MAX_OPTIONS  32

static bool set_number(const char *command, const struct fw_command_option *option)
{
    char *end;
    double number = strtod(optarg, &end);
    bool is_number =
        end != optarg && *end == '\0' && number >= option->minimum && number <= option->maximum;
    if (!is_number || (option->whole != NULL && number != floor(number))) {
        fprintf(stderr, "%s: --%s takes a %snumber from %.16g to %.16g\n", command, option->name,
                option->whole != NULL ? "whole " : "", option->minimum, option->maximum);
        return false;
    }
    if (option->whole != NULL)
        *option->whole = (int)number;
    else
        *option->number = number;
    return true;
}

static bool set_option(const char *command, const struct fw_command_option *option)
{
    if (option->flag != NULL)
        *option->flag = option->value;
    else if (option->text != NULL)
        *option->text = optarg;
    else
        return set_number(command, option);
    return true;
}

// What getopt_long() wants to know.
static void fill_rows(const struct fw_command_option *options, struct option *rows, char *letters)
{
    int count = 0;
    for (; count < MAX_OPTIONS && options[count].name != NULL; count++) {
        bool takes_argument = options[count].flag == NULL;
        rows[count] =
            (struct option){options[count].name, takes_argument ? required_argument : no_argument,
                            NULL, FIRST_OPTION + count};
        const char letter[] = {options[count].letter, takes_argument ? ':' : '\0', '\0'};
        strcat(letters, letter);
    }
    rows[count] = (struct option){"help", no_argument, NULL, 'h'};
}

// FIRST_OPTION and the row of OPTION, which may be a letter; OPTION itself if it is none.
static int row_of(const struct fw_command_option *options, int option)
{
    for (int i = 0; option < FIRST_OPTION && options[i].name != NULL; i++)
        if (options[i].letter != '\0' && options[i].letter == option)
            return FIRST_OPTION + i;
    return option;
}

bool fw_command_options(const struct fw_command_option *options, const char *help, int argc,
                        char **argv, int *exit_code)
{
    struct option rows[MAX_OPTIONS + 2] = {0};
    char letters[3 * MAX_OPTIONS] = "h";
    int option;
    fill_rows(options, rows, letters);
    while ((option = getopt_long(argc, argv, letters, rows, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            *exit_code = FW_EXIT_OK;
            return false;
        }
        option = row_of(options, option);
        if (option < FIRST_OPTION || !set_option(argv[0], &options[option - FIRST_OPTION])) {
            *exit_code = FW_EXIT_USAGE;
            return false;
        }
    }
    return true;
}
