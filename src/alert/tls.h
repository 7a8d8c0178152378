// TLS 1.2 and later as a client: contexts, and what went wrong in words.
#ifndef FW_ALERT_TLS_H
#define FW_ALERT_TLS_H

#include "alert/peer.h"
#include <openssl/ssl.h>

// A context whose connections check the peer's chain, and that its certificate is for the URL's
// host (its name or its address). FW_OK with *CONTEXT the caller's (SSL_CTX_free()); else it is
// NULL: FW_EIO (a file), FW_ENOMEM.
int fw_tls_context(SSL_CTX **context, const struct fw_peer_options *options,
                   struct fw_error *error);
// Names the host to the peer (RFC 6066 §3; never an address). False when memory is out.
bool fw_tls_name_host(SSL *ssl, const char *host);
// Whether the peer has asked for our certificate. In TLS 1.3 it looks at it after the handshake,
// and its alert may be lost with the connection: one that ends before it was of use is told of by
// fw_tls_hung_up() (FW_ECONNECT).
bool fw_tls_asked_for_certificate(const SSL *ssl);
int fw_tls_hung_up(const char *peer, struct fw_error *error);
// Whether OpenSSL's error CODE only says that the connection has ended.
bool fw_tls_is_end(unsigned long code);
// Says why TLS with PEER ("host:port") failed, from OpenSSL's error CODE: FW_EAUTH when it refused
// our certificate, FW_ECONNECT otherwise.
int fw_tls_failed(const char *peer, unsigned long code, struct fw_error *error);
// The same when the peer's certificate failed its check with RESULT (X509_V_ERR_...): FW_ECONNECT.
int fw_tls_not_trusted(const char *peer, long result, struct fw_error *error);

#endif
