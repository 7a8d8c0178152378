#include "alert/peer.h"
#include "alert/tls.h"
#include "util/resolve.h"
#include "util/url.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct fw_peer {
    int fd;
    SSL_CTX *context; // NULL without TLS
    SSL *ssl;
    char name[300]; // "host:port", for messages
    // What the socket must become for TLS to go on, as poll(2)'s events: a read may have to write.
    short to_receive, to_send;
    bool was_heard; // since the handshake
};

// Whether the connection has ended before it was of any use, for want of a certificate, maybe.
static bool may_be_unwanted(const struct fw_peer *peer)
{
    return peer->ssl != NULL && !peer->was_heard && fw_tls_asked_for_certificate(peer->ssl);
}

static int hung_up(const struct fw_peer *peer, struct fw_error *error)
{
    if (may_be_unwanted(peer))
        return fw_tls_hung_up(peer->name, error);
    return fw_fail(error, FW_ECONNECT, "%s hung up; its log says why", peer->name);
}

static int broken(const struct fw_peer *peer, int error_number, struct fw_error *error)
{
    if (may_be_unwanted(peer))
        return fw_tls_hung_up(peer->name, error);
    return fw_fail(error, FW_ECONNECT, "the connection to %s broke: %s; check the network",
                   peer->name, strerror(error_number));
}

// What a call of OpenSSL that did not do its work came to: FW_EAGAIN with *EVENTS, or an error.
static int tls_status(const struct fw_peer *peer, int result, short *events, struct fw_error *error)
{
    int error_number = errno;

    switch (SSL_get_error(peer->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        *events = POLLIN;
        return FW_EAGAIN;
    case SSL_ERROR_WANT_WRITE:
        *events = POLLOUT;
        return FW_EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return hung_up(peer, error);
    case SSL_ERROR_SYSCALL:
        return error_number == 0 ? hung_up(peer, error) : broken(peer, error_number, error);
    default:
        if (fw_tls_is_end(ERR_peek_last_error()))
            return hung_up(peer, error);
        return fw_tls_failed(peer->name, ERR_peek_last_error(), error);
    }
}

static int prepare_tls(struct fw_peer *peer, const struct fw_peer_options *options,
                       struct fw_error *error)
{
    int status = fw_tls_context(&peer->context, options, error);

    if (status != FW_OK)
        return status;
    peer->ssl = SSL_new(peer->context);
    if (peer->ssl == NULL || SSL_set_fd(peer->ssl, peer->fd) != 1 ||
        !fw_tls_name_host(peer->ssl, options->url->host))
        return fw_fail(error, FW_ENOMEM, "no memory for TLS with %s", peer->name);
    return FW_OK;
}

static int shake_hands(struct fw_peer *peer, struct fw_deadline *deadline, struct fw_error *error)
{
    short events = 0;
    int result, status;

    for (;;) {
        ERR_clear_error();
        errno = 0;
        result = SSL_connect(peer->ssl);
        if (result == 1)
            return FW_OK;
        if (SSL_get_verify_result(peer->ssl) != X509_V_OK &&
            SSL_get_verify_mode(peer->ssl) == SSL_VERIFY_PEER)
            return fw_tls_not_trusted(peer->name, SSL_get_verify_result(peer->ssl), error);
        status = tls_status(peer, result, &events, error);
        if (status != FW_EAGAIN)
            return status;
        status = fw_deadline_poll(deadline, peer->fd, events);
        if (status != FW_OK)
            return fw_fail(error, status, "TLS with %s: %s; check that it speaks TLS there",
                           peer->name, fw_status_text(status));
    }
}

static int wait_connected(struct fw_peer *peer, struct fw_deadline *deadline,
                          struct fw_error *error)
{
    int error_number = 0, status = fw_deadline_poll(deadline, peer->fd, POLLOUT);
    socklen_t length = sizeof(error_number);

    if (status != FW_OK)
        return fw_fail(error, status, "connecting to %s: %s; check that it is up and the address",
                       peer->name, fw_status_text(status));
    if (getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &error_number, &length) != 0)
        error_number = errno;
    if (error_number != 0)
        return fw_fail(error, FW_ECONNECT, "can't connect to %s: %s; check that it is up",
                       peer->name, strerror(error_number));
    return FW_OK;
}

static int start_connecting(struct fw_peer *peer, const struct addrinfo *to, struct fw_error *error)
{
    const int on = 1;

    peer->fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (peer->fd < 0)
        return fw_fail(error, FW_EIO, "no socket for %s: %s; raise the limit of open files",
                       peer->name, strerror(errno));
    // Small messages that wait for an answer suffer from Nagle's algorithm; a system that can't do
    // without is only slower.
    (void)setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(peer->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (connect(peer->fd, to->ai_addr, to->ai_addrlen) != 0 && errno != EINPROGRESS)
        return fw_fail(error, FW_ECONNECT, "can't connect to %s: %s; check that it is up",
                       peer->name, strerror(errno));
    return FW_OK;
}

static int connect_to(struct fw_peer *peer, const char *address, int port,
                      struct fw_deadline *deadline, struct fw_error *error)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char service[12];
    int status;

    snprintf(service, sizeof(service), "%d", port);
    if (getaddrinfo(address, service, &hints, &found) != 0)
        return fw_fail(error, FW_ECONNECT, "%s has no address that we can connect to", peer->name);
    status = start_connecting(peer, found, error);
    freeaddrinfo(found);
    return status == FW_OK ? wait_connected(peer, deadline, error) : status;
}

