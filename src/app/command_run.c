// `faceworker run`: the daemon.
#include "alert/sink.h"
#include "app/commands.h"
#include "app/supervisor.h"
#include "camera/camera.h"
#include "util/cancel.h"
#include "util/secret.h"
#include "util/thread.h"
#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
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

// SIGINT and SIGTERM are blocked in every thread and read from a descriptor by a thread of their
// own, so that no handler and no global is needed and a start that takes long (a download) can be
// stopped.
struct signals {
    int fd;
    struct fw_cancel *stop; // triggered by a signal
    struct fw_cancel *quit; // ends the thread
    struct fw_thread *thread;
};

static void watch_signals(void *opaque)
{
    struct signals *signals = opaque;
    struct pollfd fds[] = {{.fd = signals->fd, .events = POLLIN},
                           {.fd = fw_cancel_fd(signals->quit), .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        continue;
    if (fds[0].revents)
        fw_cancel_trigger(signals->stop);
}

static int signals_open(struct signals *signals)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) || sigaction(SIGPIPE, &ignore, NULL) < 0)
        return FW_EIO;
    signals->stop = fw_cancel_create();
    signals->quit = fw_cancel_create();
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (!signals->stop || !signals->quit || signals->fd < 0)
        return FW_EIO;
    return fw_thread_start(&signals->thread, "signals", NULL, watch_signals, signals);
}

static void signals_close(struct signals *signals)
{
    if (signals->quit)
        fw_cancel_trigger(signals->quit);
    fw_thread_join(signals->thread, -1);
    if (signals->fd >= 0)
        close(signals->fd);
    fw_cancel_destroy(signals->stop);
    fw_cancel_destroy(signals->quit);
}

// Blocks until a signal came (true) or ENDED was triggered (false).
static bool wait_for_signal(const struct signals *signals, const struct fw_cancel *ended)
{
    struct pollfd fds[] = {{.fd = fw_cancel_fd(signals->stop), .events = POLLIN},
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
    struct signals signals;
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
    if (signals_open(&process->signals) < 0) {
        fprintf(stderr, "faceworker: cannot set signals up: %s\n", strerror(errno));
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
    signals_close(&process->signals);
    fw_logger_destroy(process->logger);
    fw_config_destroy(process->config);
    fw_secrets_destroy(process->secrets);
}

// Runs the daemon. *ABANDONED: threads were left behind that still use what the process holds.
static int supervise(struct process *process, bool *abandoned)
{
    const struct fw_log log = {process->logger, NULL};
    const struct fw_supervisor_options options = {.config = process->config,
                                                  .logger = process->logger,
                                                  .secrets = process->secrets,
                                                  .stop = process->signals.stop};
    struct fw_supervisor *supervisor = NULL;
    struct fw_error error = {0};
    fw_log_info(&log, "faceworker %s starts with %s", FW_VERSION, process->config->path);
    int lost = 0;
    if (fw_supervisor_start(&supervisor, &options, &lost, &error) < 0) {
        bool was_stopped = fw_cancel_is_set(process->signals.stop);
        fw_log(&log, was_stopped ? FW_LOG_INFO : FW_LOG_ERROR, "%s%s",
               was_stopped ? "stopped before the start was complete" : "cannot start: ",
               was_stopped ? "" : error.message);
        *abandoned = lost > 0;
        return was_stopped ? FW_EXIT_OK : FW_EXIT_FAILED;
    }
    bool by_signal = wait_for_signal(&process->signals, fw_supervisor_all_ended(supervisor));
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
    struct process process = {.signals = {.fd = -1}};
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
