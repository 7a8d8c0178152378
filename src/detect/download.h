// One file from one address, whole and right or not at all; for this room alone.
#ifndef FW_DETECT_DOWNLOAD_H
#define FW_DETECT_DOWNLOAD_H

#include "util/error.h"
#include <stdbool.h>

struct fw_cancel;
struct fw_log;

struct fw_download {
    const char *address; // https://, file://, or http:// where ALLOW_HTTP; may carry credentials
    const char *target;  // path of the file to make; its folder exists
    const char *sha256;  // lower-case hex, required
    long cap_bytes;      // more is refused
    bool allow_http;     // redirects to http:// are then followed too
    struct fw_cancel *cancel; // required
    const struct fw_log *log;
};

// Fetches into ".NAME.part" beside the target, going on where an earlier try ended, compares the
// sum, and renames. Processes that want the same target wait for each other. At most 3 tries.
// FW_OK; FW_ENOENT (the address has no such file), FW_EAUTH, FW_ECONNECT, FW_ETIMEDOUT,
// FW_EFORMAT (a web page instead of a file), FW_EFULL (too large), FW_ECHECKSUM, FW_EINVAL (an
// address that is not allowed), FW_EIO (the disk), FW_ECANCELED, FW_ENOMEM. The address stands in
// ERROR without credentials. Blocks; any thread.
int fw_download(const struct fw_download *download, struct fw_error *error);

// ADDRESS without user, password and query, for people. malloc'd; NULL when memory is out.
char *fw_download_display(const char *address);

#endif
