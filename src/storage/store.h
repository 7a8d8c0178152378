// Where snapshots go: bytes and a key in, a URL out. Backends: "dir" (a local folder).
#ifndef FW_STORAGE_STORE_H
#define FW_STORAGE_STORE_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_cancel;
struct fw_log;

// Strings are borrowed and outlive the store.
struct fw_store_options {
    const char *backend;
    const char *dir;             // "dir": the folder, made when missing; ours alone
    const char *public_base_url; // what a key's URL begins with; NULL: file://
    int64_t max_bytes;           // "dir": oldest files go first above it; 0: no bound
    int64_t max_age_us;          // "dir": older files go; 0: no bound
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
    void (*sweep)(void *state); // optional
    void (*close)(void *state); // a half-built STATE, too
};

extern const struct fw_store_backend fw_store_dir;

// Thread-safe after opening.
struct fw_store;

// FW_OK with *STORE the caller's; else *STORE is NULL and ERROR says why: FW_EINVAL (unknown
// backend, no folder named), FW_EIO (it can't be made or written, or another process has it open),
// FW_EFULL, FW_ENOMEM. "dir"
// removes what a crash left half-written and looks at all its files, so that it knows their bytes
// and ages. Files that were there before the folder was first used as a store are left alone.
int fw_store_open(struct fw_store **store, const struct fw_store_options *options,
                  struct fw_error *error);
void fw_store_close(struct fw_store *store);

// Stores DATA under KEY (relative, '/' between parts, no "..", no empty part, no control
// characters, 1024 bytes at most), whole or not at all: a reader never sees half a file. It is on
// the disk, its name too, when this returns FW_OK; else FW_EINVAL (key), FW_EFULL (no space left),
// FW_EIO, FW_ENOMEM, FW_ECANCELED.
int fw_store_put(struct fw_store *store, const char *key, const uint8_t *data, size_t length,
                 const char *content_type, struct fw_cancel *cancel, struct fw_error *error);
// Removes what is too old or too much, oldest first, a bounded number of files a call; each put
// does so too. Call it now and then, so that files age out while nothing is put. Any thread.
void fw_store_sweep(struct fw_store *store);
// The URL that KEY has or will have, percent-encoded. malloc'd; NULL when memory is out.
char *fw_store_url(const struct fw_store *store, const char *key);

#endif
