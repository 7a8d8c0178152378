// A connection to a broker: TCP, or TLS over it. Nothing here blocks beyond its deadline, and all
// of it obeys the deadline's cancel object, the look-up of the name and the handshakes too.
//
// The process ignores SIGPIPE: OpenSSL writes to sockets without a way to say so.
#ifndef FW_ALERT_PEER_H
#define FW_ALERT_PEER_H

#include "util/cancel.h"
#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>

struct fw_resolver;
struct fw_url;

// Borrowed for the call. The files are read at each connect, so that renewed ones count.
struct fw_peer_options {
    const struct fw_url *url; // host and port
    int default_port;         // where the URL names none
    bool is_tls;              // TLS 1.2 or later
    // PEM. NULL: the system's authorities; no certificate to show.
    const char *ca_file, *certificate_file, *key_file;
    // Checks the chain, and that the certificate is for the URL's host (its name or its address,
    // whatever the name led to). false accepts any certificate.
    bool tls_verify;
    struct fw_resolver *resolver;
};

// One thread at a time.
struct fw_peer;

// Looks the host up, connects and shakes hands. FW_OK with *PEER the caller's; else *PEER is NULL
// and ERROR says why: FW_ETIMEDOUT, FW_ECANCELED, FW_ECONNECT, FW_ENOENT (no such host), FW_EAUTH
// (the peer refused our certificate, or the lack of one), FW_EIO (a file), FW_ENOMEM.
int fw_peer_connect(struct fw_peer **peer, const struct fw_peer_options *options,
                    struct fw_deadline *deadline, struct fw_error *error);
// Hangs up without waiting. NULL is allowed.
void fw_peer_close(struct fw_peer *peer);

// Both do what goes at once. FW_OK with at least one byte done (*DONE), FW_EAGAIN (none can be
// now), or the connection is over: FW_ECONNECT, FW_EAUTH. After FW_EAGAIN a send is repeated with
// the same bytes, possibly moved, or more of them.
int fw_peer_send(struct fw_peer *peer, const void *data, size_t length, size_t *done,
                 struct fw_error *error);
int fw_peer_receive(struct fw_peer *peer, void *data, size_t size, size_t *done,
                    struct fw_error *error);

enum { FW_PEER_RECEIVE = 1, FW_PEER_SEND = 2 };
// Waits until one of WANTED can go on; to be called after FW_EAGAIN. FW_OK, FW_ETIMEDOUT,
// FW_ECANCELED, FW_EIO.
int fw_peer_wait(struct fw_peer *peer, unsigned wanted, struct fw_deadline *deadline,
                 struct fw_error *error);

// Sends all of it. What came from the peer meanwhile waits to be received. FW_OK, or as
// fw_peer_send() and fw_peer_wait(): then it is unknown how much was sent.
int fw_peer_send_all(struct fw_peer *peer, const void *data, size_t length,
                     struct fw_deadline *deadline, struct fw_error *error);
// Waits for at least one byte.
int fw_peer_receive_some(struct fw_peer *peer, void *data, size_t size, size_t *done,
                         struct fw_deadline *deadline, struct fw_error *error);

#endif
