// Pictures on the local disk first, then in the store: an alert's picture outlives crashes and
// outages of the store.
//
// A picture is durable when fw_spool_put() returns. Threads of the spool upload what waits, oldest
// first, with backoff; what a crash left waiting is found again at the next start. Uploaded
// pictures stay as a cache for the page, oldest first out. A store on this machine ("dir") needs no
// upload.
#ifndef FW_STORAGE_SPOOL_H
#define FW_STORAGE_SPOOL_H

#include "storage/store.h"

struct fw_spool;

enum fw_spool_state {
    FW_SPOOL_STORED,  // in the store
    FW_SPOOL_PENDING, // on this disk, on its way
    FW_SPOOL_FAILED,  // neither: never put, evicted before it was uploaded, or rejected for good
};

struct fw_spool_options {
    const char *dir;        // ours alone, made when missing
    struct fw_store *store; // borrowed, outlives the spool
    int64_t max_bytes;      // uploaded pictures go first above it, then the oldest waiting ones
    int64_t max_age_us;     // 0: no bound
    int upload_threads;     // 0: 2
    // A picture changed its state from pending. Any thread; must return at once. May be NULL.
    void (*changed)(void *opaque, const char *key, enum fw_spool_state state);
    void *opaque;
    const struct fw_log *log;
};

struct fw_spool_stats {
    uint64_t stored, failed, evicted, retried;
    uint64_t pending;
    int64_t bytes;        // on this disk
    char last_error[256]; // of the store; "" when all is well; never a secret
    bool is_refused; // the store refuses us (credentials, bucket): tried again every 5 min at most
};

// FW_OK with *SPOOL the caller's; FW_EINVAL, FW_EIO, FW_EFULL, FW_ENOMEM, FW_EAGAIN (threads).
int fw_spool_open(struct fw_spool **spool, const struct fw_spool_options *options,
                  struct fw_error *error);
// Stops the uploads under way, TIMEOUT_MS at most; what waits, waits for the next start. FW_OK or
// FW_ETIMEDOUT (left behind). NULL is allowed.
int fw_spool_close(struct fw_spool *spool, int64_t timeout_ms);

// Whole and durable on the disk when it returns FW_OK; else FW_EINVAL (key), FW_EFULL, FW_EIO,
// FW_ENOMEM. Any thread.
int fw_spool_put(struct fw_spool *spool, const char *key, const uint8_t *data, size_t length,
                 const char *content_type, struct fw_error *error);
enum fw_spool_state fw_spool_state(struct fw_spool *spool, const char *key);
// The local copy, malloc'd. FW_OK, FW_ENOENT (uploaded long ago, or never put), FW_EIO, FW_ENOMEM.
int fw_spool_read(struct fw_spool *spool, const char *key, uint8_t **data, size_t *length);
// The URL that KEY has or will have; a presigned one lives from now on. malloc'd; NULL: memory.
char *fw_spool_url(struct fw_spool *spool, const char *key);
void fw_spool_get_stats(struct fw_spool *spool, struct fw_spool_stats *stats);
// Waits until nothing is pending, TIMEOUT_MS at most. True if so.
bool fw_spool_drain(struct fw_spool *spool, int64_t timeout_ms);
// Lets pictures age out. Call it now and then.
void fw_spool_sweep(struct fw_spool *spool);

#endif
