// A broker for tests that plays scripts: what a real one can't be made to do.
#ifndef FW_TESTS_BROKER_PEER_H
#define FW_TESTS_BROKER_PEER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

// Waits until RECEIVED has come (since the step before; NULL: nothing is waited for), then sends.
struct broker_step {
    const char *received;
    const char *sent;
    size_t length; // of `sent`; 0: it is a string
};

// What one connection sees. Its steps end with an empty one; then it is held open in silence, or
// closed.
struct broker_script {
    const struct broker_step *steps;
    bool closes;
};

struct broker_peer {
    int listener, port;
    pthread_t thread;
    atomic_bool is_stopping;
    atomic_int connections;
    // The N-th connection plays the N-th script, later ones the last.
    const struct broker_script *scripts;
    int count;
};

bool broker_peer_start(struct broker_peer *peer, const struct broker_script *scripts, int count);
void broker_peer_stop(struct broker_peer *peer);

#endif
