// Pictures on the local disk first, then in the store: an alert's picture outlives crashes and
// outages of the store.
//
// A picture is durable when fw_spool_put() returns. Threads of the spool upload what waits, oldest
// first, with backoff; what a crash left waiting is found again at the next start. Uploaded
// pictures stay as a cache for the page, oldest first out. A store on this machine ("dir") needs no
// upload: pictures go straight into it, and the spool keeps nothing of its own.
//
// On the disk: pending/KEY waits, cache/KEY was uploaded, failed/KEY was rejected by the store for
// good. A picture that had to be given up before it was uploaded leaves its file behind, empty, as
// a mark. So a key of which nothing is there was uploaded, and its copy has gone since.
#ifndef FW_STORAGE_SPOOL_H
#define FW_STORAGE_SPOOL_H

#include "storage/store.h"

struct fw_spool;

enum fw_spool_state {
    FW_SPOOL_STORED,  // in the store
    FW_SPOOL_PENDING, // on this disk, on its way
    FW_SPOOL_FAILED,  // given up before it was uploaded, or rejected for good
};

struct fw_spool_options {
    const char *dir;        // ours alone, made when missing; not touched when the store is local
    struct fw_store *store; // borrowed, outlives the spool
    // Of the pictures on this disk, 0: no bound. Above it uploaded and rejected ones go first, then
    // the oldest waiting ones. The bounds of a local store are its own.
    int64_t max_bytes;
    int64_t max_age_us; // 0: no bound
    // Room on the disk that others need more: while there is less, copies of uploaded pictures go.
    // An eighth of a small disk at most; 0: none. A local store has its own.
    int64_t min_free_bytes;
    int upload_threads; // 0: 2
    // A picture is not pending any more. Any thread, no lock is held; must return at once. May be
    // NULL.
    void (*changed)(void *opaque, const char *key, enum fw_spool_state state);
    void *opaque;
    const struct fw_log *log;
};

struct fw_spool_stats {
    uint64_t stored;      // since the start
    uint64_t failed;      // given up or rejected since the start
    uint64_t evicted;     // those of them that went by the bounds
    uint64_t retried;     // uploads that failed and are made again
    uint64_t pending;     // now
    int64_t bytes;        // on this disk now; 0 with a local store
    char last_error[512]; // of the store; "" when all is well; never a secret
    bool is_refused; // the store refuses us (credentials, bucket): tried again every 5 min at most
};

// FW_OK with *SPOOL the caller's; FW_EINVAL, FW_EIO, FW_EFULL, FW_ENOMEM, FW_EAGAIN (threads).
int fw_spool_open(struct fw_spool **spool, const struct fw_spool_options *options,
                  struct fw_error *error);
// Stops the uploads under way, TIMEOUT_MS at most; what waits, waits for the next start. FW_OK or
// FW_ETIMEDOUT (left behind, with the store). NULL is allowed.
int fw_spool_close(struct fw_spool *spool, int64_t timeout_ms);

// Whole and durable on the disk when it returns FW_OK; else FW_EINVAL (key, or no bytes), FW_EFULL
// (after all uploaded pictures had to go), FW_EIO, FW_ENOMEM. The end of KEY says what it is
// (".jpg", ".png"). Any thread.
int fw_spool_put(struct fw_spool *spool, const char *key, const uint8_t *data, size_t length,
                 struct fw_error *error);
// Cheap: no file is touched unless the store is local. A key of which nothing is known is STORED,
// because only an uploaded picture goes without a mark; ask for no key that was never put. With a
// local store: whether its file is there.
enum fw_spool_state fw_spool_state(struct fw_spool *spool, const char *key);
// The local copy, malloc'd. FW_OK, FW_ENOENT (uploaded long ago, given up, or never put), FW_EIO,
// FW_ENOMEM.
int fw_spool_read(struct fw_spool *spool, const char *key, uint8_t **data, size_t *length);
// The absolute path of the local copy, malloc'd; NULL when there is none, or memory is out. The
// file may go at any time.
char *fw_spool_path(struct fw_spool *spool, const char *key);
// The URL that KEY has or will have; a presigned one lives from now on. malloc'd; NULL: memory.
char *fw_spool_url(struct fw_spool *spool, const char *key);
// The same without a signature, for what is kept.
char *fw_spool_plain_url(struct fw_spool *spool, const char *key);
void fw_spool_get_stats(struct fw_spool *spool, struct fw_spool_stats *stats);
// Waits until nothing is pending, TIMEOUT_MS at most. True if so.
bool fw_spool_drain(struct fw_spool *spool, int64_t timeout_ms);
// Lets pictures age out, those of a local store too. Call it now and then.
void fw_spool_sweep(struct fw_spool *spool);

#endif
