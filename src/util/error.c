#include "util/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int fw_fail(struct fw_error *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    error->code = code;
    va_list arguments;
    va_start(arguments, format);
    // Into a copy, since a caller may wrap error->message itself.
    char message[sizeof error->message];
    int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (length < 0)
        snprintf(message, sizeof message, "%s", fw_status_text(code));
    memcpy(error->message, message, sizeof message);
    return code;
}

const char *fw_status_text(int code)
{
    static const char *const texts[] = {
        [-FW_OK] = "no error",
        [-FW_ENOMEM] = "out of memory",
        [-FW_EINVAL] = "invalid argument",
        [-FW_EIO] = "input or output failed",
        [-FW_ENOENT] = "not found",
        [-FW_EAGAIN] = "not now, try again",
        [-FW_ETIMEDOUT] = "timed out",
        [-FW_ECANCELED] = "canceled",
        [-FW_ECONNECT] = "connection failed",
        [-FW_EAUTH] = "credentials refused",
        [-FW_EFORMAT] = "malformed data",
        [-FW_ENOTSUP] = "not supported",
        [-FW_EFULL] = "full",
        [-FW_EEND] = "end of stream",
        [-FW_ECHECKSUM] = "checksum does not match",
        [-FW_EREJECTED] = "message rejected",
    };
    const int count = (int)(sizeof texts / sizeof *texts);
    if (code > 0)
        return texts[0];
    if (code <= -count)
        return "unknown error";
    return texts[-code];
}

int fw_status_of_errno(int error_number)
{
    switch (error_number) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return FW_EFULL;
    case ENOMEM:
        return FW_ENOMEM;
    default:
        return FW_EIO;
    }
}
