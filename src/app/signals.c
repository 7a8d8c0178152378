#include "app/signals.h"
#include "util/cancel.h"
#include "util/error.h"
#include "util/thread.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct fw_signals {
    int fd;
    struct fw_cancel *stop; // triggered by a signal
    struct fw_cancel *quit; // ends the thread
    struct fw_thread *thread;
};

static void watch(void *opaque)
{
    struct fw_signals *signals = opaque;
    struct pollfd fds[] = {{.fd = signals->fd, .events = POLLIN},
                           {.fd = fw_cancel_fd(signals->quit), .events = POLLIN}};
    while (poll(fds, 2, -1) < 0 && errno == EINTR)
        continue;
    if (fds[0].revents)
        fw_cancel_trigger(signals->stop);
}

static int start(struct fw_signals *signals)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    int failure = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (failure) {
        errno = failure;
        return FW_EIO;
    }
    signals->stop = fw_cancel_create();
    signals->quit = fw_cancel_create();
    if (!signals->stop || !signals->quit)
        return FW_ENOMEM;
    signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals->fd < 0)
        return FW_EIO;
    return fw_thread_start(&signals->thread, "signals", NULL, watch, signals);
}

int fw_signals_open(struct fw_signals **signals)
{
    *signals = calloc(1, sizeof **signals);
    if (!*signals)
        return FW_ENOMEM;
    (*signals)->fd = -1;
    int status = start(*signals);
    if (status != FW_OK) {
        int reason = errno;
        fw_signals_close(*signals);
        *signals = NULL;
        errno = reason;
    }
    return status;
}

void fw_signals_close(struct fw_signals *signals)
{
    if (!signals)
        return;
    if (signals->quit)
        fw_cancel_trigger(signals->quit);
    fw_thread_join(signals->thread, -1);
    if (signals->fd >= 0)
        close(signals->fd);
    fw_cancel_destroy(signals->stop);
    fw_cancel_destroy(signals->quit);
    free(signals);
}

struct fw_cancel *fw_signals_stop(const struct fw_signals *signals)
{
    return signals->stop;
}