int fw_peer_connect(struct fw_peer **peer, const struct fw_peer_options *options,
                    struct fw_deadline *deadline, struct fw_error *error)
{
    const int port = options->url->port != 0 ? options->url->port : options->default_port;
    char address[FW_ADDRESS_SIZE];
    struct fw_peer *made;
    int status;

    *peer = NULL;
    made = calloc(1, sizeof(*made));
    if (made == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to connect to %s", options->url->host);
    made->fd = -1;
    made->to_receive = POLLIN;
    made->to_send = POLLOUT;
    snprintf(made->name, sizeof(made->name), "%s:%d", options->url->host, port);
    status = fw_resolve(options->resolver, options->url->host, deadline, address, error);
    if (status == FW_OK)
        status = connect_to(made, address, port, deadline, error);
    if (status == FW_OK && options->is_tls)
        status = prepare_tls(made, options, error);
    if (status == FW_OK && options->is_tls)
        status = shake_hands(made, deadline, error);
    if (status != FW_OK) {
        fw_peer_close(made);
        return status;
    }
    *peer = made;
    return FW_OK;
}

void fw_peer_close(struct fw_peer *peer)
{
    if (peer == NULL)
        return;
    if (peer->ssl != NULL && SSL_is_init_finished(peer->ssl))
        (void)SSL_shutdown(peer->ssl); // tells the peer if that goes at once
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->context);
    ERR_clear_error(); // the thread's other users of OpenSSL look at that queue, too
    if (peer->fd >= 0)
        close(peer->fd);
    free(peer);
}

static int tls_send(struct fw_peer *peer, const void *data, size_t length, size_t *done,
                    struct fw_error *error)
{
    int result;

    ERR_clear_error();
    errno = 0;
    result = SSL_write_ex(peer->ssl, data, length, done);
    return result == 1 ? FW_OK : tls_status(peer, result, &peer->to_send, error);
}

int fw_peer_send(struct fw_peer *peer, const void *data, size_t length, size_t *done,
                 struct fw_error *error)
{
    ssize_t count;

    *done = 0;
    if (length == 0)
        return FW_OK;
    if (peer->ssl != NULL)
        return tls_send(peer, data, length, done, error);
    do
        count = send(peer->fd, data, length, MSG_NOSIGNAL);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return errno == EAGAIN ? FW_EAGAIN : broken(peer, errno, error);
    *done = (size_t)count;
    return FW_OK;
}

static int tls_receive(struct fw_peer *peer, void *data, size_t size, size_t *done,
                       struct fw_error *error)
{
    int result;

    ERR_clear_error();
    errno = 0;
    result = SSL_read_ex(peer->ssl, data, size, done);
    peer->was_heard |= result == 1;
    return result == 1 ? FW_OK : tls_status(peer, result, &peer->to_receive, error);
}

int fw_peer_receive(struct fw_peer *peer, void *data, size_t size, size_t *done,
                    struct fw_error *error)
{
    ssize_t count;

    *done = 0;
    if (peer->ssl != NULL)
        return tls_receive(peer, data, size, done, error);
    do
        count = recv(peer->fd, data, size, 0);
    while (count < 0 && errno == EINTR);
    if (count == 0)
        return hung_up(peer, error);
    if (count < 0)
        return errno == EAGAIN ? FW_EAGAIN : broken(peer, errno, error);
    *done = (size_t)count;
    return FW_OK;
}

int fw_peer_wait(struct fw_peer *peer, unsigned wanted, struct fw_deadline *deadline,
                 struct fw_error *error)
{
    int events = 0, status;

    if (wanted & FW_PEER_RECEIVE)
        events |= peer->to_receive;
    if (wanted & FW_PEER_SEND)
        events |= peer->to_send;
    peer->to_receive = POLLIN;
    peer->to_send = POLLOUT;
    if ((wanted & FW_PEER_RECEIVE) && peer->ssl != NULL && SSL_pending(peer->ssl) > 0)
        return FW_OK;
    status = fw_deadline_poll(deadline, peer->fd, (short)events);
    if (status != FW_OK)
        return fw_fail(error, status, "%s: %s; check that it is well and the network", peer->name,
                       fw_status_text(status));
    return FW_OK;
}

int fw_peer_send_all(struct fw_peer *peer, const void *data, size_t length,
                     struct fw_deadline *deadline, struct fw_error *error)
{
    const char *at = data;

    while (length > 0) {
        size_t done = 0;
        int status = fw_peer_send(peer, at, length, &done, error);
        if (status == FW_EAGAIN)
            status = fw_peer_wait(peer, FW_PEER_SEND, deadline, error);
        if (status != FW_OK)
            return status;
        at += done;
        length -= done;
    }
    return FW_OK;
}

int fw_peer_receive_some(struct fw_peer *peer, void *data, size_t size, size_t *done,
                         struct fw_deadline *deadline, struct fw_error *error)
{
    int status;

    while ((status = fw_peer_receive(peer, data, size, done, error)) == FW_EAGAIN) {
        status = fw_peer_wait(peer, FW_PEER_RECEIVE, deadline, error);
        if (status != FW_OK)
            return status;
    }
    return status;
}
