#include "broker_peer.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// Waits until FD is readable; false when the peer is to stop.
static bool wait_readable(struct broker_peer *peer, int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    while (!atomic_load(&peer->is_stopping))
        if (poll(&poll_fd, 1, 10) > 0)
            return true;
    return false;
}

static bool holds(const char *bytes, size_t length, const char *wanted)
{
    const size_t size = strlen(wanted);

    for (size_t i = 0; i + size <= length; i++)
        if (memcmp(bytes + i, wanted, size) == 0)
            return true;
    return false;
}

static bool receive(struct broker_peer *peer, int fd, const char *wanted)
{
    char bytes[32768];
    size_t length = 0;

    while (!holds(bytes, length, wanted)) {
        ssize_t count;
        if (length == sizeof(bytes) || !wait_readable(peer, fd))
            return false;
        count = recv(fd, bytes + length, sizeof(bytes) - length, 0);
        if (count <= 0)
            return false;
        length += (size_t)count;
    }
    return true;
}

static bool play(struct broker_peer *peer, int fd, const struct broker_step *step)
{
    for (; step->received != NULL || step->sent != NULL; step++) {
        size_t length = step->length;
        if (length == 0 && step->sent != NULL)
            length = strlen(step->sent);
        if (step->received != NULL && !receive(peer, fd, step->received))
            return false;
        if (length > 0 && send(fd, step->sent, length, MSG_NOSIGNAL) != (ssize_t)length)
            return false;
    }
    return true;
}

// Until the other side hangs up.
static void hold_open(struct broker_peer *peer, int fd)
{
    char bytes[1024];

    while (wait_readable(peer, fd) && recv(fd, bytes, sizeof(bytes), 0) > 0)
        ;
}

static void *serve(void *opaque)
{
    struct broker_peer *peer = opaque;

    while (wait_readable(peer, peer->listener)) {
        int number, fd = accept(peer->listener, NULL, NULL);
        const struct broker_script *script;
        if (fd < 0)
            continue;
        number = atomic_fetch_add(&peer->connections, 1);
        script = &peer->scripts[number < peer->count ? number : peer->count - 1];
        if (play(peer, fd, script->steps) && !script->closes)
            hold_open(peer, fd);
        close(fd);
    }
    return NULL;
}

bool broker_peer_start(struct broker_peer *peer, const struct broker_script *scripts, int count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    *peer = (struct broker_peer){.scripts = scripts, .count = count};
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (peer->listener < 0 ||
        bind(peer->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(peer->listener, 8) != 0 ||
        getsockname(peer->listener, (struct sockaddr *)&address, &length) != 0)
        return false;
    peer->port = ntohs(address.sin_port);
    return pthread_create(&peer->thread, NULL, serve, peer) == 0;
}

void broker_peer_stop(struct broker_peer *peer)
{
    atomic_store(&peer->is_stopping, true);
    pthread_join(peer->thread, NULL);
    close(peer->listener);
}
