// `faceworker run`: the daemon.
#include "alert/sink.h"
#include "app/commands.h"
#include "app/signals.h"
#include "app/supervisor.h"
#include "camera/camera.h"
#include "util/cancel.h"
#include "util/secret.h"
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "Usage: faceworker run [-c FILE]\n"
    "\n"
    "Watches the cameras of the configuration until SIGTERM or SIGINT, or until every camera has\n"
    "reached its max_frames. The configuration is FILE, else $WORKER_CONFIG, else faceworker.json\n"
    "in the working directory, else /etc/faceworker/faceworker.json.\n"
    "\n"
    "  -c, --config FILE   the configuration\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0 stopped or ended, 1 failed, 2 wrong usage, 78 wrong configuration.\n"
    "\n"
    "Example:\n"
    "  faceworker run -c config.sample.json\n";

// Blocks until a signal came (true) or ENDED was triggered (false).
static bool wait_for_signal(const struct fw_cancel *stop, const struct fw_cancel *ended)
{
    struct pollfd fds[] = {{.fd = fw_cancel_fd(stop), .events = POLLIN},
                           {.fd = fw_cancel_fd(ended), .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        continue;
    return fds[0].revents != 0;
}

// Everything of the process in the order of its making.
struct process {
    struct fw_secrets *secrets;
    struct fw_config *config;
    struct fw_logger *logger;
    struct fw_signals *signals;
};

static int load_config(struct process *process, const char *option)
{
    struct fw_error error = {0};
    char *path = NULL;
    if (fw_config_find(option, &path, &error) < 0) {
        fprintf(stderr, "faceworker: %s\n", error.message);
        return FW_EXIT_CONFIG;
    }
    struct fw_diagnostics diagnostics = {0};
    int status = fw_config_load(&process->config, path, process->secrets, &diagnostics);
    fw_diagnostics_print(&diagnostics, path, process->secrets, stderr);
    fw_diagnostics_free(&diagnostics);
    free(path);
    return status < 0 ? FW_EXIT_CONFIG : FW_EXIT_OK;
}

static int prepare(struct process *process, const char *config_option)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    int status = fw_signals_open(&process->signals);
    if (status < 0 || sigaction(SIGPIPE, &ignore, NULL) < 0) {
        fprintf(stderr, "faceworker: cannot set signals up: %s\n",
                status == FW_OK || status == FW_EIO ? strerror(errno) : fw_status_text(status));
        return FW_EXIT_FAILED;
    }
    process->secrets = fw_secrets_create();
    if (!process->secrets) {
        fprintf(stderr, "faceworker: out of memory\n");
        return FW_EXIT_FAILED;
    }
    int exit_code = load_config(process, config_option);
    if (exit_code != FW_EXIT_OK)
        return exit_code;
    process->logger = fw_logger_create(STDERR_FILENO, process->config->log.level,
                                       process->config->log.format, process->secrets);
    if (!process->logger) {
        fprintf(stderr, "faceworker: out of memory\n");
        return FW_EXIT_FAILED;
    }
    return FW_EXIT_OK;
}

// What libraries want to be called before the first thread.
static bool prepare_libraries(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK && fw_sink_library_init() == FW_OK)
        return true;
    fprintf(stderr, "faceworker: the libraries for HTTP and MQTT cannot start; check memory\n");
    return false;
}

static void release(struct process *process)
{
    fw_signals_close(process->signals);
    fw_logger_destroy(process->logger);
    fw_config_destroy(process->config);
    fw_secrets_destroy(process->secrets);
}

// Runs the daemon. *ABANDONED: threads were left behind that still use what the process holds.
static int supervise(struct process *process, bool *abandoned)
{
    const struct fw_log log = {process->logger, NULL};
    struct fw_cancel *stop = fw_signals_stop(process->signals);
    const struct fw_supervisor_options options = {.config = process->config,
                                                  .logger = process->logger,
                                                  .secrets = process->secrets,
                                                  .stop = stop};
    struct fw_supervisor *supervisor = NULL;
    struct fw_error error = {0};
    fw_log_info(&log, "faceworker %s starts with %s", FW_VERSION, process->config->path);
    int lost = 0;
    if (fw_supervisor_start(&supervisor, &options, &lost, &error) < 0) {
        bool was_stopped = fw_cancel_is_set(stop);
        fw_log(&log, was_stopped ? FW_LOG_INFO : FW_LOG_ERROR, "%s%s",
               was_stopped ? "stopped before the start was complete" : "cannot start: ",
               was_stopped ? "" : error.message);
        *abandoned = lost > 0;
        return was_stopped ? FW_EXIT_OK : FW_EXIT_FAILED;
    }
    bool by_signal = wait_for_signal(stop, fw_supervisor_all_ended(supervisor));
    fw_log_info(&log, by_signal ? "stopping" : "every camera has ended");
    lost = fw_supervisor_destroy(supervisor, !by_signal);
    if (lost)
        fw_log_error(&log, "%d threads did not end in time", lost);
    else
        fw_log_info(&log, "stopped");
    *abandoned = lost > 0;
    return FW_EXIT_OK;
}

int fw_command_run(int argc, char **argv)
{
    static const struct option long_options[] = {
        {"config", required_argument, NULL, 'c'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *config = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "c:h", long_options, NULL)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return FW_EXIT_OK;
        }
        if (option != 'c')
            return FW_EXIT_USAGE;
        config = optarg;
    }
    if (optind < argc) {
        fprintf(stderr, "faceworker run: unexpected argument '%s'; see faceworker run --help\n",
                argv[optind]);
        return FW_EXIT_USAGE;
    }
    struct process process = {0};
    bool abandoned = false;
    int exit_code = prepare(&process, config);
    if (exit_code == FW_EXIT_OK && !prepare_libraries())
        exit_code = FW_EXIT_FAILED;
    if (exit_code == FW_EXIT_OK) {
        fw_camera_library_init();
        exit_code = supervise(&process, &abandoned);
    }
    if (abandoned)
        _exit(exit_code);
    release(&process);
    return exit_code;
}
