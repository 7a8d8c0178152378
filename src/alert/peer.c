#include "alert/peer.h"
#include "util/resolve.h"
#include "util/url.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
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
};

static int hung_up(const struct fw_peer *peer, struct fw_error *error)
{
    return fw_fail(error, FW_ECONNECT, "%s hung up; its log says why", peer->name);
}

static int broken(const struct fw_peer *peer, int error_number, struct fw_error *error)
{
    return fw_fail(error, FW_ECONNECT, "the connection to %s broke: %s; check the network",
                   peer->name, strerror(error_number));
}

// Whether the peer told us by a TLS alert that it does not take us for whom we say we are.
static bool is_refusal(unsigned long code)
{
    switch (ERR_GET_REASON(code)) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
        return true;
    default:
        return false;
    }
}

static int tls_broken(const struct fw_peer *peer, struct fw_error *error)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);

    if (is_refusal(code))
        return fw_fail(error, FW_EAUTH,
                       "%s refused our certificate (%s); check certificate_file and key_file",
                       peer->name, reason);
    if (reason == NULL || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
        return hung_up(peer, error);
    return fw_fail(error, FW_ECONNECT, "TLS with %s failed: %s; check that it speaks TLS there",
                   peer->name, reason);
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
        return tls_broken(peer, error);
    }
}

static int file_failed(const char *what, const char *path, struct fw_error *error)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    return fw_fail(error, FW_EIO, "can't use %s '%s': %s; check that it is a PEM file we may read",
                   what, path, reason != NULL ? reason : "unknown reason");
}

static int load_files(SSL_CTX *context, const struct fw_peer_options *options,
                      struct fw_error *error)
{
    const char *certificate = options->certificate_file;
    // A file may hold both.
    const char *key = options->key_file != NULL ? options->key_file : certificate;

    ERR_clear_error();
    if (options->ca_file != NULL) {
        if (SSL_CTX_load_verify_file(context, options->ca_file) != 1)
            return file_failed("ca_file", options->ca_file, error);
    } else if (SSL_CTX_set_default_verify_paths(context) != 1) {
        return fw_fail(error, FW_EIO, "can't read the system's authorities; set ca_file");
    }
    if (certificate == NULL)
        return FW_OK;
    if (SSL_CTX_use_certificate_chain_file(context, certificate) != 1)
        return file_failed("certificate_file", certificate, error);
    if (SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        return file_failed("key_file", key, error);
    return FW_OK;
}

// No terminal belongs to us that a passphrase could be asked at.
static int no_passphrase(char *buffer, int size, int is_encrypting, void *opaque)
{
    (void)buffer;
    (void)size;
    (void)is_encrypting;
    (void)opaque;
    return 0;
}

static bool is_address(const char *host)
{
    unsigned char bytes[16];

    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

// Whom the certificate must be for.
static bool set_identity(SSL *ssl, const char *host, bool is_checked)
{
    if (is_address(host))
        return !is_checked || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, host) == 1 &&
           (!is_checked || SSL_set1_host(ssl, host) == 1);
}

static int prepare_tls(struct fw_peer *peer, const struct fw_peer_options *options,
                       struct fw_error *error)
{
    int status;

    peer->context = SSL_CTX_new(TLS_client_method());
    if (peer->context == NULL || SSL_CTX_set_min_proto_version(peer->context, TLS1_2_VERSION) != 1)
        return fw_fail(error, FW_ENOMEM, "no memory for TLS with %s", peer->name);
    SSL_CTX_set_mode(peer->context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_passwd_cb(peer->context, no_passphrase);
    SSL_CTX_set_verify(peer->context, options->tls_verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       NULL);
    status = load_files(peer->context, options, error);
    if (status != FW_OK)
        return status;
    peer->ssl = SSL_new(peer->context);
    if (peer->ssl == NULL || SSL_set_fd(peer->ssl, peer->fd) != 1 ||
        !set_identity(peer->ssl, options->url->host, options->tls_verify))
        return fw_fail(error, FW_ENOMEM, "no memory for TLS with %s", peer->name);
    return FW_OK;
}

static int not_trusted(const struct fw_peer *peer, struct fw_error *error)
{
    long result = SSL_get_verify_result(peer->ssl);

    if (result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH)
        return fw_fail(error, FW_ECONNECT,
                       "the certificate of %s is for another host; use the name that it is for",
                       peer->name);
    return fw_fail(error, FW_ECONNECT,
                   "the certificate of %s is not trusted (%s); set ca_file to its authority's",
                   peer->name, X509_verify_cert_error_string(result));
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
            return not_trusted(peer, error);
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
