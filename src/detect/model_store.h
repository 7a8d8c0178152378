// Where model files come from: verified before a byte is parsed, downloaded when missing.
#ifndef FW_DETECT_MODEL_STORE_H
#define FW_DETECT_MODEL_STORE_H

#include "util/error.h"
#include <stdbool.h>

struct fw_cancel;
struct fw_log;

// A model we know: one row of the table in model_table.c.
struct fw_model_info {
    const char *name; // what `detector.model` says: "yunet", "yunet-s", "accurate", "res10", "haar"
    const char *backend; // of detector.h
    const char *file;    // name in models.dir and under models.base_url
    const char *sha256;  // lower-case hex; NULL: not checked (Debian's own files: haar)
    long size_bytes;
    const char *const *addresses; // official ones, NULL-terminated; may be empty
    const char *licence;
    const char *description;
    // res10 has a second file, its network; else NULL.
    const char *config_file, *config_sha256;
    const char *const *config_addresses;
};

// NULL-terminated.
const struct fw_model_info *const *fw_model_table(void);
const struct fw_model_info *fw_model_find(const char *name); // NULL if unknown

// The `models` section of the configuration. Strings are borrowed and outlive the store.
struct fw_model_store_options {
    const char *dir;      // created when missing
    const char *base_url; // https://, file://, or http:// (a warning says so); may be NULL
    const char *onnx, *onnx_sha256;
    const char *prototxt, *prototxt_sha256; // file name, path or address
    const char *caffemodel, *caffemodel_sha256;
    const char *cascade;
    bool offline; // never download
    const struct fw_log *log;
};

// Where a model's files lie, verified. Owns the strings; free with fw_model_files_free().
struct fw_model_files {
    char *path;
    char *config_path; // or NULL
    const char *backend;
};

// Finds MODEL (a name of the table, or the path of an .onnx, .caffemodel or .xml file): in dir,
// else under base_url, else at the official addresses. The SHA-256 is checked on every call; a
// wrong one is FW_ECHECKSUM with both sums and the address in ERROR, and the file is not used (a
// wrong download is removed). A file given by its path has no sum unless the configuration names
// one: that is a warning. Downloads go to a temporary file beside the target (size cap: 1.25 x
// size_bytes, or 512 MiB), are resumed, and renamed when right; several processes at once are fine.
// FW_ENOENT: nowhere; ERROR lists where it was looked for and says `faceworker models fetch`.
// CANCEL may be NULL.
int fw_model_locate(const struct fw_model_store_options *options, const char *model,
                    struct fw_cancel *cancel, struct fw_model_files *files, struct fw_error *error);
void fw_model_files_free(struct fw_model_files *files);

// Lower-case hex SHA-256 of a file. FW_OK, FW_ENOENT, FW_EIO, FW_ENOMEM.
int fw_file_sha256(const char *path, char hex[65], struct fw_error *error);

#endif
