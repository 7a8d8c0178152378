// Where snapshots go: bytes and a key in, a URL out. Backends: "dir" (a local folder), "s3" (any
// S3-compatible server).
#ifndef FW_STORAGE_STORE_H
#define FW_STORAGE_STORE_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_cancel;
struct fw_log;
struct fw_secret;
struct fw_tree;

// NULL where nothing was given. The program has called curl_global_init().
struct fw_s3_options {
    const char *bucket;
    const char *endpoint_url; // "https://minio.local:9000"; NULL: AWS's of the region
    const char *region;
    const struct fw_secret *access_key, *secret_key, *session_token; // the first two are needed
    int path_style;    // 1: endpoint/bucket/key, 0: bucket.endpoint/key, -1: path style where there
                       // is an endpoint_url, or where the bucket can't be part of a host's name
    int64_t presign_s; // above 0: URLs are presigned and valid for so long, a week at most
    int64_t timeout_ms;  // connecting, and the wait for the next byte
    const char *ca_file; // PEM; in place of the system's
    bool tls_verify;
};

// Strings are borrowed and outlive the store.
struct fw_store_options {
    const char *backend;
    const char *dir;             // "dir": the folder, made when missing; ours alone
    const char *public_base_url; // what a key's URL begins with; NULL: file://, S3's own address
    int64_t max_bytes;           // "dir": oldest files go first above it; 0: no bound
    int64_t max_age_us;          // "dir": older files go; 0: no bound
    // "dir": room on the disk that others need more: while there is less, the oldest files go. An
    // eighth of a small disk at most; 0: none.
    int64_t min_free_bytes;
    struct fw_s3_options s3; // "s3"
    const struct fw_log *log;
};

// One row of the table in store.c. Keys have been checked, CANCEL may be NULL.
struct fw_store_backend {
    const char *name;
    int (*open)(void **state, const struct fw_store_options *options, struct fw_error *error);
    int (*put)(void *state, const char *key, const uint8_t *data, size_t length,
               const char *content_type, struct fw_cancel *cancel, struct fw_error *error);
    // The URL of KEY where there is no public_base_url; malloc'd, NULL when memory is out.
    char *(*url)(const void *state, const char *key);
    // Optional: URL with what lets anybody read it for a while; malloc'd, NULL when memory is out.
    char *(*sign)(const void *state, const char *url);
    // Only for stores on this machine: where the files are, each under its key.
    struct fw_tree *(*tree)(const void *state);
    void (*sweep)(void *state); // optional
    void (*close)(void *state); // a half-built STATE, too
};

extern const struct fw_store_backend fw_store_dir, fw_store_s3;

// Thread-safe after opening.
struct fw_store;

// FW_OK with *STORE the caller's; else *STORE is NULL and ERROR says why: FW_EINVAL (unknown
// backend, options that make no sense), FW_EIO (the folder can't be made or written, or another
// process has it open), FW_EFULL, FW_ENOMEM. "dir" removes what a crash left half-written and looks
// at all its files, so that it knows their bytes and ages; files that were there before the folder
// was first used as a store are left alone. "s3" asks nobody: what is wrong with its address,
// bucket or keys shows with the first put.
int fw_store_open(struct fw_store **store, const struct fw_store_options *options,
                  struct fw_error *error);
// The same with a backend that is not in the table.
int fw_store_open_backend(struct fw_store **store, const struct fw_store_backend *backend,
                          const struct fw_store_options *options, struct fw_error *error);
void fw_store_close(struct fw_store *store);

// Relative, '/' between parts, no "..", no empty part, no control characters, 1024 bytes at most.
bool fw_store_is_key(const char *key);
// Stores DATA under KEY, whole or not at all: a reader never sees half a file. With "dir" it is on
// the disk, its name too, when this returns FW_OK; else FW_EINVAL (key), FW_EFULL (no space left),
// FW_EIO, FW_ENOMEM, FW_ECANCELED. With "s3" the server has taken it; else FW_EAUTH (it refuses us,
// and will until something is put right: keys, rights, bucket, region, clock), FW_EREJECTED (it
// will never take this very picture), and to be tried again: FW_ECONNECT, FW_ETIMEDOUT, FW_EIO (its
// answer), FW_ENOMEM; FW_ECANCELED. Any thread.
int fw_store_put(struct fw_store *store, const char *key, const uint8_t *data, size_t length,
                 const char *content_type, struct fw_cancel *cancel, struct fw_error *error);
// Removes what is too old or too much, oldest first, a bounded number of files a call; each put
// does so too. Call it now and then, so that files age out while nothing is put. Any thread.
void fw_store_sweep(struct fw_store *store);
// The URL that KEY has or will have, percent-encoded; a presigned one lives from now on. malloc'd;
// NULL when memory is out.
char *fw_store_url(const struct fw_store *store, const char *key);
// The same without a signature, for what is kept: it lets nobody in.
char *fw_store_plain_url(const struct fw_store *store, const char *key);
// Where the files of a store on this machine are, each under its key; lives as long as STORE. NULL
// for all others.
struct fw_tree *fw_store_tree(const struct fw_store *store);

#endif
