// `faceworker probe`: what a camera offers, and what is wrong with it.
#include "app/command_util.h"
#include "app/commands.h"
#include "camera/probe.h"
#include "util/cancel.h"
#include "util/resolve.h"
#include "util/text.h"
#include "util/url.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: faceworker probe [OPTION]... URL\n"
    "\n"
    "Opens a camera, reads for some seconds, and tells what it offers (codec, size, frame rate,\n"
    "keyframe interval, losses), what is wrong with it, and what to do. URL is anything that a\n"
    "camera's `rtsp` may be: rtsp, rtsps, rtmp, http, a file or /dev/videoN.\n"
    "\n"
    "      --seconds N           how long to read (default 5)\n"
    "      --transport WAY       tcp, udp or auto (the default: tcp, then udp)\n"
    "      --username NAME       user name, in place of the one in the URL\n"
    "      --password-file FILE  file with the password, - for standard input; a password in the\n"
    "                            URL can be seen by everybody on this machine\n"
    "      --no-tls-verify       accept any certificate of an rtsps or https camera\n"
    "  -h, --help                this text\n"
    "\n"
    "Exit status: 0 pictures came, 1 none came, 2 wrong usage.\n"
    "\n"
    "Example:\n"
    "  faceworker probe --username viewer --password-file /run/secrets/door "
    "rtsp://10.0.0.5/stream1\n";

struct probe_command {
    const char *url, *username, *password_file;
    double seconds;
    enum fw_transport transport;
    bool tls_verify;
};

// The first line of FILE without its newline; NULL with a message on standard error.
static char *read_password(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    char line[1024];
    char *password = NULL;
    if (file == NULL) {
        fprintf(stderr, "faceworker probe: can't open '%s' (%s)\n", path, strerror(errno));
        return NULL;
    }
    if (fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        password = fw_strdup(line);
    }
    if (password == NULL)
        fprintf(stderr, "faceworker probe: '%s' holds no password\n", path);
    if (file != stdin)
        fclose(file);
    return password;
}

static int read_camera(const struct probe_command *command,
                       const struct fw_command_context *context, const struct fw_url *url)
{
    struct fw_resolver *resolver = fw_resolver_create(&context->log);
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_text report = FW_TEXT_INIT;
    struct fw_error error = {0};
    int status = FW_ENOMEM;
    if (resolver != NULL && cancel != NULL) {
        const struct fw_source_options options = {
            .url = url,
            .transport = command->transport,
            .tls_verify = command->tls_verify,
            .realtime = true, // so that a file's measured rate is its own
            .connect_timeout_ms = 4000,
            .packet_timeout_ms = 4000,
            .keyframe_timeout_ms = 10000,
            .resolver = resolver,
            .secrets = context->secrets,
            .cancel = cancel,
            .log = &context->log,
        };
        status = fw_probe(&options, (int64_t)(command->seconds * 1000), &report, &error);
        fw_command_print(context, stdout, fw_text_get(&report));
    }
    // The report says what a camera did wrong; memory and the like it can't say.
    if (status != FW_OK && report.length == 0)
        fprintf(stderr, "faceworker probe: %s\n",
                error.message[0] != '\0' ? error.message : fw_status_text(status));
    fw_text_free(&report);
    fw_cancel_destroy(cancel);
    fw_resolver_destroy(resolver);
    return status == FW_OK ? FW_EXIT_OK : FW_EXIT_FAILED;
}

static int probe(const struct probe_command *command)
{
    struct fw_command_context context = {0};
    struct fw_url *url = NULL;
    struct fw_error error = {0};
    char *password = NULL;
    int exit_code = FW_EXIT_FAILED;
    if (!fw_command_open(&context))
        goto done;
    if (command->password_file != NULL &&
        (password = read_password(command->password_file)) == NULL)
        goto done;
    if (fw_url_parse(&url, command->url, command->username, password, context.secrets, &error) !=
        FW_OK) {
        fprintf(stderr, "faceworker probe: %s\n", error.message);
        exit_code = FW_EXIT_USAGE;
        goto done;
    }
    fw_camera_library_init();
    exit_code = read_camera(command, &context, url);
done:
    free(password);
    fw_url_destroy(url);
    fw_command_close(&context);
    return exit_code;
}

static bool parse_transport(const char *name, enum fw_transport *transport)
{
    static const char *const names[] = {
        [FW_TRANSPORT_AUTO] = "auto", [FW_TRANSPORT_TCP] = "tcp", [FW_TRANSPORT_UDP] = "udp"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(names[i], name) == 0) {
            *transport = (enum fw_transport)i;
            return true;
        }
    }
    fputs("faceworker probe: --transport takes tcp, udp or auto\n", stderr);
    return false;
}

int fw_command_probe(int argc, char **argv)
{
    const char *transport = "auto";
    struct probe_command command = {.seconds = 5, .tls_verify = true};
    const struct fw_command_option options[] = {
        {.name = "seconds", .number = &command.seconds, .minimum = 0.1, .maximum = 3600},
        {.name = "transport", .text = &transport},
        {.name = "username", .text = &command.username},
        {.name = "password-file", .text = &command.password_file},
        {.name = "no-tls-verify", .flag = &command.tls_verify, .value = false},
        {0},
    };
    int exit_code;
    if (!fw_command_options(options, help, argc, argv, &exit_code))
        return exit_code;
    if (!parse_transport(transport, &command.transport))
        return FW_EXIT_USAGE;
    if (argc - optind != 1) {
        fputs("faceworker probe: give one URL; see faceworker probe --help\n", stderr);
        return FW_EXIT_USAGE;
    }
    command.url = argv[optind];
    return probe(&command);
}
