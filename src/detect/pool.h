// The detector threads that all cameras share.
//
// Each camera is a client with a mailbox of one: the newest picture wins. A free thread takes the
// picture of the client that has waited longest since it was last served, so that under overload
// every camera slows down alike.
#ifndef FW_DETECT_POOL_H
#define FW_DETECT_POOL_H

#include "detect/detector.h"
#include "detect/model_store.h"
#include <stdint.h>

struct fw_cancel;
struct fw_pool;
struct fw_pool_client;

// A client's needs. Strings are borrowed and outlive the client.
struct fw_pool_client_options {
    const char *model; // name or path, for the model store
    const char *precision, *isa;
    int input_size;
    struct fw_detect_parameters parameters;
    int64_t max_age_us; // older pictures are dropped, counted, not analysed; 0: no limit
    // Called on a pool thread, never twice at once for one client and in the order of submission.
    // STATUS FW_OK: FACES is valid for the call. Otherwise ERROR tells; FACES is empty.
    void (*done)(void *opaque, struct fw_frame *frame, const struct fw_faces *faces, int status,
                 const struct fw_error *error);
    void *opaque;
};

struct fw_pool_stats {
    uint64_t analysed, dropped_newer, dropped_age, failed;
    int64_t busy_us; // sum of detection times
    int64_t last_us; // duration of the latest detection
};

// THREADS 0: one a processor core. Detectors are opened lazily, one a thread and distinct
// (model, precision, isa, input_size).
struct fw_pool *fw_pool_create(int threads, const struct fw_model_store_options *models,
                               const struct fw_log *log);
// Ends the threads; all clients must be gone. Detections under way are waited for, TIMEOUT_MS at
// most; FW_ETIMEDOUT leaves threads and pool behind.
int fw_pool_destroy(struct fw_pool *pool, int64_t timeout_ms);

// Finds and opens the detector for OPTIONS now, on the calling thread, so that a missing model is
// known before cameras start. When MODEL is a known name that can't be had, the second choices are
// tried in order: "accurate" (CenterFace), then "haar"; *USED is the name that works, and LOG got a
// loud warning that says what is lost. A path is never replaced. CANCEL stops a download.
int fw_pool_prepare(struct fw_pool *pool, const struct fw_pool_client_options *options,
                    struct fw_cancel *cancel, const char **used, struct fw_error *error);

// NULL when memory is out. OPTIONS is copied.
struct fw_pool_client *fw_pool_client_add(struct fw_pool *pool,
                                          const struct fw_pool_client_options *options);
// Gives FRAME (a new reference is taken) to be analysed; a picture that still waits is replaced and
// counted. Never blocks. Any thread.
void fw_pool_submit(struct fw_pool_client *client, struct fw_frame *frame);
// True when a picture waits or is being analysed.
bool fw_pool_client_is_busy(struct fw_pool_client *client);
// Returns when `done` is not running and will not run again. Must not be called from `done`.
void fw_pool_client_remove(struct fw_pool_client *client);
struct fw_pool_stats fw_pool_client_get_stats(struct fw_pool_client *client);
int fw_pool_threads(const struct fw_pool *pool);

#endif
