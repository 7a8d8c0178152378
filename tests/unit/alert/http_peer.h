// An HTTP server for tests, one thread, one connection at a time.
#ifndef FW_TESTS_HTTP_PEER_H
#define FW_TESTS_HTTP_PEER_H

#include <pthread.h>
#include <stdbool.h>

enum {
    PEER_HANG = -1,
    PEER_CLOSE = -2,
    PEER_CUT_BODY = -3,
    PEER_LONG_BODY = -4,
    PEER_BUSY_UNTIL = -5, // 503, to be tried again at a time 30 s from now
};

struct http_peer {
    int listener, port;
    pthread_t thread;
    pthread_mutex_t mutex;
    // Guarded by the mutex.
    int behaviour; // a status, or one of PEER_*
    int requests, connections;
    char request[16384]; // the latest, head and body
    bool is_stopping;
};

// Returns false when no server can be had.
bool http_peer_start(struct http_peer *peer, int behaviour);
void http_peer_behave(struct http_peer *peer, int behaviour);
int http_peer_requests(struct http_peer *peer);
int http_peer_connections(struct http_peer *peer);
void http_peer_stop(struct http_peer *peer);

#endif
