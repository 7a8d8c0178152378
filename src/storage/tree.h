// Files in a folder of ours, one a key: written whole and for good, moved, emptied, found again.
//
// A file is written under a name of its own, synced, renamed, and its folder synced. Keys are
// relative paths; folders are made for them, and removed when their last file is.
#ifndef FW_STORAGE_TREE_H
#define FW_STORAGE_TREE_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_cancel;
struct fw_log;

// Thread-safe after opening.
struct fw_tree;

// Opens DIR, made when missing, and locks it: another process would take what is being written for
// a crash's rest. A file system without locks is used all the same. FW_OK with *TREE the caller's;
// FW_EIO (it can't be made or written, or another process has it), FW_EFULL, FW_ENOMEM.
int fw_tree_open(struct fw_tree **tree, const char *dir, const struct fw_log *log,
                 struct fw_error *error);
// NULL is allowed.
void fw_tree_close(struct fw_tree *tree);
// The absolute path of the folder; lives as long as TREE.
const char *fw_tree_path(const struct fw_tree *tree);
// When the folder was first opened as a tree, UTC: older files are not ours.
int64_t fw_tree_since_us(const struct fw_tree *tree);

// What fw_tree_scan() found. KEY lives during the call alone. FW_OK goes on, anything else ends it.
typedef int (*fw_tree_visit)(void *opaque, const char *key, int64_t time_us, int64_t bytes);
// Tells VISIT of every file, in no order, and removes what a crash left half-written and empty
// folders of ours. What can't be read is left out and logged. FW_OK, or what VISIT gave.
int fw_tree_scan(struct fw_tree *tree, fw_tree_visit visit, void *opaque);

// The file is on the disk, its name too, when this returns FW_OK. *REPLACED (may be NULL) tells
// whether one of that name was there. Else FW_EFULL, FW_EIO, FW_ENOMEM, FW_ECANCELED: never half a
// file, and as a rule what was there before.
int fw_tree_write(struct fw_tree *tree, const char *key, const uint8_t *data, size_t length,
                  const struct fw_cancel *cancel, bool *replaced, struct fw_error *error);
bool fw_tree_has(const struct fw_tree *tree, const char *key);
// The file's bytes, malloc'd. FW_OK, FW_ENOENT, FW_EIO, FW_ENOMEM.
int fw_tree_read(struct fw_tree *tree, const char *key, uint8_t **data, size_t *length);
// A file is in one place or the other, whatever happens; which of them after a crash is not
// certain. FW_OK, FW_ENOENT, FW_EFULL, FW_EIO, FW_ENOMEM.
int fw_tree_move(struct fw_tree *tree, const char *from, const char *to);
// FW_OK also when there is none, FW_EIO, FW_ENOMEM.
int fw_tree_remove(struct fw_tree *tree, const char *key);
// Takes the file's bytes and leaves its name: works on a full disk, too. FW_OK, FW_ENOENT, FW_EIO.
int fw_tree_empty(struct fw_tree *tree, const char *key);
// Removes the empty folders below FOLDER ("" for the whole tree) in which nothing has come or gone
// since BEFORE_US, UTC.
void fw_tree_prune(struct fw_tree *tree, const char *folder, int64_t before_us);
// How many bytes the disk lacks of WANTED_BYTES (or, of a small disk, an eighth) to be free; 0 also
// when that can't be told.
int64_t fw_tree_short_bytes(const struct fw_tree *tree, int64_t wanted_bytes);
// The absolute path of KEY's file, there or not; malloc'd, NULL when memory is out.
char *fw_tree_path_of(const struct fw_tree *tree, const char *key);

#endif
