#include "http_peer.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int behaviour_of(struct http_peer *peer)
{
    int behaviour;

    pthread_mutex_lock(&peer->mutex);
    behaviour = peer->behaviour;
    pthread_mutex_unlock(&peer->mutex);
    return behaviour;
}

static bool is_stopping(struct http_peer *peer)
{
    bool stopping;

    pthread_mutex_lock(&peer->mutex);
    stopping = peer->is_stopping;
    pthread_mutex_unlock(&peer->mutex);
    return stopping;
}

// Waits until FD is readable; false when the peer is to stop.
static bool wait_readable(struct http_peer *peer, int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    while (!is_stopping(peer))
        if (poll(&poll_fd, 1, 20) > 0)
            return true;
    return false;
}

static bool is_whole(const char *request)
{
    const char *end = strstr(request, "\r\n\r\n"), *length = strstr(request, "Content-Length: ");

    return end != NULL && length != NULL && strlen(end + 4) >= (size_t)atol(length + 16);
}

static bool read_request(struct http_peer *peer, int fd)
{
    char request[sizeof(peer->request)] = "";
    size_t length = 0;

    while (!is_whole(request)) {
        ssize_t count;
        if (!wait_readable(peer, fd) || length + 1 >= sizeof(request))
            return false;
        count = recv(fd, request + length, sizeof(request) - 1 - length, 0);
        if (count <= 0)
            return false;
        length += (size_t)count;
        request[length] = '\0';
    }
    pthread_mutex_lock(&peer->mutex);
    memcpy(peer->request, request, length + 1);
    peer->requests++;
    pthread_mutex_unlock(&peer->mutex);
    return true;
}

static bool send_all(int fd, const char *text)
{
    return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

static bool answer_busy(int fd)
{
    const time_t until = time(NULL) + 30;
    struct tm parts;
    char date[64], head[256];

    gmtime_r(&until, &parts);
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    snprintf(head, sizeof(head),
             "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: %s\r\n\r\n", date);
    return send_all(fd, head);
}

// False when the connection is over.
static bool answer(struct http_peer *peer, int fd)
{
    char block[1025];
    int behaviour = behaviour_of(peer);
    char head[256];

    memset(block, 0x78, sizeof(block) - 1);
    block[sizeof(block) - 1] = 0;
    if (behaviour == PEER_CLOSE)
        return false;
    if (behaviour == PEER_HANG) {
        while (!is_stopping(peer) && behaviour_of(peer) == PEER_HANG)
            (void)poll(NULL, 0, 10);
        return false;
    }
    if (behaviour == PEER_CUT_BODY) {
        (void)send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
        return false;
    }
    if (behaviour == PEER_LONG_BODY) {
        bool is_open = send_all(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10485760\r\n\r\n");
        for (int i = 0; is_open && i < 10240; i++)
            is_open = send_all(fd, block);
        return false;
    }
    if (behaviour == PEER_BUSY_UNTIL)
        return answer_busy(fd);
    if (behaviour == 204)
        return send_all(fd, "HTTP/1.1 204 No Content\r\n\r\n");
    snprintf(head, sizeof(head),
             "HTTP/1.1 %d Whatever\r\nContent-Length: 6\r\n%sLocation: /elsewhere\r\n\r\nsecret",
             behaviour, behaviour == 429 ? "Retry-After: 7\r\n" : "");
    return send_all(fd, head);
}

static void *serve(void *opaque)
{
    struct http_peer *peer = opaque;

    while (wait_readable(peer, peer->listener)) {
        int fd = accept(peer->listener, NULL, NULL);
        if (fd < 0)
            continue;
        pthread_mutex_lock(&peer->mutex);
        peer->connections++;
        pthread_mutex_unlock(&peer->mutex);
        while (read_request(peer, fd) && answer(peer, fd))
            ;
        close(fd);
    }
    return NULL;
}

bool http_peer_start(struct http_peer *peer, int behaviour)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);

    memset(peer, 0, sizeof(*peer));
    peer->behaviour = behaviour;
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    if (peer->listener < 0 || pthread_mutex_init(&peer->mutex, NULL) != 0 ||
        bind(peer->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(peer->listener, 8) != 0 ||
        getsockname(peer->listener, (struct sockaddr *)&address, &length) != 0)
        return false;
    peer->port = ntohs(address.sin_port);
    return pthread_create(&peer->thread, NULL, serve, peer) == 0;
}

void http_peer_behave(struct http_peer *peer, int behaviour)
{
    pthread_mutex_lock(&peer->mutex);
    peer->behaviour = behaviour;
    pthread_mutex_unlock(&peer->mutex);
}

int http_peer_requests(struct http_peer *peer)
{
    int requests;

    pthread_mutex_lock(&peer->mutex);
    requests = peer->requests;
    pthread_mutex_unlock(&peer->mutex);
    return requests;
}

int http_peer_connections(struct http_peer *peer)
{
    int connections;

    pthread_mutex_lock(&peer->mutex);
    connections = peer->connections;
    pthread_mutex_unlock(&peer->mutex);
    return connections;
}

void http_peer_stop(struct http_peer *peer)
{
    pthread_mutex_lock(&peer->mutex);
    peer->is_stopping = true;
    pthread_mutex_unlock(&peer->mutex);
    pthread_join(peer->thread, NULL);
    pthread_mutex_destroy(&peer->mutex);
    close(peer->listener);
}
