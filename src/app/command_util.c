#include "app/command_util.h"
#include "app/commands.h"
#include "util/secret.h"
#include "util/text.h"
#include <stdlib.h>
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

bool fw_command_number(const char *command, const char *name, const char *text, double minimum,
                       double maximum, double *number)
{
    char *end;
    *number = strtod(text, &end);
    if (end != text && *end == '\0' && *number >= minimum && *number <= maximum)
        return true;
    fprintf(stderr, "faceworker %s: %s takes a number from %.16g to %.16g\n", command, name,
            minimum, maximum);
    return false;
}
