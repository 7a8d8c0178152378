#include "alert/tls.h"
#include "util/url.h"
#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

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

bool fw_tls_is_end(unsigned long code)
{
    return code == 0 || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

int fw_tls_failed(const char *peer, unsigned long code, struct fw_error *error)
{
    const char *reason = ERR_reason_error_string(code);

    if (is_refusal(code))
        return fw_fail(error, FW_EAUTH,
                       "%s refused our certificate (%s); check certificate_file and key_file", peer,
                       reason);
    return fw_fail(error, FW_ECONNECT, "TLS with %s failed: %s; check that it speaks TLS there",
                   peer, reason != NULL ? reason : "unknown reason");
}

int fw_tls_not_trusted(const char *peer, long result, struct fw_error *error)
{
    if (result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH)
        return fw_fail(error, FW_ECONNECT,
                       "the certificate of %s is for another host; use the name that it is for",
                       peer);
    return fw_fail(error, FW_ECONNECT,
                   "the certificate of %s is not trusted (%s); set ca_file to its authority's",
                   peer, X509_verify_cert_error_string(result));
}

static int file_failed(const char *what, const char *path, struct fw_error *error)
{
    const unsigned long code = ERR_peek_error();
    const char *reason =
        ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code)) : ERR_reason_error_string(code);

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

bool fw_tls_name_host(SSL *ssl, const char *host)
{
    char name[256]; // the longest there are have 253; a copy, for OpenSSL takes no constant

    if (is_address(host))
        return SSL_set_tlsext_host_name(ssl, NULL) == 1;
    return (size_t)snprintf(name, sizeof(name), "%s", host) < sizeof(name) &&
           SSL_set_tlsext_host_name(ssl, name) == 1;
}

// Whom the certificate must be for.
static bool set_identity(SSL_CTX *context, const char *host)
{
    X509_VERIFY_PARAM *wanted = SSL_CTX_get0_param(context);

    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(wanted, host) == 1;
    X509_VERIFY_PARAM_set_hostflags(wanted, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return X509_VERIFY_PARAM_set1_host(wanted, host, 0) == 1;
}

// The peer wants to see our certificate.
static int note_wish(SSL *ssl, void *opaque)
{
    (void)opaque;
    SSL_set_app_data(ssl, ssl);
    return 1;
}

bool fw_tls_asked_for_certificate(const SSL *ssl)
{
    return SSL_get_app_data(ssl) != NULL;
}

int fw_tls_hung_up(const char *peer, struct fw_error *error)
{
    return fw_fail(error, FW_ECONNECT,
                   "%s hung up right after the handshake; it may not take our certificate, or want "
                   "one: check certificate_file and key_file",
                   peer);
}

static int prepare(SSL_CTX *context, const struct fw_peer_options *options, struct fw_error *error)
{
    const char *host = options->url->host;

    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        (options->tls_verify && !set_identity(context, host)))
        return fw_fail(error, FW_ENOMEM, "no memory for TLS with %s", host);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    SSL_CTX_set_cert_cb(context, note_wish, NULL);
    SSL_CTX_set_verify(context, options->tls_verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    return load_files(context, options, error);
}

int fw_tls_context(SSL_CTX **context, const struct fw_peer_options *options, struct fw_error *error)
{
    SSL_CTX *made = SSL_CTX_new(TLS_client_method());
    int status = prepare(made, options, error);

    if (status != FW_OK) {
        SSL_CTX_free(made);
        made = NULL;
    }
    *context = made;
    return status;
}
