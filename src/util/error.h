// What went wrong, as a code for programs and a sentence for people.
#ifndef FW_UTIL_ERROR_H
#define FW_UTIL_ERROR_H

#include <stddef.h>

// Every fallible function returns 0 (or a count) on success and one of these on failure.
// FW_EAGAIN is flow, not failure: nothing to take now, or no room now.
enum fw_status {
    FW_OK = 0,
    FW_ENOMEM = -1,
    FW_EINVAL = -2,     // the caller's arguments make no sense
    FW_EIO = -3,        // reading or writing failed
    FW_ENOENT = -4,     // a file, key or name does not exist
    FW_EAGAIN = -5,     // not now, ask again
    FW_ETIMEDOUT = -6,  // the deadline passed
    FW_ECANCELED = -7,  // the cancel object was triggered
    FW_ECONNECT = -8,   // the peer cannot be reached, or hung up
    FW_EAUTH = -9,      // the peer refused our credentials (401, 403)
    FW_EFORMAT = -10,   // data that does not follow its format
    FW_ENOTSUP = -11,   // understood, but not possible in this build or version
    FW_EFULL = -12,     // a bound was reached: disk, queue, memory budget
    FW_EEND = -13,      // the regular end of a stream
    FW_ECHECKSUM = -14, // a file is whole but not the one that was asked for
    FW_EREJECTED = -15, // the peer refused this very message (400, 413, 415, 422)
};

// A code with its sentence. Plain data on the caller's stack; owns nothing.
// The sentence says what is wrong and, after a semicolon, what to do. It never holds a secret.
struct fw_error {
    int code;
    char message[512];
};

// Fills ERROR (which may be NULL) with a printf-style sentence, and returns CODE so that a caller
// can write `return fw_fail(error, FW_EIO, "…")`. A message too long is cut. Any thread.
int fw_fail(struct fw_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// The code for a failed system call on a file: FW_EFULL (disk, quota or file size), FW_ENOMEM, else
// FW_EIO. Any thread.
int fw_status_of_errno(int error_number);

// A short English phrase for CODE ("timed out"); never NULL. Any thread.
const char *fw_status_text(int code);

#endif
