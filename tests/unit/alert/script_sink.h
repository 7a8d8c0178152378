// A sink that does as it is told.
#ifndef FW_TESTS_SCRIPT_SINK_H
#define FW_TESTS_SCRIPT_SINK_H

#include "alert/sink.h"
#include <pthread.h>

enum { MAX_TAKEN = 8192 };

struct script {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int result;          // what deliver answers
    int fail_after;      // so many of a batch are taken before RESULT shows
    int64_t delay_ms;    // before it does; a cancel ends it
    bool ignores_cancel; // a sink that breaks its promise
    int64_t retry_after_ms;
    const char *reject_camera; // answers FW_EREJECTED for this one
    int idle_result;
    int attempts, idles, largest_batch;
    char taken[MAX_TAKEN][37];  // ids that it confirmed, in their order
    char cameras[MAX_TAKEN][8]; // and their cameras
    char last_body[4096];
    int taken_count;
    int closed;
};

struct script *new_script(int result, int64_t delay_ms);
void free_script(struct script *script);
// A sink that follows SCRIPT, MAX_BATCH messages at once (1, 16), with or without `idle`.
struct fw_sink *sink_of(struct script *script, const char *name, size_t max_batch, bool has_idle,
                        bool embeds);
void set_result(struct script *script, int result);
int taken(struct script *script);
// Waits until SCRIPT was asked COUNT times; fails the test after 10 s.
void await_attempts(struct script *script, int count);
void await_taken(struct script *script, int count);
// How often ID was taken; *AT: where, last.
int times_taken(const struct script *script, const char *id, int *at);

#endif
