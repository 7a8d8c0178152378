// For tests: a server that misbehaves, on a port of its own of 127.0.0.1.
#ifndef FW_TEST_PEER_H
#define FW_TEST_PEER_H

#include <stdatomic.h>
#include <stdbool.h>

struct fw_thread;

// What it does with each connection.
enum peer_manner {
    PEER_SILENT,
    PEER_GARBAGE,
    PEER_UNAUTHORIZED,
    PEER_NOT_FOUND,
    PEER_HANGS_UP,
    PEER_DROPS_PUBLISHER, // once it records
};

// PORT is for the test to read; the rest is the peer's own.
struct peer {
    int fd, port;
    enum peer_manner manner;
    _Atomic bool ends;
    struct fw_thread *thread;
};

// Fills PEER and serves on a thread of its own until peer_stop(), which must follow.
void peer_start(struct peer *peer, enum peer_manner manner);
void peer_stop(struct peer *peer);

#endif
