#include "peer.h"

#include "util/error.h"
#include "util/thread.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void answer(int fd, enum peer_manner manner, char *request)
{
    static const char *const lines[][2] = {
        [PEER_UNAUTHORIZED] = {"401 Unauthorized", "WWW-Authenticate: Basic realm=\"camera\"\r\n"},
        [PEER_NOT_FOUND] = {"404 Not Found", ""},
        [PEER_DROPS_PUBLISHER] = {"200 OK", "Session: 1\r\n"
                                            "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"},
    };
    const char *cseq = strstr(request, "CSeq: ");
    char reply[256];
    int length;

    if (manner == PEER_GARBAGE) {
        memset(reply, 'x', sizeof(reply));
        send(fd, reply, sizeof(reply), MSG_NOSIGNAL);
        return;
    }
    length = snprintf(reply, sizeof(reply), "RTSP/1.0 %s\r\nCSeq: %d\r\n%s\r\n", lines[manner][0],
                      cseq ? atoi(cseq + 6) : 1, lines[manner][1]);
    send(fd, reply, (size_t)length, MSG_NOSIGNAL);
}

static void serve(struct peer *peer, int fd)
{
    char request[4096];

    while (!atomic_load(&peer->ends) && peer->manner != PEER_HANGS_UP) {
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        ssize_t length;

        if (poll(&entry, 1, 20) <= 0)
            continue;
        length = recv(fd, request, sizeof(request) - 1, 0);
        if (length <= 0)
            break;
        request[length] = '\0';
        if (peer->manner != PEER_SILENT)
            answer(fd, peer->manner, request);
        if (peer->manner == PEER_DROPS_PUBLISHER && strncmp(request, "RECORD", 6) == 0)
            break;
    }
    close(fd);
}

static void run_peer(void *opaque)
{
    struct peer *peer = opaque;

    while (!atomic_load(&peer->ends)) {
        struct pollfd entry = {.fd = peer->fd, .events = POLLIN};
        int fd;

        if (poll(&entry, 1, 20) <= 0)
            continue;
        fd = accept(peer->fd, NULL, NULL);
        if (fd >= 0)
            serve(peer, fd);
    }
}

void peer_start(struct peer *peer, enum peer_manner manner)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    *peer = (struct peer){.manner = manner};
    peer->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(peer->fd >= 0);
    assert_int_equal(bind(peer->fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(peer->fd, 8), 0);
    assert_int_equal(getsockname(peer->fd, (struct sockaddr *)&address, &length), 0);
    peer->port = ntohs(address.sin_port);
    assert_int_equal(fw_thread_start(&peer->thread, "peer", NULL, run_peer, peer), FW_OK);
}

void peer_stop(struct peer *peer)
{
    atomic_store(&peer->ends, true);
    assert_int_equal(fw_thread_join(peer->thread, 5000), FW_OK);
    close(peer->fd);
}
